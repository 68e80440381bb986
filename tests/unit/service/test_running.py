import asyncio
import json
from types import SimpleNamespace

import pytest

from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.wire.orders import parse_order
from connector.service.order_deduplicator import Update
from tests.unit.service.test_service import new_service, receiving


@pytest.fixture
def service():
    return receiving(new_service())


def test_an_event_of_no_connection_is_written(service):
    service.running.event(ConnectionEvent(EventType.INSTRUMENT_EXPIRED, 1, 5))
    assert service.producer.records[0].value == b"event instrument_expired 1 main"


async def test_a_slot_is_drained_when_its_records_are_settled(service):
    producer = service.producer
    producer.produce("t", b"v", b"k")
    producer.in_flight = 1
    waiting = asyncio.create_task(service.running.drained(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    # of newer ones, any number may be under way
    producer.produce("t", b"v", b"k")
    await waiting


async def test_a_slot_that_is_taken_over_holds_orders_until_its_socket_is_open(service):
    """Its owner before still has the socket, and writes what comes by it."""
    clustered = receiving(new_service(cluster={"enabled": True}))
    first = ConnectionState.CONNECTING
    clustered.owner.stats = lambda: [
        SimpleNamespace(slot=0, state=first),
        SimpleNamespace(slot=1, state=ConnectionState.CONNECTED),
    ]
    desk = clustered.running.pipeline.order_desk

    def came(order_id):
        data = {"order_id": order_id, "status": "COMPLETE"}
        raw = json.dumps({"type": "order", "data": data})
        desk.accept(Update(parse_order(data), raw, 1, 5, 6))

    came("1")
    assert desk.held == 1
    first = ConnectionState.CONNECTED
    came("2")
    assert desk.held == 1


async def test_without_a_list_there_is_none_to_refresh_or_to_wait_for(service):
    assert not service.running.can_refresh
    await service.running.list_tried()
    ((name, work),) = service.running.works()
    work.close()
    assert name == "orders-0"
