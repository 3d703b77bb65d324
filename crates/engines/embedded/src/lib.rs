//! The store on this machine's disk: one folder, no other program, made durable in groups.
//!
//! [`Embedded`] keeps its tables with fjall 3 (a log-structured merge tree). A commit goes into
//! an overlay in memory where every reader sees it; one thread takes what has gathered, writes
//! it as one batch, syncs once and moves the commit line. Readers never wait for a sync, but
//! may wait for the disk when what they read is in no cache.
//!
//! Left out: compression of tables, and changing the memtable's size of a store that exists.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod committer;
mod disk;
mod folder;
mod journal;
mod keys;
mod overlay;
mod read;
mod stats;
mod sweep;
mod sync;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, Slice};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use posthaste_kv::{
    Batch, CommitFailed, CommitLine, Kv, KvError, Op, Partition, Precondition, Row, Scan, Ticket,
};
use thiserror::Error;
use tokio::sync::watch;

use crate::disk::DiskWatch;
use crate::folder::Lock;
use crate::journal::MendError;
use crate::overlay::{Changes, Generation, changes};
use crate::stats::Counters;
pub use crate::stats::{CommitStats, LATENCY_BOUNDS_SECONDS, Latency};
use crate::sweep::Sweep;
use crate::sync::JournalSync;

/// How many times [`EmbeddedOptions::max_undurable_bytes`] may wait before commits are refused.
/// Callers that ask for room leave a gap: each of many may pass at once.
const BACKLOG_FACTOR: u64 = 4;
/// One thread flushes memtables, the others compact. After each flush fjall queues as many requests
/// to compact as it has threads, and its first thread hands those on without a pause until another
/// takes them: with two threads it spins for as long as a compaction lasts.
const FJALL_THREADS: usize = 3;
/// The smallest bound fjall takes; it rotates a journal at 64 MB.
const JOURNALS_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// The one keyspace that holds every partition.
const KEYSPACE: &str = "rows";

/// How a store uses the machine. The default suits a small server.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedOptions {
    /// A memtable of this size is flushed to the disk. Two are in memory most of the time, at
    /// most four. Set when the store is created and kept from then on.
    pub memtable_bytes: u64,
    /// The cache of what was read from tables.
    pub cache_bytes: u64,
    /// Commits that write are refused while less than this is free on the file system.
    pub free_disk_floor_bytes: u64,
    /// [`CommitLine::room`] makes callers wait while more than this is not durable yet.
    pub max_undurable_bytes: u64,
    /// The shortest time from the start of one sync to the start of the next: what a lonely
    /// commit never waits for, and what lets busy ones share a sync.
    pub round_interval: Duration,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            memtable_bytes: 16 * 1024 * 1024,
            cache_bytes: 32 * 1024 * 1024,
            free_disk_floor_bytes: 256 * 1024 * 1024,
            max_undurable_bytes: 8 * 1024 * 1024,
            round_interval: Duration::from_millis(2),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    // The operator's doing.
    /// Another process has the folder open.
    #[error("the data directory {} is in use by another server{}", folder.display(), holder(*pid))]
    Locked {
        /// The folder that was to be opened.
        folder: PathBuf,
        /// The process that has it open, when it says.
        pid: Option<u32>,
    },
    /// The folder was written by another version.
    #[error("{} says \"{found}\", which this version cannot read", path.display())]
    Format {
        /// The file that says which format the folder has.
        path: PathBuf,
        /// What it says.
        found: String,
    },

    // The outside failed.
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What was durable cannot be read any more. Nothing was changed; opening would lose it.
    #[error(
        "{} is damaged at byte {at}: {unreadable} bytes cannot be read, more than a power cut \
         explains; restore a backup, or cut the file off there to go on without them",
        path.display()
    )]
    Damaged {
        /// The damaged journal.
        path: PathBuf,
        /// Where the damage begins.
        at: u64,
        /// How much lies behind it.
        unreadable: u64,
    },
    /// fjall could not open its files.
    #[error("the tables in {} cannot be opened: {source}", path.display())]
    Tables {
        /// fjall's folder.
        path: PathBuf,
        /// What fjall says.
        source: fjall::Error,
    },
}

impl OpenError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    fn tables(path: &Path, source: fjall::Error) -> Self {
        Self::Tables {
            path: path.to_path_buf(),
            source,
        }
    }
}

impl From<MendError> for OpenError {
    fn from(error: MendError) -> Self {
        match error {
            MendError::Io(path, source) => Self::Io { path, source },
            MendError::Damaged { path, at, torn } => Self::Damaged {
                path,
                at,
                unreadable: torn,
            },
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// A store in one folder of this machine.
///
/// Dropping it closes it, waiting for the disk; [`Kv::close`] does so without holding up a
/// thread and tells whether it went well.
pub struct Embedded {
    shared: Arc<Shared>,
}

/// What commits, readers and the committer share.
struct Shared {
    folder: PathBuf,
    /// Never waited for with `tables` still to be taken: it comes after them.
    state: Mutex<State>,
    /// Wakes the committer.
    wake: Condvar,
    line: Arc<CommitLine>,
    /// `None` once closed.
    tables: RwLock<Option<Tables>>,
    folder_lock: Mutex<Option<Lock>>,
    closed: watch::Sender<bool>,
    disk: DiskWatch,
    counters: Counters,
    size_bytes: AtomicU64,
    room_bytes: u64,
    round_interval: Duration,
}

#[derive(Default)]
struct State {
    /// What was committed since the committer's last round.
    active: Generation,
    /// What the committer is writing.
    writing: Option<Arc<Generation>>,
    /// Which of the tables' keys are deleted although they are still there.
    sweeps: Arc<Vec<Sweep>>,
    committer_waits: bool,
    closing: bool,
}

#[derive(Clone)]
struct Tables {
    db: Database,
    rows: Keyspace,
}

impl Embedded {
    /// Opens the store in `path`, making it if there is none.
    ///
    /// Takes the time to read the newest journal (at most some 64 MB) and to write it again.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing durable is changed when this fails.
    pub fn open(path: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Arc<Self>, OpenError> {
        let folder = path.as_ref();
        folder::create(folder)?;
        let lock = Lock::take(folder)?;
        let fjall = folder::prepare(folder, |path| open_tables(path, &options).map(drop))?;
        let backlog = options.max_undurable_bytes.saturating_mul(BACKLOG_FACTOR);
        if let Some(mended) = journal::mend(&fjall, unsynced_max(backlog))?
            && mended.torn > 0
        {
            tracing::warn!(
                bytes = mended.torn,
                "cut an unfinished write off the journal; it was never acknowledged"
            );
        }
        let tables = open_tables(&fjall, &options)?;
        let sweeps =
            Sweep::noted(&tables.rows).map_err(|error| OpenError::tables(&fjall, error))?;
        let journal = JournalSync::of(&fjall).map_err(|error| OpenError::io(&fjall, error))?;

        let shared = Arc::new(Shared {
            folder: folder.to_path_buf(),
            state: Mutex::new(State {
                sweeps: Arc::new(sweeps.clone()),
                ..State::default()
            }),
            wake: Condvar::new(),
            line: Arc::new(CommitLine::new(options.max_undurable_bytes)),
            tables: RwLock::new(Some(tables.clone())),
            folder_lock: Mutex::new(Some(lock)),
            closed: watch::Sender::new(false),
            disk: DiskWatch::new(folder.to_path_buf(), options.free_disk_floor_bytes),
            counters: Counters::default(),
            size_bytes: AtomicU64::new(0),
            room_bytes: options.max_undurable_bytes,
            round_interval: options.round_interval,
        });
        shared.look_at_size(&tables);
        let for_thread = shared.clone();
        thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer::run(&for_thread, tables, journal, sweeps))
            .map_err(|error| OpenError::io(folder, error))?;
        Ok(Arc::new(Self { shared }))
    }

    /// The counters of the commits so far.
    #[must_use]
    pub fn commit_stats(&self) -> CommitStats {
        let shared = &self.shared;
        shared
            .counters
            .look(shared.line.undurable_bytes(), shared.disk.is_full())
    }

    /// Whether a write or a sync has failed: the store has to be closed and opened again.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.shared.line.failed()
    }
}

/// The most that can be unsynced at the journal's end: one round, with its framing.
fn unsynced_max(backlog: u64) -> u64 {
    const SLACK_BYTES: u64 = 16 * 1024 * 1024;
    backlog.saturating_mul(2).saturating_add(SLACK_BYTES)
}

fn open_tables(path: &Path, options: &EmbeddedOptions) -> Result<Tables, OpenError> {
    let open = || {
        let db = Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNALS_MAX_BYTES)
            .worker_threads(FJALL_THREADS)
            // The committer syncs; what it has not synced need not reach the kernel.
            .manual_journal_persist(true)
            .open()?;
        let memtable_bytes = options.memtable_bytes;
        let rows = db.keyspace(KEYSPACE, || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                .manual_journal_persist(true)
        })?;
        Ok(Tables { db, rows })
    };
    open().map_err(|error| OpenError::tables(path, error))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of ours panics while the state is half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_at_size(&self, tables: &Tables) {
        // An error here will be met again by the next round, which reports it.
        if let Ok(bytes) = tables.db.disk_space() {
            self.size_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// Refuses a batch that cannot be taken, before anything is done for it.
    fn admit(&self, batch: &Batch) -> Result<(), KvError> {
        batch.check()?;
        if self.line.failed() {
            return Err(CommitFailed.into());
        }
        if self.line.undurable_bytes() >= self.room_bytes.saturating_mul(BACKLOG_FACTOR) {
            return Err(KvError::Backlog);
        }
        // Deletions are taken: they are how a full disk gets room again.
        let writes = batch.ops.iter().any(|op| matches!(op, Op::Put { .. }));
        if writes && self.disk.is_full() {
            return Err(KvError::Full);
        }
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<Ticket, KvError> {
        self.admit(batch)?;
        let changes = changes(batch);
        self.take(self.lock(), batch, changes)
    }

    fn commit_if(&self, batch: &Batch, when: &[Precondition]) -> Result<Ticket, KvError> {
        self.admit(batch)?;
        let changes = changes(batch);
        let stored: Vec<Slice> = when
            .iter()
            .map(|condition| keys::stored(&batch.partition, condition.key()))
            .collect();
        // The tables before the state, as everywhere.
        self.with_tables(|tables| {
            // Read once without the lock, so that under it nobody waits for the disk.
            for key in &stored {
                tables.get(key)?;
            }
            let state = self.lock();
            for (condition, key) in when.iter().zip(&stored) {
                if !condition.holds(state.get(tables, key)?.as_deref()) {
                    return Err(KvError::PreconditionFailed);
                }
            }
            self.take(state, batch, changes)
        })
    }

    /// Puts a batch behind all earlier ones.
    fn take(
        &self,
        mut state: MutexGuard<'_, State>,
        batch: &Batch,
        changes: Changes,
    ) -> Result<Ticket, KvError> {
        if state.closing {
            return Err(KvError::Closed);
        }
        if changes.is_empty() {
            return Ok(Ticket::DURABLE);
        }
        let bytes = batch.weight_bytes();
        let ticket = self.line.issue(bytes);
        state.active.add(changes, ticket, bytes);
        let wake = std::mem::take(&mut state.committer_waits);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(ticket)
    }

    fn begin_close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }
}

impl Kv for Embedded {
    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Bytes>, KvError>> {
        ready(self.shared.get(partition, key)).boxed()
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: Scan,
    ) -> BoxFuture<'a, Result<Vec<Row>, KvError>> {
        ready(self.shared.scan(partition, &scan)).boxed()
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, KvError> {
        self.shared.commit(&batch)
    }

    fn commit_if<'a>(
        &'a self,
        batch: Batch,
        when: Vec<Precondition>,
    ) -> BoxFuture<'a, Result<Ticket, KvError>> {
        ready(self.shared.commit_if(&batch, &when)).boxed()
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Partition>, KvError>> {
        ready(self.shared.partitions(after, limit)).boxed()
    }

    fn line(&self) -> &Arc<CommitLine> {
        &self.shared.line
    }

    fn size_bytes(&self) -> u64 {
        self.shared.size_bytes.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), KvError>> {
        async {
            self.shared.begin_close();
            let mut closed = self.shared.closed.subscribe();
            // The sender lives in `self`, so this ends when the committer has let go.
            let _ = closed.wait_for(|closed| *closed).await;
            if self.shared.line.failed() {
                return Err(CommitFailed.into());
            }
            Ok(())
        }
        .boxed()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.begin_close();
        while !*self.shared.closed.borrow() {
            // Only without a `close`: tests, and a server that is giving up.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
