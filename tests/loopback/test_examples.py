"""Every example runs against the simulated feed and ends by itself."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from connector.simulator import SimulatedAccount, SimulatorConfig, SimulatorServer

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"
ACCOUNTS = (
    SimulatedAccount(),
    SimulatedAccount(api_key="second_key", access_token="second_token", user_id="SIM002"),
)
BUSY = SimulatorConfig(updates_per_second=100, instruments=300, accounts=ACCOUNTS)
GIVEN = "main:simulated_key:simulated_token,second:second_key:second_token"
WITHOUT_A_FEED = {"performance"}

# what each prints when it has done its work
EXPECTED = {
    "quick_start": ["408065 1", "738561 "],
    "single_connection": ["* connected", "408065 quote: 1", "order 7: COMPLETE", "frames="],
    "manager": ["3 connections, 3/3 instruments", "0 messages dropped", "healthy, 100 %",
                "channel 2: "],
    "runtime_changes": ["{408065: 'ltp'}", "408065: 'full'", "refused: [2953217]",
                        "2953217: 'ltp'", "0 reconnects"],
    "market_scanner": [" % bid None", " % bid "],
    "bars": [" frames, ", " bars shape: (", "┆ open ", "┆ spread "],
    "multi_account": ["('main', 0): ", "('second', 2): ", "main: 2 connections, 2 instruments",
                      "second: 2 connections, 1 instruments", "healthy {'main': 100.0, 'second'"],
    "raw_and_parsed": [" frames beside them", "parse_frame and a price: ", "ticks_to_arrow, all"],
    "high_frequency": [" full packets in ", " batches, the highest price ", "\n0 messages lost"],
    "mode_changes": ["ltp: instrument_token", "tradable, last_price\nquote: ", "full: ",
                     ", depth\nltp: ", "1 connection"],
    "heartbeat_watch": ["connected: ", " heartbeats, ", " pongs and pings, silent for 0."],
    "performance": ["way  ", "parse_frame, no field read", "ticks_to_arrow, 100 frames"],
    "portfolio_monitor": ["gain ", "order 7 COMPLETE: 5 filled"],
}  # fmt: skip


def test_every_example_is_run_here():
    assert set(EXPECTED) == {path.stem for path in EXAMPLES.glob("*.py")} - {"options"}


@pytest.mark.parametrize("name", EXPECTED)
async def test_it_runs_and_ends(name, tmp_path):
    async with asyncio.timeout(300), SimulatorServer(BUSY) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"),
            "--root", server.ws_url, "--seconds", "2",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1]), "KITE_ACCOUNTS": GIVEN},
            cwd=tmp_path,
        )  # fmt: skip
        reading = asyncio.create_task(process.communicate())
        if name not in WITHOUT_A_FEED:
            await server.until(lambda: bool(server.requests), 120)
            await server.post_order(
                {"order_id": "7", "status": "COMPLETE", "filled_quantity": 5, "quantity": 5}
            )
        output, errors = (text.decode() for text in await reading)
    assert process.returncode == 0, errors
    assert errors == ""
    for words in EXPECTED[name]:
        assert words in output, output
    assert "simulated_token" not in output
