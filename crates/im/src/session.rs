//! A session: one bound resource, and the queue of what it has still to take.
//!
//! The home's walks push into it, the connection writes out of it. It outlives its connection when stream management
//! (XEP-0198) allows resumption. What is in the log is held by id: memory holds its bytes only until they are written,
//! and not at all while the reader is slow or away (then the session *lags*, and is caught up from the log).

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use posthaste_kv::Ticket;
use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::stream::sm;
use thin_vec::ThinVec;

use crate::clock::Timestamp;
use crate::copies::{Shared, Xml};
use crate::heard::Heard;
use crate::held::Held;
use crate::log::ArchiveId;

/// Names a session on this node; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// How a log entry is shown to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it came.
    Direct,
    /// As a carbon copy of what another device received (XEP-0280 §7).
    CarbonReceived,
    /// As a carbon copy of what another device sent (XEP-0280 §8).
    CarbonSent,
}

/// What an item in a queue is, which decides what may be done with it when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is in the log.
    Logged {
        /// Its name in the log.
        id: ArchiveId,
        /// How it is shown.
        form: Form,
        /// Does the home account for its delivery?
        waits: bool,
    },
    /// It is in the log, and was asked for by a query of the archive (XEP-0313).
    Archived {
        /// Its name in the log.
        id: ArchiveId,
        /// Which query ([`State::open_query`]).
        query: u32,
        /// Does the home account for its delivery?
        waits: bool,
    },
    /// Presence, or a notice of an item of a contact's node (XEP-0163): only the newest of each sender, and of each item,
    /// counts.
    Presence {
        /// A hash of the sender's full JID, and of the item's name.
        sender: u64,
    },
    /// Presence of somebody who was in a room when the session entered it. It has asked for all of them at once, so that
    /// they stand outside of the queue's bounds, and have one of their own ([`State::push_crowd`]).
    Crowd,
    /// A message that is not stored (typing, no-store). Nobody misses it later.
    Passing,
    /// A message of a group: it is in its room's log.
    Said {
        /// Which group ([`State::said`]).
        room: u32,
        /// Its name in the room's log.
        id: ArchiveId,
    },
    /// An IQ: its sender is told when it cannot be delivered.
    Iq,
}

/// A log entry that a session has taken, or has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its name in the log.
    pub id: ArchiveId,
    /// Does the home account for its delivery? If not, only the session's device does.
    pub waits: bool,
}

impl What {
    /// Where its bytes can be read again.
    pub fn log_id(self) -> Option<ArchiveId> {
        self.taken().map(|taken| taken.id)
    }

    /// What the home is to know of when a session has taken it, or gives it up.
    pub fn taken(self) -> Option<Taken> {
        match self {
            What::Logged { id, waits, .. } | What::Archived { id, waits, .. } => {
                Some(Taken { id, waits })
            }
            What::Presence { .. } | What::Crowd | What::Passing | What::Said { .. } | What::Iq => {
                None
            }
        }
    }
}

/// One stanza on its way to a session.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub what: What,
    /// Its bytes; `None` when they must be read from the log first.
    pub xml: Option<Xml>,
    /// May it be held back while the client is inactive (XEP-0352)?
    pub hold: bool,
}

impl Item {
    fn query(&self) -> Option<u32> {
        match self.what {
            What::Archived { query, .. } => Some(query),
            _ => None,
        }
    }

    /// The bytes that it holds of what a queue may.
    fn counted_bytes(&self) -> usize {
        match (&self.what, &self.xml) {
            (What::Crowd, _) | (_, None) => 0,
            (_, Some(xml)) => xml.len(),
        }
    }
}

/// What became of an item that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the queue.
    Queued,
    /// The session lags; it will find it in the log.
    Lagging,
    /// There is no room and no log to fall back on.
    Refused,
    /// It tells of a moment (typing) and there is nobody to see it.
    Moot,
}

/// Bounds of a session's queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Bytes of stanzas held in memory for one session.
    pub bytes: usize,
    /// Items (written and not acknowledged, or not written yet). They cost about 64 bytes each.
    pub items: usize,
}

/// The part of a queue's bytes that may be held back for an inactive client (XEP-0352).
const HELD_PART: usize = 4;
/// An acknowledgement is asked for after so many stanzas even when the queue does not run empty.
const ACK_EVERY: usize = 64;

/// Where a session stands that does not have everything in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Entries up to here have been looked at.
    pub at: ArchiveId,
    /// Entries beyond this one are this session's in any case; older ones only if nobody else took them.
    pub all_after: ArchiveId,
    /// Where it began: whoever reaches the end has taken all that waited since.
    pub since: ArchiveId,
}

/// One bound resource.
#[derive(Debug)]
pub struct Session {
    /// Its full JID.
    pub jid: FullJid,
    /// Its name on this node.
    pub id: SessionId,
    /// The right to handle the next stanza from the client: keeps a stale connection from overtaking a resumed one.
    pub turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

impl Session {
    /// A new session with a connection.
    pub fn new(jid: FullJid, id: SessionId) -> Session {
        Session {
            jid,
            id,
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new(State::default()),
        }
    }

    /// The queue and counters. Held for a few instructions, never across a wait.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held cannot leave it half changed in a way that matters more than going on does.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a session that its home and its connection share.
#[derive(Debug, Default)]
pub struct State {
    /// Which connection owns the session: grows with each resumption.
    pub epoch: u32,
    /// Is there a connection? If not, since when.
    pub detached_at: Option<Timestamp>,
    /// Set when the connection must go away.
    pub closing: Option<Box<StreamError>>,
    /// Set when the session has ended and nothing may be pushed any more.
    pub ended: bool,
    /// Woken when there is something to write.
    pub waker: Option<Waker>,
    /// Stream management, when enabled.
    pub sm: Option<Box<StreamManagement>>,
    /// Stanzas from the client whose effects are not durable yet: (count of handled stanzas, ticket), both ascending.
    undurable: VecDeque<(u32, Ticket)>,
    /// Stanzas handled from the client.
    handled: sm::Handled,
    /// Of these, the leading ones whose effects are durable.
    durable: u32,
    /// The queue. With stream management the first [`State::unacked`] items have been written.
    items: VecDeque<Item>,
    held_bytes: usize,
    /// How many of the items are [`What::Crowd`].
    crowd: usize,
    /// Is the client inactive (XEP-0352), and what is held back for it?
    inactive: bool,
    held: Held,
    lag: Option<Lag>,
    /// Log ids that were written on a stream without acknowledgements: as delivered as it gets.
    written_unmanaged: ThinVec<Taken>,
    /// Queries of the archive whose results are in the queue.
    queries: Option<Box<Queries>>,
    /// What was taken of groups.
    heard: Option<Box<Heard>>,
}

/// Queries of the archive: their numbers, and the names that their results repeat.
#[derive(Debug, Default)]
struct Queries {
    last: u32,
    open: Vec<(u32, Option<Arc<str>>)>,
    /// Other archives, by a hash of their address, of whose answers something found no room.
    lost: Vec<u64>,
}

/// Archives of which is remembered that something was lost: a client asks fewer at a time. Beyond it the oldest answer,
/// whose end never came, is forgotten.
const MAX_LOST: usize = 64;

/// The state of stream management (XEP-0198) on a session.
#[derive(Debug, Default)]
pub struct StreamManagement {
    /// The resumption id, when resumption was asked for.
    pub id: Option<Box<str>>,
    /// How long the session is kept without a connection, in milliseconds.
    pub resume_millis: u64,
    /// Counts what has been written and what the client has confirmed of it.
    pub sent: sm::Sent,
    /// Is a `<r/>` of ours unanswered?
    pub asked: bool,
    /// Has something been written since the last one that is not a copy of what many get ([`crate::copies`])? Those come
    /// by the dozen, and are asked for together.
    pub wrote_own: bool,
    /// What has been written of copies is to be asked for in about a second ([`State::asks_later`]).
    pub later: Later,
}

/// Whether copies that have been written are to be acknowledged by and by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Later {
    /// There are none, or they have been asked for.
    #[default]
    No,
    /// In the next round of housekeeping.
    Soon,
    /// The round has come.
    Now,
}

impl State {
    // ---- what comes from the client ----

    /// A stanza from the client was handled; its effects are durable with `ticket`.
    pub fn count_handled(&mut self, ticket: Ticket) {
        self.handled.add(1);
        let count = self.handled.h();
        match self.undurable.back_mut() {
            Some(last) if last.1 >= ticket => last.0 = count,
            _ => self.undurable.push_back((count, ticket)),
        }
    }

    /// How many stanzas may be acknowledged, given what is durable.
    pub fn durable_count(&mut self, is_durable: impl Fn(Ticket) -> bool) -> u32 {
        while let Some((count, ticket)) = self.undurable.front().copied() {
            if !is_durable(ticket) {
                break;
            }
            self.durable = count;
            self.undurable.pop_front();
        }
        if self.undurable.is_empty() {
            self.undurable = VecDeque::new();
        }
        self.durable
    }

    /// The ticket after which everything handled so far may be acknowledged.
    pub fn last_ticket(&self) -> Ticket {
        self.undurable
            .back()
            .map_or(Ticket::DURABLE, |(_, ticket)| *ticket)
    }

    /// All stanzas handled, durable or not.
    pub fn handled(&self) -> u32 {
        self.handled.h()
    }

    /// Puts the counter where a stored session left it, or to 0 when stream management is enabled (XEP-0198 §4).
    pub fn set_handled(&mut self, handled: u32) {
        self.handled = sm::Handled::restore(handled);
        self.durable = handled;
        self.undurable.clear();
    }

    /// How many log entries wait for their acknowledgement to become possible.
    pub fn undurable_len(&self) -> usize {
        self.undurable.len()
    }

    // ---- what goes to the client ----

    /// Puts a stanza into the queue, if there is room.
    pub fn push(&mut self, item: Item, limits: QueueLimits) -> Pushed {
        let pushed = self.push_asleep(item, limits);
        self.wake();
        pushed
    }

    /// As [`State::push`]; the connection is to be woken a moment later, when there may be more for it.
    pub fn push_asleep(&mut self, item: Item, limits: QueueLimits) -> Pushed {
        if self.ended {
            return Pushed::Refused;
        }
        if self.detached_at.is_some() && item.hold && item.what == What::Passing {
            return Pushed::Moot;
        }
        let item = if self.inactive {
            match self.held.hold(item, limits.bytes / HELD_PART) {
                Ok(()) => return Pushed::Queued,
                Err(item) => item,
            }
        } else {
            item
        };
        self.release_held(limits);
        self.enqueue(item, limits)
    }

    fn enqueue(&mut self, mut item: Item, limits: QueueLimits) -> Pushed {
        let bytes = item.xml.as_ref().map_or(0, Xml::len);
        // One stanza always fits, or a long answer would never come; its length is bounded by what may be stored.
        let is_crowded = self.held_bytes > 0 && self.held_bytes + bytes > limits.bytes;
        let full = self.counted_items() >= limits.items || is_crowded;
        match item.what {
            What::Logged { .. } if self.lag.is_some() => return Pushed::Lagging,
            What::Logged { id, .. } if full => {
                let before = ArchiveId(id.0 - 1);
                self.lag = Some(Lag {
                    at: before,
                    all_after: before,
                    since: before,
                });
                return Pushed::Lagging;
            }
            What::Archived { .. } if full => return Pushed::Refused,
            What::Logged { .. } | What::Archived { .. } => {
                if self.detached_at.is_some() {
                    item.xml = None;
                }
            }
            // Only when there is no room or nobody reads: who reads as fast as others write sees every step.
            What::Presence { .. } if full || self.detached_at.is_some() => {
                if !self.drop_unwritten(item.what) && full {
                    return Pushed::Refused;
                }
            }
            What::Presence { .. } => {}
            What::Said { room, id } if full => {
                self.heard.get_or_insert_default().missed(room, id);
                return Pushed::Refused;
            }
            What::Passing | What::Iq if full => return Pushed::Refused,
            What::Crowd | What::Passing | What::Said { .. } | What::Iq => {}
        }
        self.held_bytes += item.counted_bytes();
        self.items.push_back(item);
        Pushed::Queued
    }

    /// Items that count against the queue's bound.
    fn counted_items(&self) -> usize {
        self.items.len() - self.crowd
    }

    /// The session has entered a room: who is there. Their bytes are the room's. At most `most` of them are in the queue
    /// at a time; answers whether there was room.
    pub fn push_crowd(&mut self, crowd: &[Arc<Shared>], most: usize, limits: QueueLimits) -> bool {
        if self.ended || self.crowd + crowd.len() > most {
            return false;
        }
        self.release_held(limits);
        self.crowd += crowd.len();
        self.items.extend(crowd.iter().map(|shared| Item {
            what: What::Crowd,
            xml: Some(Xml::Shared(shared.clone())),
            hold: false,
        }));
        self.wake();
        true
    }

    /// An item has left the queue.
    fn let_go(&mut self, item: &Item) {
        self.held_bytes -= item.counted_bytes();
        self.crowd -= usize::from(item.what == What::Crowd);
    }

    /// Takes an older presence of the same sender out of the queue, unless it was written already.
    fn drop_unwritten(&mut self, what: What) -> bool {
        let unacked = self.unacked();
        let waiting = self.items.iter().skip(unacked);
        let Some(place) = waiting.into_iter().position(|old| old.what == what) else {
            return false;
        };
        if let Some(old) = self.items.remove(unacked + place) {
            self.let_go(&old);
        }
        true
    }

    fn release_held(&mut self, limits: QueueLimits) {
        for item in self.held.release() {
            // What does not fit now is presence or typing that the client asked not to be bothered with.
            let _ = self.enqueue(item, limits);
        }
    }

    /// XEP-0352: the client became inactive or active.
    pub fn set_inactive(&mut self, inactive: bool, limits: QueueLimits) {
        self.inactive = inactive;
        if !inactive {
            self.release_held(limits);
            self.wake();
        }
    }

    /// Is the client inactive (XEP-0352)?
    pub fn is_inactive(&self) -> bool {
        self.inactive
    }

    /// Wakes the connection, if one waits.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// How many items have been written and not acknowledged.
    pub fn unacked(&self) -> usize {
        self.sm.as_ref().map_or(0, |sm| sm.sent.unacked() as usize)
    }

    /// The next item to write, if its bytes are here.
    pub fn next_to_write(&self) -> Next {
        match self.items.get(self.unacked()) {
            None => Next::Nothing,
            Some(Item { xml: None, .. }) => Next::Load,
            Some(Item { xml: Some(xml), .. }) => Next::Write(xml.clone()),
        }
    }

    /// The item that [`State::next_to_write`] showed has been written.
    pub fn wrote(&mut self) {
        let unacked = self.unacked();
        match &mut self.sm {
            Some(sm) => {
                sm.sent.send();
                let written = self.items.get(unacked);
                let is_copy = written.is_some_and(|it| matches!(it.xml, Some(Xml::Shared(_))));
                sm.wrote_own |= !is_copy;
                if let Some(item) = self.items.get_mut(unacked)
                    && item.what.log_id().is_some()
                    && let Some(xml) = item.xml.take()
                {
                    self.held_bytes -= xml.len();
                }
            }
            None => {
                let Some(item) = self.items.pop_front() else {
                    return;
                };
                self.let_go(&item);
                self.written_unmanaged.extend(item.what.taken());
                self.note_heard(item.what);
                self.shrink();
            }
        }
    }

    /// Should a `<r/>` follow what has just been written?
    pub fn wants_ack(&mut self) -> bool {
        let drained = self.items.len() == self.unacked();
        let Some(sm) = &mut self.sm else { return false };
        let unacked = sm.sent.unacked() as usize;
        let is_due = sm.wrote_own || sm.later == Later::Now;
        let wants = !sm.asked && unacked > 0 && ((drained && is_due) || unacked >= ACK_EVERY);
        if wants {
            sm.asked = true;
            sm.wrote_own = false;
            if sm.later == Later::Now {
                sm.later = Later::No;
            }
        }
        wants
    }

    /// Have copies been written that nobody has asked to be acknowledged? Answered once: the caller sees to it that
    /// [`State::ask_now`] is called in a while.
    pub fn asks_later(&mut self) -> bool {
        let Some(sm) = &mut self.sm else { return false };
        let waits = !sm.asked && sm.later == Later::No && sm.sent.unacked() > 0;
        if waits {
            sm.later = Later::Soon;
        }
        waits
    }

    /// A while has passed since [`State::asks_later`].
    pub fn ask_now(&mut self) {
        let Some(sm) = &mut self.sm else { return };
        let is_open = sm.sent.unacked() > 0 && !sm.asked;
        sm.later = if is_open { Later::Now } else { Later::No };
        if is_open {
            self.wake();
        }
    }

    /// The client acknowledged all stanzas up to `h`. Answers what has been delivered by that.
    pub fn acked(&mut self, h: u32) -> Result<Vec<Taken>, StreamError> {
        let Some(sm) = &mut self.sm else {
            return Ok(Vec::new());
        };
        sm.asked = false;
        let count = sm.sent.acknowledge(h)? as usize;
        let mut delivered = Vec::new();
        for _ in 0..count.min(self.items.len()) {
            let Some(item) = self.items.pop_front() else {
                break;
            };
            self.let_go(&item);
            delivered.extend(item.what.taken());
            self.note_heard(item.what);
        }
        self.shrink();
        Ok(delivered)
    }

    /// An idle session keeps no buffers.
    fn shrink(&mut self) {
        if self.items.is_empty() && self.items.capacity() > 0 {
            self.items = VecDeque::new();
            // The end of an answer may come after everything else was written.
            self.queries.take_if(|queries| queries.lost.is_empty());
        }
    }

    /// A message of a group, on its way to this session.
    pub fn said(&mut self, room: &BareJid, id: ArchiveId) -> What {
        match self.heard.get_or_insert_default().number(room) {
            Some(room) => What::Said { room, id },
            None => What::Passing,
        }
    }

    /// The client enters a room.
    pub fn entered(&mut self, room: &BareJid) {
        if let Some(heard) = &mut self.heard {
            heard.entered(room);
        }
    }

    fn note_heard(&mut self, what: What) {
        if let (What::Said { room, id }, Some(heard)) = (what, &mut self.heard) {
            heard.took(room, id);
        }
    }

    /// What was taken of groups since the last call.
    pub fn take_heard(&mut self) -> Vec<(BareJid, ArchiveId)> {
        let heard = self.heard.as_mut().filter(|heard| heard.has_news());
        heard.map_or_else(Vec::new, |heard| heard.take_news())
    }

    /// Results of a query of the archive will come into the queue; they repeat its name. Answers its number.
    pub fn open_query(&mut self, name: Option<&str>) -> u32 {
        let used: HashSet<u32> = self.items.iter().filter_map(Item::query).collect();
        let queries = self.queries.get_or_insert_default();
        queries.open.retain(|(number, _)| used.contains(number));
        queries.last = queries.last.wrapping_add(1);
        queries.open.push((queries.last, name.map(Arc::from)));
        queries.last
    }

    /// The number of a query with this name: results that were stored with their session come one by one.
    pub fn query_named(&mut self, name: Option<&str>) -> u32 {
        let open = self.queries.iter().flat_map(|queries| &queries.open);
        let known = open.filter(|(_, known)| known.as_deref() == name);
        match known.map(|(number, _)| *number).next() {
            Some(number) => number,
            None => self.open_query(name),
        }
    }

    /// The name of a query, if it has one.
    pub fn query_name(&self, query: u32) -> Option<Arc<str>> {
        let open = &self.queries.as_ref()?.open;
        let (_, name) = open.iter().find(|(number, _)| *number == query)?;
        name.clone()
    }

    /// A result from this archive, which is not the account's own, found no room.
    pub fn lose_result(&mut self, archive: u64) {
        let lost = &mut self.queries.get_or_insert_default().lost;
        if lost.contains(&archive) {
            return;
        }
        if lost.len() >= MAX_LOST {
            lost.remove(0);
        }
        lost.push(archive);
    }

    /// Was a result from this archive lost, since this was asked last?
    pub fn take_lost_result(&mut self, archive: u64) -> bool {
        let Some(queries) = &mut self.queries else {
            return false;
        };
        let before = queries.lost.len();
        queries.lost.retain(|lost| *lost != archive);
        queries.lost.len() < before
    }

    /// From now on the home accounts for the delivery of this entry, if it is in the queue. Answers whether it is.
    pub fn has_for_all(&mut self, id: ArchiveId) -> bool {
        for item in &mut self.items {
            if let What::Logged { id: of, waits, .. } | What::Archived { id: of, waits, .. } =
                &mut item.what
                && *of == id
                && !*waits
            {
                *waits = true;
                return true;
            }
        }
        false
    }

    /// What was written on an unmanaged stream since the last call.
    pub fn take_written_unmanaged(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.written_unmanaged).into()
    }

    /// Is there something that only [`crate::catch_up`] can do?
    pub fn needs_work(&self, limits: QueueLimits) -> bool {
        !self.written_unmanaged.is_empty()
            || self.heard.as_ref().is_some_and(|heard| heard.has_news())
            || matches!(self.next_to_write(), Next::Load)
            || (self.lag.is_some()
                && self.items.len() == self.unacked()
                && self.counted_items() < limits.items)
    }

    /// Items whose bytes must be read from the log, at most `most`.
    pub fn to_load(&self, most: usize) -> Vec<What> {
        let waiting = self.items.iter().skip(self.unacked());
        waiting
            .filter(|item| item.xml.is_none())
            .map(|item| item.what)
            .take(most)
            .collect()
    }

    /// Gives a queued log entry its bytes back. The entry may have left the queue meanwhile.
    pub fn loaded(&mut self, what: What, xml: &Bytes) {
        let unacked = self.unacked();
        for item in self.items.iter_mut().skip(unacked) {
            if item.what == what && item.xml.is_none() {
                self.held_bytes += xml.len();
                item.xml = Some(xml.clone().into());
                return;
            }
        }
    }

    /// A queued log entry is gone from the log (retention, retraction): it leaves the queue too. With stream
    /// management only unwritten items are ever looked for, so the counters stay true.
    pub fn vanished(&mut self, what: What) {
        let unacked = self.unacked();
        let mut places = self.items.iter().enumerate().skip(unacked);
        let place = places.find_map(|(place, item)| (item.what == what).then_some(place));
        if let Some(place) = place {
            self.items.remove(place);
        }
    }

    /// Where the session stands in the log, if it lags.
    pub fn lag(&self) -> Option<Lag> {
        self.lag
    }

    /// Sets or ends the lag.
    pub fn set_lag(&mut self, lag: Option<Lag>) {
        self.lag = lag;
    }

    /// Room in the queue, in items and bytes.
    pub fn room(&self, limits: QueueLimits) -> (usize, usize) {
        (
            limits.items.saturating_sub(self.counted_items()),
            limits.bytes.saturating_sub(self.held_bytes),
        )
    }

    /// Room for the many stanzas of one answer: what is held back for an inactive client comes into the queue before them,
    /// and the IQ after them.
    pub fn room_for_answer(&self, limits: QueueLimits) -> (usize, usize) {
        let (items, bytes) = self.room(limits);
        let held = self.held.iter().count() + 1;
        (
            items.saturating_sub(held),
            bytes.saturating_sub(self.held.bytes()) / 2,
        )
    }

    /// Adds what catching up found. Not refused: the caller asked for [`State::room`] first.
    pub fn push_caught_up(&mut self, item: Item) {
        self.held_bytes += item.xml.as_ref().map_or(0, Xml::len);
        self.items.push_back(item);
    }

    /// The connection is gone but the session stays: nothing that is in the log stays in memory.
    pub fn detach(&mut self, now: Timestamp) {
        self.detached_at = Some(now);
        self.waker = None;
        self.held.keep_presence();
        for item in &mut self.items {
            if let (Some(_), Some(xml)) = (item.what.log_id(), &item.xml) {
                self.held_bytes -= xml.len();
                item.xml = None;
            }
        }
        self.items.shrink_to_fit();
    }

    /// Whoever holds the session's id cannot resume it any more.
    pub fn forbid_resumption(&mut self) {
        if let Some(sm) = &mut self.sm {
            sm.id = None;
            sm.resume_millis = 0;
        }
    }

    /// How long the session waits for a new connection. One that was closed to make room for another does not wait.
    pub fn resume_millis(&self) -> u64 {
        let replaced = self
            .closing
            .as_ref()
            .is_some_and(|error| error.condition == StreamCondition::Conflict);
        let sm = self.sm.as_ref().filter(|_| !replaced);
        sm.map_or(0, |sm| sm.resume_millis)
    }

    /// Has it waited long enough? A session that was resumed meanwhile has not.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let deadline = |since: Timestamp| since.plus_millis(self.resume_millis());
        self.detached_at.is_some_and(|since| deadline(since) <= now)
    }

    /// A new connection takes over; what was not acknowledged will be written again. Answers its epoch.
    pub fn attach(&mut self, limits: QueueLimits) -> u32 {
        self.epoch += 1;
        self.detached_at = None;
        self.closing = None;
        // XEP-0352 §5.2: a resumed stream starts active.
        self.inactive = false;
        self.release_held(limits);
        self.wake();
        if let Some(sm) = &mut self.sm {
            // What was written and not acknowledged will be written, and counted, again.
            sm.sent = sm::Sent::restore(sm.sent.acked(), sm.sent.acked());
            sm.asked = false;
            sm.wrote_own = true;
        }
        self.epoch
    }

    /// Asks the connection to close with an error.
    pub fn close(&mut self, error: StreamError) {
        self.closing.get_or_insert(Box::new(error));
        self.wake();
    }

    /// The session ends: gives up everything that was not taken.
    pub fn end(&mut self) -> (Vec<Item>, Option<Lag>) {
        self.ended = true;
        self.held.release();
        (self.held_bytes, self.crowd) = (0, 0);
        let items = std::mem::take(&mut self.items).into();
        (items, self.lag.take())
    }

    /// Is there a message that the client has not confirmed?
    pub fn has_open_messages(&self) -> bool {
        let is_received = |item: &Item| match item.what {
            What::Logged { form, .. } => form != Form::CarbonSent,
            What::Said { .. } => true,
            What::Archived { .. }
            | What::Presence { .. }
            | What::Crowd
            | What::Passing
            | What::Iq => false,
        };
        self.lag.is_some() || self.items.iter().any(is_received)
    }

    /// The items of the queue and what is held back, for storing the session.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().chain(self.held.iter())
    }

    /// Queue length in items and bytes, for queue health.
    pub fn queue_len(&self) -> (usize, usize) {
        (self.items.len(), self.held_bytes + self.held.bytes())
    }
}

/// What to do next for the writer.
#[derive(Clone, Debug)]
pub enum Next {
    /// The queue is empty.
    Nothing,
    /// The bytes must come from the log first.
    Load,
    /// Write these bytes, then call [`State::wrote`].
    Write(Xml),
}
