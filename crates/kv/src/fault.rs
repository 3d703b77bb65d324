//! A store that misbehaves when told to: for tests of what lies above one.
//!
//! Left out: wrong answers to reads. A store that cannot read says so with
//! [`KvError::Read`], and tests get that from closing the store beneath.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::{
    Batch, CommitFailed, CommitLine, Kv, KvError, Partition, Precondition, Row, Scan, Ticket,
};

/// How many undurable bytes make [`CommitLine::room`] wait; as in the memory engine.
const ROOM_BYTES: u64 = 1024 * 1024;

/// Any store, with faults in front of it. Its commit line is its own.
pub struct Faulty {
    shared: Arc<Shared>,
    follow: JoinHandle<()>,
}

struct Shared {
    inner: Arc<dyn Kv>,
    line: Arc<CommitLine>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    held: bool,
    /// Commits until the one that fails, and how it does.
    failing: Option<(u64, fn() -> KvError)>,
    /// What is not durable here yet: its ticket here, its ticket there, its bytes.
    waiting: VecDeque<(Ticket, Ticket, u64)>,
}

impl Faulty {
    /// Puts faults in front of `inner`, none yet. Must be called inside a tokio runtime.
    #[must_use]
    pub fn over(inner: Arc<dyn Kv>) -> Self {
        let shared = Arc::new(Shared {
            inner,
            line: Arc::new(CommitLine::new(ROOM_BYTES)),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let follow = tokio::spawn(follow(shared.clone()));
        Self { shared, follow }
    }

    /// Makes the `nth` commit from now (1 is the next) answer `error` and change nothing.
    pub fn fail_commit(&self, nth: u64, error: fn() -> KvError) {
        self.shared.lock().failing = Some((nth, error));
    }

    /// Lets nothing become durable until [`Faulty::release`].
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Ends [`Faulty::hold`].
    pub fn release(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_one();
    }

    /// Fails the line: nothing that is not durable by now will ever be.
    pub fn fail_durability(&self) {
        self.shared.line.fail();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.follow.abort();
    }
}

/// Moves the line after that of the store beneath, unless it is held.
async fn follow(shared: Arc<Shared>) {
    loop {
        let next = {
            let state = shared.lock();
            state.waiting.front().copied().filter(|_| !state.held)
        };
        let Some((ticket, beneath, bytes)) = next else {
            // A change between the look and here is remembered by `notify_one`.
            shared.changed.notified().await;
            continue;
        };
        if shared.inner.line().wait(beneath).await.is_err() {
            shared.line.fail();
            return;
        }
        let mut state = shared.lock();
        if state.held {
            continue;
        }
        state.waiting.pop_front();
        shared.line.advance(ticket, bytes);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self) -> Result<(), KvError> {
        if self.line.failed() {
            return Err(CommitFailed.into());
        }
        let mut state = self.lock();
        let Some((nth, error)) = state.failing else {
            return Ok(());
        };
        state.failing = (nth > 1).then(|| (nth - 1, error));
        if nth > 1 { Ok(()) } else { Err(error()) }
    }

    /// Gives a commit that the store beneath has taken its ticket here.
    fn taken(&self, beneath: Ticket, bytes: u64) -> Ticket {
        if beneath == Ticket::DURABLE {
            return beneath;
        }
        let mut state = self.lock();
        let ticket = self.line.issue(bytes);
        state.waiting.push_back((ticket, beneath, bytes));
        drop(state);
        self.changed.notify_one();
        ticket
    }
}

impl Kv for Faulty {
    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Bytes>, KvError>> {
        self.shared.inner.get(partition, key)
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: Scan,
    ) -> BoxFuture<'a, Result<Vec<Row>, KvError>> {
        self.shared.inner.scan(partition, scan)
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, KvError> {
        self.shared.admit()?;
        let bytes = batch.weight_bytes();
        let beneath = self.shared.inner.commit(batch)?;
        Ok(self.shared.taken(beneath, bytes))
    }

    fn commit_if<'a>(
        &'a self,
        batch: Batch,
        when: Vec<Precondition>,
    ) -> BoxFuture<'a, Result<Ticket, KvError>> {
        async {
            self.shared.admit()?;
            let bytes = batch.weight_bytes();
            let beneath = self.shared.inner.commit_if(batch, when).await?;
            Ok(self.shared.taken(beneath, bytes))
        }
        .boxed()
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Partition>, KvError>> {
        self.shared.inner.partitions(after, limit)
    }

    fn line(&self) -> &Arc<CommitLine> {
        &self.shared.line
    }

    fn size_bytes(&self) -> u64 {
        self.shared.inner.size_bytes()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), KvError>> {
        async {
            self.shared.inner.close().await?;
            if self.shared.line.failed() {
                return Err(CommitFailed.into());
            }
            self.release();
            Ok(self.shared.line.wait(self.shared.line.issued()).await?)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryKv;

    fn batch() -> Batch {
        let mut batch = Batch::new(Partition::new("romeo@example.org").unwrap());
        batch.put("k", "v");
        batch
    }

    #[tokio::test]
    async fn the_commit_that_was_named_fails_and_no_other() {
        let kv = Faulty::over(Arc::new(MemoryKv::new()));
        kv.fail_commit(2, || KvError::Full);
        assert!(kv.commit(batch()).is_ok());
        assert!(matches!(kv.commit(batch()), Err(KvError::Full)));
        let ticket = kv.commit(batch()).unwrap();
        kv.line().wait(ticket).await.unwrap();
        kv.close().await.unwrap();
    }

    #[tokio::test]
    async fn durability_waits_while_it_is_held() {
        let kv = Faulty::over(Arc::new(MemoryKv::new()));
        kv.hold();
        let ticket = kv.commit(batch()).unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!kv.line().is_durable(ticket));
        kv.release();
        kv.line().wait(ticket).await.unwrap();
    }

    #[tokio::test]
    async fn failed_durability_reaches_everyone() {
        let kv = Faulty::over(Arc::new(MemoryKv::new()));
        kv.hold();
        let ticket = kv.commit(batch()).unwrap();
        kv.fail_durability();
        assert!(kv.line().wait(ticket).await.is_err());
        assert!(matches!(kv.commit(batch()), Err(KvError::Failed(_))));
        assert!(kv.close().await.is_err());

        let beneath = Arc::new(MemoryKv::manual());
        let kv = Faulty::over(beneath.clone());
        let ticket = kv.commit(batch()).unwrap();
        beneath.fail();
        assert!(kv.line().wait(ticket).await.is_err());
    }
}
