//! The log of a home: one append-only, ordered record of its messages.
//!
//! Offline delivery is a cursor in it and the archive is its history; nothing is stored twice. This file holds the
//! pure part: ids, entries, and [`Delivery`], the account of what has been delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};

/// Names one entry of a home's log: 48 bits of milliseconds and a counter of 16 bits.
///
/// Ids of a home only grow, also when the clock goes back. `<stanza-id/>` shows them (XEP-0359).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ArchiveId(pub u64);

impl ArchiveId {
    /// The id for an entry made at `now`, after `last`.
    #[must_use]
    pub fn after(last: ArchiveId, now: Timestamp) -> ArchiveId {
        ArchiveId((last.0 + 1).max(now.millis() << 16))
    }

    /// When the entry was made.
    pub fn timestamp(self) -> Timestamp {
        Timestamp(self.0 >> 16)
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<ArchiveId> {
        if text.len() != 16 {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(ArchiveId)
    }

    /// The first id that can follow this one.
    #[must_use]
    pub fn next(self) -> ArchiveId {
        ArchiveId(self.0.saturating_add(1))
    }

    fn before(self) -> ArchiveId {
        ArchiveId(self.0.saturating_sub(1))
    }
}

/// Sixteen hexadecimal digits: they sort as the ids do.
impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One message in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Did the home's owner send it?
    pub outgoing: bool,
    /// Does it wait for its recipient (XEP-0160)?
    pub offline: bool,
    /// Does it stay as history when it has been delivered?
    pub archive: bool,
    /// May other devices get a copy (XEP-0280)?
    pub carbon: bool,
    /// The whole stanza, as it was (or will be) delivered: with `from`, and with its `<stanza-id/>`.
    pub stanza: Bytes,
}

const ENTRY_VERSION: u8 = 1;
const OUTGOING: u8 = 1;
const OFFLINE: u8 = 2;
const ARCHIVE: u8 = 4;
const CARBON: u8 = 8;

impl Entry {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(ENTRY_VERSION, self.stanza.len() + 1);
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        writer.u8(flag(self.outgoing, OUTGOING)
            | flag(self.offline, OFFLINE)
            | flag(self.archive, ARCHIVE)
            | flag(self.carbon, CARBON));
        writer.rest(&self.stanza);
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: Bytes) -> Result<Entry, Corrupt> {
        let (_, mut reader) = Reader::open("log entry", value, ENTRY_VERSION)?;
        let flags = reader.u8()?;
        Ok(Entry {
            outgoing: flags & OUTGOING != 0,
            offline: flags & OFFLINE != 0,
            archive: flags & ARCHIVE != 0,
            carbon: flags & CARBON != 0,
            stanza: reader.rest(),
        })
    }
}

/// How many ids a stored cursor names one by one. Beyond it a crash may bring repeats, which their stanza ids show.
pub const MAX_ACKED_AHEAD: u32 = 1024;

/// What is stored of the delivery account of a home.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The newest id ever given out: ids never come twice, even when the entries are gone.
    pub last: ArchiveId,
    /// All that waited up to here has been delivered.
    pub upto: ArchiveId,
    /// What has been delivered beyond `upto`, at most [`MAX_ACKED_AHEAD`].
    pub acked: Vec<ArchiveId>,
}

const CURSOR_VERSION: u8 = 1;

impl Cursor {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(CURSOR_VERSION, 24 + 8 * self.acked.len());
        writer.u64(self.last.0).u64(self.upto.0);
        writer.u32(u32::try_from(self.acked.len()).unwrap_or(u32::MAX));
        for id in &self.acked {
            writer.u64(id.0);
        }
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: Bytes) -> Result<Cursor, Corrupt> {
        let (_, mut reader) = Reader::open("cursor", value, CURSOR_VERSION)?;
        let (last, upto) = (ArchiveId(reader.u64()?), ArchiveId(reader.u64()?));
        let count = reader.count(MAX_ACKED_AHEAD)?;
        let acked = (0..count)
            .map(|_| reader.u64().map(ArchiveId))
            .collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Cursor { last, upto, acked })
    }
}

/// What becomes of a new entry in the account of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the queue of the device's session.
    Given,
    /// It is not for this device.
    Passed,
    /// The device finds it in the log later.
    Waits,
}

/// The account of what has been delivered of a home's waiting entries: one for the home as a whole, and one for each of
/// its devices ([`crate::devices`]).
///
/// An entry that waits is *in flight* while some session has it in its queue, *acked* once a session took it, and
/// otherwise lies behind `waiting_after`. The cursor is the point up to which nothing is in flight or waiting.
#[derive(Debug, Default)]
pub struct Delivery {
    last: ArchiveId,
    upto: ArchiveId,
    in_flight: BTreeMap<ArchiveId, u16>,
    acked: BTreeSet<ArchiveId>,
    waiting_after: Option<ArchiveId>,
    /// What devices took for themselves of what a drainer is still to take.
    beside: BTreeSet<ArchiveId>,
    /// Has anything changed that a stored cursor should say?
    dirty: bool,
}

impl Delivery {
    /// The account after a load: whatever lies beyond the cursor waits.
    pub fn restore(cursor: Cursor, last_in_log: ArchiveId) -> Delivery {
        let last = cursor.last.max(last_in_log).max(cursor.upto);
        Delivery {
            last,
            upto: cursor.upto,
            waiting_after: (last > cursor.upto).then_some(cursor.upto),
            acked: cursor.acked.into_iter().collect(),
            in_flight: BTreeMap::new(),
            beside: BTreeSet::new(),
            dirty: false,
        }
    }

    /// The newest id of this log.
    pub fn last(&self) -> ArchiveId {
        self.last
    }

    /// Gives out the next id.
    pub fn next_id(&mut self, now: Timestamp) -> ArchiveId {
        self.last = ArchiveId::after(self.last, now);
        self.last
    }

    /// An entry that waits was appended, and so many sessions have it in their queues.
    pub fn appended(&mut self, id: ArchiveId, sessions: usize) {
        if sessions == 0 {
            self.waiting_after.get_or_insert(id.before());
        } else {
            self.flying(id, sessions);
        }
        self.dirty = true;
    }

    /// In the account of a device: an entry was appended to the home's log. Only what a stored cursor should say makes
    /// the account dirty, so that an absent device costs no writes.
    pub fn met(&mut self, id: ArchiveId, fate: Fate) {
        self.last = self.last.max(id);
        match fate {
            Fate::Given => self.flying(id, 1),
            Fate::Waits => {
                self.waiting_after.get_or_insert(id.before());
            }
            Fate::Passed => {
                self.acked.insert(id);
                self.advance();
                self.forget_surplus();
                self.dirty = true;
            }
        }
    }

    /// In the account of a device, whose session reads the log in order: everything after `from` and up to `to` has been
    /// looked at, and what is for the device is in flight. Without this the cursor of a device that was away for long
    /// would stand still until it has caught up.
    pub fn looked_through(&mut self, from: ArchiveId, to: ArchiveId) {
        if self
            .waiting_after
            .is_some_and(|after| from <= after && after < to)
        {
            self.waiting_after = Some(to);
            self.advance();
        }
    }

    /// A device whose session takes what is new but never what waits (it says that it is not available) must not make its
    /// account grow: what is forgotten is repeated when it does, recognisably.
    pub fn forget_surplus(&mut self) {
        while self.acked.len() > MAX_ACKED_AHEAD as usize {
            self.acked.pop_last();
        }
    }

    /// Is it in some session's queue?
    pub fn is_flying(&self, id: ArchiveId) -> bool {
        self.in_flight.contains_key(&id)
    }

    /// So many more sessions took a waiting entry into their queues.
    pub fn flying(&mut self, id: ArchiveId, sessions: usize) {
        let count = u16::try_from(sessions).unwrap_or(u16::MAX);
        let flying = self.in_flight.entry(id).or_default();
        *flying = flying.saturating_add(count);
        // The drainer has it now: what a device took beside it counts.
        if self.beside.remove(&id) {
            self.acked(id);
        }
    }

    /// A session took this entry: it has been delivered. Answers whether that was news.
    pub fn acked(&mut self, id: ArchiveId) -> bool {
        let was_flying = self.in_flight.remove(&id).is_some();
        if id <= self.upto || self.acked.contains(&id) {
            return false;
        }
        if was_flying || self.waiting_after.is_some_and(|after| id > after) {
            self.acked.insert(id);
        }
        self.advance();
        self.dirty = true;
        was_flying
    }

    /// A device took this entry for itself, while another session is taking all that waits for anybody: that one is to
    /// have it too, but nobody else if it goes.
    pub fn acked_beside(&mut self, id: ArchiveId) {
        if self.is_flying(id) {
            self.acked(id);
        } else if self.is_waiting(id) && self.beside.len() < MAX_ACKED_AHEAD as usize {
            self.beside.insert(id);
            self.dirty = true;
        }
    }

    /// The session that was taking what waits is gone, or has all of it.
    pub fn drainer_left(&mut self) {
        for id in std::mem::take(&mut self.beside) {
            self.acked(id);
        }
    }

    /// A session that had this entry in its queue is gone without having taken it.
    pub fn handed_back(&mut self, id: ArchiveId) {
        let Some(count) = self.in_flight.get_mut(&id) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.in_flight.remove(&id);
            self.wait_after(id.before());
        }
    }

    /// Whatever lies beyond `after`, and is neither in flight nor acked, waits.
    pub fn wait_after(&mut self, after: ArchiveId) {
        // A session that was too slow may have been overtaken by another one that took everything.
        let after = after.max(self.upto);
        self.waiting_after = Some(self.waiting_after.map_or(after, |old| old.min(after)));
    }

    /// Where waiting entries start, for a session that comes to take them: it is responsible for them from now on
    /// (and says so by [`Delivery::flying`], or gives the rest back by [`Delivery::wait_after`]).
    pub fn waiting_after(&self) -> Option<ArchiveId> {
        self.waiting_after
    }

    /// All that waited is in some queue now.
    pub fn nothing_waits(&mut self) {
        self.drainer_left();
        self.waiting_after = None;
        self.advance();
    }

    /// Does this entry wait for somebody to take it: neither delivered nor in flight?
    pub fn is_waiting(&self, id: ArchiveId) -> bool {
        self.waiting_after.is_some_and(|after| id > after)
            && !self.acked.contains(&id)
            && !self.in_flight.contains_key(&id)
    }

    /// The age of the oldest entry that nobody has taken, for queue health.
    pub fn oldest_undelivered(&self) -> Option<ArchiveId> {
        let waiting = self.waiting_after.map(|after| ArchiveId(after.0 + 1));
        [self.in_flight.keys().next().copied(), waiting]
            .into_iter()
            .flatten()
            .min()
    }

    /// The point up to which nothing is in flight or waits. The cursor follows when there is another reason to store it.
    pub fn settled_upto(&self) -> ArchiveId {
        let flying = self.in_flight.keys().next().map(|first| first.before());
        let first = [flying, self.waiting_after].into_iter().flatten().min();
        first.unwrap_or(self.last).max(self.upto)
    }

    fn advance(&mut self) {
        let upto = self.settled_upto();
        if upto > self.upto {
            self.upto = upto;
            self.acked = self.acked.split_off(&ArchiveId(upto.0 + 1));
            self.dirty = true;
        }
    }

    /// The cursor to store, if it has changed since the last call.
    pub fn take_dirty(&mut self) -> Option<Cursor> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        Some(self.cursor())
    }

    /// The cursor as it is to be stored now.
    pub fn cursor(&self) -> Cursor {
        // After a restart there is no drainer.
        let acked = self.acked.union(&self.beside).copied();
        Cursor {
            last: self.last,
            upto: self.upto,
            acked: acked.take(MAX_ACKED_AHEAD as usize).collect(),
        }
    }

    /// Is there a change that no stored cursor says yet?
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u64) -> ArchiveId {
        ArchiveId(n << 16)
    }

    #[test]
    fn ids_grow_even_when_the_clock_goes_back() {
        let first = ArchiveId::after(ArchiveId(0), Timestamp(1000));
        let second = ArchiveId::after(first, Timestamp(1000));
        let third = ArchiveId::after(second, Timestamp(1));
        assert!(first < second && second < third);
        assert_eq!(third.timestamp(), Timestamp(1000));
        assert_eq!(ArchiveId::parse(&third.to_string()), Some(third));
    }

    #[test]
    fn a_stored_entry_and_cursor_look_like_this() {
        let entry = Entry {
            outgoing: false,
            offline: true,
            archive: true,
            carbon: false,
            stanza: Bytes::from_static(b"<message/>"),
        };
        assert_eq!(&entry.encode()[..], b"\x01\x06<message/>");
        assert_eq!(Entry::decode(entry.encode()).unwrap(), entry);
        let cursor = Cursor {
            last: ArchiveId(3),
            upto: ArchiveId(1),
            acked: vec![ArchiveId(2)],
        };
        assert_eq!(
            &cursor.encode()[..],
            b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x02"
        );
        assert_eq!(Cursor::decode(cursor.encode()).unwrap(), cursor);
    }

    #[test]
    fn the_cursor_waits_for_the_slowest_and_remembers_the_fast() {
        let mut delivery = Delivery::default();
        for n in 1..=3 {
            let next = delivery.next_id(Timestamp(n));
            delivery.appended(next, 1);
        }
        assert!(delivery.acked(id(2)));
        assert_eq!(delivery.upto, ArchiveId(id(1).0 - 1));
        delivery.handed_back(id(1));
        assert!(
            delivery.is_waiting(id(1))
                && !delivery.is_waiting(id(2))
                && !delivery.is_waiting(id(3))
        );
        let stored = delivery.take_dirty().unwrap();
        let again = Delivery::restore(Cursor::decode(stored.encode()).unwrap(), id(3));
        assert!(again.is_waiting(id(1)) && !again.is_waiting(id(2)) && again.is_waiting(id(3)));
    }

    #[test]
    fn an_entry_in_two_queues_is_delivered_once_either_takes_it() {
        let mut delivery = Delivery::default();
        let first = delivery.next_id(Timestamp(1));
        delivery.appended(first, 2);
        delivery.handed_back(first);
        assert!(!delivery.is_waiting(first));
        assert!(delivery.acked(first));
        assert!(!delivery.acked(first));
        assert_eq!(delivery.upto, first);
    }

    #[test]
    fn a_slow_session_that_was_overtaken_gives_nothing_back() {
        let mut delivery = Delivery::default();
        let first = delivery.next_id(Timestamp(1));
        // One of two sessions had no room: it lags behind this entry. The other takes it.
        delivery.appended(first, 1);
        delivery.acked(first);
        delivery.wait_after(first.before());
        assert!(!delivery.is_waiting(first));
    }

    proptest! {
        /// Whatever happens, an entry that nobody took is in flight or waits, also after a crash.
        #[test]
        fn nothing_undelivered_is_ever_behind_the_cursor(steps in proptest::collection::vec((0u8..4, 0u64..12), 1..80)) {
            let mut delivery = Delivery::default();
            let (mut known, mut taken) = (Vec::new(), BTreeSet::new());
            for (step, pick) in steps {
                let place = usize::try_from(pick).unwrap() % known.len().max(1);
                let picked = known.get(place).copied();
                match (step, picked) {
                    (0, _) => {
                        let next = delivery.next_id(Timestamp(1));
                        delivery.appended(next, (pick % 3) as usize);
                        known.push(next);
                    }
                    (1, Some(id)) if delivery.in_flight.contains_key(&id) => {
                        delivery.acked(id);
                        taken.insert(id);
                    }
                    (2, Some(id)) => delivery.handed_back(id),
                    (3, Some(_)) => {
                        for id in known.iter().copied().filter(|id| delivery.is_waiting(*id)).collect::<Vec<_>>() {
                            delivery.flying(id, 1);
                        }
                        delivery.nothing_waits();
                    }
                    _ => {}
                }
                let cursor = Cursor { last: delivery.last, upto: delivery.upto, acked: delivery.acked.iter().copied().collect() };
                let restored = Delivery::restore(cursor, delivery.last);
                for id in &known {
                    let live = delivery.is_waiting(*id) || delivery.in_flight.contains_key(id);
                    prop_assert_eq!(live, !taken.contains(id));
                    prop_assert!(taken.contains(id) || restored.is_waiting(*id));
                }
            }
        }
    }
}
