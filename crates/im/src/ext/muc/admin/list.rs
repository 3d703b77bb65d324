//! The lists of a room (§8.5, §9.2, §9.5, §9.8, §10.5, §10.8).

use std::collections::HashMap;

use posthaste_proto::jid::Jid;
use posthaste_proto::xep::muc::admin::{self, List};
use posthaste_proto::xep::muc::{Affiliation, Item, Role};
use posthaste_proto::xml::Element;

use crate::ext::muc::room::Room;

/// The answer to whoever may see it.
pub(super) fn answer(room: &Room, wanted: List) -> Element {
    match wanted {
        List::Role(role) => admin::list(occupants(room, role)),
        List::Affiliation(affiliation) => admin::list(affiliates(room, affiliation)),
    }
}

/// §17.4.5: with full addresses.
fn occupants(room: &Room, role: Role) -> impl Iterator<Item = Item> {
    let wanted = room
        .occupants
        .iter()
        .filter(move |occupant| occupant.role == role);
    wanted.map(|occupant| Item {
        jid: occupant.first().map(|seat| Jid::from(&seat.jid)),
        nick: Some(occupant.nick().to_owned()),
        ..Item::new(occupant.affiliation, occupant.role)
    })
}

/// §17.4.6: with bare addresses and without roles, and outcasts without nicknames.
fn affiliates(room: &Room, affiliation: Affiliation) -> Vec<Item> {
    let inside = room.occupants.iter().filter_map(|occupant| {
        let user = occupant.first()?.jid.to_bare();
        Some((user, occupant.nick()))
    });
    let inside: HashMap<_, _> = inside.collect();
    let wanted = room
        .affiliations
        .iter()
        .filter(|(_, affiliate)| affiliate.affiliation == affiliation);
    let item = |(user, affiliate): (&_, &crate::ext::muc::room::Affiliate)| {
        let nick = affiliate
            .nick
            .as_deref()
            .or_else(|| inside.get(user).copied());
        let is_banned = affiliation == Affiliation::Outcast;
        Item {
            affiliation: Some(affiliation),
            jid: Some(Jid::from(user)),
            nick: nick.filter(|_| !is_banned).map(str::to_owned),
            reason: affiliate.reason.as_deref().map(str::to_owned),
            ..Item::default()
        }
    };
    wanted.map(item).collect()
}
