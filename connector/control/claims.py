"""What a claim makes of what is wanted of instruments, and of where they belong. Pure.

An instrument belongs on the account that the first claim names, of those that name one. A command
that names another one is refused; a claim of the settings waits until it is the first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from connector.control.records import NO_ACCOUNTS, OWN, Subscription
from connector.control.reply import Refusal
from connector.kite.wire.models import Mode


class Claim(NamedTuple):
    """What a watchlist says of instruments."""

    watchlist: str
    mode: Mode
    account: str | None
    """The account whose connections are to carry them; None: any."""


def claimed(
    tokens: Mapping[int, Subscription | None],
    placed: Mapping[int, int],
    claim: Claim,
    revision: int,
) -> dict[int, Subscription]:
    """Return what is wanted of each instrument with a claim, out of what was before.

    Args:
        tokens: what was wanted of each; None: nothing. What the claim leaves as it was stays the
            same object.
        placed: the slot of what was on none, and of what moves to the account.
        claim: set on all of them.
        revision: the one of the change.
    """
    watchlist, mode, account = claim
    alone = {watchlist: mode}  # one for all that nobody else claims
    alone_on = NO_ACCOUNTS if account is None else {watchlist: account}
    wanted: dict[int, Subscription] = {}
    for token, old in tokens.items():
        if old is None:
            wanted[token] = Subscription(placed[token], alone, None, revision, None, alone_on)
            continue
        new = old
        if old.claims.get(watchlist) is not mode:
            # whether anybody else claims it: else all of these share one dict, which is never
            # changed
            others = len(old.claims) > (watchlist in old.claims)
            new = changed(old, {**old.claims, watchlist: mode} if others else alone, revision)
        if old.accounts.get(watchlist) != account:
            # behind those that were there: who named an account first decides
            accounts = {**old.accounts, **alone_on}
            if account is None:
                del accounts[watchlist]
            slot = placed.get(token, old.slot)
            new = new._replace(slot=slot, accounts=accounts, revision=revision)
        wanted[token] = new
    return wanted


def changed(old: Subscription, claims: dict[str, Mode], revision: int) -> Subscription:
    """Return a subscription with other claims; the accounts of those that ended end with them."""
    accounts = old.accounts
    if accounts and not accounts.keys() <= claims.keys():
        accounts = {name: one for name, one in accounts.items() if name in claims}
    return Subscription(old.slot, claims, old.symbol, revision, old.expiry, accounts)


def without_conflicts(
    watchlist: str,
    account: str | None,
    tokens: Mapping[int, int | str],
    known: Mapping[int, Subscription],
) -> tuple[Mapping[int, int | str], list[Refusal]]:
    """Leave out what another watchlist has placed on another account: who named one first stays.

    A claim of the settings waits for its turn instead: the settings are read once a start.
    """
    if account is None or watchlist.startswith(OWN):
        return tokens, []
    within: dict[int, int | str] = {}
    refused: list[Refusal] = []
    for token, written in tokens.items():
        old = known.get(token)
        other = None if old is None else _first_of_others(old, watchlist)
        if other is None or other[1] == account:
            within[token] = written
        else:
            who = "the settings" if other[0].startswith(OWN) else f"watchlist {other[0]}"
            refused.append(Refusal(written, f"{who} placed it on account {other[1]}"))
    return within, refused


def _first_of_others(old: Subscription, watchlist: str) -> tuple[str, str] | None:
    """Return the first other watchlist that names an account for an instrument, and the account."""
    return next((entry for entry in old.accounts.items() if entry[0] != watchlist), None)


def has_to_move(
    old: Subscription, watchlist: str, account: str | None, slots: Collection[int]
) -> bool:
    """Whether a claim that names an account takes an instrument off the slot where it is."""
    if account is None or old.slot in slots or old.accounts.get(watchlist) == account:
        return False
    return _first_of_others(old, watchlist) is None
