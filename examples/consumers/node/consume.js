// Reads ticks with @platformatic/kafka (lz4 is in it) and avsc, each as a line of JSON.
//
//   node consume.js --until-end
//
// A time is a number of milliseconds. A long comes as a number: what we send stays below 2^53.
import { parseArgs } from 'node:util'
import { Admin, Consumer } from '@platformatic/kafka'
import avro from 'avsc'

const { values: options } = parseArgs({
  options: {
    'bootstrap-servers': { type: 'string', default: 'localhost:9092' },
    'registry-url': { type: 'string', default: 'http://localhost:8081' },
    'topic-pattern': { type: 'string', default: '^kite\\.ticks\\.' },
    group: { type: 'string', default: 'kite-example-node' },
    'until-end': { type: 'boolean', default: false }
  }
})
const bootstrapBrokers = options['bootstrap-servers'].split(',')
const types = new Map()

/** Confluent's framing: a zero byte, four bytes of schema id, then Avro. An id is asked for once. */
async function decode (value) {
  if (value[0] !== 0) throw new Error('not framed with a schema id')
  const id = value.readUInt32BE(1)
  if (!types.has(id)) {
    const answer = await fetch(`${options['registry-url']}/schemas/ids/${id}`)
    if (!answer.ok) throw new Error(`the registry has no schema ${id}: ${answer.status}`)
    const { schema } = await answer.json()
    // unions unwrapped: a null is null, and anything else the value itself
    types.set(id, avro.Type.forSchema(JSON.parse(schema), { wrapUnions: 'never' }))
  }
  return types.get(id).fromBuffer(value.subarray(5))
}

async function tickTopics () {
  const admin = new Admin({ clientId: 'kite-example', bootstrapBrokers })
  try {
    const pattern = new RegExp(options['topic-pattern'])
    return (await admin.listTopics()).filter(name => pattern.test(name))
  } finally {
    await admin.close()
  }
}

/** What the topics hold now, as a number of records. */
async function held (consumer, topics) {
  const ends = await consumer.listOffsets({ topics, timestamp: -1n })
  const starts = await consumer.listOffsets({ topics, timestamp: -2n })
  let count = 0n
  for (const [topic, offsets] of ends) {
    offsets.forEach((end, partition) => { count += end - starts.get(topic)[partition] })
  }
  return Number(count)
}

const consumer = new Consumer({ groupId: options.group, clientId: 'kite-example', bootstrapBrokers })
const topics = await tickTopics()
let left = options['until-end'] ? await held(consumer, topics) : Infinity
const stream = await consumer.consume({ topics, mode: 'earliest', autocommit: false })
if (left > 0) {
  for await (const message of stream) {
    const tick = await decode(message.value)
    process.stdout.write(JSON.stringify(tick) + '\n')
    left -= 1
    if (left === 0) break
  }
}
await stream.close()
await consumer.close(true)
