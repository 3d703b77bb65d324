//! How fast a room may be talked to: what one user says costs everybody else a stanza.
//!
//! Three rates of the service that the operator chooses ([`Rates`]), and three of what one user does to a room beside
//! talking in it: inviting, registering, saying how far it has read. Beside them there is the slow mode of a room
//! ([`super::slow_mode`]). What is too fast is refused with an error of type `wait`. Memory alone knows: a restart
//! forgives.

use std::collections::HashMap;

use posthaste_proto::error::{Condition, ErrorType, StanzaError};
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::stanza::{Kind, MessageType};

use super::group;
use crate::clock::Timestamp;
use crate::home::HomeState;
use crate::walk::Walk;

/// What has not been used of a rate for so long may be used at once.
const BURST_SECONDS: u64 = 10;
/// Users whose pace is remembered; far more than write in a room at a time. Beyond it all are forgiven.
const MOST_USERS: usize = 20_000;
/// So many are remembered before those are looked for who need not be.
const FIRST_SWEEP: usize = 64;

/// How many stanzas there may be in a second on average, ten seconds' worth of them at once; 0 for any number.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Messages of one user to one room and those in it.
    pub messages: u32,
    /// What all users together say to everybody in one room.
    pub room_messages: u32,
    /// Presences of one user in one room: entering, another nickname, another status.
    pub presences: u32,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates {
            messages: 10,
            room_messages: 200,
            presences: 3,
        }
    }
}

/// How often something may be done.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// How long one of them takes to be paid for; 0 where there is no bound.
    price_micros: u64,
    /// How much may be owed.
    debt_micros: u64,
}

impl Allowance {
    /// So many in a second on average; 0 for any number.
    fn per_second(rate: u32) -> Allowance {
        Allowance {
            price_micros: 1_000_000_u64.checked_div(u64::from(rate)).unwrap_or(0),
            debt_micros: BURST_SECONDS * 1_000_000,
        }
    }

    /// So many at once, and one more each so many seconds.
    const fn at_once(most: u64, seconds: u64) -> Allowance {
        Allowance {
            price_micros: seconds * 1_000_000,
            debt_micros: most * seconds * 1_000_000,
        }
    }
}

/// People whom one user invites to one room, and refusals of invitations: each is a message to somebody, and stored
/// until it is there. Two messages of as many as one message may invite, then ten a minute: whoever means more makes
/// them members.
const INVITATIONS: Allowance = Allowance::at_once(100, 6);
/// Registrations of one user with one room, and their ends: each may ask ten people or be shown to all. Somebody tries
/// some nicknames, and is done with it for months.
const REGISTRATIONS: Allowance = Allowance::at_once(10, 30);
/// Markers, receipts and questions of one member of a group for how far it has come: each that is news is a row, and one
/// that is none may be 64 entries read. A client that comes back with as many messages as it is sent on joining may say
/// that it got each of them.
const MARKERS: Allowance = Allowance {
    price_micros: 1_000_000 / 20,
    debt_micros: BURST_SECONDS * 1_000_000,
};

/// A bucket kept as one number: when all that was taken from it is paid for.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    paid_at_micros: u64,
}

impl Bucket {
    fn has(self, count: u64, allowance: Allowance, now: Timestamp) -> bool {
        let debt = self.paid_at_micros.saturating_sub(micros(now));
        let price = allowance.price_micros.saturating_mul(count);
        price == 0 || debt.saturating_add(price) <= allowance.debt_micros
    }

    fn take(&mut self, count: u64, allowance: Allowance, now: Timestamp) {
        let price = allowance.price_micros.saturating_mul(count);
        if price > 0 {
            self.paid_at_micros = self.paid_at_micros.max(micros(now)).saturating_add(price);
        }
    }
}

fn micros(now: Timestamp) -> u64 {
    now.millis().saturating_mul(1_000)
}

/// What is remembered of one user.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    messages: Bucket,
    presences: Bucket,
    invitations: Bucket,
    registrations: Bucket,
    markers: Bucket,
    /// When the user may ask for voice again.
    may_ask_at: Timestamp,
}

impl Pace {
    fn is_at_rest(&self, now: Timestamp) -> bool {
        let buckets = [
            self.messages,
            self.presences,
            self.invitations,
            self.registrations,
            self.markers,
        ];
        let is_paid = |bucket: &Bucket| bucket.paid_at_micros <= micros(now);
        buckets.iter().all(is_paid) && self.may_ask_at <= now
    }
}

/// How fast a room is talked to at the moment.
#[derive(Debug, Default)]
pub struct Paces {
    users: HashMap<BareJid, Pace>,
    messages: Bucket,
    sweep_at: usize,
}

impl Paces {
    fn of(&mut self, user: &BareJid, now: Timestamp) -> &mut Pace {
        if self.users.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.users.retain(|_, pace| !pace.is_at_rest(now));
            if self.users.len() >= MOST_USERS {
                self.users.clear();
            }
            self.sweep_at = (self.users.len() * 2).min(MOST_USERS);
        }
        self.users.entry(user.clone()).or_default()
    }

    /// `is_for_all` if it is not only for one of those in the room.
    fn message(
        &mut self,
        user: &BareJid,
        is_for_all: bool,
        now: Timestamp,
        rates: Rates,
    ) -> Result<(), StanzaError> {
        let all = Allowance::per_second(rates.room_messages);
        let own = Allowance::per_second(rates.messages);
        let is_room_free = !is_for_all || self.messages.has(1, all, now);
        let pace = self.of(user, now);
        if !pace.messages.has(1, own, now) {
            return Err(too_fast("you write too fast"));
        }
        if !is_room_free {
            return Err(
                StanzaError::resource_constraint().with_text("too much is said in this room")
            );
        }
        pace.messages.take(1, own, now);
        if is_for_all {
            self.messages.take(1, all, now);
        }
        Ok(())
    }

    fn presence(
        &mut self,
        user: &BareJid,
        now: Timestamp,
        rates: Rates,
    ) -> Result<(), StanzaError> {
        let allowance = Allowance::per_second(rates.presences);
        let presences = &mut self.of(user, now).presences;
        let why = "your presence changes too fast";
        spend(presences, 1, allowance, now, why)
    }

    /// A user invites so many to the room, or declines to come.
    ///
    /// # Errors
    /// It has invited too many lately.
    pub(super) fn invite(
        &mut self,
        user: &BareJid,
        people: u64,
        now: Timestamp,
    ) -> Result<(), StanzaError> {
        let invitations = &mut self.of(user, now).invitations;
        spend(
            invitations,
            people,
            INVITATIONS,
            now,
            "too many are invited",
        )
    }

    /// A user registers with the room, or does so no more.
    ///
    /// # Errors
    /// It has done so too often lately.
    pub(super) fn register(&mut self, user: &BareJid, now: Timestamp) -> Result<(), StanzaError> {
        let registrations = &mut self.of(user, now).registrations;
        spend(
            registrations,
            1,
            REGISTRATIONS,
            now,
            "you register too often",
        )
    }

    /// A member of a group says how far it has come, or asks.
    ///
    /// # Errors
    /// It does so too fast.
    pub(super) fn mark(&mut self, member: &BareJid, now: Timestamp) -> Result<(), StanzaError> {
        let markers = &mut self.of(member, now).markers;
        spend(markers, 1, MARKERS, now, "you send markers too fast")
    }

    /// A visitor asks for voice in a room that lets nobody ask again for so many seconds.
    ///
    /// # Errors
    /// It has asked not long ago.
    pub(super) fn ask_for_voice(
        &mut self,
        user: &BareJid,
        now: Timestamp,
        seconds: u32,
    ) -> Result<(), StanzaError> {
        let pace = self.of(user, now);
        if now < pace.may_ask_at {
            return Err(too_fast("you have asked not long ago"));
        }
        pace.may_ask_at = now.plus_millis(u64::from(seconds) * 1_000);
        Ok(())
    }
}

/// Takes so many from a bucket, or none.
fn spend(
    bucket: &mut Bucket,
    count: u64,
    allowance: Allowance,
    now: Timestamp,
    why: &str,
) -> Result<(), StanzaError> {
    if !bucket.has(count, allowance, now) {
        return Err(too_fast(why));
    }
    bucket.take(count, allowance, now);
    Ok(())
}

fn too_fast(text: &str) -> StanzaError {
    StanzaError::new(ErrorType::Wait, Condition::PolicyViolation).with_text(text)
}

/// An occupant sends a message, or a member of a group who is not there. Others are refused for what they are, and
/// nothing is remembered of them.
pub(super) fn message(walk: &mut Walk<'_>, from: &FullJid) -> Result<(), StanzaError> {
    let (now, rates) = (walk.now, walk.node.config().rooms.rates);
    let is_for_all = walk.stanza.kind == Kind::Message(MessageType::Groupchat);
    let HomeState { jid, room, .. } = &mut *walk.home;
    let Some(room) = room.as_deref_mut() else {
        return Ok(());
    };
    let is_absent = || is_for_all && group::absent::speaker(room, jid, from).is_some();
    if room.occupants.of(from).is_none() && !is_absent() {
        return Ok(());
    }
    room.paces.message(&from.to_bare(), is_for_all, now, rates)
}

/// A user enters, takes another nickname or says how it is.
pub(super) fn presence(walk: &mut Walk<'_>, from: &FullJid) -> Result<(), StanzaError> {
    let (now, rates) = (walk.now, walk.node.config().rooms.rates);
    let room = walk.home.room.as_deref_mut();
    room.map_or(Ok(()), |room| {
        room.paces.presence(&from.to_bare(), now, rates)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_795_338_487_000);

    fn user(number: usize) -> BareJid {
        BareJid::parse(&format!("user{number}@example.org")).unwrap()
    }

    fn wait(refused: Result<(), StanzaError>, condition: Condition) {
        let error = refused.unwrap_err();
        assert_eq!((error.kind, error.condition), (ErrorType::Wait, condition));
    }

    #[test]
    fn ten_seconds_worth_is_taken_at_once_and_comes_back_as_time_passes() {
        let mut paces = Paces::default();
        let rates = Rates {
            messages: 2,
            room_messages: 0,
            presences: 0,
        };
        for _ in 0..20 {
            assert_eq!(paces.message(&user(1), true, NOON, rates), Ok(()));
        }
        wait(
            paces.message(&user(1), true, NOON, rates),
            Condition::PolicyViolation,
        );
        assert_eq!(paces.message(&user(2), true, NOON, rates), Ok(()));
        let later = NOON.plus_millis(500);
        assert_eq!(paces.message(&user(1), true, later, rates), Ok(()));
        assert!(paces.message(&user(1), false, later, rates).is_err());
        for _ in 0..1_000 {
            assert_eq!(paces.presence(&user(1), NOON, rates), Ok(()));
        }
    }

    #[test]
    fn a_room_has_a_rate_of_its_own() {
        let mut paces = Paces::default();
        let rates = Rates {
            messages: 0,
            room_messages: 1,
            presences: 1,
        };
        for number in 0..10 {
            assert_eq!(paces.message(&user(number), true, NOON, rates), Ok(()));
        }
        wait(
            paces.message(&user(11), true, NOON, rates),
            Condition::ResourceConstraint,
        );
        assert_eq!(paces.message(&user(11), false, NOON, rates), Ok(()));
        // What is not said is not counted.
        let later = NOON.plus_millis(1_000);
        assert_eq!(paces.message(&user(11), true, later, rates), Ok(()));
    }

    #[test]
    fn what_one_user_does_beside_talking_has_its_bounds() {
        let mut paces = Paces::default();
        for _ in 0..2 {
            assert_eq!(paces.invite(&user(1), 50, NOON), Ok(()));
        }
        wait(paces.invite(&user(1), 1, NOON), Condition::PolicyViolation);
        assert_eq!(paces.invite(&user(2), 50, NOON), Ok(()));
        let later = NOON.plus_millis(60_000);
        assert_eq!(paces.invite(&user(1), 10, later), Ok(()));
        assert!(paces.invite(&user(1), 1, later).is_err());
        for _ in 0..10 {
            assert_eq!(paces.register(&user(1), NOON), Ok(()));
        }
        wait(paces.register(&user(1), NOON), Condition::PolicyViolation);
        let later = NOON.plus_millis(30_000);
        assert_eq!(paces.register(&user(1), later), Ok(()));
        for _ in 0..200 {
            assert_eq!(paces.mark(&user(1), NOON), Ok(()));
        }
        wait(paces.mark(&user(1), NOON), Condition::PolicyViolation);
        assert_eq!(paces.mark(&user(1), NOON.plus_millis(50)), Ok(()));
    }

    #[test]
    fn requests_for_voice_have_their_seconds() {
        let mut paces = Paces::default();
        let nearly = NOON.plus_millis(19_999);
        assert_eq!(paces.ask_for_voice(&user(1), NOON, 20), Ok(()));
        wait(
            paces.ask_for_voice(&user(1), nearly, 20),
            Condition::PolicyViolation,
        );
        assert_eq!(
            paces.ask_for_voice(&user(1), NOON.plus_millis(20_000), 20),
            Ok(())
        );
    }

    #[test]
    fn whoever_is_at_rest_is_forgotten_and_memory_has_a_bound() {
        let mut paces = Paces::default();
        let rates = Rates::default();
        for number in 0..FIRST_SWEEP {
            assert_eq!(paces.message(&user(number), true, NOON, rates), Ok(()));
        }
        let later = NOON.plus_millis(60_000);
        assert_eq!(
            paces.message(&user(FIRST_SWEEP), true, later, rates),
            Ok(())
        );
        assert_eq!(paces.users.len(), 1);
        for number in 0..=MOST_USERS {
            let _ = paces.ask_for_voice(&user(number), later, 86_400);
        }
        assert!(paces.users.len() <= MOST_USERS, "{}", paces.users.len());
    }
}
