import asyncio
import time

from connector.kite.clock import SYSTEM_CLOCK


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
