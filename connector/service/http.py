"""The status server: the pages of `pages` for probes, Prometheus and people."""

from __future__ import annotations

import errno
from collections.abc import Callable

from connector.errors import PortInUseError, SettingProblem, SettingsError
from connector.kite.web.http_server import HttpServer
from connector.service.pages import Pages, Readiness
from connector.service.status import ServiceStatus
from connector.settings.models import HttpSettings


class StatusServer(HttpServer):
    """Serves the status; an async context manager.

    Args:
        http: where to listen; port 0 takes any free one, see `url`.
        status: makes a snapshot of everything, once a second at most.
        readiness: makes that of readiness; out of `status` when not given.
    """

    def __init__(
        self,
        http: HttpSettings,
        status: Callable[[], ServiceStatus],
        readiness: Readiness | None = None,
    ) -> None:
        self.pages = Pages(status, readiness)
        super().__init__(
            http.host,
            http.port,
            lambda request: self.pages.answer(request.path, request.accept),
        )
        self._settings = http

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            PortInUseError: another program has the port.
            SettingsError: the host is not this machine's, or the port is not for everybody.
        """
        try:
            await super().start()
        except OSError as exc:
            host, port = self._settings.host, self._settings.port
            if exc.errno == errno.EADDRINUSE:
                raise PortInUseError("http.port", host, port) from exc
            where = "http.port" if exc.errno == errno.EACCES else "http.host"
            raise SettingsError(
                [SettingProblem(where, f"cannot listen on {host}: {exc.strerror}")]
            ) from exc
