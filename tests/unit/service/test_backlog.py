"""What of a service's work is long, and how much of it is left."""

import pytest

from connector.kafka.producer_state import RecordCounts
from connector.service.backlog import Backlog, backlog
from connector.service.readiness import Phase


def told(phase, *, in_flight=0, spooled=0, reachable=True, rows_left=0):
    counts = RecordCounts(
        produced=99, delivered=0, in_flight=in_flight, spooled=spooled, found=0, failed={},
        dropped={},
    )  # fmt: skip
    return backlog(phase, counts, broker_reachable=reachable, rows_left=rows_left)


def test_at_a_stop_it_is_all_that_kafka_has_not():
    assert told(Phase.STOPPING, in_flight=3, spooled=4) == Backlog(
        "records to Kafka before the end", 7
    )
    assert told(Phase.STOPPING, rows_left=9) is None


def test_the_spool_drains_while_there_is_a_broker():
    assert told(Phase.RUNNING, spooled=4, rows_left=9) == Backlog("records out of the spool", 4)
    assert told(Phase.RUNNING, spooled=4, reachable=False) is None


def test_a_list_is_published():
    assert told(Phase.RUNNING, in_flight=7, rows_left=9) == Backlog("instruments to Kafka", 9)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.STOPPED])
def test_before_and_after_there_is_nothing(phase):
    assert told(phase, in_flight=3, spooled=4, rows_left=9) is None


def test_records_on_their_way_are_no_backlog():
    assert told(Phase.RUNNING, in_flight=3) is None
