"""The program that asks in a process of its own."""

import json
import re
import subprocess
import sys

from confluent_kafka import KafkaError as Code

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.describe_group import described

FIND_COORDINATOR = 10
"""Number of Kafka's request."""
TIME_OVER = re.compile(r"no broker answered within 0.1 s|.*[Tt]imed out.*")


def test_brokers_that_do_not_answer_are_a_refusal_and_no_error():
    question = {
        "properties": {"bootstrap.servers": "127.0.0.1:1", "log_level": 0},
        "group": "g",
        "seconds": 0.1,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "connector.kafka.describe_group"],
        input=json.dumps(question), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert TIME_OVER.fullmatch(json.loads(ended.stdout)["refusal"])


def test_what_the_brokers_refuse_is_in_their_words():
    with EmbeddedBroker({"t": 1}) as broker:
        broker.push_errors(FIND_COORDINATOR, *[Code.GROUP_AUTHORIZATION_FAILED] * 10)
        properties = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}
        assert "authorization" in described(properties, "g", 60)["refusal"]


def test_it_imports_no_more_than_its_client():
    """It has to start within the time of a question."""
    source = (
        "import sys, connector.kafka.describe_group\n"
        "print({'pydantic', 'aiohttp', 'structlog', 'fastavro'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "set()"
