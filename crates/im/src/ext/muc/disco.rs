//! What a room tells of itself, and to whom (§6.4 to §6.6, §7.12).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::disco::{Identity, Info, Item, Items};
use posthaste_proto::xep::muc::config::WhoIs;
use posthaste_proto::xep::muc::info::{self, RoomInfo};
use posthaste_proto::xep::muc::{Affiliation, RoomConfig};
use posthaste_proto::xml::Element;

use super::occupants::Occupant;
use super::room::Room;
use super::{group, hats, owner};
use crate::codec;
use crate::error::WalkError;
use crate::ext::Answer;
use crate::ext::disco::page_of_items;
use crate::walk::Walk;

/// §7.12: the nickname that is kept for whoever asks.
const RESERVED_NICK: &str = "x-roomuser-item";
/// §17.2.1: the namespaces that a room lets pass.
const TRAFFIC: &str = "http://jabber.org/protocol/muc#traffic";
/// §7.4: the `id` of a message comes back to whoever sent it.
const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
/// Occupants in one answer (XEP-0059).
const MOST_IN_PAGE: usize = 100;
/// Owners whom a room names as those to ask.
const MOST_CONTACTS: usize = 10;
/// Features of every room, beside those that its settings bring.
const FEATURES: &[&str] = &[
    ns::COMMANDS,
    ns::DISCO_INFO,
    ns::DISCO_ITEMS,
    ns::MUC,
    ns::MUC_REQUEST,
    ns::PING,
    ns::REGISTER,
    ns::RSM,
    ns::VCARD,
    STABLE_ID,
];

/// Who asks a room about itself.
struct Asker {
    user: BareJid,
    affiliation: Affiliation,
    is_occupant: bool,
}

/// The room, for somebody who may know of it.
fn visible<'w>(walk: &'w Walk<'_>) -> Result<(&'w Room, Asker), StanzaError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let from = walk.stanza.from.as_ref();
    let from = from.ok_or_else(StanzaError::bad_request)?;
    let user = from.to_bare();
    let occupants = &room.occupants;
    let is_occupant = from
        .as_full()
        .is_some_and(|session| occupants.of(&session).is_some());
    let asker = Asker {
        affiliation: room.affiliation(&user),
        user,
        is_occupant,
    };
    // §10.1.3: it is not there yet. §4.2: nobody finds a hidden room that has no business there.
    let is_secret = room.config.members_only && !room.config.public;
    let is_outside = asker.affiliation < Affiliation::Member && !is_occupant;
    if (room.locked && asker.affiliation != Affiliation::Owner) || (is_secret && is_outside) {
        return Err(StanzaError::item_not_found());
    }
    Ok((room, asker))
}

/// May whoever asks know that the room is there?
///
/// # Errors
/// `<item-not-found/>`: for them it is not.
pub(super) fn check_visible(walk: &Walk<'_>) -> Result<(), StanzaError> {
    visible(walk).map(|_| ())
}

/// What the room is (§6.4), or what node of it was asked for.
pub(super) async fn info(walk: &Walk<'_>, query: &Element) -> Answer {
    let (room, asker) = visible(walk)?;
    match query.attr("node").unwrap_or_default() {
        "" => {}
        RESERVED_NICK => return Ok(Some(reserved_nick(room, &asker))),
        // §17.2.1: everything passes.
        TRAFFIC => return Err(StanzaError::service_unavailable().into()),
        node if hats::is_node(node) => return hats::info(walk, node),
        _ => return Err(StanzaError::item_not_found().into()),
    }
    let name = Some(&*room.config.name).filter(|name| !name.is_empty());
    let features = FEATURES.iter().copied().chain(info::features(&room.config));
    let features = features.chain(super::features_around(&room.config));
    let features = features.chain(group::is_group(room).then_some(ns::GROUPS));
    let room_info = room_info(walk, room, &asker).await?;
    let info = Info {
        identities: vec![Identity::new("conference", "text", name)],
        features: features.map(str::to_owned).collect(),
        forms: vec![room_info.to_form(&room.config, owner::bounds(walk))],
        ..Info::default()
    };
    Ok(Some(info.to_element()))
}

async fn room_info(walk: &Walk<'_>, room: &Room, asker: &Asker) -> Result<RoomInfo, WalkError> {
    let is_inside = asker.is_occupant || asker.affiliation >= Affiliation::Member;
    let is_open = |config: &RoomConfig| !config.members_only && config.password.is_none();
    // What goes on behind a door is not told before it.
    let may_know = is_inside || is_open(&room.config);
    let mut contacts = Vec::new();
    // §4.2: where addresses are not shown, the owners' are not either.
    if room.config.whois == WhoIs::Anyone {
        let all = room.affiliations.iter();
        let owners = all.filter(|(_, it)| it.affiliation == Affiliation::Owner);
        contacts.extend(owners.map(|(user, _)| user.clone()).take(MOST_CONTACTS));
    }
    let subject = match room.subject.as_ref().filter(|_| may_know) {
        Some(subject) => text_of_subject(&subject.stanza)?,
        None => None,
    };
    Ok(RoomInfo {
        contacts,
        subject,
        occupants: may_know.then(|| room.occupants.len()),
        avatar_hashes: super::avatar::hashes(walk).await?,
        hats_hash: room.hats.hash(),
    })
}

fn text_of_subject(stanza: &[u8]) -> Result<Option<String>, WalkError> {
    let stanza = codec::stanza(stanza)?;
    let subject = stanza.child("subject", ns::CLIENT);
    let subject = subject.and_then(|subject| subject.to_element().ok());
    Ok(subject
        .map(|subject| subject.text())
        .filter(|text| !text.is_empty()))
}

fn reserved_nick(room: &Room, asker: &Asker) -> Element {
    let affiliate = room.affiliations.get(&asker.user);
    let nick = affiliate.and_then(|affiliate| affiliate.nick.as_deref());
    let identity = nick.map(|nick| Identity::new("conference", "text", Some(nick)));
    let info = Info {
        node: Some(RESERVED_NICK.to_owned()),
        identities: identity.into_iter().collect(),
        ..Info::default()
    };
    info.to_element()
}

/// Who is there (§6.5): occupants know it anyway, and nobody else is told.
pub(super) fn items(walk: &Walk<'_>, query: &Element) -> Answer {
    let (room, asker) = visible(walk)?;
    match query.attr("node").unwrap_or_default() {
        "" => {}
        ns::COMMANDS => return hats::items(walk),
        _ => return Err(StanzaError::item_not_found().into()),
    }
    if !asker.is_occupant {
        return Ok(Some(Items::default().to_element()));
    }
    // Whoever has come to a crowd is listed too: not being shown spares presences, and hides nobody.
    let shown = &room.config.presence_broadcast;
    let all = room.occupants.iter();
    let shown: Vec<_> = all.filter(|it| shown.shows(it.role)).collect();
    let item = |it: &&Occupant| Item {
        jid: it.address.as_str().to_owned(),
        node: None,
        name: None,
    };
    page_of_items(query, &shown, |it| it.address.as_str(), MOST_IN_PAGE, item)
}
