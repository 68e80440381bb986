"""The commands around Kafka, over an embedded broker and registry."""

import asyncio
import json
import threading

import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.codec import Transcoder
from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.producer import RecordProducer
from connector.kafka.registry import register_schemas, topic_schemas
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings, RegistrySettings, SpoolSettings
from connector.simulator.wire import encode_frame, index_packet, quote_packet
from tests.support.producing import TIME_US

TOPICS = TopicNames()


@pytest.fixture
def registry():
    """In a thread of its own, as the commands have their own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = EmbeddedRegistry()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield server.url
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def broker():
    topics = dict.fromkeys([*TOPICS.all_ticks().values(), TOPICS.orders, TOPICS.deadletter], 2)
    with EmbeddedBroker(topics) as running:
        yield running.bootstrap_servers


@pytest.fixture
def run(monkeypatch, registry, broker):
    monkeypatch.delenv("KITE_CONNECTOR_CONFIG", raising=False)

    def run(*arguments):
        return CliRunner().invoke(app, [*arguments])

    run.registry, run.broker = registry, broker
    return run


async def write(broker, registry):
    ids = await register_schemas(RegistrySettings(url=registry), TOPICS)
    producer = RecordProducer(
        KafkaSettings(bootstrap_servers=broker), SpoolSettings(), client_id="test"
    )
    await producer.start()
    transcoder = Transcoder(TOPICS.all_ticks(), ids, 0)
    frame = encode_frame([quote_packet(408065, 157315), index_packet(256265, 2480000)])
    for number in range(3):
        records, _, _ = transcoder.transcode(frame, TIME_US + number * 1000)
        producer.produce_all(records, (TIME_US + number * 1000) // 1000)
    producer.produce(TOPICS.deadletter, b"\x00\xff", b"kite.ticks", 1, [("reason", b"odd")])
    assert await producer.close(10)


def test_tail_of_everything_as_json_lines(run):
    asyncio.run(write(run.broker, run.registry))
    result = run("tail", "-b", run.broker, "-r", run.registry, "--from-beginning", "--until-end")
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == 6
    assert {record["topic"] for record in records} == {"kite.ticks.nse", "kite.ticks.indices"}
    first = next(record for record in records if record["key"] == "408065")
    assert first["value"]["last_price"] == 1573.15
    assert first["value"]["event_time"] == "2026-01-05T04:00:00.000+00:00"
    assert first["source"] == "registry"
    assert "problem" not in first


def test_tail_of_one_exchange_ends_at_the_limit(run):
    asyncio.run(write(run.broker, run.registry))
    result = run("tail", "nse", "-b", run.broker, "-r", run.registry, "--from-beginning", "-n", "2")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 2


def test_tail_of_bytes(run):
    asyncio.run(write(run.broker, run.registry))
    result = run("tail", "deadletter", "-b", run.broker, "--from-beginning", "-n", "1")
    (record,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert record["value"] == {"base64": "AP8="}
    assert record["headers"] == {"reason": "odd"}


def test_a_topic_that_nobody_knows(run):
    result = run("tail", "nyse")
    assert "nyse: no such topic; there are" in str(result.exception)


def test_options_are_checked_like_settings(run):
    assert "kafka.bootstrap_servers" in str(run("tail", "-b", "nowhere").exception)


def test_schemas_are_missing_then_registered(run):
    result = run("schemas", "check", "-r", run.registry)
    assert result.exit_code == 1
    in_use = len(topic_schemas(TOPICS)) - 2  # without kite.latest and kite.backfill.1m
    assert result.stdout.count("missing") == in_use
    result = run("schemas", "register", "-r", run.registry)
    assert result.exit_code == 0, result.output
    assert "kite.orders" in result.stdout
    result = run("schemas", "check", "-r", run.registry)
    assert result.exit_code == 0
    assert result.stdout.count("registered") == in_use


def test_schemas_are_listed_and_printed(run):
    assert "kite.ticks.nse-value" in run("schemas", "list").stdout
    assert "x.orders-value" in run("schemas", "list", "--prefix", "x").stdout
    assert json.loads(run("schemas", "print", "tick").stdout)["name"] == "Tick"
    assert "no such schema; there are" in str(run("schemas", "print", "tock").exception)
