"""The twin in Python, which says what is right; `_native` is to be equal."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Collection
from typing import Any, Final

from connector.codec._pure import Body, identity, is_tick, long_of
from connector.codec.rows.columns import COLUMNS, KINDS, NULLABLE, WORDS, Column, Row

_NONE: Final = b"\x00"
_SOME: Final = b"\x02"
_DOUBLE: Final = struct.Struct("<d")
_SIDE: Final = 5 * 3
"""Numbers of a side of the depth: quantity, price and orders of five levels."""
_BEST: Final = COLUMNS.index("best_bid_price")
_TOKEN: Final = COLUMNS.index("instrument_token")
_SEQUENCE: Final = COLUMNS.index("sequence")
# beyond it the microseconds of receive_time_us would not fit 64 bits
_MAX_MS: Final = (2**63 - 1) // 1000
_IS_PRICE: Final = (False, True, False, False, False)
"""Of last_traded_quantity to total_sell_quantity."""


def row_of(value: bytes) -> Row:
    """Return a tick's framed value as a row; of any version of the schema.

    A depth of more than five levels is cut, and one of less has None for those that lack.

    Raises:
        ValueError: it is not the value of a tick.
    """
    body = Body(value)
    try:
        row = _row(body)
        if body.at != len(value):  # of a later version: not read for this, yet to be there whole
            _best(body)
    except (IndexError, ValueError):
        raise ValueError("not the value of a tick") from None
    return row


def _row(body: Body) -> Row:
    row: list[Any] = [body.long(), body.long(), body.long(), body.text()]
    row += [body.text() if body.some() else None, body.text(), _boolean(body), _double(body)]
    row += [
        (_double(body) if is_price else body.long()) if body.some() else None
        for is_price in _IS_PRICE
    ]
    row += [_double(body) for _ in range(4)] if body.some() else [None] * 4  # ohlc
    row += [body.long() if body.some() else None for _ in range(5)]  # last_trade_time to oi_day_low
    has_depth = body.some()
    buy, sell = [_side(body) if has_depth else [None] * _SIDE for _ in range(2)]
    # the first version has none of the best ones
    row += [*buy, *sell, buy[1], buy[0], sell[1], sell[0]]
    row += [body.short(), body.long(), body.long(), _boolean(body)]
    if not is_tick(row[_TOKEN], row[_SEQUENCE]):
        raise ValueError("numbers that no tick has")
    return tuple(row)


def _side(body: Body) -> list[Any]:
    numbers: list[Any] = []
    while items := body.long():
        if items < 0:
            body.long()
        for _ in range(abs(items)):
            numbers += (body.long(), _double(body), body.short())
    return (numbers + [None] * _SIDE)[:_SIDE]


def _taken(body: Body, count: int) -> bytes:
    start = body.at
    body.skip(count)
    return body.value[start : body.at]


def _boolean(body: Body) -> bool:
    return _taken(body, 1) != b"\x00"


def _double(body: Body) -> float:
    number: float = _DOUBLE.unpack(_taken(body, 8))[0]
    return number


class Columns:
    """Ticks gathered column by column, for Arrow: no Python object a number.

    Args:
        capacity: so many ticks fit.
        names: those of COLUMNS that are taken out; the others are read and not kept.
    """

    def __init__(self, capacity: int, names: Collection[str] = COLUMNS) -> None:
        self._capacity = capacity
        self._names = names
        self._rows: list[Row] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, value: bytes) -> None:
        """Add a tick's framed value, of any version of the schema, as `row_of` reads it.

        But for the best bid and ask: a value of the first version has none.

        Raises:
            ValueError: it is not the value of a tick. It leaves no trace.
            IndexError: they are full.
        """
        if len(self._rows) == self._capacity:
            raise IndexError("no room for another tick")
        body = Body(value)
        try:
            row = _row(body)
            best = [None] * 4 if body.at == len(value) else _best(body)
        except (IndexError, ValueError):
            raise ValueError("not the value of a tick") from None
        self._rows.append((*row[:_BEST], *best, *row[_BEST + 4 :]))

    def add_some(self, values: list[bytes], begin: int) -> int:
        """Add the values from a place on, as many as fit; returns the place of the next one.

        Raises:
            ValueError: one is not the value of a tick; those before it were added.
        """
        end = min(len(values), begin + self._capacity - len(self._rows))
        for place in range(begin, end):
            self.add(values[place])
        return end

    def take(self) -> list[Column]:
        """Return what was added, a Column for each wanted one of COLUMNS, and begin anew."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(COLUMNS)
        self._rows.clear()
        return [
            _column(name, kind, nullable, values)
            for name, kind, nullable, values in zip(COLUMNS, KINDS, NULLABLE, columns, strict=True)
            if name in self._names
        ]


def _best(body: Body) -> list[Any]:
    return [
        (body.long() if is_quantity else _double(body)) if body.some() else None
        for is_quantity in (False, True, False, True)
    ]


def _column(name: str, kind: str, nullable: bool, values: tuple[Any, ...]) -> Column:
    there = bytearray(value is not None for value in values) if nullable else None
    words = None
    if name in WORDS:
        words = [word for word in dict.fromkeys(values) if word is not None]
        places = {word: place for place, word in enumerate(words)}
        values = tuple(places.get(value, 0) for value in values)
    numbers = array(kind, [0 if value is None else value for value in values])
    return Column(bytearray(numbers.tobytes()), there, words)


def body_of(row: Row) -> bytes:
    """Return the Avro body of a row, by this version's schema; to be framed.

    Raises:
        TypeError: a value is None, or of a wrong type, where the schema has it otherwise.
        ValueError: it has too few values, or too many.
    """
    # a tick is rebuilt from its numbers: one column more or less would shift all that follow
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} values are no row of {len(COLUMNS)}")
    event_time, receive_time_us, token, exchange, symbol, mode, tradable, price = row[:8]
    parts = [long_of(event_time), long_of(receive_time_us), long_of(token), _of_text(exchange)]
    parts += [_some(symbol, _of_text), _of_text(mode), _of_boolean(tradable), _of_double(price)]
    parts += [
        _some(number, _of_double if is_price else long_of)
        for number, is_price in zip(row[8:13], _IS_PRICE, strict=True)
    ]
    ohlc = row[13:17]
    parts.append(_NONE if ohlc[0] is None else _SOME + b"".join(map(_of_double, ohlc)))
    parts += [_some(number, long_of) for number in row[17:22]]  # last_trade_time to oi_day_low
    sides = [_of_side(row[22:37]), _of_side(row[37:52])]
    parts.append(_NONE if sides == [_NONE, _NONE] else _SOME + b"".join(sides))
    bid_price, bid_quantity, ask_price, ask_quantity = row[52:56]
    slot, session_id, sequence, snapshot = row[56:]
    parts += [long_of(slot), long_of(session_id), long_of(sequence), _of_boolean(snapshot)]
    parts += [_some(bid_price, _of_double), _some(bid_quantity, long_of)]
    parts += [_some(ask_price, _of_double), _some(ask_quantity, long_of)]
    return b"".join(parts)


def _of_side(numbers: Row) -> bytes:
    levels = [numbers[at : at + 3] for at in range(0, _SIDE, 3) if numbers[at] is not None]
    if not levels:
        return _NONE
    items = [long_of(quantity) + _of_double(price) + long_of(n) for quantity, price, n in levels]
    return long_of(len(levels)) + b"".join(items) + _NONE


def _some(value: Any, of: Callable[[Any], bytes]) -> bytes:
    return _NONE if value is None else _SOME + of(value)


def _of_text(text: Any) -> bytes:
    if not isinstance(text, str):
        raise TypeError("a value that is no text")
    encoded = text.encode()
    return long_of(len(encoded)) + encoded


def _of_boolean(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise TypeError("a value that is neither true nor false")
    return b"\x01" if value else b"\x00"


def _of_double(number: Any) -> bytes:
    return _DOUBLE.pack(number + 0.0)


def token_of(value: bytes) -> int:
    """Return the instrument_token of a tick's framed value.

    Raises:
        ValueError: it is not the value of a tick.
    """
    return identity(Body(value))[0]


def moved(value: bytes, by_ms: int) -> bytes:
    """Return the framed value of the same tick at another time; of any version of the schema.

    What moves: event_time, receive_time_us, last_trade_time, exchange_timestamp, and session_id,
    which is the time when the session was opened. So all of them stand to each other as before, and
    a replay that is moved is a session of its own, not a repeat of the one that was recorded.

    Raises:
        ValueError: it is not the value of a tick, or is moved beyond what a long holds.
    """
    if abs(by_ms) > _MAX_MS:
        raise ValueError("not the value of a tick")
    body = _Moving(value, by_ms)
    identity(body)
    return body.moved()


class _Moving(Body):
    def __init__(self, value: bytes, by_ms: int) -> None:
        super().__init__(value)
        self._by_ms = by_ms
        self._parts: list[bytes] = []  # what stands between times, and the times, moved
        self._copied = 0  # so much of the value is in them

    def time(self, units_a_ms: int = 1) -> int:
        self._parts.append(self.value[self._copied : self.at])
        number = self.long()
        time = number + self._by_ms * units_a_ms
        if not -(2**63) <= time < 2**63:
            raise ValueError("a time that no long holds")
        self._parts.append(long_of(time))
        self._copied = self.at
        return number

    def moved(self) -> bytes:
        return b"".join((*self._parts, self.value[self._copied :]))
