"""What each type of command does to the subscriptions. Pure, as the reducer that uses it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final, NamedTuple

from connector.control.bounds import (
    MAX_CHANGES,
    MAX_CLAIMS,
    MAX_CLAIMS_OF_INSTRUMENT,
    MAX_WATCHLISTS,
)
from connector.control.claims import Claim, changed, claimed, has_to_move, without_conflicts
from connector.control.commands import (
    ChangeStep,
    Command,
    DeleteStep,
    Pause,
    Rebalance,
    Reconnect,
    RefreshInstruments,
    Refusal,
    Replace,
    Resume,
    SetModeStep,
    Status,
    StatusPayload,
    StepSequence,
    Stop,
    SubscribeStep,
    UnsubscribeStep,
)
from connector.control.halts import apply_halt, halt_records
from connector.control.placement import even_moves, loads, no_room, waiting_moves
from connector.control.records import (
    OWN,
    RECONNECT_KEY,
    Record,
    Subscription,
    reconnect_value,
)
from connector.control.state import Names, State
from connector.control.status import status
from connector.kite.clock import IST
from connector.kite.feed import allocation
from connector.kite.wire.models import ConnectionEvent, EventType, Exchange, Mode

_CLAIMED_BY_TOO_MANY: Final = (
    f"{MAX_CLAIMS_OF_INSTRUMENT} watchlists claim it already, the most that may"
)
_UNLISTED: Final = "not in the loaded list of instruments; `unlisted` accepts it all the same"
_FULL: Final = "may claim {} instruments (cluster.watchlist_max_instruments)"
_TOO_MANY_CLAIMS: Final = f"there are {MAX_CLAIMS} claims already, the most there may be"
_NOT_MOVED: Final = (
    "account: not all that the watchlist has can be carried there, so nothing was changed"
)
_NOTHING_CHANGED: Final = "a sequence is done in full or not at all: nothing was changed"
_TOO_MANY_CHANGES: Final = (
    f"with it the steps change more than {MAX_CHANGES} claims, the most a command may"
)
_SEGMENTS: Final = frozenset(exchange.value for exchange in Exchange)
_NO_CLAIMS: Final[Mapping[str, Mode]] = {}


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
        self.halted = before.halted

    def apply(self, command: Command) -> Answer:
        """Change the draft as the command says."""
        match command:
            case SubscribeStep() | UnsubscribeStep() | SetModeStep() | DeleteStep():
                return self._change(command)
            case StepSequence():
                return self._all_or_none(command)
            case Replace():
                return self._replace(command)
            case Pause() | Stop() | Resume():
                return self._halt(command)
            case Reconnect():
                return self._reconnect(command)
            case Rebalance():
                return self._rebalance()
            case RefreshInstruments():
                return self._refresh(accept_list=command.accept_list)
            case Status():
                return Answer(payload=status(self.before, command.after))

    def _change(self, step: ChangeStep) -> Answer:
        match step:
            case SubscribeStep():
                return self._subscribe(step)
            case UnsubscribeStep():
                return self._unsubscribe(step)
            case SetModeStep():
                return self._set_mode(step)
            case DeleteStep():
                claimed = self.subscriptions.claimed(step.watchlist)
                if not claimed:
                    return Answer(errors=(f"watchlist: {step.watchlist} has no instruments",))
                self._release(step.watchlist, claimed)
                return Answer(len(claimed))

    def _all_or_none(self, command: StepSequence) -> Answer:
        """Do all steps; one that is not done in full is the end of all."""
        answers: list[Answer] = []
        changes = 0
        for number, step in enumerate(command.steps):
            answers.append(self._change(step))
            changes += answers[-1].accepted
            if changes > MAX_CHANGES:
                return Answer(errors=(f"steps[{number}]: {_TOO_MANY_CHANGES}", _NOTHING_CHANGED))
        errors = tuple(
            f"steps[{number}]: {error}"
            for number, answer in enumerate(answers)
            for error in answer.errors
        )
        refused = [refusal for answer in answers for refusal in answer.refused]
        if errors or refused:
            return Answer(refused=refused, errors=(*errors, _NOTHING_CHANGED))
        return Answer(sum(answer.accepted for answer in answers))

    def _halt(self, command: Pause | Stop | Resume) -> Answer:
        halting = apply_halt(self.layout, self.halted, command, self.now_ms)
        self.halted = halting.halted
        return Answer(len(halting.slots), errors=halting.errors, events=halting.events)

    def finish(self) -> tuple[State, tuple[Record, ...]]:
        """Place the instruments that wait for room, then return the difference."""
        self._move(waiting_moves(self.subscriptions, self.layout))
        touched = self.subscriptions.changed
        records: list[Record] = []
        gone: list[Record] = []
        moved: list[Record] = []
        same: dict[int, Subscription] = {}
        for (token, old), new in zip(
            touched.items(), self.subscriptions.get_all(touched), strict=True
        ):
            if new is None:
                if old is not None:
                    gone.append(Record(old.slot, str(token), None))
                continue
            if old is not None:
                if _alike(old, new):
                    same[token] = old
                    continue
                if new.slot != old.slot:
                    moved.append(Record(old.slot, str(token), None, new.slot))
            records.append(Record(new.slot, str(token), new.encoded(token)))
        halts = halt_records(self.before.halted, self.halted)
        if not (records or gone):
            return (replace(self.before, halted=self.halted) if halts else self.before), halts
        self.subscriptions.change(same)
        state = replace(
            self.before,
            subscriptions=self.subscriptions.finish(),
            progress=self.before.progress._replace(revision=self.revision),
            halted=self.halted,
        )
        return state, (*gone, *records, *moved, *halts)

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
            if token & 0xFF not in _SEGMENTS:
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

    def _subscribe(self, step: SubscribeStep) -> Answer:
        watchlist, account = step.watchlist, step.account
        if account is not None and (wrong := self.layout.no_account(account)):
            return Answer(errors=(wrong,))
        held = self.subscriptions.account_of(watchlist)
        if account is None:
            account = held
        elif account != held and self.subscriptions.has_watchlist(watchlist):
            where = "no account" if held is None else f"account {held}"
            return Answer(
                errors=(
                    f"account: watchlist {watchlist} is on {where}; replace it, or use another",
                )
            )
        tokens, refused = self._resolve(step.instruments, watchlist)
        return self._claim(step, account, tokens, refused)

    def _claim(
        self,
        command: SubscribeStep | Replace,
        account: str | None,
        tokens: Mapping[int, int | str],
        refused: list[Refusal],
    ) -> Answer:
        watchlist = command.watchlist
        wrong = self._no_more_watchlists(watchlist)
        if account is not None:
            wrong = wrong or self.layout.no_account(account)
        if wrong:
            return Answer(errors=(wrong,))
        known = self._known(tokens)
        if not command.unlisted:
            tokens = self._listed(watchlist, tokens, known, refused)
        tokens, beyond = self._within_bounds(watchlist, tokens, known)
        tokens, elsewhere = without_conflicts(watchlist, account, tokens, known)
        slots = self.layout.slots_of(account)
        homeless = [
            token
            for token in tokens
            if (old := known.get(token)) is None or has_to_move(old, watchlist, account, slots)
        ]
        placed, unplaced = allocation.place(
            homeless, loads(self.subscriptions, slots), self.layout.capacity
        )
        full = no_room(self.layout, account)
        refused += [*beyond, *elsewhere, *(Refusal(tokens[token], full) for token in unplaced)]
        left_out = frozenset(unplaced)
        wanted = claimed(
            {token: known.get(token) for token in tokens if token not in left_out},
            placed,
            Claim(watchlist, command.mode, account),
            self.revision,
        )
        self._learn(wanted, tokens)
        self.subscriptions.change(
            {token: one for token, one in wanted.items() if one is not known.get(token)}
        )
        return Answer(len(wanted), refused)

    def _no_more_watchlists(self, watchlist: str) -> str | None:
        """Explain why there can be no further watchlist; None where that is not so."""
        known = watchlist.startswith(OWN) or self.subscriptions.has_watchlist(watchlist)
        if known or self.subscriptions.watchlist_count() < MAX_WATCHLISTS:
            return None
        return f"watchlist: there are {MAX_WATCHLISTS} already, the most there may be; delete one"

    def _listed(
        self,
        watchlist: str,
        tokens: Mapping[int, int | str],
        known: Mapping[int, Subscription],
        refused: list[Refusal],
    ) -> Mapping[int, int | str]:
        """Without invented tokens, which would use the capacity up and never send a tick.

        What the settings name and what is subscribed already is never in doubt: a list may be bad.
        """
        if watchlist.startswith(OWN) or not len(self.names):
            return tokens
        listed: dict[int, int | str] = {}
        for token, written in tokens.items():
            if isinstance(written, str) or token in known or self.names.symbol(token) is not None:
                listed[token] = written
            else:
                refused.append(Refusal(written, _UNLISTED))
        return listed

    def _within_bounds(
        self,
        watchlist: str,
        tokens: Mapping[int, int | str],
        known: Mapping[int, Subscription],
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
            subscription = known.get(token)
            claims = subscription.claims if subscription is not None else _NO_CLAIMS
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

    def _release(self, watchlist: str, tokens: Sequence[int]) -> None:
        """End the watchlist's claims on these instruments, which it has on each."""
        wanted: dict[int, Subscription | None] = {}
        for token, old in self._known(tokens).items():
            left = {name: mode for name, mode in old.claims.items() if name != watchlist}
            wanted[token] = changed(old, left, self.revision) if left else None
        self.subscriptions.change(wanted)

    def _unsubscribe(self, command: UnsubscribeStep) -> Answer:
        tokens, refused = self._resolve(command.instruments, command.watchlist)
        claimed = self._claimed(command.watchlist, tokens, refused)
        self._release(command.watchlist, list(claimed))
        return Answer(len(claimed), refused)

    def _claimed(
        self, watchlist: str, tokens: Mapping[int, int | str], refused: list[Refusal]
    ) -> dict[int, Subscription]:
        """Return those of these instruments that the watchlist claims; refuse the others."""
        known, claimed = self._known(tokens), dict[int, Subscription]()
        for token, written in tokens.items():
            subscription = known.get(token)
            if subscription is None or watchlist not in subscription.claims:
                refused.append(Refusal(written, f"not in watchlist {watchlist}"))
            else:
                claimed[token] = subscription
        return claimed

    def _set_mode(self, command: SetModeStep) -> Answer:
        watchlist, refused = command.watchlist, list[Refusal]()
        tokens: Mapping[int, int | str]
        if command.instruments is None:
            tokens = {token: token for token in self.subscriptions.claimed(watchlist)}
            if not tokens:
                return Answer(errors=(f"watchlist: {watchlist} has no instruments",))
        else:
            tokens, refused = self._resolve(command.instruments, watchlist)
        claimed = self._claimed(watchlist, tokens, refused)
        self.subscriptions.change(
            {
                token: changed(old, {**old.claims, watchlist: command.mode}, self.revision)
                for token, old in claimed.items()
                if old.claims[watchlist] is not command.mode
            }
        )
        return Answer(len(claimed), refused)

    def _replace(self, command: Replace) -> Answer:
        tokens, refused = self._resolve(command.instruments, command.watchlist)
        if refused and not tokens:
            # else a master that is not loaded yet would empty the watchlist
            return Answer(refused=refused)
        claimed = self.subscriptions.claimed(command.watchlist)
        self._release(command.watchlist, [token for token in claimed if token not in tokens])
        left = self.subscriptions.account_of(command.watchlist)
        answer = self._claim(command, command.account, tokens, refused)
        if left != command.account and any(
            one.accounts.get(command.watchlist) != command.account
            for one in self._known(self.subscriptions.claimed(command.watchlist)).values()
        ):
            # half a watchlist on another account is none that anybody asked for
            return answer._replace(accepted=0, errors=(*answer.errors, _NOT_MOVED))
        return answer

    # slots

    def _reconnect(self, command: Reconnect) -> Answer:
        if command.slot not in self.layout.slots:
            slots = ", ".join(map(str, self.layout.slots))
            return Answer(errors=(f"slot: there is no slot {command.slot}; there are {slots}",))
        value = reconnect_value(command.id, self.now_ms)
        return Answer(1, extra=(Record(command.slot, RECONNECT_KEY, value),))

    def _rebalance(self) -> Answer:
        self._move(waiting_moves(self.subscriptions, self.layout))
        moves = even_moves(self.subscriptions, self.layout)
        self._move(moves)
        return Answer(len(moves))

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
        kept: dict[int, Subscription] = {}
        renamed: list[tuple[int, int, Subscription]] = []
        ended: list[tuple[int, Subscription]] = []
        refused: list[Refusal] = []
        for token, subscription in self.subscriptions.items():
            symbol = subscription.symbol
            listed = () if symbol is None else self.names.listed(symbol)
            if symbol is None or token in listed:
                kept[token] = subscription
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
        learnt = dict(kept)
        self._learn(learnt, {})
        self.subscriptions.change(
            {token: one for token, one in learnt.items() if one is not kept[token]}
        )
        # all old tokens go before any new one comes: a token may pass from one name to another
        over = [token for token, _ in ended] + [token for token, _, _ in renamed]
        self.subscriptions.change(dict.fromkeys(over))
        for _, token, subscription in renamed:
            adopted = {token: self._adopted(token, subscription)}
            self._learn(adopted, {})
            self.subscriptions.change(adopted)
        events = [
            self._event(EventType.INSTRUMENT_EXPIRED, subscription.slot, (token,), subscription)
            for token, subscription in ended
        ] + [
            self._event(EventType.INSTRUMENT_CHANGED, subscription.slot, (old, new), subscription)
            for old, new, subscription in renamed
        ]
        return Answer(len(kept) + len(renamed), refused, events=tuple(events))

    def _learn(self, wanted: dict[int, Subscription], written: Mapping[int, int | str]) -> None:
        """Note names and last trading days of subscriptions, as far as the list knows them.

        Args:
            wanted: changed in place.
            written: token to the instrument as a command wrote it.
        """
        today = _day_in_india(self.now_ms)
        name_of, expiry_of = self.names.symbol, self.names.expiry
        for token, subscription in wanted.items():
            symbol, known = subscription.symbol, subscription.expiry
            if symbol is None and (symbol := name_of(token)) is None:
                name = written.get(token)
                symbol = name if isinstance(name, str) else None
            expiry = expiry_of(token)
            if expiry is None or (known is not None and expiry < today <= known):
                expiry = known  # a list that names it cannot mean that it was over before its day
            if symbol != subscription.symbol or expiry != known:
                slot, claims, accounts = (
                    subscription.slot,
                    subscription.claims,
                    subscription.accounts,
                )
                wanted[token] = Subscription(slot, claims, symbol, self.revision, expiry, accounts)

    def _adopted(self, token: int, subscription: Subscription) -> Subscription:
        """Return it under a new token, in the same slot; where that is wanted already, as one."""
        if (present := self.subscriptions.get(token)) is None:
            return subscription._replace(revision=self.revision)
        claims = dict(present.claims)
        for watchlist, mode in subscription.claims.items():
            claims[watchlist] = max(
                mode, claims.get(watchlist, mode), key=lambda either: either.rank
            )
        adopted: Subscription = present._replace(
            claims=claims,
            symbol=subscription.symbol,
            revision=self.revision,
            accounts={**present.accounts, **subscription.accounts},
        )
        return adopted

    def _event(
        self, kind: EventType, slot: int, tokens: tuple[int, ...], subscription: Subscription
    ) -> ConnectionEvent:
        return ConnectionEvent(
            kind, slot, self.now_ms, reason=subscription.symbol or "", tokens=tokens
        )

    # the draft's own bookkeeping

    def _known(self, tokens: Collection[int]) -> dict[int, Subscription]:
        """Return those of these instruments that are subscribed."""
        found = zip(tokens, self.subscriptions.get_all(tokens), strict=True)
        return {token: one for token, one in found if one is not None}

    def _move(self, slots: Mapping[int, int]) -> None:
        self.subscriptions.change(
            {
                token: self.subscriptions[token]._replace(slot=slot, revision=self.revision)
                for token, slot in slots.items()
            }
        )


def _alike(old: Subscription, new: Subscription) -> bool:
    """Whether a change has left everything as it was."""
    return (
        old.slot == new.slot
        and old.claims == new.claims
        and old.symbol == new.symbol
        and old.expiry == new.expiry
        and tuple(old.accounts.items()) == tuple(new.accounts.items())
    )


def _day_in_india(now_ms: int) -> date:
    return datetime.fromtimestamp(now_ms / 1000, IST).date()


def _ambiguous(symbol: str, tokens: Sequence[int]) -> Refusal:
    shown = ", ".join(map(str, tokens))
    return Refusal(symbol, f"ambiguous: the list has it for the tokens {shown}; give the token")
