"""Programs written for Kite's own Python client, with it and with one line changed for ours.

They are in examples/kiteconnect, in five styles that are common among public ones.
"""

import asyncio
import os
import sys

import pytest

from connector.simulator import SimulatorConfig, SimulatorServer
from tests.support.clock import SteppedClock
from tests.support.processes import ROOT, ended

PROGRAMS = ROOT / "examples/kiteconnect"
CONFIG = SimulatorConfig(stepped=True, instruments=100)
BEGIN = 1_767_584_700  # 09:15 in India
THEIRS = "from kiteconnect import KiteTicker\n"
OURS = "from connector.compat import KiteTicker\n"
INFY, RELIANCE, TCS, NIFTY_50 = 408065, 738561, 779521, 256265


async def first_ticks(server, clock):
    await server.until(lambda: server.subscriptions() == {INFY: "full", NIFTY_50: "quote"})
    for _ in range(5):
        await server.step(2)


async def threaded_loop(server, clock):
    for modes in ({INFY: "full", RELIANCE: "quote"}, {INFY: "ltp", RELIANCE: "quote"}):
        await server.until(lambda modes=modes: server.subscriptions() == modes)
        await server.step(2)


async def candles(server, clock):
    await server.until(lambda: server.subscriptions() == {INFY: "full", RELIANCE: "full"})
    for steps in (3, 3, 1):
        for _ in range(steps):
            await server.step(2)
            clock.seconds += 20


async def orders(server, clock):
    await server.until(lambda: server.sockets)
    for side, quantity in (("BUY", 10), ("SELL", 4)):
        form = {
            "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": side,
            "order_type": "MARKET", "product": "CNC", "quantity": str(quantity),
        }  # fmt: skip
        server.place_order(CONFIG.accounts[0], "regular", form)


async def to_sqlite(server, clock):
    wanted = dict.fromkeys((INFY, RELIANCE, TCS), "quote")
    await server.until(lambda: server.subscriptions() == wanted)
    for _ in range(9):
        await server.step(3)


SAID = {
    first_ticks: ["408065 quote ", "408065 full ", "256265 quote ", "ended"],
    threaded_loop: ["connected True", "full 5 levels", "ltp [", "subscribed {408065: "],
    candles: ["408065 2026-01-05T03:45:00 ", "738561 2026-01-05T03:46:00 "],
    orders: ["waiting for orders", " COMPLETE 10 of 10", "positions {'NSE:INFY': 6}"],
    to_sqlite: ["408065 quote 10 ", "738561 quote 10 ", "779521 quote 10 "],
}


def test_every_program_is_run_here():
    assert {one.__name__ for one in SAID} == {path.stem for path in PROGRAMS.glob("*.py")}


async def said_by(program, feed):
    clock = SteppedClock(float(BEGIN))
    async with SimulatorServer(CONFIG, clock=clock.monotonic) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), stdout=asyncio.subprocess.PIPE,
            env=os.environ | {
                "KITE_API_KEY": "simulated_key", "KITE_ACCESS_TOKEN": "simulated_token",
                "KITE_ROOT": server.ws_url, "TZ": "UTC", "PYTHONPATH": str(ROOT),
            },
        )  # fmt: skip
        async with ended(process), asyncio.timeout(120):
            await feed(server, clock)
            output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


@pytest.mark.parametrize("feed", SAID, ids=lambda one: one.__name__)
async def test_one_line_changed_is_all_that_a_program_needs(feed, tmp_path):
    text = (PROGRAMS / f"{feed.__name__}.py").read_text()
    assert text.count(THEIRS) == 1
    said = []
    for line in (THEIRS, OURS):
        program = tmp_path / "program.py"
        program.write_text(text.replace(THEIRS, line))
        said.append(await said_by(program, feed))
    assert said[0] == said[1]
    for words in SAID[feed]:
        assert words in said[0]
