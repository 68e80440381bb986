"""A histogram that costs a fraction of a microsecond an observation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

MILLISECONDS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.05, 0.25, 1.0)
"""The bounds in seconds for what happens inside the process: 10 µs to 1 s."""
SECONDS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
"""Bounds in seconds against the exchange's clock, which ticks in whole seconds."""


class Histogram:
    """Counts by upper bound, and their sum; only the event loop's thread observes."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        # one more than bounds: what is above the last
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value in its bucket."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, counts: Sequence[int], total: float) -> None:
        """Count many values, of which it is known how many lie in each bucket, and their sum."""
        for index, count in enumerate(counts):
            self.counts[index] += count
        self.total += total

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The bound below which `share` (0 to 1) of the values lie; None without values.

        As coarse as the bounds; infinity where it lies above the last.
        """
        wanted = share * self.count
        if not wanted:
            return None
        seen = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            if seen >= wanted:
                return bound
        return float("inf")

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound as Prometheus writes it, count up to it), ending with +Inf."""
        buckets = []
        seen = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        return buckets
