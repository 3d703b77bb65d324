//! Mends the end of the journal before fjall reads it, so that a power cut costs only what was
//! never acknowledged.
//!
//! fjall 3.1 cuts an unfinished batch off the journal's end, but it refuses to open when the
//! last batch is complete in length and its content is not, and reads lengths out of torn bytes
//! as if they were sound. Sectors of unsynced writes reach a disk in any order, so a power cut
//! leaves exactly that (see `docs/decisions/0003-journal-tail.md`). Here the newest journal is
//! read batch by batch, with every length bounded and every checksum compared, and cut off after
//! its last whole batch.
//!
//! What stays is written over itself and synced, even when nothing is torn: after a failed fsync
//! the kernel shows pages that the disk does not have, and appending behind them would leave a
//! hole in the middle of the journal after the next power cut.

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// fjall's journal entries (format 3): a batch is `START`, so many `ITEM`s or `CLEAR`s as it
/// says, and `END`.
mod entry {
    pub(super) const START: u8 = 1;
    pub(super) const ITEM: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const CLEAR: u8 = 4;
    /// After the tag: item count `u32`, sequence number `u64`, little-endian as everything.
    pub(super) const START_BYTES: usize = 12;
    /// After the tag: value type, compression, keyspace `u64`, key length `u16`, value length
    /// `u32`, stored length `u32`; then the key and the value follow.
    pub(super) const ITEM_BYTES: usize = 20;
    pub(super) const KEY_LEN_AT: usize = 10;
    pub(super) const STORED_LEN_AT: usize = 16;
    /// After the tag: the checksum of the items, and [`TRAILER`].
    pub(super) const END_BYTES: usize = 12;
    pub(super) const TRAILER: &[u8] = b"FJL\x03";
    /// After the tag: the keyspace.
    pub(super) const CLEAR_BYTES: usize = 8;
}

/// A stored value above this is a torn length: four times what the store takes.
const STORED_VALUE_MAX_BYTES: usize = 4 * posthaste_kv::VALUE_MAX_BYTES;

/// What was found at the end of the newest journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mended {
    /// The bytes of whole batches, which were kept.
    pub(crate) kept: u64,
    /// The bytes after them that were not zero padding, which were cut off.
    pub(crate) torn: u64,
}

/// Why a journal was not mended.
#[derive(Debug)]
pub(crate) enum MendError {
    Io(PathBuf, io::Error),
    /// More is unreadable than can have been unsynced: this is damage, not a power cut.
    Damaged {
        path: PathBuf,
        at: u64,
        torn: u64,
    },
}

/// Mends the newest journal in `folder`. `None` when there is no journal.
///
/// At most `unsynced_max` bytes may be cut off; when more are unreadable, synced content is
/// damaged and nothing is touched.
pub(crate) fn mend(folder: &Path, unsynced_max: u64) -> Result<Option<Mended>, MendError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |error| MendError::Io(path, error)
    };
    let Some((_, path)) = newest(folder).map_err(io(folder))? else {
        return Ok(None);
    };
    let mended = measure(&path).map_err(io(&path))?;
    if mended.torn > unsynced_max {
        return Err(MendError::Damaged {
            path,
            at: mended.kept,
            torn: mended.torn,
        });
    }
    rewrite(&path, mended.kept).map_err(io(&path))?;
    Ok(Some(mended))
}

/// The journal with the highest number, which is the one that was written last. The others were
/// synced before it was begun.
pub(crate) fn newest(folder: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    let mut newest = None;
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "jnl") {
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str());
        let Some(number) = number.and_then(|stem| stem.parse::<u64>().ok()) else {
            continue;
        };
        newest = newest.max(Some((number, path)));
    }
    Ok(newest)
}

fn measure(path: &Path) -> io::Result<Mended> {
    let mut file = BufReader::with_capacity(64 * 1024, File::open(path)?);
    let kept = whole_batches(&mut file)?;
    let torn = up_to_the_last_nonzero(file.get_ref(), kept)?;
    Ok(Mended { kept, torn })
}

/// How many bytes from the start are whole batches.
fn whole_batches(journal: &mut impl Read) -> io::Result<u64> {
    let mut kept = 0;
    let mut last_seqno = None;
    let mut scratch = Vec::new();
    loop {
        match batch(journal, last_seqno, &mut scratch) {
            Ok(Some(batch)) => {
                kept += batch.bytes;
                last_seqno = Some(batch.seqno);
            }
            Ok(None) => return Ok(kept),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(kept),
            Err(error) => return Err(error),
        }
    }
}

struct WholeBatch {
    bytes: u64,
    seqno: u64,
}

/// Reads one batch; `None` when it is not whole.
fn batch(
    journal: &mut impl Read,
    last_seqno: Option<u64>,
    scratch: &mut Vec<u8>,
) -> io::Result<Option<WholeBatch>> {
    let [entry::START] = read::<1>(journal)? else {
        return Ok(None);
    };
    let start = read::<{ entry::START_BYTES }>(journal)?;
    let items = u32::from_le_bytes(field(&start, 0));
    let seqno = u64::from_le_bytes(field(&start, 4));
    // The start entry is outside the checksum. Numbers only grow within a journal, and a torn
    // number (sectors hold zeros until they are written) is smaller than the written one.
    if last_seqno.is_some_and(|last| seqno <= last) {
        return Ok(None);
    }
    let mut bytes = 1 + entry::START_BYTES;
    let mut checksum = Xxh3::new();
    for _ in 0..items {
        let Some(read) = item(journal, &mut checksum, scratch)? else {
            return Ok(None);
        };
        bytes += read;
    }
    let [entry::END] = read::<1>(journal)? else {
        return Ok(None);
    };
    let end = read::<{ entry::END_BYTES }>(journal)?;
    if u64::from_le_bytes(field(&end, 0)) != checksum.digest() || &end[8..] != entry::TRAILER {
        return Ok(None);
    }
    bytes += 1 + entry::END_BYTES;
    Ok(Some(WholeBatch {
        bytes: bytes as u64,
        seqno,
    }))
}

/// Reads one item into the checksum and answers its length; `None` when it cannot be one.
fn item(
    journal: &mut impl Read,
    checksum: &mut Xxh3,
    scratch: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    let tag = read::<1>(journal)?;
    checksum.update(&tag);
    match tag {
        [entry::ITEM] => {
            let head = read::<{ entry::ITEM_BYTES }>(journal)?;
            let key = usize::from(u16::from_le_bytes(field(&head, entry::KEY_LEN_AT)));
            let stored = u32::from_le_bytes(field(&head, entry::STORED_LEN_AT)) as usize;
            if stored > STORED_VALUE_MAX_BYTES {
                return Ok(None);
            }
            scratch.resize(key + stored, 0);
            journal.read_exact(scratch)?;
            checksum.update(&head);
            checksum.update(scratch);
            Ok(Some(1 + head.len() + scratch.len()))
        }
        [entry::CLEAR] => {
            let keyspace = read::<{ entry::CLEAR_BYTES }>(journal)?;
            checksum.update(&keyspace);
            Ok(Some(1 + keyspace.len()))
        }
        _ => Ok(None),
    }
}

fn read<const N: usize>(journal: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    journal.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..]
        .first_chunk()
        .copied()
        .expect("the offsets above lie within their entries")
}

/// How many bytes after `from` lie before the zeros that a journal is padded with.
fn up_to_the_last_nonzero(file: &File, from: u64) -> io::Result<u64> {
    const CHUNK_BYTES: usize = 64 * 1024;
    let zeros = [0; CHUNK_BYTES];
    let mut chunk = [0; CHUNK_BYTES];
    let (mut at, mut end) = (from, from);
    loop {
        // Padding that was never written is a hole, which need not be read.
        at = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => return Ok(end - from),
            Err(error) => return Err(error.into()),
        };
        let len = match file.read_at(&mut chunk, at) {
            Ok(0) => return Ok(end - from),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk[..len] != zeros[..len]
            && let Some(last) = chunk[..len].iter().rposition(|&byte| byte != 0)
        {
            end = at + last as u64 + 1;
        }
        at += len as u64;
    }
}

/// Writes the first `len` bytes of `path` over themselves, cuts off the rest, and syncs.
///
/// Torn by a power cut this is harmless: a sector holds the same bytes before and after. And it
/// needs no space, which a full disk does not have.
fn rewrite(path: &Path, len: u64) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut chunk = vec![0; 256 * 1024];
    let mut at = 0;
    while at < len {
        let rest = usize::try_from(len - at).unwrap_or(usize::MAX);
        let part = rest.min(chunk.len());
        file.read_exact_at(&mut chunk[..part], at)?;
        file.write_all_at(&chunk[..part], at)?;
        at += part as u64;
    }
    file.set_len(len)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};

    /// What a journal of these batches looks like when fjall writes it; each has one key.
    fn journal_of(values: &[&[u8]]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        for (number, value) in values.iter().enumerate() {
            let mut batch = db.batch();
            batch.insert(&rows, [u8::try_from(number).unwrap()], *value);
            batch.remove(&rows, "gone");
            batch.commit().unwrap();
        }
        db.persist(PersistMode::SyncAll).unwrap();
        let mut journal = fs::read(dir.path().join("0.jnl")).unwrap();
        // Most of it is padding.
        journal.truncate(8 * 1024);
        journal
    }

    fn mend_bytes(journal: &[u8], unsynced_max: u64) -> (Result<Option<Mended>, MendError>, u64) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("8.jnl"), b"older").unwrap();
        let path = dir.path().join("12.jnl");
        fs::write(&path, journal).unwrap();
        let mended = mend(dir.path(), unsynced_max);
        (mended, fs::metadata(path).unwrap().len())
    }

    /// How long the batches of `journal_of` are together.
    fn whole(journal: &[u8]) -> u64 {
        whole_batches(&mut &journal[..]).unwrap()
    }

    #[test]
    fn a_sound_journal_keeps_every_batch_and_loses_its_padding() {
        let journal = journal_of(&[b"one", b"two", b"three"]);
        let (mended, len) = mend_bytes(&journal, 0);
        let kept = whole(&journal);
        assert!(kept > 3 * 60);
        assert_eq!(mended.unwrap(), Some(Mended { kept, torn: 0 }));
        assert_eq!(len, kept);
    }

    #[test]
    fn whatever_byte_of_the_last_batch_is_lost_the_batches_before_it_stay() {
        let two = whole(&journal_of(&[b"one", b"two"]));
        let journal = journal_of(&[b"one", b"two", &[7; 300]]);
        let three = whole(&journal);
        for at in two..three {
            let mut torn = journal.clone();
            let byte = &mut torn[usize::try_from(at).unwrap()];
            if *byte == 0 {
                // A zero that is lost stays a zero.
                continue;
            }
            *byte = 0;
            assert_eq!(whole(&torn), two, "byte {at} of {two}..{three}");
        }
    }

    #[test]
    fn a_journal_cut_at_any_length_keeps_its_whole_batches() {
        let two = whole(&journal_of(&[b"one", b"two"]));
        let journal = journal_of(&[b"one", b"two", b"three"]);
        let three = whole(&journal);
        for len in two..three {
            assert_eq!(whole(&journal[..usize::try_from(len).unwrap()]), two);
        }
    }

    /// Why this module exists. When this fails, fjall has learnt to do it by itself.
    #[test]
    fn fjall_alone_does_not_open_what_a_power_cut_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Database::builder(dir.path()).open();
        let key = |number: u8| [number];
        {
            let db = open().unwrap();
            let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
            rows.insert(key(1), "synced").unwrap();
            db.persist(PersistMode::SyncAll).unwrap();
            rows.insert(key(2), vec![7; 3000]).unwrap();
        }
        // The batch's third sector did not reach the disk.
        let path = dir.path().join("0.jnl");
        let mut journal = fs::read(&path).unwrap();
        journal[1024..1536].fill(0);
        fs::write(&path, journal).unwrap();
        assert!(matches!(open(), Err(fjall::Error::JournalRecovery(_))));

        assert!(mend(dir.path(), 4000).unwrap().unwrap().torn > 0);
        let db = open().unwrap();
        let rows = db.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
        assert_eq!(rows.get(key(1)).unwrap().unwrap(), "synced");
        assert_eq!(rows.get(key(2)).unwrap(), None);
    }

    #[test]
    fn more_loss_than_can_have_been_unsynced_is_damage_and_left_alone() {
        let mut journal = journal_of(&[b"one", &[7; 3000]]);
        let at = whole(&journal_of(&[b"one"]));
        journal[usize::try_from(at).unwrap()] = 9;
        let (mended, len) = mend_bytes(&journal, 1000);
        assert!(matches!(mended, Err(MendError::Damaged { at: found, .. }) if found == at));
        assert_eq!(len, journal.len() as u64);
        assert_eq!(mend_bytes(&journal, 4000).1, at);
    }
}
