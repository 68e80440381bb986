"""`kite-connector run` as a process of its own."""

import asyncio
import contextlib
import itertools
import json
import os
import pty
import re
import signal
import sys

import aiohttp
import yaml

from connector.kite.feed.capture import CaptureReader
from connector.simulator import SimulatorConfig
from connector.testing import until
from tests.support.stack import raw_settings, stack

COMMAND = [sys.executable, "-m", "connector.cli"]


class Running:
    """A `kite-connector run`; its log is JSON lines on the error stream."""

    def __init__(self, process):
        self.process = process
        self.log = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self.process.stderr:
            self.log.append(json.loads(line))

    def said(self, message):
        return [line for line in self.log if line["message"] == message]

    async def status(self):
        (starting,) = self.said("service_starting")
        async with aiohttp.ClientSession() as http, http.get(starting["status"]) as response:
            return await response.json()

    async def until(self, condition):
        async with asyncio.timeout(180):
            while not condition(await self.status()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    async def end(self):
        async with asyncio.timeout(180):
            code = await self.process.wait()
            await self._reading
            return code


async def start(file, **environment):
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "run", "--config", str(file),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    return Running(process)


def settings_file(tmp_path, around, **changes):
    raw = raw_settings(around.simulator, around.broker, around.registry, **changes)
    file = tmp_path / "kite.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


async def test_a_signal_ends_it_clean_with_everything_flushed(tmp_path):
    async with stack() as around:
        running = await start(settings_file(tmp_path, around))
        try:
            await until(lambda: running.said("service_starting"), 60)
            await running.until(lambda status: status["ready"])
            assert running.said("service_starting")[0]["codec"] in {"native", "pure"}
            for _ in range(50):
                await around.simulator.step(5)
            sent = around.simulator.feed.total_packets
            await running.until(lambda status: status["accounting"]["received"] >= sent)
            running.process.send_signal(signal.SIGTERM)
            assert await running.end() == 0
        finally:
            if running.process.returncode is None:
                running.process.kill()
        (stopped,) = running.said("stopped")
        assert stopped["received"] == stopped["delivered"]
        ticks = sum(len(session) for session in (await around.ticks()).values())
        assert ticks == sent
        assert "simulated_token" not in str(running.log)
        assert "simulated_key" not in str(running.log)


async def test_asking_again_and_again_does_not_change_the_exit_code(tmp_path):
    async with stack() as around:
        spool = {"directory": str(tmp_path / "spool")}  # for what there is no time to flush
        running = await start(settings_file(tmp_path, around, spool=spool))
        await until(lambda: running.said("service_starting"), 60)
        await running.until(lambda status: status["ready"])
        ended = asyncio.create_task(running.end())
        # a terminal that is closed asks too
        signals = itertools.cycle((signal.SIGHUP, signal.SIGTERM, signal.SIGINT))
        while not ended.done():
            # not send_signal: it looks for the exit code itself, and takes it from asyncio
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.process.pid, next(signals))
            await asyncio.sleep(0.001)
        assert await ended == 0


async def test_losses_show_in_the_exit_code(tmp_path):
    async with stack() as around:
        running = await start(settings_file(tmp_path, around, grace_seconds=0.1))
        try:
            await until(lambda: running.said("service_starting"), 60)
            await running.until(lambda status: status["ready"])
            around.broker.set_down()
            await around.simulator.step(50)
            await running.until(lambda status: status["accounting"]["in_flight"] >= 50)
            running.process.send_signal(signal.SIGTERM)
            assert await running.end() == 3
        finally:
            if running.process.returncode is None:
                running.process.kill()
        (stopped,) = running.said("stopped with losses")
        assert stopped["dropped"]["no_spool_directory"] >= 50


async def ended(*arguments):
    """Exit code and both streams of a command that ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(180):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_recording_of_nothing_is_an_error_that_says_where_to_look(tmp_path):
    capture = tmp_path / "day.capture"
    async with stack() as around:
        account = {"api_key": "simulated_key", "access_token": "of_yesterday"}
        file = settings_file(tmp_path, around, accounts=[account])
        code, out, err = await ended("record", capture, "-c", file, "--duration", "0.5")
    assert (code, out.split(",")[0]) == (1, f"0 messages in {capture}")
    assert err.splitlines()[-1] == (
        "nothing was received: is a token there, and are there instruments?"
    )
    assert "of_yesterday" not in out + err


async def test_a_recording_says_what_is_in_it(tmp_path):
    capture = tmp_path / "day.capture.gz"
    async with stack() as around, asyncio.timeout(180):
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "record", str(capture), "-c", str(settings_file(tmp_path, around)),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await around.simulator.until(lambda: len(around.simulator.subscriptions()) == 5)
        # each second it says how many there are
        async for line in process.stderr:
            if not line.startswith(b"0 messages"):
                break
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 0
    count = len(list(CaptureReader(capture)))
    assert count > 0
    assert out.decode() == f"{count:,} messages in {capture}, {capture.stat().st_size:,} bytes\n"


async def test_trying_to_connect_says_what_was_found_in_its_exit_code_too(tmp_path):
    async with stack() as around:
        code, out, err = await ended(
            "check-config", "--connect", "-c", settings_file(tmp_path, around)
        )
        assert code == 0, out
        places = [line.partition(":")[0] for line in out.splitlines() if line.startswith("ok")]
        assert places == [
            "ok    Kafka", "ok    schema registry", "ok    token, main", "ok    REST, main",
            "ok    names",
        ]  # fmt: skip
        account = {"api_key": "simulated_key", "access_token": "of_yesterday"}
        file = settings_file(tmp_path, around, accounts=[account])
        code, out, err = await ended("check-config", "--connect", "-c", file)
    assert code == 1
    refused, not_tried = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert refused.startswith("FAIL  REST, main: ")
    assert not_tried.startswith("FAIL  names: not tried, since")
    assert "of_yesterday" not in out + err
    assert "Traceback" not in err


async def test_on_a_terminal_long_work_has_a_bar_below_the_log(tmp_path):
    said = bytearray()

    async def until_said(words):
        async with asyncio.timeout(180):
            while words not in said:
                said.extend(await asyncio.to_thread(os.read, terminal, 65536))

    terminal, end = pty.openpty()
    # rows enough for some looks at them
    async with stack(SimulatorConfig(stepped=True, instruments=12_000)) as around:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "run", "-c", str(settings_file(tmp_path, around)),
            stdin=end, stdout=end, stderr=end, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        os.close(end)
        try:
            await until_said(b"instruments_published")
            process.send_signal(signal.SIGTERM)
            await until_said(b"stopped")
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            os.close(terminal)
    text = re.sub(r"\x1b\[[\d;]*m", "", said.decode())
    assert re.search(r"instruments to Kafka .*\d% [\d,]+ left", text)
    # each line of the log has the line of the terminal to itself
    assert re.search(r"(\x1b\[2K|\n)\d\d:\d\d:\d\d \[info *\] instruments_published", text)


async def test_wrong_settings_end_it_with_two(tmp_path):
    file = tmp_path / "kite.yaml"
    file.write_text("accounts: []\n")
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "run", "--config", str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"accounts: at least one is required" in error
    assert b"Traceback" not in error


async def test_closed_streams_are_no_reason_to_fail(tmp_path):
    file = tmp_path / "kite.yaml"
    for text, code in (("accounts: [{api_key: k}]\n", 0), ("accounts: []\n", 2)):
        file.write_text(text)
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh",
            *COMMAND, "check-config", "--config", str(file),
        )  # fmt: skip
        assert await process.wait() == code


async def test_a_taken_port_ends_it_with_two(tmp_path):
    async with stack() as around:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        running = await start(settings_file(tmp_path, around, http={"port": port}))
        running._reading.cancel()
        error = await running.process.stderr.read()
        assert await running.process.wait() == 2
        assert f"http.port: port {port} on 127.0.0.1 is in use".encode() in error
        assert b"Traceback" not in error
        server.close()
        await server.wait_closed()
