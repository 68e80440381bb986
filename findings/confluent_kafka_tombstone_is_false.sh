#!/usr/bin/env bash
# confluent-kafka 2.16.0: `if message:` after poll(), of a record that is there but whose value is null (a
# tombstone) or empty.
# Expected: poll() gives a Message or None, and a Message is true, as an object of any class that says nothing
# else; kafka-python's and aiokafka's records are.
# Seen: a Message has a length, that of its value, so a tombstone and an empty value are false: a loop with
# `if not message: continue` passes over each deletion in a compacted topic, without a word. Ask
# `if message is None`. The broker is librdkafka's own mock cluster, out of the same wheel.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.0
timeout 120 "$work/venv/bin/python" - <<'PY'
import ctypes, glob, os, time
import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

wheel = os.path.dirname(os.path.dirname(confluent_kafka.__file__))
lib = ctypes.CDLL(glob.glob(f"{wheel}/confluent_kafka.libs/librdkafka-*.so*")[0])
for name, result, arguments in [
    ("rd_kafka_conf_new", ctypes.c_void_p, []),
    ("rd_kafka_new", ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    ("rd_kafka_mock_cluster_new", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, [ctypes.c_void_p]),
]:
    function = getattr(lib, name)
    function.restype, function.argtypes = result, arguments
cluster = lib.rd_kafka_mock_cluster_new(lib.rd_kafka_new(0, lib.rd_kafka_conf_new(), None, 0), 1)
servers = {"bootstrap.servers": lib.rd_kafka_mock_cluster_bootstraps(cluster).decode(), "log_level": 0}

producer = Producer(servers)
for value in (b"408065", None, b""):
    producer.produce("instruments", value, key=b"k", partition=0)
assert producer.flush(30) == 0
consumer = Consumer({**servers, "group.id": "readers", "auto.offset.reset": "earliest"})
consumer.assign([TopicPartition("instruments", 0, 0)])
messages, end = [], time.monotonic() + 60
while len(messages) < 3 and time.monotonic() < end:
    message = consumer.poll(0.5)
    if message is not None and message.error() is None:
        messages.append(message)
print("confluent-kafka", confluent_kafka.__version__)
for message in messages:
    print(f"offset {message.offset()} key {message.key()} value {message.value()}: bool {bool(message)}")
assert [message.value() for message in messages] == [b"408065", None, b""]
assert [bool(message) for message in messages] == [True, False, False], "changed"
os._exit(0)  # the mock cluster lives in this process; nothing else is to be closed
PY
echo "as described"
