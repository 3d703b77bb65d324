//! Requests: those that the room answers, and those that occupants ask each other (§17.4).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{FullJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, Stanza};
use sha1::{Digest, Sha1};

use super::room::Room;
use super::{
    admin, archive, avatar, disco, group, hats, moderation, not_an_occupant, owner, register,
    self_ping,
};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::walk::Walk;

/// Hexadecimal digits before an id that say which session of an occupant asked.
const TAG: usize = 8;

/// A request to the room itself.
pub(super) async fn to_room(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Kind::Iq(kind @ (IqType::Get | IqType::Set)) = walk.stanza.kind else {
        return Ok(());
    };
    let payload = walk.stanza.payload()?;
    if walk.home.room.is_none() {
        return Err(StanzaError::item_not_found().into());
    }
    if payload.ns() == ns::MAM {
        return archive::answer(walk, kind, &payload).await;
    }
    let place = walk.answer_place();
    let answer: Answer = match (kind, payload.ns(), payload.name()) {
        (IqType::Get, ns::PING, "ping") => Ok(None),
        (IqType::Get, ns::MUC_ADMIN, "query") => admin::show(walk, &payload),
        (IqType::Set, ns::MUC_ADMIN, "query") => admin::change(walk, &payload),
        (IqType::Get, ns::GROUPS, "activity") => group::activity::answer(walk),
        (IqType::Get, ns::GROUPS, "readers") => group::reached::answer(walk, &payload).await,
        (IqType::Set, ns::MODERATE, "moderate") => moderation::moderate(walk, &payload).await,
        (IqType::Set, ns::COMMANDS, "command") => hats::command(walk, &payload),
        (IqType::Get, ns::DISCO_INFO, "query") => disco::info(walk, &payload).await,
        (IqType::Get, ns::DISCO_ITEMS, "query") => disco::items(walk, &payload),
        (IqType::Get, ns::MUC_OWNER, "query") => owner::form(walk),
        (IqType::Set, ns::MUC_OWNER, "query") => owner::set(walk, &payload),
        (IqType::Get, ns::REGISTER, "query") => register::requirements(walk),
        (IqType::Set, ns::REGISTER, "query") => register::set(walk, &payload).await,
        (IqType::Get, ns::VCARD, "vCard") => avatar::get(walk).await,
        (IqType::Set, ns::VCARD, "vCard") => avatar::set(walk, &payload),
        _ => Err(StanzaError::service_unavailable().into()),
    };
    let result = walk.stanza.result(answer?);
    walk.send_answer(place, result);
    Ok(())
}

/// A request of one occupant to another, or the answer to one. Neither learns the address of the other.
pub(super) fn to_occupant(walk: &mut Walk<'_>, to: &FullJid) -> Result<(), WalkError> {
    let Some(from) = walk.stanza.from.clone() else {
        return Ok(());
    };
    let Kind::Iq(kind) = walk.stanza.kind else {
        return Ok(());
    };
    let passed = match kind {
        IqType::Get | IqType::Set => Some(request(walk, &from, to)?),
        // Nobody waits for what cannot be passed on.
        IqType::Result | IqType::Error => answer(walk, &from, to),
    };
    if let Some(passed) = passed {
        walk.send(passed);
    }
    Ok(())
}

fn request(walk: &Walk<'_>, from: &Jid, to: &FullJid) -> Result<Stanza, WalkError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let session = from.as_full().ok_or_else(not_an_occupant)?;
    let asker = room.occupants.of(&session).ok_or_else(not_an_occupant)?;
    // Before it goes to a client, which may be one that answers no more (XEP-0410 §4.3).
    if let Some(pong) = self_ping::answer(asker, to, &walk.stanza) {
        return Ok(pong);
    }
    let asked = room.occupants.at(to);
    let asked = asked.ok_or_else(StanzaError::item_not_found)?;
    let seat = asked.first().ok_or_else(StanzaError::item_not_found)?;
    let id = walk.stanza.id.as_deref().unwrap_or_default();
    let mut stanza = walk.stanza.clone().from(asker.address.clone());
    stanza.id = Some(format!("{}{id}", tag(&session)).into());
    // A client's vCard is its account's (XEP-0054), which the account answers for.
    let is_vcard = stanza.child("vCard", ns::VCARD).is_some();
    Ok(match is_vcard {
        true => stanza.to(seat.jid.to_bare()),
        false => stanza.to(seat.jid.clone()),
    })
}

fn answer(walk: &Walk<'_>, from: &Jid, to: &FullJid) -> Option<Stanza> {
    let room = walk.home.room.as_deref()?;
    let answerer = answerer(room, from)?;
    let (tagged, id) = walk.stanza.id.as_deref()?.split_at_checked(TAG)?;
    let asker = room.occupants.at(to)?;
    let mut seats = asker.seats.iter();
    let seat = seats.find(|seat| tag(&seat.jid) == tagged)?;
    let stanza = walk.stanza.clone().id(id);
    Some(stanza.from(answerer).to(seat.jid.clone()))
}

/// An answer comes from a session, or from its account.
fn answerer(room: &Room, from: &Jid) -> Option<FullJid> {
    let account = from.to_bare();
    let occupant = match from.as_full() {
        Some(session) => room.occupants.of(&session)?,
        None => room.occupants.of_user(&account).next()?,
    };
    Some(occupant.address.clone())
}

/// A name for one session of an occupant, so that an answer finds the one that asked.
fn tag(session: &FullJid) -> String {
    let digest = Sha1::digest(session.as_str());
    digest
        .iter()
        .take(TAG / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
