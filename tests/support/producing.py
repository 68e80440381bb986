"""A producer and an encoder that only remember, and a pipeline made of them."""

from typing import NamedTuple

from connector.codec import Transcoder
from connector.kafka.topics import TopicNames
from connector.service.pipeline import Pipeline

TIME_US = 1_767_585_600_000_000
TOPICS = TopicNames("kite")
SCHEMA_IDS = {topic: number for number, topic in enumerate(TOPICS.all_ticks().values(), 1)}


class Produced(NamedTuple):
    topic: str
    value: bytes
    key: bytes
    timestamp_ms: int
    headers: list


class RememberingProducer:
    def __init__(self):
        self.records = []

    def produce_all(self, records, timestamp_ms):
        for topic, key, value in records:
            self.produce(topic, value, key, timestamp_ms)

    def produce(self, topic, value, key, timestamp_ms=0, headers=None):
        self.records.append(Produced(topic, value, key, timestamp_ms, headers))


class PlainEncoder:
    def order(self, order, *, slot, session_id, receive_time_us):
        return f"order {order.order_id} {slot} {session_id} {receive_time_us}".encode()

    def event(self, event, *, account):
        return f"event {event.type} {event.slot} {account}".encode()


def pipeline(producer=None, time_us=lambda: TIME_US, transcoder=Transcoder, **more):
    return Pipeline(
        producer or RememberingProducer(),
        TOPICS,
        PlainEncoder(),
        lambda slot: transcoder(TOPICS.all_ticks(), SCHEMA_IDS, slot),
        lambda slot: f"account-{slot // 3}",
        time_us=time_us,
        **more,
    )
