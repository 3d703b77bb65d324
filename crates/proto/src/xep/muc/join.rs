//! What a client says when it enters a room.

use super::child_text;
use crate::ns;
use crate::xep::date_time;
use crate::xml::Element;

/// `<x xmlns='http://jabber.org/protocol/muc'/>` in a presence (XEP-0045 §7.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// The room's password, if the client knows one (§7.2.5).
    pub password: Option<String>,
    /// How much of what was said before it wants.
    pub history: History,
}

/// How much of what was said before is wanted (§7.2.14): no more than each of these allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// So many characters of XML; 0 for no history at all.
    pub max_chars: Option<u32>,
    /// So many messages.
    pub max_stanzas: Option<u32>,
    /// What was said in the last so many seconds.
    pub seconds: Option<u32>,
    /// What was said since then, in milliseconds since 1970.
    pub since_ms: Option<u64>,
}

impl Join {
    /// Reads the `<x/>`. What makes no sense limits nothing: clients have sent `maxstanzas='-1'` for "all".
    pub fn read(x: &Element) -> Join {
        Join {
            password: child_text(x, "password"),
            history: x
                .child("history", ns::MUC)
                .map(History::read)
                .unwrap_or_default(),
        }
    }
}

impl History {
    fn read(history: &Element) -> History {
        let number = |name| history.attr(name)?.trim().parse::<u32>().ok();
        History {
            max_chars: number("maxchars"),
            max_stanzas: number("maxstanzas"),
            seconds: number("seconds"),
            since_ms: history.attr("since").and_then(date_time::parse),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Join {
        let xml = format!("<x xmlns='http://jabber.org/protocol/muc'>{inside}</x>");
        Join::read(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn who_asks_for_nothing_gets_what_the_room_gives() {
        assert_eq!(read(""), Join::default());
        assert_eq!(read("<history/>"), Join::default());
        assert_eq!(
            read("<history maxstanzas='-1' seconds='soon' since='1970'/>"),
            Join::default()
        );
    }

    #[test]
    fn a_password_and_all_limits_are_read() {
        let join = read(
            "<history maxchars='0' maxstanzas='20' seconds='180' since='1970-01-01T00:00:01Z'/>\
             <password>cauldronburn</password>",
        );
        assert_eq!(join.password.as_deref(), Some("cauldronburn"));
        let history = History {
            max_chars: Some(0),
            max_stanzas: Some(20),
            seconds: Some(180),
            since_ms: Some(1_000),
        };
        assert_eq!(join.history, history);
    }
}
