"""How long to wait before the next try. Pure: the random number is an argument."""

from __future__ import annotations

from collections.abc import Callable

from connector.kite.config import ConnectionConfig


def backoff_seconds(attempt: int, config: ConnectionConfig, random: Callable[[], float]) -> float:
    """Exponential with full jitter: anywhere from 0 to a ceiling that doubles up to the cap.

    Full, since all connections of all replicas lose a restarted feed at the same moment.

    Args:
        attempt: 1 for the first try after a socket that worked.
        config: has the first ceiling and the cap.
        random: 0 ≤ x < 1.
    """
    # the exponent is bounded, or a float overflows after days of tries
    ceiling = config.reconnect_min_delay * 2.0 ** min(attempt - 1, 32)
    return random() * min(ceiling, config.reconnect_max_delay)


def slot_seconds(config: ConnectionConfig, random: Callable[[], float]) -> float:
    """From half to one and a half of `slot_wait`: connections of one account wait for slots."""
    return config.slot_wait * (0.5 + random())
