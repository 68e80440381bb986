from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.broker_health import BrokerHealth
from connector.kafka.producer_state import Counts
from connector.kite.config import ConnectionConfig
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.wire.models import ConnectionState
from connector.service.status_builder import Reporter, balance
from connector.settings.models import Settings
from connector.simulator.wire import encode_frame, quote_packet
from tests.support.producing import TIME_US, pipeline

numbers = st.integers(0, 50)


def counts(**values):
    names = ("produced", "delivered", "in_flight", "spooled", "found")
    return Counts(
        **{name: values.get(name, 0) for name in names},
        failed=values.get("failed", {}),
        dropped=values.get("dropped", {}),
    )


@given(st.data(), numbers, numbers, numbers, numbers, numbers, numbers)
def test_the_books_balance_whatever_became_of_it(
    data, delivered, in_flight, spooled, failed, dropped, rejected
):
    """Every record that the producer has is one that was received, or a copy of a refused one."""
    redirected = data.draw(st.integers(0, failed))
    produced = delivered + in_flight + spooled + failed + dropped
    received = produced - redirected
    rejected = min(rejected, received)
    books = balance(
        counts(
            produced=produced,
            delivered=delivered,
            in_flight=in_flight,
            spooled=spooled,
            failed={"refused": failed},
            dropped={"spool_full": dropped},
        ),
        received=received,
        rejected=rejected,
        redirected=redirected,
    )
    assert books.balanced
    assert min(books.delivered, books.in_flight, books.spooled, books.dead_lettered) >= 0
    assert books.total_dropped == dropped + failed - redirected


def test_dead_letters_are_exact_when_nothing_is_under_way():
    books = balance(counts(delivered=10), received=10, rejected=3, redirected=0)
    assert (books.delivered, books.dead_lettered) == (7, 3)


def test_a_record_that_is_missing_shows():
    assert not balance(counts(delivered=9), received=10, rejected=0, redirected=0).balanced


class Producer:
    broker_reachable = True
    last_error = None
    spool_bytes = 7
    spool_peak_bytes = 70
    spool_limit_bytes = 900
    spool_problem = "spool.directory /spool cannot be written: No space left on device"
    queue_peak = 700
    counts = counts(delivered=2, found=1)

    def __init__(self):
        self.health = BrokerHealth(None)
        self.health.acknowledgement.histogram.observe(0.004)


class Owner:
    def __init__(self, stats=()):
        self._stats = stats

    def stats(self):
        return self._stats

    def claims(self):
        return ()

    def unresolved(self):
        return ["NSE:NONE: not in the instrument master"]

    def status(self):
        return {"leader": True}


@pytest.fixture
def settings():
    return Settings.model_validate({"accounts": [{"api_key": "k"}]})


def test_before_there_is_a_pipeline(settings):
    status = Reporter(settings, Producer(), Owner()).status("starting", ["starting"])
    assert status.exchanges == []
    assert not status.ready
    assert status.accounting.received == 1, "found in the spool"
    assert status.cluster == {"leader": True}
    producer = status.producer
    assert (producer.spool_bytes, producer.spool_peak_bytes, producer.queue_peak) == (7, 70, 700)
    assert producer.spool_limit_bytes == 900
    assert "No space left" in producer.spool_problem
    assert status.latencies.produce_to_ack.count == 1


def test_a_snapshot_of_everything(settings):
    idle = Connection(0, StaticCredentials("k", "t"), ConnectionConfig(), pipeline().handler(0))
    stats = replace(idle.stats, state=ConnectionState.CONNECTED, last_frame_us=TIME_US)
    reporter = Reporter(settings, Producer(), Owner([stats]))
    reporter.pipeline = pipeline()
    reporter.sample()
    reporter.pipeline.handler(0).frame(encode_frame([quote_packet(408065, 1)]), TIME_US)
    status = reporter.status("running", [])
    (connection,) = status.connections
    assert (connection.slot, connection.state, connection.packets) == (0, "connected", 1)
    assert connection.last_frame_age_seconds > 0
    assert connection.last_tick_age_seconds is None
    assert connection.last_error is None
    assert {e.exchange: e.ticks for e in status.exchanges}["NSE"] == 1
    assert status.accounting.balanced
    assert status.ready
