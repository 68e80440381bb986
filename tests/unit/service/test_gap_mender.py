import asyncio
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from connector.errors import FeedUnreachableError, RestError, RestTokenError, TokenMissingError
from connector.kite.clock import IST
from connector.kite.feed.wait import cancelled
from connector.kite.wire.candles import MINUTE_MS, Gap
from connector.service import gap_mender
from connector.service.gap_mender import MAX_NAMED, GapCounts, GapMender, Lack
from connector.settings.topics import BackfillSettings
from connector.testing import FakeClock

OPEN_MS = round(datetime(2026, 1, 30, 10, 50, tzinfo=IST).timestamp() * 1000)
FIRST = OPEN_MS // MINUTE_MS
GAP = Gap(4, 77, OPEN_MS + 20_000, OPEN_MS + 2 * MINUTE_MS + 5_000, "gap")  # three minutes
INFY, TCS, NIFTY_50, CRUDE = 408065, 2953217, 256265, (238_000 << 8) + 7
AWAY = FeedUnreachableError("http://x", "refused")
BUSY = RestError(429, "NetworkException", "Too many requests")
PAGE = RestError(403, "GeneralException", "Blocked", foreign=True)
EXPIRED = RestTokenError(403, "TokenException", "Incorrect api_key")
NO_RIGHT = RestError(403, "PermissionException", "Insufficient permission for that call.")
UNKNOWN = RestError(400, "InputException", "invalid token")
HALF = RestError(200, "DataException", "the answer is not one of Kite's")


def rows(*minutes):
    return [
        [datetime.fromtimestamp(minute * 60, IST).isoformat(), 10, 12, 9, 11, minute, 5]
        for minute in minutes
    ]


ALL = rows(FIRST, FIRST + 1, FIRST + 2)


class Kite:
    """Kite's API: answers of each instrument in turn, the last one again and again."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.opened = self.closed = 0

    async def __aenter__(self):
        self.opened += 1
        return self

    async def close(self):
        self.closed += 1

    async def candles(self, token, first_minute, last_minute):
        self.asked.append((token, first_minute - FIRST, last_minute - FIRST))
        answers = self.answers.get(token, [ALL])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Kit:
    def __init__(self, answers=None, pauses=(0.1, 0.2), **settings):
        self.kite = Kite(answers or {})
        self.settled = 0
        self.may_write = True
        self.written, self.events, self.slept = [], [], []
        self.counts = GapCounts()
        self.mender = GapMender(
            BackfillSettings(**settings), lambda: self.kite,
            may_write=lambda: self.may_write, write=self.write, settled=self.settle,
            tell=self.events.append, counts=self.counts, clock=FakeClock(),
            pause_seconds=pauses, again_seconds=60.0, sleep=self.sleep,
        )  # fmt: skip

    def write(self, gap, token, candles):
        assert gap == GAP
        self.written += [(token, candle.minute - FIRST) for candle in candles]

    async def settle(self):
        self.settled += 1
        assert not self.events  # what is told of a gap is told behind its candles

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.may_write = True

    async def mend(self, *tokens, gap=GAP, **written):
        return await self.mender.mend(gap, tokens, written.get("written", {}))

    def told(self):
        return [(one.type.value, one.instruments, one.tokens) for one in self.events]


async def test_each_instrument_is_asked_for_its_minutes_once():
    kit = Kit()
    assert await kit.mend(INFY, NIFTY_50)
    assert kit.kite.asked == [(INFY, 0, 2), (NIFTY_50, 0, 2)]
    assert kit.written == [(token, minute) for token in (INFY, NIFTY_50) for minute in range(3)]
    (end,) = kit.events
    assert (end.type, end.slot, end.session_id, end.instruments) == ("gap_backfilled", 4, 77, 2)
    assert (end.gap_from_ms, end.gap_to_ms) == (GAP.from_ms, GAP.to_ms)
    assert (kit.counts.candles, kit.counts.gaps, kit.settled) == (6, 1, 1)
    assert kit.kite.opened == kit.kite.closed == 1


async def test_nothing_is_asked_nor_told_of_minutes_in_which_nothing_trades():
    kit = Kit()
    night = Gap(4, 77, OPEN_MS + 8 * 3_600_000, OPEN_MS + 9 * 3_600_000, "gap")
    assert await kit.mend(INFY, NIFTY_50, gap=night)
    assert (kit.kite.asked, kit.events) == ([], [])


async def test_an_exchange_that_trades_in_the_evening_has_candles_of_it():
    kit = Kit({CRUDE: [[]]})
    evening = Gap(4, 77, OPEN_MS + 8 * 3_600_000, OPEN_MS + 8 * 3_600_000, "gap")
    await kit.mend(INFY, CRUDE, gap=evening)
    assert {token for token, *_ in kit.kite.asked} == {CRUDE}


@pytest.mark.parametrize("error", [AWAY, BUSY, PAGE, EXPIRED, TokenMissingError(), HALF], ids=str)
async def test_what_is_for_a_time_is_tried_again_with_growing_pauses(error):
    kit = Kit({INFY: [error, error, ALL]})
    assert await kit.mend(INFY)
    assert kit.slept == [0.1, 0.2]
    assert len(kit.written) == 3
    assert kit.told() == [("gap_backfilled", 1, ())]
    assert kit.kite.opened == 3  # with the token of then


@pytest.mark.parametrize("error", [AWAY, BUSY, PAGE, EXPIRED, TokenMissingError(), HALF], ids=str)
async def test_what_lasts_too_long_ends_the_gap_and_says_how_many_have_no_candles(error):
    kit = Kit({TCS: [error]})
    assert await kit.mend(INFY, TCS, NIFTY_50)
    assert kit.told() == [
        ("gap_not_backfilled", 2, (TCS, NIFTY_50)),
        ("gap_backfilled", 1, ()),
    ]
    assert kit.counts.lacking == {Lack.UNAVAILABLE: 2}
    assert len([one for one in kit.kite.asked if one[0] == TCS]) == 3


async def test_an_instrument_that_kite_does_not_give_costs_no_other():
    kit = Kit({INFY: [UNKNOWN]})
    assert await kit.mend(INFY, TCS)
    assert kit.told() == [("gap_not_backfilled", 1, (INFY,)), ("gap_backfilled", 1, ())]
    assert "invalid token" in kit.events[0].reason
    assert kit.slept == []


async def test_without_the_right_the_gap_stays_open():
    kit = Kit({TCS: [NO_RIGHT]})
    assert not await kit.mend(INFY, TCS, NIFTY_50)
    assert kit.told() == [("gap_not_backfilled", 2, (TCS, NIFTY_50))]
    assert "topics.backfill" in kit.events[0].reason
    assert len(kit.kite.asked) == 2


async def test_an_answer_without_all_minutes_is_asked_for_once_more_and_then_written_as_it_is():
    kit = Kit({INFY: [rows(FIRST)], TCS: [[], ALL], NIFTY_50: [[]]})
    assert await kit.mend(INFY, TCS, NIFTY_50)
    assert kit.slept == [60.0]
    assert kit.written == [(INFY, 0), (TCS, 0), (TCS, 1), (TCS, 2)]
    assert kit.told() == [
        ("gap_not_backfilled", 1, (INFY,)),
        ("gap_not_backfilled", 1, (NIFTY_50,)),
        ("gap_backfilled", 2, ()),
    ]
    assert kit.counts.lacking == {Lack.SOME_MINUTES: 1, Lack.NO_CANDLES: 1}


@pytest.mark.parametrize(
    ("second", "third"), [(AWAY, AWAY), (UNKNOWN, ALL), ([], ALL)], ids=["away", "refused", "empty"]
)
async def test_an_answer_that_lacks_minutes_is_written_where_no_better_one_comes(second, third):
    kit = Kit({INFY: [rows(FIRST, FIRST + 1), second], TCS: [rows(FIRST), third]})
    assert await kit.mend(INFY, TCS)
    expected = [(INFY, 0), (INFY, 1), (TCS, 0)]
    assert kit.written == expected + ([(TCS, 1), (TCS, 2)] if third is ALL else [])
    assert kit.told()[-1] == ("gap_backfilled", 2, ())


async def test_so_is_one_where_kite_is_gone_before_all_were_asked_for():
    kit = Kit({INFY: [rows(FIRST + 1)], TCS: [AWAY]})
    assert await kit.mend(INFY, TCS, NIFTY_50)
    assert kit.written == [(INFY, 1)]
    assert kit.told() == [
        ("gap_not_backfilled", 3, (TCS, NIFTY_50, INFY)), ("gap_backfilled", 1, ()),
    ]  # fmt: skip


async def test_but_not_where_the_gap_stays_open():
    kit = Kit({INFY: [rows(FIRST + 1)], TCS: [NO_RIGHT]})
    assert not await kit.mend(INFY, TCS)
    assert kit.written == []


async def test_what_is_held_until_then_has_a_bound(monkeypatch):
    monkeypatch.setattr(gap_mender, "MAX_HELD", 1)
    kit = Kit({INFY: [rows(FIRST)], TCS: [rows(FIRST)], CRUDE: [AWAY]})
    assert await kit.mend(INFY, TCS, CRUDE)
    assert kit.written == [(INFY, 0)]


async def test_rows_that_are_none_are_counted():
    kit = Kit({INFY: [[*ALL, ["now", 1, 2, 3, 4, 5], None, *rows(FIRST + 3)]]})
    await kit.mend(INFY)
    assert kit.counts.rows_refused == 3
    assert len(kit.written) == 3


async def test_what_kafka_has_already_is_not_fetched_again():
    kit = Kit({TCS: [rows(FIRST + 1, FIRST + 2)]})
    await kit.mend(INFY, TCS, written={INFY: FIRST + 2, TCS: FIRST})
    assert kit.kite.asked == [(TCS, 1, 2)]
    assert kit.written == [(TCS, 1), (TCS, 2)]
    assert kit.told() == [("gap_backfilled", 2, ())]


async def test_nothing_is_asked_for_while_kafka_takes_nothing():
    kit = Kit()
    kit.may_write = False
    await kit.mend(INFY)
    assert len(kit.slept) == 1


async def test_instruments_and_minutes_beyond_the_bounds_are_left_out_and_told():
    kit = Kit({INFY: [rows(FIRST + 2)]}, max_instruments=1, max_minutes=1)
    assert await kit.mend(INFY, TCS, NIFTY_50)
    assert kit.kite.asked == [(INFY, 2, 2)]
    assert kit.told() == [
        ("gap_not_backfilled", 3, (TCS, NIFTY_50, INFY)),
        ("gap_backfilled", 1, ()),
    ]
    assert kit.events[0].reason.endswith("backfill.max_instruments is 1")


async def test_only_few_instruments_are_named():
    tokens = [(number << 8) + 1 for number in range(1, MAX_NAMED + 3)]
    kit = Kit({token: [UNKNOWN] for token in tokens})
    await kit.mend(*tokens)
    assert (kit.events[0].instruments, kit.events[0].tokens) == (MAX_NAMED + 2, ())


async def test_a_gap_that_is_left_out_is_told_and_ended():
    kit = Kit()
    kit.mender.leave_out(GAP, (INFY, TCS), "too many")
    assert kit.told() == [("gap_not_backfilled", 2, (INFY, TCS)), ("gap_backfilled", 0, ())]
    assert kit.counts.lacking == {Lack.LEFT_OUT: 2}


async def test_the_log_says_what_came_of_a_gap():
    kit = Kit({TCS: [[]]})
    with capture_logs() as lines:
        await kit.mend(INFY, TCS)
    (line,) = lines
    assert (line["event"], line["candles"], line["lacking"]) == (
        "gap_backfilled", 3, {"no_candles": 1},
    )  # fmt: skip


async def test_a_stop_lets_the_client_go():
    kit = Kit({INFY: [AWAY]})

    async def forever(_seconds):
        await asyncio.Event().wait()

    kit.mender._sleep = forever
    task = asyncio.create_task(kit.mend(INFY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancelled(task)
    assert kit.kite.opened == kit.kite.closed
