//! What moderators, admins and owners do: kick, ban, give and take voice, moderator status and affiliations, and look at
//! the room's lists (XEP-0045 §8 to §10).
//!
//! A request is decided wholly before anything is done ([`plan`]); then all of it is done in one commit, in its order
//! ([`carry_out`]).

mod carry_out;
mod list;
mod plan;

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::muc::admin::{Change, List};
use posthaste_proto::xep::muc::config::WhoIs;
use posthaste_proto::xep::muc::{Actor, Role};
use posthaste_proto::xml::Element;

use carry_out::carry_out;
use plan::{Step, plan};

use super::permissions::{self, Standing};
use super::room::Room;
use crate::error::WalkError;
use crate::ext::Answer;
use crate::walk::Walk;

/// One of the room's lists is asked for.
pub(super) fn show(walk: &Walk<'_>, query: &Element) -> Answer {
    let wanted = List::read(query)?;
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let asker = Requester::of(walk, room)?;
    permissions::may_list(asker.standing, wanted, &room.config).map_err(StanzaError::from)?;
    Ok(Some(list::answer(room, wanted)))
}

/// Something is to be changed.
pub(super) fn change(walk: &mut Walk<'_>, query: &Element) -> Answer {
    let changes = Change::read(query)?;
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let requester = Requester::of(walk, room)?;
    make(walk, &requester, changes)?;
    Ok(None)
}

/// Makes all changes, or none if one of them may not be made.
pub(super) fn make(
    walk: &mut Walk<'_>,
    requester: &Requester,
    changes: Vec<Change>,
) -> Result<(), WalkError> {
    let limit = walk.node.config().rooms.affiliations;
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let steps = plan(room, &walk.home.jid, requester, changes, limit)?;
    carry_out(walk, requester, steps)
}

/// Who asks, and how they stand: inside with whichever session, or outside (§8, §9).
#[derive(Clone, Debug)]
pub(super) struct Requester {
    /// The user.
    pub user: BareJid,
    /// How the user stands.
    pub standing: Standing,
    /// What the user is called in the room.
    pub nick: Option<Box<str>>,
}

impl Requester {
    /// Whoever sent the walk's stanza.
    pub(super) fn of(walk: &Walk<'_>, room: &Room) -> Result<Requester, StanzaError> {
        let from = walk.stanza.from.as_ref();
        let user = from.ok_or_else(StanzaError::bad_request)?.to_bare();
        let inside = room
            .occupants
            .of_user(&user)
            .max_by_key(|occupant| occupant.role);
        Ok(Requester {
            standing: Standing {
                affiliation: room.affiliation(&user),
                role: inside.map_or(Role::None, |occupant| occupant.role),
            },
            nick: inside.map(|occupant| occupant.nick().into()),
            user,
        })
    }

    /// How others are told who it was: by the address only where everybody's is known.
    pub(super) fn as_actor(&self, room: &Room) -> Option<Actor> {
        let is_known = room.config.whois == WhoIs::Anyone;
        let actor = Actor {
            jid: is_known.then(|| (&self.user).into()),
            nick: self.nick.as_deref().map(str::to_owned),
        };
        (actor != Actor::default()).then_some(actor)
    }
}
