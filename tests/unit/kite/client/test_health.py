from datetime import UTC, datetime

import pytest

from connector import ChannelId, ConnectionState, Exchange, HealthStatus
from connector.kite.client.health import ConnectionHealth, judge
from tests.unit.kite.client.test_stats import connection

# 2026-01-05 is a Monday; 04:30 UTC is 10:00 in India
OPEN = datetime(2026, 1, 5, 4, 30, tzinfo=UTC)
NIGHT = datetime(2026, 1, 5, 20, 0, tzinfo=UTC)
SUNDAY = datetime(2026, 1, 4, 4, 30, tzinfo=UTC)


def health(slot=0, *, exchanges=(Exchange.NSE,), dropping=False, **stats):
    return ConnectionHealth(ChannelId(slot), connection(slot, **stats), exchanges, dropping)


def test_all_is_well():
    summary = judge([health(0), health(1), health(2)], OPEN)
    assert summary.status is HealthStatus.HEALTHY
    assert (summary.percentage, summary.connected, summary.connections) == (100, 3, 3)
    assert summary.reasons == ()


@pytest.mark.parametrize(
    ("down", "percentage", "status"),
    [
        (1, 200 / 3, HealthStatus.DEGRADED),
        (2, 100 / 3, HealthStatus.CRITICAL),
        (3, 0, HealthStatus.CRITICAL),
    ],
)
def test_connections_that_are_down(down, percentage, status):
    states = [ConnectionState.BACKING_OFF] * down + [ConnectionState.CONNECTED] * (3 - down)
    summary = judge([health(i, state=state) for i, state in enumerate(states)], OPEN)
    assert summary.percentage == pytest.approx(percentage)
    assert summary.status is status
    assert len(summary.reasons) == down


def test_the_reason_is_the_latest_error():
    waiting = health(1, state=ConnectionState.WAITING_FOR_TOKEN, last_error="HTTP 403")
    summary = judge([waiting, health(2, state=ConnectionState.CONNECTING)], OPEN)
    assert summary.reasons == (
        "connection 1: waiting for token: HTTP 403",
        "connection 2: connecting",
    )


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"stalled": True}, "heartbeats but no ticks"),
        ({"given_up": 4, "unserved": 4}, "4 instruments do not answer"),
        ({"dropping": True}, "drops messages"),
        ({"paused": True}, "holds the socket"),
    ],
)
def test_a_connection_that_is_impaired_counts_half(trouble, words):
    summary = judge([health(0), health(1, **trouble)], OPEN)
    assert summary.status is HealthStatus.DEGRADED
    assert summary.percentage == 75
    assert len(summary.reasons) == 1
    assert words in summary.reasons[0]


@pytest.mark.parametrize("at", [NIGHT, SUNDAY])
def test_outside_market_hours_no_ticks_is_no_fault(at):
    assert judge([health(stalled=True, given_up=4, unserved=4)], at).status is HealthStatus.HEALTHY


def test_without_connections_nothing_works():
    summary = judge([], OPEN)
    assert (summary.status, summary.percentage) == (HealthStatus.CRITICAL, 0)


def test_an_instrument_in_another_mode_is_no_fault():
    assert judge([health(given_up=4)], OPEN).status is HealthStatus.HEALTHY
