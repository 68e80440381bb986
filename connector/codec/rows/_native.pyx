# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, auto_pickle=False, binding=False
"""The compiled twin: behaves as `_pure` in everything."""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from connector.codec.body cimport (
    Cursor, behind_framing, check_tick, is_some, next_int, next_long, put_byte, put_double, put_long,
    skip_best, skip_bytes, skip_depth, skip_to_times,
)
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from connector.codec._native import identity_of
from connector.codec.rows.columns import COLUMNS, KINDS, NULLABLE, WORDS, Column

cdef enum:
    SIDE = 15  # numbers of a side of the depth
    NUMBERS_BYTES = 1024  # more than all numbers of a body have
    WIDTH_AT_MOST = 64  # no fewer than there are columns
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
    skip_best(&body)  # not read for this, yet to be there whole
    check_tick(&body, row[2], row[58])
    if body.at == NULL:
        raise ValueError("not the value of a tick")
    return tuple(row)


cdef char *put_bytes(char *out, bytes content) noexcept:
    memcpy(out, PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
    return out + PyBytes_GET_SIZE(content)


cdef char *put_text(char *out, bytes text) noexcept:
    return put_bytes(put_long(out, PyBytes_GET_SIZE(text)), text)


cdef dict SIZES = {"b": 1, "i": 4, "q": 8, "d": 8}


cdef class Columns:
    """See `_pure`."""

    cdef Py_ssize_t capacity, count
    cdef list numbers, there, words  # of each column; None where it has none
    cdef list last  # the last word of each column that has words
    cdef list wanted  # a flag a column
    cdef bytearray unwanted  # what all other columns are written to: it stays in the CPU's cache
    cdef char *at[WIDTH_AT_MOST]
    cdef char *there_at[WIDTH_AT_MOST]

    def __init__(self, Py_ssize_t capacity, names=COLUMNS):
        assert WIDTH <= WIDTH_AT_MOST
        self.capacity = capacity
        self.wanted = [name in names for name in COLUMNS]
        self.unwanted = PyByteArray_FromStringAndSize(NULL, capacity * 8)
        self.begin()

    def __len__(self):
        return self.count

    cdef begin(self):
        cdef Py_ssize_t place
        self.count = 0
        # not set to 0 before: each row writes all of its numbers
        self.numbers = [
            PyByteArray_FromStringAndSize(NULL, self.capacity * SIZES[kind]) if wanted else self.unwanted
            for kind, wanted in zip(KINDS, self.wanted)
        ]
        self.there = [
            None if not nullable else
            PyByteArray_FromStringAndSize(NULL, self.capacity) if wanted else self.unwanted
            for nullable, wanted in zip(NULLABLE, self.wanted)
        ]
        self.words = [{} if name in WORDS else None for name in COLUMNS]
        self.last = [b""] * WIDTH
        for place in range(WIDTH):
            self.at[place] = PyByteArray_AS_STRING(self.numbers[place])
            there = self.there[place]
            self.there_at[place] = NULL if there is None else PyByteArray_AS_STRING(there)

    cdef inline void put_long(self, int place, int64_t number) noexcept:
        (<int64_t *>self.at[place])[self.count] = number

    cdef inline void put_double(self, int place, double number) noexcept:
        (<double *>self.at[place])[self.count] = number

    cdef inline bint put_there(self, int place, bint there) noexcept:
        self.there_at[place][self.count] = there
        if not there:  # 0 in eight bytes is 0.0 as well
            self.put_long(place, 0)
        return there

    cdef int put_word(self, int place, Cursor *body) except -1:
        cdef int64_t count = next_long(body)
        cdef const char *start = <const char *>body.at
        cdef dict words = <dict>self.words[place]
        skip_bytes(body, count)
        if body.at == NULL:
            return 0
        cdef bytes word = <bytes>self.last[place]
        if PyBytes_GET_SIZE(word) == count and memcmp(PyBytes_AS_STRING(word), start, count) == 0:
            number = words.get(word)  # its hash is known: mostly it is the word of the row before
        else:
            word = start[:count]
            number = words.get(word)
            self.last[place] = word
        if number is None:
            try:
                word.decode("utf-8")
            except UnicodeDecodeError:
                body.at = NULL
                return 0
            number = words[word] = len(words)
        (<int32_t *>self.at[place])[self.count] = number
        return 0

    cdef void put_side(self, Cursor *body, int place, bint there) noexcept:
        # the levels of a side, from their first column on
        cdef int end = place + SIDE
        cdef int64_t items = next_long(body) if there else 0
        cdef int64_t quantity, orders
        cdef double price
        while body.at != NULL and items != 0:
            if items < 0:
                items = -items
                next_long(body)
            while body.at != NULL and items > 0:
                quantity, price, orders = next_long(body), next_double(body), next_int(body)
                if place < end:
                    self.put_there(place, True)
                    self.put_long(place, quantity)
                    self.put_there(place + 1, True)
                    self.put_double(place + 1, price)
                    self.put_there(place + 2, True)
                    self.put_long(place + 2, orders)
                    place += 3
                items -= 1
            items = next_long(body)
        while place < end:
            self.put_there(place, False)
            place += 1

    cdef int put(self, Cursor *body) except -1:
        cdef int place
        cdef int64_t token, sequence
        cdef bint there
        for place in range(2):  # event_time, receive_time_us
            self.put_long(place, next_long(body))
        token = next_long(body)
        self.put_long(2, token)
        self.put_word(3, body)
        there = is_some(body)
        self.there_at[4][self.count] = there
        if there:
            self.put_word(4, body)
        else:
            (<int32_t *>self.at[4])[self.count] = 0
        self.put_word(5, body)
        self.at[6][self.count] = next_boolean(body)
        self.put_double(7, next_double(body))
        for place in range(8, 13):  # last_traded_quantity to total_sell_quantity
            if self.put_there(place, is_some(body)):
                if place == 9:
                    self.put_double(place, next_double(body))
                else:
                    self.put_long(place, next_long(body))
        there = is_some(body)  # ohlc
        for place in range(13, 17):
            if self.put_there(place, there):
                self.put_double(place, next_double(body))
        for place in range(17, 22):  # last_trade_time to oi_day_low
            if self.put_there(place, is_some(body)):
                self.put_long(place, next_long(body))
        there = is_some(body)  # depth
        self.put_side(body, 22, there)
        self.put_side(body, 37, there)
        (<int32_t *>self.at[56])[self.count] = <int32_t>next_int(body)  # slot
        self.put_long(57, next_long(body))  # session_id
        sequence = next_long(body)
        self.put_long(58, sequence)
        self.at[59][self.count] = next_boolean(body)  # snapshot
        there = body.at != body.end  # the first version ends here
        for place in range(52, 56):  # the best bid, the best ask
            if self.put_there(place, there and is_some(body)):
                if place % 2:
                    self.put_long(place, next_long(body))
                else:
                    self.put_double(place, next_double(body))
        check_tick(body, token, sequence)
        return 0

    cdef int put_value(self, bytes value) except -1:
        if self.count == self.capacity:
            raise IndexError("no room for another tick")
        cdef Cursor body = behind_framing(value)
        cdef Py_ssize_t[3] known
        cdef int place
        for place in range(3):
            known[place] = len(<dict>self.words[3 + place])
        self.put(&body)
        if body.at != NULL:
            self.count += 1
            return 0
        # its words go too
        for place in range(3):
            words = <dict>self.words[3 + place]
            while len(words) > known[place]:
                words.popitem()
        raise ValueError("not the value of a tick")

    def add(self, bytes value not None):
        """See `_pure`."""
        self.put_value(value)

    def add_some(self, list values not None, Py_ssize_t begin):
        """See `_pure`."""
        while self.count < self.capacity and begin < len(values):
            self.put_value(<bytes?>values[begin])
            begin += 1
        return begin

    def take(self):
        """See `_pure`."""
        cdef list columns = []
        for numbers, there, words, kind, wanted in zip(
            self.numbers, self.there, self.words, KINDS, self.wanted
        ):
            if not wanted:
                continue
            PyByteArray_Resize(numbers, self.count * SIZES[kind])
            if there is not None:
                PyByteArray_Resize(there, self.count)
            if words is not None:
                words = [word.decode("utf-8") for word in words]
            columns.append(Column(numbers, there, words))
        self.begin()
        return columns


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
    cdef int64_t token, sequence
    cdef int i
    out = shift(out, &body, &copied, by)  # event_time
    out = shift(out, &body, &copied, by * 1000)  # receive_time_us
    token = skip_to_times(&body)
    for i in range(5):  # last_trade_time to oi_day_low
        if is_some(&body):
            if i < 2:
                out = shift(out, &body, &copied, by)
            else:
                next_long(&body)
    skip_depth(&body)
    next_int(&body)  # slot
    out = shift(out, &body, &copied, by)  # session_id
    sequence = next_long(&body)
    skip_bytes(&body, 1)  # snapshot
    skip_best(&body)
    check_tick(&body, token, sequence)
    if body.at == NULL:
        raise ValueError("not the value of a tick")
    memcpy(out, copied, end - copied)
    return start[:out - start + (end - copied)]


def token_of(bytes value not None):
    """See `_pure`."""
    identity_of(value)
    cdef Cursor body = behind_framing(value)
    next_long(&body)  # event_time
    next_long(&body)  # receive_time_us
    return next_long(&body)
