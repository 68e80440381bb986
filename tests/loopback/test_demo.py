import asyncio
import io
import json
import os
import pty
import re
import signal
import sys
from collections import deque

import pytest

from connector.cli.demo import DemoOptions, run_demo

QUICK = DemoOptions(instruments=60, updates_per_second=5.0)
RECEIVED = re.compile(r"received (\d[\d,]*)")
PRICE = re.compile(r"NIFTY 50 +\d[\d,]*\.\d\d")
"""Read from Kafka: ticks have gone all the way."""


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Until:
    """Sets `stop` once what was written holds: the demo ends by what it shows, not by a clock."""

    def __init__(self, out, holds):
        self.stop = asyncio.Event()
        self._out = out
        self._holds = holds

    def write(self, text):
        written = self._out.write(text)
        if self._holds(self._out.getvalue()):
            self.stop.set()
        return written

    def __getattr__(self, name):
        return getattr(self._out, name)


def received(text):
    """The highest count of received ticks that the text tells."""
    return max((int(count.replace(",", "")) for count in RECEIVED.findall(text)), default=0)


async def shown(options, out, stop):
    code = await run_demo(options, out, deque(), stop)
    return code, out.getvalue()


async def shown_until(options, out, holds):
    until = Until(out, holds)
    return await shown(options, until, until.stop)


async def test_without_a_terminal_it_prints_lines_and_json():
    code, text = await shown_until(QUICK, io.StringIO(), lambda text: received(text) > 60)
    assert code == 0
    *lines, last = text.splitlines()
    assert re.match(r"status http://127\.0\.0\.1:\d+/status", lines[0])
    assert "kite-connector tail nse -b 127.0.0.1:" in lines[1]
    assert re.search(r"\d connections, [\d,]+ ticks/s, received [\d,]+ = delivered", lines[-1])
    summary = json.loads(last)
    assert summary["received"] == summary["delivered"] > 60
    assert summary["balanced"]
    assert summary["deadlettered"] == summary["dropped"] == summary["in_flight"] == 0
    assert summary["ticks_per_second"] > 0
    # what the broker has is what the connector says
    assert sum(summary["topics"].values()) == summary["delivered"]
    assert summary["topics"]["kite.ticks.nse"] > 0


async def test_on_a_terminal_it_is_a_view():
    code, text = await shown_until(QUICK, Terminal(), PRICE.search)
    assert code == 0
    assert "\x1b[" in text
    assert re.search(r"([\d,]+) received, \1 delivered, 0 dead letters, 0 dropped", text)


async def test_several_replicas_share_the_connections():
    options = DemoOptions(replicas=2, instruments=60, updates_per_second=5.0)
    signs = ("3 connections", "command subscribe quote: APPLIED")
    code, text = await shown_until(
        options, io.StringIO(), lambda text: all(sign in text for sign in signs)
    )
    assert code == 0
    summary = json.loads(text.splitlines()[-1])
    assert summary["received"] == summary["delivered"]


async def test_it_ends_when_told_to():
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, stop.set)
    code, text = await shown(DemoOptions(instruments=20), io.StringIO(), stop)
    assert code == 0
    assert json.loads(text.splitlines()[-1])["balanced"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
async def test_the_command_ends_clean_at_ctrl_c():
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "connector.cli", "demo", "--instruments", "60",
        stdin=slave, stdout=slave, stderr=asyncio.subprocess.PIPE,
        # a proxy has no part in it
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24",
             "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    os.close(slave)
    loop = asyncio.get_running_loop()
    text = ""
    interrupted = False
    try:
        async with asyncio.timeout(180):
            while True:
                try:
                    chunk = await loop.run_in_executor(None, os.read, master, 65536)
                except OSError:  # the other end is closed
                    break
                text += chunk.decode(errors="replace")
                if not interrupted and "ready" in text and "not ready" not in text[-3000:]:
                    interrupted = True
                    process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert process.stderr is not None
            assert b"Traceback" not in await process.stderr.read()
    finally:
        os.close(master)
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert interrupted
    assert " received, " in text
