import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.spool_format import (
    FRAME_BYTES,
    MAGIC,
    Dropped,
    Record,
    announced_bytes,
    contiguous,
    cut_short,
    decode,
    encode,
    frame,
    scan,
    seed_of,
    timestamp_of,
)

SEED = seed_of("0000010000000001.0badf00d")
Headers = st.none() | st.lists(
    st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), min_size=1, max_size=3
)
Records = st.builds(
    Record,
    topic=st.text(max_size=20),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=200),
    timestamp_ms=st.integers(-(2**63), 2**63 - 1),
    headers=Headers,
)


def bodies(count):
    return [encode(Record("t", b"%d" % number, b"v" * number, number)) for number in range(count)]


def frames(bodies, seed=SEED):
    return b"".join(frame(seed, index, body) for index, body in enumerate(bodies))


@given(Records)
def test_a_record_comes_back_as_it_was(record):
    body = encode(record)
    assert decode(body) == record
    assert timestamp_of(body) == record.timestamp_ms


@given(st.lists(Records, max_size=5), st.integers(0, 2**31), st.integers(0, 50))
def test_frames_in_a_row_are_read_up_to_where_they_are_whole(records, first, cut):
    made = [encode(record) for record in records]
    framed = [frame(SEED, first + index, body) for index, body in enumerate(made)]
    data = b"".join(framed)[: -cut or None]
    whole = []
    end = 0
    for body, each in zip(made, framed, strict=True):
        end += len(each)
        if end <= len(data):
            whole.append(body)
    assert list(contiguous(data, SEED, first)) == whole


def test_a_frame_of_another_file_or_place_is_none():
    data = frames(bodies(3))
    assert list(contiguous(data, SEED, 0)) == bodies(3)
    assert list(contiguous(data, seed_of("another"), 0)) == []
    assert list(contiguous(data, SEED, 1)) == []
    assert scan(data, seed_of("another")) == ({}, 0)


def test_a_scan_finds_what_is_between_other_bytes_in_the_order_of_the_indices():
    made = bodies(4)
    parts = [frame(SEED, index, body) for index, body in enumerate(made)]
    data = MAGIC + parts[3] + b"noise" + parts[1] + parts[1] + bytes(50) + parts[0] + b"end"
    found, end = scan(data, SEED)
    assert found == {0: made[0], 1: made[1], 3: made[3]}
    assert list(found) == [0, 1, 3]
    assert end == len(data) - 3


def test_a_scan_of_bytes_that_look_like_many_frames_ends_soon():
    lure = frame(SEED, 0, bytes(30))[:8] + (100_000).to_bytes(4, "little")
    data = lure * 20_000
    assert scan(data, SEED) == ({}, 0)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (b"", True),
        (frame(SEED, 3, bytes(100))[:2], True),
        (frame(SEED, 3, bytes(100))[:-1], True),
        (frame(SEED, 4, bytes(100))[:-1], False),  # one is missing before it
        (frame(SEED, 3, bytes(100))[:-1] + b"x", False),  # whole, and damaged
        (b"\0", False),
        (bytes(1000), False),
    ],
)
def test_what_a_killed_process_leaves_at_the_end(end, expected):
    assert cut_short(end, 3) is expected


def test_the_size_that_a_frame_announces():
    data = frame(SEED, 7, bytes(1000))
    assert announced_bytes(data[:FRAME_BYTES], 7) == len(data)
    assert announced_bytes(data[:FRAME_BYTES], 8) == 0
    assert announced_bytes(data[:3], 7) == 0


def test_a_loss_knows_its_span():
    lost = Dropped.of([Record("t", b"1", b"", time_ms) for time_ms in (5, 3, 9)])
    assert (lost.count, lost.first_timestamp_ms, lost.last_timestamp_ms) == (3, 3, 9)
    assert Dropped.of([]) == Dropped(0, 0, 0, ())


def test_a_loss_has_one_record_of_each_topic_and_key():
    names = [("t", b"1"), ("t", b"12"), ("t1", b"2"), ("t", None), ("t", b"1")]
    records = [Record(topic, key, bytes(n), n) for n, (topic, key) in enumerate(names, 1)]
    lost = Dropped.of(records)
    assert lost.count == 5
    assert set(lost.examples) == set(records[1:])
