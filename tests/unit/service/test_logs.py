import io
import json
import logging

import pytest
import structlog

from connector.redaction import MASK
from connector.service import logs
from connector.service.logs import SecretMask, configure


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _restored():
    yield
    structlog.reset_defaults()


@pytest.fixture
def stream():
    return io.StringIO()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_words_of_others_do_not_steer_the_terminal(stream, log_format):
    configure(log_format=log_format, stream=stream)
    log = structlog.get_logger("kite")
    log.warning("rejected", id="\x1b]0;mine\x07", errors=["\x9b2J", {"a": "\u202e"}])
    logging.getLogger("other").error("%s", "\x1b[31m")
    log.error("failed", exc_info=ValueError("\x1b[2J"))
    written = stream.getvalue()
    assert not set(written) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "x1b]0;mine" in written


def test_json_where_no_terminal_is(stream):
    configure(stream=stream)
    structlog.get_logger("kite").info("connected", slot=1)
    (line,) = lines(stream)
    assert line["message"] == "connected"
    assert line["slot"] == 1
    assert line["level"] == "info"
    assert line["logger"] == "kite"
    assert line["time"].endswith("Z")


def test_readable_on_a_terminal():
    terminal = Terminal()
    configure(stream=terminal)
    structlog.get_logger().info("connected", slot=1)
    text = terminal.getvalue()
    assert "connected" in text
    assert not text.startswith("{")


def test_the_format_can_be_forced():
    terminal, plain = Terminal(), io.StringIO()
    configure(log_format="json", stream=terminal)
    structlog.get_logger().info("a")
    configure(log_format="console", stream=plain)
    structlog.get_logger().info("b")
    assert terminal.getvalue().startswith("{")
    assert "\x1b" not in plain.getvalue()
    assert "b" in plain.getvalue()


def test_lines_go_to_whatever_the_error_stream_is_by_then(monkeypatch):
    """A bar on a terminal puts a stream of its own there, which writes lines above it."""
    first, second = Terminal(), Terminal()
    monkeypatch.setattr("sys.stderr", first)
    configure()
    structlog.get_logger().info("one")
    monkeypatch.setattr("sys.stderr", second)
    structlog.get_logger().info("two")
    assert "one" in first.getvalue()
    assert "two" not in first.getvalue()
    assert "two" in second.getvalue()


def test_the_level(stream):
    configure("warning", stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("heard")
    assert [line["message"] for line in lines(stream)] == ["heard"]


def test_standard_loggers_come_along(stream):
    configure(stream=stream)
    logging.getLogger("websockets.client").warning("odd %s", "frame")
    logging.getLogger("websockets.client").info("connection open")
    logging.getLogger("watchfiles.main").info("1 change detected")
    # others may speak too: a thread of an earlier test, say
    heard = [
        line for line in lines(stream) if line["logger"] in ("websockets.client", "watchfiles.main")
    ]
    assert [line["message"] for line in heard] == ["odd frame"]


def test_an_exception_is_one_line(stream):
    configure(stream=stream)
    try:
        int("access_token=sesame&x=1")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stream)
    assert "ValueError" in line["exception"]
    assert "sesame" not in line["exception"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_gets_out(stream, log_format):
    mask = SecretMask(["hunter2hunter2"])
    configure(log_format=log_format, mask=mask, stream=stream)
    log = structlog.get_logger()
    log.info("said hunter2hunter2", where=["hunter2hunter2"], why={"x": "hunter2hunter2"})
    log.info("object", error=RuntimeError("hunter2hunter2"))
    log.info("url", url="wss://x/?api_key=abcdefgh&access_token=ijklmnop")
    log.info("header", headers="Authorization: token abcdefgh:ijklmnop")
    log.info("named", access_token="ijklmnop", password="abcdefgh")
    logging.getLogger("other").warning("hunter2hunter2 %s", "access_token=ijklmnop")
    text = stream.getvalue()
    assert text.count("***") >= 10
    for secret in ("hunter2", "abcdefgh", "ijklmnop"):
        assert secret not in text


def test_more_can_be_hidden_later(stream):
    mask = SecretMask()
    configure(mask=mask, stream=stream)
    mask.hide("todays-token")
    structlog.get_logger().info("todays-token")
    assert "todays" not in stream.getvalue()


def test_of_secrets_that_come_later_the_newest_are_hidden(monkeypatch):
    """A file that is replaced again and again must not take memory, or time of each line."""
    monkeypatch.setattr(logs, "MAX_LATER_SECRETS", 4)
    mask = SecretMask(["fixed-secret-0"])
    tokens = [f"{n}" * 5 for n in range(100, 109)]
    for token in tokens:
        mask.hide(token, source="flaps")
        mask.hide("token-of-the-other", source="quiet")
        assert mask.clean(f"{token} fixed-secret-0").split() == [MASK, MASK]
    assert mask.clean(tokens[0]) == tokens[0]
    assert mask.clean("token-of-the-other") == MASK
    assert [mask.clean(token) for token in tokens[-2:]] == [MASK, MASK]


def test_words_are_left_alone():
    mask = SecretMask(["k", ""])
    assert mask.clean("kite token expired") == "kite token expired"
    assert mask.clean(5) == 5
    assert mask.clean(None) is None
