//! What a session has taken of what is said in groups: up to where, in each of them. Its home keeps that for the device
//! (`docs/protocol/groups.md` §4) and tells the room (§5).

use posthaste_proto::jid::BareJid;
use thin_vec::ThinVec;

use crate::log::ArchiveId;

/// Groups that are followed so in one session. Who is in more of them at a time gets their history as any client does.
pub const MOST_ROOMS: usize = 1_000;

/// The groups of one session.
#[derive(Debug, Default)]
pub struct Heard {
    rooms: Vec<Room>,
    has_news: bool,
}

#[derive(Debug)]
struct Room {
    jid: BareJid,
    /// Taken up to here, and the home does not know yet; 0 if it knows.
    taken: ArchiveId,
    /// This did not fit into the queue: what comes after it does not say that it was taken.
    missed: Option<ArchiveId>,
}

impl Heard {
    /// The number of a group in this session, unless there are too many.
    pub fn number(&mut self, room: &BareJid) -> Option<u32> {
        let known = self.rooms.iter().position(|known| known.jid == *room);
        if known.is_none() && self.rooms.len() >= MOST_ROOMS {
            return None;
        }
        let place = known.unwrap_or_else(|| {
            self.rooms.push(Room {
                jid: room.clone(),
                taken: ArchiveId(0),
                missed: None,
            });
            self.rooms.len() - 1
        });
        u32::try_from(place).ok()
    }

    /// The client enters the room, now or again: what it has missed will come.
    pub fn entered(&mut self, room: &BareJid) {
        if let Some(room) = self.rooms.iter_mut().find(|known| known.jid == *room) {
            room.missed = None;
        }
    }

    /// A message of the group had no room in the queue.
    pub fn missed(&mut self, number: u32, id: ArchiveId) {
        if let Some(room) = self.room(number) {
            room.missed.get_or_insert(id);
        }
    }

    /// The client has taken a message of the group, and all before it.
    pub fn took(&mut self, number: u32, id: ArchiveId) {
        let Some(room) = self.room(number) else {
            return;
        };
        if room.missed.is_none_or(|missed| id < missed) && id > room.taken {
            room.taken = id;
            self.has_news = true;
        }
    }

    fn room(&mut self, number: u32) -> Option<&mut Room> {
        self.rooms.get_mut(usize::try_from(number).ok()?)
    }

    /// Is there something that the home does not know?
    pub fn has_news(&self) -> bool {
        self.has_news
    }

    /// What the home does not know.
    pub fn take_news(&mut self) -> Vec<(BareJid, ArchiveId)> {
        self.has_news = false;
        let rooms = self.rooms.iter_mut();
        let news = rooms.filter(|room| room.taken > ArchiveId(0));
        news.map(|room| (room.jid.clone(), std::mem::take(&mut room.taken)))
            .collect()
    }
}

/// Notes that a group was taken up to a position.
pub fn note(heard: &mut ThinVec<(BareJid, ArchiveId)>, room: &BareJid, id: ArchiveId) {
    match heard.iter_mut().find(|(known, _)| known == room) {
        Some((_, upto)) => *upto = id.max(*upto),
        None => heard.push((room.clone(), id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_fit_is_not_taken_by_what_came_after_it() {
        let room = BareJid::parse("coven@chat.example").unwrap();
        let mut heard = Heard::default();
        let number = heard.number(&room).unwrap();
        heard.took(number, ArchiveId(2));
        heard.took(number, ArchiveId(1));
        assert_eq!(heard.take_news(), [(room.clone(), ArchiveId(2))]);
        heard.missed(number, ArchiveId(4));
        heard.took(number, ArchiveId(3));
        assert_eq!(heard.take_news(), [(room.clone(), ArchiveId(3))]);
        heard.took(number, ArchiveId(5));
        assert!(!heard.has_news() && heard.take_news().is_empty());
        heard.entered(&room);
        heard.took(number, ArchiveId(4));
        assert_eq!(heard.take_news(), [(room, ArchiveId(4))]);
    }

    #[test]
    fn the_groups_of_a_session_are_bounded() {
        let mut heard = Heard::default();
        let room = |n: usize| BareJid::parse(&format!("room{n}@chat.example")).unwrap();
        for n in 0..MOST_ROOMS {
            assert!(heard.number(&room(n)).is_some());
        }
        assert_eq!(heard.number(&room(MOST_ROOMS)), None);
        assert_eq!(heard.number(&room(1)), Some(1));
    }
}
