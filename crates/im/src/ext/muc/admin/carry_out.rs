//! What was decided is done: memory and store, then everybody is told.

use posthaste_proto::jid::{BareJid, FullJid, Jid};
use posthaste_proto::stanza::{Kind, MessageType, Stanza};
use posthaste_proto::xep::muc::{Affiliation, Invite, Item, Role, Status, User};
use smallvec::SmallVec;

use super::{Requester, Step};
use crate::error::WalkError;
use crate::ext::muc::permissions::Standing;
use crate::ext::muc::presence::{self, Said};
use crate::ext::muc::room::{self, Affiliate};
use crate::ext::muc::{broadcast, leave};
use crate::walk::Walk;

/// Does all steps, in their order, with the walk's commit.
///
/// # Errors
/// What is kept of an occupant is no presence.
pub(super) fn carry_out(
    walk: &mut Walk<'_>,
    requester: &Requester,
    steps: Vec<Step>,
) -> Result<(), WalkError> {
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(());
    };
    let actor = requester.as_actor(room);
    for step in steps {
        match step {
            Step::Occupant {
                address,
                standing,
                removed,
                reason,
            } => {
                let said = Said {
                    codes: removed.as_slice(),
                    // §8.2, §9.1: who did it is said to whoever has to go.
                    actor: actor.as_ref().filter(|_| removed.is_some()),
                    reason: reason.as_deref(),
                    ..Said::default()
                };
                occupant_stands(walk, &address, standing, &said)?;
            }
            Step::Affiliate {
                user,
                was,
                affiliate,
                reason,
            } => user_stands(walk, requester, &user, was, affiliate, reason.as_deref()),
        }
    }
    Ok(())
}

fn occupant_stands(
    walk: &mut Walk<'_>,
    address: &FullJid,
    standing: Standing,
    said: &Said<'_>,
) -> Result<(), WalkError> {
    let Some((room, out)) = walk.room_and_out() else {
        return Ok(());
    };
    let Some(occupant) = room.occupants.at_mut(address) else {
        return Ok(());
    };
    occupant.affiliation = standing.affiliation;
    if standing.role == Role::None {
        leave::remove(walk, address, said);
        return Ok(());
    }
    occupant.stand(standing.role);
    if let Some(occupant) = room.occupants.at(address) {
        let stanza = presence::of(room, occupant)?;
        broadcast::presence(room, out, occupant, &stanza, said);
    }
    Ok(())
}

/// The row is written; whoever is not inside is told by a message that waits for them (§16.1), and so are those inside who
/// may know (§10.3).
fn user_stands(
    walk: &mut Walk<'_>,
    requester: &Requester,
    user: &BareJid,
    was: Affiliation,
    affiliate: Affiliate,
    reason: Option<&str>,
) {
    let is = affiliate.affiliation;
    room::affiliate(walk, user, affiliate);
    let Some(room) = walk.home.room.as_deref() else {
        return;
    };
    let is_inside = room.occupants.of_user(user).next().is_some();
    if was == is || is_inside {
        return;
    }
    let members_only = room.config.members_only;
    let password = room.config.password.clone();
    let item = Item {
        jid: Some(Jid::from(user)),
        reason: reason.map(str::to_owned),
        ..Item::new(is, Role::None)
    };
    // A whole domain has nobody who could be told.
    if user.local().is_some() {
        let told = User::of(item.clone()).with_status(Status::AffiliationChanged);
        tell(walk, user, &told);
        // §9.5: nobody enters a room that they have not heard of.
        if members_only && was < Affiliation::Member && is >= Affiliation::Member {
            let invite = Invite {
                from: Some(Jid::from(&requester.user)),
                reason: reason.map(str::to_owned),
                ..Invite::default()
            };
            let invited = User {
                invites: SmallVec::from_elem(invite, 1),
                password,
                ..User::default()
            };
            tell(walk, user, &invited);
        }
    }
    // As the room says other things to all who are inside: nobody's own archive keeps it.
    let mut notice = from_room(walk).with_child(&User::of(item).to_element());
    notice.kind = Kind::Message(MessageType::Groupchat);
    if let Some((room, out)) = walk.room_and_out() {
        broadcast::to_who_sees_addresses(room, out, &notice);
    }
}

fn from_room(walk: &Walk<'_>) -> Stanza {
    Stanza::message(MessageType::Normal)
        .from(walk.home.jid.clone())
        .id(walk.node.random_name())
}

/// It is stored until it has arrived, as nobody would ask for it again.
fn tell(walk: &mut Walk<'_>, user: &BareJid, what: &User) {
    let message = from_room(walk)
        .to(user.clone())
        .with_child(&what.to_element());
    walk.send_stored(message);
}
