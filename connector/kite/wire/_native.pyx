# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, auto_pickle=False, binding=False
"""Ticks compiled: behaves as `_pure` in everything.

A tick keeps its packet's bytes and makes a field of them when somebody asks for it: a full packet
has sixty numbers, and hardly anybody reads more than ten of them.
"""

cimport cython
from connector.kite.wire.numbers cimport uint16_at, uint32_at
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.datetime cimport datetime_from_timestamp, import_datetime
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from datetime import UTC as _UTC
from typing import get_type_hints

from connector.errors import ParseTickError
from connector.kite.wire._pure import Tick as _PureTick
from connector.kite.wire import rows
from connector.kite.wire.layout import (
    MAX_PACKETS_PER_FRAME,
    TOO_MANY_PACKETS,
    TRAILING_BYTES,
    TRUNCATED_FRAME,
    UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT,
    reject,
)
from connector.kite.wire.models import OHLC, Depth, DepthItem, Exchange, Mode
from connector.kite.wire.names import tradingsymbol as _tradingsymbol

import_datetime()

cdef enum:
    SEGMENTS = 16  # more than the highest that is known, 12
    PACKET_BYTES = 184  # of the longest
    FIELDS = 17  # of the constructor, in its order

cdef object UTC = _UTC
# C variables of what is looked up for each tick: a module's globals are a dict
cdef object REJECTED = ParseTickError
cdef object LTP = Mode.LTP
cdef object QUOTE = Mode.QUOTE
cdef object FULL = Mode.FULL
cdef object new_tuple = tuple.__new__
cdef object make_ohlc = OHLC
cdef object make_depth = Depth
cdef object make_item = DepthItem
cdef str REASON_LENGTH = UNKNOWN_LENGTH
cdef str REASON_SEGMENT = UNKNOWN_SEGMENT
cdef str REASON_TRUNCATED = TRUNCATED_FRAME
cdef str REASON_TRAILING = TRAILING_BYTES
cdef str REASON_MANY = TOO_MANY_PACKETS
cdef uint32_t MAX_PACKETS = MAX_PACKETS_PER_FRAME
cdef dict ANNOTATIONS = get_type_hints(_PureTick)
cdef tuple NAMES = _PureTick.__match_args__

# by segment: the exchange, or None; its divisor
cdef list EXCHANGES = [None] * SEGMENTS
cdef double DIVISORS[SEGMENTS]
for _exchange in Exchange:
    if _exchange.value >= SEGMENTS:
        raise AssertionError(f"{_exchange} needs more SEGMENTS")
    EXCHANGES[_exchange.value] = _exchange
    DIVISORS[<size_t>_exchange.value] = _exchange.divisor


cdef inline object time_at(const uint8_t *place):
    # seconds since 1970 as aware UTC; the wire says 0 where there is none
    cdef uint32_t seconds = uint32_at(place)
    return None if seconds == 0 else datetime_from_timestamp(seconds, UTC)


cdef object side_at(const uint8_t *level, double divisor):
    cdef list items = []
    cdef int i
    for i in range(5):
        items.append(new_tuple(make_item, (
            uint32_at(level), uint32_at(level + 4) / divisor, uint16_at(level + 8)
        )))
        level += 12
    return tuple(items)


@cython.final
@cython.no_gc  # it can be in no cycle but one that somebody makes of its fields on purpose
@cython.freelist(512)  # a frame's ticks come and go together: no call of malloc for them
cdef class Tick:
    cdef uint8_t packet[PACKET_BYTES]
    cdef uint8_t length  # of the packet
    cdef list values  # all fields, of a tick that was made by its constructor, or changed

    __doc__ = _PureTick.__doc__
    __match_args__ = NAMES
    __dataclass_fields__ = _PureTick.__dataclass_fields__
    __annotations__ = ANNOTATIONS
    __dataclass_params__ = _PureTick.__dataclass_params__
    __hash__ = None  # as of the dataclass, which has __eq__ and can be changed

    def __init__(
        self, instrument_token, mode, exchange, tradable, last_price, last_traded_quantity=None,
        average_traded_price=None, volume_traded=None, total_buy_quantity=None,
        total_sell_quantity=None, ohlc=None, last_trade_time=None, oi=None, oi_day_high=None,
        oi_day_low=None, exchange_timestamp=None, depth=None,
    ):
        self.values = [
            instrument_token, mode, exchange, tradable, last_price, last_traded_quantity,
            average_traded_price, volume_traded, total_buy_quantity, total_sell_quantity, ohlc,
            last_trade_time, oi, oi_day_high, oi_day_low, exchange_timestamp, depth,
        ]

    cdef object field(self, int number):
        # by the order of the constructor
        cdef const uint8_t *packet = self.packet
        cdef uint8_t length = self.length
        cdef double divisor
        if self.values is not None:
            return self.values[number]
        divisor = DIVISORS[packet[3] & (SEGMENTS - 1)]  # known: `refusal` saw to it
        if number == 0:
            return uint32_at(packet)
        if number == 1:
            if length == 184 or length == 32:
                return FULL
            return LTP if length == 8 else QUOTE
        if number == 2:
            return EXCHANGES[packet[3]]
        if number == 3:
            return EXCHANGES[packet[3]].tradable
        if number == 4:
            return uint32_at(packet + 4) / divisor
        if length == 8:
            return None
        if number == 10:
            if length == 32 or length == 28:
                # the wire has high, low, open, close
                return new_tuple(make_ohlc, (
                    uint32_at(packet + 16) / divisor, uint32_at(packet + 8) / divisor,
                    uint32_at(packet + 12) / divisor, uint32_at(packet + 20) / divisor,
                ))
            return new_tuple(make_ohlc, (
                uint32_at(packet + 28) / divisor, uint32_at(packet + 32) / divisor,
                uint32_at(packet + 36) / divisor, uint32_at(packet + 40) / divisor,
            ))
        if length == 32 and number == 15:
            return time_at(packet + 28)
        if length < 44:
            return None
        if number == 5:
            return uint32_at(packet + 8)
        if number == 6:
            return uint32_at(packet + 12) / divisor
        if number < 10:
            # volume, buy and sell quantity
            return uint32_at(packet + 16 + 4 * (number - 7))
        if length == 44:
            return None
        if number == 11:
            return time_at(packet + 44)
        if number < 15:
            # oi, its high and low
            return uint32_at(packet + 48 + 4 * (number - 12))
        if number == 15:
            return time_at(packet + 60)
        return new_tuple(
            make_depth, (side_at(packet + 64, divisor), side_at(packet + 124, divisor))
        )

    cdef list all(self):
        cdef int number
        if self.values is not None:
            return self.values
        return [self.field(number) for number in range(FIELDS)]

    cdef int assign(self, int number, object value) except -1:
        # all of them are objects from here on: the packet has no place for what somebody sets
        self.values = self.all()
        self.values[number] = value
        return 0

    @property
    def instrument_token(self):
        return self.field(0)

    @instrument_token.setter
    def instrument_token(self, value):
        self.assign(0, value)

    @property
    def mode(self):
        return self.field(1)

    @mode.setter
    def mode(self, value):
        self.assign(1, value)

    @property
    def exchange(self):
        return self.field(2)

    @exchange.setter
    def exchange(self, value):
        self.assign(2, value)

    @property
    def tradable(self):
        return self.field(3)

    @tradable.setter
    def tradable(self, value):
        self.assign(3, value)

    @property
    def last_price(self):
        return self.field(4)

    @last_price.setter
    def last_price(self, value):
        self.assign(4, value)

    @property
    def last_traded_quantity(self):
        return self.field(5)

    @last_traded_quantity.setter
    def last_traded_quantity(self, value):
        self.assign(5, value)

    @property
    def average_traded_price(self):
        return self.field(6)

    @average_traded_price.setter
    def average_traded_price(self, value):
        self.assign(6, value)

    @property
    def volume_traded(self):
        return self.field(7)

    @volume_traded.setter
    def volume_traded(self, value):
        self.assign(7, value)

    @property
    def total_buy_quantity(self):
        return self.field(8)

    @total_buy_quantity.setter
    def total_buy_quantity(self, value):
        self.assign(8, value)

    @property
    def total_sell_quantity(self):
        return self.field(9)

    @total_sell_quantity.setter
    def total_sell_quantity(self, value):
        self.assign(9, value)

    @property
    def ohlc(self):
        return self.field(10)

    @ohlc.setter
    def ohlc(self, value):
        self.assign(10, value)

    @property
    def last_trade_time(self):
        return self.field(11)

    @last_trade_time.setter
    def last_trade_time(self, value):
        self.assign(11, value)

    @property
    def oi(self):
        return self.field(12)

    @oi.setter
    def oi(self, value):
        self.assign(12, value)

    @property
    def oi_day_high(self):
        return self.field(13)

    @oi_day_high.setter
    def oi_day_high(self, value):
        self.assign(13, value)

    @property
    def oi_day_low(self):
        return self.field(14)

    @oi_day_low.setter
    def oi_day_low(self, value):
        self.assign(14, value)

    @property
    def exchange_timestamp(self):
        return self.field(15)

    @exchange_timestamp.setter
    def exchange_timestamp(self, value):
        self.assign(15, value)

    @property
    def depth(self):
        return self.field(16)

    @depth.setter
    def depth(self, value):
        self.assign(16, value)

    @property
    def tradingsymbol(self):
        """Today's name; None without an `InstrumentList` that has the token."""
        return _tradingsymbol(self.field(0))

    @property
    def change(self):
        """Per cent against the close of the day before; None without a close."""
        ohlc = self.field(10)
        if ohlc is None or ohlc.close == 0:
            return None
        return (self.field(4) - ohlc.close) * 100 / ohlc.close

    def to_dict(self):
        """The tick as nested dicts and lists, with Kite's field names.

        Exchange and mode are words, `depth` has lists of five levels; what the packet does not
        carry is None.
        """
        return rows.to_dict(self)

    def to_row(self):
        """The tick as a flat dict: a row with the columns of `ticks_to_arrow`.

        `ohlc_open`, `depth_buy_1_price`, `best_bid_price` … stand in place of the nested ones; the
        columns of times that a tick does not know (`event_time`, `receive_time_us`) are left out.
        """
        return rows.to_row(self)

    def __eq__(self, other):
        if type(other) is not Tick:
            return NotImplemented
        return self.all() == (<Tick>other).all()

    def __repr__(self):
        pairs = zip(NAMES, self.all(), strict=True)
        return f"Tick({', '.join(f'{name}={value!r}' for name, value in pairs)})"

    def __reduce__(self):
        return Tick, tuple(self.all())


cdef inline str refusal(const uint8_t *packet, Py_ssize_t length):
    # why a packet is no tick; None where it is one
    if length != 184 and length != 44 and length != 8 and length != 32 and length != 28:
        return REASON_LENGTH
    if packet[3] >= SEGMENTS or EXCHANGES[packet[3]] is None:
        return REASON_SEGMENT
    return None


cdef inline Tick tick_of(const uint8_t *packet, Py_ssize_t length):
    cdef Tick tick = Tick.__new__(Tick)
    memcpy(tick.packet, packet, length)
    tick.length = <uint8_t>length
    return tick


def parse_packet(bytes packet not None):
    """See `_pure.parse_packet`."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(packet)
    cdef str reason = refusal(data, PyBytes_GET_SIZE(packet))
    if reason is not None:
        raise REJECTED(reason, packet)
    return tick_of(data, PyBytes_GET_SIZE(packet))


def parse_packets(bytes frame not None):
    """See `_pure.parse_packets`."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(frame)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(frame)
    cdef Py_ssize_t start = 2, stop
    cdef uint32_t announced, room = MAX_PACKETS
    cdef str reason
    cdef list ticks = [], rejected = []
    if end < 2:
        return ticks, rejected
    announced = uint16_at(data)
    while announced > 0:
        announced -= 1
        if room == 0:
            rejected.append((REASON_MANY, frame[start:]))
            return ticks, rejected
        room -= 1
        stop = start + 2
        if stop <= end:
            stop += uint16_at(data + start)
        if stop > end:
            rejected.append((REASON_TRUNCATED, frame[start:]))
            return ticks, rejected
        reason = refusal(data + start + 2, stop - start - 2)
        if reason is None:
            ticks.append(tick_of(data + start + 2, stop - start - 2))
        else:
            reject(rejected, reason, frame[start + 2:stop])
        start = stop
    if start < end:
        rejected.append((REASON_TRAILING, frame[start:]))
    return ticks, rejected


def new_modes(bytes frame not None, dict modes not None):
    """See `_pure.new_modes`."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(frame)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(frame)
    cdef Py_ssize_t start = 2, stop, length
    cdef uint32_t announced
    cdef object token, mode
    cdef list changed = []
    if end < 2:
        return changed
    announced = min(uint16_at(data), MAX_PACKETS)
    while announced > 0:
        announced -= 1
        stop = start + 2
        if stop <= end:
            stop += uint16_at(data + start)
        if stop > end:
            break
        length = stop - start - 2
        if length == 184 or length == 32:
            mode = FULL
        elif length == 44 or length == 28:
            mode = QUOTE
        elif length == 8:
            mode = LTP
        else:
            start = stop
            continue
        token = uint32_at(data + start + 2)
        start = stop
        if modes.get(token) is not mode:
            modes[token] = mode
            changed.append((token, mode))
    return changed


def uniform(bytes frame not None, Py_ssize_t length):
    """See `_pure.uniform`."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(frame)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(frame)
    cdef Py_ssize_t start = 2
    cdef uint32_t count
    if end < 2:
        return 0
    count = uint16_at(data)
    if end - 2 != count * (length + 2):
        return 0
    while start < end:
        if uint16_at(data + start) != length:
            return 0
        start += length + 2
    return count
