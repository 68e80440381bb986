#!/usr/bin/env bash
# @platformatic/kafka 1.35.0 (npm): 40 keys (instrument tokens as text) produced to a topic of six partitions with
# the client's default partitioner, beside kafkajs 2.2.4 and confluent-kafka 2.16.0 with partitioner=murmur2.
# Expected: its default hashes keys by murmur2, as Kafka's own client in Java does, so that a key goes to one
# partition whoever writes it, and topics written by several clients can be joined partition by partition.
# Seen: kafkajs and murmur2 of confluent-kafka agree on all 40. @platformatic/kafka hashes by murmur2 too, but
# agrees on those keys alone whose hash has no sign bit: here on 20, the others land elsewhere.
# Apache Kafka 4.4.0. Needs Java 17 or newer, Maven, Node 20 and Python 3.
set -euo pipefail
work=$(mktemp -d); broker=
trap '[ -z "$broker" ] || { kill "$broker"; wait "$broker" || true; } 2>/dev/null; rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.17</version></dependency>
</dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.0
npm install --prefix "$work" --silent --no-audit --no-fund @platformatic/kafka@1.35.0 kafkajs@2.2.4
cat > "$work/produce.mjs" <<'JS'
import { Producer } from '@platformatic/kafka'
import { Kafka, logLevel } from 'kafkajs'
const [address, ...keys] = process.argv.slice(2)
const kafkajs = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).producer()
await kafkajs.connect()
await kafkajs.send({ topic: 'kafkajs', messages: keys.map(key => ({ key, value: key })) })
await kafkajs.disconnect()
const platformatic = new Producer({ clientId: 'writer', bootstrapBrokers: [address] })
await platformatic.send({
  messages: keys.map(key => ({ topic: 'platformatic', key: Buffer.from(key), value: Buffer.from(key) }))
})
await platformatic.close()
JS
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free); controller=$(free)
cat > "$work/server.properties" <<EOF
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$work/data
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
EOF
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
timeout 180 "$work/venv/bin/python" - "127.0.0.1:$port" "$work" <<'PY'
import subprocess, sys, time
import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

address, work = sys.argv[1:]
servers, partitions = {"bootstrap.servers": address, "log_level": 0}, 6
admin, end = AdminClient(servers), time.monotonic() + 60
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
topics = "murmur2", "kafkajs", "platformatic"
for made in admin.create_topics([NewTopic(topic, partitions, 1) for topic in topics]).values():
    made.result(30)

keys = [str(number * 256 + 1) for number in range(1000, 1040)]
producer = Producer({**servers, "partitioner": "murmur2"})
for key in keys:
    producer.produce("murmur2", key, key=key)
assert producer.flush(30) == 0
subprocess.run(["node", "produce.mjs", address, *keys], cwd=work, check=True, timeout=120)

def placed(topic):
    """The partition of each key."""
    consumer = Consumer({**servers, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found, end = {}, time.monotonic() + 60
    while len(found) < len(keys) and time.monotonic() < end:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            found[message.key().decode()] = message.partition()
    consumer.close()
    return found

def murmur2(key):
    mix = lambda value: value * 0x5BD1E995 & 0xFFFFFFFF
    value, tail = 0x9747B28C ^ len(key), key[len(key) // 4 * 4 :]
    for start in range(0, len(key) // 4 * 4, 4):
        word = mix(int.from_bytes(key[start : start + 4], "little"))
        value = mix(value) ^ mix(word ^ word >> 24)
    if tail:
        value = mix(value ^ int.from_bytes(tail, "little"))
    value = mix(value ^ value >> 13)
    return value ^ value >> 15

found = {topic: placed(topic) for topic in topics}
assert found["murmur2"] == {key: (murmur2(key.encode()) & 0x7FFFFFFF) % partitions for key in keys}
signed = {key for key in keys if murmur2(key.encode()) >> 31}
moved = {key for key in keys if found["platformatic"][key] != found["murmur2"][key]}
print("confluent-kafka", confluent_kafka.__version__, "keys", len(keys), "with a sign bit in their hash", len(signed))
print("kafkajs elsewhere:", sum(found["kafkajs"][key] != found["murmur2"][key] for key in keys))
print("@platformatic/kafka elsewhere:", len(moved), "of them with the sign bit", len(moved & signed))
assert found["kafkajs"] == found["murmur2"]
assert moved and moved == signed, "changed"
PY
echo "as described"
