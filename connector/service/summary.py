"""A line a minute in the log that says what flows: a log that is silent says nothing."""

from __future__ import annotations

from typing import Any

from connector.kite.feed.events import ConnectionState
from connector.service.status import ServiceStatus


class Summary:
    """Says what came since the last line, from the service's own counters."""

    def __init__(self) -> None:
        # as the counters stood at the line before
        self._uptime_seconds = 0.0
        self._ticks = 0
        self._received = 0
        self._delivered = 0
        self._dropped = 0

    def line(self, status: ServiceStatus) -> dict[str, Any]:
        """Return the keys of the next line.

        Args:
            status: how everything is now; `ticks`, `received`, `delivered` and `dropped` are what
                came to the counters since the last line, all else is as it is.
        """
        accounting = status.accounting
        ticks = sum(exchange.ticks for exchange in status.exchanges)
        seconds = status.uptime_seconds - self._uptime_seconds
        connected = [
            one for one in status.connections if one.state == ConnectionState.CONNECTED.value
        ]
        keys = {
            "ready": status.ready,
            "connections": len(status.connections),
            "connected": len(connected),
            "instruments": sum(one.desired for one in status.connections),
            "confirmed": sum(one.confirmed for one in status.connections),
            "ticks": ticks - self._ticks,
            "ticks_per_second": round((ticks - self._ticks) / seconds, 1) if seconds > 0 else 0.0,
            "received": accounting.received - self._received,
            "delivered": accounting.delivered - self._delivered,
            "in_flight": accounting.in_flight,
            "spooled": accounting.spooled,
            "dropped": accounting.total_dropped - self._dropped,
        }
        self._uptime_seconds, self._ticks = status.uptime_seconds, ticks
        self._received, self._delivered = accounting.received, accounting.delivered
        self._dropped = accounting.total_dropped
        return keys
