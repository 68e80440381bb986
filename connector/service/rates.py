"""Rates of counters over the last few seconds, for people; machines take them from the counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Final

HISTORY_SAMPLES: Final = 300
"""So many of the last samples are kept: of one a second, five minutes."""


class Rates:
    """Keeps what counters stood at, and says how fast each grew over the window."""

    def __init__(self, window_seconds: float = 5.0) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[tuple[float, dict[Hashable, int]]] = deque()

    def sample(self, now_seconds: float, counts: Mapping[Hashable, int]) -> None:
        """Note the values of the counters; about once a second is enough."""
        self._samples.append((now_seconds, dict(counts)))
        # the oldest that is still a whole window old stays: the window is never shorter than said
        while len(self._samples) > 2 and now_seconds - self._samples[1][0] >= self._window_seconds:
            self._samples.popleft()

    def per_second(self, counter: Hashable) -> float:
        """Return the growth a second over the window; 0 before there are two samples."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        if ended <= began:
            return 0.0
        # a counter that came later, or went away with its connection, began at 0
        return max(0, last.get(counter, 0) - first.get(counter, 0)) / (ended - began)


class RateHistory:
    """How fast each counter grew from sample to sample, over the last few minutes."""

    def __init__(self) -> None:
        self._before: Mapping[Hashable, int] = {}
        self._rates: dict[Hashable, deque[int]] = {}

    def sample(self, counts: Mapping[Hashable, int]) -> None:
        """Note the values of the counters; one that is not among them any more is forgotten."""
        for counter in self._rates.keys() - counts.keys():
            del self._rates[counter]
        for counter, count in counts.items():
            rates = self._rates.setdefault(counter, deque(maxlen=HISTORY_SAMPLES))
            # a counter that is new has no growth yet
            rates.append(max(0, count - self._before.get(counter, count)))
        self._before = dict(counts)

    def of(self, counter: Hashable) -> list[int]:
        """Return the growth at each sample, oldest first."""
        return list(self._rates.get(counter, ()))
