//! Streams of external components: who they are, and how they prove it.
//!
//! XEP-0114: Jabber Component Protocol, version 1.6, `jabber:component:accept` only (the component connects to us).
//! Stanzas need no translation on their way out: their content means the same under whatever default namespace the
//! stream has. On their way in [`crate::stanza::Stanza::parse`] brings them into `jabber:client`.

use crate::error::{StreamCondition, StreamError};
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::{Hash, Secret};
use crate::xml::{Element, OpenTag, StreamContext, escape_attr};

/// What a component's header says.
#[derive(Debug)]
pub struct Header {
    /// The domain that it wants to stand for.
    pub domain: BareJid,
    /// What the header declares for the stanzas inside.
    pub context: StreamContext,
}

impl Header {
    /// Reads a stream's start tag.
    ///
    /// # Errors
    /// The stream error for a header that is none of a component's (§3).
    pub fn read(tag: OpenTag) -> Result<Header, StreamError> {
        if &*tag.ns != ns::STREAM || tag.context.default_ns != ns::COMPONENT {
            return Err(StreamCondition::InvalidNamespace.into());
        }
        if &*tag.name != "stream" {
            return Err(StreamCondition::BadFormat.into());
        }
        let to = tag.to.ok_or(StreamCondition::ImproperAddressing)?;
        let domain = BareJid::parse(&to).map_err(|_| StreamCondition::HostUnknown)?;
        if domain.local().is_some() {
            return Err(StreamCondition::HostUnknown.into());
        }
        Ok(Header {
            domain,
            context: tag.context,
        })
    }
}

/// Our header, in the name of the component's own domain; `from` is empty where it named none.
pub fn header(from: &str, id: &str) -> Vec<u8> {
    let mut bytes = format!(
        "<?xml version='1.0'?><stream:stream xmlns='{}' xmlns:stream='{}' from='",
        ns::COMPONENT,
        ns::STREAM
    )
    .into_bytes();
    escape_attr(&mut bytes, from);
    bytes.extend_from_slice(b"' id='");
    escape_attr(&mut bytes, id);
    bytes.extend_from_slice(b"'>");
    bytes
}

/// What a component hears that has proved who it is.
pub const ACCEPTED: &[u8] = b"<handshake/>";

/// Whether the element shows that its sender knows the secret (§3): the SHA-1 of our stream's id and the secret, in
/// hexadecimal.
pub fn is_proof(handshake: &Element, id: &str, secret: &Secret) -> bool {
    if !handshake.is("handshake", ns::COMPONENT) {
        return false;
    }
    let expected = Hash::Sha1.digest(&[id.as_bytes(), secret.expose().as_bytes()]);
    let shown = handshake.text();
    unhex(shown.trim()).is_some_and(|shown| expected.matches(&shown))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).ok();
    digits.chunks_exact(2).map(byte).collect()
}

/// An error and the end of the stream.
pub fn end(error: Option<&StreamError>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(error) = error {
        bytes.extend_from_slice(b"<stream:error>");
        for child in error.to_element().children() {
            child.write(&mut bytes, ns::COMPONENT);
        }
        bytes.extend_from_slice(b"</stream:error>");
    }
    bytes.extend_from_slice(b"</stream:stream>");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::Stanza;
    use crate::xml::Limits;

    fn read(attributes: &str) -> Result<Header, StreamError> {
        let tag =
            format!("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' {attributes}>");
        Header::read(OpenTag::parse(tag.as_bytes(), &Limits::default()).unwrap())
    }

    #[test]
    fn a_header_names_the_components_domain() {
        let header = read("xmlns='jabber:component:accept' to='plays.shakespeare.lit'").unwrap();
        assert_eq!(header.domain.as_str(), "plays.shakespeare.lit");
        for (attributes, condition) in [
            (
                "xmlns='jabber:client' to='plays.shakespeare.lit'",
                StreamCondition::InvalidNamespace,
            ),
            (
                "xmlns='jabber:component:connect' to='plays.shakespeare.lit'",
                StreamCondition::InvalidNamespace,
            ),
            (
                "xmlns='jabber:component:accept'",
                StreamCondition::ImproperAddressing,
            ),
            (
                "xmlns='jabber:component:accept' to='a@plays.shakespeare.lit'",
                StreamCondition::HostUnknown,
            ),
            (
                "xmlns='jabber:component:accept' to='@@'",
                StreamCondition::HostUnknown,
            ),
        ] {
            assert_eq!(
                read(attributes).unwrap_err().condition,
                condition,
                "{attributes}"
            );
        }
    }

    #[test]
    fn whoever_knows_the_secret_can_prove_it() {
        // printf 3BF96D32test | sha1sum
        let proof = "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e";
        let handshake = |text: &str| Element::new("handshake", ns::COMPONENT).with_text(text);
        let secret = Secret::from("test");
        assert!(is_proof(&handshake(proof), "3BF96D32", &secret));
        assert!(!is_proof(&handshake(proof), "3BF96D33", &secret));
        for wrong in [
            "",
            "aaee",
            "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1",
            &"é".repeat(20),
        ] {
            assert!(!is_proof(&handshake(wrong), "3BF96D32", &secret), "{wrong}");
        }
        let other = Element::new("handshake", ns::CLIENT).with_text(proof);
        assert!(!is_proof(&other, "3BF96D32", &secret));
    }

    #[test]
    fn a_components_stanza_becomes_one_of_jabber_client() {
        let context = StreamContext::bare(ns::COMPONENT);
        let xml =
            "<message from='a.lit' to='b.lit'><body>x</body><y xmlns='urn:y'><z/></y></message>";
        for xml in [
            xml,
            &xml.replace("<message", "<message xmlns='jabber:component:accept'"),
        ] {
            let stanza = Stanza::parse(xml.as_bytes(), &Limits::default(), &context).unwrap();
            assert!(stanza.has("body", ns::CLIENT));
            assert_eq!(
                &stanza.content()[..],
                b"<body>x</body><y xmlns='urn:y'><z/></y>"
            );
        }
    }
}
