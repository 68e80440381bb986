import json

import pytest

from connector import (
    OHLC,
    Exchange,
    Mode,
    OrderStatus,
    Request,
    Tick,
    TickMessage,
)


def test_modes_are_ranked_and_have_the_names_of_other_clients():
    assert sorted(Mode, key=lambda mode: -mode.rank) == [Mode.FULL, Mode.QUOTE, Mode.LTP]
    assert Mode.Full is Mode.FULL
    assert Mode.Quote is Mode.QUOTE
    assert len(Mode) == 3
    assert Mode("full") is Mode.FULL
    assert f"{Mode.LTP}" == "ltp"


@pytest.mark.parametrize(
    ("exchange", "segment", "divisor"),
    [
        (Exchange.NSE, 1, 100), (Exchange.NFO, 2, 100), (Exchange.CDS, 3, 10_000_000),
        (Exchange.BSE, 4, 100), (Exchange.BFO, 5, 100), (Exchange.BCD, 6, 10_000),
        (Exchange.MCX, 7, 100), (Exchange.MCXSX, 8, 100), (Exchange.INDICES, 9, 100),
        (Exchange.NCO, 12, 10_000),
    ],
)  # fmt: skip
def test_exchanges(exchange, segment, divisor):
    assert Exchange.of(1234 << 8 | segment) is exchange
    assert exchange.divisor == divisor
    assert exchange.tradable == (exchange is not Exchange.INDICES)


@pytest.mark.parametrize("segment", [0, 10, 11, 13, 255])
def test_an_unknown_segment_is_no_exchange(segment):
    with pytest.raises(ValueError, match=str(segment)):
        Exchange.of(1234 << 8 | segment)


def tick(**changes):
    return Tick(1, Mode.QUOTE, Exchange.NSE, True, 110.0, **changes)


def test_change_is_against_the_close_of_the_day_before():
    assert tick(ohlc=OHLC(1, 1, 1, 100.0)).change == pytest.approx(10)
    assert tick().change is None
    assert tick(ohlc=OHLC(1, 1, 1, 0.0)).change is None


def test_a_tick_message_is_its_ticks():
    message = TickMessage([tick(), tick()], 1)
    assert len(message) == 2
    assert list(message) == message.ticks


def test_requests_are_what_the_documentation_shows():
    assert json.loads(str(Request.subscribe([408065, 884737]))) == {
        "a": "subscribe",
        "v": [408065, 884737],
    }
    assert json.loads(str(Request.unsubscribe(iter([408065])))) == {
        "a": "unsubscribe",
        "v": [408065],
    }
    assert json.loads(str(Request.set_mode(Mode.FULL, [408065]))) == {
        "a": "mode",
        "v": ["full", [408065]],
    }


def test_words_that_kite_adds_later_are_unknown():
    assert OrderStatus("COMPLETE") is OrderStatus.COMPLETE
    assert OrderStatus("TELEPORTED") is OrderStatus.UNKNOWN
