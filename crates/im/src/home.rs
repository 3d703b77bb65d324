//! A home: the one place where the state of one bare JID lives and where what happens to it is put in order.
//!
//! Its state is loaded when a walk needs it and leaves memory when nobody is there. Only the holder of the lock sees
//! it: one home, one walk at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use posthaste_kv::{Kv, Partition, Scan, prefix_end};
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::xep::mam::Prefs;
use thin_vec::ThinVec;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::conversations::{self, Covered, Recent};
use crate::devices::{self, Device};
use crate::error::WalkError;
use crate::ext::blocking::BlockList;
use crate::ext::caps::ClientKind;
use crate::ext::mam;
use crate::ext::muc::group;
use crate::ext::muc::room::{self, Room};
use crate::ext::privacy_lists;
use crate::ext::pubsub::pep::Audience;
use crate::ext::push::registration::{self, Registration};
use crate::log::{ArchiveId, Cursor, Delivery};
use crate::node::Node;
use crate::outbox;
use crate::router::Envelope;
use crate::session::{Session, SessionId};
use crate::session_store;
use crate::tables;

/// The place of one bare JID. Shared by the node's table and by the connections of its sessions.
#[derive(Debug)]
pub struct Home {
    /// Whose home this is.
    pub jid: BareJid,
    state: Mutex<Option<Box<HomeState>>>,
    used_at: AtomicU64,
}

/// A home's state, locked for one walk.
pub type HomeGuard<'a> = MappedMutexGuard<'a, HomeState>;

impl Home {
    /// A home whose state is not in memory yet.
    pub fn new(jid: BareJid) -> Home {
        Home {
            jid,
            state: Mutex::new(None),
            used_at: AtomicU64::new(0),
        }
    }

    /// Waits for this home's turn and loads its state if it is not in memory.
    pub async fn lock(&self, node: &Node) -> Result<HomeGuard<'_>, WalkError> {
        let mut slot = self.state.lock().await;
        self.used_at.store(node.now().millis(), Ordering::Relaxed);
        if slot.is_none() {
            // Boxed, so that whoever waits for a home that is there does not carry what loading one takes.
            *slot = Some(Box::new(Box::pin(HomeState::load(node, &self.jid)).await?));
        }
        // The closure cannot fail: the state was put there above, under this lock.
        Ok(MutexGuard::map(slot, |slot| match slot {
            Some(state) => &mut **state,
            None => unreachable!("a locked home's state is loaded"),
        }))
    }

    /// Forgets the state if nobody is there and nothing is unsaved, unless it was used since `since`. Answers whether
    /// the home can be dropped.
    pub fn forget_if_idle(&self, since: Timestamp) -> bool {
        if self.used_at.load(Ordering::Relaxed) > since.millis() {
            return false;
        }
        let Ok(mut slot) = self.state.try_lock() else {
            return false;
        };
        let idle = slot.as_ref().is_none_or(|state| state.is_idle());
        if idle {
            *slot = None;
        }
        idle
    }

    /// The state, if it is in memory, after the walk that is using it.
    pub async fn look<T>(&self, look: impl FnOnce(&HomeState) -> T) -> Option<T> {
        self.state.lock().await.as_deref().map(look)
    }

    /// The state, if it is in memory and nobody is using it now: for figures that can be left out, such
    /// as statistics.
    pub fn peek<T>(&self, look: impl FnOnce(&HomeState) -> T) -> Option<T> {
        let slot = self.state.try_lock().ok()?;
        slot.as_deref().map(look)
    }
}

/// What a session has said of itself that only its home needs to know.
#[derive(Debug)]
pub struct Attendee {
    /// The session.
    pub session: Arc<Session>,
    /// Its last broadcast presence, if it is available (RFC 6121 §4.2).
    pub available: Option<Box<Available>>,
    /// Did it ask for the roster (RFC 6121 §2.2), so that it gets roster pushes?
    pub interested: bool,
    /// Did it ask for the block list (XEP-0191 §3.1), so that it gets its pushes?
    pub block_interested: bool,
    /// What it has said about privacy lists (XEP-0016).
    pub privacy: privacy_lists::Use,
    /// Does it want copies of what the other resources send and receive (XEP-0280)?
    pub carbons: bool,
    /// The client's installation, if it named itself (XEP-0388 §2.3). Nobody else is told.
    pub client: Option<Box<str>>,
    /// What its presence says that it can do (XEP-0115).
    pub kind: Option<Arc<ClientKind>>,
    /// To whom it sent directed presence (RFC 6121 §4.6).
    pub directed: ThinVec<Jid>,
}

/// The availability of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// RFC 6121 §4.7.2.3: -128 to 127.
    pub priority: i8,
    /// When it was sent: becomes the delay stamp of an answer to a probe (XEP-0203).
    pub since: Timestamp,
    /// The presence stanza, with `from` and without `to`.
    pub stanza: Bytes,
}

impl Attendee {
    /// A session that has said nothing yet.
    pub fn new(session: Arc<Session>) -> Attendee {
        Attendee {
            session,
            available: None,
            interested: false,
            block_interested: false,
            privacy: privacy_lists::Use::default(),
            carbons: false,
            client: None,
            kind: None,
            directed: ThinVec::new(),
        }
    }

    /// Is it where it has told that it is present: in a room, as far as it knows (XEP-0045 §7.2)?
    pub fn has_entered(&self, room: &BareJid) -> bool {
        let mut places = self.directed.iter();
        places.any(|place| place.bare_str() == room.as_str())
    }

    /// Does it take messages to the bare JID (RFC 6121 §8.5.2.1.1)?
    pub fn takes_messages(&self) -> bool {
        self.available
            .as_ref()
            .is_some_and(|available| available.priority >= 0)
    }
}

/// The state of one bare JID. What most have none of takes one pointer.
#[derive(Debug)]
pub struct HomeState {
    /// Whose state this is.
    pub jid: BareJid,
    /// Its partition of the store.
    pub partition: Partition,
    /// Is there an account?
    pub has_account: bool,
    /// Its sessions, in the order in which they were bound.
    pub sessions: Vec<Attendee>,
    /// Whom its owner has blocked (XEP-0191).
    pub blocked: BlockList,
    /// What has been delivered of its log.
    pub delivery: Delivery,
    /// The clients that name themselves, and what each has taken of its log.
    pub devices: ThinVec<Device>,
    /// Where notifications for its clients are published (XEP-0357), the oldest registration first.
    pub push: ThinVec<Registration>,
    /// What has been logged and is not in the index of conversations yet.
    pub recent: Recent,
    /// Whose messages are archived (XEP-0441), if the owner has said so.
    pub archive_prefs: Option<Box<Prefs>>,
    /// The session that is taking what waited; a second one does not take part of it away.
    pub drainer: Option<SessionId>,
    /// Entries that leave the log as soon as they are delivered, whatever the retention (XEP-0334 no-permanent-store).
    pub transient: ThinVec<ArchiveId>,
    /// Everything older has been dropped from the log by retention since the home was loaded.
    pub kept_from: ArchiveId,
    /// What was on its way to other homes when the server went down.
    pub unsent: ThinVec<Envelope>,
    /// The contacts' resources whose presence says what they want to be told of (XEP-0163).
    pub audience: Audience,
    /// What its clients have taken of groups, and the rooms have not been told.
    pub heard: ThinVec<(BareJid, ArchiveId)>,
    /// The room whose home this is, while it exists (XEP-0045).
    pub room: Option<Box<Room>>,
    /// Messages with files that its sessions have sent to groups and that have not come back from there yet
    /// ([`crate::media`]).
    pub awaits_echo: u8,
    /// Is it in the node's list of homes whose cursor is to be saved?
    pub listed_dirty: bool,
}

impl HomeState {
    /// The state as it is stored.
    pub(crate) async fn load(node: &Node, jid: &BareJid) -> Result<HomeState, WalkError> {
        let partition = tables::partition(jid)?;
        let kv = node.kv();
        let delivery = load_delivery(kv, &partition).await?;
        let devices = devices::load(kv, &partition, delivery.last()).await?;
        let mut state = HomeState {
            devices: devices.into(),
            push: registration::load(kv, &partition).await?.into(),
            has_account: kv.get(&partition, tables::ACCOUNT).await?.is_some(),
            sessions: Vec::new(),
            blocked: BlockList::load(kv, &partition).await?,
            delivery,
            recent: Recent::new(Covered::load(kv, &partition).await?),
            archive_prefs: mam::load_prefs(kv, &partition).await?,
            drainer: None,
            transient: ThinVec::new(),
            kept_from: ArchiveId(0),
            unsent: outbox::load(node, &partition).await?.into(),
            audience: Audience::default(),
            heard: ThinVec::new(),
            listed_dirty: false,
            awaits_echo: 0,
            room: room::load(node, jid, &partition).await?,
            jid: jid.clone(),
            partition,
        };
        // What is said in a room is nobody's conversation.
        if state.room.is_some() {
            return Ok(state);
        }
        conversations::replay(node, &mut state).await?;
        session_store::restore(node, &mut state).await?;
        Ok(state)
    }

    /// After a failed commit memory may be ahead of the store: takes what is stored as the truth again.
    pub async fn reload(&mut self, node: &Node) -> Result<(), WalkError> {
        let kv = node.kv();
        self.has_account = kv.get(&self.partition, tables::ACCOUNT).await?.is_some();
        self.blocked = BlockList::load(kv, &self.partition).await?;
        self.push = registration::load(kv, &self.partition).await?.into();
        self.archive_prefs = mam::load_prefs(kv, &self.partition).await?;
        room::reload(node, self).await
    }

    /// Is there nothing that memory alone knows?
    fn is_idle(&self) -> bool {
        let expects_push = self.push.iter().any(|r| r.run.due.is_some());
        let is_telling = (self.room.as_ref()).is_some_and(|room| group::activity::is_busy(room));
        let is_visited = self
            .room
            .as_ref()
            .is_some_and(|room| !room.occupants.is_empty());
        self.sessions.is_empty()
            && !is_visited
            && !is_telling
            && !self.has_unsaved()
            && !expects_push
    }

    /// Is there something in memory that the store does not say yet?
    pub fn has_unsaved(&self) -> bool {
        self.has_unsaved_cursors() || !self.recent.is_empty() || !self.heard.is_empty()
    }

    /// The sessions but one.
    pub fn others(&self, except: SessionId) -> impl Iterator<Item = &Attendee> {
        self.sessions
            .iter()
            .filter(move |attendee| attendee.session.id != except)
    }

    /// The session with this id.
    pub fn attendee(&self, id: SessionId) -> Option<&Attendee> {
        self.sessions
            .iter()
            .find(|attendee| attendee.session.id == id)
    }

    /// The session with this id, to change it.
    pub fn attendee_mut(&mut self, id: SessionId) -> Option<&mut Attendee> {
        self.sessions
            .iter_mut()
            .find(|attendee| attendee.session.id == id)
    }

    /// The session with this resource.
    pub fn resource(&self, resource: &str) -> Option<&Attendee> {
        self.sessions
            .iter()
            .find(|attendee| attendee.session.jid.resource() == resource)
    }
}

async fn load_delivery(kv: &dyn Kv, partition: &Partition) -> Result<Delivery, WalkError> {
    let cursor = match kv.get(partition, tables::CURSOR).await? {
        Some(value) => Cursor::decode(value)?,
        None => Cursor::default(),
    };
    let newest =
        Scan::range(Bytes::from_static(tables::LOG), prefix_end(tables::LOG), 1).reversed();
    let rows = kv.scan(partition, newest).await?;
    let last_in_log = rows
        .first()
        .and_then(|(key, _)| tables::key_id(tables::LOG, key))
        .unwrap_or_default();
    Ok(Delivery::restore(cursor, last_in_log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_account_that_is_online_costs_stays_small() {
        // The allocator's classes: a byte more costs 64, or 16.
        assert!(size_of::<HomeState>() <= 320, "{}", size_of::<HomeState>());
        assert!(size_of::<Attendee>() <= 64, "{}", size_of::<Attendee>());
        // In an Arc, which adds its two counts.
        assert!(size_of::<Session>() + 16 <= 384, "{}", size_of::<Session>());
    }
}
