import asyncio
import itertools
import re
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from hypothesis import event, given, settings
from hypothesis import strategies as st

from connector.errors import SettingsError, SpoolError
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.producer import ProducerState
from connector.kafka.topic_producer import APART_SECONDS, TopicProducer
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.testing import FakeClock
from tests.support.kafka_client import WAYS, FakeCluster
from tests.support.producers import balanced, producers

TOPICS = ("a", "b", "c")
DEAD = "dead"


def put_apart(producer):
    """A dead letter for each record at fault, as the service makes them."""

    def on_failed(failure):
        record = failure.record
        value = b"dead " + record.value
        producer.produce(DEAD, value, record.topic.encode(), record.timestamp_ms)

    producer._on_failed = on_failed
    return producer


def new(directory, monotonic, max_mib=512, ephemeral=False, **more):
    return put_apart(
        IsolatingProducer(
            KafkaSettings(queue_max_messages=1000),
            SpoolSettings(directory=directory, max_mib=max_mib, ephemeral=ephemeral),
            client_id="test",
            dead_letter_topic=DEAD,
            monotonic=monotonic,
            **{"clock": lambda: 1_767_585_600 + monotonic(), **more},
        )
    )


@pytest.fixture
async def start(clock, cluster, tmp_path):
    async with producers() as started:

        async def start(**more):
            return await started(new(tmp_path, clock, **more))

        yield start


def send(producer, topic, numbers, key=b"k"):
    for number in numbers:
        producer.produce_all([(topic, key, b"%s %d" % (topic.encode(), number))], 1_700_000_000_000)


def written(cluster, topic):
    """Numbers in a topic, each the first time that it is there."""
    values = dict.fromkeys(value for name, _, value, _, _ in cluster.log if name == topic)
    return [int(value.split()[-1]) for value in values]


def go_on(producer, cluster, clock, polls=50):
    for _ in range(polls):
        producer.poll()
        for client in list(cluster.clients):
            client.acknowledge(50)
        clock.now += 0.5
        balanced(producer)


def test_counts_of_a_producer_that_never_started(clock, cluster, tmp_path):
    producer = new(tmp_path, clock)
    producer.produce("a", b"v")
    producer.produce(DEAD, b"v")
    assert balanced(producer).dropped == {"not_running": 2}


async def test_one_topic_in_trouble_does_not_stop_the_others(start, cluster, clock):
    producer = await start()
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    for first in range(0, 60, 10):
        for topic in TOPICS:
            send(producer, topic, range(first, first + 10))
        go_on(producer, cluster, clock)
    assert written(cluster, "a") == []
    assert written(cluster, "b") == written(cluster, "c") == list(range(60))
    assert producer.state is ProducerState.DIRECT
    (trouble,) = producer.troubles
    assert (trouble.topic, producer.waiting("a")) == ("a", 60)
    assert balanced(producer).waiting == 60
    # the main client ended once, and no more
    assert sum(client.properties["client.id"] == "test" for client in cluster.clients) == 2
    cluster.faults.clear()
    go_on(producer, cluster, clock)
    assert producer.troubles == []
    assert written(cluster, "a") == list(range(60))


async def test_a_topic_that_is_well_for_a_while_comes_back_in_order(start, cluster, clock):
    producer = await start()
    cluster.poison[b"a 3"] = KafkaError.INVALID_RECORD
    numbers = itertools.count()
    while not producer._held:
        send(producer, "a", itertools.islice(numbers, 3))
        go_on(producer, cluster, clock, 1)
    end = clock.now + APART_SECONDS + 20
    while clock.now < end:
        send(producer, "a", itertools.islice(numbers, 3))
        go_on(producer, cluster, clock, 1)
    assert not producer._held
    send(producer, "a", itertools.islice(numbers, 3))
    go_on(producer, cluster, clock)
    made = next(numbers)
    assert written(cluster, "a") == [number for number in range(made) if number != 3]
    assert cluster.clients[0].properties["client.id"] == "test"
    assert balanced(producer).failed == {"invalid_record": 1}
    assert producer.dead_letters.delivered == 1
    assert not list((producer._folder).glob("a*"))


async def test_a_dead_letter_counts_once_it_is_acknowledged(start, cluster, clock):
    producer = await start()
    producer.produce(DEAD, b"v", b"a", 5)
    assert producer.counts.produced == 0
    assert producer.dead_letters.in_flight == 1
    go_on(producer, cluster, clock, 5)
    assert producer.dead_letters.delivered == 1


async def test_a_dead_letter_that_is_refused_for_itself_is_dropped_with_a_reason(
    start, cluster, clock
):
    dropped = []
    producer = await start(on_dropped=lambda *what: dropped.append(what))
    cluster.poison |= dict.fromkeys([b"a 1", b"dead a 1"], KafkaError.MSG_SIZE_TOO_LARGE)
    send(producer, "a", range(3))
    go_on(producer, cluster, clock)
    assert written(cluster, "a") == [0, 2]
    assert producer.dead_letters.dropped == {"dead_letter_refused": 1}
    assert [(reason, lost.count) for reason, lost in dropped] == [("dead_letter_refused", 1)]


async def test_dead_letters_wait_while_their_topic_is_in_trouble(start, cluster, clock):
    producer = await start()
    cluster.poison[b"a 1"] = KafkaError.INVALID_RECORD
    cluster.faults[DEAD] = KafkaError.UNKNOWN_TOPIC_OR_PART
    send(producer, "a", range(3))
    go_on(producer, cluster, clock)
    assert written(cluster, "a") == [0, 2]
    assert producer.dead_letters.spooled == 1
    assert [trouble.topic for trouble in producer.troubles] == [DEAD]
    assert producer.troubles[0].missing
    cluster.faults.clear()
    go_on(producer, cluster, clock)
    assert producer.dead_letters.delivered == 1


async def test_what_was_held_apart_is_sent_first_by_the_next_process(start, cluster, clock):
    producer = await start()
    cluster.faults |= {"a": KafkaError.INVALID_TIMESTAMP, DEAD: KafkaError.INVALID_TIMESTAMP}
    send(producer, "a", range(10))
    producer.produce(DEAD, b"v", b"a", 5)
    go_on(producer, cluster, clock)
    assert await producer.close(0)
    cluster.faults.clear()
    second = await start()
    assert second.counts.found == 10
    assert second.dead_letters.found == 1
    send(second, "a", range(10, 20))
    go_on(second, cluster, clock)
    assert written(cluster, "a") == list(range(20))
    assert second.dead_letters.delivered == 1


async def test_what_cannot_be_read_of_an_earlier_process_is_told_until_the_next_start(
    start, cluster, clock, tmp_path
):
    producer = await start()
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(producer, "a", range(10))
    go_on(producer, cluster, clock)
    assert await producer.close(0)
    cluster.faults.clear()
    lock = tmp_path / "held/a/lock"
    lock.unlink()
    lock.mkdir()  # it cannot be owned, whoever runs this
    (tmp_path / "held/lost+found").mkdir()
    second = await start()
    assert second.spool_problem == (
        f"what waits in {tmp_path}/held/a cannot be read: [Errno 21] Is a directory: '{lock}'. Let "
        "this user read and write it, or delete it, and start the replica again"
    )
    # everything else goes on, also when the topic is to be held apart anew
    send(second, "a", range(10, 20))
    go_on(second, cluster, clock)
    assert written(cluster, "a") == list(range(10, 20))
    cluster.poison[b"a 21"] = KafkaError.INVALID_RECORD
    send(second, "a", range(20, 30))
    go_on(second, cluster, clock, 5)
    assert list(second._held) == ["a"]
    go_on(second, cluster, clock, 200)
    assert second.spool_problem.startswith(f"what waits in {tmp_path}/held/a cannot be read")
    assert await second.close(0)
    lock.rmdir()
    third = await start()
    assert third.spool_problem is None
    go_on(third, cluster, clock)
    assert sorted(written(cluster, "a")) == [number for number in range(30) if number != 21]
    assert (tmp_path / "held/lost+found").is_dir()


async def test_a_folder_of_held_topics_that_is_none_is_told(start, tmp_path):
    (tmp_path / "held").write_text("a file")
    producer = await start()
    assert producer.spool_problem.startswith(f"what waits in {tmp_path}/held cannot be read: Not a")


async def test_topics_held_apart_have_half_of_the_spool_together(start, cluster, clock):
    producer = await start(max_mib=4)
    cluster.faults |= dict.fromkeys("ab", KafkaError.POLICY_VIOLATION)
    for topic in "ab":
        send(producer, topic, range(2))
    go_on(producer, cluster, clock)
    for number in range(600):
        producer.produce_all([(topic, b"k", bytes(10_000)) for topic in "ab"], 5)
        if number % 20 == 0:
            go_on(producer, cluster, clock, 1)
    counts = balanced(producer)
    assert counts.dropped["spool_full"] > 0
    assert 1_000_000 < producer.spool_bytes <= 2 * 1024 * 1024
    assert counts.spooled > 100


async def test_a_clock_that_is_ahead_loses_and_stops_nothing(start, cluster, clock):
    """Everything is written with about the brokers' time, dead letters and events too."""
    hour = 3_600_000
    brokers_ms = 1_700_000_000_000
    ahead = [2 * 3600]  # seconds, of this machine's clock

    def wall():
        return brokers_ms / 1000 + ahead[0] + clock.now - 1000

    cluster.latest_ms = brokers_ms + hour
    producer = await start(clock=wall)
    cluster.poison[b"b 3"] = KafkaError.INVALID_RECORD

    def stream(first):
        for topic in TOPICS:
            for number in range(first, first + 10):
                value = b"%s %d" % (topic.encode(), number)
                producer.produce_all([(topic, b"k", value)], round(wall() * 1000))

    stream(0)
    go_on(producer, cluster, clock, 200)
    stream(10)
    go_on(producer, cluster, clock, 200)
    for topic in TOPICS:
        good = [number for number in range(20) if (topic, number) != ("b", 3)]
        assert written(cluster, topic) == good
    assert producer.dead_letters.delivered == 1
    # but for the one of each topic with which a time was found
    far = [topic for topic, *_, time_ms, _ in cluster.log if abs(time_ms - brokers_ms) > hour / 5]
    assert len(far) == len(set(far)) <= 4
    # the dead letter has its record's own time, which is refused too
    assert {trouble.topic for trouble in producer.troubles} == {*TOPICS, DEAD}
    text = producer.troubles[0].explain(KafkaSettings())
    assert re.match(r"this machine's clock is about (1\.9|2\.\d) h ahead of the brokers'", text)
    ahead[0] = 0
    go_on(producer, cluster, clock, 200)
    assert producer.troubles == []
    stream(20)
    go_on(producer, cluster, clock, 200)
    assert not producer._held
    # its own, of 100 s ago
    assert abs(cluster.log[-1][3] - wall() * 1000) <= 100_000


async def test_brokers_whose_clock_was_set_get_the_records_own_times_again(start, cluster, clock):
    """This machine's clock was right: nobody sets it, and records would be restamped for ever."""
    now_ms = 1_700_000_000_000
    cluster.latest_ms = now_ms - 2 * 3_600_000
    producer = await start(clock=lambda: now_ms / 1000 + clock.now - 1000)

    def stream(first):
        for number in range(first, first + 10):
            producer.produce_all([("a", b"k", b"a %d" % number)], producer._now_ms())
            go_on(producer, cluster, clock, 20)

    stream(0)
    assert [trouble.clock_ahead_ms > 0 for trouble in producer.troubles] == [True]
    stream(10)  # more than a minute in which a record's own time is refused again
    assert [trouble.clock_ahead_ms > 0 for trouble in producer.troubles] == [True]
    cluster.latest_ms = None
    stream(20)
    assert producer.troubles == []
    assert written(cluster, "a") == list(range(30))
    assert cluster.log[-1][3] >= now_ms
    stream(30)
    assert not producer._held


async def test_a_topic_without_records_is_in_no_trouble_for_its_clock_for_long(
    start, cluster, clock
):
    now_ms = 1_700_000_000_000
    cluster.latest_ms = now_ms - 2 * 3_600_000
    producer = await start(clock=lambda: now_ms / 1000 + clock.now - 1000)
    producer.produce_all([("a", b"k", b"a 0")], producer._now_ms())
    go_on(producer, cluster, clock)
    assert producer.troubles
    go_on(producer, cluster, clock, 600)
    assert producer.troubles == []
    producer.produce_all([("a", b"k", b"a 1")], producer._now_ms())
    go_on(producer, cluster, clock, 150)
    assert producer.troubles
    assert written(cluster, "a") == [0, 1]


async def test_smaller_batches_are_for_every_client(start, cluster, clock):
    producer = await start()
    producer.bound_batches(1500)
    go_on(producer, cluster, clock, 5)
    assert cluster.current.properties["batch.size"] == 1500
    assert producer.last_error is None  # /ready would tell it as the reason of a missing broker
    cluster.faults["a"] = KafkaError.POLICY_VIOLATION
    send(producer, "a", range(2))
    go_on(producer, cluster, clock)
    assert {client.properties.get("batch.size") for client in cluster.clients[1:]} == {1500}
    cluster.faults.clear()


@pytest.mark.parametrize("error", [SettingsError("a certificate"), SpoolError("/tmp", "is full")])
async def test_a_topic_that_cannot_be_held_apart_loses_nothing(
    start, cluster, clock, monkeypatch, error
):
    """Kafka refuses it while the disk, a certificate or the descriptors fail."""

    def fail(_child):
        raise error

    producer = await start()
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    with monkeypatch.context() as patch:
        patch.setattr(TopicProducer, "open", fail)
        for topic in TOPICS:
            send(producer, topic, range(10))
        go_on(producer, cluster, clock, 30)
        assert not producer._held
        counts = balanced(producer)
        assert (counts.delivered, counts.spooled) == (len(cluster.log), 30 - len(cluster.log))
        assert [trouble.topic for trouble in producer.troubles] == ["a"]
        assert producer.waiting("a") == counts.spooled > 0
    # as soon as it can be, it is: the others go on
    go_on(producer, cluster, clock, 30)
    assert list(producer._held) == ["a"]
    assert written(cluster, "b") == written(cluster, "c") == list(range(10))
    cluster.faults.clear()
    go_on(producer, cluster, clock)
    assert written(cluster, "a") == list(range(10))
    assert balanced(producer).delivered == 30
    assert producer.troubles == []


async def test_dead_letters_without_a_producer_of_their_own_go_with_all_others(
    start, cluster, clock, monkeypatch
):
    real = TopicProducer.open

    def fail(child):
        if child._topic == DEAD:
            raise SpoolError("/tmp", "is full")
        real(child)

    dropped = []
    producer = await start(on_dropped=lambda *what: dropped.append((what[0], what[1].count)))
    cluster.poison |= dict.fromkeys([b"a 1", b"a 2", b"dead a 2"], KafkaError.INVALID_RECORD)
    monkeypatch.setattr(TopicProducer, "open", fail)
    send(producer, "a", range(5))
    go_on(producer, cluster, clock)
    assert written(cluster, "a") == [0, 3, 4]
    assert written(cluster, DEAD) == [1]
    assert dropped == [("dead_letter_refused", 1)]
    assert balanced(producer).failed == {"invalid_record": 2}


async def test_a_record_found_at_fault_while_closing_leaves_its_dead_letter(
    start, cluster, clock, monkeypatch
):
    producer = await start()
    cluster.poison[b"a 1"] = KafkaError.INVALID_RECORD
    send(producer, "a", range(3))
    values = []
    while values != [b"a 1"]:
        go_on(producer, cluster, clock, 1)
        child = producer._held.get("a")
        values = [record.value for record in child._group] if child else []
    for client in cluster.clients:
        client.acknowledge(50)
    poll = TopicProducer.poll

    def late(child):
        # the refusal comes when the main producer is closed
        if producer.state is ProducerState.CLOSED:
            poll(child)

    monkeypatch.setattr(TopicProducer, "poll", late)
    assert await producer.close(0)
    assert balanced(producer).failed == {"invalid_record": 1}
    assert producer.counts.dropped == {}
    assert producer.dead_letters.spooled == 1


async def test_what_is_lost_while_a_topic_comes_back_is_told(start, cluster, clock):
    dropped = []
    producer = await start(on_dropped=lambda *what: dropped.append((what[0], what[1].count)))
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(producer, "a", range(3))
    go_on(producer, cluster, clock, 10)
    child = producer._held["a"]
    clock.now += APART_SECONDS
    child._start_spooling()
    child.rest(clock.now)
    for file in (producer._folder / "a").glob("*.spool*"):
        file.unlink()
    child._spool._close_reader()
    for client in cluster.clients:
        client.queue.clear()
        client.failures.clear()
    assert producer.state is ProducerState.DIRECT
    producer.poll()
    assert not producer._held
    assert balanced(producer).dropped == {"spool_unreadable": 3}
    assert {reason for reason, _ in dropped} == {"spool_unreadable"}
    assert sum(count for _, count in dropped) == 3


async def test_a_steady_topic_held_apart_keeps_nobody_from_going_straight_again(
    start, cluster, clock
):
    """The spool of all is read to its end while one apart always has something under way."""
    producer = await start()
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(producer, "a", range(5))
    go_on(producer, cluster, clock, 10)
    assert list(producer._held) == ["a"]
    cluster.faults.clear()
    go_on(producer, cluster, clock, 40)
    numbers = itertools.count(5)
    (*_, main) = (each for each in cluster.clients if each.properties["client.id"] == "test")
    send(producer, "b", range(5))
    main.break_down()
    states = []
    for _ in range(1000):
        under_way = [(client, len(client.queue)) for client in cluster.clients]
        for topic, number in itertools.product(TOPICS, itertools.islice(numbers, 2)):
            send(producer, topic, [number])
        producer.poll()
        for client, count in under_way:
            client.acknowledge(count)
        clock.now += 0.1
        balanced(producer)
        states.append(producer.state)
    # but for the moment at which what waits of the topic comes back over the disk
    assert states[100:].count(ProducerState.DIRECT) >= 899
    assert not producer._held
    go_on(producer, cluster, clock)
    assert written(cluster, "a") == list(range(next(numbers)))


def take(step, topic, count, producer, cluster, clock, made, faults):
    """Take a step of those that both tests of any steps have."""
    clients = [client for client in cluster.clients if not client.closed]
    client = clients[count % len(clients)]
    if step == "stream":
        for _ in range(count):
            for each in TOPICS:
                take("produce", each, 2, producer, cluster, clock, made, faults)
            go_on(producer, cluster, clock, 1)
    elif step == "produce":
        send(producer, topic, range(made[topic], made[topic] + count))
        made[topic] += count
    elif step in {"acknowledge", "send", "write"}:
        getattr(client, step)(count)
    elif step == "poll":
        for _ in range(count):
            producer.poll()
            balanced(producer)
    elif step == "wait":
        go_on(producer, cluster, clock, count)
    elif step == "break":
        client.break_down()
    elif step == "poison":
        # of records that are still to come
        value = b"%s %d" % (topic.encode(), made[topic] + count)
        cluster.poison[value] = KafkaError.INVALID_RECORD
    elif step == "fault":
        cluster.faults[topic] = faults[count]
    elif step == "mend":
        cluster.faults.clear()


Topic = st.sampled_from(TOPICS)
Step = st.one_of(
    st.tuples(st.just("stream"), Topic, st.integers(1, 20)),
    st.tuples(st.just("stream"), Topic, st.integers(1, 20)),
    st.tuples(st.just("fault"), st.sampled_from([*TOPICS, DEAD]), st.integers(0, 3)),
    st.tuples(st.just("poison"), Topic, st.integers(1, 9)),
    st.tuples(st.just("produce"), Topic, st.integers(1, 40)),
    st.tuples(st.just("acknowledge"), Topic, st.integers(1, 80)),
    st.tuples(st.just("send"), Topic, st.integers(1, 30)),
    st.tuples(st.just("write"), Topic, st.integers(1, 10)),
    st.tuples(st.just("poll"), Topic, st.integers(1, 10)),
    st.tuples(st.just("wait"), Topic, st.integers(1, 200)),
    st.tuples(st.just("break"), Topic, st.integers(0, 5)),
    st.tuples(st.just("poison"), Topic, st.integers(1, 3)),
    st.tuples(st.just("fault"), st.sampled_from([*TOPICS, DEAD]), st.integers(0, 3)),
    st.tuples(st.just("mend"), Topic, st.just(0)),
    st.tuples(st.just("restart"), Topic, st.just(0)),
)
FAULTS = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.UNKNOWN,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(Step, min_size=4, max_size=30), st.sampled_from(WAYS))
def test_whatever_is_refused_keys_keep_their_order_and_everything_is_counted(steps, way):
    """Each record is written or a dead letter, its topic's in order, and the balance is exact."""
    cluster, clock = FakeCluster(), FakeClock()
    made = Counter()

    async def scenario(directory):
        producer = new(directory, clock)
        await producer.start()
        for step, topic, count in steps:
            event(step)
            if step == "restart":
                assert await producer.close(0)
                balanced(producer)
                producer = new(directory, clock)
                await producer.start()
            else:
                take(step, topic, count, producer, cluster, clock, made, FAULTS)
            clock.now += 0.5
            balanced(producer)
            if producer._held:
                event("a topic was held apart")
            if producer.troubles:
                event("a topic was in trouble")
        cluster.faults.clear()
        go_on(producer, cluster, clock, 400)
        assert await producer.close(0)
        counts, dead = balanced(producer), producer.dead_letters
        assert (counts.spooled, counts.in_flight, dead.spooled, dead.in_flight) == (0, 0, 0, 0)
        assert not counts.dropped
        lost = {
            value for value in cluster.poison if int(value.split()[1]) < made[value[:1].decode()]
        }
        for topic in TOPICS:
            bad = {int(value.split()[1]) for value in lost if value[:1].decode() == topic}
            good = [number for number in range(made[topic]) if number not in bad]
            assert written(cluster, topic) == good
            dead_letters = {
                value
                for name, key, value, *_ in cluster.log
                if name == DEAD and key == topic.encode()
            }
            assert {int(value.split()[2]) for value in dead_letters} == bad

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        cluster.install(patch, way)
        asyncio.run(scenario(Path(directory)))
