//! What an occupant is called in a room.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::jid::{JidError, normalise_resource};

/// A room nickname: the resourcepart of an occupant's address, normalised as one (XEP-0045 §4.1, RFC 7622 §3.4), so
/// never empty, at most 1023 bytes, and equal to another if its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nick(Arc<str>);

impl Nick {
    /// Reads and normalises a nickname.
    ///
    /// # Errors
    /// It could not stand in an address.
    pub fn parse(text: &str) -> Result<Nick, JidError> {
        Ok(Nick(Arc::from(normalise_resource(text)?)))
    }

    /// The nickname.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Nick {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nick_is_what_the_occupants_address_has() {
        let room = crate::jid::BareJid::parse("coven@chat.shakespeare.lit").unwrap();
        for text in [
            "thirdwitch",
            "Third Witch",
            "Ha\u{308}xchen",
            "ﬁrst\u{a0}witch",
            "魔女",
        ] {
            let occupant = room.with_resource(text).unwrap();
            assert_eq!(Nick::parse(text).unwrap().as_str(), occupant.resource());
        }
    }

    #[test]
    fn what_nobody_could_see_or_read_is_no_nick() {
        for text in [
            "",
            " ",
            "\u{a0}",
            "\u{200b}",
            "a\u{202e}b",
            "line\nbreak",
            &"x".repeat(1_024),
        ] {
            assert_eq!(Nick::parse(text), Err(JidError::Resource), "{text:?}");
        }
    }
}
