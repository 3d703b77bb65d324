//! What is held back while a client says that nobody looks at it (XEP-0352): presence, the newest of each sender, and
//! what only means something at the moment, such as typing. It goes out, in order, with the first thing that matters.

use std::collections::VecDeque;

use crate::copies::Xml;
use crate::session::{Item, What};

/// Items held for one client: the presence of about as many contacts and occupants as one looks at.
pub const MAX_HELD: usize = 256;

/// The items, oldest first.
#[derive(Debug, Default)]
pub struct Held {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Held {
    /// Holds an item back, within so many bytes. Typing makes room for what comes later; presence does not.
    ///
    /// # Errors
    /// The item, if it must not be held or there is no room: it is time to let everything go.
    pub fn hold(&mut self, item: Item, most_bytes: usize) -> Result<(), Item> {
        let length = length(&item);
        let may_be_held = item.hold && !matches!(item.what, What::Logged { .. } | What::Iq);
        if !may_be_held || length > most_bytes {
            return Err(item);
        }
        // The old one goes from its place and the new one to the end: what a sender says stays in order.
        if let What::Presence { .. } = item.what {
            self.remove_first(|old| old.what == item.what);
        }
        while self.items.len() >= MAX_HELD || self.bytes + length > most_bytes {
            if !self.remove_first(|old| old.what == What::Passing) {
                return Err(item);
            }
        }
        self.bytes += length;
        self.items.push_back(item);
        Ok(())
    }

    fn remove_first(&mut self, is_it: impl Fn(&Item) -> bool) -> bool {
        let place = self.items.iter().position(is_it);
        let removed = place.and_then(|place| self.items.remove(place));
        self.bytes -= removed.as_ref().map_or(0, length);
        removed.is_some()
    }

    /// Everything that was held.
    pub fn release(&mut self) -> VecDeque<Item> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }

    /// The connection is lost: what was about the moment is moot when the client is back.
    pub fn keep_presence(&mut self) {
        self.items
            .retain(|item| matches!(item.what, What::Presence { .. }));
        self.items.shrink_to_fit();
        self.bytes = self.items.iter().map(length).sum();
    }

    /// What is held.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// Its bytes, for queue health.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn length(item: &Item) -> usize {
    item.xml.as_ref().map_or(0, Xml::len)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use posthaste_proto::jid::FullJid;

    use super::*;

    fn item(what: What, xml: &str) -> Item {
        let xml = Some(Bytes::copy_from_slice(xml.as_bytes()).into());
        Item {
            what,
            xml,
            hold: true,
        }
    }

    fn presence(sender: u64, xml: &str) -> Item {
        item(What::Presence { sender }, xml)
    }

    fn texts(held: &mut Held) -> Vec<String> {
        let released = held.release().into_iter();
        released
            .map(|item| item.xml.unwrap().whole(&FullJid::parse("a@b/c").unwrap()))
            .map(|xml| String::from_utf8(xml.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn only_the_newest_presence_of_each_sender_is_held_and_order_is_kept() {
        let mut held = Held::default();
        for next in [
            presence(1, "romeo is here"),
            presence(2, "nurse"),
            item(What::Passing, "romeo types"),
            presence(1, "romeo is gone"),
        ] {
            held.hold(next, 1000).unwrap();
        }
        assert_eq!(
            texts(&mut held),
            ["nurse", "romeo types", "romeo is gone"],
            "the last word of a sender comes last"
        );
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn typing_makes_room_and_presence_does_not() {
        let mut held = Held::default();
        for n in 0..1000 {
            held.hold(item(What::Passing, &format!("t{n}")), 100_000)
                .unwrap();
        }
        assert_eq!(held.iter().count(), MAX_HELD);
        for sender in 0..MAX_HELD as u64 {
            held.hold(presence(sender, "p"), 100_000).unwrap();
        }
        assert_eq!(held.bytes(), MAX_HELD);
        assert!(held.hold(presence(999, "one too many"), 100_000).is_err());
        assert!(held.hold(presence(1, "an update"), 100_000).is_ok());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut held = Held::default();
        held.hold(presence(1, "123456"), 10).unwrap();
        assert!(held.hold(presence(2, "123456"), 10).is_err());
        assert!(held.hold(presence(1, "1234567890"), 10).is_ok());
        assert!(held.hold(presence(1, "12345678901"), 10).is_err());
    }

    #[test]
    fn what_is_answered_or_stored_is_never_held() {
        let mut held = Held::default();
        assert!(held.hold(item(What::Iq, "<iq/>"), 100).is_err());
        let body = Item {
            hold: false,
            ..item(What::Passing, "<message/>")
        };
        assert!(held.hold(body, 100).is_err());
    }

    #[test]
    fn a_lost_connection_leaves_only_presence() {
        let mut held = Held::default();
        held.hold(presence(1, "p"), 100).unwrap();
        held.hold(item(What::Passing, "typing"), 100).unwrap();
        held.keep_presence();
        assert_eq!(held.bytes(), 1);
        assert_eq!(texts(&mut held), ["p"]);
    }
}
