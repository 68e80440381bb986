// Reads ticks with @platformatic/kafka (lz4 is in it) and avsc, each as a line of JSON.
//
//   node consume.js --until-end
//   node consume.js --until-end --sums
//
// The second prints sums over all of them instead: readers are compared by these, and by their rates.
// A time is a number of milliseconds. A long comes as a number: what we send stays below 2^53.
import { parseArgs } from 'node:util'
import { Admin, Consumer } from '@platformatic/kafka'
import avro from 'avsc'

const { values: options } = parseArgs({
  options: {
    'bootstrap-servers': { type: 'string', default: 'localhost:9094' },
    'registry-url': { type: 'string', default: 'http://localhost:8081/apis/ccompat/v7' },
    'topic-pattern': { type: 'string', default: '^kite\\.ticks\\.' },
    group: { type: 'string', default: 'kite-example-node' },
    'until-end': { type: 'boolean', default: false },
    sums: { type: 'boolean', default: false }
  }
})
const bootstrapBrokers = options['bootstrap-servers'].split(',')
const TICK = 'kite.Tick' // the name that every version of the schema has
const types = new Map()

/** A value that the connector has not written: whoever may write can put it there. */
class NoTick extends Error {}

/** Confluent's framing: a zero byte, four bytes of schema id, then Avro. An id is asked for once. */
async function decode (value) {
  if (value === null || value.length < 5 || value[0] !== 0) throw new NoTick('not framed with a schema id')
  const id = value.readUInt32BE(1)
  if (!types.has(id)) {
    const answer = await fetch(`${options['registry-url']}/schemas/ids/${id}`)
    const text = await answer.text()
    // 404 alone is also what a wrong path of the address gets
    if (answer.status === 404 && text.includes('40403')) throw new NoTick(`the registry has no schema ${id}`)
    if (!answer.ok) throw new Error(`the registry cannot say what schema ${id} is: ${answer.status}`)
    types.set(id, avroType(JSON.parse(text).schema))
  }
  const type = types.get(id)
  if (type?.name !== TICK) throw new NoTick(`of schema ${id}, which is not ${TICK}`)
  try {
    return type.fromBuffer(value.subarray(5))
  } catch (error) {
    throw new NoTick(`not of schema ${id}: ${error.message}`)
  }
}

/** A schema's type, or nothing where it is none of Avro: the registry keeps other formats too. */
function avroType (schema) {
  try {
    // unions unwrapped: a null is null, and anything else the value itself
    return avro.Type.forSchema(JSON.parse(schema), { wrapUnions: 'never' })
  } catch {
    return undefined
  }
}

/** What readers are compared by; of prices in paise, so that the order does not matter. */
const sums = { ticks: 0, volume: 0, paise: 0, no_volume: 0, no_ohlc: 0, no_depth: 0, no_best_bid: 0, bid_level_1: 0 }

function add (tick) {
  sums.ticks += 1
  sums.volume += tick.volume_traded ?? 0
  sums.paise += Math.round(tick.last_price * 100)
  sums.no_volume += tick.volume_traded === null
  sums.no_ohlc += tick.ohlc === null
  sums.no_depth += tick.depth === null
  // in records of version 1 it is not there
  sums.no_best_bid += tick.best_bid_price == null
  sums.bid_level_1 += tick.depth === null ? 0 : tick.depth.buy[0].quantity
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
    try {
      const tick = await decode(message.value)
      if (options.sums) add(tick)
      else process.stdout.write(JSON.stringify(tick) + '\n')
    } catch (error) {
      if (!(error instanceof NoTick)) throw error
      console.error(`passed over: ${message.topic} ${message.partition} ${message.offset}: ${error.message}`)
    }
    left -= 1
    if (left === 0) break
  }
}
if (options.sums) process.stdout.write(JSON.stringify(sums) + '\n')
await stream.close()
await consumer.close(true)
