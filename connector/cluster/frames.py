"""When each slot's last frame came, kept where the next owner finds it, and whether it has one.

It stands in the metadata of the group's committed offset of the slot's partition: brokers take that
from the present owner alone, keep it over every restart, and hand it to the next one. Written each
second, since an owner that is killed hands nothing over, and once more when a slot is given up.
Beside the time stands how the slot is, in a few words, for whoever looks at another replica, and
the id of the member that wrote it: another program's consumer, which owns slots too, writes none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connector.kite.clock import Clock
from connector.kite.wire.messages import json_object

KEEP_SECONDS: Final = 1.0
"""What a killed owner leaves is at most so old: a gap begins so much too early."""
READ_SECONDS: Final = 2.0
"""A new owner waits so long for the answer; after that the gap has no beginning."""
AHEAD_SECONDS: Final = 60.0
"""A time that is farther ahead of this machine's clock is unknown: one of both was wrong, or
another program wrote it. Nothing was received then."""
_FIELD: Final = "last_frame_us"
_INSTANCE: Final = "instance"
_MEMBER: Final = "member"
_FREE: Final = "free"
"""The mark beside the time of a slot whose owner has released it."""
_NOTE: Final = "note"
_TEXTS: Final = ("owner", "state", "trouble")
_HEARD: Final = "heard_us"
"""When the last frame of any kind came, UTC microseconds. The time beside the note is that of the
last tick while heartbeats alone prove nothing, as all night where the feed fell mute at the close.
"""
_COUNTS: Final = ("desired", "confirmed", "rate", _HEARD)
MAX_NOTE_BYTES: Final = 1024
"""A longer note is left out: brokers keep 4 KiB of metadata unless they are told otherwise."""


class Left(NamedTuple):
    """What a slot's owner has left for the next one."""

    last_frame_us: int
    """When the slot's last frame came, UTC microseconds; None before the first."""
    owned: bool
    """Whether the writer owned the slot at that time; one that was killed says so for ever."""
    instance: str | None = None
    """The `cluster.instance` of the process that wrote it."""


class SlotFrames:
    """Belongs to the member's thread, as its consumer does.

    Args:
        topic: whose partition k stands for slot k.
        clock: for its seconds.
        instance: the process's `cluster.instance`, by which it knows what it left itself.
    """

    def __init__(self, topic: str, clock: Clock, instance: str | None = None) -> None:
        self._topic = topic
        self._clock = clock
        self._own: dict[str, str] = {} if instance is None else {_INSTANCE: instance}
        self._log = structlog.get_logger("connector.cluster")
        # the offset after what was read of each partition: what is committed with the metadata
        self._reached: dict[int, int] = {}
        # the times and notes that were written last, by slot: only what differs is written again
        self._kept: dict[int, int] = {}
        self._noted: dict[int, Mapping[str, Any]] = {}
        # nothing is written, or looked for, before this, in the clock's monotonic seconds
        self._keep_after = self._look_after = 0.0
        # what their owners before have left is not known: a note must not take its place
        self._unread: set[int] = set()
        # what they have left, where it was read
        self._found: dict[int, int] = {}
        # the member id that was written last, by slot
        self._signed: dict[int, str] = {}

    def reached(self, message: Message) -> None:
        """Note how far a partition was read, so that the group shows no lag."""
        offset = message.offset()
        if message.topic() == self._topic and offset is not None:
            # the end of a partition comes with the offset behind it, past markers of transactions,
            # which are no messages
            after = offset + (message.error() is None)
            slot = message.partition() or 0
            self._reached[slot] = max(after, self._reached.get(slot, 0))

    def read(self, consumer: Consumer, slots: Sequence[int]) -> dict[int, Left]:
        """Read what the owners before have left, by slot; blocks up to `READ_SECONDS`."""
        if not slots:
            return {}
        try:
            found = consumer.committed(
                [TopicPartition(self._topic, slot) for slot in slots], timeout=READ_SECONDS
            )
        except (KafkaException, ValueError) as error:
            # no answer in time, or metadata that is no text
            self._log.warning("last_frames_unknown", slots=slots, reason=str(error))
            self._unread.update(slots)
            return {}
        self._unread.difference_update(slots)
        known = {one.partition: _left(json_object(one.metadata)) for one in found}
        usable = {
            slot: left
            for slot, left in known.items()
            if left is not None and has_been(left.last_frame_us, self._clock)
        }
        for slot in slots:
            self._signed.pop(slot, None)
            self._found.pop(slot, None)
        self._found.update({slot: left.last_frame_us for slot, left in usable.items()})
        return usable

    def keep(
        self,
        consumer: Consumer,
        last_frames_us: Callable[[], Mapping[int, int]],
        owned: Collection[int],
        notes: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write the slots' times where they have changed, once a `KEEP_SECONDS`; never waits.

        Args:
            consumer: the member's.
            last_frames_us: tells the times, UTC microseconds.
            owned: the slots that are this member's to write.
            notes: how slots are, to be written beside their times.
        """
        now = self._clock.monotonic()
        if now < self._keep_after or not owned:
            return
        self._keep_after = now + KEEP_SECONDS
        # else nothing would be written of one that never receives anything
        if unread := self._unread.intersection(owned) - last_frames_us().keys():
            self.read(consumer, sorted(unread))
        notes, times_us = notes or {}, {**self._found, **last_frames_us()}
        # any other program's consumer has none here
        member = consumer.memberid() or ""
        # one without a frame so far has a word all the same, once its partition was read
        changed = {
            slot: times_us.get(slot)
            for slot in {*times_us, *(self._reached.keys() - self._unread)}
            if slot in owned
            and (
                self._kept.get(slot) != times_us.get(slot)
                or self._noted.get(slot, {}) != notes.get(slot, {})
                or self._signed.get(slot) != member
            )
        }
        self._commit(consumer, changed, notes, **{_MEMBER: member})
        self._signed.update(dict.fromkeys(changed, member))

    def signed_by_others(self, consumer: Consumer, slots: Collection[int]) -> set[int]:
        """Return which of these slots another member has signed since this one did.

        Asks once a `KEEP_SECONDS`, and blocks up to `READ_SECONDS`; without an answer none.
        """
        now, known = self._clock.monotonic(), self._signed.keys() & set(slots)
        if now < self._look_after or not known:
            return set()
        self._look_after = now + KEEP_SECONDS
        places = [TopicPartition(self._topic, slot) for slot in known]
        try:
            found = consumer.committed(places, timeout=READ_SECONDS)
        except (KafkaException, ValueError):
            return set()
        words = {one.partition: member_of(one.metadata) for one in found}
        return {slot for slot in known if words[slot] not in (None, self._signed[slot])}

    def hand_over(self, consumer: Consumer, last_frames_us: Mapping[int, int]) -> None:
        """Write the final times of slots that are about to be given up; never waits.

        The request goes before the one that gives the slots up, over the same connection.
        """
        self._commit(consumer, last_frames_us, {}, **{_FREE: True})

    def _commit(
        self,
        consumer: Consumer,
        times_us: Mapping[int, int | None],
        notes: Mapping[int, Mapping[str, Any]],
        **more: object,
    ) -> None:
        if not times_us:
            return
        offsets = [
            TopicPartition(
                self._topic,
                slot,
                self._reached.get(slot, 0),
                _encoded(time_us, {**self._own, **more}, notes.get(slot)),
            )
            for slot, time_us in times_us.items()
        ]
        try:
            # waiting for the answer would hold up the member's polls, and with them rebalances
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # a group that is just forming: the next second's is as good
            self._log.debug("last_frames_not_kept", reason=error.args[0].str())
        else:
            # taken as written without an answer: Kite's heartbeat changes the time each second, so
            # the next commit makes up for one that is lost
            self._kept.update({slot: time for slot, time in times_us.items() if time is not None})
            self._noted.update({slot: dict(notes.get(slot, {})) for slot in times_us})


def has_been(time_us: int, clock: Clock) -> bool:
    """Whether a time that another process wrote is past, UTC microseconds; else it is unknown."""
    return time_us <= clock.time_us() + AHEAD_SECONDS * 1e6


def _encoded(time_us: int | None, more: Mapping[str, Any], note: Mapping[str, Any] | None) -> str:
    fields = {**({} if time_us is None else {_FIELD: time_us}), **more}
    if note:
        with_note = json.dumps({**fields, _NOTE: note}, separators=(",", ":"))
        # characters are bytes, since json.dumps escapes all that is not ASCII
        if len(with_note) <= MAX_NOTE_BYTES:
            return with_note
    return json.dumps(fields)


def signed(member: str) -> str:
    """Return the metadata of the leadership's offset: which member writes it."""
    return json.dumps({_MEMBER: member})


def member_of(metadata: str | None) -> str | None:
    """Read which member wrote a slot's metadata; None where none did, or another program."""
    member = json_object(metadata).get(_MEMBER)
    return member if isinstance(member, str) and member else None


def note_of(metadata: str | None) -> tuple[int | None, Mapping[str, Any]]:
    """Read how a slot is out of a committed offset's metadata.

    Returns:
        When its last frame of any kind came, UTC microseconds, and the note; None and empty where
        there is none, or another program wrote it. Of a note that has what it is to have.
    """
    fields = json_object(metadata)
    left, note = _left(fields), fields.get(_NOTE)
    known = note.items() if isinstance(note, dict) else ()
    told = {name: one for name, one in known if _is_told(name, one)}
    time_us = max(left.last_frame_us if left is not None else 0, told.pop(_HEARD, 0))
    return time_us or None, told


def _is_told(name: str, value: object) -> bool:
    """Whether a note tells this; whoever may commit for the group may write anything."""
    if name in _TEXTS:
        return isinstance(value, str)
    if name in _COUNTS:
        # what the page's JavaScript holds exactly; a bool is an int to isinstance
        return type(value) is int and 0 <= value < 2**53
    return name == "leads" and isinstance(value, bool)


def _left(value: Mapping[str, Any]) -> Left | None:
    """Return what the last owner left; None where that is nothing."""
    time_us = value.get(_FIELD)
    if type(time_us) is not int or not 0 < time_us < 2**63:
        return None
    instance = value.get(_INSTANCE)
    return Left(
        time_us, not value.get(_FREE), instance=instance if isinstance(instance, str) else None
    )
