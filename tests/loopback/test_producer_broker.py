"""The producer against a real librdkafka client and the embedded broker."""

import asyncio
import subprocess
import sys

import pytest
from confluent_kafka import KafkaError as Code

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.clients import VARIABLE, ClientCallbacks
from connector.kafka.config import ClientLog
from connector.kafka.delivery import new_producer
from connector.kafka.producer import ProducerState, RecordProducer
from connector.kafka.renewals import outdate
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.testing import until
from tests.support.producers import balanced, producers
from tests.support.reading import by_key, read_topic

TIME_MS = 1_700_000_000_000
KEYS = 20
PRODUCE = 0  # the request's api_key
QUICK = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100}


@pytest.fixture(params=["native", "confluent"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


@pytest.fixture
def broker():
    with EmbeddedBroker({"t": 3}) as broker:
        yield broker


def kafka(broker, **more):
    return KafkaSettings(
        bootstrap_servers=broker.bootstrap_servers,
        linger_ms=1,
        client=QUICK,
        **{"queue_max_messages": 1000, **more},
    )


class Feed:
    """Numbered records over some keys; knows what has to be in the topic."""

    def __init__(self, producer):
        self.producer = producer
        self.made = 0

    def send(self, count):
        records = [
            ("t", b"%d" % (number % KEYS), b"%d" % number)
            for number in range(self.made, self.made + count)
        ]
        self.made += count
        self.producer.produce_all(records, TIME_MS)
        balanced(self.producer)

    async def trickle(self, times):
        """At a pace at which the client hears of errors meanwhile."""
        for _ in range(times):
            self.send(20)
            await asyncio.sleep(0.002)

    async def all_delivered(self, seconds=20):
        assert await self.producer.flush(seconds)
        assert self.producer.counts.delivered == self.made


async def check(broker, made, *, repeats=False):
    """Every record is there, each key's in order; `repeats`: some perhaps more than once."""
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    assert {m.timestamp()[1] for m in messages} == {TIME_MS}
    for key, values in by_key(messages).items():
        numbers = [int(value) for value in values]
        expected = [number for number in range(made) if number % KEYS == int(key)]
        assert (list(dict.fromkeys(numbers)) if repeats else numbers) == expected


@pytest.fixture
async def start(broker, tmp_path):
    async with producers() as started:

        async def start(spool=None, **options):
            return await started(
                RecordProducer(
                    options.pop("kafka", kafka(broker)),
                    spool or SpoolSettings(directory=tmp_path),
                    client_id="test",
                    **options,
                )
            )

        yield start


async def feeding(start, **options):
    """A feed whose first records are with the broker."""
    feed = Feed(await start(**options))
    feed.send(100)
    await feed.all_delivered()
    return feed


async def test_records_arrive_and_are_counted(broker, start):
    producer = await start()
    feed = Feed(producer)
    feed.send(500)
    assert await producer.flush(20)
    assert producer.counts.delivered == 500
    producer.produce("t", None, b"tombstone", TIME_MS, [("reason", b"x")])
    assert await producer.flush(20)
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    (last,) = [m for m in messages if m.key() == b"tombstone"]
    assert (last.value(), last.timestamp()[1], last.headers()) == (
        None, TIME_MS, [("reason", b"x")],
    )  # fmt: skip


async def test_keys_go_to_the_partitions_that_java_would_choose(broker, start):
    producer = await start()
    for key in (b"408065", b"738561", b"256265", b"5633"):
        producer.produce("t", b"v", key, TIME_MS)
    assert await producer.flush(20)
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    # by org.apache.kafka.common.utils.Utils.murmur2, positive, modulo 3
    assert {m.key(): m.partition() for m in messages} == {
        key: (murmur2(key) & 0x7FFFFFFF) % 3 for key in (b"408065", b"738561", b"256265", b"5633")
    }


async def test_reachable_and_latencies(broker, start):
    producer = await start()
    Feed(producer).send(10)
    await until(lambda: producer.broker_reachable)
    await until(lambda: producer.health.acknowledgement.histogram.total > 0)
    broker.set_down()
    await until(lambda: not producer.broker_reachable)
    assert producer.last_error
    broker.set_up()
    await until(lambda: producer.broker_reachable)
    assert producer.last_error is None


async def test_a_client_that_is_outdated_makes_way_and_nothing_is_lost_or_repeated(broker, start):
    settings = kafka(broker)
    producer = await start(kafka=settings)
    feed = Feed(producer)
    await until(lambda: producer.broker_reachable)
    replaced = 0
    for _ in range(3):
        before = producer._client
        feed.send(50)
        replaced += outdate(settings)
        while producer._client is before:
            feed.send(5)
            await asyncio.sleep(0.01)
            assert producer.last_error is None
        await until(lambda: producer.state is ProducerState.DIRECT)
    feed.send(50)
    assert await producer.flush(20)
    assert replaced == 3
    assert producer.counts.delivered == feed.made
    await check(broker, feed.made)


async def test_a_broker_that_is_away_for_long_loses_nothing(broker, start):
    feed = await feeding(start)
    producer = feed.producer
    broker.set_down()
    while feed.made < 4000:
        feed.send(50)
        await asyncio.sleep(0)
    assert producer.state is ProducerState.SPOOLING
    # all but what the queue has room for, once the disk has it
    delivered = producer.counts.delivered
    await until(lambda: producer.counts.spooled >= feed.made - delivered - 1000)
    broker.set_up()
    while producer.state is ProducerState.SPOOLING:
        feed.send(5)
        await asyncio.sleep(0.005)
    feed.send(50)
    await feed.all_delivered()
    await check(broker, feed.made)


async def test_a_fatal_error_loses_nothing(broker, start):
    feed = await feeding(start)
    broker.push_errors(PRODUCE, *[Code.OUT_OF_ORDER_SEQUENCE_NUMBER] * 2)
    await feed.trickle(40)
    await feed.all_delivered()
    await check(broker, feed.made, repeats=True)


async def test_errors_that_pass_lose_nothing(broker, start):
    producer = await start()
    feed = Feed(producer)
    broker.push_errors(
        PRODUCE,
        Code.NOT_LEADER_FOR_PARTITION,
        Code.REQUEST_TIMED_OUT,
        Code._TRANSPORT,
        Code.NOT_ENOUGH_REPLICAS,
    )
    await feed.trickle(20)
    await feed.all_delivered()
    assert not producer.counts.failed
    await check(broker, feed.made, repeats=True)


async def test_a_success_without_an_offset_is_sent_again(broker, start):
    # a leader without state of the client refuses its first batch, accepts the second, and then
    # takes the first for a repetition, which librdkafka reports as delivered
    producer = await start()
    feed = Feed(producer)
    broker.push_errors(
        PRODUCE, Code.NOT_LEADER_FOR_PARTITION, *[Code.DUPLICATE_SEQUENCE_NUMBER] * 2
    )
    await feed.trickle(20)
    await feed.all_delivered()
    assert not producer.counts.failed
    assert not producer.refusals
    # what was accepted meanwhile was written before it, so that the order is not kept here
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    assert {int(message.value()) for message in messages} == set(range(feed.made))


async def test_a_record_that_the_broker_refuses_alone_is_told(broker, start):
    failed = []
    producer = await start(on_failed=failed.append)
    producer.produce("t", b"first", b"k", TIME_MS)
    assert await producer.flush(20)
    # with its batch, and again for itself
    broker.push_errors(PRODUCE, Code.INVALID_RECORD, Code.INVALID_RECORD)
    producer.produce("t", b"bad", b"k", TIME_MS, [("h", b"1")])
    producer.produce("t", b"last", b"k", TIME_MS)
    await until(lambda: failed)
    assert await producer.flush(20)
    assert failed[0].reason == "invalid_record"
    assert failed[0].record == ("t", b"k", b"bad", TIME_MS, [("h", b"1")])
    assert producer.counts.failed == {"invalid_record": 1}
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    assert [m.value() for m in messages] == [b"first", b"last"]


@pytest.mark.parametrize(
    "code",
    [
        Code.INVALID_RECORD,
        Code.MSG_SIZE_TOO_LARGE,
        Code.INVALID_TIMESTAMP,
        Code.TOPIC_AUTHORIZATION_FAILED,
        Code.POLICY_VIOLATION,
        Code.THROTTLING_QUOTA_EXCEEDED,
        Code.UNSUPPORTED_COMPRESSION_TYPE,
        Code.UNKNOWN,
    ],
)
async def test_a_refused_batch_is_written_in_order_once_it_is_accepted(broker, start, code):
    failed = []
    feed = await feeding(start, on_failed=failed.append)
    producer = feed.producer
    broker.push_errors(PRODUCE, code)
    await feed.trickle(40)
    await feed.all_delivered(60)
    assert not failed
    assert sum(producer.refusals.values()) > 0
    await check(broker, feed.made, repeats=True)


async def test_a_group_is_one_batch_however_long_it_takes_to_hand_over(broker):
    back = []

    def ignore(*_):
        pass

    handlers = ClientCallbacks(
        lambda record, *_: back.append(record), ignore, ignore, ignore, ClientLog("test")
    )
    client = new_producer(kafka(broker), "test", handlers, in_groups=True)

    def is_empty():
        client.flush()
        client.poll()
        return not len(client)

    client.produce("t", b"k", b"first", TIME_MS, None, 0)
    await until(is_empty)
    # for the first request alone: a second one would be written
    broker.push_errors(PRODUCE, Code.INVALID_RECORD)
    for number in range(900):
        client.produce("t", b"k", b"%d" % number, TIME_MS, None, number)
        client.poll()
        await asyncio.sleep(0)
    assert len(client) == 900
    await until(is_empty)
    assert [int(record.value) for record in back] == list(range(900))
    client.close()


async def test_a_process_killed_among_refused_records_loses_none_of_them(broker, start, tmp_path):
    code = (
        "import asyncio, os, sys\n"
        "from tests.loopback.test_producer_broker import *\n"
        "async def main():\n"
        "    failed = []\n"
        "    producer = RecordProducer(\n"
        f"        KafkaSettings(bootstrap_servers={broker.bootstrap_servers!r}),\n"
        f"        SpoolSettings(directory={str(tmp_path)!r}), client_id='killed',\n"
        "        on_failed=failed.append)\n"
        "    await producer.start()\n"
        "    Feed(producer).send(3000)\n"
        "    await until(lambda: failed and producer._group, 20)\n"
        "    print(*[int(each.record.value) for each in failed], flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    broker.push_errors(PRODUCE, *[Code.INVALID_RECORD] * 60)
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], stdout=subprocess.PIPE, check=False
    )
    assert killed.returncode == -9
    # the log stands before it
    at_fault = set(map(int, killed.stdout.splitlines()[-1].split()))
    broker.clear_errors(PRODUCE)
    producer = await start()
    assert producer.counts.found > 0
    assert await producer.flush(20)
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    # what was told as a dead letter may be sent again by the next process, and is written now
    assert {int(m.value()) for m in messages} | at_fault == set(range(3000))
    for key, values in by_key(messages).items():
        # which of those the next process sends again come behind records that were written before
        numbers = [number for number in dict.fromkeys(map(int, values)) if number not in at_fault]
        assert numbers == sorted(numbers), key


async def test_a_record_too_large_for_kafka_is_told(broker, start):
    failed = []
    producer = await start(on_failed=failed.append)
    producer.produce("t", bytes(2_000_000), b"k", TIME_MS)
    await until(lambda: failed)
    assert failed[0].reason == "msg_size_too_large"


async def test_closed_while_the_broker_is_away_and_started_again(broker, start, tmp_path):
    feed = await feeding(start)
    producer = feed.producer
    broker.set_down()
    feed.send(1500)
    producer.poll()
    assert producer.counts.in_flight == 1000
    assert await producer.close(0)
    assert producer.counts.spooled == 1500
    broker.set_up()
    second = await start()
    assert second.counts.found == 1500
    feed.producer = second
    feed.send(100)
    assert await second.flush(20)
    assert second.counts.delivered == 1600
    await check(broker, feed.made, repeats=True)
    assert not list(tmp_path.glob("*.spool"))


async def test_without_a_directory_the_rest_is_lost_and_said(broker, start):
    producer = await start(SpoolSettings())
    broker.set_down()
    Feed(producer).send(1500)
    assert await producer.close(0) is False
    assert producer.counts.dropped == {"no_spool_directory": 1500}


async def test_a_killed_process_leaves_its_spool_to_the_next(broker, start, tmp_path):
    """The queue's records die with it, and no others."""
    code = (
        "import asyncio, os, sys\n"
        "from tests.loopback.test_producer_broker import *\n"
        "async def main():\n"
        "    producer = RecordProducer(\n"
        f"        KafkaSettings(bootstrap_servers='127.0.0.1:1', queue_max_messages=1000),\n"
        f"        SpoolSettings(directory={str(tmp_path)!r}), client_id='killed')\n"
        "    await producer.start()\n"
        "    Feed(producer).send(3000)\n"
        "    producer.poll()\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code])
    assert killed.returncode == -9
    producer = await start()
    assert producer.counts.found == 2000
    assert await producer.flush(20)
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    assert sorted(int(m.value()) for m in messages) == list(range(1000, 3000))


async def test_a_kill_in_an_outage_loses_none_but_the_newest(broker, start, tmp_path):
    """Once nothing was acknowledged for some time, the disk has all but what came just now."""
    code = (
        "import asyncio, os\n"
        "from connector.kafka import spooling\n"
        "from tests.loopback.test_producer_broker import *\n"
        "spooling.TAKE_BACK_SECONDS = 1.0\n"
        "async def main():\n"
        "    producer = RecordProducer(\n"
        "        KafkaSettings(bootstrap_servers='127.0.0.1:1', spool_after_seconds=0.5),\n"
        f"        SpoolSettings(directory={str(tmp_path)!r}), client_id='killed')\n"
        "    await producer.start()\n"
        "    feed = Feed(producer)\n"
        "    while producer.counts.spooled < 2000 or producer.counts.in_flight > 20:\n"
        "        feed.send(20)\n"
        "        await asyncio.sleep(0.005)\n"
        "    print('made', feed.made, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert killed.returncode == -9
    made = int(killed.stdout.split("made ")[1])
    producer = await start()
    assert producer.counts.found >= made - 20
    assert await producer.flush(20)
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    numbers = {int(m.value()) for m in messages}
    assert numbers == set(range(len(numbers)))


def murmur2(data):
    """Kafka's own hash, written from its description."""
    multiplier, shift, mask = 0x5BD1E995, 24, 0xFFFFFFFF
    hashed = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        part = (part ^ part >> shift) * multiplier & mask
        hashed = (hashed * multiplier & mask) ^ part
    rest = data[whole:]
    if rest:
        hashed = ((hashed ^ int.from_bytes(rest, "little")) * multiplier) & mask
    hashed = (hashed ^ hashed >> 13) * multiplier & mask
    return hashed ^ hashed >> 15
