"""A pipeline whose producer records and whose encoder writes plain text."""

from connector.codec import Transcoder
from connector.kafka.spool import Record
from connector.kafka.topics import TopicNames
from connector.service.pipeline import Pipeline
from connector.simulator.wire import encode_frame
from connector.testing import FakeClock, RecordingProducer

TIME_US = 1_767_585_600_000_000
TOPICS = TopicNames("kite")
SCHEMA_IDS = {topic: number for number, topic in enumerate(TOPICS.all_ticks().values(), 1)}


class PlainEncoder:
    def order(self, order, *, slot, session_id, receive_time_us, source):
        return f"order {order.order_id} {slot} {session_id} {receive_time_us}".encode()

    def event(self, event, *, account):
        return f"event {event.type} {event.slot} {account}".encode()


class StandingClock(FakeClock):
    """UTC microseconds come from a function."""

    def __init__(self, time_us):
        super().__init__()
        self.time_us = time_us


def pipeline(producer=None, time_us=lambda: TIME_US, transcoder=Transcoder, **more):
    return Pipeline(
        producer or RecordingProducer(),
        TOPICS,
        PlainEncoder(),
        lambda slot: transcoder(TOPICS.all_ticks(), SCHEMA_IDS, slot),
        lambda slot: f"account-{slot // 3}",
        clock=StandingClock(time_us),
        **more,
    )


def tick_records(slot, *packets):
    """The records of packets that came over a slot."""
    kite = pipeline()
    handler = kite.handler(slot)
    handler.opened(1000)
    handler.frame(encode_frame(packets), TIME_US)
    return [
        Record(one.topic, one.key, one.value, one.timestamp_ms) for one in kite.producer.records
    ]
