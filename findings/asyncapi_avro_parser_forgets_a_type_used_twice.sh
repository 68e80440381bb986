#!/usr/bin/env bash
# @asyncapi/avro-schema-parser 3.1.0 with @asyncapi/parser 3.6.6 (npm, AsyncAPI's own): a document with one message whose Avro record uses a
# type twice, by its name the second time, as for the bids and the offers of a book; and has a time as timestamp-millis.
# Expected: both arrays have items of that type, as avsc 5.7.9, which this parser checks the schema with, reads it.
# Seen: no error and no warning; the items of the first array are an object of price, those of the second one an empty schema, which
# anything satisfies. So generated code has a type for bids and any for offers, and a validator passes all offers. The time is a plain
# integer, without a format: nothing tells seconds from milliseconds. Needs Node 20 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --silent --no-audit --no-fund @asyncapi/parser@3.6.6 @asyncapi/avro-schema-parser@3.1.0 avsc@5.7.9
cat > "$work/parse.mjs" <<'JS'
import { AvroSchemaParser } from '@asyncapi/avro-schema-parser'
import { Parser } from '@asyncapi/parser'
import avsc from 'avsc'

const level = { type: 'record', name: 'Level', fields: [{ name: 'price', type: 'double' }] }
const schema = {
  type: 'record',
  name: 'Book',
  namespace: 'kite',
  fields: [
    { name: 'time', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'buy', type: { type: 'array', items: level } },
    { name: 'sell', type: { type: 'array', items: 'Level' } },
  ],
}
const payload = { schemaFormat: 'application/vnd.apache.avro;version=1.9.0', schema }
const parser = new Parser()
parser.registerSchemaParser(AvroSchemaParser())
const { document, diagnostics } = await parser.parse(JSON.stringify({
  asyncapi: '3.1.0',
  info: { title: 'Books', version: '1' },
  channels: { books: { address: 'books', messages: { book: { payload } } } },
  operations: { read: { action: 'receive', channel: { $ref: '#/channels/books' } } },
}))
const errors = diagnostics.filter(each => each.severity < 2).map(each => each.message)
const parsed = JSON.parse(JSON.stringify(document.allMessages().all()[0].payload().json()))
const { time, buy, sell } = parsed.schema.properties
const members = each => Object.keys(each).filter(name => !name.startsWith('x-')).sort().join(' ')
console.log('errors and warnings:', JSON.stringify(errors))
console.log('time:', time.type, members(time))
console.log('items of buy:', members(buy.items), JSON.stringify(Object.keys(buy.items.properties)))
console.log('items of sell:', JSON.stringify(members(sell.items)))
const type = avsc.Type.forSchema(schema)
console.log('avsc, sell without a price:', type.isValid({ time: 0, buy: [], sell: [{}] }))
JS
seen=$(cd "$work" && node --no-warnings parse.mjs)
echo "$seen"
[ "$seen" = 'errors and warnings: []
time: integer maximum minimum type
items of buy: properties required type ["price"]
items of sell: ""
avsc, sell without a price: false' ] || { echo "changed"; exit 1; }
echo "as described"
