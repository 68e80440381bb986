import pytest

from connector.kite.wire.event_time import (
    EXCHANGE_TIME_AHEAD_MS,
    EXCHANGE_TIME_BEHIND_MS,
    plausible,
)
from connector.kite.wire.models import TickMessage
from connector.kite.wire.packets import parse_packet
from tests.support.packets import NSE, full, ltp

NOW_MS = 1_767_585_600_000


@pytest.mark.parametrize("ahead_ms", [-EXCHANGE_TIME_BEHIND_MS, -1, 0, 1, EXCHANGE_TIME_AHEAD_MS])
def test_within_the_window(ahead_ms):
    assert plausible(NOW_MS + ahead_ms, NOW_MS)


@pytest.mark.parametrize(
    "exchange_ms",
    [
        0, 1000, 2**32 * 1000 - 1000,
        NOW_MS + EXCHANGE_TIME_AHEAD_MS + 1, NOW_MS - EXCHANGE_TIME_BEHIND_MS - 1,
        NOW_MS + 5 * 3_600_000 + 1_800_000,  # India's time taken for UTC
    ],
)  # fmt: skip
def test_beyond_the_window(exchange_ms):
    assert not plausible(exchange_ms, NOW_MS)


@pytest.mark.parametrize(
    ("packet", "expected_ms"),
    [
        (full(NSE, exchange_timestamp=NOW_MS // 1000 - 3), NOW_MS - 3000),
        (full(NSE, exchange_timestamp=0), NOW_MS),
        (full(NSE, exchange_timestamp=2**32 - 1), NOW_MS),
        (full(NSE, exchange_timestamp=1), NOW_MS),
        (ltp(NSE), NOW_MS),
    ],
)
def test_the_library_orders_ticks_as_the_service_does(packet, expected_ms):
    tick = parse_packet(packet)
    assert TickMessage([tick], NOW_MS * 1000 + 999).event_time_ms(tick) == expected_ms
