//! The engine that keeps everything in memory: for tests, and for trying things out.
//!
//! Left out: any survival of the process. "Durable" means what a test says it means.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::{Batch, CommitLine, Kv, KvError, Op, Partition, Precondition, Row, Scan, Ticket};

/// How many undurable bytes make [`CommitLine::room`] wait. Small enough that a test reaches it.
const ROOM_BYTES: u64 = 1024 * 1024;
/// Commits are refused beyond this many times [`ROOM_BYTES`].
const BACKLOG_FACTOR: u64 = 4;

type Table = BTreeMap<Bytes, Bytes>;
type Partitions = BTreeMap<Partition, Table>;

/// A store in memory.
pub struct MemoryKv {
    state: Mutex<State>,
    line: Arc<CommitLine>,
    manual: bool,
}

#[derive(Default)]
struct State {
    /// What readers see.
    visible: Partitions,
    /// What a power cut would leave; only kept by a manual store.
    durable: Partitions,
    /// What lies between the two, with its weight in bytes.
    undurable: VecDeque<(Ticket, u64, Batch)>,
    closed: bool,
}

impl MemoryKv {
    /// A store in which every commit is durable at once.
    #[must_use]
    pub fn new() -> Self {
        Self::with(false)
    }

    /// A store in which nothing becomes durable until [`MemoryKv::make_durable`] is called, so
    /// that a test can look at the time between.
    #[must_use]
    pub fn manual() -> Self {
        Self::with(true)
    }

    fn with(manual: bool) -> Self {
        Self {
            state: Mutex::default(),
            line: Arc::new(CommitLine::new(ROOM_BYTES)),
            manual,
        }
    }

    /// Makes every commit so far durable.
    pub fn make_durable(&self) {
        self.make_durable_up_to(self.line.issued());
    }

    /// Makes the oldest `most` commits that are not durable yet durable, so that a test can look at what a power cut
    /// leaves between any two of them.
    pub fn make_oldest_durable(&self, most: usize) {
        let last = {
            let state = self.lock();
            let mut oldest = state.undurable.iter().take(most);
            oldest.next_back().map(|(ticket, _, _)| *ticket)
        };
        if let Some(last) = last {
            self.make_durable_up_to(last);
        }
    }

    /// Makes the commits up to `ticket` durable.
    pub fn make_durable_up_to(&self, ticket: Ticket) {
        let mut state = self.lock();
        let mut bytes = 0;
        while let Some((first, _, _)) = state.undurable.front()
            && *first <= ticket
        {
            let Some((_, weight, batch)) = state.undurable.pop_front() else {
                break;
            };
            bytes += weight;
            apply(&mut state.durable, &batch);
        }
        drop(state);
        if bytes > 0 {
            self.line.advance(ticket.min(self.line.issued()), bytes);
        }
    }

    /// Behaves from now on like a store whose disk has failed.
    pub fn fail(&self) {
        self.line.fail();
    }

    /// What a power cut right now would leave: a new manual store with what is durable and
    /// nothing else. On a store that is not manual that is everything.
    #[must_use]
    pub fn after_power_cut(&self) -> Self {
        let state = self.lock();
        let left = if self.manual {
            state.durable.clone()
        } else {
            state.visible.clone()
        };
        drop(state);
        let cut = Self::with(self.manual);
        {
            let mut state = cut.lock();
            state.visible.clone_from(&left);
            state.durable = left;
        }
        cut
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, KvError> {
        let state = self.lock();
        if state.closed {
            return Err(KvError::Closed);
        }
        Ok(state)
    }

    fn commit_locked(
        &self,
        mut state: MutexGuard<'_, State>,
        batch: Batch,
    ) -> Result<Ticket, KvError> {
        batch.check()?;
        if self.line.failed() {
            return Err(crate::CommitFailed.into());
        }
        if self.line.undurable_bytes() >= ROOM_BYTES * BACKLOG_FACTOR {
            return Err(KvError::Backlog);
        }
        if batch.is_empty() {
            return Ok(Ticket::DURABLE);
        }
        apply(&mut state.visible, &batch);
        let bytes = batch.weight_bytes();
        let ticket = self.line.issue(bytes);
        if self.manual {
            state.undurable.push_back((ticket, bytes, batch));
        } else {
            // Under the lock, so that two commits advance the line in their order.
            self.line.advance(ticket, bytes);
        }
        Ok(ticket)
    }

    fn commit_if_now(&self, batch: Batch, when: &[Precondition]) -> Result<Ticket, KvError> {
        let state = self.open()?;
        let table = state.visible.get(&batch.partition);
        let hold = when.iter().all(|condition| {
            let found = table.and_then(|table| table.get(condition.key()));
            condition.holds(found.map(AsRef::as_ref))
        });
        if !hold {
            return Err(KvError::PreconditionFailed);
        }
        self.commit_locked(state, batch)
    }

    fn scan_now(&self, partition: &Partition, scan: &Scan) -> Result<Vec<Row>, KvError> {
        let state = self.open()?;
        let Some(table) = state.visible.get(partition) else {
            return Ok(Vec::new());
        };
        let Some(bounds) = bounds(&scan.from, &scan.to) else {
            return Ok(Vec::new());
        };
        let rows = table.range::<Bytes, _>(bounds);
        let row = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        Ok(if scan.reverse {
            rows.rev().take(scan.limit).map(row).collect()
        } else {
            rows.take(scan.limit).map(row).collect()
        })
    }

    fn partitions_now(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> Result<Vec<Partition>, KvError> {
        let state = self.open()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(state
            .visible
            .range((from, Bound::Unbounded))
            .take(limit)
            .map(|(partition, _)| partition.clone())
            .collect())
    }
}

impl Default for MemoryKv {
    fn default() -> Self {
        Self::new()
    }
}

impl Kv for MemoryKv {
    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Bytes>, KvError>> {
        let found = self.open().map(|state| {
            let table = state.visible.get(partition);
            table.and_then(|table| table.get(key)).cloned()
        });
        ready(found).boxed()
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: Scan,
    ) -> BoxFuture<'a, Result<Vec<Row>, KvError>> {
        ready(self.scan_now(partition, &scan)).boxed()
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, KvError> {
        self.commit_locked(self.open()?, batch)
    }

    fn commit_if<'a>(
        &'a self,
        batch: Batch,
        when: Vec<Precondition>,
    ) -> BoxFuture<'a, Result<Ticket, KvError>> {
        ready(self.commit_if_now(batch, &when)).boxed()
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Partition>, KvError>> {
        ready(self.partitions_now(after, limit)).boxed()
    }

    fn line(&self) -> &Arc<CommitLine> {
        &self.line
    }

    fn size_bytes(&self) -> u64 {
        let state = self.lock();
        let rows = state.visible.values().flatten();
        rows.map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), KvError>> {
        let failed = self.line.failed();
        if !failed {
            self.make_durable();
        }
        self.lock().closed = true;
        let closed = if failed {
            Err(crate::CommitFailed.into())
        } else {
            Ok(())
        };
        ready(closed).boxed()
    }
}

/// The bounds of a range whose empty `to` means the end; `None` for an empty range, which
/// [`BTreeMap::range`] would panic on when its ends are crossed.
fn bounds<'a>(from: &'a Bytes, to: &'a Bytes) -> Option<(Bound<&'a Bytes>, Bound<&'a Bytes>)> {
    if to.is_empty() {
        Some((Bound::Included(from), Bound::Unbounded))
    } else if from < to {
        Some((Bound::Included(from), Bound::Excluded(to)))
    } else {
        None
    }
}

fn apply(partitions: &mut Partitions, batch: &Batch) {
    let table = partitions.entry(batch.partition.clone()).or_default();
    for op in &batch.ops {
        match op {
            Op::Put { key, value } => {
                table.insert(key.clone(), value.clone());
            }
            Op::Delete { key } => {
                table.remove(key);
            }
            Op::DeleteRange { from, to } => delete_range(table, from, to),
        }
    }
    // A partition without keys does not exist.
    if table.is_empty() {
        partitions.remove(&batch.partition);
    }
}

fn delete_range(table: &mut Table, from: &Bytes, to: &Bytes) {
    let Some(bounds) = bounds(from, to) else {
        return;
    };
    let gone: Vec<Bytes> = table
        .range::<Bytes, _>(bounds)
        .map(|(key, _)| key.clone())
        .collect();
    for key in gone {
        table.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(partition: &Partition, key: &'static [u8], value: &'static [u8]) -> Batch {
        let mut batch = Batch::new(partition.clone());
        batch.put(key, value);
        batch
    }

    #[tokio::test]
    async fn a_manual_store_shows_at_once_and_keeps_when_told() {
        let romeo = Partition::new("romeo@example.org").unwrap();
        let kv = MemoryKv::manual();
        let first = kv.commit(put(&romeo, b"a", b"1")).unwrap();
        let second = kv.commit(put(&romeo, b"b", b"2")).unwrap();
        assert_eq!(kv.get(&romeo, b"b").await.unwrap().unwrap(), "2");
        assert!(!kv.line().is_durable(first));

        kv.make_durable_up_to(first);
        assert!(kv.line().is_durable(first) && !kv.line().is_durable(second));
        let cut = kv.after_power_cut();
        assert_eq!(cut.get(&romeo, b"a").await.unwrap().unwrap(), "1");
        assert_eq!(cut.get(&romeo, b"b").await.unwrap(), None);

        kv.make_durable();
        assert!(kv.line().is_durable(second));
        assert_eq!(kv.line().undurable_bytes(), 0);
    }

    #[test]
    fn commits_without_room_end_in_a_backlog() {
        let romeo = Partition::new("romeo@example.org").unwrap();
        let kv = MemoryKv::manual();
        let mut refused = false;
        for _ in 0..20 {
            let mut batch = Batch::new(romeo.clone());
            batch.put(&b"k"[..], vec![0; 512 * 1024]);
            refused |= matches!(kv.commit(batch), Err(KvError::Backlog));
        }
        assert!(refused);
        kv.make_durable();
        assert!(kv.commit(put(&romeo, b"a", b"1")).is_ok());
    }

    #[tokio::test]
    async fn a_failed_store_takes_nothing_more() {
        let romeo = Partition::new("romeo@example.org").unwrap();
        let kv = MemoryKv::manual();
        let ticket = kv.commit(put(&romeo, b"a", b"1")).unwrap();
        kv.fail();
        assert!(kv.line().wait(ticket).await.is_err());
        assert!(matches!(
            kv.commit(put(&romeo, b"a", b"2")),
            Err(KvError::Failed(_))
        ));
        assert!(kv.close().await.is_err());
    }
}
