"""Waiting for what another thread or process does, by a condition."""

import asyncio


async def until(condition, seconds=20.0):
    """Return as soon as `condition()` is true; fail when it has not become so in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, "the condition did not come true"
        await asyncio.sleep(0.005)
