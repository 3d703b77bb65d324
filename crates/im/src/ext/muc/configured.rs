//! What a new configuration does to the room and to those who are there (§10.2).

use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::muc::config::WhoIs;
use posthaste_proto::xep::muc::{Affiliation, Item, Role, RoomConfig, Status, User};

use super::occupants::Occupant;
use super::presence::{self, Said};
use super::room::{self, Affiliate, Room};
use super::{broadcast, group, leave, permissions};
use crate::error::WalkError;
use crate::router::Envelope;
use crate::walk::Walk;

/// Presences that are sent so that everybody sees whom the new configuration shows. When there are more, in a room of
/// hundreds, clients learn it when they enter next: each occupant would be told of each.
pub(super) const MOST_SHOWN: usize = 50_000;

/// How an occupant stood before.
struct Before {
    address: FullJid,
    affiliation: Affiliation,
    role: Role,
    is_quiet: bool,
}

/// The room is configured so from now on, and these users stand to it differently.
///
/// # Errors
/// What is kept of somebody is no presence.
pub(super) fn apply(
    walk: &mut Walk<'_>,
    config: RoomConfig,
    grades: &[(BareJid, Affiliation)],
) -> Result<(), WalkError> {
    let Some(room) = walk.home.room.as_deref_mut() else {
        return Ok(());
    };
    let old = std::mem::replace(&mut room.config, config);
    let before: Vec<Before> = room.occupants.iter().map(Before::of).collect();
    room::save(walk);
    group::configured(walk, &old);
    for (user, to) in grades {
        regrade(walk, user, *to);
    }
    for before in &before {
        if let Some(room) = walk.home.room.as_deref_mut() {
            settle(room, &old, before);
        }
    }
    // Before the rest is told: whoever may not be there hears no more of the room.
    remove_strangers(walk, Status::RemovedAsNonMember);
    notify(walk, &old);
    show(walk, &old, &before)
}

impl Before {
    fn of(occupant: &Occupant) -> Before {
        Before {
            address: occupant.address.clone(),
            affiliation: occupant.affiliation,
            role: occupant.role,
            is_quiet: occupant.is_quiet,
        }
    }
}

fn regrade(walk: &mut Walk<'_>, user: &BareJid, to: Affiliation) {
    let Some(room) = walk.home.room.as_deref() else {
        return;
    };
    let nick = room.affiliations.get(user).and_then(|it| it.nick.clone());
    let is_there = room.occupants.of_user(user).next().is_some();
    let affiliate = Affiliate {
        affiliation: to,
        nick,
        reason: None,
    };
    room::affiliate(walk, user, affiliate);
    if !is_there {
        tell_absent(walk, user, to);
    }
}

/// Somebody is something else to the room from now on, by their own wish or by an invitation.
///
/// # Errors
/// What is kept of somebody is no presence.
pub(super) fn admit(
    walk: &mut Walk<'_>,
    user: &BareJid,
    affiliate: Affiliate,
) -> Result<(), WalkError> {
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(());
    };
    let to = affiliate.affiliation;
    let old = room.config.clone();
    let is_same = room.affiliation(user) == to;
    let before: Vec<Before> = room.occupants.of_user(user).map(Before::of).collect();
    room::affiliate(walk, user, affiliate);
    if is_same {
        return Ok(());
    }
    if before.is_empty() {
        tell_absent(walk, user, to);
    }
    for before in &before {
        if let Some(room) = walk.home.room.as_deref_mut() {
            settle(room, &old, before);
        }
    }
    remove_strangers(walk, Status::RemovedByAffiliation);
    show(walk, &old, &before)
}

/// §9: who is not there is told by a message, over a crash if need be, since nobody would ask for it.
pub(super) fn tell_absent(walk: &mut Walk<'_>, user: &BareJid, affiliation: Affiliation) {
    // A whole domain has nobody who could be told.
    if user.local().is_none() {
        return;
    }
    let item = Item {
        affiliation: Some(affiliation),
        jid: Some(user.clone().into()),
        ..Item::default()
    };
    let x = User::of(item).with_status(Status::AffiliationChanged);
    let message = Stanza::message(MessageType::Normal)
        .id(walk.node.random_name())
        .from(walk.home.jid.clone())
        .to(user.clone())
        .with_child(&x.to_element());
    walk.send_stored(message);
}

/// Gives an occupant the affiliation of its user, and the role that goes with the configuration.
fn settle(room: &mut Room, old: &RoomConfig, before: &Before) {
    let Some(occupant) = room.occupants.at(&before.address) else {
        return;
    };
    let user = occupant.first().map(|seat| seat.jid.to_bare());
    let Some(affiliation) = user.map(|user| room.affiliation(&user)) else {
        return;
    };
    let initial = permissions::initial_role(affiliation, &room.config);
    let role = match before.role {
        // Whoever may not be there any more is removed in the role that it has.
        role if initial == Role::None => role,
        _ if affiliation > before.affiliation => before.role.max(initial),
        _ if affiliation < before.affiliation => before.role.min(initial),
        // §5.1.2: in a moderated room only those speak who belong to it or were given voice; in others everybody does.
        Role::Visitor | Role::Participant if old.moderated != room.config.moderated => initial,
        role => role,
    };
    if let Some(occupant) = room.occupants.at_mut(&before.address) {
        occupant.affiliation = affiliation;
        occupant.stand(role);
    }
}

/// §10.2: only members stay in a room for members.
fn remove_strangers(walk: &mut Walk<'_>, why: Status) {
    let room = walk.home.room.as_deref();
    let Some(room) = room.filter(|room| room.config.members_only) else {
        return;
    };
    let all = room.occupants.iter();
    let strangers = all.filter(|occupant| occupant.affiliation < Affiliation::Member);
    let strangers: Vec<FullJid> = strangers.map(|it| it.address.clone()).collect();
    for address in strangers {
        let said = Said {
            codes: &[why],
            ..Said::default()
        };
        leave::remove(walk, &address, &said);
    }
}

/// §10.2.1: everybody is told, above all of what concerns privacy.
fn notify(walk: &mut Walk<'_>, old: &RoomConfig) {
    let name = walk.node.random_name();
    let own = walk.home.jid.clone();
    let Some((room, out)) = walk.room_and_out() else {
        return;
    };
    let codes = changes(old, &room.config);
    if !codes.is_empty() {
        tell(room, out, codes, &own, name);
    }
}

/// Something has changed that is no matter of privacy, and that clients ask the room for.
pub(super) fn tell_changed(walk: &mut Walk<'_>) {
    let name = walk.node.random_name();
    let own = walk.home.jid.clone();
    if let Some((room, out)) = walk.room_and_out() {
        tell(room, out, vec![Status::ConfigChanged], &own, name);
    }
}

fn tell(room: &mut Room, out: &mut Vec<Envelope>, codes: Vec<Status>, own: &BareJid, name: String) {
    let x = codes.into_iter().fold(User::default(), User::with_status);
    let message = Stanza::message(MessageType::Groupchat)
        .id(name)
        .from(own.clone())
        .with_child(&x.to_element());
    broadcast::message(room, out, &message);
}

fn changes(old: &RoomConfig, new: &RoomConfig) -> Vec<Status> {
    let mut codes = Vec::new();
    let rest = RoomConfig {
        archiving: new.archiving,
        whois: new.whois,
        ..old.clone()
    };
    if rest != *new {
        codes.push(Status::ConfigChanged);
    }
    if old.archiving != new.archiving {
        codes.push(match new.archiving {
            true => Status::LoggingEnabled,
            false => Status::LoggingDisabled,
        });
    }
    if old.whois != new.whois {
        codes.push(match new.whois {
            WhoIs::Anyone => Status::NowNonAnonymous,
            WhoIs::Moderators => Status::NowSemiAnonymous,
        });
    }
    codes
}

/// Everybody sees how everybody now stands, and whom the configuration now shows or hides.
fn show(walk: &mut Walk<'_>, old: &RoomConfig, before: &[Before]) -> Result<(), WalkError> {
    let Some((room, out)) = walk.room_and_out() else {
        return Ok(());
    };
    let reveals = old.whois == WhoIs::Moderators && room.config.whois == WhoIs::Anyone;
    let mut left = MOST_SHOWN;
    for before in before {
        let Some(occupant) = room.occupants.at(&before.address) else {
            continue;
        };
        let was_shown = !before.is_quiet && old.presence_broadcast.shows(before.role);
        let is_shown = room.shows(occupant);
        let has_changed =
            occupant.affiliation != before.affiliation || occupant.role != before.role;
        let stanza = presence::of(room, occupant)?;
        if has_changed {
            broadcast::presence(room, out, occupant, &stanza, &Said::default());
        }
        let comes = is_shown && !has_changed && (!was_shown || reveals);
        let goes = was_shown && !is_shown;
        if !comes && !goes {
            continue;
        }
        let Some(rest) = left.checked_sub(room.occupants.sessions()) else {
            continue;
        };
        left = rest;
        if comes {
            broadcast::to_others(room, out, occupant, &stanza, &Said::default());
        } else {
            let mut gone = occupant.clone();
            gone.role = Role::None;
            let stanza = presence::gone(&gone, None);
            broadcast::to_others(room, out, &gone, &stanza, &Said::default());
        }
    }
    Ok(())
}
