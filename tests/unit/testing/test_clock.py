from connector.testing import FakeClock, settle


async def test_timers_fire_in_order_at_their_own_time():
    clock, fired = FakeClock(), []
    for delay in (3, 1, 1, 9):
        clock.call_later(delay, lambda delay=delay: fired.append((delay, clock.monotonic())))
    assert clock.pending == [1, 1, 3, 9]
    await clock.advance(3)
    assert fired == [(1, 1001), (1, 1001), (3, 1003)]
    assert clock.pending == [6]


async def test_a_timer_that_a_timer_sets_fires_in_the_same_advance():
    clock, fired = FakeClock(), []
    clock.call_later(1, lambda: clock.call_later(1, lambda: fired.append(clock())))
    await clock.advance(5)
    assert fired == [1002]
    assert clock.monotonic() == 1005


async def test_a_cancelled_timer_does_not_fire():
    clock, fired = FakeClock(), []
    timer = clock.call_later(1, lambda: fired.append(1))
    timer.cancel()
    timer.cancel()
    await clock.advance(2)
    assert (fired, clock.pending) == ([], [])


async def test_the_time_of_day_goes_with_the_monotonic_time():
    clock = FakeClock(time_us=5)
    await clock.advance(0.25)
    assert clock.time_us() == 250_005
    await settle()
    assert clock.time_us() == 250_005
