import asyncio
import json

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs
from typer.testing import CliRunner

from connector.cli import app
from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.errors import BrokerUnreachableError, SettingsError, TopicError
from connector.kafka import tail as tail_module
from connector.kafka.avro_records import RecordEncoder
from connector.kafka.reader import Reader
from connector.kafka.registry import register_schemas
from connector.kafka.tail import Since, tail
from connector.kafka.topics import TopicNames
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.settings.models import KafkaSettings, RegistrySettings

NAMES = TopicNames("kite")
TIME_MS = 1_700_000_000_000


@pytest.fixture
def broker():
    with EmbeddedBroker({NAMES.events: 2, NAMES.control: 1, NAMES.deadletter: 1}) as broker:
        yield broker


@pytest.fixture
async def registry():
    async with EmbeddedRegistry() as registry:
        yield RegistrySettings(url=registry.url)


def kafka(broker):
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


async def write(broker, *records):
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})
    for topic, key, value, headers in records:
        producer.produce(topic, value, key, timestamp=TIME_MS, headers=headers)
    assert await asyncio.to_thread(producer.flush, 10) == 0


def event(encoder, slot):
    event = ConnectionEvent(EventType.CONNECTED, slot=slot, time_ms=TIME_MS)
    return (NAMES.events, b"%d" % slot, encoder.event(event), [])


async def all_of(broker, registry, *topics):
    return [
        record
        async for record in tail(
            kafka(broker), registry, NAMES, topics, start="earliest", follow=False
        )
    ]


async def test_what_is_there_is_read_and_decoded(broker, registry):
    ids = await register_schemas(registry, NAMES)
    encoder = RecordEncoder(NAMES, ids)
    await write(broker, *(event(encoder, slot) for slot in range(6)))
    await write(
        broker,
        (NAMES.control, b"c", b'{"id": "1"}', []),
        (NAMES.deadletter, b"kite.ticks.nse", b"\xb8", [("reason", b"unknown_length")]),
        (NAMES.control, b"c", None, []),
    )
    records = await all_of(broker, registry, NAMES.events, NAMES.control, NAMES.deadletter)
    events = [record for record in records if record.topic == NAMES.events]
    assert sorted(record.value["slot"] for record in events) == list(range(6))
    assert {(r.schema_id, r.source, r.timestamp_ms) for r in events} == {
        (ids[NAMES.events], "registry", TIME_MS)
    }
    assert [r.value for r in records if r.topic == NAMES.control] == [{"id": "1"}, None]
    (dead,) = [record for record in records if record.topic == NAMES.deadletter]
    assert (dead.key, dead.value) == ("kite.ticks.nse", b"\xb8")
    assert dead.headers == {"reason": "unknown_length"}


async def test_without_a_registry(broker, registry):
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, event(encoder, 1))
    (record,) = await all_of(broker, None, NAMES.events)
    assert (record.value["slot"], record.source) == (1, "shipped")


async def test_a_value_of_somebody_else_ends_nothing(broker, registry):
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, (NAMES.events, b"1", b"not avro", []), event(encoder, 1))
    records = await all_of(broker, registry, NAMES.events)
    (bad,) = [record for record in records if record.problem]
    assert bad.value == b"not avro"
    assert "framing" in bad.problem
    assert len(records) == 2


async def test_following_sees_only_what_comes(broker, registry):
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, event(encoder, 1))
    seen = []
    following = asyncio.Event()

    async def follow():
        async for record in tail(kafka(broker), registry, NAMES, [NAMES.events, NAMES.control]):
            seen.append(record.value)
            following.set()

    task = asyncio.create_task(follow())
    while not following.is_set():
        # until the reader stands at the end: what was written before is not shown
        await write(broker, (NAMES.control, b"c", b'"now"', []))
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(seen) == {"now"}


async def test_following_sees_what_comes_into_partitions_that_are_added(
    broker, registry, monkeypatch
):
    counts = iter([1])  # as it was when the reading began
    partitions = Reader.partitions
    monkeypatch.setattr(
        Reader, "partitions", lambda self, topic: next(counts, partitions(self, topic))
    )
    monkeypatch.setattr(tail_module, "ADDED_SECONDS", 0.0)
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, *(event(encoder, slot) for slot in range(6)))
    records = tail(kafka(broker), registry, NAMES, [NAMES.events], start="earliest")
    async with asyncio.timeout(30):
        seen = [await anext(records) for _ in range(6)]
    await records.aclose()
    assert {record.partition for record in seen} == {0, 1}
    assert sorted(record.value["slot"] for record in seen) == list(range(6))


async def test_a_topic_that_is_deleted_while_it_is_followed_is_told_of_once(
    broker, registry, monkeypatch
):
    partitions, asked, looked = Reader.partitions, [], asyncio.Event()

    def deleted(self, topic):
        asked.append(topic)
        if topic == NAMES.events and 2 < len(asked) < 8:
            raise TopicError(topic, "is not there")
        if len(asked) > 10:
            looked.set()
        return partitions(self, topic)

    monkeypatch.setattr(Reader, "partitions", deleted)
    monkeypatch.setattr(tail_module, "ADDED_SECONDS", 0.0)
    # so that a turn waits little for what comes next
    monkeypatch.setattr(tail_module, "_WAIT_SECONDS", 0.01)
    records = tail(kafka(broker), registry, NAMES, [NAMES.events, NAMES.control])
    with capture_logs() as logs:
        reading = asyncio.ensure_future(anext(records))
        async with asyncio.timeout(30):
            await looked.wait()
        await write(broker, (NAMES.control, b"c", b'"now"', []))
        assert (await reading).value == "now"
        await records.aclose()
    (said,) = [one for one in logs if one["event"] == "topic_away"]
    assert (said["topic"], said["log_level"]) == (NAMES.events, "warning")


async def test_brokers_that_fall_silent_end_a_reading_to_the_end(broker, registry, monkeypatch):
    monkeypatch.setattr(tail_module, "SILENT_SECONDS", 0.5)
    await write(broker, (NAMES.control, b"c", b"1", []))
    broker.push_errors(1, *[6] * 10_000)  # Fetch: NOT_LEADER_OR_FOLLOWER, for ever
    with pytest.raises(BrokerUnreachableError, match="could not be read to their ends"):
        await all_of(broker, registry, NAMES.control)


async def test_following_tells_when_all_that_was_there_is_read(broker, registry):
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, *(event(encoder, slot) for slot in range(3)))
    read, caught_up, writing = [], [], set()

    def told():
        caught_up.append(len(read))
        writing.add(asyncio.ensure_future(write(broker, event(encoder, 3))))

    reading = tail(kafka(broker), registry, NAMES, [NAMES.events], start="earliest", caught_up=told)
    async for record in reading:
        read.append(record.value["slot"])
        if len(read) == 4:
            break
    await reading.aclose()
    await asyncio.gather(*writing)
    assert sorted(read) == [0, 1, 2, 3]
    assert caught_up == [3]


async def test_a_topic_that_is_not_there(broker):
    with pytest.raises(TopicError, match=r"kite\.orders: is not there"):
        await all_of(broker, None, NAMES.orders)


async def test_a_broker_that_is_away(broker):
    broker.set_down()
    reading = tail(kafka(broker), None, NAMES, [NAMES.events], timeout_seconds=0.3)
    with pytest.raises(BrokerUnreachableError):
        await anext(reading)


async def since(broker, place, topic=NAMES.control):
    reading = tail(kafka(broker), None, NAMES, [topic], start=place, follow=False)
    return [record.value async for record in reading]


@pytest.mark.parametrize(
    ("offset", "numbers"),
    [(0, [0, 1, 2, 3]), (2, [2, 3]), (99, []), (-1, [3]), (-99, [0, 1, 2, 3])],
)
async def test_it_begins_at_an_offset_within_what_is_there(broker, offset, numbers):
    await write(broker, *((NAMES.control, b"c", b"%d" % number, []) for number in range(4)))
    assert await since(broker, Since(offset=offset)) == numbers


async def test_it_begins_at_a_time(broker):
    await write(broker, (NAMES.control, b"c", b"0", []))
    assert await since(broker, Since(time_ms=TIME_MS)) == [0]
    assert await since(broker, Since(time_ms=TIME_MS + 1)) == []


async def test_only_what_is_wanted_is_decoded(broker):
    await write(broker, *((NAMES.control, b"%d" % n, b"%d" % n, []) for n in range(4)))

    class Wanted:
        def may_match(self, topic, key):
            return key != b"1"

        def matches(self, record):
            return record.value != 2

    reading = tail(
        kafka(broker), None, NAMES, [NAMES.control],
        start="earliest", follow=False, wanted=Wanted(),
    )  # fmt: skip
    assert [record.value async for record in reading] == [0, 3]


CLAIMED = {
    "token": 408065, "mode": "full", "claims": {"algo": "full"}, "symbol": "NSE:INFY",
    "revision": 1, "expiry": None,
}  # fmt: skip


@pytest.fixture
def run(broker, registry):
    where = ["-b", broker.bootstrap_servers, "-r", registry.url]

    async def run(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, app, ["tail", *arguments, *where])

    return run


async def test_the_command_filters_and_ends_after_so_many(broker, run):
    broker.create_topic(NAMES.subscriptions, 1)
    other = {**CLAIMED, "token": 738561, "symbol": "NSE:RELIANCE"}
    rows = [("408065", CLAIMED), ("738561", other), ("408065", CLAIMED)]
    await write(
        broker,
        *((NAMES.subscriptions, key.encode(), json.dumps(row).encode(), []) for key, row in rows),
    )
    found = await run("subscriptions", "--since=-9", "--symbol", "nse:inf*", "-n", "2")
    assert found.exit_code == 0, found.output
    assert [json.loads(line)["value"]["token"] for line in found.stdout.splitlines()] == [
        408065
    ] * 2
    found = await run("subscriptions", "--since", "0", "--until-end", "-t", "738561", "--csv")
    assert len(found.stdout.splitlines()) == 2
    found = await run("subscriptions", "--from-beginning", "--until-end", "--watchlist", "algo")
    assert len(found.stdout.splitlines()) == 3
    missing = await run("subscriptions", "--watchlist", "alg")
    assert "'alg' claims nothing; there are algo" in str(missing.exception)


@pytest.mark.parametrize(
    "arguments",
    [("--since", "5m", "--from-beginning"), ("--json", "--csv"), ("--since", "soon"), ("nowhere",)],
)
async def test_the_command_refuses_what_it_cannot_do(run, arguments):
    assert isinstance((await run(*arguments)).exception, SettingsError)
