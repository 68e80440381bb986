#!/usr/bin/env bash
# kafka-go 0.4.51 (segmentio): a record whose key, value or header is empty (length 0), beside one where they
# are null (length -1). In a compacted topic only the second one is a tombstone.
# Expected: an empty slice that is not nil for empty, nil for null, as franz-go 1.22.3 gives on the same records.
# Seen: nil for both, in key, value and header: a reader that takes nil for a deletion, the only way to see
# one, deletes on an empty value too, and no field of the message tells the two apart.
# Apache Kafka 4.4.0, written by confluent-kafka 2.16.0. Needs Java 17 or newer, Maven, Go 1.25 or newer, Python 3.
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

func kind(part []byte) string {
	if part == nil {
		return "null"
	} else if len(part) == 0 {
		return "empty"
	}
	return string(part)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	within, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: os.Args[1:2], Topic: "instruments", MaxWait: time.Second})
	for range 2 {
		message, err := reader.ReadMessage(within)
		check(err)
		fmt.Println("kafka-go", kind(message.Key), kind(message.Value), kind(message.Headers[0].Value))
	}
	start := map[string]map[int32]kgo.Offset{"instruments": {0: kgo.NewOffset().AtStart()}}
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]), kgo.ConsumePartitions(start))
	check(err)
	for seen := 0; seen < 2; {
		fetches := client.PollFetches(within)
		check(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Println("franz-go", kind(record.Key), kind(record.Value), kind(record.Headers[0].Value))
			seen++
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
admin.create_topics([NewTopic("instruments", 1, 1)])["instruments"].result(30)
producer = Producer(servers)
for part in (b"", None):
    producer.produce("instruments", part, key=part, headers=[("reason", part)])
assert producer.flush(30) == 0
seen = subprocess.run([readers, address], check=True, stdout=subprocess.PIPE, text=True).stdout
print("key, value and header of two records, first all empty, then all null:")
print(seen, end="")
assert seen.splitlines() == ["kafka-go null null null"] * 2 + [
    "franz-go empty empty empty", "franz-go null null null"
], "changed"
PY
echo "as described"
