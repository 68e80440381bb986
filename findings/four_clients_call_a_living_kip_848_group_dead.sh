#!/usr/bin/env bash
# Apache Kafka 4.4.0 and two groups of two members each that read one topic, one of the classic protocol and one of the consumer protocol
# (KIP-848), described by sarama 1.61.1 (Go), aiokafka 0.14.0, kafkajs 2.2.4 and @platformatic/kafka 1.35.0, and beside them by
# confluent-kafka 2.16.1 and kafka-python 3.0.12.
# Expected: both groups are stable, with two members, as confluent-kafka has it; or an error that says that the client does not know such
# groups.
# Seen: all four say that the group of the consumer protocol is dead and has no members, with no error: they ask by the classic protocol's
# request, in a version to which the broker answers so for a group that it has not; kafka-python says Dead too, but with an error ("is
# not a classic group"). So a monitor that is built on one of them reports readers as gone that read.
# Needs Java 17 or newer, Maven, Go 1.25 or newer, Node 20 and Python 3.
set -euo pipefail
work=$(mktemp -d); broker=; readers=
trap 'for each in $readers $broker; do kill "$each"; wait "$each" || true; done 2>/dev/null; chmod -R u+w "$work"; rm -rf "$work"' EXIT
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
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  confluent-kafka==2.16.1 aiokafka==0.14.0 kafka-python==3.0.12
npm install --prefix "$work" --silent --no-audit --no-fund kafkajs@2.2.4 @platformatic/kafka@1.35.0
mkdir "$work/go"
cat > "$work/go/main.go" <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/IBM/sarama"
)

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	admin, err := sarama.NewClusterAdmin(os.Args[1:2], config)
	if err != nil {
		panic(err)
	}
	groups, err := admin.DescribeConsumerGroups([]string{"classic", "consumer"})
	if err != nil {
		panic(err)
	}
	for _, group := range groups {
		fmt.Println("sarama", group.GroupId, group.State, len(group.Members), int(group.Err))
	}
}
GO
(cd "$work/go" && go mod init finding && go get github.com/IBM/sarama@v1.61.1 && go mod tidy \
  && go build -o describe .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
cat > "$work/describe.mjs" <<'JS'
import { Admin } from '@platformatic/kafka'
import kafkajs from 'kafkajs'

const brokers = [process.argv[2]]
const first = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING }).admin()
await first.connect()
for (const group of (await first.describeGroups(['classic', 'consumer'])).groups) {
  console.log('kafkajs', group.groupId, group.state, group.members.length, group.errorCode)
}
await first.disconnect()
const second = new Admin({ clientId: 'finding', bootstrapBrokers: brokers })
for (const [name, group] of await second.describeGroups({ groups: ['classic', 'consumer'] })) {
  console.log('platformatic', name, group.state, group.members.size)
}
await second.close()
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
cat > "$work/readers.py" <<'PY'
import sys, time
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

servers = {"bootstrap.servers": sys.argv[1], "log_level": 0}
admin, end = AdminClient(servers), time.monotonic() + 90
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
admin.create_topics([NewTopic("ticks", 2, 1)])["ticks"].result(30)
protocols = ("classic", "classic", "consumer", "consumer")
consumers = [Consumer({**servers, "group.id": each, "group.protocol": each}) for each in protocols]
for consumer in consumers:
    consumer.subscribe(["ticks"])
told = False
while time.monotonic() < end + 60:
    for consumer in consumers:
        consumer.poll(0.1)
    if not told and all(len(consumer.assignment()) == 1 for consumer in consumers):
        print("each member has a partition", flush=True)
        told = True
PY
"$work/venv/bin/python" "$work/readers.py" "127.0.0.1:$port" >"$work/readers.log" 2>&1 & readers=$!
for _ in $(seq 90); do grep -q partition "$work/readers.log" && break; sleep 1; done
grep -q partition "$work/readers.log" || { cat "$work/readers.log"; exit 1; }
cat > "$work/describe.py" <<'PY'
import asyncio, sys
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient

async def by_aiokafka():
    admin = AIOKafkaAdminClient(bootstrap_servers=sys.argv[1])
    await admin.start()
    for name in ("classic", "consumer"):
        (response,) = await admin.describe_consumer_groups([name])
        ((error, _, state, _, _, members, *_),) = response.groups
        print("aiokafka", name, state, len(members), error)
    await admin.close()

asyncio.run(by_aiokafka())
admin = KafkaAdminClient(bootstrap_servers=sys.argv[1])
for name in ("classic", "consumer"):
    group = admin.describe_groups([name])[name]
    print("kafka-python", name, group["group_state"], len(group["members"]), bool(group["error"]))
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
for name, described in admin.describe_consumer_groups(["classic", "consumer"]).items():
    group = described.result(30)
    print("confluent-kafka", name, group.state.name, len(group.members))
PY
seen=$("$work/go/describe" "127.0.0.1:$port"
  (cd "$work" && node --no-warnings describe.mjs "127.0.0.1:$port")
  "$work/venv/bin/python" "$work/describe.py" "127.0.0.1:$port")
echo "client, group, state, members, error:"
echo "$seen"
[ "$seen" = "sarama classic Stable 2 0
sarama consumer Dead 0 0
kafkajs classic Stable 2 0
kafkajs consumer Dead 0 0
platformatic classic STABLE 2
platformatic consumer DEAD 0
aiokafka classic Stable 2 0
aiokafka consumer Dead 0 0
kafka-python classic Stable 2 False
kafka-python consumer Dead 0 True
confluent-kafka classic STABLE 2
confluent-kafka consumer STABLE 2" ] || { echo "changed"; exit 1; }
echo "as described"
