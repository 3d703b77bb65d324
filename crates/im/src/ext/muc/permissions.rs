//! Who may change whom: the tables of XEP-0045 §5 and the rules of §8 to §10, as functions of nothing but their
//! arguments. What is decided here is done elsewhere.

use posthaste_proto::error::StanzaError;
use posthaste_proto::xep::muc::admin::List;
use posthaste_proto::xep::muc::config::WhoIs;
use posthaste_proto::xep::muc::{Affiliation, Role, RoomConfig, Status};

/// How somebody stands in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Lasting.
    pub affiliation: Affiliation,
    /// For the visit; [`Role::None`] for whoever is not there.
    pub role: Role,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody of the actor's kind may do such a thing.
    Forbidden,
    /// The actor may do it, but not to this user.
    NotAllowed,
    /// The actor may not do it to itself, or nobody would own the room.
    Conflict,
}

impl From<Denied> for StanzaError {
    fn from(denied: Denied) -> StanzaError {
        match denied {
            Denied::Forbidden => StanzaError::forbidden(),
            Denied::NotAllowed => StanzaError::not_allowed(),
            Denied::Conflict => StanzaError::conflict(),
        }
    }
}

/// The role of who enters (§5.1.2), whatever the room is like besides; [`Role::None`] for whoever may not enter at all.
pub fn initial_role(affiliation: Affiliation, config: &RoomConfig) -> Role {
    match affiliation {
        Affiliation::Outcast => Role::None,
        Affiliation::None if config.members_only => Role::None,
        Affiliation::None if config.moderated => Role::Visitor,
        Affiliation::None | Affiliation::Member => Role::Participant,
        Affiliation::Admin | Affiliation::Owner => Role::Moderator,
    }
}

/// May an occupant's role be changed to another (§8.2 to §8.5, §9.6 to §9.8)? `is_self` if an actor means itself.
///
/// # Errors
/// Why not.
pub fn may_set_role(
    actor: Standing,
    target: Standing,
    to: Role,
    is_self: bool,
) -> Result<(), Denied> {
    let is_admin = actor.affiliation >= Affiliation::Admin;
    if !is_admin && actor.role != Role::Moderator {
        return Err(Denied::Forbidden);
    }
    match to {
        Role::None => may_kick(actor, target, is_self),
        // §9.6: moderators do not make moderators.
        Role::Moderator if !is_admin => Err(Denied::Forbidden),
        // §8.4, §9.7: an admin or owner is a moderator, whoever asks.
        Role::Visitor | Role::Participant if target.affiliation >= Affiliation::Admin => {
            Err(Denied::NotAllowed)
        }
        // §9.7: nor do they unmake them.
        Role::Visitor | Role::Participant if target.role == Role::Moderator && !is_admin => {
            Err(Denied::Forbidden)
        }
        Role::Visitor => may_take_voice(actor, target),
        Role::Participant | Role::Moderator => Ok(()),
    }
}

/// §8.2, and §5.1.3 for moderators, whom admins and owners kick.
fn may_kick(actor: Standing, target: Standing, is_self: bool) -> Result<(), Denied> {
    if is_self {
        return Err(Denied::Conflict);
    }
    let is_above = target.affiliation > actor.affiliation;
    let is_peer = target.role == Role::Moderator && actor.affiliation < Affiliation::Admin;
    if is_above || is_peer {
        return Err(Denied::NotAllowed);
    }
    Ok(())
}

/// §8.4: not from a user "whose affiliation is at or above the moderator's level". To have none is to have no
/// affiliation (§5.2), so that whoever has none can be silenced by every moderator.
fn may_take_voice(actor: Standing, target: Standing) -> Result<(), Denied> {
    let is_affiliated = target.affiliation >= Affiliation::Member;
    if is_affiliated && target.affiliation >= actor.affiliation {
        return Err(Denied::NotAllowed);
    }
    Ok(())
}

/// May a user's affiliation be changed from one to another (§5.2.2, §9.1 to §9.5, §10.3 to §10.8)? `is_self` if an actor
/// means itself; `owners` is how many users own the room.
///
/// # Errors
/// Why not.
pub fn may_set_affiliation(
    actor: Affiliation,
    from: Affiliation,
    to: Affiliation,
    is_self: bool,
    owners: usize,
) -> Result<(), Denied> {
    if actor < Affiliation::Admin {
        return Err(Denied::Forbidden);
    }
    // §9.1: nobody bans itself.
    if is_self && to == Affiliation::Outcast {
        return Err(Denied::Conflict);
    }
    if actor < Affiliation::Owner && from.max(to) >= Affiliation::Admin {
        return Err(match to {
            Affiliation::Outcast => Denied::NotAllowed,
            _ => Denied::Forbidden,
        });
    }
    // §10.4: a room without an owner would be nobody's to change.
    if from == Affiliation::Owner && to != Affiliation::Owner && owners <= 1 {
        return Err(Denied::Conflict);
    }
    Ok(())
}

/// What a change of affiliation does to an occupant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The occupant stays, with this role.
    Stays(Role),
    /// The occupant is removed, and this says why.
    Removed(Status),
}

/// What a change of affiliation does to an occupant (§5.1.3, §9.1, §9.4). §5.1.3 leaves open what is lost with an
/// affiliation: it is all that the lesser one does not bring.
pub fn effect(from: Affiliation, to: Affiliation, role: Role, config: &RoomConfig) -> Effect {
    let initial = initial_role(to, config);
    match (to, initial) {
        (Affiliation::Outcast, _) => Effect::Removed(Status::Banned),
        (_, Role::None) => Effect::Removed(Status::RemovedByAffiliation),
        _ if to > from => Effect::Stays(role.max(initial)),
        _ if to < from => Effect::Stays(role.min(initial)),
        _ => Effect::Stays(role),
    }
}

/// May somebody fetch a list (§8.5, §9.2, §9.5, §9.8, §10.5, §10.8)?
///
/// # Errors
/// Why not.
pub fn may_list(asker: Standing, list: List, config: &RoomConfig) -> Result<(), Denied> {
    let is_admin = asker.affiliation >= Affiliation::Admin;
    let may = match list {
        List::Role(Role::Moderator) => is_admin,
        List::Role(_) => is_admin || asker.role == Role::Moderator,
        List::Affiliation(Affiliation::Outcast | Affiliation::None) => is_admin,
        List::Affiliation(Affiliation::Member) => is_admin || may_see_members(asker, config),
        List::Affiliation(Affiliation::Admin | Affiliation::Owner) => {
            asker.affiliation == Affiliation::Owner || may_see_members(asker, config)
        }
    };
    if may { Ok(()) } else { Err(Denied::Forbidden) }
}

/// §5.2.1, §9.5: a list shows addresses, so members see it where everybody's is known, inside the room and outside.
/// COMPAT(clients that encrypt for groups): they need the lists of members, admins and owners.
fn may_see_members(asker: Standing, config: &RoomConfig) -> bool {
    asker.affiliation >= Affiliation::Member
        && config.whois == WhoIs::Anyone
        && config.member_list.shows(asker.role)
}

#[cfg(test)]
mod tests;
