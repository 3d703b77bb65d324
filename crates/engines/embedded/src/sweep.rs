//! Deletes a large range in pages, atomically all the same.
//!
//! A range with few keys is deleted within the round's one batch. A larger one is noted down in
//! that batch (a [`Sweep`]), which is what makes the deletion durable, and its keys go
//! afterwards, page by page. A store that is opened finishes what it finds noted.

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode, Slice};

use crate::keys::FIRST_PARTITION;

/// How many keys one page deletes: some hundred kilobytes of memory and journal.
pub(crate) const PAGE_KEYS: usize = 4096;

/// Where sweeps are noted down: before every partition.
const NOTES: &[u8] = b"\0sweep/";
/// The version of a note's bytes.
const NOTE_VERSION: u8 = 1;

/// A large range that is being deleted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub(crate) from: Slice,
    pub(crate) to: Slice,
    /// Keys of the range that were written together with its deletion or after it, in order.
    pub(crate) keep: Vec<Slice>,
}

impl Sweep {
    /// The key of the note of the `number`th sweep of a round. Rounds do not overlap.
    pub(crate) fn note_key(number: usize) -> Slice {
        let mut key = NOTES.to_vec();
        key.extend_from_slice(&(number as u64).to_be_bytes());
        Slice::from(key)
    }

    /// The note: a version byte, then `from`, `to` and what is kept, each after its length as
    /// a little-endian `u32`.
    pub(crate) fn note(&self) -> Slice {
        let mut note = vec![NOTE_VERSION];
        for part in [&self.from, &self.to].into_iter().chain(&self.keep) {
            let len = u32::try_from(part.len()).expect("keys are bounded far below that");
            note.extend_from_slice(&len.to_le_bytes());
            note.extend_from_slice(part);
        }
        Slice::from(note)
    }

    fn read(note: &[u8]) -> Option<Self> {
        let (&NOTE_VERSION, mut rest) = note.split_first()? else {
            return None;
        };
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            parts.push(Slice::from(part));
            rest = after;
        }
        let mut parts = parts.into_iter();
        Some(Self {
            from: parts.next()?,
            to: parts.next()?,
            keep: parts.collect(),
        })
    }

    /// Deletes the range's keys. Every page is synced, so that never more than one is lost to a
    /// power cut; `ready` is called before each and may wait.
    pub(crate) fn run(
        &self,
        db: &Database,
        rows: &Keyspace,
        mut ready: impl FnMut() -> fjall::Result<()>,
    ) -> fjall::Result<()> {
        let mut at = self.from.clone();
        loop {
            let page = keys_of(rows, &at, &self.to, PAGE_KEYS)?;
            let Some(last) = page.last().cloned() else {
                return Ok(());
            };
            let mut batch = OwnedWriteBatch::with_capacity(db.clone(), page.len());
            for key in page {
                if self.keep.binary_search(&key).is_err() {
                    batch.remove(rows, key);
                }
            }
            ready()?;
            batch.commit()?;
            db.persist(PersistMode::SyncData)?;
            let mut next = last.to_vec();
            next.push(0);
            at = Slice::from(next);
        }
    }
}

/// The first keys of a range, at most `limit`.
pub(crate) fn keys_of(
    rows: &Keyspace,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> fjall::Result<Vec<Slice>> {
    rows.range(from..to)
        .take(limit)
        .map(fjall::Guard::key)
        .collect()
}

/// Finishes the sweeps that an earlier opening left.
pub(crate) fn finish_noted(db: &Database, rows: &Keyspace) -> fjall::Result<()> {
    for guard in rows.range(NOTES..FIRST_PARTITION) {
        let (key, note) = guard.into_inner()?;
        let sweep = Sweep::read(&note).ok_or(fjall::Error::Unrecoverable)?;
        sweep.run(db, rows, || Ok(()))?;
        rows.remove(key)?;
    }
    db.persist(PersistMode::SyncData)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::KeyspaceCreateOptions;

    fn sweep() -> Sweep {
        Sweep {
            from: "a\0".into(),
            to: "a\u{1}".into(),
            keep: vec!["a\0k".into()],
        }
    }

    #[test]
    fn a_note_keeps_its_bytes_across_versions() {
        let note = sweep().note();
        assert_eq!(&*note, b"\x01\x02\0\0\0a\0\x02\0\0\0a\x01\x03\0\0\0a\0k");
        assert_eq!(Sweep::read(&note), Some(sweep()));
        assert_eq!(Sweep::read(b"\x02"), None);
        assert_eq!(Sweep::read(&note[..note.len() - 1]), None);
    }

    #[test]
    fn a_noted_sweep_is_finished_when_the_store_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        for number in 0..PAGE_KEYS + 10 {
            rows.insert(format!("a\0{number:06}"), "v").unwrap();
        }
        rows.insert("a\0k", "kept").unwrap();
        rows.insert("b\0k", "other").unwrap();
        rows.insert(Sweep::note_key(0), sweep().note()).unwrap();
        finish_noted(&db, &rows).unwrap();
        let left = keys_of(&rows, b"", b"\xff", 10).unwrap();
        assert_eq!(left, [Slice::from("a\0k"), Slice::from("b\0k")]);
    }
}
