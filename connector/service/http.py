"""Health, metrics and status over HTTP.

    /live     200 as long as the event loop runs: a reason to restart the process when it does not
    /ready    200 when everything flows; 503 with the reasons when not
    /metrics  for Prometheus
    /status   everything, for people: JSON

A service that waits for the day's token is alive and not ready: restarting it would not help.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from connector.errors import PortInUseError, SettingProblem, SettingsError
from connector.service.metrics import Metrics
from connector.service.status import ServiceStatus
from connector.settings.models import HttpSettings


class StatusServer:
    """Serves the status; an async context manager.

    Args:
        http: where to listen; port 0 takes any free one, see `port`.
        status: makes a snapshot; called at each request.
    """

    def __init__(self, http: HttpSettings, status: Callable[[], ServiceStatus]) -> None:
        self._http = http
        self._status = status
        self._metrics = Metrics(status)
        self._runner: web.AppRunner | None = None
        self._port = http.port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            PortInUseError: another program has the port.
            SettingsError: the host is not this machine's, or the port is not for everybody.
        """
        app = web.Application()
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/status", self._show_status)
        app.router.add_get("/", self._index)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, self._http.host, self._http.port)
        try:
            await site.start()
        except OSError as exc:
            await runner.cleanup()
            if exc.errno == errno.EADDRINUSE:
                raise PortInUseError("http.port", self._http.host, self._http.port) from exc
            where = "http.port" if exc.errno == errno.EACCES else "http.host"
            raise SettingsError(
                [SettingProblem(where, f"cannot listen on {self._http.host}: {exc.strerror}")]
            ) from exc
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening; requests under way get a second."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Where to ask, without a path."""
        host = self._http.host
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            host = "127.0.0.1"
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        status = self._status()
        return web.json_response(
            {"ready": status.ready, "phase": status.phase, "reasons": list(status.not_ready)},
            status=200 if status.ready else 503,
        )

    async def _show_metrics(self, request: web.Request) -> web.Response:
        page, content_type = self._metrics.expose(request.headers.get("Accept", ""))
        return web.Response(body=page, headers={"Content-Type": content_type})

    async def _show_status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._status().as_json(), dumps=_indented)

    async def _index(self, _request: web.Request) -> web.Response:
        return web.json_response({"see": ["/live", "/ready", "/metrics", "/status"]})


def _indented(document: Any) -> str:
    return json.dumps(document, indent=2, default=str) + "\n"
