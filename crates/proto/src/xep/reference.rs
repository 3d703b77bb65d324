//! Whom a message mentions.
//!
//! XEP-0372 0.5.0, the part about mentions: `<reference type='mention' uri='xmpp:…'/>`. A URI names a person by bare
//! JID, or an occupant by the room's JID with the nickname as resource. What clients without references do, writing the
//! nickname into the text, counts too: they are most clients in rooms today.

use crate::jid::{BareJid, Jid};
use crate::ns;
use crate::stanza::Stanza;

/// Mentions of one message that count. Whoever names more means everybody, and that is no mention of anybody.
pub const MAX_MENTIONS: usize = 32;

/// Whom a message mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    named: Vec<Jid>,
    text: String,
}

impl Mentions {
    /// Reads the mentions out of a message.
    pub fn of(stanza: &Stanza) -> Mentions {
        let references = stanza
            .children()
            .filter(|child| child.is("reference", ns::REFERENCE))
            .filter_map(|child| child.to_element().ok());
        let named = references
            .filter(|reference| reference.attr("type") == Some("mention"))
            .filter_map(|reference| jid_of(reference.attr("uri")?))
            .take(MAX_MENTIONS)
            .collect();
        let body = stanza.child("body", ns::CLIENT);
        let text = body.and_then(|body| body.to_element().ok());
        Mentions {
            named,
            text: text.map(|body| body.text()).unwrap_or_default(),
        }
    }

    /// Somebody who is meant in another way, such as by a reply (XEP-0461).
    pub fn add(&mut self, jid: Jid) {
        self.named.push(jid);
    }

    /// Is this person meant, who is known by these names in this room?
    pub fn mean<'n>(
        &self,
        room: &BareJid,
        person: &BareJid,
        nicks: impl IntoIterator<Item = &'n str>,
    ) -> bool {
        let by_jid = self
            .named
            .iter()
            .any(|jid| jid.bare_str() == person.as_str());
        let is_occupant = |nick: &str| {
            let is_nick = |jid: &Jid| jid.resource() == Some(nick);
            let mut here = self
                .named
                .iter()
                .filter(|jid| jid.bare_str() == room.as_str());
            here.any(is_nick)
        };
        by_jid
            || nicks
                .into_iter()
                .any(|nick| is_occupant(nick) || has_word(&self.text, nick))
    }
}

/// The address in an XMPP URI (RFC 5122 §2.2), without what is to be done with it.
fn jid_of(uri: &str) -> Option<Jid> {
    let path = uri.strip_prefix("xmpp:")?;
    let path = path.split(['?', '#']).next()?;
    Jid::parse(&unescape(path)?).ok()
}

/// RFC 3986 §2.1.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let hex = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// Does the text hold the name as a word of its own, in whatever case?
fn has_word(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    if name.is_empty() {
        return false;
    }
    let ends_word = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    text.match_indices(&name).any(|(at, found)| {
        ends_word(text[..at].chars().next_back())
            && ends_word(text[at + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::MessageType;
    use crate::xml::Element;

    fn message(text: &str, uris: &[&str]) -> Mentions {
        let mut stanza = Stanza::message(MessageType::Groupchat)
            .with_child(&Element::new("body", ns::CLIENT).with_text(text));
        for uri in uris {
            let reference = Element::new("reference", ns::REFERENCE)
                .with_attr("type", "mention")
                .with_attr("uri", *uri);
            stanza.push_child(&reference);
        }
        Mentions::of(&stanza)
    }

    #[test]
    fn a_person_is_meant_by_jid_by_nickname_or_in_words() {
        let room = BareJid::parse("coven@chat.shakespeare.lit").unwrap();
        let hag = BareJid::parse("hag66@shakespeare.lit").unwrap();
        for (text, uris, is_meant) in [
            ("hello", &["xmpp:hag66@shakespeare.lit"][..], true),
            ("hello", &["xmpp:hag66@shakespeare.lit?message"], true),
            (
                "hello",
                &["xmpp:coven@chat.shakespeare.lit/Old%20Hag"],
                true,
            ),
            (
                "hello",
                &["xmpp:heath@chat.shakespeare.lit/Old%20Hag"],
                false,
            ),
            ("hello", &["xmpp:crone1@shakespeare.lit"], false),
            ("hello", &["https://shakespeare.lit/hag66"], false),
            ("hello", &["xmpp:%zz"], false),
            ("Old Hag: when shall we meet?", &[], true),
            ("ask (old hag)!", &[], true),
            ("OLD HAGS", &[], false),
            ("unold hag", &[], false),
            ("", &[], false),
        ] {
            let mentions = message(text, uris);
            assert_eq!(
                mentions.mean(&room, &hag, ["Old Hag"]),
                is_meant,
                "{text} {uris:?}"
            );
        }
        assert!(!message("anything", &[]).mean(&room, &hag, [""]));
    }

    #[test]
    fn whoever_names_everybody_names_only_the_first() {
        let uris: Vec<String> = (0..=MAX_MENTIONS)
            .map(|number| format!("xmpp:w{number}@shakespeare.lit"))
            .collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let mentions = message("", &uris);
        let room = BareJid::parse("coven@chat.shakespeare.lit").unwrap();
        let means = |number: usize| {
            let person = BareJid::parse(&format!("w{number}@shakespeare.lit")).unwrap();
            mentions.mean(&room, &person, [])
        };
        assert!(means(MAX_MENTIONS - 1) && !means(MAX_MENTIONS));
    }
}
