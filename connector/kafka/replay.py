"""Writing recorded ticks again, under another prefix: each when it is due, at its time or moved.

When a tick is due and by how much it moves is pure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException, Message, Producer

from connector.codec.framing import framing
from connector.codec.rows import moved, token_of
from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.archive import ArchivedTick
from connector.kafka.config import ClientLog, client_properties, refused_properties
from connector.kafka.reader import bytes_of
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings

SILENT_SECONDS: Final = 60.0
"""A record that no broker has acknowledged for so long ends the replay."""
_END_MS: Final = 253_402_300_800_000  # the year 10000: no calendar has a time from there on
_WAIT_SECONDS: Final = 0.1  # so long no callback is served, and `stop` is not asked


class ReplayedTick(NamedTuple):
    """A tick that is to be written again."""

    time_ms: int
    """The time of its record, UTC milliseconds."""
    value: bytes
    """Framed, as Kafka had it or is to have it. Its token is written as key, whatever that was."""


def from_topics(messages: Iterable[Message]) -> Iterator[ReplayedTick]:
    """Yield records as they are; those that are no ticks are for the replay to find."""
    for message in messages:
        yield ReplayedTick(message.timestamp()[1], bytes_of(message.value()) or b"")


def from_archive(
    ticks: Iterable[ArchivedTick], names: TopicNames, schema_ids: Mapping[str, int]
) -> Iterator[ReplayedTick]:
    """Yield the ticks of a file.

    Args:
        ticks: of the file.
        names: of the topics that they are written to.
        schema_ids: topic → id of the schema of a tick, from `register_schemas`.
    """
    framings = {
        exchange.value: framing(schema_ids[topic]) for exchange, topic in names.all_ticks().items()
    }
    for tick in ticks:
        # of an exchange that is not known: no framing, so that the replay finds and counts it
        framed = framings.get(tick.instrument_token & 0xFF, b"") + tick.body
        yield ReplayedTick(tick.receive_time_ms, framed)


def due_seconds(first_ms: int, time_ms: int, speed: float) -> float:
    """Return how long after the first tick a tick is due; one that is older is due with it.

    Args:
        first_ms: the time of the first tick.
        time_ms: its own.
        speed: so many times as fast as they were recorded; infinite: at once.
    """
    return max(0, time_ms - first_ms) / 1000 / speed


def shift_ms(first_ms: int, end_ms: int, speed: float, now_ms: int) -> int:
    """Return by how much all ticks move, so that they come as near to the present as they can.

    One amount for all, so bars and gaps keep their lengths, and whole seconds, as exchanges give
    times in whole seconds. No tick is ahead of the clock when it is due: brokers refuse what is too
    far ahead. So at speed 1 and below the first tick is moved to the present, and above it the last
    one is moved to when it will be due.

    Args:
        first_ms: the time of the first tick.
        end_ms: that of the last one.
        speed: as for `due_seconds`.
        now_ms: the present time.
    """
    length_ms = max(0, end_ms - first_ms)
    ahead_ms = max(0, length_ms - length_ms / speed)
    return math.floor((now_ms - first_ms - ahead_ms) / 1000) * 1000


class TickReplay:
    """One replay; blocks. `run` it once.

    Args:
        kafka: how brokers are reached, compression, and the bounds of the producer's queue.
        client_id: for the brokers' logs.
        names: of the topics that are written to.
        speed: so many times as fast as they were recorded; infinite: as fast as Kafka takes them.
        end_ms: the time of the last tick, if times are moved; None keeps them.
        stop: asked now and then; true ends the replay.
        monotonic: seconds that never go backwards.
        now_ms: the present time.
        sleep: waits so many seconds.

    Raises:
        SettingsError: librdkafka refuses a property.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        client_id: str,
        names: TopicNames,
        *,
        speed: float,
        end_ms: int | None,
        stop: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.written = 0
        """How many ticks the brokers have acknowledged."""
        self.left_out = 0
        """How many records were no ticks."""
        self.reached_ms: int | None = None
        """The time of the last tick that was written, before it was moved."""
        self._kafka = kafka
        self._topics = {one.value: topic for one, topic in names.all_ticks().items()}
        self._speed = speed
        self._end_ms = end_ms
        self._stop = stop
        self._monotonic = monotonic
        self._now_ms = now_ms
        self._sleep = sleep
        # the first one, from a delivery report: raised by the next `_check`
        self._failure: BrokerUnreachableError | TopicError | None = None
        properties = client_properties(
            kafka,
            **{
                "client.id": client_id,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": kafka.compression,
                "linger.ms": kafka.linger_ms,
                "queue.buffering.max.messages": kafka.queue_max_messages,
                "queue.buffering.max.kbytes": kafka.queue_max_mib * 1024,
                "message.timeout.ms": round(SILENT_SECONDS * 1000),
            },
        )
        with refused_properties(kafka):
            self._producer = Producer(properties, logger=ClientLog(client_id))

    def run(self, ticks: Iterable[ReplayedTick]) -> None:
        """Write them, and wait until the brokers have all of them.

        Raises:
            BrokerUnreachableError: no broker has acknowledged a record for a minute.
            TopicError: a record was refused. What follows it is not written.
        """
        began, first_ms, by_ms = self._monotonic(), None, 0
        for tick in ticks:
            # of a damaged value, which a file may have: nothing is due by it
            if not 0 <= tick.time_ms < _END_MS:
                self.left_out += 1
                continue
            if first_ms is None:
                began, first_ms = self._monotonic(), tick.time_ms
                if self._end_ms is not None:
                    by_ms = shift_ms(first_ms, self._end_ms, self._speed, self._now_ms())
            # from the first tick on, not from the one before: pauses of Kafka's do not add up
            self._wait_until(began + due_seconds(first_ms, tick.time_ms, self._speed))
            if self._stop():
                break
            self._write(tick, by_ms)
        while self._producer.flush(_WAIT_SECONDS):
            self._check()
        self._check()

    def _wait_until(self, due: float) -> None:
        while (left := due - self._monotonic()) > 0 and not self._stop():
            self._serve()
            self._sleep(min(left, _WAIT_SECONDS))

    def _write(self, tick: ReplayedTick, by_ms: int) -> None:
        try:
            token = token_of(tick.value)
            value = moved(tick.value, by_ms) if by_ms else tick.value
        except ValueError:
            self.left_out += 1
            return
        topic = self._topics[token & 0xFF]
        while True:
            self._serve()
            try:
                self._producer.produce(
                    topic,
                    value,
                    b"%d" % token,
                    timestamp=tick.time_ms + by_ms,
                    on_delivery=self._report,
                )
            except BufferError:  # Kafka takes them slower than they are due: reading waits
                self._producer.poll(_WAIT_SECONDS)
            except KafkaException as exc:
                # too long for this client's `message.max.bytes`, say: no broker was asked
                self._failure = self._failure or TopicError(topic, exc.args[0].str())
                self._check()
            else:
                self.reached_ms = tick.time_ms
                return

    def _serve(self) -> None:
        self._producer.poll(0)
        self._check()

    def _report(self, error: Any, message: Message) -> None:
        if error is None:
            self.written += 1
        elif error.name() == "_MSG_TIMED_OUT":
            self._failure = self._failure or BrokerUnreachableError(
                self._kafka.bootstrap_servers, f"acknowledged nothing for {SILENT_SECONDS:g} s"
            )
        else:
            self._failure = self._failure or TopicError(str(message.topic()), error.str())

    def _check(self) -> None:
        if self._failure is not None:
            # what is queued must not be written behind the refused one
            self._producer.purge()
            self._producer.flush(1)
            raise self._failure
