//! What is counted of files, for whoever exports it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{LedgerError, Usage};
use crate::stats::Counter;

/// Why an upload was refused before a byte of it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Larger than any file may be.
    Size,
    /// The account has as many files or bytes as it may have.
    Account,
    /// The account has uploaded enough today.
    Day,
    /// Too many uploads of the account are under way.
    Open,
    /// The slot was used before, or its account is gone.
    Slot,
    /// The store failed.
    Store,
}

impl Refused {
    /// Every reason, in the order of the counters.
    pub const ALL: [Refused; 6] = [
        Refused::Size,
        Refused::Account,
        Refused::Day,
        Refused::Open,
        Refused::Slot,
        Refused::Store,
    ];

    /// The reason as a metrics label.
    pub fn label(self) -> &'static str {
        match self {
            Refused::Size => "size",
            Refused::Account => "account_full",
            Refused::Day => "day_full",
            Refused::Open => "too_many_open",
            Refused::Slot => "slot",
            Refused::Store => "store",
        }
    }

    fn of(error: &LedgerError) -> Refused {
        match error {
            LedgerError::NoAccount | LedgerError::Used | LedgerError::NotFound => Refused::Slot,
            LedgerError::AccountFull => Refused::Account,
            LedgerError::DayFull(_) => Refused::Day,
            LedgerError::TooManyOpen => Refused::Open,
            LedgerError::Store(_) => Refused::Store,
        }
    }
}

/// What all accounts together have, as the last round over them has found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Accounts that have files.
    pub accounts: u64,
    /// Files, those that are coming included.
    pub files: u64,
    /// Of these, how many are coming.
    pub open: u64,
    /// Bytes that are stored, or are to come.
    pub bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, usage: &Usage) {
        self.accounts += u64::from(usage.files > 0);
        self.files += u64::from(usage.files);
        self.open += u64::from(usage.open);
        self.bytes = self.bytes.saturating_add(usage.bytes);
    }
}

/// What has become of files since the node began.
#[derive(Debug, Default)]
pub struct Stats {
    /// Slots given out (XEP-0363).
    pub slots: Counter,
    /// Uploads that began: their slots are used.
    pub begun: Counter,
    /// Uploads that became files, with bytes of their own.
    pub stored: Counter,
    /// Uploads that became files, with bytes that their accounts had already.
    pub adopted: Counter,
    /// Uploads that came to nothing.
    pub abandoned: Counter,
    /// Files that went, by whoever's will.
    pub removed: Counter,
    /// Rounds of the sweep that have come round.
    pub rounds: Counter,
    refused: [Counter; Refused::ALL.len()],
    accounts: AtomicU64,
    files: AtomicU64,
    open: AtomicU64,
    bytes: AtomicU64,
}

impl Stats {
    /// Uploads that were refused for this reason, when the slot was asked for or when it was used.
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize].value()
    }

    pub(crate) fn refuse(&self, why: Refused) {
        self.refused[why as usize].count();
    }

    pub(super) fn noted<T>(&self, outcome: Result<T, LedgerError>) -> Result<T, LedgerError> {
        outcome.inspect_err(|error| self.refuse(Refused::of(error)))
    }

    /// What there was when the last round came round; nothing before the first has.
    pub fn sum(&self) -> Sum {
        let value = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
        Sum {
            accounts: value(&self.accounts),
            files: value(&self.files),
            open: value(&self.open),
            bytes: value(&self.bytes),
        }
    }

    pub(super) fn came_round(&self, sum: Sum) {
        self.rounds.count();
        for (gauge, value) in [
            (&self.accounts, sum.accounts),
            (&self.files, sum.files),
            (&self.open, sum.open),
            (&self.bytes, sum.bytes),
        ] {
            gauge.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place() {
        let stats = Stats::default();
        for (index, why) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            stats.refuse(why);
            assert_eq!(stats.refused(why), 1, "{}", why.label());
        }
    }
}
