#!/usr/bin/env bash
# avro-js 1.12.2 (npm, Apache Avro's own package for Node): installed alone and loaded.
# Expected: require('avro-js') gives the library, as avsc 5.7.9, from which it was once taken, does.
# Seen: "Cannot find module 'underscore'": the package needs underscore and lists no dependencies. With
# underscore installed by hand it loads and works; nothing else is missing. Needs Node 18 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/read.js" <<'JS'
const { version, dependencies } = require('avro-js/package.json')
console.log('avro-js', version, 'dependencies', JSON.stringify(dependencies))
try {
  const type = require('avro-js').parse({ type: 'array', items: 'long' })
  console.log('read', JSON.stringify(type.fromBuffer(type.toBuffer([408065, 256265]))))
} catch (error) {
  console.log(error.code, error.message.split('\n')[0])
}
JS
npm install --prefix "$work" --silent --no-audit --no-fund avro-js@1.12.2
alone=$(cd "$work" && node read.js)
npm install --prefix "$work" --silent --no-audit --no-fund avro-js@1.12.2 underscore@1.13.7
cured=$(cd "$work" && node read.js)
printf '%s\n' "$alone" "with underscore:" "$cured"
grep -q "^MODULE_NOT_FOUND Cannot find module 'underscore'$" <<<"$alone" || { echo "changed"; exit 1; }
grep -q '^read \[408065,256265\]$' <<<"$cured" || { echo "changed: something else is missing"; exit 1; }
echo "as described"
