"""Everything around the service, in one process: simulator, broker and schema registry."""

import contextlib
import time
from collections import defaultdict

from connector.cluster.layout import partitions
from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.tail import tail
from connector.kafka.topics import TopicNames, topic_specs
from connector.service.outside import Outside
from connector.service.service import Service
from connector.settings.models import Settings
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until

TOPICS = TopicNames("kite")


class Stack:
    """What the service talks to; `settings` are those of a service that talks to it."""

    def __init__(self, simulator, broker, registry, settings):
        self.simulator = simulator
        self.broker = broker
        self.registry = registry
        self.settings = settings

    def changed(self, **changes):
        """The settings with some parts replaced."""
        return self.settings.model_validate({**self.settings.model_dump(), **changes})

    async def records(self, *topics):
        """Everything that is in the topics, decoded: topic to list."""
        names = topics or tuple(self.broker.topics)
        found = defaultdict(list)
        async for record in tail(
            self.settings.kafka,
            self.settings.registry,
            TOPICS,
            names,
            start="earliest",
            follow=False,
        ):
            assert record.problem is None
            found[record.topic].append(record)
        return found

    async def ticks(self):
        """Every tick in Kafka, by (slot, session_id), in order of sequence."""
        found = defaultdict(list)
        for records in (await self.records(*TOPICS.all_ticks().values())).values():
            for record in records:
                tick = record.value
                found[tick["slot"], tick["session_id"]].append(tick)
        for session in found.values():
            session.sort(key=lambda tick: tick["sequence"])
        return found


def raw_settings(simulator, broker, registry, **changes):
    account = {"api_key": "simulated_key", "access_token": "simulated_token"}
    return {
        "feed": {"root": simulator.ws_url, "rest": simulator.rest_url},
        "accounts": [account],
        "instruments": [
            {"mode": "full", "instruments": [408065, 738561, 256265]},
            {"mode": "quote", "instruments": [779521, "NSE:TCS"]},
        ],
        # quick, so that tests of reconnecting are
        "connection": {
            "reconnect_min_delay_seconds": 0.01,
            "reconnect_max_delay_seconds": 0.1,
            "slot_wait_seconds": 0.05,
        },
        "kafka": {
            "bootstrap_servers": broker.bootstrap_servers,
            "client": {
                **EmbeddedBroker.client,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 50,
            },
        },
        "topics": {"replication_factor": 1, "tick_partitions": 2},
        "registry": {"url": registry.url},
        "http": {"port": 0},
        "cluster": {"enabled": False},
        "grace_seconds": 10.0,
        **changes,
    }


@contextlib.asynccontextmanager
async def stack(simulator=None, clock=time.time, **changes):
    """Open everything but the service.

    Args:
        clock: UTC seconds, of the simulator.
        simulator: its configuration; one that moves only when told to when not given.
        changes: parts of the settings that are other than usual.
    """
    config = simulator or SimulatorConfig(stepped=True, instruments=200)
    specs = {}
    async with SimulatorServer(config, clock=clock) as server, EmbeddedRegistry() as registry:
        with EmbeddedBroker() as broker:
            settings = Settings.model_validate(raw_settings(server, broker, registry, **changes))
            specs = topic_specs(settings.topics, slots=partitions(settings.accounts))
            for spec in specs:
                broker.create_topic(spec.name, spec.partitions)
            yield Stack(server, broker, registry, settings)


@contextlib.asynccontextmanager
async def service(around, settings=None, *, ready=True, **outside):
    """A service, running; waits until it is ready and everything is confirmed.

    Args:
        outside: attributes of `Outside` that are other than usual.
    """
    settings = settings or around.settings
    reached = Outside(settings)
    vars(reached).update(outside)
    async with Service(settings, outside=reached) as running:
        if ready:
            await streaming(around, running)
        yield running


async def streaming(around, running):
    """Wait until it is ready, and every instrument has shown the mode asked for."""
    await until(lambda: running.status().ready)
    # a leader hands the instruments of the settings on after it is ready, and the mode is asked for
    # after the instrument: a step before that would show nothing, or another mode
    named = {one for group in running.settings.instruments for one in group.instruments}
    await until(lambda: len(wanted(running)) + len(running.status().unresolved) >= len(named))
    await around.simulator.until(lambda: around.simulator.subscriptions() == wanted(running))
    # what comes first is a snapshot in quote mode
    for _ in range(3):
        await around.simulator.step(len(around.simulator.subscriptions()))
    await until(lambda: all(c.confirmed == c.desired for c in running.status().connections))


def wanted(running):
    """Token to mode, of all that a service wants of its feed."""
    owner = running.owner
    if (of_settings := owner.subscriptions()) is not None:
        return {token: one.mode.value for token, one in of_settings.items()}
    slots = owner.slots.values()
    return {token: mode.value for slot in slots for token, mode in slot.desired.items()}


async def delivered(running):
    """Wait until Kafka has everything that was received."""

    def done():
        accounting = running.status().accounting
        assert accounting.balanced, accounting
        return accounting.received == accounting.delivered + accounting.dead_lettered

    await until(done)
