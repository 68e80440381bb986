#!/usr/bin/env bash
# @confluentinc/schemaregistry 1.10.1 and @kafkajs/confluent-schema-registry 4.1.0 (npm): the value of a tombstone, null, as
# kafkajs and @platformatic/kafka hand it out of a compacted topic, given to deserialize() and to decode().
# Expected: null, as the deserializer of confluent-kafka 2.16.1 (PyPI) gives None, since that is what the record says.
# Seen: both raise "Invalid buffer", which tells nothing of a tombstone. A handler that decodes whatever comes fails at the
# first instrument that is gone. Ask `message.value === null` first. Needs Node 18 or newer and Python 3.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --silent --no-audit --no-fund \
  @confluentinc/schemaregistry@1.10.1 @kafkajs/confluent-schema-registry@4.1.0
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'confluent-kafka[avro,schemaregistry]==2.16.1'
cat > "$work/tombstone.js" <<'JS'
const { AvroDeserializer, SerdeType, SchemaRegistryClient } = require('@confluentinc/schemaregistry')
const { SchemaRegistry } = require('@kafkajs/confluent-schema-registry')

// One record of a schema with a single long, framed with the schema's id 1: 5.
const schema = JSON.stringify({ type: 'record', name: 'Instrument', fields: [{ name: 'lot_size', type: 'long' }] })
const record = Buffer.from([0, 0, 0, 0, 1, 10])
const registry = require('http').createServer((request, response) => {
  const known = request.url.startsWith('/schemas/ids/1')
  response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' })
  response.end(JSON.stringify(known ? { schema, id: 1 } : { error_code: 40401, message: 'not found' }))
}).listen(0, '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${registry.address().port}`
  const client = new SchemaRegistryClient({ baseURLs: [url] })
  const confluent = new AvroDeserializer(client, SerdeType.VALUE, {})
  const kafkajs = new SchemaRegistry({ host: url })
  for (const [name, decode] of [
    ['confluentinc', value => confluent.deserialize('kite.instruments', value)],
    ['kafkajs', value => kafkajs.decode(value)]
  ]) {
    for (const value of [record, null]) {
      console.log(name, await decode(value).then(got => JSON.stringify(got), error => error.message))
    }
  }
  process.exit(0)
})
JS
cat > "$work/tombstone.py" <<'PY'
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

# A tombstone needs no registry: none is asked.
deserializer = AvroDeserializer(SchemaRegistryClient({"url": "http://127.0.0.1:9"}))
print("Python", deserializer(None, SerializationContext("kite.instruments", MessageField.VALUE)))
PY
node=$(cd "$work" && timeout 60 node tombstone.js)
python=$("$work/venv/bin/python" "$work/tombstone.py")
printf '%s\n' "$node" "$python"
[ "$node" = 'confluentinc {"lot_size":5}
confluentinc Invalid buffer
kafkajs {"lot_size":5}
kafkajs Invalid buffer' ] || { echo "changed: Node"; exit 1; }
[ "$python" = "Python None" ] || { echo "changed: Python"; exit 1; }
echo "as described"
