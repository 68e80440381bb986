#!/usr/bin/env bash
# apache-avro 0.22.0 (crates.io, Rust), a nullable record whose name in the schema is not written as a struct's is (OHLC), and the
# struct Ohlc, as one writes it by hand and as rsgen-avro 0.19.4, tried apart, makes it of the schema: written by write_ser, and read
# by read_deser (both new in 0.22, without a Value in between) and by read_value with from_value.
# Expected: what a struct wrote the same struct reads, by each way; or it is refused already when it is written.
# Seen: write_ser writes it, from_value reads it, read_deser does not: "Expected Schema::Record(name: Ohlc)". Only there a struct's name must
# be the record's. Where the record is null it reads, so the error comes with the first record that has one. rename = "OHLC" of serde
# mends it. Needs a Rust toolchain (1.89 or newer); builds for a minute or two.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "1.0.0"
edition = "2021"
[dependencies]
apache-avro = { version = "=0.22.0", default-features = false }
serde = { version = "1", features = ["derive"] }
[profile.dev]
debug = false
TOML
cat > "$work/src/main.rs" <<'RUST'
use apache_avro::{from_value, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter, Schema};
use serde::{de::DeserializeOwned, Deserialize, Serialize};

const SCHEMA: &str = r#"{"type": "record", "name": "Tick", "namespace": "kite", "fields": [
    {"name": "ohlc", "default": null, "type": ["null",
        {"type": "record", "name": "OHLC", "fields": [{"name": "close", "type": "double"}]}]}]}"#;

#[derive(Serialize, Deserialize)]
struct Ohlc {
    close: f64,
}

#[derive(Serialize, Deserialize)]
struct Tick {
    ohlc: Option<Ohlc>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "OHLC")]
struct Renamed {
    close: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Tick")]
struct RenamedTick {
    ohlc: Option<Renamed>,
}

fn told<T>(result: Result<T, apache_avro::Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        // Between the two the error repeats the schema.
        Err(error) => error.to_string().rsplit(": Expected").next().map_or_else(String::new, |end| format!("Expected{end}")),
    }
}

fn tried<T: Serialize + DeserializeOwned>(name: &str, tick: &T) {
    let schema = Schema::parse_str(SCHEMA).unwrap();
    let reader = || GenericDatumReader::builder(&schema).build().unwrap();
    let written = GenericDatumWriter::builder(&schema).build().unwrap().write_ser_to_vec(tick).unwrap();
    let value = reader().read_value(&mut &written[..]).unwrap();
    let direct = reader().read_deser::<T>(&mut &written[..]);
    println!("{name}: from_value {}, read_deser {}", told(from_value::<T>(&value)), told(direct));
}

fn main() {
    tried("Ohlc", &Tick { ohlc: Some(Ohlc { close: 1567.8 }) });
    tried("null", &Tick { ohlc: None });
    tried("OHLC", &RenamedTick { ohlc: Some(Renamed { close: 1567.8 }) });
}
RUST
cargo build --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target" >"$work/log" 2>&1 \
  || { tail -20 "$work/log"; exit 1; }
seen=$("$work/target/debug/finding")
echo "$seen"
[ "$seen" = "Ohlc: from_value ok, read_deser Expected Schema::Record(name: Ohlc)
null: from_value ok, read_deser ok
OHLC: from_value ok, read_deser ok" ] || { echo "changed"; exit 1; }
echo "as described"
