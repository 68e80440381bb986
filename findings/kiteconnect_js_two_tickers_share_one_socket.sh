#!/usr/bin/env bash
# kiteconnect 5.3.0 (npm, Kite's own client for Node): two KiteTickers in one process, for two of the three
# connections that an api_key has, or for two accounts.
# Expected: each connects, with its own api_key, sends its own subscriptions and gets its own ticks.
# Seen: the second connect() returns without a word and opens nothing: one socket, with the first one's
# api_key. Both say that they are connected, the callbacks of both are called for all that comes, and the
# second one's subscriptions go over the first one's socket. So a process has 3000 instruments at most,
# and those of a second account are asked for with the rights of the first. Needs Node 18 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --silent --no-audit --no-fund kiteconnect@5.3.0
cat > "$work/two.js" <<'JS'
const assert = require('assert')
const { createRequire } = require('module')
const { KiteTicker } = require('kiteconnect')
const WebSocket = createRequire(require.resolve('kiteconnect'))('ws')

const ltp = token => Buffer.from([0, 1, 0, 8, ...[token, 157315].flatMap(n => [n >>> 24, n >>> 16 & 255, n >>> 8 & 255, n & 255])])
const sockets = []
const ticks = { first: [], second: [] }
const feed = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, async () => {
  const root = `ws://127.0.0.1:${feed.address().port}/`
  const tickers = Object.keys(ticks).map((name, index) => {
    const ticker = new KiteTicker({ api_key: name, access_token: 'token', root })
    ticker.on('connect', () => ticker.subscribe([257 + 256 * index]))
    ticker.on('ticks', got => ticks[name].push(...got.map(tick => tick.instrument_token)))
    return ticker
  })
  tickers.forEach(ticker => ticker.connect())
  await new Promise(resolve => setTimeout(resolve, 3000))
  console.log('sockets:', JSON.stringify(sockets))
  console.log('ticks:', JSON.stringify(ticks), 'connected:', tickers.map(ticker => ticker.connected()))
  assert.deepStrictEqual(sockets, [{ key: 'first', tokens: [257, 513] }], 'changed')
  assert.deepStrictEqual(ticks, { first: [257, 513], second: [257, 513] }, 'changed')
  assert.deepStrictEqual(tickers.map(ticker => ticker.connected()), [true, true])
  process.exit(0)
})
feed.on('connection', (socket, request) => {
  const seen = { key: new URL(request.url, 'ws://feed').searchParams.get('api_key'), tokens: [] }
  sockets.push(seen)
  socket.on('message', text => {
    for (const token of JSON.parse(text).v) { seen.tokens.push(token); socket.send(ltp(token)) }
  })
})
JS
(cd "$work" && timeout 60 node two.js)
echo "as described"
