//! Whoever belongs to a group is told of what is said there, also when none of their devices is in the room.
//!
//! `docs/protocol/groups.md`, the member's side: the home keeps one row for each group ([`record`]), which notices of the
//! room overwrite. From it come the group's line in the inbox ([`crate::ext::inbox`]) and the decision whom to wake
//! ([`setting`], [`crate::ext::push`]). The text of a message is nowhere but in the room's archive.

pub mod record;
pub mod setting;

use std::hash::{DefaultHasher, Hash, Hasher};

use posthaste_kv::{Kv, Partition, Scan};
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, MessageType, PresenceType, Stanza};
use posthaste_proto::xep::groups::{Activity, MAX_POSITION_BYTES, seen, since};
use posthaste_proto::xml::Element;

use self::record::{Change, Group};
use self::setting::Setting;
use super::pubsub::own::OwnNode;
use super::{Ext, caps, push};
use crate::codec;
use crate::devices;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::log::{ArchiveId, Entry};
use crate::node::Node;
use crate::router::Envelope;
use crate::session::What;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Groups that work offline",
    xep: 0,
    version: "[Posthaste](protocol/groups.md)",
    host_features: &[],
    account_features: &[ns::GROUPS],
    account_iqs: &[],
    host_iqs: &[],
};

/// Groups that an account keeps. A client shows hundreds; what somebody far away says beyond it is not kept.
pub const MAX_GROUPS: usize = 1_000;
/// Longest nickname, in bytes: a resource of an address (RFC 7622 §3.4).
const MAX_NICK_BYTES: usize = 1_023;

// ---- what a room says ------------------------------------------------------------------------------------

/// A message has come to the account: perhaps a room says how things stand in a group. Answers whether it was that; it
/// is for nobody else then.
///
/// # Errors
/// The store's.
pub async fn hear(walk: &mut Walk<'_>) -> Result<bool, WalkError> {
    let Some(from) = walk.stanza.from.clone() else {
        return Ok(false);
    };
    let is_to_account = walk
        .stanza
        .to
        .as_ref()
        .is_none_or(|to| to.resource().is_none());
    let room = from
        .as_bare()
        .filter(|room| room.local().is_some() && is_to_account);
    let Some(room) = room else {
        // §10: who is in a room does not speak for it.
        let is_forged = |child: &str| child == "activity" || child == "status";
        if walk
            .stanza
            .children()
            .any(|child| child.ns == ns::GROUPS && is_forged(child.name))
        {
            walk.stanza
                .remove_children(|child| child.ns == ns::GROUPS && is_forged(child.name));
        }
        return Ok(false);
    };
    if let Some(activity) = walk.stanza.child("activity", ns::GROUPS) {
        if walk.stanza.kind == Kind::Message(MessageType::Headline)
            && let Some(activity) = Activity::read(&activity.to_element()?)
        {
            stand(walk, &room, activity).await?;
        }
        return Ok(true);
    }
    if let Some(user) = walk.stanza.child("x", ns::MUC_USER)
        && is_parting(&user.to_element()?, &walk.home.jid)
    {
        walk.delete(Group::key(&room));
    }
    Ok(false)
}

/// §3.1: does the room say that its member belongs to it no more?
fn is_parting(user: &Element, member: &BareJid) -> bool {
    let Some(item) = user.child("item", ns::MUC_USER) else {
        return false;
    };
    let is_told =
        |status: &Element| status.name() == "status" && status.attr("code") == Some("101");
    let is_theirs = item
        .attr("jid")
        .is_none_or(|jid| Jid::parse(jid).is_ok_and(|jid| jid.to_bare() == *member));
    is_theirs
        && matches!(item.attr("affiliation"), Some("none" | "outcast"))
        && user.children().any(is_told)
}

/// How things stand in a group, as its room says.
async fn stand(walk: &mut Walk<'_>, room: &BareJid, mut heard: Activity) -> Result<(), WalkError> {
    heard.by = heard.by.filter(|nick| nick.len() <= MAX_NICK_BYTES);
    let known = find(walk, room).await?;
    let bookmark = bookmark(walk, room).await?;
    if known.is_none() && !may_begin(walk, room, bookmark.is_some()).await? {
        return Ok(());
    }
    let is_new = known.is_none();
    let mut group = known.unwrap_or_default();
    let mut change = group.hear(heard, walk.now);
    change.is_any |= is_new;
    keep(walk, room, &group, change).await?;
    let wakes = match bookmark.as_ref().and_then(Setting::of) {
        None | Some(Setting::Always) => change.is_news,
        Some(Setting::OnMention) => change.is_mention,
        Some(Setting::Never) => false,
    };
    if wakes {
        let sender = group.activity.by.as_deref();
        let sender = sender.and_then(|nick| room.with_resource(nick).ok());
        let sender = sender.map_or_else(|| room.clone().into(), Jid::from);
        let said = newest(walk.node, room, &group).await?;
        let said = said
            .map(|(_, entry)| codec::stanza(&entry.stanza))
            .transpose()?;
        push::notify::wake(walk, sender, said.as_ref()).await?;
    }
    Ok(())
}

/// Writes what has changed, and shows it to the clients that want it.
async fn keep(
    walk: &mut Walk<'_>,
    room: &BareJid,
    group: &Group,
    change: Change,
) -> Result<(), WalkError> {
    if !change.is_any {
        return Ok(());
    }
    walk.put(Group::key(room), group.encode());
    let mut takers = Vec::new();
    for attendee in &walk.home.sessions {
        if attendee.available.is_some()
            && let Some(kind) = &attendee.kind
            && caps::learn(walk.node, kind).await?
            && kind.wants(ns::GROUPS)
        {
            takers.push(attendee.session.clone());
        }
    }
    if takers.is_empty() {
        return Ok(());
    }
    let notice = Stanza::message(MessageType::Headline)
        .from(room.clone())
        .to(walk.home.jid.clone())
        .with_child(&group.activity.to_element())
        .with_child(&Element::new("no-store", ns::HINTS));
    let xml = notice.encode();
    let mut hasher = DefaultHasher::new();
    (ns::GROUPS, room.as_str()).hash(&mut hasher);
    // A newer one of the same room makes an older one moot, as with presence.
    let what = What::Presence {
        sender: hasher.finish(),
    };
    for session in takers {
        walk.deliver(&session, what, xml.clone(), false);
    }
    Ok(())
}

/// §10: a room of ours may, and one that the owner has bookmarked.
async fn may_begin(
    walk: &Walk<'_>,
    room: &BareJid,
    is_bookmarked: bool,
) -> Result<bool, WalkError> {
    let is_ours = walk.node.config().service(room.domain()).is_some();
    if !is_ours && !is_bookmarked {
        return Ok(false);
    }
    let rows = walk.scan(Scan::prefix(tables::GROUP, MAX_GROUPS)).await?;
    Ok(rows.len() < MAX_GROUPS)
}

async fn bookmark(walk: &Walk<'_>, room: &BareJid) -> Result<Option<Element>, WalkError> {
    match OwnNode::find(walk, ns::BOOKMARKS).await? {
        Some(bookmarks) => bookmarks.item(walk, room.as_str()).await,
        None => Ok(None),
    }
}

// ---- what the owner has seen -----------------------------------------------------------------------------

/// One of the owner's devices says that everything up to this position of a room has been seen (XEP-0490), to its own
/// account. The room is asked for the number if it is not the newest that is known of.
///
/// # Errors
/// The store's.
pub async fn note_seen(
    walk: &mut Walk<'_>,
    room: &BareJid,
    position: &str,
) -> Result<(), WalkError> {
    if position.len() > MAX_POSITION_BYTES {
        return Ok(());
    }
    let Some(mut group) = find(walk, room).await? else {
        return Ok(());
    };
    if group.activity.last.as_deref() != Some(position) {
        let question = Stanza::message(MessageType::Headline)
            .from(walk.home.jid.clone())
            .to(room.clone())
            .with_child(&seen(position));
        walk.send(question);
        return Ok(());
    }
    let is_any = group.unread() > 0;
    group.read_all();
    let change = Change {
        is_any,
        ..Change::default()
    };
    keep(walk, room, &group, change).await
}

/// The owner sends a marker to a room (XEP-0333): it says to the own devices too what has been seen.
///
/// # Errors
/// The store's.
pub async fn note_sent(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if walk.stanza.kind != Kind::Message(MessageType::Groupchat) {
        return Ok(());
    }
    let Some(marker) = walk.stanza.child("displayed", ns::MARKERS) else {
        return Ok(());
    };
    let marker = marker.to_element()?;
    let room = walk.stanza.to.as_ref().map(Jid::to_bare);
    match (room, marker.attr("id")) {
        (Some(room), Some(position)) => note_seen(walk, &room, position).await,
        _ => Ok(()),
    }
}

// ---- what has been taken ---------------------------------------------------------------------------------

/// A message of a group and its place in the room's log, if it is one (§2): how its delivery is followed.
pub fn position(message: &Stanza) -> Option<(BareJid, ArchiveId)> {
    let is_said = message.kind == Kind::Message(MessageType::Groupchat);
    if !is_said || !message.has("counted", ns::GROUPS) {
        return None;
    }
    let room = message.from.as_ref()?.to_bare();
    let ids = message
        .children()
        .filter(|child| child.is("stanza-id", ns::STANZA_ID));
    let ids = ids.filter_map(|child| child.to_element().ok());
    let mut own = ids.filter(|id| id.attr("by") == Some(room.as_str()));
    let id = own.find_map(|id| id.attr("id").and_then(ArchiveId::parse))?;
    Some((room, id))
}

/// What the rooms are to be told of what the owner's clients have taken (§5).
pub fn receipts(state: &mut HomeState) -> Vec<Envelope> {
    let own = state.jid.clone();
    let heard = std::mem::take(&mut state.heard).into_iter();
    let receipt = |(room, id): (BareJid, ArchiveId)| {
        let received = Element::new("received", ns::RECEIPTS).with_attr("id", id.to_string());
        let message = Stanza::message(MessageType::Groupchat)
            .from(own.clone())
            .to(room);
        Envelope::new(message.with_child(&received))
    };
    heard.map(receipt).collect()
}

/// A device enters a room: it goes on where it was, unless it says itself from where (§4).
///
/// # Errors
/// The store's.
pub async fn stamp_entry(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let is_presence = walk.stanza.kind == Kind::Presence(PresenceType::Available);
    let (true, Some(session)) = (is_presence, walk.session) else {
        return Ok(());
    };
    let (Some(entering), Some(to)) = (walk.stanza.child("x", ns::MUC), &walk.stanza.to) else {
        return Ok(());
    };
    let (entering, room) = (entering.to_element()?, to.to_bare());
    if let Some(attendee) = walk.home.attendee(session) {
        attendee.session.state().entered(&room);
    }
    let has_said = entering.child("history", ns::MUC).is_some()
        || entering.child("since", ns::GROUPS).is_some();
    let upto = devices::heard_upto(walk, session, &room).await?;
    if upto.is_none()
        && let Some(group) = find(walk, &room).await?
    {
        // Its first time: from now on it misses nothing, whatever it confirms.
        let last = group.activity.last.as_deref().and_then(ArchiveId::parse);
        devices::begin_hearing(walk, session, &room, last.unwrap_or_default());
    }
    if let Some(upto) = upto.filter(|_| !has_said) {
        // Inside: no room shows this element to others.
        let entering = entering.with_child(since(&upto.to_string()));
        walk.stanza.remove_children(|child| child.is("x", ns::MUC));
        walk.stanza.push_child(&entering);
    }
    Ok(())
}

// ---- what is kept ----------------------------------------------------------------------------------------

/// What is kept of a group.
///
/// # Errors
/// The store's.
pub async fn find(walk: &Walk<'_>, room: &BareJid) -> Result<Option<Group>, WalkError> {
    let value = walk.get(&Group::key(room)).await?;
    Ok(value.map(Group::decode).transpose()?)
}

/// Every group of an account in which something was said, at most [`MAX_GROUPS`].
///
/// # Errors
/// The store's.
pub async fn all(kv: &dyn Kv, partition: &Partition) -> Result<Vec<(BareJid, Group)>, WalkError> {
    let rows = kv
        .scan(partition, Scan::prefix(tables::GROUP, MAX_GROUPS))
        .await?;
    let mut groups = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let room = tables::key_text(tables::GROUP, &key).and_then(|room| BareJid::parse(room).ok());
        let group = Group::decode(value)?;
        groups.extend(
            room.filter(|_| group.activity.count > 0)
                .map(|room| (room, group)),
        );
    }
    Ok(groups)
}

/// The newest message of a group, if its room is one of ours: from the room's log, where alone it is. As a member sees
/// it: who is behind a nickname is not told.
///
/// # Errors
/// The store's.
pub async fn newest(
    node: &Node,
    room: &BareJid,
    group: &Group,
) -> Result<Option<(ArchiveId, Entry)>, WalkError> {
    let position = group.activity.last.as_deref().and_then(ArchiveId::parse);
    let (true, Some(id), Ok(partition)) = (
        node.config().service(room.domain()).is_some(),
        position,
        Partition::new(room.as_str()),
    ) else {
        return Ok(None);
    };
    let Some(value) = node.kv().get(&partition, &tables::log_key(id)).await? else {
        return Ok(None);
    };
    let entry = Entry::decode(value)?;
    let mut stanza = codec::stanza(&entry.stanza)?;
    stanza.remove_children(|child| child.is("x", ns::MUC_USER));
    let stanza = stanza.encode();
    Ok(Some((id, Entry { stanza, ..entry })))
}
