//! When files go: each has a row for every moment that decides on it, so that whoever sweeps reads only what is due.
//!
//! A row names the moment that something happened, or was said; how long after it the file goes is the operator's
//! setting of the day, which may change.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{FileId, Purpose, Record, State};
use crate::clock::Timestamp;
use crate::tables;

/// What decides on a file, and is due some time after a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
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
    fn table(self) -> Bytes {
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
