"""What the status server answers: the pages, made of snapshots.

    /live     200 as long as the event loop runs: a reason to restart the process when it does not
    /ready    200 when everything flows; 503 with the reasons when not
    /metrics  for Prometheus
    /status   everything, for people: JSON

A service that waits for the day's token is alive and not ready: restarting it would not help.
Asking changes nothing, and what is costly to make is made once a second at most.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import structlog

from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.web.http_server import Response
from connector.service.accept import prefers_openmetrics
from connector.service.metrics import Metrics
from connector.service.status import ServiceStatus

PAGE_SECONDS: Final = 1.0
"""The pages /status and /metrics may be so old."""

_log = structlog.get_logger("connector.http")

_Made = TypeVar("_Made")
Readiness = Callable[[], tuple[str, Sequence[str]]]
"""The phase, and the reasons why it is not ready; cheap, and without effect."""


class Pages:
    """Makes the pages.

    Args:
        status: makes a snapshot of everything.
        readiness: makes that of readiness alone; out of `status` when not given.
        clock: for the age of pages.
    """

    def __init__(
        self,
        status: Callable[[], ServiceStatus],
        readiness: Readiness | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._status = status
        self._readiness = readiness or self._readiness_of_status
        self._metrics = Metrics(status)
        self._clock = clock
        # name of the page → (when it was made, the page)
        self._kept: dict[str, tuple[float, Response]] = {}
        self._defect_logged = False

    def answer(self, path: str, accept: str = "") -> Response:
        """The page of a path; nothing that a request may hold raises.

        Args:
            path: without a query.
            accept: the request's Accept header; only decides the format of /metrics.
        """
        return self.guarded(path, lambda: self._page(path, accept))

    def guarded(self, path: str, make: Callable[[], _Made]) -> _Made | Response:
        """Make an answer; where that cannot be, it is 500, and the log has the reason once."""
        try:
            return make()
        except Exception:  # noqa: BLE001 - a defect of ours: logged, and answered
            return self._defect(path)

    async def guarded_later(self, path: str, answer: Awaitable[Response]) -> Response:
        """Wait for an answer, as `guarded`."""
        try:
            return await answer
        except Exception:  # noqa: BLE001 - as above
            return self._defect(path)

    def _defect(self, path: str) -> Response:
        if not self._defect_logged:  # it may come on each request: one line is enough
            self._defect_logged = True
            _log.exception("status_page_failed", page=path[:20])
        return _json(500, {"error": "this page cannot be made; the log says why"})

    def _page(self, path: str, accept: str) -> Response:
        match path:
            case "/live":
                return _json(200, {"live": True})
            case "/ready":
                phase, reasons = self._readiness()
                ready = not reasons
                document = {"ready": ready, "phase": phase, "reasons": list(reasons)}
                return _json(200 if ready else 503, document)
            case "/metrics":
                openmetrics = prefers_openmetrics(accept)
                name = "openmetrics" if openmetrics else "metrics"
                return self._recent(name, lambda: self._exposed(openmetrics=openmetrics))
            case "/status":
                return self._recent("status", self._shown)
            case "/":
                return _json(200, {"see": ["/live", "/ready", "/metrics", "/status"]})
        return _json(
            404, {"error": "no such page", "see": ["/live", "/ready", "/metrics", "/status"]}
        )

    def _recent(self, name: str, make: Callable[[], Response]) -> Response:
        now = self._clock.monotonic()
        kept = self._kept.get(name)
        if kept is not None and now - kept[0] < PAGE_SECONDS:
            return kept[1]
        answer = make()
        self._kept[name] = (now, answer)
        return answer

    def _exposed(self, *, openmetrics: bool) -> Response:
        page, content_type = self._metrics.expose(openmetrics=openmetrics)
        return Response(200, content_type, page)

    def _shown(self) -> Response:
        return _json(200, self._status().as_json(), indent=2)

    def _readiness_of_status(self) -> tuple[str, Sequence[str]]:
        status = self._status()
        return status.phase, status.not_ready


def _json(status: int, document: Any, *, indent: int | None = None) -> Response:
    text = json.dumps(document, indent=indent, default=str)
    body = f"{text}\n" if indent else text
    return Response(status, "application/json; charset=utf-8", body.encode())
