"""The Python of the documentation, run as it stands but for addresses and the end."""

import ast
import asyncio
import contextlib
import types

import pytest

import connector
import connector.testing
from connector import KiteTickerAsync, Mode
from connector.simulator import SimulatedAccount, SimulatorConfig, SimulatorServer
from tests.support.documented import block_after
from tests.support.leaders import leader
from tests.support.masters import FakeMaster
from tests.support.replicas import broker

BUSY = SimulatorConfig(updates_per_second=100, instruments=300)
KEY, TOKEN = "simulated_key", "simulated_token"


class EnoughError(Exception):
    """A program of the documentation goes on for ever; it has printed what it should."""


class Printed:
    """`print` for a program, which ends it after some lines."""

    def __init__(self, enough=1):
        self.lines = []
        self._enough = enough

    def __call__(self, *values):
        self.lines.append(values)
        if len(self.lines) >= self._enough:
            raise EnoughError


def replaced(text, *pairs):
    for old, new in pairs:
        assert text.count(old) == 1, f"{old} stands {text.count(old)} times in\n{text}"
        text = text.replace(old, new)
    return text


async def run(text, names):
    """Run a block that awaits outside of a function."""
    code = compile(text, "documentation", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names.update({name: getattr(connector, name) for name in connector.__all__} | names)
    await types.FunctionType(code, names)()


async def test_the_readme():
    printed = Printed()
    async with SimulatorServer(BUSY) as server:
        text = replaced(
            block_after("README.md", "As a library:").text,
            ('"api_key", "access_token"', f'"{KEY}", "{TOKEN}", root="{server.ws_url}"'),
        )
        # it starts an event loop of its own
        with pytest.raises(EnoughError):
            await asyncio.to_thread(exec, compile(text, "README.md", "exec"), {"print": printed})
    ((ticks,),) = printed.lines
    assert [tick.instrument_token for tick in ticks] == [408065]


async def test_one_connection():
    printed = Printed(enough=4)
    async with SimulatorServer(BUSY) as server:
        text = replaced(
            block_after("docs/library.md", "## One connection").text,
            ("access_token)", f"access_token, root={server.ws_url!r})"),
        )
        with pytest.raises(EnoughError):
            await run(text, {"print": printed, "api_key": KEY, "access_token": TOKEN})
    assert {line[0] for line in printed.lines} == {408065, 738561}


async def test_many_connections():
    printed = Printed()
    async with SimulatorServer(BUSY) as server:
        text = replaced(
            block_after("docs/library.md", "## Many connections").text,
            ("access_token, config)", f"access_token, config, root={server.ws_url!r})"),
            # it ends with the first message, and not after a minute
            ("asyncio.sleep(60)", "asyncio.Event().wait()"),
        )
        names = {"print": printed, "asyncio": asyncio, "api_key": KEY, "access_token": TOKEN}
        with pytest.raises(ExceptionGroup) as caught:
            await run(text, {**names, "tokens": [408065]})
    assert caught.group_contains(EnoughError)
    assert printed.lines


async def test_many_accounts(tmp_path):
    printed = Printed(enough=2)
    (tmp_path / "token2").write_text("second_token")
    accounts = (
        SimulatedAccount(),
        SimulatedAccount(api_key="second_key", access_token="second_token", user_id="SIM002"),
    )
    config = BUSY.model_copy(update={"accounts": accounts})
    async with SimulatorServer(config) as server:
        text = replaced(
            block_after("docs/library.md", "**More than 9000 instruments**").text,
            ("accounts=accounts)", f"accounts=accounts, root={server.ws_url!r})"),
            ("/run/token2", str(tmp_path / "token2")),
        )
        names = {"print": printed, "key": KEY, "token": TOKEN, "key2": "second_key"}
        with pytest.raises(EnoughError):
            await run(text, names | {"tokens": [408065]})
    assert {(account, channel_id) for account, channel_id, *_ in printed.lines} == {("b", 3)}


async def test_the_simulator_in_a_test():
    async with contextlib.AsyncExitStack() as stack:

        async def connect(server):
            client = KiteTickerAsync.connect(KEY, TOKEN, root=server.ws_url)
            ticker = await stack.enter_async_context(client)
            ticker.subscribe([408065, 738561], Mode.QUOTE)

        text = replaced(
            block_after("docs/simulator.md", "In a test:").text,
            ("    ...  # connect", "    await connect(server)  # connect"),
        )
        await run(text, {"connect": connect})


@pytest.mark.parametrize("words", ["## Tests of your program", "A user's test of time"])
async def test_tests_of_a_users_program(words):
    names = {name: getattr(connector.testing, name) for name in connector.testing.__all__}
    await run(block_after("docs/library.md", words).text, names)


def test_a_command_in_python():
    printed = Printed(enough=100)
    master = FakeMaster({"NSE:INFY": 408065, "NSE:RELIANCE": 738561})
    with broker() as kafka, leader(kafka, master):
        text = replaced(
            block_after("docs/control.md", "Python, with confluent-kafka").text,
            ("localhost:9092", kafka.bootstrap_servers),
        )
        exec(compile(text, "control.md", "exec"), {"print": printed})
    ((reply,),) = printed.lines
    assert (reply["status"], reply["accepted"], reply["refused"]) == ("APPLIED", 2, [])
