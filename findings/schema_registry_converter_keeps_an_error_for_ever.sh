#!/usr/bin/env bash
# schema_registry_converter 6.0.0 (crates.io, Rust), its AvroDecoder: the first record of a new schema id comes while the registry
# answers once with 503, 500, 504, 429 or 404 (a replica that has not read the new id yet); afterwards it has the schema.
# Expected: that record fails, the next one asks the registry again and is read, whatever the status was, as hamba/avro
# 2.31.0 (Go) and @kafkajs/confluent-schema-registry 4.1.0 (npm), tried apart, do it.
# Seen: so it is after 503. After 500, 504, 429 or 404 the error is kept and the registry is not asked again: each record of
# that schema fails until the program is started anew, though the registry has been well since the second request.
# remove_errors_from_cache(), which nothing calls by itself, mends it. Needs a Rust toolchain (1.85 or newer).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "1.0.0"
edition = "2021"
[dependencies]
schema_registry_converter = { version = "=6.0.0", default-features = false, features = ["avro", "blocking"] }
[profile.dev]
debug = false
TOML
cat > "$work/src/main.rs" <<'RUST'
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use schema_registry_converter::blocking::avro::AvroDecoder;
use schema_registry_converter::blocking::schema_registry::SrSettings;

const SCHEMA: &str = r#"{"schema": "{\"type\": \"record\", \"name\": \"Instrument\",
 \"fields\": [{\"name\": \"lot_size\", \"type\": \"long\"}]}"}"#;
/// Framed with the schema's id 1: lot_size 5.
const RECORD: &[u8] = &[0, 0, 0, 0, 1, 10];

/// The address of a registry that gives the status once and then the schema, and the count of its answers.
fn registry(first: u16) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let (status, body) = match counted.fetch_add(1, Ordering::SeqCst) {
                0 => (first, r#"{"error_code": 1, "message": "not now"}"#.to_owned()),
                _ => (200, SCHEMA.replace('\n', "")),
            };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} \r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        }
    });
    (url, answers)
}

fn main() {
    for first in [503, 500, 504, 429, 404] {
        let (url, answers) = registry(first);
        let decoder = AvroDecoder::new(SrSettings::new(url));
        let read = || decoder.decode(Some(RECORD)).map_or("error", |_| "read");
        print!("{first}: {} {} {}", read(), read(), read());
        print!(", requests {}", answers.load(Ordering::SeqCst));
        decoder.remove_errors_from_cache();
        println!("; removed: {}", read());
    }
}
RUST
cargo build --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target" >"$work/log" 2>&1 \
  || { tail -20 "$work/log"; exit 1; }
seen=$("$work/target/debug/finding")
echo "$seen"
[ "$seen" = "503: error read read, requests 2; removed: read
500: error error error, requests 1; removed: read
504: error error error, requests 1; removed: read
429: error error error, requests 1; removed: read
404: error error error, requests 1; removed: read" ] || { echo "changed"; exit 1; }
echo "as described"
