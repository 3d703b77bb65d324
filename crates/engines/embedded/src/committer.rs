//! The one thread that writes: it takes whatever was committed since its last round, hands it
//! to fjall as one batch, syncs, and moves the commit line.

use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{AbstractTree, OwnedWriteBatch, PersistMode};

use crate::overlay::Generation;
use crate::sweep::{Sweep, keys_of};
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

/// Runs the committer until the store is closed, then lets go of everything.
pub(crate) fn run(shared: &Shared, tables: Tables) {
    // A panic below must not leave sessions waiting for acknowledgements that never come.
    let on_the_way_out = FailOnPanic(shared);
    let sound = rounds(shared, &tables);
    if !sound {
        shared.wait_for_close();
    }
    drop(tables);
    shared.let_go();
    drop(on_the_way_out);
}

/// Says whether everything committed is durable.
fn rounds(shared: &Shared, tables: &Tables) -> bool {
    let mut last_round = None;
    while let Some(generation) = shared.next_generation(last_round) {
        last_round = Some(Instant::now());
        if let Err(error) = round(shared, tables, &generation) {
            return failed(shared, &error);
        }
    }
    match tables.db.persist(PersistMode::SyncAll) {
        Ok(()) => true,
        Err(error) => failed(shared, &error),
    }
}

fn failed(shared: &Shared, error: &fjall::Error) -> bool {
    tracing::error!(
        folder = %shared.folder.display(), %error,
        "the store cannot write; nothing more is acknowledged until it is opened again"
    );
    shared.line.fail();
    false
}

fn round(shared: &Shared, tables: &Tables, generation: &Arc<Generation>) -> fjall::Result<()> {
    wait_for_flushes(tables)?;
    let sweeps = write(tables, generation)?;
    if sweeps.is_empty() {
        // The tables have it all now; it need not be synced to be read.
        shared.forget_written();
    }
    let syncing = Instant::now();
    tables.db.persist(PersistMode::SyncData)?;
    let synced = syncing.elapsed();
    shared
        .line
        .advance(generation.last_ticket, generation.bytes);
    let waited = generation.since.map_or(synced, |since| since.elapsed());
    shared
        .counters
        .round(generation.batches, generation.bytes, waited, synced);

    if !sweeps.is_empty() {
        sweep(tables, &sweeps)?;
        shared.forget_written();
    }
    if shared.disk.wrote(generation.bytes) {
        shared.look_at_size(tables);
    }
    Ok(())
}

/// Hands the generation to fjall as one batch. Answers the ranges that are still to be swept.
fn write(tables: &Tables, generation: &Generation) -> fjall::Result<Vec<Sweep>> {
    let rows = &tables.rows;
    let capacity = generation.all().count();
    let mut batch = OwnedWriteBatch::with_capacity(tables.db.clone(), capacity);
    let mut budget = RANGE_KEYS_IN_BATCH;
    let mut sweeps = Vec::new();
    for (from, to) in generation.deleted_ranges() {
        // One more than fits, to see whether that is all.
        let keys = keys_of(rows, from, to, budget + 1)?;
        if keys.len() > budget {
            let sweep = Sweep {
                from: from.clone(),
                to: to.clone(),
                keep: generation
                    .rows(from, to)
                    .map(|(key, _)| key.clone())
                    .collect(),
            };
            batch.insert(rows, Sweep::note_key(sweeps.len()), sweep.note());
            sweeps.push(sweep);
            continue;
        }
        budget -= keys.len();
        for key in keys {
            if !generation.changes_key(&key) {
                batch.remove(rows, key);
            }
        }
    }
    for (key, value) in generation.all() {
        match value {
            Some(value) => batch.insert(rows, key.clone(), value.clone()),
            None => batch.remove(rows, key.clone()),
        }
    }
    batch.commit()?;
    Ok(sweeps)
}

fn sweep(tables: &Tables, sweeps: &[Sweep]) -> fjall::Result<()> {
    for (number, sweep) in sweeps.iter().enumerate() {
        sweep.run(&tables.db, &tables.rows, || wait_for_flushes(tables))?;
        tables.rows.remove(Sweep::note_key(number))?;
    }
    Ok(())
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
    /// Waits for commits and takes them; `None` once the store is closing and all are written.
    fn next_generation(&self, last_round: Option<Instant>) -> Option<Arc<Generation>> {
        self.pace(last_round);
        let mut state = self.lock();
        while state.active.is_empty() {
            if state.closing {
                return None;
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
        Some(generation)
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

    fn forget_written(&self) {
        let written = self.lock().writing.take();
        // Thousands of keys may be freed here: not under the lock.
        drop(written);
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
