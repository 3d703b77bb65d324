//! What members are told of what was said (§3): how things stand, at most once in a while.
//!
//! That they are to be told is stored with the first message of a while, as a message of the room to itself in its outbox,
//! and taken back when they know: after a crash it sets out by itself, and they are told again.

use posthaste_kv::Batch;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, MessageType, Stanza};
use posthaste_proto::xep::groups::{Activity, named_position};
use posthaste_proto::xml::Element;

use super::super::room::Room;
use super::{is_group, is_member, members, number_at, reached, wait};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::home::HomeState;
use crate::log::ArchiveId;
use crate::node::Node;
use crate::outbox;
use crate::router::Envelope;
use crate::tables;
use crate::walk::Walk;

/// The mark's place in the outbox: no entry of a log has it.
const MARK: ArchiveId = ArchiveId(0);

/// Members are to be told of what was said: now, or in a while.
pub(super) fn tell(walk: &mut Walk<'_>) {
    mark(walk);
    let (node, now) = (walk.node, walk.now);
    let jid = walk.home.jid.clone();
    let Some((room, out)) = walk.room_and_out() else {
        return;
    };
    let wait = wait(room);
    if room.group.notices.may_send(now, wait) {
        room.group.notices.sent_at = now;
        notices(room, &jid, out);
    }
    node.expect_push(now.plus_millis(wait), &jid);
}

/// Stores that members are to be told, unless it is stored already.
fn mark(walk: &mut Walk<'_>) {
    let jid = walk.home.jid.clone();
    let Some(room) = walk.home.room.as_deref_mut() else {
        return;
    };
    if std::mem::replace(&mut room.group.is_marked, true) {
        return;
    }
    let order = Stanza::message(MessageType::Headline)
        .from(jid.clone())
        .to(jid)
        .with_child(&Element::new("activity", ns::GROUPS));
    walk.put(tables::outbox_key(MARK), outbox::encode(&order));
}

/// Something came to the room from itself: after a restart, what is told above. Answers whether it did.
pub fn hear_own(walk: &mut Walk<'_>) -> bool {
    let own = walk.home.jid.as_str();
    let is_own = walk
        .stanza
        .from
        .as_ref()
        .is_some_and(|from| from.as_str() == own);
    if is_own && walk.stanza.has("activity", ns::GROUPS) {
        let jid = walk.home.jid.clone();
        if let Some((room, out)) = walk.room_and_out() {
            notices(room, &jid, out);
        }
    }
    is_own
}

/// A notice for each member.
fn notices(room: &Room, jid: &BareJid, out: &mut Vec<Envelope>) {
    if !is_group(room) {
        return;
    }
    for (member, _) in members(room) {
        out.push(Envelope::new(notice(room, jid, member)));
    }
}

fn notice(room: &Room, jid: &BareJid, member: &BareJid) -> Stanza {
    Stanza::message(MessageType::Headline)
        .from(jid.clone())
        .to(member.clone())
        .with_child(&standing(room, member).to_element())
        .with_child(&Element::new("no-store", ns::HINTS))
}

/// A member is told alone.
pub(super) fn tell_one(walk: &mut Walk<'_>, member: &BareJid) {
    let jid = walk.home.jid.clone();
    if let Some((room, out)) = walk.room_and_out()
        && is_group(room)
    {
        out.push(Envelope::new(notice(room, &jid, member)));
    }
}

/// How things stand for a member.
fn standing(room: &Room, member: &BareJid) -> Activity {
    let group = &room.group;
    let progress = group.members.get(member).cloned().unwrap_or_default();
    let some = group.count > 0;
    Activity {
        last: some.then(|| group.last.to_string()),
        count: group.count,
        by: some.then(|| group.by.to_string()),
        read: progress.read,
        mentions: progress.mentions,
    }
}

/// The time has come to look at a group: tells what has waited; and when nothing has waited, that members are to be told
/// is stored no more.
///
/// # Errors
/// The store's.
pub async fn look(node: &Node, jid: &BareJid) -> Result<Vec<Envelope>, WalkError> {
    let home = node.home(jid);
    let mut state = home.lock(node).await?;
    let mut out = Vec::from(std::mem::take(&mut state.unsent));
    let now = node.now();
    let HomeState {
        room, partition, ..
    } = &mut *state;
    let Some(room) = room.as_deref_mut() else {
        return Ok(out);
    };
    let wait = wait(room);
    let group = &mut room.group;
    let (tells, reports) = (group.notices.waits, group.statuses.waits);
    if tells && group.notices.may_send(now, wait) {
        group.notices.sent_at = now;
        notices(room, jid, &mut out);
    }
    if reports && room.group.statuses.may_send(now, wait) {
        reached::statuses(room, jid, now, &mut out);
    }
    if tells || reports {
        node.expect_push(now.plus_millis(wait), jid);
    } else if room.group.is_marked {
        // They were told a while ago, and their homes have committed since.
        let mut batch = Batch::new(partition.clone());
        batch.delete(tables::outbox_key(MARK));
        node.kv().commit(batch)?;
        room.group.is_marked = false;
    }
    Ok(out)
}

/// Is there something that memory alone knows?
pub fn is_busy(room: &Room) -> bool {
    room.group.is_marked || room.group.notices.waits || room.group.statuses.waits
}

/// A member asks how things stand.
pub fn answer(walk: &Walk<'_>) -> Answer {
    let (room, member) = asked_by_member(walk)?;
    Ok(Some(standing(room, &member).to_element()))
}

/// The group, and the member that asks it.
///
/// # Errors
/// The room is no group; or who asks does not belong to it.
pub(super) fn asked_by_member<'w>(walk: &'w Walk<'_>) -> Result<(&'w Room, BareJid), StanzaError> {
    let room = walk.home.room.as_deref().filter(|room| is_group(room));
    let room = room.ok_or_else(StanzaError::service_unavailable)?;
    let from = walk.stanza.from.as_ref().map(Jid::to_bare);
    let member = from.filter(|from| is_member(room, from));
    Ok((room, member.ok_or_else(StanzaError::forbidden)?))
}

/// A member's home asks for the number of a message that its owner has seen (§6). Answers whether it was that.
///
/// # Errors
/// The store's; or it is no member.
pub async fn hear_seen(walk: &mut Walk<'_>) -> Result<bool, WalkError> {
    let (Kind::Message(_), Some(seen)) = (walk.stanza.kind, walk.stanza.child("seen", ns::GROUPS))
    else {
        return Ok(false);
    };
    let seen = seen.to_element()?;
    let (room, member) = asked_by_member(walk)?;
    let mut activity = standing(room, &member);
    reached::paced(walk, &member)?;
    let id = named_position(&seen).and_then(ArchiveId::parse);
    let Some(id) = id else { return Ok(true) };
    if let Some(number) = number_at(walk, id).await? {
        activity.read = activity.read.max(number);
        activity.mentions.retain(|mention| *mention > number);
        let answer = Stanza::message(MessageType::Headline)
            .from(walk.home.jid.clone())
            .to(member)
            .with_child(&activity.to_element());
        walk.send(answer);
    }
    Ok(true)
}
