//! Entering a room, and what a session that is in it says of itself (§7.2, §7.7).

use posthaste_proto::error::{ErrorType, StanzaError};
use posthaste_proto::jid::{FullJid, Jid};
use posthaste_proto::stanza::{PresenceType, Stanza};
use posthaste_proto::xep::muc::{Affiliation, Item, Join, Role, RoomConfig, Status, User};

use super::occupants::Seat;
use super::presence::{self, Said};
use super::room::{self, Affiliate, Room};
use super::{broadcast, directory, entering, history, nick, occupant_id, pace, subject};
use crate::error::WalkError;
use crate::walk::Walk;

/// Bytes of a presence in a room; it stays in memory as long as its session is there.
const MAX_PRESENCE_BYTES: usize = 8 * 1024;
/// Sessions of one user in one room: its clients, and what is left of those that were lost.
const MAX_SESSIONS_OF_ONE: usize = 50;
/// So many administrators and owners may enter a room that is full (§7.2.10).
const ROOM_FOR_ADMINS: usize = 20;

/// Available presence to a nickname: entering, another nickname, or a change of how one is.
pub(super) async fn present(
    walk: &mut Walk<'_>,
    from: FullJid,
    to: FullJid,
) -> Result<(), WalkError> {
    let entering = entering(&walk.stanza);
    let seat = Seat {
        jid: from,
        presence: presence::kept(&walk.stanza),
    };
    if seat.presence.len() > MAX_PRESENCE_BYTES {
        return Err(StanzaError::policy_violation()
            .with_text("the presence stanza is too long")
            .into());
    }
    let here = walk.home.room.as_deref();
    let here = here.and_then(|room| room.occupants.of(&seat.jid));
    let here = here.map(|occupant| occupant.address.clone());
    if here.is_some() {
        pace::presence(walk, &seat.jid)?;
    }
    match (here, entering) {
        (Some(here), _) if here != to => nick::change(walk, &here, &to, seat).await,
        // §7.2.1: it has lost its place, and gets all as if it had just come.
        (Some(_), Some(join)) => enter(walk, to, seat, &join, &[]).await,
        (Some(_), None) => update(walk, &to, seat),
        (None, Some(join)) => admit(walk, to, seat, &join).await,
        // §7.2.16: it thinks that it is in the room.
        (None, None) => {
            not_here(walk, &to, &seat.jid);
            Ok(())
        }
    }
}

async fn admit(walk: &mut Walk<'_>, to: FullJid, seat: Seat, join: &Join) -> Result<(), WalkError> {
    let limits = walk.node.config().rooms;
    match walk.home.room.as_deref() {
        Some(room) => {
            may_enter(room, &limits, &to, &seat.jid, join)?;
            pace::presence(walk, &seat.jid)?;
        }
        None => {
            create(walk, &seat.jid).await?;
            return enter(walk, to, seat, join, &[Status::Created]).await;
        }
    }
    enter(walk, to, seat, join, &[]).await
}

/// §10.1: whoever enters a room that is not there makes it, and owns it.
async fn create(walk: &mut Walk<'_>, maker: &FullJid) -> Result<(), WalkError> {
    let maker = maker.to_bare();
    directory::may_create(walk.node, &walk.home.jid, &maker).await?;
    let mut room = Room::new(maker.clone(), walk.now, RoomConfig::default());
    // §10.1.1: nobody else enters before the maker has said how the room is to be.
    room.locked = true;
    room.secret = occupant_id::make(walk);
    walk.home.room = Some(Box::new(room));
    room::save(walk);
    let owner = Affiliate {
        affiliation: Affiliation::Owner,
        nick: None,
        reason: None,
    };
    room::affiliate(walk, &maker, owner);
    Ok(())
}

/// §7.2.5 to §7.2.11, the strongest reason first.
fn may_enter(
    room: &Room,
    limits: &super::Limits,
    to: &FullJid,
    session: &FullJid,
    join: &Join,
) -> Result<(), StanzaError> {
    let user = session.to_bare();
    let affiliation = room.affiliation(&user);
    if affiliation == Affiliation::Outcast {
        return Err(StanzaError::forbidden());
    }
    if room.locked && affiliation != Affiliation::Owner {
        return Err(StanzaError::item_not_found());
    }
    if room.config.members_only && affiliation < Affiliation::Member {
        return Err(StanzaError::registration_required());
    }
    if room.config.password.is_some() && join.password != room.config.password {
        return Err(StanzaError::not_authorized());
    }
    nick::is_free(room, to, &user)?;
    let own: usize = room.occupants.of_user(&user).map(|it| it.seats.len()).sum();
    if own >= MAX_SESSIONS_OF_ONE {
        return Err(StanzaError::resource_constraint().with_text("too many sessions of one user"));
    }
    let extra = if affiliation >= Affiliation::Admin {
        ROOM_FOR_ADMINS
    } else {
        0
    };
    let asked = room.config.max_users.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    });
    let is_new = room.occupants.at(to).is_none();
    let is_full = is_new && room.occupants.len() >= asked.saturating_add(extra);
    if is_full || room.occupants.sessions() >= limits.occupants + extra {
        let mut full = StanzaError::service_unavailable().with_text("the room is full");
        full.kind = ErrorType::Wait;
        return Err(full);
    }
    Ok(())
}

/// §7.1: who is there, oneself, what was said, what it is about; then what happens.
async fn enter(
    walk: &mut Walk<'_>,
    to: FullJid,
    seat: Seat,
    join: &Join,
    codes: &[Status],
) -> Result<(), WalkError> {
    let past = history::of(walk, &join.history, &seat.jid).await?;
    let most_shown = walk.node.config().rooms.shown;
    let id = walk.stanza.id.clone();
    let Some((room, out)) = walk.room_and_out() else {
        return Ok(());
    };
    let affiliation = room.affiliation(&seat.jid.to_bare());
    let role = room.role_at_entry(&seat.jid.to_bare(), affiliation);
    let session = seat.jid.clone();
    let is_known = room.occupants.at(&to).is_some();
    // Or the last thousand to enter would be told to all who are there, and nobody reads so long a list.
    let is_quiet = room.occupants.len() >= most_shown && role != Role::Moderator;
    let who = room.occupant_id(&seat.jid.to_bare());
    room.occupants
        .seat(to.clone(), who, (affiliation, role), is_quiet, seat);
    let Some(occupant) = room.occupants.at(&to) else {
        return Ok(());
    };
    broadcast::who_is_there(room, out, occupant, &session)?;
    let stanza = presence::of(room, occupant)?;
    if room.shows(occupant) {
        broadcast::to_others(room, out, occupant, &stanza, &Said::default());
    }
    let mut own_codes = codes.to_vec();
    own_codes.extend(room_codes(room));
    let said = Said {
        own_codes: &own_codes,
        ..Said::default()
    };
    // §7.2.2: the id tells the client which of its requests this answers.
    let mut own = stanza;
    own.id = id;
    broadcast::to_own_session(out, occupant, &session, &own, &said);
    if is_known {
        // Its other sessions learn of this one as everybody does.
        own.id = None;
        let others = occupant.seats.iter().filter(|seat| seat.jid != session);
        for seat in others {
            broadcast::to_own_session(out, occupant, &seat.jid, &own, &Said::default());
        }
    }
    history::send(walk, past);
    subject::tell(walk, &session)
}

/// What whoever enters is warned of (§7.2.3, §7.2.12).
fn room_codes(room: &Room) -> impl Iterator<Item = Status> {
    let shows_jids = room.shows_jids_to(Role::Visitor);
    let codes = [
        shows_jids.then_some(Status::NonAnonymous),
        room.config.archiving.then_some(Status::LoggingEnabled),
    ];
    codes.into_iter().flatten()
}

/// §7.7: how one is has changed.
fn update(walk: &mut Walk<'_>, to: &FullJid, seat: Seat) -> Result<(), WalkError> {
    let id = walk.stanza.id.clone();
    let Some((room, out)) = walk.room_and_out() else {
        return Ok(());
    };
    let session = seat.jid.clone();
    let Some(occupant) = room.occupants.at_mut(to) else {
        return Ok(());
    };
    let Some(own) = occupant.seats.iter_mut().find(|it| it.jid == session) else {
        return Ok(());
    };
    *own = seat;
    let Some(occupant) = room.occupants.at(to) else {
        return Ok(());
    };
    let mut stanza = presence::of(room, occupant)?;
    // The others see the first session of a user; what the next ones say of themselves is heard when they are the first.
    let is_shown = room.shows(occupant);
    if is_shown && occupant.first().is_some_and(|first| first.jid == session) {
        broadcast::to_others(room, out, occupant, &stanza, &Said::default());
    }
    for seat in &occupant.seats {
        stanza.id = id.clone().filter(|_| seat.jid == session);
        broadcast::to_own_session(out, occupant, &seat.jid, &stanza, &Said::default());
    }
    Ok(())
}

/// §7.2.16: a session that is not in the room is told so in a way that its client understands.
fn not_here(walk: &mut Walk<'_>, address: &FullJid, session: &FullJid) {
    let item = Item {
        reason: Some("You are not in the room.".to_owned()),
        ..Item::new(Affiliation::None, Role::None)
    };
    let user = User::of(item)
        .with_status(Status::OwnPresence)
        .with_status(Status::Kicked)
        .with_status(Status::RemovedByError);
    let mut kick = Stanza::presence(PresenceType::Unavailable)
        .from(address.clone())
        .to(Jid::from(session))
        .with_child(&user.to_element());
    kick.id = walk.stanza.id.clone();
    walk.send(kick);
}
