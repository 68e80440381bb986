import asyncio

import pytest

from connector.service.looplag import LoopLag
from connector.testing import FakeClock


async def test_lag_is_what_a_timer_waits_too_long():
    clock = FakeClock()
    lags = [0.0, 0.02, 2.0]

    async def sleep(seconds):
        if not lags:
            raise asyncio.CancelledError
        clock.now += seconds + lags.pop(0)

    lag = LoopLag(0.25, clock=clock, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await lag.run()
    assert lag.histogram.total == pytest.approx(2.02)
    assert lag.histogram.count == 3
    assert lag.histogram.counts[-1] == 1
