//! When files go: each has a row for every moment that decides on it, so that whoever sweeps reads only what is due.
//!
//! A row names the moment that something happened, or was said; how long after it the file goes is the operator's
//! setting of the day, which may change.

use bytes::Bytes;
use posthaste_kv::Scan;
use smallvec::SmallVec;

use super::ledger::DAY_MILLIS;
use super::{FileId, Keep, Limits, Purpose, Record, State};
use crate::clock::Timestamp;
use crate::tables;

/// What decides on a file, and is due some time after a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Its upload began.
    Uploading,
    /// It is to be gone.
    Ephemeral,
    /// It was uploaded to be sent.
    Message,
    /// Everybody to whom it was sent has it.
    Delivered,
}

impl Class {
    pub(super) const ALL: [Class; 4] = [
        Class::Uploading,
        Class::Ephemeral,
        Class::Message,
        Class::Delivered,
    ];

    pub(super) fn table(self) -> Bytes {
        let letter = match self {
            Class::Uploading => b"u",
            Class::Ephemeral => b"e",
            Class::Message => b"m",
            Class::Delivered => b"d",
        };
        [tables::MEDIA_DUE, letter].concat().into()
    }

    fn key(self, at: Timestamp, id: &FileId) -> Bytes {
        tables::media_time_key(&self.table(), at, id)
    }

    /// How long after its moment a file goes; `None` for those that stay.
    fn delay(self, limits: &Limits) -> Option<u64> {
        let days = |days: u32| u64::from(days) * DAY_MILLIS;
        match (self, limits.keep) {
            (Class::Uploading, _) => Some(u64::from(limits.upload_seconds) * 1_000),
            (Class::Ephemeral, _) => Some(0),
            (Class::Message, Keep::Days(most) | Keep::Delivered { most, .. }) => Some(days(most)),
            (Class::Delivered, Keep::Delivered { after, .. }) => Some(days(after)),
            (Class::Message, Keep::Forever) | (Class::Delivered, Keep::Forever | Keep::Days(_)) => {
                None
            }
        }
    }

    /// The rows of files that go now, at most `limit`.
    pub(super) fn due(self, limits: &Limits, now: Timestamp, limit: usize) -> Option<Scan> {
        let last = now.millis().checked_sub(self.delay(limits)?)?;
        let table = self.table();
        let end = [&table[..], &last.saturating_add(1).to_be_bytes()].concat();
        Some(Scan::range(table, end, limit))
    }
}

/// The rows of one file.
pub(super) fn keys(record: &Record, id: &FileId) -> SmallVec<[Bytes; 3]> {
    let mut keys = SmallVec::new();
    let delivered = record.sent.delivered;
    match (record.state, record.purpose) {
        (State::Uploading, _) => keys.push(Class::Uploading.key(record.created, id)),
        (State::Stored, Purpose::Profile | Purpose::Permanent) => {}
        (State::Stored, Purpose::Message | Purpose::Ephemeral(_)) => {
            keys.push(Class::Message.key(record.created, id));
            keys.extend(delivered.map(|at| Class::Delivered.key(at, id)));
        }
    }
    if let (State::Stored, Some(until)) = (record.state, record.purpose.until()) {
        keys.push(Class::Ephemeral.key(until, id));
    }
    keys
}

/// When a file goes as things stand, if it goes by itself.
pub(super) fn expires(record: &Record, limits: &Limits) -> Option<Timestamp> {
    let after = |class: Class, at: Timestamp| Some(at.plus_millis(class.delay(limits)?));
    match (record.state, record.purpose) {
        (State::Uploading, _) => after(Class::Uploading, record.created),
        (State::Stored, Purpose::Profile | Purpose::Permanent) => None,
        (State::Stored, Purpose::Message | Purpose::Ephemeral(_)) => {
            let delivered = record.sent.delivered;
            let all = [
                after(Class::Message, record.created),
                delivered.and_then(|at| after(Class::Delivered, at)),
                record.purpose.until(),
            ];
            all.into_iter().flatten().min()
        }
    }
}
