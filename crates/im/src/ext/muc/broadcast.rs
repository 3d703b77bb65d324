//! What goes to many: the only place where something is made for every occupant. All get the same content; only the
//! address differs, so that one stanza is made for all of them ([`crate::copies`]).

use std::sync::Arc;

use posthaste_proto::jid::FullJid;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::muc::Role;

use super::occupants::Occupant;
use super::presence::{self, Said};
use super::room::Room;
use crate::error::WalkError;
use crate::router::Envelope;

/// A message to every session in the room.
pub fn message(room: &mut Room, out: &mut Vec<Envelope>, stanza: &Stanza) {
    out.push(Envelope::to_many(stanza.clone(), room.occupants.audience()));
}

/// A message to everybody in the room who may see real addresses.
pub fn to_who_sees_addresses(room: &Room, out: &mut Vec<Envelope>, stanza: &Stanza) {
    let sees = |occupant: &Occupant| room.shows_jids_to(occupant.role);
    to_those(room, out, sees, || stanza.clone());
}

/// A message to every moderator in the room.
pub fn to_moderators(room: &Room, out: &mut Vec<Envelope>, stanza: &Stanza) {
    let moderates = |occupant: &Occupant| occupant.role == Role::Moderator;
    to_those(room, out, moderates, || stanza.clone());
}

/// One stanza for all sessions of the occupants that are meant; it is made if there are any.
fn to_those(
    room: &Room,
    out: &mut Vec<Envelope>,
    is_meant: impl Fn(&Occupant) -> bool,
    stanza: impl FnOnce() -> Stanza,
) {
    let meant = room.occupants.iter().filter(|it| is_meant(it));
    let seats = meant.flat_map(|occupant| &occupant.seats);
    let sessions: Arc<[FullJid]> = seats.map(|seat| seat.jid.clone()).collect();
    if !sessions.is_empty() {
        out.push(Envelope::to_many(stanza(), sessions));
    }
}

/// What an occupant says of itself, or what becomes of it, to everybody, itself last (§7.2.2). It need not be in the room
/// any more.
pub fn presence(
    room: &Room,
    out: &mut Vec<Envelope>,
    occupant: &Occupant,
    stanza: &Stanza,
    said: &Said<'_>,
) {
    if room.shows(occupant) {
        to_others(room, out, occupant, stanza, said);
    }
    to_itself(out, occupant, stanza, said);
}

/// The part of [`presence`] that the others get.
pub fn to_others(
    room: &Room,
    out: &mut Vec<Envelope>,
    occupant: &Occupant,
    stanza: &Stanza,
    said: &Said<'_>,
) {
    let view = |shows_jids| {
        let x = presence::extended(occupant, shows_jids, false, said);
        stanza.clone().with_child(&x.to_element())
    };
    for shows_jids in [false, true] {
        let is_other = |other: &Occupant| {
            other.address != occupant.address && room.shows_jids_to(other.role) == shows_jids
        };
        to_those(room, out, is_other, || view(shows_jids));
    }
}

/// The part of [`presence`] that the occupant itself gets, at all its sessions.
pub fn to_itself(out: &mut Vec<Envelope>, occupant: &Occupant, stanza: &Stanza, said: &Said<'_>) {
    for seat in &occupant.seats {
        to_own_session(out, occupant, &seat.jid, stanza, said);
    }
}

/// The presence of an occupant to one session of its own. Everybody may know who one is oneself.
pub fn to_own_session(
    out: &mut Vec<Envelope>,
    occupant: &Occupant,
    session: &FullJid,
    stanza: &Stanza,
    said: &Said<'_>,
) {
    let x = presence::extended(occupant, true, true, said);
    let own = stanza
        .clone()
        .with_child(&x.to_element())
        .to(session.clone());
    out.push(Envelope::new(own));
}

/// Everybody who is there, to one who has just come (§7.2.2).
///
/// # Errors
/// What is kept of somebody is no presence.
pub fn who_is_there(
    room: &Room,
    out: &mut Vec<Envelope>,
    newcomer: &Occupant,
    session: &FullJid,
) -> Result<(), WalkError> {
    let shows_jids = room.shows_jids_to(newcomer.role);
    let mut crowd = Vec::with_capacity(room.occupants.len());
    for other in room.occupants.iter() {
        let is_shown = room.shows(other);
        if other.address != newcomer.address && is_shown {
            crowd.push(other.shown(room, shows_jids)?);
        }
    }
    if !crowd.is_empty() {
        let room = newcomer.address.to_bare();
        out.push(Envelope::crowd(&room, session.clone(), crowd));
    }
    Ok(())
}
