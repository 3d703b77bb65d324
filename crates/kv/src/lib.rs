//! The border between the messaging heart and whatever keeps its bytes: ordered keys and
//! values in partitions, atomic batches within one partition, and a [`CommitLine`] that says
//! which of them would survive a power cut.
//!
//! An engine implements [`Kv`]; the in-memory one is [`memory::MemoryKv`], engines on disk are
//! crates of their own. Every engine passes the same
//! conformance suite (feature `conformance`).
//!
//! Left out on purpose: transactions over several partitions (a home's state is one partition),
//! streaming iterators (callers page with [`Scan::limit`]) and expiry.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod fault;
mod line;
pub mod memory;
mod pages;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
pub use futures_util::future::BoxFuture;

pub use crate::error::{CommitFailed, KvError, PartitionError};
pub use crate::line::CommitLine;
pub use crate::pages::Pages;

/// The longest partition name in bytes: a bare JID is at most 1023 + 1 + 1023 (RFC 7622 §3.1).
pub const PARTITION_MAX_BYTES: usize = 2047;
/// The longest key in bytes: a full JID (3071 bytes, RFC 7622 §3.1) with room for a prefix.
pub const KEY_MAX_BYTES: usize = 4096;
/// The longest value in bytes: far above any stanza, low enough that one value cannot fill a
/// write buffer.
pub const VALUE_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The name of one home's (or one internal table's) own ordered key space.
///
/// A home's partition is its bare JID. A partition of the node itself starts with `!` and has no
/// `@`, so it can be no JID: a local part may start with `!` (RFC 7622 §3.3) but a domain may
/// not. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// Takes `name` as a partition's name.
    ///
    /// # Errors
    /// A name that is empty, longer than [`PARTITION_MAX_BYTES`] or holds a NUL byte is refused;
    /// no JID is any of these.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, PartitionError> {
        let name = name.into();
        if name.is_empty() || name.len() > PARTITION_MAX_BYTES {
            return Err(PartitionError::Length(name.len()));
        }
        // Engines join partition and key with a NUL between them.
        if name.as_bytes().contains(&0) {
            return Err(PartitionError::Nul);
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One change to one partition.
///
/// Keys and values are kept as they are handed over, so a value that is a slice of a large
/// buffer should be copied out of it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes `value` under `key`, replacing what was there.
    Put {
        /// The key, at most [`KEY_MAX_BYTES`].
        key: Bytes,
        /// The value, at most [`VALUE_MAX_BYTES`].
        value: Bytes,
    },
    /// Removes `key` if it is there.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Removes every key from `from` (inclusive) to `to` (exclusive; empty means the end).
    DeleteRange {
        /// The first key that goes.
        from: Bytes,
        /// The first key after the range that stays.
        to: Bytes,
    },
}

/// Changes to one partition that happen all together or not at all. Later ones win over earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The partition that is changed.
    pub partition: Partition,
    /// The changes, applied in order.
    pub ops: Vec<Op>,
}

impl Batch {
    /// An empty batch for `partition`.
    #[must_use]
    pub fn new(partition: Partition) -> Self {
        Self {
            partition,
            ops: Vec::new(),
        }
    }

    /// Adds a [`Op::Put`].
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a [`Op::Delete`].
    pub fn delete(&mut self, key: impl Into<Bytes>) -> &mut Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Adds a [`Op::DeleteRange`]. An empty `to` means the end of the partition.
    pub fn delete_range(&mut self, from: impl Into<Bytes>, to: impl Into<Bytes>) -> &mut Self {
        self.ops.push(Op::DeleteRange {
            from: from.into(),
            to: to.into(),
        });
        self
    }

    /// Whether the batch changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// What the batch weighs against the bound on undurable bytes: its keys and values, the
    /// partition name that engines store with each key, and a little for each change.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        const PER_OP: usize = 32;
        let per_op = PER_OP + self.partition.as_str().len();
        let ops: usize = self
            .ops
            .iter()
            .map(|op| {
                per_op
                    + match op {
                        Op::Put { key, value } => key.len() + value.len(),
                        Op::Delete { key } => key.len(),
                        Op::DeleteRange { from, to } => from.len() + to.len(),
                    }
            })
            .sum();
        ops as u64
    }

    /// Checks every key and value against [`KEY_MAX_BYTES`] and [`VALUE_MAX_BYTES`]. Engines
    /// call this before they take a batch.
    ///
    /// # Errors
    /// [`KvError::TooLarge`].
    pub fn check(&self) -> Result<(), KvError> {
        let fits = self.ops.iter().all(|op| match op {
            Op::Put { key, value } => key.len() <= KEY_MAX_BYTES && value.len() <= VALUE_MAX_BYTES,
            Op::Delete { key } => key.len() <= KEY_MAX_BYTES,
            Op::DeleteRange { from, to } => {
                from.len() <= KEY_MAX_BYTES && to.len() <= KEY_MAX_BYTES
            }
        });
        if fits { Ok(()) } else { Err(KvError::TooLarge) }
    }
}

/// What must hold for [`Kv::commit_if`] to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing is stored under the key.
    Absent(Bytes),
    /// Exactly `value` is stored under `key`.
    Equals {
        /// The key.
        key: Bytes,
        /// The value it must have.
        value: Bytes,
    },
}

impl Precondition {
    /// The key the condition is about.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Absent(key) | Self::Equals { key, .. } => key,
        }
    }

    /// Whether the condition holds when `found` is stored under its key.
    #[must_use]
    pub fn holds(&self, found: Option<&[u8]>) -> bool {
        match self {
            Self::Absent(_) => found.is_none(),
            Self::Equals { value, .. } => found == Some(value),
        }
    }
}

/// A range of one partition, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The first key, inclusive. Empty means the start of the partition.
    pub from: Bytes,
    /// The end, exclusive. Empty means the end of the partition.
    pub to: Bytes,
    /// Whether the answer starts at the end of the range and goes down.
    pub reverse: bool,
    /// At most so many rows are answered.
    pub limit: usize,
}

impl Scan {
    /// The keys from `from` up to but without `to` (empty: the end), at most `limit`.
    #[must_use]
    pub fn range(from: impl Into<Bytes>, to: impl Into<Bytes>, limit: usize) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            reverse: false,
            limit,
        }
    }

    /// Every key that starts with `prefix`, at most `limit`.
    #[must_use]
    pub fn prefix(prefix: &[u8], limit: usize) -> Self {
        Self::range(Bytes::copy_from_slice(prefix), prefix_end(prefix), limit)
    }

    /// The same range from its end downwards.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }
}

/// The first key after every key that starts with `prefix`; empty when there is none, which
/// [`Scan`] and [`Op::DeleteRange`] read as the end of the partition.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix
        .iter()
        .rposition(|&byte| byte != u8::MAX)
        .map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Bytes::from(end)
}

/// The place of a commit in its store's order.
///
/// A ticket is durable only after every earlier one of the same store, so the highest durable
/// ticket says everything. Tickets mean nothing to another store or after a reopening.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The ticket of nothing: always durable.
    pub const DURABLE: Self = Self(0);

    /// The ticket's number, for logs and metrics.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A row of a scan.
pub type Row = (Bytes, Bytes);

/// An ordered key-value store in partitions.
///
/// Reads see every commit that has returned, durable or not. What is durable survives power
/// loss; what is not is lost or kept one whole batch at a time, and never before something
/// earlier of the same store is lost.
pub trait Kv: Send + Sync + 'static {
    /// The value under `key`, if there is one.
    ///
    /// # Errors
    /// [`KvError::Read`] when the disk or the engine fails, [`KvError::Closed`] after a close.
    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Bytes>, KvError>>;

    /// The rows of a range, in the order asked for: one consistent view of the partition.
    ///
    /// # Errors
    /// As [`Kv::get`].
    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: Scan,
    ) -> BoxFuture<'a, Result<Vec<Row>, KvError>>;

    /// Takes a batch: reads see it when this returns, and it is durable once [`Kv::line`] says
    /// so of the ticket. Never waits. An empty batch answers [`Ticket::DURABLE`].
    ///
    /// # Errors
    /// Nothing was changed when this fails. [`KvError::Full`] below the free-disk floor,
    /// [`KvError::Backlog`] when far more bytes are undurable than [`CommitLine::room`] allows,
    /// [`KvError::TooLarge`], and [`KvError::Failed`] or [`KvError::Closed`] when the store has
    /// to be opened again.
    fn commit(&self, batch: Batch) -> Result<Ticket, KvError>;

    /// [`Kv::commit`], but only if every precondition holds at that moment.
    ///
    /// # Errors
    /// [`KvError::PreconditionFailed`], or as [`Kv::get`] and [`Kv::commit`].
    fn commit_if<'a>(
        &'a self,
        batch: Batch,
        when: Vec<Precondition>,
    ) -> BoxFuture<'a, Result<Ticket, KvError>>;

    /// The partitions that hold at least one key, in order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`Kv::get`].
    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Partition>, KvError>>;

    /// What is durable, and who waits for it.
    fn line(&self) -> &Arc<CommitLine>;

    /// Roughly the bytes the store takes where it keeps them.
    fn size_bytes(&self) -> u64;

    /// Makes everything durable and lets go of the store; later calls answer
    /// [`KvError::Closed`]. Closing twice is fine.
    ///
    /// # Errors
    /// [`KvError::Failed`] when something committed could not be made durable.
    fn close(&self) -> BoxFuture<'_, Result<(), KvError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_name_is_a_jid_or_an_internal_name() {
        assert_eq!(
            Partition::new("romeo@example.org").unwrap().as_str(),
            "romeo@example.org"
        );
        assert!(Partition::new("!accounts").is_ok());
        assert_eq!(Partition::new(""), Err(PartitionError::Length(0)));
        assert_eq!(Partition::new("a\0b"), Err(PartitionError::Nul));
        let long = "x".repeat(PARTITION_MAX_BYTES + 1);
        assert_eq!(
            Partition::new(long),
            Err(PartitionError::Length(PARTITION_MAX_BYTES + 1))
        );
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_of_its_length() {
        let table: &[(&[u8], &[u8])] = &[
            (b"log/", b"log0"),
            (b"a\xff", b"b"),
            (b"\xff\xff", b""),
            (b"", b""),
        ];
        for (prefix, end) in table {
            assert_eq!(prefix_end(prefix), *end, "of {prefix:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let partition = Partition::new("romeo@example.org").unwrap();
        let mut batch = Batch::new(partition);
        batch.put(vec![b'k'; KEY_MAX_BYTES], vec![b'v'; 10]);
        assert!(batch.check().is_ok());
        batch.put(&b"k"[..], vec![0; VALUE_MAX_BYTES + 1]);
        assert!(matches!(batch.check(), Err(KvError::TooLarge)));
    }

    #[test]
    fn hot_types_stay_small() {
        assert_eq!(size_of::<Ticket>(), 8);
        assert_eq!(size_of::<Op>(), 72);
        assert_eq!(size_of::<Batch>(), 40);
    }
}
