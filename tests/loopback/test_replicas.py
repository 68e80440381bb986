"""Several services that share the slots of one account through the consumer group."""

import asyncio
import contextlib
import json

from connector.service.service import Service
from connector.simulator import SimulatorConfig
from connector.testing import until
from tests.support.stack import TOPICS, delivered, stack

TOKENS = [number * 256 + 1 for number in range(1000, 1030)]
CLUSTER = {"session_timeout_seconds": 6.0}


@contextlib.asynccontextmanager
async def replicas(count, **changes):
    simulator = SimulatorConfig(instruments=300, updates_per_second=20.0)
    async with stack(simulator, cluster=CLUSTER, **changes) as around:
        services = [Service(around.settings) for _ in range(count)]
        try:
            for service in services:
                await service.start()
            await until(lambda: shared(services))
            yield around, services
        finally:
            await asyncio.gather(*(service.close() for service in services))


def slots(service):
    return [connection.slot for connection in service.status().connections]


def streaming(services):
    """Slots whose instruments are all confirmed."""
    return sorted(
        connection.slot
        for service in services
        for connection in service.status().connections
        if connection.desired and connection.desired == connection.confirmed
    )


def shared(services):
    return all(service.status().ready for service in services) and streaming(services) == [0, 1, 2]


async def test_each_slot_has_one_owner():
    async with replicas(3) as (around, services):
        # leadership is a share like a slot: the group may give a replica that one alone
        await until(lambda: sorted(n for s in services for n in slots(s)) == [0, 1, 2])
        await until(lambda: shared(services))
        assert around.simulator.max_open_sockets() <= 3
        leaders = [service for service in services if service.status().cluster["leader"]]
        assert len(leaders) == 1
        assert leaders[0].status().as_json()["cluster"]["watchlists"]


async def test_a_stopped_replica_hands_its_slots_over():
    async with replicas(2) as (around, services):
        first, second = services
        await until(lambda: slots(first) and slots(second))
        await first.close()
        await until(lambda: streaming([second]) == [0, 1, 2])
        assert around.simulator.max_open_sockets() <= 3
        await second.close()
        for service in services:
            accounting = service.status().accounting
            assert accounting.balanced
            assert accounting.received == accounting.delivered
        # whoever wrote it: no number is missing and none is there twice
        for session in (await around.ticks()).values():
            numbers = [tick["sequence"] for tick in session]
            assert numbers == list(range(1, len(numbers) + 1))


async def test_a_spare_is_ready_with_nothing_to_do():
    async with replicas(4) as (_, services):
        await until(lambda: sorted(map(slots, services)) == [[], [0], [1], [2]])
        await until(lambda: all(service.status().ready for service in services))


async def test_an_order_update_is_there_once_although_each_replica_has_a_copy():
    # of three replicas one might lead and have no slot, and another have two
    async with replicas(4) as (around, services):
        await until(lambda: sorted(map(slots, services)) == [[], [0], [1], [2]])
        await until(lambda: around.simulator.open_sockets() == 3)
        for number in range(5):
            order = {"order_id": str(number), "status": "COMPLETE", "filled_quantity": number}
            await around.simulator.post_order(order)
        await until(
            lambda: sum(s.status().orders + s.status().order_repeats for s in services) == 15
        )
        for service in services:
            await delivered(service)
        orders = (await around.records(TOPICS.orders))[TOPICS.orders]
        assert sorted(record.key for record in orders) == ["0", "1", "2", "3", "4"]


async def test_an_order_update_is_not_lost_with_the_socket_that_usually_writes_it():
    async with replicas(4) as (around, services):
        await until(lambda: sorted(map(slots, services)) == [[], [0], [1], [2]])
        await until(lambda: around.simulator.open_sockets() == 3)
        (writer,) = [service for service in services if slots(service) == [0]]
        await writer.owner.stop_intake(asyncio.Event())
        assert await around.simulator.post_order({"order_id": "1", "status": "COMPLETE"}) == 2
        await until(lambda: sum(service.status().orders for service in services) == 1)
        for service in services:
            await delivered(service)
        orders = (await around.records(TOPICS.orders))[TOPICS.orders]
        assert [json.loads(record.value["payload"])["order_id"] for record in orders] == ["1"]


async def test_a_replica_that_stops_leaves_its_copies_to_those_who_write_them():
    async with replicas(4) as (around, services):
        await until(lambda: sorted(map(slots, services)) == [[], [0], [1], [2]])
        await until(lambda: around.simulator.open_sockets() == 3)
        (last,) = [service for service in services if slots(service) == [2]]
        await around.simulator.post_order({"order_id": "1", "status": "COMPLETE"})
        # before it has seen the topic; its copy comes while it hands its slot over, or is there
        await last.close()
        assert last.status().order_repeats + last.status().orders == 1
        for service in services:
            if service is not last:
                await delivered(service)
        orders = (await around.records(TOPICS.orders))[TOPICS.orders]
        assert [json.loads(record.value["payload"])["order_id"] for record in orders] == ["1"]
