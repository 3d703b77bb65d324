//! What the service counts, for whoever exports it. What the store counts is [`crate::store::Stats`]; what becomes of
//! files, [`posthaste_im::media::stats`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
