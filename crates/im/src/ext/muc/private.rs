//! What is said to one occupant (§7.5).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::xep::muc::User;

use super::occupants::Occupant;
use super::{leave, message, not_an_occupant};
use crate::error::WalkError;
use crate::walk::Walk;

/// An occupant says something to another one: all sessions of that one get it.
pub(super) fn say(walk: &mut Walk<'_>, from: &FullJid, to: &FullJid) -> Result<(), WalkError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let sender = room.occupants.of(from).ok_or_else(not_an_occupant)?;
    let recipient = room.occupants.at(to);
    let recipient = recipient.ok_or_else(StanzaError::item_not_found)?;
    if !room.config.private_messages.admits(sender.role) {
        return Err(StanzaError::forbidden().into());
    }
    let (id, sender) = (sender.id.to_element(), sender.address.clone());
    let seats = sessions(recipient);
    // What a room says of an occupant, or an invitation in its name, is nothing that an occupant says.
    message::strip_forged(walk);
    let mut stanza = walk.stanza.clone().from(sender);
    // §7.5: clients know by it that it is no message of a contact.
    stanza.push_child(&User::default().to_element());
    stanza.push_child(&id);
    for seat in seats {
        walk.send(stanza.clone().to(seat));
    }
    Ok(())
}

/// What an occupant was sent has come back with an error. Whoever said it is told; whether the one who is not reached is
/// still there is known by what the room itself sends.
pub(super) fn pass_error(
    walk: &mut Walk<'_>,
    from: &FullJid,
    to: &FullJid,
) -> Result<(), WalkError> {
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(());
    };
    let (Some(sender), Some(recipient)) = (room.occupants.of(from), room.occupants.at(to)) else {
        return Ok(());
    };
    // The error of something that was said to all names whoever said it, and means the room.
    if walk.stanza.kind.is_error() && !walk.stanza.has("x", ns::MUC_USER) {
        return leave::bounced(walk, from);
    }
    let (sender, seats) = (sender.address.clone(), sessions(recipient));
    message::strip_forged(walk);
    let stanza = walk.stanza.clone().from(sender);
    for seat in seats {
        walk.send(stanza.clone().to(seat));
    }
    Ok(())
}

fn sessions(occupant: &Occupant) -> Vec<FullJid> {
    let seats = occupant.seats.iter();
    seats.map(|seat| seat.jid.clone()).collect()
}
