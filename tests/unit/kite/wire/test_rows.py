"""A tick as nested dicts, and as one flat row."""

import dataclasses
import json

import pytest

from connector import Tick, parse_frame
from connector.simulator.wire import encode_frame, full_packet, ltp_packet, quote_packet

QUOTE = quote_packet(408065, 157315)
FULL, PLAIN, LTP = parse_frame(encode_frame([full_packet(QUOTE), QUOTE, ltp_packet(256265, 5)]))


def test_a_dict_has_every_field_in_words_and_plain_values():
    told = FULL.to_dict()
    assert set(told) == {field.name for field in dataclasses.fields(Tick)} | {"tradingsymbol"}
    assert (told["exchange"], told["mode"]) == ("NSE", "full")
    assert told["ohlc"] == FULL.ohlc._asdict()
    assert told["depth"]["buy"] == [level._asdict() for level in FULL.depth.buy]
    assert json.loads(json.dumps(told, default=str))["last_price"] == 1573.15


def test_what_a_packet_does_not_carry_is_none():
    assert LTP.to_dict()["ohlc"] is None
    assert PLAIN.to_dict()["depth"] is None
    assert LTP.to_row()["ohlc_close"] is None
    assert PLAIN.to_row()["best_ask_price"] is None


def test_rows_have_the_same_columns_whatever_the_mode():
    assert list(FULL.to_row()) == list(PLAIN.to_row()) == list(LTP.to_row())
    assert not any(isinstance(value, dict | list | tuple) for value in FULL.to_row().values())


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_levels_count_from_one_best_first(side):
    row = FULL.to_row()
    for number, level in enumerate(getattr(FULL.depth, side), 1):
        for what, value in level._asdict().items():
            assert row[f"depth_{side}_{number}_{what}"] == value


def test_a_change_is_seen():
    tick = parse_frame(encode_frame([QUOTE]))[0]
    tick.last_price = 7.0
    assert tick.to_row()["last_price"] == tick.to_dict()["last_price"] == 7.0
