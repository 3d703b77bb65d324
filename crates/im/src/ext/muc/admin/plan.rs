//! What a request comes to, decided before anything is done: all of it may be done, or nothing is (§9.2).

use std::collections::HashMap;

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::xep::muc::admin::{Change, Reserved, What, Whom};
use posthaste_proto::xep::muc::{Affiliation, Nick, Role, Status};

use super::Requester;
use crate::ext::muc::occupants::Occupant;
use crate::ext::muc::permissions::{self, Effect, Standing};
use crate::ext::muc::room::{Affiliate, Room};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An occupant stands differently from now on.
    Occupant {
        /// Who.
        address: FullJid,
        /// How.
        standing: Standing,
        /// Why it has to go, if it has to.
        removed: Option<Status>,
        /// Why, in the requester's words.
        reason: Option<String>,
    },
    /// A user stands differently from now on, inside or outside.
    Affiliate {
        /// Who.
        user: BareJid,
        /// What the user was.
        was: Affiliation,
        /// What the user is.
        affiliate: Affiliate,
        /// Why, in the requester's words.
        reason: Option<String>,
    },
}

/// Decides a request.
///
/// # Errors
/// Why no part of it is done.
pub(super) fn plan(
    room: &Room,
    address: &BareJid,
    requester: &Requester,
    changes: Vec<Change>,
    most_affiliations: usize,
) -> Result<Vec<Step>, StanzaError> {
    let mut draft = Draft {
        room,
        address,
        requester,
        affiliates: HashMap::new(),
        standings: HashMap::new(),
        owners: room.owners(),
        added: 0,
        steps: Vec::new(),
    };
    for change in changes {
        draft.consider(change)?;
    }
    let growth = room.affiliations.len().saturating_add_signed(draft.added);
    if draft.added > 0 && growth > most_affiliations {
        return Err(StanzaError::resource_constraint().with_text("the lists of this room are full"));
    }
    Ok(draft.steps)
}

/// The room as it would be.
struct Draft<'r> {
    room: &'r Room,
    address: &'r BareJid,
    requester: &'r Requester,
    /// Those who are something else by now.
    affiliates: HashMap<BareJid, Affiliate>,
    standings: HashMap<FullJid, Standing>,
    owners: usize,
    /// How many rows more or fewer there are.
    added: isize,
    steps: Vec<Step>,
}

impl<'r> Draft<'r> {
    fn consider(&mut self, change: Change) -> Result<(), StanzaError> {
        match change.what {
            What::Role { nick, role } => self.set_role(&nick, role, change.reason),
            What::Affiliation {
                whom,
                affiliation,
                reserved,
            } => {
                let user = self.who_is(whom)?;
                self.set_affiliation(&user, affiliation, reserved, change.reason.as_deref())
            }
        }
    }

    fn standing(&self, occupant: &Occupant) -> Standing {
        let known = self.standings.get(&occupant.address).copied();
        known.unwrap_or(Standing {
            affiliation: occupant.affiliation,
            role: occupant.role,
        })
    }

    /// The occupant of that name, if it would still be there.
    fn occupant(&self, nick: &Nick) -> Result<&'r Occupant, StanzaError> {
        let address = self.address.with_resource(nick.as_str());
        let address = address.map_err(|_| StanzaError::jid_malformed())?;
        let occupant = self.room.occupants.at(&address);
        occupant
            .filter(|occupant| self.standing(occupant).role != Role::None)
            .ok_or_else(|| StanzaError::item_not_found().with_text("nobody here has this nickname"))
    }

    fn set_role(
        &mut self,
        nick: &Nick,
        to: Role,
        reason: Option<String>,
    ) -> Result<(), StanzaError> {
        let occupant = self.occupant(nick)?;
        let address = occupant.address.clone();
        let standing = self.standing(occupant);
        let is_self = occupant.is_of(&self.requester.user);
        permissions::may_set_role(self.requester.standing, standing, to, is_self)?;
        if standing.role != to {
            let removed = (to == Role::None).then_some(Status::Kicked);
            let standing = Standing {
                role: to,
                ..standing
            };
            self.occupant_becomes(address, standing, removed, reason);
        }
        Ok(())
    }

    fn occupant_becomes(
        &mut self,
        address: FullJid,
        standing: Standing,
        removed: Option<Status>,
        reason: Option<String>,
    ) {
        self.standings.insert(address.clone(), standing);
        self.steps.push(Step::Occupant {
            address,
            standing,
            removed,
            reason,
        });
    }

    fn who_is(&self, whom: Whom) -> Result<BareJid, StanzaError> {
        let nick = match whom {
            Whom::Jid(user) => return Ok(user),
            Whom::Nick(nick) => nick,
        };
        let seated = self.occupant(&nick).map(|occupant| occupant.first());
        match (seated, self.room.nick_is_of(nick.as_str())) {
            (Ok(Some(seat)), _) => Ok(seat.jid.to_bare()),
            (_, Some(user)) => Ok(user.clone()),
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(StanzaError::item_not_found()),
        }
    }

    fn set_affiliation(
        &mut self,
        user: &BareJid,
        to: Affiliation,
        reserved: Reserved,
        reason: Option<&str>,
    ) -> Result<(), StanzaError> {
        let before = self
            .affiliates
            .get(user)
            .or_else(|| self.room.affiliations.get(user));
        let before = before.cloned().unwrap_or_default();
        let was = before.affiliation;
        let by = self.requester.standing.affiliation;
        let is_self = *user == self.requester.user;
        permissions::may_set_affiliation(by, was, to, is_self, self.owners)?;
        let affiliate = Affiliate {
            affiliation: to,
            nick: self.reserved_nick(user, to, reserved, &before)?,
            reason: kept_reason(to, reason),
        };
        if affiliate == before {
            return Ok(());
        }
        self.owners -= usize::from(was == Affiliation::Owner);
        self.owners += usize::from(to == Affiliation::Owner);
        self.added += isize::from(!affiliate.is_nothing()) - isize::from(!before.is_nothing());
        self.affiliates.insert(user.clone(), affiliate.clone());
        self.steps.push(Step::Affiliate {
            user: user.clone(),
            was,
            affiliate,
            reason: reason.map(str::to_owned),
        });
        if was != to {
            self.touch_occupants(user, to, reason);
        }
        Ok(())
    }

    /// §9.1: an outcast keeps no nickname; nor does whoever is no member any more.
    fn reserved_nick(
        &self,
        user: &BareJid,
        to: Affiliation,
        reserved: Reserved,
        before: &Affiliate,
    ) -> Result<Option<Box<str>>, StanzaError> {
        match reserved {
            _ if to < Affiliation::Member => Ok(None),
            Reserved::Unchanged => Ok(before.nick.clone()),
            Reserved::Cleared => Ok(None),
            Reserved::Set(nick) => {
                let drafted = self.affiliates.iter();
                let is_drafted = drafted
                    .filter(|(other, _)| *other != user)
                    .any(|(_, affiliate)| affiliate.nick.as_deref() == Some(nick.as_str()));
                let kept_for = self.room.nick_is_of(nick.as_str());
                let is_kept = kept_for
                    .is_some_and(|other| other != user && !self.affiliates.contains_key(other));
                let is_worn = self
                    .occupant(&nick)
                    .is_ok_and(|occupant| !occupant.is_of(user));
                if is_drafted || is_kept || is_worn {
                    return Err(
                        StanzaError::conflict().with_text("somebody else has this nickname")
                    );
                }
                Ok(Some(nick.as_str().into()))
            }
        }
    }

    /// Whoever is inside stands differently at once. §9.2: with a domain all are banned who are nothing by themselves.
    fn touch_occupants(&mut self, user: &BareJid, to: Affiliation, reason: Option<&str>) {
        let is_domain = user.local().is_none() && to == Affiliation::Outcast;
        let is_meant = |occupant: &Occupant| {
            occupant.is_of(user)
                || (is_domain
                    && self.standing(occupant).affiliation == Affiliation::None
                    && occupant
                        .first()
                        .is_some_and(|seat| seat.jid.domain() == user.domain()))
        };
        let inside = self.room.occupants.iter();
        let inside = inside.filter(|occupant| self.standing(occupant).role != Role::None);
        let meant: Vec<_> = inside
            .filter(|occupant| is_meant(occupant))
            .map(|occupant| (occupant.address.clone(), self.standing(occupant)))
            .collect();
        for (address, was) in meant {
            let effect = permissions::effect(was.affiliation, to, was.role, &self.room.config);
            let (role, removed) = match effect {
                Effect::Stays(role) => (role, None),
                Effect::Removed(status) => (Role::None, Some(status)),
            };
            let standing = Standing {
                affiliation: to,
                role,
            };
            self.occupant_becomes(address, standing, removed, reason.map(str::to_owned));
        }
    }
}

/// §9.2: the list of outcasts says why; others are nobody's business.
fn kept_reason(to: Affiliation, reason: Option<&str>) -> Option<Box<str>> {
    reason
        .filter(|_| to == Affiliation::Outcast)
        .map(Into::into)
}
