"""What of reading needs no broker; the rest is in tests/loopback/test_reader.py."""

import pytest

from connector.kafka import reader
from connector.kafka.reader import fetched


class FakeConsumer:
    """Has messages from some poll on."""

    def __init__(self, empty_polls, messages=()):
        self.empty_polls = empty_polls
        self.messages = list(messages)
        self.waits = []

    def poll(self, timeout):
        self.waits.append(timeout)
        if len(self.waits) <= self.empty_polls or not self.messages:
            return None
        return self.messages.pop(0)

    def consume(self, num_messages, timeout):
        self.waits.append(timeout)
        taken, self.messages = self.messages[:num_messages], self.messages[num_messages:]
        return taken


def test_where_it_is_to_be_looked_librdkafka_does_not_wait():
    """It waits until a time of day, which may be set back by hours."""
    consumer = FakeConsumer(2, "abc")
    assert fetched(consumer, 60.0, 0.001) == ["a", "b", "c"]
    assert fetched(consumer, 0.001, 0.001) == []
    assert set(consumer.waits) == {0}


def test_where_nothing_comes_there_is_one_look_at_least():
    consumer = FakeConsumer(0, "a")
    assert fetched(consumer, 0.0, 0.001) == ["a"]
    assert fetched(consumer, 0.0, 0.001) == []


def test_looks_become_rare_while_nothing_comes(monkeypatch):
    """An idle service is woken by little else."""
    slept = []
    monkeypatch.setattr(reader.time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(reader.time, "sleep", slept.append)
    assert fetched(FakeConsumer(0), 0.5, 0.02) == []
    assert slept == pytest.approx([0.02, 0.04, 0.08, 0.1, 0.1, 0.1, 0.06])
