"""A status out of the JSON of /status, of this version or another one, for whoever shows it.

What another version adds is passed over, what it lacks has its default; text is made printable,
since it ends on somebody's terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from connector.kafka.histogram import MILLISECONDS, SECONDS, Histogram
from connector.redaction import printable
from connector.service.status import (
    Accounting,
    ConnectionStatus,
    ExchangeStatus,
    Latencies,
    ProducerStatus,
    ServiceStatus,
)

MAX_PARTS: Final = 300
"""So many connections, exchanges or reasons of an answer are read."""
_T = TypeVar("_T")
_BOUNDS: Final = {
    "exchange_to_receive": SECONDS,
    "receive_to_produce": MILLISECONDS,
    "produce_to_ack": MILLISECONDS,
    "event_loop_lag": MILLISECONDS,
}


def status_of(document: object) -> ServiceStatus:
    """Read what /status answered.

    Raises:
        ValueError: it is something else.
    """
    fields = _mapping(_printable(document))
    cluster = fields.get("cluster")
    return ServiceStatus(
        name=_made(str, fields.get("name")),
        version=_made(str, fields.get("version", "")),
        codec=_made(str, fields.get("codec", "")),
        started_ms=_made(int, fields.get("started_ms", 0)),
        uptime_seconds=_made(float, fields.get("uptime_seconds", 0.0)),
        phase=_made(str, fields.get("phase")),
        not_ready=[_made(str, reason) for reason in _list(fields.get("not_ready"))],
        accounting=_made(Accounting, fields.get("accounting")),
        producer=_made(ProducerStatus, fields.get("producer", {})),
        latencies=_latencies(_mapping(fields.get("latency_seconds", {}))),
        connections=[_made(ConnectionStatus, one) for one in _list(fields.get("connections"))],
        exchanges=[_made(ExchangeStatus, one) for one in _list(fields.get("exchanges"))],
        cluster=cluster if isinstance(cluster, dict) else None,
    )


def _made(kind: type[_T], value: object) -> _T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ValueError("not the status of a kite-connector") from error


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not the status of a kite-connector")  # noqa: TRY004
    return value


def _list(value: object) -> list[Any]:
    return value[:MAX_PARTS] if isinstance(value, list) else []


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(one) for one in value]
    if isinstance(value, dict):
        return {printable(str(name)): _printable(one) for name, one in value.items()}
    return value


def _latencies(document: Mapping[str, Any]) -> Latencies:
    """Histograms of one value each: the bound below which nearly all lie."""
    made = {}
    for name, bounds in _BOUNDS.items():
        made[name] = histogram = Histogram(bounds)
        told = _mapping(document.get(name, {}))
        below = told.get("p99_below")
        if isinstance(below, int | float):
            histogram.observe(float(below))
        elif told.get("count"):
            histogram.observe(float("inf"))  # JSON has no infinity
    return Latencies(**made)
