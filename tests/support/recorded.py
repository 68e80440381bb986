"""Ticks as a connector would have written them, at chosen times, and a place to put them."""

from confluent_kafka import Producer

from connector.codec import Transcoder
from connector.kite.wire.models import Exchange
from tests.support.packets import frame
from tests.support.ticks import SCHEMA_IDS, TOPICS

SESSION = 1_769_744_000_000
START_MS = 1_769_744_700_000
"""2026-01-30T09:15 in India."""


def recorded(packets, times_ms):
    """(key, value, time_ms) of each packet, in one session of slot 0."""
    transcoder = Transcoder(TOPICS, SCHEMA_IDS, 0)
    transcoder.open_session(SESSION)
    found = []
    for packet, time_ms in zip(packets, times_ms, strict=True):
        ((_, key, value),), _, _ = transcoder.transcode(frame(packet), time_ms * 1000 + 321)
        found.append((key, value, time_ms))
    return found


def put(broker, records, prefix="kite"):
    """Write records to the topics of their exchanges."""
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap_servers, "partitioner": "murmur2_random"}
    )
    for key, value, time_ms in records:
        topic = f"{prefix}.ticks.{Exchange.of(int(key)).name.lower()}"
        producer.produce(topic, value, key, timestamp=time_ms)
    assert producer.flush(10) == 0
