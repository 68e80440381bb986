"""How far a command is, by the times of what it reads."""

import asyncio
import io

import pytest

from connector.cli.progress import TimeBar, show_backlog
from connector.service.backlog import Backlog

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


async def shown(monkeypatch, *looks):
    """What a terminal gets while there is this to be seen, look by look."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    waiting = list(looks)

    async def sleep(_seconds):
        if not waiting:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await show_backlog(lambda: waiting.pop(0), sleep=sleep)
    return terminal.getvalue()


def some(left, what="records out of the spool"):
    return Backlog(what, left)


async def test_long_work_has_a_bar_that_is_gone_when_it_is_done(monkeypatch):
    said = await shown(monkeypatch, None, some(2_000), some(1_500), some(500), None)
    assert "records out of the spool" in said
    assert "1,500 left" in said
    assert " 75%" in said
    # the line is empty again, and the cursor is shown
    assert said.endswith("\x1b[2K")
    assert said.count("\x1b[?25h") == said.count("\x1b[?25l") == 1


async def test_more_work_makes_the_bar_longer_and_other_work_has_another_one(monkeypatch):
    other = "records to Kafka before the end"
    said = await shown(monkeypatch, some(100), some(400), some(300), some(5, other), some(1, other))
    assert " 25%" in said
    assert other in said
    assert said.count("\x1b[?25h") == 2, "the cursor comes back also where it is cancelled"


async def test_what_is_done_by_the_second_look_has_no_bar(monkeypatch):
    assert await shown(monkeypatch, some(9), None, some(9), None) == ""
