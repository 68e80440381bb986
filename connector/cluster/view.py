"""What the cluster has written of itself, read from Kafka while somebody looks at the page.

A replica's own counters know its own slots. Who owns the others and how they are, what watchlists
claim, which commands came and what was lost before this process began stand in Kafka: in the
metadata of the group's offsets (`connector.cluster.frames`), in `kite.subscriptions`,
`kite.control` and `kite.events`. They are read by assignment, in a thread that begins with the
first look and ends a minute after the last one. Nothing is written, and nothing is logged: what
cannot be read is said on the page.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaException, TopicPartition
from pydantic_core import from_json

from connector.cluster.event_log import LOSSES, EventLog, event_row
from connector.cluster.frames import note_of
from connector.cluster.layout import partitions
from connector.control.commands import Status
from connector.control.held_rules import HeldRule
from connector.control.parsing import Rejected, parse
from connector.control.records import (
    HALT_KEY,
    OWN,
    REPLY_PREFIX,
    RULE_PREFIX,
    Halted,
    Remembered,
    Subscription,
    token_of,
)
from connector.control.remembered_replies import REMEMBERED_COMMANDS
from connector.control.rules import told, watchlist_of
from connector.errors import BrokerUnreachableError, ConnectorError, TopicError
from connector.kafka.avro_records import RecordDecoder
from connector.kafka.groups import cluster_group
from connector.kafka.reader import ADDED_SECONDS, BEGINNING, Reader, bytes_of, text_of
from connector.kafka.topics import TopicNames
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.redaction import cut, first_of, printable
from connector.settings.models import Settings

_K = TypeVar("_K")
_V = TypeVar("_V")

IDLE_SECONDS: Final = 60.0
"""The reading ends so long after the last look."""
MAX_EVENTS: Final = 1000
"""So many rows of events are kept; of a slot's tries that fail alike one row."""
MAX_LOSSES: Final = 1000
"""So many of the newest gaps, drops and backfills are kept, which may be older than the events."""
MAX_COMMANDS: Final = 100
"""So many of the newest commands are kept."""
MAX_WATCHLISTS: Final = 200
"""So many watchlists are shown, in the order of their names; all are counted."""
EVENTS_BACK: Final = 5000
"""Reading begins so many records before the end of each partition of `kite.events`."""
SHOWN_REFUSALS: Final = 5
"""So many refused instruments and errors of a reply are shown."""
_TEXT: Final = 200
_WATCHLISTS_OF_COMMAND: Final = 20
_RETRY_SECONDS: Final = 5.0
# owners write once a second
_OWNERS_SECONDS: Final = 2.0
# an owner's time that is older than that when it is seen first is of a clock that is behind
_APART_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.25
_BATCH: Final = 1000
_ANSWER_SECONDS: Final = 5.0


@dataclass(slots=True)
class Seen:
    """What was read so far; a new object after each change, of which only the maps are shared."""

    loaded: bool = False
    """Whether everything that was there at the beginning has been read."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why a topic, or Kafka, cannot be read."""
    events: Sequence[Mapping[str, Any]] = ()
    """Newest first, as the schema of `kite.events` names them; empty also where it may not."""
    losses: Sequence[Mapping[str, Any]] = ()
    losses_since_ms: int | None = None
    """What was lost from this time on is known: since the oldest event that was read, and the
    newest loss that was forgotten. None where no event was read."""
    commands: Sequence[Mapping[str, Any]] = ()
    """Newest first, each with its reply."""
    watchlists: Sequence[Mapping[str, Any]] = ()
    watchlist_count: int = 0
    revision: int = 0
    slots: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """How each slot is, as its owner wrote it, with `last_frame_us` and `moved_at`: when that was
    seen to change last, monotonic seconds, None where it was not yet."""
    carried: Mapping[int, int] = field(default_factory=dict)
    """How many instruments each slot is to stream."""
    halts: Mapping[int, Halted] = field(default_factory=dict)
    """The slots that somebody paused or stopped."""
    subscriptions: Mapping[int, Subscription] = field(default_factory=dict)


class ClusterView:
    """Reads while it is looked at; `look` from one thread, `close` at the end.

    Args:
        settings: the brokers, the name, and whether there is a cluster.
        topics: the topics' names.
        clock: for ends and pauses.
    """

    def __init__(
        self, settings: Settings, topics: TopicNames, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._clock = clock
        # when somebody looked last, in the clock's monotonic seconds; the thread ends by it
        self._looked = 0.0
        # set once, by the service's end; cuts the pause of a thread that waits to try again
        self._closed = threading.Event()
        # there is one only while somebody looks
        self._thread: threading.Thread | None = None
        # replaced whole by the thread, read by whoever shows it
        self._seen = Seen()

    def look(self) -> Seen:
        """Return what was read so far; begins to read, or goes on."""
        self._looked = self._clock.monotonic()
        thread = self._thread
        if (thread is None or not thread.is_alive()) and not self._closed.is_set():
            self._seen = Seen()
            self._thread = threading.Thread(target=self._run, name="page", daemon=True)
            self._thread.start()
        return self._seen

    def close(self) -> None:
        """End the reading; returns at once."""
        self._closed.set()

    @property
    def _wanted(self) -> bool:
        idle = self._clock.monotonic() - self._looked > IDLE_SECONDS
        return not (self._closed.is_set() or idle)

    def _run(self) -> None:
        left_out: dict[str, str] = {}
        while self._wanted:
            notes = Notebook(self._settings, self._topics, left_out)
            try:
                with self._reader() as reader:
                    self._read(reader, notes)
            except TopicError as error:
                # all is read again without this topic: the others can be shown
                left_out[error.topic] = error.reason
                self._seen = notes.seen()
            except ConnectorError as error:
                notes.problems["kafka"] = _text(error)
                self._seen = notes.seen()
                self._closed.wait(_RETRY_SECONDS)
        self._seen = Seen()

    def _reader(self) -> Reader:
        settings = self._settings
        own: dict[str, Any] = {}
        if settings.cluster.enabled:
            # not to join it: what its members have left is asked of it
            own["group.id"] = cluster_group(settings.name, settings.topics.prefix)
        return Reader(
            settings.kafka,
            settings.name,
            "page",
            timeout_seconds=_ANSWER_SECONDS,
            log_level=0,
            **own,
        )

    def _read(self, reader: Reader, notes: Notebook) -> None:
        reader.tail_from(notes.places(reader))
        # so that the first round asks at once
        asked_at = -_OWNERS_SECONDS
        looked_at = self._clock.monotonic()
        while self._wanted:
            now = self._clock.monotonic()
            if now - looked_at >= ADDED_SECONDS:
                looked_at = now
                for topic in reader.topics():
                    # one that is away may come back; the others can be shown
                    with contextlib.suppress(BrokerUnreachableError, TopicError):
                        reader.follow_added(topic)
            if notes.slots_told and now - asked_at >= _OWNERS_SECONDS:
                asked_at = now
                notes.read_owners(reader, now)
            message = reader.next(_POLL_SECONDS)
            count = 0
            while message is not None:
                notes.add(
                    str(message.topic()),
                    message.partition() or 0,
                    message.timestamp()[1],
                    text_of(message.key()),
                    bytes_of(message.value()),
                )
                count += 1
                message = reader.next() if count < _BATCH else None
            notes.loaded = notes.loaded or not reader.unfinished
            if notes.changed:
                self._seen = notes.seen()


class Notebook:
    """What was read of the topics, within bounds.

    Args:
        settings: whether there is a cluster, and the longest command.
        topics: the topics' names.
        left_out: topics that cannot be read, and why.
    """

    def __init__(self, settings: Settings, topics: TopicNames, left_out: Mapping[str, str]) -> None:
        self.loaded = False
        # whether `seen` would differ from the last one: making it costs what there is, not what
        # changed
        self.changed = True
        self.problems = dict(left_out)
        # whether owners write how slots are; without a cluster only events are read
        self.slots_told = settings.cluster.enabled
        self._settings = settings
        self._topics = topics
        self._decoder = RecordDecoder(topics)
        # what every partition of kite.subscriptions says together, by token
        self._subscriptions: dict[int, Subscription] = {}
        # (watchlist, mode) → instruments, and slot → instruments: counted along, since there may be
        # 300 000 claims and one look a second
        self._claims: Counter[tuple[str, str]] = Counter()
        self._carried: Counter[int] = Counter()
        self._halts: dict[int, Halted] = {}
        self._rules: dict[str, HeldRule] = {}
        self._revision = 0
        self._events = EventLog(MAX_EVENTS)
        # apart from the events, so that a flood of these pushes no loss out
        self._losses = EventLog(MAX_LOSSES)
        # the time of the oldest event that was read: what was lost before it is not known
        self._oldest_ms: int | None = None
        self._commands: deque[dict[str, Any]] = deque(maxlen=MAX_COMMANDS)
        # by command id, oldest first; a command is shown with its reply whichever is read first
        self._replies: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._slots: dict[int, Mapping[str, Any]] = {}
        # whoever only looks may have settings without the accounts
        self._slot_count = partitions(settings.accounts)

    def places(self, reader: Reader) -> list[TopicPartition]:
        """Return where to read from.

        Raises:
            BrokerUnreachableError: no broker answers.
            TopicError: a topic is not there, or may not be read.
        """
        topics = self._topics
        places: list[TopicPartition] = []
        if topics.events not in self.problems:
            for end in reader.ends(topics.events):
                # what retention has deleted of it is passed over: the reader goes on with the
                # oldest there is
                offset = max(0, end.offset - EVENTS_BACK)
                places.append(TopicPartition(topics.events, end.partition, offset))
        if not self.slots_told:
            return places
        if topics.subscriptions not in self.problems:
            every = reader.every(topics.subscriptions, BEGINNING)
            self._slot_count = max(self._slot_count, len(every))
            places += every
        if topics.control not in self.problems:
            places += [
                TopicPartition(topics.control, end.partition, max(0, end.offset - MAX_COMMANDS))
                for end in reader.ends(topics.control)
            ]
        return places

    def read_owners(self, reader: Reader, now: float) -> None:
        """Ask the group what each slot's owner has left; what is not answered stays.

        Args:
            reader: asks.
            now: monotonic seconds.
        """
        topic = self._topics.subscriptions
        slots = range(self._slot_count)
        try:
            left = reader.consumer.committed(
                [TopicPartition(topic, slot) for slot in slots], timeout=_ANSWER_SECONDS
            )
        except (KafkaException, ValueError):
            return
        for one in left:
            last_frame_us, note = note_of(one.metadata)
            if note or last_frame_us:
                known = self._slots.get(one.partition)
                moved = known is not None and known["last_frame_us"] != last_frame_us
                self._slots[one.partition] = {
                    **note,
                    "last_frame_us": last_frame_us,
                    "moved_at": now if moved else known and known["moved_at"],
                }
        self.changed = True

    def add(self, topic: str, partition: int, time_ms: int, key: str, value: bytes | None) -> None:
        """Note a record; what is none of the connector's is passed over."""
        self.changed = True
        try:
            if topic == self._topics.subscriptions:
                self._record(partition, key, value)
            elif topic == self._topics.control:
                self._command(time_ms, value)
            else:
                self._event(value)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return

    def seen(self) -> Seen:
        """Return it all, as it is shown."""
        self.changed = False
        names = sorted({*(name for name, _ in self._claims), *self._rules})
        return Seen(
            loaded=self.loaded,
            problems=dict(self.problems),
            events=self._events.rows(),
            losses=self._losses.rows(),
            losses_since_ms=self._losses_since_ms(),
            commands=[
                {**command, "reply": self._replies.get(command["id"])}
                for command in reversed(self._commands)
            ],
            watchlists=[
                {
                    "name": name,
                    **{mode: self._claims[name, mode] for mode in ("ltp", "quote", "full")},
                    **self._shown_rule(name),
                }
                for name in names[:MAX_WATCHLISTS]
            ],
            watchlist_count=len({watchlist_of(name) for name in names}),
            revision=self._revision,
            slots=dict(self._slots),
            carried=dict(self._carried),
            halts=dict(self._halts),
            subscriptions=self._subscriptions,
        )

    def _losses_since_ms(self) -> int | None:
        """Return since when all losses are here; None where no event was read."""
        if self._oldest_ms is None or self._losses.forgotten_ms is None:
            return self._oldest_ms
        return max(self._oldest_ms, self._losses.forgotten_ms + 1)

    def _shown_rule(self, claimant: str) -> dict[str, str]:
        """Say what a rule claims, and what is wrong with it; nothing where it is none."""
        held = self._rules.get(claimant)
        if held is None:
            return {}
        window = held.window
        around = "" if window is None else f", now {window.middle:g} of {window.expiry}"
        return {"rule": _text(f"{told(held.rule)}{around}"), "problem": _text(held.problem or "")}

    def _record(self, partition: int, key: str, value: bytes | None) -> None:
        if key.startswith(REPLY_PREFIX):
            command_id = key.removeprefix(REPLY_PREFIX)
            _put(self._replies, command_id, value, _shown_reply)
            while len(self._replies) > REMEMBERED_COMMANDS:
                self._replies.popitem(last=False)
        elif key == HALT_KEY:
            _put(self._halts, partition, value, Halted.decode)
        elif key.startswith(RULE_PREFIX):
            _put(self._rules, key.removeprefix(RULE_PREFIX), value, HeldRule.decode)
        elif not key.startswith(OWN):
            self._carry(partition, token_of(key), value)

    def _carry(self, slot: int, token: int, value: bytes | None) -> None:
        known = self._subscriptions.get(token)
        if value is None:
            # the tombstone of the slot that it left says nothing of the slot that has it
            if known is not None and known.slot == slot:
                del self._subscriptions[token]
                self._count(known, -1)
            return
        subscription = Subscription.decode(slot, value)
        if known is not None:
            # partitions are read in any order: of a move the later place counts
            if known.revision > subscription.revision:
                return
            self._count(known, -1)
        self._subscriptions[token] = subscription
        self._count(subscription, 1)
        self._revision = max(self._revision, subscription.revision)

    def _count(self, subscription: Subscription, change: int) -> None:
        self._carried[subscription.slot] += change
        for name, mode in subscription.claims.items():
            self._claims[name, mode.value] += change
            if not self._claims[name, mode.value]:
                del self._claims[name, mode.value]

    def _command(self, time_ms: int, value: bytes | None) -> None:
        command = parse(value, self._settings.cluster.command_max_bytes)
        if isinstance(command, Status):
            return
        if isinstance(command, Rejected):
            shown: dict[str, Any] = {
                "id": command.id or "",
                "type": "no command",
                "detail": _text("; ".join(command.errors)),
            }
        else:
            shown = {"id": command.id, "type": command.type, "detail": described(command)}
            shown |= {"dry_run": command.dry_run, "by": command.by}
            shown["watchlists"] = watchlists_of(command)
        self._commands.append({"time_ms": time_ms, **shown})

    def _event(self, value: bytes | None) -> None:
        event = self._decoder.decode(self._topics.events, value).value
        shown = shown_event(event)
        if shown["type"] != "count":  # one a slot and minute, for whoever proves completeness
            self._events.add(shown)
        if shown["type"] in LOSSES:
            self._losses.add(shown)
        if self._oldest_ms is None or shown["time_ms"] < self._oldest_ms:
            self._oldest_ms = shown["time_ms"]


def frame_age_seconds(note: Mapping[str, Any], clock: Clock) -> float | None:
    """Say how old a slot's last frame is, whatever its owner's clock says.

    Args:
        note: of `Seen.slots`.
        clock: of this machine.

    Returns:
        None where nobody knows of a frame. By the owner's time where that agrees with when it was
        seen to change; by that alone where the clocks are apart.
    """
    last_us, moved_at = note.get("last_frame_us"), note.get("moved_at")
    if not last_us:
        return None
    age: float = max(0.0, (clock.time_us() - last_us) / 1e6)
    if moved_at is None:
        return age
    seen_before: float = clock.monotonic() - moved_at
    return age if seen_before <= age <= seen_before + _APART_SECONDS else seen_before


def _put(
    entries: MutableMapping[_K, _V], key: _K, value: bytes | None, decode: Callable[[bytes], _V]
) -> None:
    """Put what a record says behind all others; a tombstone takes it away."""
    # before it is decoded: what stood there is replaced, though nobody can read by what
    entries.pop(key, None)
    if value is not None:
        entries[key] = decode(value)


def watchlists_of(command: Any) -> list[str]:
    """Return the watchlists that a command is about: few, though a sequence may name many."""
    named = [getattr(one, "watchlist", None) for one in (command, *getattr(command, "steps", ()))]
    return sorted({name for name in named if name is not None})[:_WATCHLISTS_OF_COMMAND]


def described(command: Any) -> str:
    """Say in a few words what a command asks for."""
    words = []
    if watchlist := getattr(command, "watchlist", None):
        words.append(watchlist)
    instruments = getattr(command, "instruments", None)
    if instruments is not None:
        words.append(first_of(instruments, 3) or "no instruments")
    if (rule := getattr(command, "rule", None)) is not None:
        claims = getattr(command, "claims", None)
        words.append(f"rule {rule}{f': {told(claims)}' if claims is not None else ''}")
    if (priority := getattr(command, "priority", None)) is not None:
        words.append(f"quota {getattr(command, 'quota', None) or 'none'}, priority {priority}")
    if mode := getattr(command, "mode", None):
        words.append(f"as {mode.value}")
    if steps := getattr(command, "steps", None):
        words.append(first_of([f"{step.type} {step.watchlist}" for step in steps], 3))
    if (slot := getattr(command, "slot", None)) is not None:
        words.append(f"slot {slot}")
    return _text(" ".join(words))


def shown_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of `kite.events` as the page shows it.

    Raises:
        KeyError, AttributeError: it is no event.
    """
    return event_row(
        _milliseconds(event["time"]), str(event["type"]), event["slot"],
        event.get("account") or "", str(event.get("reason") or ""),
        _milliseconds(event.get("gap_from")), _milliseconds(event.get("gap_to")),
        event.get("instruments"),
    )  # fmt: skip


def _shown_reply(value: bytes) -> Mapping[str, Any]:
    reply = from_json(Remembered.decode(value).reply)
    refused = reply.get("refused") or []
    errors = reply.get("errors") or []
    return {
        "status": str(reply["status"]),
        "revision": reply.get("revision"),
        "accepted": reply.get("accepted", 0),
        "refused": len(refused),
        "reasons": [
            _text(text)
            for text in (
                *(str(error) for error in errors[:SHOWN_REFUSALS]),
                *(f"{one['instrument']}: {one['reason']}" for one in refused[:SHOWN_REFUSALS]),
            )
        ],
    }


def _text(text: object) -> str:
    return printable(cut(str(text), _TEXT))


def _milliseconds(time: Any) -> int | None:
    if time is None:
        return None
    return time if isinstance(time, int) else round(time.timestamp() * 1000)
