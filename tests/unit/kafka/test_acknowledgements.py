import pytest
import structlog
from structlog.testing import capture_logs

from connector.kafka.acknowledgements import SILENT_SECONDS, Acknowledgements
from connector.kafka.producer_state import RecordCounts

TAKES_NOTHING, TAKES_AGAIN = "kafka_acknowledges_nothing", "kafka_acknowledges_again"


def counts(delivered, in_flight=0, spooled=0):
    return RecordCounts(delivered + in_flight + spooled, delivered, in_flight, spooled, {}, {}, 0)


@pytest.fixture
def log():
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def watch(log):
    return Acknowledgements(structlog.get_logger())


def test_nothing_to_send_is_no_silence(watch, log):
    for now in (0.0, 60.0, 3600.0):
        assert watch.check(now, counts(10)) is None
    # the first record after a quiet hour has its time too
    assert watch.check(3600.0 + SILENT_SECONDS / 2, counts(10, in_flight=1)) is None
    assert log == []


def test_records_that_are_taken_slowly_are_taken(watch, log):
    for second in range(100):
        assert watch.check(float(second), counts(second // 4, in_flight=1000)) is None
    assert log == []


@pytest.mark.parametrize("where", ["in_flight", "spooled"])
def test_records_that_nobody_takes_are_told_of_once(watch, log, where):
    assert watch.check(0.0, counts(7)) is None
    assert watch.check(SILENT_SECONDS - 1, counts(7, **{where: 20})) is None
    for more in (0, 1, 2):
        reason = watch.check(SILENT_SECONDS + more, counts(7, **{where: 30}))
        assert reason is not None
        assert reason.startswith(
            f"Kafka has taken no record for {SILENT_SECONDS + more:.0f} s, 30 wait"
        )
    assert [line["event"] for line in log] == [TAKES_NOTHING]
    assert watch.check(20.0, counts(8, **{where: 29})) is None
    assert [line["event"] for line in log] == [TAKES_NOTHING, TAKES_AGAIN]


def test_what_went_elsewhere_waits_no_longer(watch):
    watch.check(0.0, counts(7))
    assert watch.check(60.0, counts(7, in_flight=3)) is not None
    assert watch.check(61.0, counts(7)) is None
