"""Every tick that reached Kafka: read along, and judged at the end."""

import contextlib
import io
import threading
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from connector.kafka.avro_records import RecordDecoder
from connector.kafka.completeness import Completeness, SessionVerdict
from connector.schemas import load

_SCHEMA = fastavro.parse_schema(load("tick"))
POLL_SECONDS = 0.1


class TickReader:
    """Reads the tick topics in a thread: the embedded broker does not keep them for long."""

    def __init__(self, bootstrap_servers, topics):
        self._stopping = threading.Event()
        self._messages = []
        """(topic, partition and life of the topic; offset, key, value)"""
        self._properties = {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"chaos-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
        self._topics = topics
        self._consumer = Consumer(self._properties)
        listed = self._consumer.list_topics(timeout=30).topics
        self.places = [
            (topic, partition)
            for topic in (*topics.all_ticks().values(), topics.events)
            for partition in listed[topic].partitions
        ]
        self._lives = defaultdict(int)
        """topic → how often it was deleted"""
        self._consumers = [self._consumer]
        """One more for each life of a topic: librdkafka takes news of a topic that was made anew,
        whose leader's epoch begins at 0 again, for old ones."""
        self._thread = threading.Thread(target=self._run, name="tick-reader", daemon=True)

    def __enter__(self):
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in self.places]
        )
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()
        for consumer in self._consumers:
            consumer.close()

    def _run(self):
        while not self._stopping.is_set():
            consumers = list(self._consumers)
            for consumer in consumers:
                for message in consumer.consume(1000, POLL_SECONDS / len(consumers)):
                    if message.error() is None:
                        self._keep(message)

    def _keep(self, message):
        topic = message.topic()
        place = (topic, message.partition(), self._lives[topic])
        self._messages.append((place, message.offset(), message.key(), message.value()))

    def leave(self, topic):
        """The topic is about to be deleted: read no more of it."""
        places = [TopicPartition(*place) for place in self.places if place[0] == topic]
        for consumer in self._consumers:
            with contextlib.suppress(KafkaException):  # it is another consumer's
                consumer.incremental_unassign(places)

    def enter(self, topic):
        """The topic was made anew: read it from its beginning."""
        self._lives[topic] += 1
        consumer = Consumer(self._properties)
        places = [place for place in self.places if place[0] == topic]
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        self._consumers.append(consumer)

    def at_the_end(self, topic=None):
        """Whether everything that is there, or in one topic, has been read; blocks."""
        return not self.unread(topic)

    def unread(self, topic=None):
        """Of each partition that was not read to its end: what was read, and where it ends."""
        reached = {place: 0 for place in self.places if topic is None or place[0] == topic}
        for (name, partition, life), offset, _, _ in list(self._messages):
            if (name, partition) in reached and life == self._lives[name]:
                reached[name, partition] = offset + 1
        # not asked of the consumer that the thread polls
        asker = Consumer(self._properties)
        try:
            ends = {
                place: asker.get_watermark_offsets(TopicPartition(*place), timeout=30)[1]
                for place in reached
            }
        finally:
            asker.close()
        return {
            place: (read, ends[place]) for place, read in reached.items() if read != ends[place]
        }

    def events(self):
        """The events of all connections, decoded, in order."""
        decoder = RecordDecoder(self._topics)
        for (topic, _, _), _, _, value in self._messages:
            if topic == self._topics.events:
                yield decoder.decode(topic, value).value

    def ticks(self):
        """(place, offset, token, slot, session_id, sequence), in order within a place.

        A topic that was deleted and made again is another place.
        """
        for place, offset, key, value in self._messages:
            if place[0] == self._topics.events:
                continue
            tick: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), _SCHEMA, None)
            yield (
                place,
                offset,
                int(key),
                tick["slot"],
                tick["session_id"],
                tick["sequence"],
            )


@dataclass
class Session:
    """The ticks of one opening of one connection."""

    sequences: set = field(default_factory=set)
    tokens: set = field(default_factory=set)
    owner: str | None = None


@dataclass
class Audit:
    """What Kafka has, and what is wrong with it."""

    ticks: int = 0
    repeats: int = 0
    sessions: int = 0
    lost_by_kills: int = 0
    lost_as_told: int = 0
    missing: Counter = field(default_factory=Counter)
    """(slot, session_id) → numbers that are not there, below the highest that is"""
    owners: dict = field(default_factory=dict)
    """(slot, session_id) → name of the process"""
    faults: list = field(default_factory=list)


def audit(ticks, sockets, killed, dropped=None):
    """Compare what is in Kafka with what the feed sent.

    Asserted of every session whose process was never killed: its sequences are 1, 2, 3 … without
    a gap, and where the connector itself closed the socket the last one is the number of packets
    that the feed had sent on it, so nothing was lost on the way out. Of every session: the first
    copies of an instrument's ticks are in order. A process that is killed takes with it what its
    librdkafka had not been acknowledged: there, numbers may be missing, and are counted.

    Args:
        ticks: as `TickReader.ticks` gives them.
        sockets: all that the feed ever saw.
        killed: names of processes that got SIGKILL.
        dropped: name → records that a process said it lost, which may be missing.
    """
    dropped = Counter(dropped or {})
    result, sessions = Audit(), defaultdict(Session)
    next_offset, latest = {}, {}
    for place, offset, token, slot, session_id, sequence in ticks:
        result.ticks += 1
        if offset != next_offset.get(place, 0):
            result.faults.append(f"{place}: read {offset} after {next_offset.get(place, 0) - 1}")
        next_offset[place] = offset + 1
        session = sessions[slot, session_id]
        session.tokens.add(token)
        if sequence in session.sequences:
            result.repeats += 1
            continue
        session.sequences.add(sequence)
        known = (place, token, slot, session_id)
        if sequence < latest.get(known, 0):
            result.faults.append(f"{known}: {sequence} after {latest[known]}")
        latest[known] = sequence
    result.sessions = len(sessions)

    by_socket = {}
    for (slot, session_id), session in sorted(sessions.items()):
        socket = _socket_of(session_id, session, sockets, by_socket)
        if socket is None:
            result.faults.append(f"slot {slot}, session {session_id}: on no socket of the feed")
            continue
        by_socket[socket.number] = session
        last = max(session.sequences)
        missing = last - len(session.sequences)
        result.missing[slot, session_id] = missing
        result.owners[slot, session_id] = socket.owner
        if missing and socket.owner not in killed and missing <= dropped[socket.owner]:
            dropped[socket.owner] -= missing
            result.lost_as_told += missing
        elif missing and socket.owner not in killed:
            gaps = sorted(set(range(1, last + 1)) - session.sequences)
            result.faults.append(
                f"slot {slot}, session {session_id} of {socket.owner}: {missing} of {last} ticks "
                f"are missing, from {gaps[0]} to {gaps[-1]}"
            )
    for socket in sockets:
        session = by_socket.get(socket.number)
        if socket.owner in killed:
            result.lost_by_kills += socket.packets - (len(session.sequences) if session else 0)
            continue
        last = max(session.sequences) if session else 0
        if socket.polite and 0 < socket.packets - last <= dropped[socket.owner]:
            dropped[socket.owner] -= socket.packets - last
            result.lost_as_told += socket.packets - last
        elif socket.polite and last != socket.packets:
            result.faults.append(
                f"socket {socket.number} of {socket.owner}: {socket.packets} packets were sent, "
                f"and {last} have a number"
            )
    return result


def _socket_of(session_id, session, sockets, taken):
    """The socket that was open then and had these instruments."""
    found = [
        socket
        for socket in sockets
        if socket.number not in taken
        and session.tokens <= socket.ever
        # the handshake comes first over there, and the clock is the same
        and session_id <= (socket.closed_ms or session_id)
    ]
    return min(found, key=lambda socket: abs(socket.opened_ms - session_id), default=None)


def second_audit(reader, topics, found, killed, lossy, now_ms):
    """What the connector's own counts say, held against `audit`: faults, and a line of numbers.

    Both read the same records. A session of a process that was never killed and lost nothing is
    complete here; whatever is missing there is missing here, and some event says why.
    """
    places = {place: 0 for place in reader.places if place[0] != topics.events}
    known = Completeness(topics, places)
    for event in reader.events():
        known.event(event)
    for place, _, _, slot, session_id, sequence in reader.ticks():
        known.tick(place[:2], slot, session_id, sequence)
    faults, verdicts, ticks = [], Counter(), 0
    for session in known.report(now_ms):
        where = (session.slot, session.session_id)
        owner = found.owners.get(where)
        verdicts[session.verdict] += 1
        ticks += session.ticks
        missing = sum(one.ticks for one in session.missing)
        if missing < found.missing[where]:
            faults.append(f"verify: {where} misses {missing}, and {found.missing[where]} are")
        if owner is None or owner in killed:
            continue
        if owner not in lossy and session.verdict is not SessionVerdict.COMPLETE:
            faults.append(f"verify: {where} of {owner} is {session.verdict}: {session.missing}")
        elif any(not one.explained_by for one in session.missing):
            faults.append(f"verify: {where} misses {missing}, and no event says why")
    if known.unreadable:
        faults.append(f"verify: {known.unreadable} records could not be read")
    if ticks != found.ticks - found.repeats:
        faults.append(f"verify: {ticks} ticks, and {found.ticks - found.repeats} are there")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return faults, f"verify: {ticks} different ticks in sessions of which {counts}"
