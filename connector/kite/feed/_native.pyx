# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, auto_pickle=False, binding=False
"""The frame reader compiled: behaves as `_pure` in everything, which says what each part is for."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memmove

from connector.kite.feed import framing as _framing

cdef enum:
    # RFC 6455, 5.2; `framing` has the same
    FIN = 0x80
    MASKED = 0x80
    OPCODE = 0x0F
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    FIRST_RESERVED = 3
    LAST_RESERVED = 7
    PONG = 10
    WHOLE_BINARY = 0x82

cdef Py_ssize_t BUFFER = _framing.BUFFER_BYTES
cdef Py_ssize_t LARGE_READ = _framing.LARGE_READ_BYTES
cdef uint64_t MAX_FRAME = _framing.MAX_FRAME_BYTES
cdef Py_ssize_t TURN = _framing.FRAMES_PER_TURN
cdef Py_ssize_t COSTLY = _framing.COSTLY_BYTES
cdef Py_ssize_t PACKETS_PER_COST = _framing.PACKETS_PER_COST


cdef inline int header_at(const uint8_t *data, Py_ssize_t size, Py_ssize_t *length) noexcept nogil:
    # bytes of the header; 0: not all of it is there; -1: no frame of a server's
    cdef int head, opcode, i
    cdef uint64_t long_length
    if size < 2:
        return 0
    opcode = data[0] & OPCODE
    if opcode > PONG or FIRST_RESERVED <= opcode <= LAST_RESERVED or data[1] & MASKED:
        return -1
    length[0] = data[1]
    if data[1] < 126:
        return 2
    head = 4 if data[1] == 126 else 10
    if size < head:
        return 0
    long_length = 0
    for i in range(2, head):  # network byte order
        long_length = long_length << 8 | data[i]
    if long_length > MAX_FRAME:
        return -1
    length[0] = <Py_ssize_t>long_length
    return head


@cython.final
cdef class FrameReader:
    """A socket's read buffer, out of which whole binary frames go straight to who takes them."""

    cdef public bint direct, working, framed  # `_pure` says what all of these are for
    cdef object _deliver, _work, _view
    cdef bytearray _memory
    cdef uint8_t *_data  # of _memory, which never changes its size
    cdef Py_ssize_t _start, _end, _rest
    cdef bint _fragmented

    def __init__(self, deliver, work):
        self._deliver, self._work = deliver, work
        self._room_of(BUFFER)

    def get_buffer(self, sizehint):
        cdef Py_ssize_t size = self._end - self._start
        if self._start:
            if size:
                memmove(self._data, self._data + self._start, size)
            self._start, self._end = 0, size
        if size == 0 and PyByteArray_GET_SIZE(self._memory) > BUFFER:
            self._room_of(BUFFER)
        elif size == PyByteArray_GET_SIZE(self._memory):
            self._room_of(size + BUFFER)
        return self._view[size:] if size else self._view

    def buffer_updated(self, Py_ssize_t nbytes):
        cdef Py_ssize_t left = TURN
        cdef bint large = nbytes >= LARGE_READ
        self._end += nbytes
        if self.direct:
            self.working = True
            try:
                left = self._deliver_binary(left)
            finally:
                self.working = False
            if left > 0 and self.direct and not large and not self._ready():
                return
        self._work(left, large)

    def __len__(self):
        return self._end - self._start

    @property
    def at_boundary(self):
        return self.framed and self._rest == 0 and not self._fragmented

    def deliver_binary(self, Py_ssize_t budget):
        return self._deliver_binary(budget)

    def ready(self):
        return self._ready()

    def next_piece(self):
        cdef Py_ssize_t size = self._end - self._start, length = 0
        cdef int head, opcode
        cdef uint8_t first
        if not self._ready():
            return b""
        if not self.framed:
            return self._take(size)
        if self._rest == 0:
            first = self._data[self._start]
            opcode = first & OPCODE
            head = header_at(self._data + self._start, size, &length)
            if head < 0:
                self.framed = False
                return self._take(size)
            self._rest = head + length
            if opcode == TEXT or opcode == BINARY:
                self._fragmented = not first & FIN
            elif opcode == CONTINUATION and first & FIN:
                self._fragmented = False
        size = min(size, self._rest)
        self._rest -= size
        return self._take(size)

    def take(self, Py_ssize_t size):
        return self._take(max(0, min(size, self._end - self._start)))

    def peek(self):
        return PyBytes_FromStringAndSize(<char *>self._data + self._start, self._end - self._start)

    def clear(self):
        self.direct = False
        self._start = self._end = 0

    cdef Py_ssize_t _deliver_binary(self, Py_ssize_t budget) except? -1:
        cdef const uint8_t *frame
        cdef Py_ssize_t length = 0, packets
        cdef int head
        while budget > 0 and self.direct:
            frame = self._data + self._start
            head = header_at(frame, self._end - self._start, &length)
            if head <= 0 or frame[0] != WHOLE_BINARY or head + length > self._end - self._start:
                break
            frame += head
            # before the call, which may pause, clear or end the socket
            self._start += head + length
            # what turn_cost counts
            budget -= 1
            if length >= COSTLY:
                packets = min((<Py_ssize_t>frame[0] << 8) | frame[1], length >> 1)
                budget -= packets // PACKETS_PER_COST
            # a copy: the next read goes into the same memory
            self._deliver(PyBytes_FromStringAndSize(<const char *>frame, length))
        return budget

    cdef bint _ready(self) noexcept:
        cdef Py_ssize_t size = self._end - self._start, length = 0
        cdef int head
        if size == 0 or not self.framed or self._rest:
            return size > 0
        head = header_at(self._data + self._start, size, &length)
        if head <= 0:
            return head < 0
        return head + length <= size or not (
            self._data[self._start] == WHOLE_BINARY
            and head + length <= BUFFER
            and not self._fragmented
        )

    cdef bytes _take(self, Py_ssize_t size):
        cdef Py_ssize_t start = self._start
        self._start += size
        return PyBytes_FromStringAndSize(<char *>self._data + start, size)

    cdef int _room_of(self, Py_ssize_t size) except -1:
        cdef bytearray memory = bytearray(size)
        cdef uint8_t *data = <uint8_t *>PyByteArray_AS_STRING(memory)
        if self._end:
            memmove(data, self._data, self._end)
        self._memory, self._data, self._view = memory, data, memoryview(memory)
        return 0
