"""Whether brokers can be reached and how long they take, as librdkafka itself says.

librdkafka reports that all brokers are down, but never that one is up again: that is read from its
statistics, which come once a second and carry the latencies too.
"""

from __future__ import annotations

import json
from typing import Any

from connector.kafka.ack_latency import AckLatency
from connector.kafka.diagnosis import plain


class BrokerHealth:
    """Takes a client's `error_cb` and `stats_cb`; logs when the brokers go and come."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._told = False
        self._complaints: set[str] = set()
        self.reachable = False
        """At least one broker is connected."""
        self.last_error: str | None = None
        """What the client last complained of; None once a broker is connected."""
        self.acknowledgement = AckLatency()
        """Of all records since the start."""
        self.brokers_up = 0

    def error(self, error: Any) -> None:
        """The client's `error_cb`."""
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
            self._log.warning("the Kafka client complains", reason=reason)

    def statistics(self, text: str) -> None:
        """The client's `stats_cb`: one JSON document."""
        statistics = json.loads(text)
        brokers = {
            name: broker
            for name, broker in statistics.get("brokers", {}).items()
            # -1 is an address of bootstrap.servers, or the group's coordinator as such
            if broker.get("nodeid", -1) >= 0
        }
        connected = {name: each for name, each in brokers.items() if each.get("state") == "UP"}
        self.brokers_up = len(connected)
        self.acknowledgement.take(connected)
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
            self._complaints.clear()
            self._log.info("Kafka is reachable")
        else:
            self._log.warning("Kafka is not reachable", reason=self.last_error)
