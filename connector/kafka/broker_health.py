"""Whether brokers can be reached and how long they take, as librdkafka itself says.

librdkafka reports that all brokers are down, but never that one is up again: that is read from its
statistics, which come once a second and carry the latencies too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from connector.kafka.ack_latency import AckLatency
from connector.kafka.diagnosis import plain

THROTTLED_SECONDS: Final = 5.0
"""A client counts as throttled for so long after it was: the next answer tells whether it is."""


class BrokerHealth:
    """Takes a client's `error_cb` and `stats_cb`; logs when the brokers go and come."""

    def __init__(self, log: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._told = False  # whether `reachable` was ever logged: the first word counts too
        self._complaints: set[str] = set()  # logged since a broker was last reached
        self.reachable = False
        """Whether at least one broker is connected."""
        self.last_error: str | None = None
        """What the client last complained of; None once a broker is connected."""
        self.acknowledgement = AckLatency()
        """How long all records since the start took to be acknowledged."""
        self.throttled_seconds = 0.0
        """How long brokers had this client wait for a quota, in all."""
        # for so many seconds each time, until then (monotonic seconds)
        self._throttled: tuple[float, float] = (0.0, 0.0)

    def throttled(self, event: Any) -> None:
        """Count a quota's pause: the client's `throttle_cb`."""
        seconds = event.throttle_time
        if seconds > 0 and not self.throttled_seconds_now():
            self._log.warning("produce_throttled", broker=event.broker_name, seconds=seconds)
        self.throttled_seconds += seconds
        now = self._monotonic()
        # it is not said that it has ended: only that it goes on, at the next answer
        self._throttled = (seconds, now + seconds + THROTTLED_SECONDS if seconds > 0 else now)

    def throttled_seconds_now(self) -> float:
        """How long brokers hold this client back for a quota, each time; 0 where they do not."""
        seconds, until = self._throttled
        return seconds if self._monotonic() < until else 0.0

    def error(self, error: Any) -> None:
        """Note an error of the client: its `error_cb`."""
        reason = plain(error.str())
        if error.name() == "_ALL_BROKERS_DOWN":
            # how many are down says less than why the last one is
            self.last_error = self.last_error or reason
            self._set_reachable(False)
            return
        self.last_error = reason
        if error.name() not in ("_TRANSPORT", "_RESOLVE") and reason not in self._complaints:
            # wrong credentials, wrong certificate, fatal: not just a broker away
            self._complaints.add(reason)
            self._log.warning("kafka_client_error", reason=reason)

    def statistics(self, text: str) -> None:
        """Note which brokers are connected: the client's `stats_cb`, one JSON document."""
        statistics = json.loads(text)
        brokers = {
            name: broker
            for name, broker in statistics.get("brokers", {}).items()
            # -1 is an address of bootstrap.servers, or the group's coordinator as such
            if broker.get("nodeid", -1) >= 0
        }
        connected = {name: each for name, each in brokers.items() if each.get("state") == "UP"}
        self.acknowledgement.observe(connected)
        if connected:
            self._set_reachable(True)
        elif brokers:
            self._set_reachable(False)

    def _set_reachable(self, reachable: bool) -> None:
        if reachable:
            self.last_error = None
        if reachable == self.reachable and self._told:
            return
        self._told = True
        self.reachable = reachable
        if reachable:
            # the next outage may have the same reason, and is worth a line again
            self._complaints.clear()
            self._log.info("kafka_reachable")
        else:
            self._log.warning("kafka_unreachable", reason=self.last_error)
