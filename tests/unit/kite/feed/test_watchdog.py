import pytest

from connector import ConnectionConfig
from connector.kite.feed.watchdog import Verdict, Watchdog

CONFIG = ConnectionConfig(liveness_threshold=6, stall_threshold=60, ping_interval=2.5)


@pytest.fixture
def watchdog():
    watchdog = Watchdog(CONFIG)
    watchdog.open(100.0, 0, 0)
    return watchdog


def look(watchdog, now, frames=0, ticks=0, *, paused=False, expecting=True):
    return watchdog.look(now, frames, ticks, paused=paused, expecting=expecting)


def test_the_interval_is_fine_enough_for_the_thresholds():
    assert Watchdog(CONFIG).interval_seconds == 1.0
    quick = ConnectionConfig(liveness_threshold=0.2, ping_interval=0.1)
    assert Watchdog(quick).interval_seconds == 0.05


def test_pings_come_at_their_interval(watchdog):
    times = [100 + step for step in range(1, 9)]
    pinged = [now for now in times if Verdict.PING in look(watchdog, now, frames=now)]
    assert pinged == [103, 106]


def test_silence_beyond_the_threshold_is_death(watchdog):
    for second in range(101, 107):
        assert Verdict.DEAD not in look(watchdog, second)
    assert look(watchdog, 106.1) == [Verdict.DEAD]
    assert watchdog.silent_seconds(106.1) == pytest.approx(6.1)


def test_time_in_which_nobody_looked_does_not_count(watchdog):
    """The loop was held up: what came meanwhile is not read yet."""
    assert Verdict.DEAD not in look(watchdog, 160.0)
    assert not watchdog.stalled
    for second in range(161, 165):
        assert Verdict.DEAD not in look(watchdog, second)
    # but silence goes on counting
    assert look(watchdog, 166.0) == [Verdict.DEAD]


def test_any_frame_is_life(watchdog):
    for second in range(1, 30):
        assert Verdict.DEAD not in look(watchdog, 100 + second, frames=second)


def test_while_we_hold_reading_silence_proves_nothing(watchdog):
    for second in range(101, 200):
        assert Verdict.DEAD not in look(watchdog, second, paused=True)
    for second in range(200, 206):
        assert Verdict.DEAD not in look(watchdog, second)
    assert look(watchdog, 206.0) == [Verdict.DEAD]


def test_heartbeats_without_ticks_are_a_stall_said_once(watchdog):
    verdicts = [
        verdict
        for second in range(1, 200)
        for verdict in look(watchdog, 100 + second, frames=second)
        if verdict is not Verdict.PING
    ]
    assert verdicts == [Verdict.STALLED]
    assert watchdog.stalled

    assert Verdict.TICKS_RESUMED in look(watchdog, 301, frames=500, ticks=1)
    assert not watchdog.stalled


def test_nothing_to_expect_is_no_stall(watchdog):
    for second in range(1, 200):
        assert Verdict.STALLED not in look(watchdog, 100 + second, second, expecting=False)


def test_a_new_socket_begins_anew(watchdog):
    for second in range(1, 100):
        look(watchdog, 100 + second, frames=second)
    watchdog.open(200.0, 99, 0)
    assert not watchdog.stalled
    assert Verdict.STALLED not in look(watchdog, 201.0, frames=100)
    assert Verdict.DEAD not in look(watchdog, 206.0, frames=100)
