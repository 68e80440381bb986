//! The Rust manager as a user has it: the age of each frame when its channel gives it out.
//!
//! Arguments: instruments of each socket, ticks to wait for. Prints one line of JSON.
//!
//! With `parse`, rounds and packets a frame instead, it parses the frames on standard input, each
//! behind its length in four bytes, and prints the best round's nanoseconds a packet.

use std::io::Read;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kiteticker_async_manager::{KiteManagerConfig, KiteTickerManager, Mode, Tick, TickerMessage};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

const SLOTS: u32 = 3;

/// What feed.py puts into each packet as its volume.
fn now_us() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u32
}

/// CPU time of all threads, in seconds: fields 14 and 15, in hundredths (proc(5)).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn be16(bytes: &[u8]) -> usize {
    u16::from_be_bytes([bytes[0], bytes[1]]) as usize
}

/// The ticks of a frame.
fn ticks_of(frame: &[u8]) -> Vec<Tick> {
    let (mut ticks, mut start) = (Vec::with_capacity(be16(frame)), 2);
    for _ in 0..be16(frame) {
        let stop = start + 2 + be16(&frame[start..]);
        ticks.push(Tick::try_from(&frame[start + 2..stop]).unwrap());
        start = stop;
    }
    ticks
}

fn parse(rounds: u32, packets: usize) {
    let (mut input, mut frames) = (Vec::new(), Vec::new());
    std::io::stdin().read_to_end(&mut input).unwrap();
    let mut rest = &input[..];
    while !rest.is_empty() {
        let stop = 4 + u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        frames.push(&rest[4..stop]);
        rest = &rest[stop..];
    }
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let started = Instant::now();
        for frame in &frames {
            std::hint::black_box(ticks_of(std::hint::black_box(frame)));
        }
        best = best.min(started.elapsed().as_nanos() as f64);
    }
    println!("{}", best / (frames.len() * packets) as f64);
}

#[tokio::main]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some("parse") {
        let numbers: Vec<u32> = std::env::args().skip(2).map(|n| n.parse().unwrap()).collect();
        return parse(numbers[0], numbers[1] as usize);
    }
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>().unwrap());
    let (instruments, expected) = (arguments.next().unwrap(), arguments.next().unwrap());

    let config = KiteManagerConfig { default_mode: Mode::Full, ..Default::default() };
    let mut manager = KiteTickerManager::new("bench".into(), "bench".into(), config);
    manager.start().await.unwrap();

    let (sender, mut ages) = unbounded_channel();
    for (_, mut channel) in manager.get_all_channels() {
        let sender = sender.clone();
        tokio::spawn(async move {
            loop {
                match channel.recv().await {
                    Ok(TickerMessage::Ticks(ticks)) => {
                        let sent_us = ticks[0].content.volume_traded.unwrap();
                        let _ = sender.send((now_us().wrapping_sub(sent_us), ticks.len() as u32));
                    }
                    Err(RecvError::Closed) => break,
                    _ => {}
                }
            }
        });
    }

    let tokens: Vec<u32> = (0..SLOTS)
        .flat_map(|slot| (0..instruments).map(move |i| (1000 + slot * 3000 + i) << 8 | 1))
        .collect();
    manager.subscribe_symbols(&tokens, Some(Mode::Full)).await.unwrap();

    let (mut ages_us, mut received, mut cpu_from) = (Vec::new(), 0, 0.0);
    while received < expected {
        // it drops frames without a word: then some never come
        match timeout(Duration::from_secs(10), ages.recv()).await {
            Ok(Some((age_us, ticks))) => {
                if ages_us.is_empty() {
                    cpu_from = cpu_seconds();
                }
                ages_us.push(age_us);
                received += ticks;
            }
            _ if received > 0 => break,
            _ => {}
        }
    }
    ages_us.sort();
    let (lost, spent) = (expected - received, cpu_seconds() - cpu_from);
    println!(
        "{{\"received\": {received}, \"lost\": {lost}, \"cpu_seconds\": {spent}, \"ages_us\": {ages_us:?}}}"
    );
    std::process::exit(0);
}
