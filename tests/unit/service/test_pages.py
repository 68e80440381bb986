import json

import pytest
import structlog
from structlog.testing import capture_logs

from connector.kite.web.http_server import Response
from connector.service.pages import PAGE_SECONDS, Pages
from connector.testing import FakeClock
from tests.support.status import service_status


class Counted:
    """A source of snapshots that counts how often it is asked."""

    def __init__(self, **changes):
        self.asked = 0
        self.changes = changes

    def __call__(self):
        self.asked += 1
        return service_status(**self.changes)


@pytest.fixture
def clock():
    return FakeClock()


def test_costly_pages_are_made_once_a_second(clock):
    status = Counted()
    pages = Pages(status, lambda: ("running", []), clock=clock)
    first = pages.answer("/status")
    for _ in range(100):
        assert pages.answer("/status") is first
        pages.answer("/metrics")
        pages.answer("/metrics", "application/openmetrics-text;version=1.0.0")
    assert status.asked == 3
    clock.now += PAGE_SECONDS
    pages.answer("/status")
    assert status.asked == 4


def test_probes_take_no_snapshot_and_see_readiness_as_it_is(clock):
    status, reasons = Counted(), ["slot 0 is connecting"]
    pages = Pages(status, lambda: ("running", reasons), clock=clock)
    assert pages.answer("/live").status == 200
    assert pages.answer("/ready").status == 503
    reasons.clear()
    assert pages.answer("/ready").status == 200
    assert status.asked == 0


@pytest.mark.parametrize(
    "accept",
    [
        "", "*/*", "text/html;q=nan", "application/openmetrics-text;q=nan",
        "application/openmetrics-text; version=nan", "text/plain; version=1e999",
        "application/openmetrics-text; version=1.0.0; escaping=\r\nX: 1",
        "application/openmetrics-text; version=" + "9" * 5000, ",,;;==", "\x00\xff",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3",
    ],
)  # fmt: skip
def test_any_accept_header_gets_a_format_that_is_known(accept):
    answer = Pages(service_status).answer("/metrics", accept)
    assert answer.status == 200
    kind = "application/openmetrics-text" if "openmetrics" in accept else "text/plain"
    assert answer.content_type.startswith(kind)
    assert answer.content_type.isprintable()
    assert answer.content_type.isascii()


def test_a_defect_is_an_answer_and_one_line_of_the_log():
    def broken():
        raise RuntimeError("a defect")

    pages = Pages(broken)
    with structlog.testing.capture_logs() as lines:
        for path in ("/status", "/metrics", "/ready") * 3:
            assert pages.answer(path).status == 500
        assert pages.answer("/live").status == 200
    assert [line["event"] for line in lines] == ["status_page_failed"]


def test_unknown_pages_name_the_known():
    answer = Pages(service_status).answer("/other")
    assert answer.status == 404
    assert json.loads(answer.body)["see"] == ["/live", "/ready", "/metrics", "/status"]


async def test_an_answer_that_fails_later_is_500_and_one_line():
    async def fails():
        raise ZeroDivisionError

    async def works():
        return Response(200, "text/plain", b"x")

    pages = Pages(service_status)
    with capture_logs() as logs:
        answers = [await pages.guarded_later("/page/command", fails()) for _ in range(3)]
    assert [answer.status for answer in answers] == [500] * 3
    assert [line["event"] for line in logs] == ["status_page_failed"]
    assert (await pages.guarded_later("/page/command", works())).status == 200
