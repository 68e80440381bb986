"""Several connections as one: up to three for each api_key, 3000 instruments each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Self

from pydantic import SecretStr

from connector.errors import CapacityError, ConnectionClosedError
from connector.kite.callbacks import check_callback
from connector.kite.client.channel import Channel
from connector.kite.client.channel_handler import ChannelHandler, OnEvent
from connector.kite.client.health import ConnectionHealth, HealthStatus, HealthSummary, judge
from connector.kite.client.merged import MergedChannel
from connector.kite.client.outside import Surroundings
from connector.kite.client.stats import ChannelId, ManagerStats, of_account
from connector.kite.client.symbols import Symbols
from connector.kite.clock import Timer
from connector.kite.config import ChannelPolicy, KiteManagerConfig
from connector.kite.feed.allocation import place, rebalance
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import Credentials, StaticCredentials
from connector.kite.feed.events import ConnectionState
from connector.kite.feed.handler import Handler
from connector.kite.feed.log import edge_log
from connector.kite.feed.opening import ROOT
from connector.kite.web.instrument_list import InstrumentList
from connector.kite.wire.models import Exchange, Mode, OrderMessage
from connector.kite.wire.orders import SeenUpdates

HandlerFactory = Callable[[int], Handler]
"""Makes the handler of a slot, for those who want frames elsewhere than in channels."""


class KiteTickerManager:
    """Spreads instruments over connections, and gives one bounded stream for each connection.

    An instrument goes to the connection that carries the fewest and stays there. All methods
    belong to the event loop's thread; those that change subscriptions take effect at once, without
    reconnecting, and need no `await`.

        async with KiteTickerManager(api_key, access_token) as manager:
            manager.subscribe_symbols([408065, 738561], Mode.FULL)
            async for message in manager.get_channel(ChannelId(0)):
                ...

    Args:
        api_key: of the first account; None where `accounts` has them all.
        access_token: the day's token; `set_access_token` replaces it at run time.
        config: see `KiteManagerConfig`.
        accounts: more api_keys, each with connections of its own: 9000 instruments more.
        root: another feed, such as the simulator's.
        handler_factory: takes the place of the channels.
        on_event: called with each `ConnectionEvent`; a plain function, which must not block.
        instruments: the day's list: names may then stand wherever tokens may.
        raw: channels have frames as `FrameMessage`, and nothing is parsed.
    """

    _outside = Surroundings()

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        access_token: str | SecretStr | None = None,
        config: KiteManagerConfig | None = None,
        *,
        accounts: Sequence[Credentials] = (),
        root: str = ROOT,
        handler_factory: HandlerFactory | None = None,
        on_event: OnEvent | None = None,
        instruments: InstrumentList | None = None,
        raw: bool = False,
    ) -> None:
        for name, callback in (("on_event", on_event), ("handler_factory", handler_factory)):
            if callback is not None:
                check_callback(name, callback)
        self.config = config or KiteManagerConfig()
        self._root = root
        self._symbols = Symbols(instruments)
        self._handler_factory = handler_factory
        self._on_event = on_event
        self._raw = raw
        self._merged = MergedChannel(self._sources)
        self._accounts: list[Credentials] = []
        # by slot, which is the channel's id too; they only grow
        self._connections: list[Connection] = []
        self._handlers: list[ChannelHandler] = []  # empty with a factory of handlers
        # where each instrument is; its mode is in the connection's desired state
        self._slots: dict[int, int] = {}
        # never BLOCK: one that nobody reads would hold the sockets, whose ticks are wanted
        self._orders = Channel(self.config.channel_size, ChannelPolicy.DROP_OLDEST)
        self._deduplicator = SeenUpdates()  # each socket of an account brings a copy
        self._health = HealthStatus.HEALTHY  # as it was logged last
        self._health_timer: Timer | None = None
        self._running = False  # connections that are added begin at once
        self._closed = False  # for good
        first = [] if api_key is None else [StaticCredentials(api_key, access_token)]
        if not first and not accounts:
            raise ValueError("give an api_key and an access_token, or accounts")
        for credentials in [*first, *accounts]:
            self._add(credentials)

    def __repr__(self) -> str:
        return (
            f"KiteTickerManager(connections={len(self._connections)}, "
            f"instruments={len(self._slots)}/{self.capacity})"
        )

    # life

    async def start(self) -> None:
        """Begin to connect all connections; does not wait for them.

        Raises:
            ConnectionClosedError: the manager was stopped, or its event loop has ended.
        """
        self._check_open()
        if self._running:
            if any(one.state is ConnectionState.CLOSED for one in self._connections):
                raise ConnectionClosedError(
                    "the event loop in which this manager was started has ended: make another one"
                )
            return
        self._running = True
        for connection in self._connections:
            connection.start()
        self._health_timer = self._outside.clock.call_later(
            self.config.health_check_interval_seconds, self._check_health
        )

    async def stop(self) -> None:
        """Close all connections and channels; what is queued can still be read."""
        self._closed = True
        self._running = False
        if self._health_timer is not None:
            self._health_timer.cancel()
        # sockets before channels: what still comes while they close is queued, not lost. Each
        # closes its channel then, also where this is cancelled meanwhile
        try:
            await asyncio.gather(*(connection.close() for connection in self._connections))
        finally:
            self._orders.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def wait_connected(self) -> bool:
        """Wait for the first try of each connection; True where all of them are open."""
        outcomes = [await connection.first_outcome() for connection in self._connections]
        return not any(outcomes)

    async def reconnect(self, channel_id: ChannelId) -> None:
        """Close a connection's socket and open the next one at once."""
        await self._connection(channel_id).reconnect()

    # accounts

    def add_account(self, credentials: Credentials) -> list[ChannelId]:
        """Add an api_key, also while running; returns the ids of its connections.

        Raises:
            ValueError: there is an account of this name.
            ConnectionClosedError: the manager was stopped.
        """
        self._check_open()
        added = self._add(credentials)
        self._merged.wake()  # a reader that waits has not asked for the new channels
        return added

    def get_accounts(self) -> dict[str, list[ChannelId]]:
        """Return the accounts by the names of their credentials, each with its connections."""
        found: dict[str, list[ChannelId]] = {one.name: [] for one in self._accounts}
        for slot, connection in enumerate(self._connections):
            found[connection.credentials.name].append(ChannelId(slot))
        return found

    def set_access_token(self, access_token: str | SecretStr, account: str | None = None) -> None:
        """Replace a token; connections that wait for it go on at once, open ones stay.

        Args:
            access_token: the new one.
            account: the `name` of the credentials; may be left out where there is one account.

        Raises:
            KeyError: no such account, or several and none is named.
            TypeError: the account's token comes from elsewhere, a file for example.
        """
        found = [one for one in self._accounts if account is None or one.name == account]
        if len(found) != 1:
            raise KeyError(account if account is not None else "several accounts: name one")
        if not isinstance(found[0], StaticCredentials):
            raise TypeError(f"the token of {found[0].name!r} cannot be set here: {found[0]!r}")
        found[0].set_access_token(access_token)

    # instruments

    def subscribe_symbols(
        self,
        tokens: Iterable[int | str],
        mode: Mode | None = None,
        *,
        account: str | None = None,
    ) -> None:
        """Stream these instruments; those that are there already only change their mode.

        Args:
            tokens: instrument tokens, or names as "NSE:INFY" where it has `instruments`.
            mode: of all of them; None means the configuration's `default_mode` for new ones, and
                no change for the others.
            account: new ones go to a connection of this account; None: of any. Those that are
                there already stay where they are.

        Raises:
            KeyError: there is no such account; nothing is changed.
            CapacityError: there was no room for `refused`; all the others are subscribed.
            InstrumentNotFoundError: some names are not listed; nothing is changed.
            TypeError, ValueError: something is no instrument token or no mode; nothing is changed.
            ConnectionClosedError: the manager was stopped.
        """
        self._check_open()
        # all names, accounts and modes are looked at before anything changes
        wanted = self._symbols.tokens(tokens)
        chosen = self.config.default_mode if mode is None else Mode(mode)
        new = [token for token in wanted if token not in self._slots]
        slots = range(len(self._connections)) if account is None else self._slots_of(account)
        loads = self._loads()
        placed, refused = place(
            new, {slot: loads[slot] for slot in slots}, self.config.max_symbols_per_connection
        )
        self._slots.update(placed)
        # without a mode those that stream already keep theirs
        changed = placed if mode is None else [token for token in wanted if token in self._slots]
        self._update(dict.fromkeys(changed, chosen))
        # last: whoever catches it has all the others streaming
        if refused:
            raise CapacityError(refused, len(slots) * self.config.max_symbols_per_connection)

    def unsubscribe_symbols(self, tokens: Iterable[int | str]) -> None:
        """Stop these instruments; those that are not subscribed are passed over.

        Raises:
            InstrumentNotFoundError: some names are not listed; nothing is changed.
        """
        known = [token for token in self._symbols.tokens(tokens) if token in self._slots]
        self._update(dict.fromkeys(known))  # by `_slots`, which forgets them only then
        for token in known:
            del self._slots[token]

    def change_mode(self, tokens: Iterable[int | str], mode: Mode) -> None:
        """Change the mode of instruments that are subscribed.

        Raises:
            KeyError: some are not subscribed; nothing is changed.
            InstrumentNotFoundError: some names are not listed; nothing is changed.
        """
        wanted = self._symbols.tokens(tokens)
        missing = [token for token in wanted if token not in self._slots]
        if missing:
            raise KeyError(f"not subscribed: {', '.join(map(str, missing))}")
        self._update(dict.fromkeys(wanted, Mode(mode)))

    def rebalance(self) -> dict[int, ChannelId]:
        """Even out the connections with the fewest moves; returns the tokens that moved, and where.

        A moved instrument may tick twice for a moment: it is asked for at its new place first.
        """
        moves = rebalance(
            self._slots,
            range(len(self._connections)),
            self.config.max_symbols_per_connection,
        )
        modes = self.subscriptions()
        left = {token: self._slots[token] for token in moves}
        self._slots.update(moves)
        # the new place first: a tick twice for a moment is better than none
        self._update({token: modes[token] for token in moves})
        for slot, connection in enumerate(self._connections):  # and now from where they were
            gone = [token for token, old in left.items() if old == slot]
            connection.update(dict.fromkeys(gone))
        return {token: ChannelId(slot) for token, slot in moves.items()}

    def subscriptions(self) -> dict[int, Mode]:
        """Return every instrument that is wanted, and its mode."""
        return {
            token: mode
            for connection in self._connections
            for token, mode in connection.desired().items()
        }

    def get_symbol_distribution(self) -> dict[ChannelId, list[int]]:
        """Return the instruments that each connection carries."""
        return {
            ChannelId(slot): list(connection.desired())
            for slot, connection in enumerate(self._connections)
        }

    @property
    def capacity(self) -> int:
        """How many instruments all connections carry at most."""
        return len(self._connections) * self.config.max_symbols_per_connection

    # streams

    def get_channel(self, channel_id: ChannelId | int) -> Channel:
        """The stream of one connection.

        Raises:
            KeyError: no such connection, or the manager has handlers of its user's own.
        """
        if not 0 <= channel_id < len(self._handlers):
            raise KeyError(channel_id)
        return self._handlers[channel_id].channel

    def get_all_channels(self) -> dict[ChannelId, Channel]:
        """Return the streams of all connections."""
        return {ChannelId(slot): handler.channel for slot, handler in enumerate(self._handlers)}

    def get_raw_channel(self, channel_id: ChannelId | int) -> Channel:
        """The frames of one connection as `FrameMessage`, beside its ticks.

        They are kept from the first call on, in a channel of the same size and policy.

        Raises:
            KeyError: no such connection, or the manager has handlers of its user's own.
        """
        self.get_channel(channel_id)
        handler = self._handlers[channel_id]
        if handler.raw_channel is None:
            handler.add_raw(Channel(self.config.channel_size, self.config.channel_policy))
            if self._closed:
                handler.close()  # a reader of a channel that nothing fills would wait for ever
        channel = handler.raw_channel
        assert channel is not None  # noqa: S101 -- for type checkers
        return channel

    def get_merged_channel(self) -> MergedChannel:
        """All connections as one stream, each message with its account and channel id."""
        return self._merged

    async def orders(self) -> AsyncIterator[OrderMessage]:
        """Order updates, each once, whichever sockets they came by."""
        async for message in self._orders:
            if isinstance(message, OrderMessage):
                yield message

    # looking at it

    def get_stats(self) -> ManagerStats:
        """Return the counts of everything, by connection and by account."""
        connections = {
            ChannelId(slot): connection.stats for slot, connection in enumerate(self._connections)
        }
        channels = {
            ChannelId(slot): handler.channel.stats for slot, handler in enumerate(self._handlers)
        }
        ticks = {ChannelId(slot): handler.ticks for slot, handler in enumerate(self._handlers)}
        per_connection = self.config.max_symbols_per_connection
        return ManagerStats(
            connections=connections,
            channels=channels,
            accounts={
                name: of_account(
                    {slot: connections[slot] for slot in slots}, channels, ticks, per_connection
                )
                for name, slots in self.get_accounts().items()
            },
            capacity=self.capacity,
            ticks=sum(handler.ticks for handler in self._handlers),
            rejected_packets=sum(handler.rejected for handler in self._handlers),
            order_duplicates=self._deduplicator.duplicates,
        )

    def get_health(self) -> HealthSummary:
        """Return whether all is well, and if not, why."""
        connections = []
        for slot, connection in enumerate(self._connections):
            segments = {token & 0xFF for token in connection.desired()}
            connections.append(
                ConnectionHealth(
                    ChannelId(slot),
                    connection.stats,
                    [exchange for exchange in Exchange if exchange.value in segments],
                    dropping=bool(self._handlers) and self._handlers[slot].dropping,
                )
            )
        return judge(connections, datetime.fromtimestamp(self._outside.clock.time_us() / 1e6, UTC))

    # inside

    def _sources(self) -> list[tuple[str, ChannelId, Channel]]:
        return [
            (self._connections[slot].credentials.name, ChannelId(slot), handler.channel)
            for slot, handler in enumerate(self._handlers)
        ]

    def _slots_of(self, account: str) -> list[ChannelId]:
        slots = self.get_accounts().get(account)
        if slots is None:
            known = ", ".join(one.name for one in self._accounts)
            raise KeyError(f"no account is named {account!r}: there are {known}")
        return slots

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError("this manager was stopped")

    def _add(self, credentials: Credentials) -> list[ChannelId]:
        if any(credentials.name == other.name for other in self._accounts):
            raise ValueError(f"two accounts are named {credentials.name!r}")
        self._accounts.append(credentials)
        added = []
        for _ in range(self.config.max_connections):
            slot = len(self._connections)
            connection = Connection(
                slot,
                credentials,
                self.config,
                self._handler(slot),
                root=self._root,
                clock=self._outside.clock,
                random=self._outside.random,
                opener=self._outside.opener,
            )
            self._connections.append(connection)
            added.append(ChannelId(slot))
            if self._running:
                connection.start()
        return added

    def _handler(self, slot: int) -> Handler:
        if self._handler_factory is not None:
            return self._handler_factory(slot)
        handler = ChannelHandler(
            slot,
            Channel(self.config.channel_size, self.config.channel_policy),
            raw=self._raw,
            clock=self._outside.clock,
            on_event=self._on_event,
            on_order=self._order,
        )
        self._handlers.append(handler)
        return handler

    def _order(self, message: OrderMessage, raw: str) -> None:
        if not self._deduplicator.seen(raw):
            self._orders.put(message)

    def _connection(self, channel_id: int) -> Connection:
        if not 0 <= channel_id < len(self._connections):
            raise KeyError(channel_id)
        return self._connections[channel_id]

    def _loads(self) -> dict[int, int]:
        loads = dict.fromkeys(range(len(self._connections)), 0)
        for slot in self._slots.values():
            loads[slot] += 1
        return loads

    def _update(self, changes: dict[int, Mode] | dict[int, Mode | None] | dict[int, None]) -> None:
        """Hand each change to the connection that its token is on."""
        by_slot: dict[int, dict[int, Mode | None]] = {}
        for token, mode in changes.items():
            by_slot.setdefault(self._slots[token], {})[token] = mode
        for slot, of_slot in by_slot.items():
            self._connections[slot].update(of_slot)

    def _check_health(self) -> None:
        """Log the edges of health, so that a log tells of trouble without anybody asking."""
        summary = self.get_health()
        if summary.status is not self._health:
            self._health = summary.status
            log = edge_log()
            (log.info if summary.status is HealthStatus.HEALTHY else log.warning)(
                "health_changed", status=summary.status.value, reasons=list(summary.reasons)
            )
        self._health_timer = self._outside.clock.call_later(
            self.config.health_check_interval_seconds, self._check_health
        )
