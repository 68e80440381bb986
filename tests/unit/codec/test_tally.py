"""How many ticks a twin says went where, and what it reads back of them."""

from collections import Counter

import pytest

from connector.codec.partitioning import partition_of
from connector.kite.wire.models import Exchange
from tests.support import packets
from tests.support.packets import NSE, frame, full, index, ltp, quote
from tests.support.ticks import NOW_US, SCHEMA_IDS, TOPICS, decode

PARTITIONS = {TOPICS[Exchange.NSE]: 6, TOPICS[Exchange.MCX]: 3}
SESSION = 1_700_000_000_123


@pytest.fixture
def transcoder(twin):
    made = twin(TOPICS, SCHEMA_IDS, 2, PARTITIONS)
    made.open_session(SESSION)
    return made


def send(transcoder, *some):
    return transcoder.transcode(frame(*some), NOW_US)[0]


def test_a_tally_is_what_went_to_each_partition_since_the_last_one(transcoder):
    tokens = [number << 8 | 1 for number in range(1, 200)]
    records = send(transcoder, *map(ltp, tokens), ltp(packets.MCX), ltp(packets.MCX))
    expected = Counter(
        (Exchange[decode(value)[1]["exchange"]], partition_of(key, PARTITIONS[topic]))
        for topic, key, value in records
    )
    assert transcoder.next_tally() == (1, 201, expected)
    assert transcoder.counts()[Exchange.NSE] == 199
    send(transcoder, ltp(packets.CDS))
    assert transcoder.next_tally() == (202, 202, {(Exchange.CDS, 0): 1})
    assert transcoder.next_tally() == (203, 202, {})


def test_a_session_is_counted_from_one_and_totals_go_on(transcoder):
    send(transcoder, ltp(NSE), ltp(NSE))
    transcoder.open_session(SESSION + 1)
    assert transcoder.next_tally() == (1, 0, {})
    send(transcoder, ltp(packets.NCO))
    assert transcoder.next_tally() == (1, 1, {(Exchange.NCO, 0): 1})
    assert (transcoder.counts()[Exchange.NSE], transcoder.counts()[Exchange.NCO]) == (2, 1)


def test_what_is_no_tick_is_in_no_tally(transcoder):
    send(transcoder, b"odd", ltp(NSE), ltp(77))
    assert sum(transcoder.next_tally()[2].values()) == 1


def test_instruments_that_nobody_expects_are_counted_where_they_go(transcoder):
    tokens = [number << 8 | 1 for number in range(1, 5000)]
    records = [record for token in tokens for record in send(transcoder, ltp(token))]
    expected = Counter((Exchange.NSE, partition_of(key, 6)) for _, key, _ in records)
    assert transcoder.next_tally() == (1, 4999, expected)


def test_other_names_leave_partitions_as_they_are(transcoder):
    send(transcoder, ltp(NSE))
    before = transcoder.next_tally()[2]
    transcoder.set_symbols({NSE: "INFY"})
    send(transcoder, ltp(NSE))
    assert transcoder.next_tally()[2] == before


@pytest.mark.parametrize(
    "packet",
    [ltp(NSE), quote(NSE), full(NSE), full(NSE, oi=2**32 - 1), index(256265, exchange_timestamp=5)],
)
def test_a_tick_is_identified_by_its_value_alone(twin, identity_of, packet):
    made = twin(TOPICS, SCHEMA_IDS, 2**31 - 1)
    made.set_symbols({NSE: "ÄÖ 50"})
    made.open_session(2**62)
    for number in (1, 2):
        ((_, _, value),) = send(made, packet)
        assert identity_of(value) == (2**31 - 1, 2**62, number)


def test_a_value_of_the_first_version_is_identified_alike(transcoder, identity_of):
    ((_, _, value),) = send(transcoder, ltp(NSE))
    assert identity_of(value[:-4]) == identity_of(value) == (2, SESSION, 1)


def test_arrays_of_several_blocks_are_passed_over(transcoder, identity_of):
    ((_, _, value),) = send(transcoder, full(NSE))
    level = bytes(10)
    whole = b"\x0a" + level * 5 + b"\0"
    # two blocks, one of which says how many bytes it has
    split = b"\x04" + level * 2 + b"\x05" + b"\x3c" + level * 3 + b"\0"
    assert value.count(whole) == 2
    assert identity_of(value.replace(whole, split)) == (2, SESSION, 1)


def test_what_is_no_tick_has_no_identity(transcoder, identity_of):
    ((_, _, value),) = send(transcoder, full(NSE))
    end = len(value) - 2 * (2 + 8 + 2) - 1
    for size in range(end - 1):
        with pytest.raises(ValueError, match="not the value of a tick"):
            identity_of(value[:size])
    # the last ones read as a tick's numbers, of no token
    for odd in (b"\xff" * 60, bytes(5) + b"\xff" * 11, bytes(8) + b"\x01" + bytes(60), bytes(300)):
        with pytest.raises(ValueError, match="not the value of a tick"):
            identity_of(odd)
