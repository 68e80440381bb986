#!/usr/bin/env bash
# kiteconnect 5.3.0 (npm, Kite's own client for Node): disconnect(), called on a connected ticker by a program
# that has other work left.
# Expected: the socket is closed, `disconnect` is called, and the program goes on.
# Seen: when the socket has closed, the client takes it for a loss for which no try is left: it calls
# `noreconnect` and then process.exit(1). What was still to be done is not done, and a supervisor sees a
# failure. With reconnect: false the program goes on, as expected. Needs Node 18 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --silent --no-audit --no-fund kiteconnect@5.3.0
cat > "$work/one.js" <<'JS'
const { createRequire } = require('module')
const { KiteTicker } = require('kiteconnect')
const WebSocket = createRequire(require.resolve('kiteconnect'))('ws')
const feed = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, () => {
  const root = `ws://127.0.0.1:${feed.address().port}/`
  const ticker = new KiteTicker({ api_key: 'key', access_token: 'token', root, reconnect: process.argv[2] === 'true' })
  for (const event of ['connect', 'disconnect', 'noreconnect']) ticker.on(event, () => console.log(event))
  ticker.on('connect', () => ticker.disconnect())
  ticker.connect()
  setTimeout(() => { console.log('other work done'); process.exit(0) }, 3000)
})
JS
run() { (cd "$work" && timeout 60 node one.js "$1" && echo "exit 0" || echo "exit $?") | tr '\n' ';'; }
by_default=$(run true); without=$(run false)
echo "reconnect: true  $by_default"
echo "reconnect: false $without"
[ "$by_default" = "connect;disconnect;noreconnect;exit 1;" ] || { echo "changed"; exit 1; }
[ "$without" = "connect;disconnect;other work done;exit 0;" ] || { echo "changed without reconnect"; exit 1; }
echo "as described"
