# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, auto_pickle=False, binding=False
"""A producer of librdkafka's own API, through the shared library that confluent-kafka brings.

All records of a frame go to librdkafka in one call, from the codec's arena, and librdkafka reports
failures alone (`delivery.report.only.error`), so that Python has no part in a record that goes
well. The client is one of our own: confluent-kafka's client is not built for either, and can only
be reached through the layout of its private struct.

Two rules keep it safe. librdkafka's callbacks run no code of ours but the noting of what was said,
and that only within `poll`, on the caller's thread: what follows from it is done after librdkafka
has returned. (One runs on librdkafka's threads, in C alone: see `unstored` in librdkafka.h.) And
nothing that librdkafka keeps points to our memory: it copies keys and values, and what comes back
with a failed record is a number.

Source: librdkafka's `rdkafka.h`. `load` checks version, symbols and the layouts that are declared
here before any client is made.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t

import os
import time
from collections import deque
from types import SimpleNamespace

from confluent_kafka import KafkaError, KafkaException, ThrottleEvent

from connector.codec._native cimport Records, Span
from connector.kafka.librdkafka cimport (
    VTYPE_HEADERS, VTYPE_KEY, VTYPE_MSGFLAGS, VTYPE_OPAQUE, VTYPE_RKT, VTYPE_TIMESTAMP, VTYPE_VALUE,
    close, functions, load_symbols, rd_kafka_conf_t, rd_kafka_error_t, rd_kafka_headers_t,
    rd_kafka_message_t, rd_kafka_queue_t, rd_kafka_t, rd_kafka_topic_t, rd_kafka_vu_t, rdkafka,
    unstored, unstored_count, unstored_free, unstored_init, unstored_list, unstored_pop,
    watch_unstored,
)
from connector.kafka.spool_format import Record

cdef enum:
    PRODUCER = 0
    NO_ERROR = 0
    MSG_F_COPY = 0x2  # librdkafka copies key and value: the arena is filled again
    PURGE_QUEUE = 0x1
    PURGE_IN_FLIGHT = 0x2
    PURGE_NON_BLOCKING = 0x4  # its threads give back in their time, through `poll`
    ERROR_BYTES = 512
    TOPICS = 16  # places for topics at first
    FIXED = 6  # arguments of every record

cdef int QUEUE_FULL = KafkaError._QUEUE_FULL
cdef int FATAL = KafkaError._FATAL
cdef int DUPLICATE = KafkaError.DUPLICATE_SEQUENCE_NUMBER
cdef int INVALID_ARGUMENT = KafkaError._INVALID_ARG

# syslog's severities → logging's levels, as confluent-kafka has them
cdef tuple LEVELS = (50, 50, 50, 40, 30, 20, 20, 10)

OLDEST_VERSION = 0x020B0000
"""Of librdkafka: that of the oldest confluent-kafka that pyproject.toml admits."""
FIRST_UNKNOWN_VERSION = 0x03000000
"""The first whose interface may differ."""


cdef struct Sink:
    # what librdkafka's callbacks are given
    PyObject *client  # NULL once it is closed


cdef str text_of(const char *text):
    return "" if text == NULL else (<bytes>text).decode("utf-8", "replace")


cdef object exception(int code, str text, bint fatal=False):
    return KafkaException(KafkaError(code, text, fatal))


# -- librdkafka's callbacks: from its `poll` alone ---------------------------------------------

cdef void on_report(
    rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque
) noexcept with gil:
    cdef PyObject *client = (<Sink *>opaque).client
    if client != NULL and message.err != NO_ERROR:
        (<Client>client).note_failure(<rd_kafka_message_t *>message)


cdef void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) noexcept with gil:
    cdef PyObject *client = (<Sink *>opaque).client
    cdef char text[ERROR_BYTES]
    cdef bint fatal = code == FATAL
    if client == NULL:
        return
    if fatal:
        code = rdkafka.fatal_error(rk, text, sizeof(text))
        reason = text
    error = KafkaError(code, text_of(reason), fatal)
    (<Client>client).notes.append(((<Client>client).error, (error,)))


cdef int on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque) noexcept with gil:
    cdef PyObject *client = (<Sink *>opaque).client
    if client != NULL and size > 0:
        text = (<bytes>json[:size]).decode("utf-8", "replace")
        (<Client>client).notes.append(((<Client>client).statistics, (text,)))
    return 0  # librdkafka frees it


cdef void on_throttle(
    rd_kafka_t *rk, const char *broker, int32_t broker_id, int milliseconds, void *opaque
) noexcept with gil:
    cdef PyObject *client = (<Sink *>opaque).client
    if client != NULL:
        event = ThrottleEvent(text_of(broker), broker_id, milliseconds / 1000)
        (<Client>client).notes.append(((<Client>client).throttle, (event,)))


cdef void on_log(
    const rd_kafka_t *rk, int level, const char *facility, const char *line
) noexcept with gil:
    # without a client: of the configuration, from within `conf_set` or `new`
    cdef PyObject *client = NULL
    if rk != NULL:
        client = (<Sink *>rdkafka.opaque(rk)).client
    if client != NULL:
        (<Client>client).notes.append(((<Client>client).log, (
            LEVELS[min(max(level, 0), 7)], "%s [%s] %s", text_of(facility),
            text_of(rdkafka.name(rk)), text_of(line),
        )))


# -- the client --------------------------------------------------------------------------------

@cython.final
@cython.no_gc_clear
cdef class Client:
    """See `confluent_client.ConfluentClient`. One thread uses it; any may `close` it, as its last."""

    way = "native"
    wakes = True

    cdef object __weakref__  # for `logins`, which forgets a client with its owner
    cdef rd_kafka_t *rk  # NULL: not made yet, or closed
    cdef Sink sink  # how callbacks find this object; NULL in it as soon as it is closed
    cdef rd_kafka_topic_t **handles  # destroyed before the client is, as librdkafka wants it
    cdef Py_ssize_t topics_made, places  # handles, and room for them
    cdef dict topics  # name → place in `handles`
    cdef object notes  # (what to call, its arguments), in the order of librdkafka's callbacks
    cdef Py_ssize_t noted_failures  # those in `notes`: librdkafka counts them no more
    cdef unstored_list unstored  # reported as written without an offset; taken by `poll`
    cdef object failed, error, statistics, throttle, log  # the handlers
    cdef dict errors  # code → KafkaError, of records that failed
    cdef int wake_descriptor  # a duplicate of the owner's; -1: none
    cdef rd_kafka_vu_t arguments[FIXED + 1]  # of `produceva`: types are set once, values each time

    def __cinit__(self):
        self.wake_descriptor = -1
        unstored_init(&self.unstored)
        self.places = TOPICS
        self.handles = <rd_kafka_topic_t **>PyMem_Calloc(TOPICS, sizeof(rd_kafka_topic_t *))
        if self.handles == NULL:
            raise MemoryError

    def __init__(self, dict properties, handlers, int wake=-1):
        cdef rd_kafka_conf_t *conf
        cdef rd_kafka_queue_t *queue
        cdef char text[ERROR_BYTES]
        if self.rk != NULL:
            raise RuntimeError("a client is made once")
        if rdkafka.produceva == NULL:
            raise RuntimeError("load the library first")
        self.topics, self.notes, self.errors = {}, deque(), {}
        self.failed, self.error = handlers.failed, handlers.error
        self.statistics, self.throttle = handlers.statistics, handlers.throttle
        self.log = handlers.log.log
        self.sink.client = <PyObject *>self
        self.prepare_arguments()
        conf = rdkafka.conf_new()
        try:
            for name, value in (properties | {"log.queue": True}).items():
                set_property(conf, name, value)
        except BaseException:
            rdkafka.conf_destroy(conf)
            raise
        rdkafka.conf_set_opaque(conf, &self.sink)
        rdkafka.conf_set_dr_msg_cb(conf, on_report)
        rdkafka.conf_set_error_cb(conf, on_error)
        rdkafka.conf_set_stats_cb(conf, on_statistics)
        rdkafka.conf_set_throttle_cb(conf, on_throttle)
        rdkafka.conf_set_log_cb(conf, on_log)
        if watch_unstored(conf, &self.unstored) != NO_ERROR:
            rdkafka.conf_destroy(conf)
            raise RuntimeError("librdkafka refuses an interceptor")
        with nogil:
            self.rk = rdkafka.make(PRODUCER, conf, text, sizeof(text))
        if self.rk == NULL:
            code = rdkafka.last_error()
            rdkafka.conf_destroy(conf)
            raise exception(code, f"Failed to create producer: {text_of(text)}")
        rdkafka.set_log_queue(self.rk, NULL)  # the lines come from `poll`, too
        if wake >= 0:
            # a descriptor of its own: librdkafka's threads write to it until the client is closed
            self.wake_descriptor = self.unstored.wake = os.dup(wake)
            queue = rdkafka.queue_get_main(self.rk)
            rdkafka.queue_io_event_enable(queue, self.wake_descriptor, b"\1", 1)
            rdkafka.queue_destroy(queue)  # the reference to it
            # it tells of a queue that fills; this one may hold something already
            os.write(self.wake_descriptor, b"\1")

    def __dealloc__(self):
        self.destroy()
        PyMem_Free(self.handles)

    cdef void prepare_arguments(self):
        cdef rd_kafka_vu_t *arguments = self.arguments
        arguments[0].vtype = VTYPE_RKT
        arguments[1].vtype = VTYPE_VALUE
        arguments[2].vtype = VTYPE_KEY
        arguments[3].vtype = VTYPE_TIMESTAMP
        arguments[4].vtype = VTYPE_OPAQUE
        arguments[5].vtype = VTYPE_MSGFLAGS
        arguments[5].u.i = MSG_F_COPY
        arguments[6].vtype = VTYPE_HEADERS

    def __len__(self):
        """Records that are neither acknowledged nor reported, and librdkafka's other events."""
        if self.rk == NULL:
            return self.noted_failures + unstored_count(&self.unstored)
        # first librdkafka's: a record is counted as unstored before librdkafka lets it go
        waiting = rdkafka.outq_len(self.rk)
        return waiting + self.noted_failures + unstored_count(&self.unstored)

    def produce_all(self, records, int64_t timestamp_ms, uint64_t sequence):
        """Hand over records as (topic, key, value); returns how many were accepted.

        Args:
            records: a sequence; the codec's own costs no object for a record.
            timestamp_ms: of all of them, UTC; 0 is now.
            sequence: what `failed` is told of each.
        """
        cdef rd_kafka_error_t *error
        cdef Py_ssize_t accepted = 0
        if self.rk == NULL:
            return 0
        self.arguments[3].u.i64 = timestamp_ms
        self.arguments[4].u.ptr = <void *>sequence
        if type(records) is Records:
            return self.produce_frame(<Records>records)
        for topic, key, value in records:
            try:
                self.set_record(topic, key, value)
            except (KafkaException, TypeError, ValueError):
                break
            error = rdkafka.produceva(self.rk, self.arguments, FIXED)
            if error != NULL:
                rdkafka.error_destroy(error)
                break
            accepted += 1
        return accepted

    cdef Py_ssize_t produce_frame(self, Records records) except -1:
        cdef rd_kafka_vu_t *arguments = self.arguments
        cdef Span *span
        cdef char *value
        cdef rd_kafka_error_t *error
        cdef Py_ssize_t i
        cdef int segment = -1  # of the record before: most frames are of one topic
        for i in range(records.count):
            span = records.spans + i
            if span.segment != segment:
                segment = span.segment
                try:
                    arguments[0].u.rkt = self.topic(<str?>records.topics[segment])
                except (KafkaException, TypeError, ValueError):
                    return i
            value = records.arena + span.start
            arguments[1].u.mem.ptr = value
            arguments[1].u.mem.size = span.value_bytes
            arguments[2].u.mem.ptr = value + span.value_bytes
            arguments[2].u.mem.size = span.key_bytes
            error = rdkafka.produceva(self.rk, arguments, FIXED)
            if error != NULL:
                rdkafka.error_destroy(error)
                return i
        return records.count

    def produce(self, topic, key, value, int64_t timestamp_ms, headers, uint64_t sequence):
        """Hand over one record.

        Raises:
            BufferError: librdkafka's queue is full.
            KafkaException: librdkafka refuses it.
            TypeError, ValueError: it is no record.
        """
        cdef rd_kafka_error_t *error
        cdef rd_kafka_headers_t *listed = NULL
        cdef int code
        if self.rk == NULL:
            raise BufferError("the client is closed")
        self.arguments[3].u.i64 = timestamp_ms
        self.arguments[4].u.ptr = <void *>sequence
        self.set_record(topic, key, value)
        if headers:
            listed = headers_of(headers)
            self.arguments[6].u.headers = listed
        error = rdkafka.produceva(self.rk, self.arguments, FIXED + (listed != NULL))
        if error == NULL:
            return
        if listed != NULL:
            rdkafka.headers_destroy(listed)  # they are librdkafka's only when it accepts the record
        code = rdkafka.error_code(error)  # all of it is read before the error is given back
        text = text_of(rdkafka.error_string(error))
        fatal = rdkafka.error_is_fatal(error) != 0
        rdkafka.error_destroy(error)
        if code == QUEUE_FULL:
            raise BufferError(text)
        raise exception(code, text, fatal)

    cdef int set_record(self, topic, key, value) except -1:
        cdef rd_kafka_vu_t *arguments = self.arguments
        if type(topic) is not str:
            raise TypeError(f"a topic is a str, not {type(topic).__name__}")
        arguments[0].u.rkt = self.topic(<str>topic)
        set_bytes(&arguments[1], value)
        set_bytes(&arguments[2], key)
        return 0

    cdef rd_kafka_topic_t *topic(self, str name) except NULL:
        # made once: librdkafka remembers a topic for as long as its client lives, anyway
        cdef rd_kafka_topic_t *handle
        cdef void *larger
        place = self.topics.get(name)
        if place is not None:
            return self.handles[<Py_ssize_t>place]
        encoded = name.encode()
        if b"\0" in encoded:
            raise ValueError("a topic's name has no NUL")
        if self.topics_made == self.places:
            larger = PyMem_Realloc(self.handles, self.places * 2 * sizeof(rd_kafka_topic_t *))
            if larger == NULL:
                raise MemoryError
            self.handles = <rd_kafka_topic_t **>larger
            self.places *= 2
        handle = rdkafka.topic_new(self.rk, encoded, NULL)
        if handle == NULL:
            code = rdkafka.last_error()
            raise exception(code, text_of(rdkafka.err2str(code)))
        self.handles[self.topics_made] = handle
        self.topics[name] = self.topics_made
        self.topics_made += 1
        return handle

    def poll(self):
        """Serve librdkafka without waiting, and call the handlers with what it said.

        Whatever a handler raises is raised here; the rest is told at the next poll.
        """
        if self.rk != NULL:
            rdkafka.poll(self.rk, 0)
            self.note_unstored()
        while self.notes:
            handler, arguments = self.notes.popleft()
            try:
                handler(*arguments)
            finally:
                # not before: a record must not seem acknowledged in between
                if handler is self.failed:
                    self.noted_failures -= 1

    cdef int note_unstored(self) except -1:
        cdef unstored *one = unstored_pop(&self.unstored)
        while one != NULL:
            try:
                record = Record(
                    text_of(one.topic),
                    bytes_of(one.key, one.key_len),
                    bytes_of(one.payload, one.len),
                    one.timestamp_ms,
                    None if one.headers == NULL else listed_headers(one.headers),
                )
                error = KafkaError(DUPLICATE, "reported as written, without an offset")
                sequence = <uint64_t>one.record_opaque
                self.notes.append((self.failed, (record, sequence, one.partition, error)))
                self.noted_failures += 1
            finally:
                unstored_free(&self.unstored, one)
            one = unstored_pop(&self.unstored)
        return 0

    cdef int note_failure(self, rd_kafka_message_t *message) except -1:
        cdef int code = message.err
        cdef int64_t timestamp_ms
        # librdkafka tells the time of records alone that have not failed
        message.err = NO_ERROR
        timestamp_ms = rdkafka.message_timestamp(message, NULL)
        message.err = code
        record = Record(
            text_of(rdkafka.topic_name(message.rkt)),
            bytes_of(message.key, message.key_len),
            bytes_of(message.payload, message.len),
            timestamp_ms,
            headers_in(message),
        )
        # not the broker's own words: `rd_kafka_message_produce_errstr` points into an answer that
        # is freed before it is told of (librdkafka 2.16), and whatever took its place was read
        error = self.errors.get(code)
        if error is None:
            error = self.errors[code] = KafkaError(code, text_of(rdkafka.err2str(code)))
        sequence = <uint64_t>message._private
        self.notes.append((self.failed, (record, sequence, message.partition, error)))
        self.noted_failures += 1
        return 0

    def flush(self):
        """Have librdkafka send what is queued, whatever `linger.ms` is; waits for 1 ms at most."""
        if self.rk != NULL:
            with nogil:
                rdkafka.flush(self.rk, 1)

    def purge(self, *, bint in_flight):
        """Have librdkafka give back what is queued, and what is under way where asked to.

        All of it is told as failed, by the polls that follow.
        """
        cdef int flags = PURGE_QUEUE | PURGE_NON_BLOCKING
        if self.rk != NULL:
            rdkafka.purge(self.rk, flags | PURGE_IN_FLIGHT if in_flight else flags)

    def set_sasl_credentials(self, str username, str password):
        """Use these from the next connection on; any thread may call, the interpreter's lock held.

        Nothing once it is closed, which takes `rk` away before the lock is let go.
        """
        cdef rd_kafka_error_t *error
        name, secret = username.encode(), password.encode()
        if self.rk == NULL:
            return
        error = rdkafka.sasl_set_credentials(self.rk, name, secret)
        if error != NULL:
            text = text_of(rdkafka.error_string(error))
            rdkafka.error_destroy(error)
            raise exception(INVALID_ARGUMENT, text)

    def close(self):
        """End the client and its threads; what was not acknowledged is forgotten."""
        self.destroy()

    cdef void forget_unstored(self) noexcept:
        # librdkafka's threads have ended: nothing is added any more
        cdef unstored *one = unstored_pop(&self.unstored)
        while one != NULL:
            unstored_free(&self.unstored, one)
            one = unstored_pop(&self.unstored)

    cdef void destroy(self) noexcept:
        cdef rd_kafka_t *rk = self.rk
        cdef Py_ssize_t i
        self.rk = NULL
        self.sink.client = NULL  # callbacks that still come find nobody
        if rk != NULL:
            with nogil:
                for i in range(self.topics_made):
                    rdkafka.topic_destroy(self.handles[i])
                rdkafka.destroy(rk)
            self.forget_unstored()
        self.topics_made = 0
        if self.wake_descriptor >= 0:
            close(self.wake_descriptor)
            self.wake_descriptor = -1


cdef int set_property(rd_kafka_conf_t *conf, str name, value) except -1:
    cdef char text[ERROR_BYTES]
    name_bytes, value_bytes = name.encode(), str(value).encode()
    if rdkafka.conf_set(conf, name_bytes, value_bytes, text, sizeof(text)) != NO_ERROR:
        raise exception(INVALID_ARGUMENT, text_of(text))
    return 0


cdef int set_bytes(rd_kafka_vu_t *argument, value) except -1:
    if value is None:
        argument.u.mem.ptr = NULL
        argument.u.mem.size = 0
    elif type(value) is bytes:
        argument.u.mem.ptr = PyBytes_AS_STRING(value)
        argument.u.mem.size = PyBytes_GET_SIZE(value)
    else:
        raise TypeError(f"keys and values are bytes or None, not {type(value).__name__}")
    return 0


cdef object bytes_of(const void *start, size_t size):
    return None if start == NULL else (<const char *>start)[:size]


cdef rd_kafka_headers_t *headers_of(headers) except NULL:
    cdef rd_kafka_headers_t *listed = rdkafka.headers_new(len(headers))
    cdef rd_kafka_vu_t value
    try:
        for name, given in headers:
            encoded = name.encode()
            set_bytes(&value, given)
            if rdkafka.header_add(listed, encoded, len(encoded), value.u.mem.ptr, value.u.mem.size):
                raise ValueError(f"librdkafka refuses the header {name}")
    except BaseException:
        rdkafka.headers_destroy(listed)
        raise
    return listed


cdef object headers_in(const rd_kafka_message_t *message):
    cdef rd_kafka_headers_t *listed
    if rdkafka.message_headers(message, &listed) != NO_ERROR:
        return None
    return listed_headers(listed)


cdef object listed_headers(const rd_kafka_headers_t *listed):
    cdef const char *name
    cdef const void *value
    cdef size_t size, i = 0
    headers = []
    while rdkafka.header_get_all(listed, i, &name, &value, &size) == NO_ERROR:
        headers.append((text_of(name), bytes_of(value, size)))
        i += 1
    return headers


# -- the library -------------------------------------------------------------------------------

CHECK_SECONDS = 5.0


def load(str path not None):
    """Load librdkafka and see that it is what is declared here; returns its version.

    Raises:
        OSError: it cannot be used, and why; what was loaded before stays.
    """
    global rdkafka
    cdef functions found, before = rdkafka
    cdef const char *wrong = load_symbols(os.fsencode(path), &found)
    if wrong != NULL:
        raise OSError(f"{path}: {text_of(wrong)}")
    version = text_of(found.version_str())
    if sizeof(void *) != 8:
        raise OSError("a record's number needs pointers of 64 bits")
    if not OLDEST_VERSION <= found.version() < FIRST_UNKNOWN_VERSION:
        raise OSError(f"{path}: librdkafka {version} is not known")
    rdkafka = found
    try:
        check()
    except BaseException:
        rdkafka = before
        raise
    return version


cdef int check() except -1:
    """See with a client without brokers whether a record comes back as it was handed over."""
    came = []
    deadline = time.monotonic() + CHECK_SECONDS
    client = Client(
        {"delivery.report.only.error": True, "log_level": 0},
        SimpleNamespace(
            failed=lambda *report: came.append(report), error=ignore, statistics=ignore,
            throttle=ignore, log=SimpleNamespace(log=ignore),
        ),
    )
    try:
        sent = [
            (Record("check", b"key", b"value", 2**40 + 1, [("name", b"1"), ("none", None)]), 2**40),
            (Record("check", None, b"", 1, None), 2),
            (Record("check", b"", None, 2**42, None), 3),
        ]
        for record, sequence in sent[:2]:
            client.produce(*record, sequence)
        record, sequence = sent[2]
        client.produce_all([record[:3]], record.timestamp_ms, sequence)
        if len(client) != len(sent):
            raise OSError(f"librdkafka counts {len(client)} records, not {len(sent)}")
        client.purge(in_flight=True)
        while len(came) < len(sent) and time.monotonic() < deadline:
            time.sleep(0.001)
            client.poll()
        told = [(record, sequence) for record, sequence, _, _ in came]
        if told != sent or {error.name() for *_, error in came} != {"_PURGE_QUEUE"}:
            raise OSError(f"librdkafka gives records back otherwise than is known: {told}")
        if len(client):
            raise OSError("librdkafka counts records that it has given back")
    finally:
        client.close()
    return 0


def ignore(*_):
    """What the check has no need of."""
