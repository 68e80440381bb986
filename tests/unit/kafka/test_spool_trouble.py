import errno

import structlog
from structlog.testing import capture_logs

from connector.kafka.spool_trouble import CALM_SECONDS, MAX_BACKOFF_SECONDS, DiskPace, DiskTrouble
from connector.testing import FakeClock


def trouble(clock):
    return DiskTrouble("failed", "ended", structlog.get_logger(), clock.monotonic)


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_it_is_tried_again_less_and_less_often():
    clock = FakeClock()
    disk = trouble(clock)
    assert disk.may_try()
    tries = 0
    for _ in range(1000):
        if disk.may_try():
            disk.failed(FULL)
            tries += 1
        clock.now += 0.1
    assert 100 / MAX_BACKOFF_SECONDS <= tries < 100 / MAX_BACKOFF_SECONDS + 6


def test_something_that_may_help_is_worth_a_try():
    disk = trouble(FakeClock())
    disk.failed(FULL)
    assert not disk.may_try()
    disk.try_now()
    assert disk.may_try()


def test_each_edge_is_logged_once_and_another_reason_too():
    clock = FakeClock()
    disk = trouble(clock)
    with capture_logs() as lines:
        for _ in range(5):
            disk.failed(FULL)
            disk.worked()
            assert disk.reason == "No space left on device"
            assert disk.may_try()
        disk.failed(OSError(errno.EIO, "Input/output error"))
        clock.now += CALM_SECONDS
        disk.worked()
        disk.worked()
    assert disk.reason is None
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("failed", "No space left on device"),
        ("failed", "Input/output error"),
        ("ended", "Input/output error"),
    ]
    assert lines[-1]["seconds"] == CALM_SECONDS


def test_how_long_nothing_but_failures_was_seen():
    clock = FakeClock()
    disk = trouble(clock)
    disk.failed(FULL)
    clock.now += 3
    disk.failed(FULL)
    assert disk.lasting_seconds == 3
    disk.worked()
    assert disk.lasting_seconds == 0


def test_a_quick_disk_needs_no_rest_and_a_slow_one_a_long_one():
    clock = FakeClock()
    pace = DiskPace(clock.monotonic)
    with pace.timed():
        clock.now += 0.01
    assert pace.may()
    with pace.timed():
        clock.now += 1
    assert not pace.may()
    clock.now += 3.9
    assert not pace.may()
    clock.now += 0.2
    assert pace.may()
