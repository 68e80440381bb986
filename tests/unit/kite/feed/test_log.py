import logging

import pytest
import structlog

from connector.kite.feed.log import NAME, edge_log


@pytest.fixture
def unconfigured(monkeypatch):
    monkeypatch.setattr(structlog, "is_configured", lambda: False)


def test_a_program_that_has_set_up_structlog_gets_it_there(capsys):
    with structlog.testing.capture_logs() as logs:
        edge_log(slot=1).info("connected", code=2)
    assert logs == [{"event": "connected", "slot": 1, "code": 2, "log_level": "info"}]


def test_any_other_gets_it_in_the_standard_librarys_log(unconfigured, caplog, capsys):
    with caplog.at_level(logging.INFO, NAME):
        edge_log(slot=1, account="main").warning("disconnected", reason="gone")
    assert caplog.record_tuples == [
        (NAME, logging.WARNING, "disconnected slot=1 account='main' reason='gone'")
    ]
    assert capsys.readouterr().out == ""


def test_levels_are_the_standard_librarys(unconfigured, caplog):
    with caplog.at_level(logging.WARNING, NAME):
        edge_log().info("connected")
    assert caplog.records == []


def test_a_traceback_is_kept(unconfigured, caplog):
    with caplog.at_level(logging.INFO, NAME):
        try:
            int("why")
        except ValueError:
            edge_log().exception("handler_failed", count=1)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("handler_failed count=1\nTraceback")
    assert "ValueError: invalid" in record.getMessage()
