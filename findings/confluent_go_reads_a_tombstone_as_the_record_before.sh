#!/usr/bin/env bash
# confluent-kafka-go 2.11.1 (Confluent's client for Go), DeserializeInto of schemaregistry/serde/avro and avrov2: an instrument, and then the
# value of a tombstone, nil, as a consumer hands it out of a compacted topic, into one struct, and into a new one.
# Expected: an error, as hamba/avro's own registry decoder and franz-go's sr.Serde give one; or a struct that is set to zero.
# Seen: nil is returned and the struct is not touched, in both packages. A loop that reads into one struct has the instrument before once
# more, one with a new struct for each record has an instrument with the token 0; an older one stays. Ask message.Value == nil
# first. Deserialize, which returns a value, returns nil. Needs Go 1.24 or newer and a C compiler.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cat > "$work/main.go" <<'GO'
package main

import (
	"encoding/binary"
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde/avro"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde/avrov2"
)

const schema = `{"type": "record", "name": "Instrument", "fields": [{"name": "instrument_token", "type": "long"}]}`

type instrument struct {
	Token int64 `json:"instrument_token" avro:"instrument_token"`
}

type deserializer interface {
	Deserialize(topic string, value []byte) (interface{}, error)
	DeserializeInto(topic string, value []byte, into interface{}) error
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
	id, err := registry.Register("instruments-value", schemaregistry.SchemaInfo{Schema: schema}, false)
	check(err)
	value := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
	value = binary.AppendVarint(value, 408065)

	first, err := avro.NewGenericDeserializer(registry, serde.ValueSerde, avro.NewDeserializerConfig())
	check(err)
	second, err := avrov2.NewDeserializer(registry, serde.ValueSerde, avrov2.NewDeserializerConfig())
	check(err)
	for _, each := range []deserializer{first, second} {
		var kept instrument
		check(each.DeserializeInto("instruments", value, &kept))
		keptError := each.DeserializeInto("instruments", nil, &kept)
		var fresh instrument
		freshError := each.DeserializeInto("instruments", nil, &fresh)
		returned, err := each.Deserialize("instruments", nil)
		fmt.Println(kept.Token, keptError, fresh.Token, freshError, returned, err)
	}
}
GO
(cd "$work" && go mod init finding && go get github.com/confluentinc/confluent-kafka-go/v2@v2.11.1 && go mod tidy \
  && go build -o program .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
seen=$("$work/program")
echo "a tombstone into the struct before and its error, into a new one and its error, returned and its error:"
echo "$seen"
[ "$seen" = "408065 <nil> 0 <nil> <nil> <nil>
408065 <nil> 0 <nil> <nil> <nil>" ] || { echo "changed"; exit 1; }
echo "as described"
