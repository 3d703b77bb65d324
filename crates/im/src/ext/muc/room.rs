//! The state of a room: what its home holds in memory, and the rows it is made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use posthaste_kv::{Pages, Partition, Scan};
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::xep::muc::{Affiliation, Role, RoomConfig};
use posthaste_proto::xep::occupant_id::Secret;

use super::group::{self, Standing};
use super::hats::{self, Hats};
use super::kept_roles::KeptRoles;
use super::occupant_id;
use super::occupants::{Occupant, Occupants};
use super::pace::Paces;
use super::permissions;
use super::restart;
use super::slow_mode::Spoken;
use super::stored;
use crate::clock::Timestamp;
use crate::config::ServiceKind;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::node::Node;
use crate::tables;
use crate::walk::Walk;

/// Rows of affiliations read at a time.
const PAGE: usize = 1000;

/// What somebody is to a room, whether there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affiliate {
    /// The affiliation.
    pub affiliation: Affiliation,
    /// The nickname that is reserved for this user (§7.10).
    pub nick: Option<Box<str>>,
    /// Why it was given, in somebody's words.
    pub reason: Option<Box<str>>,
}

impl Affiliate {
    /// Is there nothing to keep?
    pub fn is_nothing(&self) -> bool {
        *self == Affiliate::default()
    }
}

impl Default for Affiliate {
    /// Whoever the room has never heard of.
    fn default() -> Affiliate {
        Affiliate {
            affiliation: Affiliation::None,
            nick: None,
            reason: None,
        }
    }
}

/// What the room is about at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// When it was set.
    pub at: Timestamp,
    /// The message that set it, with `from` and without `to`.
    pub stanza: Bytes,
}

/// A room.
#[derive(Debug)]
pub struct Room {
    /// Who made it.
    pub creator: BareJid,
    /// When.
    pub created_at: Timestamp,
    /// Nobody but its owners may enter until it has been configured (§10.1.1).
    pub locked: bool,
    /// How it behaves.
    pub config: RoomConfig,
    /// Who is something to it.
    pub affiliations: BTreeMap<BareJid, Affiliate>,
    /// What it is about.
    pub subject: Option<Subject>,
    /// What its people are beyond that (XEP-0317).
    pub hats: Hats,
    /// What the ids of its occupants are made with (XEP-0421).
    pub secret: Secret,
    /// Who is there. Memory alone knows.
    pub occupants: Occupants,
    /// Who has spoken lately, where that matters. Memory alone knows.
    pub(super) spoken: Spoken,
    /// Who has asked for voice lately. Memory alone knows.
    pub(super) asked: Spoken,
    /// How things stand for its members, if it is a group.
    pub group: Standing,
    /// How fast it is talked to.
    pub paces: Paces,
    /// Who may speak in it out of the ordinary. Memory alone knows.
    pub(super) kept_roles: KeptRoles,
    /// Whoever has had the room waits here until what the room said before has been brought to everybody.
    pub(super) line: Arc<tokio::sync::Mutex<()>>,
}

impl Room {
    /// A room that nobody is in yet.
    pub fn new(creator: BareJid, created_at: Timestamp, config: RoomConfig) -> Room {
        Room {
            creator,
            created_at,
            locked: false,
            config,
            affiliations: BTreeMap::new(),
            subject: None,
            hats: Hats::default(),
            secret: Secret::default(),
            occupants: Occupants::default(),
            spoken: Spoken::default(),
            asked: Spoken::default(),
            group: Standing::default(),
            paces: Paces::default(),
            kept_roles: KeptRoles::default(),
            line: Arc::default(),
        }
    }

    /// What a user is to the room: by itself, or by a ban of its whole domain (§9.2).
    pub fn affiliation(&self, user: &BareJid) -> Affiliation {
        let listed = |jid: &BareJid| {
            let found = self.affiliations.get(jid);
            found.map_or(Affiliation::None, |affiliate| affiliate.affiliation)
        };
        let own = listed(user);
        if own == Affiliation::None && listed(&user.domain_jid()) == Affiliation::Outcast {
            return Affiliation::Outcast;
        }
        own
    }

    /// The role with which a user enters (§5.1.2). In a moderated room it is the one that the user has there under another
    /// name, or had when it left (§5.1).
    pub(super) fn role_at_entry(&self, user: &BareJid, affiliation: Affiliation) -> Role {
        let initial = permissions::initial_role(affiliation, &self.config);
        if !self.config.moderated || affiliation >= Affiliation::Admin {
            return initial;
        }
        let inside = self.occupants.of_user(user);
        let there = inside.map(|it| it.role.min(Role::Participant)).min();
        let kept = there.or_else(|| self.kept_roles.of(user, affiliation));
        kept.unwrap_or(initial)
    }

    /// An occupant leaves, with the role that it has had.
    pub(super) fn keep_role(&mut self, occupant: &Occupant) {
        if let Some(seat) = occupant.first().filter(|_| self.config.moderated) {
            let initial = permissions::initial_role(occupant.affiliation, &self.config);
            let (user, affiliation) = (seat.jid.to_bare(), occupant.affiliation);
            self.kept_roles
                .keep(&user, affiliation, occupant.role, initial);
        }
    }

    /// How many users own the room.
    pub fn owners(&self) -> usize {
        let all = self.affiliations.values();
        all.filter(|affiliate| affiliate.affiliation == Affiliation::Owner)
            .count()
    }

    /// Whom a nickname is reserved for.
    pub fn nick_is_of(&self, nick: &str) -> Option<&BareJid> {
        let reserved = |affiliate: &Affiliate| affiliate.nick.as_deref() == Some(nick);
        let mut all = self.affiliations.iter();
        all.find_map(|(user, affiliate)| reserved(affiliate).then_some(user))
    }

    /// Are the others told how this occupant is (§7.2.2, `muc#roomconfig_presencebroadcast`)?
    pub fn shows(&self, occupant: &Occupant) -> bool {
        !occupant.is_quiet && self.config.presence_broadcast.shows(occupant.role)
    }

    /// May whoever has this role see real addresses (§7.2.3, §7.2.4)?
    pub fn shows_jids_to(&self, role: Role) -> bool {
        use posthaste_proto::xep::muc::config::WhoIs;
        match self.config.whois {
            WhoIs::Anyone => true,
            WhoIs::Moderators => role == Role::Moderator,
        }
    }
}

/// Is this the address of a room, whether there is one or not?
pub fn is_room_address(node: &Node, jid: &BareJid) -> bool {
    let config = node.config();
    let service = config.service(jid.domain());
    jid.local().is_some() && service.is_some_and(|(_, it)| it.kind == ServiceKind::Rooms)
}

/// The room at an address, as it is stored, with those who were there when the server was restarted.
///
/// # Errors
/// The store's.
pub async fn load(
    node: &Node,
    jid: &BareJid,
    partition: &Partition,
) -> Result<Option<Box<Room>>, WalkError> {
    if !is_room_address(node, jid) {
        return Ok(None);
    }
    let Some(mut room) = read(node, partition).await? else {
        return Ok(None);
    };
    restart::restore(node, jid, partition, &mut room).await?;
    Ok(Some(Box::new(room)))
}

async fn read(node: &Node, partition: &Partition) -> Result<Option<Room>, WalkError> {
    let kv = node.kv();
    let Some(value) = kv.get(partition, tables::ROOM).await? else {
        return Ok(None);
    };
    let mut room = stored::room(value)?;
    room.secret = occupant_id::load(kv, partition).await?;
    if let Some(value) = kv.get(partition, tables::ROOM_SUBJECT).await? {
        room.subject = Some(stored::subject(value)?);
    }
    let all = Scan::prefix(tables::ROOM_AFFILIATION, PAGE);
    let mut pages = Pages::new(kv, partition, all);
    while let Some(rows) = pages.next().await? {
        for (key, value) in rows {
            let user = tables::key_text(tables::ROOM_AFFILIATION, &key).map(BareJid::parse);
            if let Some(Ok(user)) = user {
                room.affiliations.insert(user, stored::affiliate(value)?);
            }
        }
    }
    room.hats = hats::load(kv, partition).await?;
    group::load(kv, partition, &mut room).await?;
    Ok(Some(room))
}

/// After a failed commit: what is stored is the truth again. Who is there stays.
///
/// # Errors
/// The store's.
pub async fn reload(node: &Node, state: &mut HomeState) -> Result<(), WalkError> {
    if !is_room_address(node, &state.jid) {
        return Ok(());
    }
    let before = state.room.take();
    state.room = read(node, &state.partition).await?.map(Box::new);
    if let (Some(room), Some(before)) = (&mut state.room, before) {
        room.occupants = before.occupants;
        room.paces = before.paces;
        room.kept_roles = before.kept_roles;
        room.line = before.line;
        room.spoken = before.spoken;
        room.asked = before.asked;
    }
    Ok(())
}

// ---- changes ----------------------------------------------------------------------------------------
//
// Each changes memory and writes its row with the walk's commit. Call them when nothing can be refused any more.

/// Writes the room's settings.
pub fn save(walk: &mut Walk<'_>) {
    let value = walk.home.room.as_deref().map(stored::encode_room);
    if let Some(value) = value {
        walk.put(tables::ROOM, value);
    }
}

/// Makes somebody something to the room; `None` with no reserved nickname makes it nothing.
pub fn affiliate(walk: &mut Walk<'_>, user: &BareJid, affiliate: Affiliate) {
    let key = tables::text_key(tables::ROOM_AFFILIATION, user.as_str());
    let Some(room) = walk.home.room.as_deref_mut() else {
        return;
    };
    let before = room.affiliation(user);
    if affiliate.is_nothing() {
        room.affiliations.remove(user);
        walk.delete(key);
    } else {
        let value = stored::encode_affiliate(&affiliate);
        room.affiliations.insert(user.clone(), affiliate);
        walk.put(key, value);
    }
    group::affiliated(walk, user, before);
}

/// Sets what the room is about.
pub fn set_subject(walk: &mut Walk<'_>, subject: Subject) {
    let value = stored::encode_subject(&subject);
    if let Some(room) = walk.home.room.as_deref_mut() {
        room.subject = Some(subject);
        walk.put(tables::ROOM_SUBJECT, value);
    }
}

/// Takes the room away with all that belongs to it. Whoever is there is told before.
pub fn erase(walk: &mut Walk<'_>) {
    let room = walk.home.room.take();
    walk.delete_prefix(b"");
    // After it: what is on its way to the members stays.
    if let Some(room) = room {
        group::dissolved(walk, &room);
    }
}

/// The address of somebody with this nickname, if it can be one.
pub fn address(walk: &Walk<'_>, nick: &str) -> Option<FullJid> {
    walk.home.jid.with_resource(nick).ok()
}
