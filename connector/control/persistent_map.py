"""A mapping that is never changed in place, and of which a changed copy is cheap.

The entries lie in about as many dicts as each of them has entries: a copy after one change is one
tuple and one dict of some hundred entries, whatever the whole has. So each state of the
subscriptions can stand beside the next one, which is what makes the reducer pure and an aborted
transaction harmless, and a command costs what it touches, not what there is.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_MIX: Final = 0x9E37_79B1
"""2³² divided by the golden ratio: spreads tokens, of which all of an exchange end alike."""


class _Buckets(Mapping[K, V]):
    """What the mapping and its draft have in common: all that changes nothing."""

    __slots__ = ("_buckets", "_size")

    _buckets: Sequence[dict[K, V]]
    _size: int

    def __getitem__(self, key: K) -> V:
        buckets = self._buckets
        return buckets[_place(key, len(buckets))][key]

    # the inherited one asks for an exception where there is nothing, which costs more than all else
    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        buckets = self._buckets
        return buckets[_place(key, len(buckets))].get(key, default)

    def __contains__(self, key: object) -> bool:
        buckets = self._buckets
        return key in buckets[_place(key, len(buckets))]

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        for bucket in self._buckets:
            yield from bucket

    def items(self) -> ItemsView[K, V]:
        """Return the entries; quicker than a look for the value of each key."""
        return _Items(self)


class PersistentMap(_Buckets[K, V]):
    """An immutable mapping; its entries come in no particular order.

    Args:
        entries: what it holds; of a repeated key the last value counts.
    """

    __slots__ = ()

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        known = dict(entries)
        self._size = len(known)
        # shared with every later version that has not touched them: never changed once made
        self._buckets = _spread(known.items(), self._size)

    def draft(self) -> MapDraft[K, V]:
        """Return a changeable copy, which leaves this one as it is."""
        return MapDraft(self)


class MapDraft(_Buckets[K, V], MutableMapping[K, V]):
    """A `PersistentMap` while it is being changed: copies each bucket before its first change."""

    __slots__ = ("_base", "_own")

    def __init__(self, base: PersistentMap[K, V]) -> None:
        self._base = base
        self._size = base._size  # noqa: SLF001 - the two classes are one data structure
        self._buckets = base._buckets  # noqa: SLF001
        # place → the bucket there, where it is this draft's own; None before the first change
        self._own: dict[int, dict[K, V]] | None = None

    # a loop over calls of the methods above and below would cost several times as much

    def get_all(self, keys: Iterable[K]) -> list[V | None]:
        """Return the value of each key, in their order; None where there is none."""
        buckets = self._buckets
        mask = len(buckets) - 1
        return [buckets[((hash(key) * _MIX) >> 16) & mask].get(key) for key in keys]

    def put_all(self, entries: Mapping[K, V]) -> None:
        """Set the value of each key."""
        # the number of buckets is a power of two, so `&` is the remainder
        mask = len(self._buckets) - 1
        own, added = self._own or {}, 0
        for key, value in entries.items():
            bucket = own.get(((hash(key) * _MIX) >> 16) & mask)
            if bucket is None:
                bucket = self._bucket(key)
                # `_bucket` has made it, with its first bucket
                own = self._own or {}
            added += key not in bucket
            bucket[key] = value
        self._size += added

    def delete_all(self, keys: Iterable[K]) -> None:
        """Remove each key.

        Raises:
            KeyError: one is not there.
        """
        for key in keys:
            del self._bucket(key)[key]
            self._size -= 1

    def __setitem__(self, key: K, value: V) -> None:
        bucket = self._bucket(key)
        self._size += key not in bucket
        bucket[key] = value

    def __delitem__(self, key: K) -> None:
        del self._bucket(key)[key]
        self._size -= 1

    def finish(self) -> PersistentMap[K, V]:
        """Return the mapping with the changes, or the base where there are none."""
        if self._own is None:
            return self._base
        changed: PersistentMap[K, V] = PersistentMap.__new__(PersistentMap)
        changed._size = self._size  # noqa: SLF001
        changed._buckets = (  # noqa: SLF001
            self._buckets
            # spread anew only where the size asks for another number of them: else what was not
            # touched stays shared
            if len(self._buckets) == _count(self._size, len(self._buckets))
            else _spread(self.items(), self._size)
        )
        return changed

    def _bucket(self, key: K) -> dict[K, V]:
        """Return the bucket of a key, copied unless it is this draft's own."""
        place = ((hash(key) * _MIX) >> 16) & (len(self._buckets) - 1)
        if self._own is None:
            self._buckets, self._own = list(self._buckets), {}
        bucket = self._own.get(place)
        if bucket is None:
            bucket = self._own[place] = dict(self._buckets[place])
            assert isinstance(self._buckets, list)  # noqa: S101 - copied above, as a list
            self._buckets[place] = bucket
        return bucket


class _Items(ItemsView[K, V]):
    _mapping: _Buckets[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        for bucket in self._mapping._buckets:  # noqa: SLF001
            yield from bucket.items()


def _place(key: object, buckets: int) -> int:
    # the low bits of a product depend on the low bits of the key alone, which are the exchange's
    return ((hash(key) * _MIX) >> 16) & (buckets - 1)


def _count(size: int, buckets: int) -> int:
    """Return how many buckets there should be: a power of two near the root."""
    # between the two bounds lies a factor of 32: a size that goes to and fro spreads nothing anew
    while size > 4 * buckets * buckets:
        buckets *= 2
    while buckets > 1 and 8 * size < buckets * buckets:
        buckets //= 2
    return buckets


def _spread(entries: Iterable[tuple[K, V]], size: int) -> Sequence[dict[K, V]]:
    count = _count(size, 1)
    buckets: list[dict[K, V]] = [{} for _ in range(count)]
    for key, value in entries:
        buckets[_place(key, count)][key] = value
    return buckets
