//! Nicknames: whose they are, and changing them (§7.2.8, §7.6).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::xep::muc::Status;

use super::broadcast;
use super::occupants::Seat;
use super::presence::{self, Said};
use super::room::Room;
use crate::error::WalkError;
use crate::walk::Walk;

/// May this user have the nickname of that address?
///
/// # Errors
/// `<conflict/>`: somebody else has it, or it is kept for somebody else.
pub(super) fn is_free(room: &Room, address: &FullJid, user: &BareJid) -> Result<(), StanzaError> {
    let nick = address.resource();
    let is_taken = room
        .occupants
        .at(address)
        .is_some_and(|there| !there.is_of(user));
    let is_reserved = room.nick_is_of(nick).is_some_and(|of| of != user);
    if is_taken || is_reserved {
        return Err(StanzaError::conflict());
    }
    Ok(())
}

/// An occupant takes another nickname, with all its sessions.
pub(super) async fn change(
    walk: &mut Walk<'_>,
    from: &FullJid,
    to: &FullJid,
    seat: Seat,
) -> Result<(), WalkError> {
    let id = walk.stanza.id.clone();
    let Some((room, out)) = walk.room_and_out() else {
        return Ok(());
    };
    is_free(room, to, &seat.jid.to_bare())?;
    // The same user is there under that name already: with two sets of sessions, one would have to go.
    if room.occupants.at(to).is_some() {
        return Err(StanzaError::conflict().into());
    }
    let Some(occupant) = room.occupants.at_mut(from) else {
        return Ok(());
    };
    let mut stanza = presence::gone(occupant, None);
    if let Some(own) = occupant.seats.iter_mut().find(|own| own.jid == seat.jid) {
        *own = seat;
    }
    let Some(occupant) = room.occupants.at(from) else {
        return Ok(());
    };
    let said = Said {
        codes: &[Status::NickChanged],
        nick: Some(to.resource()),
        ..Said::default()
    };
    broadcast::presence(room, out, occupant, &stanza, &said);
    room.occupants.rename(from, to);
    let Some(occupant) = room.occupants.at(to) else {
        return Ok(());
    };
    stanza = presence::of(room, occupant)?;
    stanza.id = id;
    broadcast::presence(room, out, occupant, &stanza, &Said::default());
    Ok(())
}
