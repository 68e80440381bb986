import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.frames import note_of
from connector.kafka.producer_state import RecordCounts
from connector.kafka.refusals import TopicTrouble
from connector.kite.config import ConnectionConfig
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.feed.events import ConnectionState
from connector.kite.web.instruments import InstrumentMaster
from connector.service.dead_letters import DeadLetters
from connector.service.readiness import Phase, ServiceProgress
from connector.service.status import MAX_UNSERVED_SHOWN, UnservedInstrument
from connector.service.status_builder import StatusBuilder, balance
from connector.settings.models import Settings
from connector.simulator.wire import encode_frame, quote_packet
from connector.testing import RecordingProducer
from tests.support.producing import TIME_US, pipeline

numbers = st.integers(0, 50)


def counts(**values):
    names = ("produced", "delivered", "in_flight", "spooled", "found")
    return RecordCounts(
        **{name: values.get(name, 0) for name in names},
        failed=values.get("failed", {}),
        dropped=values.get("dropped", {}),
    )


@given(st.lists(numbers, min_size=5, max_size=5), st.lists(numbers, min_size=5, max_size=5))
def test_the_balance_is_exact_whatever_became_of_it(records, dead):
    """Every record that the producer has was received, or is a copy of a refused one."""
    delivered, in_flight, spooled, refused, dropped = records
    dead_delivered, dead_in_flight, dead_spooled, dead_refused, dead_dropped = dead
    dead_letters = dead_delivered + dead_in_flight + dead_spooled + dead_refused + dead_dropped
    redirected = min(refused, dead_letters)
    accounting = balance(
        counts(
            produced=sum(records),
            delivered=delivered,
            in_flight=in_flight,
            spooled=spooled,
            failed={"invalid_record": refused},
            dropped={"spool_full": dropped},
        ),
        counts(
            produced=sum(dead),
            delivered=dead_delivered,
            in_flight=dead_in_flight,
            spooled=dead_spooled,
            dropped={"dead_letter_refused": dead_refused, "spool_full": dead_dropped},
        ),
        received=sum(records) + sum(dead) - redirected,
        redirected=redirected,
    )
    assert accounting.balanced
    assert (accounting.delivered, accounting.dead_lettered) == (delivered, dead_delivered)
    assert accounting.dropped.get("refused", 0) == refused - redirected
    assert accounting.dropped.get("dead_letter_refused", 0) == dead_refused
    assert accounting.dropped.get("spool_full", 0) == dropped + dead_dropped


def test_a_dead_letter_counts_once_it_is_acknowledged():
    refused = counts(produced=1, failed={"invalid_record": 1})
    waits = balance(refused, counts(produced=1, spooled=1), received=1, redirected=1)
    assert (waits.spooled, waits.dead_lettered, waits.balanced) == (1, 0, True)
    there = balance(refused, counts(produced=1, delivered=1), received=1, redirected=1)
    assert (there.spooled, there.dead_lettered, there.balanced) == (0, 1, True)


def test_a_record_that_is_missing_shows():
    assert not balance(counts(delivered=9), counts(), received=10, redirected=0).balanced


def recording_producer():
    producer = RecordingProducer(
        TopicTrouble("kite.ticks.nse", "INVALID_TIMESTAMP", "", 0.0),
        counts=counts(delivered=2, found=1),
    )
    producer.spool_bytes, producer.spool_peak_bytes, producer.spool_limit_bytes = 7, 70, 900
    producer.spool_problem = "spool.directory /spool cannot be written: No space left on device"
    producer.queue_peak = 700
    producer.refusals["kite.ticks.nse", "invalid_timestamp"] = 4
    producer.health.acknowledgement.histogram.observe(0.004)
    return producer


class Owner:
    def __init__(self, stats=(), unserved=()):
        self._stats = stats
        self._unserved = unserved

    def unserved(self):
        return self._unserved

    def names(self):
        return InstrumentMaster()

    def stats(self):
        return self._stats

    def claims(self):
        return ()

    def not_ready(self):
        return []

    def unresolved(self):
        return ["NSE:NONE: not in the instrument master"]

    leads = True

    def status(self):
        return {"leader": True}


def reporter_of(settings, owner):
    dead_letters = DeadLetters(None, "kite.deadletter", None)
    producer = recording_producer()
    troubles = SimpleNamespace(reasons=list)
    progress = ServiceProgress(files_refused="the key is not the certificate's")
    checks = SimpleNamespace(faults=[], status=lambda: None)
    return StatusBuilder(settings, producer, owner, dead_letters, troubles, progress, checks)


@pytest.fixture
def settings():
    return Settings.model_validate({"accounts": [{"api_key": "k"}]})


def test_before_there_is_a_pipeline(settings):
    status = reporter_of(settings, Owner()).status()
    assert status.exchanges == ()
    assert (status.phase, status.not_ready) == ("starting", ["starting"])
    assert not status.ready
    assert status.accounting.received == 1, "found in the spool"
    assert status.cluster == {"leader": True}
    producer = status.producer
    assert (producer.spool_bytes, producer.spool_peak_bytes, producer.queue_peak) == (7, 70, 700)
    assert producer.spool_limit_bytes == 900
    assert "No space left" in producer.spool_problem
    assert producer.files_refused == "the key is not the certificate's"
    assert producer.refused == [("kite.ticks.nse", "invalid_timestamp", 4)]
    assert producer.troubles == {"kite.ticks.nse": "invalid_timestamp"}
    assert status.latencies.produce_to_ack.count == 1


def test_a_snapshot_of_everything(settings):
    idle = Connection(0, StaticCredentials("k", "t"), ConnectionConfig(), pipeline().handler(0))
    stats = replace(idle.stats, state=ConnectionState.CONNECTED, last_frame_us=TIME_US)
    reporter = reporter_of(settings, Owner([stats]))
    receiving = pipeline()
    reporter._progress.phase = Phase.RUNNING
    reporter._progress.running = SimpleNamespace(
        pipeline=receiving, instruments=None, backfill=None
    )
    reporter._producer.spool_problem = None
    reporter.sample(receiving)
    receiving.handler(0).frame(encode_frame([quote_packet(408065, 1)]), TIME_US)
    status = reporter.status()
    (connection,) = status.connections
    assert (connection.slot, connection.state, connection.packets) == (0, "connected", 1)
    assert connection.last_frame_age_seconds > 0
    assert connection.last_tick_age_seconds is None
    assert connection.last_error is None
    assert {e.exchange: e.ticks for e in status.exchanges}["NSE"] == 1
    assert status.accounting.balanced
    assert status.ready


def test_the_instruments_that_are_unserved_for_longest_are_named_and_all_are_counted(settings):
    unserved = [(token % 3, token, float(token)) for token in range(1, MAX_UNSERVED_SHOWN + 51)]
    reporter = reporter_of(settings, Owner(unserved=unserved))
    reporter._progress.running = SimpleNamespace(
        pipeline=pipeline(), instruments=None, backfill=None
    )
    status = reporter.status()
    assert status.unserved_count == MAX_UNSERVED_SHOWN + 50
    assert len(status.unserved) == MAX_UNSERVED_SHOWN
    assert status.unserved[0] == UnservedInstrument(150, None, 0, 150.0)
    assert status.unserved[-1].seconds == 51.0
    assert status.as_json()["unserved"][0] == {
        "token": 150, "symbol": None, "slot": 0, "seconds": 150.0,
    }  # fmt: skip


def test_other_replicas_are_told_when_a_slots_last_frame_of_any_kind_came(settings):
    idle = Connection(0, StaticCredentials("k", "t"), ConnectionConfig(), pipeline().handler(0))
    stats = replace(idle.stats, state=ConnectionState.CONNECTED, last_frame_us=TIME_US)
    note = reporter_of(settings, Owner([stats])).notes(pipeline(), "pod-1")[0]
    told = note_of(json.dumps({"last_frame_us": 5, "note": note}))
    del note["heard_us"]
    assert told == (TIME_US, note)
