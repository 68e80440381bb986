"""What each type of command does to the subscriptions. Pure, as the reducer that uses it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final

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
    DeleteRuleStep,
    DeleteStep,
    Pause,
    Rebalance,
    Reconnect,
    RefreshInstruments,
    Replace,
    Resume,
    SetLimitsStep,
    SetModeStep,
    SetRuleStep,
    Status,
    StepSequence,
    Stop,
    SubscribeStep,
    UnsubscribeStep,
)
from connector.control.expansion import NO_PRICES
from connector.control.halts import apply_halt, halt_records
from connector.control.held_rules import HeldRule, KeepRule, rule_records, without
from connector.control.limits import USUAL, Limits, displace, limits_records, together
from connector.control.placement import even_moves, loads, no_room, waiting_moves
from connector.control.records import (
    OWN,
    RECONNECT_KEY,
    StateRecord,
    Subscription,
    reconnect_value,
)
from connector.control.renaming import ambiguous, learn, no_segment, refresh
from connector.control.reply import Answer, Refusal
from connector.control.rule_changes import delete_rule, keep_rule, set_rule
from connector.control.rules import watchlist_of
from connector.control.state import State
from connector.control.status import status
from connector.kite.clock import IST
from connector.kite.feed import allocation
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import SEGMENTS, Mode

_CLAIMED_BY_TOO_MANY: Final = (
    f"{MAX_CLAIMS_OF_INSTRUMENT} watchlists claim it already, the most that may"
)
_UNLISTED: Final = "not in the loaded list of instruments; `unlisted` accepts it all the same"
_TOO_MANY_WATCHLISTS: Final = (
    f"watchlist: there are {MAX_WATCHLISTS} already, the most there may be; delete one"
)
_TOO_MANY_CLAIMS: Final = f"there are {MAX_CLAIMS} claims already, the most there may be"
_NOT_MOVED: Final = (
    "account: not all that the watchlist has can be carried there, so nothing was changed"
)
_NOTHING_CHANGED: Final = "a sequence is done in full or not at all: nothing was changed"
_TOO_MANY_CHANGES: Final = (
    f"with it the steps change more than {MAX_CHANGES} claims, the most a command may"
)
_NO_CLAIMS: Final[Mapping[str, Mode]] = {}


class Draft:
    """The state while one command is applied to it."""

    def __init__(
        self,
        before: State,
        names: InstrumentMaster,
        now_ms: int,
        prices: Mapping[int, float] = NO_PRICES,
    ) -> None:
        # left as it is: what fails is given up by going on from here
        self.before = before
        self.layout = before.layout
        self.names = names
        self.now_ms = now_ms
        # what is changed is marked with it at once; it counts only where `finish` finds a
        # difference
        self.revision = before.revision + 1
        # changed in place, but for what `before` shares with it
        self.subscriptions = before.subscriptions.draft()
        self.halted = before.halted
        self.prices = prices
        # these two are replaced, never changed in place: by identity `finish` sees that nothing is
        # new
        self.rules: Mapping[str, HeldRule] = before.rules
        self.limits: Mapping[str, Limits] = before.limits

    @property
    def today(self) -> date:
        """The day in India."""
        return datetime.fromtimestamp(self.now_ms / 1000, IST).date()

    def apply(self, command: Command | KeepRule) -> Answer:
        """Change the draft as the command says."""
        match command:
            case (
                SubscribeStep()
                | UnsubscribeStep()
                | SetModeStep()
                | DeleteStep()
                | SetRuleStep()
                | DeleteRuleStep()
                | SetLimitsStep()
            ):
                answer = self._change(command)
                # up to 5000 names, which only somebody who tries a rule wants to read
                return answer if command.dry_run else answer._replace(matched=None)
            case KeepRule():
                return keep_rule(self, command.claimant)
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
                return refresh(self, accept_list=command.accept_list)
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
            case SetRuleStep():
                return set_rule(self, step)
            case DeleteRuleStep():
                return delete_rule(self, step)
            case SetLimitsStep():
                return self._set_limits(step)
            case DeleteStep():
                return self._delete(step.watchlist)

    def _set_limits(self, step: SetLimitsStep) -> Answer:
        """Set the limits of a watchlist; what it has beyond a quota, it keeps."""
        limits = Limits(step.quota, step.priority)
        if limits == USUAL:
            self.limits = without(self.limits, [step.watchlist])
        elif step.watchlist not in self.limits and len(self.limits) >= MAX_WATCHLISTS:
            return Answer(errors=(_TOO_MANY_WATCHLISTS,))
        else:
            self.limits = {**self.limits, step.watchlist: limits}
        return Answer(len(self.held_by(step.watchlist)))

    def _delete(self, watchlist: str) -> Answer:
        """End a watchlist with its rules and limits; each instrument counts once."""
        rules = self.rules_of(watchlist)
        claimed = self.held_by(watchlist)
        if not (claimed or rules or watchlist in self.limits):
            return Answer(errors=(f"watchlist: {watchlist} has no instruments",))
        for claimant in (watchlist, *rules):
            self.release(claimant, self.subscriptions.claimed(claimant))
        self.rules = without(self.rules, rules)
        self.limits = without(self.limits, [watchlist])
        return Answer(len(claimed))

    def rules_of(self, watchlist: str) -> list[str]:
        """Return the claimants that are rules of a watchlist."""
        return [claimant for claimant in self.rules if watchlist_of(claimant) == watchlist]

    def held_by(self, watchlist: str) -> set[int]:
        """Return what a watchlist claims, by itself and by its rules."""
        claimants = (watchlist, *self.rules_of(watchlist))
        return {token for one in claimants for token in self.subscriptions.claimed(one)}

    def _all_or_none(self, command: StepSequence) -> Answer:
        """Do all steps; one that is not done in full is the end of all."""
        answers: list[Answer] = []
        changes = 0
        for number, step in enumerate(command.steps):
            answers.append(self._change(step))
            changes += answers[-1].accepted
            if changes > MAX_CHANGES:
                # nothing has to be undone here or below: the reducer drops the draft of an answer
                # that failed
                return Answer(errors=(f"steps[{number}]: {_TOO_MANY_CHANGES}", _NOTHING_CHANGED))
        errors = tuple(
            f"steps[{number}]: {error}"
            for number, answer in enumerate(answers)
            for error in answer.errors
        )
        refused = [refusal for answer in answers for refusal in answer.refused]
        if errors or refused:
            return Answer(refused=refused, errors=(*errors, _NOTHING_CHANGED))
        return Answer(
            sum(answer.accepted for answer in answers),
            events=tuple(event for answer in answers for event in answer.events),
            displaced=together(answer.displaced for answer in answers),
        )

    def _halt(self, command: Pause | Stop | Resume) -> Answer:
        halting = apply_halt(self.layout, self.halted, command, self.now_ms)
        self.halted = halting.halted
        return Answer(len(halting.slots), errors=halting.errors, events=halting.events)

    def finish(self) -> tuple[State, tuple[StateRecord, ...]]:
        """Place the instruments that wait for room, then return the difference."""
        # whatever a command was: it may have made the room that others wait for
        self._move(waiting_moves(self.subscriptions, self.layout))
        touched = self.subscriptions.changed
        records: list[StateRecord] = []
        gone: list[StateRecord] = []
        moved: list[StateRecord] = []
        same: dict[int, Subscription] = {}
        for (token, old), new in zip(
            touched.items(), self.subscriptions.get_all(touched), strict=True
        ):
            if new is None:
                if old is not None:
                    gone.append(StateRecord(old.slot, str(token), None))
                continue
            if old is not None:
                # changed to and fro within the command: neither a record nor a new revision
                if _alike(old, new):
                    same[token] = old
                    continue
                if new.slot != old.slot:
                    moved.append(StateRecord(old.slot, str(token), None, new.slot))
            records.append(StateRecord(new.slot, str(token), new.encoded(token)))
        rules, redefined = rule_records(self.before.rules, self.rules)
        limits = limits_records(self.before.limits, self.limits)
        others = (*rules, *limits, *halt_records(self.before.halted, self.halted))
        if not (records or gone or others):
            return self.before, ()
        state = replace(self.before, halted=self.halted, rules=self.rules, limits=self.limits)
        # a halt, or what a rule notes of itself, is no change of what is subscribed: no new
        # revision, by which `expected_revision` of others would fail
        if records or gone or redefined or limits:
            # back to the very objects of before, with the revisions that their records have
            self.subscriptions.change(same)
            progress = self.before.progress._replace(revision=self.revision)
            subscriptions = self.subscriptions.finish()
            state = replace(state, subscriptions=subscriptions, progress=progress)
        return state, (*gone, *records, *moved, *others)

    def undo(self) -> None:
        """Take back what was changed of subscriptions and rules."""
        self.subscriptions = self.before.subscriptions.draft()
        self.rules = self.before.rules

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
            # Kite's segment is the token's low byte: the feed has no prices of others, nor a topic
            # for them
            if token & 0xFF not in SEGMENTS:
                refused.append(Refusal(instrument, no_segment(token)))
                continue
            # named twice, by symbol and token, it is one instrument: the first spelling is answered
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
        # what is claimed already stays what it is, whatever a list with two rows of one name says
        for token in (known, *listed):
            subscription = None if token is None else self.subscriptions.get(token)
            if token is not None and subscription and watchlist in subscription.claims:
                return token
        return ambiguous(symbol, listed)

    # claims

    def _subscribe(self, step: SubscribeStep) -> Answer:
        watchlist, account = step.watchlist, step.account
        if account is not None and (wrong := self.layout.no_account(account)):
            return Answer(errors=(wrong,))
        held = self.subscriptions.account_of(watchlist)
        if account is None:
            account = held
        # a watchlist is on one account as a whole: any of its claims tells which
        elif account != held and self.subscriptions.has_watchlist(watchlist):
            where = "no account" if held is None else f"account {held}"
            return Answer(
                errors=(
                    f"account: watchlist {watchlist} is on {where}; replace it, or use another",
                )
            )
        tokens, refused = self._resolve(step.instruments, watchlist)
        return self.claim(step, account, tokens, refused)

    def claim(
        self,
        command: SubscribeStep | Replace,
        account: str | None,
        tokens: Mapping[int, int | str],
        refused: list[Refusal],
    ) -> Answer:
        """Claim instruments as far as there is room.

        Args:
            command: whose watchlist, or rule of one, claims them.
            account: where they are to be carried; None: anywhere.
            tokens: each with the instrument as it was written.
            refused: those that were refused before.
        """
        watchlist = command.watchlist
        wrong = self._no_more_watchlists(watchlist)
        if account is not None:
            wrong = wrong or self.layout.no_account(account)
        if wrong:
            return Answer(errors=(wrong,))
        known = self._known(tokens)
        # the order of these checks is that of the reasons given: a token that is invented takes no
        # quota, and what a quota refuses is not looked for room
        if not command.unlisted:
            tokens = self._listed(watchlist, tokens, known, refused)
        tokens, beyond = self._within_bounds(watchlist, tokens, known)
        tokens, elsewhere = without_conflicts(watchlist, account, tokens, known)
        slots = self.layout.slots_of(account)
        to_place = [
            token
            for token in tokens
            if (old := known.get(token)) is None or has_to_move(old, watchlist, account, slots)
        ]
        placed, unplaced = allocation.place(
            to_place, loads(self.subscriptions, slots), self.layout.capacity
        )
        # only where nothing is free: what there is room for displaces nobody
        given_way = displace(self, watchlist, len(unplaced), slots, tokens)
        placed |= dict(zip(unplaced, given_way.slots, strict=False))
        unplaced = unplaced[len(given_way.slots) :]
        full = no_room(self.layout, account)
        refused += [*beyond, *elsewhere, *(Refusal(tokens[token], full) for token in unplaced)]
        # refused, and not queued: whoever asked may ask again
        left_out = frozenset(unplaced)
        wanted = claimed(
            {token: known.get(token) for token in tokens if token not in left_out},
            placed,
            Claim(watchlist, command.mode, account),
            self.revision,
        )
        learn(self, wanted, tokens)
        self.subscriptions.change(
            # `claimed` returns the same object for what is already so: a repeated command changes
            # nothing
            {token: one for token, one in wanted.items() if one is not known.get(token)}
        )
        return Answer(len(wanted), refused, events=given_way.events, displaced=given_way.displaced)

    def _no_more_watchlists(self, watchlist: str) -> str | None:
        """Explain why there can be no further watchlist; None where that is not so."""
        known = watchlist.startswith(OWN) or self.subscriptions.has_watchlist(watchlist)
        if known or self.subscriptions.watchlist_count() < MAX_WATCHLISTS:
            return None
        return _TOO_MANY_WATCHLISTS

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
        quota, of = self._quota(watchlist)
        held = set() if quota is None else self.held_by(watchlist_of(watchlist))
        room = math.inf if quota is None else quota - len(held)
        within: dict[int, int | str] = {}
        beyond: list[Refusal] = []
        for token, written in tokens.items():
            subscription = known.get(token)
            claims = subscription.claims if subscription is not None else _NO_CLAIMS
            # what it claims already is no further claim, in whatever mode
            if watchlist not in claims:
                if len(claims) >= MAX_CLAIMS_OF_INSTRUMENT:
                    beyond.append(Refusal(written, _CLAIMED_BY_TOO_MANY))
                    continue
                if left <= 0:
                    beyond.append(Refusal(written, _TOO_MANY_CLAIMS))
                    continue
                # what a rule of the watchlist has, or it and its rule both, counts once
                if room <= 0 and token not in held:
                    full = f"watchlist {watchlist_of(watchlist)} may claim {quota} instruments"
                    beyond.append(Refusal(written, f"{full} ({of})"))
                    continue
                left -= 1
                room -= token not in held
            within[token] = written
        return within, beyond

    def _quota(self, claimant: str) -> tuple[int | None, str]:
        """Return how many instruments a watchlist may claim, and what says so."""
        own = self.limits.get(watchlist_of(claimant), USUAL).quota
        of_all = self.layout.watchlist_quota
        if own is None or (of_all is not None and of_all < own):
            return of_all, "cluster.watchlist_max_instruments"
        return own, "its quota"

    def release(self, watchlist: str, tokens: Sequence[int]) -> None:
        """End the watchlist's claims on these instruments, which it has on each."""
        wanted: dict[int, Subscription | None] = {}
        for token, old in self._known(tokens).items():
            left = {name: mode for name, mode in old.claims.items() if name != watchlist}
            wanted[token] = changed(old, left, self.revision) if left else None
        self.subscriptions.change(wanted)

    def _unsubscribe(self, command: UnsubscribeStep) -> Answer:
        tokens, refused = self._resolve(command.instruments, command.watchlist)
        claimed = self._claimed(command.watchlist, tokens, refused)
        self.release(command.watchlist, list(claimed))
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
                own = " of its own; set-rule sets a rule's mode" if self.rules_of(watchlist) else ""
                return Answer(errors=(f"watchlist: {watchlist} has no instruments{own}",))
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
        # before the claims, since they may need the room; the records keep this order
        self.release(command.watchlist, [token for token in claimed if token not in tokens])
        # of what stays, before the claims below add theirs
        left = self.subscriptions.account_of(command.watchlist)
        answer = self.claim(command, command.account, tokens, refused)
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
        return Answer(1, extra=(StateRecord(command.slot, RECONNECT_KEY, value),))

    def _rebalance(self) -> Answer:
        self._move(waiting_moves(self.subscriptions, self.layout))
        # of what is where it belongs: so what was astray moves first
        moves = even_moves(self.subscriptions, self.layout)
        self._move(moves)
        return Answer(len(moves))

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
        # in order: the first account named is the one where it belongs
        and tuple(old.accounts.items()) == tuple(new.accounts.items())
    )
