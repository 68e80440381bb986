"""The programs as a user starts them: simulator, connector and `ctl`, set by variables alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connector.testing import wait_until
from tests.support.ports import free_ports

CLI = str(Path(sys.executable).with_name("kite-connector"))
API_KEY, TOKEN = "simulated_key", "simulated_token"
START_SECONDS = 60.0


class Simulator:
    """A `kite-connector simulate`."""

    def __init__(self) -> None:
        ws, rest = free_ports(2)
        self._process = subprocess.Popen(
            [CLI, "simulate", "--ws-port", str(ws), "--rest-port", str(rest)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._rest = f"http://127.0.0.1:{rest}"
        self.environment = {
            "KITE_FEED__ROOT": f"ws://127.0.0.1:{ws}",
            "KITE_FEED__REST": self._rest,
            "KITE_ACCOUNTS__0__API_KEY": API_KEY,
            "KITE_ACCOUNTS__0__ACCESS_TOKEN": TOKEN,
        }
        wait_until(self._answers, START_SECONDS)

    def place_order(self) -> None:
        """A market order, whose updates every socket is told of."""
        form = {
            "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY",
            "order_type": "MARKET", "product": "CNC", "quantity": "1",
        }  # fmt: skip
        request = urllib.request.Request(
            f"{self._rest}/orders/regular",
            data=urllib.parse.urlencode(form).encode(),
            headers={"Authorization": f"token {API_KEY}:{TOKEN}", "X-Kite-Version": "3"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process.poll() is None
        try:
            urllib.request.urlopen(f"{self._rest}/simulator/health", timeout=2).close()
        except OSError:
            return False
        return True


class Connector:
    """A `kite-connector run`; its log is kept in a file."""

    def __init__(self, log: Path, *environments: dict[str, str]) -> None:
        (self._port,) = free_ports(1)
        self._log = log
        environment = dict(os.environ) | {
            "KITE_TOPICS__REPLICATION_FACTOR": "1",
            "KITE_TOPICS__TICK_PARTITIONS": "2",
            "KITE_REGISTRY__URL": "mock://security",
            "KITE_LOGGING__FORMAT": "json",
            "KITE_HTTP__PORT": str(self._port),
        }
        for more in environments:
            environment |= more
        self._environment = environment
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as file:
            return subprocess.Popen([CLI, "run"], env=self._environment, stdout=file, stderr=file)

    @property
    def log(self) -> str:
        """Everything that it has printed so far."""
        return self._log.read_text()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def page(self, path: str) -> str:
        """A page of its status server; empty where it does not answer (yet)."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/{path}", timeout=5
            ) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as answer:
            return str(answer.read().decode())
        except OSError:
            return ""

    def status(self) -> dict[str, Any]:
        """/status; without an answer it is simply not ready."""
        text = self.page("status")
        return dict(json.loads(text)) if text else {"ready": False}

    def reasons(self) -> list[str]:
        """Why it is not ready."""
        text = self.page("ready")
        return list(json.loads(text)["reasons"]) if text else []

    def until_reason(self, pattern: str) -> str:
        """Wait until a reason why it is not ready matches; that reason.

        A first try may fail for another reason where the machine is busy.
        """
        wanted = re.compile(pattern)

        def found() -> str | None:
            if not self.running:
                return "it has ended"
            return next(filter(wanted.search, self.reasons()), None)

        reason = str(wait_until(found, START_SECONDS))
        assert self.running, self.log[-4000:]
        return reason

    def until_ready(self) -> None:
        """Wait until it is ready; at once an error where it has ended."""
        wait_until(lambda: not self.running or self.status()["ready"], START_SECONDS)
        assert self.running, self.log[-4000:]

    def ended(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self.process.wait(START_SECONDS)

    def stop(self) -> int:
        """End it as Kubernetes does; its exit code. Shows the log of an end that is not clean."""
        if self.running:
            self.process.terminate()
        code = self.process.wait(START_SECONDS)
        if code:
            print(self.log[-8000:])
        return code


@contextlib.contextmanager
def connector(log: Path, *environments: dict[str, str]) -> Iterator[Connector]:
    """A connector that is ended in any case."""
    running = Connector(log, *environments)
    try:
        yield running
    finally:
        if running.running:
            running.process.kill()
            running.process.wait()


def ctl(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of `kite-connector ctl`."""
    return subprocess.run(
        [CLI, "ctl", *arguments],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
