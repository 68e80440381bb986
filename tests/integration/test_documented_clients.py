"""Commands to the control topic as docs/control.md has them, in other languages than ours.

As they stand, but for the brokers' address and the topics' prefix.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import uuid

import docker
import pytest

from connector.control.client import ControlClient
from connector.kafka.topics import TopicNames, ensure_topics
from connector.testing import wait_until
from tests.integration.downstream.engines import BUILD, documented, typed, user_folder
from tests.support.documented import block_after
from tests.support.leaders import leader
from tests.support.masters import FakeMaster
from tests.support.replicas import settings

pytestmark = pytest.mark.integration

MASTER = FakeMaster({"NSE:INFY": 408065, "NSE:TCS": 2953217})
PAGE = "docs/control.md"


class Steered:
    """A leader on topics of its own, in the Kafka that all share."""

    def __init__(self, bootstrap_servers):
        self.bootstrap_servers = bootstrap_servers
        self.topics = TopicNames(f"documented-{uuid.uuid4().hex[:8]}")
        self.tree = settings(
            bootstrap_servers,
            "ws://127.0.0.1:1",
            topics={"prefix": self.topics.prefix, "replication_factor": 1},
        )
        asyncio.run(ensure_topics(self.tree.kafka, self.tree.topics, slots=3))

    def here(self, text, address=None):
        """A text of the page with our address and topics in it."""
        address = address or self.bootstrap_servers
        assert "localhost:9092" in text
        text = text.replace("localhost:9092", address)
        # in a topic's name or as a string of its own
        return re.sub(r"\bkite(?=\.control)|(?<=\")kite(?=\")", self.topics.prefix, text)

    def carried(self):
        """Symbol → mode of what is subscribed."""
        with ControlClient(self.tree.kafka, self.topics) as client:
            records = [each.subscription for each in client.subscribed().carried.values()]
        return {record.symbol: record.mode.value for record in records}


@pytest.fixture(scope="module")
def steered(bootstrap_servers):
    made = Steered(bootstrap_servers)
    with leader(made, MASTER, name=made.topics.prefix, topics=made.topics):
        yield made


def reply_in(printed, command_id):
    """The reply of a line `key value`."""
    (line,) = [line for line in printed.splitlines() if line.startswith(command_id)]
    return json.loads(line.removeprefix(command_id))


def test_kcat(steered):
    if shutil.which("kcat") is None:
        # also where everything is required: nothing else needs it
        pytest.skip("kcat is not here (Debian: kcat)")

    def shell(line):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip

    write, read = (steered.here(line) for line in documented(PAGE, "kcat:"))
    shell(write)
    wait_until(lambda: steered.carried().get("NSE:INFY") == "full")
    reply = reply_in(shell(read), "kcat-1")
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)


def test_kafkas_own_tools(steered):
    container = _container(steered.bootstrap_servers)

    def shell(line):
        # inside the container the broker has another address
        line = f"PATH=$PATH:/opt/kafka/bin; {steered.here(line, 'localhost:19092')}"
        code, output = container.exec_run(["bash", "-c", line], demux=True)
        out, err = ((part or b"").decode() for part in output)
        assert code == 0, out + err
        return out

    write, read = documented(PAGE, "Kafka's own tools:")
    assert "set-mode" in write
    shell(write)
    # what nobody claims cannot be changed: that is an answer too
    reply = reply_in(shell(read), "console-1")
    assert reply["status"] in {"APPLIED", "REJECTED"}, reply


@pytest.mark.downstream
def test_java(steered, tmp_path):
    folder = user_folder(tmp_path)
    (folder / "Send.java").write_text(
        steered.here(block_after(PAGE, "Java, with `org.apache.kafka").text)
    )
    build, _ = documented("docs/downstream.md", "## Java")
    jars = BUILD / "consumers/java/lib/*"
    printed = typed(folder, [build, f"java -cp '{jars}' Send.java"])
    reply = json.loads(printed)
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
    assert steered.carried()["NSE:TCS"] == "quote"


def _container(bootstrap_servers):
    """The container that publishes the broker's port; without one its tools are not at hand."""
    port = bootstrap_servers.rpartition(":")[2]
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        for container in docker.from_env().containers.list():
            bindings = (container.attrs["NetworkSettings"]["Ports"] or {}).get("9092/tcp") or []
            if port in {binding["HostPort"] for binding in bindings}:
                return container
    return pytest.skip("Kafka runs elsewhere, and its tools with it")
