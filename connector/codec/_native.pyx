# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, auto_pickle=False, binding=False
"""The codec compiled: behaves as `_pure` in everything, at about a hundredth of the time.

A packet costs one look into a hash table and one pass over its bytes, and no Python object: the
values of a frame stand behind one another in an arena (`Records`), from which the producer hands
them to librdkafka. Whatever is the same for all packets of an instrument, an exchange or a session
is kept as the bytes that stand in the body.

To see what is C and what is not: `cython -a connector/codec/_native.pyx`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from connector.codec.body cimport (
    FRAMING_BYTES, KNOWN_SEGMENTS, LONG_BYTES, Cursor, Encoded, behind_framing, check_tick, encode,
    is_some, mode_of, next_int, next_long, put_best, put_byte, put_double, put_encoded, put_full,
    put_index, put_long, put_nulls, put_quote, skip_best, skip_bytes, skip_depth, skip_to_times,
)
from connector.codec.instruments cimport (
    Instrument, Table, add, clear, fill, find, free, init, keep, remove,
)
from connector.kite.wire.numbers cimport uint16_at, uint32_at
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from connector.codec.framing import framing
from connector.codec.interface import MAX_STRAYS as _MAX_STRAYS, NO_PARTITIONS
from connector.codec.partitioning import partition_of
from connector.kite.wire.event_time import EXCHANGE_TIME_AHEAD_MS, EXCHANGE_TIME_BEHIND_MS
from connector.kite.wire.models import Exchange, Mode
from connector.kite.wire.layout import (
    MAX_PACKETS_PER_FRAME, TOO_MANY_PACKETS, TRAILING_BYTES, TRUNCATED_FRAME, UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT, reject,
)

cdef extern from "Python.h":
    Py_ssize_t references "Py_REFCNT"(PyObject *)

cdef enum:
    SEGMENTS = 16
    # Room for a record but its identity: at most 25 bytes before that, 370 after it, 10 of key.
    # Copying all of a small part is cheaper than calling memcpy for its true length; what is too
    # much is then overwritten by the part that follows.
    RECORD_BYTES = 512
    KEY_BYTES = 10
    ARENA_BYTES = 32 * 1024
    ARENA_KEPT_BYTES = 2 * 1024 * 1024  # 3000 full packets fit
    SPANS = 128  # places for records at first
    SESSION_BYTES = 20  # two longs at their longest
    MODE_BYTES = 8  # at most 7: mode and tradable

cdef uint32_t MAX_STRAYS = _MAX_STRAYS
cdef int64_t AHEAD_MS = EXCHANGE_TIME_AHEAD_MS
cdef int64_t BEHIND_MS = EXCHANGE_TIME_BEHIND_MS
cdef uint32_t MAX_PACKETS = MAX_PACKETS_PER_FRAME
cdef tuple NOTHING = ()
cdef frozenset SEGMENTS_KNOWN = frozenset(exchange.value for exchange in Exchange)
if KNOWN_SEGMENTS != sum([1 << segment for segment in SEGMENTS_KNOWN]):
    raise AssertionError("KNOWN_SEGMENTS in body.pxd are not those of Exchange")
# by rank, as Instrument.mode has it
cdef tuple MODES = (None, Mode.LTP, Mode.QUOTE, Mode.FULL)
cdef str REASON_LENGTH = UNKNOWN_LENGTH
cdef str REASON_SEGMENT = UNKNOWN_SEGMENT
cdef str REASON_TRUNCATED = TRUNCATED_FRAME
cdef str REASON_TRAILING = TRAILING_BYTES
cdef str REASON_MANY_PACKETS = TOO_MANY_PACKETS


cdef struct Route:
    # what all ticks of an exchange have in common
    bint known  # there is such a segment
    double divisor
    char framing[FRAMING_BYTES]
    char modes[4][MODE_BYTES]  # by rank: the mode, and whether it is tradable
    uint8_t mode_bytes[4]
    int64_t ticks  # but for those since the last tally
    int64_t *by_partition  # ticks since the last tally
    uint32_t partitions


cdef bytes long_bytes(int64_t number):
    cdef char buffer[LONG_BYTES]
    return buffer[:put_long(buffer, number) - buffer]


cdef bytes string_bytes(str text):
    encoded = text.encode("utf-8", "replace")
    return long_bytes(len(encoded)) + encoded


@cython.final
cdef class Records:
    """The records of a frame: a sequence of (topic, key, value), each made when it is asked for.

    Whoever keeps it keeps these records: the codec fills it again only when nobody holds it.
    """

    def __cinit__(self):
        self.arena = <char *>PyMem_Calloc(1, ARENA_BYTES)
        self.spans = <Span *>PyMem_Calloc(SPANS, sizeof(Span))
        if self.arena == NULL or self.spans == NULL:
            raise MemoryError
        self.arena_bytes = ARENA_BYTES
        self.places = SPANS

    def __dealloc__(self):
        PyMem_Free(self.arena)
        PyMem_Free(self.spans)

    def __len__(self):
        return self.count

    def __getitem__(self, Py_ssize_t i):
        cdef Span *span
        if i < 0:
            i += self.count
        if not 0 <= i < self.count:
            raise IndexError("no such record")
        span = self.spans + i
        value = self.arena + span.start
        return (
            self.topics[span.segment],
            (value + span.value_bytes)[:span.key_bytes],
            value[:span.value_bytes],
        )

    def __repr__(self):
        return repr(list(self))

    def __eq__(self, other):
        return list(self) == list(other) if isinstance(other, (list, Records)) else NotImplemented

    cdef int reserve(self, Py_ssize_t record_bytes) except -1:
        # room for one record more
        cdef void *larger
        if self.count == self.places:
            larger = PyMem_Realloc(self.spans, self.places * 2 * sizeof(Span))
            if larger == NULL:
                raise MemoryError
            self.spans = <Span *>larger
            self.places *= 2
        while self.used + record_bytes > self.arena_bytes:
            larger = PyMem_Realloc(self.arena, self.arena_bytes * 2)
            if larger == NULL:
                raise MemoryError
            self.arena = <char *>larger
            self.arena_bytes *= 2
        return 0


cdef inline void put_key(Records records, Instrument *instrument) noexcept:
    # ends a record whose value is there
    cdef Span *span = records.spans + records.count
    span.key_bytes = PyBytes_GET_SIZE(<object>instrument.key)
    memcpy(
        records.arena + span.start + span.value_bytes,
        PyBytes_AS_STRING(<object>instrument.key), span.key_bytes,
    )
    records.used = span.start + span.value_bytes + span.key_bytes
    records.count += 1


cdef int add_newest(Records records, const Instrument *instrument) except -1:
    cdef int32_t value_bytes = instrument.newest.value_bytes
    cdef Span *span
    records.reserve(value_bytes + KEY_BYTES)
    span = records.spans + records.count
    span.start = records.used
    span.value_bytes = value_bytes
    span.segment = 0
    memcpy(records.arena + span.start, instrument.newest.value, value_bytes)
    put_key(records, instrument)
    return 0


# One for all slots of the process: it is used up before the next frame, and so stays in the
# processor's cache.
cdef Records spare = Records()


cdef Records empty_records(tuple topics):
    global spare
    # somebody holds the last frame's records, or it was larger than any should be
    if references(<PyObject *>spare) > 1 or spare.arena_bytes > ARENA_KEPT_BYTES:
        spare = Records()
    spare.count = spare.used = 0
    spare.topics = topics
    return spare


@cython.final
cdef class Transcoder:
    """See `connector.codec._pure.Transcoder`."""

    cdef readonly int64_t packets
    cdef readonly int64_t last_tick_us
    cdef readonly int64_t implausible_times
    cdef readonly int64_t unkept
    cdef int64_t frame_bytes
    cdef tuple topics  # by segment
    cdef Route routes[SEGMENTS]
    cdef Table instruments
    cdef Instrument passing  # a stray that finds no room
    cdef uint32_t strays
    cdef dict symbols
    cdef tuple newest_topics  # of `next_newest`, by segment; None: nobody asks for them
    cdef readonly Py_ssize_t newest_waiting
    cdef uint32_t newest_at  # the place where the next search for them begins
    cdef bytes slot
    cdef char session[SESSION_BYTES]  # slot and session_id as they stand in a body
    cdef Py_ssize_t session_bytes
    cdef int64_t sequence
    cdef int64_t tallied  # the last sequence that a tally has counted
    cdef Encoded timestamp_ms  # of the last packet: many have the same second

    def __cinit__(self, topics, schema_ids, slot, partitions=NO_PARTITIONS):
        cdef Route *route
        cdef bytes mode
        cdef int rank
        init(&self.instruments)
        self.topics = tuple(
            topics[Exchange(segment)] if segment in SEGMENTS_KNOWN else None
            for segment in range(SEGMENTS)
        )
        self.symbols = {}
        self.slot = long_bytes(slot)
        self.open_session(0)
        for exchange in Exchange:
            if exchange.value >= SEGMENTS:
                raise AssertionError(f"{exchange} needs more SEGMENTS")
            route = self.routes + <size_t>exchange.value
            topic = topics[exchange]
            prefix = framing(schema_ids[topic])
            memcpy(route.framing, PyBytes_AS_STRING(prefix), FRAMING_BYTES)
            for rank in range(1, 4):
                mode = string_bytes(MODES[rank].value) + (b"\1" if exchange.tradable else b"\0")
                memcpy(route.modes[rank], PyBytes_AS_STRING(mode), len(mode))
                route.mode_bytes[rank] = len(mode)
            route.divisor = exchange.divisor
            route.known = True
            route.partitions = partitions.get(topic, 1)
            route.by_partition = <int64_t *>PyMem_Calloc(route.partitions, sizeof(int64_t))
            if route.by_partition == NULL:
                raise MemoryError

    def __dealloc__(self):
        cdef size_t segment
        for segment in range(SEGMENTS):
            PyMem_Free(self.routes[segment].by_partition)
        clear(&self.passing)
        free(&self.instruments)

    @property
    def bytes(self):
        return self.frame_bytes

    def counts(self):
        cdef Route *route
        cdef uint32_t partition
        cdef int64_t ticks
        cdef dict found = {}
        for exchange in Exchange:
            route = self.routes + <size_t>exchange.value
            ticks = route.ticks
            for partition in range(route.partitions):
                ticks += route.by_partition[partition]
            found[exchange] = ticks
        return found

    def next_tally(self):
        cdef Route *route
        cdef uint32_t partition
        cdef dict ticks = {}
        for exchange in Exchange:
            route = self.routes + <size_t>exchange.value
            for partition in range(route.partitions):
                if route.by_partition[partition]:
                    ticks[exchange, partition] = route.by_partition[partition]
                    route.ticks += route.by_partition[partition]
                    route.by_partition[partition] = 0
        first = self.tallied + 1
        self.tallied = self.sequence
        return first, self.sequence, ticks

    def keep_newest(self, str topic not None):
        self.newest_topics = (topic,)

    def next_newest(self, Py_ssize_t limit):
        cdef Records records = empty_records(self.newest_topics)
        cdef uint32_t mask = (<uint32_t>1 << self.instruments.bits) - 1
        cdef uint32_t searched = 0
        cdef Instrument *instrument
        limit = min(limit, self.newest_waiting)
        # on from where the last search ended, so that each has its turn
        while records.count < limit and searched <= mask:
            instrument = self.instruments.places + (self.newest_at & mask)
            self.newest_at += 1
            searched += 1
            if instrument.waits:
                instrument.waits = False
                self.newest_waiting -= 1
                add_newest(records, instrument)
        return records

    def open_session(self, int64_t session_id):
        cdef size_t i
        self.next_tally()
        session = self.slot + long_bytes(session_id)
        self.session_bytes = len(session)
        memcpy(self.session, PyBytes_AS_STRING(session), self.session_bytes)
        self.sequence = self.tallied = 0
        strays = []  # first found, then forgotten: removal shifts places
        for i in range(<size_t>1 << self.instruments.bits):
            if self.instruments.places[i].key != NULL and self.instruments.places[i].stray:
                strays.append(self.instruments.places[i].token)
        self.forget(strays)

    def expect(self, tokens):
        cdef Instrument *place
        for token in tokens:
            if not 0 <= token <= 0xFFFFFFFF:
                continue
            place = find(&self.instruments, token)
            if place.key == NULL:
                place = add(&self.instruments, token)
            self.strays -= place.stray
            place.stray = False
            place.expected = True

    def watch(self, tokens):
        for token in tokens:
            if 0 <= token <= 0xFFFFFFFF and find(&self.instruments, token).key != NULL:
                find(&self.instruments, token).mode = 0

    def forget(self, tokens):
        for token in tokens:
            if 0 <= token <= 0xFFFFFFFF and find(&self.instruments, token).key != NULL:
                self.strays -= find(&self.instruments, token).stray
                self.newest_waiting -= find(&self.instruments, token).waits
                remove(&self.instruments, find(&self.instruments, token))

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
        cdef Records records = empty_records(self.topics)
        cdef list confirmed = None, rejected = None

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
            if token & 0xFF >= SEGMENTS or not self.routes[token & 0xFF].known:
                rejected = self.reject(rejected, REASON_SEGMENT, packet, length)
                continue
            route = self.routes + (token & 0xFF)

            instrument = find(&self.instruments, token)
            if instrument.key == NULL:
                instrument = self.stray(token)
            if instrument.identity == NULL:  # new, or the names were replaced
                self.identify(instrument)
            snapshot = instrument.expected
            if snapshot or instrument.mode != mode:
                if confirmed is None:
                    confirmed = []
                confirmed.append((token, MODES[mode]))
                instrument.expected = False
                instrument.mode = mode
            route.by_partition[instrument.partition] += 1
            self.sequence += 1
            self.add(records, packet, length, instrument, &received_us, snapshot)
        if start < end:
            rejected = with_reject(rejected, REASON_TRAILING, data + start, end - start)
        if records.count:
            self.last_tick_us = receive_time_us
        self.packets += records.count + (0 if rejected is None else len(rejected))
        return records, confirmed or NOTHING, rejected or NOTHING

    cdef list reject(self, list rejected, str reason, const uint8_t *packet, Py_ssize_t length):
        if rejected is None:
            rejected = []
        self.unkept += reject(rejected, reason, (<const char *>packet)[:length])
        return rejected

    cdef inline int add(
        self, Records records, const uint8_t *packet, Py_ssize_t length, Instrument *instrument,
        const Encoded *received_us, bint snapshot,
    ) except -1:
        # one record: its value, and the key behind it
        cdef Py_ssize_t identity_bytes = PyBytes_GET_SIZE(<object>instrument.identity)
        cdef uint8_t mode = instrument.mode
        cdef Route *route = self.routes + (instrument.token & 0xFF)
        cdef int64_t timestamp_ms = 0, receive_ms = received_us.number // 1000
        cdef Span *span
        cdef char *out

        records.reserve(RECORD_BYTES + identity_bytes)
        span = records.spans + records.count
        span.start = records.used
        span.segment = instrument.token & 0xFF
        out = records.arena + records.used

        if length == 184:
            timestamp_ms = <int64_t>uint32_at(packet + 60) * 1000
        elif length == 32:
            timestamp_ms = <int64_t>uint32_at(packet + 28) * 1000
        # it stands twice in a full tick, and most packets of a moment have the same second
        if timestamp_ms != self.timestamp_ms.number:
            encode(&self.timestamp_ms, timestamp_ms)

        memcpy(out, route.framing, FRAMING_BYTES)
        out += FRAMING_BYTES
        if timestamp_ms != 0 and -BEHIND_MS <= timestamp_ms - receive_ms <= AHEAD_MS:
            out = put_encoded(out, &self.timestamp_ms)
        else:
            self.implausible_times += timestamp_ms != 0
            out = put_long(out, receive_ms)
        out = put_encoded(out, received_us)
        memcpy(out, PyBytes_AS_STRING(<object>instrument.identity), identity_bytes)
        out += identity_bytes
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

        span.value_bytes = out - records.arena - span.start
        put_key(records, instrument)
        if self.newest_topics is not None and instrument != &self.passing:
            keep(instrument, records.arena + span.start, span.value_bytes)
            self.newest_waiting += not instrument.waits
            instrument.waits = True
        return 0

    cdef Instrument *stray(self, uint32_t token) except NULL:
        # an instrument that nobody expects; beyond MAX_STRAYS it is forgotten at once
        cdef Instrument *place
        if self.strays < MAX_STRAYS:
            place = add(&self.instruments, token)
            place.stray = True
            self.strays += 1
            return place
        clear(&self.passing)
        fill(&self.passing, token)
        return &self.passing

    cdef int identify(self, Instrument *instrument) except -1:
        symbol = self.symbols.get(instrument.token)
        exchange = Exchange(instrument.token & 0xFF)
        identity = long_bytes(instrument.token) + string_bytes(exchange.name)
        identity += b"\0" if symbol is None else b"\2" + string_bytes(symbol)
        Py_INCREF(identity)
        instrument.identity = <PyObject *>identity
        instrument.partition = partition_of(
            <object>instrument.key, self.routes[instrument.token & 0xFF].partitions
        )
        return 0


cdef list with_reject(list rejected, str reason, const uint8_t *start, Py_ssize_t count):
    if rejected is None:
        rejected = []
    rejected.append((reason, (<const char *>start)[:count]))
    return rejected


def identity_of(bytes value not None):
    """See `connector.codec._pure.identity_of`."""
    cdef Cursor body = behind_framing(value)
    cdef int i
    cdef int64_t token, slot, session_id, sequence
    next_long(&body)  # event_time
    next_long(&body)  # receive_time_us
    token = skip_to_times(&body)
    for i in range(5):  # last_trade_time to oi_day_low
        if is_some(&body):
            next_long(&body)
    skip_depth(&body)
    slot, session_id, sequence = next_int(&body), next_long(&body), next_long(&body)
    skip_bytes(&body, 1)  # snapshot
    skip_best(&body)
    check_tick(&body, token, sequence)
    if body.at == NULL:
        raise ValueError("not the value of a tick")
    return slot, session_id, sequence
