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


class Pauses:
    """Those of one connection, by what has failed in a row.

    What the feed asks for itself (`Retry-After`) comes before the pause: so connections that are
    told the same do not come back together.

    Args:
        config: has the limits.
        random: 0 ≤ x < 1.
    """

    def __init__(self, config: ConnectionConfig, random: Callable[[], float]) -> None:
        self._config = config
        self._random = random
        self._attempts = 0  # in a row since a socket last proved to be alive
        self._refusals = 0  # of the present token, in a row
        self._crowded = 0  # answers that the slot is not free, in a row

    @property
    def used_up(self) -> bool:
        """Whether there is to be no other try after a failure."""
        limit = self._config.max_reconnect_attempts
        return limit is not None and self._attempts >= limit

    def after_failure(self, asked_seconds: float = 0.0) -> float:
        """How long to wait after a socket that ended, or a try that failed."""
        self._attempts += 1
        return asked_seconds + backoff_seconds(self._attempts, self._config, self._random)

    def for_slot(self, asked_seconds: float = 0.0) -> float:
        """How long to wait after HTTP 429: no failure, so that it counts for nothing else."""
        self._crowded += 1
        return asked_seconds + slot_seconds(self._crowded, self._config, self._random)

    def for_token(self) -> float:
        """How long to wait for another token: no fault of the network."""
        self._refusals += 1
        self._attempts = 0
        return token_seconds(self._refusals, self._random)

    def opened(self) -> None:
        """A socket has opened: the token is good, and the slot was free."""
        self._refusals = self._crowded = 0

    def token_changed(self) -> None:
        """There is another token, which nobody has refused."""
        self._refusals = 0

    def begin_anew(self) -> None:
        """A socket has proved to be alive, or somebody has reason to think that it will."""
        self._attempts = 0
