//! The examples of XEP-0045 §5 to §10 one by one, then every request there is against the charts of §5 as they stand in
//! the XEP, then rooms full of people who ask for anything.

use proptest::prelude::*;
use proptest::{collection, sample};

use super::*;
use Affiliation::{Admin, Member, Outcast, Owner};
use Role::{Moderator, Participant, Visitor};

fn who(affiliation: Affiliation, role: Role) -> Standing {
    Standing { affiliation, role }
}

fn room(members_only: bool, moderated: bool) -> RoomConfig {
    RoomConfig {
        members_only,
        moderated,
        ..RoomConfig::default()
    }
}

#[test]
fn roles_at_entry_are_those_of_the_table() {
    let roles = |members_only, moderated| {
        [Affiliation::None, Member, Admin, Owner]
            .map(|affiliation| initial_role(affiliation, &room(members_only, moderated)))
    };
    assert_eq!(
        roles(false, true),
        [Visitor, Participant, Moderator, Moderator]
    );
    assert_eq!(
        roles(false, false),
        [Participant, Participant, Moderator, Moderator]
    );
    assert_eq!(
        roles(true, false),
        [Role::None, Participant, Moderator, Moderator]
    );
    assert_eq!(roles(true, true), roles(true, false));
    assert_eq!(initial_role(Outcast, &room(false, false)), Role::None);
}

#[test]
fn whoever_is_no_moderator_changes_no_role() {
    for role in [Role::None, Visitor, Participant] {
        for affiliation in [Outcast, Affiliation::None, Member] {
            let asked = may_set_role(
                who(affiliation, role),
                who(Affiliation::None, Visitor),
                Participant,
                false,
            );
            assert_eq!(asked, Err(Denied::Forbidden));
        }
    }
}

/// The errors that §8 and §9 show.
#[test]
fn refusals_are_those_of_the_examples() {
    let role = |actor, target, to| may_set_role(actor, target, to, false);
    let moderator = who(Member, Moderator);
    let admin = who(Admin, Moderator);
    let owner = who(Owner, Moderator);
    // §8.2: kicks go down or sideways, and moderators are kicked by admins.
    assert_eq!(role(moderator, admin, Role::None), Err(Denied::NotAllowed));
    assert_eq!(role(admin, owner, Role::None), Err(Denied::NotAllowed));
    assert_eq!(
        role(moderator, moderator, Role::None),
        Err(Denied::NotAllowed)
    );
    assert_eq!(role(moderator, who(Member, Visitor), Role::None), Ok(()));
    assert_eq!(role(admin, admin, Role::None), Ok(()));
    assert_eq!(
        may_set_role(owner, owner, Role::None, true),
        Err(Denied::Conflict)
    );
    // §8.4: voice.
    assert_eq!(role(owner, admin, Visitor), Err(Denied::NotAllowed));
    assert_eq!(
        role(moderator, who(Member, Participant), Visitor),
        Err(Denied::NotAllowed)
    );
    let nobody = who(Affiliation::None, Moderator);
    assert_eq!(
        role(nobody, who(Affiliation::None, Participant), Visitor),
        Ok(())
    );
    // §9.6, §9.7: moderators.
    assert_eq!(
        role(moderator, who(Member, Participant), Moderator),
        Err(Denied::Forbidden)
    );
    assert_eq!(role(moderator, nobody, Participant), Err(Denied::Forbidden));
    assert_eq!(role(admin, moderator, Participant), Ok(()));
    assert_eq!(role(owner, admin, Participant), Err(Denied::NotAllowed));
    assert_eq!(role(who(Admin, Role::None), moderator, Visitor), Ok(()));
}

#[test]
fn a_room_always_has_an_owner_and_nobody_bans_itself() {
    assert_eq!(
        may_set_affiliation(Owner, Owner, Admin, true, 1),
        Err(Denied::Conflict)
    );
    assert_eq!(may_set_affiliation(Owner, Owner, Admin, true, 2), Ok(()));
    assert_eq!(may_set_affiliation(Owner, Owner, Outcast, false, 2), Ok(()));
    for actor in [Admin, Owner] {
        assert_eq!(
            may_set_affiliation(actor, actor, Outcast, true, 2),
            Err(Denied::Conflict)
        );
    }
    assert_eq!(
        may_set_affiliation(Admin, Owner, Outcast, false, 2),
        Err(Denied::NotAllowed)
    );
    assert_eq!(
        may_set_affiliation(Admin, Member, Admin, false, 2),
        Err(Denied::Forbidden)
    );
    assert_eq!(
        may_set_affiliation(Admin, Admin, Affiliation::None, true, 1),
        Err(Denied::Forbidden)
    );
}

#[test]
fn an_affiliation_brings_its_role_and_takes_it_along() {
    let open = room(false, false);
    let moderated = room(false, true);
    let members_only = room(true, false);
    let stays = Effect::Stays;
    assert_eq!(
        effect(Affiliation::None, Outcast, Participant, &open),
        Effect::Removed(Status::Banned)
    );
    assert_eq!(
        effect(Member, Affiliation::None, Participant, &members_only),
        Effect::Removed(Status::RemovedByAffiliation)
    );
    assert_eq!(
        effect(Member, Affiliation::None, Participant, &open),
        stays(Participant)
    );
    assert_eq!(
        effect(Member, Affiliation::None, Participant, &moderated),
        stays(Visitor)
    );
    assert_eq!(
        effect(Affiliation::None, Member, Visitor, &moderated),
        stays(Participant)
    );
    assert_eq!(
        effect(Affiliation::None, Member, Moderator, &moderated),
        stays(Moderator)
    );
    assert_eq!(effect(Member, Admin, Visitor, &open), stays(Moderator));
    assert_eq!(effect(Owner, Admin, Moderator, &open), stays(Moderator));
    assert_eq!(effect(Admin, Member, Moderator, &open), stays(Participant));
    assert_eq!(effect(Member, Member, Visitor, &open), stays(Visitor));
}

#[test]
fn lists_are_shown_to_those_who_may_see_them() {
    let semi = RoomConfig::default();
    let open = RoomConfig {
        whois: WhoIs::Anyone,
        ..RoomConfig::default()
    };
    let may = |asker, list, config: &RoomConfig| may_list(asker, list, config).is_ok();
    let banned = List::Affiliation(Outcast);
    let members = List::Affiliation(Member);
    let owners = List::Affiliation(Owner);
    let member = who(Member, Role::None);
    let admin = who(Admin, Role::None);
    assert!(may(admin, banned, &semi) && !may(who(Member, Moderator), banned, &open));
    assert!(may(admin, members, &semi) && !may(member, members, &semi));
    assert!(may(member, members, &open) && may(member, owners, &open));
    assert!(!may(admin, owners, &semi) && may(who(Owner, Role::None), owners, &semi));
    assert!(!may(who(Affiliation::None, Participant), members, &open));
    let voice = List::Role(Participant);
    assert!(may(who(Affiliation::None, Moderator), voice, &semi));
    assert!(!may(who(Member, Participant), voice, &semi));
    assert!(!may(who(Member, Moderator), List::Role(Moderator), &semi));
}

// ---- the charts of §5, as they stand in the XEP ------------------------------------------------------

/// Whom the chart allows a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Nobody,
    Moderator,
    AdminOrOwner,
    Owner,
}

impl By {
    fn admits(self, actor: Standing) -> bool {
        let is_admin = matches!(actor.affiliation, Admin | Owner);
        match self {
            By::Nobody => false,
            By::Moderator => is_admin || actor.role == Moderator,
            By::AdminOrOwner => is_admin,
            By::Owner => actor.affiliation == Owner,
        }
    }
}

/// The role state chart (§5.1.3) for what another may do to an occupant, with the notes below the chart of §5.1.1 and
/// the rules that §8.2 and §8.4 add.
fn chart_allows_role(actor: Standing, target: Standing, to: Role, is_self: bool) -> bool {
    let by = match (target.role, to) {
        (Role::None, _) => By::Nobody,
        (Visitor | Participant, Role::None | Visitor | Participant) => By::Moderator,
        (Visitor | Participant | Moderator, Moderator) => By::AdminOrOwner,
        (Moderator, Role::None | Visitor | Participant) => By::AdminOrOwner,
    };
    let is_revoked = to < target.role || to < Moderator;
    let rank = |standing: Standing| {
        Affiliation::ALL
            .iter()
            .position(|it| *it == standing.affiliation)
    };
    let exception = match to {
        Role::None => is_self || rank(target) > rank(actor),
        _ if matches!(target.affiliation, Admin | Owner) => is_revoked,
        Visitor => matches!(target.affiliation, Member) && rank(target) >= rank(actor),
        Participant | Moderator => false,
    };
    by.admits(actor) && !exception
}

/// The affiliation state chart (§5.2.2).
fn chart_allows_affiliation(actor: Standing, from: Affiliation, to: Affiliation) -> bool {
    let by = match (from, to) {
        (Outcast | Affiliation::None | Member, Outcast | Affiliation::None | Member) => {
            By::AdminOrOwner
        }
        (_, Admin | Owner) | (Admin | Owner, _) => By::Owner,
    };
    by.admits(actor)
}

fn everybody() -> impl Iterator<Item = Standing> + Clone {
    let with = |affiliation: Affiliation| Role::ALL.iter().map(move |role| who(affiliation, *role));
    Affiliation::ALL.iter().copied().flat_map(with)
}

#[test]
fn every_request_is_answered_as_the_role_chart_says() {
    for actor in everybody() {
        for target in everybody().filter(|target| target.role != Role::None) {
            for &to in Role::ALL {
                for is_self in [false, true] {
                    assert_eq!(
                        may_set_role(actor, target, to, is_self).is_ok(),
                        chart_allows_role(actor, target, to, is_self),
                        "{actor:?} makes {target:?} a {to:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_request_is_answered_as_the_affiliation_chart_says() {
    for actor in everybody() {
        for &from in Affiliation::ALL {
            for &to in Affiliation::ALL {
                assert_eq!(
                    may_set_affiliation(actor.affiliation, from, to, false, 2).is_ok(),
                    chart_allows_affiliation(actor, from, to),
                    "{actor:?} makes {from:?} {to:?}"
                );
            }
        }
    }
}

// ---- rooms full of people who ask for anything --------------------------------------------------------

const PEOPLE: usize = 6;

#[derive(Clone, Debug)]
struct ModelRoom {
    config: RoomConfig,
    people: [Standing; PEOPLE],
}

#[derive(Clone, Debug)]
enum Asked {
    Enter(usize),
    Leave(usize),
    Role(usize, usize, Role),
    Affiliation(usize, usize, Affiliation),
}

impl ModelRoom {
    fn new(members_only: bool, moderated: bool) -> ModelRoom {
        let mut people = [who(Affiliation::None, Role::None); PEOPLE];
        people[0] = who(Owner, Role::None);
        ModelRoom {
            config: room(members_only, moderated),
            people,
        }
    }

    fn owners(&self) -> usize {
        self.people
            .iter()
            .filter(|person| person.affiliation == Owner)
            .count()
    }

    fn ask(&mut self, asked: &Asked) {
        match *asked {
            Asked::Enter(person) => {
                let affiliation = self.people[person].affiliation;
                self.people[person].role = initial_role(affiliation, &self.config);
            }
            Asked::Leave(person) => self.people[person].role = Role::None,
            Asked::Role(actor, target, to) => {
                let (by, whom) = (self.people[actor], self.people[target]);
                if whom.role != Role::None && may_set_role(by, whom, to, actor == target).is_ok() {
                    self.people[target].role = to;
                }
            }
            Asked::Affiliation(actor, target, to) => {
                let (by, whom) = (self.people[actor].affiliation, self.people[target]);
                let owners = self.owners();
                if may_set_affiliation(by, whom.affiliation, to, actor == target, owners).is_err() {
                    return;
                }
                self.people[target].affiliation = to;
                if whom.role != Role::None {
                    self.people[target].role =
                        match effect(whom.affiliation, to, whom.role, &self.config) {
                            Effect::Stays(role) => role,
                            Effect::Removed(_) => Role::None,
                        };
                }
            }
        }
    }

    /// What must hold whatever was asked.
    fn check(&self) {
        assert!(self.owners() >= 1, "nobody owns the room: {self:?}");
        for person in self
            .people
            .iter()
            .filter(|person| person.role != Role::None)
        {
            assert_ne!(
                person.affiliation, Outcast,
                "an outcast is inside: {self:?}"
            );
            let is_known = person.affiliation >= Member;
            assert!(
                is_known || !self.config.members_only,
                "a stranger is inside: {self:?}"
            );
            let is_admin = person.affiliation >= Admin;
            assert!(
                !is_admin || person.role == Moderator,
                "an admin is no moderator: {self:?}"
            );
        }
    }

    /// Is what changed since `before` what the XEP lets this request change?
    fn check_step(&self, before: &ModelRoom, asked: &Asked) {
        for person in 0..PEOPLE {
            let (was, is) = (before.people[person], self.people[person]);
            if was == is {
                continue;
            }
            let is_lawful = match *asked {
                Asked::Enter(entering) => {
                    entering == person
                        && was.affiliation == is.affiliation
                        && is.affiliation != Outcast
                }
                Asked::Leave(leaving) => {
                    leaving == person && is == who(was.affiliation, Role::None)
                }
                Asked::Role(actor, target, to) => {
                    let by = before.people[actor];
                    target == person
                        && is == who(was.affiliation, to)
                        && chart_allows_role(by, was, to, actor == target)
                }
                Asked::Affiliation(actor, target, to) => {
                    // §5.1.3: what an affiliation brings is its own role; nothing else may be gained by it.
                    let brought = match to {
                        Outcast => Role::None,
                        Affiliation::None => was.role,
                        Member => was.role.max(Participant),
                        Admin | Owner => Moderator,
                    };
                    target == person
                        && is.affiliation == to
                        && is.role <= brought
                        && chart_allows_affiliation(before.people[actor], was.affiliation, to)
                }
            };
            assert!(is_lawful, "{asked:?} made {was:?} {is:?}");
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let person = 0..PEOPLE;
    let role = sample::select(Role::ALL);
    let affiliation = sample::select(Affiliation::ALL);
    prop_oneof![
        2 => person.clone().prop_map(Asked::Enter),
        1 => person.clone().prop_map(Asked::Leave),
        6 => (person.clone(), person.clone(), role).prop_map(|(a, b, to)| Asked::Role(a, b, to)),
        // The first person is the first owner: asked more often, so that others are something too.
        3 => (person.clone(), affiliation.clone()).prop_map(|(b, to)| Asked::Affiliation(0, b, to)),
        6 => (person.clone(), person, affiliation).prop_map(|(a, b, to)| Asked::Affiliation(a, b, to)),
    ]
}

proptest! {
    #[test]
    fn nobody_ever_gains_more_than_the_xep_allows(
        members_only: bool,
        moderated: bool,
        requests in collection::vec(asked(), 1..80),
    ) {
        let mut room = ModelRoom::new(members_only, moderated);
        for request in &requests {
            let before = room.clone();
            room.ask(request);
            room.check_step(&before, request);
            room.check();
        }
    }
}
