"""What today's list of instruments makes of the names and tokens that are claimed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from connector.control.records import Subscription
from connector.control.reply import Answer, Refusal
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.wire.models import SEGMENTS

if TYPE_CHECKING:
    from connector.control.draft import Draft


def refresh(draft: Draft, *, accept_list: bool) -> Answer:
    """Give each symbol its token of today.

    A claim ends only for a reason: the instrument's last trading day is over and the list has
    it no more, an operator accepts a list without it, or another claimed name has its token. What
    a list merely lacks is kept, and found again when its name is back.
    """
    if not len(draft.names):
        return Answer(errors=("the instrument master is not loaded",))
    today = draft.today
    kept: dict[int, Subscription] = {}
    renamed: list[tuple[int, int, Subscription]] = []
    ended: list[tuple[int, Subscription]] = []
    missing: list[tuple[int, str, Subscription]] = []
    refused: list[Refusal] = []
    # sorted out first and changed below: the draft must not change while it is looked through
    for token, subscription in draft.subscriptions.items():
        symbol = subscription.symbol
        listed = () if symbol is None else draft.names.listed(symbol)
        if symbol is None or token in listed:
            kept[token] = subscription
        elif len(listed) == 1 and listed[0] & 0xFF not in SEGMENTS:
            refused.append(Refusal(symbol, f"{no_segment(listed[0])}: its claims are kept"))
        elif len(listed) == 1:
            renamed.append((token, listed[0], subscription))
        elif listed:
            refused.append(ambiguous(symbol, listed))
        elif (expiry := subscription.expiry) is not None and expiry < today:
            ended.append((token, subscription))
            refused.append(Refusal(symbol, f"expired on {expiry}"))
        elif accept_list:
            ended.append((token, subscription))
            refused.append(Refusal(symbol, "ended: not in the list that was accepted"))
        else:
            missing.append((token, symbol, subscription))
    taken = {token for _, token, _ in renamed}
    for token, symbol, subscription in missing:
        if token in taken:  # else who had it would stream the other, and this name be forgotten
            ended.append((token, subscription))
            reason = "ended: not in today's list, and its token is another instrument's now"
        else:
            reason = "not in today's list: its claims are kept"
        refused.append(Refusal(symbol, reason))
    learnt = dict(kept)
    learn(draft, learnt, {})
    draft.subscriptions.change(
        {token: one for token, one in learnt.items() if one is not kept[token]}
    )
    # all old tokens go before any new one comes: a token may pass from one name to another
    over = [token for token, _ in ended] + [token for token, _, _ in renamed]
    draft.subscriptions.change(dict.fromkeys(over))
    for _, token, subscription in renamed:
        adopted = {token: _adopted(draft, token, subscription)}
        learn(draft, adopted, {})
        draft.subscriptions.change(adopted)
    events = [
        _event(draft, EventType.INSTRUMENT_EXPIRED, subscription.slot, (token,), subscription)
        for token, subscription in ended
    ] + [
        _event(draft, EventType.INSTRUMENT_CHANGED, subscription.slot, (old, new), subscription)
        for old, new, subscription in renamed
    ]
    return Answer(len(kept) + len(renamed), refused, events=tuple(events))


def learn(draft: Draft, wanted: dict[int, Subscription], written: Mapping[int, int | str]) -> None:
    """Note names and last trading days of subscriptions, as far as the list knows them.

    Args:
        draft: whose list it is.
        wanted: changed in place.
        written: token to the instrument as a command wrote it.
    """
    today = draft.today
    name_of, expiry_of = draft.names.symbol, draft.names.expiry
    for token, subscription in wanted.items():
        symbol, known = subscription.symbol, subscription.expiry
        name = written.get(token)
        if symbol and isinstance(name, str) and _names_another(draft, token, name, symbol):
            symbol = known = None
        if symbol is None and (symbol := name_of(token)) is None:
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
            wanted[token] = Subscription(slot, claims, symbol, draft.revision, expiry, accounts)


def _names_another(draft: Draft, token: int, name: str, symbol: str) -> bool:
    """Whether a command names a token as the list does, and the name that it had is in no list.

    The name was changed, or the token is used again: under the old name the new claim would end
    with that, or go where that goes.
    """
    return token in draft.names.listed(name) and not draft.names.listed(symbol)


def no_segment(token: int) -> str:
    """Say that the feed has no prices of a token, and so no topic: its low byte is no segment's."""
    return f"no exchange has the segment {token & 0xFF}"


def ambiguous(symbol: str, tokens: Sequence[int]) -> Refusal:
    """Refuse a name that the list has for several tokens."""
    shown = ", ".join(map(str, tokens))
    return Refusal(symbol, f"ambiguous: the list has it for the tokens {shown}; give the token")


def _adopted(draft: Draft, token: int, subscription: Subscription) -> Subscription:
    """Return it under a new token, in the same slot; where that is wanted already, as one."""
    if (present := draft.subscriptions.get(token)) is None:
        return subscription._replace(revision=draft.revision)
    claims = dict(present.claims)
    for watchlist, mode in subscription.claims.items():
        # one watchlist may have claimed both tokens; it gets no less than it asked for
        claims[watchlist] = max(mode, claims.get(watchlist, mode), key=lambda either: either.rank)
    adopted: Subscription = present._replace(
        claims=claims,
        symbol=subscription.symbol,
        revision=draft.revision,
        accounts={**present.accounts, **subscription.accounts},
    )
    return adopted


def _event(
    draft: Draft, kind: EventType, slot: int, tokens: tuple[int, ...], subscription: Subscription
) -> ConnectionEvent:
    return ConnectionEvent(
        kind, slot, draft.now_ms, reason=subscription.symbol or "", tokens=tokens
    )
