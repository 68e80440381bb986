import asyncio
import contextlib
from datetime import UTC, datetime
from types import SimpleNamespace

from structlog.testing import capture_logs

from connector.errors import BrokerUnreachableError
from connector.kite.feed.wait import cancelled
from connector.kite.wire.candles import MINUTE_MS, Gap
from connector.service.backfill import Backfill
from connector.service.gap_mender import GapCounts, Lack
from connector.settings.topics import BackfillSettings
from connector.testing import FakeClock, until

NOW_US = 1_767_596_400_000_000  # Monday 2026-01-05, 12:30 in India
NOW_MS = NOW_US // 1000
SLOTS = {0: [11, 12], 1: [13], 3: [14]}


def at(ms):
    return datetime.fromtimestamp(ms / 1000, UTC)


def gap(minutes_ago, slot=0, kind="gap", length=1):
    begins = NOW_MS - minutes_ago * MINUTE_MS
    return {
        "type": kind, "slot": slot, "session_id": 5, "time": at(begins),
        "gap_from": at(begins), "gap_to": at(begins + length * MINUTE_MS),
    }  # fmt: skip


def as_gap(event):
    begins, ends = (round(event[name].timestamp() * 1000) for name in ("gap_from", "gap_to"))
    return Gap(event["slot"], event["session_id"], begins, ends, event["type"])


class Mender:
    """Ends each gap at once, or waits until the test lets it."""

    def __init__(self):
        self.mended = []
        self.left_out = []
        self.free = asyncio.Event()
        self.free.set()
        self.right = True
        self.failure = None

    async def mend(self, found, tokens, written):
        self.mended.append((found, tokens, dict(written)))
        await self.free.wait()
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return self.right

    def leave_out(self, found, tokens, reason):
        self.left_out.append((found.slot, tuple(tokens), reason))


class Kit:
    """`kite.events` and `kite.backfill.1m` as lists; events of the present come over a queue."""

    def __init__(self, *history, candles=(), **settings):
        self.history, self.candles = list(history), candles
        self.present = asyncio.Queue()
        self.leads, self.known = True, True
        self.since = []
        self.clock = FakeClock(NOW_US)
        self.counts = GapCounts()
        self.first, self.second = Mender(), Mender()
        self.backfill = Backfill(
            BackfillSettings(**{"settle_seconds": 0, **settings}),
            [((0, 1, 2), self.first), ((3, 4, 5), self.second)],
            read_events=self.read_events, read_candles=self.read_candles,
            carried=lambda slot: SLOTS.get(slot, ()) if self.known else None,
            leads=lambda: self.leads, counts=self.counts, clock=self.clock,
            poll_seconds=0.001, retry_seconds=0.001,
        )  # fmt: skip

    async def read_events(self, since_ms, caught_up):
        self.since.append(since_ms)
        for one in list(self.history):
            yield SimpleNamespace(value=one)
        yield SimpleNamespace(value=b"of another program")
        caught_up()
        while True:
            one = await self.present.get()
            if isinstance(one, Exception):
                raise one
            yield SimpleNamespace(value=one)

    async def read_candles(self, since_ms):
        self.candles_since_ms = since_ms
        for one in self.candles:
            yield SimpleNamespace(value=one)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.backfill.run())
        try:
            yield self
        finally:
            await cancelled(task)


async def test_a_gap_is_mended_with_the_instruments_of_its_slot_by_its_account():
    async with Kit().running() as kit:
        for event in (gap(9, 0), gap(9, 3)):
            kit.present.put_nowait(event)
        await until(lambda: kit.first.mended and kit.second.mended)
        assert kit.first.mended == [(as_gap(gap(9, 0)), (11, 12), {})]
        assert kit.second.mended == [(as_gap(gap(9, 3)), (14,), {})]
        await until(lambda: kit.backfill.status().gaps_waiting == 0)


async def test_a_new_leader_mends_a_gap_of_the_instruments_that_the_slot_had_then():
    infy, tcs = 408065, 2953217
    async with Kit({**gap(20), "tokens": [tcs, infy]}).running() as kit:
        await until(lambda: kit.first.mended)
        assert kit.first.mended == [(as_gap(gap(20)), (tcs, infy), {})]


async def test_a_gap_waits_until_its_last_minute_has_ended_and_settled():
    async with Kit(gap(1), settle_seconds=90).running() as kit:
        await until(lambda: kit.backfill.status().gaps_waiting == 1)
        # it ends now, and its last minute with it
        kit.clock.step(89)
        await asyncio.sleep(0.02)
        assert not kit.first.mended
        kit.clock.step(1)
        await until(lambda: kit.first.mended)


async def test_a_gap_that_fails_unforeseen_is_left_out_and_told_and_the_next_one_is_mended():
    kit = Kit(gap(30), gap(20))
    kit.first.failure = ZeroDivisionError("of a candle")
    async with kit.running():
        await until(lambda: len(kit.first.mended) == 2)
        assert [found for found, *_ in kit.first.mended] == [as_gap(gap(30)), as_gap(gap(20))]
        ((slot, tokens, reason),) = kit.first.left_out
        assert (slot, tokens) == (0, (11, 12))
        assert "of a candle" in reason
        await until(lambda: kit.backfill.status().gaps_waiting == 0)
    assert len(kit.since) == 1  # nothing began anew


async def test_events_of_another_program_are_passed_over():
    wrong = [
        {"tokens": ["a", -1, 2**40 + 1, None]}, {"tokens": 5}, {"session_id": [1]},
        {"slot": "0"}, {"gap_from": at(0).replace(tzinfo=None)}, {"gap_to": 7},
        {"type": ["gap"]},
    ]  # fmt: skip
    kit = Kit(*({**gap(90 - 3 * n), **one} for n, one in enumerate(wrong)), gap(9, 3))
    async with kit.running():
        await until(lambda: kit.second.mended)
        assert len(kit.since) == 1
        # of those with odd tokens alone the time can be read: their slot's instruments count
        assert [tokens for _, tokens, _ in kit.first.mended] == [(11, 12)] * 2


async def test_what_was_ended_before_is_not_begun_again():
    kit = Kit(gap(30), gap(20), gap(30, kind="gap_backfilled"))
    async with kit.running():
        await until(lambda: kit.first.mended)
        assert [found for found, *_ in kit.first.mended] == [as_gap(gap(20))]
    # from the beginning of Friday on: over the weekend nobody may have led
    assert kit.since == [1_767_292_200_000]


async def test_what_was_missed_while_the_market_was_closed_takes_no_place():
    # whole market rolled in the night, thrice
    night = [gap(13 * 60 + 10 * turn, slot) for turn in range(3) for slot in range(3)]
    kit = Kit(*night, gap(20), max_gaps=2)
    async with kit.running():
        await until(lambda: kit.first.mended)
        assert [found for found, *_ in kit.first.mended] == [as_gap(gap(20))]
        assert not kit.first.left_out


async def test_a_new_leader_goes_on_behind_what_kafka_has_of_a_gap():
    open_gap, other = gap(20, length=3), gap(50)
    first = as_gap(open_gap).first_minute

    def candle(token, minute, of=open_gap):
        return {
            "instrument_token": token, "event_time": at(minute * MINUTE_MS), "slot": of["slot"],
            "session_id": of["session_id"], "gap_from": of["gap_from"], "gap_to": of["gap_to"],
            "cause": of["type"],
        }  # fmt: skip

    candles = [candle(11, first), candle(11, first + 1), candle(12, first, other), b"no candle", {}]
    async with Kit(open_gap, candles=candles).running() as kit:
        await until(lambda: kit.first.mended)
        ((found, tokens, written),) = kit.first.mended
        assert (found, tokens, written) == (as_gap(open_gap), (11, 12), {11: first + 1})
        assert kit.candles_since_ms == as_gap(open_gap).to_ms


async def test_a_part_that_a_leader_before_mended_by_itself_counts_as_written():
    begun, later = gap(20, length=2), gap(18, length=2)
    first = as_gap(begun).first_minute
    candle = {
        "instrument_token": 11, "event_time": at((first + 1) * MINUTE_MS), "slot": 0,
        "session_id": 5, "gap_from": begun["gap_from"], "gap_to": begun["gap_to"], "cause": "gap",
    }  # fmt: skip
    async with Kit(begun, later, candles=[candle]).running() as kit:
        await until(lambda: kit.first.mended)
        ((found, _, written),) = kit.first.mended
        assert (found.first_minute, found.last_minute) == (first, first + 3)
        assert written == {11: first + 1}


async def test_only_the_leader_works_and_it_begins_anew_with_each_leadership():
    kit = Kit(gap(20))
    kit.leads = False
    async with kit.running():
        await asyncio.sleep(0.01)
        assert kit.since == []
        kit.first.free.clear()
        kit.leads = True
        await until(lambda: kit.first.mended)
        kit.leads = False
        await until(lambda: kit.backfill.status().gaps_waiting == 0)
        kit.leads = True
        await until(lambda: len(kit.first.mended) == 2)


async def test_it_waits_until_the_leader_knows_what_slots_carry():
    kit = Kit(gap(20))
    kit.known = False
    async with kit.running():
        await until(lambda: kit.backfill.status().gaps_waiting == 1)
        await asyncio.sleep(0.01)
        assert not kit.first.mended
        kit.known = True
        await until(lambda: kit.first.mended)


async def test_what_kafka_does_not_give_is_read_again():
    async with Kit().running() as kit:
        await until(lambda: kit.since)
        with capture_logs() as lines:
            kit.present.put_nowait(BrokerUnreachableError("b:1", "away"))
            await until(lambda: len(kit.since) == 2)
        assert [line["event"] for line in lines] == ["backfill_interrupted"]
        assert "away" in lines[0]["reason"]


async def test_more_gaps_than_may_wait_are_told_of():
    async with Kit(max_gaps=1).running() as kit:
        kit.first.free.clear()
        for event in (gap(30), gap(20), gap(10, 1)):
            kit.present.put_nowait(event)
        await until(lambda: len(kit.first.left_out) == 2)
        assert [(slot, tokens) for slot, tokens, _ in kit.first.left_out] == [
            (0, (11, 12)), (1, (13,)),
        ]  # fmt: skip
        assert "backfill.max_gaps" in kit.first.left_out[0][2]


async def test_a_gap_of_a_slot_that_is_no_more_is_nobodys():
    async with Kit(gap(20, 9), gap(20, 0)).running() as kit:
        await until(lambda: kit.first.mended)
        await until(lambda: kit.backfill.status().gaps_waiting == 0)


async def test_without_the_right_nothing_more_is_fetched_for_the_account_alone():
    kit = Kit(gap(40), gap(30, 1))
    kit.first.right = False
    async with kit.running():
        await until(lambda: kit.first.mended)
        await until(lambda: kit.backfill.status().gaps_waiting == 0)
        assert len(kit.first.mended) == 1
        assert kit.counts.lacking[Lack.NO_RIGHT] == 1
        for event in (gap(20, 0), gap(20, 3)):
            kit.present.put_nowait(event)
        await until(lambda: kit.second.mended)
        await until(lambda: kit.counts.lacking[Lack.NO_RIGHT] == 3)
        assert len(kit.first.mended) == 1
        assert kit.backfill.status().gaps_waiting == 0
        # another leadership of the same process asks no more, either
        kit.leads = False
        await asyncio.sleep(0.01)
        kit.leads = True
        await until(lambda: len(kit.since) == 2)
        await until(lambda: kit.backfill.status().lacking["no_right"] > 3)
        assert len(kit.first.mended) == 1


async def test_the_status_says_what_became_of_the_gaps():
    kit = Kit()
    kit.counts.candles, kit.counts.rows_refused, kit.counts.gaps = 7, 2, 3
    status = kit.backfill.status()
    assert (status.candles, status.rows_refused, status.gaps_ended) == (7, 2, 3)
    assert set(status.lacking) == {lack.value for lack in Lack}
