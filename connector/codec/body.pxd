# cython: language_level=3
"""How the parts of a packet are read, those of a tick's body written and read; Avro's encoding."""

from connector.kite.wire.numbers cimport uint16_at, uint32_at
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport INT32_MAX, INT32_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

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
    FRAMING_BYTES = 5  # of `framing`
    LONG_BYTES = 10  # a varint at its longest
    LTP = 1
    QUOTE = 2
    FULL = 3
    KNOWN_SEGMENTS = 0x13FE  # a bit each; `_native` sees that they are those of `Exchange`


cdef struct Encoded:
    # a long together with its varint, for what stands in many bodies
    int64_t number
    char varint[LONG_BYTES]
    Py_ssize_t varint_bytes


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
    return put_varint(put_byte(out, 2), <uint64_t>seconds * 2000)  # ms, and zigzag doubles


cdef inline void encode(Encoded *encoded, int64_t number) noexcept nogil:
    encoded.number = number
    encoded.varint_bytes = put_long(encoded.varint, number) - encoded.varint


cdef inline char *put_encoded(char *out, const Encoded *encoded) noexcept nogil:
    # all ten bytes: a copy of fixed length is no call, and the next part overwrites the rest
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


cdef struct Cursor:
    # where a body is read; `at` becomes NULL where it is none
    const uint8_t *at
    const uint8_t *end


cdef inline int64_t next_long(Cursor *body) noexcept nogil:
    cdef uint64_t number = 0
    cdef int shift = 0
    while body.at != NULL:
        if body.at == body.end or shift > 63:
            body.at = NULL
            break
        number |= <uint64_t>(body.at[0] & 0x7F) << shift
        shift += 7
        body.at += 1
        if not body.at[-1] & 0x80:
            break
    return <int64_t>(number >> 1) ^ -<int64_t>(number & 1)


cdef inline void skip_bytes(Cursor *body, int64_t count) noexcept nogil:
    if body.at != NULL and 0 <= count <= body.end - body.at:
        body.at += count
    else:
        body.at = NULL


cdef inline int64_t next_int(Cursor *body) noexcept nogil:
    # an int of Avro has 32 bits
    cdef int64_t number = next_long(body)
    if not INT32_MIN <= number <= INT32_MAX:
        body.at = NULL
    return number


cdef inline void skip_text(Cursor *body) noexcept:
    cdef int64_t count = next_long(body)
    cdef const char *start = <const char *>body.at
    skip_bytes(body, count)
    if body.at != NULL:
        try:
            start[:count].decode("utf-8")
        except UnicodeDecodeError:
            body.at = NULL


cdef inline Cursor behind_framing(bytes value):
    cdef Cursor body
    body.at = <const uint8_t *>PyBytes_AS_STRING(value)
    body.end = body.at + PyBytes_GET_SIZE(value)
    skip_bytes(&body, FRAMING_BYTES)
    if PyBytes_AS_STRING(value)[0] != 0:  # JSON, say, or another framing
        body.at = NULL
    return body


cdef inline bint is_some(Cursor *body) noexcept nogil:
    # the branch of a union with null; there are no others
    cdef int64_t branch = next_long(body)
    if not 0 <= branch <= 1:
        body.at = NULL
    return branch == 1


cdef inline void skip_levels(Cursor *body) noexcept nogil:
    cdef int64_t items = next_long(body)
    while body.at != NULL and items != 0:
        if items < 0:  # Avro: the block's size in bytes follows
            items = -items
            next_long(body)
        while body.at != NULL and items > 0:
            next_long(body)
            skip_bytes(body, 8)
            next_int(body)
            items -= 1
        items = next_long(body)


cdef inline void check_tick(Cursor *body, int64_t token, int64_t sequence) noexcept nogil:
    # what was read where a tick has these can be a tick: out of zeros, say, it cannot
    cdef int64_t segment = token & 0xFF
    if token <= 0 or sequence <= 0 or segment > 15 or not (KNOWN_SEGMENTS >> segment) & 1:
        body.at = NULL


cdef inline int64_t skip_to_times(Cursor *body) noexcept:
    # all fields of a tick behind receive_time_us and before last_trade_time; gives instrument_token
    cdef int i
    cdef int64_t token = next_long(body)
    skip_text(body)  # exchange
    if is_some(body):  # tradingsymbol
        skip_text(body)
    skip_text(body)  # mode
    skip_bytes(body, 1 + 8)  # tradable, last_price
    for i in range(5):  # last_traded_quantity to total_sell_quantity
        if is_some(body):
            if i == 1:
                skip_bytes(body, 8)
            else:
                next_long(body)
    if is_some(body):  # ohlc
        skip_bytes(body, 4 * 8)
    return token


cdef inline void skip_depth(Cursor *body) noexcept nogil:
    if is_some(body):
        skip_levels(body)
        skip_levels(body)


cdef inline void skip_best(Cursor *body) noexcept nogil:
    # the best bid and the best ask, the last fields of a tick; the first version ends before them
    cdef int i
    if body.at == body.end:
        return
    for i in range(4):
        if is_some(body):
            if i % 2:
                next_long(body)
            else:
                skip_bytes(body, 8)
