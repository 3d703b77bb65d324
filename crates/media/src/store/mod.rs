//! Where the bytes are.
//!
//! A file comes into the *staging folder* on the local disk first, whatever the store is: so a client's slow
//! connection holds nothing of the object store, an upload that breaks off can go on, and the digest is known before
//! anything is kept. When it is whole, [`Store::keep`] brings it to its place:
//!
//! - [`files`]: a file below `objects/`, by renaming. Nothing is copied.
//! - [`s3`]: an object of an S3-compatible service, in parts where it is large.
//!
//! Either way it is durable when [`Store::keep`] returns, and it was never visible before it was whole. Names say
//! nothing: an object lies as `<first two letters>/<its random name>`.
//!
//! **Digests.** The SHA-256 is computed while a file is staged. On the way to S3 the bytes are hashed again and
//! compared before the object becomes visible, and each part carries its own SHA-256 in the request's signature, which
//! the service checks. A whole file that comes from S3, and one of up to [`LOCAL_CHECKED_BYTES`] that comes from the
//! disk, is hashed on its way out, its end held back until the digest is right ([`Store::read_whole`]). What is wrong
//! ends the answer, is logged and is counted; it is never served as if it were right. Pieces ([`Store::read`]) are
//! not hashed, and neither are larger local files: that would halve what a core can serve, and the file system is
//! nearer to such errors than we are.

mod check;
mod error;
mod files;
mod s3;
mod staged;
mod sweep;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use posthaste_im::media::{Digest, ObjectName};

pub use error::StoreError;
pub use files::LOCAL_CHECKED_BYTES;
pub use s3::{Credentials, S3Settings};
pub use staged::{Sealed, Staged};
pub use sweep::Swept;

use check::Check;
use files::Files;
use s3::S3;

/// What is read of an object, in pieces of at most [`files::PIECE_MOST`] bytes from the disk and of what the network
/// brings from S3. It reads no further than it is asked for.
pub type Content = BoxStream<'static, Result<Bytes, StoreError>>;

/// How a [`Store`] is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A folder of its own: staging, and the objects where they are local.
    pub directory: PathBuf,
    /// With less than this free on its disk, in bytes, nothing is staged.
    pub free_disk_floor: u64,
    /// Where what is whole is kept.
    pub backend: Backend,
}

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum Backend {
    /// As files in the store's own folder.
    Local,
    /// In a bucket of an S3-compatible service.
    S3(S3Settings),
}

/// What the store has done since it was opened.
#[derive(Debug, Default)]
pub struct Stats {
    /// Objects that were brought to their place.
    pub kept: AtomicU64,
    /// Objects that were erased.
    pub erased: AtomicU64,
    /// Bytes that came into the staging folder.
    pub bytes_staged: AtomicU64,
    /// Bytes that were read for somebody.
    pub bytes_read: AtomicU64,
    /// Bytes were refused because the disk is nearly full.
    pub refused_full: AtomicU64,
    /// What was read was not what had been stored.
    pub mismatches: AtomicU64,
    /// The disk or the service did not do its part.
    pub failures: AtomicU64,
}

/// The object store, and the place where files wait until they are whole.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    objects: Objects,
}

#[derive(Debug)]
enum Objects {
    Files(Files),
    S3(S3),
}

/// What the store and every file in the making share.
#[derive(Debug)]
struct Shared {
    staging: PathBuf,
    /// Tests change it.
    free_disk_floor: AtomicU64,
    /// Objects that somebody is writing: one writer each, and no sweep.
    open: Mutex<HashSet<ObjectName>>,
    stats: Stats,
}

impl Store {
    /// Opens the store, and makes its folders. A service that does not answer is no error yet: [`Store::probe`].
    ///
    /// # Errors
    /// The folders cannot be made, or the settings of the service make no sense.
    pub async fn open(settings: Settings) -> Result<Store, StoreError> {
        let staging = settings.directory.join("staging");
        let objects = settings.directory.join("objects");
        let is_local = matches!(settings.backend, Backend::Local);
        let folder = staging.clone();
        let made = objects.clone();
        in_background(move || {
            files::make_folder(&folder)?;
            if is_local {
                files::make_folder(&made)?;
            }
            // What is kept in a folder is only as durable as the folder's own name is.
            files::sync_names(&folder)
        })
        .await?;
        let objects = match settings.backend {
            Backend::Local => Objects::Files(Files::new(objects)),
            Backend::S3(settings) => Objects::S3(S3::connect(&settings)?),
        };
        Ok(Store {
            shared: Arc::new(Shared {
                staging,
                free_disk_floor: AtomicU64::new(settings.free_disk_floor),
                open: Mutex::default(),
                stats: Stats::default(),
            }),
            objects,
        })
    }

    /// Whether the service answers and the bucket is ours, or the folders can be written to. Logs what is wrong.
    pub async fn probe(&self) -> bool {
        let probed = match &self.objects {
            Objects::S3(s3) => s3.probe().await,
            Objects::Files(files) => {
                let folders = [self.shared.staging.clone(), files.folder().to_owned()];
                in_background(move || Ok(folders.iter().try_for_each(|it| files::writable(it))?))
                    .await
            }
        };
        match probed {
            Ok(()) => true,
            Err(error) => {
                self.complain(&error);
                false
            }
        }
    }

    /// What has been done.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// A place for the bytes of a new object.
    ///
    /// # Errors
    /// Somebody is writing it, the disk is nearly full, or it fails.
    pub async fn create(&self, object: &ObjectName) -> Result<Staged, StoreError> {
        self.noted(Staged::create(&self.shared, object).await)
    }

    /// Goes on with an object whose upload broke off: [`Staged::len`] tells where. `None` when nothing of it is here.
    /// After a crash less may be here than had come: what was not known to be on the disk is not used.
    ///
    /// # Errors
    /// Somebody is writing it, or the disk fails.
    pub async fn reopen(&self, object: &ObjectName) -> Result<Option<Staged>, StoreError> {
        self.noted(Staged::reopen(&self.shared, object).await)
    }

    /// How many bytes [`Store::reopen`] would find, without reading them. `None` when nothing is here.
    ///
    /// # Errors
    /// Somebody is writing it, or the disk fails.
    pub async fn staged_len(&self, object: &ObjectName) -> Result<Option<u64>, StoreError> {
        self.noted(Staged::len_of(&self.shared, object).await)
    }

    /// Nobody wants what is staged of an object any more.
    ///
    /// # Errors
    /// Somebody is writing it, or the disk fails.
    pub async fn forget(&self, object: &ObjectName) -> Result<(), StoreError> {
        let claim = Claim::take(&self.shared, object);
        let forgotten = match claim {
            Ok(claim) => in_background(move || claim.remove_staged()).await,
            Err(error) => Err(error),
        };
        self.noted(forgotten)
    }

    /// Brings what is whole to its place. When this returns it is there, durably. If it fails, what was staged stays
    /// and [`Store::reopen`] finds it.
    ///
    /// # Errors
    /// The disk or the service fails.
    pub async fn keep(&self, sealed: Sealed) -> Result<(), StoreError> {
        let kept = match &self.objects {
            Objects::Files(files) => files.keep(sealed).await,
            Objects::S3(s3) => s3.keep(sealed).await,
        };
        if kept.is_ok() {
            self.shared.stats.kept.fetch_add(1, Ordering::Relaxed);
        }
        self.noted(kept)
    }

    /// A piece of an object. Its bytes come as they are on the disk or in the service.
    ///
    /// # Errors
    /// There is none of this name, or the disk or the service fails; so may each piece later.
    pub async fn read(
        &self,
        object: &ObjectName,
        range: Range<u64>,
    ) -> Result<Content, StoreError> {
        let check = Check::length(range.end.saturating_sub(range.start));
        self.content(object, range, check).await
    }

    /// A whole object of this size. What is not what was stored ends with [`StoreError::Mismatch`] before its last
    /// bytes; see the module for when that is looked at.
    ///
    /// # Errors
    /// As with [`Store::read`].
    pub async fn read_whole(
        &self,
        object: &ObjectName,
        size: u64,
        digest: &Digest,
    ) -> Result<Content, StoreError> {
        let check = match &self.objects {
            Objects::Files(_) if size > LOCAL_CHECKED_BYTES => Check::length(size),
            Objects::Files(_) | Objects::S3(_) => Check::digest(size, *digest),
        };
        self.content(object, 0..size, check).await
    }

    async fn content(
        &self,
        object: &ObjectName,
        range: Range<u64>,
        check: Check,
    ) -> Result<Content, StoreError> {
        if range.is_empty() {
            // Nothing to ask for, and S3 refuses to be asked.
            return Ok(stream::empty().boxed());
        }
        let content = match &self.objects {
            Objects::Files(files) => files.read(object, range, check).await,
            Objects::S3(s3) => s3.read(object, range, check).await,
        };
        let shared = Arc::clone(&self.shared);
        let counted = self.noted(content)?.map(move |piece| match piece {
            Ok(piece) => {
                let bytes = piece.len() as u64;
                shared.stats.bytes_read.fetch_add(bytes, Ordering::Relaxed);
                Ok(piece)
            }
            Err(error) => Err(shared.noted(error)),
        });
        Ok(counted.boxed())
    }

    /// Erases an object, and what is staged of it. When this returns it is gone durably; that it never was is as good.
    ///
    /// # Errors
    /// Somebody is writing it ([`StoreError::Busy`]: then later), or the disk or the service fails.
    pub async fn erase(&self, object: &ObjectName) -> Result<(), StoreError> {
        let erased = self.erase_all(object).await;
        if erased.is_ok() {
            self.shared.stats.erased.fetch_add(1, Ordering::Relaxed);
        }
        self.noted(erased)
    }

    async fn erase_all(&self, object: &ObjectName) -> Result<(), StoreError> {
        // While somebody writes it, it may still be kept: whoever erases it then has to come again.
        let claim = Claim::take(&self.shared, object)?;
        if let Objects::S3(s3) = &self.objects {
            s3.abandon_parts(&claim).await?;
        }
        let claim = in_background(move || {
            claim.remove_staged()?;
            Ok(claim)
        })
        .await?;
        match &self.objects {
            Objects::Files(files) => files.erase(&claim.object).await,
            Objects::S3(s3) => s3.erase(&claim.object).await,
        }
    }

    fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.map_err(|error| self.shared.noted(error))
    }

    fn complain(&self, error: &StoreError) {
        error.log();
    }
}

impl Shared {
    /// Counts an error and tells the operator of it, if it is one for them.
    fn noted(&self, error: StoreError) -> StoreError {
        let counter = match error {
            StoreError::NotFound | StoreError::Busy => return error,
            StoreError::Full => &self.stats.refused_full,
            StoreError::Mismatch => &self.stats.mismatches,
            StoreError::Io(_) | StoreError::Remote { .. } | StoreError::Settings(_) => {
                &self.stats.failures
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        error.log();
        error
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashSet<ObjectName>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write one object; nobody else has it meanwhile.
#[derive(Debug)]
struct Claim {
    shared: Arc<Shared>,
    object: ObjectName,
}

impl Claim {
    fn take(shared: &Arc<Shared>, object: &ObjectName) -> Result<Claim, StoreError> {
        if !shared.open().insert(object.clone()) {
            return Err(StoreError::Busy);
        }
        Ok(Claim {
            shared: Arc::clone(shared),
            object: object.clone(),
        })
    }

    /// Where the bytes wait.
    fn staged(&self) -> PathBuf {
        self.shared.staging.join(self.object.as_str())
    }

    /// What is known to be on the disk of them ([`staged`]).
    fn mark(&self) -> PathBuf {
        self.shared.staging.join(format!("{}.mark", self.object))
    }

    /// Which upload in parts is under way ([`s3`]).
    fn parts(&self) -> PathBuf {
        self.shared.staging.join(format!("{}.parts", self.object))
    }

    fn remove_staged(&self) -> Result<(), StoreError> {
        files::remove(&self.staged())?;
        files::remove(&self.mark())?;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.open().remove(&self.object);
    }
}

/// Where an object lies below the folder, or in the bucket.
fn place(object: &ObjectName) -> String {
    let name = object.as_str();
    format!("{}/{name}", shard(object))
}

/// The folder of an object: one of 1,024, so that none holds too many.
fn shard(object: &ObjectName) -> &str {
    // Names are 24 ASCII letters and digits.
    object.as_str().get(..2).unwrap_or_default()
}

/// Runs what waits for the disk off the threads that serve everybody.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StoreError::Io(std::io::Error::other(error))),
    }
}
