#!/usr/bin/env bash
# Apache Kafka 4.4.0 and a topic of message.timestamp.type=LogAppendTime, records produced with timestamps of
# 2020; read by kafka-go 0.4.51 and @platformatic/kafka 1.35.0, and by confluent-kafka 2.16.0 and kafkajs 2.2.4.
# Expected: each client gives the time at which the broker appended the record, which is what the broker goes by
# (retention, search by time) and what the batch's attribute says to use in place of each record's own.
# Seen: confluent-kafka and kafkajs give the broker's time. kafka-go and @platformatic/kafka pass over the
# attribute and give the producer's, of 2020: readers of one topic differ in the time of each record.
# Needs Java 17 or newer, Maven, Go 1.23 or newer, Node 20 and Python 3.
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
mkdir "$work/go"
cat > "$work/go/main.go" <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: os.Args[1:2], Topic: "ticks", MaxWait: time.Second})
	within, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	message, err := reader.ReadMessage(within)
	if err != nil {
		panic(err)
	}
	fmt.Println(message.Time.UnixMilli())
}
GO
(cd "$work/go" && go mod init finding && go get github.com/segmentio/kafka-go@v0.4.51 && go mod tidy && go build -o reader .) \
  >"$work/go.log" 2>&1 || { tail -20 "$work/go.log"; exit 1; }
cat > "$work/platformatic.mjs" <<'JS'
import { Consumer } from '@platformatic/kafka'
const consumer = new Consumer({ groupId: 'platformatic', clientId: 'reader', bootstrapBrokers: [process.argv[2]] })
let stream
for (let tries = 0; !stream; tries++) {
  try { stream = await consumer.consume({ topics: ['ticks'], mode: 'earliest', autocommit: false }) } catch (error) {
    if (tries === 9) throw error // the coordinator of a new cluster is not there at once
    await new Promise(resolve => setTimeout(resolve, 1000))
  }
}
stream.on('data', message => { console.log(String(message.timestamp)); process.exit(0) })
JS
cat > "$work/kafkajs.mjs" <<'JS'
import { Kafka, logLevel } from 'kafkajs'
const consumer = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING }).consumer({ groupId: 'kafkajs' })
await consumer.connect()
await consumer.subscribe({ topic: 'ticks', fromBeginning: true })
await consumer.run({ eachMessage: async ({ message }) => { console.log(message.timestamp); process.exit(0) } })
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
"$work/venv/bin/python" - "127.0.0.1:$port" "$work" <<'PY'
import subprocess, sys, time
import confluent_kafka
from confluent_kafka import Consumer, Producer, TIMESTAMP_LOG_APPEND_TIME, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

address, work = sys.argv[1:]
servers = {"bootstrap.servers": address, "log_level": 0}
admin, end = AdminClient(servers), time.monotonic() + 60
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
topic = NewTopic("ticks", 1, 1, config={"message.timestamp.type": "LogAppendTime"})
admin.create_topics([topic])["ticks"].result(30)
produced_ms, before_ms = 1_600_000_000_000, int(time.time() * 1000)
producer = Producer(servers)
producer.produce("ticks", b"tick", timestamp=produced_ms)
assert producer.flush(30) == 0

consumer = Consumer({**servers, "group.id": "readers"})
consumer.assign([TopicPartition("ticks", 0, 0)])
kind, appended_ms = consumer.poll(30).timestamp()
assert kind == TIMESTAMP_LOG_APPEND_TIME and appended_ms >= before_ms
consumer.close()

def read(*command):
    return int(subprocess.run([*command, address], cwd=work, check=True, timeout=120, stdout=subprocess.PIPE).stdout)

seen = {
    "kafkajs": read("node", "kafkajs.mjs"),
    "kafka-go": read("go/reader"),
    "@platformatic/kafka": read("node", "platformatic.mjs"),
}
print("produced with", produced_ms, "appended at", appended_ms, "as confluent-kafka", confluent_kafka.__version__, "says")
for name, timestamp_ms in seen.items():
    print(name, timestamp_ms)
assert seen == {"kafkajs": appended_ms, "kafka-go": produced_ms, "@platformatic/kafka": produced_ms}, "changed"
PY
echo "as described"
