"""One instrument, as whoever asks why it has no ticks needs to see it.

While somebody looks at an instrument of this process, the frames of its slot are searched for its
token, and its newest packet is kept: nothing is parsed until it is shown, and nothing is searched
once nobody has looked for some seconds. What is wrong is worked out from what is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from connector.control.records import Subscription
from connector.errors import ParseTickError
from connector.kite.clock import IST, SYSTEM_CLOCK, Clock
from connector.kite.market_hours import market_open
from connector.kite.wire.layout import MAX_PACKETS_PER_FRAME
from connector.kite.wire.models import Exchange
from connector.kite.wire.packets import Tick, parse_packet
from connector.service.pipeline import Pipeline

MAX_INSPECTED: Final = 32
"""So many instruments are watched at a time; a further one takes the place of the oldest."""
LOOK_SECONDS: Final = 10.0
"""An instrument is watched for so long after the last look."""
MAX_SEARCH_CHARS: Final = 64
"""A longer search finds nothing: no name is as long."""
MAX_FOUND: Final = 20
"""A search tells so many instruments."""
MAX_MEMBERS: Final = 100
"""So many members of a watchlist are told at a time."""
_LATE_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Watched:
    slot: int
    pattern: bytes
    since: float
    """When it was looked at first, as the next two in the clock's monotonic seconds."""
    until: float
    packets: int = 0
    last: bytes = b""
    last_at: float = 0.0


class Inspector:
    """Watches instruments for whoever looks; belongs to the event loop.

    Args:
        clock: for its seconds.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        # by token, in the order of the last looks: the first one makes room
        self._watched: dict[int, _Watched] = {}
        self._pipeline: Pipeline | None = None

    def look(self, pipeline: Pipeline, token: int, slot: int) -> dict[str, Any]:
        """Return what was seen of an instrument since the first look; begins to watch it.

        Args:
            pipeline: of this process.
            token: the instrument's.
            slot: carries it, in this process.
        """
        self._pipeline = pipeline
        now = self._clock.monotonic()
        self._expire(now)
        if token in self._watched and self._watched[token].slot != slot:
            self._forget(token)
        # the order is that of the last looks
        watched = self._watched.pop(token, None)
        if watched is None:
            if len(self._watched) >= MAX_INSPECTED:
                self._forget(next(iter(self._watched)))
            # big-endian, as it stands at the beginning of a packet
            watched = _Watched(slot, token.to_bytes(4), now, 0)
            pipeline.tap(slot, self._frame(slot))
        watched.until = now + LOOK_SECONDS
        self._watched[token] = watched
        return {
            "packets": watched.packets,
            "watched_seconds": round(now - watched.since, 1),
            "age_seconds": now - watched.last_at if watched.last else None,
            "tick": _shown(watched.last) if watched.last else None,
        }

    def close(self) -> None:
        """Watch nothing any more."""
        for token in list(self._watched):
            self._forget(token)

    def _expire(self, now: float) -> None:
        for token, watched in list(self._watched.items()):
            if watched.until < now:
                self._forget(token)

    def _forget(self, token: int) -> None:
        slot = self._watched.pop(token).slot
        # nobody looks at the slot any more: its frames are handled without a detour again
        if self._pipeline is not None and all(one.slot != slot for one in self._watched.values()):
            self._pipeline.tap(slot, None)

    def _frame(self, slot: int) -> Any:
        def tap(data: bytes, _: int) -> None:
            now, over = self._clock.monotonic(), False
            for watched in self._watched.values():
                if watched.slot != slot:
                    continue
                if watched.until < now:
                    over = True
                # a search for four bytes is cheap; only where it finds them the packets are gone
                # through, since they may be another's price
                elif data.find(watched.pattern) >= 0 and (
                    packet := newest_packet(data, watched.pattern)
                ):
                    watched.packets += 1
                    watched.last, watched.last_at = packet, now
            if over:
                self._expire(now)

        return tap


def newest_packet(frame: bytes, token: bytes) -> bytes | None:
    """Return the last packet of a token in a frame; None where the bytes are another's.

    Args:
        frame: of any bytes: a length that leads out of it ends the search.
        token: four bytes, as they stand at the beginning of a packet.
    """
    found = None
    at = 2
    for _ in range(min(int.from_bytes(frame[:2]), MAX_PACKETS_PER_FRAME)):
        length = int.from_bytes(frame[at : at + 2])
        at += 2
        if at + length > len(frame):
            break
        if frame[at : at + 4] == token:
            found = frame[at : at + length]
        at += length
    return found


def find(
    text: str, subscriptions: Mapping[int, Subscription], listed: Collection[int] = ()
) -> list[dict[str, Any]]:
    """Find instruments by a part of their name or the beginning of their token.

    Args:
        text: as somebody wrote it.
        subscriptions: what is subscribed.
        listed: tokens that today's list has under exactly this name, subscribed or not.
    """
    wanted = text.strip().upper()
    if not wanted or len(wanted) > MAX_SEARCH_CHARS:
        return []
    ranked: list[tuple[int, bool, str, int]] = []
    digits = wanted.isdigit()
    # Kite's names have no small letters; this goes over 9000 of them while ticks wait
    # a copy, as the view's thread changes it meanwhile
    for token, subscription in list(subscriptions.items()):
        name = subscription.symbol or ""
        if wanted in name:
            short = name.partition(":")[2]
            rank = 0 if wanted in (name, short) else 1 if short.startswith(wanted) else 2
            # of a name on two exchanges, NSE's is what most mean
            ranked.append((rank, not name.startswith("NSE:"), name, token))
        elif digits and (number := str(token)).startswith(wanted):
            ranked.append((0 if number == wanted else 2, False, number, token))
    ranked.sort()
    found = [
        {
            "token": token,
            "symbol": subscriptions[token].symbol,
            "mode": subscriptions[token].mode.value,
            "slot": subscriptions[token].slot,
        }
        for *_, token in ranked[:MAX_FOUND]
        if token in subscriptions
    ]
    known = {one["token"] for one in found}
    found += [
        {"token": token, "symbol": wanted if ":" in wanted else None, "mode": None, "slot": None}
        for token in list(listed)[:MAX_FOUND]
        if token not in known
    ]
    return found[:MAX_FOUND]


def members(
    watchlist: str, subscriptions: Mapping[int, Subscription], start: int = 0
) -> dict[str, Any]:
    """Return what a watchlist claims, by name: `MAX_MEMBERS` of it, and how many there are.

    Args:
        watchlist: its name.
        subscriptions: what is subscribed.
        start: so many are passed over.
    """
    claimed = sorted(
        (
            (subscription.symbol or "", token, subscription)
            for token, subscription in list(subscriptions.items())
            if watchlist in subscription.claims
        ),
        # those without a name come last
        key=lambda one: (not one[0], one[0], one[1]),
    )
    return {
        "watchlist": watchlist,
        "count": len(claimed),
        "start": start,
        "step": MAX_MEMBERS,
        "members": [
            {
                "token": token,
                "symbol": subscription.symbol,
                "mode": subscription.claims[watchlist].value,
                "slot": subscription.slot,
            }
            for _, token, subscription in claimed[start : start + MAX_MEMBERS]
        ],
    }


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an instrument where somebody asks why it has no ticks."""

    subscription: Subscription | None
    listed: bool
    """Whether today's list of instruments has it."""
    list_loaded: bool
    exchange: Exchange | None
    now: datetime
    slot_state: str | None
    """The state of its slot's connection; None where nobody has told."""
    slot_trouble: str = ""
    here: bool = False
    """Whether its slot is this process's."""
    silent: bool | None = None
    """Whether it has sent no packet on the present socket; None where that is not known."""
    age_seconds: float | None = None
    """The age of the newest packet that was seen, while it is watched."""
    watched_seconds: float = 0.0
    broker_reachable: bool = True
    exchange_ticks: bool = False
    """Whether this process has received ticks of its exchange in the last seconds."""


def reasons(facts: Facts) -> list[str]:
    """Explain why an instrument has no ticks; empty where it has.

    The first is the cause, as far as it is known. What would stand in the way too, were the first
    one mended, comes after it, and is called that.
    """
    subscription = facts.subscription
    if subscription is None:
        found = ["No watchlist claims it: nobody has subscribed it."]
        if facts.list_loaded and not facts.listed:
            found.append("Today's list of instruments does not have it.")
        return found
    found = _of_the_slot(facts, subscription.slot)
    if facts.list_loaded and not facts.listed:
        found.append("Today's list of instruments does not have it: expired, or renamed.")
    if subscription.expiry is not None and subscription.expiry < facts.now.astimezone(IST).date():
        found.append(f"Its last trading day was {subscription.expiry}.")
    exchange = facts.exchange
    closed = exchange is not None and not market_open(exchange, facts.now)
    if exchange is not None and closed and not facts.exchange_ticks:
        besides = f"Besides, {exchange.name} does not trade at this time: few ticks would come."
        found.append(besides if found else f"{exchange.name} does not trade at this time.")
    if facts.silent:
        found.append(
            "It has sent no packet on the present socket, although it was asked for: Kite does not "
            "serve it, or nothing is traded."
        )
    ticks = facts.age_seconds is not None and facts.age_seconds <= _LATE_SECONDS
    if not found and not ticks and facts.here and facts.watched_seconds >= _LATE_SECONDS:
        found.append("Everything is as it should be: nothing was traded or quoted meanwhile.")
    if not facts.broker_reachable:
        found.append("Kafka is not reachable: its ticks wait on this process's disk.")
    return found


def remarks(facts: Facts) -> list[str]:
    """Say what looks like a reason, and is none."""
    exchange = facts.exchange
    if exchange is None or not facts.exchange_ticks or market_open(exchange, facts.now):
        return []
    name = exchange.name
    return [f"By the calendar {name} is closed at this time, yet ticks of it came just now."]


def _of_the_slot(facts: Facts, slot: int) -> list[str]:
    if facts.slot_state is None:
        return [f"Nobody has told how slot {slot} is: it may have no owner."]
    if facts.slot_state != "connected":
        words = facts.slot_state.replace("_", " ")
        return [f"Slot {slot} is {words}. {facts.slot_trouble}".strip()]
    return [f"Slot {slot}: {facts.slot_trouble}"] if facts.slot_trouble else []


def changed_by(
    subscription: Subscription, commands: Iterable[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return which command brought a subscription to what it is; None where none is known.

    Args:
        subscription: has the revision of its last change.
        commands: newest first, each with its reply, as `connector.cluster.view` tells them.
    """
    found = None
    for command in commands:
        reply = command.get("reply")
        if (
            reply is not None
            and not command.get("dry_run")
            and (reply["status"], reply["revision"]) == ("APPLIED", subscription.revision)
            and not subscription.claims.keys().isdisjoint(command.get("watchlists", ()))
        ):
            # one that changes nothing leaves the revision as it was: the first has made it
            found = command
    if found is None:
        return None
    return {name: found.get(name) for name in ("type", "by", "time_ms")}


def _shown(packet: bytes) -> dict[str, Any] | None:
    try:
        tick = parse_packet(packet)
    except ParseTickError as error:
        return {"problem": error.reason}
    return shown_tick(tick)


def shown_tick(tick: Tick) -> dict[str, Any]:
    """Return a tick as the page shows it."""
    shown = tick.to_dict()
    shown["change"] = tick.change
    shown["last_trade_ms"] = _ms(shown.pop("last_trade_time"))
    shown["exchange_ms"] = _ms(shown.pop("exchange_timestamp"))
    return shown


def _ms(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)
