"""Whoever ends a connection, or hands it nonsense, its readers come to know of the end."""

import asyncio

import pytest

from connector import ConnectionClosedError, ConnectionState, Mode
from connector.testing import RecordingHandler, settle
from tests.support import packets

NSE = packets.NSE


class Answering(RecordingHandler):
    """Confirms whatever it was told to, as a handler of a user's own may."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def frame(self, data, receive_time_us):
        super().frame(data, receive_time_us)
        return self.answer


@pytest.mark.parametrize("answer", [[1], 5, "x", [(NSE,)], [([], Mode.LTP)], True])
async def test_a_handler_that_returns_nonsense_harms_nobody(over_feed, answer):
    feed, connection = over_feed("connection", handler=Answering(answer))
    socket = await feed.open(connection)
    connection.update({NSE: Mode.LTP})
    socket.confirm()  # raises nothing into the socket, which would end by it
    assert connection.state is ConnectionState.CONNECTED
    assert connection.stats.handler_errors == 1
    assert connection.stats.confirmed == 0
    await connection.close()


async def test_a_supervisor_that_others_cancel_is_a_closed_connection(over_feed):
    """As `asyncio.run` does with all that was not closed."""
    feed, connection = over_feed("connection")
    await feed.open(connection)
    (task,) = (one for one in asyncio.all_tasks() if one.get_name().startswith("kite-slot"))
    task.cancel()
    await settle()
    assert connection.state is ConnectionState.CLOSED
    assert feed.handler.event_types[-1] == "closed"
    with pytest.raises(ConnectionClosedError):
        connection.start()
    await connection.close()
    assert feed.handler.event_types.count("closed") == 1


async def test_one_that_is_cancelled_before_its_first_step_is_closed_too(over_feed):
    feed, connection = over_feed("connection")
    connection.start()
    (task,) = (one for one in asyncio.all_tasks() if one.get_name().startswith("kite-slot"))
    task.cancel()
    assert isinstance(await connection.first_outcome(), ConnectionClosedError)
    assert feed.handler.event_types == ["closed"]


async def test_a_close_that_is_cancelled_closes_all_the_same(over_feed):
    feed, connection = over_feed("connection")
    socket = await feed.open(connection)
    socket.may_close.clear()
    closing = asyncio.create_task(connection.close())
    await settle()
    closing.cancel()
    await settle()
    assert closing.cancelled()
    assert socket.aborted
    assert connection.state is ConnectionState.CLOSED
