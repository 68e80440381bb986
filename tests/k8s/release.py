"""The chart installed beside Kafka, a registry and a simulated Kite, and what a consumer sees."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from connector.simulator.universe import Universe
from tests.k8s.cluster import Cluster, CommandError
from tests.k8s.judge import Judge, Verdict

HERE = Path(__file__).parent
CHART = Path(__file__).parents[2] / "deploy/helm/kite-connector"
NAMESPACE, NODES_NAMESPACE = "kite-k8s-test", "kite-k8s-test-nodes"
NAME = "kite-kite-connector"
COMPONENT = "app.kubernetes.io/component=connector"
SLOTS = [0, 1, 2]
DEADLINE_SECONDS = 240
ROWS: list[tuple[str, Verdict]] = []
"""The cases that were measured, for the table at the end."""
_BEFORE_US = 1_000_000
_LAG_US = 1_000_000
"""A tick is in Kafka so long after its receive time at the latest, while nothing is away."""
_KILL = """
import os, signal, sys
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        cgroup = open(f"/proc/{pid}/cgroup").read().replace("_", "-")
        command = open(f"/proc/{pid}/cmdline").read().split("\\0")
    except OSError:
        continue
    if sys.argv[1] in cgroup and "run" in command:
        os.kill(int(pid), signal.SIGKILL)
        sys.exit()
sys.exit("no such process")
"""
# the kernel ends whom it finds most fit for it: the connector, since a process may offer itself and
# others of its user, and what is used up here is nobody's resident memory but the container's all
# the same (one cgroup of version 1 has one process ended, not all of them)
_EXHAUST = """
import os
open("/proc/1/oom_score_adj", "w").write("1000")
hog = os.memfd_create("hog")
while True:
    os.write(hog, bytes(2**24))
"""


def wait_for(what: str, met: Callable[[], Any]) -> None:
    """Wait for a condition; a deadline makes the test fail, not pass.

    Asked once a second: each question starts programs, which would take the time that is measured.
    """
    end = time.monotonic() + DEADLINE_SECONDS
    while not met():
        if time.monotonic() > end:
            pytest.fail(f"not within {DEADLINE_SECONDS} s: {what}")
        time.sleep(1)


class Release:
    """One release of the chart, upgraded from test to test."""

    def __init__(self, cluster: Cluster, directory: Path, follow: Follow) -> None:
        self.cluster = cluster
        self._values_file = directory / "values.yaml"
        self._follow = follow
        names = [
            f"{listing.exchange}:{listing.tradingsymbol}"
            for listing in Universe(500, date(2026, 1, 5)).listings
            if listing.exchange == "NSE"
        ][:24]
        repository, _, tag = cluster.image.rpartition(":")
        self.values: dict[str, Any] = {
            "image": {"repository": repository, "tag": tag},
            "replicas": 2,
            "accounts": [
                {
                    "name": "main",
                    "secret": {"name": "kite-app"},
                    "tokenSecret": {"name": "kite-token"},
                }
            ],
            "settings": {
                "feed": {
                    "root": "ws://feed:8765",
                    "rest": "http://feed:8766",
                    "login": "http://feed:8766",
                },
                "kafka": {
                    "bootstrap_servers": "kafka:9092",
                    # a file as those of certificates are: this Kafka has no TLS, and it is not read
                    "client": {"ssl.crl.location": "/etc/kite-revoked/list"},
                },
                "topics": {"replication_factor": 1},
                "registry": {"url": "http://registry:8081"},
                "instruments": [{"mode": "quote", "instruments": names}],
            },
            "extraVolumes": [{"name": "revoked", "secret": {"secretName": "kite-revoked"}}],
            "extraVolumeMounts": [{"name": "revoked", "mountPath": "/etc/kite-revoked"}],
            "networkPolicy": {"feedTo": [{"podSelector": {"matchLabels": {"app": "feed"}}}]},
        }

    # Kubernetes

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.cluster.kubectl("--namespace", NAMESPACE, *arguments, **options)

    def get(self, *arguments: str) -> dict[str, Any]:
        return self.cluster.get("--namespace", NAMESPACE, *arguments)

    def pods(self) -> list[dict[str, Any]]:
        """The replicas' pods that are not being deleted, by name."""
        found = self.get("pods", "--selector", COMPONENT)["items"]
        living = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: pod["metadata"]["name"])

    def restarts(self) -> list[int]:
        return [pod["status"]["containerStatuses"][0]["restartCount"] for pod in self.pods()]

    def node_of(self, pod: str) -> str:
        return str(self.get("pod", pod)["spec"]["nodeName"])

    def page(self, pod: str, path: str) -> dict[str, Any] | None:
        """A page of a replica; None while it has none to give."""
        try:
            return self.cluster.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8090/proxy/{path}")
        except CommandError:
            return None

    def feed(self) -> dict[str, Any]:
        """What the simulated Kite counts."""
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        state: dict[str, Any] = self.cluster.raw(f"{pods}/feed:8766/proxy/simulator/state")
        return state["data"]

    def tell_feed(self, method: str, path: str, body: dict[str, Any]) -> None:
        ask = (
            "import sys, urllib.request as u; u.urlopen(u.Request('http://feed:8766/simulator/'"
            " + sys.argv[2], sys.argv[3].encode(), {'Content-Type': 'application/json'},"
            " method=sys.argv[1]), timeout=10)"
        )
        self.kubectl("exec", "client", "--", "python", "-c", ask, method, path, json.dumps(body))

    def secret(self, name: str, key: str, value: str) -> None:
        """Make or change a Secret."""
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {key: value},
        }
        self.kubectl("apply", "--filename=-", input=json.dumps(manifest))

    def renew_mounts(self) -> None:
        """Let the kubelet look at the pods now, not within the minute: their Secrets too."""
        self.kubectl(
            "annotate", "pods", "--selector", COMPONENT, "--overwrite", f"renewed={time.time_ns()}"
        )

    def kill(self, pod: str) -> None:
        """SIGKILL to the connector in a pod."""
        found = self.get("pod", pod)
        (killer,) = (
            one["metadata"]["name"]
            for one in self.cluster.get("--namespace", NODES_NAMESPACE, "pods")["items"]
            if one["spec"]["nodeName"] == found["spec"]["nodeName"]
        )
        self.cluster.kubectl(
            *("--namespace", NODES_NAMESPACE, "exec", killer, "--"),
            *("python", "-c", _KILL, found["metadata"]["uid"]),
        )

    def exhaust(self, pod: str) -> None:
        """Use up the memory of a pod, until the kernel ends the connector in it."""
        with contextlib.suppress(CommandError):  # it ends with its container
            self.kubectl("exec", pod, "--", "python", "-c", _EXHAUST)

    def kafka(self, *, away: bool) -> None:
        """End the broker, or let it come back with its data."""
        script = "touch /tmp/away; kill $(cat /tmp/pid)" if away else "rm /tmp/away"
        self.kubectl("exec", "kafka", "--", "bash", "-c", script)

    # Helm

    def _values(self, **changes: Any) -> list[str]:
        _merge(self.values, changes)
        self._values_file.write_text(json.dumps(self.values))
        return ["-n", NAMESPACE, "-f", str(self._values_file)]

    def install(self, **changes: Any) -> None:
        self.cluster.helm("install", "kite", str(CHART), *self._values(**changes))

    def upgrade(self, *, wait: bool = True, chart: Path = CHART, **changes: Any) -> None:
        """`helm upgrade` with some values changed from now on."""
        command = ["upgrade", "kite", str(chart), *self._values(**changes)]
        self.cluster.helm(*command, *(["--wait"] if wait else []), seconds=180 if wait else 0)

    def test(self) -> None:
        self.cluster.helm("test", "kite", "-n", NAMESPACE, seconds=60)

    # what it does

    def statuses(self) -> dict[str, dict[str, Any]]:
        """/status of each replica that answers."""
        names = [pod["metadata"]["name"] for pod in self.pods()]
        return {name: page for name in names if (page := self.page(name, "status"))}

    def settled(self, replicas: int = 2, pods: int | None = None) -> bool:
        """Whether so many replicas share the slots evenly, all connected and all ready.

        Args:
            replicas: that take part.
            pods: how many there are, where not all of them take part.
        """
        statuses = self.statuses()
        working = [s for s in statuses.values() if s["cluster"] and s["ready"]]
        shares = [len(s["connections"]) + s["cluster"]["leader"] for s in working]
        connections = [c for status in working for c in status["connections"]]
        return (
            len(self.pods()) == (pods or replicas)
            and len(working) == replicas
            and sorted(c["slot"] for c in connections) == SLOTS
            and {c["state"] for c in connections} == {"connected"}
            and sum(s["cluster"]["leader"] for s in working) == 1
            and max(shares) - min(shares) <= 1
        )

    def owners(self) -> dict[int, str]:
        """slot → pod, of the slots that are connected."""
        return {
            connection["slot"]: pod
            for pod, status in self.statuses().items()
            for connection in status["connections"]
            if connection["state"] == "connected"
        }

    def read_up_to_now(self) -> int:
        """Wait until the consumer has every tick up to this moment.

        Returns:
            This moment, UTC microseconds.
        """
        now_us = time.time_ns() // 1000
        wait_for("everything is read", lambda: self._follow.judge.complete_us() > now_us + _LAG_US)
        return now_us

    @contextlib.contextmanager
    def case(
        self, name: str, *, settled: Callable[[], bool] | None = None, killed: bool = False
    ) -> Iterator[None]:
        """Do something to the release meanwhile, then judge the ticks of that time.

        Args:
            name: of the row in the table.
            settled: when it is over; by default when two replicas share the slots.
            killed: what a process had not delivered may be lost.
        """
        begin_us = time.time_ns() // 1000 - _BEFORE_US
        yield
        wait_for(f"settled after {name}", settled or self.settled)
        verdict = self._follow.verdict(begin_us, self.read_up_to_now(), killed=killed)
        ROWS.append((name, verdict))
        assert not verdict.faults, "\n".join(verdict.faults)
        assert self.feed()["accounts"][0]["max_open_sockets"] == len(SLOTS)


class Follow:
    """The consumer in the client's pod, read along in a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self.judge = Judge()
        self._lock = threading.Lock()
        script = (HERE / "follow.py").read_text()
        self._process = subprocess.Popen(
            cluster.command(
                *("kubectl", "--namespace", NAMESPACE, "exec", "client", "--"),
                *("python", "-c", script, "kafka:9092"),
            ),
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            batch = json.loads(line)
            with self._lock:
                self.judge.read(**batch)

    def verdict(self, begin_us: int, end_us: int, *, killed: bool) -> Verdict:
        """Judge the ticks of a stretch of time."""
        with self._lock:
            return self.judge.verdict(begin_us, end_us, killed=killed)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


@contextlib.contextmanager
def release(cluster: Cluster, directory: Path) -> Iterator[Release]:
    """Everything but the release itself, which the first test installs."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    first = min(node["metadata"]["name"] for node in cluster.get("nodes")["items"])
    try:
        for name, labels in ((NAMESPACE, restricted), (NODES_NAMESPACE, {})):
            cluster.kubectl(
                "apply",
                "--filename=-",
                input=json.dumps(
                    {
                        "apiVersion": "v1",
                        "kind": "Namespace",
                        "metadata": {"name": name, "labels": labels},
                    }
                ),
            )
        for file, name in (("surroundings.yaml", NAMESPACE), ("nodes.yaml", NODES_NAMESPACE)):
            text = (HERE / file).read_text()
            text = text.replace("@IMAGE@", cluster.image).replace("@NODE@", first)
            cluster.kubectl("--namespace", name, "apply", "--filename=-", input=text)
        cluster.kubectl(
            *("--namespace", NAMESPACE, "wait", "--for=condition=Ready", "--timeout=240s"),
            *("pod/kafka", "pod/registry", "pod/feed", "pod/client"),
        )
        follow = Follow(cluster)
        try:
            yield Release(cluster, directory, follow)
        finally:
            follow.close()
    finally:
        if not cluster.nodes_can_be_lost:  # another's: it stays as it was
            cluster.kubectl("delete", "namespace", NAMESPACE, NODES_NAMESPACE, "--ignore-not-found")
