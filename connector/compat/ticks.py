"""The packets of a frame as the dicts that Kite's official Python client makes of them.

Source: the tick structure that kiteconnect 5.2.0 documents. Times are naive and of the machine's
own time zone, as they are there; prices have the divisor of their exchange, that of NCO included.
"""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any, Final

from connector.kite.wire.layout import split_frame
from connector.kite.wire.models import Exchange

LTP, QUOTE, FULL = "ltp", "quote", "full"

_LTP: Final = struct.Struct(">2I")
_INDEX: Final = struct.Struct(">7I")
_INDEX_FULL: Final = struct.Struct(">8I")
_QUOTE: Final = struct.Struct(">11I")
_FULL: Final = struct.Struct(">16I")
# quantity, price, orders and two bytes of padding, five bids before five offers
_DEPTH: Final = struct.Struct(">" + "IIHxx" * 10)
_DEPTH_FROM: Final = 64
_DIVISORS: Final = {exchange.value: exchange.divisor for exchange in Exchange}
_INDICES: Final = Exchange.INDICES.value

TickDict = dict[str, Any]


def tick_dicts(frame: bytes) -> list[TickDict]:
    """The ticks of a binary frame, in wire order; packets of unknown length are left out."""
    ticks = []
    for packet in split_frame(frame)[0]:
        make = _MAKERS.get(len(packet))
        # a segment that nobody documented has no price, rather than one a thousand times too high
        if make is not None and (divisor := _DIVISORS.get(packet[3])) is not None:
            ticks.append(make(packet, divisor))
    return ticks


def _ltp(packet: bytes, divisor: float) -> TickDict:
    token, last_price = _LTP.unpack(packet)
    return {
        "tradable": packet[3] != _INDICES,
        "mode": LTP,
        "instrument_token": token,
        "last_price": last_price / divisor,
    }


def _index(packet: bytes, divisor: float) -> TickDict:
    # not in a quote's order; the price change at the end is left out, since clients disagree on its
    # meaning
    token, last, high, low, opening, close, _ = _INDEX.unpack_from(packet)
    return {
        "tradable": packet[3] != _INDICES,
        "mode": QUOTE,
        "instrument_token": token,
        "last_price": last / divisor,
        "ohlc": {
            "high": high / divisor,
            "low": low / divisor,
            "open": opening / divisor,
            "close": close / divisor,
        },
        "change": _change(last / divisor, close / divisor),
    }


def _index_full(packet: bytes, divisor: float) -> TickDict:
    tick = _index(packet, divisor)
    tick["mode"] = FULL
    tick["exchange_timestamp"] = _time(_INDEX_FULL.unpack(packet)[7])
    return tick


def _quote(packet: bytes, divisor: float) -> TickDict:
    (token, last, quantity, average, volume, buy, sell, opening, high, low, close) = (
        _QUOTE.unpack_from(packet)
    )
    return {
        "tradable": packet[3] != _INDICES,
        "mode": QUOTE,
        "instrument_token": token,
        "last_price": last / divisor,
        "last_traded_quantity": quantity,
        "average_traded_price": average / divisor,
        "volume_traded": volume,
        "total_buy_quantity": buy,
        "total_sell_quantity": sell,
        "ohlc": {
            "open": opening / divisor,
            "high": high / divisor,
            "low": low / divisor,
            "close": close / divisor,
        },
        "change": _change(last / divisor, close / divisor),
    }


def _full(packet: bytes, divisor: float) -> TickDict:
    tick = _quote(packet, divisor)
    *_, trade_time, oi, oi_high, oi_low, exchange_time = _FULL.unpack_from(packet)
    numbers = iter(_DEPTH.unpack_from(packet, _DEPTH_FROM))
    levels = [
        {"quantity": quantity, "price": price / divisor, "orders": orders}
        for quantity, price, orders in zip(numbers, numbers, numbers, strict=True)
    ]
    tick["mode"] = FULL
    tick["last_trade_time"] = _time(trade_time)
    tick["oi"] = oi
    tick["oi_day_high"] = oi_high
    tick["oi_day_low"] = oi_low
    tick["exchange_timestamp"] = _time(exchange_time)
    tick["depth"] = {"buy": levels[:5], "sell": levels[5:]}
    return tick


def _change(last_price: float, close_price: float) -> float:
    """Per cent against the close of the day before; 0 without one."""
    return (last_price - close_price) * 100 / close_price if close_price else 0


def _time(seconds: int) -> datetime:
    """A naive time of the machine's zone, as the official client makes it."""
    return datetime.fromtimestamp(seconds)  # noqa: DTZ006 - see the module's docstring


_MAKERS: Final = {8: _ltp, 28: _index, 32: _index_full, 44: _quote, 184: _full}
