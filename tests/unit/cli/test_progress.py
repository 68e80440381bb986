"""How far a command is, by the times of what it reads."""

import io

import pytest

from connector.cli.progress import TimeBar

TIMES = [1_000 + number for number in range(1_001)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def follow():
    with TimeBar(2_001) as bar:
        return list(bar.follow(TIMES, lambda one: one))


def test_a_terminal_has_a_bar_that_is_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert follow() == TIMES
    said = terminal.getvalue()
    assert "1,000 ticks" in said
    assert "100%" in said
    assert said.endswith("\x1b[2K")


def test_what_is_no_terminal_has_nothing(monkeypatch):
    monkeypatch.setattr("sys.stderr", pipe := io.StringIO())
    assert follow() == TIMES
    assert pipe.getvalue() == ""


@pytest.mark.parametrize("times", [[], [5_000]])
def test_a_range_without_a_length_has_a_bar_too(monkeypatch, times):
    monkeypatch.setattr("sys.stderr", Terminal())
    with TimeBar(5_000) as bar:
        assert list(bar.follow(times, lambda one: one)) == times
