//! In a room where hundreds write at once everybody waits between two messages, so that they can be read.
//!
//! XEP-0500: MUC Slow Mode, version 0.1.1. The duration is among the room's settings. Left out: remembering over a
//! restart of the server who has just spoken; they may speak once more.

use std::collections::HashMap;

use posthaste_proto::error::{ErrorType, StanzaError};
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::muc::Affiliation;

use super::room::Room;
use crate::clock::Timestamp;
use crate::ext::Ext;

/// The extension.
pub const EXT: Ext = Ext {
    name: "MUC Slow Mode",
    xep: 500,
    version: "0.1.1",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Users of one room whose last message is remembered, a megabyte of them. Where more have spoken within the duration,
/// nobody else speaks until one of theirs is over.
const MOST_REMEMBERED: usize = 10_000;

/// Who has spoken lately, whatever the nickname and the session.
#[derive(Debug, Default)]
pub struct Spoken(HashMap<BareJid, Timestamp>);

impl Spoken {
    /// May this user say that now? If so it counts from now on.
    ///
    /// # Errors
    /// `<policy-violation/>`, with how long one waits.
    pub(super) fn take(
        &mut self,
        user: BareJid,
        pause_millis: u64,
        now: Timestamp,
    ) -> Result<(), ()> {
        let is_recent = |at: Timestamp| now.since(at) < pause_millis;
        if self.0.len() >= MOST_REMEMBERED {
            self.0.retain(|_, at| is_recent(*at));
        }
        let is_too_soon = self.0.get(&user).is_some_and(|at| is_recent(*at));
        let is_full = self.0.len() >= MOST_REMEMBERED && !self.0.contains_key(&user);
        if is_too_soon || is_full {
            return Err(());
        }
        self.0.insert(user, now);
        Ok(())
    }
}

/// Only what has a body counts, and admins and owners do not wait (§4.4).
///
/// # Errors
/// This user has to wait.
pub(super) fn admits(
    room: &mut Room,
    user: BareJid,
    stanza: &Stanza,
    now: Timestamp,
) -> Result<(), StanzaError> {
    let seconds = room.config.slow_mode_seconds;
    let is_bound = seconds > 0 && room.affiliation(&user) < Affiliation::Admin;
    if !is_bound || !stanza.has("body", ns::CLIENT) {
        return Ok(());
    }
    let taken = room.spoken.take(user, u64::from(seconds) * 1000, now);
    taken.map_err(|()| {
        let text = format!("everybody waits {seconds} seconds between two messages in this room");
        let mut error = StanzaError::policy_violation().with_text(text);
        error.kind = ErrorType::Wait;
        error
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::muc::room::Affiliate;
    use posthaste_proto::stanza::MessageType;
    use posthaste_proto::xep::muc::RoomConfig;
    use posthaste_proto::xml::Element;

    fn jid(text: &str) -> BareJid {
        BareJid::parse(text).unwrap()
    }

    fn slowed_down(seconds: u32) -> Room {
        let config = RoomConfig {
            slow_mode_seconds: seconds,
            ..RoomConfig::default()
        };
        let mut room = Room::new(jid("a@b"), Timestamp(0), config);
        let admin = Affiliate {
            affiliation: Affiliation::Admin,
            nick: None,
            reason: None,
        };
        room.affiliations.insert(jid("admin@b"), admin);
        room
    }

    fn message(child: &'static str) -> Stanza {
        Stanza::message(MessageType::Groupchat).with_child(&Element::new(child, ns::CLIENT))
    }

    #[test]
    fn whoever_has_spoken_waits_and_others_do_not() {
        let mut room = slowed_down(20);
        let mut may = |who: &str, child, seconds: u64| {
            let now = Timestamp(1_000_000 + seconds * 1000);
            admits(&mut room, jid(who), &message(child), now).is_ok()
        };
        assert!(may("hag@b", "body", 0));
        assert!(!may("hag@b", "body", 19), "too soon");
        assert!(may("hag@b", "thread", 19), "nothing is said");
        assert!(may("crone@b", "body", 19), "somebody else");
        assert!(may("hag@b", "body", 20));
        assert!(may("admin@b", "body", 0) && may("admin@b", "body", 0));
        let mut fast = slowed_down(0);
        for _ in 0..2 {
            let now = Timestamp(1_000_000);
            assert!(admits(&mut fast, jid("hag@b"), &message("body"), now).is_ok());
        }
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let mut spoken = Spoken::default();
        let now = Timestamp(1_000_000);
        for n in 0..MOST_REMEMBERED {
            assert!(spoken.take(jid(&format!("w{n}@b")), 1000, now).is_ok());
        }
        assert!(spoken.take(jid("one-more@b"), 1000, now).is_err());
        let later = now.plus_millis(1000);
        assert!(spoken.take(jid("one-more@b"), 1000, later).is_ok());
        assert_eq!(spoken.0.len(), 1);
    }
}
