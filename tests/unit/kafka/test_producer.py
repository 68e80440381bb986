import asyncio
import tempfile
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connector.errors import SettingsError, SpoolError
from connector.kafka import clients
from connector.kafka import delivery as module
from connector.kafka.producer import ProducerState, RecordProducer
from connector.kafka.spool import Dropped
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.testing import FakeClock
from tests.support.kafka_client import WAYS, FakeCluster
from tests.support.producers import balanced, send, settle, written


def fail_with(error):
    def fail(*_, **__):
        raise error

    return fail


async def test_records_go_straight_to_kafka(start, cluster):
    producer = await start()
    producer.produce("kite.orders", b"v", b"k", 5)
    producer.produce_all([("kite.ticks.nse", b"1", b"a"), ("kite.ticks.nse", b"2", b"b")], 6)
    assert balanced(producer).in_flight == 3
    cluster.current.acknowledge(3)
    assert cluster.log == [
        ("kite.orders", b"k", b"v", 5, None),
        ("kite.ticks.nse", b"1", b"a", 6, None),
        ("kite.ticks.nse", b"2", b"b", 6, None),
    ]
    assert balanced(producer).delivered == 3


async def test_headers_go_along(start, cluster):
    producer = await start()
    producer.produce("kite.deadletter", b"v", b"k", 5, [("reason", b"x")])
    cluster.current.acknowledge(1)
    assert cluster.log == [("kite.deadletter", b"k", b"v", 5, [("reason", b"x")])]


async def test_the_client_is_idempotent_and_never_gives_up(start, cluster, way):
    await start()
    properties = cluster.current.properties
    assert properties["enable.idempotence"] is True
    assert properties["acks"] == "all"
    assert properties["partitioner"] == "murmur2_random"
    assert properties["message.timeout.ms"] == 0
    # the native client looks at each success in C, the other one in Python
    assert properties["delivery.report.only.error"] is (way == "native")


async def test_a_full_queue_sends_the_newer_to_the_spool_and_back_in_order(start, cluster, clock):
    producer = await start()
    send(producer, range(250))
    assert balanced(producer).spooled == 0  # not on disk yet
    producer.poll()
    counts = balanced(producer)
    assert (counts.in_flight, counts.spooled) == (100, 150)
    assert producer.state is ProducerState.SPOOLING
    cluster.current.acknowledge(30)
    # there is room again, but the spooled ones are older
    send(producer, range(250, 260))
    counts = balanced(producer)
    assert (counts.in_flight, counts.spooled) == (80, 150)
    await settle(producer, cluster, clock)
    assert producer.state is ProducerState.DIRECT
    assert written(cluster) == list(range(260))


async def test_what_was_spooled_is_on_disk_until_kafka_has_it(start, cluster, clock, tmp_path):
    producer = await start()
    send(producer, range(130))
    producer.poll()
    while producer.state is not ProducerState.DIRECT:
        # records come without end: the queue never empties
        cluster.current.acknowledge(20)
        producer.poll()
    assert 0 < balanced(producer).in_flight < 130
    assert balanced(producer).spooled == 0
    for _ in range(20):
        send(producer, range(5))
        cluster.current.acknowledge(5)
        producer.poll()
        assert any(tmp_path.glob("**/*.spool")), list(tmp_path.rglob("*"))
        clock.now += 1.0
    clock.now += 11.0
    cluster.current.acknowledge(5)
    producer.poll()
    assert not any(tmp_path.glob("**/*.spool"))
    assert producer.state is ProducerState.DIRECT


async def test_polling_makes_room_before_the_spool_is_used(start, cluster):
    producer = await start()
    send(producer, range(100))
    client = cluster.current
    poll = client.poll

    def poll_and_acknowledge(*timeout):
        client.acknowledge(10)
        return poll(*timeout)

    client.poll = poll_and_acknowledge
    producer.produce("t", b"100", b"k", 5)
    assert producer.state is ProducerState.DIRECT
    assert balanced(producer).spooled == 0


async def test_a_spooled_record_keeps_time_and_headers(start, cluster, clock):
    producer = await start()
    send(producer, range(100))
    producer.produce("t", None, b"k", 77, [("reason", b"x")])
    producer.produce("t", b"v", None)
    await settle(producer, cluster, clock)
    assert cluster.log[100:] == [
        ("t", b"k", None, 77, [("reason", b"x")]),
        ("t", None, b"v", 1_700_000_000_250, None),
    ]


async def test_a_record_too_large_is_told_and_the_next_one_goes(start, cluster):
    failed = []
    producer = await start(on_failed=failed.append)
    cluster.current.refuse = {b"0": KafkaError.MSG_SIZE_TOO_LARGE}
    send(producer, range(3))
    producer.poll()
    assert [(f.reason, f.record.value) for f in failed] == [("msg_size_too_large", b"0")]
    assert balanced(producer).failed == {"msg_size_too_large": 1}
    cluster.current.acknowledge(2)
    assert written(cluster) == [1, 2]


async def test_what_is_no_record_is_told(start, cluster):
    failed = []
    producer = await start(on_failed=failed.append)
    cluster.current.accept = fail_with(TypeError("not bytes"))
    producer.produce("t", b"v")
    producer.poll()
    assert failed[0].reason == "invalid_record"
    balanced(producer)


async def test_an_owner_may_produce_from_its_callback(start, cluster, clock):
    producer = await start(
        on_failed=lambda failure: producer.produce("kite.deadletter", failure.record.value)
    )
    cluster.poison = {b"1": KafkaError.INVALID_RECORD}
    send(producer, [1])
    for _ in range(10):
        producer.poll()
        cluster.current.acknowledge(1)
        cluster.poison = cluster.poison if producer.counts.failed == {} else {}
    assert [topic for topic, *_ in cluster.log] == ["kite.deadletter"]
    balanced(producer)


async def test_a_broken_client_is_replaced_and_nothing_is_lost(start, cluster, clock):
    producer = await start()
    send(producer, range(50))
    cluster.current.send(20)
    cluster.current.break_down()
    send(producer, range(50, 60))
    balanced(producer)
    assert producer.state is ProducerState.RECOVERING
    assert producer.last_error
    for _ in range(5):
        producer.poll()
        balanced(producer)
        clock.now += 1.0  # what is under way may still be answered, so that it is not sent twice
    assert len(cluster.clients) == 2
    assert producer.state is ProducerState.SPOOLING
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(60))
    assert {timestamp for *_, timestamp, _ in cluster.log} == {1_700_000_000_000}
    assert producer.state is ProducerState.DIRECT


async def test_a_clock_that_is_set_back_gets_another_client_and_nothing_is_written_twice(
    start, cluster, clock
):
    """librdkafka's threads may wait for a time of day that comes an hour later."""
    ahead = [0]
    producer = await start(clock=lambda: 1_700_000_000.25 + clock.now + ahead[0])
    send(producer, range(100))
    clock.now += 1
    producer.poll()
    ahead[0] = -3600
    clock.now += 1
    producer.poll()
    assert producer.state is ProducerState.RECOVERING
    send(producer, range(100, 200))
    await settle(producer, cluster, clock)
    assert len(cluster.clients) == 2
    assert [value for _, _, value, _, _ in cluster.log] == [b"%d" % n for n in range(200)]
    assert balanced(producer).delivered == 200


async def test_a_client_that_breaks_again_is_replaced_less_often(start, cluster, clock):
    producer = await start()
    send(producer, range(5))
    cluster.current.break_down()
    producer.poll()
    producer.poll()
    assert len(cluster.clients) == 2
    producer.poll()
    assert len(cluster.current) == 0  # waits
    clock.now += 1.0
    producer.poll()
    assert len(cluster.current) == 5


async def test_clients_that_fail_one_after_the_other_are_told_of_once(start, cluster, clock):
    producer = await start()
    with capture_logs() as lines:
        for _ in range(4):
            send(producer, [1])
            cluster.current.break_down()
            clock.now += 10.0
            for _ in range(3):
                producer.poll()
        await settle(producer, cluster, clock)
        cluster.current.break_down()
        send(producer, [2])
        producer.poll()
    told = [line["log_level"] for line in lines if "replaced" in line["event"]]
    assert told == ["warning", "debug", "debug", "debug", "warning"]


async def test_records_returned_out_of_order_are_sorted(start, cluster, clock):
    producer = await start()
    for number in range(20):
        send(producer, [number])
    # requests of the newer half are under way, the older half waits to be sent again
    for sent in list(cluster.current.queue)[10:]:
        sent.in_flight = True
    cluster.current.break_down()
    producer.poll()
    producer.poll()
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(20))


async def test_a_frame_that_was_cut_by_the_requests_keeps_its_order(start, cluster, clock):
    producer = await start()
    # one key, several packets a frame: a boundary of librdkafka's queues goes through a frame
    for first in range(0, 60, 6):
        send(producer, range(first, first + 6))
    cluster.current.send(20)
    assert await producer.close(0)
    second = await start()
    await settle(second, cluster, clock)
    assert written(cluster) == list(range(60))


async def test_a_full_spool_drops_the_oldest_and_tells(start, cluster, tmp_path):
    dropped = []
    producer = await start(
        SpoolSettings(directory=tmp_path, max_mib=1), on_dropped=lambda *call: dropped.append(call)
    )
    send(producer, range(100))
    big = bytes(10_000)
    producer.produce_all([("t", b"k", big)] * 200, 1_700_000_000_000)
    producer.poll()
    lost = balanced(producer).dropped["spool_full"]
    assert lost > 0
    assert {reason for reason, _ in dropped} == {"spool_full"}
    assert sum(d.count for _, d in dropped) == lost
    assert dropped[0][1].first_timestamp_ms == 1_700_000_000_000


async def test_a_disk_that_cannot_be_read_for_a_while(start, cluster, clock, monkeypatch):
    producer = await start()
    send(producer, range(150))
    cluster.current.acknowledge(100)
    with monkeypatch.context() as broken, capture_logs() as log:
        broken.setattr(producer._spool, "peek", fail_with(OSError(5, "Input/output error")))
        for _ in range(10):
            producer.poll()
            clock.now += 1
        balanced(producer)
    assert not producer._task.done()
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(150))
    stuck = [line for line in log if line["event"] == "producer_stuck"]
    assert len(stuck) == 2  # of three tries in ten seconds


async def test_an_owner_that_fails_is_no_reason_to_stop(start, cluster, clock):
    producer = await start(on_failed=fail_with(RuntimeError("the owner's")))
    cluster.poison = {b"0": KafkaError.INVALID_RECORD}
    send(producer, range(10))
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(1, 10))


async def test_an_owner_that_fails_is_told_of_all_other_losses(start, cluster, clock):
    dropped = []

    def on_dropped(reason, lost):
        dropped.append((reason, lost.count))
        if len(dropped) == 1:
            raise RuntimeError("the owner's")

    producer = await start(on_dropped=on_dropped)
    for count in (1, 2, 3):
        producer._drop("spool_full", Dropped(count, 1, 1))
    for _ in range(3):
        producer.poll()
        clock.now += 5
    assert dropped == [("spool_full", 1), ("spool_full", 2), ("spool_full", 3)]


async def test_a_client_that_cannot_be_made_for_a_while(start, cluster, clock, monkeypatch):
    """A certificate is being replaced, say, at the moment in which the client breaks."""
    producer = await start()
    send(producer, range(20))
    cluster.current.break_down()
    with monkeypatch.context() as broken:
        broken.setattr(module, "new_client", fail_with(SettingsError([])))
        for _ in range(10):
            producer.poll()
            balanced(producer)
            clock.now += 1
    send(producer, range(20, 30))
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(30))


async def test_closing_waits_for_kafka(start, cluster):
    producer = await start()
    send(producer, range(10))
    asyncio.get_running_loop().call_soon(cluster.current.acknowledge, 10)
    assert await producer.close(30) is True
    assert written(cluster) == list(range(10))
    assert cluster.current.closed
    assert balanced(producer).delivered == 10


async def test_closing_keeps_the_rest_for_the_next_start(start, cluster, clock):
    producer = await start()
    send(producer, range(150))
    cluster.current.send(30)
    assert await producer.close(0) is True
    counts = balanced(producer)
    assert (counts.delivered, counts.spooled) == (0, 150)
    second = await start()
    assert second.counts.found == 150
    send(second, range(150, 160))
    balanced(second)
    await settle(second, cluster, clock)
    assert written(cluster) == list(range(160))


async def test_closing_without_a_directory_is_lossy(start, cluster):
    producer = await start(SpoolSettings())
    send(producer, range(150))
    assert await producer.close(0) is False
    assert balanced(producer).dropped == {"no_spool_directory": 150}


async def test_a_closed_producer_counts_what_comes_late(start, cluster):
    producer = await start()
    assert await producer.close(0)
    producer.produce("t", b"v")
    assert balanced(producer).dropped == {"not_running": 1}
    assert await producer.close(0)


async def test_a_producer_never_started_closes(cluster):
    producer = RecordProducer(KafkaSettings(), SpoolSettings(), client_id="test")
    producer.produce("t", b"v")
    assert balanced(producer).dropped == {"not_running": 1}
    assert await producer.close(0)


async def test_a_property_that_librdkafka_refuses_leaves_the_directory_free(
    start, tmp_path, monkeypatch
):
    with monkeypatch.context() as real:
        real.setattr(module, "new_client", clients.new_client)
        producer = RecordProducer(
            KafkaSettings(client={"no.such.property": 1}),
            SpoolSettings(directory=tmp_path),
            client_id="test",
        )
        with pytest.raises(SettingsError, match="No such configuration property"):
            await producer.start()
    await start()


async def test_what_the_user_may_not_change_is_said(cluster, tmp_path):
    with capture_logs() as lines:
        producer = RecordProducer(
            KafkaSettings(client={"acks": 1}), SpoolSettings(directory=tmp_path), client_id="test"
        )
        await producer.start()
        await producer.close(0)
    assert cluster.current.properties["acks"] == "all"
    assert [line["properties"] for line in lines if "properties" in line] == [["acks"]]


async def test_the_fullest_queue_is_remembered(start, cluster):
    producer = await start()
    send(producer, range(70))
    producer.poll()
    cluster.current.acknowledge(70)
    producer.poll()
    assert producer.queue_peak == 70


async def test_two_producers_in_one_directory(start, cluster, tmp_path):
    await start()
    with pytest.raises(SpoolError, match="another process uses it"):
        await start()


Step = st.one_of(
    st.tuples(st.just("produce"), st.integers(1, 60)),
    st.tuples(st.just("acknowledge"), st.integers(1, 80)),
    st.tuples(st.just("send"), st.integers(1, 30)),
    st.tuples(st.just("write"), st.integers(1, 10)),
    st.tuples(st.just("poll"), st.integers(1, 3)),
    st.tuples(st.just("break"), st.just(0)),
    st.tuples(st.just("refuse"), st.just(0)),
    st.tuples(st.just("poison"), st.just(0)),
    st.tuples(st.just("fault"), st.just(0)),
    st.tuples(st.just("mend"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(Step, max_size=40), st.sampled_from(WAYS))
def test_nothing_is_lost_and_keys_keep_their_order(steps, way):
    """Whatever happens to client, broker and process: each record is written, and in order."""
    cluster, clock = FakeCluster(), FakeClock()
    refused = []

    async def scenario(directory):
        def new():
            return RecordProducer(
                KafkaSettings(queue_max_messages=1000),
                SpoolSettings(directory=directory),
                client_id="test",
                monotonic=clock,
                on_failed=lambda failure: refused.append(int(failure.record.value)),
            )

        made = 0
        producer = new()
        await producer.start()
        for step, count in steps:
            client = cluster.current
            if step == "produce":
                for number in range(made, made + count):
                    if number % 3:
                        send(producer, [number], b"%d" % (number % 4))
                    else:
                        producer.produce("t", b"%d" % number, b"%d" % (number % 4), 5)
                    balanced(producer)
                made += count
            elif step in {"acknowledge", "send", "write"}:
                getattr(client, step)(count)
            elif step == "poll":
                for _ in range(count):
                    producer.poll()
                    balanced(producer)
            elif step == "break":
                client.break_down()
            elif step == "refuse":
                client.fail(KafkaError.TOPIC_AUTHORIZATION_FAILED)
            elif step == "poison" and made:
                cluster.poison[b"%d" % (made - 1)] = KafkaError.INVALID_RECORD
            elif step == "fault":
                cluster.faults["t"] = KafkaError.UNKNOWN_TOPIC_OR_PART
            elif step == "mend":
                cluster.faults.clear()
            elif step == "restart":
                assert await producer.close(0)
                balanced(producer)
                producer = new()
                await producer.start()
            clock.now += 0.5
            balanced(producer)
        cluster.faults.clear()
        await settle(producer, cluster, clock, polls=5000)
        assert await producer.close(0)
        assert balanced(producer).spooled == 0
        assert sorted({*written(cluster), *refused}) == list(range(made))
        for key in range(4):
            numbers = [int(v) for _, k, v, _, _ in cluster.log if k == b"%d" % key]
            # a record may be there twice, but its first time is in order
            firsts = list(dict.fromkeys(numbers))
            assert firsts == sorted(firsts)

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        cluster.install(patch, way)
        asyncio.run(scenario(Path(directory)))
