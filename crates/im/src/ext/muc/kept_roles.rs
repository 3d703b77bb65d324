//! Who may speak in a moderated room, for as long as nobody changes it: leaving and coming back gives no voice to whoever
//! has lost it, and takes none from whoever was given it (XEP-0045 §5.1: a service "SHOULD" keep roles there).
//!
//! Memory alone knows, as it alone knows who is there. Moderators who are no admins are made anew at each visit.

use std::collections::HashMap;

use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::muc::{Affiliation, Role};

/// Users whose role is kept; far more than a room has moderators for. Beyond it all are as if they had never been there.
const MOST_USERS: usize = 10_000;

/// The roles of those who have left, where they are others than those with which everybody enters.
#[derive(Debug, Default)]
pub(super) struct KeptRoles(HashMap<BareJid, (Affiliation, Role)>);

impl KeptRoles {
    /// Somebody leaves with this role, and would enter with that one.
    pub(super) fn keep(
        &mut self,
        user: &BareJid,
        affiliation: Affiliation,
        role: Role,
        initial: Role,
    ) {
        let role = role.min(Role::Participant);
        // Whoever may not enter at all has no role to come back to.
        if role == initial || role == Role::None || initial == Role::None {
            self.0.remove(user);
            return;
        }
        if self.0.len() >= MOST_USERS {
            self.0.clear();
        }
        self.0.insert(user.clone(), (affiliation, role));
    }

    /// The role that was kept for somebody who is still what it was then.
    pub(super) fn of(&self, user: &BareJid, affiliation: Affiliation) -> Option<Role> {
        let (then, role) = self.0.get(user)?;
        (*then == affiliation).then_some(*role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> BareJid {
        BareJid::parse(&format!("user{number}@example.org")).unwrap()
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_kept_until_something_else_changes() {
        let mut kept = KeptRoles::default();
        kept.keep(
            &user(1),
            Affiliation::Member,
            Role::Visitor,
            Role::Participant,
        );
        assert_eq!(kept.of(&user(1), Affiliation::Member), Some(Role::Visitor));
        assert_eq!(kept.of(&user(1), Affiliation::None), None);
        kept.keep(&user(2), Affiliation::None, Role::Moderator, Role::Visitor);
        assert_eq!(
            kept.of(&user(2), Affiliation::None),
            Some(Role::Participant)
        );
        kept.keep(
            &user(1),
            Affiliation::Member,
            Role::Participant,
            Role::Participant,
        );
        assert_eq!(kept.of(&user(1), Affiliation::Member), None);
        kept.keep(&user(2), Affiliation::None, Role::Participant, Role::None);
        assert_eq!(kept.of(&user(2), Affiliation::None), None);
    }

    #[test]
    fn memory_has_a_bound() {
        let mut kept = KeptRoles::default();
        for number in 0..=MOST_USERS {
            kept.keep(
                &user(number),
                Affiliation::None,
                Role::Participant,
                Role::Visitor,
            );
        }
        assert!(kept.0.len() <= MOST_USERS);
        let last = kept.of(&user(MOST_USERS), Affiliation::None);
        assert_eq!(last, Some(Role::Participant));
    }
}
