import asyncio
import re
from collections import Counter
from types import SimpleNamespace
from typing import ClassVar

import pytest
from structlog.testing import capture_logs

from connector.cluster.cluster import Cluster
from connector.errors import BrokerUnreachableError, SchemaIncompatibleError, TopicError
from connector.kafka import acknowledgements
from connector.kafka.broker_health import BrokerHealth
from connector.kafka.producer_state import Counts, FailedRecord
from connector.kafka.refusals import Trouble
from connector.kafka.spool import Record
from connector.kafka.topics import TopicsReport
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.wire.models import ConnectionEvent, EventType
from connector.service import service as module
from connector.service.logs import SecretMask
from connector.service.service import Phase, Service
from connector.service.slots import StaticSlots
from connector.settings.models import Settings
from connector.testing import until
from tests.support.producing import SCHEMA_IDS, TOPICS, RecordingProducer, pipeline


class Producer(RecordingProducer):
    """The producer as the service sees it, without Kafka."""

    broker_reachable = True
    last_error = None
    spool_bytes = spool_peak_bytes = spool_limit_bytes = queue_peak = 0
    spool_problem = None
    dead_letters = Counts()
    refusals: ClassVar = Counter()
    troubles = ()
    health = BrokerHealth(None)

    def __init__(self, *_, on_failed=None, on_dropped=None, **__):
        super().__init__()
        self.on_failed, self.on_dropped = on_failed, on_dropped
        self.calls = []
        self.in_flight = 0
        self.clean = True
        self.flushes = asyncio.Event()
        self.flushes.set()

    @property
    def counts(self):
        produced = len(self.records)
        return Counts(produced, produced - self.in_flight, self.in_flight, 0, {}, {}, 0)

    def waiting(self, topic):
        return 0

    def bound_batches(self, max_bytes):
        self.calls.append(("bound", max_bytes))

    async def start(self):
        self.calls.append("start")

    async def flush(self, timeout_seconds):
        self.calls.append("flush")
        try:
            await asyncio.wait_for(self.flushes.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    async def close(self, grace_seconds):
        self.calls.append("close")
        return self.clean


class Owner:
    """Whoever owns the slots, writing down what it is told."""

    leads = True

    def __init__(self):
        self.calls = []
        self.reasons = []

    async def start(self, handler):
        self.calls.append("start")

    async def stop_intake(self):
        self.calls.append("stop_intake")

    async def release(self):
        self.calls.append("release")

    def set_master(self, master):
        self.calls.append("set_master")

    def stats(self):
        return []

    def not_ready(self):
        return self.reasons

    def claims(self):
        return ()

    def unresolved(self):
        return []

    def status(self):
        return None


@pytest.fixture
def outside(monkeypatch):
    """Kafka and registry: each call takes the next answer, an error or None for well."""

    class Outside:
        kafka = ()
        limits: ClassVar = {}
        registry = ()
        sleeps = ()

    outside = Outside()

    def answering(name):
        async def answer(*_, **__):
            answers = list(getattr(outside, name))
            setattr(outside, name, answers[1:])
            if answers and answers[0] is not None:
                raise answers[0]
            if name == "kafka":
                return TopicsReport(max_message_bytes=outside.limits)
            return {**SCHEMA_IDS, TOPICS.orders: 90, TOPICS.events: 91}

        return answer

    monkeypatch.setattr(module, "IsolatingProducer", Producer)
    monkeypatch.setattr(module, "ensure_topics", answering("kafka"))
    monkeypatch.setattr(module, "register_schemas", answering("registry"))
    monkeypatch.setattr(module, "RETRY_MIN_SECONDS", 0.0)
    monkeypatch.setattr(module, "RETRY_MAX_SECONDS", 0.0)
    return outside


@pytest.fixture
def service(outside):
    return new_service()


def new_service(**given):
    tree = {
        "accounts": [{"name": "main", "api_key": "key-of-main", "access_token": "todays-token"}],
        "http": {"port": 0},
        "instrument_master": {"load": False},
        "cluster": {"enabled": False},
        **given,
    }
    return Service(Settings.model_validate(tree), owner=Owner())


def away(reason="refused"):
    return BrokerUnreachableError("kafka:9092", reason)


async def test_slots_are_opened_once_everything_is_there(service, outside):
    outside.kafka = [away(), away(), away("timed out"), None]
    with capture_logs() as logs:
        async with service:
            await until(lambda: service.phase is Phase.RUNNING)
    assert service.owner.calls == ["start", "stop_intake", "release"]
    said = [(entry["event"], entry.get("reason", "")[-9:]) for entry in logs]
    # each reason once, however often it was tried
    assert [what for what in said if what[0] in {"waiting", "there"}] == [
        ("waiting", ": refused"),
        ("waiting", "timed out"),
        ("there", ""),
    ]


async def test_the_reason_is_shown_while_it_waits(service, outside, monkeypatch):
    monkeypatch.setattr(module, "RETRY_MIN_SECONDS", 3600.0)
    outside.kafka = [away()]
    async with service:
        await until(lambda: service.status().not_ready != ["starting"])
        (reason,) = service.status().not_ready
        assert reason == "waiting for Kafka: no Kafka broker answers at kafka:9092: refused"
        assert service.status().phase == "starting"
    assert service.owner.calls == ["stop_intake", "release"]


@pytest.mark.parametrize(
    "error", [TopicError("kite.orders", "is missing"), SchemaIncompatibleError("s", "no")]
)
async def test_what_waiting_cannot_mend_ends_it(service, outside, error):
    outside.registry = [error]
    with pytest.raises(type(error)):
        await service.run()
    assert service.phase is Phase.STOPPED
    assert service.producer.calls[-1] == "close"


async def test_a_bug_ends_it_too(service, outside):
    outside.kafka = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        await service.run()


async def test_the_end_comes_in_order(service):
    running = asyncio.create_task(service.run())
    await until(lambda: service.phase is Phase.RUNNING)
    service.stop()
    assert await running
    assert service.producer.calls == ["start", "flush", "close"]
    assert service.status().not_ready == ["stopped"]
    assert await service.close(), "once more does no harm"
    assert service.producer.calls == ["start", "flush", "close"]


async def test_losses_are_what_the_producer_says(service):
    service.producer.clean = False
    running = asyncio.create_task(service.run())
    await until(lambda: service.phase is Phase.RUNNING)
    service.stop()
    assert not await running


async def test_a_second_stop_does_not_wait_for_the_flush(outside):
    service = new_service(grace_seconds=3600.0)
    service.producer.flushes.clear()
    running = asyncio.create_task(service.run())
    await until(lambda: service.phase is Phase.RUNNING)
    service.stop()
    await until(lambda: "flush" in service.producer.calls)
    assert "close" not in service.producer.calls
    service.stop()
    assert await running


async def test_ready_is_the_broker_and_the_slots(service):
    async with service:
        await until(lambda: service.phase is Phase.RUNNING)
        assert service.status().ready
        service.owner.reasons = ["slot 0 (main) is connecting"]
        service.producer.broker_reachable = False
        service.producer.last_error = "refused"
        assert service.status().not_ready == [
            "no Kafka broker is connected: refused",
            "slot 0 (main) is connecting",
        ]


async def test_connected_brokers_that_take_nothing_are_not_ready(service, monkeypatch):
    monkeypatch.setattr(acknowledgements, "SILENT_SECONDS", 0.0)
    async with service:
        await until(lambda: service.phase is Phase.RUNNING)
        service.producer.records += [("t", b"k", b"v", 0, None)] * 3
        service.producer.in_flight = 3
        await until(lambda: not service.status().ready)
        (reason,) = service.status().not_ready
        assert re.match(r"Kafka has taken no record for \d+ s, 3 wait", reason)
        service.producer.in_flight = 2
        await until(lambda: service.status().ready)


async def test_tokens_are_told_to_the_mask(outside):
    mask = SecretMask()
    service = Service(new_service().settings, owner=Owner(), mask=mask)
    assert mask.clean("todays-token") == "***"
    service.credentials["main"].set_access_token("tomorrows-token")
    assert mask.clean("tomorrows-token") == "***"


async def test_the_settings_say_who_owns_the_slots(outside):
    shared = new_service(cluster={"enabled": True}).settings
    assert isinstance(Service(shared).owner, Cluster)
    owner = Service(new_service().settings).owner
    assert isinstance(owner, StaticSlots)
    assert isinstance(owner._credentials["main"], StaticCredentials)


@pytest.fixture
def with_pipeline(service):
    service._reporter.pipeline = pipeline(service.producer)
    service._reporter.pipeline.handler(0)
    service._reporter.pipeline.handler(1)
    return service


async def test_slots_that_cannot_be_given_up_keep_no_process_beyond_its_time(service, monkeypatch):
    async def never():
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "RELEASE_MIN_SECONDS", 0.0)
    service.owner.release = never
    with capture_logs() as lines:
        await service._release(deadline=0.0)
    assert [line["event"] for line in lines] == ["slots_not_released"]


async def test_the_flush_leaves_time_for_what_follows_it(service, monkeypatch):
    given = []
    flush = service.producer.flush

    async def remembering(timeout_seconds):
        given.append(timeout_seconds)
        return await flush(timeout_seconds)

    service.producer.flush = remembering
    await service.start()
    await until(lambda: service.phase is Phase.RUNNING)
    await service.close()
    (seconds,) = given
    grace = service.settings.grace_seconds
    assert grace * 0.5 < seconds <= grace - module.END_SECONDS


def test_a_refused_record_is_kept(with_pipeline):
    record = Record("kite.orders", b"1", b"\0\0\0\0\1not avro", 1234, None)
    with_pipeline.producer.on_failed(FailedRecord(record, "msg_size_too_large", "too large"))
    (letter,) = with_pipeline.producer.records
    assert (letter.topic, letter.key, letter.value) == (
        "kite.deadletter", b"kite.orders", record.value,
    )  # fmt: skip


async def test_a_topic_in_trouble_is_not_ready_and_says_what_helps(service):
    async with service:
        await until(lambda: service.phase is Phase.RUNNING)
        service.producer.troubles = [
            Trouble("kite.ticks.nse", "TOPIC_AUTHORIZATION_FAILED", "refused", 0.0)
        ]
        (reason,) = service.status().not_ready
        assert "kite.ticks.nse" in reason
        assert "kafka-acls.sh" in reason
        service.producer.troubles = []
        assert service.status().ready


async def test_what_was_lost_at_any_time_makes_the_end_lossy(service):
    running = asyncio.create_task(service.run())
    await until(lambda: service.phase is Phase.RUNNING)
    service.producer.dead_letters = Counts(produced=1, dropped={"dead_letter_refused": 1})
    service.stop()
    assert not await running


async def test_batches_are_bounded_by_the_least_limit_of_a_topic_that_is_written(outside):
    outside.limits = {"kite.ticks.nse": 1500, "kite.orders": 2000, "kite.control": 100}
    service = new_service()
    async with service:
        await until(lambda: service.phase is Phase.RUNNING)
        assert ("bound", 1500) in service.producer.calls


def test_an_event_of_no_connection_is_written(with_pipeline):
    with_pipeline._take_event(ConnectionEvent(EventType.INSTRUMENT_EXPIRED, 1, 5))
    assert with_pipeline.producer.records[0].value == b"event instrument_expired 1 main"


async def test_a_slot_is_drained_when_its_records_are_settled(with_pipeline):
    producer = with_pipeline.producer
    producer.produce("t", b"v", b"k")
    producer.in_flight = 1
    waiting = asyncio.create_task(with_pipeline._drained(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    # of newer ones, any number may be under way
    producer.produce("t", b"v", b"k")
    await waiting


async def test_the_orders_are_read_on_whatever_stands_there(service, monkeypatch):
    """Else every copy would be written again, by each replica, without a word of why."""
    readings = [
        [SimpleNamespace(value={"another": "program's"}), SimpleNamespace(value={"payload": "x"})],
        [SimpleNamespace(value=b"\0"), SimpleNamespace(value={"payload": "mine"})],
    ]

    async def tail(*_, **__):
        for record in readings.pop(0) if readings else ():
            yield record
        if not readings:
            raise asyncio.CancelledError

    monkeypatch.setattr(module, "tail", tail)
    monkeypatch.setattr(module, "RETRY_MAX_SECONDS", 0.0)
    desk = SimpleNamespace(seen=[])
    desk.written = desk.seen.append
    with capture_logs() as log, pytest.raises(asyncio.CancelledError):
        await service._read_orders(desk)
    assert desk.seen == ["mine"]
    assert [line["event"] for line in log] == ["cannot read the orders of other replicas"]
