//! The commit line: how far a store is durable, and who waits for that.
//!
//! Readers of the line pay one atomic load when what they ask for is durable already. Engines
//! drive it with [`CommitLine::issue`], [`CommitLine::advance`] and [`CommitLine::fail`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use crate::{CommitFailed, Ticket};

/// How far a store is durable.
///
/// Once it has failed it stays failed: no later ticket ever becomes durable and every waiter is
/// told.
#[derive(Debug)]
pub struct CommitLine {
    durable: AtomicU64,
    issued: AtomicU64,
    undurable_bytes: AtomicU64,
    room_bytes: u64,
    failed: AtomicBool,
    /// Ordered by ticket. Bounded by the polls between two advances: each entry is taken out
    /// when its ticket becomes durable, and a second poll by the same task for the same ticket
    /// adds none.
    waiting: Mutex<VecDeque<(Ticket, Waker)>>,
    room_again: Notify,
    failure: Notify,
}

impl CommitLine {
    /// A line on which everything so far is durable, and on which [`CommitLine::room`] makes
    /// callers wait while `room_bytes` or more are not.
    #[must_use]
    pub fn new(room_bytes: u64) -> Self {
        Self {
            durable: AtomicU64::new(0),
            issued: AtomicU64::new(0),
            undurable_bytes: AtomicU64::new(0),
            room_bytes,
            failed: AtomicBool::new(false),
            waiting: Mutex::default(),
            room_again: Notify::new(),
            failure: Notify::new(),
        }
    }

    /// The highest durable ticket. Every ticket up to it is durable too.
    #[must_use]
    pub fn durable(&self) -> Ticket {
        Ticket(self.durable.load(Ordering::Acquire))
    }

    /// The ticket of the latest commit.
    #[must_use]
    pub fn issued(&self) -> Ticket {
        Ticket(self.issued.load(Ordering::Acquire))
    }

    /// Whether `ticket` survives a power cut.
    #[must_use]
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket <= self.durable()
    }

    /// Whether a write or a sync has failed, after which no later ticket becomes durable.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The bytes of the commits that are not durable yet.
    #[must_use]
    pub fn undurable_bytes(&self) -> u64 {
        self.undurable_bytes.load(Ordering::Relaxed)
    }

    /// Ready once `ticket` is durable; until then `cx` is woken when it becomes so.
    ///
    /// # Errors
    /// [`CommitFailed`] when it never will.
    pub fn poll_durable(
        &self,
        cx: &mut Context<'_>,
        ticket: Ticket,
    ) -> Poll<Result<(), CommitFailed>> {
        if let Some(settled) = self.settled(ticket) {
            return Poll::Ready(settled);
        }
        let mut waiting = self.lock_waiting();
        // Again under the lock: an advance since the first look has emptied the list already.
        if let Some(settled) = self.settled(ticket) {
            return Poll::Ready(settled);
        }
        let after = waiting.partition_point(|(other, _)| *other <= ticket);
        let known = waiting
            .range(..after)
            .rev()
            .take_while(|(other, _)| *other == ticket)
            .any(|(_, waker)| waker.will_wake(cx.waker()));
        if !known {
            waiting.insert(after, (ticket, cx.waker().clone()));
        }
        Poll::Pending
    }

    /// Waits until `ticket` is durable.
    ///
    /// # Errors
    /// [`CommitFailed`] when it never will.
    pub async fn wait(&self, ticket: Ticket) -> Result<(), CommitFailed> {
        poll_fn(|cx| self.poll_durable(cx, ticket)).await
    }

    /// Waits while too many bytes are undurable: back-pressure for whoever is about to cause a
    /// commit. Returns at once on a failed line, where the commit itself tells.
    pub async fn room(&self) {
        loop {
            if self.has_room() {
                return;
            }
            let mut again = pin!(self.room_again.notified());
            // Registered before the second look, so that no advance falls between.
            again.as_mut().enable();
            if self.has_room() {
                return;
            }
            again.await;
        }
    }

    /// Whether [`CommitLine::room`] would return at once.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.undurable_bytes() < self.room_bytes || self.failed()
    }

    /// Waits until the line has failed; for ever on a sound disk.
    pub async fn wait_failed(&self) {
        loop {
            let mut failure = pin!(self.failure.notified());
            failure.as_mut().enable();
            if self.failed() {
                return;
            }
            failure.await;
        }
    }

    /// For engines: the ticket of a commit of `bytes`. Call it under the lock that puts the
    /// commits in order.
    pub fn issue(&self, bytes: u64) -> Ticket {
        self.undurable_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ticket(self.issued.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// For engines: everything up to `ticket` is durable, `bytes` of it newly so. Does nothing
    /// on a failed line.
    pub fn advance(&self, ticket: Ticket, bytes: u64) {
        let mut waiting = self.lock_waiting();
        if self.failed() {
            return;
        }
        self.durable.fetch_max(ticket.0, Ordering::AcqRel);
        let settled = waiting.partition_point(|(other, _)| *other <= ticket);
        let later = waiting.split_off(settled);
        let ready = std::mem::replace(&mut *waiting, later);
        drop(waiting);

        let before = self.undurable_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.room_bytes {
            self.room_again.notify_waiters();
        }
        // Outside the lock: a woken task may poll the line on this very thread.
        for (_, waker) in ready {
            waker.wake();
        }
    }

    /// For engines: nothing later will become durable any more.
    pub fn fail(&self) {
        let mut waiting = self.lock_waiting();
        self.failed.store(true, Ordering::Release);
        let told = std::mem::take(&mut *waiting);
        drop(waiting);
        self.room_again.notify_waiters();
        self.failure.notify_waiters();
        for (_, waker) in told {
            waker.wake();
        }
    }

    fn settled(&self, ticket: Ticket) -> Option<Result<(), CommitFailed>> {
        if self.is_durable(ticket) {
            Some(Ok(()))
        } else if self.failed() {
            Some(Err(CommitFailed))
        } else {
            None
        }
    }

    fn lock_waiting(&self) -> MutexGuard<'_, VecDeque<(Ticket, Waker)>> {
        // Nothing inside the lock can leave the list half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn a_ticket_is_durable_with_every_earlier_one() {
        let line = CommitLine::new(100);
        let first = line.issue(1);
        let second = line.issue(1);
        let third = line.issue(1);
        assert!(line.is_durable(Ticket::DURABLE));
        assert!(!line.is_durable(first));
        line.advance(second, 2);
        assert!(line.is_durable(first) && line.is_durable(second) && !line.is_durable(third));
        assert_eq!(line.undurable_bytes(), 1);
    }

    #[test]
    fn polling_twice_leaves_one_entry() {
        let line = CommitLine::new(100);
        let ticket = line.issue(1);
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..10 {
            assert!(line.poll_durable(&mut cx, ticket).is_pending());
        }
        assert_eq!(line.lock_waiting().len(), 1);
        line.advance(ticket, 1);
        assert_eq!(line.lock_waiting().len(), 0);
        assert_eq!(line.poll_durable(&mut cx, ticket), Poll::Ready(Ok(())));
    }

    #[tokio::test]
    async fn waiters_are_woken_in_any_order_of_waiting() {
        let line = Arc::new(CommitLine::new(1000));
        let tickets: Vec<Ticket> = (0..10).map(|_| line.issue(1)).collect();
        let waits: Vec<_> = tickets
            .iter()
            .rev()
            .map(|&ticket| {
                let line = line.clone();
                tokio::spawn(async move { line.wait(ticket).await })
            })
            .collect();
        tokio::task::yield_now().await;
        line.advance(tickets[4], 5);
        line.advance(tickets[9], 5);
        for wait in waits {
            wait.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_failed_line_tells_everyone_and_stays_failed() {
        let line = Arc::new(CommitLine::new(1));
        let ticket = line.issue(5);
        let wait = tokio::spawn({
            let line = line.clone();
            async move {
                line.room().await;
                line.wait_failed().await;
                line.wait(ticket).await
            }
        });
        tokio::task::yield_now().await;
        line.fail();
        assert_eq!(wait.await.unwrap(), Err(CommitFailed));
        line.advance(ticket, 5);
        assert!(!line.is_durable(ticket));
    }

    #[tokio::test]
    async fn room_comes_back_when_bytes_become_durable() {
        let line = Arc::new(CommitLine::new(10));
        let ticket = line.issue(10);
        assert!(!line.has_room());
        let room = tokio::spawn({
            let line = line.clone();
            async move { line.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!room.is_finished());
        line.advance(ticket, 10);
        room.await.unwrap();
    }
}
