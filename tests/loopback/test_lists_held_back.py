"""Lists that Kite makes badly, one after the other: nothing stops streaming, and it is said."""

import asyncio
import csv
import io
import json
import urllib.request
from datetime import date
from urllib.error import HTTPError

import pytest

from connector.errors import InstrumentFormatError, InstrumentListHeldBackError
from connector.kafka.instruments import WHOLE
from connector.kite.web.instrument_cache import InstrumentCache
from connector.service import pipeline
from connector.simulator import SimulatorConfig
from connector.simulator.rest import instruments_csv
from connector.simulator.universe import Universe
from connector.testing import until
from tests.support.replicas import Steering
from tests.support.stack import TOPICS, delivered, service, stack

# whose contracts all end long after these tests run
TODAY = date(2126, 1, 5)
MARKET = Universe(300, TODAY)
FULL = instruments_csv(MARKET.listings)
LINES = FULL.splitlines(keepends=True)
CLAIMED = [MARKET.named("NSE", "INFY"), MARKET.named("NSE", "TCS")] + [
    next(one for one in MARKET.listings if one.exchange == exchange)
    for exchange in ("NFO", "BSE", "MCX")
]
NAMES = [f"{one.exchange}:{one.tradingsymbol}" for one in CLAIMED]
TOKENS = {one.instrument_token for one in CLAIMED}


def instruments(running):
    """The loader of a service's list; None before Kafka and the registry have answered."""
    return running.running and running.running.instruments.list


def without(*exchanges):
    return "".join(line for line in LINES if line.strip().rpartition(",")[2] not in exchanges)


def other_columns():
    rows = list(csv.DictReader(io.StringIO(FULL)))
    text = io.StringIO()
    names = list(rows[0])
    # two columns have each other's names
    names[0], names[1] = names[1], names[0]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([names, *(row.values() for row in rows)])
    return text.getvalue()


BAD = {
    "ends early": "".join(LINES[:230]),
    "ends within a row": FULL[: len(FULL) * 3 // 4],
    "lacks an exchange": without("MCX"),
    "has half": "".join(LINES[:1] + LINES[1::2]),
    "has one row": "".join(LINES[:2]),
    "has a header alone": LINES[0],
    "is empty": "",
    "is a page": "<html>Service unavailable</html>",
    "has a line break in a cell": FULL.replace(",INFOSYS,", ',"INFO\nSYS",'),
    "has the tokens of others": other_columns(),
}


@pytest.fixture
async def around(tmp_path):
    file = tmp_path / "instruments.csv"
    file.write_text(FULL)
    config = SimulatorConfig(stepped=True, instruments=300, today=TODAY, instruments_file=file)
    settings = {
        "cluster": {"enabled": True, "session_timeout_seconds": 6.0},
        "instruments": [{"mode": "full", "instruments": NAMES[:2]}],
        "instrument_master": {"cache_file": str(tmp_path / "cache")},
    }
    async with stack(config, **settings) as around:
        around.file = file
        yield around


def page(running, path):
    try:
        with urllib.request.urlopen(f"{running.http.url}/{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


async def test_whatever_the_list_lacks_what_is_subscribed_is_streamed(around):
    async with service(around, ready=False) as running:
        steering = Steering(around.settings.kafka.bootstrap_servers, TOPICS)
        try:
            await until(lambda: running.status().ready)
            reply = await steering.send("subscribe", instruments=NAMES[2:], mode="full")
            assert reply["accepted"] == 3
            await until(lambda: set(around.simulator.subscriptions()) == TOKENS)
            requests = len(around.simulator.requests)
            for kind, text in BAD.items():
                around.file.write_text(text)
                with pytest.raises((InstrumentFormatError, InstrumentListHeldBackError)) as caught:
                    await instruments(running).refresh()
                assert running.status().instrument_list.held_back == str(caught.value), kind
                assert set(around.simulator.subscriptions()) == TOKENS, kind
            reply = await steering.send("refresh-instruments")
            assert (reply["status"], reply["errors"]) == ("REJECTED", [str(caught.value)])
            assert running.status().not_ready == [str(caught.value)]
            around.file.write_text(FULL)
            await instruments(running).refresh()
            await until(lambda: running.status().ready)
            # nothing was unsubscribed meanwhile, nor subscribed again
            assert len(around.simulator.requests) == requests
            await delivered(running)
            kinds = [
                record.value["type"]
                for record in (await around.records(TOPICS.events))[TOPICS.events]
            ]
            assert "instrument_expired" not in kinds
            assert kinds.count("instrument_list_accepted") == 1
            assert "instrument_list_held_back" in kinds
        finally:
            steering.close()


async def test_it_is_said_on_every_page_and_an_operator_may_accept_it(around):
    async with service(around, ready=False) as running:
        steering = Steering(around.settings.kafka.bootstrap_servers, TOPICS)
        try:
            await until(lambda: running.status().ready)
            await steering.send("subscribe", instruments=NAMES[2:], mode="full")
            around.file.write_text(without("MCX"))
            with pytest.raises(InstrumentListHeldBackError):
                await instruments(running).refresh()
            said = "it has nothing of MCX"
            code, text = await asyncio.to_thread(page, running, "ready")
            assert (code, said in text) == (503, True)
            _, text = await asyncio.to_thread(page, running, "status")
            assert said in json.loads(text)["instrument_list"]["held_back"]
            _, text = await asyncio.to_thread(page, running, "metrics")
            assert "kite_connector_instrument_list_held_back 1.0" in text
            reply = await steering.send("refresh-instruments", accept_list=True)
            assert reply["refused"] == [
                {"instrument": NAMES[4], "reason": "ended: not in the list that was accepted"}
            ]
            await until(
                lambda: (
                    set(around.simulator.subscriptions()) == TOKENS - {CLAIMED[4].instrument_token}
                )
            )
            assert running.status().ready
        finally:
            steering.close()


async def test_a_start_with_a_bad_list_goes_on_with_the_cached_one(around):
    async with service(around, ready=False) as running:
        await until(lambda: running.status().ready)
    around.file.write_text(LINES[0])
    cache = InstrumentCache(around.settings.instrument_master.cache_file, around.settings.feed.rest)
    # of yesterday
    cache.save(FULL, fetched_ms=1)
    async with service(around, ready=False) as running:
        of_settings = {one.instrument_token for one in CLAIMED[:2]}
        await until(lambda: set(around.simulator.subscriptions()) == of_settings)
        status = running.status()
        assert "it has no rows" in status.instrument_list.held_back
        assert (status.instrument_list.origin, status.instrument_list.instruments) == ("cache", 300)
        assert cache.load().fetched_ms == 1


async def test_a_start_without_a_cache_compares_with_what_is_published(around):
    settings = around.changed(instrument_master={})
    async with service(around, settings, ready=False) as running:
        await until(lambda: running.status().ready)
        await until(lambda: running.status().instruments == len(MARKET) + 1)
    around.file.write_text("".join(LINES[:100]))
    async with service(around, settings, ready=False) as running:
        await until(lambda: instruments(running) is not None and instruments(running).held_back)
        assert running.status().instrument_list.origin == "kite.instruments"
        await until(lambda: len(around.simulator.subscriptions()) == 2)
    # and no row of it was taken away
    records = (await around.records(TOPICS.instruments))[TOPICS.instruments]
    assert len(records) == len(MARKET) + 1
    assert all(record.value is not None for record in records)


@pytest.mark.parametrize("mark", [("other", b"whole"), WHOLE])
async def test_a_part_of_a_list_in_its_topic_is_no_list(around, monkeypatch, mark):
    """As a leader leaves it that is killed amid the first publication."""
    settings = around.changed(instrument_master={})
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "WHOLE", mark)
        async with service(around, settings, ready=False) as running:
            await until(lambda: running.status().instruments == len(MARKET) + 1)
            await delivered(running)
    feed = {"root": around.simulator.ws_url, "rest": "http://127.0.0.1:1"}
    settings = around.changed(instrument_master={}, feed=feed)
    async with service(around, settings, ready=False) as running:
        await until(lambda: instruments(running) and instruments(running).tried.is_set())
        origin = "kite.instruments" if mark == WHOLE else None
        assert running.status().instrument_list.origin == origin
