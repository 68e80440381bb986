"""Reads ticks with plain Python: each once, as a line of JSON, with a word on what is missing.

    pip install 'confluent-kafka[schemaregistry]' fastavro
    python consume.py --from-beginning
    python consume.py --from-beginning --until-end --sums

The last one prints sums over all of them instead, by which readers are compared, and their rates.
Any topic of the connector with Avro values can be read like this, by its record's name; repeats and
gaps are a matter of the ticks, which carry (slot, session_id, sequence).
"""

import argparse
import io
import json
import sys
import time
from bisect import bisect_right
from dataclasses import dataclass, field

import fastavro
import fastavro.schema
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

SCHEMA_NOT_FOUND = 40403  # the registry's own code
TICK = "kite.Tick"  # the name that every version of the schema has


class NoTickError(ValueError):
    """A value that the connector has not written: whoever may write can put it there."""


class Decoder:
    """Values to dicts: a zero byte, four bytes of schema id, then Avro written with that schema."""

    def __init__(self, registry_url: str) -> None:
        self._registry = SchemaRegistryClient({"url": registry_url})
        # None where an id is that of another record
        self._schemas: dict[int, dict | None] = {}

    def decode(self, value: bytes) -> dict:
        """The record as a dict; times are aware datetimes in UTC.

        Raises:
            NoTickError: no schema of the registry explains the value.
            SchemaRegistryError: the registry cannot say so now.
        """
        if not value or len(value) < 5 or value[0] != 0:
            raise NoTickError("not framed with a schema id")
        schema_id = int.from_bytes(value[1:5], "big")
        if schema_id not in self._schemas:
            self._schemas[schema_id] = self._ask(schema_id)
        schema = self._schemas[schema_id]
        if schema is None:
            raise NoTickError(f"of schema {schema_id}, which is not {TICK}")
        body = io.BytesIO(value[5:])
        try:
            # the writer's schema alone: fields that a later version appended come along
            tick = fastavro.schemaless_reader(body, schema, None)
        except Exception as error:  # of many kinds, by what the bytes are taken for
            raise NoTickError(f"not of schema {schema_id}: {error!r}") from error
        if body.read(1):
            raise NoTickError(f"longer than a record of schema {schema_id}")
        return tick

    def _ask(self, schema_id: int) -> dict | None:
        """The schema of an id, or None where it is not one of ticks."""
        try:
            text = self._registry.get_schema(schema_id).schema_str
        except SchemaRegistryError as error:
            # a wrong path of the address gets 404 alone
            if error.error_code != SCHEMA_NOT_FOUND:
                raise
            raise NoTickError(f"the registry has no schema {schema_id}") from error
        try:
            schema = fastavro.parse_schema(json.loads(text))
        except (ValueError, fastavro.schema.SchemaParseException):
            return None  # the registry keeps schemas of other formats too
        return schema if isinstance(schema, dict) and schema.get("name") == TICK else None


@dataclass
class _Session:
    # seen first, where ticks before it may have been missed rightly; else 0
    first: int
    highest: int
    # ranges up to `highest` that were not seen, lowest first; ends included
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


class Sequences:
    """Which ticks were seen: tells repeats at once, and gaps when nothing fills them any more.

    The ticks of a session are spread over topics and partitions, which are not read in step, so a
    number that is missing now may only be late. It is a gap when the session is `late` numbers
    further. Memory goes with the missing ranges, not with the ticks.

    All partitions of the ticks have to be read here: what another member of a consumer group gets
    would look like gaps.
    """

    def __init__(self, complete_since_ms: int, late: int = 100_000) -> None:
        # sessions opened before this were not read from their first tick
        self._complete_since_ms = complete_since_ms
        self._late = late
        self._sessions: dict[tuple[int, int], _Session] = {}
        self._gaps: list[tuple[int, int, int, int]] = []

    def new(self, slot: int, session_id: int, sequence: int) -> bool:
        """True for a tick that was not seen before."""
        session = self._sessions.get((slot, session_id))
        if session is None:
            session = _Session(first=0, highest=0)
            if session_id < self._complete_since_ms:
                session = _Session(first=sequence, highest=max(0, sequence - self._late))
            self._sessions[slot, session_id] = session
        if sequence <= session.highest:
            return _fill(session, sequence)
        if sequence > session.highest + 1:
            session.starts.append(session.highest + 1)
            session.ends.append(sequence - 1)
        session.highest = sequence
        self._give_up(slot, session_id, below=sequence - self._late)
        return True

    def gaps(self, *, at_end: bool = False) -> list[tuple[int, int, int, int]]:
        """The gaps found since the last call, as (slot, session_id, first, last).

        At the end nothing comes any more: whatever is missing then is a gap.
        """
        if at_end:
            for (slot, session_id), session in self._sessions.items():
                self._give_up(slot, session_id, below=session.highest)
        found, self._gaps = self._gaps, []
        return found

    def _give_up(self, slot: int, session_id: int, below: int) -> None:
        session = self._sessions[slot, session_id]
        while session.ends and session.ends[0] < below:
            start, end = session.starts.pop(0), session.ends.pop(0)
            if start > session.first:
                self._gaps.append((slot, session_id, start, end))


def _fill(session: _Session, sequence: int) -> bool:
    """Take the number out of its missing range; False where it is in none, so was seen."""
    place = bisect_right(session.starts, sequence) - 1
    if place < 0 or sequence > session.ends[place]:
        return False
    start, end = session.starts[place], session.ends[place]
    rest = [(a, b) for a, b in ((start, sequence - 1), (sequence + 1, end)) if a <= b]
    session.starts[place : place + 1] = [a for a, _ in rest]
    session.ends[place : place + 1] = [b for _, b in rest]
    return True


class Sums:
    """What readers are compared by; of prices in paise, so that the order does not matter."""

    def __init__(self) -> None:
        self.ticks = self.volume = self.paise = self.bid_level_1 = 0
        self.no_volume = self.no_ohlc = self.no_depth = self.no_best_bid = 0

    def add(self, tick: dict) -> None:
        """Count a tick."""
        volume, depth = tick["volume_traded"], tick["depth"]
        self.ticks += 1
        self.volume += volume or 0
        self.paise += round(tick["last_price"] * 100)
        self.no_volume += volume is None
        self.no_ohlc += tick["ohlc"] is None
        self.no_depth += depth is None
        # in records of version 1 it is not there
        self.no_best_bid += tick.get("best_bid_price") is None
        self.bid_level_1 += depth["buy"][0]["quantity"] if depth else 0


def messages(consumer: Consumer, pattern: str, *, from_beginning: bool, until_end: bool):
    """Kafka's messages; with `until_end` those that the partitions held when they were reached."""
    at_end: set[tuple[str, int]] = set()
    assigned: set[tuple[str, int]] = set()

    def assign(_consumer, partitions):
        if from_beginning:
            for partition in partitions:
                partition.offset = OFFSET_BEGINNING
        consumer.assign(partitions)
        assigned.update((partition.topic, partition.partition) for partition in partitions)

    # librdkafka takes a name for a pattern when it begins with a caret
    consumer.subscribe([f"^{pattern}$"], on_assign=assign)
    while not (until_end and assigned and assigned == at_end):
        message = consumer.poll(1.0)
        if message is None:
            continue
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            at_end.add((message.topic(), message.partition()))
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and not until_end:
            print(f"{error.str()}; waiting for it", file=sys.stderr)
        elif not error.retriable():
            raise KafkaException(error)


def place(message: Message) -> str:
    """Topic, partition and offset of a record, as a person looks for it."""
    return f"{message.topic()} {message.partition()} {message.offset()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bootstrap-servers", default="localhost:9094")
    parser.add_argument("--registry-url", default="http://localhost:8081/apis/ccompat/v7")
    parser.add_argument("--topic-pattern", default=r"kite\.ticks\..*")
    parser.add_argument("--group", default="kite-example")
    parser.add_argument("--from-beginning", action="store_true", help="all that the topics hold")
    parser.add_argument("--until-end", action="store_true", help="stop when everything was read")
    parser.add_argument("--sums", action="store_true", help="sums over all, not the ticks")
    arguments = parser.parse_args()

    sums = Sums() if arguments.sums else None
    decoder = Decoder(arguments.registry_url)
    sequences = Sequences(0 if arguments.from_beginning else time.time_ns() // 1_000_000)
    consumer = Consumer(
        {
            "bootstrap.servers": arguments.bootstrap_servers,
            "group.id": arguments.group,
            "auto.offset.reset": "latest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # new topics of the pattern are seen that fast
            "topic.metadata.refresh.interval.ms": 10_000,
        }
    )
    ticks = repeats = gaps = missing = strange = 0

    def report(found):
        nonlocal gaps, missing
        for slot, session_id, first, last in found:
            gaps, missing = gaps + 1, missing + last - first + 1
            print(f"gap: slot {slot} session {session_id} {first}-{last}", file=sys.stderr)

    try:
        for message in messages(
            consumer,
            arguments.topic_pattern,
            from_beginning=arguments.from_beginning,
            until_end=arguments.until_end,
        ):
            try:
                tick = decoder.decode(message.value())
            except NoTickError as error:
                strange += 1
                print(f"passed over: {place(message)}: {error}", file=sys.stderr)
                continue
            if sequences.new(tick["slot"], tick["session_id"], tick["sequence"]):
                ticks += 1
                if sums is not None:
                    sums.add(tick)
                else:
                    print(json.dumps(tick, default=str))
            else:
                repeats += 1
            report(sequences.gaps())
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    report(sequences.gaps(at_end=True))
    if sums is not None:
        print(json.dumps(vars(sums)))
    print(
        f"{ticks} ticks, {repeats} repeats, {missing} missing in {gaps} gaps, "
        f"{strange} that are no ticks",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
