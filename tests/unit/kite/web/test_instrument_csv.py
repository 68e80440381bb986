from datetime import date

import pytest

from connector.errors import InstrumentFormatError
from connector.kite.web.instrument_csv import (
    COLUMNS,
    MAX_CELL_CHARACTERS,
    MAX_LINE_CHARACTERS,
    Instrument,
    parse_csv,
)
from tests.support.instruments import HEADER, INFY, NIFTY, OPTION, lines


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


def test_as_many_rows_as_memory_allows_and_no_more(monkeypatch):
    monkeypatch.setattr("connector.kite.web.instrument_csv.MAX_ROWS", 3)
    assert len(parse_csv(lines(INFY, OPTION, NIFTY)).instruments) == 3
    with pytest.raises(InstrumentFormatError, match="more than 3 rows"):
        parse_csv(lines(INFY, OPTION, NIFTY, "x"))


def test_a_line_that_is_far_too_long_is_no_row():
    parsed = parse_csv(lines(INFY, '"' + "x" * MAX_LINE_CHARACTERS, "," * 10**6, OPTION))
    assert (len(parsed.instruments), parsed.skipped) == (2, 2)


def test_the_last_row_may_lack_its_line_break_if_it_is_whole():
    assert len(parse_csv(lines(INFY) + NIFTY).instruments) == 2
