"""The codec in Python: for where the extension cannot be built, and the yardstick of its twin."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct

from connector.codec.framing import FRAMING_BYTES, framing, schema_id_of
from connector.codec.interface import MAX_STRAYS, NO_PARTITIONS, Record, Tally, Transcoded
from connector.codec.partitioning import partition_of
from connector.kite.wire.event_time import plausible
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
from connector.kite.wire.models import SEGMENTS, Exchange, Mode

_double = Struct("<d").pack
_doubles = Struct("<4d").pack

# the parts of an Avro body that never change
_NULL = b"\x00"  # branch 0 of ["null", T]
_SOME = b"\x02"  # branch 1 as zigzag has it, the value follows
_FALSE, _TRUE = b"\x00", b"\x01"
_NO_BEST = _NULL * 4  # bid and ask, price and quantity
_FIVE = b"\x0a"  # an array's only block has five items
_END = b"\x00"  # of an array


# a varint has seven bits a byte, lowest first, and a mark on all but the last; it is put together
# from two bytes at a time
_TWO = 1 << 14
_MORE = [bytes((rest & 0x7F | 0x80, rest >> 7 | 0x80)) for rest in range(_TWO)]
_LAST = [bytes((rest,)) for rest in range(0x80)]
_LAST += [bytes((rest & 0x7F | 0x80, rest >> 7)) for rest in range(0x80, _TWO)]


def _varint(rest: int) -> bytes:
    if rest < _TWO:
        return _LAST[rest]
    encoded = _MORE[rest & 0x3FFF]
    rest >>= 14
    while rest >= _TWO:
        encoded += _MORE[rest & 0x3FFF]
        rest >>= 14
    return encoded + _LAST[rest]


def long_of(number: int) -> bytes:
    """Avro's long. Where a number is never negative, its zigzag is just `number << 1`."""
    return _varint((number << 1) ^ (number >> 63))


def _string(text: str) -> bytes:
    # half a character of a list of instruments must not cost the tick
    encoded = text.encode("utf-8", "replace")
    return long_of(len(encoded)) + encoded


def _time(seconds: int) -> bytes:
    """A nullable timestamp-millis from the wire's seconds, where 0 is none."""
    return _SOME + _varint(seconds * 2000) if seconds else _NULL


class _Route:
    """What all ticks of an exchange have in common."""

    __slots__ = (
        "by_partition", "count", "divisor", "exchange", "framing", "modes", "name", "partitions",
        "topic",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, topic: str, schema_id: int, partitions: int) -> None:
        self.exchange = exchange
        self.topic = topic
        self.framing = framing(schema_id)
        self.name = _string(exchange.name)
        self.divisor = exchange.divisor
        tradable = _TRUE if exchange.tradable else _FALSE
        self.modes = {mode: _string(mode.value) + tradable for mode in Mode}
        self.partitions = partitions
        self.count = 0  # but for those since the last tally
        self.by_partition = [0] * partitions  # since the last tally


class _Instrument:
    """What is remembered of a token between its packets."""

    __slots__ = ("expected", "identity", "key", "mode", "partition", "stray")

    def __init__(self, token: int) -> None:
        self.key = b"%d" % token
        self.identity: bytes | None = None  # token, exchange, tradingsymbol as they stand in a body
        self.mode: Mode | None = None  # of the last packet
        self.expected = False  # the next packet is a snapshot
        self.stray = False  # came without being expected
        self.partition = 0  # known as soon as the identity is


class Transcoder:
    """Turns the frames of one connection into Kafka records; one a slot, not thread-safe.

    Does no I/O and reads no clock. Memory goes with the expected tokens, whatever the wire says.

    Args:
        topics: of each exchange.
        schema_ids: the registry's id of the values' schema of each topic.
        slot: the connection's.
        partitions: how many a topic has, by which `next_tally` counts; one that is not in it has
            one.

    Raises:
        KeyError: an exchange has no topic, or a topic no id.
    """

    def __init__(
        self,
        topics: Mapping[Exchange, str],
        schema_ids: Mapping[str, int],
        slot: int,
        partitions: Mapping[str, int] = NO_PARTITIONS,
    ) -> None:
        self.packets = 0
        """How many packets there were so far: ticks, and whatever was rejected."""
        self.bytes = 0
        """How many bytes all frames had so far."""
        self.last_tick_us = 0
        """Receive time of the last frame that had a tick; 0 before the first."""
        self.implausible_times = 0
        """Ticks whose exchange timestamp was too far from the receive time to be the event_time."""
        self.unkept = 0
        """Packets beyond `MAX_REJECTED_PER_FRAME` that are only counted, and in nothing else."""
        self._routes = {
            exchange.value: _Route(exchange, topic, schema_ids[topic], partitions.get(topic, 1))
            for exchange in Exchange
            for topic in [topics[exchange]]
        }
        self._slot = slot
        self._instruments: dict[int, _Instrument] = {}  # by token: the expected, and some strays
        self._strays = 0  # of these, bounded
        self._symbols: Mapping[int, str] = {}  # the day's, by token
        self._newest_topic: str | None = None  # None: nobody asks for them
        self._newest: dict[int, Record] = {}  # by token; taken away by `next_newest`
        # numbers of the session's last tick, and of the last one that a tally has counted
        self._sequence = self._tallied = 0
        self.open_session(0)

    def counts(self) -> dict[Exchange, int]:
        """Return how many ticks of each exchange there were so far."""
        return {
            route.exchange: route.count + sum(route.by_partition) for route in self._routes.values()
        }

    def next_tally(self) -> Tally:
        """Return the ticks since the last call, or since the session was opened."""
        ticks = {}
        for route in self._routes.values():
            for partition, count in enumerate(route.by_partition):
                if count:
                    ticks[route.exchange, partition] = count
                    route.count += count
            route.by_partition = [0] * route.partitions
        first, self._tallied = self._tallied + 1, self._sequence
        return first, self._sequence, ticks

    @property
    def newest_waiting(self) -> int:
        """How many instruments have a newest value that `next_newest` has not given yet."""
        return len(self._newest)

    def keep_newest(self, topic: str) -> None:
        """Keep the newest value of each instrument from now on, as a record of this topic."""
        self._newest_topic = topic

    def next_newest(self, limit: int) -> Sequence[Record]:
        """Return the newest values of at most so many instruments, in no order, each given once.

        Fewer than the limit are all that wait. Strays beyond `MAX_STRAYS` are not kept.
        """
        return [self._newest.pop(token) for token in list(itertools.islice(self._newest, limit))]

    def open_session(self, session_id: int) -> None:
        """A new socket, opened at `session_id` (UTC ms): ticks are numbered from 1 again."""
        self.next_tally()  # what nobody asked for belongs to the session before
        self._session = long_of(self._slot) + long_of(session_id)
        self._sequence = self._tallied = 0
        # packets that were under way for another socket: not of this one
        self.forget([token for token, known in self._instruments.items() if known.stray])

    def expect(self, tokens: Iterable[int]) -> None:
        """The next packet of each of these is a snapshot, and is reported as confirmed.

        A number that does not fit 32 bits never comes over the wire and is passed over.
        """
        for token in tokens:
            # uint32 on the wire
            if not 0 <= token <= 0xFFFFFFFF:
                continue
            instrument = self._instruments.get(token)
            if instrument is None:
                instrument = self._instruments[token] = _Instrument(token)
            elif instrument.stray:
                instrument.stray = False
                self._strays -= 1
            instrument.expected = True

    def watch(self, tokens: Iterable[int]) -> None:
        """Report the next packet of each of these as confirmed; it is no snapshot for that.

        Of tokens that are not known nothing is reported that would not be anyway.
        """
        for token in tokens:
            instrument = self._instruments.get(token)
            if instrument is not None:
                # as before its first packet: the next one differs, at no cost for all others
                instrument.mode = None

    def forget(self, tokens: Iterable[int]) -> None:
        """Forget what is known of these tokens."""
        for token in tokens:
            instrument = self._instruments.pop(token, None)
            if instrument is None:
                continue
            self._strays -= instrument.stray
            self._newest.pop(token, None)

    def set_symbols(self, symbols: Mapping[int, str]) -> None:
        """Replace the tradingsymbols by token.

        A dict is kept, not copied, as it may be the whole instrument master: do not change it.
        """
        self._symbols = symbols if type(symbols) is dict else dict(symbols)
        # made anew with each one's next packet, not for all 3000 at once
        for instrument in self._instruments.values():
            instrument.identity = None

    def transcode(self, frame: bytes, receive_time_us: int) -> Transcoded:
        """Take one binary frame, read at `receive_time_us` (UTC); no bytes make it raise.

        A frame below two bytes is a heartbeat and yields nothing.
        """
        records: list[tuple[str, bytes, bytes]] = []
        confirmed: list[tuple[int, Mode]] = []
        rejected: list[tuple[str, bytes]] = []
        packets, leftover = split_frame(frame)
        received = long_of(receive_time_us)
        receive_ms = receive_time_us // 1000
        receive_event = long_of(receive_ms)
        for packet in packets:
            mode = MODES.get(len(packet))
            if mode is None:
                self.unkept += reject(rejected, UNKNOWN_LENGTH, packet)
                continue
            route = self._routes.get(packet[3])  # the token's low byte
            if route is None:
                self.unkept += reject(rejected, UNKNOWN_SEGMENT, packet)
                continue
            token = int.from_bytes(packet[:4], "big")
            instrument = self._instruments.get(token) or self._stray(token)
            snapshot = _FALSE
            if instrument.expected or instrument.mode is not mode:
                confirmed.append((token, mode))
                snapshot = _TRUE if instrument.expected else _FALSE
                instrument.expected = False
                instrument.mode = mode
            self._sequence += 1
            timestamp, measures, best = _measures(packet, route.divisor)
            # it stays in exchange_timestamp as sent; event_time must not follow it
            if timestamp and not plausible(timestamp * 1000, receive_ms):
                self.implausible_times += 1
                timestamp = 0
            # the order of schemas/tick.avsc; the last four are version 2, appended
            value = b"".join(
                (
                    route.framing,
                    _varint(timestamp * 2000) if timestamp else receive_event,
                    received,
                    instrument.identity or self._identify(instrument, token, route),
                    route.modes[mode],
                    measures,
                    self._session,
                    _varint(self._sequence << 1),
                    snapshot,
                    best,
                )
            )
            route.by_partition[instrument.partition] += 1
            records.append((route.topic, instrument.key, value))
            # a stray beyond the bound is in no table: memory stays bounded here too
            if self._newest_topic is not None and token in self._instruments:
                self._newest[token] = (self._newest_topic, instrument.key, value)
        if leftover is not None:
            rejected.append(leftover)
        if records:
            self.last_tick_us = receive_time_us
        self.packets += len(records) + len(rejected)
        self.bytes += len(frame)
        return records, confirmed or (), rejected or ()

    def _stray(self, token: int) -> _Instrument:
        """An instrument that nobody expects; beyond MAX_STRAYS it is forgotten at once."""
        instrument = _Instrument(token)
        if self._strays < MAX_STRAYS:
            self._strays += 1
            instrument.stray = True
            self._instruments[token] = instrument
        return instrument

    def _identify(self, instrument: _Instrument, token: int, route: _Route) -> bytes:
        symbol = self._symbols.get(token)
        tradingsymbol = _NULL if symbol is None else _SOME + _string(symbol)
        instrument.identity = long_of(token) + route.name + tradingsymbol
        instrument.partition = partition_of(instrument.key, route.partitions)
        return instrument.identity


def _measures(packet: bytes, divisor: float) -> tuple[int, bytes, bytes]:
    """What the body has of the packet: (exchange timestamp in seconds or 0, fields, more fields).

    The first fields are last_price to depth, the others best_bid_price to best_ask_quantity.
    """
    length = len(packet)
    if length == 184:
        return _full(packet, divisor)
    if length == 44:
        return 0, _quote(QUOTE.unpack(packet), divisor) + _NULL * 6, _NO_BEST
    if length == 8:
        return 0, _double(LTP.unpack(packet)[1] / divisor) + _NULL * 12, _NO_BEST
    if length == 32:
        # high and low come before open and close: an index is laid out otherwise than a quote
        _, last, high, low, open_, close, timestamp = INDEX_FULL.unpack(packet)
    else:
        _, last, high, low, open_, close = INDEX_QUOTE.unpack(packet)
        timestamp = 0
    measures = b"".join(
        (
            _double(last / divisor),
            _NULL * 5,
            _SOME,
            _doubles(open_ / divisor, high / divisor, low / divisor, close / divisor),
            _NULL,
            _time(timestamp),
            _NULL * 4,
        )
    )
    return timestamp, measures, _NO_BEST


def _quote(fields: tuple[int, ...], divisor: float) -> bytes:
    """last_price to ohlc."""
    _, last, quantity, average, volume, buy, sell, open_, high, low, close = fields
    return b"".join(
        (
            _double(last / divisor),
            _SOME,
            _varint(quantity << 1),
            _SOME,
            _double(average / divisor),
            _SOME,
            _varint(volume << 1),
            _SOME,
            _varint(buy << 1),
            _SOME,
            _varint(sell << 1),
            _SOME,
            _doubles(open_ / divisor, high / divisor, low / divisor, close / divisor),
        )
    )


def _full(packet: bytes, divisor: float) -> tuple[int, bytes, bytes]:
    fields = FULL.unpack(packet)
    trade_time, oi, oi_high, oi_low, timestamp = fields[11:16]
    parts = [
        _quote(fields[:11], divisor),
        _time(trade_time),
        _time(timestamp),
        _SOME,
        _varint(oi << 1),
        _SOME,
        _varint(oi_high << 1),
        _SOME,
        _varint(oi_low << 1),
        _SOME,
    ]
    best = b""
    for side in (fields[16:31], fields[31:]):
        parts.append(_FIVE)
        best += _SOME + _double(side[1] / divisor) + _SOME + _varint(side[0] << 1)
        for quantity, price, orders in zip(side[::3], side[1::3], side[2::3], strict=True):
            parts += (_varint(quantity << 1), _double(price / divisor), _varint(orders << 1))
        parts.append(_END)
    return timestamp, b"".join(parts), best


class Body:
    """Reads the body of a framed value; IndexError or ValueError where it is none."""

    def __init__(self, value: bytes) -> None:
        if schema_id_of(value) is None:  # JSON, say, or another framing
            raise ValueError("not the value of a tick")
        self.value = value
        self.at = FRAMING_BYTES
        """The place that is read next."""

    def long(self) -> int:
        """A varint, zigzag as Avro's int and long have it."""
        number = shift = 0
        while True:
            byte = self.value[self.at]
            if shift > 63:  # ten bytes hold 64 bits
                raise ValueError("a varint without an end")
            number |= (byte & 0x7F) << shift & 0xFFFFFFFFFFFFFFFF
            shift += 7
            self.at += 1
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)

    def time(self, _units_a_ms: int = 1) -> int:
        """A time that the tick has, a long in these units."""
        return self.long()

    def short(self) -> int:
        """Avro's int: a long of no more than 32 bits."""
        number = self.long()
        if not -(2**31) <= number < 2**31:
            raise ValueError("an int of Avro has 32 bits")
        return number

    def text(self) -> str:
        """Read a string, whose bytes have to be UTF-8."""
        length = self.long()
        start = self.at
        self.skip(length)
        return self.value[start : self.at].decode()

    def skip(self, count: int) -> None:
        """Pass over so many bytes."""
        if not 0 <= count <= len(self.value) - self.at:
            raise ValueError("a length beyond the end")
        self.at += count

    def some(self) -> bool:
        """The branch of a union with null; there are no others."""
        branch = self.long()
        if branch not in (0, 1):
            raise ValueError("no such branch")
        return branch == 1

    def skip_levels(self) -> None:
        """Pass over one side of the depth."""
        while items := self.long():
            if items < 0:  # Avro: the block's size in bytes follows, for those who skip it
                self.long()
            for _ in range(abs(items)):
                self.long()
                self.skip(8)
                self.short()


def identity_of(value: bytes) -> tuple[int, int, int]:
    """Return slot, session_id and sequence of a tick's framed value, and read nothing else.

    They stand at the same place in every version of the schema, as fields are only appended behind
    them.

    Raises:
        ValueError: it is not the value of a tick. Nor is what reads as one with numbers that no
            tick has, such as zeros: a token of no exchange, or a sequence below 1.
    """
    _, slot, session_id, sequence = identity(Body(value))
    return slot, session_id, sequence


def is_tick(instrument_token: int, sequence: int) -> bool:
    """Whether what was read where a tick has these can be a tick: out of zeros, say, it cannot."""
    return instrument_token > 0 and instrument_token & 0xFF in SEGMENTS and sequence > 0


def identity(body: Body) -> tuple[int, int, int, int]:
    """Read token, slot, session_id and sequence, and on the way there each time of the tick.

    Raises:
        ValueError: it is not the value of a tick.
    """
    try:
        token, slot, session_id, sequence = _identity(body)
    except (IndexError, ValueError):
        raise ValueError("not the value of a tick") from None
    if not is_tick(token, sequence):
        raise ValueError("not the value of a tick")
    return token, slot, session_id, sequence


def _identity(body: Body) -> tuple[int, int, int, int]:
    body.time()  # event_time
    body.time(1000)  # receive_time_us
    token = body.long()
    body.text()  # exchange
    if body.some():  # tradingsymbol
        body.text()
    body.text()  # mode
    body.skip(1 + 8)  # tradable, last_price
    for is_price in (False, True, False, False, False):  # last_traded_quantity and so on
        if body.some():
            body.skip(8) if is_price else body.long()
    if body.some():  # ohlc
        body.skip(4 * 8)
    for is_time in (True, True, False, False, False):  # last_trade_time to oi_day_low
        if body.some():
            body.time() if is_time else body.long()
    if body.some():  # depth
        body.skip_levels()
        body.skip_levels()
    slot, session_id, sequence = body.short(), body.time(), body.long()
    body.skip(1)  # snapshot
    if body.at != len(body.value):  # the first version ends here
        for is_price in (True, False, True, False):  # the best bid, the best ask
            if body.some():
                body.skip(8) if is_price else body.long()
    return token, slot, session_id, sequence
