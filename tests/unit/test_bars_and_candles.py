"""Bars made of ticks, held against candles made of every trade: what docs/downstream.md says.

The day is made once, from a seed: an exchange on which shares and an index trade up to three times
a second, a feed that sends at most one packet a second and leaves some out, a connection that is
away for three seconds at 10:20 and from 10:50 to 11:00.
"""

import random
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from connector.codec import Transcoder
from connector.kite.clock import IST
from connector.kite.wire.models import Exchange
from connector.schemas import load
from connector.simulator import wire
from connector.simulator.candles import Candles
from tests.integration.downstream.bars import bars, ticks
from tests.integration.downstream.market import Record
from tests.support.ticks import SCHEMA_IDS, TOPICS

PAGE = Path(__file__).parents[2] / "docs/downstream.md"
INFY, NIFTY_50 = 408065, 256265
PRICES = {INFY: 150_000, NIFTY_50: 2_500_000}
AUCTION = 12_000
"""Traded before the opening, and in the day's volume of every packet."""


def clock(text):
    return round(datetime.fromisoformat(f"2026-01-30T{text}").replace(tzinfo=IST).timestamp())


OPENS, RECONNECTS, LOST, BACK, ENDS = map(
    clock, ("09:15:00", "10:20:30", "10:50:00", "11:00:00", "11:10:00")
)


class Candle(NamedTuple):
    open: float
    high: float
    low: float
    close: float
    volume: int


class Day(NamedTuple):
    bars: dict[tuple[int, int], object]
    candles: dict[tuple[int, int], Candle]

    def minutes(self, token, begins=OPENS, ends=ENDS):
        return [(token, minute) for minute in range(begins // 60, ends // 60)]


@cache
def day():
    dice, books = random.Random(20260130), {token: Candles(1000) for token in PRICES}
    coder = Transcoder(TOPICS, SCHEMA_IDS, 0)
    prices, volume, records = dict(PRICES), AUCTION, []

    def packets(second):
        price = prices[INFY]
        quote = wire.quote_packet(INFY, price, volume=volume, ohlc=(price,) * 4)
        yield wire.full_packet(quote, last_trade_time=second, exchange_time=second)
        yield wire.index_packet(NIFTY_50, prices[NIFTY_50], exchange_time=second)

    def receive(second):
        made, _, rejected = coder.transcode(wire.encode_frame(packets(second)), second * 10**6)
        assert not rejected
        records.extend(Record(*record, second * 1000) for record in made)

    def connect(second):
        coder.open_session(second * 1000)
        coder.expect([INFY, NIFTY_50])
        receive(second)  # the cached packets of the snapshot

    connect(OPENS - 5)
    for second in range(OPENS, ENDS):
        for token in prices:
            for _ in range(dice.randrange(4)):
                prices[token] += dice.randint(-9, 9) * 5
                quantity = dice.choice((1, 25, 400)) if token == INFY else 0
                volume += quantity
                books[token].add(second, prices[token], quantity, 0)
        if second in (RECONNECTS + 3, BACK):
            connect(second)
        away = RECONNECTS <= second < RECONNECTS + 3 or LOST <= second < BACK
        if not away and dice.random() < 0.8:
            receive(second)
    received = bars(ticks(records, dict.fromkeys(SCHEMA_IDS.values(), load("tick"))))
    return Day(
        {
            (bar.instrument_token, round(_utc(bar.start)) // 60): bar
            for bar in received
        },
        {
            (token, minute): Candle(*(price / 100 for price in ohlc), traded)
            for token in prices
            for minute, *ohlc, traded, _ in books[token].between(0, 2**40)
        },
    )  # fmt: skip


def _utc(start):
    return datetime.fromisoformat(f"{start}+00:00").timestamp()


def total(minutes, of):
    return sum(of[key].volume for key in minutes)


def prices_of(one):
    return one.open, one.high, one.low, one.close


def test_the_day_is_what_it_is_said_to_be():
    assert Exchange.of(NIFTY_50) is Exchange.INDICES
    assert set(day().candles) == {*day().minutes(INFY), *day().minutes(NIFTY_50)}


def carried(token, minute):
    """The price that a packet repeats until there is a trade in its minute."""
    before = day().candles.get((token, minute - 1))
    return before.close if before else PRICES[token] / 100


def test_a_bar_lies_within_its_candle_and_the_price_before_it():
    for key, bar in day().bars.items():
        candle, before = day().candles[key], carried(*key)
        assert min(candle.low, before) <= bar.low <= bar.high <= max(candle.high, before)


def test_few_bars_are_equal_to_their_candles():
    both = [(day().bars[key], day().candles[key]) for key in day().bars if key[0] == INFY]
    equal = [
        sum(getattr(bar, name) == getattr(candle, name) for bar, candle in both)
        for name in ("open", "high", "low", "close", "volume")
    ]
    assert all(0 < count < len(both) for count in equal)
    stated = re.search(
        r"of (\d+) bars (\d+) have the open, (\d+) the high, (\d+) the low, (\d+) the close and "
        r"(\d+) the volume",
        " ".join(PAGE.read_text().split()),
    )
    assert [*map(int, stated.groups())] == [len(both), *equal]


def test_volume_that_is_not_in_its_own_minute_is_in_the_next_one():
    """The last trades before a minute's end that no packet brought come with the next packet."""
    whole = day().minutes(INFY, OPENS + 60, LOST)
    moved = [key for key in whole if day().bars[key].volume != day().candles[key].volume]
    assert 0 < len(moved) < len(whole)
    for end in range(2, len(whole)):
        bars_so_far, candles_so_far = (total(whole[:end], of) for of in (day().bars, day().candles))
        # what the last minute lacks, and what the first one has of the minute before
        assert abs(bars_so_far - candles_so_far) < 2 * 3 * 3 * 400


def test_the_first_bar_of_a_day_is_counted_from_its_own_first_tick():
    (first,) = day().minutes(INFY, OPENS, OPENS + 60)
    bar, candle = day().bars[first], day().candles[first]
    assert bar.volume < candle.volume
    # and the auction before the opening is in neither
    assert bar.cumulative_volume - candle.volume <= AUCTION
    assert bar.volume < bar.cumulative_volume - AUCTION


def test_a_reconnect_costs_no_volume_but_prices():
    at = (INFY, RECONNECTS // 60)
    around = day().minutes(INFY, RECONNECTS - 90, RECONNECTS + 90)
    assert at in around
    assert abs(total(around, day().bars) - total(around, day().candles)) < 2 * 3 * 3 * 400
    assert day().bars[at].ticks < 60


def test_a_gap_has_no_bars_and_the_bar_behind_it_has_its_volume():
    gap = day().minutes(INFY, LOST, BACK)
    assert len(gap) == 10
    assert not set(gap) & set(day().bars)
    behind = (INFY, BACK // 60)
    missed = total(gap, day().candles)
    assert day().bars[behind].volume > missed > 10 * day().candles[behind].volume / 2
    assert day().bars[behind].volume - missed - day().candles[behind].volume < 3 * 3 * 400


def test_an_index_has_no_volume_in_bars_and_zero_in_candles():
    for key in day().minutes(NIFTY_50, BACK, ENDS):
        assert day().bars[key].volume is None
        assert day().candles[key].volume == 0


@pytest.mark.parametrize("token", [INFY, NIFTY_50])
def test_with_candles_for_the_minutes_that_a_gap_touches_the_day_is_whole(token):
    """The rule: these minutes are the candles', all others the bars'."""
    touched = {
        (token, second // 60)
        for begins, ends in ((RECONNECTS, RECONNECTS + 3), (LOST, BACK + 1))
        for second in range(begins, ends)
    }
    mended = {**day().bars, **{key: day().candles[key] for key in touched}}
    assert set(day().minutes(token)) <= set(mended)
    for key in touched:
        assert prices_of(mended[key]) == prices_of(day().candles[key])
    if token == INFY:
        behind_the_first = day().minutes(INFY, OPENS + 60)
        lack = total(behind_the_first, day().candles) - total(behind_the_first, mended)
        assert abs(lack) < 4 * 3 * 3 * 400  # at each seam and at the ends
