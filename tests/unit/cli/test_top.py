import io

import pytest
from rich.console import Console

from connector.cli.top import Asked, line_of, status_url, view_of
from connector.errors import SettingsError
from tests.support.status import service_status


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8090", "http://127.0.0.1:8090/status"),
        ("http://pod-1:8090/", "http://pod-1:8090/status"),
        ("https://kite.example/replica/0", "https://kite.example/replica/0/status"),
        ("http://[::1]:8090/status", "http://[::1]:8090/status"),
    ],
)
def test_the_address_of_a_status(text, url):
    assert status_url(text) == url


@pytest.mark.parametrize("text", ["ftp://x", "http://", "http://x:99999", "", "http://[::1"])
def test_what_is_no_address(text):
    with pytest.raises(SettingsError, match="no address such as"):
        status_url(text)


def shown(found, width):
    out = io.StringIO()
    Console(file=out, width=width, height=40, force_terminal=False).print(view_of(found, 3.0))
    return out.getvalue()


def test_a_wide_terminal_says_what_is_wrong():
    found = [Asked("http://a/status", service_status())]
    assert "HTTP 403" in shown(found, 160)
    assert "HTTP 403" not in shown(found, 100)
    assert max(map(len, shown(found, 160).splitlines())) > 120


def test_replicas_are_shown_together_with_those_that_do_not_answer():
    found = [
        Asked("http://a/status", service_status(cluster={"leader": True})),
        Asked("http://b/status", service_status()),
        Asked("http://c/status", problem="Connection refused"),
    ]
    text = shown(found, 120)
    assert "0 leader" in text
    assert "http://c/status: Connection refused" in text
    assert "208" in text, "the accounting of both"


def test_a_line_for_what_is_no_terminal():
    assert line_of([Asked("http://c/status", problem="HTTP 404")]) == "http://c/status: HTTP 404"
    line = line_of([Asked("http://a/status", service_status())])
    assert line.startswith("1 of 1 ready, 1 of 2 connected, 12 ticks/s, received 104 =")


def test_nobody_answers():
    text = shown([Asked("http://c/status", problem="HTTP 404")], 100)
    assert "nobody answers" in text
    assert "HTTP 404" in text
