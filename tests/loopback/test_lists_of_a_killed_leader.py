"""A leader is killed while a list is held back: the next one holds it back too, in the open."""

import asyncio
import signal
import urllib.request
from datetime import date
from urllib.error import HTTPError

import pytest

from connector.simulator import SimulatorConfig
from connector.simulator.rest import instruments_csv
from connector.simulator.universe import Universe
from connector.testing import until
from tests.chaos.fleet import Fleet
from tests.support.replicas import Steering
from tests.support.stack import TOPICS, stack

# whose contracts all end long after these tests run
TODAY = date(2126, 1, 5)
MARKET = Universe(300, TODAY)
FULL = instruments_csv(MARKET.listings)
LINES = FULL.splitlines(keepends=True)
CLAIMED = [
    *(MARKET.named("NSE", name) for name in ("INFY", "TCS")),
    *[one for one in MARKET.listings if one.exchange == "NFO"][:3],
]
NAMES = [f"{one.exchange}:{one.tradingsymbol}" for one in CLAIMED]
TOKENS = {one.instrument_token for one in CLAIMED}
GONE = {str(one.instrument_token) for one in CLAIMED[2:]}
SHORT = {
    # which whoever knows the last list sees
    "half of all": "".join(LINES[:1] + LINES[1::2]),
    # a hundredth of all, which only a leader sees: another replica does not know what is subscribed
    "three of five subscribed": "".join(
        line for line in LINES if line.partition(",")[0] not in GONE
    ),
}


async def page(process, path):
    url = process.status_url().replace("/status", path)

    def get():
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read().decode()
        except HTTPError as error:
            return error.read().decode()

    return await asyncio.to_thread(get)


async def status_of(fleet, process, condition):
    """Its status, once it is as a condition says."""
    async with asyncio.timeout(90):
        while True:
            status = await fleet.status(process)
            if status is not None and condition(status):
                return status
            await asyncio.sleep(0.05)


def unsubscribed(feed):
    return [seen for seen in feed.requests if seen.action == "unsubscribe"]


async def held_back_events(around):
    return [
        record.value["reason"]
        for record in (await around.records(TOPICS.events))[TOPICS.events]
        if record.value["type"] == "instrument_list_held_back"
    ]


@pytest.mark.parametrize("short", SHORT)
async def test_the_next_leader_holds_the_list_back_and_keeps_what_streams(tmp_path, short):
    file = tmp_path / "instruments.csv"
    file.write_text(FULL)
    config = SimulatorConfig(
        instruments=300, today=TODAY, instruments_file=file, updates_per_second=5
    )
    changes = {"cluster": {"enabled": True, "session_timeout_seconds": 6.0}, "instruments": []}
    async with stack(config, **changes) as around:
        feed = around.simulator
        settings = around.settings.model_dump(mode="json", exclude_unset=True)
        settings["accounts"] = [{"api_key": "simulated_key", "access_token": "simulated_token"}]
        steering = Steering(around.settings.kafka.bootstrap_servers, TOPICS)
        try:
            async with Fleet(tmp_path, settings, feed.ws_url) as fleet:
                leader = await fleet.start(0)
                await status_of(fleet, leader, lambda status: status["ready"])
                reply = await steering.send("subscribe", instruments=NAMES, mode="full")
                assert reply["accepted"] == len(NAMES)
                await until(lambda: set(feed.subscriptions()) == TOKENS)
                # the list is in its topic, and the record that says so
                await status_of(
                    fleet, leader, lambda status: status["instruments"] == len(MARKET) + 1
                )
                file.write_text(SHORT[short])
                reply = await steering.send("refresh-instruments")
                assert reply["status"] == "REJECTED"
                events = []
                while not events:  # a moment behind the reply
                    events = await held_back_events(around)

                standby = await fleet.start(1)
                await status_of(
                    fleet, standby, lambda status: (status["instrument_list"] or {}).get("origin")
                )
                # to keep the sockets of the dead one is no matter of this test
                leader.killed = True
                leader.send_signal(signal.SIGKILL)
                status = await status_of(
                    fleet,
                    standby,
                    lambda status: (
                        status["cluster"]["leader"] and status["instrument_list"]["held_back"]
                    ),
                )
                said = status["instrument_list"]["held_back"]
                await until(lambda: set(feed.subscriptions()) == TOKENS)
                assert status["instrument_list"]["origin"] == "kite.instruments"
                assert said in await page(standby, "/ready")
                assert "kite_connector_instrument_list_held_back 1.0" in await page(
                    standby, "/metrics"
                )
                reply = await steering.send("refresh-instruments")
                assert reply["status"] == "REJECTED"
                assert reply["errors"][0][:100] == said[:100], "replies are cut"
                events = []
                while said not in events[1:]:  # the first one is the dead leader's
                    events = await held_back_events(around)
                # nothing was taken out of the topic, nor will be
                records = (await around.records(TOPICS.instruments))[TOPICS.instruments]
                assert {record.key for record in records if record.value is None} == set()

                file.write_text(FULL)
                status = await status_of(fleet, standby, lambda status: status["ready"])
                assert status["instrument_list"]["held_back"] is None
                assert set(feed.subscriptions()) == TOKENS
                assert not unsubscribed(feed)
        finally:
            steering.close()
