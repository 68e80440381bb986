#!/usr/bin/env bash
# Apache Kafka 4.4.0, confluent-kafka 2.16.0: a static member (group.instance.id, as a pod of a StatefulSet has it) is
# killed and started again at once with the same id, under group.protocol=classic and under consumer (KIP-848).
# Expected: it takes its old place at once under both, which is what a static member is for; if it must wait for
# the killed one's session to end, it waits.
# Seen: under classic it has its partitions again at once, and the old one would be fenced. Under consumer the new
# one is refused with a fatal error (UNRELEASED_INSTANCE_ID) for as long as the killed one's session lasts, 45 s by
# default and at least, and does not try again: the program ends, is started, ends.
# Needs Java 17 or newer, Maven and Python 3; runs for some 80 seconds.
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
group.initial.rebalance.delay.ms=0
EOF
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
cat > "$work/member.py" <<'PY'
import sys
from confluent_kafka import Consumer

address, protocol = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": address, "log_level": 0, "group.id": protocol, "group.protocol": protocol,
    "group.instance.id": "pod-0", "auto.offset.reset": "earliest",
})
consumer.subscribe(["ticks"], on_assign=lambda _, given: given and print("assigned", len(given), flush=True))
while True:
    message = consumer.poll(0.2)
    if message is not None and message.error() is not None and message.error().name() == "_FATAL":
        print(message.error().str(), flush=True)
        break
PY
timeout 300 "$work/venv/bin/python" - "127.0.0.1:$port" "$work" <<'PY'
import subprocess, sys, time
import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

address, work = sys.argv[1:]
admin, end = AdminClient({"bootstrap.servers": address, "log_level": 0}), time.monotonic() + 60
while True:
    try:
        assert admin.list_topics(timeout=2).brokers
        break
    except Exception:
        assert time.monotonic() < end, "the broker does not answer"
admin.create_topics([NewTopic("ticks", 4, 1)])["ticks"].result(30)

def start(protocol):
    """A member, and the first thing that it says."""
    member = subprocess.Popen(
        [sys.executable, f"{work}/member.py", address, protocol],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    return member, member.stdout.readline().strip()

def end_of(member):
    member.kill()
    member.wait()

print("confluent-kafka", confluent_kafka.__version__)
seen = {}
for protocol in ("classic", "consumer"):
    member, said = start(protocol)
    assert said == "assigned 4", said
    end_of(member)
    killed, refusals = time.monotonic(), []
    while True:
        member, said = start(protocol)
        end_of(member)
        if said == "assigned 4":
            break
        refusals.append(said)
        assert time.monotonic() < killed + 120, "never let in"
        time.sleep(5)
    seen[protocol] = refusals
    print(f"{protocol}: refused {len(refusals)} times, in again {time.monotonic() - killed:.0f} s after the end")
print("refusal:", seen["consumer"][:1])
assert not seen["classic"]
assert len(seen["consumer"]) > 3, "changed"
assert all("instance ID is still used by another member" in said for said in seen["consumer"])
PY
echo "as described"
