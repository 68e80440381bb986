import asyncio
import re

import pytest
from structlog.testing import capture_logs

from connector.cluster.cluster import Cluster
from connector.errors import BrokerUnreachableError, SchemaIncompatibleError, TopicError
from connector.kafka.producer_state import FailedRecord, RecordCounts
from connector.kafka.refusals import TopicTrouble
from connector.kafka.spool import Record
from connector.kafka.topics import TopicsReport
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.web.instruments import InstrumentMaster
from connector.service.logs import SecretMask
from connector.service.outside import Outside
from connector.service.readiness import Phase
from connector.service.running import Running
from connector.service.service import END_SECONDS, Service
from connector.service.static_slots import StaticSlots
from connector.settings.models import Settings
from connector.testing import until
from tests.support.producing import SCHEMA_IDS, TOPICS, PlainEncoder, RecordingProducer


class Producer(RecordingProducer):
    """The producer as the service makes it, without Kafka."""

    def __init__(self, on_failed, on_dropped):
        super().__init__()
        self.on_failed, self.on_dropped = on_failed, on_dropped


class Owner:
    """Whoever owns the slots, writing down what it is told."""

    leads = True

    def __init__(self):
        self.calls = []
        self.reasons = []

    async def start(self, handler):
        self.calls.append("start")

    async def stop_intake(self, _hurry):
        self.calls.append("stop_intake")

    async def release(self):
        self.calls.append("release")

    def set_master(self, master):
        self.calls.append("set_master")

    def stats(self):
        return []

    def not_ready(self):
        return self.reasons

    async def watch(self):
        pass

    def missing_topics(self):
        return ()

    def claims(self):
        return ()

    def unserved(self):
        return ()

    def names(self):
        return InstrumentMaster()

    def unresolved(self):
        return []

    def note(self, notes):
        self.notes = notes

    def status(self):
        return None


class FakeOutside(Outside):
    """Kafka and registry: each call takes the next answer, an error or None for well."""

    retry_min_seconds = retry_max_seconds = 0.0

    def __init__(self, settings):
        super().__init__(settings)
        self.kafka = []
        self.limits = {}
        self.registry = []

    def producer(self, on_failed, on_dropped):
        return Producer(on_failed, on_dropped)

    async def make_topics(self, only=None):
        self._next(self.kafka)
        return TopicsReport(max_message_bytes=self.limits)

    async def register_schemas(self):
        self._next(self.registry)
        return {**SCHEMA_IDS, TOPICS.orders: 90, TOPICS.events: 91}

    def _next(self, answers):
        if answers and (answer := answers.pop(0)) is not None:
            raise answer


@pytest.fixture
def service():
    return new_service()


@pytest.fixture
def outside(service):
    return service._outside


def new_service(**given):
    tree = {
        "accounts": [{"name": "main", "api_key": "key-of-main", "access_token": "todays-token"}],
        "http": {"port": 0},
        "instrument_master": {"load": False},
        "cluster": {"enabled": False},
        **given,
    }
    settings = Settings.model_validate(tree)
    return Service(settings, owner=Owner(), outside=FakeOutside(settings))


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
    assert [what for what in said if what[0] in {"dependency_awaited", "dependency_available"}] == [
        ("dependency_awaited", ": refused"),
        ("dependency_awaited", "timed out"),
        ("dependency_available", ""),
    ]


async def test_the_reason_is_shown_while_it_waits(service, outside):
    outside.retry_min_seconds = 3600.0
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


async def test_a_second_stop_does_not_wait_for_the_flush():
    service = new_service(grace_seconds=3600.0)
    service.producer.flushed.clear()
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


async def test_connected_brokers_that_take_nothing_are_not_ready(service, outside):
    outside.silent_seconds = 0.0
    async with service:
        await until(lambda: service.phase is Phase.RUNNING)
        service.producer.records += [("t", b"k", b"v", 0, None)] * 3
        service.producer.in_flight = 3
        await until(lambda: not service.status().ready)
        (reason,) = service.status().not_ready
        assert re.match(r"Kafka has taken no record for \d+ s, 3 wait", reason)
        service.producer.in_flight = 2
        await until(lambda: service.status().ready)


async def test_tokens_are_told_to_the_mask():
    mask = SecretMask()
    service = Service(new_service().settings, owner=Owner(), mask=mask)
    assert mask.clean("todays-token") == "***"
    service.credentials["main"].set_access_token("tomorrows-token")
    assert mask.clean("tomorrows-token") == "***"


async def test_the_settings_say_who_owns_the_slots():
    shared = new_service(cluster={"enabled": True}).settings
    assert isinstance(Service(shared).owner, Cluster)
    owner = Service(new_service().settings).owner
    assert isinstance(owner, StaticSlots)
    assert isinstance(owner._credentials["main"], StaticCredentials)


def receiving(service):
    ids = {**SCHEMA_IDS, TOPICS.orders: 90, TOPICS.events: 91}
    running = Running(
        service._outside, service.producer, service.owner, service.credentials, ids, {}
    )
    running.pipeline.encoder = PlainEncoder()
    running.handler(0)
    running.handler(1)
    service._progress.running = running
    return service


@pytest.fixture
def with_pipeline(service):
    return receiving(service)


async def test_slots_that_cannot_be_given_up_keep_no_process_beyond_its_time(service, outside):
    async def never():
        await asyncio.Event().wait()

    outside.release_min_seconds = 0.0
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
    assert grace * 0.5 < seconds <= grace - END_SECONDS


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
            TopicTrouble("kite.ticks.nse", "TOPIC_AUTHORIZATION_FAILED", "refused", 0.0)
        ]
        (reason,) = service.status().not_ready
        assert "kite.ticks.nse" in reason
        assert "kafka-acls.sh" in reason
        service.producer.troubles = []
        assert service.status().ready


async def test_what_was_lost_at_any_time_makes_the_end_lossy(service):
    running = asyncio.create_task(service.run())
    await until(lambda: service.phase is Phase.RUNNING)
    service.producer.dead_letters = RecordCounts(produced=1, dropped={"dead_letter_refused": 1})
    service.stop()
    assert not await running


async def test_batches_are_bounded_by_the_least_limit_of_a_topic_that_is_written(service, outside):
    outside.limits = {"kite.ticks.nse": 1500, "kite.orders": 2000, "kite.control": 100}
    async with service:
        await until(lambda: service.phase is Phase.RUNNING)
        assert ("bound", 1500) in service.producer.calls
