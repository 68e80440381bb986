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
    ceiling = config.reconnect_min_delay_seconds * 2.0 ** min(attempt - 1, 32)
    return random() * min(ceiling, config.reconnect_max_delay_seconds)


TOKEN_RETRY_MIN_SECONDS = 30.0
"""The longest first pause after an access_token was refused."""
TOKEN_RETRY_MAX_SECONDS = 600.0
"""The longest pause between tries with a token that was refused again and again."""


def token_seconds(attempt: int, random: Callable[[], float]) -> float:
    """Before a refused token is tried once more: from half of a ceiling that doubles to all of it.

    Args:
        attempt: 1 after the first refusal.
        random: 0 ≤ x < 1.
    """
    # not for ever in vain: a plan or an address may be mended without another token
    ceiling = TOKEN_RETRY_MIN_SECONDS * 2.0 ** min(attempt - 1, 32)
    return min(ceiling, TOKEN_RETRY_MAX_SECONDS) * (0.5 + random() / 2)


SLOT_STEPS = 4
"""So often a wait for a slot doubles until it is `slot_wait_seconds`."""


def slot_seconds(attempt: int, config: ConnectionConfig, random: Callable[[], float]) -> float:
    """Wait for a slot that another socket has, or had: from half to one and a half of a step.

    A socket that was closed or killed is forgotten within a second as a rule, so the first steps
    are short; one that lives on is asked for every `slot_wait_seconds`. Spread, since connections
    wait together.

    Args:
        attempt: 1 after the first HTTP 429.
        config: has the longest step.
        random: 0 ≤ x < 1.
    """
    step = config.slot_wait_seconds / 2.0 ** max(0, SLOT_STEPS + 1 - attempt)
    return step * (0.5 + random())
