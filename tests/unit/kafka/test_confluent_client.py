"""The way through confluent-kafka's client, over a broker that is worked by hand."""

import pytest
from confluent_kafka import KafkaError

from connector.kafka import confluent_client
from connector.kafka.clients import ClientCallbacks
from connector.kafka.config import ClientLog
from connector.kafka.confluent_client import ConfluentClient
from connector.kafka.spool import Record
from tests.support.kafka_client import FakeCluster

TIME_MS = 1_700_000_000_000


@pytest.fixture
def told():
    return []


@pytest.fixture
def cluster():
    return FakeCluster(queue_limit=3000)


@pytest.fixture
def client(monkeypatch, cluster, told):
    monkeypatch.setattr(confluent_client, "Producer", cluster.confluent_client)
    handlers = ClientCallbacks(
        failed=lambda *report: told.append(report),
        error=lambda error: told.append(error.name()),
        statistics=None,
        throttle=None,
        log=ClientLog("test"),
    )
    return ConfluentClient({"enable.gapless.guarantee": True}, handlers, "a reason")


def test_it_says_why_it_is_there(client):
    assert client.way == "confluent: a reason"
    assert not client.wakes


def test_a_failed_record_comes_back_with_its_time_and_headers(client, cluster, told):
    headers = [("name", b"1")]
    client.produce("t", b"k", b"v", TIME_MS, headers, 7)
    client.purge(in_flight=True)
    for _ in range(2):
        client.poll()
    ((record, sequence, partition, error),) = told
    assert record == Record("t", b"k", b"v", TIME_MS, headers)
    assert (sequence, partition, error.name()) == (7, 0, "_PURGE_QUEUE")


def test_a_fatal_error_is_reported_and_not_raised(client, cluster, told):
    client.produce("t", b"k", b"v", TIME_MS, None, 1)
    cluster.current.fail(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    client.poll()
    assert told == ["_GAPLESS_GUARANTEE"]


def test_of_a_frame_it_says_how_many_were_accepted(client, cluster):
    records = [("t", b"k", b"%d" % number) for number in range(5)]
    cluster.queue_limit = 3
    assert client.produce_all(records, TIME_MS, 1) == 3 == len(client)


def test_a_flood_is_polled_now_and_then(client, cluster, told):
    records = [("t", b"k", b"%d" % number) for number in range(600)]
    client.produce_all(records, TIME_MS, 1)
    client.purge(in_flight=True)
    assert told == []
    client.produce_all(records, TIME_MS, 2)
    assert told


def test_a_live_client_takes_another_login_and_a_closed_one_none():
    handlers = ClientCallbacks(print, print, print, print, ClientLog("test"))
    client = ConfluentClient({"bootstrap.servers": "localhost:1", "log_level": 0}, handlers)
    client.set_sasl_credentials("kite", "second")
    client.close()
    client.set_sasl_credentials("", "third")
