"""A Kubernetes to test on: the one that KUBECONFIG names, else one that is started beside.

The scripts of the surroundings (`../shared/k8s`) build a small one of two nodes and start it; what
they have built is kept in K8S_WORK, so that only a fresh machine pays for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.docker import IMAGE, ROOT, build_image

SCRIPTS = Path(os.environ.get("K8S_SCRIPTS") or ROOT.parent / "shared/k8s")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
WORK = Path(os.environ.get("K8S_WORK") or CACHE / "kite-k8s")
IMAGE_BEFORE = "kite-connector:before"
KAFKA_IMAGE = "apache/kafka:4.4.0"
# a build from nothing takes ten minutes on two idle cores
UP_SECONDS = 3600
COMMAND_SECONDS = 300


class CommandError(AssertionError):
    """A command that should have succeeded, with what it wrote."""


def run(command: list[str], *, seconds: float = COMMAND_SECONDS, **options: Any) -> str:
    """What a command writes to stdout.

    Raises:
        CommandError: it ended with another code than 0, or not in time.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, **options
        )
    except subprocess.TimeoutExpired as late:
        raise CommandError(f"{' '.join(command)[:600]}: not within {seconds:g} s") from late
    if done.returncode:
        raise CommandError(f"{' '.join(command)[:600]}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


class Cluster:
    """One that KUBECONFIG names: kubectl and helm are those of the PATH."""

    nodes_can_be_lost = False
    image = os.environ.get("K8S_IMAGE", "")

    def command(self, tool: str, *arguments: str) -> list[str]:
        """The command line of kubectl or helm."""
        return [tool, *arguments]

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return run(self.command("kubectl", *arguments), **options)

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get`, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def helm(self, *arguments: str, seconds: int = 0) -> str:
        timeout = [f"--timeout={seconds}s"] if seconds else []
        return run(self.command("helm", *arguments, *timeout))

    def raw(self, path: str) -> dict[str, Any]:
        """A GET of the API server, which also reaches the pods' HTTP ports."""
        return json.loads(self.kubectl("get", "--raw", path, seconds=10))


class OwnCluster(Cluster):
    """The one that the scripts beside start: two nodes, each in namespaces of this machine."""

    nodes_can_be_lost = True
    image = IMAGE

    def __init__(self) -> None:
        self._environment = {**os.environ, "K8S_WORK": str(WORK), "NODES": "2"}

    def command(self, tool: str, *arguments: str) -> list[str]:
        sourced = f'. "$0/env"; {tool} "$@"'
        return ["env", f"K8S_WORK={WORK}", "NODES=2", "bash", "-c", sourced, str(SCRIPTS),
                *arguments]  # fmt: skip

    def helm(self, *arguments: str, seconds: int = 0) -> str:
        timeout = [f"--timeout={seconds}"] if seconds else []
        return run(self.command("helm", *arguments, *timeout))

    def up(self) -> None:
        """Start it, with the images: on the first node what runs nowhere else."""
        self._script("cluster-up", seconds=UP_SECONDS)
        self._script("image-load", "-n", "1", KAFKA_IMAGE)
        self._script("image-load", IMAGE)

    def commit_before(self, directory: Path) -> Path:
        """Put the commit before into a directory, and its image, IMAGE_BEFORE, on the nodes.

        Returns:
            Its tree.
        """
        commit = os.environ.get("K8S_BEFORE") or "HEAD~1"
        archive = directory / "before.tar"
        try:
            run(["git", "-C", str(ROOT), "archive", f"--output={archive}", commit])
        except CommandError as error:
            pytest.skip(f"there is no commit before: {error}")
        tree = directory / "before"
        tree.mkdir()
        run(["tar", "--extract", f"--file={archive}", f"--directory={tree}"])
        build_image(IMAGE_BEFORE, tree)
        self._script("image-load", IMAGE_BEFORE)
        return tree

    def down(self) -> None:
        self._script("cluster-down")

    def lose(self, node: str) -> None:
        """End everything on a node at once: the first process of its PID namespace is its last."""
        os.kill(int((WORK / f"{node}.pid").read_text()), signal.SIGKILL)

    def _script(self, name: str, *arguments: str, seconds: float = COMMAND_SECONDS) -> None:
        # into a file: the nodes inherit it, and a pipe would be read until they end
        log = WORK / f"{name}.log"
        with log.open("w") as out:
            done = subprocess.run(
                [str(SCRIPTS / name), *arguments],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                check=False, timeout=seconds,
            )  # fmt: skip
        if done.returncode:
            raise CommandError(f"{name}: {log.read_text()[-3000:]}")


def _missing(reason: str) -> None:
    if os.environ.get("REQUIRE_K8S") == "1":
        pytest.fail(f"REQUIRE_K8S=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """The cluster, with the image on it; what was started here ends with the tests.

    K8S_KEEP=1 leaves one's own running, to look at it; the next run begins anew all the same.
    """
    if os.environ.get("KUBECONFIG"):
        if not Cluster.image:
            _missing("K8S_IMAGE does not say which image the cluster of KUBECONFIG is to pull")
        yield Cluster()
        return
    if not (SCRIPTS / "cluster-up").exists():
        _missing(f"there is no Kubernetes: KUBECONFIG names none, and {SCRIPTS} is not there")
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(f"another run uses the cluster in {WORK}", pytrace=False)
        own = OwnCluster()
        own.down()
        build_image()
        try:
            own.up()
            yield own
        finally:
            if os.environ.get("K8S_KEEP") != "1":
                own.down()
