"""Whether the topics are still as they have to be: somebody may change one while this runs.

What a start refuses, or leaves with a warning, is looked at again at a low rate, by the leader
alone. It changes nothing: a setting that somebody made by hand is theirs to take back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from connector.errors import reason_of
from connector.kafka.topics import TopicsReport
from connector.kite.feed.events import EventType
from connector.service.status import TopicsStatus

_log = structlog.get_logger("connector.service")

CHECK_SECONDS: Final = 300.0
"""So often all topics are looked at, and at each turn while one is missing: two requests."""
TURN_SECONDS: Final = 5.0
"""So soon a new leader looks."""
MAX_TOLD: Final = 20
"""So many lines of a look are events; /status has all of them."""


class TopicChecks:
    """Looks at the topics while this process leads.

    Args:
        look: looks at all of them, and changes nothing.
        leads: whether this process is the one that looks.
        tell: writes an event.
        check_seconds: between two looks.
        monotonic: seconds.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[TopicsReport]],
        leads: Callable[[], bool],
        tell: Callable[[EventType, str], None],
        *,
        check_seconds: float = CHECK_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._leads = leads
        self._tell = tell
        self._check_seconds = check_seconds
        self._monotonic = monotonic
        self._due = 0.0
        self._report: TopicsReport | None = None
        self._problem: str | None = None

    @property
    def missing(self) -> list[str]:
        """The topics that did not exist at the last look."""
        return [] if self._report is None else self._report.missing

    @property
    def faults(self) -> list[str]:
        """Why topics lose what is kept there, or take nothing, as of the last look."""
        return [] if self._report is None else self._report.faults

    def status(self) -> TopicsStatus | None:
        """Describe the last look; None where this process does not lead."""
        if self._report is None:
            return None
        return TopicsStatus(
            faults=tuple(self._report.faults),
            losses=tuple(self._report.losses),
            differences=tuple(self._report.differences),
            unreadable=dict(self._report.unreadable),
            problem=self._problem,
        )

    async def run(self) -> None:
        """Look for as long as this runs."""
        while True:
            await asyncio.sleep(min(TURN_SECONDS, self._check_seconds))
            await self.turn()

    async def turn(self) -> None:
        """Look where that is due; forget all where another process leads."""
        if not self._leads():
            self._report, self._due = None, 0.0
            return
        if self._monotonic() < self._due:
            return
        try:
            report = await self._look()
        except Exception as exc:  # noqa: BLE001 - whatever it was: streaming goes on, and so does this
            reason = reason_of(exc)
            if reason != self._problem:
                _log.warning("topics_not_checked", reason=reason)
            self._problem = reason
        else:
            self._problem = None
            before, self._report = self._report or TopicsReport(), report
            self._compare(before, report)
        # what is missing is made again within seconds, and `/ready` goes by this look
        self._due = self._monotonic() + (0.0 if self.missing else self._check_seconds)

    def _compare(self, before: TopicsReport, now: TopicsReport) -> None:
        """Log what is new, and what is over; what breaks a promise is an event too."""
        for topic in now.unreadable.keys() - before.unreadable.keys():
            reason = now.unreadable[topic]
            _log.warning("topic_configuration_unreadable", topic=topic, reason=reason)
        was = {*before.faults, *before.losses}
        broken = [one for one in (*now.faults, *now.losses) if one not in was]
        for line in broken:
            _log.error("topic_misconfigured", reason=line)
        for line in broken[:MAX_TOLD]:
            self._tell(EventType.TOPIC_MISCONFIGURED, line)
        for line in now.differences:
            if line not in before.differences:
                _log.warning("topic_differs_from_settings", difference=line)
        over = was.difference(now.faults, now.losses)
        if over:
            _log.info("topics_configured_again", count=len(over), first=min(over))
