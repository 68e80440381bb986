import json

import pytest

from connector import ErrorMessage, FeedUnreachableError, Mode, parse_frame
from connector.simulator.wire import encode_frame
from connector.testing import FakeFeed, FakeSocket, settle
from connector.testing.fake_feed import packet


@pytest.mark.parametrize("mode", Mode)
def test_a_packet_is_one_of_its_mode(mode):
    (tick,) = parse_frame(encode_frame([packet(257, mode, 12345)]))
    assert (tick.instrument_token, tick.mode, tick.last_price) == (257, mode, 123.45)


async def test_a_connection_and_its_handler_see_what_the_test_sends():
    feed = FakeFeed()
    connection = feed.connection()
    connection.update({257: Mode.FULL, 513: Mode.LTP})
    socket = await feed.open(connection)
    assert feed.subscriptions == [{257: Mode.FULL, 513: Mode.LTP}]
    socket.confirm()
    socket.text({"type": "error", "data": "no"})
    socket.heartbeat()
    assert connection.stats.confirmed == 2
    assert feed.handler.messages[0][0] == ErrorMessage("no")
    connection.update({513: None})
    assert feed.subscriptions == [{257: Mode.FULL}]
    socket.drop(1006)
    await feed.clock.advance(5)
    assert len(feed.sockets) == 2
    assert "disconnected" in feed.handler.event_types
    await connection.close()


async def test_tries_come_to_the_answers_in_order_and_then_to_sockets():
    feed = FakeFeed(FeedUnreachableError("ws://feed", "refused"), None)
    manager = feed.manager(max_connections=3)
    await feed.start(manager)
    assert (len(feed.tries), len(feed.sockets)) == (3, 2)
    await feed.clock.advance(1)
    assert len(feed.sockets) == 3
    assert feed.events[-1].type.value == "connected"
    await manager.stop()


async def test_a_ticker_of_a_feed_that_never_answers_goes_on_waiting():
    feed = FakeFeed()
    feed.never = True
    ticker = feed.ticker()
    ticker._connection.start()
    await settle()
    assert not ticker.is_connected()
    assert feed.sockets == []
    await ticker.close()


def test_more_instruments_than_a_socket_may_have_fail_the_test():
    socket = FakeSocket(None)
    with pytest.raises(AssertionError, match="more instruments"):
        socket.send(json.dumps({"a": "subscribe", "v": list(range(3001))}))
