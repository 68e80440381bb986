"""Dead letters while the spool's disk fails, through the whole service: sent, kept or told."""

import asyncio
import errno
import re

import pytest
from confluent_kafka import KafkaError

from connector.service.outside import Outside
from connector.service.service import Service
from connector.simulator.wire import encode_frame
from connector.testing import until
from tests.support.disk import Disk
from tests.support.stack import TOPICS, delivered, service, stack, streaming

ODD = b"\0\x06\x3a\x01" + bytes(30_000)  # no length that a packet has
FRAMES = 200  # of two: 12 MB, more than memory may hold of them
NO_RIGHT = KafkaError.TOPIC_AUTHORIZATION_FAILED


async def odd_frames(around, running, frames):
    before = running.status().rejected.get("unknown_length", 0)
    for _ in range(frames):
        await around.simulator.send_frame(encode_frame([ODD, ODD]), sockets=[0])
    await until(lambda: running.status().rejected["unknown_length"] == before + 2 * frames)


async def told(around):
    """How many lost records the events tell of, by reason; each loss is told of each slot."""
    found = {}
    for record in (await around.records(TOPICS.events))[TOPICS.events]:
        event = record.value
        if event["type"] == "dropped":
            reason, count = re.fullmatch(
                r"(\w+): (\d+) records over all slots", event["reason"]
            ).groups()
            slots = found.setdefault(reason, {})
            slots[event["slot"]] = slots.get(event["slot"], 0) + int(count)
    return {reason: set(slots.values()) for reason, slots in found.items()}


def balanced(running):
    accounting = running.status().accounting
    assert accounting.balanced, accounting
    return accounting


async def fail_amid_dead_letters(around, running, disk, code):
    """The topic of the dead letters accepts nothing; the disk has five of them, and fails."""
    around.broker.set_topic_error(TOPICS.deadletter, NO_RIGHT)
    await odd_frames(around, running, 3)
    await until(lambda: TOPICS.deadletter in running.status().producer.troubles)
    await until(lambda: balanced(running).spooled >= 5)
    disk.fail("write", "create", "rename", code=code)
    await odd_frames(around, running, FRAMES)
    await around.simulator.step(300)
    await until(lambda: running.status().producer.spool_problem)
    await until(lambda: balanced(running).dropped.get("spool_write", 0) > 0)
    # the others' way is free
    accounting = balanced(running)
    assert accounting.in_flight + accounting.spooled <= 2 * FRAMES + 6
    assert any("cannot be written" in why for why in running.status().not_ready)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_what_memory_has_no_room_for_is_told_and_the_rest_sent_once_it_can_be(tmp_path, code):
    disk = Disk()
    async with stack(spool={"directory": str(tmp_path / "spool")}) as around:
        running = Service(around.settings, outside=Outside(around.settings, disk))
        task = asyncio.create_task(running.run())
        await streaming(around, running)
        await fail_amid_dead_letters(around, running, disk, code)
        disk.mend()
        around.broker.set_topic_error(TOPICS.deadletter, 0)
        await until(lambda: (now := balanced(running)).in_flight + now.spooled == 0)
        running.stop()
        assert not await task, "records are lost, long before the stop"
        accounting = balanced(running)
        letters = (await around.records(TOPICS.deadletter))[TOPICS.deadletter]
        lost = accounting.dropped["spool_write"]
        assert accounting.dropped == {"spool_write": lost}
        assert len(letters) == accounting.dead_lettered == 2 * (FRAMES + 3) - lost
        assert await told(around) == {"spool_write": {lost}}
        for session in (await around.ticks()).values():
            assert [tick["sequence"] for tick in session] == list(range(1, len(session) + 1))


async def test_a_stop_meanwhile_keeps_what_the_disk_has_and_tells_of_the_rest(tmp_path):
    disk = Disk()
    async with stack(spool={"directory": str(tmp_path / "spool")}, grace_seconds=1.0) as around:
        running = Service(around.settings, outside=Outside(around.settings, disk))
        task = asyncio.create_task(running.run())
        await streaming(around, running)
        await fail_amid_dead_letters(around, running, disk, errno.EROFS)
        running.stop()
        assert not await task
        accounting = balanced(running)
        lost = accounting.dropped["spool_write"]
        assert (accounting.in_flight, accounting.dropped) == (0, {"spool_write": lost})
        assert accounting.spooled == 2 * (FRAMES + 3) - lost >= 5
        assert await told(around) == {"spool_write": {lost}}
        around.broker.set_topic_error(TOPICS.deadletter, 0)
        async with service(around) as again:
            assert again.status().producer.found_in_spool == accounting.spooled
            await delivered(again)
        letters = (await around.records(TOPICS.deadletter))[TOPICS.deadletter]
        assert len(letters) == accounting.spooled


async def test_dead_letters_and_ticks_are_lost_in_an_outage_by_count_event_and_exit_code(tmp_path):
    disk = Disk()
    async with stack(spool={"directory": str(tmp_path / "spool")}) as around:
        small = around.settings.kafka.model_copy(update={"queue_max_messages": 1000})
        settings = around.changed(kafka=small)
        running = Service(settings, outside=Outside(settings, disk))
        task = asyncio.create_task(running.run())
        await streaming(around, running)
        await delivered(running)
        around.broker.set_down()
        disk.fail("write", "create", code=errno.ENOSPC)
        await odd_frames(around, running, 2 * FRAMES)
        for _ in range(30):
            await around.simulator.step(1000)
        await until(lambda: running.status().producer.spool_problem)
        accounting = balanced(running)
        assert accounting.dropped.keys() == {"spool_write"}
        around.broker.set_up()
        disk.mend()
        await until(lambda: (now := balanced(running)).in_flight + now.spooled == 0)
        running.stop()
        assert not await task
        accounting = balanced(running)
        lost = accounting.dropped["spool_write"]
        letters = (await around.records(TOPICS.deadletter))[TOPICS.deadletter]
        assert len(letters) == accounting.dead_lettered
        assert await told(around) == {"spool_write": {lost}}
        ticks = sum(map(len, (await around.ticks()).values()))
        events = (await around.records(TOPICS.events))[TOPICS.events]
        # nothing was sent twice: the brokers had acknowledged what they had
        assert ticks + len(events) == accounting.delivered - running.status().instruments
