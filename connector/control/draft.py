"""What each type of command does to the subscriptions. Pure, as the reducer that uses it is."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final, NamedTuple

from connector.control.bounds import (
    MAX_CLAIMS,
    MAX_CLAIMS_OF_INSTRUMENT,
    MAX_WATCHLISTS,
    STATUS_WATCHLISTS,
)
from connector.control.commands import (
    Command,
    Delete,
    Rebalance,
    Reconnect,
    RefreshInstruments,
    Refusal,
    Replace,
    SetMode,
    SlotStatus,
    Status,
    StatusPayload,
    Subscribe,
    Unsubscribe,
)
from connector.control.records import RECONNECT_KEY, Record, Subscription, reconnect_value
from connector.control.state import Names, State
from connector.errors import CapacityError
from connector.kite.clock import IST
from connector.kite.feed import allocation
from connector.kite.wire.models import ConnectionEvent, EventType, Exchange

OWN: Final = "@"
"""The first character of the leader's own ids and watchlists, which no message may name."""
_CLAIMED_BY_TOO_MANY: Final = (
    f"{MAX_CLAIMS_OF_INSTRUMENT} watchlists claim it already, the most that may"
)
_UNLISTED: Final = "not in the loaded list of instruments; `unlisted` accepts it all the same"
_FULL: Final = "may claim {} instruments (cluster.watchlist_max_instruments)"
_TOO_MANY_CLAIMS: Final = f"there are {MAX_CLAIMS} claims already, the most there may be"


class Answer(NamedTuple):
    """The outcome of one type of command, before it is a reply."""

    accepted: int = 0
    refused: Sequence[Refusal] = ()
    errors: tuple[str, ...] = ()
    payload: StatusPayload | None = None
    extra: tuple[Record, ...] = ()
    events: tuple[ConnectionEvent, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether nothing is to be changed."""
        return bool(self.errors) or (bool(self.refused) and not (self.accepted or self.events))


class Draft:
    """The state while one command is applied to it."""

    def __init__(self, before: State, names: Names, now_ms: int) -> None:
        self.before = before
        self.layout = before.layout
        self.names = names
        self.now_ms = now_ms
        self.revision = before.revision + 1
        self.subscriptions = before.subscriptions.draft()
        self.touched: dict[int, None] = {}

    def apply(self, command: Command) -> Answer:
        """Change the draft as the command says."""
        match command:
            case Subscribe():
                tokens, refused = self._resolve(command.instruments, command.watchlist)
                return self._claim(command, tokens, refused)
            case Unsubscribe():
                return self._unsubscribe(command)
            case SetMode():
                return self._set_mode(command)
            case Replace():
                return self._replace(command)
            case Delete():
                claimed = self.subscriptions.claimed(command.watchlist)
                if not claimed:
                    return Answer(errors=(f"watchlist: {command.watchlist} has no instruments",))
                for token in claimed:
                    self._release(command.watchlist, token)
                return Answer(len(claimed))
            case Reconnect():
                return self._reconnect(command)
            case Rebalance():
                return self._rebalance()
            case RefreshInstruments():
                return self._refresh(accept_list=command.accept_list)
            case Status():
                return Answer(payload=status(self.before, command.after))

    def finish(self) -> tuple[State, tuple[Record, ...]]:
        """Place the instruments that wait for room, then return the difference."""
        self._place_unplaced()
        before = self.before.subscriptions
        records: list[Record] = []
        gone: list[Record] = []
        moved: list[Record] = []
        changed = False
        for token in self.touched:
            old, new = before.get(token), self.subscriptions.get(token)
            if new == old:
                continue
            changed = True
            if new is not None:
                new = new._replace(revision=self.revision)
                self.subscriptions.put(token, new)
                records.append(Record(new.slot, str(token), new.encoded(token)))
            if old is None:
                continue
            if new is None:
                gone.append(Record(old.slot, str(token), None))
            elif new.slot != old.slot:
                moved.append(Record(old.slot, str(token), None, new.slot))
        if not changed:
            return self.before, ()
        state = replace(
            self.before,
            subscriptions=self.subscriptions.finish(),
            progress=self.before.progress._replace(revision=self.revision),
        )
        return state, (*gone, *records, *moved)

    # instruments as written -> tokens

    def _resolve(
        self, instruments: Iterable[int | str], watchlist: str
    ) -> tuple[dict[int, int | str], list[Refusal]]:
        """Return each token with the instrument as it was written, and what is no instrument."""
        tokens: dict[int, int | str] = {}
        refused: list[Refusal] = []
        for instrument in instruments:
            token = instrument
            if isinstance(token, str):
                found = self._named(token, watchlist)
                if isinstance(found, Refusal):
                    refused.append(found)
                    continue
                token = found
            try:
                Exchange.of(token)
            except ValueError:
                refused.append(Refusal(instrument, f"no exchange has the segment {token & 0xFF}"))
                continue
            tokens.setdefault(token, instrument)
        return tokens, refused

    def _named(self, symbol: str, watchlist: str) -> int | Refusal:
        """Return the token of a name; of several, the one that the watchlist claims already."""
        listed = self.names.listed(symbol)
        if len(listed) == 1:
            return listed[0]
        known = self.subscriptions.named(symbol)
        if not listed:
            return Refusal(symbol, "not in the instrument master") if known is None else known
        for token in (known, *listed):
            subscription = None if token is None else self.subscriptions.get(token)
            if token is not None and subscription and watchlist in subscription.claims:
                return token
        return _ambiguous(symbol, listed)

    # claims

    def _claim(
        self,
        command: Subscribe | Replace,
        tokens: Mapping[int, int | str],
        refused: list[Refusal],
    ) -> Answer:
        watchlist, mode = command.watchlist, command.mode
        if full := self._no_more_watchlists(watchlist):
            return Answer(errors=(full,))
        if not command.unlisted:
            tokens = self._listed(watchlist, tokens, refused)
        tokens, beyond = self._within_bounds(watchlist, tokens)
        new = [token for token in tokens if token not in self.subscriptions]
        placed, unplaced = allocation.place(new, self.loads, self.layout.capacity)
        no_room = f"no room: {len(self.layout.slots)} slots carry {self.layout.capacity} each"
        refused += [*beyond, *(Refusal(tokens[token], no_room) for token in unplaced)]
        for token, written in tokens.items():
            if (subscription := self.subscriptions.get(token)) is not None:
                if subscription.claims.get(watchlist) is not mode:
                    claims = {**subscription.claims, watchlist: mode}
                    self._put(token, subscription._replace(claims=claims))
            elif (slot := placed.get(token)) is not None:
                self._put(token, Subscription(slot, {watchlist: mode}, None, self.revision))
            else:
                continue
            self._learn(token, written if isinstance(written, str) else None)
        return Answer(len(tokens) - len(unplaced), refused)

    def _no_more_watchlists(self, watchlist: str) -> str | None:
        """Explain why there can be no further watchlist; None where that is not so."""
        known = watchlist.startswith(OWN) or self.subscriptions.has_watchlist(watchlist)
        if known or self.subscriptions.watchlist_count() < MAX_WATCHLISTS:
            return None
        return f"watchlist: there are {MAX_WATCHLISTS} already, the most there may be; delete one"

    def _listed(
        self, watchlist: str, tokens: Mapping[int, int | str], refused: list[Refusal]
    ) -> Mapping[int, int | str]:
        """Without invented tokens, which would use the capacity up and never send a tick.

        What the settings name and what is subscribed already is never in doubt: a list may be bad.
        """
        if watchlist.startswith(OWN) or not len(self.names):
            return tokens
        known: dict[int, int | str] = {}
        for token, written in tokens.items():
            if (
                isinstance(written, str)
                or token in self.subscriptions
                or self.names.symbol(token) is not None
            ):
                known[token] = written
            else:
                refused.append(Refusal(written, _UNLISTED))
        return known

    def _within_bounds(
        self, watchlist: str, tokens: Mapping[int, int | str]
    ) -> tuple[Mapping[int, int | str], list[Refusal]]:
        """What the watchlist may claim, and what is beyond the bounds of claims.

        The settings' own watchlists have no such bounds: what the settings name is bounded by them.
        """
        if watchlist.startswith(OWN):
            return tokens, []
        left = MAX_CLAIMS - self.subscriptions.claims
        quota = self.layout.watchlist_quota
        room = math.inf if quota is None else quota - len(self.subscriptions.claimed(watchlist))
        within: dict[int, int | str] = {}
        beyond: list[Refusal] = []
        for token, written in tokens.items():
            subscription = self.subscriptions.get(token)
            claims = subscription.claims if subscription is not None else {}
            if watchlist not in claims:
                if len(claims) >= MAX_CLAIMS_OF_INSTRUMENT:
                    beyond.append(Refusal(written, _CLAIMED_BY_TOO_MANY))
                    continue
                if left <= 0:
                    beyond.append(Refusal(written, _TOO_MANY_CLAIMS))
                    continue
                if room <= 0:
                    beyond.append(Refusal(written, f"watchlist {watchlist} {_FULL.format(quota)}"))
                    continue
                left -= 1
                room -= 1
            within[token] = written
        return within, beyond

    def _release(self, watchlist: str, token: int) -> None:
        subscription = self.subscriptions[token]
        claims = {name: mode for name, mode in subscription.claims.items() if name != watchlist}
        if claims:
            self._put(token, subscription._replace(claims=claims))
        else:
            self._remove(token)

    def _unsubscribe(self, command: Unsubscribe) -> Answer:
        tokens, refused = self._resolve(command.instruments, command.watchlist)
        accepted = 0
        for token, written in tokens.items():
            subscription = self.subscriptions.get(token)
            if subscription is None or command.watchlist not in subscription.claims:
                refused.append(Refusal(written, f"not in watchlist {command.watchlist}"))
            else:
                self._release(command.watchlist, token)
                accepted += 1
        return Answer(accepted, refused)

    def _set_mode(self, command: SetMode) -> Answer:
        watchlist, refused = command.watchlist, list[Refusal]()
        tokens: Mapping[int, int | str]
        if command.instruments is None:
            tokens = {token: token for token in self.subscriptions.claimed(watchlist)}
            if not tokens:
                return Answer(errors=(f"watchlist: {watchlist} has no instruments",))
        else:
            tokens, refused = self._resolve(command.instruments, watchlist)
        accepted = 0
        for token, written in tokens.items():
            subscription = self.subscriptions.get(token)
            if subscription is None or watchlist not in subscription.claims:
                refused.append(Refusal(written, f"not in watchlist {watchlist}"))
                continue
            accepted += 1
            if subscription.claims[watchlist] is not command.mode:
                claims = {**subscription.claims, watchlist: command.mode}
                self._put(token, subscription._replace(claims=claims))
        return Answer(accepted, refused)

    def _replace(self, command: Replace) -> Answer:
        tokens, refused = self._resolve(command.instruments, command.watchlist)
        if refused and not tokens:
            # else a master that is not loaded yet would empty the watchlist
            return Answer(refused=refused)
        for token in self.subscriptions.claimed(command.watchlist):
            if token not in tokens:
                self._release(command.watchlist, token)
        return self._claim(command, tokens, refused)

    # slots

    def _reconnect(self, command: Reconnect) -> Answer:
        if command.slot not in self.layout.slots:
            slots = ", ".join(map(str, self.layout.slots))
            return Answer(errors=(f"slot: there is no slot {command.slot}; there are {slots}",))
        value = reconnect_value(command.id, self.now_ms)
        return Answer(1, extra=(Record(command.slot, RECONNECT_KEY, value),))

    def _rebalance(self) -> Answer:
        self._place_unplaced()
        loads = self.loads
        placed = {
            token: subscription.slot
            for token, subscription in self._oldest_first()
            if subscription.slot in loads
        }
        try:
            moves = allocation.rebalance(placed, self.layout.slots, self.layout.capacity)
        except CapacityError as error:
            return Answer(errors=(str(error),))
        for token, slot in moves.items():
            self._move(token, slot)
        return Answer(len(moves))

    def _place_unplaced(self) -> None:
        """Move the instruments of slots that are no more to others, as soon as there is room."""
        loads = self.loads
        if not (self.subscriptions.carried.keys() - loads.keys()) or not any(
            load < self.layout.capacity for load in loads.values()
        ):
            return
        unplaced = [
            token for token, subscription in self._oldest_first() if subscription.slot not in loads
        ]
        placed, _ = allocation.place(unplaced, loads, self.layout.capacity)
        for token, slot in placed.items():
            self._move(token, slot)

    def _oldest_first(self) -> list[tuple[int, Subscription]]:
        """Return all subscriptions, least recently changed first: an order of the log."""
        return sorted(self.subscriptions.items(), key=lambda entry: (entry[1].revision, entry[0]))

    # names

    def _refresh(self, *, accept_list: bool) -> Answer:
        """Give each symbol its token of today.

        A claim ends only for a reason: the instrument's last trading day is over and the list has
        it no more, or an operator accepts a list without it. What a list merely lacks is kept, and
        found again when its name is back.
        """
        if not len(self.names):
            return Answer(errors=("the instrument master is not loaded",))
        today = _day_in_india(self.now_ms)
        renamed: list[tuple[int, int, Subscription]] = []
        ended: list[tuple[int, Subscription]] = []
        refused: list[Refusal] = []
        kept = 0
        for token, subscription in list(self.subscriptions.items()):
            symbol = subscription.symbol
            listed = () if symbol is None else self.names.listed(symbol)
            if symbol is None or token in listed:
                self._learn(token, symbol)
                kept += 1
            elif len(listed) == 1:
                renamed.append((token, listed[0], subscription))
            elif listed:
                refused.append(_ambiguous(symbol, listed))
            elif (expiry := subscription.expiry) is not None and expiry < today:
                ended.append((token, subscription))
                refused.append(Refusal(symbol, f"expired on {expiry}"))
            elif accept_list:
                ended.append((token, subscription))
                refused.append(Refusal(symbol, "ended: not in the list that was accepted"))
            else:
                refused.append(Refusal(symbol, "not in today's list: its claims are kept"))
        # all old tokens go before any new one comes: a token may pass from one name to another
        for token, _ in ended:
            self._remove(token)
        for token, _, _ in renamed:
            self._remove(token)
        for _, token, subscription in renamed:
            self._adopt(token, subscription)
            self._learn(token, subscription.symbol)
        events = [
            self._event(EventType.INSTRUMENT_EXPIRED, subscription.slot, (token,), subscription)
            for token, subscription in ended
        ] + [
            self._event(EventType.INSTRUMENT_CHANGED, subscription.slot, (old, new), subscription)
            for old, new, subscription in renamed
        ]
        return Answer(kept + len(renamed), refused, events=tuple(events))

    def _learn(self, token: int, symbol: str | None) -> None:
        """Note a subscription's name and last trading day, as far as the list knows them."""
        subscription = self.subscriptions[token]
        if subscription.symbol is None and (name := self.names.symbol(token) or symbol) is not None:
            self._put(token, subscription := subscription._replace(symbol=name))
        known, expiry = subscription.expiry, self.names.expiry(token)
        if expiry is None or expiry == known:
            return
        today = _day_in_india(self.now_ms)
        if known is not None and expiry < today <= known:
            return  # a list that names it cannot mean that it was over before its day
        self._put(token, subscription._replace(expiry=expiry))

    def _adopt(self, token: int, subscription: Subscription) -> None:
        """Carry on under a new token, in the same slot; where it is wanted already, as one."""
        if (present := self.subscriptions.get(token)) is not None:
            claims = dict(present.claims)
            for watchlist, mode in subscription.claims.items():
                claims[watchlist] = max(
                    mode, claims.get(watchlist, mode), key=lambda either: either.rank
                )
            self._put(token, present._replace(claims=claims, symbol=subscription.symbol))
            return
        self._put(token, subscription)

    def _event(
        self, kind: EventType, slot: int, tokens: tuple[int, ...], subscription: Subscription
    ) -> ConnectionEvent:
        return ConnectionEvent(
            kind, slot, self.now_ms, reason=subscription.symbol or "", tokens=tokens
        )

    # the draft's own bookkeeping

    @property
    def loads(self) -> dict[int, int]:
        """The number of instruments in each slot that there is."""
        carried = self.subscriptions.carried
        return {slot: carried.get(slot, 0) for slot in self.layout.slots}

    def _put(self, token: int, subscription: Subscription) -> None:
        self.subscriptions.put(token, subscription)
        self.touched[token] = None

    def _remove(self, token: int) -> None:
        self.subscriptions.remove(token)
        self.touched[token] = None

    def _move(self, token: int, slot: int) -> None:
        self._put(token, self.subscriptions[token]._replace(slot=slot))


def status(state: State, after: str | None = None) -> StatusPayload:
    """What the cluster is to stream, counted; one page of its watchlists.

    Args:
        state: what is counted.
        after: only watchlists behind this one, in the order of their names.
    """
    subscriptions, layout = state.subscriptions, state.layout
    behind = (name for name in subscriptions.watchlists if after is None or name > after)
    page = heapq.nsmallest(STATUS_WATCHLISTS + 1, behind)
    more = len(page) > STATUS_WATCHLISTS
    page = page[:STATUS_WATCHLISTS]
    carried = subscriptions.carried
    return StatusPayload(
        instruments=len(subscriptions),
        capacity=layout.total,
        slots=tuple(
            SlotStatus(
                slot=slot,
                instruments=carried.get(slot, 0),
                capacity=layout.capacity if slot in layout.slots else 0,
            )
            for slot in sorted({*layout.slots, *carried})
        ),
        watchlists={name: len(subscriptions.watchlists[name]) for name in page},
        after=page[-1] if more else None,
        modes={str(mode): count for mode, count in sorted(subscriptions.modes.items())},
        unplaced=sum(n for slot, n in carried.items() if slot not in layout.slots),
    )


def _day_in_india(now_ms: int) -> date:
    return datetime.fromtimestamp(now_ms / 1000, IST).date()


def _ambiguous(symbol: str, tokens: Sequence[int]) -> Refusal:
    shown = ", ".join(map(str, tokens))
    return Refusal(symbol, f"ambiguous: the list has it for the tokens {shown}; give the token")
