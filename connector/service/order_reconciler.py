"""Order updates that no socket brought: found in Kite's list of the day's orders.

While no socket of an account is open, what becomes of its orders is told to nobody, and never told
again. So whoever has opened a connection of the account asks for the day's orders, reads what the
topic has of the day, and writes the state of each order that is not there. It remembers nothing:
the topic knows, over restarts and replicas. Replicas with slots of one account ask one after the
other, so that each finds what those before it have written; none relies on the first slot, which
may be paused, or wait for long while another program has its place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, NoReturn

import structlog

from connector.errors import ConnectorError, RestError, reason_of
from connector.kafka.tail import TailRecord
from connector.kite.clock import Clock, midnight_ms
from connector.kite.feed.wait import within
from connector.kite.wire.models import Order, OrderStatus
from connector.kite.wire.orders import parse_order
from connector.service.order_deduplicator import Update

_log = structlog.get_logger("connector.service.orders")

SETTLE_SECONDS: Final = 5.0
"""The list is asked for so long after the opening of a connection: by then it is as new as the
sockets, and copies that others of these brought are in the topic."""
TURN_SECONDS: Final = 10.0
"""A higher slot's owner asks so much later for each lower slot, which may be another replica's."""
PAUSE_SECONDS: Final = (30.0, 60.0, 120.0, 300.0)
"""Tries that failed for a time are so far apart; after the last one it is told, and the next
opening asks again. Each is a handful of requests at most, of 10 a second that a key may send."""
MAX_REJECTED: Final = 64
"""So many rows of a list that are no orders are kept as dead letters; an event counts more."""
APART_SECONDS: Final = 3600.0
"""The topic is read from so long before the first change of an order in the list: whoever wrote it
has another clock, and so has Kite."""
OLDEST_SECONDS: Final = 7 * 86_400.0
"""An order that changed longer ago decides nothing about where reading begins: its time is wild."""
_ROWS_A_TURN = 50
_ENDS: Final = {OrderStatus.COMPLETE, OrderStatus.CANCELLED, OrderStatus.REJECTED}
_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)


class OrderState(NamedTuple):
    """What an update changes of an order, as far as sockets and the list have the same words.

    A socket says UPDATE where the list says OPEN, so that only ends count.
    """

    end: str | None
    quantity: int | None
    filled_quantity: int | None
    price: float | None
    trigger_price: float | None


class Written(NamedTuple):
    """The newest update of an order that is in the topic."""

    state: OrderState
    updated: datetime
    receive_time_us: int


def state_of(order: Order) -> OrderState:
    """Return what an update says of an order."""
    return OrderState(
        order.status.value if order.status in _ENDS else None,
        order.quantity,
        order.filled_quantity,
        order.price,
        order.trigger_price,
    )


def updated(order: Order) -> datetime:
    """Return when an order changed last, by the exchange or else by Kite; whole seconds."""
    return order.exchange_update_timestamp or order.order_timestamp or _LONG_AGO


def missing(orders: Iterable[Order], written: Mapping[str, Written], asked_us: int) -> list[Order]:
    """Return the orders whose state the topic does not have, in the order of their update times.

    Args:
        orders: Kite's list.
        written: order_id → the newest update in the topic, which was read after the list.
        asked_us: when the list was asked for, UTC microseconds: of two changes in one second that
            which a socket brought since is the newer one.
    """

    def unknown(order: Order) -> bool:
        known = written.get(order.order_id)
        if known is None:
            return True
        # never what is older than the topic has. Kite's times decide where they can: the receive
        # time is that of another replica's clock, which may be minutes ahead of this one
        newer = known.updated < updated(order) or (
            known.updated == updated(order) and known.receive_time_us < asked_us
        )
        return newer and known.state != state_of(order)

    return sorted(filter(unknown, orders), key=updated)


def read_from_ms(orders: Iterable[Order], asked_us: int) -> int:
    """Return from when on the topic has what is known of these orders, UTC milliseconds.

    Kite's list outlives midnight: it begins anew some hours later, and a clock that is ahead has
    the next day before Kite has. Read from midnight on, the topic would know nothing of them.
    """
    midnight = midnight_ms(asked_us)
    oldest = midnight - round(OLDEST_SECONDS * 1000)
    changes = (round(updated(order).timestamp() * 1000) for order in orders)
    first = min((change for change in changes if change > oldest), default=midnight)
    return min(midnight, first) - round(APART_SECONDS * 1000)


class OrderReconciler:
    """Reconciles the orders of one account.

    Args:
        first_slot: of the account.
        fetch: asks for the day's orders.
        settled: waits until Kafka has whatever was received so far.
        read: reads the topic of order updates from a time on, UTC milliseconds, to its end.
        write: writes an update.
        reject: keeps a row that is no order, as JSON.
        failed: is told why the orders could not be reconciled.
        turn: shared by all of the process, so that one reads the topic when another has written:
            two api_keys of one user have the same orders.
        clock: for times of records and of the day.
        settle_seconds: see `SETTLE_SECONDS`.
        turn_seconds: see `TURN_SECONDS`.
        pause_seconds: see `PAUSE_SECONDS`.
    """

    def __init__(
        self,
        first_slot: int,
        fetch: Callable[[], Awaitable[list[Any]]],
        settled: Callable[[], Awaitable[None]],
        read: Callable[[int], AsyncIterator[TailRecord]],
        *,
        write: Callable[[Update], None],
        reject: Callable[[str, int, int], None],
        failed: Callable[[int, str], None],
        turn: asyncio.Lock,
        clock: Clock,
        settle_seconds: float = SETTLE_SECONDS,
        turn_seconds: float = TURN_SECONDS,
        pause_seconds: tuple[float, ...] = PAUSE_SECONDS,
    ) -> None:
        self._first_slot = first_slot
        self._fetch = fetch
        self._settled = settled
        self._read = read
        self._write = write
        self._reject = reject
        self._failed = failed
        self._turn = turn
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._turn_seconds = turn_seconds
        self._pause_seconds = pause_seconds
        # what was opened, for the records: of several since the last list the lowest
        self._slot, self._session_id = first_slot, 0
        # set by an opening, until the list is asked for
        self._opened = asyncio.Event()

    def opened(self, slot: int, session_id: int) -> None:
        """Ask soon: the connection of one of the account's slots was opened."""
        if not self._opened.is_set() or slot <= self._slot:
            self._slot, self._session_id = slot, session_id
        self._opened.set()

    async def run(self) -> NoReturn:
        """Reconcile after each opening, until the task is cancelled."""
        while True:
            await self._opened.wait()
            await asyncio.sleep(self._settle_seconds)
            await asyncio.sleep(self._turn_seconds * (self._slot - self._first_slot))
            # behind the pause: openings within it are answered by the same list
            self._opened.clear()
            await self._reconcile_in_time()

    async def _reconcile_in_time(self) -> None:
        for pause_seconds in (*self._pause_seconds, None):
            try:
                await self._reconcile()
            except ConnectorError as error:
                reason = reason_of(error)
                lasting = isinstance(error, RestError) and not error.temporary
                if lasting or pause_seconds is None:
                    _log.warning("orders_not_reconciled", slot=self._slot, reason=reason)
                    self._failed(self._slot, reason)
                    return
                _log.info("orders_not_reconciled_yet", slot=self._slot, reason=reason)
            else:
                return
            if await within(pause_seconds, self._opened.wait()):
                return  # opened again: that asks for itself

    async def _reconcile(self) -> None:
        asked_us = self._clock.time_us()
        rows = await self._fetch()
        orders = []
        rejected = 0
        for number, row in enumerate(rows):
            if isinstance(row, dict) and (order := parse_order(row)).order_id:
                orders.append(order)
            else:
                rejected += 1
                if rejected <= MAX_REJECTED:
                    self._reject(_text(row), self._slot, self._session_id)
            if number % _ROWS_A_TURN == 0:
                await asyncio.sleep(0)  # ticks come first
        if rejected > MAX_REJECTED:
            self._failed(self._slot, f"{rejected} of {len(rows)} rows of the list are no orders")
        if not orders:
            return
        async with self._turn:
            found = await self._write_missing(orders, asked_us)
        _log.info("orders_reconciled", slot=self._slot, orders=len(orders), written=len(found))

    async def _write_missing(self, orders: list[Order], asked_us: int) -> list[Order]:
        # so that the topic, read next, has what this process wrote
        await self._settled()
        ids = {order.order_id for order in orders}
        written = {}
        async for record in self._read(read_from_ms(orders, asked_us)):
            known = _written(record.value) if record.key in ids else None
            if known is not None:
                written[str(record.key)] = known
        found = missing(orders, written, asked_us)
        for order in found:
            self._write(
                Update(order, _text(order.payload), self._slot, self._session_id,
                       self._clock.time_us(), "reconciled")
            )  # fmt: skip
        return found


def _written(value: Any) -> Written | None:
    """Read an update of the topic; None where it cannot be read: then it is written twice."""
    try:
        known, receive_time_us = parse_order(json.loads(value["payload"])), value["receive_time_us"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not isinstance(receive_time_us, int):
        return None
    return Written(state_of(known), updated(known), receive_time_us)


def _text(row: object) -> str:
    return json.dumps(row, separators=(",", ":"))
