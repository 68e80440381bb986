"""Gaps mended over a real Kafka: a new leader goes on where the one before it stopped."""

from uuid import uuid4

import pytest

from connector.kafka.tail import tail
from connector.kafka.topics import TopicNames
from connector.service.outside import Outside
from connector.service.service import Service
from connector.settings.models import Settings
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.loopback.test_backfill import INFY, MINUTE_US, QUICK, StandingClock

pytestmark = pytest.mark.integration

OTHERS = [738561, 779521, 256265]


def settings_of(server, bootstrap_servers, registry_url):
    return Settings.model_validate(
        {
            "accounts": [{"api_key": "simulated_key", "access_token": "simulated_token"}],
            "feed": {"root": server.ws_url, "rest": server.rest_url},
            "instruments": [{"mode": "full", "instruments": [INFY, *OTHERS]}],
            "connection": {"reconnect_min_delay_seconds": 0.01, "slot_wait_seconds": 0.05},
            "kafka": {"bootstrap_servers": bootstrap_servers},
            "registry": {"url": registry_url},
            "topics": {
                "prefix": f"backfill-{uuid4().hex[:8]}", "replication_factor": 1, "backfill": True,
            },
            "cluster": {"session_timeout_seconds": 6},
            "backfill": {"settle_seconds": 0},
            "http": {"port": 0},
        }
    )  # fmt: skip


def replica(settings, clock):
    outside = Outside(settings)
    vars(outside).update(QUICK, clock=clock)
    return Service(settings, outside=outside)


async def read(settings, topic):
    names = TopicNames(settings.topics.prefix)
    records = tail(
        settings.kafka, settings.registry, names, [topic], start="earliest", follow=False
    )
    return [record.value async for record in records]


async def test_a_new_leader_mends_what_was_left_and_nothing_twice(bootstrap_servers, registry_url):
    clock = StandingClock()
    config = SimulatorConfig(stepped=True, instruments=200, candle_requests_per_second=1000)
    async with SimulatorServer(config, clock=lambda: clock.time_us() / 1e6) as server:
        settings = settings_of(server, bootstrap_servers, registry_url)
        names = TopicNames(settings.topics.prefix)

        async def streaming(running):
            await until(lambda: running.status().ready and len(server.subscriptions()) == 4)

        async with replica(settings, clock) as first:
            await streaming(first)
            await server.inject("abort")
            await server.until(lambda: not server.sockets)
            for token in (INFY, *OTHERS):
                await server.trade(token, 1500.0, 7)
            await streaming(first)
            # the API is away when the candles are asked for: the gap is left to the next one
            await server.inject("refuse_candles", status=503, count=100_000)
            clock.now_us += MINUTE_US
            await until(lambda: server.state()["candle_requests"] > 2)
        server.clear_faults()
        async with replica(settings, clock) as second:
            await streaming(second)
            clock.now_us += MINUTE_US
            await until(lambda: second.status().backfill.gaps_ended >= 3)
            await until(lambda: second.status().backfill.gaps_waiting == 0)
        candles = await read(settings, names.backfill)
        events = await read(settings, names.events)
    identities = [
        (one["slot"], one["gap_from"], one["instrument_token"], one["event_time"])
        for one in candles
    ]
    assert len(set(identities)) == len(identities)
    assert first.status().backfill.candles == 0
    assert {one["instrument_token"] for one in candles} == {INFY, *OTHERS}
    assert {one["slot"] for one in events if one["type"] == "gap_backfilled"} == {0, 1, 2}
