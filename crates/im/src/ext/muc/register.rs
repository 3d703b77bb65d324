//! Somebody becomes a member of a room, with a nickname that is kept for them, and is one no more (§7.10, §9.10).
//!
//! In a room where everybody may speak it is granted at once. Where members enter or speak before others, one of those
//! who run the room has to allow it. Nobody can ask to join a room that is for members and hidden.

use bytes::Bytes;
use posthaste_kv::Scan;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::data_form::DataForm;
use posthaste_proto::xep::muc::register::{self, Approval, Register};
use posthaste_proto::xep::muc::{Affiliation, Nick};
use posthaste_proto::xml::Element;

use super::room::{Affiliate, Room};
use super::{configured, disco, nick, room};
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::tables;
use crate::walk::Walk;

const REQUEST_V1: u8 = 1;
/// Requests that wait in one room; more than anybody answers.
const MOST_REQUESTS: usize = 100;
/// Administrators and owners who are asked to allow one; owners first.
const MOST_ASKED: usize = 10;

/// What somebody who wants to register is to the room.
struct Applicant {
    user: BareJid,
    affiliation: Affiliation,
    /// The nickname that is kept for them.
    nick: Option<Box<str>>,
}

fn applicant(walk: &Walk<'_>) -> Result<Applicant, StanzaError> {
    disco::check_visible(walk)?;
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let from = walk.stanza.from.as_ref();
    let user = from.ok_or_else(StanzaError::bad_request)?.to_bare();
    let affiliation = room.affiliation(&user);
    if affiliation == Affiliation::Outcast {
        return Err(StanzaError::not_allowed());
    }
    let nick = room.affiliations.get(&user).and_then(|it| it.nick.clone());
    Ok(Applicant {
        user,
        affiliation,
        nick,
    })
}

/// What is asked of whoever wants to register, or that they are registered.
pub(super) fn requirements(walk: &Walk<'_>) -> Answer {
    let applicant = applicant(walk)?;
    Ok(Some(match applicant.nick {
        Some(nick) => register::registered(Some(&nick)),
        None => register::requirements(walk.home.jid.as_str()),
    }))
}

/// Somebody registers, or does so no more.
pub(super) async fn set(walk: &mut Walk<'_>, payload: &Element) -> Answer {
    let applicant = applicant(walk)?;
    let register = Register::read(payload).ok_or_else(StanzaError::bad_request)?;
    // Also what is refused: looking for a nickname that is free is work, and tells who is there.
    let now = walk.now;
    if let Some(room) = walk.home.room.as_deref_mut() {
        room.paces.register(&applicant.user, now)?;
    }
    match register {
        Register::Remove => remove(walk, &applicant)?,
        Register::Nick(nick) => {
            let nick = Nick::parse(&nick).map_err(|_| StanzaError::not_acceptable())?;
            apply(walk, &applicant, &nick).await?;
        }
    }
    Ok(None)
}

/// XEP-0077 §3.2: membership and nickname go. Who runs the room stays what they are.
fn remove(walk: &mut Walk<'_>, applicant: &Applicant) -> Result<(), WalkError> {
    let is_registered = applicant.affiliation >= Affiliation::Member || applicant.nick.is_some();
    if !is_registered {
        walk.delete(request_key(&applicant.user));
        return Ok(());
    }
    let affiliation = match applicant.affiliation {
        Affiliation::Member => Affiliation::None,
        other => other,
    };
    let affiliate = Affiliate {
        affiliation,
        nick: None,
        reason: None,
    };
    configured::admit(walk, &applicant.user, affiliate)
}

async fn apply(walk: &mut Walk<'_>, applicant: &Applicant, nick: &Nick) -> Result<(), WalkError> {
    let limits = walk.node.config().rooms;
    let address = address(walk, nick.as_str())?;
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(());
    };
    nick::is_free(room, &address, &applicant.user)?;
    let is_known = room.affiliations.contains_key(&applicant.user);
    if !is_known && room.affiliations.len() >= limits.affiliations {
        return Err(StanzaError::resource_constraint()
            .with_text("the room's lists are full")
            .into());
    }
    let is_guarded = room.config.members_only || room.config.moderated;
    if is_guarded && applicant.affiliation < Affiliation::Member {
        return ask(walk, &applicant.user, nick).await;
    }
    grant(walk, &applicant.user, nick)
}

fn address(walk: &Walk<'_>, nick: &str) -> Result<FullJid, StanzaError> {
    room::address(walk, nick).ok_or_else(StanzaError::not_acceptable)
}

fn grant(walk: &mut Walk<'_>, user: &BareJid, nick: &Nick) -> Result<(), WalkError> {
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(());
    };
    let affiliate = Affiliate {
        affiliation: room.affiliation(user).max(Affiliation::Member),
        nick: Some(nick.as_str().into()),
        reason: None,
    };
    configured::admit(walk, user, affiliate)
}

/// §9.10: those who run the room are asked, wherever they are.
async fn ask(walk: &mut Walk<'_>, user: &BareJid, nick: &Nick) -> Result<(), WalkError> {
    let waiting = walk.scan(Scan::prefix(tables::ROOM_REQUEST, MOST_REQUESTS));
    let waiting = waiting.await?;
    let key = request_key(user);
    for (other, value) in &waiting {
        let is_own = *other == key;
        if !is_own && request(value.clone())? == nick.as_str() {
            return Err(StanzaError::conflict().into());
        }
        // Who asks again is not put before those who run the room again.
        if is_own && request(value.clone())? == nick.as_str() {
            return Ok(());
        }
    }
    let is_new = waiting.iter().all(|(other, _)| *other != key);
    if is_new && waiting.len() >= MOST_REQUESTS {
        return Err(StanzaError::resource_constraint()
            .with_text("too many wait already")
            .into());
    }
    walk.put(key, encode_request(nick.as_str()));
    let form = Approval {
        who: user.clone(),
        nick: nick.as_str().to_owned(),
        allow: false,
    };
    let form = form.to_form().to_element();
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(());
    };
    for to in keepers(room) {
        let question = Stanza::message(MessageType::Normal)
            .id(walk.node.random_name())
            .from(walk.home.jid.clone())
            .to(to)
            .with_child(&form);
        walk.send_stored(question);
    }
    Ok(())
}

fn keepers(room: &Room) -> Vec<BareJid> {
    let with = |affiliation| {
        let all = room.affiliations.iter();
        all.filter(move |(_, it)| it.affiliation == affiliation)
    };
    let keepers = with(Affiliation::Owner).chain(with(Affiliation::Admin));
    keepers
        .map(|(user, _)| user.clone())
        .take(MOST_ASKED)
        .collect()
}

/// Somebody who was asked answers. `None`: the form is no such answer.
///
/// # Errors
/// `<forbidden/>`: they may not; `<item-not-found/>`: nobody asks, or it was answered before.
pub(super) async fn answered(
    walk: &mut Walk<'_>,
    form: &DataForm,
    by: &BareJid,
) -> Result<Option<()>, WalkError> {
    let Some(approval) = Approval::read(form) else {
        return Ok(None);
    };
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    if room.affiliation(by) < Affiliation::Admin {
        return Err(StanzaError::forbidden().into());
    }
    let key = request_key(&approval.who);
    let value = walk.get(&key).await?;
    // What was asked for counts, not what the answer says of it.
    let nick = request(value.ok_or_else(StanzaError::item_not_found)?)?;
    let is_banned = room.affiliation(&approval.who) == Affiliation::Outcast;
    let nick = Nick::parse(&nick).map_err(|_| StanzaError::not_acceptable())?;
    if approval.allow && !is_banned {
        let address = address(walk, nick.as_str())?;
        nick::is_free(room, &address, &approval.who)?;
        walk.delete(key);
        grant(walk, &approval.who, &nick)?;
    } else {
        walk.delete(key);
    }
    Ok(Some(()))
}

fn request_key(user: &BareJid) -> Bytes {
    tables::text_key(tables::ROOM_REQUEST, user.as_str())
}

fn encode_request(nick: &str) -> Bytes {
    let mut value = Writer::new(REQUEST_V1, 32);
    value.text(nick);
    value.finish()
}

fn request(value: Bytes) -> Result<String, Corrupt> {
    let (_, mut value) = Reader::open("registration request", value, REQUEST_V1)?;
    let nick = value.text()?;
    value.end()?;
    Ok(nick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let golden = b"\x01\0\0\0\x0athirdwitch";
        assert_eq!(&encode_request("thirdwitch")[..], golden);
        let read = request(Bytes::from_static(golden));
        assert_eq!(read.as_deref(), Ok("thirdwitch"));
        assert!(request(Bytes::from_static(b"\x01\0")).is_err());
    }
}
