"""Frames as an Arrow table, column by column: no object is made for a tick.

numpy and pyarrow are no requirements of this package: the extra `arrow` brings them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, Final

from connector.errors import MissingExtraError
from connector.kite.wire.arrays import packet_dtype
from connector.kite.wire.event_time import EXCHANGE_TIME_AHEAD_MS, EXCHANGE_TIME_BEHIND_MS
from connector.kite.wire.layout import MODES, split_frame
from connector.kite.wire.models import Exchange, FrameMessage, Mode
from connector.kite.wire.names import tradingsymbol
from connector.kite.wire.packets import uniform
from connector.kite.wire.rows import BEST, LEVELS, OHLC_COLUMNS, SIDES, TICK_COLUMNS

_PRICES: Final = ("last_price", "average_traded_price")
_QUANTITIES: Final = (
    "last_traded_quantity", "volume_traded", "total_buy_quantity", "total_sell_quantity",
    "oi", "oi_day_high", "oi_day_low",
)  # fmt: skip
_TIMES: Final = ("last_trade_time", "exchange_timestamp")
_SEGMENTS: Final = 256


def ticks_to_arrow(frames: Iterable[FrameMessage]) -> Any:
    """The ticks of raw frames as a table: a row a tick, in the order of the wire.

    The columns are those of the Avro schema `kite.Tick`, flat: `ohlc_open`, `depth_buy_1_price` …
    Of the stream's own (slot, session_id, sequence, snapshot) there are none. Prices are rupees,
    times UTC in milliseconds, exchanges, modes and names words. What a packet does not carry is
    null, and packets that are no ticks are left out, as `parse_frame` does.

        polars.from_arrow(ticks_to_arrow(frames))
        ticks_to_arrow(frames).to_pandas()

    Args:
        frames: of a ticker with `raw=True` or a manager's raw channel.

    Returns:
        A `pyarrow.Table`; pyarrow has no types of its own.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
    """
    numpy, arrow = arrow_modules()
    groups = _Groups(numpy)
    for frame in frames:
        groups.add(frame)
    return arrow.table(_columns(numpy, arrow, groups), schema=tick_schema())


class _Groups:
    """The packets of frames by their length, each with its place among all of them."""

    def __init__(self, numpy: Any) -> None:
        self._numpy = numpy
        # by the packets' length: an array a frame, the rows that its packets are, receive times
        self._arrays: dict[int, list[Any]] = {length: [] for length in MODES}
        self._places: dict[int, list[Any]] = {length: [] for length in MODES}
        self._times: dict[int, list[Any]] = {length: [] for length in MODES}
        self.count = 0  # rows, those of unknown exchanges among them until the end

    def add(self, frame: FrameMessage) -> None:
        """Add the packets of a frame that are ticks."""
        data = frame.data
        # a feed of one mode has packets of one length: then the frame is the array
        length = int.from_bytes(data[2:4])
        if length in MODES and (count := uniform(data, length)):
            places = range(self.count, self.count + count)
            self._put(length, data, 2, places, frame.receive_time_us)
            self.count += count
            return
        by_length: dict[int, list[tuple[int, bytes]]] = {}
        for packet in split_frame(data)[0]:
            if len(packet) in MODES:
                by_length.setdefault(len(packet), []).append((self.count, packet))
                self.count += 1
        for length, packets in by_length.items():
            prefix = length.to_bytes(2)
            joined = b"".join(prefix + packet for _, packet in packets)
            self._put(length, joined, 0, [place for place, _ in packets], frame.receive_time_us)

    def _put(self, length: int, data: bytes, offset: int, places: Any, time_us: int) -> None:
        numpy = self._numpy
        count = len(places)
        array = numpy.frombuffer(data, packet_dtype(length), count, offset)
        self._arrays[length].append(array)
        self._places[length].append(numpy.asarray(places))
        self._times[length].append(numpy.full(count, time_us, "i8"))

    def joined(self) -> Iterator[tuple[int, Any, Any, Any]]:
        """The length, packets, places and receive times of each group that has any."""
        join = self._numpy.concatenate
        for length, arrays in self._arrays.items():
            if arrays:
                yield length, join(arrays), join(self._places[length]), join(self._times[length])


def _columns(numpy: Any, arrow: Any, groups: _Groups) -> list[Any]:
    """The columns in the order of the schema, without the rows of unknown exchanges."""
    count = groups.count
    values = {name: numpy.zeros(count, kind) for name, kind in _kinds().items()}
    there = {name: numpy.zeros(count, bool) for name in values}
    modes = numpy.zeros(count, "i1")
    # 1 of those that are not known: their rows are left out in the end
    divisors = numpy.ones(_SEGMENTS)
    for exchange in Exchange:
        divisors[exchange.value] = exchange.divisor
    for length, array, places, times_us in groups.joined():
        # native and signed: Arrow has no big-endian numbers
        tokens = array["instrument_token"].astype("i8")
        divisor = divisors[tokens & 0xFF]
        fields: dict[str, Any] = {"receive_time_us": times_us, "instrument_token": tokens}
        for name in array.dtype.names:
            if name in _PRICES:
                fields[name] = array[name] / divisor
            elif name in _QUANTITIES:
                fields[name] = array[name]
            elif name in _TIMES:
                # to milliseconds: in 32 bits they would not fit
                fields[name] = array[name].astype("i8") * 1000
            elif f"ohlc_{name}" in OHLC_COLUMNS:
                fields[f"ohlc_{name}"] = array[name] / divisor
            elif name in SIDES:
                fields |= _side(array[name], name, divisor)
        fields |= {best: fields[first] for best, first in BEST.items() if first in fields}
        modes[places] = list(Mode).index(MODES[length])
        for name, column in fields.items():
            values[name][places] = column
            # the wire says 0 where there is no time
            there[name][places] = column > 0 if name in _TIMES else True
    return _finished(numpy, arrow, values, there, modes)


def _side(levels: Any, side: str, divisor: Any) -> dict[str, Any]:
    fields = {}
    for level in range(LEVELS):
        prefix = f"depth_{side}_{level + 1}"
        fields[f"{prefix}_quantity"] = levels["quantity"][:, level]
        fields[f"{prefix}_price"] = levels["price"][:, level] / divisor
        fields[f"{prefix}_orders"] = levels["orders"][:, level]
    return fields


def _finished(numpy: Any, arrow: Any, values: Any, there: Any, modes: Any) -> list[Any]:
    tokens = values["instrument_token"]
    segments = tokens & 0xFF
    known = numpy.isin(segments, [exchange.value for exchange in Exchange])
    receive_ms, exchange_ms = values["receive_time_us"] // 1000, values["exchange_timestamp"]
    ahead_ms = exchange_ms - receive_ms
    good = there["exchange_timestamp"] & (ahead_ms <= EXCHANGE_TIME_AHEAD_MS)
    good &= ahead_ms >= -EXCHANGE_TIME_BEHIND_MS
    values["event_time"] = numpy.where(good, exchange_ms, receive_ms)
    there["event_time"] = numpy.ones(len(tokens), bool)
    # a dictionary column has numbers in place of words: no text is made for a tick
    codes = numpy.zeros(_SEGMENTS, "i4")
    codes[[exchange.value for exchange in Exchange]] = range(len(Exchange))
    # a name is looked up once an instrument, not once a tick
    unique, inverse = numpy.unique(tokens[known], return_inverse=True)
    names = arrow.array([tradingsymbol(int(token)) for token in unique], arrow.string())
    words = {
        "exchange": (codes[segments[known]], [exchange.name for exchange in Exchange]),
        "mode": (modes[known].astype("i4"), [mode.value for mode in Mode]),
        "tradingsymbol": (inverse.astype("i4"), names),
    }
    columns = []
    for field in tick_schema():
        if field.name in words:
            codes_of, words_of = words[field.name]
            column = arrow.DictionaryArray.from_arrays(codes_of, words_of)
            # a null among the words becomes a null of the column
            column = column.cast(arrow.string()).dictionary_encode()
        elif field.name == "tradable":
            column = arrow.array(segments[known] != Exchange.INDICES.value)
        else:
            missing = ~there[field.name][known]
            column = arrow.array(values[field.name][known], field.type, mask=missing)
        columns.append(column.cast(field.type))
    return columns


@functools.cache
def tick_schema() -> Any:
    """The `pyarrow.Schema` of a table of ticks.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
    """
    _, arrow = arrow_modules()
    word = arrow.dictionary(arrow.int32(), arrow.string())
    time = arrow.timestamp("ms", "UTC")
    special = {
        "event_time": time, "last_trade_time": time, "exchange_timestamp": time,
        "exchange": word, "tradingsymbol": word, "mode": word, "tradable": arrow.bool_(),
    }  # fmt: skip
    kinds = {"i8": arrow.int64(), "f8": arrow.float64()}
    return arrow.schema(
        [(name, special.get(name) or kinds[_kinds()[name]]) for name in TICK_COLUMNS]
    )


@functools.cache
def _kinds() -> dict[str, str]:
    """The numpy type of each column that is a number."""
    words = {"exchange", "tradingsymbol", "mode", "tradable"}
    return {
        name: "f8" if "price" in name or name in OHLC_COLUMNS else "i8"
        for name in TICK_COLUMNS
        if name not in words
    }


def arrow_modules() -> tuple[Any, Any]:
    """Return numpy and pyarrow.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        import numpy
        import pyarrow
    except ImportError as exc:
        raise MissingExtraError("kite-connector[arrow]", "a table of ticks") from exc
    return numpy, pyarrow
