//! A group: a room whose members are told of what is said while they are away, and whose senders see whom it has reached.
//!
//! `docs/protocol/groups.md`, the room's side; [`crate::ext::groups`] is the member's. The log is the one copy of each
//! message. Beside it there is one small row for the group ([`Standing`]) and one for each member who has done something
//! ([`Progress`]); notices ([`activity`]) and statuses ([`reached`]) say how things stand, so that they may be held back,
//! come twice or be lost.

pub mod absent;
pub mod activity;
pub mod gap;
pub mod reached;
mod stored;

use std::collections::{BTreeMap, VecDeque};

use posthaste_kv::{Kv, Pages, Partition, Scan, prefix_end};
use posthaste_proto::jid::{BareJid, FullJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::groups::{MAX_MENTIONS, Reach, counted, counted_number};
use posthaste_proto::xep::muc::{Affiliation, Item, RoomConfig, Status, User};
use posthaste_proto::xep::reference::Mentions;

use super::room::{Affiliate, Room};
use crate::clock::Timestamp;
use crate::codec;
use crate::error::WalkError;
use crate::log::{ArchiveId, Entry};
use crate::tables;
use crate::walk::Walk;

/// Rows of members read at a time.
const PAGE: usize = 1_000;
/// Messages whose authors are told how far they have got (§5).
const MOST_RECENT: usize = 64;
/// In larger groups a nickname in a text is no mention: whoever means somebody says so (XEP-0372).
const MOST_NICKS: usize = 500;
/// The least time between two notices, or two statuses (§3).
const WAIT_MILLIS: u64 = 1_000;

/// How things stand in a group.
#[derive(Debug, Default)]
pub struct Standing {
    /// Counted messages.
    pub count: u64,
    /// The newest of them; 0 if there is none.
    pub last: ArchiveId,
    /// The nickname of its sender.
    pub by: Box<str>,
    /// How far each member has come that has done something.
    pub members: BTreeMap<BareJid, Progress>,
    /// The newest messages, and what their authors have been told.
    recent: VecDeque<Recent>,
    notices: Pace,
    statuses: Pace,
    /// Is it in the store that members are to be told?
    is_marked: bool,
}

/// How far a member has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here was delivered.
    pub delivered: ArchiveId,
    /// Everything up to here was seen, as far as the member has said so to all.
    pub displayed: ArchiveId,
    /// The number that goes with it, or a higher one of the member's own.
    pub read: u64,
    /// Numbers beyond it of messages that are for the member by name, the oldest first.
    pub mentions: Vec<u64>,
}

impl Progress {
    fn see(&mut self, id: ArchiveId, number: u64) -> bool {
        let before = self.clone();
        self.displayed = self.displayed.max(id);
        self.delivered = self.delivered.max(id);
        self.read = self.read.max(number);
        let read = self.read;
        self.mentions.retain(|mention| *mention > read);
        *self != before
    }

    fn mention(&mut self, number: u64) {
        if self.mentions.len() >= MAX_MENTIONS {
            self.mentions.remove(0);
        }
        self.mentions.push(number);
    }
}

#[derive(Debug)]
struct Recent {
    id: ArchiveId,
    author: BareJid,
    told: Reach,
}

/// When something was sent last, and whether there is more to send.
#[derive(Debug, Default)]
struct Pace {
    sent_at: Timestamp,
    waits: bool,
}

impl Pace {
    /// There may be something to send: now? If not, it waits.
    fn may_send(&mut self, now: Timestamp, wait: u64) -> bool {
        self.waits = now < self.sent_at.plus_millis(wait);
        !self.waits
    }
}

/// Is the room a group (§1)?
pub fn is_group(room: &Room) -> bool {
    makes_group(&room.config)
}

fn makes_group(config: &RoomConfig) -> bool {
    config.persistent && config.members_only && config.archiving
}

/// Who belongs to it. Whole domains may enter, but nobody can be told there.
pub fn members(room: &Room) -> impl Iterator<Item = (&BareJid, &Affiliate)> {
    let all = room.affiliations.iter();
    all.filter(|(user, affiliate)| {
        affiliate.affiliation >= Affiliation::Member && user.local().is_some()
    })
}

fn is_member(room: &Room, user: &BareJid) -> bool {
    room.affiliation(user) >= Affiliation::Member
}

/// How long to wait between two notices: with many members it is longer, so that a busy group costs no more.
fn wait(room: &Room) -> u64 {
    WAIT_MILLIS + room.affiliations.len() as u64
}

/// A message to the room: perhaps it is the group's alone. Answers whether it was; it is for nobody else then.
///
/// # Errors
/// It is of somebody who does not belong to the group; or the store's.
pub async fn hear(walk: &mut Walk<'_>) -> Result<bool, WalkError> {
    Ok(activity::hear_own(walk) || activity::hear_seen(walk).await? || reached::hear(walk).await?)
}

// ---- what is said ----------------------------------------------------------------------------------------

/// Before a message is archived: gives it its number (§2).
pub fn number(walk: &mut Walk<'_>) {
    let Some(room) = walk.home.room.as_deref() else {
        return;
    };
    if is_group(room) && walk.weight.archive && walk.weight.message {
        let next = room.group.count + 1;
        walk.stanza.push_child(&counted(next));
    }
}

/// After everybody who is there got it: counts it, and tells whom it concerns.
pub fn said(walk: &mut Walk<'_>, author: &FullJid) {
    let Some(id) = walk
        .logged_id()
        .filter(|_| walk.stanza.has("counted", ns::GROUPS))
    else {
        return;
    };
    let author = author.to_bare();
    let Some(room) = walk.home.room.as_deref_mut() else {
        return;
    };
    let mentioned = mentioned(room, &walk.home.jid, &walk.stanza, &author);
    let group = &mut room.group;
    group.count += 1;
    group.last = id;
    let from = walk.stanza.from.as_ref();
    group.by = from.and_then(Jid::resource).unwrap_or_default().into();
    let number = group.count;
    // Whoever answers has seen all before.
    group
        .members
        .entry(author.clone())
        .or_default()
        .see(id, number);
    for member in &mentioned {
        group
            .members
            .entry(member.clone())
            .or_default()
            .mention(number);
    }
    if group.recent.len() >= MOST_RECENT {
        group.recent.pop_front();
    }
    group.recent.push_back(Recent {
        id,
        author: author.clone(),
        told: Reach::default(),
    });
    let row = stored::encode_standing(group);
    walk.put(tables::ROOM_GROUP, row);
    save(walk, &author);
    for member in &mentioned {
        save(walk, member);
    }
    activity::tell(walk);
    reached::tell(walk);
}

/// Which members a message is for by name.
fn mentioned(room: &Room, jid: &BareJid, stanza: &Stanza, author: &BareJid) -> Vec<BareJid> {
    let mut mentions = Mentions::of(stanza);
    let reply = stanza
        .child("reply", ns::REPLY)
        .and_then(|reply| reply.to_element().ok());
    if let Some(to) = reply.and_then(|reply| Jid::parse(reply.attr("to")?).ok()) {
        mentions.add(to);
    }
    let knows_nicks = room.affiliations.len() <= MOST_NICKS;
    let is_meant = |user: &BareJid, affiliate: &Affiliate| {
        let here = room.occupants.of_user(user).map(|occupant| occupant.nick());
        let nicks = affiliate.nick.as_deref().into_iter().chain(here);
        mentions.mean(jid, user, nicks.filter(|_| knows_nicks))
    };
    let others = members(room).filter(|(user, _)| *user != author);
    others
        .filter(|(user, affiliate)| is_meant(user, affiliate))
        .map(|(user, _)| user.clone())
        .take(posthaste_proto::xep::reference::MAX_MENTIONS)
        .collect()
}

/// Writes how far a member has come.
fn save(walk: &mut Walk<'_>, member: &BareJid) {
    let room = walk.home.room.as_deref();
    let progress = room.and_then(|room| room.group.members.get(member));
    if let Some(row) = progress.map(stored::encode_progress) {
        walk.put(
            tables::text_key(tables::ROOM_PROGRESS, member.as_str()),
            row,
        );
    }
}

// ---- who belongs to it -----------------------------------------------------------------------------------

/// What somebody is to the room has changed from this. Who is new begins here: what was said before is history, not
/// unread. Who belongs to it no more is told so, and forgotten (§3.1).
pub fn affiliated(walk: &mut Walk<'_>, user: &BareJid, before: Affiliation) {
    let Some(room) = walk.home.room.as_deref_mut() else {
        return;
    };
    let (was, is) = (before >= Affiliation::Member, is_member(room, user));
    if was == is {
        return;
    }
    // Who is not there is told by a message in any case.
    let is_there = room.occupants.of_user(user).next().is_some();
    let is_group = is_group(room);
    if is {
        let read = room.group.count;
        let progress = Progress {
            delivered: room.group.last,
            read,
            ..Progress::default()
        };
        room.group.members.insert(user.clone(), progress);
        save(walk, user);
        activity::tell_one(walk, user);
    } else {
        room.group.members.remove(user);
        walk.delete(tables::text_key(tables::ROOM_PROGRESS, user.as_str()));
        if is_group && is_there {
            let parting = parting(&walk.home.jid, user);
            walk.send_stored(parting);
        }
    }
}

/// The room was configured so until now: if it has become a group, its members are told that it is one.
pub fn configured(walk: &mut Walk<'_>, before: &RoomConfig) {
    let room = walk.home.room.as_deref();
    if !makes_group(before) && room.is_some_and(is_group) {
        activity::tell(walk);
    }
}

/// The room is gone: its members are told that they belong to it no more (§3.1). Call it after all was erased.
pub fn dissolved(walk: &mut Walk<'_>, room: &Room) {
    if !is_group(room) {
        return;
    }
    for (member, _) in members(room) {
        let parting = parting(&walk.home.jid, member);
        walk.send_stored(parting);
    }
}

fn parting(room: &BareJid, member: &BareJid) -> Stanza {
    let item = Item {
        affiliation: Some(Affiliation::None),
        jid: Some(member.clone().into()),
        ..Item::default()
    };
    let user = User::of(item).with_status(Status::AffiliationChanged);
    let message = Stanza::message(MessageType::Normal)
        .from(room.clone())
        .to(member.clone());
    message.with_child(&user.to_element())
}

// ---- what is stored --------------------------------------------------------------------------------------

/// How things stand, as it is stored; the newest messages are read from the log.
///
/// # Errors
/// The store's.
pub async fn load(kv: &dyn Kv, partition: &Partition, room: &mut Room) -> Result<(), WalkError> {
    let Some(value) = kv.get(partition, tables::ROOM_GROUP).await? else {
        return Ok(());
    };
    let mut group = stored::standing(value)?;
    let all = Scan::prefix(tables::ROOM_PROGRESS, PAGE);
    let mut pages = Pages::new(kv, partition, all);
    while let Some(rows) = pages.next().await? {
        for (key, value) in rows {
            let member = tables::key_text(tables::ROOM_PROGRESS, &key).map(BareJid::parse);
            if let Some(Ok(member)) = member {
                group.members.insert(member, stored::progress(value)?);
            }
        }
    }
    room.group = group;
    let newest = Scan::range(tables::LOG, prefix_end(tables::LOG), MOST_RECENT).reversed();
    for (key, value) in kv.scan(partition, newest).await? {
        let stanza = codec::stanza(&Entry::decode(value)?.stanza)?;
        let id = tables::key_id(tables::LOG, &key);
        if let (Some(id), Some(author)) = (id, author(&stanza))
            && stanza.has("counted", ns::GROUPS)
        {
            // Whoever waited to be told asks when it is back.
            let told = reached::reach(room, id, &author);
            room.group.recent.push_front(Recent { id, author, told });
        }
    }
    Ok(())
}

/// Who said what is in the log.
fn author(entry: &Stanza) -> Option<BareJid> {
    let user = entry.child("x", ns::MUC_USER)?.to_element().ok()?;
    let jid = user.child("item", ns::MUC_USER)?.attr("jid")?;
    Some(Jid::parse(jid).ok()?.to_bare())
}

/// The entry of the log with this id: the stanza, if there is one.
async fn entry(walk: &Walk<'_>, id: ArchiveId) -> Result<Option<Stanza>, WalkError> {
    let Some(value) = walk.get(&tables::log_key(id)).await? else {
        return Ok(None);
    };
    Ok(Some(codec::stanza(&Entry::decode(value)?.stanza)?))
}

/// The number of the newest counted message up to an entry of the log; `None` if there is no such entry.
async fn number_at(walk: &Walk<'_>, id: ArchiveId) -> Result<Option<u64>, WalkError> {
    /// Entries looked at: reactions and the like between two messages. Who has seen one of more has seen a little less.
    const LOOK_BACK: usize = 64;
    let number = |stanza: &Stanza| {
        let child = stanza.child("counted", ns::GROUPS)?;
        counted_number(&child.to_element().ok()?)
    };
    let Some(stanza) = entry(walk, id).await? else {
        return Ok(None);
    };
    if let Some(number) = number(&stanza) {
        return Ok(Some(number));
    }
    let before = Scan::range(tables::LOG, tables::log_key(id), LOOK_BACK).reversed();
    for (_, value) in walk.scan(before).await? {
        if let Some(number) = number(&codec::stanza(&Entry::decode(value)?.stanza)?) {
            return Ok(Some(number));
        }
    }
    Ok(Some(0))
}
