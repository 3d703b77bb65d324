//! Why bytes could not be kept or read, and what the operator is told.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// Why bytes could not be kept or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There are none of this name.
    #[error("there is no such object")]
    NotFound,
    /// Somebody else is writing it just now.
    #[error("somebody else is writing the object")]
    Busy,
    /// The disk has no room, or less than the floor. Nothing is wrong with what is stored.
    #[error("the disk is full")]
    Full,
    /// What is stored is not what was to be stored: a disk, a service or somebody has changed it.
    #[error("the object is not what was stored")]
    Mismatch,
    /// We are misconfigured.
    #[error("{0}")]
    Settings(String),
    /// The local disk failed.
    #[error("{0}")]
    Io(io::Error),
    /// The service failed, or cannot be reached.
    #[error("the object store: {what}")]
    Remote {
        /// What happened, without the service's own text beyond its error code.
        what: String,
        /// Our credentials are not good for it, or the bucket is not there: no waiting will help.
        is_refusal: bool,
    },
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Io(error),
        }
    }
}

impl StoreError {
    /// Whether the same may go well in a while, nobody here doing anything (HTTP 503 rather than 500).
    pub fn is_temporary(&self) -> bool {
        match self {
            StoreError::Busy | StoreError::Remote { .. } => true,
            StoreError::NotFound
            | StoreError::Full
            | StoreError::Mismatch
            | StoreError::Settings(_)
            | StoreError::Io(_) => false,
        }
    }

    /// Tells the operator what is wrong and what helps; each kind once in a while, as every request may meet it.
    pub(super) fn log(&self) {
        match self {
            StoreError::NotFound | StoreError::Busy => {}
            StoreError::Full => {
                if FULL.is_due() {
                    tracing::warn!(
                        "the disk is nearly full: uploads are refused. Free some space, or have files go sooner \
                         (media.keep)"
                    );
                }
            }
            StoreError::Mismatch => tracing::error!(
                "an uploaded file is not what was stored and was not served to its end: look at the disk's or the \
                 service's health, and restore the file from a backup"
            ),
            StoreError::Settings(what) => tracing::error!("media: {what}"),
            StoreError::Io(error) => {
                if IO.is_due() {
                    tracing::error!(%error, "the folder of uploaded files cannot be used: look at the disk and at the folder's permissions");
                }
            }
            StoreError::Remote {
                what,
                is_refusal: true,
            } => {
                if REFUSED.is_due() {
                    tracing::error!(%what, "the object store refuses us: look at [s3] bucket, region and credentials, and at what they may do");
                }
            }
            StoreError::Remote {
                what,
                is_refusal: false,
            } => {
                if UNREACHABLE.is_due() {
                    tracing::error!(%what, "the object store does not answer as it should: look at [s3] endpoint, the network and the service; files can neither be stored nor read until then");
                }
            }
        }
    }
}

/// Seconds between two lines of the same kind.
const PAUSE_SECONDS: u64 = 10;

static FULL: Pause = Pause(AtomicU64::new(0));
static IO: Pause = Pause(AtomicU64::new(0));
static REFUSED: Pause = Pause(AtomicU64::new(0));
static UNREACHABLE: Pause = Pause(AtomicU64::new(0));

/// When a line was written last, in seconds since 1970.
struct Pause(AtomicU64);

impl Pause {
    fn is_due(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let last = self.0.load(Ordering::Relaxed);
        let is_due = now >= last.saturating_add(PAUSE_SECONDS) || now < last;
        is_due
            && self
                .0
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
