#!/usr/bin/env bash
# Apache Kafka 4.4.0, confluent-kafka 2.16.0 (librdkafka 2.16): an idempotent producer whose first batch to
# a partition meets a leader that does not know the partition yet (NOT_LEADER_OR_FOLLOWER, as in the moment
# after a topic was made), while the next batches are already under way and are accepted.
# Expected: acks=all and enable.idempotence=true: each record that is reported as delivered is in the log.
# Seen: the broker has no state of the producer, so it accepts the second batch as the first one (known there
# as KAFKA-15591); it takes the retried first batch for an old one; and librdkafka reports that batch as
# delivered, without an error. Its records are in no log. The only trace is that their reports have no
# offset. Who counts successes, or is called for errors alone, never learns of it.
# A small proxy refuses the first produce request in the leader's name, so that it happens at each run; with
# a broker alone it happened once in some eight starts on a busy machine.
# Needs Java 17 or newer, Maven and Python 3.
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
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
direct=$(free); proxied=$(free); controller=$(free)
cat > "$work/server.properties" <<EOF
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:$controller
listeners=DIRECT://127.0.0.1:$direct,PROXIED://127.0.0.1:0,CONTROLLER://127.0.0.1:$controller
advertised.listeners=DIRECT://127.0.0.1:$direct,PROXIED://127.0.0.1:$proxied
listener.security.protocol.map=DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=DIRECT
controller.listener.names=CONTROLLER
log.dirs=$work/data
offsets.topic.replication.factor=1
EOF
behind=$(free); sed -i "s/PROXIED:\/\/127.0.0.1:0/PROXIED:\/\/127.0.0.1:$behind/" "$work/server.properties"
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
timeout 180 "$work/venv/bin/python" - "$direct" "$behind" "$proxied" <<'PY'
import asyncio, struct, sys, threading, time
import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

direct, behind, proxied = (int(port) for port in sys.argv[1:])
PRODUCE, NOT_LEADER, BATCH, RECORDS = 0, 6, 3, 12
refused = []

def refusal(correlation_id, topic):
    """A ProduceResponse of version 10 with one partition that is not led here."""
    partition = struct.pack(">ihqqq", 0, NOT_LEADER, -1, -1, -1) + b"\x01\x00\x00"
    body = struct.pack(">iB", correlation_id, 0) + b"\x02" + bytes([len(topic) + 1]) + topic
    body += b"\x02" + partition + b"\x00" + struct.pack(">iB", 0, 0)
    return struct.pack(">i", len(body)) + body

async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def serve(client_reader, client_writer):
    broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", behind)
    back = asyncio.create_task(copy(broker_reader, client_writer))
    try:
        while True:
            size = await client_reader.readexactly(4)
            request = await client_reader.readexactly(struct.unpack(">i", size)[0])
            api_key, version, correlation_id = struct.unpack(">hhi", request[:8])
            if api_key == PRODUCE and not refused:
                assert version == 10, f"produce requests of version {version}"
                refused.append(correlation_id)
                client_writer.write(refusal(correlation_id, b"ticks"))
            else:
                broker_writer.write(size + request)
    except (asyncio.IncompleteReadError, ConnectionError):
        back.cancel()

async def proxy():
    server = await asyncio.start_server(serve, "127.0.0.1", proxied)
    await server.serve_forever()

threading.Thread(target=asyncio.run, args=(proxy(),), daemon=True).start()
around = {"bootstrap.servers": f"127.0.0.1:{direct}", "log_level": 0}
admin, end = AdminClient(around), time.monotonic() + 60
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
admin.create_topics([NewTopic("ticks", 1, 1)])["ticks"].result(30)
time.sleep(2)  # until the leader surely knows of it

reports = []
producer = Producer({
    "bootstrap.servers": f"127.0.0.1:{proxied}", "log_level": 0, "acks": "all",
    "enable.idempotence": True, "batch.num.messages": BATCH, "linger.ms": 100,
})
for number in range(RECORDS):
    producer.produce(
        "ticks", b"%d" % number,
        on_delivery=lambda error, sent: reports.append((sent.value(), error, sent.offset())),
    )
left = producer.flush(60)
consumer = Consumer({**around, "group.id": "finding"})
consumer.assign([TopicPartition("ticks", 0, 0)])
low, high = consumer.get_watermark_offsets(TopicPartition("ticks", 0), timeout=10)
stored = [consumer.poll(10).value() for _ in range(high - low)]
consumer.close()
print("confluent-kafka", confluent_kafka.__version__, "librdkafka", confluent_kafka.libversion()[0])
print("reports (value, error, offset):", reports)
print("in the log:", stored)
assert left == 0 and len(refused) == 1
assert [error for _, error, _ in reports] == [None] * RECORDS
lost = sorted({b"%d" % number for number in range(RECORDS)} - set(stored))
assert lost == [b"0", b"1", b"2"] and len(stored) == RECORDS - BATCH
assert [offset for value, _, offset in reports if value in lost] == [None, None, None]
PY
echo "as described"
