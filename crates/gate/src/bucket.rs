//! How fast one session may send: an average with a burst, held by delaying reads, not by errors.
//!
//! A token bucket kept as one number, the time at which all bytes taken so far are paid for.

use std::time::Duration;

/// The speed that buckets of one gate hold their sessions to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    bytes_per_second: u64,
    burst_micros: u64,
}

impl Rate {
    /// `bytes_per_second` on average with `burst_bytes` at once; neither can be less than one byte.
    pub(crate) fn new(bytes_per_second: u32, burst_bytes: u32) -> Rate {
        let bytes_per_second = u64::from(bytes_per_second.max(1));
        Rate {
            bytes_per_second,
            burst_micros: cost(u64::from(burst_bytes.max(1)), bytes_per_second),
        }
    }
}

/// One session's bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    paid_at_micros: u64,
}

impl Bucket {
    /// Takes `bytes` at the time `now_micros`: they are in already, so this never refuses.
    pub(crate) fn take(&mut self, rate: Rate, now_micros: u64, bytes: usize) {
        let price = cost(bytes as u64, rate.bytes_per_second);
        self.paid_at_micros = self.paid_at_micros.max(now_micros).saturating_add(price);
    }

    /// How long to wait before more is read; zero when the burst is not used up.
    pub(crate) fn wait(&self, rate: Rate, now_micros: u64) -> Duration {
        let debt = self.paid_at_micros.saturating_sub(now_micros);
        Duration::from_micros(debt.saturating_sub(rate.burst_micros))
    }
}

fn cost(bytes: u64, bytes_per_second: u64) -> u64 {
    bytes.saturating_mul(1_000_000) / bytes_per_second
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_is_free_and_what_follows_has_the_average_speed() {
        let rate = Rate::new(1_000, 5_000);
        let mut bucket = Bucket::default();
        bucket.take(rate, 0, 5_000);
        assert_eq!(bucket.wait(rate, 0), Duration::ZERO);
        bucket.take(rate, 0, 1_000);
        assert_eq!(bucket.wait(rate, 0), Duration::from_secs(1));
        assert_eq!(bucket.wait(rate, SECOND), Duration::ZERO);
    }

    #[test]
    fn silence_fills_the_bucket_to_the_burst_and_no_further() {
        let rate = Rate::new(1_000, 5_000);
        let mut bucket = Bucket::default();
        bucket.take(rate, 0, 5_000);
        bucket.take(rate, 1_000 * SECOND, 6_000);
        assert_eq!(bucket.wait(rate, 1_000 * SECOND), Duration::from_secs(1));
    }
}
