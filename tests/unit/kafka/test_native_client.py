"""The native client of librdkafka, without a broker: what it accepts, gives back and survives."""

import contextlib
import gc
import os
import weakref

import pytest
from confluent_kafka import KafkaException

from connector.codec import Transcoder
from connector.kafka import clients
from connector.kafka.config import ClientLog
from connector.kafka.spool import Record
from connector.testing import until
from tests.support.packets import NSE, frame, full, ltp
from tests.support.ticks import NOW_US, SCHEMA_IDS, TOPICS

native = pytest.importorskip("connector.kafka._native", reason="the extension is not built")

TIME_MS = 1_700_000_000_123
ALONE = {"delivery.report.only.error": True, "log_level": 0}
OTHER_LIBRARY = native.__file__


class Told:
    """Notes what a client says."""

    def __init__(self):
        self.failed, self.statistics, self.errors, self.lines = [], [], [], []

    def handlers(self):
        told = self

        class Log(ClientLog):
            def log(self, level, pattern, *arguments):
                told.lines.append((level, pattern % arguments))

        return clients.ClientCallbacks(
            failed=lambda *report: self.failed.append(report),
            error=self.errors.append,
            statistics=self.statistics.append,
            throttle=None,
            log=Log("test"),
        )


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def make(monkeypatch, told):
    monkeypatch.setenv(clients.VARIABLE, "native")
    made = []

    def make(handlers=None, wake=-1, **properties):
        client = clients.new_client({**ALONE, **properties}, handlers or told.handlers(), wake)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


async def returned(client, told, count):
    client.purge(in_flight=True)

    def all_told():
        client.poll()
        return len(told.failed) >= count

    await until(all_told)
    assert len(client) == 0
    return [report[0] for report in told.failed]


async def test_the_records_of_a_frame_come_back_as_the_codec_made_them(make, told):
    client = make()
    transcoder = Transcoder(TOPICS, SCHEMA_IDS, 2)
    packets = [full(NSE), ltp(265), full(NSE + 256), *[ltp(7 << 8 | 2)] * 3]
    records, _, _ = transcoder.transcode(frame(*packets), NOW_US)
    expected = [Record(*record[:1], record[1], record[2], TIME_MS) for record in records]
    assert client.produce_all(records, TIME_MS, 77) == len(packets) == len(client)
    # the arena is used again before librdkafka has sent anything
    transcoder.transcode(frame(*[ltp(NSE)] * 6), NOW_US)
    came = await returned(client, told, len(packets))
    assert sorted(came) == sorted(expected)
    assert {sequence for _, sequence, _, _ in told.failed} == {77}
    assert {error.name() for *_, error in told.failed} == {"_PURGE_QUEUE"}


async def test_records_of_other_sequences_headers_and_many_topics(make, told):
    client = make()
    listed = [(f"t{number}", b"k", b"%d" % number) for number in range(50)]
    assert client.produce_all(listed, TIME_MS, 1) == 50
    headers = [("name", b"value"), ("none", None), ("empty", b"")]
    client.produce("t3", None, None, TIME_MS, headers, 2)
    came = await returned(client, told, 51)
    assert sorted((r.topic, r.key, r.value) for r in came if not r.headers) == sorted(listed)
    assert [r for r in came if r.headers] == [Record("t3", None, None, TIME_MS, headers)]
    assert {sequence for record, sequence, _, _ in told.failed if record.headers} == {2}


async def test_a_full_queue_accepts_what_there_is_room_for(make, told):
    client = make(**{"queue.buffering.max.messages": 3})
    listed = [("t", b"k", b"%d" % number) for number in range(5)]
    assert client.produce_all(listed, TIME_MS, 1) == 3
    with pytest.raises(BufferError):
        client.produce("t", b"k", b"v", TIME_MS, [("h", b"1")], 2)
    transcoder = Transcoder(TOPICS, SCHEMA_IDS, 2)
    records, _, _ = transcoder.transcode(frame(ltp(NSE)), NOW_US)
    assert client.produce_all(records, TIME_MS, 1) == 0
    assert [record.value for record in await returned(client, told, 3)] == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ((None, b"k", b"v"), TypeError),
        (("t", "key", b"v"), TypeError),
        (("t", b"k", bytearray(b"v")), TypeError),
        (("t\0u", b"k", b"v"), ValueError),
        (("t" * 600, b"k", b"v"), KafkaException),
        (("t", b"k", bytes(2_000_000)), KafkaException),
    ],
)
def test_what_is_no_record_is_refused_and_nothing_is_queued(make, record, error):
    client = make()
    with pytest.raises(error):
        client.produce(*record, TIME_MS, None, 1)
    assert client.produce_all([record], TIME_MS, 1) == 0
    assert len(client) == 0


@pytest.mark.parametrize("headers", [[("h", "text")], [(1, b"v")], [("h",)]])
def test_headers_that_are_none_are_refused(make, headers):
    client = make()
    with pytest.raises((TypeError, ValueError, AttributeError)):
        client.produce("t", b"k", b"v", TIME_MS, headers, 1)
    assert len(client) == 0


async def test_what_a_handler_raises_is_raised_and_the_rest_is_told_after_it(make, told):
    handlers = told.handlers()

    def failing(record, *rest):
        told.failed.append((record, *rest))
        if record.value == b"0":
            raise RuntimeError("the owner's")

    client = make(handlers._replace(failed=failing))
    client.produce_all([("t", b"k", b"%d" % number) for number in range(3)], TIME_MS, 1)
    client.purge(in_flight=True)
    raised = []

    def all_told():
        try:
            client.poll()
        except RuntimeError as error:
            raised.append(error)
            assert len(client) == 3 - len(told.failed)
        return len(told.failed) == 3

    await until(all_told)
    assert len(raised) == 1
    assert len(client) == 0


async def test_statistics_and_log_lines_come_from_poll(make, told):
    client = make(**{"statistics.interval.ms": 10, "log_level": 7, "debug": "broker"})

    def polled():
        client.poll()
        return told.statistics and told.lines

    await until(polled)
    assert told.statistics[0].startswith("{")
    assert {level for level, _ in told.lines} <= {10, 20, 30, 40, 50}


async def test_the_descriptor_says_that_there_is_something_to_poll(make, told):
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        client = make(wake=writing)

        def woken():
            with contextlib.suppress(BlockingIOError):
                return os.read(reading, 100)

        await until(woken)  # at once, for what came before
        client.poll()
        client.produce("t", b"k", b"v", TIME_MS, None, 1)
        client.purge(in_flight=True)
        await until(woken)
        client.poll()
        assert len(told.failed) == 1
        # librdkafka has a duplicate of its own until it ends
        os.close(writing)
        client.close()
        with contextlib.suppress(BlockingIOError):
            os.read(reading, 100)
        assert os.read(reading, 100) == b""
        writing = -1
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def test_a_closed_client_takes_nothing_and_says_nothing(make, told):
    client = make()
    client.produce("t", b"k", b"v", TIME_MS, None, 1)
    client.close()
    client.close()
    client.poll()
    client.purge(in_flight=True)
    assert len(client) == 0
    assert client.produce_all([("t", b"k", b"v")], TIME_MS, 1) == 0
    with pytest.raises(BufferError):
        client.produce("t", b"k", b"v", TIME_MS, None, 1)
    assert told.failed == []


def test_a_client_that_is_dropped_in_a_cycle_ends(make):
    class Owner:
        def failed(self, *_):
            pass

    owner = Owner()
    handlers = Told().handlers()._replace(failed=owner.failed)
    owner.client = native.Client(ALONE, handlers)
    owner.client.produce("t", b"k", b"v", TIME_MS, None, 1)
    gone = weakref.ref(owner)
    del owner, handlers
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "properties", [{"no.such.property": "1"}, {"compression.level": 99}, {"acks": "x"}]
)
def test_what_librdkafka_refuses_is_an_exception(make, properties):
    with pytest.raises(KafkaException) as refused:
        make(**properties)
    assert next(iter(properties)) in refused.value.args[0].str()


def test_a_library_that_cannot_be_loaded_leaves_the_one_that_is(make, monkeypatch):
    client = make()
    with pytest.raises(OSError, match="it has no rd_kafka_version"):
        native.load(OTHER_LIBRARY)
    monkeypatch.setattr(native, "OLDEST_VERSION", 0x7FFFFFFF)
    with pytest.raises(OSError, match="is not known"):
        native.load(str(clients.candidates()[0]))
    client.produce("t", b"k", b"v", TIME_MS, None, 1)
    assert len(client) == 1


def test_a_live_client_takes_another_login_and_a_closed_one_none(make):
    client = make()
    client.set_sasl_credentials("kite", "second")
    client.close()
    client.set_sasl_credentials("", "third")
