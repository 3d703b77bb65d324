//! What is said to everybody (§7.4).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::xep::moderation::is_claim;
use posthaste_proto::xep::muc::{Item, Role, User};
use posthaste_proto::xml::Element;

use super::occupants::Occupant;
use super::{broadcast, group, moderation, not_an_occupant, slow_mode, subject};
use crate::error::WalkError;
use crate::ext::carbons;
use crate::log::Entry;
use crate::router::Envelope;
use crate::walk::Walk;
use crate::weight::weigh_in_room;

/// An occupant says something to everybody; or a member of a group who is not there.
pub(super) async fn say(walk: &mut Walk<'_>, from: &FullJid) -> Result<(), WalkError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let absent;
    let occupant = match room.occupants.of(from) {
        Some(occupant) => occupant,
        None => {
            absent = group::absent::speaker(room, &walk.home.jid, from);
            absent.as_ref().ok_or_else(not_an_occupant)?
        }
    };
    let is_subject = subject::is_change(&walk.stanza);
    if is_subject {
        subject::may_change(room, occupant)?;
    } else if occupant.role < Role::Participant {
        return Err(StanzaError::forbidden()
            .with_text("visitors listen in this room")
            .into());
    }
    let author = author(occupant, from);
    let (id, archiving) = (occupant.id.to_element(), room.config.archiving);
    let address = occupant.address.clone();
    // While the stanza is still as it came: an error goes back with it.
    let taken_back = moderation::taken_back(walk, &occupant.id).await?;
    // The last that may refuse it: what was refused has not been said.
    if let Some(room) = walk.home.room.as_deref_mut() {
        slow_mode::admits(room, from.to_bare(), &walk.stanza, walk.now)?;
    }
    walk.stanza.from = Some(address.into());
    walk.stanza.to = None;
    strip_forged(walk);
    walk.stanza.push_child(&id);
    if walk.stanza.id.is_none() {
        walk.stanza.id = Some(walk.node.random_name().into());
    }
    walk.weight = weigh_in_room(&walk.stanza);
    walk.weight.archive &= archiving;
    // Before it is archived: everybody finds the same number, whenever they see it.
    group::number(walk);
    if walk.weight.archive {
        append(walk, &author);
    }
    if let Some(said) = taken_back {
        moderation::take_back(walk, said);
    }
    if is_subject {
        subject::set(walk);
    }
    let stanza = walk.stanza.clone();
    if let Some((room, out)) = walk.room_and_out() {
        broadcast::message(room, out, &stanza);
        // Whoever is not there gets no copy by being there.
        if room.occupants.of(from).is_none() {
            out.push(Envelope::new(stanza.to(from.clone())));
        }
    }
    // After those who are there have it: a notice is for the others.
    group::said(walk, from);
    Ok(())
}

/// Before anybody gets it: what was sent is what is stored, under the id that everybody sees (XEP-0359).
fn append(walk: &mut Walk<'_>, author: &Element) {
    let id = walk.next_archive_id();
    let stanza_id = carbons::stanza_id(&walk.home.jid, id);
    walk.stanza.push_child(&stanza_id);
    let entry = Entry {
        outgoing: false,
        offline: false,
        archive: true,
        carbon: false,
        stanza: walk.stanza.clone().with_child(author).encode(),
    };
    walk.append(id, &entry);
}

/// Who said it: stored with what was said, for those who may know, and never sent as it is.
fn author(occupant: &Occupant, session: &FullJid) -> Element {
    let item = Item {
        jid: Some(session.into()),
        ..Item::new(occupant.affiliation, occupant.role)
    };
    User::of(item).to_element()
}

/// §18.3: what only a room says of itself and its occupants.
pub(super) fn strip_forged(walk: &mut Walk<'_>) {
    let own = walk.home.jid.clone();
    walk.stanza
        .remove_children(|child| match (child.ns, child.name) {
            (ns::MUC_USER, "x") | (ns::DELAY, "delay") | (ns::GROUPS | ns::OCCUPANT_ID, _) => true,
            (ns::RETRACT, _) => is_claim(&child),
            (ns::STANZA_ID, "stanza-id") => child
                .to_element()
                .is_ok_and(|id| id.attr("by") == Some(own.as_str())),
            _ => false,
        });
}
