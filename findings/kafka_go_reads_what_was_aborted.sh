#!/usr/bin/env bash
# kafka-go 0.4.51 (segmentio) with IsolationLevel: ReadCommitted, and franz-go 1.22.3 with ReadCommitted, of a topic that is written in
# transactions: one committed, one aborted, one committed, of one record each.
# Expected: the first and the last record, from both.
# Seen: franz-go gives these. kafka-go gives the aborted record as any other, and behind each transaction the broker's marker
# of its end, as a message with a key of four bytes and a value of six, which no producer wrote. So a state that is kept in
# transactions is wrong, and a decoder fails at each marker; only the length of its key tells a marker. Apache Kafka 4.4.0, written
# by confluent-kafka 2.16.0. Needs Java 17 or newer, Maven, Go 1.25 or newer, Python 3.
set -euo pipefail
work=$(mktemp -d); broker=
trap '[ -z "$broker" ] || { kill "$broker"; wait "$broker" || true; } 2>/dev/null; rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.0
mkdir "$work/go"
cat > "$work/go/main.go" <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	within, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	settings := kafka.ReaderConfig{Brokers: os.Args[1:2], Topic: "states", MaxWait: time.Second}
	settings.IsolationLevel = kafka.ReadCommitted
	reader := kafka.NewReader(settings)
	for last := false; !last; {
		message, err := reader.ReadMessage(within)
		check(err)
		if len(message.Key) == 4 && len(message.Value) == 6 {
			fmt.Println("kafka-go", message.Offset, "a marker")
			continue
		}
		fmt.Println("kafka-go", message.Offset, string(message.Value))
		last = string(message.Value) == "last"
	}
	start := map[string]map[int32]kgo.Offset{"states": {0: kgo.NewOffset().AtStart()}}
	level := kgo.FetchIsolationLevel(kgo.ReadCommitted())
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]), kgo.ConsumePartitions(start), level)
	check(err)
	for last := false; !last; {
		fetches := client.PollFetches(within)
		check(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Println("franz-go", record.Offset, string(record.Value))
			last = string(record.Value) == "last"
		})
	}
}
GO
(cd "$work/go" && go mod init finding && go get github.com/segmentio/kafka-go@v0.4.51 github.com/twmb/franz-go@v1.22.3 \
  && go mod tidy && go build -o readers .) >"$work/go.log" 2>&1 || { tail -20 "$work/go.log"; exit 1; }
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
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
EOF
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
timeout 180 "$work/venv/bin/python" - "127.0.0.1:$port" "$work/go/readers" <<'PY'
import subprocess, sys, time
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

address, readers = sys.argv[1:]
servers = {"bootstrap.servers": address, "log_level": 0}
admin, end = AdminClient(servers), time.monotonic() + 60
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
admin.create_topics([NewTopic("states", 1, 1)])["states"].result(30)
producer = Producer({**servers, "transactional.id": "leader"})
producer.init_transactions(60)
for value in ("first", "aborted", "last"):
    producer.begin_transaction()
    producer.produce("states", value, key="408065")
    producer.flush(30)
    (producer.abort_transaction if value == "aborted" else producer.commit_transaction)(30)
seen = subprocess.run([readers, address], check=True, stdout=subprocess.PIPE, text=True).stdout
print("client, offset, value:")
print(seen, end="")
assert seen.splitlines() == [
    "kafka-go 0 first", "kafka-go 1 a marker", "kafka-go 2 aborted", "kafka-go 3 a marker", "kafka-go 4 last",
    "franz-go 0 first", "franz-go 4 last",
], "changed"
PY
echo "as described"
