"""What is wanted of all instruments, with what a command looks for: by watchlist, symbol and slot.

Immutable; a draft of it is changed and finished, which costs what was touched. Pure.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping
from typing import Any

from connector.control.persistent_map import MapDraft, PersistentMap
from connector.control.records import Subscription
from connector.kite.wire.models import Mode

_NOBODY: PersistentMap[int, None] = PersistentMap()


class _Indexed(Mapping[int, Subscription]):
    """What `Subscriptions` and its draft answer alike."""

    _by_token: Mapping[int, Subscription]
    _by_symbol: Mapping[str, tuple[int, ...]]
    carried: Mapping[int, int]
    """How many instruments each slot carries; slots without any are left out."""
    modes: Mapping[Mode, int]
    """How many instruments are wanted in each mode."""
    claims: int
    """How many claims all watchlists have on all instruments."""

    def __getitem__(self, token: int) -> Subscription:
        return self._by_token[token]

    def get(self, token: Any, default: Any = None) -> Any:
        """Return the subscription of a token, or the default."""
        return self._by_token.get(token, default)

    def __contains__(self, token: object) -> bool:
        return token in self._by_token

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_token)

    def items(self) -> ItemsView[int, Subscription]:
        """Return each token with its subscription, in no particular order."""
        return self._by_token.items()

    def named(self, symbol: str) -> int | None:
        """Return the token under which a name is carried, in whatever letters it is written."""
        tokens = self._by_symbol.get(symbol.upper())
        return tokens[-1] if tokens else None


class Subscriptions(_Indexed):
    """All subscriptions, by instrument token; `Subscriptions.of` makes them of entries."""

    _by_token: PersistentMap[int, Subscription]
    _by_symbol: PersistentMap[str, tuple[int, ...]]

    def __init__(
        self,
        by_token: PersistentMap[int, Subscription] | None = None,
        by_symbol: PersistentMap[str, tuple[int, ...]] | None = None,
        by_watchlist: PersistentMap[str, PersistentMap[int, None]] | None = None,
        carried: Mapping[int, int] | None = None,
        modes: Mapping[Mode, int] | None = None,
        claims: int = 0,
    ) -> None:
        self._by_token = by_token or PersistentMap()
        self._by_symbol = by_symbol or PersistentMap()
        self._by_watchlist = by_watchlist or PersistentMap()
        self.carried = carried or {}
        self.modes = modes or {}
        self.claims = claims

    @classmethod
    def of(
        cls, entries: Mapping[int, Subscription] | Iterable[tuple[int, Subscription]]
    ) -> Subscriptions:
        """Return the subscriptions with these entries; of a repeated token the last counts."""
        draft = cls().draft()
        for token, subscription in dict(entries).items():
            draft.put(token, subscription)
        return draft.finish()

    def draft(self) -> SubscriptionsDraft:
        """Return a changeable copy, which leaves this one as it is."""
        return SubscriptionsDraft(self)

    @property
    def watchlists(self) -> Mapping[str, PersistentMap[int, None]]:
        """The tokens that each watchlist claims; none is empty."""
        return self._by_watchlist


class SubscriptionsDraft(_Indexed):
    """`Subscriptions` while a command changes them.

    Args:
        base: what they begin as.
    """

    _by_token: MapDraft[int, Subscription]
    _by_symbol: MapDraft[str, tuple[int, ...]]
    carried: dict[int, int]
    modes: dict[Mode, int]

    def __init__(self, base: Subscriptions) -> None:
        self._base = base
        self._by_token = base._by_token.draft()  # noqa: SLF001 - the two are one data structure
        self._by_symbol = base._by_symbol.draft()  # noqa: SLF001
        # the watchlists that were touched, each a draft of its own
        self._touched: dict[str, MapDraft[int, None]] = {}
        self.carried = dict(base.carried)
        self.modes = dict(base.modes)
        self.claims = base.claims

    def put(self, token: int, subscription: Subscription) -> None:
        """Set what is wanted of an instrument, whatever was wanted before."""
        old = self._by_token.get(token)
        self._by_token[token] = subscription
        self._reindex(token, old, subscription)

    def remove(self, token: int) -> Subscription:
        """Want an instrument no more; returns what was wanted.

        Raises:
            KeyError: it was not.
        """
        old = self._by_token.pop(token)
        self._reindex(token, old, None)
        return old

    def claimed(self, watchlist: str) -> list[int]:
        """Return the tokens that a watchlist claims."""
        return list(self._tokens(watchlist))

    def has_watchlist(self, watchlist: str) -> bool:
        """Whether a watchlist claims any instrument."""
        return bool(self._tokens(watchlist))

    def watchlist_count(self) -> int:
        """Return how many watchlists claim any instrument."""
        known = self._base.watchlists
        changes = (bool(tokens) - (name in known) for name, tokens in self._touched.items())
        return len(known) + sum(changes)

    def finish(self) -> Subscriptions:
        """Return the subscriptions with the changes; then the draft is over."""
        watchlists = self._base._by_watchlist.draft()  # noqa: SLF001
        for name, tokens in self._touched.items():
            if tokens:
                watchlists[name] = tokens.finish()
            else:
                watchlists.pop(name, None)
        return Subscriptions(
            self._by_token.finish(),
            self._by_symbol.finish(),
            watchlists.finish(),
            self.carried,
            self.modes,
            self.claims,
        )

    def _tokens(self, watchlist: str) -> Mapping[int, None]:
        touched = self._touched.get(watchlist)
        return self._base.watchlists.get(watchlist, _NOBODY) if touched is None else touched

    def _reindex(self, token: int, old: Subscription | None, new: Subscription | None) -> None:
        """Bring the indexes in line with the change of one subscription."""
        old_slot, new_slot = old and old.slot, new and new.slot
        if old_slot != new_slot:
            _count(self.carried, old_slot, -1)
            _count(self.carried, new_slot, 1)
        old_symbol, new_symbol = old and old.symbol, new and new.symbol
        if old_symbol != new_symbol:
            self._rename(token, old_symbol, new_symbol)
        old_claims, new_claims = old.claims if old else {}, new.claims if new else {}
        if old_claims is not new_claims:
            _count(self.modes, old and old.mode, -1)
            _count(self.modes, new and new.mode, 1)
            self.claims += len(new_claims) - len(old_claims)
            for name in old_claims.keys() - new_claims.keys():
                del self._draft(name)[token]
            for name in new_claims.keys() - old_claims.keys():
                self._draft(name)[token] = None

    def _rename(self, token: int, old: str | None, new: str | None) -> None:
        old, new = old and old.upper(), new and new.upper()
        if old is not None:
            others = tuple(one for one in self._by_symbol[old] if one != token)
            if others:
                self._by_symbol[old] = others
            else:
                del self._by_symbol[old]
        if new is not None:
            self._by_symbol[new] = (*self._by_symbol.get(new, ()), token)

    def _draft(self, watchlist: str) -> MapDraft[int, None]:
        draft = self._touched.get(watchlist)
        if draft is None:
            draft = self._base.watchlists.get(watchlist, _NOBODY).draft()
            self._touched[watchlist] = draft
        return draft


def _count(counts: dict[Any, int], key: int | Mode | None, change: int) -> None:
    if key is None:
        return
    left = counts.get(key, 0) + change
    if left:
        counts[key] = left
    else:
        del counts[key]
