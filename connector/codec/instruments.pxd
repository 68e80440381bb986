"""What the codec remembers of each instrument between its packets: a hash table by token.

Open addressing, linear probing, at most half full; removal shifts back, no tombstones.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

cdef enum:
    FEWEST_BITS = 6  # 64 places at first


cdef struct Kept:
    # the newest value of an instrument; the struct ends behind `room` bytes of it
    int32_t value_bytes
    int32_t room
    char value[1]


cdef struct Instrument:
    # what is remembered of a token between its packets
    PyObject *key  # NULL: the place is free
    PyObject *identity  # token, exchange, tradingsymbol as they stand in a body; NULL: not yet made
    uint32_t token
    uint32_t partition  # known as soon as the identity is
    uint8_t mode  # rank of the last packet's mode, 0 before the first, and of what is watched
    uint8_t expected  # the next packet is a snapshot
    uint8_t stray  # came without being expected
    uint8_t waits  # `newest` was not taken yet
    Kept *newest  # NULL: there was none, or nobody asks for it


cdef struct Table:
    Instrument *places
    uint32_t bits  # the table has 1 << bits places
    uint32_t used


cdef inline int init(Table *table) except -1:
    table.bits = FEWEST_BITS
    table.used = 0
    table.places = <Instrument *>PyMem_Calloc(1 << FEWEST_BITS, sizeof(Instrument))
    if table.places == NULL:
        raise MemoryError
    return 0


cdef inline void free(Table *table) noexcept:
    cdef size_t i
    if table.places == NULL:
        return
    for i in range(<size_t>1 << table.bits):
        clear(table.places + i)
    PyMem_Free(table.places)


cdef inline void clear(Instrument *place) noexcept:
    # also of a place that is free already
    Py_XDECREF(place.key)
    Py_XDECREF(place.identity)
    PyMem_Free(place.newest)
    memset(place, 0, sizeof(Instrument))


cdef inline uint32_t home(const Table *table, uint32_t token) noexcept:
    # Fibonacci hashing: tokens of a segment differ in their upper bits alone, the low byte is it
    return (token * <uint32_t>0x9E3779B1) >> (32 - table.bits)


cdef inline Instrument *find(const Table *table, uint32_t token) noexcept:
    # the token's place, or the free one where it would go
    cdef uint32_t mask = (<uint32_t>1 << table.bits) - 1
    cdef uint32_t i = home(table, token)
    while table.places[i].key != NULL and table.places[i].token != token:
        i = (i + 1) & mask
    return table.places + i


cdef inline Instrument *add(Table *table, uint32_t token) except NULL:
    # the token must not be there; pointers to other places are void afterwards
    cdef Instrument *place
    if (table.used + 1) * 2 > <uint32_t>1 << table.bits:
        grow(table)
    place = find(table, token)
    fill(place, token)
    table.used += 1
    return place


cdef inline int grow(Table *table) except -1:
    cdef Instrument *old = table.places
    cdef size_t i, count = <size_t>1 << table.bits
    cdef Instrument *places = <Instrument *>PyMem_Calloc(count * 2, sizeof(Instrument))
    if places == NULL:
        raise MemoryError
    table.places = places
    table.bits += 1
    for i in range(count):
        if old[i].key != NULL:
            find(table, old[i].token)[0] = old[i]  # references move along, none is counted anew
    PyMem_Free(old)
    return 0


cdef inline void remove(Table *table, Instrument *place) noexcept:
    cdef uint32_t mask = (<uint32_t>1 << table.bits) - 1
    cdef uint32_t hole = <uint32_t>(place - table.places)
    cdef uint32_t i = hole
    clear(place)
    while True:
        i = (i + 1) & mask
        if table.places[i].key == NULL:
            break
        # moves back unless its home lies behind the hole
        if ((i - home(table, table.places[i].token)) & mask) >= ((i - hole) & mask):
            table.places[hole] = table.places[i]
            hole = i
    memset(table.places + hole, 0, sizeof(Instrument))
    table.used -= 1


cdef inline int fill(Instrument *place, uint32_t token) except -1:
    key = b"%d" % token
    memset(place, 0, sizeof(Instrument))
    Py_INCREF(key)
    place.key = <PyObject *>key
    place.token = token
    return 0


cdef inline int keep(Instrument *instrument, const char *value, int32_t value_bytes) except -1:
    cdef void *larger
    if instrument.newest == NULL or instrument.newest.room < value_bytes:
        larger = PyMem_Realloc(instrument.newest, sizeof(Kept) + value_bytes)
        if larger == NULL:
            raise MemoryError
        instrument.newest = <Kept *>larger
        instrument.newest.room = value_bytes
    instrument.newest.value_bytes = value_bytes
    memcpy(instrument.newest.value, value, value_bytes)
    return 0
