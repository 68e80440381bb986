"""The whole service on a real Kafka, under load, and proof that Kafka has what the feed sent.

The feed is the simulator, in this process, and looks at its sockets; each replica is a
`kite-connector run` of its own; the proof reads every topic.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.avro_records import RecordDecoder
from connector.kafka.topics import TopicNames
from connector.simulator import SimulatorConfig, SimulatorServer
from tests.chaos.feed_watch import FeedWatch
from tests.chaos.fleet import Fleet, Process
from tests.chaos.steering import Steering
from tests.chaos.ticks import TickReader, audit
from tests.support.reading import read_topic

INSTRUMENTS = 300
UPDATES_PER_SECOND = 10.0
Statuses = dict[Process, dict[str, Any]]
SECONDS = 180.0
"""For whatever is waited for: a machine may be busy."""
SPARE = 20
"""Instruments that are not subscribed at the start, for commands."""


class Streaming:
    """Replicas that share a feed and topics of their own."""

    def __init__(
        self, server: SimulatorServer, fleet: Fleet, bootstrap_servers: str, topics: TopicNames
    ) -> None:
        self.server = server
        self.watch = FeedWatch(server)
        self.fleet = fleet
        self.topics = topics
        self._bootstrap_servers = bootstrap_servers
        self._steering: Steering | None = None
        self._accounts: list[dict[str, Any]] = []
        self.spare = [one.instrument_token for one in server.universe.listings[-SPARE:]]

    async def start(self, replicas: int, *, named: bool = False) -> list[Process]:
        """Start replicas, and wait until they share the slots and everything streams.

        Args:
            replicas: number of them.
            named: the group knows each by its place, over its restarts.
        """
        started = []
        for place in range(len(self.fleet.all), len(self.fleet.all) + replicas):
            instance = f"place-{place}" if named else None
            started.append(await self.fleet.start(place, instance))
        wanted = INSTRUMENTS - SPARE
        await self._until(
            lambda statuses: (
                self._in_charge(statuses)
                # a new one is ready before the group has given it its share
                and all(status["cluster"]["slots"] for status in statuses.values())
                and len(self.server.subscriptions()) >= wanted
            ),
            "replicas that share the slots",
        )
        return started

    async def until_in_charge(self) -> None:
        """Each slot has one owner that is connected, one replica leads, and all are ready."""
        await self._until(self._in_charge, "who owns what")

    def _in_charge(self, statuses: Statuses) -> bool:
        clusters = [status["cluster"] for status in statuses.values()]
        owned = sorted(int(slot) for cluster in clusters for slot in cluster["slots"])
        return (
            len(statuses) == len(self.fleet.alive)
            and owned == [0, 1, 2]
            and sum(cluster["leader"] for cluster in clusters) == 1
            and all(status["ready"] for status in statuses.values())
        )

    async def slots(self, process: Process) -> list[int]:
        """What a replica owns."""
        status = await self.fleet.status(process)
        assert status is not None
        return sorted(int(slot) for slot in status["cluster"]["slots"])

    async def until_status(
        self, process: Process, wanted: Callable[[dict[str, Any]], bool]
    ) -> None:
        """A replica's status is as wanted at some moment."""
        await self._until(
            lambda statuses: process in statuses and wanted(statuses[process]), "a status"
        )

    async def until_drained(self) -> None:
        """Nothing waits in a spool any more: a stop would leave it to the next process."""
        await self._until(
            lambda statuses: not any(one["accounting"]["spooled"] for one in statuses.values()),
            "an empty spool",
        )

    async def until_delivered(self) -> None:
        """Kafka has taken records that were received after this call, from every owner."""
        received = {
            process: status["accounting"]["received"]
            for process, status in (await self.fleet.statuses()).items()
            if status["connections"]
        }
        await self._until(
            lambda statuses: all(
                _taken(statuses[process]["accounting"]) > before if process in statuses else False
                for process, before in received.items()
            ),
            "records that Kafka takes",
        )

    async def until_accounted(self, process: Process, **counts: int) -> None:
        """A replica has at least so many orders, instruments …, and Kafka has taken them."""

        def there(statuses: Statuses) -> bool:
            status = statuses.get(process)
            return status is not None and all(
                status[name] >= count for name, count in counts.items()
            )

        await self._until(there, f"{counts}")
        await self.until_delivered()

    async def command(self, kind: str, **fields: Any) -> str:
        """Write a command, whether Kafka takes it at the moment or not; returns its id."""
        if self._steering is None:
            self._steering = await asyncio.to_thread(Steering, self._bootstrap_servers, self.topics)
            self._steering.__enter__()
        command_id = str(uuid.uuid4())
        self._steering.write({"id": command_id, "type": kind, **fields})
        return command_id

    async def reply(self, command_id: str) -> dict[str, Any]:
        """Wait for the one reply of a command."""
        steering = self._steering
        assert steering is not None
        await self._until(lambda _: bool(steering.replies.get(command_id)), "a reply")
        ((_, reply),) = steering.replies[command_id]
        return reply

    async def stop(self, process: Process) -> None:
        """SIGTERM; asserts a clean end, and keeps the replica's own account of it."""
        process.send_signal(signal.SIGTERM)
        code = await self.fleet.ended(process, SECONDS)
        last = process.lines()[-1]
        assert code == 0, (code, last)
        assert last["message"] == "stopped", last
        assert last["received"] == last["delivered"] + last["dead_lettered"], last
        assert not last["dropped"], last
        self._accounts.append(last)

    async def prove(self, *, killed: Sequence[Process] = (), repeats: bool = False) -> int:
        """Stop all replicas, and compare the feed, their accounts and the topics.

        Every session's sequence numbers are there without a gap to the last packet that the feed
        sent, each instrument's in order over all sessions, none twice; and Kafka has exactly as
        many records as the replicas say.

        Args:
            killed: what they had not delivered is lost, and so is their account.
            repeats: some ticks may be there twice.

        Returns:
            Number of ticks.
        """
        # brokers that have just come back may need longer for it than a stop has
        await self.until_drained()
        for process in self.fleet.alive:
            await self.stop(process)
        ticks = await asyncio.to_thread(self._ticks)
        found = audit(
            ticks, list(self.watch.sockets.values()), {process.name for process in killed}
        )
        faults = [*found.faults, *_sessions_mixed(ticks)]
        assert not faults, "\n".join(faults[:20])
        assert repeats or not found.repeats
        if not killed and not found.repeats:
            rest = await asyncio.to_thread(self._count_of_other_records)
            assert found.ticks + rest == self.delivered
        return found.ticks

    @property
    def delivered(self) -> int:
        """Records of all that were stopped, by their own account."""
        return sum(one["delivered"] + one["dead_lettered"] for one in self._accounts)

    async def _until(self, condition: Any, what: str) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + SECONDS
        while True:
            statuses = await self.fleet.statuses()
            if condition(statuses):
                return
            ended = {one.name: (one.code, one.lines()[-1]) for one in self.fleet.all if one.code}
            assert not any(code != -signal.SIGKILL for code, _ in ended.values()), ended
            assert loop.time() < end, f"{what}: did not come; {list(statuses.values())}"
            await asyncio.sleep(0.1)

    async def events(self, *types: str) -> dict[int, list[dict[str, Any]]]:
        """The connection events of these types, by slot, in the order of the topic."""
        decode = RecordDecoder(self.topics).decode
        found: dict[int, list[dict[str, Any]]] = {}
        for message in await asyncio.to_thread(
            read_topic, self._bootstrap_servers, self.topics.events
        ):
            event: Any = decode(self.topics.events, message.value()).value
            if event["type"] in types:
                found.setdefault(event["slot"], []).append(event)
        return found

    def _ticks(self) -> list[Any]:
        with TickReader(self._bootstrap_servers, self.topics) as reader:
            while not reader.at_the_end():
                pass
        return list(reader.ticks())

    def _count_of_other_records(self) -> int:
        topics = self.topics
        return sum(
            len(read_topic(self._bootstrap_servers, topic))
            for topic in (topics.orders, topics.events, topics.deadletter)
        )

    def close(self) -> None:
        if self._steering is not None:
            self._steering.__exit__()


def _sessions_mixed(ticks: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """Ticks of a session behind those of the slot's next one: the old owner wrote too late."""
    latest: dict[tuple[int, int], int] = {}
    for place, offset, token, slot, session_id, _ in ticks:
        if session_id < latest.get((token, slot), 0):
            yield f"{place} at {offset}: {token} of slot {slot} is from session {session_id}"
        latest[token, slot] = max(session_id, latest.get((token, slot), 0))


def _taken(accounting: dict[str, Any]) -> int:
    return int(accounting["delivered"] + accounting["dead_lettered"])


@contextlib.asynccontextmanager
async def streaming(
    directory: Path,
    bootstrap_servers: str,
    *,
    updates_per_second: float = UPDATES_PER_SECOND,
    **changes: Any,
) -> AsyncIterator[Streaming]:
    """Feed, registry and room for replicas.

    Args:
        directory: for settings, logs and spools.
        bootstrap_servers: of the Kafka.
        updates_per_second: of each instrument.
        changes: parts of the settings that are other than usual.
    """
    name = f"it-{uuid.uuid4().hex[:8]}"
    config = SimulatorConfig(
        instruments=INSTRUMENTS,
        updates_per_second=updates_per_second,
        slot_release_seconds=0,
        # nothing may be left out on the feed's side
        backlog_mib=256,
    )
    async with (
        SimulatorServer(config) as server,
        EmbeddedRegistry() as registry,
    ):
        tokens = [one.instrument_token for one in server.universe.listings[:-SPARE]]
        settings = {
            "name": name,
            "feed": {"root": server.ws_url, "rest": server.rest_url},
            "accounts": [{"api_key": "simulated_key", "access_token": "simulated_token"}],
            "instruments": [{"mode": "full", "instruments": tokens}],
            "connection": {"slot_wait_seconds": 0.2, "reconnect_min_delay_seconds": 0.05},
            "registry": {"url": registry.url},
            "instrument_master": {"load": False},
            "http": {"port": 0},
            **changes,
            "kafka": {"bootstrap_servers": bootstrap_servers, **changes.get("kafka", {})},
            "topics": {"prefix": name, "tick_partitions": 3, **changes.get("topics", {})},
        }
        async with Fleet(directory, settings, server.ws_url) as fleet:
            made = Streaming(server, fleet, bootstrap_servers, TopicNames(name))
            try:
                yield made
            finally:
                made.close()
                # for a test that fails
                for process in fleet.all:
                    print(f"--- {process.name}\n{process.log_path.read_text()}")
