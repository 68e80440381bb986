import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from connector.errors import SettingProblem, SettingsError
from connector.kafka import delivery
from connector.kafka.producer import ProducerState
from connector.kafka.spool import Spool
from connector.kafka.spooling import TAKE_BACK_SECONDS
from tests.support.producers import balanced, send, settle, written


async def test_a_batch_that_is_refused_is_sent_again_record_by_record_in_order(
    start, cluster, clock
):
    failed = []
    producer = await start(on_failed=failed.append)
    cluster.poison = {b"3": KafkaError.INVALID_RECORD, b"5": KafkaError.MSG_SIZE_TOO_LARGE}
    send(producer, range(8))
    await settle(producer, cluster, clock)
    assert written(cluster) == [0, 1, 2, 4, 6, 7]
    assert [(each.reason, each.record) for each in failed] == [
        ("invalid_record", ("t", b"k", b"3", 1_700_000_000_000, None)),
        ("msg_size_too_large", ("t", b"k", b"5", 1_700_000_000_000, None)),
    ]
    assert balanced(producer).failed == {"invalid_record": 1, "msg_size_too_large": 1}


async def test_newer_records_wait_until_the_refused_ones_are_written(start, cluster, clock):
    producer = await start()
    cluster.poison = {b"1": KafkaError.INVALID_RECORD}
    send(producer, range(4), frame=1)
    cluster.current.acknowledge(2)
    cluster.poison = {}
    cluster.current.acknowledge(50)  # what follows is under way already: the client has ended
    send(producer, range(4, 8))
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(8))


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.UNKNOWN,
    ],
)
async def test_what_is_no_records_fault_waits_until_it_is_mended(start, cluster, clock, code):
    failed = []
    producer = await start(on_failed=failed.append)
    cluster.faults["t"] = code
    send(producer, range(20))
    for _ in range(200):
        producer.poll()
        cluster.current.acknowledge(50)
        clock.now += 1.0
    (trouble,) = producer.troubles
    assert (trouble.topic, trouble.code) == ("t", KafkaError(code).name())
    assert balanced(producer).waiting == 20
    assert not failed
    send(producer, range(20, 30))
    cluster.faults.clear()
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(30))
    assert producer.troubles == []


async def test_what_the_client_knows_of_a_topic_is_no_records_fault(start, cluster, clock):
    """The topic was deleted: librdkafka refuses the record before it is sent."""
    producer = await start()
    send(producer, range(3), frame=1)
    cluster.current.refuse = {b"3": KafkaError._UNKNOWN_TOPIC}
    producer.produce("t", b"3", b"k", 5)
    send(producer, range(4, 6))
    assert producer.state is ProducerState.RECOVERING
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(6))


async def test_a_code_that_tells_nothing_holds_no_topic_up_for_ever(start, cluster, clock):
    failed = []
    producer = await start(on_failed=failed.append)
    cluster.poison = {b"1": KafkaError.UNKNOWN}
    send(producer, range(4))
    for _ in range(400):
        producer.poll()
        cluster.current.acknowledge(50)
        clock.now += 1.0
    assert written(cluster) == [0, 2, 3]
    assert [each.reason for each in failed] == ["unknown"]
    assert balanced(producer).delivered == 3


async def test_a_refusal_is_logged_once_for_each_topic(start, cluster, clock):
    producer = await start()
    with capture_logs() as lines:
        for topic in ("a", "b", "a"):
            producer.produce(topic, b"v")
            cluster.poison = {b"v": KafkaError.INVALID_RECORD}
            await settle(producer, cluster, clock)
    assert [line["topic"] for line in lines if line["event"] == "record_refused"] == ["a", "b"]
    assert balanced(producer).failed == {"invalid_record": 3}
    # the first in its batch too; the others come soon after, and go in groups from the first on
    assert producer.refusals == {("a", "invalid_record"): 3, ("b", "invalid_record"): 1}


async def test_a_batch_too_large_for_its_topic_is_sent_in_smaller_ones(start, cluster, clock):
    producer = await start()
    cluster.poison = {b"1": KafkaError.MSG_SIZE_TOO_LARGE}
    send(producer, range(4))
    cluster.current.acknowledge(10)
    cluster.poison = {}
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(4))
    assert cluster.current.properties["batch.size"] == 250_000


async def test_records_wait_on_disk_once_nothing_is_acknowledged_for_seconds(
    start, cluster, clock, tmp_path
):
    """What a killed process loses is what came in the last seconds, however long an outage was."""
    producer = await start()
    send(producer, range(10))
    cluster.current.send(5)
    numbers = iter(range(10, 1000))
    for _ in range(30):
        producer.poll()
        clock.now += 0.1
        send(producer, [next(numbers)])
    assert producer.state is ProducerState.DIRECT
    while clock.now < 1000.0 + TAKE_BACK_SECONDS + 10:
        producer.poll()
        clock.now += 0.1
        send(producer, [next(numbers)])
        assert clock.now < 1003.5 or producer.state is not ProducerState.DIRECT
    for _ in range(5):  # a client gives its records back by and by
        producer.poll()
        clock.now += 0.1
    made = next(numbers)
    # as a killed process leaves it
    left = tmp_path / "left"
    left.mkdir()
    for file in tmp_path.glob("*.spool"):
        (left / file.name).write_bytes(file.read_bytes())
    after = Spool(left, 1_000_000)
    after.open()
    found = []
    while records := list(after.peek()):
        found += [int(record.value) for record in records]
        after.advance(len(records))
    assert found == list(range(made))
    after.close()
    balanced(producer)
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(made))


async def test_a_leader_that_changes_makes_nothing_double(start, cluster, clock):
    """For as long as brokers take to replace one another, nothing is taken back that was sent."""
    producer = await start()
    send(producer, range(10))
    client = cluster.current
    client.write(10)
    for _ in range(int(TAKE_BACK_SECONDS) - 1):
        producer.poll()
        send(producer, range(10, 11))
        clock.now += 1.0
    assert cluster.current is client


async def test_a_slow_broker_is_no_silent_one(start, cluster, clock):
    producer = await start()
    send(producer, range(60))
    for _ in range(50):
        producer.poll()
        cluster.current.acknowledge(1)
        clock.now += 2.0
    assert producer.state is ProducerState.DIRECT


async def test_a_client_for_batches_that_cannot_be_made_at_first_is_made_later(
    start, cluster, clock, monkeypatch
):
    """Records would linger for a minute with the one for groups, which does not end at a gap."""
    producer = await start()
    cluster.poison = {b"1": KafkaError.INVALID_RECORD}
    send(producer, range(3))
    makes, made = delivery.new_client, len(cluster.clients)

    def new_client(*arguments):
        if cluster.current.properties["enable.gapless.guarantee"]:
            return makes(*arguments)
        if len(failures) < 2:
            failures.append(1)
            raise SettingsError([SettingProblem("kafka.ssl_cert_file", "is being replaced")])
        return makes(*arguments)

    failures = []
    monkeypatch.setattr(delivery, "new_client", new_client)
    for _ in range(100):
        producer.poll()
        cluster.current.acknowledge(50)
        clock.now += 1.0
    assert (len(failures), len(cluster.clients) > made) == (2, True)
    send(producer, range(3, 6))
    assert cluster.current.properties["enable.gapless.guarantee"]
    await settle(producer, cluster, clock)
    assert written(cluster) == [0, 2, 3, 4, 5]
