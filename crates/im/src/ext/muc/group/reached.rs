//! How far messages have got (§5): members say what was delivered to them and what they have seen, to the room and no
//! further; authors are told numbers, and who asks may know who.

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, MessageType, Stanza};
use posthaste_proto::xep::groups::{Reach, Reader, named_position, status};
use posthaste_proto::xep::muc::Affiliation;
use posthaste_proto::xep::muc::config::WhoIs;
use posthaste_proto::xep::rsm;
use posthaste_proto::xml::Element;

use super::super::room::{Affiliate, Room};
use super::activity::asked_by_member;
use super::{author, entry, is_group, is_member, members, number_at, save, wait};
use crate::clock::Timestamp;
use crate::error::WalkError;
use crate::ext::Answer;
use crate::log::ArchiveId;
use crate::router::Envelope;
use crate::walk::Walk;

/// Members in one answer.
const MAX_PAGE: usize = 100;

/// What a member says of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Delivered,
    Displayed,
}

/// A member says how far it has come, and nothing else: the room takes it. Answers whether it did.
///
/// # Errors
/// The store's.
pub async fn hear(walk: &mut Walk<'_>) -> Result<bool, WalkError> {
    let is_said = walk.stanza.kind == Kind::Message(MessageType::Groupchat);
    let room = walk
        .home
        .room
        .as_deref()
        .filter(|room| is_said && is_group(room));
    let Some((room, (said, id))) = room.zip(marker(&walk.stanza)) else {
        return Ok(false);
    };
    let member = walk.stanza.from.as_ref().map(Jid::to_bare);
    let member = member.filter(|member| is_member(room, member));
    let member = member.ok_or_else(StanzaError::forbidden)?;
    // Before anything is read for it.
    paced(walk, &member)?;
    // XEP-0333: what is not in the archive is ignored.
    let Some(id) = id else { return Ok(true) };
    let Some(number) = number_at(walk, id).await? else {
        return Ok(true);
    };
    let Some(room) = walk.home.room.as_deref_mut() else {
        return Ok(true);
    };
    let progress = room.group.members.entry(member.clone()).or_default();
    let is_news = match said {
        Said::Delivered => {
            let before = progress.delivered;
            progress.delivered = before.max(id);
            before < id
        }
        Said::Displayed => progress.see(id, number),
    };
    if is_news {
        save(walk, &member);
        tell(walk);
    }
    Ok(true)
}

/// A member says how far it has come, or asks: not too often (§10).
pub(super) fn paced(walk: &mut Walk<'_>, member: &BareJid) -> Result<(), StanzaError> {
    let now = walk.now;
    let room = walk.home.room.as_deref_mut();
    room.map_or(Ok(()), |room| room.paces.mark(member, now))
}

/// The marker or receipt of a message that holds nothing else that means anything.
fn marker(stanza: &Stanza) -> Option<(Said, Option<ArchiveId>)> {
    let mut found = None;
    for child in stanza.children() {
        let said = match (child.ns, child.name) {
            (ns::MARKERS, "displayed") => Said::Displayed,
            (ns::RECEIPTS, "received") => Said::Delivered,
            (ns::HINTS | ns::STANZA_ID | ns::CHAT_STATES, _) | (ns::CLIENT, "thread") => continue,
            _ => return None,
        };
        let id = child.to_element().ok()?;
        let id = named_position(&id).and_then(ArchiveId::parse);
        // What was seen was delivered.
        if found.is_none() || said == Said::Displayed {
            found = Some((said, id));
        }
    }
    found
}

// ---- authors ---------------------------------------------------------------------------------------------

/// How far a message has got.
pub(super) fn reach(room: &Room, id: ArchiveId, author: &BareJid) -> Reach {
    let mut reach = Reach::default();
    for (member, _) in members(room).filter(|(member, _)| *member != author) {
        let progress = room.group.members.get(member);
        reach.members += 1;
        reach.delivered += u32::from(progress.is_some_and(|it| it.delivered >= id));
        reach.displayed += u32::from(progress.is_some_and(|it| it.displayed >= id));
    }
    reach
}

/// Authors are to be told how far their messages have got: now, or in a while.
pub(super) fn tell(walk: &mut Walk<'_>) {
    let (node, now) = (walk.node, walk.now);
    let jid = walk.home.jid.clone();
    let Some((room, out)) = walk.room_and_out() else {
        return;
    };
    let wait = wait(room);
    if room.group.statuses.may_send(now, wait) {
        statuses(room, &jid, now, out);
    }
    node.expect_push(now.plus_millis(wait), &jid);
}

/// A status for each author of whose messages a number has changed.
pub(super) fn statuses(room: &mut Room, jid: &BareJid, now: Timestamp, out: &mut Vec<Envelope>) {
    let mut recent = std::mem::take(&mut room.group.recent);
    let mut told: Vec<(BareJid, Vec<(String, Reach)>)> = Vec::new();
    for message in &mut recent {
        let reach = reach(room, message.id, &message.author);
        let changed =
            (reach.delivered, reach.displayed) != (message.told.delivered, message.told.displayed);
        if !changed || !is_member(room, &message.author) {
            continue;
        }
        message.told = reach;
        let line = (message.id.to_string(), reach);
        match told
            .iter_mut()
            .find(|(author, _)| *author == message.author)
        {
            Some((_, lines)) => lines.push(line),
            None => told.push((message.author.clone(), vec![line])),
        }
    }
    room.group.recent = recent;
    if !told.is_empty() {
        room.group.statuses.sent_at = now;
    }
    for (author, lines) in told {
        let message = Stanza::message(MessageType::Headline)
            .from(jid.clone())
            .to(author);
        let message = message
            .with_child(&status(lines))
            .with_child(&Element::new("no-store", ns::HINTS));
        out.push(Envelope::new(message));
    }
}

// ---- who asks --------------------------------------------------------------------------------------------

/// A member asks who has read a message.
///
/// # Errors
/// There is no such message; who asks does not belong to the group; or the store's.
pub async fn answer(walk: &Walk<'_>, query: &Element) -> Answer {
    let (room, asker) = asked_by_member(walk)?;
    let id = named_position(query).and_then(ArchiveId::parse);
    let stanza = match id {
        Some(id) => entry(walk, id).await?.map(|stanza| (id, stanza)),
        None => None,
    };
    let (id, stanza) = stanza.ok_or_else(StanzaError::item_not_found)?;
    let author = author(&stanza).ok_or_else(StanzaError::item_not_found)?;
    let page = rsm::Request::read(query).map_err(|_| StanzaError::bad_request())?;
    let others = members(room).filter(|(member, _)| **member != author);
    let readers: Vec<(String, Reader)> = others
        .enumerate()
        // Numbers name them in pages: addresses are not for everybody.
        .map(|(n, (member, affiliate))| {
            (n.to_string(), reader(room, &asker, id, member, affiliate))
        })
        .collect();
    let cut = page.cut(&readers, |(uid, _)| uid, MAX_PAGE);
    let (page, set) = cut.map_err(|_| StanzaError::item_not_found())?;
    let answer = Element::new("readers", ns::GROUPS).with_attr("id", id.to_string());
    let answer = reach(room, id, &author).on(answer);
    let lines = page.iter().map(|(_, reader)| reader.to_element());
    Ok(Some(
        answer.with_children(lines).with_child(set.to_element()),
    ))
}

fn reader(
    room: &Room,
    asker: &BareJid,
    id: ArchiveId,
    member: &BareJid,
    affiliate: &Affiliate,
) -> Reader {
    let progress = room.group.members.get(member);
    let knows_jids =
        room.config.whois == WhoIs::Anyone || room.affiliation(asker) >= Affiliation::Admin;
    let here = room.occupants.of_user(member).next();
    let nick = here
        .map(|occupant| occupant.nick())
        .or(affiliate.nick.as_deref());
    Reader {
        jid: knows_jids.then(|| member.to_string()),
        nick: nick.map(str::to_owned),
        delivered: progress.is_some_and(|it| it.delivered >= id),
        displayed: progress.is_some_and(|it| it.displayed >= id),
    }
}
