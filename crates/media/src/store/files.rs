//! Objects as files: `objects/<first two letters>/<name>`, for nobody but the server's own user to read.
//!
//! Plain files, as the file system of the object store library is made for analytics: it would copy what is staged,
//! and read in pieces of 8 KiB, each on another thread. Here an object is brought to its place by renaming, and
//! pieces grow while their reader keeps up.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use posthaste_im::media::ObjectName;

use super::check::Check;
use super::staged::Sealed;
use super::{Content, StoreError, in_background, place, shard};

/// Files are nobody else's to read.
pub(super) const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Whole files of up to so many bytes are hashed when they are read: photos and voice messages, most of what there
/// is. It costs a core half a millisecond for each MiB.
pub const LOCAL_CHECKED_BYTES: u64 = 4 << 20;

/// The first piece for a reader, and every one for a slow reader.
const PIECE_LEAST: usize = 64 << 10;
/// The largest piece; one is in memory for each reader.
pub(super) const PIECE_MOST: usize = 256 << 10;
/// Who takes the next piece within this keeps up.
const KEEPS_UP: Duration = Duration::from_millis(10);
/// Pieces in a row for which a reader has to keep up before they grow. The first ones only fill the kernel's buffers,
/// which no reader is too slow for; were they to grow by that, each slow reader would have a large one.
const PIECES_IN_TIME: u32 = 4;

/// The folder of objects.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: Arc<PathBuf>,
    /// Folders in it that are known to be there durably, by their two letters.
    shards: Arc<Mutex<HashSet<Box<str>>>>,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Files {
        Files {
            folder: Arc::new(folder),
            shards: Arc::default(),
        }
    }

    fn path(&self, object: &ObjectName) -> PathBuf {
        self.folder.join(place(object))
    }

    /// Renames what was staged. It is synced already; what is synced here is its name.
    pub(super) async fn keep(&self, sealed: Sealed) -> Result<(), StoreError> {
        let files = self.clone();
        in_background(move || {
            let claim = &sealed.claim;
            let renamed = files.make_shard(shard(&claim.object)).and_then(|folder| {
                fs::rename(claim.staged(), files.path(&claim.object))?;
                Ok(folder)
            });
            let folder = renamed.inspect_err(|_| sealed.mark())?;
            sync_folder(&folder)?;
            remove(&claim.mark())?;
            Ok(())
        })
        .await
    }

    fn make_shard(&self, letters: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(letters);
        // Whoever comes meanwhile waits: it may only rely on the folder when that is durable.
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if !shards.contains(letters) {
            make_folder(&folder)?;
            sync_folder(&self.folder)?;
            shards.insert(letters.into());
        }
        Ok(folder)
    }

    /// Where the objects lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) async fn read(
        &self,
        object: &ObjectName,
        range: Range<u64>,
        check: Check,
    ) -> Result<Content, StoreError> {
        let path = self.path(object);
        let file = in_background(move || Ok(File::open(path)?)).await?;
        let reading = Reading::new(file, range.start, PIECE_LEAST, check);
        Ok(stream::unfold(Some((reading, None)), next).boxed())
    }

    pub(super) async fn erase(&self, object: &ObjectName) -> Result<(), StoreError> {
        let path = self.path(object);
        let folder = self.folder.join(shard(object));
        in_background(move || {
            if remove(&path)? {
                sync_folder(&folder)?;
            }
            Ok(())
        })
        .await
    }
}

/// Where somebody is in a file.
#[derive(Debug)]
pub(super) struct Reading {
    file: File,
    at: u64,
    /// Bytes of the next piece.
    piece: usize,
    /// Pieces in a row, as large as this, that were taken in time.
    in_time: u32,
    check: Check,
}

/// The state between two pieces: `None` after the last one or an error; with it when the last one was handed on.
type State = Option<(Reading, Option<Instant>)>;

async fn next(state: State) -> Option<(Result<Bytes, StoreError>, State)> {
    let (mut reading, handed_on) = state?;
    if reading.left() == 0 {
        return None;
    }
    if let Some(handed_on) = handed_on {
        reading.pace(handed_on.elapsed() < KEEPS_UP);
    }
    let read = in_background(move || reading.read().map(|piece| (reading, piece)));
    match read.await {
        Ok((reading, piece)) => Some((Ok(piece), Some((reading, Some(Instant::now()))))),
        Err(error) => Some((Err(error), None)),
    }
}

impl Reading {
    pub(super) fn new(file: File, at: u64, piece: usize, check: Check) -> Reading {
        Reading {
            file,
            at,
            piece,
            in_time: 0,
            check,
        }
    }

    /// Chooses the size of the next piece by whether the last one was taken in time.
    fn pace(&mut self, in_time: bool) {
        if !in_time {
            (self.piece, self.in_time) = (PIECE_LEAST, 0);
            return;
        }
        self.in_time += 1;
        if self.in_time >= PIECES_IN_TIME {
            (self.piece, self.in_time) = ((self.piece * 2).min(PIECE_MOST), 0);
        }
    }

    /// Bytes that are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.check.left()
    }

    /// The next piece. Blocks.
    pub(super) fn read(&mut self) -> Result<Bytes, StoreError> {
        let left = self.left();
        let most = usize::try_from(left).map_or(self.piece, |left| left.min(self.piece));
        let mut bytes = vec![0; most];
        match self.file.read_exact_at(&mut bytes, self.at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(StoreError::Mismatch);
            }
            Err(error) => return Err(error.into()),
        }
        self.at += most as u64;
        self.check.pass(&bytes)?;
        Ok(bytes.into())
    }
}

/// Makes a folder and those above it, for us alone.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
}

/// May we make files there?
pub(super) fn writable(folder: &Path) -> io::Result<()> {
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(folder, access).map_err(|error| {
        // Also one that is gone is a fault of the disk here, not an object that is not there.
        io::Error::other(format!("{}: {error}", folder.display()))
    })
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the names of a folder and of the one it is in durable.
pub(super) fn sync_names(folder: &Path) -> Result<(), StoreError> {
    for above in folder.ancestors().skip(1).take(2) {
        // The one above a relative name.
        let here = Path::new(".");
        sync_folder(if above.as_os_str().is_empty() {
            here
        } else {
            above
        })?;
    }
    Ok(())
}

/// Removes a file; whether there was one.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What may still be written to the disk of a folder.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether there is such a file.
pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_for_whoever_keeps_up() {
        let file = tempfile::tempfile().unwrap();
        let mut reading = Reading::new(file, 0, PIECE_LEAST, Check::length(1));
        let mut paced = |in_time| {
            reading.pace(in_time);
            reading.piece >> 10
        };
        assert_eq!([true; 4].map(&mut paced), [64, 64, 64, 128]);
        assert_eq!([true; 4].map(&mut paced), [128, 128, 128, 256]);
        assert_eq!([true; 8].map(&mut paced), [256; 8]);
        // One that was late has to keep up for as long again.
        assert_eq!(paced(false), 64);
        assert_eq!([true; 4].map(&mut paced), [64, 64, 64, 128]);
        assert_eq!([true, true, true, false].map(&mut paced)[3], 64);
        assert_eq!([true; 4].map(&mut paced), [64, 64, 64, 128]);
    }
}
