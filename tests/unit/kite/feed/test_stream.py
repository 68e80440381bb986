"""Connected is not streaming: what becomes of sockets that are mute or half served."""

import pytest

from connector import ConnectionState, EventType, Mode
from connector.kite.feed.session import PROBE_TOKENS
from tests.support import packets
from tests.support.clock import FakeClock
from tests.support.connection_kit import Kit

FULL, QUOTE = Mode.FULL, Mode.QUOTE
TOKENS = [number << 8 | 1 for number in range(1, 21)]
SATURDAY_US = 1_767_585_600_000_000 - 2 * 86_400_000_000


@pytest.fixture
async def kit():
    kit = Kit(random=0.0)
    kit.connection.update(dict.fromkeys(TOKENS, QUOTE))
    yield kit
    await kit.connection.close()


def asked(socket, action="subscribe"):
    return sum(request == action for request, _ in socket.requests)


async def test_a_socket_that_is_mute_from_its_opening_is_asked_and_replaced(kit):
    mute = await kit.open()
    await kit.advance_alive(61)
    assert asked(mute) > 4
    assert kit.stats.stalled
    assert "no ticks" in kit.stats.trouble
    await kit.advance_alive(10)
    assert mute.aborted
    assert len(kit.feed.sockets) == 2
    # the next one has to prove itself
    assert kit.state is ConnectionState.CONNECTED
    assert "no ticks" in kit.stats.trouble
    kit.feed.socket.confirm()
    await kit.advance_alive(2)
    assert kit.stats.trouble == ""
    assert kit.stats.renewals == 1
    types = kit.handler.event_types
    assert types.index("stalled") < types.index("disconnected") < types.index("gap")
    (disconnected,) = [one for one in kit.handler.events if one.type is EventType.DISCONNECTED]
    assert "no ticks for" in disconnected.reason


async def test_the_gap_of_a_mute_socket_begins_with_its_last_tick(kit):
    socket = await kit.open()
    socket.confirm()
    last_ms = kit.clock.time_us() // 1000
    await kit.advance_alive(80)
    (gap,) = [event for event in kit.handler.events if event.type is EventType.GAP]
    assert gap.gap_from_ms == last_ms
    assert gap.gap_to_ms > last_ms + 60_000


async def test_a_feed_that_is_mute_for_long_is_tried_with_growing_pauses(kit):
    await kit.open()
    await kit.advance_alive(3600)
    # 66, 120, 240, then each 300 s
    assert 10 <= len(kit.feed.sockets) <= 15
    assert kit.stats.renewals == len(kit.feed.sockets) - 1


async def test_requests_that_are_ignored_at_first_are_repeated_on_the_same_socket(kit):
    socket = await kit.open()
    await kit.advance_alive(30)
    before = len(socket.requests)
    assert kit.stats.unserved == len(TOKENS)
    assert f"{len(TOKENS)} of {len(TOKENS)} instruments" in kit.stats.trouble
    await kit.advance_alive(25)
    assert len(socket.requests) > before
    socket.confirm()
    await kit.advance_alive(3)
    assert (kit.stats.unserved, kit.stats.trouble) == (0, "")
    assert len(kit.feed.sockets) == 1


async def test_a_thinly_traded_socket_that_answers_is_left_alone(kit):
    socket = await kit.open()
    socket.confirm()
    answered = len(socket.requests)
    unsubscribed = 0
    for _ in range(3600):
        await kit.advance_alive(1)
        for action, tokens in socket.requests[answered:]:
            unsubscribed += action == "unsubscribe"
            if action == "subscribe":
                socket.deliver(*(packets.quote(token) for token in tokens))
        answered = len(socket.requests)
    assert len(kit.feed.sockets) == 1
    assert set(socket.subscriptions) == set(TOKENS)
    assert 3 <= unsubscribed <= 10
    assert "stalled" not in kit.handler.event_types
    assert kit.stats.trouble == ""


async def test_a_question_asks_for_a_few_and_for_others_each_time(kit):
    socket = await kit.open()
    socket.confirm()
    before = len(socket.requests)
    await kit.advance_alive(31)
    (gone, subscribed) = socket.requests[before:][:2]
    assert gone == ("unsubscribe", TOKENS[:PROBE_TOKENS])
    assert subscribed == ("subscribe", TOKENS[:PROBE_TOKENS])
    assert ("expect", TOKENS[:PROBE_TOKENS]) in kit.handler.calls
    kit.feed.socket.deliver(packets.quote(TOKENS[0]))
    before = len(socket.requests)
    await kit.advance_alive(62)
    assert socket.requests[before] == ("unsubscribe", TOKENS[PROBE_TOKENS : 2 * PROBE_TOKENS])


async def test_a_half_served_socket_is_replaced(kit):
    socket = await kit.open()
    served = TOKENS[:10]
    troubles = set()
    for _ in range(90):
        socket.deliver(*(packets.quote(token) for token in served))
        await kit.advance_alive(1)
        if socket.aborted:
            break
        troubles.add(kit.stats.trouble.partition(":")[0])
    assert troubles == {"", "10 of 20 instruments have sent nothing since they were asked for"}
    assert socket.aborted
    (disconnected,) = [one for one in kit.handler.events if one.type is EventType.DISCONNECTED]
    assert "10 of 20 instruments" in disconnected.reason
    await kit.clock.advance(1)
    kit.feed.socket.confirm()
    await kit.advance_alive(2)
    assert kit.stats.trouble == ""


async def test_a_few_instruments_that_do_not_exist_are_no_reason_to_replace_it(kit):
    socket = await kit.open()
    for _ in range(600):
        socket.deliver(*(packets.quote(token) for token in TOKENS[1:]))
        await kit.advance_alive(1)
    assert len(kit.feed.sockets) == 1
    assert (kit.stats.unserved, kit.stats.trouble) == (1, "")
    assert kit.handler.event_types.count("unconfirmed") == 1


async def test_instruments_in_another_mode_than_asked_for_are_no_reason_either(kit):
    kit.connection.update(dict.fromkeys(TOKENS, FULL))
    socket = await kit.open()
    for _ in range(600):
        socket.deliver(*(packets.quote(token) for token in TOKENS))
        await kit.advance_alive(1)
    assert len(kit.feed.sockets) == 1
    assert (kit.stats.given_up, kit.stats.unserved, kit.stats.trouble) == (20, 0, "")


@pytest.mark.parametrize("served", [False, True])
async def test_in_closed_hours_nothing_is_torn_down(served):
    kit = Kit(random=0.0)
    kit.clock = FakeClock(SATURDAY_US)
    kit.connection._clock = kit.connection._report._clock = kit.clock
    kit.connection.update(dict.fromkeys(TOKENS, QUOTE))
    socket = await kit.open()
    if served:
        socket.confirm()
    await kit.advance_alive(3600)
    assert len(kit.feed.sockets) == 1
    assert kit.stats.trouble == ""
    assert "stalled" not in kit.handler.event_types
    # what is unserved is asked for all the same: the feed has a cached packet of it
    assert (asked(socket) > 10) is not served
    await kit.connection.close()


async def test_who_wants_no_reconnects_keeps_a_mute_socket():
    kit = Kit(max_reconnect_attempts=0)
    kit.connection.update({TOKENS[0]: QUOTE})
    socket = await kit.open()
    await kit.advance_alive(300)
    assert kit.state is ConnectionState.CONNECTED
    assert not socket.aborted
    assert "no ticks" in kit.stats.trouble
    await kit.connection.close()
