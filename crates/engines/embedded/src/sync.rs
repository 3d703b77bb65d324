//! Makes what was written durable, and is told when that fails.
//!
//! fjall can sync its journal itself, but its flushing thread does so too, on the same open file,
//! and Linux tells of a failed write once per open file (see `fsync(2)`). When the flushing thread
//! is the one that is told, a sync that waited behind it succeeds, and what it was for would be
//! acknowledged although it is lost. An open file of our own is always told.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fjall::{Database, PersistMode};

use crate::journal::newest;

/// Our own open file of the journal that fjall writes.
pub(crate) struct JournalSync {
    folder: PathBuf,
    number: u64,
    file: File,
}

impl JournalSync {
    /// Follows the newest journal in fjall's `folder`.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let (number, path) = newest(folder)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            number,
            file: File::open(path)?,
        })
    }

    /// Makes everything that `db` has been given durable. After an error nothing may be
    /// acknowledged any more.
    pub(crate) fn sync(&mut self, db: &Database) -> fjall::Result<()> {
        // Hands what fjall has buffered to the kernel.
        db.persist(PersistMode::Buffer)?;
        // fjall may have begun another journal since, before or after what is to be synced. It
        // cannot have begun and removed one: that takes more than a round can write.
        loop {
            self.file.sync_data()?;
            let next = self.folder.join(format!("{}.jnl", self.number + 1));
            match File::open(next) {
                Ok(file) => {
                    self.file = file;
                    self.number += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use fjall::KeyspaceCreateOptions;

    #[test]
    fn it_follows_fjall_from_journal_to_journal() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path())
            .manual_journal_persist(true)
            .open()
            .unwrap();
        let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        let mut journal = JournalSync::of(dir.path()).unwrap();
        // fjall begins another journal when it flushes after 64 MB.
        for number in 0..5u8 {
            rows.insert([number], vec![number; 16_000_000]).unwrap();
        }
        rows.rotate_memtable_and_wait().unwrap();
        // Its worker does so a moment later.
        let patience = Instant::now() + Duration::from_secs(30);
        while newest(dir.path()).unwrap().unwrap().0 == 0 && Instant::now() < patience {
            thread::sleep(Duration::from_millis(5));
        }
        journal.sync(&db).unwrap();
        assert_eq!(journal.number, 1);
    }
}
