import gzip
import os
import stat
from datetime import date

import pytest

from connector.errors import InstrumentFormatError, InstrumentNotFoundError
from connector.kite.web.instruments import (
    COLUMNS,
    MAX_CELL_CHARACTERS,
    MAX_LINE_CHARACTERS,
    MAX_TOKENS_OF_NAME,
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
            "1,1,,A,0,,0,0.05,1,EQ,NSE,NSE",
            "1,1,A,A,0,,0,0.05,1,EQ,NSE,N:SE",
            "1,1,A\x1b[2J,A,0,,0,0.05,1,EQ,NSE,NSE",
            "1,1,A\0,A,0,,0,0.05,1,EQ,NSE,NSE",
            "1,1,A\ufffd,A,0,,0,0.05,1,EQ,NSE,NSE",
            f"1,1,{'A' * (MAX_CELL_CHARACTERS + 1)},A,0,,0,0.05,1,EQ,NSE,NSE",
            HEADER,
            INFY + ",one,cell,more",
        )
    )
    assert [instrument.tradingsymbol for instrument in parsed.instruments] == ["INFY", "INFY"]
    assert (parsed.skipped, parsed.defaulted, parsed.broken) == (9, 0, 0)
    assert master(INFY, "x").skipped == 1


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("expiry", "31-DEC-2026", None),
        ("expiry", "1970-01-01", None),
        ("expiry", "9999-12-31", None),
        ("expiry", "0000-00-00", None),
        ("strike", "nan", 0.0),
        ("strike", "24,750", 0.0),
        ("tick_size", "-inf", 0.0),
        ("last_price", "n/a", 0.0),
        ("lot_size", "1.5", 0),
        ("lot_size", str(-(10**30)), 0),
        ("exchange_token", str(10**30), 0),
        ("exchange_token", "N/A", 0),
        ("name", "INF\x1bOSYS", ""),
        ("name", "INFOSYS\ufffd", ""),
        ("name", "N" * (MAX_CELL_CHARACTERS + 1), ""),
        ("segment", "\0", ""),
        ("instrument_type", "\t", ""),
    ],
)
def test_a_cell_that_streaming_does_not_need_gets_its_default(column, cell, value):
    cells = dict(zip(COLUMNS, OPTION.split(","), strict=True))
    cells[column] = f'"{cell}"' if "," in cell else cell
    parsed = parse_csv(lines(INFY, ",".join(cells.values()), INFY))
    assert (parsed.skipped, parsed.defaulted, parsed.broken) == (0, 1, 0)
    good = parse_csv(lines(OPTION)).instruments[0]
    assert parsed.instruments[1] == good._replace(**{column: value})


def test_a_share_does_not_expire_whatever_its_row_says():
    parsed = parse_csv(lines(INFY.replace("INFOSYS,0,", "INFOSYS,0,2026-01-29")))
    assert (parsed.instruments[0].expiry, parsed.defaulted) == (None, 1)


@pytest.mark.parametrize("name", ['"ODD 5 INCH', '5" PIPE', '"A" B', 'A "B"', '"', '""A'])
def test_a_lone_quote_is_a_character_and_swallows_nothing(name):
    odd = f"769,3,ODD,{name},0,,0,0.05,1,EQ,NSE,NSE"
    parsed = parse_csv(lines(INFY, odd, OPTION, INFY))
    assert [instrument.instrument_token for instrument in parsed.instruments] == [
        408065, 769, 8963330, 408065,
    ]  # fmt: skip
    assert parsed.instruments[1].name == name
    assert (parsed.skipped, parsed.broken) == (0, 0)


def test_a_name_with_bare_commas_moves_no_cell():
    parsed = parse_csv(lines(INFY, OPTION, OPTION.replace(",NIFTY,", ",N, I, FTY,")))
    assert parsed.instruments[1:] == [
        parsed.instruments[1],
        parsed.instruments[1]._replace(name="N, I, FTY"),
    ]
    assert parsed.skipped == 0


def test_a_row_with_more_cells_is_left_out_where_it_is_of_no_known_exchange():
    parsed = parse_csv(lines(INFY, OPTION.replace(",NIFTY,", ",N, I, FTY,"), NIFTY + ",x,,"))
    assert [instrument.tradingsymbol for instrument in parsed.instruments] == ["INFY", "NIFTY 50"]
    assert parsed.skipped == 1


def test_a_quote_that_another_cell_closes_swallows_no_cell():
    odd = '769,3,ODD,"A,0,,0,0.05,1,EQ",NSE,NSE'
    assert parse_csv(lines(odd)).instruments[0].exchange == "NSE"


def test_a_cell_with_a_line_break_costs_its_own_row_alone_and_is_counted():
    parsed = parse_csv(lines(INFY, '769,3,ODD,"TWO\nLINES",0,,0,0.05,1,EQ,NSE,NSE', OPTION))
    assert [instrument.instrument_token for instrument in parsed.instruments] == [408065, 8963330]
    assert (parsed.skipped, parsed.broken) == (2, 1)


@pytest.mark.parametrize("token", ["0", "-1", str(2**32), str(10**30), "1_0", "1_0x", "\u0661"])
def test_a_token_that_no_packet_can_have_is_no_row(token):
    parsed = parse_csv(lines(f"{token},1,X,,0,,0,0,0,EQ,NSE,NSE", INFY))
    assert [instrument.instrument_token for instrument in parsed.instruments] == [408065]
    assert parsed.skipped == 1


def test_short_rows_get_defaults_where_what_is_missing_has_one():
    text = "instrument_token,tradingsymbol,exchange,name,expiry\n408065,INFY,NSE\n"
    (instrument,) = parse_csv(text).instruments
    assert (instrument.name, instrument.expiry, instrument.strike) == ("", None, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "<html>",
        "a,b\n1,2\n",
        "\0\n",
        "x" * 200_000,
        HEADER,
        HEADER + "\n",
        lines("x", "y"),
        HEADER + ",exchange\n" + INFY + ",NSE\n",
        lines(INFY, ",".join(reversed(COLUMNS)), OPTION),
        lines(INFY) + OPTION[:40],
        lines(INFY) + '769,3,ODD,"TWO',
        lines(INFY, OPTION) + NIFTY[:-1],
    ],
)
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


def test_as_many_rows_as_memory_allows_and_no_more(monkeypatch):
    monkeypatch.setattr("connector.kite.web.instruments.MAX_ROWS", 3)
    assert len(parse_csv(lines(INFY, OPTION, NIFTY)).instruments) == 3
    with pytest.raises(InstrumentFormatError, match="more than 3 rows"):
        parse_csv(lines(INFY, OPTION, NIFTY, "x"))


def test_a_line_that_is_far_too_long_is_no_row():
    parsed = parse_csv(lines(INFY, '"' + "x" * MAX_LINE_CHARACTERS, "," * 10**6, OPTION))
    assert (len(parsed.instruments), parsed.skipped) == (2, 2)


def test_the_last_row_may_lack_its_line_break_if_it_is_whole():
    assert len(parse_csv(lines(INFY) + NIFTY).instruments) == 2


@pytest.mark.parametrize("written", ["GLOBAL:Dow Jones", "global:dow jones", "GLOBAL:DOW JONES"])
def test_capital_and_small_letters_are_the_same_where_no_name_is_exactly_so(written):
    names = master(INFY, "769,3,Dow Jones,,0,,0,0,0,EQ,INDICES,GLOBAL")
    assert names.listed(written) == (769,)
    assert names.token("nse:infy") == 408065


def test_an_exact_name_comes_before_others_with_its_letters():
    names = master(
        "769,3,Dow,,0,,0,0,0,EQ,INDICES,GLOBAL",
        "1025,4,DOW,,0,,0,0,0,EQ,INDICES,GLOBAL",
        "1281,5,dow,,0,,0,0,0,EQ,INDICES,GLOBAL",
    )
    assert [names.token(f"GLOBAL:{name}") for name in ("Dow", "DOW", "dow")] == [769, 1025, 1281]
    assert names.listed("global:dOW") == (1025, 769, 1281)
    assert names.token("global:dOW") is None


def test_a_name_of_several_tokens_is_ambiguous_in_any_letters():
    names = master(
        INFY, INFY.replace("408065", "410625"), OPTION, INFY, "769,3,Dow,,0,,0,0,0,EQ,INDICES,NSE",
        "1025,3,Dow,,0,,0,0,0,EQ,INDICES,NSE",
    )  # fmt: skip
    assert names.listed("nse:infy") == names.listed("NSE:INFY") == (408065, 410625)
    assert names.listed("NSE:DOW") == (769, 1025)
    assert (names.token("NSE:INFY"), names.ambiguous, names.repeated) == (None, 2, 0)
    assert names.symbol(410625) == "NSE:INFY"
    assert names.named("NSE:INFY") is None


def test_a_list_full_of_one_name_knows_few_of_its_tokens():
    rows = [f"{n << 8 | 1},{n},INFY,,0,,0,0,0,EQ,NSE,NSE" for n in range(1, 1001)]
    letters = [f"{n:010b}".replace("0", "a").replace("1", "A") for n in range(1000)]
    rows += [f"{n << 8 | 3},{n},{name},,0,,0,0,0,EQ,BSE,BSE" for n, name in enumerate(letters, 1)]
    names = master(*rows)
    assert len(names) == 2000
    few = tuple(n << 8 | 1 for n in range(1, MAX_TOKENS_OF_NAME + 1))
    assert names.listed("NSE:INFY") == names.listed("nse:infy") == few
    assert len(names.listed("BSE:AaAaAaAaAa")) == 1
    assert len(names.listed("bse:aaaaaaaaaa")) == MAX_TOKENS_OF_NAME
    # whatever its number, each is streamed by its token, and by its own letters
    assert names.symbol(1000 << 8 | 1) == "NSE:INFY"
    assert names.token(f"BSE:{letters[999]}") == 1000 << 8 | 3


def test_of_two_names_of_a_token_the_first_is_shown_and_both_are_found():
    names = master(INFY, INFY.replace("INFY", "OTHER"))
    assert (names.symbol(408065), names.repeated, len(names)) == ("NSE:INFY", 1, 1)
    assert names.listed("NSE:OTHER") == names.listed("NSE:INFY") == (408065,)


@pytest.mark.parametrize("symbol", ["INFY", "BSE:INFY", "", ":", "NSE:"])
def test_names_that_are_none(symbol):
    names = master(INFY)
    assert names.token(symbol) is None
    with pytest.raises(InstrumentNotFoundError):
        names.find(symbol)
    assert names.get(1) is names.symbol(1) is None


@pytest.fixture
def cache(tmp_path):
    return InstrumentCache(tmp_path / "made" / "instruments.csv.gz")


def test_the_kept_list_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "above" / "instruments.csv"
    before = os.umask(0)
    try:
        InstrumentCache(path).save("text", fetched_ms=1)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path)] == [0o700, 0o600]


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


def test_a_cache_that_unpacks_to_far_too_much_is_none(cache, monkeypatch):
    cache.save(lines(INFY), fetched_ms=7)
    size = len(gzip.decompress(cache.path.read_bytes()))
    monkeypatch.setattr("connector.kite.web.instruments.MAX_CACHE_BYTES", size)
    assert cache.load() is not None
    monkeypatch.setattr("connector.kite.web.instruments.MAX_CACHE_BYTES", size - 1)
    assert cache.load() is None


def test_a_pipe_in_the_place_of_the_cache_is_none(cache):
    cache.path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(cache.path)
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
