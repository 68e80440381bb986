#!/usr/bin/env bash
# kiteconnect 5.3.0 (npm, Kite's own client for Node): the feed sends {"type": "error", …}, as it does when more than 3000
# instruments are asked for, a message of the broker, and an order update; handlers for all of the client's events.
# Expected: 'error' is called with the complaint, as on_error is in kiteconnect 5.2.2 (PyPI) for the same text.
# Seen: no handler is called for the complaint, nor for the broker's message: 'message' is for binary frames alone. The
# order update behind them comes. So instruments beyond the 3000th are refused, and the program never knows.
# Needs Node 18 or newer and Python 3.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --silent --no-audit --no-fund kiteconnect@5.3.0
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kiteconnect==5.2.2
cat > "$work/texts.json" <<'JSON'
[{"type": "error", "data": "Can't subscribe to more than 3000 instruments."},
 {"type": "message", "data": "a message of the broker"},
 {"type": "order", "data": {"order_id": "1"}}]
JSON
cat > "$work/events.js" <<'JS'
const assert = require('assert')
const { createRequire } = require('module')
const { KiteTicker } = require('kiteconnect')
const WebSocket = createRequire(require.resolve('kiteconnect'))('ws')

const feed = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, () => {
  const ticker = new KiteTicker({ api_key: 'key', access_token: 'token', root: `ws://127.0.0.1:${feed.address().port}/` })
  const seen = []
  for (const event of ['connect', 'ticks', 'disconnect', 'error', 'close', 'reconnect', 'noreconnect', 'message', 'order_update']) {
    ticker.on(event, () => {
      seen.push(event)
      if (event !== 'order_update') return
      console.log('Node, events:', seen.join(' '))
      assert.deepStrictEqual(seen, ['connect', 'order_update'], 'changed')
      process.exit(0)
    })
  }
  ticker.connect()
})
feed.on('connection', socket => require('./texts.json').forEach(text => socket.send(JSON.stringify(text))))
JS
cat > "$work/events.py" <<'PY'
import json, sys
from kiteconnect import KiteTicker

seen = []
ticker = KiteTicker("key", "token")
ticker.on_error = lambda ticker, code, reason: seen.append(reason)
ticker.on_order_update = lambda ticker, order: seen.append(order["order_id"])
for text in json.load(open(sys.argv[1])):
    ticker._parse_text_message(json.dumps(text).encode())
print("Python, on_error and on_order_update:", seen)
assert seen == ["Can't subscribe to more than 3000 instruments.", "1"], "changed: Python"
PY
(cd "$work" && timeout 60 node events.js)
"$work/venv/bin/python" "$work/events.py" "$work/texts.json"
echo "as described"
