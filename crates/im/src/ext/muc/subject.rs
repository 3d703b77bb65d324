//! What a room is about at the moment (§7.2.15, §8.1).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::muc::Role;
use posthaste_proto::xml::Element;

use super::occupants::Occupant;
use super::room::{self, Room, Subject};
use crate::clock::Timestamp;
use crate::codec;
use crate::error::WalkError;
use crate::walk::Walk;

/// §7.2.15: a subject and nothing that is said with it.
pub(super) fn is_change(stanza: &Stanza) -> bool {
    stanza.has("subject", ns::CLIENT)
        && !stanza.has("body", ns::CLIENT)
        && !stanza.has("thread", ns::CLIENT)
}

/// §8.1: moderators may, and others where the room lets them.
pub(super) fn may_change(room: &Room, occupant: &Occupant) -> Result<(), StanzaError> {
    let least = if room.config.change_subject {
        Role::Participant
    } else {
        Role::Moderator
    };
    if occupant.role < least {
        return Err(StanzaError::forbidden());
    }
    Ok(())
}

/// The walk's stanza is the subject from now on.
pub(super) fn set(walk: &mut Walk<'_>) {
    let subject = Subject {
        at: walk.now,
        stanza: walk.stanza.encode(),
    };
    room::set_subject(walk, subject);
}

/// The last thing that whoever enters gets before it hears what happens.
pub(super) fn tell(walk: &mut Walk<'_>, session: &FullJid) -> Result<(), WalkError> {
    let own = walk.home.jid.clone();
    let subject = walk.home.room.as_deref();
    let stanza = match subject.and_then(|room| room.subject.as_ref()) {
        Some(subject) => {
            let mut stanza = codec::stanza(&subject.stanza)?;
            stanza.push_child(&delay(own.as_str(), subject.at));
            stanza
        }
        None => Stanza::message(MessageType::Groupchat)
            .from(own)
            .with_child(&Element::new("subject", ns::CLIENT)),
    };
    walk.send(stanza.to(session.clone()));
    Ok(())
}

/// XEP-0203, in the room's name.
pub(super) fn delay(room: &str, at: Timestamp) -> Element {
    Element::new("delay", ns::DELAY)
        .with_attr("from", room)
        .with_attr("stamp", at.to_string())
}
