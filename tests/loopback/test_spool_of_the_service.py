"""What becomes of the service's records when the spool's disk is small, removed, or ephemeral."""

import asyncio
import shutil

from structlog.testing import capture_logs

from connector.service.service import Service
from connector.testing import until
from tests.support.mounts import small_file_system
from tests.support.stack import TOPICS, delivered, service, stack, streaming


def small_queue(around, **more):
    return around.settings.kafka.model_copy(update={"queue_max_messages": 1000, **more})


def settled(running):
    accounting = running.status().accounting
    return accounting.in_flight == accounting.spooled == 0


async def dropped(around):
    """The events that tell of lost records."""
    events = (await around.records(TOPICS.events))[TOPICS.events]
    return [event.value for event in events if event.value["type"] == "dropped"]


async def whole(around):
    """Every tick of every session is in Kafka, once and in order."""
    for session in (await around.ticks()).values():
        assert [tick["sequence"] for tick in session] == list(range(1, len(session) + 1))


async def test_a_disk_that_is_too_small_loses_nothing_once_kafka_is_back(tmp_path):
    with small_file_system(tmp_path, "256k"):
        async with stack(spool={"directory": str(tmp_path / "spool")}) as around:
            settings = around.changed(kafka=small_queue(around))
            async with service(around, settings) as running:
                await delivered(running)
                around.broker.set_down()
                await around.simulator.step(6000)
                await until(lambda: running.producer.spool_problem)
                status = running.status()
                assert any("No space left on device" in why for why in status.not_ready)
                assert status.accounting.balanced
                assert 0 < status.accounting.spooled < 1500
                around.broker.set_up()
                await around.simulator.step(100)
                await delivered(running)
                assert running.status().accounting.total_dropped == 0
            await whole(around)


async def test_a_directory_that_is_removed_in_an_outage_is_made_again(tmp_path):
    async with stack(spool={"directory": str(tmp_path / "spool")}) as around:
        settings = around.changed(kafka=small_queue(around))
        async with service(around, settings) as running:
            await delivered(running)
            around.broker.set_down()
            await around.simulator.step(2500)
            await until(lambda: running.status().accounting.spooled > 500)
            waiting = running.status().accounting.spooled
            with capture_logs() as lines:
                shutil.rmtree(tmp_path / "spool")
                await until((tmp_path / "spool" / "lock").exists)
                await around.simulator.step(500)
                await until(lambda: running.status().accounting.spooled > 300)
            accounting = running.status().accounting
            assert accounting.balanced
            assert accounting.dropped == {"spool_unreadable": waiting}
            spooling = [line["event"] for line in lines if "spool" in line["event"]]
            assert len(spooling) <= 2 + len(list((tmp_path / "spool").iterdir()))
            around.broker.set_up()
            await until(lambda: settled(running))
        reasons = {event["reason"] for event in await dropped(around)}
        assert reasons == {f"spool_unreadable: {waiting} records over all slots"}


async def test_a_spool_that_goes_with_its_pod_is_lost_by_count_event_and_exit_code(tmp_path):
    spool = {"directory": str(tmp_path / "spool"), "ephemeral": True}
    async with stack(spool=spool, grace_seconds=0.01) as around:
        # so that the broker answers, and ticks wait all the same
        settings = around.changed(kafka=small_queue(around, linger_ms=1000.0))
        running = Service(settings)
        task = asyncio.create_task(running.run())
        await streaming(around, running)
        await delivered(running)
        await around.simulator.step(100)
        running.stop()
        with capture_logs() as lines:
            assert not await task
        accounting = running.status().accounting
        lost = accounting.dropped["ephemeral_spool"]
        assert accounting.balanced
        assert (lost > 0, accounting.spooled) == (True, 0)
        assert [line["log_level"] for line in lines if "losses" in line["event"]] == ["error"]
        events = await dropped(around)
        assert {event["slot"] for event in events} == {0, 1, 2}
        assert {event["reason"] for event in events} == {
            f"ephemeral_spool: {lost} records over all slots"
        }
        assert all(event["gap_from"] <= event["gap_to"] for event in events)
        assert all(event["instruments"] == len(event["tokens"]) > 0 for event in events)
