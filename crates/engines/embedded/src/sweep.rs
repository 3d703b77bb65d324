//! Deletes a large range in pages between the rounds of the committer, atomically all the same.
//!
//! A range with few keys is deleted within the round's one batch. A larger one is noted down in
//! that batch (a [`Sweep`]), which is what makes the deletion durable and hides the keys from
//! readers; the keys go afterwards, page by page, so that nobody's commit waits for all of them.
//! A store that is opened goes on with what it finds noted.

use std::collections::BTreeSet;
use std::ops::Bound;

use fjall::{Keyspace, OwnedWriteBatch, Slice};

use crate::Tables;
use crate::keys::FIRST_PARTITION;

/// How many keys one page deletes: some milliseconds, for which a commit may have to wait.
const PAGE_KEYS: usize = 1024;

/// Where sweeps are noted down: before every partition.
const NOTES: &[u8] = b"\0sweep/";
/// The version of a note's bytes.
const NOTE_VERSION: u8 = 1;

/// A large range that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub(crate) number: u64,
    pub(crate) from: Slice,
    pub(crate) to: Slice,
    /// Keys of the range that were written together with its deletion or after it.
    pub(crate) keep: BTreeSet<Slice>,
    /// Where the next page begins.
    at: Slice,
}

impl Sweep {
    pub(crate) fn new(number: u64, from: Slice, to: Slice, keep: BTreeSet<Slice>) -> Self {
        let at = from.clone();
        Self {
            number,
            from,
            to,
            keep,
            at,
        }
    }

    /// Whether what the tables hold under `key` is deleted by this.
    pub(crate) fn hides(&self, key: &[u8]) -> bool {
        *self.from <= *key && *key < *self.to && !self.keep.contains(key)
    }

    /// What it spares of a range.
    pub(crate) fn spared<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = &'a Slice> {
        self.keep
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
    }

    /// Puts the sweep's note into `batch`.
    pub(crate) fn note_in(&self, batch: &mut OwnedWriteBatch, rows: &Keyspace) {
        batch.insert(rows, self.note_key(), self.note());
    }

    /// Deletes the next page. Says whether that was the last, which takes the note along.
    pub(crate) fn page(&mut self, tables: &Tables) -> fjall::Result<bool> {
        let rows = &tables.rows;
        let page = keys_of(rows, &self.at, &self.to, PAGE_KEYS)?;
        let is_last = page.len() < PAGE_KEYS;
        if let Some(last) = page.last() {
            let mut next = last.to_vec();
            next.push(0);
            self.at = Slice::from(next);
        }
        let mut batch = OwnedWriteBatch::with_capacity(tables.db.clone(), page.len() + 1);
        for key in page {
            if !self.keep.contains(&key) {
                batch.remove(rows, key);
            }
        }
        if is_last {
            batch.remove(rows, self.note_key());
        }
        batch.commit()?;
        Ok(is_last)
    }

    /// The sweeps that an earlier opening left, in the order of their numbers.
    pub(crate) fn noted(rows: &Keyspace) -> fjall::Result<Vec<Self>> {
        rows.range(NOTES..FIRST_PARTITION)
            .map(|guard| {
                let (key, note) = guard.into_inner()?;
                Self::read(&key, &note).ok_or(fjall::Error::Unrecoverable)
            })
            .collect()
    }

    fn note_key(&self) -> Slice {
        Slice::from([NOTES, &self.number.to_be_bytes()].concat())
    }

    /// The note: a version byte, then `from`, `to` and what is kept, each after its length as
    /// a little-endian `u32`.
    fn note(&self) -> Slice {
        let mut note = vec![NOTE_VERSION];
        for part in [&self.from, &self.to].into_iter().chain(&self.keep) {
            let len = u32::try_from(part.len()).expect("keys are bounded far below that");
            note.extend_from_slice(&len.to_le_bytes());
            note.extend_from_slice(part);
        }
        Slice::from(note)
    }

    fn read(key: &[u8], note: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(key.strip_prefix(NOTES)?.try_into().ok()?);
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
        let (from, to) = (parts.next()?, parts.next()?);
        Some(Self::new(number, from, to, parts.collect()))
    }
}

/// The first keys of a range in the tables, at most `limit`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions};

    fn sweep() -> Sweep {
        let keep = BTreeSet::from([Slice::from("a\0k")]);
        Sweep::new(3, "a\0".into(), "a\u{1}".into(), keep)
    }

    #[test]
    fn a_note_keeps_its_bytes_across_versions() {
        let (key, note) = (sweep().note_key(), sweep().note());
        assert_eq!(&*key, b"\0sweep/\0\0\0\0\0\0\0\x03");
        assert_eq!(&*note, b"\x01\x02\0\0\0a\0\x02\0\0\0a\x01\x03\0\0\0a\0k");
        assert_eq!(Sweep::read(&key, &note), Some(sweep()));
        assert_eq!(Sweep::read(&key, b"\x02"), None);
        assert_eq!(Sweep::read(&key, &note[..note.len() - 1]), None);
    }

    #[test]
    fn a_sweep_hides_its_range_but_what_it_keeps() {
        assert!(sweep().hides(b"a\0") && sweep().hides(b"a\0kk"));
        assert!(!sweep().hides(b"a\0k") && !sweep().hides(b"a\x01"));
    }

    #[test]
    fn a_noted_sweep_goes_on_page_by_page_until_its_note_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        for number in 0..2 * PAGE_KEYS {
            rows.insert(format!("a\0{number:06}"), "v").unwrap();
        }
        rows.insert("a\0k", "kept").unwrap();
        rows.insert("b\0k", "other").unwrap();
        let mut batch = db.batch();
        sweep().note_in(&mut batch, &rows);
        batch.commit().unwrap();

        let mut noted = Sweep::noted(&rows).unwrap();
        assert_eq!(noted, [sweep()]);
        let tables = Tables { db, rows };
        assert!(!noted[0].page(&tables).unwrap());
        assert!(!noted[0].page(&tables).unwrap());
        assert!(noted[0].page(&tables).unwrap());
        let left = keys_of(&tables.rows, b"", b"\xff", 10).unwrap();
        assert_eq!(left, [Slice::from("a\0k"), Slice::from("b\0k")]);
    }
}
