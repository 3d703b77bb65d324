//! Server dialback: a server proves that it speaks for a domain by answering a call to that domain's own address.
//!
//! XEP-0220 version 1.1.1, with the keys of XEP-0185. Here are the key and the two elements; who sends what when is said
//! by [`super::receiving`] and [`super::initiating`].

use std::fmt;

use subtle::ConstantTimeEq;

use crate::error::{Condition, StanzaError};
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::Hash;
use crate::stream::output::attribute;
use crate::xml::{Element, escape_text};

/// The longest key that is passed on for verification. Ours have 64 bytes; XEP-0220 names no bound.
const MAX_KEY_BYTES: usize = 512;
/// The longest stream id that is passed on.
const MAX_ID_BYTES: usize = 512;

/// Two domains and a direction: stanzas `from` one `to` the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The domain of the senders.
    pub from: BareJid,
    /// The domain of the recipients.
    pub to: BareJid,
}

impl Pair {
    /// The way back.
    #[must_use]
    pub fn reversed(&self) -> Pair {
        Pair {
            from: self.to.clone(),
            to: self.from.clone(),
        }
    }
}

/// What our keys are made with. All nodes that answer for a domain need the same.
#[derive(Clone)]
pub struct KeySecret(String);

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret")
    }
}

impl KeySecret {
    /// From a secret of any length.
    pub fn new(secret: &[u8]) -> KeySecret {
        KeySecret(hex(Hash::Sha256.digest(&[secret]).as_slice()))
    }

    /// XEP-0185 §2: the key with which `pair.from` proves itself to `pair.to` on the stream that `pair.to` named `id`.
    pub fn key(&self, pair: &Pair, id: &str) -> String {
        let (receiving, originating) = (pair.to.as_str().as_bytes(), pair.from.as_str().as_bytes());
        let parts = [receiving, b" ", originating, b" ", id.as_bytes()];
        hex(Hash::Sha256.hmac(self.0.as_bytes(), &parts).as_slice())
    }

    /// Is this the key that we made for that?
    pub fn made(&self, key: &str, pair: &Pair, id: &str) -> bool {
        self.key(pair, id).as_bytes().ct_eq(key.as_bytes()).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server speaks for the domain.
    Valid,
    /// It does not.
    Invalid,
    /// Nobody could tell (§2.4).
    Error(Box<StanzaError>),
}

/// What an element of dialback says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialback {
    /// `<db:result>key</db:result>`: "I speak for `from`".
    Claim {
        /// The domains.
        pair: Pair,
        /// The proof.
        key: String,
    },
    /// `<db:result type=''/>`: the answer; `pair` is that of the claim reversed.
    Result {
        /// The domains.
        pair: Pair,
        /// What became of it.
        verdict: Verdict,
    },
    /// `<db:verify id=''>key</db:verify>`: "did you make this?"
    Question {
        /// The domains: `to` is the one who is said to have made it.
        pair: Pair,
        /// The id of the stream on which the key came.
        id: String,
        /// The key.
        key: String,
    },
    /// `<db:verify id='' type=''/>`: the answer; `pair` is that of the question reversed.
    Answer {
        /// The domains.
        pair: Pair,
        /// The id of the question.
        id: String,
        /// What became of it.
        verdict: Verdict,
    },
}

impl Dialback {
    /// Reads an element of the namespace `jabber:server:dialback`; `None` if it is none that XEP-0220 knows.
    pub fn parse(element: &Element) -> Option<Dialback> {
        if element.ns() != ns::DIALBACK {
            return None;
        }
        let domain = |name| domain(element.attr(name)?);
        let pair = Pair {
            from: domain("from")?,
            to: domain("to")?,
        };
        let verdict = match element.attr("type") {
            None => None,
            Some("valid") => Some(Verdict::Valid),
            Some("invalid") => Some(Verdict::Invalid),
            Some("error") => Some(Verdict::Error(Box::new(error(element)))),
            Some(_) => return None,
        };
        let key = element.text().trim().to_owned();
        let id = || element.attr("id").map(str::to_owned);
        let is_key = !key.is_empty() && key.len() <= MAX_KEY_BYTES;
        match (element.name(), verdict) {
            ("result", None) if is_key => Some(Dialback::Claim { pair, key }),
            ("result", Some(verdict)) => Some(Dialback::Result { pair, verdict }),
            ("verify", None) if is_key => {
                let id = id().filter(|id| id.len() <= MAX_ID_BYTES)?;
                Some(Dialback::Question { pair, id, key })
            }
            ("verify", Some(verdict)) => {
                let id = id()?;
                Some(Dialback::Answer { pair, id, verdict })
            }
            _ => None,
        }
    }

    /// The element, with the prefix `db` that XEP-0220 §2 demands and every header of ours declares.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Dialback::Claim { pair, key } => written("result", pair, None, &Content::Key(key)),
            Dialback::Result { pair, verdict } => {
                written("result", pair, None, &Content::Verdict(verdict))
            }
            Dialback::Question { pair, id, key } => {
                written("verify", pair, Some(id), &Content::Key(key))
            }
            Dialback::Answer { pair, id, verdict } => {
                written("verify", pair, Some(id), &Content::Verdict(verdict))
            }
        }
    }
}

/// A domain as servers name theirs.
pub(super) fn domain(text: &str) -> Option<BareJid> {
    BareJid::parse(text)
        .ok()
        .filter(|jid| jid.local().is_none())
}

enum Content<'a> {
    Key(&'a str),
    Verdict(&'a Verdict),
}

fn written(name: &str, pair: &Pair, id: Option<&str>, content: &Content<'_>) -> Vec<u8> {
    let mut bytes = format!("<db:{name}").into_bytes();
    attribute(&mut bytes, "from", pair.from.as_str());
    attribute(&mut bytes, "to", pair.to.as_str());
    if let Some(id) = id {
        attribute(&mut bytes, "id", id);
    }
    let kind: &[u8] = match content {
        Content::Key(_) => b">",
        Content::Verdict(Verdict::Valid) => b" type='valid'>",
        Content::Verdict(Verdict::Invalid) => b" type='invalid'>",
        Content::Verdict(Verdict::Error(_)) => b" type='error'>",
    };
    bytes.extend_from_slice(kind);
    match content {
        Content::Key(key) => escape_text(&mut bytes, key),
        // The error is in the namespace of the stream's content.
        Content::Verdict(Verdict::Error(error)) => error.to_element().write(&mut bytes, ns::CLIENT),
        Content::Verdict(Verdict::Valid | Verdict::Invalid) => {}
    }
    bytes.extend_from_slice(format!("</db:{name}>").as_bytes());
    bytes
}

fn error(element: &Element) -> StanzaError {
    let error = element.children().find(|child| child.name() == "error");
    error.map_or_else(
        || {
            StanzaError::new(
                crate::error::ErrorType::Cancel,
                Condition::UndefinedCondition,
            )
        },
        StanzaError::from_element,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, StreamContext};

    fn pair(from: &str, to: &str) -> Pair {
        Pair {
            from: BareJid::parse(from).unwrap(),
            to: BareJid::parse(to).unwrap(),
        }
    }

    /// XEP-0220 §2.1.1, the example's key.
    #[test]
    fn a_key_is_that_of_the_specification() {
        let secret = KeySecret::new(b"s3cr3tf0rd14lb4ck");
        let pair = pair("capulet.example", "montague.example");
        let key = secret.key(&pair, "D60000229F");
        let expected = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3";
        assert_eq!(key, expected);
        assert!(secret.made(&key, &pair, "D60000229F"));
        assert!(!secret.made(&key, &pair, "D60000229E"));
        assert!(!secret.made(&key, &pair.reversed(), "D60000229F"));
        assert!(!KeySecret::new(b"other").made(&key, &pair, "D60000229F"));
    }

    #[test]
    fn every_element_is_read_as_it_was_written() {
        let context = StreamContext {
            prefixes: [("db".into(), ns::DIALBACK.into())].into(),
            ..StreamContext::bare(ns::SERVER)
        };
        let (pair, id) = (
            pair("capulet.example", "montague.example"),
            "a<1".to_owned(),
        );
        let key = "0123".to_owned();
        let refused = Verdict::Error(Box::new(StanzaError::item_not_found()));
        let mut all = vec![
            Dialback::Claim {
                pair: pair.clone(),
                key: key.clone(),
            },
            Dialback::Question {
                pair: pair.clone(),
                id: id.clone(),
                key,
            },
        ];
        for verdict in [Verdict::Valid, Verdict::Invalid, refused] {
            all.push(Dialback::Result {
                pair: pair.clone(),
                verdict: verdict.clone(),
            });
            all.push(Dialback::Answer {
                pair: pair.clone(),
                id: id.clone(),
                verdict,
            });
        }
        for dialback in all {
            let bytes = dialback.to_bytes();
            let element = Element::parse_in(&bytes, &Limits::default(), &context).unwrap();
            assert_eq!(Dialback::parse(&element), Some(dialback));
        }
    }

    #[test]
    fn what_is_no_dialback_is_not_taken_for_it() {
        for xml in [
            "<result xmlns='jabber:server:dialback' from='a' to='b'/>",
            "<result xmlns='jabber:server:dialback' from='u@a' to='b'>1</result>",
            "<result xmlns='jabber:server:dialback' to='b'>1</result>",
            "<result xmlns='jabber:server:dialback' from='a' to='b' type='maybe'/>",
            "<verify xmlns='jabber:server:dialback' from='a' to='b'>1</verify>",
            "<result xmlns='jabber:server' from='a' to='b'>1</result>",
        ] {
            let element = Element::parse(xml.as_bytes(), ns::SERVER).unwrap();
            assert_eq!(Dialback::parse(&element), None, "{xml}");
        }
        let long = format!(
            "<result xmlns='jabber:server:dialback' from='a' to='b'>{}</result>",
            "x".repeat(MAX_KEY_BYTES + 1)
        );
        let element = Element::parse(long.as_bytes(), ns::SERVER).unwrap();
        assert_eq!(Dialback::parse(&element), None);
    }
}
