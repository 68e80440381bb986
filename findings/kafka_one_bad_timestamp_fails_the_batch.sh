#!/usr/bin/env bash
# Apache Kafka 4.4.0, confluent-kafka 2.16.0 (librdkafka 2.16): records whose timestamps the broker does
# not accept (message.timestamp.after.max.ms, an hour by default).
# Expected: INVALID_TIMESTAMP for the bad records of a batch, and for the sound ones either success or an
# error that says that others were at fault (librdkafka has _INVALID_DIFFERENT_RECORD for it).
# Seen: with exactly one bad record among many every record of the batch, sound ones too, is reported
# INVALID_TIMESTAMP; with two or more the bad ones are INVALID_RECORD, which says nothing of a time, and
# the sound ones _INVALID_DIFFERENT_RECORD. So neither code tells by itself which record has a bad time.
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
port=$(free); controller=$(free)
cat > "$work/server.properties" <<EOF
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$work/data
offsets.topic.replication.factor=1
EOF
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
"$work/venv/bin/python" - "127.0.0.1:$port" <<'PY'
import sys, time
from collections import Counter
import confluent_kafka
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

servers = {"bootstrap.servers": sys.argv[1], "log_level": 0}
admin, end = AdminClient(servers), time.monotonic() + 60
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
admin.create_topics([NewTopic("ticks", 1, 1)])["ticks"].result(30)

def batch(bad, records=10):
    """Error names by kind of record, of one batch in which the first `bad` are two hours ahead."""
    producer, seen = Producer({**servers, "linger.ms": 500, "retries": 0}), Counter()
    now = int(time.time() * 1000)
    for number in range(records):
        kind = "bad" if number < bad else "sound"
        producer.produce(
            "ticks", b"x", timestamp=now + (7_200_000 if kind == "bad" else 0),
            on_delivery=lambda error, _, kind=kind: seen.update([(kind, error.name() if error else "ok")]),
        )
    producer.flush(30)
    return dict(seen)

seen = {bad: batch(bad) for bad in (0, 1, 2, 5, 10)}
print("confluent-kafka", confluent_kafka.__version__)
for bad, counts in seen.items():
    print(f"{bad} of 10 are two hours ahead:", counts)
assert seen[0] == {("sound", "ok"): 10}
assert seen[1] == {("bad", "INVALID_TIMESTAMP"): 1, ("sound", "INVALID_TIMESTAMP"): 9}
for bad in (2, 5):
    assert seen[bad] == {
        ("bad", "INVALID_RECORD"): bad, ("sound", "_INVALID_DIFFERENT_RECORD"): 10 - bad
    }
assert seen[10] == {("bad", "INVALID_RECORD"): 10}
PY
echo "as described"
