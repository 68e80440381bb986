"""Waiting for what another thread or process does, by a condition."""

import asyncio
import time


async def until(condition, seconds=60.0):
    """Return as soon as `condition()` is true; fail when it has not become so in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, "the condition did not come true"
        await asyncio.sleep(0.005)


def wait_until(condition, seconds=60.0):
    """The first true value of `condition()`, where no event loop runs; fail without one in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)
    return value
