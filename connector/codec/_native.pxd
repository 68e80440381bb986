"""What the producer's extension reads of the codec's: the records of a frame, as they lie."""

from libc.stdint cimport int32_t, uint8_t


cdef struct Span:
    # a record: its value begins at `start` of the arena, the key stands right behind the value
    Py_ssize_t start
    int32_t value_bytes
    uint8_t key_bytes
    uint8_t segment  # of the topic


cdef class Records:
    cdef char *arena
    cdef Py_ssize_t used  # bytes of the arena
    cdef Py_ssize_t arena_bytes
    cdef Span *spans
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t places
    cdef tuple topics  # by segment

    cdef int reserve(self, Py_ssize_t record_bytes) except -1
