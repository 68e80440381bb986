"""A pause that ends when a client has something to poll."""

import asyncio
import os

from connector.kafka.wake import Wake

LONG_SECONDS = 600.0


async def test_a_byte_in_the_pipe_ends_the_pause():
    wake = Wake()
    wake.open()
    with wake.listening():
        pause = asyncio.create_task(wake.pause(LONG_SECONDS))
        await asyncio.sleep(0)
        os.write(wake.descriptor, b"\1" * 3)
        await pause
        # the bytes are read: the next pause lasts
        next_one = asyncio.create_task(wake.pause(LONG_SECONDS))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not next_one.done()
        wake.set()
        await next_one
    wake.close()


async def test_what_was_set_before_ends_the_next_pause_at_once():
    wake = Wake()
    wake.set()
    await wake.pause(LONG_SECONDS)


async def test_a_pause_lasts_its_time_without_anything_to_poll():
    await Wake().pause(0)


async def test_a_cancellation_is_not_lost_where_it_comes_with_the_event():
    wake = Wake()
    pause = asyncio.create_task(wake.pause(LONG_SECONDS))
    await asyncio.sleep(0)
    wake.set()
    pause.cancel()
    await asyncio.wait([pause])
    assert pause.cancelled()


async def test_without_descriptors_it_is_a_pause_all_the_same(monkeypatch):
    def none():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", none)
    wake = Wake()
    wake.open()
    assert wake.descriptor == -1
    with wake.listening():
        wake.set()
        await wake.pause(LONG_SECONDS)
    wake.close()


def test_closing_gives_both_ends_up():
    wake = Wake()
    wake.open()
    mine = os.dup(wake.descriptor)
    wake.close()
    wake.close()
    assert wake.descriptor == -1
    try:
        os.write(mine, b"\1")
    except BrokenPipeError:
        pass
    else:
        raise AssertionError("somebody still reads")
    finally:
        os.close(mine)
