//! One timer wheel for all connections: a deadline costs a few dozen bytes instead of a timer each.
//!
//! A hashed wheel: the slot of a deadline is its tick modulo the number of slots, entries of a slot
//! form a doubly linked list inside one slab. A deadline that moves later is not touched until its
//! old one fires, so a busy connection never takes the wheel's lock.
//! Left out: precision. A deadline fires up to one tick late.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

/// How exact deadlines are. All of them are politeness bounds of a tenth of a second and more.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Slots of one turn of the wheel: 2,048 ticks are 102 seconds, so that an idle session's entry is
/// looked at a few times before it is due.
const SLOTS: u32 = 2_048;

const NONE: u32 = u32::MAX;

/// A point in time: ticks since the wheel was made. 2^32 ticks are 6.8 years of uptime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u32);

impl Tick {
    /// This point in time moved later by `duration`, rounded up to whole ticks.
    pub(crate) fn after(self, duration: Duration) -> Tick {
        let ticks = duration.as_nanos().div_ceil(TICK.as_nanos());
        Tick(
            self.0
                .saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)),
        )
    }
}

/// The wheel, shared by every connection of a gate.
#[derive(Debug)]
pub(crate) struct Wheel {
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// All ticks before this one have been fired.
    next_tick: u32,
    heads: Box<[u32]>,
    entries: Slab<Entry>,
}

#[derive(Debug)]
struct Entry {
    waker: Waker,
    due: u32,
    previous: u32,
    next: u32,
    linked: bool,
}

impl Wheel {
    pub(crate) fn new() -> Arc<Wheel> {
        Arc::new(Wheel {
            started: Instant::now(),
            inner: Mutex::new(Inner {
                next_tick: 0,
                heads: vec![NONE; SLOTS as usize].into_boxed_slice(),
                entries: Slab::new(),
            }),
        })
    }

    /// The present tick.
    pub(crate) fn now(&self) -> Tick {
        let ticks = self.started.elapsed().as_nanos() / TICK.as_nanos();
        Tick(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Microseconds since the wheel was made, for what needs a finer clock than ticks.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Turns the wheel for ever; run it as one task and abort it with the gate.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut due = Vec::new();
        loop {
            interval.tick().await;
            self.advance(self.now(), &mut due);
            due.drain(..).for_each(Waker::wake);
        }
    }

    /// Wakes every task that has a timer here, due or not: they shall look at the gate's state.
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> = self
            .lock()
            .entries
            .iter()
            .map(|(_, entry)| entry.waker.clone())
            .collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Collects the wakers of everything due at `now` or before.
    fn advance(&self, now: Tick, due: &mut Vec<Waker>) {
        let mut inner = self.lock();
        // After a long stop of the process one whole turn has every entry seen.
        let first = inner.next_tick.max(now.0.saturating_sub(SLOTS - 1));
        for tick in first..=now.0 {
            inner.fire(tick, now.0, due);
        }
        inner.next_tick = now.0.saturating_add(1).max(inner.next_tick);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn fire(&mut self, tick: u32, now: u32, due: &mut Vec<Waker>) {
        let mut key = self.heads[slot(tick)];
        while key != NONE {
            let entry = &self.entries[key as usize];
            let next = entry.next;
            if entry.due <= now {
                due.push(entry.waker.clone());
                self.unlink(key);
            }
            key = next;
        }
    }

    fn link(&mut self, key: u32, due: u32) {
        // A tick that has been fired already would wait for a whole turn.
        let due = due.max(self.next_tick);
        let head = std::mem::replace(&mut self.heads[slot(due)], key);
        if head != NONE {
            self.entries[head as usize].previous = key;
        }
        let entry = &mut self.entries[key as usize];
        entry.due = due;
        entry.previous = NONE;
        entry.next = head;
        entry.linked = true;
    }

    fn unlink(&mut self, key: u32) {
        let entry = &mut self.entries[key as usize];
        if !std::mem::take(&mut entry.linked) {
            return;
        }
        let (previous, next, due) = (entry.previous, entry.next, entry.due);
        if previous == NONE {
            self.heads[slot(due)] = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
    }
}

fn slot(tick: u32) -> usize {
    (tick % SLOTS) as usize
}

/// One connection's deadline. It belongs to the task that polls it first and stays with it.
#[derive(Debug)]
pub(crate) struct Timer {
    wheel: Arc<Wheel>,
    key: u32,
    armed: Tick,
}

impl Timer {
    pub(crate) fn new(wheel: &Arc<Wheel>) -> Timer {
        Timer {
            wheel: Arc::clone(wheel),
            key: NONE,
            armed: Tick(0),
        }
    }

    /// Ready when `deadline` has come; else the task is woken at it, or earlier for an older one.
    pub(crate) fn poll_until(&mut self, context: &mut Context<'_>, deadline: Tick) -> Poll<()> {
        let now = self.wheel.now();
        if deadline <= now {
            return Poll::Ready(());
        }
        // An entry armed in the future cannot have fired yet, and it will wake us early enough.
        if self.key == NONE || self.armed <= now || self.armed > deadline {
            self.arm(context.waker(), deadline);
        }
        Poll::Pending
    }

    fn arm(&mut self, waker: &Waker, deadline: Tick) {
        let mut inner = self.wheel.lock();
        if self.key == NONE {
            let entry = Entry {
                waker: waker.clone(),
                due: 0,
                previous: NONE,
                next: NONE,
                linked: false,
            };
            let key = inner.entries.insert(entry);
            self.key = u32::try_from(key).expect("fewer than 2^32 connections");
        } else {
            inner.unlink(self.key);
            inner.entries[self.key as usize].waker.clone_from(waker);
        }
        inner.link(self.key, deadline.0);
        self.armed = deadline;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.key != NONE {
            let mut inner = self.wheel.lock();
            inner.unlink(self.key);
            inner.entries.remove(self.key as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    fn fire(wheel: &Wheel, tick: u32) -> usize {
        let mut due = Vec::new();
        wheel.advance(Tick(tick), &mut due);
        due.len()
    }

    #[test]
    fn a_deadline_fires_at_its_tick_and_not_before() {
        let wheel = Wheel::new();
        let (_, waker) = counting();
        let mut timer = Timer::new(&wheel);
        timer.arm(&waker, Tick(10));
        assert_eq!(fire(&wheel, 9), 0);
        assert_eq!(fire(&wheel, 10), 1);
        assert_eq!(fire(&wheel, 5_000), 0);
    }

    #[test]
    fn a_deadline_several_turns_away_waits_for_its_own_turn() {
        let wheel = Wheel::new();
        let (_, waker) = counting();
        let mut timer = Timer::new(&wheel);
        let due = 3 * SLOTS + 7;
        timer.arm(&waker, Tick(due));
        for tick in 0..due {
            assert_eq!(fire(&wheel, tick), 0, "at {tick}");
        }
        assert_eq!(fire(&wheel, due), 1);
    }

    #[test]
    fn a_stopped_process_catches_up_on_everything_that_fell_due() {
        let wheel = Wheel::new();
        let (_, waker) = counting();
        let mut timers: Vec<Timer> = (0..100).map(|_| Timer::new(&wheel)).collect();
        for (timer, tick) in timers.iter_mut().zip(1..) {
            timer.arm(&waker, Tick(tick * 50));
        }
        assert_eq!(fire(&wheel, 1_000_000), 100);
    }

    #[test]
    fn dropped_and_rearmed_timers_leave_the_lists_whole() {
        let wheel = Wheel::new();
        let (_, waker) = counting();
        let mut timers: Vec<Timer> = (0..30).map(|_| Timer::new(&wheel)).collect();
        timers
            .iter_mut()
            .for_each(|timer| timer.arm(&waker, Tick(5)));
        timers.remove(29);
        timers.remove(13);
        timers.remove(0);
        timers[3].arm(&waker, Tick(6));
        assert_eq!(fire(&wheel, 5), 26);
        assert_eq!(fire(&wheel, 6), 1);
        drop(timers);
        assert!(wheel.lock().entries.is_empty());
    }

    #[test]
    fn a_later_deadline_leaves_the_armed_one_and_an_earlier_one_replaces_it() {
        let wheel = Wheel::new();
        let (_, waker) = counting();
        let mut context = Context::from_waker(&waker);
        let mut timer = Timer::new(&wheel);
        let now = wheel.now();
        let (near, far) = (
            now.after(Duration::from_secs(30)),
            now.after(Duration::from_secs(90)),
        );
        assert!(timer.poll_until(&mut context, near).is_pending());
        assert!(timer.poll_until(&mut context, far).is_pending());
        assert_eq!(timer.armed, near);
        let nearer = now.after(Duration::from_secs(10));
        assert!(timer.poll_until(&mut context, nearer).is_pending());
        assert_eq!(timer.armed, nearer);
    }

    #[test]
    fn everyone_can_be_woken_at_once_and_keeps_its_deadline() {
        let wheel = Wheel::new();
        let (count, waker) = counting();
        let mut timer = Timer::new(&wheel);
        timer.arm(&waker, Tick(10));
        wheel.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(fire(&wheel, 10), 1);
    }

    #[tokio::test]
    async fn the_running_wheel_wakes_a_waiting_task() {
        let wheel = Wheel::new();
        let turning = tokio::spawn(Arc::clone(&wheel).run());
        let mut timer = Timer::new(&wheel);
        let deadline = wheel.now().after(Duration::from_millis(120));
        std::future::poll_fn(|context| timer.poll_until(context, deadline)).await;
        assert!(wheel.now() >= deadline);
        turning.abort();
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
        assert!(size_of::<Timer>() <= 16, "{}", size_of::<Timer>());
    }
}
