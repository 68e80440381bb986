"""What a stop waits for: all that Kafka may still accept, and no topic that it does not."""

import asyncio

from confluent_kafka import KafkaError

from tests.unit.kafka.test_isolating import balanced, go_on, new, send, written


async def opened(tmp_path, clock, **more):
    producer = new(tmp_path, clock, **more)
    await producer.start()
    return producer


async def test_a_flush_does_not_wait_for_a_topic_that_accepts_nothing(cluster, clock, tmp_path):
    producer = await opened(tmp_path, clock)
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(producer, "a", range(10))
    send(producer, "b", range(10))
    go_on(producer, cluster, clock)
    # the clock stands still: it would wait for ever
    assert not await asyncio.wait_for(producer.flush(30), 20)
    send(producer, "b", range(10, 20))
    flushing = asyncio.create_task(producer.flush(30))
    await asyncio.sleep(0)
    assert not flushing.done(), "others are under way"
    for client in cluster.clients:
        if client.properties["client.id"] == "test":
            client.acknowledge(10)
    assert not await asyncio.wait_for(flushing, 20)
    assert written(cluster, "b") == list(range(20))
    assert await producer.close(30)
    assert balanced(producer).spooled == 10


async def test_a_flush_waits_where_the_rest_would_be_lost(cluster, clock, tmp_path):
    producer = await opened(tmp_path, clock, ephemeral=True)
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(producer, "a", range(10))
    go_on(producer, cluster, clock)
    flushing = asyncio.create_task(producer.flush(30))
    await asyncio.sleep(0)
    assert not flushing.done()
    cluster.faults.clear()
    while not flushing.done():
        go_on(producer, cluster, clock, 1)
        await asyncio.sleep(0)
    assert await flushing
    assert written(cluster, "a") == list(range(10))
    assert await producer.close(0)
