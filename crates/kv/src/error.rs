//! What can go wrong, and whose fault it is.

use thiserror::Error;

/// Why a [`Partition`](crate::Partition) cannot have this name. The caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PartitionError {
    /// Empty or longer than [`PARTITION_MAX_BYTES`](crate::PARTITION_MAX_BYTES).
    #[error("a partition's name has 1 to {max} bytes, not {0}", max = crate::PARTITION_MAX_BYTES)]
    Length(usize),
    /// A NUL byte, which engines use as a separator.
    #[error("a partition's name holds no NUL byte")]
    Nul,
}

/// Durability is over for this opening of the store: a write or a sync failed, and nothing
/// later will ever become durable. Close the store and open it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the store can no longer make anything durable (a write or a sync failed)")]
pub struct CommitFailed;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum KvError {
    // The caller's doing.
    /// A precondition of [`Kv::commit_if`](crate::Kv::commit_if) does not hold.
    #[error("a precondition does not hold")]
    PreconditionFailed,
    /// A key or a value is longer than this store takes.
    #[error("a key or a value is too long")]
    TooLarge,
    /// The caller commits without waiting for [`CommitLine::room`](crate::CommitLine::room),
    /// or so many callers at once that their batches together are too many.
    #[error("too much is waiting to become durable")]
    Backlog,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,

    // The outside failed.
    /// Less disk space is free than the configured floor. Nothing was written.
    #[error("the disk is almost full")]
    Full,
    /// A write or a sync failed earlier; see [`CommitFailed`].
    #[error(transparent)]
    Failed(#[from] CommitFailed),
    /// The disk could not be read, or what was read is damaged.
    #[error("the store could not be read: {0}")]
    Read(String),
}
