"""Last prices out of the ticks in Kafka, whoever writes them."""

from functools import partial

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from connector.cluster import spots
from connector.cluster.spots import SpotReader
from connector.codec import Transcoder
from connector.codec.partitioning import partition_of
from connector.embedded.broker import EmbeddedBroker
from connector.kafka.reader import Reader
from connector.kafka.topics import TopicNames
from connector.testing.waiting import wait_until
from tests.support.packets import frame, ltp
from tests.support.replicas import settings
from tests.support.ticks import NOW_US, SCHEMA_IDS, TOPICS

NIFTY, SENSEX, INFY, RELIANCE = 256265, 265, 408065, 738561
PARTITIONS = 3


class Ticking:
    """Ticks in an embedded broker, and the reader of their prices."""

    def __init__(self, kafka):
        self.tree = settings(kafka.bootstrap_servers, "ws://127.0.0.1:1")
        self.reader = SpotReader(self.tree.kafka, TopicNames(), "test")
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        self.transcoder = Transcoder(TOPICS, SCHEMA_IDS, 0, dict.fromkeys(TOPICS.values(), 1))

    def tick(self, partitions=PARTITIONS, **prices):
        packets = [ltp(int(token[1:]), round(price * 100)) for token, price in prices.items()]
        records, _, rejected = self.transcoder.transcode(frame(*packets), NOW_US)
        assert not rejected
        for topic, key, value in records:
            self.producer.produce(topic, value, key, partition_of(key, partitions))
        assert self.producer.flush(10) == 0

    def until(self, wanted, **prices):
        expected = {int(token[1:]): price for token, price in prices.items()}
        wait_until(lambda: self.reader(wanted) == expected)


@pytest.fixture
def kafka():
    names = [name for name in TOPICS.values() if not name.endswith("bse")]
    with EmbeddedBroker(dict.fromkeys(names, PARTITIONS)) as running:
        yield running


@pytest.fixture
def ticking(kafka, monkeypatch):
    monkeypatch.setattr(spots, "LOOK_SECONDS", 0.02)
    ticks = Ticking(kafka)
    yield ticks
    ticks.reader(())
    wait_until(lambda: ticks.reader._thread is None or not ticks.reader._thread.is_alive())


def test_the_last_prices_of_what_is_wanted(ticking):
    ticking.tick(t256265=24_800.5, t265=81_000, t408065=1500)
    ticking.tick(t256265=24_810.5)
    ticking.until([NIFTY], t256265=24_810.5)
    ticking.tick(t256265=24_900)
    ticking.until([NIFTY], t256265=24_900)
    ticking.until([NIFTY, INFY, SENSEX], t256265=24_900, t408065=1500, t265=81_000)
    ticking.until([INFY], t408065=1500)
    assert ticking.reader(()) == {}


def test_what_has_not_ticked_and_what_is_no_tick_has_no_price(ticking):
    ticking.tick(t256265=24_800)
    ticking.tick(t256265=0)  # as before the first trade
    for value in (b"", b"\x00\x00\x00\x00\x01", b"no tick", None):
        ticking.producer.produce("kite.ticks.indices", value, b"%d" % NIFTY, 0)
        ticking.producer.produce("kite.ticks.indices", value, None, 0)
    ticking.producer.flush(10)
    ticking.until([NIFTY, SENSEX], t256265=24_800)


def test_more_than_is_read_at_once_is_passed_over(ticking, monkeypatch):
    monkeypatch.setattr(spots, "LOOK_RECORDS", 20)
    monkeypatch.setattr(spots, "BACK_RECORDS", 5)
    ticking.until([NIFTY])
    for price in range(1, 60):
        ticking.tick(t256265=price)
    ticking.until([NIFTY], t256265=59)


def test_a_topic_that_is_not_there_is_said_and_keeps_nothing_from_the_others(ticking):
    bse_share = 5 << 8 | 4
    ticking.tick(t256265=24_800)
    with capture_logs() as logs:
        ticking.until([NIFTY, bse_share], t256265=24_800)
        assert "kite.ticks.bse" in wait_until(lambda: ticking.reader.problem)
    assert [line["event"] for line in logs] == ["spots_unreadable"]
    ticking.until([NIFTY], t256265=24_800)
    wait_until(lambda: ticking.reader.problem is None)


def test_without_a_broker_there_are_no_prices_and_a_reason(monkeypatch):
    monkeypatch.setattr(spots, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(spots, "Reader", partial(Reader, timeout_seconds=0.2))
    tree = settings("127.0.0.1:1", "ws://127.0.0.1:1")
    reader = SpotReader(tree.kafka, TopicNames(), "test")
    with capture_logs():
        assert reader([NIFTY]) == {}
        assert "127.0.0.1:1" in wait_until(lambda: reader.problem)
        assert reader(()) == {}
        wait_until(lambda: reader.problem is None)


def test_a_topic_that_is_given_more_partitions_keeps_no_price_from_changing(ticking, monkeypatch):
    """An instrument's ticks go to another one then: the last tick of the old one is of the past."""
    assert partition_of(b"%d" % RELIANCE, PARTITIONS) != 0
    partitions, added = Reader.partitions, []
    monkeypatch.setattr(
        Reader, "partitions", lambda self, topic: partitions(self, topic) if added else 1
    )
    monkeypatch.setattr(spots, "ADDED_SECONDS", 0.0)
    ticking.tick(partitions=1, t738561=1300)
    ticking.until([RELIANCE], t738561=1300)
    added.append("two")
    ticking.tick(t738561=1310)
    ticking.until([RELIANCE], t738561=1310)
