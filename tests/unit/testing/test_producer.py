import inspect

import pytest

from connector.kafka.isolating import IsolatingProducer
from connector.kafka.producer_state import RecordCounts
from connector.testing import ProducedRecord, RecordingProducer


def test_every_record_is_kept_as_it_was_produced():
    producer = RecordingProducer()
    producer.produce_all([("t", b"k", b"v"), ("t", b"l", b"w")], 7)
    producer.produce("u", None, b"k", headers=[("h", b"1")])
    assert producer.records == [
        ProducedRecord("t", b"v", b"k", 7, None),
        ProducedRecord("t", b"w", b"l", 7, None),
        ProducedRecord("u", None, b"k", 0, [("h", b"1")]),
    ]
    producer.in_flight = 1
    assert producer.counts == RecordCounts(produced=3, delivered=2, in_flight=1)
    assert RecordingProducer(counts=RecordCounts(spooled=4)).counts == RecordCounts(spooled=4)


async def test_a_flush_waits_until_a_test_says_that_it_may_end():
    producer = RecordingProducer()
    assert await producer.flush(1)
    producer.flushed.clear()
    assert not await producer.flush(0)
    assert producer.calls == ["flush", "flush"]


@pytest.mark.parametrize(
    "name",
    [name for name, value in vars(RecordingProducer).items() if inspect.isfunction(value)
     and not name.startswith("_")],
)  # fmt: skip
def test_its_calls_have_the_parameters_of_the_real_ones(name):
    real = inspect.signature(getattr(IsolatingProducer, name)).parameters
    assert list(inspect.signature(getattr(RecordingProducer, name)).parameters) == list(real)
