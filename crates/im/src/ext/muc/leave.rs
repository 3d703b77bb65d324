//! Leaving a room, and being removed from it (§7.14, §8.2, §9.1, §18.4).

use posthaste_proto::error::Condition;
use posthaste_proto::jid::FullJid;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::muc::{Destroy, Role, Status};

use super::presence::{self, Said};
use super::room::Room;
use super::{broadcast, ended, room};
use crate::error::WalkError;
use crate::walk::Walk;

/// A session says that it goes, or its home says so for it.
pub(super) fn goodbye(walk: &mut Walk<'_>, session: &FullJid) -> Result<(), WalkError> {
    let room = walk.home.room.as_deref();
    let is_alone = |room: &Room| room.occupants.sessions() == 1;
    if room
        .is_some_and(|room| room.locked && is_alone(room) && room.occupants.of(session).is_some())
    {
        // §10.1.3: a room whose maker goes before it is configured is none.
        return ended::end(walk, &session.to_bare(), Destroy::default());
    }
    let words = walk.stanza.clone();
    session_goes(walk, session, Some(&words), &[])
}

/// Something that was sent to a session came back with an error: it is not there any more, if the error says so. One that
/// says nothing is how a client may tell that it has ended.
pub(super) fn bounced(walk: &mut Walk<'_>, session: &FullJid) -> Result<(), WalkError> {
    let condition = walk.stanza.error().map(|error| error.condition);
    if condition.is_none_or(is_of_the_gone) {
        return session_goes(walk, session, None, &[Status::RemovedByError]);
    }
    Ok(())
}

/// Errors after which nothing more will arrive. What a client refuses to understand is none of them.
fn is_of_the_gone(condition: Condition) -> bool {
    matches!(
        condition,
        Condition::Gone
            | Condition::ItemNotFound
            | Condition::RecipientUnavailable
            | Condition::Redirect
            | Condition::RemoteServerNotFound
            | Condition::RemoteServerTimeout
            | Condition::ServiceUnavailable
    )
}

fn session_goes(
    walk: &mut Walk<'_>,
    session: &FullJid,
    words: Option<&Stanza>,
    codes: &[Status],
) -> Result<(), WalkError> {
    let said = Said {
        codes,
        ..Said::default()
    };
    let id = words.and_then(|words| words.id.clone());
    let Some((room, out)) = walk.room_and_out() else {
        return Ok(());
    };
    let Some(occupant) = room.occupants.of(session) else {
        return Ok(());
    };
    if occupant.seats.len() > 1 {
        // The user stays with other sessions; only this one is told that it is gone.
        let mut alone = occupant.clone();
        alone.role = Role::None;
        alone.seats.retain(|seat| seat.jid == *session);
        let mut stanza = presence::gone(&alone, words);
        stanza.id = id;
        broadcast::to_itself(out, &alone, &stanza, &said);
        let address = occupant.address.clone();
        room.occupants.unseat(session);
        let Some(occupant) = room.occupants.at(&address) else {
            return Ok(());
        };
        let stanza = presence::of(room, occupant)?;
        broadcast::presence(room, out, occupant, &stanza, &Said::default());
        return Ok(());
    }
    let address = occupant.address.clone();
    remove_saying(walk, &address, words, id, &said);
    Ok(())
}

/// Removes an occupant with all its sessions and tells everybody. `said` says why.
pub fn remove(walk: &mut Walk<'_>, address: &FullJid, said: &Said<'_>) {
    remove_saying(walk, address, None, None, said);
}

fn remove_saying(
    walk: &mut Walk<'_>,
    address: &FullJid,
    words: Option<&Stanza>,
    id: Option<Box<str>>,
    said: &Said<'_>,
) {
    let Some((room, out)) = walk.room_and_out() else {
        return;
    };
    let Some(mut occupant) = room.occupants.remove(address) else {
        return;
    };
    let mut stanza = presence::gone(&occupant, words);
    // §7.14: whoever is gone has no role; whether others are told is decided by the one it had.
    let is_shown = room.shows(&occupant);
    room.keep_role(&occupant);
    occupant.role = Role::None;
    if is_shown {
        broadcast::to_others(room, out, &occupant, &stanza, said);
    }
    stanza.id = id;
    broadcast::to_itself(out, &occupant, &stanza, said);
    close_if_deserted(walk);
}

/// A temporary room goes with its last occupant (§4.2).
pub fn close_if_deserted(walk: &mut Walk<'_>) {
    let room = walk.home.room.as_deref();
    if room.is_some_and(|room| room.occupants.is_empty() && !room.config.persistent) {
        room::erase(walk);
    }
}
