"""The status server: the pages of `pages` for probes and Prometheus, `operator_page` for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from connector.errors import not_listening
from connector.kite.web.http_server import EventStream, HttpRequest, HttpServer, Response
from connector.service.operator_commands import PATH
from connector.service.operator_page import OperatorPage
from connector.service.pages import Pages, Readiness
from connector.service.status import ServiceStatus
from connector.settings.models import HttpSettings


class StatusServer(HttpServer):
    """Serves the status; an async context manager.

    Args:
        http: where to listen; port 0 takes any free one, see `url`.
        status: makes a snapshot of everything, once a second at most.
        readiness: makes that of readiness; out of `status` when not given.
        page: the page for operators; without one `/` names the other pages.
    """

    def __init__(
        self,
        http: HttpSettings,
        status: Callable[[], ServiceStatus],
        readiness: Readiness | None = None,
        page: OperatorPage | None = None,
    ) -> None:
        self.pages = Pages(status, readiness)
        self._page = page
        posts = (PATH,) if page is not None and page.takes_commands else ()
        super().__init__(http.host, http.port, self._answer_to, posts=posts)
        self._settings = http

    def _answer_to(self, request: HttpRequest) -> Response | EventStream | Awaitable[Response]:
        answer = self.pages.guarded(request.path, lambda: self._of_page(request))
        if isinstance(answer, Awaitable):
            return self.pages.guarded_later(request.path, answer)
        return answer or self.pages.answer(request.path, request.accept)

    def _of_page(self, request: HttpRequest) -> Response | EventStream | Awaitable[Response] | None:
        return self._page.answer(request) if self._page is not None else None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            PortInUseError: another program has the port.
            SettingsError: the host is not this machine's, or the port is not for everybody.
        """
        try:
            await super().start()
        except OSError as exc:
            http = self._settings
            raise not_listening(exc, "http.port", http.port, "http.host", http.host) from exc
