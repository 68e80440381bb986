#!/usr/bin/env bash
# confluent-kafka-go 2.11.1 (Confluent's client for Go), the two Avro packages of its schemaregistry/serde, each with the same record of
# the time 2026-08-03 10:15 in India as timestamp-millis, plain and in a union with null, read into time.Time and *time.Time.
# Expected: that time from both; or an error, as for a field that is no number.
# Seen: avrov2 gives it. avro, whose name is the plain one, gives 1970-01-21 16:02:12.3 UTC for both: it takes every long that goes into a
# time.Time for microseconds, whatever the schema in the registry says, without an error. What it writes itself it reads right, since
# it registers timestamp-micros for a time.Time. An int64 in the struct has the milliseconds. Needs Go 1.24 or newer and a C compiler.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cat > "$work/main.go" <<'GO'
package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde/avro"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde/avrov2"
)

const schema = `{"type": "record", "name": "Tick", "fields": [
  {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "exchange_timestamp", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null}]}`

type tick struct {
	EventTime         time.Time  `json:"event_time" avro:"event_time"`
	ExchangeTimestamp *time.Time `json:"exchange_timestamp" avro:"exchange_timestamp"`
}

type numbers struct {
	EventTime int64 `json:"event_time" avro:"event_time"`
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	// A registry in memory, which is part of the client.
	registry, err := schemaregistry.NewClient(schemaregistry.NewConfig("mock://finding"))
	check(err)
	id, err := registry.Register("ticks-value", schemaregistry.SchemaInfo{Schema: schema}, false)
	check(err)
	when := time.Date(2026, 8, 3, 4, 45, 0, 0, time.UTC)
	value := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
	value = binary.AppendVarint(value, when.UnixMilli()) // Avro's long is this varint
	value = binary.AppendVarint(append(value, 2), when.UnixMilli())

	first, err := avro.NewGenericDeserializer(registry, serde.ValueSerde, avro.NewDeserializerConfig())
	check(err)
	second, err := avrov2.NewDeserializer(registry, serde.ValueSerde, avrov2.NewDeserializerConfig())
	check(err)
	var read tick
	check(first.DeserializeInto("ticks", value, &read))
	fmt.Println("avro", read.EventTime.UTC(), read.ExchangeTimestamp.UTC())
	read = tick{}
	check(second.DeserializeInto("ticks", value, &read))
	fmt.Println("avrov2", read.EventTime.UTC(), read.ExchangeTimestamp.UTC())
	var plain numbers
	check(first.DeserializeInto("ticks", value, &plain))
	fmt.Println("avro, int64", time.UnixMilli(plain.EventTime).UTC())
}
GO
(cd "$work" && go mod init finding && go get github.com/confluentinc/confluent-kafka-go/v2@v2.11.1 && go mod tidy \
  && go build -o program .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
seen=$("$work/program")
echo "$seen"
[ "$seen" = "avro 1970-01-21 16:02:12.3 +0000 UTC 1970-01-21 16:02:12.3 +0000 UTC
avrov2 2026-08-03 04:45:00 +0000 UTC 2026-08-03 04:45:00 +0000 UTC
avro, int64 2026-08-03 04:45:00 +0000 UTC" ] || { echo "changed"; exit 1; }
echo "as described"
