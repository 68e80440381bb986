#!/usr/bin/env bash
# kiteticker-async-manager 0.4.1 (crates.io, Rust) and kiteconnect 5.2.2 (PyPI, Kite's own client for Python), each given the
# same quote packets: a share of NSE, currencies of CDS and BCD at 83.1234, and aluminium of NCO at 378.20.
# Expected: the prices above from both; and where the crate has no word for an exchange, none, or an error.
# Seen: CDS and BCD are ten times too large (831.234), the price, the OHLC and the average. NCO, which is not among the
# crate's exchanges, is divided by 100 as a share is, a hundred times too large, and its ticks say that they are of NSE.
# No error, so divide by 10 and by 100 yourself, going by instrument_token & 0xff (3, 6 and 12).
# Needs a Rust toolchain (1.85 or newer) and Python 3; builds for two minutes or three.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kiteconnect==5.2.2
cat > "$work/frame.py" <<'PY'
import struct

packets = [
    struct.pack(">11I", token, price, 1, price, 10, 20, 30, price, price, price, price)
    for token, price in ((408065, 157315), (412675, 831_234_000), (1_065_478, 831_234), (31_132_428, 3_782_000))
]
print((struct.pack(">H", 4) + b"".join(struct.pack(">H", len(packet)) + packet for packet in packets)).hex())
PY
frame=$(python3 "$work/frame.py")
cat > "$work/client.py" <<'PY'
import sys

from kiteconnect import KiteTicker

ticker = KiteTicker("key", "token")
names = {number: name.upper() for name, number in KiteTicker.EXCHANGE_MAP.items()}
names |= {6: "BCD", 12: "NCO"}
for tick in ticker._parse_binary(bytes.fromhex(sys.argv[1])):
    print(names[tick["instrument_token"] & 0xFF], tick["last_price"], tick["ohlc"]["close"], tick["average_traded_price"])
PY
mkdir -p "$work/crate/src"
cat > "$work/crate/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "1.0.0"
edition = "2021"
[dependencies]
kiteticker-async-manager = "=0.4.1"
[profile.dev]
debug = false
TOML
cat > "$work/crate/src/main.rs" <<'RUST'
use kiteticker_async_manager::Tick;

fn main() {
    let text = std::env::args().nth(1).unwrap();
    let frame: Vec<u8> = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    for packet in frame[2..].chunks(2 + 44) {
        let tick = Tick::try_from(&packet[2..]).unwrap();
        let close = tick.ohlc.unwrap().close;
        println!("{:?} {} {} {}", tick.exchange, tick.last_price.unwrap(), close, tick.avg_traded_price.unwrap());
    }
}
RUST
cargo build --quiet --manifest-path "$work/crate/Cargo.toml" >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
python=$("$work/venv/bin/python" "$work/client.py" "$frame")
rust=$("$work/crate/target/debug/finding" "$frame")
printf 'exchange, last price, close, average\nPython\n%s\nRust\n%s\n' "$python" "$rust"
[ "$python" = "NSE 1573.15 1573.15 1573.15
CDS 83.1234 83.1234 83.1234
BCD 83.1234 83.1234 83.1234
NCO 378.2 378.2 378.2" ] || { echo "changed: Python"; exit 1; }
[ "$rust" = "NSE 1573.15 1573.15 1573.15
CDS 831.234 831.234 831.234
BCD 831.234 831.234 831.234
NSE 37820 37820 37820" ] || { echo "changed: Rust"; exit 1; }
echo "as described"
