"""Which time an event has: the exchange's, unless it cannot be right. Pure.

Exchanges, gateways and feeds send 0, 1, 2³²−1 and times shifted by India's 5:30 hours. The time as
sent stays in the record (`exchange_timestamp`, `last_trade_time`); what stream processors go by
must not follow it.
"""

from __future__ import annotations

from typing import Final

EXCHANGE_TIME_AHEAD_MS: Final = 60_000
"""How far the exchange's time may be ahead of the receive time: clocks that differ, not more. An
event_time in the future would end every window of a stream processor at once."""
EXCHANGE_TIME_BEHIND_MS: Final = 7 * 24 * 3600 * 1000
"""How far it may be behind: the cached packet after a long weekend, not 1970."""


def plausible(exchange_ms: int, receive_ms: int) -> bool:
    """Whether an exchange's time is near enough to the receive time to be an event_time.

    Args:
        exchange_ms: UTC milliseconds, as the packet or the order has it.
        receive_ms: UTC milliseconds, this machine's.
    """
    return -EXCHANGE_TIME_BEHIND_MS <= exchange_ms - receive_ms <= EXCHANGE_TIME_AHEAD_MS
