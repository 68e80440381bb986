"""The last prices that option chains follow, read from the ticks in Kafka.

A chain's rule claims its underlying, so some replica streams it; whichever that is, its ticks are
in the topic of the exchange, under the instrument's token. The leader reads the partitions in which
the underlyings are and no others, in a thread that there is only while there are such rules. What
it reads is bounded: of a partition with more ticks than that, the oldest are passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Final

import structlog
from confluent_kafka import TopicPartition

from connector.codec.partitioning import partition_of
from connector.codec.rows import COLUMNS, row_of
from connector.control.expansion import NO_PRICES, usable_price
from connector.errors import ConnectorError, TopicError
from connector.kafka.reader import ADDED_SECONDS, Reader, bytes_of
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import Exchange
from connector.settings.models import KafkaSettings

BACK_RECORDS: Final = 2000
"""Reading a partition begins so many records before its end: an index ticks every second, and its
topic has few others."""
LOOK_SECONDS: Final = 0.5
"""So often what has come is read."""
LOOK_RECORDS: Final = 5000
"""So many records are read in one look; where there are more, it goes on near the ends."""
RETRY_SECONDS: Final = 5.0
"""What could not be read is tried again after so long."""
_PRICE: Final = COLUMNS.index("last_price")


class SpotReader:
    """Asked from one thread, the leader's."""

    def __init__(self, kafka: KafkaSettings, topics: TopicNames, name: str) -> None:
        self.problem: str | None = None
        """Why ticks cannot be read at the moment; None where they can, or none are to be."""
        self._kafka = kafka
        self._topics = topics
        self._name = name
        # each is replaced whole, by one thread, and read by the other
        self._wanted: frozenset[int] = frozenset()
        self._prices: Mapping[int, float] = NO_PRICES
        # there is one only while prices are wanted, since it holds a connection to the brokers
        self._thread: threading.Thread | None = None
        # ends a pause early, where other prices are wanted
        self._stirred = threading.Event()
        self._log = structlog.get_logger("connector.cluster")

    def __call__(self, wanted: Collection[int]) -> Mapping[int, float]:
        """Return the last prices that are known, by token; from now on these are looked for.

        Args:
            wanted: instrument tokens; none ends the reading.
        """
        tokens = frozenset(wanted)
        if tokens != self._wanted:
            self._wanted = tokens
            self._stirred.set()
        # one that is just ending still counts: the leader's next look, a second later, begins
        # another
        if tokens and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="spots", daemon=True)
            self._thread.start()
        return self._prices if tokens else NO_PRICES

    def _run(self) -> None:
        while self._wanted:
            try:
                with self._reader() as reader:
                    self._follow(reader)
            except ConnectorError as error:
                self._say(str(error))
                self._pause(RETRY_SECONDS)
        self._prices = NO_PRICES
        self.problem = None

    def _reader(self) -> Reader:
        return Reader(self._kafka, self._name, "spots", log_level=0)

    def _follow(self, reader: Reader) -> None:
        """Read until nothing is wanted any more.

        Raises:
            TopicError: what could be read cannot be any more.
            BrokerUnreachableError: no broker answers.
        """
        tokens: frozenset[int] = frozenset()
        places: list[TopicPartition] = []
        found: dict[int, float] = {}
        looks = 0
        while wanted := self._wanted:
            looks += 1
            # a topic that could not be read may be there by now
            again = self.problem is not None and looks * LOOK_SECONDS >= RETRY_SECONDS
            if wanted != tokens or again:
                tokens, looks = wanted, 0
                found = {token: price for token, price in found.items() if token in tokens}
                places = self._read_from(reader, tokens)
            # in a topic that was given more partitions an instrument's ticks go to another one
            elif looks * LOOK_SECONDS >= ADDED_SECONDS:
                looks = 0
                if self._places(reader, tokens) != places:
                    places = self._read_from(reader, tokens)
            # what lies between is older than what comes near the ends
            if not self._read(reader, tokens, found):
                places = self._read_from(reader, tokens)
            elif not reader.unfinished:
                # not before: what is on the way to the end is older than what was known
                self._prices = dict(found)
            self._pause(LOOK_SECONDS)

    def _read(self, reader: Reader, tokens: Collection[int], found: dict[int, float]) -> bool:
        """Note the prices of what has come; False where there was more than one look reads."""
        keys = {b"%d" % token: token for token in tokens}
        message = reader.next(LOOK_SECONDS)
        for _ in range(LOOK_RECORDS):
            if message is None:
                return True
            token = keys.get(bytes_of(message.key()) or b"")
            if token is not None and (price := _price(bytes_of(message.value()))) is not None:
                found[token] = price
            message = reader.next()
        return False

    def _read_from(self, reader: Reader, tokens: Collection[int]) -> list[TopicPartition]:
        """Read on near the ends; returns where."""
        places = self._places(reader, tokens)
        reader.tail_from(places)
        return places

    def _places(self, reader: Reader, tokens: Collection[int]) -> list[TopicPartition]:
        """Return where to read on for these instruments; what cannot be read is said, and left."""
        problem: str | None = None
        places: dict[tuple[str, int], TopicPartition] = {}
        by_topic: dict[str, list[int]] = {}
        for token in sorted(tokens):
            by_topic.setdefault(self._topics.ticks(Exchange.of(token)), []).append(token)
        for topic, of_topic in by_topic.items():
            try:
                ends = reader.near(topic, -BACK_RECORDS)
            except TopicError as error:
                problem = str(error)
                continue
            for token in of_topic:
                partition = partition_of(b"%d" % token, len(ends))
                places[topic, partition] = ends[partition]
        self._say(problem)
        return list(places.values())

    def _say(self, problem: str | None) -> None:
        if problem != self.problem and problem is not None:
            self._log.warning("spots_unreadable", reason=problem)
        self.problem = problem

    def _pause(self, seconds: float) -> None:
        """Wait; shorter where something else is wanted."""
        self._stirred.wait(seconds)
        self._stirred.clear()


def _price(value: bytes | None) -> float | None:
    """Return the last price of a tick; None where it is none, or no tick."""
    if value is None:
        return None
    try:
        price = row_of(value)[_PRICE]
    except ValueError:
        return None
    return float(price) if usable_price(price) else None
