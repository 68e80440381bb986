import pytest
import structlog

from connector import ConnectionState, EventType
from connector.kite.feed.event_reporter import EventReporter
from connector.testing import FakeClock, RecordingHandler


@pytest.fixture
def handler():
    return RecordingHandler()


@pytest.fixture
def reporter(handler):
    # made inside the capture of each test's log: structlog binds its processors late
    return EventReporter(3, "main", handler, FakeClock(time_us=5_000_000))


def test_a_change_of_state_is_an_event(reporter, handler):
    reporter.session_id = 77
    reporter.enter(ConnectionState.CONNECTED, EventType.CONNECTED)
    (event,) = handler.events
    assert reporter.state is ConnectionState.CONNECTED
    assert event.state is ConnectionState.CONNECTED
    assert (event.type, event.slot, event.time_ms, event.session_id) == (
        EventType.CONNECTED, 3, 5000, 77,
    )  # fmt: skip


def test_before_the_first_socket_there_is_no_session(reporter, handler):
    reporter.enter(ConnectionState.CONNECTING, EventType.CONNECTING)
    assert handler.events[0].session_id is None


def test_the_log_has_slot_account_and_reason(reporter):
    with structlog.testing.capture_logs() as logs:
        reporter.emit(EventType.DISCONNECTED, "gone", code=1006, seconds=1.26)
    assert logs == [
        {"log_level": "warning", "event": "connection_disconnected", "slot": 3, "account": "main",
         "reason": "gone", "code": 1006, "next_try_seconds": 1.3}
    ]  # fmt: skip


def test_what_is_as_it_should_be_is_no_warning(reporter):
    with structlog.testing.capture_logs() as logs:
        reporter.enter(ConnectionState.CONNECTED, EventType.CONNECTED)
        reporter.enter(ConnectionState.CLOSED, EventType.CLOSED)
    assert [entry["log_level"] for entry in logs] == ["info", "info"]


def test_the_same_trouble_again_is_an_event_but_no_line(reporter, handler):
    with structlog.testing.capture_logs() as logs:
        for _ in range(50):
            reporter.enter(ConnectionState.CONNECTING, EventType.CONNECTING)
            reporter.enter(ConnectionState.BACKING_OFF, EventType.BACKING_OFF, "refused")
        reporter.enter(ConnectionState.BACKING_OFF, EventType.BACKING_OFF, "no route")
    assert [entry["reason"] for entry in logs] == ["refused", "no route"]
    assert len(handler.events) == 101


def test_a_failing_handler_is_logged_at_powers_of_two(reporter, handler):
    handler.fail_in = {"event"}
    with structlog.testing.capture_logs() as logs:
        for _ in range(9):
            reporter.enter(ConnectionState.CONNECTING, EventType.CONNECTING)
    assert reporter.handler_errors == 9
    assert [entry["count"] for entry in logs] == [1, 2, 4, 8]
    assert all(entry["exc_info"] for entry in logs)


def test_a_defect_is_logged_by_its_type_alone(reporter):
    with structlog.testing.capture_logs() as logs:
        reporter.defect("odd", RuntimeError("SECRET"))
    assert logs[0]["error"] == "RuntimeError"
    assert "SECRET" not in str(logs)
