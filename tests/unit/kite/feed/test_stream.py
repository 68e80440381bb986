"""Connected is not streaming: what becomes of sockets that are mute or half served."""

import pytest

from connector import ConnectionState, EventType, Mode
from connector.kite.feed.session import PROBE_TOKENS
from connector.testing import FakeClock, FakeFeed
from tests.support import packets

FULL, QUOTE = Mode.FULL, Mode.QUOTE
TOKENS = [number << 8 | 1 for number in range(1, 21)]
SATURDAY_US = 1_767_585_600_000_000 - 2 * 86_400_000_000


@pytest.fixture
def feed():
    return FakeFeed(random=0.0)


@pytest.fixture
async def connection(feed):
    connection = feed.connection()
    connection.update(dict.fromkeys(TOKENS, QUOTE))
    yield connection
    await connection.close()


def asked(socket, action="subscribe"):
    return sum(request == action for request, _ in socket.requests)


async def test_a_socket_that_is_mute_from_its_opening_is_asked_and_replaced(feed, connection):
    mute = await feed.open(connection)
    await feed.advance_alive(61)
    assert asked(mute) > 4
    assert connection.stats.stalled
    assert "no ticks" in connection.stats.trouble
    await feed.advance_alive(10)
    assert mute.aborted
    assert len(feed.sockets) == 2
    # the next one has to prove itself
    assert connection.state is ConnectionState.CONNECTED
    assert "no ticks" in connection.stats.trouble
    feed.socket.confirm()
    await feed.advance_alive(2)
    assert connection.stats.trouble == ""
    assert connection.stats.renewals == 1
    types = feed.handler.event_types
    assert types.index("stalled") < types.index("disconnected") < types.index("gap")
    (disconnected,) = [one for one in feed.handler.events if one.type is EventType.DISCONNECTED]
    assert "no ticks for" in disconnected.reason


async def test_the_gap_of_a_mute_socket_begins_with_its_last_tick(feed, connection):
    socket = await feed.open(connection)
    socket.confirm()
    last_ms = feed.clock.time_us() // 1000
    await feed.advance_alive(80)
    (gap,) = [event for event in feed.handler.events if event.type is EventType.GAP]
    assert gap.gap_from_ms == last_ms
    assert gap.gap_to_ms > last_ms + 60_000


async def test_a_feed_that_is_mute_for_long_is_tried_with_growing_pauses(feed, connection):
    await feed.open(connection)
    await feed.advance_alive(3600)
    # 66, 120, 240, then each 300 s
    assert 10 <= len(feed.sockets) <= 15
    assert connection.stats.renewals == len(feed.sockets) - 1


async def test_requests_that_are_ignored_at_first_are_repeated_on_the_same_socket(feed, connection):
    socket = await feed.open(connection)
    await feed.advance_alive(30)
    before = len(socket.requests)
    assert connection.stats.unserved == len(TOKENS)
    assert f"{len(TOKENS)} of {len(TOKENS)} instruments" in connection.stats.trouble
    await feed.advance_alive(25)
    assert len(socket.requests) > before
    socket.confirm()
    await feed.advance_alive(3)
    assert (connection.stats.unserved, connection.stats.trouble) == (0, "")
    assert len(feed.sockets) == 1


async def test_a_thinly_traded_socket_that_answers_is_left_alone(feed, connection):
    socket = await feed.open(connection)
    socket.confirm()
    answered = len(socket.requests)
    unsubscribed = 0
    for _ in range(3600):
        await feed.advance_alive(1)
        for action, tokens in socket.requests[answered:]:
            unsubscribed += action == "unsubscribe"
            if action == "subscribe":
                socket.deliver(*(packets.quote(token) for token in tokens))
        answered = len(socket.requests)
    assert len(feed.sockets) == 1
    assert set(socket.subscriptions) == set(TOKENS)
    assert 3 <= unsubscribed <= 10
    assert "stalled" not in feed.handler.event_types
    assert connection.stats.trouble == ""


async def test_a_question_asks_for_a_few_and_for_others_each_time(feed, connection):
    socket = await feed.open(connection)
    socket.confirm()
    before = len(socket.requests)
    await feed.advance_alive(31)
    (gone, subscribed) = socket.requests[before:][:2]
    assert gone == ("unsubscribe", TOKENS[:PROBE_TOKENS])
    assert subscribed == ("subscribe", TOKENS[:PROBE_TOKENS])
    assert ("expect", TOKENS[:PROBE_TOKENS]) in feed.handler.calls
    feed.socket.deliver(packets.quote(TOKENS[0]))
    before = len(socket.requests)
    await feed.advance_alive(62)
    assert socket.requests[before] == ("unsubscribe", TOKENS[PROBE_TOKENS : 2 * PROBE_TOKENS])


async def test_a_half_served_socket_is_replaced(feed, connection):
    socket = await feed.open(connection)
    served = TOKENS[:10]
    troubles = set()
    for _ in range(90):
        socket.deliver(*(packets.quote(token) for token in served))
        await feed.advance_alive(1)
        if socket.aborted:
            break
        troubles.add(connection.stats.trouble.partition(":")[0])
    assert troubles == {"", "10 of 20 instruments have sent nothing since they were asked for"}
    assert socket.aborted
    (disconnected,) = [one for one in feed.handler.events if one.type is EventType.DISCONNECTED]
    assert "10 of 20 instruments" in disconnected.reason
    await feed.clock.advance(1)
    feed.socket.confirm()
    await feed.advance_alive(2)
    assert connection.stats.trouble == ""


async def test_a_few_instruments_that_do_not_exist_are_no_reason_to_replace_it(feed, connection):
    socket = await feed.open(connection)
    for _ in range(600):
        socket.deliver(*(packets.quote(token) for token in TOKENS[1:]))
        await feed.advance_alive(1)
    assert len(feed.sockets) == 1
    assert (connection.stats.unserved, connection.stats.trouble) == (1, "")
    assert feed.handler.event_types.count("unconfirmed") == 1
    ((token, seconds),) = connection.unserved()
    assert (token, round(seconds)) == (TOKENS[0], 600)


async def test_instruments_in_another_mode_than_asked_for_are_no_reason_either(feed, connection):
    connection.update(dict.fromkeys(TOKENS, FULL))
    socket = await feed.open(connection)
    for _ in range(600):
        socket.deliver(*(packets.quote(token) for token in TOKENS))
        await feed.advance_alive(1)
    assert len(feed.sockets) == 1
    assert (connection.stats.given_up, connection.stats.unserved, connection.stats.trouble) == (
        20,
        0,
        "",
    )


@pytest.mark.parametrize("served", [False, True])
async def test_in_closed_hours_nothing_is_torn_down(served):
    feed = FakeFeed(random=0.0, clock=FakeClock(SATURDAY_US))
    connection = feed.connection()
    connection.update(dict.fromkeys(TOKENS, QUOTE))
    socket = await feed.open(connection)
    if served:
        socket.confirm()
    await feed.advance_alive(3600)
    assert len(feed.sockets) == 1
    assert connection.stats.trouble == ""
    assert "stalled" not in feed.handler.event_types
    # what is unserved is asked for all the same: the feed has a cached packet of it
    assert (asked(socket) > 10) is not served
    assert connection.unserved() == []
    await connection.close()


async def test_who_wants_no_reconnects_keeps_a_mute_socket():
    feed = FakeFeed()
    connection = feed.connection(max_reconnect_attempts=0)
    connection.update({TOKENS[0]: QUOTE})
    socket = await feed.open(connection)
    await feed.advance_alive(300)
    assert connection.state is ConnectionState.CONNECTED
    assert not socket.aborted
    assert "no ticks" in connection.stats.trouble
    await connection.close()
