"""What commands and the leader do to the rules of watchlists. Pure, as the draft that they change.

A rule claims under a name of its own, `<watchlist>#<name>`: its instruments are claimed beside
those of its watchlist, and what it gives up is still claimed by whoever else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from connector.control.bounds import MAX_RULES, excerpt
from connector.control.commands import DeleteRuleStep, SetRuleStep, SubscribeStep
from connector.control.expansion import NO_PRICES, Expansion, StrikeWindow, expand, is_whole
from connector.control.held_rules import HeldRule, without
from connector.control.reply import Answer, Refusal
from connector.control.rules import RULE_MARK, ChainRule, claimant_of
from connector.kite.feed.events import ConnectionEvent, EventType

if TYPE_CHECKING:
    from connector.control.draft import Draft

MAX_TOLD: Final = 100
"""An event names so many instruments."""
_KNOWN: Final = 10


def set_rule(draft: Draft, step: SetRuleStep) -> Answer:
    """Begin a rule, or give it another description; in full, or not at all."""
    claimant = claimant_of(step.watchlist, step.rule)
    before = draft.rules.get(claimant)
    if before is None and len(draft.rules) >= MAX_RULES:
        return Answer(errors=(f"rule: there are {MAX_RULES} already, the most there may be",))
    if step.account is not None and (wrong := draft.layout.no_account(step.account)):
        return Answer(errors=(wrong,))
    found = expand(
        step.claims, draft.names, draft.today, draft.prices, _window_for(step.claims, before)
    )
    if found.problem is not None:
        return Answer(errors=(f"rule: {found.problem}",))
    held = HeldRule(step.claims, step.mode, step.account)
    had = draft.subscriptions.claimed(claimant)
    claimed = _claim(draft, claimant, held, found, gone=_without(had, found.tokens))
    # the reducer drops the draft of an answer with errors, so what was claimed of it needs no
    # undoing
    if claimed.refused:
        reason = f"rule: {_refused(claimed.refused, found)}; nothing was changed"
        return Answer(refused=claimed.refused, errors=(reason,))
    # the time of the last move goes on with its window, and begins anew with another one
    moved_ms = draft.now_ms if found.window is not None else 0
    if before is not None and before.window == found.window:
        moved_ms = before.moved_ms
    waits = _waiting(draft, found)
    held = held._replace(window=found.window, spot=found.spot, problem=waits, moved_ms=moved_ms)
    draft.rules = {**draft.rules, claimant: held}
    return Answer(
        len(found.tokens),
        events=(*claimed.events, *_changed(draft, claimant, had)),
        displaced=claimed.displaced,
        waits=waits,
        matched=tuple(draft.names.symbol(token) or token for token in found.tokens),
    )


def delete_rule(draft: Draft, step: DeleteRuleStep) -> Answer:
    """End a rule and give up what it claims."""
    claimant = claimant_of(step.watchlist, step.rule)
    if claimant not in draft.rules:
        known = [one.partition(RULE_MARK)[2] for one in draft.rules_of(step.watchlist)]
        told = ", ".join(known[:_KNOWN]) + (" …" if len(known) > _KNOWN else "")
        has = f"; it has {told}" if known else ""
        return Answer(errors=(f"rule: watchlist {step.watchlist} has no rule {step.rule}{has}",))
    draft.rules = without(draft.rules, [claimant])
    had = draft.subscriptions.claimed(claimant)
    draft.release(claimant, had)
    return Answer(len(had), events=_changed(draft, claimant, had))


def keep_rule(draft: Draft, claimant: str) -> Answer:
    """Bring what a rule claims in line with the list, the day and the price.

    Where that cannot be, what it has stays, and the rule says why. What the list merely lacks is
    not given up, as everywhere: a list may be cut short. It ends with its last trading day.
    """
    before = draft.rules.get(claimant)
    if before is None:
        return Answer()
    # without prices `expand` leaves a window where it is, but takes up the list's changes
    prices = draft.prices if before.may_move(draft.now_ms) else NO_PRICES
    found = expand(before.rule, draft.names, draft.today, prices, before.window)
    if found.problem is not None:
        return _keep(draft, claimant, before, found.problem)
    had = draft.subscriptions.claimed(claimant)
    gone = [token for token in _without(had, found.tokens) if not _only_lacking(draft, token)]
    claimed = _claim(draft, claimant, before, found, gone=gone)
    if claimed.refused:
        # unlike an answer that failed this one is written: with the problem, and without the claims
        draft.undo()
        return _keep(draft, claimant, before, _refused(claimed.refused, found))
    after = before._replace(window=found.window, spot=found.spot, problem=_waiting(draft, found))
    if before.window is not None and after.window != before.window:
        after = after._replace(moved_ms=draft.now_ms)
    draft.rules = {**draft.rules, claimant: after}
    events = _changed(draft, claimant, had)
    # what was told with RULE_KEPT has its end told too, even where nothing came or went
    if not events and before.problem is not None and after.problem is None:
        events = (_event(draft, EventType.RULE_CHANGED, claimant, "it is followed again", ()),)
    return Answer(len(found.tokens), events=(*claimed.events, *events))


def _keep(draft: Draft, claimant: str, before: HeldRule, problem: str) -> Answer:
    """Leave a rule as it is, and say why it is not followed; told once."""
    if before.problem == problem:
        return Answer()
    draft.rules = {**draft.rules, claimant: before._replace(problem=problem)}
    return Answer(events=(_event(draft, EventType.RULE_KEPT, claimant, problem, ()),))


def _claim(
    draft: Draft, claimant: str, held: HeldRule, found: Expansion, *, gone: Sequence[int]
) -> Answer:
    """Give up and claim; where anything is refused, the draft is of no use."""
    draft.release(claimant, gone)
    step = SubscribeStep.model_construct(
        type="subscribe",
        watchlist=claimant,
        instruments=found.tokens,
        mode=held.mode,
        account=held.account,
        unlisted=False,
    )
    symbol = draft.names.symbol
    written = {token: symbol(token) or token for token in found.tokens}
    answer = draft.claim(step, held.account, written, [])
    errors = (Refusal(claimant, error) for error in answer.errors)
    return answer._replace(refused=[*answer.refused, *errors])


def _window_for(rule: object, before: HeldRule | None) -> StrikeWindow | None:
    """Return the window that a rule begins with: that of the chain of the same options before."""
    if before is None or not (isinstance(rule, ChainRule) and isinstance(before.rule, ChainRule)):
        return None
    same = (rule.underlying, rule.exchange, rule.spot) == (
        before.rule.underlying,
        before.rule.exchange,
        before.rule.spot,
    )
    return before.window if same else None


def _waiting(draft: Draft, found: Expansion) -> str | None:
    """Explain that a chain has no strikes yet."""
    if found.spot is None or found.window is not None:
        return None
    name = draft.names.symbol(found.spot) or found.spot
    return f"no price of {name} has come yet: its strikes follow with the first one"


def _without(had: Sequence[int], wanted: Sequence[int]) -> list[int]:
    kept = frozenset(wanted)
    return [token for token in had if token not in kept]


def _only_lacking(draft: Draft, token: int) -> bool:
    """Whether the list does not have, whole, an instrument whose last trading day is not over."""
    symbol, expiry = draft.names.symbol(token), draft.subscriptions[token].expiry
    if expiry is not None and expiry < draft.today:
        return False
    if symbol is None:
        return True
    listed = draft.names.named(symbol)
    return listed is not None and not is_whole(listed, expiry)


def _refused(refused: Sequence[Refusal], found: Expansion) -> str:
    return f"{len(refused)} of its {len(found.tokens)} instruments are refused: {refused[0].reason}"


def _changed(draft: Draft, claimant: str, had: Sequence[int]) -> tuple[ConnectionEvent, ...]:
    """Return the event that tells what a rule took and gave up; none where it did neither."""
    before, after = set(had), set(draft.subscriptions.claimed(claimant))
    added, removed = sorted(after - before), sorted(before - after)
    if not (added or removed):
        return ()
    held = draft.rules.get(claimant)
    where = ""
    if held is not None and held.window is not None:
        where = f", {held.window.expiry} around {held.window.middle:g}"
    reason = f"+{len(added)} -{len(removed)}, {len(after)} now{where}"
    return (_event(draft, EventType.RULE_CHANGED, claimant, reason, (*added, *removed)),)


def _event(
    draft: Draft, kind: EventType, claimant: str, reason: str, tokens: Sequence[int]
) -> ConnectionEvent:
    """Return an event under the slot of an instrument of the rule, or the lowest one."""
    held = draft.subscriptions.claimed(claimant)
    slot = draft.subscriptions[held[0]].slot if held else min(draft.layout.slots, default=0)
    return ConnectionEvent(
        kind,
        slot,
        draft.now_ms,
        reason=excerpt(f"{claimant}: {reason}", 300),
        instruments=len(held),
        tokens=tuple(tokens[:MAX_TOLD]),
    )
