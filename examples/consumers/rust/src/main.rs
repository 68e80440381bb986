//! Reads ticks with rdkafka and schema_registry_converter, each as a line of JSON.
//!
//!     cargo run --release -- --until-end
//!     cargo run --release -- --until-end --sums
//!
//! The second prints sums over all of them instead: readers are compared by these, and by their rates.
//!
//! Every field of the schema that may be null is an `Option`. A field that a later version of the
//! schema appends is passed over until the struct has it, and `None` in records that lack it. A time is
//! a number of milliseconds.

use std::env;
use std::error::Error;
use std::io::{BufWriter, Write, stdout};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use regex::Regex;
use schema_registry_converter::blocking::avro::AvroDecoder;
use schema_registry_converter::blocking::schema_registry::SrSettings;
use schema_registry_converter::error::SRCError;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Ohlc {
    open: f64,
    high: f64,
    low: f64,
    close: f64,
}

#[derive(Deserialize, Serialize)]
struct DepthItem {
    quantity: i64,
    price: f64,
    orders: i32,
}

#[derive(Deserialize, Serialize)]
struct Depth {
    buy: Vec<DepthItem>,
    sell: Vec<DepthItem>,
}

#[derive(Deserialize, Serialize)]
struct Tick {
    event_time: i64,
    receive_time_us: i64,
    instrument_token: i64,
    exchange: String,
    tradingsymbol: Option<String>,
    mode: String,
    tradable: bool,
    last_price: f64,
    last_traded_quantity: Option<i64>,
    average_traded_price: Option<f64>,
    volume_traded: Option<i64>,
    total_buy_quantity: Option<i64>,
    total_sell_quantity: Option<i64>,
    ohlc: Option<Ohlc>,
    last_trade_time: Option<i64>,
    exchange_timestamp: Option<i64>,
    oi: Option<i64>,
    oi_day_high: Option<i64>,
    oi_day_low: Option<i64>,
    depth: Option<Depth>,
    slot: i32,
    session_id: i64,
    sequence: i64,
    snapshot: bool,
    best_bid_price: Option<f64>,
    best_bid_quantity: Option<i64>,
    best_ask_price: Option<f64>,
    best_ask_quantity: Option<i64>,
}

/// What readers are compared by; of prices in paise, so that the order does not matter.
#[derive(Default, Serialize)]
struct Sums {
    ticks: i64,
    volume: i64,
    paise: i64,
    no_volume: i64,
    no_ohlc: i64,
    no_depth: i64,
    no_best_bid: i64,
    bid_level_1: i64,
}

impl Sums {
    fn add(&mut self, tick: &Tick) {
        self.ticks += 1;
        self.volume += tick.volume_traded.unwrap_or(0);
        self.paise += (tick.last_price * 100.0).round() as i64;
        self.no_volume += i64::from(tick.volume_traded.is_none());
        self.no_ohlc += i64::from(tick.ohlc.is_none());
        self.no_depth += i64::from(tick.depth.is_none());
        self.no_best_bid += i64::from(tick.best_bid_price.is_none());
        self.bid_level_1 += tick.depth.as_ref().map_or(0, |depth| depth.buy[0].quantity);
    }
}

type Failure = Box<dyn Error>;

/// The registry's own code.
const SCHEMA_NOT_FOUND: &str = "40403";
/// The name that every version of the schema has.
const TICK: &str = "kite.Tick";
/// How the decoder's errors about a value begin (schema_registry_converter 6.0.0).
const NO_TICK: [&str; 2] = ["Invalid bytes", "Could not transform bytes"];
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Failure> {
    let servers = option("--bootstrap-servers", "localhost:9094");
    let registry = option("--registry-url", "http://localhost:8081/apis/ccompat/v7");
    let pattern = Regex::new(&option("--topic-pattern", r"^kite\.ticks\."))?;
    let until_end = env::args().any(|argument| argument == "--until-end");
    let summed = env::args().any(|argument| argument == "--sums");

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "kite-example-rust")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    let topics = matching(&consumer, &pattern)?;
    if topics.is_empty() {
        return Err(format!("no topic matches {pattern}").into());
    }
    let mut left = if until_end { held(&consumer, &topics)? } else { i64::MAX };
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;

    // asks for the schema of each id once, and decodes by it
    let decoder = AvroDecoder::new(SrSettings::new(registry));
    let mut out = BufWriter::new(stdout().lock());
    let mut sums = Sums::default();
    let mut last = Instant::now();
    while left > 0 {
        // nothing is also what comes of it when partitions are assigned, long before the time is up
        let Some(message) = consumer.poll(Duration::from_secs(1)) else {
            if until_end && last.elapsed() > PATIENCE {
                return Err(format!("{left} records did not come").into());
            }
            continue;
        };
        last = Instant::now();
        let message = message?;
        left -= 1;
        let place = format!("{} {} {}", message.topic(), message.partition(), message.offset());
        let found = match decoder.decode(message.payload()) {
            Err(error) if is_no_tick(&error) => {
                eprintln!("passed over: {place}: {error}");
                continue;
            }
            other => other.map_err(|error| format!("{place}: {error}"))?,
        };
        if found.name.is_none_or(|name| name.fullname(None) != TICK) {
            eprintln!("passed over: {place}: a record of another schema");
            continue;
        }
        let tick: Tick = apache_avro::from_value(&found.value)
            .map_err(|error| format!("{place}: {error}"))?;
        if summed {
            sums.add(&tick);
        } else {
            serde_json::to_writer(&mut out, &tick)?;
            out.write_all(b"\n")?;
        }
    }
    if summed {
        serde_json::to_writer(&mut out, &sums)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Whether the connector has not written the value: whoever may write can put one there. All else is
/// the registry's, of which a wrong path of its address gets 404 alone.
fn is_no_tick(error: &SRCError) -> bool {
    NO_TICK.iter().any(|words| error.error.starts_with(words))
        || error.cause.as_ref().is_some_and(|cause| cause.contains(SCHEMA_NOT_FOUND))
}

/// The value behind a name on the command line.
fn option(name: &str, default: &str) -> String {
    let given = env::args().skip_while(|argument| argument != name).nth(1);
    given.unwrap_or_else(|| default.to_owned())
}

/// The topics that a pattern matches.
fn matching(consumer: &BaseConsumer, pattern: &Regex) -> Result<Vec<String>, Failure> {
    let metadata = consumer.fetch_metadata(None, PATIENCE)?;
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    Ok(names.filter(|name| pattern.is_match(name)).collect())
}

/// How many records the topics hold now.
fn held(consumer: &BaseConsumer, topics: &[String]) -> Result<i64, Failure> {
    let mut count = 0;
    for name in topics {
        let metadata = consumer.fetch_metadata(Some(name), PATIENCE)?;
        for partition in metadata.topics()[0].partitions() {
            let (first, end) = consumer.fetch_watermarks(name, partition.id(), PATIENCE)?;
            count += end - first;
        }
    }
    Ok(count)
}
