//! One pair of domains: what waits to go from the one to the other, and the task that brings it there.
//!
//! A parcel is the link's until the other side has acknowledged it (XEP-0198) or, where it does not, until it is written.
//! When a connection is lost, what was not acknowledged goes to the front of the queue and is sent again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthaste_im::border::Parcel;
use posthaste_im::clock::Timestamp;
use posthaste_im::node::Node;
use posthaste_proto::error::{StanzaError, StreamCondition, StreamError};
use posthaste_proto::ns;
use posthaste_proto::stream::s2s::Pair;
use posthaste_proto::stream::sm;
use posthaste_proto::xml::Element;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Federation;
use super::dial::{self, Ready};
use crate::channel::{ChannelError, Received};
use crate::closing;
use crate::shared::{Phase, Shared};
use crate::stats::count;

/// The first pause after an attempt that failed; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long what is not stored waits: whoever asked has given up by then.
const PASSING_TIME: Duration = Duration::from_secs(60);
/// Pauses are cut so finely, since a link looks at the gate's phase only between them.
const SLICE: Duration = Duration::from_secs(1);
/// Once the gate drains, time for the last acknowledgements: what has them is not sent again after the restart.
const LAST_ACKS: Duration = Duration::from_secs(1);

/// See the module comment.
pub(super) struct Link {
    pair: Pair,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// All that is the link's: waiting, and sent without an acknowledgement.
    stanzas: usize,
    bytes: usize,
}

/// A parcel with what it costs and since when it has been on its way.
struct Waiting {
    parcel: Parcel,
    bytes: usize,
    since: Timestamp,
}

/// Why a stream ended.
enum End {
    /// Nothing was said for a long time.
    Idle,
    /// The other side closed it, or said what ends it.
    Theirs,
    /// The connection is lost.
    Lost,
    /// The gate drains.
    Draining,
}

impl Link {
    pub(super) fn new(pair: Pair) -> Link {
        Link {
            pair,
            queue: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a parcel, if there is room.
    pub(super) fn push(
        &self,
        federation: &Federation,
        shared: &Shared,
        parcel: Parcel,
    ) -> Result<(), Box<(Parcel, StanzaError)>> {
        // What a parcel costs besides its content: addresses, and its place in queue and outbox.
        const OVERHEAD: usize = 512;
        let config = &federation.config;
        let bytes = parcel.stanza.content().len() + OVERHEAD;
        let mut queue = self.queue();
        let is_full =
            queue.stanzas >= config.queue_stanzas || queue.bytes + bytes > config.queue_bytes;
        if is_full || !federation.reserve(bytes) {
            let error = StanzaError::resource_constraint()
                .with_text("too much waits for that domain already");
            return Err(Box::new((parcel, error)));
        }
        queue.stanzas += 1;
        queue.bytes += bytes;
        let since = parcel.stored_at().unwrap_or_else(|| shared.node.now());
        queue.waiting.push_back(Waiting {
            parcel,
            bytes,
            since,
        });
        drop(queue);
        count(&shared.stats.servers_queued, 1);
        self.changed.notify_one();
        Ok(())
    }

    /// What was not acknowledged waits again, in its order, before what came later.
    fn put_back(&self, mut unacked: VecDeque<Waiting>) {
        let mut queue = self.queue();
        while let Some(waiting) = unacked.pop_back() {
            queue.waiting.push_front(waiting);
        }
    }

    /// The link's life: as long as something waits, or a stream is open.
    pub(super) async fn run(self: Arc<Self>, federation: Arc<Federation>, shared: Arc<Shared>) {
        let desk = Desk {
            link: &self,
            federation: &federation,
            shared: &shared,
        };
        let mut failures = 0;
        while shared.phase() == Phase::Open {
            match Box::pin(dial::stream(&federation, &shared, &self.pair)).await {
                Ok(ready) => {
                    let before = Instant::now();
                    match Box::pin(Stream::new(&desk, *ready).run()).await {
                        End::Idle | End::Theirs => {}
                        End::Lost => tracing::debug!(domain = %self.pair.to, "a stream is lost"),
                        End::Draining => break,
                    }
                    // A server that takes us in and throws us out at once is none to try again at once.
                    failures = if before.elapsed() < FIRST_PAUSE {
                        failures + 1
                    } else {
                        0
                    };
                }
                Err(error) => match error.verdict() {
                    Some(verdict) => {
                        tracing::info!(domain = %self.pair.to, %error, "another server cannot be talked to");
                        desk.give_all_back(&verdict).await;
                    }
                    None => failures += 1,
                },
            }
            if failures > 0 {
                desk.pause(failures).await;
            }
            if self.ends(&federation) {
                break;
            }
        }
        desk.forget();
    }

    /// Nothing waits: the link is no more. Decided under the lock under which others join.
    fn ends(&self, federation: &Federation) -> bool {
        let mut links = federation.links();
        let is_empty = self.queue().waiting.is_empty();
        if is_empty {
            links.remove(&self.pair);
        }
        is_empty
    }
}

/// What a link's task works with.
struct Desk<'a> {
    link: &'a Link,
    federation: &'a Federation,
    shared: &'a Shared,
}

impl Desk<'_> {
    fn node(&self) -> &Node {
        &self.shared.node
    }

    /// A parcel is the link's no more.
    fn release(&self, waiting: &Waiting) {
        let mut queue = self.link.queue();
        queue.stanzas -= 1;
        queue.bytes -= waiting.bytes;
        drop(queue);
        self.federation.release(waiting.bytes);
        let queued = &self.shared.stats.servers_queued;
        queued.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn delivered(&self, waiting: Waiting) {
        self.release(&waiting);
        count(&self.shared.stats.servers_stanzas_out, 1);
        self.node().delivered(waiting.parcel);
    }

    async fn give_back(&self, waiting: Waiting, error: StanzaError) {
        self.release(&waiting);
        count(&self.shared.stats.servers_returned, 1);
        self.node().give_back(waiting.parcel, error).await;
    }

    async fn give_all_back(&self, error: &StanzaError) {
        loop {
            let Some(next) = self.link.queue().waiting.pop_front() else {
                return;
            };
            self.give_back(next, error.clone()).await;
        }
    }

    /// The gate is closing: what is stored sets out again after the restart.
    fn forget(&self) {
        let left = std::mem::take(&mut self.link.queue().waiting);
        left.iter().for_each(|waiting| self.release(waiting));
    }

    /// Waits before the next attempt, and gives back what has waited too long meanwhile.
    async fn pause(&self, failures: u32) {
        let longest = self.federation.config.longest_pause;
        let pause = FIRST_PAUSE
            .saturating_mul(1 << failures.min(16))
            .min(longest)
            / 2;
        let until = Instant::now() + pause + self.jitter(pause);
        loop {
            self.give_old_back().await;
            let now = Instant::now();
            if now >= until || self.shared.phase() != Phase::Open {
                return;
            }
            sleep_until(until.min(now + SLICE)).await;
        }
    }

    /// At random up to `most`, so that servers that were parted do not all come back at the same moment.
    fn jitter(&self, most: Duration) -> Duration {
        let mut bytes = [0; 2];
        self.node().entropy().fill(&mut bytes);
        most * u32::from(u16::from_ne_bytes(bytes)) / u32::from(u16::MAX)
    }

    async fn give_old_back(&self) {
        let now = self.node().now();
        let most = self.federation.config.queue_time;
        let is_old = |waiting: &Waiting| {
            let time = match waiting.parcel.stored_at() {
                Some(_) => most,
                None => most.min(PASSING_TIME),
            };
            let age = now.millis().saturating_sub(waiting.since.millis());
            u128::from(age) >= time.as_millis()
        };
        let old: VecDeque<Waiting> = {
            let mut queue = self.link.queue();
            let (old, young) = std::mem::take(&mut queue.waiting)
                .into_iter()
                .partition(is_old);
            queue.waiting = young;
            old
        };
        for waiting in old {
            self.give_back(waiting, StanzaError::remote_server_timeout())
                .await;
        }
    }
}

/// A stream of ours that takes stanzas.
struct Stream<'a> {
    desk: &'a Desk<'a>,
    ready: Ready,
    sent: sm::Sent,
    /// Written and not acknowledged, or not known to be written.
    unacked: VecDeque<Waiting>,
    /// Since when an acknowledgement has been asked for.
    asked: Option<Instant>,
    /// When a stanza was last written.
    spoken: Instant,
    /// When anything was last written.
    written: Instant,
}

impl<'a> Stream<'a> {
    fn new(desk: &'a Desk<'a>, mut ready: Ready) -> Stream<'a> {
        ready.channel.expect_stanzas();
        let now = Instant::now();
        Stream {
            desk,
            ready,
            sent: sm::Sent::new(),
            unacked: VecDeque::new(),
            asked: None,
            spoken: now,
            written: now,
        }
    }

    async fn run(mut self) -> End {
        tracing::debug!(
            from = %self.desk.link.pair.from, to = %self.desk.link.pair.to, managed = self.ready.managed,
            "a stream to another server is open"
        );
        let end = self.serve().await;
        if matches!(end, End::Draining) {
            self.last_acks().await;
        }
        let word = match end {
            End::Draining => Some(StreamError::new(StreamCondition::SystemShutdown)),
            End::Idle | End::Theirs | End::Lost => None,
        };
        let Stream {
            desk,
            ready,
            unacked,
            ..
        } = self;
        desk.link.put_back(unacked);
        if !matches!(end, End::Lost) {
            let channel = ready.channel;
            let closing = closing::close(
                &channel.shared,
                channel.transport,
                channel.outbox,
                word.as_ref(),
            );
            Box::pin(closing).await;
        }
        end
    }

    async fn serve(&mut self) -> End {
        let limits = &self.desk.shared.config.limits;
        loop {
            self.fill();
            // However long the other side is silent: writing has its own bound.
            self.ready.channel.wait_at_most(limits.write_stall);
            if let Err(error) = self.ready.channel.flush().await {
                return end_of(&error);
            }
            if !self.ready.managed {
                // All is with the kernel, and nobody will tell us more.
                for waiting in std::mem::take(&mut self.unacked) {
                    self.desk.delivered(waiting);
                }
            }
            let Some(wake) = self.next_deadline() else {
                return End::Lost;
            };
            // The deadline of reading is this loop's own.
            self.ready
                .channel
                .wait_at_most(wake.saturating_duration_since(Instant::now()) + SLICE);
            tokio::select! {
                received = self.ready.channel.receive() => match received {
                    Ok(Received::Element(bytes)) => {
                        if let Some(end) = self.element(&bytes) {
                            return end;
                        }
                    }
                    Ok(Received::Close | Received::Open(_)) => return End::Theirs,
                    Err(error) => return end_of(&error),
                },
                () = self.desk.link.changed.notified() => {}
                () = sleep_until(wake) => {
                    if self.is_idle() {
                        return End::Idle;
                    }
                    self.keep_alive();
                }
            }
        }
    }

    /// Takes from the queue what there is room for, and asks for an acknowledgement of it.
    fn fill(&mut self) {
        let channel = &mut self.ready.channel;
        let most = self.desk.shared.config.limits.outbound_bytes;
        let mut some = false;
        while channel.outbox.waiting() < most {
            let Some(next) = self.desk.link.queue().waiting.pop_front() else {
                break;
            };
            channel.send(&next.parcel.stanza.encode());
            self.sent.send();
            self.unacked.push_back(next);
            some = true;
        }
        if !some {
            return;
        }
        (self.spoken, self.written) = (Instant::now(), Instant::now());
        if self.ready.managed && self.asked.is_none() {
            self.ask();
        }
        if self.ready.channel.outbox.waiting() >= most {
            // More waits: the next turn takes it.
            self.desk.link.changed.notify_one();
        }
    }

    fn ask(&mut self) {
        let request = sm::Nonza::Request.to_element();
        self.ready.channel.send(&request.to_bytes(ns::SERVER));
        self.asked = Some(Instant::now());
    }

    /// When something has to be done although nothing happens; `None` when an acknowledgement is overdue.
    fn next_deadline(&self) -> Option<Instant> {
        let idle = self.spoken + self.desk.federation.config.idle;
        let alive = self.written + self.desk.shared.config.limits.idle_probe;
        let Some(asked) = self.asked else {
            return Some(idle.min(alive));
        };
        let overdue = asked + self.desk.federation.config.ack_timeout;
        (overdue > Instant::now()).then_some(overdue)
    }

    fn is_idle(&self) -> bool {
        self.unacked.is_empty() && self.spoken.elapsed() >= self.desk.federation.config.idle
    }

    /// RFC 6120 §4.6.1: a space shows whether the other machine is there, and keeps the way to it open.
    fn keep_alive(&mut self) {
        if self.written.elapsed() >= self.desk.shared.config.limits.idle_probe {
            self.ready.channel.outbox.ping();
            self.written = Instant::now();
        }
    }

    /// What the other side says on a stream of ours: acknowledgements, or why it ends.
    fn element(&mut self, bytes: &[u8]) -> Option<End> {
        let context = &self.ready.context;
        let Ok(element) = Element::parse_in(bytes, &self.ready.channel.limits(), context) else {
            return Some(End::Lost);
        };
        if element.is("error", ns::STREAM) {
            let error = StreamError::from_element(&element);
            tracing::debug!(domain = %self.desk.link.pair.to, condition = error.condition.as_str(), "another server ended a stream");
            return Some(End::Theirs);
        }
        if element.ns() != ns::SM || !self.ready.managed {
            // Stanzas come on its own streams; whatever else this is, we did not ask for it.
            return None;
        }
        match sm::Nonza::parse(&element) {
            Ok(sm::Nonza::Ack(h)) => self.acknowledged(h),
            Ok(sm::Nonza::Request) => {
                // It sends us no stanzas here.
                let none = sm::Nonza::Ack(0).to_element();
                self.ready.channel.send(&none.to_bytes(ns::SERVER));
                None
            }
            Ok(_) => None,
            Err(_) => Some(End::Lost),
        }
    }

    fn acknowledged(&mut self, h: u32) -> Option<End> {
        let Ok(count) = self.sent.acknowledge(h) else {
            // Whatever it counts, it is not what we sent.
            return Some(End::Lost);
        };
        for _ in 0..count {
            if let Some(waiting) = self.unacked.pop_front() {
                self.desk.delivered(waiting);
            }
        }
        self.asked = None;
        if !self.unacked.is_empty() {
            self.ask();
        }
        None
    }

    /// The gate drains and reads no more for us: what the other side has acknowledged by now, and in the next moment.
    async fn last_acks(&mut self) {
        if !self.ready.managed || self.unacked.is_empty() {
            return;
        }
        let until = Instant::now() + LAST_ACKS;
        while !self.unacked.is_empty() {
            let receiving = self.ready.channel.receive_while_draining();
            let Ok(Ok(Received::Element(bytes))) = tokio::time::timeout_at(until, receiving).await
            else {
                return;
            };
            if self.element(&bytes).is_some() {
                return;
            }
        }
    }
}

fn end_of(error: &ChannelError) -> End {
    match error {
        ChannelError::Draining => End::Draining,
        ChannelError::Lost(_)
        | ChannelError::BadInput(_)
        | ChannelError::PlainTextBeforeTls
        | ChannelError::Late => End::Lost,
    }
}
