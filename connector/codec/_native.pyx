# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, auto_pickle=False, binding=False
"""The codec compiled: behaves as `_pure` in everything, at about a hundredth of the time.

A packet costs one look into a hash table, one pass over its bytes, and two Python objects: the
value, and the tuple of topic, key and value. Whatever is the same for all packets of an instrument,
an exchange or a session is kept as the bytes that stand in the body.

To see what is C and what is not: `cython -a connector/codec/_native.pyx`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from connector.codec.interface import MAX_STRAYS as _MAX_STRAYS
from connector.kite.wire.event_time import EXCHANGE_TIME_AHEAD_MS, EXCHANGE_TIME_BEHIND_MS
from connector.kite.wire.models import Exchange, Mode
from connector.kite.wire.layout import (
    MAX_PACKETS_PER_FRAME, TOO_MANY_PACKETS, TRAILING_BYTES, TRUNCATED_FRAME, UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT, reject,
)

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define little_endian(bits) __builtin_bswap64(bits)
    #else
    #define little_endian(bits) (bits)
    #endif
    """
    uint64_t little_endian(uint64_t bits) nogil

cdef enum:
    SEGMENTS = 16
    # Room for the parts of a value. Copying all of a small one is cheaper than calling memcpy for
    # its true length; what is too much is then overwritten by the part that follows.
    HEAD_BYTES = 32  # at most 25: framing, event_time, receive_time_us
    TAIL_BYTES = 512  # at most 370: from mode to best_ask_quantity of a full packet
    SESSION_BYTES = 20
    MODE_BYTES = 8  # at most 7: mode and tradable
    LONG_BYTES = 10  # a varint at its longest
    FRAMING_BYTES = 5
    LTP = 1
    QUOTE = 2
    FULL = 3

cdef uint32_t MAX_STRAYS = _MAX_STRAYS
cdef int64_t AHEAD_MS = EXCHANGE_TIME_AHEAD_MS
cdef int64_t BEHIND_MS = EXCHANGE_TIME_BEHIND_MS
cdef uint32_t MAX_PACKETS = MAX_PACKETS_PER_FRAME
cdef tuple NOTHING = ()
# by rank, as Instrument.mode has it
cdef tuple MODES = (None, Mode.LTP, Mode.QUOTE, Mode.FULL)
cdef str REASON_LENGTH = UNKNOWN_LENGTH
cdef str REASON_SEGMENT = UNKNOWN_SEGMENT
cdef str REASON_TRUNCATED = TRUNCATED_FRAME
cdef str REASON_TRAILING = TRAILING_BYTES
cdef str REASON_MANY_PACKETS = TOO_MANY_PACKETS


cdef struct Route:
    # what all ticks of an exchange have in common
    PyObject *topic  # NULL: no such segment
    double divisor
    char framing[FRAMING_BYTES]
    char modes[4][MODE_BYTES]  # by rank: the mode, and whether it is tradable
    uint8_t mode_bytes[4]
    int64_t ticks


cdef struct Instrument:
    # what is remembered of a token between its packets
    PyObject *key  # NULL: the place is free
    PyObject *identity  # token, exchange, tradingsymbol as they stand in a body; NULL: not yet made
    uint32_t token
    uint8_t mode  # rank of the last packet's mode, 0 before the first, and of what is watched
    bint expected  # the next packet is a snapshot
    bint stray  # came without being expected


cdef struct Encoded:
    # a long together with its varint, for what stands in many bodies
    int64_t number
    char varint[LONG_BYTES]
    Py_ssize_t varint_bytes


cdef inline uint32_t uint16_at(const uint8_t *place) noexcept nogil:
    return (<uint32_t>place[0] << 8) | place[1]


cdef inline uint32_t uint32_at(const uint8_t *place) noexcept nogil:
    return (
        (<uint32_t>place[0] << 24) | (<uint32_t>place[1] << 16)
        | (<uint32_t>place[2] << 8) | place[3]
    )


cdef inline uint8_t mode_of(Py_ssize_t length) noexcept nogil:
    # a packet's length says its mode; 0: no such packet
    if length == 184 or length == 32:
        return FULL
    if length == 44 or length == 28:
        return QUOTE
    return LTP if length == 8 else 0


cdef inline char *put_varint(char *out, uint64_t rest) noexcept nogil:
    while rest > 0x7F:
        out[0] = <char>(rest | 0x80)
        rest >>= 7
        out += 1
    out[0] = <char>rest
    return out + 1


cdef inline char *put_long(char *out, int64_t number) noexcept nogil:
    return put_varint(out, (<uint64_t>number << 1) ^ <uint64_t>(number >> 63))


cdef inline char *put_count(char *out, uint32_t number) noexcept nogil:
    # a long that is never negative: its zigzag is a shift
    return put_varint(out, <uint64_t>number << 1)


cdef inline char *put_double(char *out, double number) noexcept nogil:
    cdef uint64_t bits = 0
    memcpy(&bits, &number, 8)
    bits = little_endian(bits)
    memcpy(out, &bits, 8)
    return out + 8


cdef inline char *put_byte(char *out, char byte) noexcept nogil:
    out[0] = byte
    return out + 1


cdef inline char *put_nulls(char *out, int count) noexcept nogil:
    memset(out, 0, count)
    return out + count


cdef inline char *put_some_count(char *out, uint32_t number) noexcept nogil:
    return put_count(put_byte(out, 2), number)


cdef inline char *put_time(char *out, uint32_t seconds) noexcept nogil:
    # a nullable timestamp-millis from the wire's seconds, where 0 is none
    if seconds == 0:
        return put_byte(out, 0)
    return put_varint(put_byte(out, 2), <uint64_t>seconds * 2000)


cdef inline void encode(Encoded *encoded, int64_t number) noexcept nogil:
    encoded.number = number
    encoded.varint_bytes = put_long(encoded.varint, number) - encoded.varint


cdef inline char *put_encoded(char *out, const Encoded *encoded) noexcept nogil:
    memcpy(out, encoded.varint, LONG_BYTES)
    return out + encoded.varint_bytes


cdef inline char *put_some_encoded(char *out, const Encoded *encoded) noexcept nogil:
    # a nullable long, where 0 is none
    if encoded.number == 0:
        return put_byte(out, 0)
    return put_encoded(put_byte(out, 2), encoded)


cdef inline char *put_ohlc(
    char *out, const uint8_t *open, const uint8_t *high, const uint8_t *low, const uint8_t *close,
    double divisor,
) noexcept nogil:
    out = put_byte(out, 2)
    out = put_double(out, uint32_at(open) / divisor)
    out = put_double(out, uint32_at(high) / divisor)
    out = put_double(out, uint32_at(low) / divisor)
    return put_double(out, uint32_at(close) / divisor)


cdef inline char *put_quote(char *out, const uint8_t *packet, double divisor) noexcept nogil:
    # last_price to ohlc
    out = put_double(out, uint32_at(packet + 4) / divisor)
    out = put_some_count(out, uint32_at(packet + 8))
    out = put_byte(out, 2)
    out = put_double(out, uint32_at(packet + 12) / divisor)
    out = put_some_count(out, uint32_at(packet + 16))
    out = put_some_count(out, uint32_at(packet + 20))
    out = put_some_count(out, uint32_at(packet + 24))
    return put_ohlc(out, packet + 28, packet + 32, packet + 36, packet + 40, divisor)


cdef inline char *put_full(
    char *out, const uint8_t *packet, const Encoded *timestamp_ms, double divisor
) noexcept nogil:
    # last_price to depth
    cdef const uint8_t *level = packet + 64
    cdef int side, i
    out = put_quote(out, packet, divisor)
    out = put_time(out, uint32_at(packet + 44))
    out = put_some_encoded(out, timestamp_ms)
    out = put_some_count(out, uint32_at(packet + 48))
    out = put_some_count(out, uint32_at(packet + 52))
    out = put_some_count(out, uint32_at(packet + 56))
    out = put_byte(out, 2)
    for side in range(2):
        out = put_byte(out, 10)  # one block of five items
        for i in range(5):
            out = put_count(out, uint32_at(level))
            out = put_double(out, uint32_at(level + 4) / divisor)
            out = put_count(out, uint16_at(level + 8))
            level += 12
        out = put_byte(out, 0)
    return out


cdef inline char *put_best(char *out, const uint8_t *level, double divisor) noexcept nogil:
    # price and quantity of a side's first level, both nullable
    out = put_double(put_byte(out, 2), uint32_at(level + 4) / divisor)
    return put_some_count(out, uint32_at(level))


cdef inline char *put_index(
    char *out, const uint8_t *packet, const Encoded *timestamp_ms, double divisor
) noexcept nogil:
    # last_price to depth; the wire has high, low, open, close
    out = put_double(out, uint32_at(packet + 4) / divisor)
    out = put_nulls(out, 5)
    out = put_ohlc(out, packet + 16, packet + 8, packet + 12, packet + 20, divisor)
    out = put_byte(out, 0)
    out = put_some_encoded(out, timestamp_ms)
    return put_nulls(out, 4)


cdef bytes long_bytes(int64_t number):
    cdef char buffer[LONG_BYTES]
    return buffer[:put_long(buffer, number) - buffer]


cdef bytes string_bytes(str text):
    encoded = text.encode("utf-8", "replace")
    return long_bytes(len(encoded)) + encoded


@cython.final
cdef class Table:
    """Open addressing, linear probing, at most half full; removal shifts back, no tombstones."""

    cdef Instrument *places
    cdef uint32_t bits  # the table has 1 << bits places
    cdef uint32_t used

    def __cinit__(self):
        self.bits = 6
        self.places = <Instrument *>PyMem_Calloc(1 << self.bits, sizeof(Instrument))
        if self.places == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef size_t i
        if self.places != NULL:
            for i in range(<size_t>1 << self.bits):
                Py_XDECREF(self.places[i].key)
                Py_XDECREF(self.places[i].identity)
            PyMem_Free(self.places)

    cdef inline uint32_t home(self, uint32_t token) noexcept:
        return (token * <uint32_t>0x9E3779B1) >> (32 - self.bits)

    cdef inline Instrument *find(self, uint32_t token) noexcept:
        # the token's place, or the free one where it would go
        cdef uint32_t mask = (<uint32_t>1 << self.bits) - 1
        cdef uint32_t i = self.home(token)
        while self.places[i].key != NULL and self.places[i].token != token:
            i = (i + 1) & mask
        return self.places + i

    cdef Instrument *add(self, uint32_t token) except NULL:
        # the token must not be there; pointers to other places are void afterwards
        cdef Instrument *place
        if (self.used + 1) * 2 > <uint32_t>1 << self.bits:
            self.grow()
        place = self.find(token)
        fill(place, token)
        self.used += 1
        return place

    cdef int grow(self) except -1:
        cdef Instrument *old = self.places
        cdef size_t i, count = <size_t>1 << self.bits
        cdef Instrument *places = <Instrument *>PyMem_Calloc(count * 2, sizeof(Instrument))
        if places == NULL:
            raise MemoryError
        self.places = places
        self.bits += 1
        for i in range(count):
            if old[i].key != NULL:
                self.find(old[i].token)[0] = old[i]
        PyMem_Free(old)
        return 0

    cdef void remove(self, Instrument *place) noexcept:
        cdef uint32_t mask = (<uint32_t>1 << self.bits) - 1
        cdef uint32_t hole = <uint32_t>(place - self.places)
        cdef uint32_t i = hole
        Py_XDECREF(place.key)
        Py_XDECREF(place.identity)
        while True:
            i = (i + 1) & mask
            if self.places[i].key == NULL:
                break
            # moves back unless its home lies behind the hole
            if ((i - self.home(self.places[i].token)) & mask) >= ((i - hole) & mask):
                self.places[hole] = self.places[i]
                hole = i
        memset(self.places + hole, 0, sizeof(Instrument))
        self.used -= 1


cdef int fill(Instrument *place, uint32_t token) except -1:
    key = b"%d" % token
    memset(place, 0, sizeof(Instrument))
    Py_INCREF(key)
    place.key = <PyObject *>key
    place.token = token
    return 0


@cython.final
cdef class Transcoder:
    """See `connector.codec.interface.Twin`."""

    cdef readonly int64_t packets
    cdef readonly int64_t last_tick_us
    cdef readonly int64_t implausible_times
    cdef readonly int64_t unkept
    cdef int64_t frame_bytes
    cdef Route routes[SEGMENTS]
    cdef Table instruments
    cdef Instrument passing  # a stray that finds no room
    cdef uint32_t strays
    cdef dict symbols
    cdef bytes slot
    cdef char session[SESSION_BYTES]  # slot and session_id as they stand in a body
    cdef Py_ssize_t session_bytes
    cdef int64_t sequence
    cdef Encoded timestamp_ms  # of the last packet: many have the same second

    def __cinit__(self, topics, schema_ids, slot):
        cdef Route *route
        cdef bytes mode
        cdef int rank
        self.instruments = Table()
        self.symbols = {}
        self.slot = long_bytes(slot)
        self.open_session(0)
        for exchange in Exchange:
            if exchange.value >= SEGMENTS:
                raise AssertionError(f"{exchange} needs more SEGMENTS")
            route = self.routes + <size_t>exchange.value
            topic = topics[exchange]
            framing = b"\0" + schema_ids[topic].to_bytes(4, "big")
            memcpy(route.framing, PyBytes_AS_STRING(framing), FRAMING_BYTES)
            for rank in range(1, 4):
                mode = string_bytes(MODES[rank].value) + (b"\1" if exchange.tradable else b"\0")
                memcpy(route.modes[rank], PyBytes_AS_STRING(mode), len(mode))
                route.mode_bytes[rank] = len(mode)
            route.divisor = exchange.divisor
            Py_INCREF(topic)
            route.topic = <PyObject *>topic

    def __dealloc__(self):
        cdef int i
        for i in range(SEGMENTS):
            Py_XDECREF(self.routes[i].topic)
        Py_XDECREF(self.passing.key)
        Py_XDECREF(self.passing.identity)

    @property
    def bytes(self):
        return self.frame_bytes

    def counts(self):
        return {exchange: self.routes[<int>exchange.value].ticks for exchange in Exchange}

    def open_session(self, int64_t session_id):
        cdef size_t i
        session = self.slot + long_bytes(session_id)
        self.session_bytes = len(session)
        memcpy(self.session, PyBytes_AS_STRING(session), self.session_bytes)
        self.sequence = 0
        strays = []
        for i in range(<size_t>1 << self.instruments.bits):
            if self.instruments.places[i].key != NULL and self.instruments.places[i].stray:
                strays.append(self.instruments.places[i].token)
        self.forget(strays)

    def expect(self, tokens):
        cdef Instrument *place
        for token in tokens:
            if not 0 <= token <= 0xFFFFFFFF:
                continue
            place = self.instruments.find(token)
            if place.key == NULL:
                place = self.instruments.add(token)
            self.strays -= place.stray
            place.stray = False
            place.expected = True

    def watch(self, tokens):
        for token in tokens:
            if 0 <= token <= 0xFFFFFFFF and self.instruments.find(token).key != NULL:
                self.instruments.find(token).mode = 0

    def forget(self, tokens):
        for token in tokens:
            if 0 <= token <= 0xFFFFFFFF and self.instruments.find(token).key != NULL:
                self.strays -= self.instruments.find(token).stray
                self.instruments.remove(self.instruments.find(token))

    def set_symbols(self, symbols):
        cdef size_t i
        cdef PyObject *old
        # a plain dict is looked up without running Python code, and is kept as it is for its size
        self.symbols = symbols if type(symbols) is dict else dict(symbols)
        for i in range(<size_t>1 << self.instruments.bits):
            old = self.instruments.places[i].identity
            self.instruments.places[i].identity = NULL
            Py_XDECREF(old)

    def transcode(self, bytes frame not None, int64_t receive_time_us):
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(frame)
        cdef Py_ssize_t end = PyBytes_GET_SIZE(frame)
        cdef Py_ssize_t start = 2, stop, length
        cdef const uint8_t *packet
        cdef uint32_t announced, token, room = MAX_PACKETS
        cdef uint8_t mode
        cdef bint snapshot
        cdef Route *route
        cdef Instrument *instrument
        cdef Encoded received_us
        cdef list records = [], confirmed = None, rejected = None

        self.frame_bytes += end
        if end < 2:
            return records, NOTHING, NOTHING
        encode(&received_us, receive_time_us)
        announced = uint16_at(data)
        while announced > 0:
            announced -= 1
            if room == 0:
                rejected = with_reject(rejected, REASON_MANY_PACKETS, data + start, end - start)
                start = end
                break
            room -= 1
            stop = start + 2
            if stop <= end:
                stop += uint16_at(data + start)
            if stop > end:
                rejected = with_reject(rejected, REASON_TRUNCATED, data + start, end - start)
                start = end
                break
            packet = data + start + 2
            length = stop - start - 2
            start = stop

            mode = mode_of(length)
            if mode == 0:
                rejected = self.reject(rejected, REASON_LENGTH, packet, length)
                continue
            token = uint32_at(packet)
            if token & 0xFF >= SEGMENTS or self.routes[token & 0xFF].topic == NULL:
                rejected = self.reject(rejected, REASON_SEGMENT, packet, length)
                continue
            route = self.routes + (token & 0xFF)

            instrument = self.instruments.find(token)
            if instrument.key == NULL:
                instrument = self.stray(token)
            if instrument.identity == NULL:
                self.identify(instrument)
            snapshot = instrument.expected
            if snapshot or instrument.mode != mode:
                if confirmed is None:
                    confirmed = []
                confirmed.append((token, MODES[mode]))
                instrument.expected = False
                instrument.mode = mode
            route.ticks += 1
            self.sequence += 1
            value = self.value(packet, length, route, instrument, &received_us, snapshot)
            records.append((<object>route.topic, <object>instrument.key, value))
        if start < end:
            rejected = with_reject(rejected, REASON_TRAILING, data + start, end - start)
        if records:
            self.last_tick_us = receive_time_us
        self.packets += len(records) + (0 if rejected is None else len(rejected))
        return records, confirmed or NOTHING, rejected or NOTHING

    cdef list reject(self, list rejected, str reason, const uint8_t *packet, Py_ssize_t length):
        if rejected is None:
            rejected = []
        self.unkept += reject(rejected, reason, (<const char *>packet)[:length])
        return rejected

    cdef inline bytes value(
        self, const uint8_t *packet, Py_ssize_t length, Route *route, Instrument *instrument,
        const Encoded *received_us, bint snapshot,
    ):
        # the parts before and after the identity are written here, then all three are put together
        cdef char head[HEAD_BYTES]
        cdef char tail[TAIL_BYTES]
        cdef char *out = tail
        cdef int64_t timestamp_ms = 0, receive_ms
        cdef uint8_t mode = instrument.mode
        cdef Py_ssize_t head_bytes, identity_bytes, tail_bytes

        if length == 184:
            timestamp_ms = <int64_t>uint32_at(packet + 60) * 1000
        elif length == 32:
            timestamp_ms = <int64_t>uint32_at(packet + 28) * 1000
        if timestamp_ms != self.timestamp_ms.number:
            encode(&self.timestamp_ms, timestamp_ms)

        memcpy(out, route.modes[mode], MODE_BYTES)
        out += route.mode_bytes[mode]
        if length == 184:
            out = put_full(out, packet, &self.timestamp_ms, route.divisor)
        elif length == 44:
            out = put_nulls(put_quote(out, packet, route.divisor), 6)
        elif length == 8:
            out = put_nulls(put_double(out, uint32_at(packet + 4) / route.divisor), 12)
        else:
            out = put_index(out, packet, &self.timestamp_ms, route.divisor)
        memcpy(out, self.session, SESSION_BYTES)
        out += self.session_bytes
        out = put_byte(put_long(out, self.sequence), snapshot)
        if length == 184:
            out = put_best(put_best(out, packet + 64, route.divisor), packet + 124, route.divisor)
        else:
            out = put_nulls(out, 4)
        tail_bytes = out - tail

        out = head
        memcpy(out, route.framing, FRAMING_BYTES)
        out += FRAMING_BYTES
        receive_ms = received_us.number // 1000
        if timestamp_ms != 0 and -BEHIND_MS <= timestamp_ms - receive_ms <= AHEAD_MS:
            out = put_encoded(out, &self.timestamp_ms)
        else:
            self.implausible_times += timestamp_ms != 0
            out = put_long(out, receive_ms)
        out = put_encoded(out, received_us)
        head_bytes = out - head

        identity_bytes = PyBytes_GET_SIZE(<object>instrument.identity)
        whole = PyBytes_FromStringAndSize(NULL, head_bytes + identity_bytes + tail_bytes)
        out = PyBytes_AS_STRING(whole)
        memcpy(out, head, HEAD_BYTES)  # even the shortest value is longer
        out += head_bytes
        memcpy(out, PyBytes_AS_STRING(<object>instrument.identity), identity_bytes)
        out += identity_bytes
        memcpy(out, tail, tail_bytes)
        return whole

    cdef Instrument *stray(self, uint32_t token) except NULL:
        # an instrument that nobody expects; beyond MAX_STRAYS it is forgotten at once
        cdef Instrument *place
        if self.strays < MAX_STRAYS:
            place = self.instruments.add(token)
            place.stray = True
            self.strays += 1
            return place
        Py_XDECREF(self.passing.key)
        Py_XDECREF(self.passing.identity)
        memset(&self.passing, 0, sizeof(Instrument))
        fill(&self.passing, token)
        return &self.passing

    cdef int identify(self, Instrument *instrument) except -1:
        symbol = self.symbols.get(instrument.token)
        exchange = Exchange(instrument.token & 0xFF)
        identity = long_bytes(instrument.token) + string_bytes(exchange.name)
        identity += b"\0" if symbol is None else b"\2" + string_bytes(symbol)
        Py_INCREF(identity)
        instrument.identity = <PyObject *>identity
        return 0


cdef list with_reject(list rejected, str reason, const uint8_t *start, Py_ssize_t count):
    if rejected is None:
        rejected = []
    rejected.append((reason, (<const char *>start)[:count]))
    return rejected
