# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, auto_pickle=False, binding=False
"""The compiled twin: behaves as `_pure` in everything."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from connector.codec.body cimport (
    Cursor, behind_framing, is_some, next_long, put_byte, put_double, put_long, skip_bytes,
    skip_depth, skip_to_times,
)
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from connector.codec.rows.columns import COLUMNS

cdef enum:
    SIDE = 15  # numbers of a side of the depth
    NUMBERS_BYTES = 1024  # more than all numbers of a body have
    MOVED_BYTES = 64  # more than five longs can grow by

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define from_little_endian(bits) __builtin_bswap64(bits)
    #else
    #define from_little_endian(bits) (bits)
    #endif
    """
    uint64_t from_little_endian(uint64_t bits) nogil

cdef Py_ssize_t WIDTH = len(COLUMNS)


cdef int64_t next_int(Cursor *body) noexcept:
    # an int of Avro has 32 bits
    cdef int64_t number = next_long(body)
    if not INT32_MIN <= number <= INT32_MAX:
        body.at = NULL
    return number


cdef double next_double(Cursor *body) noexcept:
    cdef const uint8_t *start = body.at
    cdef uint64_t bits = 0
    cdef double number
    skip_bytes(body, 8)
    if body.at == NULL:
        return 0
    memcpy(&bits, start, 8)
    bits = from_little_endian(bits)
    memcpy(&number, &bits, 8)
    return number


cdef bint next_boolean(Cursor *body) noexcept:
    cdef const uint8_t *start = body.at
    skip_bytes(body, 1)
    return body.at != NULL and start[0] != 0


cdef object next_text(Cursor *body):
    cdef int64_t count = next_long(body)
    cdef const uint8_t *start = body.at
    skip_bytes(body, count)
    if body.at == NULL:
        return None
    try:
        return (<const char *>start)[:count].decode("utf-8")
    except UnicodeDecodeError:
        body.at = NULL
        return None


cdef list next_side(Cursor *body):
    cdef list numbers = []
    cdef int64_t items = next_long(body)
    while body.at != NULL and items != 0:
        if items < 0:
            items = -items
            next_long(body)
        while body.at != NULL and items > 0:
            quantity, price, orders = next_long(body), next_double(body), next_int(body)
            if len(numbers) < SIDE:
                numbers.append(quantity)
                numbers.append(price)
                numbers.append(orders)
            items -= 1
        items = next_long(body)
    while len(numbers) < SIDE:
        numbers.append(None)
    return numbers


def row_of(bytes value not None):
    """See `_pure`."""
    cdef Cursor body = behind_framing(value)
    cdef list row = [next_long(&body), next_long(&body), next_long(&body)]
    cdef list buy, sell
    cdef int i
    row.append(next_text(&body))
    row.append(next_text(&body) if is_some(&body) else None)
    row.append(next_text(&body))
    row.append(next_boolean(&body))
    row.append(next_double(&body))
    for i in range(5):  # last_traded_quantity to total_sell_quantity
        if not is_some(&body):
            row.append(None)
        elif i == 1:
            row.append(next_double(&body))
        else:
            row.append(next_long(&body))
    if is_some(&body):  # ohlc
        for i in range(4):
            row.append(next_double(&body))
    else:
        row += [None] * 4
    for i in range(5):  # last_trade_time to oi_day_low
        row.append(next_long(&body) if is_some(&body) else None)
    if is_some(&body):  # depth
        buy, sell = next_side(&body), next_side(&body)
    else:
        buy = sell = [None] * SIDE
    row += buy
    row += sell
    row += [buy[1], buy[0], sell[1], sell[0]]
    row += [next_int(&body), next_long(&body), next_long(&body)]
    row.append(next_boolean(&body))
    if body.at == NULL:
        raise ValueError("not the value of a tick")
    return tuple(row)


cdef char *put_bytes(char *out, bytes content) noexcept:
    memcpy(out, PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
    return out + PyBytes_GET_SIZE(content)


cdef char *put_text(char *out, bytes text) noexcept:
    return put_bytes(put_long(out, PyBytes_GET_SIZE(text)), text)


cdef char *put_some_long(char *out, number) except NULL:
    if number is None:
        return put_byte(out, 0)
    return put_long(put_byte(out, 2), <int64_t>number)


cdef char *put_some_double(char *out, number) except NULL:
    if number is None:
        return put_byte(out, 0)
    return put_double(put_byte(out, 2), <double>number)


cdef char *put_boolean(char *out, value) except NULL:
    if value is not True and value is not False:
        raise TypeError("a value that is neither true nor false")
    return put_byte(out, 1 if value is True else 0)


cdef char *put_side(char *out, tuple row, Py_ssize_t at) except NULL:
    cdef Py_ssize_t place
    cdef int levels = 0
    for place in range(at, at + SIDE, 3):
        levels += row[place] is not None
    if levels:
        out = put_long(out, levels)
        for place in range(at, at + SIDE, 3):
            if row[place] is not None:
                out = put_long(out, <int64_t>row[place])
                out = put_double(out, <double>row[place + 1])
                out = put_long(out, <int64_t>row[place + 2])
    return put_byte(out, 0)


cdef bytes encoded(text):
    if not isinstance(text, str):
        raise TypeError("a value that is no text")
    return (<str>text).encode()


def body_of(tuple row not None):
    """See `_pure`."""
    if len(row) != WIDTH:
        raise ValueError(f"{len(row)} values are no row of {WIDTH}")
    cdef bytes exchange = encoded(row[3])
    cdef bytes symbol = b"" if row[4] is None else encoded(row[4])
    cdef bytes mode = encoded(row[5])
    cdef bytes room = PyBytes_FromStringAndSize(
        NULL, NUMBERS_BYTES + len(exchange) + len(symbol) + len(mode)
    )
    cdef char *start = PyBytes_AS_STRING(room)
    cdef char *out = start
    cdef char *depth
    cdef int i
    for i in range(3):  # event_time, receive_time_us, instrument_token
        out = put_long(out, <int64_t>row[i])
    out = put_text(out, exchange)
    out = put_byte(out, 0) if row[4] is None else put_text(put_byte(out, 2), symbol)
    out = put_text(out, mode)
    out = put_boolean(out, row[6])
    out = put_double(out, <double>row[7])
    for i in range(8, 13):
        out = put_some_double(out, row[i]) if i == 9 else put_some_long(out, row[i])
    if row[13] is None:  # ohlc
        out = put_byte(out, 0)
    else:
        out = put_byte(out, 2)
        for i in range(13, 17):
            out = put_double(out, <double>row[i])
    for i in range(17, 22):  # last_trade_time to oi_day_low
        out = put_some_long(out, row[i])
    depth = out
    out = put_side(put_side(put_byte(out, 2), row, 22), row, 37)
    if out == depth + 3:  # nothing on either side
        out = put_byte(depth, 0)
    for i in range(56, 59):  # slot, session_id, sequence
        out = put_long(out, <int64_t>row[i])
    out = put_boolean(out, row[59])
    for i in range(52, 56, 2):  # the best bid, the best ask
        out = put_some_long(put_some_double(out, row[i]), row[i + 1])
    return start[:out - start]


cdef char *shift(char *out, Cursor *body, const uint8_t **copied, int64_t by) noexcept:
    # what stands before a long, and the long, moved
    cdef Py_ssize_t before
    cdef int64_t number
    if body.at == NULL:
        return out
    before = body.at - copied[0]
    memcpy(out, copied[0], before)
    number = next_long(body)
    copied[0] = body.at
    if (by > 0 and number > INT64_MAX - by) or (by < 0 and number < INT64_MIN - by):
        body.at = NULL
    return put_long(out + before, number + by if body.at != NULL else 0)


def moved(bytes value not None, by_ms):
    """See `_pure`."""
    if not -(INT64_MAX // 1000) <= by_ms <= INT64_MAX // 1000:
        raise ValueError("not the value of a tick")
    cdef int64_t by = by_ms
    cdef const uint8_t *copied = <const uint8_t *>PyBytes_AS_STRING(value)
    cdef const uint8_t *end = copied + PyBytes_GET_SIZE(value)
    cdef bytes room = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(value) + MOVED_BYTES)
    cdef char *start = PyBytes_AS_STRING(room)
    cdef char *out = start
    cdef Cursor body = behind_framing(value)
    cdef int i
    out = shift(out, &body, &copied, by)  # event_time
    out = shift(out, &body, &copied, by * 1000)  # receive_time_us
    skip_to_times(&body)
    for i in range(5):  # last_trade_time to oi_day_low
        if is_some(&body):
            if i < 2:
                out = shift(out, &body, &copied, by)
            else:
                next_long(&body)
    skip_depth(&body)
    next_long(&body)  # slot
    out = shift(out, &body, &copied, by)  # session_id
    next_long(&body)  # sequence
    if body.at == NULL:
        raise ValueError("not the value of a tick")
    memcpy(out, copied, end - copied)
    return start[:out - start + (end - copied)]
