//! A history of batches in which the `n`th batch is always the same, so that what a store holds
//! tells how far it got, and whether it is exactly that.

use std::collections::BTreeMap;

use bytes::Bytes;
use posthaste_kv::{Batch, Kv, Op, Partition, Scan};

const HOMES: u64 = 8;
/// The key that says which batch was the home's last.
const LAST: &str = "last";
/// Of so many batches in a row ...
const STRETCH: u64 = 512;
/// ... so many have large values, to fill memtables and write beyond buffers.
const LARGE_IN_STRETCH: u64 = 16;

/// The `number`th batch, counted from 1.
pub(crate) fn batch(number: u64) -> Batch {
    let mut batch = Batch::new(home(mix(number) % HOMES));
    let dice = mix(number ^ 0xd1ce);
    let len = if number % STRETCH < LARGE_IN_STRETCH {
        10_000 + dice % 60_000
    } else {
        dice % 5000
    };
    batch.put(log_key(number), value(number, len));
    match dice % 64 {
        0..8 => {
            batch.delete_range("log/", log_key(number.saturating_sub(300)));
        }
        8 => {
            batch
                .delete_range("log/", "log0")
                .put(log_key(number), value(number, 10));
        }
        9..12 => {
            batch.delete(log_key(number.saturating_sub(dice % 100)));
        }
        12..16 => {
            batch.put(format!("roster/{}", dice % 50), value(number, 80));
        }
        // Enough keys for a deletion that takes more than one go ...
        16 => {
            for item in 0..900 {
                batch.put(format!("many/{}/{item:03}", dice % 4), value(item, 8));
            }
        }
        // ... in which something is written again.
        17 => {
            batch.delete_range("many/", "many0");
            batch.put(
                format!("many/{}/{:03}", dice % 4, dice % 900),
                value(number, 8),
            );
        }
        _ => {}
    }
    batch.put(LAST, number.to_string());
    batch
}

fn home(number: u64) -> Partition {
    Partition::new(format!("u{number}@example.org")).expect("a good name")
}

fn log_key(number: u64) -> String {
    format!("log/{number:010}")
}

fn value(number: u64, len: u64) -> Bytes {
    let len = usize::try_from(len).expect("a small value");
    let mut bytes = Vec::with_capacity(len + 8);
    let mut at = 0;
    while bytes.len() < len {
        bytes.extend_from_slice(&mix(number ^ (at << 40)).to_le_bytes());
        at += 1;
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

/// How many batches of the history `kv` holds, as far as its homes say.
pub(crate) async fn length(kv: &dyn Kv) -> u64 {
    let mut length = 0;
    for number in 0..HOMES {
        let last = kv.get(&home(number), LAST.as_bytes()).await;
        if let Some(last) = last.expect("a home can be read") {
            let last = std::str::from_utf8(&last).expect("a number");
            length = length.max(last.parse().expect("a number"));
        }
    }
    length
}

/// What a store holds that has a whole history of some length.
#[derive(Default)]
pub(crate) struct Model {
    length: u64,
    homes: BTreeMap<Partition, BTreeMap<Bytes, Bytes>>,
}

impl Model {
    /// Goes on to `length`.
    pub(crate) fn advance(&mut self, length: u64) {
        for number in self.length + 1..=length {
            let batch = batch(number);
            let home = self.homes.entry(batch.partition).or_default();
            for op in batch.ops {
                match op {
                    Op::Put { key, value } => {
                        home.insert(key, value);
                    }
                    Op::Delete { key } => {
                        home.remove(&key);
                    }
                    Op::DeleteRange { from, to } => {
                        home.retain(|key, _| *key < from || *key >= to);
                    }
                }
            }
        }
        self.length = length;
    }

    /// How long the history is.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Compares every row of every home.
    pub(crate) async fn check(&self, kv: &dyn Kv, place: &str) {
        let homes = kv.partitions(None, usize::MAX).await;
        let homes = homes.expect("homes can be listed");
        assert!(homes.iter().eq(self.homes.keys()), "{place}: {homes:?}");
        for (home, expected) in &self.homes {
            let rows = kv.scan(home, Scan::range("", "", usize::MAX)).await;
            let found: BTreeMap<_, _> = rows.expect("a home can be read").into_iter().collect();
            let keys = |rows: &BTreeMap<Bytes, Bytes>| rows.keys().cloned().collect::<Vec<_>>();
            assert_eq!(
                keys(&found),
                keys(expected),
                "{place}: the keys of {home:?}"
            );
            assert!(found == *expected, "{place}: the values of {home:?}");
        }
    }
}
