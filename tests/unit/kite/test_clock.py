import asyncio
import time
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from connector.kite.clock import IST, SYSTEM_CLOCK, ClockWatch, midnight_ms
from connector.testing import FakeClock


def test_times_are_those_of_the_machine():
    before = time.monotonic()
    assert before <= SYSTEM_CLOCK.monotonic() <= time.monotonic()
    before_us = time.time_ns() // 1000
    assert before_us <= SYSTEM_CLOCK.time_us() <= time.time_ns() // 1000


async def test_a_call_is_made_later_unless_it_was_cancelled():
    called = []
    done = asyncio.Event()
    SYSTEM_CLOCK.call_later(0, lambda: called.append("cancelled")).cancel()
    SYSTEM_CLOCK.call_later(0, done.set)
    await done.wait()
    assert called == []


@given(st.integers(0, 2**52))
def test_a_day_begins_at_midnight_in_india(time_us):
    moment = datetime.fromtimestamp(0, IST) + timedelta(microseconds=time_us)
    begun = datetime.combine(moment.date(), datetime.min.time(), IST)
    assert midnight_ms(time_us) == begun.timestamp() * 1000


async def test_a_clock_that_was_set_back_is_noticed_once():
    clock = FakeClock()
    watch = ClockWatch(lambda: clock.time_us() / 1e6, clock.monotonic)
    for seconds, noticed in ((0, False), (-1, False), (-2.5, True), (3600, False), (-3600, True)):
        await clock.advance(1)
        clock.step(seconds)
        assert watch.was_set_back() is noticed
        await clock.advance(1)
        assert not watch.was_set_back()
