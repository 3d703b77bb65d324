//! Small data inside a stanza, or asked for by what they hash to.
//!
//! XEP-0231 1.1. Only SHA-1 names data here, as in every client.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use crate::ns;
use crate::xml::Element;

/// Bytes of data that go into a stanza (§2.1: "SHOULD NOT be more than 8 kilobytes").
pub const MAX_BYTES: usize = 8 * 1024;

/// The name of data: their SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentId(pub [u8; 20]);

impl ContentId {
    /// The name of these data.
    pub fn of(data: &[u8]) -> ContentId {
        ContentId(Sha1::digest(data).into())
    }

    /// Reads `sha1+<hash>@bob.xmpp.org`; `None` for every other name.
    pub fn parse(text: &str) -> Option<ContentId> {
        let hex = text.strip_prefix("sha1+")?.strip_suffix("@bob.xmpp.org")?;
        if hex.len() != 40 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 20];
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(ContentId(hash))
    }

    /// Its address (RFC 2392).
    pub fn to_uri(self) -> String {
        format!("cid:{self}")
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha1+")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("@bob.xmpp.org")
    }
}

/// Data with their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Their name.
    pub id: ContentId,
    /// Their media type.
    pub media_type: String,
    /// How long, in seconds, it is worth keeping them.
    pub max_age: Option<u32>,
    /// The data, at most [`MAX_BYTES`].
    pub bytes: Vec<u8>,
}

impl Bits {
    /// Data under their own name.
    pub fn new(media_type: &str, max_age: u32, bytes: &[u8]) -> Bits {
        Bits {
            id: ContentId::of(bytes),
            media_type: media_type.to_owned(),
            max_age: Some(max_age),
            bytes: bytes.to_vec(),
        }
    }

    /// Reads a `<data/>` that is not empty; `None` if it is not what it says by its name, too long, or no data.
    pub fn read(data: &Element) -> Option<Bits> {
        let id = ContentId::parse(data.attr("cid")?)?;
        // COMPAT(the examples of the XEP): white space in it, which §2.6 forbids.
        let mut text = data.text();
        text.retain(|c| !c.is_ascii_whitespace());
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        if bytes.is_empty() || bytes.len() > MAX_BYTES || ContentId::of(&bytes) != id {
            return None;
        }
        Some(Bits {
            id,
            media_type: data.attr("type")?.to_owned(),
            max_age: data.attr("max-age").and_then(|age| age.parse().ok()),
            bytes,
        })
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        Element::new("data", ns::BOB)
            .with_attr("cid", self.id.to_string())
            .with_attr_opt("max-age", self.max_age.map(|age| age.to_string()))
            .with_attr("type", &*self.media_type)
            .with_text(&BASE64_STANDARD.encode(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_named_by_their_hash() {
        let id = ContentId::of(b"abc");
        let text = "sha1+a9993e364706816aba3e25717850c26c9cd0d89d@bob.xmpp.org";
        assert_eq!(id.to_string(), text);
        assert_eq!(id.to_uri(), format!("cid:{text}"));
        assert_eq!(ContentId::parse(text), Some(id));
        for other in [
            "",
            "sha1+@bob.xmpp.org",
            "sha1+a9993e364706816aba3e25717850c26c9cd0d8@bob.xmpp.org",
            "sha1++9993e364706816aba3e25717850c26c9cd0d89d@bob.xmpp.org",
            "sha1+\u{e9}993e364706816aba3e25717850c26c9cd0d89@bob.xmpp.org",
            "sha-256+a9993e364706816aba3e25717850c26c9cd0d89d@bob.xmpp.org",
            "sha1+a9993e364706816aba3e25717850c26c9cd0d89d@example.org",
        ] {
            assert_eq!(ContentId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn data_are_what_their_name_says() {
        let bits = Bits::new("image/jpeg", 86_400, b"abc");
        let element = bits.to_element();
        assert_eq!(element.text(), "YWJj");
        assert_eq!(Bits::read(&element), Some(bits));
        let of = |text: &str| {
            let id = ContentId::of(b"abc").to_string();
            let data = Element::new("data", ns::BOB).with_attr("cid", id);
            Bits::read(&data.with_attr("type", "image/png").with_text(text))
        };
        assert!(of("YW\n Jj").is_some());
        assert_eq!((of("YWJk"), of(""), of("no data!")), (None, None, None));
        let long = Bits::new("image/png", 0, &[0; MAX_BYTES + 1]);
        assert_eq!(Bits::read(&long.to_element()), None);
    }
}
