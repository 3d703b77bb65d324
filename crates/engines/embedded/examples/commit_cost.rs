//! What a small commit costs: `commit_cost <folder> [commits per second, 0 = as many as fit]
//! [seconds] [round interval in microseconds]`.
//!
//! Every commit puts one value of 450 bytes into one of 10,000 partitions, as a message's way
//! into a log does. Prints commits per second, processor time per commit (of the whole process,
//! and of the caller), the commits that shared a sync, and the waiting.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use posthaste_engine_embedded::{Embedded, EmbeddedOptions, LATENCY_BOUNDS_SECONDS, Latency};
use posthaste_kv::{Batch, Kv, Partition};

const PARTITIONS: usize = 10_000;
const VALUE_BYTES: usize = 450;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("a folder for the store");
    let mut number = |default: u64| {
        args.next()
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (rate, seconds, interval_us) = (number(0), number(5), number(2000));
    let options = EmbeddedOptions {
        round_interval: Duration::from_micros(interval_us),
        ..EmbeddedOptions::default()
    };
    let kv = Embedded::open(folder, options).unwrap();
    let homes: Vec<Partition> = (0..PARTITIONS)
        .map(|number| Partition::new(format!("user{number:05}@example.org")).unwrap())
        .collect();

    let (started, process, caller) = (Instant::now(), processor("self"), processor("thread-self"));
    let mut commits = 0u64;
    while started.elapsed() < Duration::from_secs(seconds) {
        if rate > 0 {
            let due = Duration::from_secs_f64(commits as f64 / rate as f64);
            let early = due.saturating_sub(started.elapsed());
            if early > Duration::from_micros(200) {
                std::thread::sleep(early);
            }
        }
        kv.line().room().await;
        let home = usize::try_from(commits.wrapping_mul(7919)).unwrap() % PARTITIONS;
        let mut batch = Batch::new(homes[home].clone());
        let mut key = b"log/".to_vec();
        key.extend_from_slice(&commits.to_be_bytes());
        batch.put(key, Bytes::from(vec![b'm'; VALUE_BYTES]));
        kv.commit(batch).unwrap();
        commits += 1;
    }
    let caller = processor("thread-self") - caller;
    kv.line().wait(kv.line().issued()).await.unwrap();
    let process = processor("self") - process;
    let took = started.elapsed();

    let each = |time: Duration| time.as_secs_f64() * 1e6 / commits as f64;
    let stats = kv.commit_stats();
    println!("{:.0} commits/s", commits as f64 / took.as_secs_f64());
    println!("{:.2} us of processor time per commit", each(process));
    println!("{:.2} us of it at the caller", each(caller));
    println!(
        "{:.1} commits per sync",
        commits as f64 / stats.rounds as f64
    );
    println!("waiting {}", shown(&stats.latency, stats.rounds));
    println!("syncs   {}", shown(&stats.sync, stats.rounds));
    println!("{} MiB resident at most", peak_kib() / 1024);
    kv.close().await.unwrap();
}

fn shown(latency: &Latency, rounds: u64) -> String {
    let mut text = format!(
        "{:.2} ms on average;",
        latency.sum_seconds * 1e3 / rounds as f64
    );
    let mut below = 0;
    for (bound, count) in LATENCY_BOUNDS_SECONDS.iter().zip(latency.counts) {
        below += count;
        text += &format!(
            " {:.1}% <= {} ms,",
            below as f64 * 100.0 / rounds as f64,
            bound * 1e3
        );
        if below == rounds {
            break;
        }
    }
    text
}

/// Processor time of the process or thread, from the kernel's accounting in clock ticks.
fn processor(who: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{who}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
