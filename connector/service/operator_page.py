"""The page for operators: its files, what it shows, and the stream that keeps it live.

    /                     the page
    /page/…               its files
    /page/stream          server-sent events: a snapshot a second, the same one for all viewers
    /page/instruments     ?q=…: instruments by a part of their name, or their token
    /page/watchlist       ?name=…&start=…: what a watchlist claims, a hundred at a time
    /page/events          ?slot=…: the newest events of one slot
    /page/instrument      ?token=…: one instrument, its newest tick, and why it has none
    /page/command         POST: a command, where there is an operator's token

Nothing is worked for, read or kept while nobody looks. Asking changes nothing and logs nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs

from connector.cluster.event_log import shared
from connector.cluster.layout import slots_by_account
from connector.cluster.view import ClusterView, Seen, frame_age_seconds
from connector.control.records import Subscription
from connector.kite.clock import IST, SYSTEM_CLOCK, Clock, midnight_ms
from connector.kite.web.http_server import EventStream, HttpRequest, Response, ServerConnection
from connector.kite.wire.models import Exchange
from connector.redaction import printable
from connector.service import page_files
from connector.service.inspector import (
    Facts,
    Inspector,
    changed_by,
    find,
    members,
    reasons,
    remarks,
)
from connector.service.missed import missed
from connector.service.operator_commands import (
    ANSWER_HEADERS,
    PATH,
    OperatorCommands,
    json_answer,
)
from connector.service.readiness import ServiceProgress
from connector.service.slot_owner import SlotOwner
from connector.service.static_slots import SETTINGS_WATCHLIST
from connector.service.status import ConnectionStatus, ServiceStatus
from connector.settings.models import Settings

MAX_VIEWERS: Final = 20
"""So many pages are kept live at a time; whoever comes then is told to come again."""
SNAPSHOT_SECONDS: Final = 1.0
"""Snapshots are so far apart, however many look."""
MAX_QUESTIONS_A_SECOND: Final = 20
"""So many searches and looks at instruments a second are answered, of all viewers together."""
QUESTIONS_SHARE: Final = 0.2
"""They take at most this share of the event loop's time: a search looks at all instruments."""
MAX_WAITING: Final = 20
"""So many questions that come too soon wait for their turn; further ones are told to come again."""
WAIT_SECONDS: Final = 1.0
"""They wait for so long at most."""
MAX_QUERY_CHARS: Final = 256
"""The part of an address behind the question mark may be so long."""
SHOWN_EVENTS: Final = 60
SHOWN_COMMANDS: Final = 30
SHOWN_UNRESOLVED: Final = 50
SHOWN_UNSERVED: Final = 20
# without a cluster they are made of the settings, and change with the list of instruments alone
_SUBSCRIPTIONS_SECONDS: Final = 5.0
_Question = Callable[[Mapping[str, str]], Response]


class OperatorPage:
    """Answers what the page asks for; belongs to the event loop.

    Args:
        settings: the accounts, and the name.
        status: makes a snapshot of this process.
        history: packets of a slot from second to second, oldest first.
        owner: knows the instruments and the connections of this process.
        progress: how far the service has come.
        view: what the cluster has written of itself.
        host: this process's name in the cluster.
        commands: takes commands; the page only reads where it takes none.
        clock: for times.
    """

    def __init__(
        self,
        settings: Settings,
        status: Callable[[], ServiceStatus],
        history: Callable[[int], list[int]],
        owner: SlotOwner,
        progress: ServiceProgress,
        view: ClusterView,
        host: str,
        *,
        commands: OperatorCommands | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._status = status
        self._history = history
        self._owner = owner
        self._progress = progress
        self._view = view
        self.host = host
        """The name of this process in the cluster."""
        self._commands = commands
        self._clock = clock
        self._inspector = Inspector(clock)
        self._accounts = {
            slot: settings.accounts[number].name
            for slot, number in slots_by_account(settings.accounts).items()
        }
        # each with the number of the view that it has
        self._viewers: dict[ServerConnection, int] = {}
        # there is one only while somebody looks
        self._timer: asyncio.TimerHandle | None = None
        # when the snapshot was made, monotonic seconds: one serves all viewers and questions of a
        # second
        self._made_at = 0.0
        # what the snapshot was made of, for questions
        self._last_status: ServiceStatus | None = None
        # as they go over the wire, encoded once for all viewers
        self._history_event = self._snapshot = b""
        # the part that seldom changes, and its number: sent to a viewer only where it has an older
        # one
        self._shown = b""
        self._shown_number = 0
        # since when questions are counted, and how many there were
        self._asked = (0.0, 0)
        # monotonic seconds: answering rests after each question, so that ticks have the rest of the
        # time
        self._rests_until = 0.0
        # how many questions wait for their turn
        self._waiting = 0
        self._questions: Mapping[str, _Question] = {
            "/page/instruments": self._instruments,
            "/page/watchlist": self._members,
            "/page/events": self._events,
            "/page/instrument": self._instrument,
        }
        # (when it was made, what is subscribed) of a process without a cluster
        self._own: tuple[float, Mapping[int, Subscription]] = (0.0, {})

    @property
    def takes_commands(self) -> bool:
        """Whether whoever has the operator's token may change something."""
        return self._commands is not None and self._commands.enabled

    @property
    def viewers(self) -> int:
        """How many pages are live."""
        return len(self._viewers)

    def close(self) -> None:
        """Look at nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._inspector.close()
        self._view.close()

    def answer(self, request: HttpRequest) -> Response | EventStream | Awaitable[Response] | None:
        """Return what the page asks for; None for what is not the page's."""
        if (file := page_files.answer(request.path)) is not None:
            return file
        if not request.path.startswith("/page/"):
            return None
        if request.path == PATH and self._commands is not None and self.takes_commands:
            return self._commands.answer(request)
        # before it is parsed
        if len(request.query) > MAX_QUERY_CHARS:
            return json_answer(
                414, {"error": f"more than {MAX_QUERY_CHARS} characters behind the ?"}
            )
        if request.path == "/page/stream":
            if len(self._viewers) >= MAX_VIEWERS:
                return json_answer(503, {"error": f"{MAX_VIEWERS} pages are open already"})
            return EventStream("text/event-stream; charset=utf-8", self._open, ANSWER_HEADERS)
        question = self._questions.get(request.path)
        if question is None:
            return None
        asked = {name: values[-1] for name, values in parse_qs(request.query).items()}
        wait_ms = self._rest_ms()
        if not wait_ms:
            return self._answered(question, asked)
        if self._waiting >= MAX_WAITING:
            return _too_many(wait_ms)
        self._waiting += 1
        return self._when_rested(question, asked, wait_ms)

    async def _when_rested(
        self, question: _Question, asked: Mapping[str, str], ms: int
    ) -> Response:
        """Answer a question as soon as one may be, where that is soon."""
        latest = self._clock.monotonic() + WAIT_SECONDS
        try:
            while ms:
                if self._clock.monotonic() + ms / 1000 > latest:
                    return _too_many(ms)
                rested = asyncio.Event()
                timer = self._clock.call_later(ms / 1000, rested.set)
                try:
                    await rested.wait()
                finally:
                    timer.cancel()
                ms = self._rest_ms()
            return self._answered(question, asked)
        finally:
            self._waiting -= 1

    def _answered(self, question: _Question, asked: Mapping[str, str]) -> Response:
        began = self._clock.monotonic()
        try:
            return question(asked)
        finally:
            now = self._clock.monotonic()
            self._rests_until = max(self._rests_until, now + (now - began) / QUESTIONS_SHARE)

    # the stream

    def _open(self, viewer: ServerConnection) -> Callable[[], None]:
        if self._clock.monotonic() - self._made_at >= SNAPSHOT_SECONDS or not self._viewers:
            self._make()
        self._viewers[viewer] = 0
        # the browser connects again after so many milliseconds (HTML, server-sent events)
        viewer.push(b"retry: 3000\n\n" + self._history_event + self._news(viewer))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SNAPSHOT_SECONDS, self._turn)

        def lost() -> None:
            self._viewers.pop(viewer, None)

        return lost

    def _turn(self) -> None:
        """Show all viewers the same; whoever has not read the last one misses this one."""
        self._timer = None
        if not self._viewers:
            return
        self._timer = asyncio.get_running_loop().call_later(SNAPSHOT_SECONDS, self._turn)
        self._make()
        for viewer, number in list(self._viewers.items()):
            if not viewer.push(self._news(viewer)):
                self._viewers[viewer] = number

    def _news(self, viewer: ServerConnection) -> bytes:
        """Return the snapshot, with the view where the viewer has an older one."""
        if self._viewers[viewer] == self._shown_number:
            return self._snapshot
        self._viewers[viewer] = self._shown_number
        return self._shown + self._snapshot

    def _make(self) -> None:
        self._made_at = self._clock.monotonic()
        seen = self._view.look()
        status = self._status()
        history = {slot: self._history(slot) for slot in self._accounts}
        self._history_event = _event("history", history)
        self._last_status = status
        self._snapshot = _event("snapshot", self.snapshot(status, seen))
        shown = _event("view", self.view(seen))
        # compared as it goes over the wire: what nobody would see is no change
        if shown != self._shown:
            self._shown = shown
            self._shown_number += 1

    # what it shows

    def snapshot(self, status: ServiceStatus, seen: Seen) -> dict[str, Any]:
        """Return what changes from second to second: this process, and how each slot is."""
        document = status.as_json()
        document["unresolved"] = document["unresolved"][:SHOWN_UNRESOLVED]
        document["unserved"] = document["unserved"][:SHOWN_UNSERVED]
        for connection in document["connections"]:
            connection["last_error"] = _printable(connection["last_error"])
            points = self._history(connection["slot"])
            connection["packets_last_second"] = points[-1] if points else None
        return {
            "now_ms": self._clock.time_us() // 1000,
            "host": self.host,
            "commands": self.takes_commands,
            "status": document,
            "slots": self._slots(status.connections, seen),
            "leader": self._leader(seen),
        }

    def view(self, seen: Seen) -> dict[str, Any]:
        """Return what changes now and then: events, losses, commands and watchlists."""
        since_ms = midnight_ms(self._clock.time_us())
        events = seen.events or self._own_events()
        if seen.events:
            lost, known_ms = seen.losses, seen.losses_since_ms
        else:
            lost, known_ms = events, min((one["first_ms"] for one in events), default=None)
        watchlists, count = seen.watchlists, seen.watchlist_count
        if not self._settings.cluster.enabled:
            watchlists = [_watchlist(SETTINGS_WATCHLIST, self._subscriptions(seen))]
            count = 1
        return {
            "loaded": seen.loaded,
            "problems": seen.problems,
            "clustered": self._settings.cluster.enabled,
            "revision": seen.revision,
            "events": shared(events, SHOWN_EVENTS),
            "events_of_all": bool(seen.events),
            "losses": {
                **missed(lost, since_ms, known_ms),
                "backfill": self._settings.topics.backfill,
            },
            "commands": seen.commands[:SHOWN_COMMANDS],
            "watchlists": watchlists,
            "watchlist_count": count,
        }

    def _own_events(self) -> Sequence[Mapping[str, Any]]:
        running = self._progress.running
        if running is None:
            return []
        return running.pipeline.recent_events.rows()

    def _slots(self, connections: Sequence[ConnectionStatus], seen: Seen) -> list[dict[str, Any]]:
        own = {one.slot: one for one in connections}
        shown = []
        for slot, account in self._accounts.items():
            row: dict[str, Any] = {
                "slot": slot,
                "account": account,
                "here": slot in own,
                "halt": None,
            }
            if (halted := seen.halts.get(slot)) is not None:
                row["halt"] = {
                    "how": halted.halt.value,
                    "by": _printable(halted.by),
                    "since_ms": halted.time_ms,
                }
            note = seen.slots.get(slot, {})
            if (connection := own.get(slot)) is not None:
                row |= {
                    "owner": self.host,
                    "state": connection.state,
                    "desired": connection.desired,
                    "confirmed": connection.confirmed,
                    "rate": round(connection.ticks_per_second),
                    "age_seconds": connection.last_frame_age_seconds,
                    "trouble": _printable(connection.present_trouble),
                }
            else:
                row |= {
                    "owner": _printable(note.get("owner")),
                    "state": _printable(note.get("state")),
                    "desired": seen.carried.get(slot, note.get("desired")),
                    "confirmed": note.get("confirmed"),
                    "rate": note.get("rate"),
                    "age_seconds": frame_age_seconds(note, self._clock),
                    "trouble": _printable(note.get("trouble")),
                }
            shown.append(row)
        return shown

    def _leader(self, seen: Seen) -> str | None:
        if self._owner.leads:
            return self.host
        told = (note.get("owner") for note in seen.slots.values() if note.get("leads"))
        return next((_printable(owner) for owner in told), None)

    # questions

    def _instruments(self, asked: Mapping[str, str]) -> Response:
        return json_answer(200, {"found": self._find(asked.get("q", ""))})

    def _members(self, asked: Mapping[str, str]) -> Response:
        start = asked.get("start", "0")
        if not _is_count(start):
            return json_answer(400, {"error": "start=… must be a number from 0 on"})
        subscriptions = self._subscriptions(self._view.look())
        return json_answer(200, members(asked.get("name", ""), subscriptions, int(start)))

    def _events(self, asked: Mapping[str, str]) -> Response:
        slot = asked.get("slot", "")
        if not _is_count(slot):
            return json_answer(400, {"error": "slot=… must be a number from 0 on"})
        events = self._view.look().events or self._own_events()
        found = [event for event in events if event["slot"] == int(slot)]
        return json_answer(200, {"slot": int(slot), "events": found[:SHOWN_EVENTS]})

    def _subscriptions(self, seen: Seen) -> Mapping[int, Subscription]:
        if self._settings.cluster.enabled:
            return seen.subscriptions
        made_at, own = self._own
        if not own or self._clock.monotonic() - made_at >= _SUBSCRIPTIONS_SECONDS:
            own = self._owner.subscriptions() or {}
            self._own = (self._clock.monotonic(), own)
        return own

    def _find(self, text: str) -> list[dict[str, Any]]:
        names, listed = self._owner.names(), []
        wanted = text.strip().upper()
        if ":" in wanted:
            listed = list(names.listed(wanted))
        elif (token := _token(wanted)) is not None and names.symbol(token) is not None:
            listed = [token]
        return find(text, self._subscriptions(self._view.look()), listed)

    def _instrument(self, asked: Mapping[str, str]) -> Response:
        token = _token(asked.get("token", ""))
        if token is None:
            return json_answer(
                400, {"error": "token=… must be an instrument token, 1 to 4294967295"}
            )
        seen, names = self._view.look(), self._owner.names()
        subscription = self._subscriptions(seen).get(token)
        exchange = _exchange(token)
        document: dict[str, Any] = {
            "token": token,
            "symbol": (subscription and subscription.symbol) or names.symbol(token),
            "exchange": exchange and exchange.name,
            "expiry": subscription and subscription.expiry and subscription.expiry.isoformat(),
        }
        slot: dict[str, Any] = {}
        running = self._progress.running
        looked: dict[str, Any] = {}
        # nobody may look at the page while a question is asked
        if self._clock.monotonic() - self._made_at >= SNAPSHOT_SECONDS:
            self._make()
        status = self._last_status or self._status()
        if subscription is not None:
            rows = self._slots(status.connections, seen)
            slot = next((row for row in rows if row["slot"] == subscription.slot), {})
            document |= {
                "mode": subscription.mode.value,
                "claims": {name: mode.value for name, mode in subscription.claims.items()},
                "revision": subscription.revision,
                "changed_by": _printed(changed_by(subscription, seen.commands)),
                "slot": subscription.slot,
                "owner": slot.get("owner"),
                "here": bool(slot.get("here")),
            }
            if slot.get("here") and running is not None:
                looked = self._inspector.look(running.pipeline, token, subscription.slot)
                document |= looked
        silent = None if subscription is None else self._owner.silent_tokens(subscription.slot)
        facts = Facts(
            subscription,
            listed=names.symbol(token) is not None,
            list_loaded=len(names) > 0,
            exchange=exchange,
            now=self._now(),
            slot_state=slot.get("state"),
            slot_trouble=slot.get("trouble") or "",
            here=bool(slot.get("here")),
            silent=None if silent is None else token in silent,
            age_seconds=looked.get("age_seconds"),
            watched_seconds=looked.get("watched_seconds", 0.0),
            broker_reachable=status.producer.broker_reachable,
            exchange_ticks=any(
                one.ticks_per_second > 0
                for one in status.exchanges
                if exchange is not None and one.exchange == exchange.name
            ),
        )
        document |= {"reasons": reasons(facts), "remarks": remarks(facts)}
        document["loaded"] = seen.loaded or not self._settings.cluster.enabled
        return json_answer(200, document)

    def _rest_ms(self) -> int:
        """Return 0 where a question is answered now, else in how many milliseconds one may be."""
        now = self._clock.monotonic()
        if now < self._rests_until:
            return _milliseconds(self._rests_until - now)
        since, count = self._asked
        if now - since >= 1.0:
            since, count = now, 0
        self._asked = (since, count + 1)
        return 0 if count < MAX_QUESTIONS_A_SECOND else _milliseconds(since + 1.0 - now)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time_us() / 1e6, IST)


def _watchlist(name: str, subscriptions: Mapping[int, Subscription]) -> dict[str, Any]:
    counts = {"ltp": 0, "quote": 0, "full": 0}
    for subscription in subscriptions.values():
        counts[subscription.mode.value] += 1
    return {"name": name, **counts}


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6


def _too_many(retry_ms: int) -> Response:
    error = "too many questions: ask again in a second"
    return json_answer(429, {"error": error, "retry_ms": retry_ms})


def _token(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    token = int(text)
    return token if 0 < token < 2**32 else None


def _exchange(token: int) -> Exchange | None:
    try:
        return Exchange.of(token)
    except ValueError:
        return None


def _printable(text: Any) -> str | None:
    return None if text is None else printable(str(text))


def _printed(command: dict[str, Any] | None) -> dict[str, Any] | None:
    return command and {**command, "by": _printable(command["by"])}


def _event(name: str, document: Any) -> bytes:
    text = json.dumps(document, separators=(",", ":"), default=str)
    return f"event: {name}\ndata: {text}\n\n".encode()
