import gzip
from datetime import date

import pytest

from connector.errors import InstrumentFormatError, InstrumentNotFoundError
from connector.kite.web.instruments import (
    COLUMNS,
    Instrument,
    InstrumentCache,
    InstrumentMaster,
    parse_csv,
)

HEADER = ",".join(COLUMNS)
INFY = "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE"
NIFTY = "256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE"
OPTION = "8963330,35013,NIFTY2690124750CE,NIFTY,513.75,2026-09-01,24750,0.05,75,CE,NFO-OPT,NFO"


def lines(*rows):
    return "\n".join([HEADER, *rows]) + "\n"


def master(*rows):
    return InstrumentMaster.from_csv(lines(*rows))


def test_the_documented_columns():
    parsed = parse_csv(lines(INFY, OPTION))
    assert parsed.skipped == 0
    assert parsed.instruments == [
        Instrument(408065, 1594, "INFY", "INFOSYS", 0.0, None, 0.0, 0.05, 1, "EQ", "NSE", "NSE"),
        Instrument(
            8963330, 35013, "NIFTY2690124750CE", "NIFTY", 513.75, date(2026, 9, 1), 24750.0,
            0.05, 75, "CE", "NFO-OPT", "NFO",
        ),
    ]  # fmt: skip
    assert parsed.instruments[0].symbol == "NSE:INFY"


def test_columns_go_by_their_names():
    names = ["exchange", "more", "tradingsymbol", "instrument_token"]
    text = "\ufeff" + ",".join(names) + '\r\nNSE,x,"M&M, new",519937\r\n'
    (instrument,) = parse_csv(text).instruments
    assert instrument.symbol == "NSE:M&M, new"
    assert (instrument.instrument_token, instrument.lot_size, instrument.expiry) == (
        519937,
        0,
        None,
    )


def test_rows_that_cannot_be_read_are_counted():
    parsed = parse_csv(
        lines(
            INFY,
            "",
            "408065,1594,INFY",  # no exchange
            "x,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE",
            "1,1,A,A,0,soon,0,0.05,1,EQ,NSE,NSE",
            "1,1,A,A,0,,0,0.05,1.5,EQ,NSE,NSE",
            "1,1,,A,0,,0,0.05,1,EQ,NSE,NSE",
            INFY + ",one,cell,more",
        )
    )
    assert [instrument.tradingsymbol for instrument in parsed.instruments] == ["INFY", "INFY"]
    assert parsed.skipped == 5
    assert master(INFY, "x").skipped == 1


@pytest.mark.parametrize("token", ["0", "-1", str(2**32), str(10**30), "1_0x"])
def test_a_token_that_no_packet_can_have_is_no_row(token):
    parsed = parse_csv(lines(f"{token},1,X,,0,,0,0,0,EQ,NSE,NSE", INFY))
    assert [instrument.instrument_token for instrument in parsed.instruments] == [408065]
    assert parsed.skipped == 1


def test_a_number_that_no_record_can_hold_is_no_row():
    rows = (f"257,{10**30},X,,0,,0,0,0,EQ,NSE,NSE", f"257,1,X,,0,,0,0,-{10**30},EQ,NSE,NSE")
    assert master(*rows).skipped == 2


def test_short_rows_get_defaults_where_what_is_missing_has_one():
    text = "instrument_token,tradingsymbol,exchange,name,expiry\n408065,INFY,NSE\n"
    (instrument,) = parse_csv(text).instruments
    assert (instrument.name, instrument.expiry, instrument.strike) == ("", None, 0.0)


@pytest.mark.parametrize("text", ["", "\n", "<html>", "a,b\n1,2\n", "\0\n", "x" * 200_000])
def test_other_files_are_refused(text):
    with pytest.raises(InstrumentFormatError):
        parse_csv(text)


def test_finding():
    names = master(INFY, NIFTY, OPTION)
    assert len(names) == 3
    assert 408065 in names
    assert names.get(408065) is names.find("NSE:INFY") is names.named("NSE:INFY")
    assert names.token("NSE:NIFTY 50") == 256265, "an index stands under its exchange"
    assert names.symbol(8963330) == "NFO:NIFTY2690124750CE"
    assert names.symbols()[408065] == "INFY"
    assert [instrument.exchange for instrument in names] == ["NSE", "NSE", "NFO"]


@pytest.mark.parametrize("symbol", ["INFY", "BSE:INFY", "NSE:infy", "", ":", "NSE:"])
def test_names_that_are_none(symbol):
    names = master(INFY)
    assert names.token(symbol) is None
    with pytest.raises(InstrumentNotFoundError):
        names.find(symbol)
    assert names.get(1) is names.symbol(1) is None


@pytest.fixture
def cache(tmp_path):
    return InstrumentCache(tmp_path / "made" / "instruments.csv.gz")


def test_the_cache_gives_back_what_it_was_given(cache):
    assert cache.load() is None
    cache.save("old", fetched_ms=1)
    cache.save(lines(INFY), fetched_ms=7, etag='W/"1"')
    assert cache.load() == (lines(INFY), 7, 'W/"1"')
    assert list(cache.path.parent.iterdir()) == [cache.path]


def test_a_damaged_cache_is_none(cache):
    cache.save(lines(INFY, NIFTY), fetched_ms=7)
    whole = cache.path.read_bytes()
    for size in range(len(whole)):
        cache.path.write_bytes(whole[:size])
        assert cache.load() is None
    for place in range(10, len(whole)):  # past gzip's own header, whose time and system are free
        cache.path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert cache.load() is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}\n",
        "[]\n",
        '{"format": "of another time"}\n',
        '{"format": 1, "characters": 0}\n',
    ],
)
def test_a_cache_of_another_kind_is_none(cache, content):
    cache.path.parent.mkdir()
    cache.path.write_bytes(gzip.compress(content.encode()))
    assert cache.load() is None


def test_a_failed_save_leaves_the_old_list(cache, monkeypatch):
    cache.save(lines(INFY), fetched_ms=7)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("connector.kite.web.instruments.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        cache.save("new", fetched_ms=8)
    assert cache.load().fetched_ms == 7
    assert list(cache.path.parent.iterdir()) == [cache.path]
