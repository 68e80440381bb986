"""Three replicas, 9000 instruments, and whatever a seed can think of.

`CHAOS_SEED` and `CHAOS_SECONDS` choose the run, `CHAOS_KINDS` the disturbances ("clock topic"),
`KAFKA_BOOTSTRAP_SERVERS` or `CHAOS_KAFKA=docker` a real Kafka; `make chaos` runs some minutes. At
the end the sockets carry what the commands asked for, and Kafka has what the sockets received.
"""

import asyncio
import contextlib
import os
import time
import uuid
from datetime import datetime

import pytest

from connector.control.client import ControlClient
from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.topics import TopicNames, topic_specs
from connector.kite.clock import IST
from connector.settings.models import Settings
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.simulator.rest import instruments_csv
from connector.simulator.universe import Universe
from tests.chaos.brokers import broker
from tests.chaos.chaos import PLACES, Chaos
from tests.chaos.feed_watch import Excuses, FeedWatch
from tests.chaos.fleet import Fleet
from tests.chaos.outside import Disks, Outside
from tests.chaos.plan import POOL, make_plan
from tests.chaos.steering import Steering
from tests.chaos.ticks import TickReader, audit, second_audit

pytestmark = pytest.mark.chaos

SEED = os.environ.get("CHAOS_SEED") or "1"
SECONDS = float(os.environ.get("CHAOS_SECONDS") or 15)
GROUP_PROTOCOL = os.environ.get("CHAOS_GROUP_PROTOCOL") or "classic"
LONGEST_GAP_SECONDS = 60.0
"""While nothing is done to a replica and nothing is taken away: a session timeout, and a machine
that is busy. What is usual is printed."""


async def test_whatever_happens_the_cluster_streams_what_it_was_told_to(tmp_path, record_property):
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    config = SimulatorConfig(
        instruments=POOL,
        today=datetime.now(IST).date(),  # of other days the contracts would be over
        updates_per_second=0.3,
        period_seconds=0.1,
        slot_release_seconds=0,
        instruments_file=tmp_path / "instruments.csv",
    )
    config.instruments_file.write_text(
        instruments_csv(Universe(config.instruments, config.today).listings)
    )
    token_file = tmp_path / "secret" / "access_token"
    token_file.parent.mkdir()
    token_file.write_text("simulated_token")
    print(f"\nmake chaos SEED={SEED} CHAOS_SECONDS={SECONDS:g}; logs in {tmp_path}")
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(SimulatorServer(config))
        watch, excuses = FeedWatch(server), Excuses()
        registry = await stack.enter_async_context(EmbeddedRegistry())
        kafka = stack.enter_context(broker())
        tree = {
            "name": name,
            "feed": {"root": server.ws_url, "rest": server.rest_url},
            "accounts": [{"api_key": "simulated_key", "access_token_file": str(token_file)}],
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "client": kafka.client},
            "topics": {"prefix": name, "replication_factor": 1, "tick_partitions": 2},
            "registry": {"url": registry.url},
            "cluster": {"session_timeout_seconds": 6, "group_protocol": GROUP_PROTOCOL},
            "instrument_master": {"load": True},
            "http": {"port": 0},
            "grace_seconds": 10,
        }
        settings = Settings.model_validate(tree)
        topics = TopicNames(name)
        kafka.create_topics(topic_specs(settings.topics, slots=3))
        fleet = await stack.enter_async_context(Fleet(tmp_path, tree, server.ws_url))
        disks = stack.enter_context(Disks(fleet, PLACES))
        steering = Steering(kafka.bootstrap_servers, topics)
        chaos = await stack.enter_async_context(
            Chaos(fleet, server, watch, excuses, kafka, steering, token_file)
        )
        try:
            assert await chaos.begin(), chaos.outcome.faults
            stack.enter_context(steering)
            reader = await asyncio.to_thread(TickReader, kafka.bootstrap_servers, topics)
            stack.enter_context(reader)
            chaos.outside = Outside(chaos, topics, reader, disks, config.instruments_file)
            pool = [listing.instrument_token for listing in server.universe.listings]
            await chaos.run(
                make_plan(
                    SEED,
                    SECONDS,
                    pool,
                    outages=kafka.outages,
                    fencing=kafka.transactions,
                    refusals=chaos.outside.refusals,
                    only=os.environ.get("CHAOS_KINDS", "").split(),
                )
            )
            await chaos.settle()
            await asyncio.to_thread(compare_topic, chaos, settings, topics)
            await chaos.end()
            ended = await chaos.until(
                lambda: asyncio.to_thread(reader.at_the_end), 60, "all ticks are read"
            )
            if not ended:
                chaos.fault(f"unread: {await asyncio.to_thread(reader.unread)}")
            check_ticks(chaos, reader, topics)
            chaos.judge.check_replies()
            chaos.check_feed()
            chaos.check_processes()
            chaos.check_balances()
            check_gaps(chaos)
            summarize(chaos, record_property)
        finally:
            log, faults = "\n".join(chaos.outcome.log), "\n".join(chaos.outcome.faults)
        assert not chaos.outcome.faults, f"seed {SEED}:\n{log}\n\n{faults}"


def compare_topic(chaos, settings, topics):
    """The compacted topic tells another program the same."""
    with ControlClient(settings.kafka, topics) as client:
        there = {
            token: {name: mode.value for name, mode in carried.subscription.claims.items()}
            for token, carried in client.subscribed().carried.items()
        }
    if there != chaos.judge.model.claims:
        differing = {
            token
            for token in there.keys() | chaos.judge.model.claims.keys()
            if there.get(token) != chaos.judge.model.claims.get(token)
        }
        chaos.fault(f"{topics.subscriptions}: {len(differing)} instruments are not as asked for")


def check_ticks(chaos, reader, topics):
    killed = {process.name for process in chaos.fleet.all if process.killed}
    dropped = {process.name: sum(process.losses().values()) for process in chaos.fleet.all}
    found = audit(reader.ticks(), list(chaos.watch.sockets.values()), killed, dropped)
    lossy = {name for name, count in dropped.items() if count}
    faults, line = second_audit(reader, topics, found, killed, lossy, round(time.time() * 1000))
    for text in (*found.faults[:20], *faults[:20]):
        chaos.fault(text)
    chaos.say(line)
    chaos.say(
        f"{found.ticks} ticks of {found.sessions} sessions, {found.repeats} repeats, "
        f"{found.lost_by_kills} lost in killed processes, {found.lost_as_told} lost as told"
    )


def check_gaps(chaos):
    for gap in chaos.gaps:
        if gap.undisturbed_seconds > LONGEST_GAP_SECONDS:
            chaos.fault(f"on no socket for too long: {gap}")


def summarize(chaos, record_property):
    longest = {}
    for gap in chaos.gaps:
        longest.setdefault(gap.cause, gap)
    lines = [
        f"{gap.cause}: {gap.undisturbed_seconds:.1f} s; from {gap.begin:.1f} s for "
        f"{gap.seconds:.1f} s with {gap.disturbances} disturbances, {gap.instruments} instruments"
        for gap in sorted(longest.values(), reverse=True)
    ]
    actions = ", ".join(f"{n} {kind}" for kind, n in sorted(chaos.outcome.actions.items()))
    print(
        f"{actions}\n{chaos.outcome.commands} replies as foretold, but for "
        f"{chaos.outcome.excused_replies} excused, and {chaos.outcome.excused_crashes} crashes; "
        f"refused handshakes: "
        f"{dict(chaos.server.access.refusals)}; log errors: {dict(chaos.errors())}\n"
        + "\n".join(text for text in chaos.outcome.log if " ticks " in text)
        + "\nlongest time that wanted instruments were on no socket while nothing was done to a "
        "replica, by what came before:\n  " + "\n  ".join(lines)
    )
    record_property("longest_gap_seconds", chaos.gaps[0].undisturbed_seconds if chaos.gaps else 0)
