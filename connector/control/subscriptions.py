"""What is wanted of all instruments, with what a command looks for: by watchlist, symbol and slot.

Immutable; a draft of it is changed and finished, which costs what was touched. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from connector.control.persistent_map import MapDraft, PersistentMap
from connector.control.records import Subscription, highest
from connector.kite.wire.models import Mode

K = TypeVar("K")

_Change = tuple[int, Subscription | None, Subscription | None]
"""Token, what was wanted of it, and what is."""
_NOBODY: PersistentMap[int, None] = PersistentMap()


class _Indexed(Mapping[int, Subscription]):
    """What `Subscriptions` and its draft answer alike."""

    _by_token: Mapping[int, Subscription]
    _by_symbol: Mapping[str, tuple[int, ...]]
    carried: Mapping[int, int]
    """How many instruments each slot carries; slots without any are left out."""
    modes: Mapping[Mode, int]
    """How many instruments are wanted in each mode."""
    pinned: Mapping[tuple[str, int], int]
    """How many instruments that belong on an account each slot carries, by (account, slot)."""
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
        pinned: Mapping[tuple[str, int], int] | None = None,
        claims: int = 0,
    ) -> None:
        # all of these are shared with later versions, and stand for the same subscriptions: only a
        # draft's `_reindex` keeps them in line
        self._by_token = by_token or PersistentMap()
        self._by_symbol = by_symbol or PersistentMap()
        self._by_watchlist = by_watchlist or PersistentMap()
        self.carried = carried or {}
        self.modes = modes or {}
        self.pinned = pinned or {}
        self.claims = claims

    @classmethod
    def of(
        cls, entries: Mapping[int, Subscription] | Iterable[tuple[int, Subscription]]
    ) -> Subscriptions:
        """Return the subscriptions with these entries; of a repeated token the last counts."""
        draft = cls().draft()
        draft.change(dict(entries))
        return draft.finish()

    def draft(self) -> SubscriptionsDraft:
        """Return a changeable copy, which leaves this one as it is."""
        return SubscriptionsDraft(self)

    @property
    def watchlists(self) -> Mapping[str, PersistentMap[int, None]]:
        """The tokens that each watchlist claims; none is empty."""
        return self._by_watchlist


class SubscriptionsDraft(_Indexed):
    """`Subscriptions` while a command changes them."""

    _by_token: MapDraft[int, Subscription]
    _by_symbol: MapDraft[str, tuple[int, ...]]
    carried: dict[int, int]
    modes: dict[Mode, int]
    pinned: dict[tuple[str, int], int]

    def __init__(self, base: Subscriptions) -> None:
        # asked for the watchlists that this draft has not touched
        self._base = base
        self._by_token = base._by_token.draft()  # noqa: SLF001 - the two are one data structure
        self._by_symbol = base._by_symbol.draft()  # noqa: SLF001
        # the watchlists that were touched, each a draft of its own
        self._touched: dict[str, MapDraft[int, None]] = {}
        # copied whole: as many entries as there are slots, modes, or accounts on slots
        self.carried = dict(base.carried)
        self.modes = dict(base.modes)
        self.pinned = dict(base.pinned)
        self.claims = base.claims
        self.changed: dict[int, Subscription | None] = {}
        """What was wanted first of each instrument that was changed, in the order of that."""

    def get_all(self, tokens: Iterable[int]) -> list[Subscription | None]:
        """Return what is wanted of each instrument, in their order."""
        return self._by_token.get_all(tokens)

    def change(self, wanted: Mapping[int, Subscription | None]) -> None:
        """Set what is wanted of these instruments, whatever was wanted before; None ends it.

        Raises:
            KeyError: an instrument is wanted no more that was not.
        """
        changes = list(zip(wanted, self._by_token.get_all(wanted), wanted.values(), strict=True))
        for token, old, _ in changes:
            # the first time counts: what is between the beginning and the end of a command is
            # written nowhere
            self.changed.setdefault(token, old)
        self._by_token.put_all({token: new for token, _, new in changes if new is not None})
        self._by_token.delete_all([token for token, _, new in changes if new is None])
        self._reindex(changes)

    def claimed(self, watchlist: str) -> list[int]:
        """Return the tokens that a watchlist claims."""
        return list(self._tokens(watchlist))

    def has_watchlist(self, watchlist: str) -> bool:
        """Whether a watchlist claims any instrument."""
        return bool(self._tokens(watchlist))

    def account_of(self, watchlist: str) -> str | None:
        """Return the account that a watchlist names; it names one for all that it claims."""
        token = next(iter(self._tokens(watchlist)), None)
        return None if token is None else self._by_token[token].accounts.get(watchlist)

    def watchlist_count(self) -> int:
        """Return how many watchlists claim any instrument."""
        known = self._base.watchlists
        # 1 for a watchlist that is new, -1 for one that has ended
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
            self.pinned,
            self.claims,
        )

    def _tokens(self, watchlist: str) -> Mapping[int, None]:
        touched = self._touched.get(watchlist)
        return self._base.watchlists.get(watchlist, _NOBODY) if touched is None else touched

    def _reindex(self, changes: list[_Change]) -> None:
        """Bring the indexes in line with what changed."""
        slots, modes = defaultdict[int, int](int), defaultdict[Mode, int](int)
        pinned = defaultdict[tuple[str, int], int](int)
        lost, won = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
        renamed: list[tuple[int, str | None, str | None]] = []
        old_before = new_before = None
        old_mode = new_mode = Mode.LTP
        for token, old, new in changes:
            old_claims = old_symbol = new_claims = new_symbol = None
            if old is not None:
                slots[old.slot] -= 1
                if old.accounts and (account := old.account) is not None:
                    pinned[account, old.slot] -= 1
                old_claims, old_symbol = old.claims, old.symbol
            if new is not None:
                slots[new.slot] += 1
                if new.accounts and (account := new.account) is not None:
                    pinned[account, new.slot] += 1
                new_claims, new_symbol = new.claims, new.symbol
            if old_symbol != new_symbol:
                renamed.append((token, old_symbol, new_symbol))
            # never changed in place, so one object means the same claims
            if old_claims is new_claims:
                continue
            # after a large command many have one object for their claims
            if old_claims is not None:
                if old_claims is not old_before:
                    old_before, old_mode = old_claims, highest(old_claims)
                modes[old_mode] -= 1
                for name in old_claims:
                    if new_claims is None or name not in new_claims:
                        lost[name].append(token)
            if new_claims is not None:
                if new_claims is not new_before:
                    new_before, new_mode = new_claims, highest(new_claims)
                modes[new_mode] += 1
                for name in new_claims:
                    if old_claims is None or name not in old_claims:
                        won[name].append(token)
        _count(self.carried, slots)
        _count(self.modes, modes)
        _count(self.pinned, pinned)
        for name, tokens in lost.items():
            self._draft(name).delete_all(tokens)
            self.claims -= len(tokens)
        for name, tokens in won.items():
            self._draft(name).put_all(dict.fromkeys(tokens))
            self.claims += len(tokens)
        self._rename(renamed)

    def _rename(self, renamed: list[tuple[int, str | None, str | None]]) -> None:
        """Bring the index by symbol in line: (token, old symbol, new symbol) of each."""
        by_symbol = self._by_symbol
        for token, old, _ in renamed:
            if old is None:
                continue
            folded = old.upper()
            others = tuple(one for one in by_symbol[folded] if one != token)
            if others:
                by_symbol[folded] = others
            else:
                del by_symbol[folded]
        for token, _, new in renamed:
            if new is not None:
                folded = new.upper()
                by_symbol[folded] = (*by_symbol.get(folded, ()), token)

    def _draft(self, watchlist: str) -> MapDraft[int, None]:
        draft = self._touched.get(watchlist)
        if draft is None:
            draft = self._base.watchlists.get(watchlist, _NOBODY).draft()
            self._touched[watchlist] = draft
        return draft


def _count(counts: dict[K, int], changes: Mapping[K, int]) -> None:
    """Add the changes, and leave out what has come to nothing."""
    for key, change in changes.items():
        if not change:
            continue
        if left := counts.get(key, 0) + change:
            counts[key] = left
        else:
            del counts[key]
