"""Export and replay over a real Kafka, whose topics hold aborted transactions and their markers."""

import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pyarrow import parquet

from connector.cli.program import run
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import Exchange
from tests.support.packets import BSE, NFO, NSE, full, ltp, quote
from tests.support.recorded import recorded

pytestmark = pytest.mark.integration

PACKETS = [ltp(NSE), full(NFO), quote(BSE), full(NSE)] * 50
COMMITTED = 120
"""Of these records, in a transaction; the others are written without one, as the connector does."""


@pytest.fixture
def names(bootstrap_servers, registry_url, monkeypatch):
    """Topics of its own, into which ticks of the last minute are written."""
    monkeypatch.setenv("KITE_KAFKA__BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("KITE_REGISTRY__URL", registry_url)
    monkeypatch.setenv("KITE_TOPICS__REPLICATION_FACTOR", "1")
    names = TopicNames(f"archive-{uuid4().hex[:8]}")
    monkeypatch.setenv("KITE_TOPICS__PREFIX", names.prefix)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    new = [NewTopic(name, 3, 1) for name in names.all_ticks().values()]
    for made in admin.create_topics(new).values():
        made.result(30)
    start_ms = time.time_ns() // 1_000_000 - 60_000
    records = recorded(PACKETS, [start_ms + 250 * number for number in range(len(PACKETS))])
    settings = {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random"}
    transactions = Producer({**settings, "transactional.id": names.prefix})
    transactions.init_transactions(30)
    transactions.begin_transaction()
    _produce(transactions, names, records[:COMMITTED])
    transactions.commit_transaction(30)
    # what was aborted is in the topics, and in nothing that is read
    transactions.begin_transaction()
    _produce(transactions, names, records[:40])
    assert transactions.flush(30) == 0
    transactions.abort_transaction(30)
    plain = Producer(settings)
    _produce(plain, names, records[COMMITTED:])
    assert plain.flush(30) == 0
    return names


def _produce(producer, names, records):
    for key, value, time_ms in records:
        topic = names.all_ticks()[Exchange.of(int(key))]
        producer.produce(topic, value, key, timestamp=time_ms)


def rows(file):
    return parquet.read_table(file).to_pylist()


def test_export_replay_export_gives_equal_rows_without_what_was_aborted(names, tmp_path, capsys):
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    copy = f"{names.prefix}-copy"
    assert run(["export", "-o", str(first)]) == 0
    assert capsys.readouterr().out.startswith(f"{len(PACKETS)} ticks in ")
    assert run(["replay", "--into", copy, "--speed", "max"]) == 0
    assert capsys.readouterr().out.startswith(f"{len(PACKETS)} ticks in {copy}.ticks.*")
    assert run(["export", "--prefix", copy, "-o", str(second)]) == 0
    found = rows(first)
    assert found == rows(second)
    assert [row["sequence"] for row in found] == list(range(1, len(PACKETS) + 1))


def test_a_range_of_time_begins_and_ends_where_it_says(names, tmp_path, capsys):
    whole, part = tmp_path / "whole.parquet", tmp_path / "part.parquet"
    assert run(["export", "-o", str(whole)]) == 0
    begin, end = (
        datetime.fromtimestamp(rows(whole)[at]["receive_time_us"] // 1000 / 1000, UTC).isoformat()
        for at in (COMMITTED - 10, -10)
    )
    assert run(["export", "-o", str(part), "--from", begin, "--to", end]) == 0
    assert rows(part) == rows(whole)[COMMITTED - 10 : -10]
