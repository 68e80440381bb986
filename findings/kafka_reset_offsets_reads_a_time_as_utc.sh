#!/usr/bin/env bash
# Apache Kafka 4.4.0, kafka-consumer-groups --reset-offsets --to-datetime, on a machine in the zone Asia/Kolkata: a topic with a record at
# each full hour of a day in India, a group, and the time 2026-08-03T09:00:00.000, in the form that --help names, "Format:
# 'YYYY-MM-DDThh:mm:ss.sss'", which has no zone; then the same with +05:30 behind it.
# Expected: the record of 09:00 of the machine's clock, as for every other time without a zone that is typed there; or an error.
# Seen: without a zone it is UTC, on whatever machine, so the group is put on the record of 15:00 (the first one at 14:30 or later), and the
# day's trade is passed over but for half an hour, without a word. With +05:30, which the help does not name, it is 09:00.
# Needs Java 17 or newer, Maven and Python 3.
set -euo pipefail
work=$(mktemp -d); broker=
trap '[ -z "$broker" ] || { kill "$broker"; wait "$broker" || true; } 2>/dev/null; rm -rf "$work"' EXIT
export TZ=Asia/Kolkata
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.4.0</version></dependency>
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
group.initial.rebalance.delay.ms=0
EOF
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
cat > "$work/hours.py" <<'PY'
import sys, time
from datetime import datetime, timedelta, timezone
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

servers = {"bootstrap.servers": sys.argv[1], "log_level": 0}
admin, end = AdminClient(servers), time.monotonic() + 60
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
# Records of long ago would be deleted by retention.ms.
keep = {"retention.ms": "-1"}
admin.create_topics([NewTopic("ticks", 1, 1, config=keep)])["ticks"].result(30)
producer = Producer(servers)
day = datetime(2026, 8, 3, tzinfo=timezone(timedelta(hours=5, minutes=30)))
for hour in range(24):  # so the record of an hour has the hour as its offset
    at = int((day + timedelta(hours=hour)).timestamp() * 1000)
    producer.produce("ticks", str(hour), timestamp=at)
assert producer.flush(30) == 0
consumer = Consumer({**servers, "group.id": "bars"})
consumer.commit(offsets=[TopicPartition("ticks", 0, 24)], asynchronous=False)
consumer.close()
PY
timeout 120 "$work/venv/bin/python" "$work/hours.py" "127.0.0.1:$port"
tool() { java -cp "$work/jars/*" org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@" 2>"$work/tool.log"; }
reset() {
  tool --bootstrap-server "127.0.0.1:$port" --group bars --topic ticks --reset-offsets --to-datetime "$1" --dry-run \
    | awk '$2 == "ticks" {print $4}'
}
plain=$(reset 2026-08-03T09:00:00.000); zoned=$(reset 2026-08-03T09:00:00.000+05:30)
echo "the hour in India that the group is put on: without a zone $plain, with +05:30 $zoned"
[ "$plain" = 15 ] || { echo "changed: without a zone"; exit 1; }
[ "$zoned" = 9 ] || { echo "changed: with a zone"; exit 1; }
echo "as described"
