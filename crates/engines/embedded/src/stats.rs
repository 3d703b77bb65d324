//! What the store tells a metrics page about its commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the latency buckets in seconds. The last bucket, above them all, has none.
pub const LATENCY_BOUNDS_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
];

/// A histogram with fixed buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// How many fell into each bucket of [`LATENCY_BOUNDS_SECONDS`], and above them all.
    pub counts: [u64; LATENCY_BOUNDS_SECONDS.len() + 1],
    /// The sum of everything counted, in seconds.
    pub sum_seconds: f64,
}

/// A look at the store's counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitStats {
    /// Batches that have become durable since the store was opened.
    pub batches: u64,
    /// Their weight in bytes.
    pub bytes: u64,
    /// Rounds of the committer: each makes everything that waited durable by one sync.
    pub rounds: u64,
    /// The weight of what is not durable yet, in bytes.
    pub pending_bytes: u64,
    /// For each round, how long the batch waited that had waited longest.
    pub latency: Latency,
    /// For each round, how long the sync took.
    pub sync: Latency,
    /// Whether the free disk space is below the floor, so that commits are refused.
    pub disk_full: bool,
}

#[derive(Default)]
struct Histogram {
    counts: [AtomicU64; LATENCY_BOUNDS_SECONDS.len() + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = LATENCY_BOUNDS_SECONDS.partition_point(|&bound| bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn look(&self) -> Latency {
        let mut latency = Latency::default();
        for (seen, count) in latency.counts.iter_mut().zip(&self.counts) {
            *seen = count.load(Ordering::Relaxed);
        }
        latency.sum_seconds =
            Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        latency
    }
}

/// The counters the committer writes.
#[derive(Default)]
pub(crate) struct Counters {
    batches: AtomicU64,
    bytes: AtomicU64,
    rounds: AtomicU64,
    latency: Histogram,
    sync: Histogram,
}

impl Counters {
    pub(crate) fn round(&self, batches: u64, bytes: u64, waited: Duration, sync: Duration) {
        self.batches.fetch_add(batches, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.latency.record(waited);
        self.sync.record(sync);
    }

    pub(crate) fn look(&self, pending_bytes: u64, disk_full: bool) -> CommitStats {
        CommitStats {
            batches: self.batches.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            rounds: self.rounds.load(Ordering::Relaxed),
            pending_bytes,
            latency: self.latency.look(),
            sync: self.sync.look(),
            disk_full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let counters = Counters::default();
        counters.round(3, 300, Duration::from_millis(1), Duration::from_micros(400));
        counters.round(1, 100, Duration::from_secs(9), Duration::from_secs(4));
        let stats = counters.look(7, false);
        assert_eq!((stats.batches, stats.bytes, stats.rounds), (4, 400, 2));
        assert_eq!(stats.latency.counts[1], 1);
        assert_eq!(stats.latency.counts[12], 1);
        assert_eq!((stats.sync.counts[0], stats.sync.counts[11]), (1, 1));
        assert!((stats.latency.sum_seconds - 9.001).abs() < 1e-6);
    }
}
