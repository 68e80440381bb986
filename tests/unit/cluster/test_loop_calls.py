"""What a thread has done in the event loop: in order, and at most for its time."""

import asyncio

import pytest
import structlog

from connector.cluster import loop_calls
from connector.cluster.loop_calls import LoopCalls
from connector.testing import until


@pytest.fixture
def said():
    return []


@pytest.fixture
def close(said):
    async def close():
        said.append("closing")
        await asyncio.sleep(0)
        said.append("closed")
        return {1: 5}

    return close


async def test_a_loop_that_was_held_up_hears_everything_in_order(said, close):
    """A slot that is closed behind its assignment would have nobody who streams it."""
    calls = LoopCalls(asyncio.get_running_loop())  # which does nothing before all this is asked for
    calls.begin(close())
    calls.call(said.append, "assigned")
    calls.call(said.append, "its records")
    await until(lambda: len(said) == 4)
    assert said.index("closing") < said.index("assigned") < said.index("its records")


@pytest.mark.parametrize(("closes", "done"), [(True, ["closing", "closed"]), (False, ["closing"])])
async def test_only_a_close_goes_on_though_nobody_waits_for_it_any_more(
    said, close, closes, done, monkeypatch
):
    monkeypatch.setattr(loop_calls, "CLOSE_SECONDS", 0)
    calls = LoopCalls(asyncio.get_running_loop())
    with structlog.testing.capture_logs() as log:
        assert calls.wait(close(), closes=closes) is None
    assert [line["event"] for line in log] == ["slot_close_timed_out"]
    calls.begin(asyncio.sleep(0)).add_done_callback(lambda _: said.append("later"))
    await until(lambda: "later" in said)
    assert [one for one in said if one != "later"] == done


async def test_a_thread_waits_for_what_a_coroutine_returns(close):
    calls = LoopCalls(asyncio.get_running_loop())
    assert await asyncio.to_thread(calls.wait, close()) == {1: 5}


async def test_what_fails_in_the_loop_is_logged_and_ends_no_thread():
    async def fail():
        raise RuntimeError("cannot close")

    calls = LoopCalls(asyncio.get_running_loop())
    with structlog.testing.capture_logs() as log:
        assert await asyncio.to_thread(calls.wait, fail()) is None
    assert [line["event"] for line in log] == ["slot_close_failed"]


def test_a_loop_that_has_ended_stops_nobody(said, close):
    loop = asyncio.new_event_loop()
    loop.close()
    calls = LoopCalls(loop)
    calls.call(said.append, "never")
    assert calls.begin(close()) is None
    assert calls.wait(close()) is None
    assert said == []
