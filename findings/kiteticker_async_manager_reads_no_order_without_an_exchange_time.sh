#!/usr/bin/env bash
# kiteticker-async-manager 0.4.1 (crates.io, Rust), the order updates of the feed: one that the exchange has filled, and one that
# was refused before it reached the exchange, so that its exchange_order_id, exchange_timestamp and
# exchange_update_timestamp are null, as Kite's documentation of orders shows it.
# Expected: an Order of each, with None for what is null, as the crate has it for exchange_order_id; gokiteconnect
# 4.4.1 (Kite's own client for Go) gives both.
# Seen: the filled one is an Order. The refused one is OrderPostback(Err("invalid type: null, expected a string")): no
# order_id, no status, no message. So who matches Ok(order) hears of no refused order; none of its fields is to be had.
# Needs a Rust toolchain (1.85 or newer) and Go 1.24 or newer; builds for two minutes or three.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
# its checksum is not in every mirror of the checksum database
export GONOSUMDB=github.com/zerodha
cat > "$work/filled.json" <<'JSON'
{"type": "order", "data": {"user_id": "AB0000", "unfilled_quantity": 0, "app_id": 1234, "checksum": "", "placed_by": "AB0000",
 "order_id": "1", "exchange_order_id": "1000000000000001", "parent_order_id": null, "status": "COMPLETE",
 "status_message": null, "status_message_raw": null, "order_timestamp": "2026-08-03 10:15:00",
 "exchange_update_timestamp": "2026-08-03 10:15:00", "exchange_timestamp": "2026-08-03 10:15:00", "variety": "regular",
 "exchange": "NSE", "tradingsymbol": "INFY", "instrument_token": 408065, "order_type": "MARKET",
 "transaction_type": "BUY", "validity": "DAY", "product": "CNC", "quantity": 1, "disclosed_quantity": 0, "price": 0,
 "trigger_price": 0, "average_price": 1573.15, "filled_quantity": 1, "pending_quantity": 0, "cancelled_quantity": 0,
 "market_protection": 0, "meta": {}, "tag": null, "guid": "1"}}
JSON
python3 - "$work" <<'PY'
import json
import pathlib
import sys

work = pathlib.Path(sys.argv[1])
message = json.loads((work / "filled.json").read_text())
message["data"] |= {
    "order_id": "2", "status": "REJECTED", "status_message": "Insufficient funds.", "filled_quantity": 0,
    "average_price": 0, "exchange_order_id": None, "exchange_timestamp": None, "exchange_update_timestamp": None,
}
(work / "refused.json").write_text(json.dumps(message))
PY
mkdir -p "$work/crate/src" "$work/go"
cat > "$work/crate/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "1.0.0"
edition = "2021"
[dependencies]
kiteticker-async-manager = "=0.4.1"
serde_json = "1"
[profile.dev]
debug = false
TOML
cat > "$work/crate/src/main.rs" <<'RUST'
use kiteticker_async_manager::{TextMessage, TickerMessage};

fn main() {
    for file in std::env::args().skip(1) {
        let text: TextMessage = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        match TickerMessage::from(text) {
            TickerMessage::OrderPostback(Ok(order)) => println!("{} {:?}", order.order_id, order.status),
            TickerMessage::OrderPostback(Err(error)) => println!("{error}"),
            other => println!("{other:?}"),
        }
    }
}
RUST
cat > "$work/go/main.go" <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	kiteconnect "github.com/zerodha/gokiteconnect/v4"
)

func main() {
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		var message struct {
			Data kiteconnect.Order `json:"data"`
		}
		if err := json.Unmarshal(text, &message); err != nil {
			panic(err)
		}
		fmt.Println(message.Data.OrderID, message.Data.Status, message.Data.ExchangeTimestamp.IsZero())
	}
}
GO
cargo build --quiet --manifest-path "$work/crate/Cargo.toml" >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
(cd "$work/go" && go mod init finding && go get github.com/zerodha/gokiteconnect/v4@v4.4.1 && go mod tidy \
  && go build -o "$work/client" .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
rust=$("$work/crate/target/debug/finding" "$work/filled.json" "$work/refused.json")
go=$("$work/client" "$work/filled.json" "$work/refused.json")
printf 'Rust\n%s\nGo, with whether it has no exchange_timestamp\n%s\n' "$rust" "$go"
[ "$rust" = "1 COMPLETE
invalid type: null, expected a string" ] || { echo "changed: Rust"; exit 1; }
[ "$go" = "1 COMPLETE false
2 REJECTED true" ] || { echo "changed: Go"; exit 1; }
echo "as described"
