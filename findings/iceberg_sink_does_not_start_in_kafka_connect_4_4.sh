#!/usr/bin/env bash
# Apache Iceberg 1.12.0's sink for Kafka Connect, with the worker of Apache Kafka 4.4.0.
# Expected: the newest release of each works with the other; the sink names no newest version of Connect.
# Seen: each task ends with ClassNotFoundException: org.apache.kafka.common.utils.AppInfoParser. The sink
# calls a class that is not part of Kafka's public API, and Kafka 4.4 has moved it into a package
# `internals`. With Connect 4.1.1 it works, also against brokers of 4.4.0. Needs Maven and a JDK, starts
# nothing: it asks which classes the sink's task calls, and whether kafka-clients has them.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fetch() { mvn -q -B dependency:copy -Dartifact="$1" -DoutputDirectory="$work" >/dev/null; }
fetch org.apache.iceberg:iceberg-kafka-connect:1.12.0
fetch org.apache.kafka:kafka-clients:4.1.1
fetch org.apache.kafka:kafka-clients:4.4.0
name=org.apache.kafka.common.utils.AppInfoParser
javap -v -cp "$work/iceberg-kafka-connect-1.12.0.jar" org.apache.iceberg.connect.IcebergSinkTask \
  | grep -q "${name//.//}" || { echo "changed: the sink's task does not call it"; exit 1; }
echo "the sink's task calls $name"
in_clients() { javap -cp "$work/kafka-clients-$1.jar" "$2" >/dev/null 2>&1; }
in_clients 4.1.1 "$name" || { echo "changed: 4.1.1 lacks it"; exit 1; }
echo "kafka-clients 4.1.1 has it"
! in_clients 4.4.0 "$name" || { echo "changed: 4.4.0 has it"; exit 1; }
in_clients 4.4.0 org.apache.kafka.common.utils.internals.AppInfoParser
echo "kafka-clients 4.4.0 lacks it, and has org.apache.kafka.common.utils.internals.AppInfoParser"
echo "as described"
