#!/usr/bin/env bash
# Apache Kafka 4.4.0, kafka-streams 4.4.0: an application reads two topics by name, one of which is not there yet, as
# when it is deployed before whatever makes the topic. Started as the documentation's examples are: once with `start`
# as the last line of main, once with a latch that a shutdown hook releases. No handler of uncaught exceptions is set.
# Expected: it waits for the topic, as it does where it subscribes to a pattern, or ends with an exit code that
# supervisors take for a failure.
# Seen: its threads end within seconds (MissingSourceTopicException in the log, state ERROR). The first program then ends with
# exit code 0, so that nothing that restarts on failure starts it again, the second one stays and does nothing for
# ever, also when the topic is made. The other topic is not read either. The same under group.protocol=streams.
# Needs a JDK 17 or newer, Maven and Python 3; runs for some 90 seconds.
set -euo pipefail
work=$(mktemp -d); broker=
trap '[ -z "$broker" ] || { kill "$broker"; wait "$broker" || true; } 2>/dev/null; rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>streams</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-streams</artifactId><version>4.4.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free); controller=$(free)
cat > "$work/server.properties" <<PROPERTIES
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$work/data
offsets.topic.replication.factor=1
auto.create.topics.enable=false
PROPERTIES
java -cp "$work/jars/*" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$work/server.properties" >/dev/null
java -Xmx256m -cp "$work/jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 & broker=$!
cat > "$work/Missing.java" <<'JAVA'
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.*;

public class Missing {
  static void make(String address, String topic) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
      admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get(60, TimeUnit.SECONDS);
    }
  }

  public static void main(String[] given) throws Exception {
    String address = given[0], way = given[1];
    if (way.equals("make")) {
      make(address, given[2]);
      return;
    }
    var properties = new Properties();
    properties.put("bootstrap.servers", address);
    properties.put("application.id", way + given[2]);
    properties.put("group.protocol", given[2]);
    properties.put("state.dir", given[3]);
    properties.put("default.key.serde", Serdes.ByteArraySerde.class);
    properties.put("default.value.serde", Serdes.ByteArraySerde.class);
    var builder = new StreamsBuilder();
    builder.stream(List.of("there", "later-" + way + given[2])).foreach((key, value) -> {});
    var streams = new KafkaStreams(builder.build(), properties);
    var failed = new CountDownLatch(1);
    streams.setStateListener((now, before) -> {
      if (now == KafkaStreams.State.ERROR) failed.countDown();
    });
    if (way.equals("plain")) {
      streams.start();  // the last line of main
      return;
    }
    var latch = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> { streams.close(); latch.countDown(); }));
    streams.start();
    // beside what the examples do: makes the topic once the threads have ended, and looks again
    new Thread(() -> {
      try {
        if (!failed.await(60, TimeUnit.SECONDS)) Runtime.getRuntime().halt(9);
        make(address, "later-" + way + given[2]);
        Thread.sleep(10_000);
        Runtime.getRuntime().halt(streams.state() == KafkaStreams.State.ERROR ? 7 : 8);
      } catch (Exception exception) {
        Runtime.getRuntime().halt(9);
      }
    }).start();
    latch.await();
  }
}
JAVA
missing() { timeout 150 java -cp "$work/jars/*" "$work/Missing.java" "127.0.0.1:$port" "$@"; }
missing make there
for protocol in classic streams; do
  code=0; missing plain $protocol "$work/state" || code=$?
  [ $code = 0 ] || { echo "$protocol: main ended with $code, not with 0" >&2; exit 1; }
  code=0; missing latch $protocol "$work/state" || code=$?
  [ $code = 7 ] || { echo "$protocol: the program that waits did not stay in ERROR ($code)" >&2; exit 1; }
done
echo "kafka-streams 4.4.0 with a missing topic: exit code 0, or a program that stays and reads nothing"
