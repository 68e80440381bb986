"""Ticks in Python: for where the extension cannot be built, and the reference of its twin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from connector.errors import ParseTickError
from connector.kite.wire import rows
from connector.kite.wire.layout import (
    FULL,
    INDEX_FULL,
    INDEX_QUOTE,
    LTP,
    MODES,
    QUOTE,
    UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT,
    reject,
    split_frame,
)
from connector.kite.wire.models import OHLC, Depth, DepthItem, Exchange, Mode
from connector.kite.wire.names import tradingsymbol

# what DepthItem._make does, without a call of Python for each of ten levels
_item = partial(tuple.__new__, DepthItem)
_EXCHANGES = {exchange.value: exchange for exchange in Exchange}


@dataclass(slots=True)
class Tick:
    """One packet of the feed, of one instrument; a field is made when it is asked for.

    What the packet does not carry is None: an ltp packet has a price alone, a quote no times, open
    interest and depth, and an index no volumes. Prices are rupees (or the quote currency), and
    quantities count shares or the contract's units, as Kite sends them.

    Attributes:
        instrument_token: Kite's number of the instrument, used again after it has expired.
        mode: how much the packet carries; follows from its length.
        exchange: the segment of the feed, in the token's low byte.
        tradable: False for an index.
        last_price: of the last trade; an index's value.
        last_traded_quantity: of the last trade; None in mode ltp and for an index.
        average_traded_price: the day's, weighted by volume; None in mode ltp and for an index.
        volume_traded: of the day so far; None in mode ltp and for an index.
        total_buy_quantity: of all pending buy orders; None in mode ltp and for an index.
        total_sell_quantity: of all pending sell orders; None in mode ltp and for an index.
        ohlc: prices of the day, and the close of the day before; None in mode ltp.
        last_trade_time: aware UTC, whole seconds; None but in mode full, and before a first trade.
        oi: open interest; None but in mode full, and for an index.
        oi_day_high: its highest of the day; None likewise.
        oi_day_low: its lowest of the day; None likewise.
        exchange_timestamp: the exchange's time of the packet, aware UTC, whole seconds; None but
            in mode full, and where the wire has 0.
        depth: five bids and five offers; None but in mode full, and for an index.
        tradingsymbol: today's name; None without an `InstrumentList` that has the token.
        change: `last_price` against the close of the day before, per cent; None without a close.
    """

    instrument_token: int
    mode: Mode
    exchange: Exchange
    tradable: bool
    last_price: float
    last_traded_quantity: int | None = None
    average_traded_price: float | None = None
    volume_traded: int | None = None
    total_buy_quantity: int | None = None
    total_sell_quantity: int | None = None
    ohlc: OHLC | None = None
    last_trade_time: datetime | None = None
    oi: int | None = None
    oi_day_high: int | None = None
    oi_day_low: int | None = None
    exchange_timestamp: datetime | None = None
    depth: Depth | None = None

    @property
    def tradingsymbol(self) -> str | None:
        """Today's name; None without an `InstrumentList` that has the token."""
        return tradingsymbol(self.instrument_token)

    @property
    def change(self) -> float | None:
        """The change against the close of the day before, per cent; None without a close."""
        if self.ohlc is None or self.ohlc.close == 0:
            return None
        return (self.last_price - self.ohlc.close) * 100 / self.ohlc.close

    def to_dict(self) -> dict[str, Any]:
        """The tick as nested dicts and lists, with Kite's field names.

        Exchange and mode are words, `depth` has lists of five levels; what the packet does not
        carry is None.
        """
        return rows.to_dict(self)

    def to_row(self) -> dict[str, Any]:
        """The tick as a flat dict: a row with the columns of `ticks_to_arrow`.

        `ohlc_open`, `depth_buy_1_price`, `best_bid_price` … stand in place of the nested ones; the
        columns of times that a tick does not know (`event_time`, `receive_time_us`) are left out.
        """
        return rows.to_row(self)


def parse_packet(packet: bytes) -> Tick:
    """One packet, without its length.

    Raises:
        ParseTickError: its length or its exchange is unknown.
    """
    length = len(packet)
    if length not in MODES:
        raise ParseTickError(UNKNOWN_LENGTH, packet)
    # the low byte of the token, big-endian, says the segment, and so the divisor of prices
    exchange = _EXCHANGES.get(packet[3])
    if exchange is None:
        raise ParseTickError(UNKNOWN_SEGMENT, packet)
    if length == 184:
        return _full(packet, exchange)
    if length == 44:
        return _quote(packet, exchange)
    if length == 8:
        token, last = LTP.unpack(packet)
        return Tick(token, Mode.LTP, exchange, exchange.tradable, last / exchange.divisor)
    return _index(packet, exchange)


def parse_packets(frame: bytes) -> tuple[list[Tick], list[tuple[str, bytes]]]:
    """The ticks of a frame, and (reason, bytes) of what is not a tick. Never raises."""
    packets, leftover = split_frame(frame)
    ticks: list[Tick] = []
    rejected: list[tuple[str, bytes]] = []
    for packet in packets:
        try:
            ticks.append(parse_packet(packet))
        except ParseTickError as error:
            reject(rejected, error.reason, packet)
    if leftover is not None:
        rejected.append(leftover)
    return ticks, rejected


def new_modes(frame: bytes, modes: dict[int, Mode]) -> list[tuple[int, Mode]]:
    """Return the tokens of a frame whose mode `modes` does not know, which then knows it.

    A packet's mode follows from its length, so nothing is parsed.
    """
    changed: list[tuple[int, Mode]] = []
    for packet in split_frame(frame)[0]:
        mode = MODES.get(len(packet))
        if mode is None:
            continue
        token = int.from_bytes(packet[:4])
        if modes.get(token) is not mode:
            modes[token] = mode
            changed.append((token, mode))
    return changed


def uniform(frame: bytes, length: int) -> int:
    """Return how many packets a frame has, where it is whole and all have this length; else 0."""
    count = int.from_bytes(frame[:2])
    # the size first: it alone tells nearly all frames of several lengths
    if len(frame) < 2 or len(frame) - 2 != count * (length + 2):
        return 0
    prefix = length.to_bytes(2)
    starts = range(2, len(frame), length + 2)
    return count if all(frame[start : start + 2] == prefix for start in starts) else 0


def _time(seconds: int) -> datetime | None:
    """Return seconds since 1970 as aware UTC; the wire says 0 where there is no time."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _index(packet: bytes, exchange: Exchange) -> Tick:
    if len(packet) == 32:
        # high and low come before open and close: an index is laid out otherwise than a quote
        token, last, high, low, open_, close, timestamp = INDEX_FULL.unpack(packet)
    else:
        token, last, high, low, open_, close = INDEX_QUOTE.unpack(packet)
        timestamp = 0
    divisor = exchange.divisor
    return Tick(
        token,
        MODES[len(packet)],
        exchange,
        exchange.tradable,
        last / divisor,
        ohlc=OHLC(open_ / divisor, high / divisor, low / divisor, close / divisor),
        exchange_timestamp=_time(timestamp),
    )


def _quote(packet: bytes, exchange: Exchange) -> Tick:
    token, last, quantity, average, volume, buy, sell, open_, high, low, close = QUOTE.unpack(
        packet
    )
    divisor = exchange.divisor
    return Tick(
        token,
        Mode.QUOTE,
        exchange,
        exchange.tradable,
        last / divisor,
        quantity,
        average / divisor,
        volume,
        buy,
        sell,
        OHLC(open_ / divisor, high / divisor, low / divisor, close / divisor),
    )


def _full(packet: bytes, exchange: Exchange) -> Tick:
    (
        token, last, quantity, average, volume, buy, sell, open_, high, low, close,
        trade_time, oi, oi_high, oi_low, timestamp, *depth,
    ) = FULL.unpack(packet)  # fmt: skip
    divisor = exchange.divisor
    # quantity, price, orders, ten times: bids, then offers
    prices = [price / divisor for price in depth[1::3]]
    items = tuple(map(_item, zip(depth[::3], prices, depth[2::3], strict=True)))
    return Tick(
        token,
        Mode.FULL,
        exchange,
        exchange.tradable,
        last / divisor,
        quantity,
        average / divisor,
        volume,
        buy,
        sell,
        OHLC(open_ / divisor, high / divisor, low / divisor, close / divisor),
        _time(trade_time),
        oi,
        oi_high,
        oi_low,
        _time(timestamp),
        Depth(items[:5], items[5:]),
    )
