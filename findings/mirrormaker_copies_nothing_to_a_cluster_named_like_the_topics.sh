#!/usr/bin/env bash
# Apache Kafka 4.3.1, MirrorMaker 2 with its default replication policy: two topics on the source, kite.ticks.nse and prices, are to be
# copied into a target cluster that is called backup in the configuration, and then into one that is called kite.
# Expected: both topics are in the target each time, as source.kite.ticks.nse and source.prices; or MirrorMaker says why not.
# Seen: to backup both are copied. To kite prices alone is, and kite.ticks.nse never is: what stands before the first dot of a topic's
# name counts as the cluster that the topic came from, so this one seems to come from the target itself, and a copy would go
# round in a circle. Its log, at the level INFO, has no word of it. So no cluster may be called as the topics begin.
# Source and target are one broker here. Needs Java 17 or newer, Maven and Python 3.
set -euo pipefail
work=$(mktemp -d); broker=; mirror=
trap 'for each in $mirror $broker; do kill "$each"; wait "$each" || true; done 2>/dev/null; rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>mirror</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>connect-mirror</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
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
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null 2>&1
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
cat > "$work/topics.py" <<'PY'
import sys, time
from confluent_kafka.admin import AdminClient, NewTopic

step, address = sys.argv[1:]
admin, end = AdminClient({"bootstrap.servers": address, "log_level": 0}), time.monotonic() + 90
TOPICS = ("kite.ticks.nse", "prices")

def wait(reached):
    while not reached():
        assert time.monotonic() < end, "the broker or MirrorMaker does not answer"
        time.sleep(0.5)

def there():
    try:
        return set(admin.list_topics(timeout=2).topics)
    except Exception:  # no broker yet
        return None

if step == "make":
    wait(lambda: there() is not None)
    for made in admin.create_topics([NewTopic(topic, 1, 1) for topic in TOPICS]).values():
        made.result(30)
else:
    wait(lambda: f"{step}.prices" in (there() or ()))
    time.sleep(10)  # it looks for topics every two seconds
    copied = set(admin.list_topics(timeout=30).topics)
    print(" ".join(topic for topic in TOPICS if f"{step}.{topic}" in copied))
PY
topics() { timeout 120 "$work/venv/bin/python" "$work/topics.py" "$1" "127.0.0.1:$port"; }
mirrored() {
  cat > "$work/$1.properties" <<EOF
clusters = $1, $2
$1.bootstrap.servers = 127.0.0.1:$port
$2.bootstrap.servers = 127.0.0.1:$port
$1->$2.enabled = true
$1->$2.topics = kite\\.ticks\\.nse, prices
refresh.topics.interval.seconds = 2
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
EOF
  java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=info -cp "$work/jars/*" \
    org.apache.kafka.connect.mirror.MirrorMaker "$work/$1.properties" >"$work/$1.log" 2>&1 & mirror=$!
  seen=$(topics "$1")
  kill $mirror; wait $mirror || true; mirror=
}
topics make
mirrored source backup; backup=$seen
mirrored other kite; kite=$seen
words=$(grep -ci "cycle\|circular\|kite.ticks.nse.*\(skip\|ignor\|exclud\)" "$work/other.log" || true)
echo "copied to backup: $backup"
echo "copied to kite: $kite; lines of the log that tell of it: $words, of $(grep -c INFO "$work/other.log")"
[ "$backup" = "kite.ticks.nse prices" ] || { echo "changed: backup"; exit 1; }
[ "$kite" = "prices" ] || { echo "changed: kite"; exit 1; }
[ "$words" = 0 ] || { echo "changed: log"; exit 1; }
echo "as described"
