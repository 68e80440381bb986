import asyncio
import itertools

import pytest

from connector.kite.web.pace import INTERVAL_SECONDS, Pace


class Kit:
    def __init__(self, interval_seconds=1.0):
        self.now = 100.0
        self.pauses = []
        self.pace = Pace(interval_seconds, monotonic=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds):
        self.pauses.append(round(seconds, 6))


async def test_calls_are_an_interval_apart_in_the_order_of_asking():
    kit = Kit()
    await asyncio.gather(*(kit.pace.turn() for _ in range(3)))
    assert kit.pauses == [1.0, 2.0]


async def test_what_was_not_used_is_not_saved_up():
    kit = Kit()
    await kit.pace.turn()
    kit.now += 60
    await kit.pace.turn()
    await kit.pace.turn()
    assert kit.pauses == [1.0]


@pytest.mark.parametrize("calls", [4, 30])
async def test_no_second_has_more_than_three_calls(calls):
    kit = Kit(INTERVAL_SECONDS)
    for _ in range(calls):
        await kit.pace.turn()
    times = [0.0, *kit.pauses]
    assert all(later - sooner > 1.0 for sooner, later in zip(times, times[3:], strict=False))


class MovingKit(Kit):
    async def sleep(self, seconds):
        until = self.now + seconds
        await super().sleep(seconds)
        while self.now < until:  # others go on meanwhile
            await asyncio.sleep(0)
            self.now = min(until, self.now + 0.25)


async def test_nobody_calls_while_the_server_wants_to_be_left_alone():
    kit = MovingKit()
    called = []

    async def call():
        await kit.pace.turn()
        called.append(kit.now)

    await call()
    # one has its turn already when the answer to the first one comes
    waiting = asyncio.create_task(call())
    await asyncio.sleep(0)
    kit.pace.hold(10)
    kit.pace.hold(3)
    await asyncio.gather(waiting, call(), call())
    assert called[0] == 100
    assert called[1] >= 110
    assert all(later - sooner >= 1 for sooner, later in itertools.pairwise(called[1:]))
