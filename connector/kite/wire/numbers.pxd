# cython: language_level=3
"""Kite's numbers, big-endian, where they stand in a frame: inlined where they are used."""

from libc.stdint cimport uint8_t, uint32_t


cdef inline uint32_t uint16_at(const uint8_t *place) noexcept nogil:
    return (<uint32_t>place[0] << 8) | place[1]


cdef inline uint32_t uint32_at(const uint8_t *place) noexcept nogil:
    return (
        (<uint32_t>place[0] << 24) | (<uint32_t>place[1] << 16)
        | (<uint32_t>place[2] << 8) | place[3]
    )
