//! The one thread that writes: it takes whatever was committed since its last round, hands it
//! to fjall as one batch, syncs, and moves the commit line.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{AbstractTree, OwnedWriteBatch, PersistMode, Slice};

use crate::overlay::{Generation, Range, between};
use crate::sweep::{Sweep, keys_of};
use crate::sync::JournalSync;
use crate::{Shared, Tables};

/// A range of more keys than this is not deleted within the round's batch but swept after it.
/// For all ranges of a round together.
const RANGE_KEYS_IN_BATCH: usize = 1024;
/// fjall writes no more once four memtables wait to be flushed, and waits for ever when the
/// thread that flushes has died; so does this, but looking whether it has died.
const MEMTABLES_WAITING_MAX: usize = 3;
/// The same for tables that wait to be compacted, where fjall waits at thirty.
const LEVEL_0_RUNS_MAX: usize = 20;
/// How often the waiting looks again: short against a flush, which takes tens of milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the committer does next.
enum Next {
    /// Write what was committed.
    Round(Arc<Generation>),
    /// Nothing was committed: there is time for a page of a sweep.
    Sweep,
    Close,
}

/// Runs the committer until the store is closed, then lets go of everything.
pub(crate) fn run(shared: &Shared, tables: Tables, journal: JournalSync, sweeps: Vec<Sweep>) {
    // A panic below must not leave sessions waiting for acknowledgements that never come.
    let on_the_way_out = FailOnPanic(shared);
    let mut committer = Committer {
        shared,
        next_sweep: sweeps.last().map_or(0, |last| last.number + 1),
        tables,
        journal,
        sweeps,
    };
    if let Err(error) = committer.work() {
        tracing::error!(
            folder = %shared.folder.display(), %error,
            "the store cannot write; nothing more is acknowledged until it is opened again"
        );
        shared.line.fail();
        shared.wait_for_close();
    }
    drop(committer);
    shared.let_go();
    drop(on_the_way_out);
}

struct Committer<'a> {
    shared: &'a Shared,
    tables: Tables,
    journal: JournalSync,
    /// What is still to be swept, by number, never overlapping. Readers see what was last
    /// published of it.
    sweeps: Vec<Sweep>,
    next_sweep: u64,
}

impl Committer<'_> {
    /// Works until the store is closing and everything committed is durable.
    fn work(&mut self) -> fjall::Result<()> {
        let mut last_round = None;
        loop {
            match self.shared.next(last_round, !self.sweeps.is_empty()) {
                Next::Round(generation) => {
                    last_round = Some(Instant::now());
                    self.round(&generation)?;
                }
                Next::Sweep => {}
                // What is left of sweeps is noted down.
                Next::Close => return self.journal.sync(&self.tables.db),
            }
            self.sweep_page()?;
        }
    }

    fn round(&mut self, generation: &Generation) -> fjall::Result<()> {
        wait_for_flushes(&self.tables)?;
        let new_sweeps = self.write(generation)?;
        // The tables have it all now; it need not be synced to be read.
        self.shared
            .forget_written(new_sweeps.then_some(&self.sweeps));

        let syncing = Instant::now();
        self.journal.sync(&self.tables.db)?;
        let synced = syncing.elapsed();
        let shared = self.shared;
        shared
            .line
            .advance(generation.last_ticket, generation.bytes);
        let waited = generation.since.map_or(synced, |since| since.elapsed());
        shared
            .counters
            .round(generation.batches, generation.bytes, waited, synced);
        if shared.disk.wrote(generation.bytes) {
            shared.look_at_size(&self.tables);
        }
        Ok(())
    }

    /// Hands the generation to fjall as one batch. Says whether the sweeps have changed.
    fn write(&mut self, generation: &Generation) -> fjall::Result<bool> {
        let rows = &self.tables.rows;
        let capacity = generation.all().count();
        let mut batch = OwnedWriteBatch::with_capacity(self.tables.db.clone(), capacity);
        let (mut changed, mut new) = (false, Vec::new());
        for sweep in &mut self.sweeps {
            if keep_written(sweep, generation) {
                sweep.note_in(&mut batch, rows);
                changed = true;
            }
        }
        let mut budget = RANGE_KEYS_IN_BATCH;
        for (from, to) in generation.deleted_ranges() {
            let mut remove = |key: &Slice| {
                if !generation.changes_key(key) {
                    batch.remove(rows, key.clone());
                }
            };
            // Of what is being swept only the spared keys are left to delete.
            for sweep in &self.sweeps {
                sweep.spared(from, to).for_each(&mut remove);
            }
            for (from, to) in not_swept(from, to, &self.sweeps) {
                // One more than fits, to see whether that is all.
                let keys = keys_of(rows, &from, &to, budget + 1)?;
                if keys.len() > budget {
                    new.push((from, to));
                } else {
                    budget -= keys.len();
                    keys.iter().for_each(&mut remove);
                }
            }
        }
        changed |= !new.is_empty();
        for (from, to) in new {
            let mut sweep = Sweep::new(self.next_sweep, from, to, BTreeSet::new());
            keep_written(&mut sweep, generation);
            sweep.note_in(&mut batch, rows);
            self.sweeps.push(sweep);
            self.next_sweep += 1;
        }
        for (key, value) in generation.all() {
            match value {
                Some(value) => batch.insert(rows, key.clone(), value.clone()),
                None => batch.remove(rows, key.clone()),
            }
        }
        batch.commit()?;
        Ok(changed)
    }

    fn sweep_page(&mut self) -> fjall::Result<()> {
        let Some(first) = self.sweeps.first_mut() else {
            return Ok(());
        };
        wait_for_flushes(&self.tables)?;
        let is_last = first.page(&self.tables)?;
        // So that never more than a page is lost to a power cut: the journal's unsynced end
        // has a bound.
        self.journal.sync(&self.tables.db)?;
        if is_last {
            self.sweeps.remove(0);
            self.shared.publish(&self.sweeps);
        }
        Ok(())
    }
}

/// The parts of a range that no sweep covers.
fn not_swept(from: &Slice, to: &Slice, sweeps: &[Sweep]) -> Vec<Range> {
    let swept = sweeps
        .iter()
        .map(|sweep| (sweep.from.clone(), sweep.to.clone()))
        .collect();
    between(from.clone(), to.clone(), swept)
}

/// Makes a sweep spare what a generation writes. Says whether that is anything new.
fn keep_written(sweep: &mut Sweep, generation: &Generation) -> bool {
    let before = sweep.keep.len();
    let written = generation
        .rows(&sweep.from, &sweep.to)
        .filter(|(_, value)| value.is_some());
    sweep.keep.extend(written.map(|(key, _)| key.clone()));
    sweep.keep.len() > before
}

fn wait_for_flushes(tables: &Tables) -> fjall::Result<()> {
    let rows = &tables.rows;
    while rows.sealed_memtable_count() >= MEMTABLES_WAITING_MAX
        || rows.tree.l0_run_count() >= LEVEL_0_RUNS_MAX
    {
        // Writes nothing, but answers an error when the threads behind have failed.
        tables.db.persist(PersistMode::Buffer)?;
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.line.fail();
            self.0.let_go();
        }
    }
}

impl Shared {
    /// Waits for commits and takes them, unless there is something to sweep meanwhile.
    fn next(&self, last_round: Option<Instant>, sweeping: bool) -> Next {
        if !sweeping {
            self.pace(last_round);
        }
        let mut state = self.lock();
        while state.active.is_empty() {
            if state.closing {
                return Next::Close;
            }
            if sweeping {
                return Next::Sweep;
            }
            state.committer_waits = true;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.committer_waits = false;
        let generation = Arc::new(std::mem::take(&mut state.active));
        state.writing = Some(generation.clone());
        Next::Round(generation)
    }

    /// Leaves a little time between two rounds, in which commits gather: a sync costs the same
    /// for one as for a hundred. Does not wait when much has gathered already.
    fn pace(&self, last_round: Option<Instant>) {
        let Some(rest) =
            last_round.and_then(|started| self.round_interval.checked_sub(started.elapsed()))
        else {
            return;
        };
        let state = self.lock();
        if !state.closing && state.active.bytes < self.room_bytes / 2 {
            drop(state);
            thread::sleep(rest);
        }
    }

    /// The tables have what was being written; `sweeps` are those that have changed with it.
    fn forget_written(&self, sweeps: Option<&Vec<Sweep>>) {
        let sweeps = sweeps.map(|sweeps| Arc::new(sweeps.clone()));
        let mut state = self.lock();
        // Both at once: a key that is spared from now on is hidden until now by what is written.
        if let Some(sweeps) = sweeps {
            state.sweeps = sweeps;
        }
        let written = state.writing.take();
        drop(state);
        // Thousands of keys may be freed here: not under the lock.
        drop(written);
    }

    fn publish(&self, sweeps: &[Sweep]) {
        self.lock().sweeps = Arc::new(sweeps.to_vec());
    }

    fn wait_for_close(&self) {
        let mut state = self.lock();
        while !state.closing {
            state.committer_waits = true;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes fjall once the readers inside it are done, and gives the folder free.
    fn let_go(&self) {
        let tables = self
            .tables
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(tables);
        let lock = self
            .folder_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(lock);
        self.closed.send_replace(true);
    }
}
