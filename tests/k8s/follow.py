"""Runs in the client's pod: reads every tick and every event, and prints what a judge needs.

One JSON object a line: {"ticks": [[slot, session_id, sequence, token, receive_time_us], …],
"events": [{…}, …], "reached_us": {partition: receive time of its last tick}}. Goes on whatever the
brokers do.
"""

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from connector.kafka.avro_records import RecordDecoder
from connector.kafka.topics import TopicNames

names = TopicNames("kite")
decoder = RecordDecoder(names)
wanted = [*names.all_ticks().values(), names.events]
consumer = Consumer(
    {
        "bootstrap.servers": sys.argv[1],
        "group.id": "k8s-test-follow",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 0,
    }
)
while True:
    try:
        listed = consumer.list_topics(timeout=5).topics
    except KafkaException:
        continue
    if all(topic in listed and listed[topic].partitions for topic in wanted):
        break
    time.sleep(0.2)
places = [TopicPartition(t, p, OFFSET_BEGINNING) for t in wanted for p in listed[t].partitions]
consumer.assign(places)
while True:
    ticks, events, reached_us = [], [], {}
    for message in consumer.consume(500, 0.1):
        if message.error() is not None:
            continue
        value = decoder.decode(message.topic(), message.value()).value
        if message.topic() != names.events:
            ticks.append(
                [
                    *(value[name] for name in ("slot", "session_id", "sequence")),
                    *(value[name] for name in ("instrument_token", "receive_time_us")),
                ]
            )
            reached_us[f"{message.topic()}-{message.partition()}"] = value["receive_time_us"]
            continue
        events.append(
            {
                **{name: value[name] for name in ("slot", "type", "session_id", "reason")},
                **{
                    name: None if value[name] is None else round(value[name].timestamp() * 1000)
                    for name in ("time", "gap_from", "gap_to")
                },
            }
        )
    if ticks or events:
        print(json.dumps({"ticks": ticks, "events": events, "reached_us": reached_us}), flush=True)
