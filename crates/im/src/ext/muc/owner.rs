//! What owners do: they configure a room, and end it (§10).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::data_form::{DataForm, FORM_TYPE, FormKind};
use posthaste_proto::xep::muc::Affiliation;
use posthaste_proto::xep::muc::config::{Bounds, Submission};
use posthaste_proto::xep::muc::owner::{BadRequest, OwnerSet};
use posthaste_proto::xml::Element;

use super::room::{self, Room};
use super::{configured, ended};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::walk::Walk;

/// What the service lets a room have.
pub(super) fn bounds(walk: &Walk<'_>) -> Bounds {
    let limits = walk.node.config().rooms;
    Bounds {
        max_users: u32::try_from(limits.occupants).unwrap_or(u32::MAX),
        max_history: limits.history,
    }
}

/// The room, for one of its owners.
fn owned<'w>(walk: &'w Walk<'_>) -> Result<(&'w Room, BareJid), StanzaError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let from = walk.stanza.from.as_ref();
    let user = from.ok_or_else(StanzaError::bad_request)?.to_bare();
    if room.affiliation(&user) != Affiliation::Owner {
        return Err(StanzaError::forbidden());
    }
    Ok((room, user))
}

/// §10.1.3, §10.2: the form of the configuration as it is.
pub(super) fn form(walk: &Walk<'_>) -> Answer {
    let (room, _) = owned(walk)?;
    let with = |affiliation| -> Vec<BareJid> {
        let all = room.affiliations.iter();
        let has = all.filter(|(_, it)| it.affiliation == affiliation);
        has.map(|(user, _)| user.clone()).collect()
    };
    let (owners, admins) = (with(Affiliation::Owner), with(Affiliation::Admin));
    let bounds = bounds(walk);
    let mut form = room
        .config
        .to_form(FormKind::Form, bounds, &owners, &admins);
    form.title = Some(format!("Configuration of {}", walk.home.jid));
    let query = Element::new("query", ns::MUC_OWNER);
    Ok(Some(query.with_child(form.to_element())))
}

/// §10.1 to §10.9: a form comes back, or the room is to end.
pub(super) fn set(walk: &mut Walk<'_>, payload: &Element) -> Answer {
    let (room, user) = owned(walk)?;
    let is_new = room.locked;
    match OwnerSet::read(payload).map_err(refused)? {
        OwnerSet::Submit(form) => configure(walk, &form)?,
        // §10.1.3: a room that nobody wanted so is none.
        OwnerSet::Cancel if is_new => ended::end(walk, &user, Default::default())?,
        OwnerSet::Cancel => {}
        OwnerSet::Destroy(destroy) => ended::end(walk, &user, destroy)?,
    }
    Ok(None)
}

fn refused(bad: BadRequest) -> StanzaError {
    match bad {
        BadRequest::Malformed => StanzaError::bad_request(),
        BadRequest::Address => StanzaError::jid_malformed(),
        BadRequest::TooLong => StanzaError::not_acceptable().with_text("that is too long"),
    }
}

fn configure(walk: &mut Walk<'_>, form: &DataForm) -> Result<(), WalkError> {
    let (bounds, limits) = (bounds(walk), walk.node.config().rooms);
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(());
    };
    // §10.1.2: an empty form takes the room as it is.
    if form.fields.iter().all(|field| field.var == FORM_TYPE) {
        return unlock(walk);
    }
    let submission = Submission::read(form, &room.config, bounds)
        .map_err(|why| StanzaError::not_acceptable().with_text(why.to_string()))?;
    let grades = grades(room, &submission)?;
    let is_new = |(user, _): &&(BareJid, Affiliation)| !room.affiliations.contains_key(user);
    let more = grades.iter().filter(is_new).count();
    if more > 0 && room.affiliations.len() + more > limits.affiliations {
        return Err(StanzaError::resource_constraint()
            .with_text("the room's lists are full")
            .into());
    }
    // From here on nothing is refused.
    unlock(walk)?;
    configured::apply(walk, submission.config, &grades)
}

fn unlock(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if let Some(room) = walk.home.room.as_deref_mut().filter(|room| room.locked) {
        room.locked = false;
        room::save(walk);
    }
    Ok(())
}

/// Whose affiliation changes by the lists of owners and administrators (§10.2).
///
/// # Errors
/// `<conflict/>`: nobody would own the room.
fn grades(
    room: &Room,
    submission: &Submission,
) -> Result<Vec<(BareJid, Affiliation)>, StanzaError> {
    let named = |list: &Option<Vec<BareJid>>, user: &BareJid| {
        list.as_ref().is_some_and(|list| list.contains(user))
    };
    let Submission { owners, admins, .. } = submission;
    let mut grades = Vec::new();
    for (user, affiliate) in &room.affiliations {
        let to = match affiliate.affiliation {
            _ if named(owners, user) => Affiliation::Owner,
            // §10.2: who owns it no more is an administrator.
            Affiliation::Owner if owners.is_some() => Affiliation::Admin,
            Affiliation::Owner => continue,
            _ if named(admins, user) => Affiliation::Admin,
            // §10.2: "member" or "none"; a member keeps what a members-only room is for.
            Affiliation::Admin if admins.is_some() => Affiliation::Member,
            _ => continue,
        };
        if to != affiliate.affiliation {
            grades.push((user.clone(), to));
        }
    }
    let listed = [(owners, Affiliation::Owner), (admins, Affiliation::Admin)];
    for (list, affiliation) in listed {
        for user in list.iter().flatten() {
            let is_known = room.affiliations.contains_key(user);
            if !is_known && !grades.iter().any(|(known, _)| known == user) {
                grades.push((user.clone(), affiliation));
            }
        }
    }
    let is_owner_after = |(user, it): (&BareJid, &room::Affiliate)| {
        let changed = grades.iter().find(|(of, _)| of == user);
        changed.map_or(it.affiliation, |(_, to)| *to) == Affiliation::Owner
    };
    let has_new_owner = grades.iter().any(|(_, to)| *to == Affiliation::Owner);
    if !has_new_owner && !room.affiliations.iter().any(is_owner_after) {
        return Err(StanzaError::conflict());
    }
    Ok(grades)
}
