//! People find public rooms of a service by what they are called, what they are about or where they are.
//!
//! XEP-0433: Extended Channel Search, version 0.1.0. Left out: rooms of other services, and a rate limit of its own: a
//! search reads the directory as the list of rooms does (§6.3 of XEP-0045), in the turn of whoever asks.
//!
//! How many are in a room is told if the room is in memory and not in use at this moment, and if everybody may enter it,
//! as the room itself does (XEP-0045 §6.4). Nobody waits for a room because of a search.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::channel_search::{self, Item, Order, Query};
use posthaste_proto::xml::Element;

use super::directory::{self, Entry};
use crate::error::WalkError;
use crate::ext::{Answer, Ext};
use crate::node::Node;

/// The extension. Services of rooms announce it, not the server.
pub const EXT: Ext = Ext {
    name: "Extended Channel Search",
    xep: 433,
    version: "0.1.0",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Rooms in one answer, each with up to 4 KiB of description.
const MAX_PAGE: usize = 50;
/// Public rooms that one search looks at. What was found of them is in memory until it is ordered, some 100 bytes each.
const MOST_SEARCHED: usize = 100_000;

/// A room that was found.
struct Found {
    room: BareJid,
    users: Option<u32>,
}

/// What a search has come to.
struct Search<'q> {
    query: &'q Query,
    found: Vec<Found>,
    /// Rooms that are still looked at.
    left: usize,
}

/// The form, or one page of what was searched for.
///
/// # Errors
/// The request makes no sense, or the store's.
pub(super) async fn answer(node: &Node, service: &BareJid, payload: &Element) -> Answer {
    let Some(query) = Query::read(payload)? else {
        return Ok(Some(channel_search::form()));
    };
    let found = find(node, service, &query).await?;
    let cut = query.page.cut(&found, |it| it.room.as_str(), MAX_PAGE);
    let (page, set) = cut.map_err(|_| StanzaError::item_not_found())?;
    let mut items = Vec::with_capacity(page.len());
    for found in page {
        // It may have gone since.
        if let Some(entry) = directory::public_entry(node, &found.room).await? {
            items.push(item(found, entry));
        }
    }
    Ok(Some(channel_search::result(&items, &set)))
}

async fn find(node: &Node, service: &BareJid, query: &Query) -> Result<Vec<Found>, WalkError> {
    if !query.wants_rooms {
        return Ok(Vec::new());
    }
    let mut search = Search {
        query,
        found: Vec::new(),
        left: MOST_SEARCHED,
    };
    directory::each_public(node, service, |room, entry| {
        search.look(room, &entry, |room| users(node, room))
    })
    .await?;
    let mut found = search.found;
    found.sort_unstable_by(|one, other| {
        let address = one.room.as_str().cmp(other.room.as_str());
        match query.order {
            Order::Address => address,
            // Those of which it is not known come last.
            Order::Users => Reverse(one.users).cmp(&Reverse(other.users)).then(address),
        }
    });
    Ok(found)
}

impl Search<'_> {
    fn look(
        &mut self,
        room: BareJid,
        entry: &Entry,
        users: impl Fn(&BareJid) -> Option<u32>,
    ) -> ControlFlow<()> {
        let Some(left) = self.left.checked_sub(1) else {
            return ControlFlow::Break(());
        };
        self.left = left;
        let about = entry.about.as_ref();
        let description = about.map(|about| &*about.description).unwrap_or_default();
        if !self.query.matches(room.as_str(), &entry.name, description) {
            return ControlFlow::Continue(());
        }
        // What goes on behind a door is not told before it, nor can it be found out by asking for a number.
        let is_open = about.is_some_and(|about| about.is_open);
        let users = is_open.then(|| users(&room)).flatten();
        if users.unwrap_or(0) >= self.query.min_users {
            self.found.push(Found { room, users });
        }
        ControlFlow::Continue(())
    }
}

/// How many are in a room, if that can be told without waiting for it.
fn users(node: &Node, room: &BareJid) -> Option<u32> {
    let home = node.home_in_table(room.as_str())?;
    let users = home.peek(|state| Some(state.room.as_deref()?.occupants.len()));
    users.flatten().and_then(|users| u32::try_from(users).ok())
}

fn item(found: &Found, entry: Entry) -> Item {
    let told = |text: String| Some(text).filter(|text| !text.is_empty());
    let is_open = entry.about.as_ref().map(|about| about.is_open);
    let shows_addresses = entry.about.as_ref().map(|about| about.shows_addresses);
    let (description, language) = match entry.about {
        Some(about) => (told(about.description), told(about.lang)),
        None => (None, None),
    };
    Item {
        address: found.room.as_str().to_owned(),
        name: told(entry.name),
        description,
        language,
        // It may have been closed since it was counted.
        users: found.users.filter(|_| is_open == Some(true)),
        is_open,
        shows_addresses,
    }
}

#[cfg(test)]
mod tests {
    use posthaste_proto::xep::channel_search::Places;
    use posthaste_proto::xep::rsm;

    use super::super::directory::About;
    use super::*;

    const EVERYTHING: Query = Query {
        terms: Vec::new(),
        places: Places {
            name: true,
            description: true,
            address: true,
        },
        wants_rooms: true,
        min_users: 0,
        order: Order::Address,
        page: rsm::Request {
            max: None,
            page: rsm::Page::First,
        },
    };

    fn entry(is_open: bool) -> Entry {
        Entry {
            name: String::new(),
            creator: BareJid::parse("crone1@shakespeare.lit").unwrap(),
            public: true,
            about: Some(About {
                description: String::new(),
                lang: String::new(),
                is_open,
                shows_addresses: false,
            }),
        }
    }

    fn room(number: usize) -> BareJid {
        BareJid::parse(&format!("room{number}@conference.shakespeare.lit")).unwrap()
    }

    #[test]
    fn a_search_looks_at_so_many_rooms_and_no_more() {
        let query = EVERYTHING;
        let mut search = Search {
            query: &query,
            found: Vec::new(),
            left: MOST_SEARCHED,
        };
        let looked = (0..).find(|number| {
            let looked = search.look(room(*number), &entry(true), |_| None);
            looked.is_break()
        });
        assert_eq!(looked, Some(MOST_SEARCHED));
        assert_eq!(search.found.len(), MOST_SEARCHED);
    }

    #[test]
    fn how_many_are_behind_a_door_cannot_be_found_out() {
        let query = Query {
            min_users: 3,
            ..EVERYTHING
        };
        let mut search = Search {
            query: &query,
            found: Vec::new(),
            left: 10,
        };
        for (number, is_open, users) in [
            (1, true, Some(3)),
            (2, true, Some(2)),
            (3, true, None),
            (4, false, Some(9)),
        ] {
            let looked = search.look(room(number), &entry(is_open), |_| users);
            assert!(looked.is_continue());
        }
        let found: Vec<_> = search.found.iter().map(|it| &it.room).collect();
        assert_eq!(found, [&room(1)]);
    }
}
