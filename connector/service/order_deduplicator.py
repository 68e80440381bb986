"""Who writes an order update: every socket of an account brings a copy, one record is wanted.

Within a process the first copy is written and the others are known by their content. Between
replicas of a cluster, which own different sockets, the account's lowest slot decides: whoever has
its socket writes at once, and the others keep their copies for a moment, watch the topic, and write
only what does not appear there. So an update is there once, and is not lost with any one socket.

Told twice only when Kafka is away longer than a writer lives: at least once comes first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import NoReturn

import structlog

from connector.errors import reason_of
from connector.kafka.tail import TailRecord
from connector.kite.clock import Clock
from connector.kite.config import MAX_CONNECTIONS_PER_KEY
from connector.kite.feed.wait import cancelled
from connector.kite.wire.models import Order
from connector.kite.wire.orders import REMEMBERED_UPDATES, update_identity

_log = structlog.get_logger("connector.service.orders")

HOLD_SECONDS = 1.0
"""What a copy waits for each lower slot, where another replica may have the socket of one; an
update is in the topic some ten milliseconds after it was produced."""

SETTLE_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Update:
    """An order update as one socket brought it."""

    order: Order
    raw: str
    slot: int
    session_id: int
    receive_time_us: int
    source: str = "feed"
    """Who told of it: feed, a socket; reconciled, Kite's list of orders."""


@dataclass(slots=True)
class _Held:
    update: Update
    due: float
    hold_seconds: float


class OrderDeduplicator:
    """Takes every copy, and has each update written once.

    Args:
        write: writes an update.
        connected: slots whose socket is open in this process; None: nobody else has any.
        clock: for how long copies are held.
        capacity: updates that are remembered, and that are held at most; the oldest go first.
    """

    def __init__(
        self,
        write: Callable[[Update], None],
        *,
        connected: Callable[[], Collection[int]] | None = None,
        clock: Clock,
        capacity: int = REMEMBERED_UPDATES,
    ) -> None:
        self.repeats = 0
        """Copies that were left out."""
        self._write = write
        self._connected = connected
        self._clock = clock
        self._capacity = capacity
        # identities of what was written here or seen in the topic, oldest first
        self._done: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        # what the owner of a lower slot is expected to write, oldest first
        self._held: dict[tuple[str, bytes], _Held] = {}
        self.holding = asyncio.Event()
        """Set from the first copy that is held on, until time has passed and none is."""

    def accept(self, update: Update) -> None:
        """Write an update that a socket brought, unless it was written already."""
        identity = update_identity(update.raw)
        if identity in self._done:
            self.repeats += 1
            return
        hold_seconds = HOLD_SECONDS * self._turns(update.slot)
        before = self._held.get(identity)
        if not hold_seconds:
            # held as it came by a higher slot, and now here by one that writes at once
            if self._held.pop(identity, None) is not None:
                self.repeats += 1
            self._finish(identity, update)
        elif before is None:
            due = self._clock.monotonic() + hold_seconds
            self._held[identity] = _Held(update, due, hold_seconds)
            self.holding.set()
            if len(self._held) > self._capacity:
                # Kafka is away, and updates go on: the spool keeps them better than memory
                oldest = next(iter(self._held))
                self._finish(oldest, self._held.pop(oldest).update)
        else:
            self.repeats += 1
            # a copy that came by a lower slot has fewer to wait for
            before.due = min(before.due, self._clock.monotonic() + hold_seconds)

    def written(self, payload_text: str) -> None:
        """Note that some replica's update was seen in the topic."""
        identity = update_identity(payload_text)
        if self._held.pop(identity, None) is not None:
            self.repeats += 1
        self._remember(identity)

    def pass_time(self, *, topic_seen: bool) -> None:
        """Write what nobody else did.

        Args:
            topic_seen: whether the topic can be read; while not, nobody knows what others wrote.
        """
        now = self._clock.monotonic()
        for identity, held in list(self._held.items()):
            if not topic_seen:
                # counted anew from when the topic can be read: others may have written meanwhile
                held.due = now + held.hold_seconds
            elif held.due <= now:
                del self._held[identity]
                self._finish(identity, held.update)
        if not self._held:
            self.holding.clear()

    @property
    def held(self) -> int:
        """How many copies wait for another replica's."""
        return len(self._held)

    def close(self) -> None:
        """Write whatever is held: better twice than never."""
        for identity, held in list(self._held.items()):
            self._finish(identity, held.update)
        self._held.clear()

    def _turns(self, slot: int) -> int:
        """Return how many holds a copy waits: 0 where no lower slot's may come to another process.

        By the slot's place among its account's, not by how many of them are elsewhere: where the
        lowest has no socket just now, two replicas with the others would have the same wait. A slot
        that changes hands is assigned here while its socket is still another's.
        """
        if self._connected is None:
            return 0
        connected = self._connected()
        lower = range(slot - slot % MAX_CONNECTIONS_PER_KEY, slot)
        return 0 if all(one in connected for one in lower) else len(lower)

    def _finish(self, identity: tuple[str, bytes], update: Update) -> None:
        self._remember(identity)
        self._write(update)

    def _remember(self, identity: tuple[str, bytes]) -> None:
        self._done[identity] = None
        if len(self._done) > self._capacity:
            self._done.popitem(last=False)


class OrdersTopic:
    """Tells a deduplicator what the replicas write, and how time passes.

    Args:
        deduplicator: is told.
        read: reads the topic of order updates from now on.
        reachable: whether a broker is connected.
        retry_seconds: between a reading that failed and the next one.
    """

    def __init__(
        self,
        deduplicator: OrderDeduplicator,
        read: Callable[[], AsyncIterator[TailRecord]],
        reachable: Callable[[], bool],
        *,
        retry_seconds: float,
    ) -> None:
        self._deduplicator = deduplicator
        self._read = read
        self._reachable = reachable
        self._retry_seconds = retry_seconds
        # whether nothing stands against reading the topic
        self._readable = True

    async def run(self) -> NoReturn:
        """Watch the topic until the task is cancelled."""
        reading = asyncio.create_task(self.read_on(), name="orders-topic")
        try:
            while True:
                self._deduplicator.pass_time(topic_seen=self._sees_topic())
                await self._deduplicator.holding.wait()
                # a copy that nobody else wrote is so late at most
                await asyncio.sleep(HOLD_SECONDS / 4)
        finally:
            await cancelled(reading)

    async def settle(self, hurry: asyncio.Event) -> None:
        """Wait until no copy is held: each was seen in the topic, or its time is over.

        Not where the topic cannot be read, since that may last; and `run` has to go on meanwhile.
        """
        while self._deduplicator.held and self._sees_topic() and not hurry.is_set():  # noqa: ASYNC110
            await asyncio.sleep(SETTLE_POLL_SECONDS)

    def _sees_topic(self) -> bool:
        return self._reachable() and self._readable

    async def read_on(self) -> NoReturn:
        """Read until cancelled, whatever stands there: what nobody reads is written twice."""
        while True:
            try:
                async for record in self._read():
                    self._readable = True
                    if isinstance(record.value, dict):
                        self._deduplicator.written(record.value["payload"])
            except Exception as exc:  # noqa: BLE001 - whatever it was, the topic is read again
                _log.warning("orders_topic_unreadable", reason=reason_of(exc))
                self._readable = False
                await asyncio.sleep(self._retry_seconds)
                # until the next failure: a topic in which nothing is written says nothing of itself
                self._readable = True
