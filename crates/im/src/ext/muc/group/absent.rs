//! A member of a group says something without being in the room (docs/protocol/groups.md §3.2): under the nickname that
//! is kept for it, so that nobody can be mistaken for it.

use posthaste_proto::jid::{BareJid, FullJid};
use smallvec::SmallVec;

use super::super::occupants::{Occupant, Views};
use super::super::room::Room;
use super::{is_group, is_member};

/// The occupant that this session would be if it were there, for a member who has registered a nickname (XEP-0045
/// §7.10) and is not there under another name. Whoever is there with another session under that name is who they are.
pub fn speaker(room: &Room, own: &BareJid, session: &FullJid) -> Option<Occupant> {
    let user = session.to_bare();
    if !is_group(room) || !is_member(room, &user) {
        return None;
    }
    let nick = room.affiliations.get(&user)?.nick.as_deref()?;
    let address = own.with_resource(nick).ok()?;
    if let Some(there) = room.occupants.at(&address) {
        return there.is_of(&user).then(|| there.clone());
    }
    if room.occupants.of_user(&user).next().is_some() {
        return None;
    }
    let affiliation = room.affiliation(&user);
    Some(Occupant {
        address,
        id: room.occupant_id(&user),
        affiliation,
        role: room.role_at_entry(&user, affiliation),
        is_quiet: true,
        seats: SmallVec::new(),
        views: Views::default(),
    })
}
