import pytest

from connector.kafka.spool import Dropped, Record
from connector.kafka.topics import TopicNames
from connector.service.lost import Lost
from connector.simulator.wire import index_packet, quote_packet
from tests.support.producing import tick_records

TOPICS = TopicNames("kite")
TICKS = frozenset(TOPICS.all_ticks().values())
INFY, NIFTY = 408065, 256265


def lost(*records):
    found = Lost()
    found.add(Dropped.of(records), TOPICS, TICKS)
    return found


def test_a_lost_tick_names_its_slot_and_its_instrument():
    found = lost(*tick_records(4, quote_packet(INFY, 1), index_packet(NIFTY, 1)))
    assert found.tokens == {4: {INFY, NIFTY}}
    assert found.all_known


def test_losses_add_up():
    found = Lost()
    for first_ms, slot in ((100, 0), (300, 1)):
        named = Dropped.of(tick_records(slot, quote_packet(INFY, 1))).examples
        found.add(Dropped(7, first_ms, first_ms + 50, named), TOPICS, TICKS)
    assert (found.count, found.from_ms, found.to_ms) == (14, 100, 350)
    assert found.tokens == {0: {INFY}, 1: {INFY}}


def test_a_lost_event_names_its_slot_and_no_instrument():
    assert lost(Record(TOPICS.events, b"2", b"event", 5)).tokens == {2: set()}


def test_what_is_of_no_slot_names_none_and_hides_nothing():
    found = lost(Record(TOPICS.deadletter, b"kite.orders", b"{}", 5))
    assert (found.tokens, found.all_known) == ({}, True)


@pytest.mark.parametrize(
    "unreadable",
    [
        Record("kite.ticks.nse", b"408065", b"no tick", 5),
        Record("kite.ticks.nse", b"408065", None, 5),
        Record(TOPICS.events, b"no slot", b"event", 5),
        Record(TOPICS.events, None, b"event", 5),
    ],
)
def test_what_cannot_be_read_may_have_been_anything(unreadable):
    found = lost(unreadable)
    assert (found.count, found.tokens, found.all_known) == (1, {}, False)


def test_so_may_what_nobody_has_seen():
    found = lost(*tick_records(0, quote_packet(INFY, 1)))
    found.add(Dropped(5, 0, 0), TOPICS, TICKS)
    assert (found.count, found.tokens, found.all_known) == (6, {0: {INFY}}, False)


def test_two_losses_are_one():
    found = lost(*tick_records(4, quote_packet(INFY, 1)))
    found.from_ms, found.to_ms = 300, 400
    other = Lost(5, 100, 200, {4: {NIFTY}, 1: set()}, all_known=False)
    found.merge(other)
    assert found == Lost(6, 100, 400, {4: {INFY, NIFTY}, 1: set()}, all_known=False)
    found.merge(Lost(1, 0, 0))
    assert (found.count, found.from_ms, found.to_ms) == (7, 100, 400)
