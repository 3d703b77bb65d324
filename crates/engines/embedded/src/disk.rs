//! Stops taking batches before the disk is full: a database that meets the end of the disk in
//! the middle of a compaction is harder to mend than one that was never let that far.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How old an answer of the file system may get. A gigabyte a second would be needed to write
/// through a floor of that size unseen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The file system is asked sooner when so much has been written since: a sixteenth of the
/// default floor.
const LOOK_EVERY_BYTES: u64 = 4 * 1024 * 1024;

/// Watches the free space of the file system that holds the store.
pub(crate) struct DiskWatch {
    path: PathBuf,
    floor_bytes: u64,
    full: AtomicBool,
    started: Instant,
    looked_at_ms: AtomicU64,
    written_since: AtomicU64,
}

impl DiskWatch {
    pub(crate) fn new(path: PathBuf, floor_bytes: u64) -> Self {
        let watch = Self {
            path,
            floor_bytes,
            full: AtomicBool::new(false),
            started: Instant::now(),
            looked_at_ms: AtomicU64::new(0),
            written_since: AtomicU64::new(0),
        };
        watch.look();
        watch
    }

    /// Whether less is free than the floor. Costs one load while there is room; [`Self::wrote`]
    /// notices when there is none any more, and this notices when there is some again.
    pub(crate) fn is_full(&self) -> bool {
        if self.full.load(Ordering::Relaxed) {
            self.look_if_old();
        }
        self.full.load(Ordering::Relaxed)
    }

    /// The committer has written `bytes`. Says whether the file system was asked.
    pub(crate) fn wrote(&self, bytes: u64) -> bool {
        let written = self.written_since.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if written >= LOOK_EVERY_BYTES {
            self.look();
            true
        } else {
            self.look_if_old()
        }
    }

    fn look_if_old(&self) -> bool {
        let age = self.now_ms() - self.looked_at_ms.load(Ordering::Relaxed).min(self.now_ms());
        let old = u128::from(age) >= LOOK_EVERY.as_millis();
        if old {
            self.look();
        }
        old
    }

    fn look(&self) {
        self.looked_at_ms.store(self.now_ms(), Ordering::Relaxed);
        self.written_since.store(0, Ordering::Relaxed);
        // When the file system does not answer, the next write will say what is wrong.
        let Ok(stat) = rustix::fs::statvfs(&self.path) else {
            return;
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let full = free < self.floor_bytes;
        if self.full.swap(full, Ordering::Relaxed) != full {
            let path = self.path.display();
            let floor = self.floor_bytes;
            if full {
                tracing::error!(%path, free, floor, "the disk is almost full: commits are refused");
            } else {
                tracing::warn!(%path, free, floor, "the disk has room again: commits are taken");
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_above_the_disk_is_full_and_one_of_zero_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        assert!(DiskWatch::new(path.clone(), u64::MAX).is_full());
        assert!(!DiskWatch::new(path, 0).is_full());
    }

    #[test]
    fn enough_written_bytes_make_it_look() {
        let dir = tempfile::tempdir().unwrap();
        let watch = DiskWatch::new(dir.path().to_path_buf(), 0);
        assert!(!watch.wrote(1));
        assert!(watch.wrote(LOOK_EVERY_BYTES));
    }
}
