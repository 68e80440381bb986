"""The historical API: answers with candles of the simulated market, within Kite's limits.

Source: kite.trade/docs/connect/v3/historical and /exceptions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from connector.kite.clock import IST
from connector.simulator.access import RefusedError
from connector.simulator.faults import FaultKind, FaultSpec
from connector.simulator.market import Market

MAX_DAYS: Final = 60
"""A request may span so many days of minutes."""
INTERVALS: Final = (
    "minute", "3minute", "5minute", "10minute", "15minute", "30minute", "60minute", "day",
)  # fmt: skip
_TIME: Final = "%Y-%m-%d %H:%M:%S"


class HistoricalApi:
    """Answers requests for candles.

    Args:
        market: whose trades they are made of.
        per_second: an api_key may send so many requests a second.
        monotonic: a clock in seconds.
    """

    def __init__(self, market: Market, per_second: int, *, monotonic: Callable[[], float]) -> None:
        self.requests = 0
        """How many there were, refused ones among them."""
        self._market = market
        self._per_second = per_second
        self._monotonic = monotonic
        self._times: dict[str, deque[float]] = {}  # by api_key: requests of the last second
        self._faults: deque[FaultSpec] = deque()  # still to come, in order

    def inject(self, fault: FaultSpec) -> None:
        """Answer the next requests as a fault says."""
        self._faults.append(fault)

    def clear(self, kind: FaultKind | None = None) -> None:
        """Forget faults that are still to come."""
        self._faults = deque(one for one in self._faults if kind not in {None, one.kind})

    def answer(self, api_key: str, token: str, interval: str, query: Mapping[str, str]) -> Any:
        """Return the data of an answer.

        Raises:
            RefusedError: as Kite answers: 429 above the rate, 400 for what it does not know.
        """
        self.requests += 1
        fault = self._next_fault()
        if fault is not None and fault.kind is FaultKind.REFUSE_CANDLES:
            raise _refusal(fault.status)
        self._check_rate(api_key)
        rows = self._rows(token, interval, query)
        if fault is not None:
            rows = [] if fault.kind is FaultKind.NO_CANDLES else rows[: len(rows) // 2]
        return {"candles": rows}

    def _next_fault(self) -> FaultSpec | None:
        if not self._faults:
            return None
        fault = self._faults.popleft()
        if fault.count > 1:
            self._faults.appendleft(fault.model_copy(update={"count": fault.count - 1}))
        return fault

    def _check_rate(self, api_key: str) -> None:
        now = self._monotonic()
        times = self._times.setdefault(api_key, deque())
        while times and times[0] <= now - 1:
            times.popleft()
        if len(times) >= self._per_second:
            raise RefusedError(429, "NetworkException", "Too many requests")
        times.append(now)

    def _rows(self, token: str, interval: str, query: Mapping[str, str]) -> list[list[Any]]:
        if interval not in INTERVALS:
            raise RefusedError(400, "InputException", "invalid interval")
        if interval != "minute":
            raise RefusedError(400, "InputException", "The simulator has candles of minutes only.")
        first, last = _time(query, "from"), _time(query, "to")
        if first > last:
            raise RefusedError(400, "InputException", "invalid from date: it is after `to`")
        if last - first > timedelta(days=MAX_DAYS):
            raise RefusedError(
                400, "InputException", f"interval exceeds max limit: {MAX_DAYS} days"
            )
        quote = self._market.quote(int(token)) if token.isascii() and token.isdecimal() else None
        if quote is None:
            raise RefusedError(400, "InputException", "invalid token")
        # the first minute that begins at `from` or later
        begins = -(-int(first.timestamp()) // 60)
        divisor = quote.listing.feed_exchange.divisor
        with_oi = query.get("oi") == "1"
        return [
            [
                f"{datetime.fromtimestamp(minute * 60, IST):%Y-%m-%dT%H:%M:%S%z}",
                *(price / divisor for price in prices),
                volume,
                *([oi] if with_oi else []),
            ]
            for minute, *prices, volume, oi in quote.candles.between(
                begins, int(last.timestamp()) // 60
            )
        ]


def _time(query: Mapping[str, str], name: str) -> datetime:
    try:
        return datetime.strptime(query.get(name, ""), _TIME).replace(tzinfo=IST)
    except ValueError:
        raise RefusedError(400, "InputException", f"invalid {name} date") from None


def _refusal(status: int) -> RefusedError:
    if status == 403:
        return RefusedError(403, "PermissionException", "Insufficient permission for that call.")
    kind = "NetworkException" if status == 429 or status >= 500 else "InputException"
    return RefusedError(status, kind, "Simulated refusal.")
