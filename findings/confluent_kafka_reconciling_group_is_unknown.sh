#!/usr/bin/env bash
# Apache Kafka 4.4.0, confluent-kafka 2.16.0: the state of a group of the consumer protocol (KIP-848) whose second member
# waits for the first one, which does not poll just now, to give partitions back.
# Expected: a state that says so, as Java's admin client has it (RECONCILING), or at least one of those of a
# rebalance (PREPARING_REBALANCING, COMPLETING_REBALANCING).
# Seen: describe_consumer_groups and list_consumer_groups say UNKNOWN, for as long as it lasts: the states of the
# new protocol have no name there. So a monitor that takes UNKNOWN for a failed question, or waits for the
# state of a rebalance, is wrong under group.protocol=consumer; STABLE and EMPTY are right.
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
group.initial.rebalance.delay.ms=0
EOF
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
cat > "$work/State.java" <<'JAVA'
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;

public class State {
    public static void main(String[] arguments) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            var group = admin.describeConsumerGroups(List.of("readers")).describedGroups().get("readers").get();
            System.out.println(group.groupState().name());
        }
    }
}
JAVA
timeout 200 "$work/venv/bin/python" - "127.0.0.1:$port" "$work" <<'PY'
import subprocess, sys, time
import confluent_kafka
from confluent_kafka import Consumer
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
admin.create_topics([NewTopic("ticks", 4, 1)])["ticks"].result(30)

def member():
    consumer = Consumer({**servers, "group.id": "readers", "group.protocol": "consumer"})
    consumer.subscribe(["ticks"], on_revoke=lambda _, taken: None)
    return consumer

def poll_until(consumers, holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "the group does not get there"
        for consumer in consumers:
            consumer.poll(0.2)

def states():
    """The group's state as described, as listed, and as Java's client has it."""
    listed = [entry.state.name for entry in admin.list_consumer_groups().result(30).valid if entry.group_id == "readers"]
    command = ["java", "-Xmx128m", "-cp", f"{work}/jars/*", f"{work}/State.java", address]
    java = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120)
    described = admin.describe_consumer_groups(["readers"])["readers"].result(30)
    return described.state.name, *listed, java.stdout.strip()

first = member()
poll_until([first], lambda: len(first.assignment()) == 4)
second, joined = member(), time.monotonic()
poll_until([second], lambda: time.monotonic() > joined + 8)
waiting = states()
poll_until([first, second], lambda: len(first.assignment()) == len(second.assignment()) == 2)
joined = time.monotonic()
poll_until([first, second], lambda: time.monotonic() > joined + 8)
settled = states()
print("confluent-kafka", confluent_kafka.__version__)
print("while the first does not poll (described, listed, Java):", *waiting)
print("when both do:", *settled)
assert settled == ("STABLE",) * 3
assert waiting == ("UNKNOWN", "UNKNOWN", "RECONCILING"), "changed"
PY
echo "as described"
