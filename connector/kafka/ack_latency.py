"""How long records take from the producer to Kafka's acknowledgement, as a histogram.

Python is told of no record that went well (`delivery.report.only.error`), but librdkafka's
statistics tell of each second and broker how long records waited for their request (`int_latency`),
the request for the socket (`outbuf_latency`), and its answer for the network and the broker
(`rtt`): count, mean and a few percentiles of each. From these the histogram is made: count and sum
are theirs, and how the records lie between two percentiles is guessed (evenly).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from connector.kafka.histogram import Histogram

BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""The bounds in seconds: from a broker next door to one that was away for a minute."""
_PERCENTILES: Final = (
    (0.5, "p50"), (0.75, "p75"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.9999, "p99_99"),
)  # fmt: skip
_NEEDED: Final = {"min", "max", "sum", *(name for _, name in _PERCENTILES)}
"""Another librdkafka may tell less, or tell it otherwise: then there is no histogram."""
_PENDING: Final = 60
"""Windows of a broker that has not answered since: a minute of them is remembered."""
_ROUNDING: Final = 1.02
"""librdkafka's percentiles have two digits, so the last one may lie a little below the maximum."""


class LatencyWindow(NamedTuple):
    """A quantity within a second: (share, value in µs) points with rising shares, from 0 to 1."""

    values: int
    total_us: float
    points: tuple[tuple[float, float], ...]

    @property
    def mean_us(self) -> float:
        """The mean of all values, microseconds."""
        return self.total_us / self.values

    def quantile_us(self, share: float) -> float:
        """Return a quantile, microseconds: between two points as if the values lay evenly."""
        return _between(self.points, share)


def window(statistics: Mapping[str, Any]) -> LatencyWindow | None:
    """One of librdkafka's windows; None where nothing happened in it, or it does not tell."""
    count = int(statistics.get("cnt", 0))
    if count <= 0 or not statistics.keys() >= _NEEDED:
        return None
    lowest, highest = float(statistics["min"]), float(statistics["max"])
    known = float(statistics["p99_99"])
    outside = 0
    if highest > known * _ROUNDING:
        # what was too long for librdkafka's own histogram is in no percentile; the count of it
        # goes stale in a second without values, and is right whenever there are some
        outside = min(int(statistics.get("outofrange", 0)), count)
    inside = 1.0 - outside / count
    points = [(0.0, lowest)]
    if inside > 0:
        points += [
            (share * inside, min(max(float(statistics[name]), lowest), highest))
            for share, name in _PERCENTILES
        ]
    points.append((1.0, highest))
    return LatencyWindow(count, float(statistics["sum"]), tuple(points))


class AckLatency:
    """Observes the brokers' statistics of each second; `histogram` is the result."""

    def __init__(self) -> None:
        self.histogram = Histogram(BOUNDS)
        # broker → seconds whose records have had no answer yet, oldest first
        self._pending: dict[str, deque[LatencyWindow]] = {}

    def observe(self, brokers: Mapping[str, Mapping[str, Any]]) -> None:
        """Observe one second's statistics.

        Records of a second without an answer count once there is one: they wait as long as it.
        Those that go with their connection are sent again, and count then.

        Args:
            brokers: `brokers` of librdkafka's document, those that are connected.
        """
        for gone in self._pending.keys() - brokers.keys():
            del self._pending[gone]
        for name, broker in brokers.items():
            pending = self._pending.setdefault(name, deque(maxlen=_PENDING))
            waited = window(broker.get("int_latency", {}))
            if waited is not None:
                pending.append(waited)
            answered = window(broker.get("rtt", {}))
            if answered is None:
                continue
            written = window(broker.get("outbuf_latency", {}))
            # none was written in a second whose answers are to requests of the one before
            later = (answered,) if written is None else (written, answered)
            while pending:
                self._add(pending.popleft(), later)

    def _add(self, waited: LatencyWindow, later: Sequence[LatencyWindow]) -> None:
        # the same share of each: so slow requests count as those of the records that waited
        # longest, which is the most that their sum can spread
        windows = (waited, *later)
        shares = sorted({share for each in windows for share, _ in each.points})
        points = [(sum(each.quantile_us(s) for each in windows) / 1e6, s) for s in shares]
        below = [
            round(waited.values * _share_below(points, bound)) for bound in self.histogram.bounds
        ]
        edges = [0, *below, waited.values]
        counts = [high - low for low, high in pairwise(edges)]
        seconds = sum(each.mean_us for each in windows) * waited.values / 1e6
        self.histogram.add(counts, seconds)


def _share_below(points: Sequence[tuple[float, float]], bound: float) -> float:
    """How much of a distribution, given as rising (value, share), lies up to a bound."""
    return _between(points, bound) if bound >= points[0][0] else 0.0


def _between(points: Sequence[tuple[float, float]], x: float) -> float:
    """Of points with rising x the y at one, on a line between two; of several at one x the last."""
    after = bisect_right(points, (x, float("inf")))
    if after == len(points):
        return points[-1][1]
    (x1, y1), (x2, y2) = points[after - 1], points[after]
    return y1 + (y2 - y1) * (x - x1) / (x2 - x1)
