"""Fetches the candles of one gap, instrument by instrument, and says what could not be had.

Every answer is asked for within bounds: what fails for a time with growing pauses, what is empty or
lacks minutes once more at the end. Nothing is asked for while Kafka takes nothing, so that candles
never take room from ticks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import structlog

from connector.errors import ConnectorError, RestError, RestTokenError, reason_of
from connector.kite import market_hours
from connector.kite.clock import Clock
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.web.rest import KiteRest
from connector.kite.wire.candles import Candle, Gap, parse_candles
from connector.kite.wire.models import Exchange
from connector.service.gaps import minutes_of
from connector.settings.topics import BackfillSettings

_log = structlog.get_logger("connector.service.backfill")

PAUSE_SECONDS: Final = (5.0, 30.0, 120.0, 300.0)
"""Tries that failed for a time are so far apart; after the last one the gap is given up."""
AGAIN_SECONDS: Final = 60.0
"""Instruments whose answers lack minutes are asked for once more, so long after the others."""
POLL_SECONDS: Final = 1.0
MAX_NAMED: Final = 100
"""So many instruments that have no candles are named in an event."""
MAX_HELD: Final = 100_000
"""So many candles of answers that lack minutes are held until these are asked for once more: some
300 bytes each."""
CHUNK: Final = 100
"""So many candles are encoded in one turn of the event loop."""


class Lack(StrEnum):
    """Why candles could not be had.

    Attributes:
        NO_RIGHT: the app has no right to historical data.
        UNAVAILABLE: Kite did not answer, or with errors, until the gap was given up.
        REFUSED: Kite refuses to give the candles of this instrument.
        NO_CANDLES: the answer is empty: nothing was traded, or Kite has none.
        SOME_MINUTES: the answer has some of the minutes; the others as above.
        LEFT_OUT: a gap has more, or there are more gaps, than the settings let be fetched.
    """

    NO_RIGHT = "no_right"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    NO_CANDLES = "no_candles"
    SOME_MINUTES = "some_minutes"
    LEFT_OUT = "left_out"


_WORDS: Final = {
    Lack.NO_RIGHT: "this app may not fetch historical data: give it the right, or set "
    "topics.backfill to false; nothing more is fetched until a restart",
    Lack.NO_CANDLES: "no candles: nothing was traded, or Kite has none",
    Lack.SOME_MINUTES: "not every minute has a candle: nothing was traded, or Kite has none",
}


class _Failure(NamedTuple):
    lack: Lack
    reason: str


_Answer = list[Candle] | _Failure


class GapCounts:
    """What became of all gaps so far."""

    def __init__(self) -> None:
        self.gaps = 0
        """How many were ended."""
        self.candles = 0
        """How many were written."""
        self.rows_refused = 0
        """How many rows of answers were none."""
        self.lacking: Counter[Lack] = Counter()
        """How many instruments of gaps lack candles, by why."""


class GapMender:
    """Mends the gaps of one account, one at a time.

    Args:
        settings: how much of a gap is fetched.
        open_rest: makes a client of Kite's REST API with the token as it is now; to be entered.
        may_write: whether Kafka takes records at the moment.
        write: writes some candles of an instrument.
        settled: waits until Kafka has whatever was written so far.
        tell: writes an event.
        counts: of all accounts.
        clock: for the events' times.
        pause_seconds: see `PAUSE_SECONDS`.
        again_seconds: see `AGAIN_SECONDS`.
        poll_seconds: between two looks whether Kafka takes records.
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        settings: BackfillSettings,
        open_rest: Callable[[], KiteRest],
        *,
        may_write: Callable[[], bool],
        write: Callable[[Gap, int, Sequence[Candle]], None],
        settled: Callable[[], Awaitable[None]],
        tell: Callable[[ConnectionEvent], None],
        counts: GapCounts,
        clock: Clock,
        pause_seconds: Sequence[float] = PAUSE_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._open_rest = open_rest
        # open while a gap is being fetched; closed after a failure too, as the next one has a newer
        # token
        self._rest: KiteRest | None = None
        self._may_write = may_write
        self._write = write
        self._settled = settled
        self._tell = tell
        self._counts = counts
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._again_seconds = again_seconds
        self._poll_seconds = poll_seconds
        self._sleep = sleep

    async def mend(self, gap: Gap, tokens: Sequence[int], written: Mapping[int, int]) -> bool:
        """Fetch and write the candles of a gap, and tell what came of it.

        Args:
            gap: which has ended.
            tokens: the instruments of its slot.
            written: token → the last minute that Kafka has of it already, for this gap.

        Returns:
            False where the app has no right to candles: the gap is not ended then.
        """
        found = _Outcome(gap)
        plan = self._plan(found, tokens)
        if not plan and not found.lacking:
            return True  # nothing is traded then
        try:
            await self._fetch_all(found, plan, written)
        finally:
            await self._close()
        # the event is to stand behind the candles: whoever reads it finds them all
        await self._settled()
        for lack, (reason, lacking) in found.lacking.items():
            self._counts.lacking[lack] += len(lacking)
            self.tell_lack(gap, reason, lacking)
        _log.info(
            "gap_backfilled",
            slot=gap.slot,
            instruments=len(found.had),
            candles=found.candles,
            lacking={lack.value: len(tokens) for lack, (_, tokens) in found.lacking.items()},
        )
        if Lack.NO_RIGHT in found.lacking:
            return False
        self.tell_end(gap, len(found.had))
        return True

    def leave_out(self, gap: Gap, tokens: Sequence[int], reason: str) -> None:
        """Tell that nothing of a gap is fetched; it ends so."""
        self._counts.lacking[Lack.LEFT_OUT] += len(tokens)
        self.tell_lack(gap, reason, tokens)
        self.tell_end(gap, 0)

    def tell_lack(self, gap: Gap, reason: str, tokens: Sequence[int]) -> None:
        """Write what of a gap could not be had, and why."""
        named = tuple(tokens) if len(tokens) <= MAX_NAMED else ()
        self._tell_of(gap, EventType.GAP_NOT_BACKFILLED, len(tokens), reason, named)

    def tell_end(self, gap: Gap, instruments: int) -> None:
        """Write that nothing more becomes of a gap."""
        self._counts.gaps += 1
        self._tell_of(gap, EventType.GAP_BACKFILLED, instruments)

    def _tell_of(
        self, gap: Gap, kind: EventType, instruments: int, reason: str = "",
        tokens: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        self._tell(
            ConnectionEvent(
                kind, gap.slot, self._clock.time_us() // 1000, gap.session_id,
                reason=reason, gap_from_ms=gap.from_ms, gap_to_ms=gap.to_ms,
                instruments=instruments, tokens=tokens,
            )
        )  # fmt: skip

    def _plan(self, found: _Outcome, tokens: Sequence[int]) -> dict[int, list[int]]:
        """Return the minutes of each instrument that are to be fetched, within the bounds."""
        most, most_minutes = self._settings.max_instruments, self._settings.max_minutes
        by_exchange = {
            exchange: minutes_of(found.gap, exchange, market_hours.in_use())
            for exchange in set(map(Exchange.of, tokens))
        }
        minutes = {token: by_exchange[Exchange.of(token)] for token in tokens}
        traded = [token for token in tokens if minutes[token]]
        if beyond := traded[most:]:
            reason = f"the gap has {len(traded)} instruments: backfill.max_instruments is {most}"
            found.lack(Lack.LEFT_OUT, reason, beyond)
        if cut := [token for token in traded[:most] if len(minutes[token]) > most_minutes]:
            reason = f"minutes of trading before the last {most_minutes}: backfill.max_minutes"
            found.lack(Lack.LEFT_OUT, reason, cut)
        return {token: minutes[token][-most_minutes:] for token in traded[:most]}

    async def _fetch_all(
        self, found: _Outcome, plan: Mapping[int, list[int]], written: Mapping[int, int]
    ) -> None:
        """Ask for each instrument, and once more for those whose answers lack minutes."""
        todo = list(plan)
        # answers that lack minutes, in case that no better ones come
        held: dict[int, list[Candle]] = {}
        room = MAX_HELD
        for is_last in (False, True):
            if is_last and todo:
                await self._sleep(self._again_seconds)
            incomplete: list[int] = []
            for number, token in enumerate(todo):
                # what a leader before has written of an instrument are its first minutes, as below
                minutes = [one for one in plan[token] if one > written.get(token, -1)]
                if not minutes:
                    found.had.add(token)
                    continue
                answer = await self._ask(token, minutes)
                if isinstance(answer, _Failure):
                    refused = answer.lack is Lack.REFUSED  # only that is about this one alone
                    # what stands against this one stands against all that follow
                    lacking = [token] if refused else [*todo[number:], *incomplete]
                    found.lack(answer.lack, answer.reason, lacking)
                    if answer.lack is not Lack.NO_RIGHT:  # then the gap is mended later, whole
                        for one in lacking:
                            await self._keep(found, one, held.get(one, []))
                    if not refused:
                        return
                elif len(answer) < len(minutes) and not is_last:
                    # not written yet: what Kafka has of an instrument is always its first minutes
                    incomplete.append(token)
                    if len(answer) <= room:
                        held[token], room = answer, room - len(answer)
                else:
                    answer = max(answer, held.get(token, []), key=len)
                    await self._keep(found, token, answer)
                    if len(answer) < len(minutes):
                        lack = Lack.SOME_MINUTES if answer else Lack.NO_CANDLES
                        found.lack(lack, _WORDS[lack], [token])
            todo = incomplete

    async def _keep(self, found: _Outcome, token: int, candles: list[Candle]) -> None:
        for first in range(0, len(candles), CHUNK):
            part = candles[first : first + CHUNK]
            self._write(found.gap, token, part)
            self._counts.candles += len(part)
            await asyncio.sleep(0)
        found.candles += len(candles)
        if candles:
            found.had.add(token)

    async def _ask(self, token: int, minutes: list[int]) -> _Answer:
        """Fetch the candles of one instrument, within bounds."""
        asked = set(minutes)
        # None is the last try, behind which no pause comes
        for pause_seconds in (*self._pause_seconds, None):
            while not self._may_write():
                await self._sleep(self._poll_seconds)
            try:
                rows = await self._rows(token, minutes[0], minutes[-1])
            except ConnectorError as error:
                await self._close()
                failure = _failure(error)
                if failure.lack is not Lack.UNAVAILABLE or pause_seconds is None:
                    return failure
                _log.info("candles_not_fetched_yet", token=token, reason=failure.reason)
                await self._sleep(pause_seconds)
            else:
                candles, refused = parse_candles(rows, asked)
                self._counts.rows_refused += refused
                return candles
        raise AssertionError  # the last pause is None

    async def _rows(self, token: int, first_minute: int, last_minute: int) -> list[object]:
        if self._rest is None:
            self._rest = await self._open_rest().__aenter__()
        return await self._rest.candles(token, first_minute, last_minute)

    async def _close(self) -> None:
        """Let the client go: the next one has the token of then."""
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.close()


class _Outcome:
    """What was had of a gap so far, and what was not."""

    def __init__(self, gap: Gap) -> None:
        self.gap = gap
        self.candles = 0
        self.had: set[int] = set()
        self.lacking: dict[Lack, tuple[str, list[int]]] = {}

    def lack(self, lack: Lack, reason: str, tokens: Sequence[int]) -> None:
        """Note instruments that lack candles; of one kind the first reason counts."""
        self.lacking.setdefault(lack, (reason, []))[1].extend(tokens)


def _failure(error: ConnectorError) -> _Failure:
    """Say what an error means for the instrument that was asked for, and for all others."""
    reason = reason_of(error)
    # an access_token that has ended is followed by another one, and what is no answer of Kite's,
    # whatever its status, by one that is
    if isinstance(error, RestError) and not isinstance(error, RestTokenError):
        if error.status == 403 and not error.temporary:
            return _Failure(Lack.NO_RIGHT, f"{reason}: {_WORDS[Lack.NO_RIGHT]}")
        if 400 <= error.status < 500 and not error.temporary:
            return _Failure(Lack.REFUSED, reason)
    return _Failure(Lack.UNAVAILABLE, reason)
