from itertools import pairwise

import pytest

from connector import ConnectionConfig
from connector.kite.feed.watchdog import (
    HALF_SERVED_MAX_SECONDS,
    MUTE_MAX_SECONDS,
    PROBE_MAX_SECONDS,
    SocketVerdict,
    Watchdog,
)

CONFIG = ConnectionConfig(
    liveness_threshold_seconds=6, stall_threshold_seconds=60, ping_interval_seconds=2.5
)


@pytest.fixture
def watchdog():
    watchdog = Watchdog(CONFIG)
    watchdog.open(100.0, 0, 0)
    return watchdog


def look(watchdog, now, frames=0, ticks=0, *, paused=False, expecting=True, unserved=False):
    return watchdog.look(now, frames, ticks, paused=paused, expecting=expecting, unserved=unserved)


def test_the_interval_is_fine_enough_for_the_thresholds():
    assert Watchdog(CONFIG).interval_seconds == 1.0
    quick = ConnectionConfig(liveness_threshold_seconds=0.2, ping_interval_seconds=0.1)
    assert Watchdog(quick).interval_seconds == 0.05


def test_pings_come_at_their_interval(watchdog):
    times = [100 + step for step in range(1, 9)]
    pinged = [now for now in times if SocketVerdict.PING in look(watchdog, now, frames=now)]
    assert pinged == [103, 106]


def test_silence_beyond_the_threshold_is_death(watchdog):
    for second in range(101, 107):
        assert SocketVerdict.DEAD not in look(watchdog, second)
    assert look(watchdog, 106.1) == [SocketVerdict.DEAD]
    assert watchdog.silent_seconds(106.1) == pytest.approx(6.1)


def test_time_in_which_nobody_looked_does_not_count(watchdog):
    """The loop was held up: what came meanwhile is not read yet."""
    assert SocketVerdict.DEAD not in look(watchdog, 160.0)
    assert not watchdog.stalled
    for second in range(161, 165):
        assert SocketVerdict.DEAD not in look(watchdog, second)
    # but silence goes on counting
    assert look(watchdog, 166.0) == [SocketVerdict.DEAD]


def test_any_frame_is_life(watchdog):
    for second in range(1, 30):
        assert SocketVerdict.DEAD not in look(watchdog, 100 + second, frames=second)


def test_while_we_hold_reading_silence_proves_nothing(watchdog):
    for second in range(101, 200):
        assert SocketVerdict.DEAD not in look(watchdog, second, paused=True)
    for second in range(200, 206):
        assert SocketVerdict.DEAD not in look(watchdog, second)
    assert look(watchdog, 206.0) == [SocketVerdict.DEAD]


def test_heartbeats_without_ticks_are_a_stall_said_once(watchdog):
    verdicts = [
        verdict
        for second in range(1, 200)
        for verdict in look(watchdog, 100 + second, frames=second)
        if verdict not in {SocketVerdict.PING, SocketVerdict.RENEW}
    ]
    assert verdicts == [SocketVerdict.PROBE, SocketVerdict.STALLED]
    assert watchdog.stalled

    assert SocketVerdict.TICKS_RESUMED in look(watchdog, 301, frames=500, ticks=1)
    assert not watchdog.stalled


def test_nothing_to_expect_is_no_stall(watchdog):
    for second in range(1, 200):
        assert SocketVerdict.STALLED not in look(watchdog, 100 + second, second, expecting=False)


def test_a_new_socket_begins_anew(watchdog):
    for second in range(1, 100):
        look(watchdog, 100 + second, frames=second)
    watchdog.open(200.0, 99, 0)
    assert not watchdog.stalled
    assert SocketVerdict.STALLED not in look(watchdog, 201.0, frames=100)
    assert SocketVerdict.DEAD not in look(watchdog, 206.0, frames=100)


class Life:
    """A watchdog over its sockets, second for second; a socket is replaced when it says so."""

    def __init__(self, config=CONFIG):
        self.watchdog = Watchdog(config)
        self.now = self.frames = self.ticks = 0
        self.said = []
        self.watchdog.open(0, 0, 0)

    def run(self, seconds, *, ticks=lambda _: False, answers=True, expecting=True, unserved=False):
        """Let time pass; `answers`: a probe is answered at once."""
        for _ in range(seconds):
            self.now += 1
            self.frames += 1
            self.ticks += bool(ticks(self.now))
            verdicts = look(self.watchdog, self.now, self.frames, self.ticks,
                            expecting=expecting, unserved=unserved)  # fmt: skip
            self.said += [(self.now, v) for v in verdicts if v is not SocketVerdict.PING]
            if SocketVerdict.PROBE in verdicts and answers:
                self.ticks += 1
            if SocketVerdict.RENEW in verdicts:
                self.watchdog.open(self.now, self.frames, self.ticks)

    def times(self, verdict):
        return [now for now, said in self.said if said is verdict]


def gaps(times):
    return [later - earlier for earlier, later in pairwise(times)]


def test_a_mute_socket_is_asked_told_and_replaced_with_growing_pauses():
    life = Life()
    life.run(3000, answers=False)
    assert life.times(SocketVerdict.PROBE)[0] == 30
    assert life.times(SocketVerdict.STALLED)[0] == 61
    renewed = life.times(SocketVerdict.RENEW)
    assert renewed[0] == 66
    pauses = gaps(renewed)
    assert pauses == sorted(pauses)
    assert pauses[0] == 120
    assert pauses[-1] == MUTE_MAX_SECONDS


def test_a_socket_that_is_quiet_and_answers_is_neither_told_nor_replaced():
    life = Life()
    life.run(6 * 3600)
    assert {verdict for _, verdict in life.said} == {SocketVerdict.PROBE}
    # and is asked ever more seldom
    pauses = gaps(life.times(SocketVerdict.PROBE))
    assert pauses == sorted(pauses)
    assert pauses[-1] >= PROBE_MAX_SECONDS


@pytest.mark.parametrize("every", [45, 170, 1000])
def test_a_thinly_traded_socket_is_no_fault(every):
    life = Life()
    life.run(3 * 3600, ticks=lambda now: now % every == 0)
    assert {verdict for _, verdict in life.said} <= {SocketVerdict.PROBE}


def test_when_nothing_is_expected_nothing_is_asked_or_replaced():
    life = Life()
    life.run(20_000, answers=False, expecting=False, unserved=True)
    assert life.said == []
    # and what was missing before the opening does not count
    life.run(60, answers=False)
    assert SocketVerdict.STALLED not in dict.fromkeys(verdict for _, verdict in life.said)


def test_a_half_served_socket_is_replaced_with_growing_pauses():
    life = Life()
    life.run(40_000, ticks=lambda _: True, unserved=True)
    renewed = life.times(SocketVerdict.RENEW)
    assert renewed[0] == 61
    assert gaps(renewed)[:3] == [120, 240, 480]
    assert gaps(renewed)[-1] == HALF_SERVED_MAX_SECONDS


def test_a_socket_that_streams_for_as_long_as_the_last_pause_begins_anew():
    life = Life()
    life.run(500, answers=False)
    assert len(life.times(SocketVerdict.RENEW)) == 3
    life.run(600, ticks=lambda _: True)
    life.said.clear()
    life.run(70, answers=False)
    assert len(life.times(SocketVerdict.RENEW)) == 1


def test_a_socket_that_answers_only_at_first_does_not_begin_anew():
    """Else one that sends snapshots and is mute then would be replaced each minute for ever."""
    life = Life()
    for _ in range(5):
        life.run(1, ticks=lambda _: True)
        before = len(life.times(SocketVerdict.RENEW))
        while len(life.times(SocketVerdict.RENEW)) == before:
            life.run(1, answers=False)
    pauses = gaps(life.times(SocketVerdict.RENEW))
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 240
