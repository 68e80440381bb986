"""A feed that has no room for a socket just now, or wants to be left alone for a while."""

import pytest

from connector import ConnectionState, HandshakeError, TooManyConnectionsError


@pytest.mark.parametrize("kind", [HandshakeError, TooManyConnectionsError])
async def test_a_busy_feed_is_left_alone_for_as_long_as_it_asks(make, kind):
    busy = kind(503)
    busy.retry_after_seconds = 40
    feed, connection = make(busy, random=0.0)
    await feed.start(connection)
    assert feed.clock.pending[0] >= 40
    await feed.clock.advance(39.5)
    assert len(feed.tries) == 1
    await feed.clock.advance(5)
    assert connection.state is ConnectionState.CONNECTED


async def test_429_waits_for_the_slot_as_often_as_it_takes(make):
    answers = [TooManyConnectionsError(429)] * 20
    feed, connection = make(*answers, slot_wait_seconds=2, max_reconnect_attempts=3)
    await feed.start(connection)
    assert connection.state is ConnectionState.WAITING_FOR_SLOT
    assert feed.clock.pending == [0.125]
    # four steps that double, then one every two seconds
    await feed.clock.advance(1.875 + 15 * 2 + 1.5)
    assert len(feed.tries) == 20
    await feed.clock.advance(1)
    assert connection.state is ConnectionState.CONNECTED
