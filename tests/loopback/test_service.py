"""The whole service in one process, between a simulated feed and an embedded broker."""

import asyncio
import json

import aiohttp
import pytest

from connector.errors import PortInUseError, TopicError
from connector.kafka.histogram import Histogram
from connector.kite.wire.models import Exchange
from connector.kite.wire.packets import parse_frame
from connector.service.readiness import Phase
from connector.service.service import Service
from connector.simulator import SimulatorConfig
from connector.simulator.wire import encode_frame, quote_packet
from connector.testing import until
from tests.support.stack import TOPICS, delivered, service, stack, streaming

REMEMBERING = SimulatorConfig(stepped=True, instruments=4000, sent_log_frames=10_000)
ACCOUNT = {"api_key": "simulated_key"}


def one_of_each_exchange(simulator):
    found = {}
    for listing in simulator.universe.listings:
        found.setdefault(listing.feed_exchange, listing)
    return found


def sent(socket):
    """The packets that the simulator sent over a socket, in order."""
    return [tick for frame in socket.sent for tick in parse_frame(frame)]


async def test_every_exchange_arrives_as_it_was_sent():
    async with stack(REMEMBERING) as around:
        listings = one_of_each_exchange(around.simulator)
        assert len(listings) >= 8
        names = [f"{listing.exchange}:{listing.tradingsymbol}" for listing in listings.values()]
        settings = around.changed(instruments=[{"mode": "full", "instruments": names}])
        async with service(around, settings) as running:
            for _ in range(20):
                await around.simulator.step(len(names))
            by_slot = {connection.slot: connection for connection in running.status().connections}
            sockets = around.simulator.sockets
            await until(
                lambda: (
                    running.status().accounting.received
                    == sum(len(sent(socket)) for socket in sockets)
                    + running.status().events
                    + running.status().instruments
                )
            )
            status = running.status()
        assert status.accounting.balanced
        assert not status.unresolved
        ticks = await around.ticks()
        assert {slot for slot, _ in ticks} == set(by_slot)
        all_sent = {frozenset(socket.subscriptions): sent(socket) for socket in sockets}
        for (slot, session_id), received in ticks.items():
            assert session_id == by_slot[slot].session_id
            assert [tick["sequence"] for tick in received] == list(range(1, len(received) + 1))
            expected = all_sent[frozenset(tick["instrument_token"] for tick in received)]
            assert len(received) == len(expected)
            for tick, packet in zip(received, expected, strict=True):
                assert tick["instrument_token"] == packet.instrument_token
                assert tick["exchange"] == packet.exchange.name
                assert tick["mode"] == packet.mode
                assert tick["last_price"] == packet.last_price
                assert tick["volume_traded"] == packet.volume_traded
                assert tick["exchange_timestamp"] == packet.exchange_timestamp
                assert tick["tradingsymbol"] == listings[packet.exchange].tradingsymbol
                if packet.depth:
                    assert [tuple(level.values()) for level in tick["depth"]["buy"]] == [
                        tuple(level) for level in packet.depth.buy
                    ]
        by_topic = await around.records(*TOPICS.all_ticks().values())
        assert set(by_topic) == {TOPICS.ticks(exchange) for exchange in listings}
        for topic, records in by_topic.items():
            for record in records:
                assert record.key == str(record.value["instrument_token"])
                assert topic == TOPICS.ticks(Exchange[record.value["exchange"]])
                assert record.timestamp_ms == record.value["receive_time_us"] // 1000


def place_order(simulator):
    """A market order, filled at once; returns its order_id."""
    account = simulator.access.entry("simulated_key").account
    form = {"exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY",
            "order_type": "MARKET", "product": "CNC", "quantity": "1"}  # fmt: skip
    return simulator.place_order(account, "regular", form)[0]["order_id"]


async def test_orders_that_changed_while_no_socket_was_open_are_reconciled_once():
    async with stack() as around:
        async with service(around, orders_settle_seconds=0.0) as running:
            brought = place_order(around.simulator)
            await until(lambda: running.status().order_repeats == 4)  # of OPEN and COMPLETE
        missed = []
        for _ in range(2):
            missed.append(place_order(around.simulator))
            async with service(around, orders_settle_seconds=0.0) as running:
                await until(lambda: running.status().orders_reconciled == 1)
        orders = (await around.records(TOPICS.orders))[TOPICS.orders]
        told = [(one.key, one.value["status"], one.value["source"]) for one in orders]
        assert sorted(told) == sorted(
            [
                (brought, "OPEN", "feed"),
                (brought, "COMPLETE", "feed"),
                *((order_id, "COMPLETE", "reconciled") for order_id in missed),
            ]
        )
        assert json.loads(orders[-1].value["payload"])["exchange_order_id"]


async def test_an_order_update_is_there_once():
    async with stack() as around, service(around) as running:
        for number in range(3):
            order = {"order_id": f"24{number}", "status": "COMPLETE", "filled_quantity": number}
            assert await around.simulator.post_order(order) == 3
        await until(lambda: running.status().order_repeats == 6)
        await delivered(running)
        orders = (await around.records(TOPICS.orders))[TOPICS.orders]
        assert sorted(record.key for record in orders) == ["240", "241", "242"]
        assert json.loads(orders[0].value["payload"])["status"] == "COMPLETE"


async def test_the_life_of_a_connection_is_told():
    async with stack() as around:
        async with service(around) as running:
            await around.simulator.inject("abort", sockets=[1])
            await until(lambda: running.status().connections[1].connects == 2)
            await streaming(around, running)
        events = (await around.records(TOPICS.events))[TOPICS.events]
        told = {}
        for record in events:
            told.setdefault(record.key, []).append(record.value["type"])
        for types in told.values():
            assert types[:4] == ["connecting", "connected", "gap", "resubscribed"]
            assert types[-1] == "closed"
        (broken,) = [types for types in told.values() if "disconnected" in types]
        assert broken.count("gap") == 2
        gaps = [record.value for record in events if record.value["type"] == "gap"]
        # whether a process had the slots before this one, nobody knows
        assert [gap["gap_from"] for gap in gaps[:3]] == [None] * 3
        gap = gaps[3]
        assert gap["gap_from"] < gap["gap_to"]
        assert gap["account"] == "main"


async def test_what_is_no_tick_is_kept():
    async with stack() as around, service(around) as running:
        odd, good = b"\0\x06\x3a\x01" + bytes(8), quote_packet(408065, 157315)
        await around.simulator.send_frame(encode_frame([odd, good, odd]), sockets=[0])
        await until(lambda: running.status().rejected == {"unknown_length": 2})
        await delivered(running)
        letters = (await around.records(TOPICS.deadletter))[TOPICS.deadletter]
        assert [record.value for record in letters] == [odd, odd]
        assert letters[0].key == "kite.ticks.nse"
        assert set(letters[0].headers) == {"reason", "slot", "receive_time_us", "session_id"}
        assert letters[0].headers["reason"] == "unknown_length"
        assert running.status().accounting.dead_lettered == 2


async def test_a_new_token_in_the_file_is_all_it_waits_for(tmp_path):
    token = tmp_path / "access_token"
    token.write_text("yesterdays")
    accounts = [{**ACCOUNT, "access_token_file": str(token)}]
    async with (
        aiohttp.ClientSession() as http,
        stack(accounts=accounts) as around,
        service(around, ready=False) as running,
    ):
        await until(
            lambda: (
                [connection.state for connection in running.status().connections]
                == ["waiting_for_token"] * 3
            )
        )
        await until(lambda: running.status().producer.broker_reachable)
        async with http.get(f"{running.http.url}/ready") as response:
            assert response.status == 503
            reasons = (await response.json())["reasons"]
        assert len(reasons) == 3
        assert "waiting for token" in reasons[0]
        assert "yesterdays" not in str(reasons)
        async with http.get(f"{running.http.url}/live") as response:
            assert response.status == 200

        written = tmp_path / "new"
        written.write_text("simulated_token\n")
        written.rename(token)
        await streaming(around, running)
        async with http.get(f"{running.http.url}/ready") as response:
            assert response.status == 200


async def test_a_broker_that_goes_and_comes_loses_nothing(tmp_path):
    async with stack(spool={"directory": str(tmp_path / "spool")}) as around:
        # a queue that is full at once: the rest has to go over the disk
        kafka = {**around.settings.kafka.model_dump(), "queue_max_messages": 1000}
        settings = around.changed(kafka=kafka)
        async with service(around, settings) as running:
            around.broker.set_down()
            await until(lambda: not running.status().producer.broker_reachable)
            assert not running.status().ready
            while running.status().accounting.spooled < 500:
                await around.simulator.step(100)
                assert running.status().accounting.balanced
            around.broker.set_up()
            await until(lambda: running.status().ready)
            await delivered(running)
            await around.simulator.step(20)
        status = running.status()
        assert status.accounting.received == status.accounting.delivered
        ticks = await around.ticks()
        for connection in status.connections:
            session = ticks[connection.slot, connection.session_id]
            assert [tick["sequence"] for tick in session] == list(range(1, len(session) + 1))
            assert len(session) == connection.packets


async def test_everything_is_waited_for_at_the_start():
    async with stack() as around:
        around.broker.set_down()
        await around.registry.close()
        url = around.settings.registry.url
        async with service(around, ready=False) as running:
            await until(lambda: len(running.status().not_ready) == 2)
            reasons = running.status().not_ready
            assert any("Kafka" in r and around.broker.bootstrap_servers in r for r in reasons)
            assert any(r.startswith("waiting for schema registry") for r in reasons)
            assert running.phase is Phase.STARTING
            # no ticks without Kafka: what could not be framed must not be asked for
            assert around.simulator.max_open_sockets() == 0
            around.broker.set_up()
            port = int(url.rpartition(":")[2])
            around.registry._port = port
            await around.registry.start()
            await streaming(around, running)


async def test_a_missing_topic_that_may_not_be_made_ends_it():
    async with stack(topics={"replication_factor": 1, "create": False, "prefix": "b"}) as around:
        other = {**around.settings.topics.model_dump(), "prefix": "other"}
        service = Service(around.changed(topics=other))
        with pytest.raises(TopicError, match=r"other\.ticks\.nse.*topics\.create"):
            await service.run()
        assert service.phase is Phase.STOPPED


async def test_names_that_nobody_knows_are_reported_and_no_hindrance():
    groups = [{"mode": "full", "instruments": ["NSE:NONE", 408065]}]
    async with stack(instruments=groups) as around, service(around) as running:
        assert running.status().unresolved == ["NSE:NONE: not in the instrument master"]
        assert running.status().ready


async def test_a_rest_api_that_is_away_costs_the_names_alone():
    async with stack(feed={"root": "ws://127.0.0.1:1"}) as around:
        feed = {"root": around.simulator.ws_url, "rest": "http://127.0.0.1:1"}
        async with service(around, around.changed(feed=feed), list_wait_seconds=0.01) as running:
            status = running.status()
            assert status.unresolved == ["NSE:TCS: the instrument master is not loaded yet"]
            assert sum(connection.desired for connection in status.connections) == 4


async def test_the_instrument_master_is_a_topic():
    async with stack() as around:
        listings = {
            str(listing.instrument_token): listing for listing in around.simulator.universe.listings
        }
        async with service(around) as running:
            await until(lambda: running.status().instruments == len(listings) + 1)
            await delivered(running)
        records = (await around.records(TOPICS.instruments))[TOPICS.instruments]
        assert {record.key for record in records} == set(listings)
        # one of them a second time, when the list was whole
        assert len(records) == len(listings) + 1
        for record in records:
            listing, instrument = listings[record.key], record.value
            assert instrument["instrument_token"] == listing.instrument_token
            assert instrument["tradingsymbol"] == listing.tradingsymbol
            assert instrument["exchange"] == listing.exchange
            assert instrument["expiry"] == (str(listing.expiry) if listing.expiry else None)


async def test_the_symbols_need_not_be_loaded():
    groups = [{"mode": "quote", "instruments": [408065]}]
    around = stack(instruments=groups, instrument_master={"load": False})
    async with around as around, service(around) as running:
        await delivered(running)
        ticks = await around.ticks()
        assert {tick["tradingsymbol"] for session in ticks.values() for tick in session} == {None}


async def test_a_second_account_has_slots_of_its_own():
    from connector.simulator import SimulatedAccount

    keys = SimulatedAccount(api_key="other", access_token="two")
    simulator = SimulatorConfig(stepped=True, instruments=200, accounts=(SimulatedAccount(), keys))
    accounts = [
        {**ACCOUNT, "access_token": "simulated_token"},
        {"name": "second", "api_key": "other", "access_token": "two", "connections": 2},
    ]
    async with stack(simulator, accounts=accounts) as around, service(around) as running:
        connections = running.status().connections
        assert [connection.slot for connection in connections] == [0, 1, 2, 3, 4]
        assert around.simulator.open_sockets("simulated_key") == 3
        assert around.simulator.open_sockets("other") == 2


async def test_a_stop_flushes_and_reports_clean():
    async with stack() as around:
        running = Service(around.settings)
        task = asyncio.create_task(running.run())
        await streaming(around, running)
        await around.simulator.step(100)
        before = around.simulator.feed.total_packets
        running.stop()
        assert await task
        accounting = running.status().accounting
        assert accounting.received == accounting.delivered >= before
        assert around.simulator.open_sockets() == 0
        assert running.status().not_ready == ["stopped"]


async def stopped_in_an_outage(around):
    """A service that was asked to stop while 100 records or more have no broker, and its run."""
    running = Service(around.settings)
    task = asyncio.create_task(running.run())
    await streaming(around, running)
    await delivered(running)
    around.broker.set_down()
    await around.simulator.step(100)
    running.stop()
    return running, task


async def test_a_second_stop_does_not_wait_for_a_broker_that_is_away(tmp_path):
    async with stack(spool={"directory": str(tmp_path)}, grace_seconds=3600.0) as around:
        running, task = await stopped_in_an_outage(around)
        await until(lambda: running.status().accounting.in_flight >= 100)
        running.stop()
        assert await task, "what is on disk is not lost"
        assert running.status().accounting.spooled >= 100

        around.broker.set_up()
        async with service(around) as again:
            await delivered(again)
            assert again.status().producer.found_in_spool >= 100
        ticks = await around.ticks()
        for session in ticks.values():
            assert [tick["sequence"] for tick in session] == list(range(1, len(session) + 1))


async def test_without_a_directory_the_rest_is_lost_and_said_so():
    async with stack(grace_seconds=0.01) as around:
        running, task = await stopped_in_an_outage(around)
        assert not await task
        accounting = running.status().accounting
        assert accounting.balanced
        assert accounting.dropped["no_spool_directory"] >= 100


async def test_a_record_that_kafka_refuses_becomes_a_dead_letter():
    kafka = {"client": {"message.max.bytes": 1000, "reconnect.backoff.ms": 10}}
    async with stack() as around:
        kafka["bootstrap_servers"] = around.broker.bootstrap_servers
        async with service(around, around.changed(kafka=kafka)) as running:
            order = {"order_id": "big", "status": "COMPLETE", "note": "x" * 1500}
            await around.simulator.post_order(order)
            await until(lambda: running.status().order_repeats == 2)
            await until(lambda: running.status().accounting.total_dropped == 1)
            # the dead letter is as large, and refused as well
            assert running.status().accounting.dropped == {"dead_letter_refused": 1}
            assert running.status().accounting.balanced
            told = []
            while len(told) < 3:
                events = (await around.records("kite.events"))["kite.events"]
                told = [e.value["reason"] for e in events if e.value["type"] == "dropped"]
            assert told == ["dead_letter_refused: 1 records over all slots"] * 3


async def test_a_taken_port_is_said_before_anything_is_opened():
    async with stack() as around, service(around) as running:
        port = int(running.http.url.rpartition(":")[2])
        with pytest.raises(PortInUseError):
            await Service(around.changed(http={"port": port})).start()
        assert around.simulator.max_open_sockets() == 3


async def test_metrics_of_a_running_service():
    async with stack() as around, service(around) as running, aiohttp.ClientSession() as http:
        await delivered(running)
        async with http.get(f"{running.http.url}/metrics") as response:
            page = await response.text()
        assert 'kite_connector_connection_state{account="main",slot="0",state="connected"} 1.0' in (
            page
        )
        assert 'kite_connector_ticks_total{exchange="NSE"}' in page
        async with http.get(f"{running.http.url}/status") as response:
            document = await response.json()
        assert document["accounting"]["balanced"]
        assert isinstance(running.status().latencies.receive_to_produce, Histogram)
        assert document["latency_seconds"]["receive_to_produce"]["count"] > 0


async def test_the_newest_tick_of_each_instrument_is_there_once_an_interval():
    topics = {"replication_factor": 1, "tick_partitions": 2, "latest": True}
    async with stack(topics={**topics, "latest_interval_seconds": 0.1}) as around:
        async with service(around) as running:
            written = running.status().latest
            await around.simulator.step(5)
            await until(lambda: running.status().latest > written)
            await delivered(running)
        newest = {
            record.key: record for record in (await around.records(TOPICS.latest))[TOPICS.latest]
        }
        ticks = [tick for session in (await around.ticks()).values() for tick in session]
    last = {str(tick["instrument_token"]): tick for tick in ticks}
    assert newest.keys() == last.keys()
    for key, record in newest.items():
        assert record.value == last[key]
