//! The Rust manager as a user has it: the age of each frame when its channel gives it out.
//!
//! Arguments: instruments of each socket, ticks to wait for. Prints one line of JSON.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiteticker_async_manager::{KiteManagerConfig, KiteTickerManager, Mode, TickerMessage};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

const SLOTS: u32 = 3;

/// What feed.py puts into each packet as its volume.
fn now_us() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u32
}

#[tokio::main]
async fn main() {
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

    let (mut ages_us, mut received) = (Vec::new(), 0);
    while received < expected {
        // it drops frames without a word: then some never come
        match timeout(Duration::from_secs(10), ages.recv()).await {
            Ok(Some((age_us, ticks))) => {
                ages_us.push(age_us);
                received += ticks;
            }
            _ if received > 0 => break,
            _ => {}
        }
    }
    ages_us.sort();
    println!("{{\"received\": {received}, \"cpu_seconds\": 0, \"ages_us\": {ages_us:?}}}");
    std::process::exit(0);
}
