//! What an occupant's presence looks like, and to whom.

use bytes::Bytes;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, PresenceType, Stanza};
use posthaste_proto::xep::muc::{Actor, Destroy, Item, Status, User};
use smallvec::SmallVec;

use super::hats;
use super::occupants::{Occupant, Seat};
use super::room::Room;
use crate::codec;
use crate::error::WalkError;

/// What is said of an occupant beside how it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// Status codes for everybody.
    pub codes: &'a [Status],
    /// More of them for the occupant itself, beside 110.
    pub own_codes: &'a [Status],
    /// The nickname that it will have (§7.6).
    pub nick: Option<&'a str>,
    /// Who did it; the address is shown to those who may see it.
    pub actor: Option<&'a Actor>,
    /// Why.
    pub reason: Option<&'a str>,
    /// The room is no more (§10.9).
    pub destroy: Option<&'a Destroy>,
}

/// A presence as it is kept: without addresses, and without what only a room or an own server says.
pub fn kept(stanza: &Stanza) -> Bytes {
    let is_foreign = |ns: &str| {
        matches!(
            ns,
            ns::MUC | ns::MUC_USER | ns::DELAY | ns::OCCUPANT_ID | ns::HATS
        )
    };
    let mut presence = stanza.clone();
    presence.from = None;
    presence.to = None;
    presence.id = None;
    if presence.children().any(|child| is_foreign(child.ns)) {
        presence.remove_children(|child| is_foreign(child.ns));
    }
    if presence.content().is_empty() && presence.lang.is_none() {
        return Bytes::from_static(b"<presence/>");
    }
    presence.encode()
}

/// How an occupant is, from its address: what its first session says, and what the room says of it for everybody.
///
/// # Errors
/// What is kept is no presence.
pub fn of(room: &Room, occupant: &Occupant) -> Result<Stanza, WalkError> {
    let kept = occupant.first().map(|seat| &seat.presence[..]);
    let stanza = codec::stanza(kept.unwrap_or(b"<presence/>"))?;
    let stanza = stanza
        .from(occupant.address.clone())
        .with_child(&occupant.id.to_element());
    Ok(match hats::worn(room, occupant) {
        Some(hats) => stanza.with_child(&hats),
        None => stanza,
    })
}

/// That an occupant goes, from its address; `words` is what it says at that.
pub fn gone(occupant: &Occupant, words: Option<&Stanza>) -> Stanza {
    let mut stanza = match words {
        Some(words) => {
            let mut stanza = words.clone();
            stanza.remove_children(|child| child.ns != ns::CLIENT);
            stanza
        }
        None => Stanza::presence(PresenceType::Unavailable),
    };
    stanza.kind = Kind::Presence(PresenceType::Unavailable);
    stanza.to = None;
    stanza.id = None;
    stanza
        .from(occupant.address.clone())
        .with_child(&occupant.id.to_element())
}

/// What the presence of an occupant says of it to somebody who may or may not see real addresses.
pub fn extended(occupant: &Occupant, shows_jids: bool, is_own: bool, said: &Said<'_>) -> User {
    let item = Item {
        nick: said.nick.map(str::to_owned),
        actor: said.actor.map(|actor| Actor {
            jid: actor.jid.clone().filter(|_| shows_jids),
            nick: actor.nick.clone(),
        }),
        reason: said.reason.map(str::to_owned),
        ..Item::new(occupant.affiliation, occupant.role)
    };
    let items = if shows_jids {
        // A user with several sessions is one occupant: each of them is named.
        let named = |seat: &Seat| Item {
            jid: Some(Jid::from(&seat.jid)),
            ..item.clone()
        };
        occupant.seats.iter().map(named).collect()
    } else {
        SmallVec::from_elem(item, 1)
    };
    let mut statuses = SmallVec::from_slice(said.codes);
    if is_own {
        statuses.extend_from_slice(said.own_codes);
        statuses.push(Status::OwnPresence);
    }
    statuses.sort_unstable();
    statuses.dedup();
    User {
        items,
        statuses,
        destroy: said.destroy.cloned(),
        ..User::default()
    }
}
