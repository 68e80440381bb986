"""The slots of a process without a cluster: all of them, carrying the settings' instruments."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import structlog

from connector.cluster.intake import Handlers
from connector.cluster.layout import slots_by_account
from connector.control.records import NO_ACCOUNTS, Subscription
from connector.errors import CapacityError
from connector.kite.clock import IST, SYSTEM_CLOCK, Clock
from connector.kite.feed.allocation import place
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import Credentials
from connector.kite.feed.events import ConnectionState
from connector.kite.feed.stats import ConnectionStats
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.list_check import SubscribedInstrument
from connector.kite.wire.models import Mode
from connector.settings.models import InstrumentSettings, Settings

_log = structlog.get_logger("connector.service.static_slots")

SETTINGS_WATCHLIST: Final = "@settings"
"""What claims the settings' instruments."""


def resolve(
    groups: Sequence[InstrumentSettings], names: Mapping[str, int]
) -> tuple[dict[int, Mode], list[str]]:
    """The settings' instruments as token to mode, in their order, and the names without a token.

    The highest mode wins where groups overlap: a consumer that wants more must get it, and one
    that wants less loses nothing.
    """
    wanted: dict[int, Mode] = {}
    unknown: dict[str, None] = {}
    for group in groups:
        for instrument in group.instruments:
            token = instrument
            if isinstance(token, str):
                if token not in names:
                    unknown[token] = None
                    continue
                token = names[token]
            known = wanted.get(token)
            if known is None or group.mode.rank > known.rank:
                wanted[token] = group.mode
    return wanted, list(unknown)


def accounts_of(groups: Sequence[InstrumentSettings], names: Mapping[str, int]) -> dict[int, str]:
    """The account of each token that a group places on one; the first group that names one counts.

    Args:
        groups: of the settings.
        names: token of each name that has one.
    """
    accounts: dict[int, str] = {}
    for group in groups:
        if group.account is None:
            continue
        for instrument in group.instruments:
            token = names.get(instrument) if isinstance(instrument, str) else instrument
            if token is not None:
                accounts.setdefault(token, group.account)
    return accounts


class StaticSlots:
    """All slots of all accounts, carrying the instruments of the settings."""

    def __init__(
        self,
        settings: Settings,
        credentials: Mapping[str, Credentials],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._credentials = credentials
        # all slots of all accounts, from `start` to the end
        self._connections: dict[int, Connection] = {}
        # token → slot; what has one keeps it as long as it is wanted
        self._slot_of: dict[int, int] = {}
        self._master: InstrumentMaster | None = None
        self._names: dict[str, int] = {}
        """Token of each of the settings' names, the last one that a list had for it."""
        # last trading day of each name, as a list said last: a later one may lack the name
        self._expiries: dict[str, date | None] = {}
        # replaced only where it changes: `InstrumentListLoader` compares by identity
        self._claims: tuple[SubscribedInstrument, ...] = ()
        self._unknown: list[str] = []
        self._refused: dict[int, str | None] = {}
        """What found no room, with the account that it belongs on."""

    @property
    def leads(self) -> bool:
        """True: there is no other process to lead."""
        return True

    async def start(self, intake: Handlers) -> None:
        """Open every slot at once; each connects by itself and for ever."""
        accounts = self._settings.accounts
        for slot, number in slots_by_account(accounts).items():
            self._connections[slot] = Connection(
                slot,
                self._credentials[accounts[number].name],
                self._settings.connection,
                intake.handler(slot),
                root=self._settings.feed.root,
                clock=self._clock,
            )
            # a process that ran before this one may have left anything or nothing
            self._connections[slot].continue_from(None)
        # before they start, so that each socket begins with all that it is to carry
        self._apply()
        for connection in self._connections.values():
            connection.start()

    async def watch(self) -> None:
        """Return at once: nobody else has to do with these slots."""

    async def stop_intake(self, _hurry: asyncio.Event) -> None:
        """Close all sockets together."""
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))

    async def release(self) -> None:
        """Do nothing: nobody else may have these slots."""

    def set_master(self, master: InstrumentMaster) -> None:
        """Resolve the settings' names anew; what has another token now moves to it.

        A name that the list merely lacks keeps its token, until its last trading day is over.
        """
        self._master = master
        for group in self._settings.instruments:
            for name in group.instruments:
                if isinstance(name, str):
                    self._resolve(name, master)
        self._claims = tuple(
            SubscribedInstrument(token, name, self._expiries.get(name))
            for name, token in self._names.items()
        )
        if self._connections:
            self._apply()

    def stats(self) -> Sequence[ConnectionStats]:
        """Return the counts of every connection."""
        return [connection.stats for connection in self._connections.values()]

    def not_ready(self) -> Sequence[str]:
        """Return a sentence for each connection that is not open, or misses instruments."""
        reasons = []
        for stats in self.stats():
            where = f"slot {stats.slot} ({stats.account})"
            if stats.state is not ConnectionState.CONNECTED:
                words = stats.state.value.replace("_", " ")
                cause = f": {stats.last_error}" if stats.last_error else ""
                reasons.append(f"{where} is {words}{cause}")
            elif stats.trouble:
                reasons.append(f"{where}: {stats.trouble}")
        return reasons

    def claims(self) -> Sequence[SubscribedInstrument]:
        """Return the settings' names that have a token."""
        return self._claims

    def unresolved(self) -> Sequence[str]:
        """Return names without a token, and tokens without room."""
        return [
            *(f"{name}: {self._why_unknown(name)}" for name in self._unknown),
            *(
                f"{token}: no room, the connections{_of(account)} are full"
                for token, account in self._refused.items()
            ),
        ]

    def missing_topics(self) -> Collection[str]:
        """Return nothing: there is no control plane."""
        return ()

    def note(self, notes: Mapping[int, Mapping[str, Any]]) -> None:
        """Do nothing: there are no other replicas."""

    def names(self) -> InstrumentMaster:
        """Return today's names of instruments."""
        return self._master or InstrumentMaster()

    def subscriptions(self) -> Mapping[int, Subscription]:
        """Return what the settings ask for, as if they were a watchlist."""
        symbols = {token: name for name, token in self._names.items()}
        wanted, _ = resolve(self._settings.instruments, self._names)
        accounts = accounts_of(self._settings.instruments, self._names)
        names = self.names()
        return {
            token: Subscription(
                slot,
                {SETTINGS_WATCHLIST: wanted[token]},
                symbols.get(token) or names.symbol(token),
                0,
                names.expiry(token),
                {SETTINGS_WATCHLIST: accounts[token]} if token in accounts else NO_ACCOUNTS,
            )
            for token, slot in self._slot_of.items()
            if token in wanted
        }

    def carried(self, slot: int) -> Sequence[int]:
        """Return the instruments of a slot."""
        return [token for token, where in self._slot_of.items() if where == slot]

    def silent_tokens(self, slot: int) -> Collection[int] | None:
        """Return who has sent no packet on a slot's socket; None where it has none here."""
        connection = self._connections.get(slot)
        return None if connection is None else connection.silent_tokens()

    def unserved(self) -> Sequence[tuple[int, int, float]]:
        """Return who has sent nothing although asked again: (slot, token, seconds)."""
        return [
            (slot, token, seconds)
            for slot, connection in self._connections.items()
            for token, seconds in connection.unserved()
        ]

    def status(self) -> None:
        """Return nothing: this process is alone."""

    def _resolve(self, name: str, master: InstrumentMaster) -> None:
        listed = master.listed(name)
        # one of several tokens that a list has for the name is no news for who has it already
        if self._names.get(name) not in listed and len(listed) == 1:
            self._names[name] = listed[0]
            self._expiries[name] = None
        if name not in self._names:
            return
        if self._names[name] in listed:
            # a list without the day does not make it unknown
            self._expiries[name] = master.expiry(self._names[name]) or self._expiries.get(name)
        elif (expiry := self._expiries.get(name)) is not None and expiry < self._today():
            del self._names[name]

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.time_us() / 1e6, IST).date()

    def _why_unknown(self, name: str) -> str:
        if self._master is None:
            return "the instrument master is not loaded yet"
        if listed := self._master.listed(name):
            return f"ambiguous: the list has it for the tokens {', '.join(map(str, listed))}"
        return "not in the instrument master"

    def _apply(self) -> None:
        """Bring the connections to what the settings ask for, with the names as they are today."""
        wanted, self._unknown = resolve(self._settings.instruments, self._names)
        capacity = self._settings.connection.max_symbols_per_connection
        changes: dict[int, dict[int, Mode | None]] = {slot: {} for slot in self._connections}
        for token in [token for token in self._slot_of if token not in wanted]:
            changes[self._slot_of.pop(token)][token] = None
        # of what stays: only what has no slot is placed, so nothing ever moves
        loads = dict.fromkeys(self._connections, 0)
        for slot in self._slot_of.values():
            loads[slot] += 1
        self._refused = {}
        for account, tokens in self._unplaced(wanted).items():
            slots = self._slots_of(account)
            placed, refused = place(tokens, {slot: loads[slot] for slot in slots}, capacity)
            self._slot_of.update(placed)
            self._refused.update(dict.fromkeys(refused, account))
            for slot in placed.values():
                loads[slot] += 1
        # all of them, changed or not: the session finds the difference
        for token, slot in self._slot_of.items():
            changes[slot][token] = wanted[token]
        for slot, connection in self._connections.items():
            connection.update(changes[slot])
        # before there is a list every name is unknown
        if self._unknown and self._master is not None:
            _log.warning(
                "settings_instruments_unknown",
                count=len(self._unknown),
                names=self._unknown[:20],
            )
        if self._refused:
            error = CapacityError(list(self._refused), capacity * len(self._connections))
            _log.error("instruments_without_room", reason=str(error))

    def _unplaced(self, wanted: Collection[int]) -> dict[str | None, list[int]]:
        """What has no slot yet, by account; what may go anywhere (None) comes last."""
        accounts = accounts_of(self._settings.instruments, self._names)
        groups: dict[str | None, list[int]] = {one.name: [] for one in self._settings.accounts}
        groups[None] = []
        for token in wanted:
            if token not in self._slot_of:
                groups[accounts.get(token)].append(token)
        return groups

    def _slots_of(self, account: str | None) -> list[int]:
        accounts = self._settings.accounts
        return [
            slot
            for slot, number in slots_by_account(accounts).items()
            if account is None or accounts[number].name == account
        ]


def _of(account: str | None) -> str:
    return "" if account is None else f" of account {account}"
