"""The watchlists as a file says them to be, and the difference to what they are. Pure.

A file under version control says what each watchlist claims; `difference` finds the least that has
to be changed, as the steps of one command, and `of_claims` writes such a file from what is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, ValidationError

from connector.control.bounds import MAX_INSTRUMENTS, MAX_RULES, MAX_STEPS, excerpt
from connector.control.commands import (
    PRIORITY,
    QUOTA,
    ChangeStep,
    ClaimedMode,
    DeleteRuleStep,
    DeleteStep,
    Instruments,
    OnAccount,
    Priority,
    Quota,
    SetLimitsStep,
    SetModeStep,
    SetRuleStep,
    SubscribeStep,
    UnsubscribeStep,
)
from connector.control.held_rules import HeldRule
from connector.control.limits import USUAL, Limits
from connector.control.parsing import reason_in_rule
from connector.control.records import NO_ACCOUNTS, OWN, ClosedModel, SubscriptionRecord
from connector.control.rules import RULE_MARK, Name, Rule, is_rule, watchlist_of
from connector.errors import SettingProblem, SettingsError
from connector.kite.wire.models import Mode

# for a terminal: the rest is counted
MAX_PROBLEMS: Final = 20


class WantedRule(ClosedModel, title="Rule"):
    """What one rule of a watchlist is to claim, and in which mode."""

    mode: ClaimedMode = Mode.QUOTE
    claims: Rule


class WantedClaims(ClosedModel, title="Claims"):
    """What one watchlist is to claim: instruments in each mode, and rules."""

    full: Instruments = Field((), description="Instruments with depth: tokens or symbols.")
    quote: Instruments = Field((), description="Instruments without depth: tokens or symbols.")
    ltp: Instruments = Field((), description="Instruments with the last price alone.")
    rules: Annotated[dict[Name, WantedRule], Field(max_length=MAX_RULES)] = Field(
        default_factory=dict,
        description="What is claimed by description, by the rule's name.",
        json_schema_extra={"additionalProperties": False},
    )
    quota: Quota | None = QUOTA
    priority: Priority = PRIORITY
    account: OnAccount = None
    unlisted: bool = Field(
        False,
        strict=True,
        description="Accept tokens that the loaded list of instruments lacks.",
    )

    def modes(self) -> Iterator[tuple[int | str, Mode]]:
        """Yield each instrument as it is written, with its mode."""
        for mode in Mode:
            yield from ((instrument, mode) for instrument in getattr(self, mode.value))


class WantedWatchlists(ClosedModel, title="Watchlists"):
    """The file: every watchlist that there is to be, with what it claims."""

    watchlists: dict[Name, WantedClaims] = Field(
        # each may need a step of its own, and one command holds so many
        max_length=MAX_STEPS,
        description="What each watchlist claims, by its name.",
        json_schema_extra={"additionalProperties": False},
    )


class Claims(NamedTuple):
    """What the watchlists claim at a revision, without those of the settings."""

    watchlists: Mapping[str, Mapping[int, Mode]]
    """What each claims by itself, by no rule."""
    symbols: Mapping[int, str]
    """The names of instruments, as far as they are known."""
    settings_tokens: frozenset[int]
    """What the settings subscribe, which no command changes but which takes room."""
    accounts: Mapping[str, str] = NO_ACCOUNTS
    """The account that each watchlist is on, of those that are on one."""
    rules: Mapping[str, Mapping[str, HeldRule]] = MappingProxyType({})
    """The rules of each watchlist that has any, by name."""
    rule_tokens: Mapping[str, frozenset[int]] = MappingProxyType({})
    """What the rules of each watchlist have now, which takes room too."""
    limits: Mapping[str, Limits] = MappingProxyType({})
    """The limits of those watchlists that have any."""

    @classmethod
    def of(
        cls,
        records: Iterable[SubscriptionRecord],
        rules: Mapping[str, HeldRule] = MappingProxyType({}),
        limits: Mapping[str, Limits] = MappingProxyType({}),
    ) -> Claims:
        """Return the claims of what is subscribed.

        Args:
            records: of all instruments.
            rules: of all watchlists, by the name under which each claims.
            limits: by watchlist.
        """
        of_rules: dict[str, set[int]] = {}
        by_watchlist: dict[str, dict[str, HeldRule]] = {}
        for claimant, held in rules.items():
            watchlist, _, name = claimant.partition(RULE_MARK)
            by_watchlist.setdefault(watchlist, {})[name] = held
        watchlists: dict[str, dict[int, Mode]] = {}
        symbols: dict[int, str] = {}
        settings: set[int] = set()
        accounts: dict[str, str] = {}
        for record in records:
            accounts.update({n: one for n, one in record.accounts.items() if not is_rule(n)})
            if record.symbol is not None:
                symbols[record.token] = record.symbol
            for name, mode in record.claims.items():
                if name.startswith(OWN):
                    settings.add(record.token)
                elif is_rule(name):
                    of_rules.setdefault(watchlist_of(name), set()).add(record.token)
                else:
                    watchlists.setdefault(name, {})[record.token] = mode
        return cls(
            watchlists,
            symbols,
            frozenset(settings),
            accounts,
            by_watchlist,
            {name: frozenset(tokens) for name, tokens in of_rules.items()},
            limits,
        )

    def named(self) -> set[str]:
        """Return the watchlists that there are."""
        return {*self.watchlists, *self.rules, *self.limits}

    def all_tokens(self, watchlist: str) -> frozenset[int]:
        """Return what a watchlist has, by itself and by rules."""
        own = self.watchlists.get(watchlist, {})
        return self.rule_tokens.get(watchlist, frozenset()) | own.keys()


class WatchlistChange(NamedTuple):
    """The difference in one watchlist."""

    name: str
    added: Mapping[int | str, Mode]
    """Instruments as the file writes them."""
    removed: tuple[int, ...]
    changed: Mapping[int, Mode]
    """The new mode of what it claims in another one."""
    deleted: bool
    unlisted: bool
    account: str | None = None
    """The account that it is to be on."""
    moved: bool = False
    """Whether it was on another one, or on none: then all that it claims is given up first, and
    `added` has all that it is to claim."""
    rules_set: Mapping[str, WantedRule] = MappingProxyType({})
    """Rules that it is to have, and has not or otherwise."""
    rules_ended: tuple[str, ...] = ()
    limits: Limits | None = None
    """The limits that it is to have, and has not."""

    @property
    def something(self) -> bool:
        """Whether there is any difference."""
        claims = self.added or self.removed or self.changed or self.rules_set or self.rules_ended
        return bool(claims) or self.limits is not None


class Plan(NamedTuple):
    """All that is to be changed, and what comes of it."""

    changes: tuple[WatchlistChange, ...]
    unnamed: Mapping[str, int]
    """Watchlists that the file does not name, and how many instruments each claims: kept."""
    before: int
    """How many instruments are subscribed, each counted once."""
    after: int
    """How many will be at most, without what rules come to that are new: a name that nobody knows
    yet counts as an instrument of its own."""

    @property
    def rules(self) -> int:
        """How many rules are set, of which only the leader knows what they come to."""
        return sum(len(change.rules_set) for change in self.changes)

    @property
    def steps(self) -> tuple[ChangeStep, ...]:
        """The steps of one command, what is given up first: it makes room."""
        found: list[ChangeStep] = []
        for change in self.changes:
            if change.deleted or change.moved:
                found.append(DeleteStep(type="delete", watchlist=change.name))
            elif change.removed:
                found.append(
                    UnsubscribeStep(
                        type="unsubscribe", watchlist=change.name, instruments=change.removed
                    )
                )
            if not (change.deleted or change.moved):
                found += [
                    DeleteRuleStep(type="delete-rule", watchlist=change.name, rule=name)
                    for name in change.rules_ended
                ]
        found += [
            # behind what ends, since a watchlist's end is its limits' too; before what is claimed,
            # as a quota bounds that
            SetLimitsStep(type="set-limits", watchlist=change.name, **change.limits._asdict())
            for change in self.changes
            if change.limits is not None
        ]
        for change in self.changes:
            for mode, instruments in _by_mode(change.changed):
                found.append(
                    SetModeStep(
                        type="set-mode", watchlist=change.name, instruments=instruments, mode=mode
                    )
                )
            for mode, instruments in _by_mode(change.added):
                found.append(
                    SubscribeStep(
                        type="subscribe",
                        watchlist=change.name,
                        instruments=instruments,
                        mode=mode,
                        account=change.account,
                        unlisted=change.unlisted,
                    )
                )
            found += [
                SetRuleStep(
                    type="set-rule",
                    watchlist=change.name,
                    rule=name,
                    claims=wanted.claims,
                    mode=wanted.mode,
                    account=change.account,
                )
                for name, wanted in change.rules_set.items()
            ]
        return tuple(found)


def parse_watchlists(value: object) -> WantedWatchlists:
    """Check the value of a file.

    Raises:
        SettingsError: each problem with its place in the file and what is allowed.
    """
    if not isinstance(value, dict):
        raise SettingsError.of("watchlists", "is missing: the file is to begin with `watchlists:`")
    try:
        return WantedWatchlists.model_validate(value)
    except ValidationError as error:
        problems: dict[str, str] = {}
        for detail in error.errors(include_url=False):
            place, reason = _problem(detail["loc"], detail["type"], detail["msg"], value)
            problems.setdefault(place, reason)
        found = [SettingProblem(*one) for one in problems.items()]
        raise SettingsError(_bounded(found)) from None


def difference(claims: Claims, wanted: WantedWatchlists, *, prune: bool = False) -> Plan:
    """Find what has to be changed so that the watchlists are as the file says.

    Args:
        claims: what is.
        wanted: what is to be.
        prune: whether watchlists that the file does not name are to end.

    Raises:
        SettingsError: the file names an instrument in two modes, or more than one command holds.
    """
    by_symbol = _Symbols(claims)
    changes: list[WatchlistChange] = []
    problems: list[SettingProblem] = []
    after: set[int | str] = set(claims.settings_tokens)
    for name, one in wanted.watchlists.items():
        # by the token that is meant, so that a symbol and its token are one instrument
        keys: dict[int | str, tuple[int | str, Mode]] = {}
        held = claims.watchlists.get(name, {})
        for instrument, mode in one.modes():
            key = by_symbol.key(instrument, held)
            other = keys.setdefault(key, (instrument, mode))
            if other[1] is not mode:
                reason = f"{excerpt(str(instrument))} is named in {other[1]} and in {mode}"
                problems.append(SettingProblem(f"watchlists.{name}", reason))
        after |= keys.keys()
        # what rules come to only the leader knows: those that stay are counted as they are now
        if one.rules or not claims.rules.get(name):
            after |= claims.rule_tokens.get(name, frozenset())
        change = _change(name, one, keys, claims)
        if change.something:
            changes.append(change)
    unnamed: dict[str, int] = {}
    for name in sorted(claims.named()):
        if name in wanted.watchlists:
            continue
        tokens = claims.all_tokens(name)
        if prune:
            removed = tuple(sorted(claims.watchlists.get(name, {})))
            ended = tuple(sorted(claims.rules.get(name, {})))
            changes.append(WatchlistChange(name, {}, removed, {}, True, False, rules_ended=ended))
        else:
            after |= tokens
            unnamed[name] = len(tokens)
    if problems:
        raise SettingsError(_bounded(problems))
    before = {token for name in claims.named() for token in claims.all_tokens(name)}
    plan = Plan(tuple(changes), unnamed, len(before | claims.settings_tokens), len(after))
    _check_size(plan)
    return plan


def _change(
    name: str,
    wanted: WantedClaims,
    keys: Mapping[int | str, tuple[int | str, Mode]],
    claims: Claims,
) -> WatchlistChange:
    """Return the difference in one watchlist.

    Args:
        name: of the watchlist.
        wanted: what the file says of it.
        keys: the instruments that it is to claim, each as the file writes it and with its mode.
        claims: what is.
    """
    held, held_rules = claims.watchlists.get(name, {}), claims.rules.get(name, {})
    # the leader takes no second account for a watchlist that has instruments, so it begins anew
    moved = bool(held) and bool(keys) and wanted.account != claims.accounts.get(name)
    kept = {} if moved else held
    # a watchlist is its claims: one that is to claim nothing is no longer there
    deleted = bool(held or held_rules) and not (keys or wanted.rules)
    limits = Limits(wanted.quota, wanted.priority)
    # what ends, or is given up to be claimed anew, ends with its limits
    had = USUAL if moved or deleted else claims.limits.get(name, USUAL)
    return WatchlistChange(
        name,
        added={written: mode for key, (written, mode) in keys.items() if key not in kept},
        removed=tuple(sorted(token for token in held if token not in keys)),
        changed={
            key: mode
            for key, (_, mode) in keys.items()
            # a name that nobody knows yet is claimed by nobody
            if isinstance(key, int) and key in kept and kept[key] is not mode
        },
        deleted=deleted,
        unlisted=wanted.unlisted,
        account=wanted.account,
        moved=moved,
        rules_set={
            rule: one
            for rule, one in wanted.rules.items()
            # the leader's own part of a rule, its window and price, is nothing that a file says
            if moved
            or rule not in held_rules
            or held_rules[rule].definition != (one.claims, one.mode, wanted.account)
        },
        rules_ended=tuple(sorted(held_rules.keys() - wanted.rules.keys())),
        limits=None if limits == had else limits,
    )


def of_claims(claims: Claims) -> dict[str, Any]:
    """Return the file's value for what the watchlists claim now; planning it changes nothing."""
    names = _Symbols(claims)
    watchlists: dict[str, dict[str, Any]] = {}
    for name in sorted(claims.named()):
        held, rules = claims.watchlists.get(name, {}), claims.rules.get(name, {})
        modes: dict[str, Any] = {}
        account = claims.accounts.get(name) if held else _account_of(rules)
        if account is not None:
            modes["account"] = account
        limits = claims.limits.get(name, USUAL)
        modes |= {
            limit: value
            for limit, value in limits._asdict().items()
            if value != getattr(USUAL, limit)
        }
        for mode in sorted(set(held.values()), key=lambda one: -one.rank):
            modes[mode.value] = sorted(
                (names.written(token) for token, one in held.items() if one is mode),
                # in a fixed order, so that two exports differ only where the watchlists do
                key=lambda instrument: (isinstance(instrument, int), str(instrument)),
            )
        if rules:
            modes["rules"] = {
                rule: {
                    "mode": one.mode.value,
                    "claims": one.rule.model_dump(mode="json", exclude_defaults=True),
                }
                for rule, one in sorted(rules.items())
            }
        watchlists[name] = modes
    return {"watchlists": watchlists}


def _account_of(rules: Mapping[str, HeldRule]) -> str | None:
    """Return the account that all of these rules are on; None where they differ."""
    accounts = {one.account for one in rules.values()}
    return accounts.pop() if len(accounts) == 1 else None


class _Symbols:
    """Names of what is subscribed; a name of two tokens means the one that a watchlist claims."""

    def __init__(self, claims: Claims) -> None:
        self._symbols = claims.symbols
        self._exact: dict[str, list[int]] = {}
        self._upper: dict[str, list[int]] = {}
        for token, symbol in claims.symbols.items():
            self._exact.setdefault(symbol, []).append(token)
            self._upper.setdefault(symbol.upper(), []).append(token)

    def key(self, instrument: int | str, held: Mapping[int, Mode]) -> int | str:
        """Return the token that a file means; a name that nobody knows stays one."""
        if isinstance(instrument, int):
            return instrument
        tokens = self._exact.get(instrument) or self._upper.get(instrument.upper(), [])
        claimed = [token for token in tokens if token in held]
        meant = claimed or tokens
        # in capitals, so that a file that writes an unknown name twice names one instrument
        return meant[0] if meant else instrument.upper()

    def written(self, token: int) -> int | str:
        """Return the name of a token where it has one of its own, else the token."""
        symbol = self._symbols.get(token)
        # read back, such a name could mean the other token
        if symbol is None or len(self._upper[symbol.upper()]) > 1:
            return token
        return symbol


def _by_mode(
    instruments: Mapping[int, Mode] | Mapping[int | str, Mode],
) -> Iterator[tuple[Mode, tuple[int | str, ...]]]:
    for mode in Mode:
        found = tuple(instrument for instrument, one in instruments.items() if one is mode)
        if found:
            yield mode, found


def _check_size(plan: Plan) -> None:
    named = sum(
        len(change.added)
        + len(change.changed)
        # a `delete` names none of them
        + (0 if change.deleted or change.moved else len(change.removed))
        for change in plan.changes
    )
    if named > MAX_INSTRUMENTS or len(plan.steps) > MAX_STEPS:
        raise SettingsError.of(
            "watchlists",
            f"{named} instruments in {len(plan.steps)} steps are to change, one command "
            f"holds {MAX_INSTRUMENTS} in {MAX_STEPS}: apply a part of the file first",
        )


_FORMS: Final = {
    **dict.fromkeys(("dict_type", "model_type"), "is to be names with values, as in `full: […]`"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "is to be a whole number"),
    "string_type": "is to be text: put it in quotes",
    "bool_type": "is to be true or false",
}
"""pydantic's kinds of errors whose own words speak of Python's types."""


def _problem(
    location: tuple[int | str, ...], kind: str, message: str, value: Any
) -> tuple[str, str]:
    """Return the place and the reason of one error of pydantic, in words."""
    place = ".".join(excerpt(str(part)) for part in location[:3])
    if location[2:3] == ("rules",) and len(location) > 3:
        return _problem_in_rules(location, kind, message)
    if location[-1:] == ("[key]",):
        return place.removesuffix(".[key]"), (
            "a watchlist's name begins with a letter or digit; then up to 63 letters, digits or "
            ". _ : / -"
        )
    if kind == "extra_forbidden":
        return place, (
            "is not known here; a watchlist has full, quote, ltp, rules, quota, priority, account "
            "and unlisted"
        )
    if kind == "missing":
        return place, "is missing"
    if len(location) > 3 and isinstance(location[3], int):  # an instrument in a list
        found: Any = value
        for part in location[:4]:
            found = found[part]
        return (
            f"{place}[{location[3]}]",
            f"{excerpt(str(found))!r} is no instrument: write a token, or EXCHANGE:TRADINGSYMBOL",
        )
    if len(location) == 3 and location[2] in {"full", "quote", "ltp"}:
        return place, f"is to be a list of instruments, {MAX_INSTRUMENTS} at most"
    if kind == "too_long":
        if len(location) > 2:
            return place, f"has more than {MAX_RULES} rules"
        return place, f"has more than {MAX_STEPS} watchlists"
    said = message.removeprefix("Value error, ").replace("Input should be", "is to be", 1)
    return place, _FORMS.get(kind, said)


def _problem_in_rules(location: tuple[int | str, ...], kind: str, message: str) -> tuple[str, str]:
    """Return the place and the reason of an error within `rules` of a watchlist."""
    parts = [excerpt(str(part)) for part in location]
    if location[-1] == "[key]":
        return ".".join(parts[:-1]), (
            "a rule's name begins with a letter or digit; then up to 63 letters, digits or "
            ". _ : / -"
        )
    if len(location) > 5 and location[4] == "claims":
        del parts[5]  # the kind of rule, which pydantic puts between
    if kind.startswith("union_tag"):
        parts.append("type")
    if kind == "extra_forbidden" and len(location) == 5:
        return ".".join(parts), "is not known here; a rule has mode and claims"
    return ".".join(parts), reason_in_rule(kind, parts[-1], message)


def _bounded(problems: list[SettingProblem]) -> list[SettingProblem]:
    more = len(problems) - MAX_PROBLEMS
    if more <= 0:
        return problems
    return [*problems[:MAX_PROBLEMS], SettingProblem("and", f"{more} more")]
