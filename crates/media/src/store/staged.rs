//! A file in the making: what a client sends is written and hashed here until it is whole.
//!
//! Bytes are collected and written in large pieces off the async threads, one piece being written while the next one
//! is collected, so that an upload never has more than two of them in memory.
//!
//! An upload that breaks off can go on, after a crash of the machine too. What a file's length says then is not to be
//! believed: it may have grown before its bytes were written. So a *mark* beside it says how much of it was synced,
//! and what lies beyond is cut off. It is written when an upload breaks off, and every [`MARK_BYTES`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use posthaste_im::media::{Digest, ObjectName};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::check::Check;
use super::files::{self, Reading};
use super::{Claim, Shared, StoreError, in_background};

/// Bytes that are written at once: so many that the way to another thread costs little beside them.
const WRITE_BYTES: usize = 256 << 10;
/// Bytes after which it is made sure that they are on the disk: what a crash may cost a large upload, and behind how
/// much of one a message waits for its own sync. With sixteen times as much, syncs of a journal beside took twice as long
/// as alone (docs/performance.md), and the upload was no faster.
const MARK_BYTES: u64 = 1 << 20;
/// Bytes between two looks at how full the disk is.
const FLOOR_BYTES: u64 = 4 << 20;

/// An object whose bytes are coming. Dropped, it stays for [`super::Store::reopen`].
#[derive(Debug)]
pub struct Staged {
    len: u64,
    collected: Vec<u8>,
    work: Work,
}

/// What the disk is doing for us.
#[derive(Debug)]
enum Work {
    Idle(Box<Writer>),
    Writing(JoinHandle<(Box<Writer>, Result<(), StoreError>)>),
    /// It failed, and nothing more can come.
    Failed,
}

/// All bytes of an object, synced, and what they are. Dropped, they stay for [`super::Store::reopen`], which finds all
/// that a mark vouches for: of a small one nothing ([`Sealed::leave`]).
#[derive(Debug)]
pub struct Sealed {
    pub(super) claim: Claim,
    digest: Digest,
    size: u64,
}

impl Staged {
    pub(super) async fn create(
        shared: &Arc<Shared>,
        object: &ObjectName,
    ) -> Result<Staged, StoreError> {
        let claim = Claim::take(shared, object)?;
        let writer = in_background(move || Writer::create(claim)).await?;
        Ok(Staged::of(writer))
    }

    pub(super) async fn reopen(
        shared: &Arc<Shared>,
        object: &ObjectName,
    ) -> Result<Option<Staged>, StoreError> {
        let claim = Claim::take(shared, object)?;
        let writer = in_background(move || Writer::reopen(claim)).await;
        match writer {
            Ok(writer) => Ok(Some(Staged::of(writer))),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn len_of(
        shared: &Arc<Shared>,
        object: &ObjectName,
    ) -> Result<Option<u64>, StoreError> {
        let claim = Claim::take(shared, object)?;
        let len = in_background(move || {
            let len = std::fs::metadata(claim.staged())?.len();
            Ok(read_mark(&claim.mark())?.min(len))
        });
        match len.await {
            Ok(len) => Ok(Some(len)),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(writer: Writer) -> Staged {
        Staged {
            len: writer.written,
            collected: Vec::new(),
            work: Work::Idle(Box::new(writer)),
        }
    }

    /// Bytes that have come.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none have come.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next bytes. Waits while as many as may be in memory are on their way to the disk; giving up waiting
    /// loses none.
    ///
    /// # Errors
    /// The disk is nearly full, or fails; then no more can be taken.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        // Before anything is taken, so that a call that is given up has taken all or nothing.
        if self.collected.len() >= WRITE_BYTES {
            self.pass_on().await?;
        }
        if matches!(self.work, Work::Failed) {
            return Err(broken());
        }
        self.collected.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if self.collected.len() >= WRITE_BYTES {
            self.pass_on().await?;
        }
        Ok(())
    }

    /// Gives the disk what was collected, when it is done with what it was given before.
    async fn pass_on(&mut self) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let bytes = mem::take(&mut self.collected);
        self.work = Work::Writing(spawn_blocking(move || {
            let written = writer.append(&bytes);
            (writer, written)
        }));
        Ok(())
    }

    /// Waits for the disk, and takes the writer out; whoever asks puts it back, or has done with it.
    async fn writer(&mut self) -> Result<Box<Writer>, StoreError> {
        if let Work::Writing(task) = &mut self.work {
            self.work = match task.await {
                Ok((writer, Ok(()))) => Work::Idle(writer),
                Ok((writer, Err(error))) => {
                    // What failed is lost, and this belongs behind it: without it, it is of no use.
                    self.collected.clear();
                    self.work = Work::Idle(writer);
                    self.leave();
                    return Err(error);
                }
                Err(_) => Work::Failed,
            };
        }
        match mem::replace(&mut self.work, Work::Failed) {
            Work::Idle(writer) => Ok(writer),
            Work::Writing(_) | Work::Failed => Err(broken()),
        }
    }

    /// All bytes have come: makes sure that they are on the disk, and says what they are.
    ///
    /// # Errors
    /// The disk is nearly full, or fails.
    pub async fn finish(mut self) -> Result<Sealed, StoreError> {
        let writer = self.writer().await?;
        let rest = mem::take(&mut self.collected);
        in_background(move || writer.seal(&rest)).await
    }

    /// Nobody wants the bytes any more.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn discard(mut self) -> Result<(), StoreError> {
        let writer = self.writer().await?;
        in_background(move || writer.claim.remove_staged()).await
    }

    /// Leaves what has come for later, in the background: this may be the end of a request that was given up.
    fn leave(&mut self) {
        let rest = mem::take(&mut self.collected);
        let work = mem::replace(&mut self.work, Work::Failed);
        // Without a runtime the process is ending; then an older mark has to do.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        match work {
            Work::Idle(writer) => {
                runtime.spawn_blocking(move || writer.leave(&rest));
            }
            Work::Writing(task) => {
                runtime.spawn(async move {
                    if let Ok((writer, written)) = task.await {
                        let rest = if written.is_ok() { rest } else { Vec::new() };
                        spawn_blocking(move || writer.leave(&rest));
                    }
                });
            }
            Work::Failed => {}
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Sealed {
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// It could not be kept: notes that all of it is there, so that nothing of it is to be sent again. Blocks.
    pub(super) fn mark(&self) {
        if let Err(error) = write_mark(&self.claim.mark(), self.size) {
            tracing::debug!(%error, "an upload that is whole cannot go on where it was");
        }
    }

    /// Leaves it for [`super::Store::reopen`], which finds all of it.
    pub async fn leave(self) {
        let marked = in_background(move || {
            self.mark();
            Ok(())
        });
        // It has told of what it could not do.
        let _ = marked.await;
    }

    /// Reads what is there again, in pieces of `piece` bytes, and looks whether it is still what was written.
    pub(super) async fn read(&self, piece: usize) -> Result<Reading, StoreError> {
        let path = self.claim.staged();
        let file = in_background(move || Ok(File::open(path)?)).await?;
        let check = Check::digest(self.size, self.digest);
        Ok(Reading::new(file, 0, piece, check))
    }

    /// They are not needed: the account has the same already.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn discard(self) -> Result<(), StoreError> {
        in_background(move || self.claim.remove_staged()).await
    }
}

fn broken() -> StoreError {
    StoreError::Io(io::Error::other("the disk has failed before"))
}

/// The file itself; all of this blocks.
#[derive(Debug)]
struct Writer {
    claim: Claim,
    file: File,
    hash: Sha256,
    /// Bytes in the file that are right, and hashed.
    written: u64,
    /// Of these, how many a mark vouches for.
    marked: u64,
    /// At how many bytes to look at the disk's free space.
    look_at: u64,
    /// The disk has lost some of what was written. It says so once: the next time it would say that all is well.
    is_lost: bool,
}

impl Writer {
    fn create(claim: Claim) -> Result<Writer, StoreError> {
        files::remove(&claim.mark())?;
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(files::FILE_MODE);
        // A staging folder that is not there is our trouble, not an object that is not.
        let opened = options.open(claim.staged());
        let file = opened.map_err(|error| match StoreError::from(error) {
            StoreError::NotFound => {
                StoreError::Io(io::Error::other("there is no staging folder any more"))
            }
            other => other,
        })?;
        let writer = Writer::new(claim, file, Sha256::new(), 0);
        writer.look_at_the_disk()?;
        Ok(writer)
    }

    fn reopen(claim: Claim) -> Result<Writer, StoreError> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).open(claim.staged())?;
        let marked = read_mark(&claim.mark())?.min(file.metadata()?.len());
        file.set_len(marked)?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; WRITE_BYTES];
        let mut left = marked;
        while left > 0 {
            let most = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            file.read_exact(&mut piece[..most])?;
            hash.update(&piece[..most]);
            left -= most as u64;
        }
        file.seek(SeekFrom::Start(marked))?;
        Ok(Writer::new(claim, file, hash, marked))
    }

    fn new(claim: Claim, file: File, hash: Sha256, written: u64) -> Writer {
        Writer {
            claim,
            file,
            hash,
            written,
            marked: written,
            look_at: written + FLOOR_BYTES,
            is_lost: false,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.written >= self.look_at {
            self.look_at_the_disk()?;
            self.look_at = self.written + FLOOR_BYTES;
        }
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        let len = bytes.len() as u64;
        self.written += len;
        let staged = &self.claim.shared.stats.bytes_staged;
        staged.fetch_add(len, Ordering::Relaxed);
        if self.written - self.marked >= MARK_BYTES {
            self.mark()?;
        }
        Ok(())
    }

    fn look_at_the_disk(&self) -> Result<(), StoreError> {
        let shared = &self.claim.shared;
        if files::free_bytes(&shared.staging)? < shared.free_disk_floor.load(Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.is_lost {
            return Err(broken());
        }
        let synced = self.file.sync_data();
        self.is_lost = synced.is_err();
        Ok(synced?)
    }

    /// Makes sure that what is written is on the disk, and notes that it is.
    fn mark(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        // The mark itself may be lost: an older one says less, and what it says is true.
        write_mark(&self.claim.mark(), self.written)?;
        self.marked = self.written;
        Ok(())
    }

    fn seal(mut self, rest: &[u8]) -> Result<Sealed, StoreError> {
        self.append(rest)?;
        self.sync()?;
        let (digest, size) = (self.hash.finalize().into(), self.written);
        if self.marked > 0 {
            write_mark(&self.claim.mark(), size)?;
        }
        let claim = self.claim;
        Ok(Sealed {
            claim,
            digest,
            size,
        })
    }

    fn leave(mut self, rest: &[u8]) {
        if rest.is_empty() && self.written == self.marked {
            // Nothing has come since the mark; without a mark, nothing at all.
            return;
        }
        let left = self.append(rest).and_then(|()| self.mark());
        if let Err(error) = left {
            // Less can be resumed; who uploads is told how much.
            tracing::debug!(%error, "an upload that broke off cannot go on where it was");
        }
    }
}

/// A mark is the count and its complement, within one sector: a torn one shows.
fn write_mark(path: &Path, bytes: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(files::FILE_MODE);
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&bytes.to_be_bytes());
    mark[8..].copy_from_slice(&(!bytes).to_be_bytes());
    options.open(path)?.write_all_at(&mark, 0)
}

/// How much may be used; without a good mark nothing.
fn read_mark(path: &Path) -> io::Result<u64> {
    let mark = match std::fs::read(path) {
        Ok(mark) => mark,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let Ok(mark) = <[u8; 16]>::try_from(mark) else {
        return Ok(0);
    };
    let number = |half: &[u8]| half.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (bytes, complement) = (number(&mark[..8]), number(&mark[8..]));
    Ok(if complement == !bytes { bytes } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use super::super::{Backend, Settings, Store};

    /// Longer than anything takes here; reaching it is a failure.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn local(folder: &Path) -> Store {
        let settings = Settings {
            directory: folder.to_owned(),
            free_disk_floor: 0,
            backend: Backend::Local,
        };
        Store::open(settings).await.unwrap()
    }

    fn object() -> ObjectName {
        ObjectName::parse(&"b".repeat(24)).unwrap()
    }

    #[tokio::test]
    async fn what_comes_after_a_piece_that_the_disk_refused_does_not_take_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(folder.path()).await;
        let floor = &store.shared.free_disk_floor;
        let object = object();
        let mut staged = store.create(&object).await.unwrap();
        staged.write(&[1; 4 << 20]).await.unwrap();
        floor.store(u64::MAX, Ordering::Relaxed);
        staged.write(&[2; WRITE_BYTES]).await.unwrap();
        let refused = async {
            while matches!(&staged.work, Work::Writing(task) if !task.is_finished()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, refused).await.unwrap();
        floor.store(0, Ordering::Relaxed);
        let error = staged.write(&[3; WRITE_BYTES]).await.unwrap_err();
        assert!(matches!(error, StoreError::Full), "{error}");
        drop(staged);
        let left = async {
            loop {
                match store.reopen(&object).await {
                    Err(StoreError::Busy) => tokio::task::yield_now().await,
                    staged => break staged.unwrap().unwrap(),
                }
            }
        };
        let left = tokio::time::timeout(PATIENCE, left).await.unwrap();
        assert_eq!(left.len(), FLOOR_BYTES);
    }

    #[tokio::test]
    async fn a_disk_that_has_lost_something_is_not_believed_when_it_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(folder.path()).await;
        let claim = Claim::take(&store.shared, &object()).unwrap();
        let mark = claim.mark();
        let mut writer = Writer::create(claim).unwrap();
        writer.append(b"lost").unwrap();
        // What is no file cannot be synced.
        let null = File::open("/dev/null").unwrap();
        let file = mem::replace(&mut writer.file, null);
        writer.mark().unwrap_err();
        writer.file = file;
        writer.leave(b"");
        assert_eq!(read_mark(&mark).unwrap(), 0);
    }

    #[test]
    fn a_mark_that_is_torn_or_missing_vouches_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        assert_eq!(read_mark(&path).unwrap(), 0);
        write_mark(&path, 1 << 40).unwrap();
        write_mark(&path, 70_000).unwrap();
        assert_eq!(read_mark(&path).unwrap(), 70_000);
        let mut torn = std::fs::read(&path).unwrap();
        torn[7] ^= 1;
        std::fs::write(&path, torn).unwrap();
        assert_eq!(read_mark(&path).unwrap(), 0);
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(read_mark(&path).unwrap(), 0);
    }
}
