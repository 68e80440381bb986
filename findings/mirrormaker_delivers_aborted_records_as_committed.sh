#!/usr/bin/env bash
# Apache Kafka 4.3.1, MirrorMaker 2 as its documentation starts it (two clusters, source->target.enabled, topics): a topic that is written
# in transactions, one committed, one aborted, one committed; then the copy, read with isolation.level=read_committed. Once as
# it is, and once with consumer.isolation.level=read_committed for the source cluster. Both "clusters" are one broker here.
# Expected: the copy has what the source has to a reader of committed records, the first and the last one, or it is aborted there too.
# Seen: as it is the copy has all three, in no transaction: what was aborted has become a plain record, which no isolation level
# can tell from the others; in a compacted topic it stays as the last word on its key. Only with the consumer's setting it is
# left out. So state that is kept in transactions changes on its way. Needs Java 17 or newer, Maven and Python 3.
set -euo pipefail
work=$(mktemp -d); broker=; mirror=
trap 'for each in $mirror $broker; do kill "$each"; wait "$each" || true; done 2>/dev/null; rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>mirror</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>connect-mirror</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
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
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
EOF
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
cat > "$work/topic.py" <<'PY'
import sys, time
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

step, address = sys.argv[1:]
servers = {"bootstrap.servers": address, "log_level": 0}
admin, end = AdminClient(servers), time.monotonic() + 90

def wait(reached):
    while not reached():
        assert time.monotonic() < end, "the broker or MirrorMaker does not answer"
        time.sleep(0.5)

def up():
    try:
        return admin.list_topics(timeout=2).brokers
    except Exception:
        return False

def write():
    admin.create_topics([NewTopic("subscriptions", 1, 1)])["subscriptions"].result(30)
    producer = Producer({**servers, "transactional.id": "leader"})
    producer.init_transactions(60)
    for value in ("first", "aborted", "last"):
        producer.begin_transaction()
        producer.produce("subscriptions", value, key=value)
        producer.flush(30)
        (producer.abort_transaction if value == "aborted" else producer.commit_transaction)(30)

def read(topic):
    settings = {"group.id": topic, "isolation.level": "read_committed", "enable.auto.commit": False}
    consumer, values = Consumer({**servers, **settings}), []
    consumer.assign([TopicPartition(topic, 0, 0)])
    while not values or values[-1] != "last":
        assert time.monotonic() < end, "the record that was written last does not come"
        if (message := consumer.poll(1)) is not None and not message.error():
            values.append(message.value().decode())
    consumer.close()
    return " ".join(values)

wait(up)
if step == "write":
    write()
    print(read("subscriptions"))
else:
    wait(lambda: f"{step}.subscriptions" in admin.list_topics(timeout=5).topics)
    print(read(f"{step}.subscriptions"))
PY
topic() { timeout 120 "$work/venv/bin/python" "$work/topic.py" "$1" "127.0.0.1:$port"; }
mirrored() {
  cat > "$work/$1.properties" <<EOF
clusters = $1, target
$1.bootstrap.servers = 127.0.0.1:$port
target.bootstrap.servers = 127.0.0.1:$port
$1->target.enabled = true
$1->target.topics = subscriptions
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
${2:-}
EOF
  java -Xmx256m -cp "$work/jars/*" org.apache.kafka.connect.mirror.MirrorMaker "$work/$1.properties" \
    >"$work/mirror.log" 2>&1 & mirror=$!
  seen=$(topic "$1")
  kill $mirror; wait $mirror || true; mirror=
}
source=$(topic write)
mirrored plain; plain=$seen
mirrored committed "committed.consumer.isolation.level = read_committed"; committed=$seen
echo "the source, committed records: $source"
echo "the copy: $plain"
echo "the copy with consumer.isolation.level=read_committed: $committed"
[ "$source" = "first last" ] || { echo "changed: source"; exit 1; }
[ "$plain" = "first aborted last" ] || { echo "changed: copy"; exit 1; }
[ "$committed" = "first last" ] || { echo "changed: copy with read_committed"; exit 1; }
echo "as described"
