"""Rows of ticks, and ticks at another time: both twins, in every version of the schema."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.codec import Transcoder, identity_of
from connector.codec.rows import COLUMNS, _pure
from tests.support.generated import any_frames
from tests.support.packets import NSE, Level, full, index, ltp, quote
from tests.support.recorded import SESSION, START_MS, recorded
from tests.support.ticks import SCHEMA_IDS, TOPICS, decode

PACKETS = [
    ltp(NSE),
    quote(NSE),
    full(NSE),
    full(NSE, last_trade_time=0, exchange_timestamp=0),
    full(NSE, exchange_timestamp=START_MS // 1000 - 1),
    index(256265, exchange_timestamp=START_MS // 1000),
]
DEPTH = tuple(Level(10 + n, 157_000 + n, n) for n in range(10))
TIMES = ("event_time", "last_trade_time", "exchange_timestamp")


@pytest.fixture(scope="module")
def moved(module):
    return module.moved


@given(st.sampled_from(PACKETS), st.integers(-SESSION, 10**12))
def test_every_time_moves_by_the_same_and_nothing_else_does(moved, packet, by_ms):
    ((_, value, _),) = recorded([packet], [START_MS])
    (old_id, old), (new_id, new) = decode(value), decode(moved(value, by_ms))
    assert new_id == old_id
    for name in TIMES:
        if old[name] is not None:
            old[name] += timedelta(milliseconds=by_ms)
    old["receive_time_us"] += by_ms * 1000
    old["session_id"] += by_ms
    assert new == old
    assert moved(moved(value, by_ms), -by_ms) == value


@pytest.mark.parametrize("packet", PACKETS)
def test_a_value_of_the_first_version_moves_alike(moved, packet):
    ((_, value, _),) = recorded([packet], [START_MS])
    appended = {True: 4, False: 2 * (1 + 8) + 2 * 2}[decode(value)[1]["depth"] is None]
    first, after = value[:-appended], moved(value, 5000)
    assert moved(first, 5000) == after[:-appended]
    assert identity_of(moved(first, 5000))[1] == SESSION + 5000


def test_what_is_no_tick_and_what_no_long_holds_is_refused(moved):
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    for wrong in (b"", b"\x00" * 5, value[:20], b"\xff" * 60):
        with pytest.raises(ValueError, match="not the value of a tick"):
            moved(wrong, 1)
    with pytest.raises(ValueError, match="not the value of a tick"):
        moved(value, 2**62)


def flat(tick):
    """What fastavro has read, as a row."""
    row = dict.fromkeys(COLUMNS) | tick
    for name, value in (row.pop("ohlc") or {}).items():
        row[f"ohlc_{name}"] = value
    for side, levels in (row.pop("depth") or {}).items():
        for number, level in enumerate(levels, 1):
            row |= {f"depth_{side}_{number}_{name}": one for name, one in level.items()}
    for name in TIMES:
        if row[name] is not None:
            row[name] = round(row[name].timestamp() * 1000)
    return tuple(row.values())


@given(any_frames)
def test_a_row_is_what_avro_reads_and_becomes_the_same_bytes_again(module, frame):
    transcoder = Transcoder(TOPICS, SCHEMA_IDS, 5)
    transcoder.set_symbols({408065: "ÄÖ 50"})
    transcoder.open_session(SESSION)
    for _, _, value in transcoder.transcode(frame, START_MS * 1000)[0]:
        row = module.row_of(value)
        assert row == flat(decode(value)[1])
        assert list(map(type, row)) == list(map(type, flat(decode(value)[1])))
        assert module.body_of(row) == value[5:]


def test_a_value_of_the_first_version_has_the_same_row(module):
    ((_, value, _),) = recorded([full(NSE, depth=DEPTH)], [START_MS])
    row = module.row_of(value)
    assert row[COLUMNS.index("best_bid_price")] == 1570.0
    assert module.row_of(value[: -(2 * (1 + 8) + 2 * 2)]) == row


def test_a_depth_of_another_length_is_cut_or_filled(module):
    ((_, value, _),) = recorded([full(NSE)], [START_MS])
    level = b"\x02" + bytes(8) + b"\x04"
    at = COLUMNS.index("depth_buy_1_quantity")
    whole = b"\x0a" + bytes(10) * 5 + b"\0"
    for count in (0, 2, 6):
        side = bytes([2 * count]) + level * count + b"\0" if count else b"\0"
        odd = value.replace(whole, side)
        expected = [*((1, 0.0, 2) * count), *([None] * 15)][:15]
        assert list(module.row_of(odd)[at : at + 15]) == expected
        again = module.body_of(module.row_of(odd))
        assert module.row_of(bytes(5) + again)[at : at + 15] == tuple(expected)
    # two blocks, one of which says how many bytes it has
    split = b"\x04" + level * 2 + b"\x05" + b"\x3c" + level * 3 + b"\0"
    assert module.row_of(value.replace(whole, split))[at : at + 15] == (1, 0.0, 2) * 5


def test_what_is_no_tick_has_no_row(module):
    ((_, value, _),) = recorded([full(NSE)], [START_MS])
    end = len(value) - 2 * (1 + 8) - 2 * 2
    for wrong in [
        *(value[:size] for size in range(end)),
        b"\xff" * 60,
        bytes(8) + b"\x01" + bytes(60),
        value.replace(b"NSE", b"N\xffE"),
        b"{" + value[1:],
    ]:
        with pytest.raises(ValueError, match="not the value of a tick"):
            module.row_of(wrong)


@pytest.mark.parametrize("name", ["slot", "depth_sell_5_orders"])
@pytest.mark.parametrize(("number", "is_tick"), [
    (2**31 - 1, True), (-(2**31), True), (2**31, False), (-(2**31) - 1, False), (2**62, False),
])  # fmt: skip
def test_an_int_of_the_schema_has_no_more_than_its_32_bits(module, name, number, is_tick):
    ((_, value, _),) = recorded([full(NSE, depth=DEPTH)], [START_MS])
    row, at = module.row_of(value), COLUMNS.index(name)
    wide = bytes(5) + module.body_of((*row[:at], number, *row[at + 1 :]))
    if is_tick:
        assert module.row_of(wide)[at] == number
    else:
        with pytest.raises(ValueError, match="not the value of a tick"):
            module.row_of(wide)


def test_what_is_no_row_has_no_body(module):
    ((_, value, _),) = recorded([full(NSE)], [START_MS])
    row = module.row_of(value)
    for wrong in (row[:-1], (*row, 1), ()):
        with pytest.raises(ValueError, match="no row of 60"):
            module.body_of(wrong)
    nullable = {"tradingsymbol", "ohlc_open", "last_trade_time", "exchange_timestamp"}
    for at, name in enumerate(COLUMNS):
        for odd in (None, "x", object()) if name not in nullable else (object(),):
            if odd is None and (name.startswith(("depth", "best", "oi")) or 8 <= at < 13):
                continue
            if isinstance(odd, str) and name in {"exchange", "mode"}:
                continue
            with pytest.raises(TypeError):
                module.body_of((*row[:at], odd, *row[at + 1 :]))


@given(st.binary(max_size=400), st.integers(-(2**70), 2**70))
def test_twins_agree_on_any_bytes(module, value, by_ms):
    def outcome(function, *arguments):
        try:
            return function(*arguments)
        except ValueError as error:
            return str(error)

    for prefix in (b"", bytes(5)):
        given = prefix + value
        assert outcome(module.row_of, given) == outcome(_pure.row_of, given)
        assert outcome(module.moved, given, by_ms) == outcome(_pure.moved, given, by_ms)


@given(st.sampled_from(PACKETS), st.integers(5, 300), st.binary(max_size=2), st.booleans())
@example(PACKETS[0], 0, bytes(300), False)  # zeros, which can be read as the numbers of a tick
@example(PACKETS[0], 47, b"\xff", False)  # a byte of the symbol that is no text
@example(PACKETS[2], -1, b"", False)  # cut within the best ones
def test_all_who_read_a_value_agree_on_whether_it_is_a_ticks(module, packet, place, other, ends):
    ((_, value, _),) = recorded([packet], [START_MS])
    value = value[:place] + other + (b"" if ends else value[place + len(other) :])
    read = [
        identity_of, module.row_of, module.token_of, module.Columns(1).add,
        lambda same: module.moved(same, 0),
    ]  # fmt: skip

    def is_read(reading):
        try:
            reading(value)
        except ValueError:
            return False
        return True

    assert len({is_read(reading) for reading in read}) == 1


def test_the_token_is_that_of_the_value(module):
    for token in (NSE, 256265):
        ((_, value, _),) = recorded([ltp(token)], [START_MS])
        assert module.token_of(value) == token
