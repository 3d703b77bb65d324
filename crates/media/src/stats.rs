//! What the service counts, for whoever exports it. What the store counts is [`crate::store::Stats`]; what becomes of
//! files, [`posthaste_im::media::stats`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

/// The answers to requests, by their status.
#[derive(Debug, Default)]
pub struct Answers(Mutex<BTreeMap<u16, u64>>);

impl Answers {
    pub(crate) fn count(&self, status: StatusCode) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(status.as_u16()).or_default() += 1;
    }

    /// How many there were of each status that was ever answered.
    pub fn by_status(&self) -> BTreeMap<u16, u64> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.clone()
    }
}

/// What has come of looking at files for their previews. Those that were kept are not looked at again, nor counted.
#[derive(Debug, Default)]
pub struct Previewed {
    /// Pictures that were made small.
    pub made: AtomicU64,
    /// Files that are no pictures, or none that may be looked at.
    pub nothing: AtomicU64,
    /// Files that could not be read.
    pub failed: AtomicU64,
    /// Asked for while too many waited.
    pub busy: AtomicU64,
    micros: AtomicU64,
}

impl Previewed {
    pub(crate) fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The time that all of it has taken, waiting for a place included.
    pub fn time(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_status() {
        let answers = Answers::default();
        answers.count(StatusCode::OK);
        answers.count(StatusCode::NOT_FOUND);
        answers.count(StatusCode::OK);
        let expected = BTreeMap::from([(200, 2), (404, 1)]);
        assert_eq!(answers.by_status(), expected);
    }
}
