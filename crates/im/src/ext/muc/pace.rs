//! How fast a room may be talked to: what one user says costs everybody else a stanza.
//!
//! Three rates of the service, beside the slow mode of a room ([`super::slow_mode`]). What is too fast is refused with an
//! error of type `wait`. Memory alone knows: a restart forgives.

use std::collections::HashMap;

use posthaste_proto::error::{Condition, ErrorType, StanzaError};
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::stanza::{Kind, MessageType};

use super::group;
use crate::clock::Timestamp;
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

/// A bucket kept as one number: when all that was taken from it is paid for.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    paid_at_micros: u64,
}

impl Bucket {
    fn has_one(self, per_second: u32, now: Timestamp) -> bool {
        let debt = self.paid_at_micros.saturating_sub(micros(now));
        per_second == 0 || debt + price(per_second) <= BURST_SECONDS * 1_000_000
    }

    fn take(&mut self, per_second: u32, now: Timestamp) {
        if per_second > 0 {
            self.paid_at_micros = self.paid_at_micros.max(micros(now)) + price(per_second);
        }
    }
}

fn micros(now: Timestamp) -> u64 {
    now.millis().saturating_mul(1_000)
}

fn price(per_second: u32) -> u64 {
    1_000_000 / u64::from(per_second)
}

/// What is remembered of one user.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    messages: Bucket,
    presences: Bucket,
    /// When the user may ask for voice again.
    may_ask_at: Timestamp,
}

impl Pace {
    fn is_at_rest(&self, now: Timestamp) -> bool {
        let paid_at = self
            .messages
            .paid_at_micros
            .max(self.presences.paid_at_micros);
        paid_at <= micros(now) && self.may_ask_at <= now
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
        let is_room_free = !is_for_all || self.messages.has_one(rates.room_messages, now);
        let pace = self.of(user, now);
        if !pace.messages.has_one(rates.messages, now) {
            return Err(too_fast("you write too fast"));
        }
        if !is_room_free {
            return Err(
                StanzaError::resource_constraint().with_text("too much is said in this room")
            );
        }
        pace.messages.take(rates.messages, now);
        if is_for_all {
            self.messages.take(rates.room_messages, now);
        }
        Ok(())
    }

    fn presence(
        &mut self,
        user: &BareJid,
        now: Timestamp,
        rates: Rates,
    ) -> Result<(), StanzaError> {
        let pace = self.of(user, now);
        if !pace.presences.has_one(rates.presences, now) {
            return Err(too_fast("your presence changes too fast"));
        }
        pace.presences.take(rates.presences, now);
        Ok(())
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

fn too_fast(text: &str) -> StanzaError {
    StanzaError::new(ErrorType::Wait, Condition::PolicyViolation).with_text(text)
}

/// An occupant sends a message. Others are refused for what they are, and nothing is remembered of them.
pub(super) fn message(walk: &mut Walk<'_>, from: &FullJid) -> Result<(), StanzaError> {
    let (now, rates) = (walk.now, walk.node.config().rooms.rates);
    let own = walk.home.jid.clone();
    let is_for_all = walk.stanza.kind == Kind::Message(MessageType::Groupchat);
    let Some(room) = walk.home.room.as_deref_mut() else {
        return Ok(());
    };
    let is_absent = || is_for_all && group::absent::speaker(room, &own, from).is_some();
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
