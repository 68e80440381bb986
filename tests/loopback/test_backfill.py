"""Gaps mended by candles: service, simulated feed and historical API, embedded broker."""

import contextlib
from collections import Counter

import pytest

from connector.kite.clock import SystemClock
from connector.kite.wire.models import Exchange
from connector.simulator import SimulatorConfig
from connector.simulator.faults import FaultKind
from connector.testing import until
from tests.support.stack import TOPICS, delivered, service, stack, streaming

BEGIN_US = 1_769_750_420_000_000  # Friday 2026-01-30, 10:50:20 in India
MINUTE_US = 60_000_000
INFY, NIFTY_50, TCS = 408065, 256265, "NSE:TCS"
QUICK = {
    "rest_interval_seconds": 0.0,
    "backfill_poll_seconds": 0.02,
    "backfill_again_seconds": 0.0,
    "backfill_pause_seconds": (0.0,),
}


class StandingClock(SystemClock):
    """The time of day stands until the test moves it; timers go on."""

    now_us = BEGIN_US

    def time_us(self):
        return self.now_us


@contextlib.asynccontextmanager
async def surroundings(*, per_second=1000, **changes):
    """A stack whose settings have gaps mended, and the clock of all of it."""
    clock = StandingClock()
    config = SimulatorConfig(stepped=True, instruments=200, candle_requests_per_second=per_second)
    topics = {"replication_factor": 1, "tick_partitions": 2, "backfill": True}
    async with stack(
        config, clock=lambda: clock.time_us() / 1e6, topics=topics,
        backfill={"settle_seconds": 5}, **changes,
    ) as around:  # fmt: skip
        yield around, clock


@contextlib.asynccontextmanager
async def no_socket(around, running):
    """Sockets are cut and refused; afterwards all stream again."""
    simulator = around.simulator
    connects = {one.slot: one.connects for one in running.status().connections}
    await simulator.inject("refuse", count=100_000)
    await simulator.inject("abort")
    await simulator.until(lambda: not simulator.sockets)
    yield
    simulator.clear_faults(FaultKind.REFUSE)
    await until(
        lambda: all(one.connects > connects[one.slot] for one in running.status().connections)
    )
    await streaming(around, running)


async def trades(simulator, token, *prices):
    for price in prices:
        await simulator.trade(token, price, 7)


def made(simulator, token, minute):
    """The candle of the simulator's own market, as the topic should have it."""
    divisor = Exchange.of(token).divisor
    for _, *prices, volume, oi in simulator.market.quote(token).candles.between(minute, minute):
        return (*(price / divisor for price in prices), volume, oi)
    return None


async def told(around, running):
    """(type, slot, instruments, reason) of what is said of gaps later."""
    await delivered(running)
    events = (await around.records(TOPICS.events))[TOPICS.events]
    return [
        (one.value["type"], one.value["slot"], one.value["instruments"], one.value["reason"])
        for one in events
        if "backfilled" in one.value["type"]
    ]


async def candles(around):
    return (await around.records(TOPICS.backfill))[TOPICS.backfill]


async def mended(running, gaps):
    """Wait until so many gaps with instruments were dealt with."""
    await until(lambda: running.status().backfill.gaps_ended == gaps)


@pytest.mark.parametrize("cluster", [False, True])
async def test_the_candles_of_a_gap_are_those_of_the_market(cluster):
    async with (
        surroundings(cluster={"enabled": cluster}) as (around, clock),
        service(around, clock=clock, **QUICK) as running,
    ):
        simulator = around.simulator
        async with no_socket(around, running):
            await trades(simulator, INFY, 1500.0, 1510.5, 1490.0, 1500.5)
            await trades(simulator, NIFTY_50, 25_000.0, 25_010.0)
            clock.now_us += MINUTE_US
            await trades(simulator, INFY, 1501.0)
            await trades(simulator, NIFTY_50, 25_020.0)
        # its last minute has not ended
        await until(lambda: running.status().backfill.gaps_waiting == 3)
        assert simulator.state()["candle_requests"] == 0
        clock.now_us += MINUTE_US
        await mended(running, 3)
        desired = {one.slot: one.desired for one in running.status().connections}
        found = await candles(around)
        assert running.status().backfill.candles == len(found) > 0
        kinds = await told(around, running)
        assert sum(kind == "gap_backfilled" for kind, *_ in kinds) == 3
    first = BEGIN_US // MINUTE_US
    tokens = {one.value["instrument_token"] for one in found}
    assert {INFY, NIFTY_50} <= tokens
    for token in tokens:
        mine = [one for one in found if one.value["instrument_token"] == token]
        assert {one.key for one in mine} == {str(token)}
        got = {
            one.value["event_time"].timestamp() // 60: tuple(
                one.value[name] for name in ("open", "high", "low", "close", "volume", "oi")
            )
            for one in mine
        }
        expected = {minute: made(simulator, token, minute) for minute in (first, first + 1)}
        assert got == {minute: one for minute, one in expected.items() if one is not None}
    infy = next(one.value for one in found if one.value["instrument_token"] == INFY)
    assert (infy["low"], infy["close"]) == (1490.0, 1500.5)
    assert (infy["tradingsymbol"], infy["exchange"]) == ("INFY", "NSE")
    assert (infy["cause"], infy["source"]) == ("gap", "historical")
    gap_from, gap_to = infy["gap_from"].timestamp(), infy["gap_to"].timestamp()
    assert (gap_from, gap_to) == (BEGIN_US / 1e6, BEGIN_US / 1e6 + 60)
    # each instrument of each slot is either in the topic or named as lacking
    had = Counter()
    for kind, slot, instruments, _ in kinds:
        if kind == "gap_backfilled":
            had[slot] += instruments
    assert sum(had.values()) == len(tokens)
    lacking = Counter()
    for kind, slot, instruments, reason in kinds:
        if kind == "gap_not_backfilled" and reason.startswith("no candles"):
            lacking[slot] += instruments
    assert had + lacking == Counter(desired)


ONE = {"instruments": [{"mode": "full", "instruments": [INFY]}]}


async def gap(around, clock, running, *prices):
    """A gap in which INFY trades, of a minute that has ended."""
    async with no_socket(around, running):
        await trades(around.simulator, INFY, *prices)
    clock.now_us += 2 * MINUTE_US


async def test_without_the_right_it_is_told_once_and_the_next_process_mends_what_waits():
    async with surroundings(**ONE) as (around, clock):
        simulator = around.simulator
        async with service(around, clock=clock, **QUICK) as running:
            await simulator.inject("refuse_candles", status=403, count=100)
            await gap(around, clock, running, 1500.0)
            await until(lambda: running.status().backfill.lacking["no_right"] == 1)
            asked = simulator.state()["candle_requests"]
            await gap(around, clock, running, 1600.0)
            await until(lambda: running.status().backfill.lacking["no_right"] == 2)
            assert simulator.state()["candle_requests"] == asked
            (only,) = await told(around, running)
        assert only[0] == "gap_not_backfilled"
        assert only[2] == 1
        assert "403" in only[3]
        assert "topics.backfill" in only[3]
        simulator.clear_faults()
        async with service(around, clock=clock, **QUICK) as running:
            clock.now_us += 2 * MINUTE_US
            await until(
                lambda: (
                    running.status().backfill.candles >= 2
                    and running.status().backfill.gaps_waiting == 0
                )
            )
        first, second, *_ = [one.value for one in await candles(around)]
        assert first["low"] == 1500.0
        assert second["open"] == 1600.0


async def test_what_is_mended_is_not_mended_by_the_next_process():
    async with surroundings(**ONE) as (around, clock):
        async with service(around, clock=clock, **QUICK) as running:
            await gap(around, clock, running, 1500.0)
            await mended(running, 1)
            await trades(around.simulator, INFY, 1700.0)
        before = await candles(around)
        async with service(around, clock=clock, **QUICK) as running:
            clock.now_us += 2 * MINUTE_US
            await mended(running, 1)
        after = await candles(around)
        identities = [
            tuple(one.value[name] for name in ("slot", "instrument_token", "event_time"))
            for one in after
        ]
        assert len(set(identities)) == len(identities) > len(before) > 0


@pytest.mark.parametrize(
    ("fault", "details", "reason", "written"),
    [
        ("refuse_candles", {"status": 429, "count": 1}, "", 1),
        ("no_candles", {"count": 2}, "no candles: nothing was traded, or Kite has none", 0),
    ],
)
async def test_an_answer_that_is_none_is_asked_for_again_within_bounds_or_told(
    fault, details, reason, written
):
    async with (
        surroundings(**ONE) as (around, clock),
        service(around, clock=clock, **QUICK) as running,
    ):
        await around.simulator.inject(fault, **details)
        await gap(around, clock, running, 1500.0)
        await mended(running, 1)
        assert len(await candles(around)) == written
        reasons = [one[3] for one in await lacks(around, running)]
        assert [one[: len(reason)] for one in reasons] == ([reason] if reason else [])


async def lacks(around, running):
    return [one for one in await told(around, running) if one[0] == "gap_not_backfilled"]


async def test_half_an_answer_is_asked_for_again_and_what_is_lacking_is_told():
    async with (
        surroundings(**ONE) as (around, clock),
        service(around, clock=clock, **QUICK) as running,
    ):
        await around.simulator.inject("half_candles", count=2)
        async with no_socket(around, running):
            await trades(around.simulator, INFY, 1500.0)
            clock.now_us += MINUTE_US
            await trades(around.simulator, INFY, 1501.0)
        clock.now_us += 2 * MINUTE_US
        await mended(running, 1)
        assert running.status().backfill.lacking["some_minutes"] == 1
        ((_, _, instruments, reason),) = await lacks(around, running)
        assert instruments == 1
        assert reason.startswith("not every minute has a candle")
        assert len(await candles(around)) == 1
