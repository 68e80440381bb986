#!/usr/bin/env bash
# @platformatic/kafka 1.35.0 (npm), its ConfluentSchemaRegistry, as a Consumer uses it (hook, then deserializer): an Avro record
# whose schema the registry gives as Confluent's API has it, {"schema": …}: schemaType is only there for what is not
# Avro (so do Confluent's registry, and Apicurio 3.3.3 under /apis/ccompat/v7).
# Expected: no schemaType means Avro, so the record is read, as @kafkajs/confluent-schema-registry 4.1.0 reads it.
# Seen: the schema is asked for and thrown away without an error; then "Schema with ID 1 not found.", for each record, each
# after one more request. It reads only from a registry that says "schemaType": "AVRO". avsc itself, as a
# deserializer of one's own, reads the record. Needs Node 20.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --silent --no-audit --no-fund \
  @platformatic/kafka@1.35.0 @kafkajs/confluent-schema-registry@4.1.0
cat > "$work/read.mjs" <<'JS'
import { createServer } from 'node:http'
import kafkajs from '@kafkajs/confluent-schema-registry'
import { ConfluentSchemaRegistry } from '@platformatic/kafka'

// One record of a schema with a single long, framed with the schema's id 1: 5.
const schema = JSON.stringify({ type: 'record', name: 'Instrument', fields: [{ name: 'lot_size', type: 'long' }] })
const record = Buffer.from([0, 0, 0, 0, 1, 10])
let requests = 0
const serve = answer => new Promise(resolve => {
  const server = createServer((request, response) => {
    requests += 1
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`))
})
for (const answer of [{ schema }, { schema, schemaType: 'AVRO' }]) {
  const registry = new ConfluentSchemaRegistry({ url: await serve(answer) })
  const hook = registry.getBeforeDeserializationHook()
  const { value } = registry.getDeserializers()
  requests = 0
  for (let read = 0; read < 2; read++) {
    await new Promise((resolve, reject) => hook(record, 'value', {}, error => (error ? reject(error) : resolve())))
    try {
      console.log('platformatic', Object.keys(answer).length, value(record, new Map(), {}).lot_size)
    } catch (error) {
      console.log('platformatic', Object.keys(answer).length, error.message)
    }
  }
  console.log('requests', requests)
}
const other = new kafkajs.SchemaRegistry({ host: await serve({ schema }) })
console.log('kafkajs', 1, (await other.decode(record)).lot_size)
process.exit(0)
JS
seen=$(cd "$work" && timeout 60 node --no-warnings read.mjs)
echo "client, members of the registry's answer, lot_size:"
echo "$seen"
[ "$seen" = "platformatic 1 Schema with ID 1 not found.
platformatic 1 Schema with ID 1 not found.
requests 2
platformatic 2 5
platformatic 2 5
requests 1
kafkajs 1 5" ] || { echo "changed"; exit 1; }
echo "as described"
