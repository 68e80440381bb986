"""In a flood of anything the rest of the process goes on, and every frame is accounted for."""

import aiohttp
import pytest

from connector.simulator.wire import BINARY, TEXT, websocket_frame
from connector.testing import until
from tests.support.stack import delivered, service, stack


def rejected(status):
    return sum(status.rejected.values())


def ticks(status):
    """Without events and instruments, which are written whenever their work gets done."""
    return sum(exchange.ticks for exchange in status.exchanges)


def heartbeats(status):
    return sum(connection.heartbeats for connection in status.connections)


# a frame, how many of them each socket gets at once, how they are counted, what one counts
FLOODS = {
    "three bytes": (websocket_frame(BINARY, b"\0\1x"), 10_000, rejected, 1),
    "no bytes": (websocket_frame(BINARY, b""), 30_000, heartbeats, 1),
    "no json": (websocket_frame(TEXT, b"["), 5_000, rejected, 1),
    "empty packets": (
        websocket_frame(BINARY, b"\xff\xff" + bytes(2 * 65535)), 50, rejected, 66,
    ),
}  # fmt: skip
ANSWERS = 3
"""Of /live that come before a flood is over: without a bound there is none, or one."""


@pytest.mark.parametrize("flood", FLOODS)
async def test_live_is_answered_during_a_flood_and_nothing_of_it_is_lost(flood):
    frame, frames, count, each = FLOODS[flood]
    async with stack() as around, service(around) as running, aiohttp.ClientSession() as http:
        url = f"{running.http.url}/live"
        async with http.get(url) as answer:  # the way is open from here on
            assert answer.status == 200
        await delivered(running)
        before = count(running.status())
        sockets = around.simulator.sockets
        for socket in sockets:
            socket.connection.tap.write(frame * frames)
        expected = before + len(sockets) * frames * each
        answers = 0
        while count(running.status()) < expected:
            async with http.get(url) as answer:
                assert answer.status == 200
            answers += 1
        assert answers >= ANSWERS
        await delivered(running)
        assert count(running.status()) == expected
        assert {one.state for one in running.status().connections} == {"connected"}
        # and what comes then streams
        before = ticks(running.status())
        await around.simulator.step(5)
        await until(lambda: ticks(running.status()) >= before + 5)
