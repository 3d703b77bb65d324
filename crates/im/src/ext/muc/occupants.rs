//! Who is in a room: nicknames, and the sessions behind them.
//!
//! A user may be there with several sessions under one nickname (§7.2.9): then they are one occupant, whose first
//! session is the one that others see. Thousands must fit: all addresses are shared, and a presence is stored once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::xep::muc::{Affiliation, Role};
use posthaste_proto::xep::occupant_id::OccupantId;
use smallvec::SmallVec;

use super::presence::{self, Said};
use super::room::Room;
use crate::copies::Shared;
use crate::error::WalkError;

/// One session of an occupant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its real address.
    pub jid: FullJid,
    /// What it says of itself: a presence without addresses.
    pub presence: Bytes,
}

/// One nickname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The room's address with the nickname.
    pub address: FullJid,
    /// Who it is, whatever its nickname (XEP-0421).
    pub id: OccupantId,
    /// What it is to the room.
    pub affiliation: Affiliation,
    /// What it may do.
    pub role: Role,
    /// It came when the room was crowded, so that the others are not told of it ([`super::Limits::shown`]).
    pub is_quiet: bool,
    /// Its sessions; never empty while it is in the room.
    pub seats: SmallVec<[Seat; 1]>,
    /// How it is shown to whoever enters.
    pub views: Views,
}

/// How an occupant is shown to whoever may not, and to whoever may see real addresses: made when it is first needed, and
/// shared by all who enter.
#[derive(Clone, Debug, Default)]
pub struct Views([OnceLock<Arc<Shared>>; 2]);

impl PartialEq for Views {
    /// What can be made again is no part of what an occupant is.
    fn eq(&self, _: &Views) -> bool {
        true
    }
}

impl Eq for Views {}

impl Occupant {
    /// Its nickname.
    pub fn nick(&self) -> &str {
        self.address.resource()
    }

    /// The session that others see.
    pub fn first(&self) -> Option<&Seat> {
        self.seats.first()
    }

    /// Its presence as whoever enters gets it, without an address.
    ///
    /// # Errors
    /// What is kept of it is no presence.
    pub fn shown(&self, room: &Room, shows_jids: bool) -> Result<Arc<Shared>, WalkError> {
        let view = &self.views.0[usize::from(shows_jids)];
        if let Some(made) = view.get() {
            return Ok(made.clone());
        }
        let x = presence::extended(self, shows_jids, false, &Said::default());
        let made = Shared::new(presence::of(room, self)?.with_child(&x.to_element()));
        Ok(view.get_or_init(|| made).clone())
    }

    /// It stands otherwise from now on. Whom moderators have once been shown as, everybody knows from then on.
    pub fn stand(&mut self, role: Role) {
        self.role = role;
        self.is_quiet &= role != Role::Moderator;
    }

    /// Is it a session of this user?
    pub fn is_of(&self, user: &BareJid) -> bool {
        self.first()
            .is_some_and(|seat| seat.jid.bare_str() == user.as_str())
    }

    /// Is this session one of its own?
    pub fn has_seat(&self, jid: &FullJid) -> bool {
        self.seats.iter().any(|seat| seat.jid == *jid)
    }
}

/// All occupants of a room.
#[derive(Debug, Default)]
pub struct Occupants {
    by_address: BTreeMap<FullJid, Occupant>,
    /// Which occupant a session is.
    seated: HashMap<FullJid, FullJid>,
    /// All sessions, as long as they stay the same: a message to everybody takes no time for each of them here.
    audience: Option<Arc<[FullJid]>>,
}

impl Occupants {
    /// Is nobody there?
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Nicknames.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Sessions.
    pub fn sessions(&self) -> usize {
        self.seated.len()
    }

    /// All sessions.
    pub fn audience(&mut self) -> Arc<[FullJid]> {
        let Occupants {
            by_address,
            audience,
            ..
        } = self;
        let seats = || by_address.values().flat_map(|occupant| &occupant.seats);
        let audience = audience.get_or_insert_with(|| seats().map(|it| it.jid.clone()).collect());
        audience.clone()
    }

    /// All of them, by nickname.
    pub fn iter(&self) -> impl Iterator<Item = &Occupant> {
        self.by_address.values()
    }

    /// The occupant at an address of the room.
    pub fn at(&self, address: &FullJid) -> Option<&Occupant> {
        self.by_address.get(address)
    }

    /// The occupant at an address of the room, to change what it may do or says.
    pub fn at_mut(&mut self, address: &FullJid) -> Option<&mut Occupant> {
        let occupant = self.by_address.get_mut(address)?;
        occupant.views = Views::default();
        Some(occupant)
    }

    /// The occupant that a session is.
    pub fn of(&self, session: &FullJid) -> Option<&Occupant> {
        self.by_address.get(self.seated.get(session)?)
    }

    /// The occupants that a user is.
    pub fn of_user<'o>(&'o self, user: &'o BareJid) -> impl Iterator<Item = &'o Occupant> {
        self.iter().filter(|occupant| occupant.is_of(user))
    }

    /// Seats a session: at its occupant, or as a new one.
    pub fn seat(
        &mut self,
        address: FullJid,
        id: OccupantId,
        (affiliation, role): (Affiliation, Role),
        is_quiet: bool,
        seat: Seat,
    ) {
        self.audience = None;
        self.seated.insert(seat.jid.clone(), address.clone());
        let occupant = self
            .by_address
            .entry(address.clone())
            .or_insert_with(|| Occupant {
                address,
                id,
                affiliation,
                role,
                is_quiet,
                seats: SmallVec::new(),
                views: Views::default(),
            });
        occupant.views = Views::default();
        match occupant.seats.iter_mut().find(|old| old.jid == seat.jid) {
            Some(old) => *old = seat,
            None => occupant.seats.push(seat),
        }
    }

    /// Takes a session away. Answers its occupant as it was, if that was its only session.
    pub fn unseat(&mut self, session: &FullJid) -> Option<Occupant> {
        self.audience = None;
        let address = self.seated.remove(session)?;
        let occupant = self.by_address.get_mut(&address)?;
        if occupant.seats.len() > 1 {
            occupant.seats.retain(|seat| seat.jid != *session);
            occupant.views = Views::default();
            return None;
        }
        self.by_address.remove(&address)
    }

    /// Takes an occupant away with all its sessions.
    pub fn remove(&mut self, address: &FullJid) -> Option<Occupant> {
        self.audience = None;
        let occupant = self.by_address.remove(address)?;
        for seat in &occupant.seats {
            self.seated.remove(&seat.jid);
        }
        Some(occupant)
    }

    /// Gives an occupant another address; nobody may be there.
    pub fn rename(&mut self, from: &FullJid, to: &FullJid) {
        let Some(mut occupant) = self.remove(from) else {
            return;
        };
        occupant.address = to.clone();
        occupant.views = Views::default();
        for seat in &occupant.seats {
            self.seated.insert(seat.jid.clone(), to.clone());
        }
        self.by_address.insert(to.clone(), occupant);
    }

    /// Puts an occupant back as it was stored.
    pub fn restore(&mut self, occupant: Occupant) {
        self.audience = None;
        for seat in &occupant.seats {
            self.seated
                .insert(seat.jid.clone(), occupant.address.clone());
        }
        self.by_address.insert(occupant.address.clone(), occupant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_proto::xep::occupant_id::Secret;

    fn jid(text: &str) -> FullJid {
        FullJid::parse(text).unwrap()
    }

    fn seat(text: &str) -> Seat {
        Seat {
            jid: jid(text),
            presence: Bytes::from_static(b"<presence/>"),
        }
    }

    fn sit(occupants: &mut Occupants, nick: &str, session: &str) {
        let address = jid(&format!("coven@c/{nick}"));
        let seat = seat(session);
        let id = OccupantId::derive(&Secret::default(), &seat.jid.to_bare());
        occupants.seat(
            address,
            id,
            (Affiliation::None, Role::Participant),
            false,
            seat,
        );
    }

    #[test]
    fn a_session_is_found_by_its_nick_and_by_its_address() {
        let mut occupants = Occupants::default();
        sit(&mut occupants, "hag", "a@b/1");
        sit(&mut occupants, "hag", "a@b/2");
        sit(&mut occupants, "crone", "c@b/1");
        assert_eq!((occupants.len(), occupants.sessions()), (2, 3));
        assert_eq!(occupants.audience().len(), 3);
        assert_eq!(occupants.of(&jid("a@b/2")).unwrap().nick(), "hag");
        assert_eq!(
            occupants.of_user(&BareJid::parse("a@b").unwrap()).count(),
            1
        );
        assert!(occupants.unseat(&jid("a@b/1")).is_none());
        assert_eq!(occupants.audience().len(), 2);
        assert_eq!(occupants.at(&jid("coven@c/hag")).unwrap().seats.len(), 1);
        assert_eq!(occupants.unseat(&jid("a@b/2")).unwrap().nick(), "hag");
        assert!(occupants.at(&jid("coven@c/hag")).is_none());
    }

    #[test]
    fn a_new_nick_takes_all_sessions_along() {
        let mut occupants = Occupants::default();
        sit(&mut occupants, "hag", "a@b/1");
        sit(&mut occupants, "hag", "a@b/2");
        occupants.rename(&jid("coven@c/hag"), &jid("coven@c/oldhag"));
        assert_eq!(occupants.of(&jid("a@b/1")).unwrap().nick(), "oldhag");
        assert_eq!((occupants.len(), occupants.sessions()), (1, 2));
        occupants.remove(&jid("coven@c/oldhag"));
        assert_eq!((occupants.len(), occupants.sessions()), (0, 0));
    }

    #[test]
    fn an_occupant_is_small() {
        assert!(size_of::<Occupant>() <= 160);
    }
}
