//! Each of a person's devices gets every message, whichever other device was online when it came.
//!
//! A client that names its installation (XEP-0388 §2.3) and binds with Bind 2 is a *device* of the account: it has a
//! record, and an account of its own of what it has taken of the home's log ([`Delivery`]). When it comes online it is
//! caught up from its own cursor: with what the account has received, and, if it wants copies (XEP-0280), with what the
//! account's other clients have sent. Retention waits for the slowest device, and a device that is not seen for a
//! configured time is forgotten, so that a lost phone does not keep the log for ever.
//!
//! A client that does not name itself has none of this: it gets what nobody has taken ([`crate::home::HomeState::delivery`]).

use bytes::Bytes;
use posthaste_kv::{Batch, Kv, Partition, Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use thin_vec::ThinVec;

use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::ext::push;
use crate::heard;
use crate::home::HomeState;
use crate::log::{ArchiveId, Cursor, Delivery, Fate};
use crate::node::Node;
use crate::session::{SessionId, Taken};
use crate::tables;
use crate::walk::Walk;

/// No account can be configured to have more devices.
pub const MOST_DEVICES: usize = 100;
/// After a start no device is forgotten for so long: each one that was connected can come back and be seen.
const GRACE_MILLIS: u64 = 3_600_000;
const DAY_MILLIS: u64 = 86_400_000;

/// What a client says of itself when it binds, and how it has proved who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// Its installation's UUID, in lower case.
    pub id: String,
    /// The software's name, at most 100 characters.
    pub software: Option<String>,
    /// The device's name, at most 100 characters.
    pub device: Option<String>,
    /// Did it show that it knows the account's password?
    pub by_password: bool,
}

/// A device of an account, as far as its home needs to know it all the time.
#[derive(Debug)]
pub struct Device {
    /// The UUID by which it names itself.
    pub id: Box<str>,
    /// What it has taken of the log.
    pub reading: Delivery,
    /// Its session, connected or waiting to be resumed.
    pub session: Option<SessionId>,
    /// When it was last known to be connected.
    pub seen: Timestamp,
    /// What it has taken of groups and no stored cursor says yet.
    pub heard: ThinVec<(BareJid, ArchiveId)>,
}

/// What is stored of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceRecord {
    /// When it first came.
    pub first_seen: Timestamp,
    /// When it last came or went.
    pub last_seen: Timestamp,
    /// When it last logged in with the account's password; 0 if it never has.
    pub password_at: Timestamp,
    /// The software's name, empty if it did not say.
    pub software: String,
    /// The device's name, empty if it did not say.
    pub device: String,
}

const RECORD_VERSION: u8 = 1;

impl DeviceRecord {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(RECORD_VERSION, 32 + self.software.len() + self.device.len());
        writer
            .u64(self.first_seen.millis())
            .u64(self.last_seen.millis())
            .u64(self.password_at.millis())
            .text(&self.software)
            .text(&self.device);
        writer.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(value: Bytes) -> Result<DeviceRecord, Corrupt> {
        let (_, mut reader) = Reader::open("device", value, RECORD_VERSION)?;
        let record = DeviceRecord {
            first_seen: Timestamp(reader.u64()?),
            last_seen: Timestamp(reader.u64()?),
            password_at: Timestamp(reader.u64()?),
            software: reader.text()?,
            device: reader.text()?,
        };
        reader.end()?;
        Ok(record)
    }

    /// The device has come again.
    fn greet(&mut self, who: &Introduction, now: Timestamp) {
        self.last_seen = now;
        if who.by_password {
            self.password_at = now;
        }
        self.software = who.software.clone().unwrap_or_default();
        self.device = who.device.clone().unwrap_or_default();
    }
}

// ---- coming and going ----

/// The devices of a home, as they are stored.
///
/// # Errors
/// The store's, or a record cannot be read.
pub(crate) async fn load(
    kv: &dyn Kv,
    partition: &Partition,
    last: ArchiveId,
) -> Result<Vec<Device>, WalkError> {
    let records = kv
        .scan(partition, Scan::prefix(tables::DEVICE, MOST_DEVICES))
        .await?;
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let mut devices = Vec::with_capacity(records.len());
    for (key, value) in records {
        let Some(id) = tables::key_text(tables::DEVICE, &key) else {
            continue;
        };
        let record = DeviceRecord::decode(value)?;
        let cursor = match kv.get(partition, &tables::device_cursor_key(id)).await? {
            Some(value) => Cursor::decode(value)?,
            None => Cursor::default(),
        };
        devices.push(Device {
            id: id.into(),
            reading: Delivery::restore(cursor, last),
            session: None,
            seen: record.last_seen,
            heard: ThinVec::new(),
        });
    }
    Ok(devices)
}

/// A client that names itself has got this session: it is a device from now on, if the account may have one more. When
/// it may not, the one that has been away for longest makes room; when all are there, the client is served like one
/// that does not name itself.
///
/// # Errors
/// The store's; nothing has changed then.
pub(crate) async fn register(
    node: &Node,
    state: &mut HomeState,
    who: &Introduction,
    session: SessionId,
) -> Result<(), WalkError> {
    let now = node.now();
    let known = state.devices.iter().position(|device| *device.id == who.id);
    let key = tables::text_key(tables::DEVICE, &who.id);
    let mut batch = Batch::new(state.partition.clone());
    if known.is_none() && !make_room(node, state, &mut batch) {
        return Ok(());
    }
    let mut record = match node.kv().get(&state.partition, &key).await? {
        Some(value) if known.is_some() => DeviceRecord::decode(value)?,
        _ => DeviceRecord {
            first_seen: now,
            ..DeviceRecord::default()
        },
    };
    record.greet(who, now);
    batch.put(key, record.encode());
    if known.is_none() {
        // Its history starts now. What waits for anybody it gets by the rule for all ([`crate::catch_up::begin`]).
        let last = state.delivery.last();
        let cursor = Cursor {
            last,
            upto: last,
            acked: Vec::new(),
        };
        batch.put(tables::device_cursor_key(&who.id), cursor.encode());
        node.kv().commit(batch)?;
        state.devices.push(Device {
            id: who.id.as_str().into(),
            reading: Delivery::restore(cursor, last),
            session: None,
            seen: now,
            heard: ThinVec::new(),
        });
    } else {
        node.kv().commit(batch)?;
    }
    attach(state, &who.id, session, now);
    Ok(())
}

/// May the account have one more device? Forgets the one that has been away for longest if that helps.
fn make_room(node: &Node, state: &mut HomeState, batch: &mut Batch) -> bool {
    let most = node.config().devices_per_account;
    while state.devices.len() >= most {
        let away = state.devices.iter().filter(|d| d.session.is_none());
        let Some(longest) = away.min_by_key(|device| device.seen) else {
            return false;
        };
        let id = longest.id.clone();
        forget(state, &id, batch);
    }
    true
}

/// The device with this name has this session.
pub(crate) fn attach(state: &mut HomeState, id: &str, session: SessionId, now: Timestamp) {
    if let Some(device) = state.devices.iter_mut().find(|device| *device.id == *id) {
        device.session = Some(session);
        device.seen = now;
    }
}

/// A session has ended: notes when its device was last seen.
///
/// # Errors
/// The store's, or the record cannot be read.
pub(crate) async fn session_ended(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some(session) = walk.session else {
        return Ok(());
    };
    let detached_at = walk
        .home
        .attendee(session)
        .and_then(|attendee| attendee.session.state().detached_at);
    let Some(device) = of_session(&mut walk.home.devices, session) else {
        return Ok(());
    };
    device.seen = detached_at.unwrap_or(walk.now);
    let (key, seen) = (tables::text_key(tables::DEVICE, &device.id), device.seen);
    if let Some(value) = walk.get(&key).await? {
        let mut record = DeviceRecord::decode(value)?;
        record.last_seen = seen;
        walk.put(key, record.encode());
    }
    Ok(())
}

/// Forgets a device with its cursor, its FAST tokens and its push registrations. Its session is the caller's to end.
pub(crate) fn forget(state: &mut HomeState, id: &str, batch: &mut Batch) {
    state.devices.retain(|device| *device.id != *id);
    batch.delete(tables::text_key(tables::DEVICE, id));
    batch.delete(tables::device_cursor_key(id));
    let rooms = tables::room_cursors(id);
    batch.delete_range(rooms.clone(), prefix_end(&rooms));
    batch.delete(tables::token_key(id));
    push::registration::forget_device(state, id, batch);
}

// ---- what of the log it has ----

pub(crate) fn of_session(devices: &mut [Device], session: SessionId) -> Option<&mut Device> {
    devices
        .iter_mut()
        .find(|device| device.session == Some(session))
}

impl HomeState {
    /// Has the account a device that is not the one with this session?
    pub(crate) fn has_other_devices(&self, session: Option<SessionId>) -> bool {
        let is_other = |device: &Device| device.session.is_none() || device.session != session;
        self.devices.iter().any(is_other)
    }

    /// The device of a session, if its client has named itself.
    pub(crate) fn device(&mut self, session: SessionId) -> Option<&mut Device> {
        of_session(&mut self.devices, session)
    }

    /// An entry was appended to the log: `sender` is the session that sent it, if it is one of this home's, and `given`
    /// have it in their queues. Called after the queues were filled.
    pub(crate) fn note_for_devices(
        &mut self,
        id: ArchiveId,
        sender: Option<SessionId>,
        given: &[SessionId],
    ) {
        for device in &mut self.devices {
            let is_live = |session: SessionId| {
                let attendee = self.sessions.iter().find(|a| a.session.id == session);
                attendee.is_some_and(|a| a.takes_messages() && a.session.state().lag().is_none())
            };
            let fate = match device.session {
                Some(session) if given.contains(&session) => Fate::Given,
                Some(session) if sender == Some(session) => Fate::Passed,
                // It has everything up to here, and this was not for it.
                Some(session) if device.reading.waiting_after().is_none() && is_live(session) => {
                    Fate::Passed
                }
                _ => Fate::Waits,
            };
            device.reading.met(id, fate);
        }
    }

    /// Is another session taking what waits for anybody?
    pub(crate) fn is_drained_by_another(&self, session: SessionId) -> bool {
        self.drainer
            .is_some_and(|drainer| drainer != session && self.attendee(drainer).is_some())
    }

    /// A session has taken entries of the log.
    pub(crate) fn note_taken(&mut self, session: SessionId, taken: &[Taken]) {
        let is_beside_another = self.is_drained_by_another(session);
        let mut device = of_session(&mut self.devices, session);
        for Taken { id, waits } in taken {
            if *waits || !is_beside_another {
                self.delivery.acked(*id);
            } else {
                self.delivery.acked_beside(*id);
            }
            if let Some(device) = &mut device {
                device.reading.acked(*id);
                device.reading.forget_surplus();
            }
        }
    }

    /// A session has taken what was said in groups, up to there in each.
    pub(crate) fn note_heard(&mut self, session: SessionId, heard: &[(BareJid, ArchiveId)]) {
        let mut device = of_session(&mut self.devices, session);
        for (room, id) in heard {
            heard::note(&mut self.heard, room, *id);
            if let Some(device) = &mut device {
                heard::note(&mut device.heard, room, *id);
            }
        }
    }

    /// A session has an entry in its queue because it asked the archive for it: until it is known whether it takes it,
    /// the entry waits for nobody.
    pub(crate) fn note_from_archive(&mut self, session: SessionId, id: ArchiveId, waits: bool) {
        if waits {
            self.delivery.flying(id, 1);
        }
        if let Some(device) = self.device(session)
            && device.reading.is_waiting(id)
        {
            device.reading.flying(id, 1);
        }
    }

    /// A session that has ended had this entry in its queue.
    pub(crate) fn note_handed_back(&mut self, session: SessionId, Taken { id, waits }: Taken) {
        if waits {
            self.delivery.handed_back(id);
        }
        if let Some(device) = self.device(session) {
            device.reading.handed_back(id);
        }
    }

    /// The point up to which everybody has everything: retention may go so far.
    pub fn delivered_upto(&self) -> ArchiveId {
        let devices = self.devices.iter();
        let devices = devices.map(|device| device.reading.settled_upto());
        devices.fold(self.delivery.settled_upto(), ArchiveId::min)
    }

    /// Is there a change in what has been delivered that no stored cursor says yet?
    pub(crate) fn has_unsaved_cursors(&self) -> bool {
        let is_dirty = |device: &Device| device.reading.is_dirty() || !device.heard.is_empty();
        self.delivery.is_dirty() || self.devices.iter().any(is_dirty)
    }

    /// Puts every cursor that has changed into the batch.
    pub(crate) fn save_cursors(&mut self, batch: &mut Batch) {
        // In any case: its `last` must be stored before retention takes the newest entry away.
        self.delivery.take_dirty();
        let cursor = self.delivery.cursor();
        batch.put(Bytes::from_static(tables::CURSOR), cursor.encode());
        for device in &mut self.devices {
            if let Some(cursor) = device.reading.take_dirty() {
                batch.put(tables::device_cursor_key(&device.id), cursor.encode());
            }
            for (room, id) in std::mem::take(&mut device.heard) {
                batch.put(tables::room_cursor_key(&device.id, &room), encode_heard(id));
            }
        }
    }
}

// ---- what of groups it has ----

const HEARD_VERSION: u8 = 1;

fn encode_heard(upto: ArchiveId) -> Bytes {
    let mut writer = Writer::new(HEARD_VERSION, 8);
    writer.u64(upto.0);
    writer.finish()
}

fn decode_heard(value: Bytes) -> Result<ArchiveId, Corrupt> {
    let (_, mut reader) = Reader::open("cursor of a group", value, HEARD_VERSION)?;
    let upto = ArchiveId(reader.u64()?);
    reader.end()?;
    Ok(upto)
}

/// Up to where the device of a session has taken what was said in a group, as far as its home knows.
///
/// # Errors
/// The store's.
pub(crate) async fn heard_upto(
    walk: &Walk<'_>,
    session: SessionId,
    room: &BareJid,
) -> Result<Option<ArchiveId>, WalkError> {
    let mut devices = walk.home.devices.iter();
    let Some(device) = devices.find(|device| device.session == Some(session)) else {
        return Ok(None);
    };
    if let Some((_, upto)) = device.heard.iter().find(|(known, _)| known == room) {
        return Ok(Some(*upto));
    }
    let key = tables::room_cursor_key(&device.id, room);
    Ok(walk.get(&key).await?.map(decode_heard).transpose()?)
}

/// The device of a session follows a group from this position on.
pub(crate) fn begin_hearing(
    walk: &mut Walk<'_>,
    session: SessionId,
    room: &BareJid,
    from: ArchiveId,
) {
    let key = walk.home.device(session);
    let key = key.map(|device| tables::room_cursor_key(&device.id, room));
    if let Some(key) = key {
        walk.put(key, encode_heard(from));
    }
}

// ---- those that do not come back ----

/// Forgets the devices of an account that have not been seen for the configured time.
///
/// # Errors
/// The store's, or a record cannot be read.
pub(crate) async fn expire(
    node: &Node,
    partition: &Partition,
    jid: &BareJid,
) -> Result<(), WalkError> {
    let now = node.now();
    let life = u64::from(node.config().device_days) * DAY_MILLIS;
    if now.since(node.started_at) < GRACE_MILLIS {
        return Ok(());
    }
    // Looks before it loads the home: nearly always there is nothing to do.
    let records = Scan::range(tables::DEVICE, prefix_end(tables::DEVICE), MOST_DEVICES);
    let mut is_any_old = false;
    for (_, value) in node.kv().scan(partition, records).await? {
        is_any_old |= now.since(DeviceRecord::decode(value)?.last_seen) >= life;
    }
    if !is_any_old {
        return Ok(());
    }
    let home = node.home(jid);
    let mut state = home.lock(node).await?;
    let is_old = |d: &&Device| d.session.is_none() && now.since(d.seen) >= life;
    let old: Vec<Box<str>> = (state.devices.iter().filter(is_old))
        .map(|device| device.id.clone())
        .collect();
    let mut batch = Batch::new(partition.clone());
    for id in old {
        forget(&mut state, &id, &mut batch);
    }
    if !batch.is_empty() {
        node.kv().commit(batch)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::log::MAX_ACKED_AHEAD;

    #[test]
    fn a_stored_cursor_of_a_group_looks_like_this() {
        let bytes = encode_heard(ArchiveId(7));
        assert_eq!(&bytes[..], b"\x01\0\0\0\0\0\0\0\x07");
        assert_eq!(decode_heard(bytes), Ok(ArchiveId(7)));
    }

    #[test]
    fn a_stored_device_looks_like_this() {
        let record = DeviceRecord {
            first_seen: Timestamp(1),
            last_seen: Timestamp(2),
            password_at: Timestamp(3),
            software: "Poezio".into(),
            device: "Kiva's".into(),
        };
        assert_eq!(
            &record.encode()[..],
            b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\x06Poezio\0\0\0\x06Kiva's"
        );
        assert_eq!(DeviceRecord::decode(record.encode()).unwrap(), record);
    }

    #[test]
    fn a_device_costs_little_memory() {
        // Names are in the store only. Twenty devices of each loaded home must not be felt.
        assert!(size_of::<Device>() <= 192, "{}", size_of::<Device>());
    }

    /// A device, its session's queue and what was saved last, without a server around them.
    #[derive(Default)]
    struct Rig {
        log: Vec<(ArchiveId, bool)>,
        reading: Delivery,
        /// The session's queue, and where it stands in the log while it lags.
        session: Option<(Vec<ArchiveId>, Option<ArchiveId>)>,
        saved: Cursor,
        taken: BTreeSet<ArchiveId>,
        /// Taken, but not saved as taken.
        unsaved: BTreeSet<ArchiveId>,
    }

    impl Rig {
        fn append(&mut self, is_for_it: bool) {
            let last = self.log.last().map_or(ArchiveId(0), |(id, _)| *id);
            let id = ArchiveId(last.0 + 1);
            self.log.push((id, is_for_it));
            let fate = match &mut self.session {
                Some((queue, None)) if is_for_it => {
                    queue.push(id);
                    Fate::Given
                }
                Some((_, None)) => Fate::Passed,
                _ => Fate::Waits,
            };
            self.reading.met(id, fate);
        }

        fn come_online(&mut self) {
            if self.session.is_none() {
                self.session = Some((Vec::new(), self.reading.waiting_after()));
            }
        }

        fn page(&mut self, length: usize) {
            let Some((queue, Some(at))) = &mut self.session else {
                return;
            };
            let from = *at;
            let rows = self.log.iter().filter(|(id, _)| *id > from);
            let rows: Vec<_> = rows.take(length).copied().collect();
            for (id, is_for_it) in &rows {
                if *is_for_it && self.reading.is_waiting(*id) {
                    assert!(!queue.contains(id), "given twice");
                    self.reading.flying(*id, 1);
                    queue.push(*id);
                }
                *at = *id;
            }
            self.reading.looked_through(from, *at);
            if rows.len() < length {
                self.reading.nothing_waits();
                self.session = self.session.take().map(|(queue, _)| (queue, None));
            }
        }

        fn ack(&mut self, count: usize) {
            if let Some((queue, _)) = &mut self.session {
                for id in queue.drain(..count.min(queue.len())) {
                    self.reading.acked(id);
                    self.reading.forget_surplus();
                    assert!(self.taken.insert(id), "{id} was taken twice");
                    self.unsaved.insert(id);
                }
            }
        }

        fn leave(&mut self) {
            for id in self.session.take().unwrap_or_default().0 {
                self.reading.handed_back(id);
            }
        }

        fn save(&mut self) {
            if let Some(cursor) = self.reading.take_dirty() {
                self.saved = Cursor::decode(cursor.encode()).unwrap();
            }
            self.unsaved.clear();
        }

        fn restart(&mut self) {
            let last = self.log.last().map_or(ArchiveId(0), |(id, _)| *id);
            self.reading = Delivery::restore(self.saved.clone(), last);
            self.session = None;
            for id in std::mem::take(&mut self.unsaved) {
                self.taken.remove(&id);
            }
        }

        /// What the device has not taken is in its queue or waits for it, now and after a crash; what it has taken and
        /// what was saved as taken is not given again.
        fn check(&self) {
            let last = self.log.last().map_or(ArchiveId(0), |(id, _)| *id);
            let after_crash = Delivery::restore(self.saved.clone(), last);
            let queue = self.session.as_ref().map(|(queue, _)| queue.as_slice());
            for (id, _) in self.log.iter().filter(|(_, is_for_it)| *is_for_it) {
                let is_queued = queue.is_some_and(|queue| queue.contains(id));
                let is_there = is_queued || self.reading.is_waiting(*id);
                if !self.taken.contains(id) {
                    assert!(is_there && after_crash.is_waiting(*id), "{id} is lost");
                    assert!(
                        *id > self.reading.settled_upto(),
                        "retention would take {id} away"
                    );
                } else if !self.unsaved.contains(id) {
                    assert!(
                        !is_there && !after_crash.is_waiting(*id),
                        "{id} comes twice"
                    );
                }
            }
        }
    }

    proptest! {
        /// Whatever comes in between, a device gets everything that is for it, and no more than a second of it twice.
        #[test]
        fn nothing_that_a_device_has_not_taken_is_behind_its_cursor(
            steps in proptest::collection::vec((0u8..8, 1usize..6), 1..120)
        ) {
            let mut rig = Rig::default();
            for (step, count) in steps {
                match step {
                    0 | 1 => rig.append(true),
                    2 => rig.append(false),
                    3 => rig.come_online(),
                    4 => rig.page(count),
                    5 => rig.ack(count),
                    6 => rig.save(),
                    _ if count < 4 => rig.leave(),
                    _ => rig.restart(),
                }
                rig.check();
            }
        }
    }

    #[test]
    fn a_device_that_never_takes_what_waits_costs_no_more_than_its_bound() {
        let mut reading = Delivery::default();
        reading.met(ArchiveId(1), Fate::Waits);
        for id in 2..5000 {
            reading.met(ArchiveId(id), Fate::Given);
            reading.acked(ArchiveId(id));
            reading.forget_surplus();
        }
        let cursor = reading.take_dirty().unwrap();
        assert_eq!(cursor.acked.len(), MAX_ACKED_AHEAD as usize);
        assert!(reading.is_waiting(ArchiveId(1)) && !reading.is_waiting(ArchiveId(2)));
        assert!(reading.is_waiting(ArchiveId(4999)), "repeated, not lost");
    }
}
