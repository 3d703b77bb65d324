//! People are invited to a room by way of the room, and decline (§7.8.2), also from a chat that is to go on there
//! (§7.9). An invitation waits for its recipient as any message does.

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::data_form::DataForm;
use posthaste_proto::xep::muc::{Affiliation, Decline, Invite, MAX_REASON_BYTES, User};
use smallvec::SmallVec;

use super::room::{Affiliate, Room};
use super::{configured, disco, register};
use crate::error::WalkError;
use crate::walk::Walk;

/// People whom one message invites.
const MOST_INVITED: usize = 50;
/// Bytes of the name of a thread that goes on in the room.
const MOST_THREAD_BYTES: usize = 256;

/// A message to the room that is not for everybody.
pub(super) async fn read(walk: &mut Walk<'_>, from: &FullJid) -> Result<(), WalkError> {
    disco::check_visible(walk)?;
    let x = walk.stanza.child("x", ns::MUC_USER);
    if let Some(x) = x.map(|x| x.to_element()).transpose()? {
        let user = User::read(&x);
        if !user.invites.is_empty() {
            return invite(walk, from, user.invites);
        }
        if let Some(declined) = user.decline {
            return decline(walk, from, declined);
        }
    }
    let form = walk.stanza.child("x", ns::DATA_FORMS);
    let form = form.map(|form| form.to_element()).transpose()?;
    if let Some(form) = form.as_ref().and_then(DataForm::read)
        && let Some(()) = register::answered(walk, &form, &from.to_bare()).await?
    {
        return Ok(());
    }
    Err(StanzaError::bad_request().into())
}

/// At the recipient's home: an account is no room, and so invites in no room's name. What a far server says of its rooms
/// is its own business; it cannot speak for ours.
pub fn strip_forged(walk: &mut Walk<'_>) {
    let is_account = walk.stanza.from.as_ref().is_some_and(|from| {
        let config = walk.node.config();
        config.host(from.domain()).is_some()
    });
    if !is_account || !walk.stanza.has("x", ns::MUC_USER) {
        return;
    }
    let is_invitation = |x: posthaste_proto::xml::Element| {
        let user = User::read(&x);
        !user.invites.is_empty() || user.decline.is_some()
    };
    walk.stanza.remove_children(|child| {
        (child.ns, child.name) == (ns::MUC_USER, "x") && child.to_element().is_ok_and(is_invitation)
    });
}

fn invite(
    walk: &mut Walk<'_>,
    from: &FullJid,
    invites: SmallVec<[Invite; 1]>,
) -> Result<(), WalkError> {
    let (limits, now) = (walk.node.config().rooms, walk.now);
    let Some(room) = walk.home.room.as_deref_mut() else {
        return Ok(());
    };
    let inviter = from.to_bare();
    may_invite(room, from, &inviter)?;
    let guests = guests(room, &invites)?;
    let is_new = |guest: &&BareJid| room.affiliation(guest) < Affiliation::Member;
    // §7.8.2: whoever is invited to a room for members is to be one.
    let new: Vec<BareJid> = match room.config.members_only {
        true => guests.iter().filter(is_new).cloned().collect(),
        false => Vec::new(),
    };
    if room.affiliations.len() + new.len() > limits.affiliations {
        return Err(StanzaError::resource_constraint()
            .with_text("the room's lists are full")
            .into());
    }
    // After what may refuse it for another reason: only what goes out is counted.
    room.paces.invite(&inviter, invites.len() as u64, now)?;
    let password = room.config.password.clone();
    for guest in &new {
        let room = walk.home.room.as_deref();
        let known = room.and_then(|room| room.affiliations.get(guest));
        let affiliate = Affiliate {
            affiliation: Affiliation::Member,
            nick: known.and_then(|it| it.nick.clone()),
            reason: None,
        };
        configured::admit(walk, guest, affiliate)?;
    }
    for mut invite in invites {
        let Some(to) = invite.to.take() else { continue };
        // Who it is that invites is what the room says, whatever the inviter has written there.
        invite.from = Some(inviter.clone().into());
        let user = User {
            invites: SmallVec::from_elem(invite, 1),
            password: password.clone(),
            ..User::default()
        };
        deliver(walk, to, &user);
    }
    Ok(())
}

fn may_invite(room: &Room, from: &FullJid, inviter: &BareJid) -> Result<(), StanzaError> {
    let affiliation = room.affiliation(inviter);
    let is_in = room.occupants.of(from).is_some() || affiliation >= Affiliation::Member;
    let least = match (room.config.members_only, room.config.allow_invites) {
        (true, false) => Affiliation::Admin,
        (true, true) => Affiliation::Member,
        (false, _) => Affiliation::None,
    };
    if !is_in || affiliation < least {
        return Err(StanzaError::forbidden());
    }
    Ok(())
}

fn guests(room: &Room, invites: &[Invite]) -> Result<Vec<BareJid>, StanzaError> {
    if invites.len() > MOST_INVITED {
        return Err(StanzaError::not_acceptable().with_text("too many at once"));
    }
    let mut guests: Vec<BareJid> = Vec::new();
    for invite in invites {
        check_reason(invite.reason.as_deref())?;
        let thread = invite.continues.as_ref();
        let thread = thread.and_then(|continues| continues.thread.as_ref());
        if thread.is_some_and(|thread| thread.len() > MOST_THREAD_BYTES) {
            return Err(StanzaError::not_acceptable().with_text("the thread's name is too long"));
        }
        let guest = invite.to.as_ref();
        let guest = guest.ok_or_else(StanzaError::jid_malformed)?.to_bare();
        // A ban is lifted by those who run the room, not by an invitation.
        if room.affiliation(&guest) == Affiliation::Outcast {
            return Err(StanzaError::not_allowed().with_text("they are banned here"));
        }
        if !guests.contains(&guest) {
            guests.push(guest);
        }
    }
    Ok(guests)
}

fn check_reason(reason: Option<&str>) -> Result<(), StanzaError> {
    if reason.is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
        return Err(StanzaError::not_acceptable().with_text("the reason is too long"));
    }
    Ok(())
}

/// Whoever invited is told. Only those who could have invited are, so that a room carries nothing to strangers.
fn decline(walk: &mut Walk<'_>, from: &FullJid, declined: Decline) -> Result<(), WalkError> {
    check_reason(declined.reason.as_deref())?;
    let now = walk.now;
    let Some(room) = walk.home.room.as_deref_mut() else {
        return Ok(());
    };
    let to = declined.to.as_ref();
    let to = to.ok_or_else(StanzaError::jid_malformed)?;
    let inviter = match to.as_full().and_then(|address| room.occupants.at(&address)) {
        Some(occupant) => occupant.first().map(|seat| seat.jid.to_bare()),
        None => Some(to.to_bare()),
    };
    let is_here = |user: &BareJid| {
        let is_occupant = room.occupants.of_user(user).next().is_some();
        is_occupant || room.affiliation(user) >= Affiliation::Member
    };
    let inviter = inviter
        .filter(is_here)
        .ok_or_else(StanzaError::item_not_found)?;
    room.paces.invite(&from.to_bare(), 1, now)?;
    let user = User {
        decline: Some(Decline {
            from: Some(from.to_bare().into()),
            to: None,
            reason: declined.reason,
        }),
        ..User::default()
    };
    deliver(walk, inviter.into(), &user);
    Ok(())
}

/// Over a crash, if need be: nobody would ask for it.
fn deliver(walk: &mut Walk<'_>, to: Jid, user: &User) {
    let message = Stanza::message(MessageType::Normal)
        .id(walk.node.random_name())
        .from(walk.home.jid.clone())
        .to(to)
        .with_child(&user.to_element());
    walk.send_stored(message);
}
