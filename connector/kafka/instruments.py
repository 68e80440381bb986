"""Keeps the compacted topic `kite.instruments` equal to the instrument master of the day.

What the topic holds is read from the topic itself before each publication: some 15 MB, once a day
and at each start or change of the leader. So nothing has to be remembered between processes or
handed from one leader to the next, a record that was lost on the way is written the next time, and
a list that has not changed writes nothing. What differs is written a few rows at a time: ticks
neither wait for it nor find the producer's queue full of it.

The first publication may end halfway, with its leader. So the topic says that it was whole once: by
a header, on the row that is written again at the end of the first publication, and on whatever is
written from then on. A part of a list is completed by the next leader, and is no list to anybody.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Generic, NamedTuple, NoReturn, TypeAlias, TypeVar

import structlog

from connector.errors import ConnectorError
from connector.kafka.producer_state import RecordCounts, all_written
from connector.kafka.reader import TIMEOUT_SECONDS, Reader, bytes_of, in_thread
from connector.kite.web.instrument_csv import Instrument
from connector.settings.models import DEFAULT_NAME, KafkaSettings

_T = TypeVar("_T")
ROWS: Final = 50
"""So many rows are encoded and compared in one go: half a millisecond of the event loop."""
PAUSE_SECONDS: Final = 0.005
"""The pause between two goes: 117 000 rows take 13 s."""
POLL_SECONDS: Final = 1.0  # between looks whether there is a list, the lead, or room
TAKE_OVER_SECONDS: Final = 5.0  # before a new leader begins
RETRY_SECONDS: Final = 30.0  # after a try that failed: it reads some 15 MB

Change: TypeAlias = tuple[bytes, bytes | None]
"""The key and the value of a record; None is a tombstone."""
Held: TypeAlias = Mapping[bytes, int]
"""What the topic holds: key → `hash` of the value, which is enough to see a difference."""
WHOLE: Final = ("list", b"whole")
"""The header of records that were written when the topic held a whole list, of whatever day."""


class Published(NamedTuple, Generic[_T]):
    """What a compacted topic holds."""

    rows: dict[bytes, _T]
    """Key → what was made of its newest value."""
    whole: bool
    """Whether a publication of it has ever come to its end: some row has the header `WHOLE`."""


def differences(
    instruments: Iterable[Instrument],
    encode: Callable[[Instrument], bytes],
    held: Held,
    rows: int = ROWS,
) -> Iterator[list[Change]]:
    """What has to be written so that the topic holds these instruments and no others.

    Yields:
        What became of each `rows` of them, an empty list where all are the same; in the end
        tombstones for the keys that are left.
    """
    left = dict(held)  # what is left of it in the end is in the list no more
    changes: list[Change] = []
    for number, instrument in enumerate(instruments, 1):
        key = b"%d" % instrument.instrument_token
        value = encode(instrument)
        # 64 bits: that two values of one key collide is not to be expected
        if left.pop(key, None) != hash(value):
            changes.append((key, value))
        if number % rows == 0:
            yield changes
            changes = []
    yield changes
    gone = list(left)
    for start in range(0, len(gone), rows):
        yield [(key, None) for key in gone[start : start + rows]]


def read_latest(
    kafka: KafkaSettings,
    topic: str,
    stop: threading.Event,
    keep: Callable[[bytes], _T],
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    name: str = DEFAULT_NAME,
) -> Published[_T]:
    """Read a compacted topic to the end that it has now; blocks, until `stop` is set.

    Args:
        kafka: the brokers.
        topic: what to read.
        stop: ends it early, with an error.
        keep: makes of a value what is returned for its key; `hash` is enough for `differences`.
        timeout_seconds: without a word from the brokers.
        name: the connector's, with which the reader's group begins.

    Raises:
        BrokerUnreachableError: the end was not reached; trying again may help.
        TopicError: there is no such topic, or it may not be read.
    """
    held: dict[bytes, _T] = {}
    marked: set[bytes] = set()
    with Reader(kafka, name, "instruments", timeout_seconds=timeout_seconds) as reader:
        for message in reader.read_to_end(topic, stop):
            key, value = message.key(), bytes_of(message.value())
            if isinstance(key, bytes):
                marked.discard(key)
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = keep(value)
                    if WHOLE in (message.headers() or ()):
                        marked.add(key)
    return Published(held, bool(marked))


class InstrumentPublisher:
    """Publishes each list that it is given, while its process leads.

    Args:
        encode: frames a row; equal rows have equal bytes.
        read_held: tells what the topic holds; blocks, until the event is set.
        produce: takes records for the topic, and whether it holds a whole list; neither raises nor
            waits.
        backlog: how much the producer has to do.
        leads: whether this process writes the topic; asked again and again.
        room: records under way beyond which ticks have the queue for themselves.
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        encode: Callable[[Instrument], bytes],
        read_held: Callable[[threading.Event], Published[int]],
        produce: Callable[[Sequence[Change], bool], None],
        backlog: Callable[[], RecordCounts],
        leads: Callable[[], bool],
        *,
        room: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.error: str | None = None
        """Why the last try failed; None when it did not."""
        self.rows_left = 0
        """How many rows of the list that is being published have not been looked at."""
        # what it is given, see above; all but `read_held` are of the event loop's thread
        self._encode = encode
        self._read_held = read_held
        self._produce = produce
        self._backlog = backlog
        self._leads = leads
        self._room = room
        self._sleep = sleep
        self._log = structlog.get_logger("connector.instruments")
        self._wanted: Collection[Instrument] | None = None  # set last; None before the first list
        # whole in the topic, written or seen there by this process while it led without a break
        self._published: Collection[Instrument] | None = None
        # whether it has led for a moment
        self._took_over = False

    def set_instruments(self, instruments: Collection[Instrument]) -> None:
        """Publish this list, and no longer another one; an empty one is taken for a mishap."""
        if len(instruments):
            self._wanted = instruments

    @property
    def done(self) -> bool:
        """Whether the list that was set last is published, by this process."""
        return self._wanted is not None and self._wanted is self._published

    async def run(self) -> NoReturn:
        """Publish until the task is cancelled."""
        while True:
            pause_seconds = POLL_SECONDS
            if not self._leads():
                # another process may write a newer list meanwhile
                self._published, self._took_over = None, False
            elif not self._took_over:
                # a new leader has more urgent work: its slots, and commands
                self._took_over, pause_seconds = True, TAKE_OVER_SECONDS
            elif self._wanted is not None and not self.done:
                try:
                    await self._publish(self._wanted)
                    self.error = None
                except ConnectorError as exc:
                    if self.error is None:
                        self._log.warning("instruments_not_published", reason=str(exc))
                    self.error = str(exc)
                    pause_seconds = RETRY_SECONDS
                finally:
                    self.rows_left = 0
            await self._sleep(pause_seconds)

    async def _publish(self, instruments: Collection[Instrument]) -> None:
        # a reader does not see what is still under way
        await all_written(self._backlog, POLL_SECONDS, self._sleep)
        held = await in_thread(self._read_held)
        written = removed = 0
        self.rows_left = len(instruments)
        for changes in differences(instruments, self._encode, held.rows):
            while not self._has_room():
                await self._sleep(POLL_SECONDS)
            # a list that came meanwhile is compared with the topic anew, from its beginning
            if not self._leads() or self._wanted is not instruments:
                return
            if changes:
                self._produce(changes, held.whole)
                gone = sum(value is None for _, value in changes)
                written, removed = written + len(changes) - gone, removed + gone
            await self._sleep(PAUSE_SECONDS)
            self.rows_left = max(0, self.rows_left - ROWS)
        # also where the row that said so is gone, and no other was written
        if not held.whole or (removed and not written):
            # only behind all of it: another partition's rows may still be under way
            await all_written(self._backlog, POLL_SECONDS, self._sleep)
            if not self._leads():
                return
            first = next(iter(instruments))
            self._produce([(b"%d" % first.instrument_token, self._encode(first))], True)
        self._published = instruments
        log = self._log.info if written or removed else self._log.debug
        log("instruments_published", written=written, removed=removed, before=len(held.rows))

    def _has_room(self) -> bool:
        backlog = self._backlog()
        return not backlog.spooled and backlog.in_flight < self._room
