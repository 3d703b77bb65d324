//! Elements that clients let the server keep: vCards (XEP-0054) and private storage (XEP-0049).

use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::xml::Element;

use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;

const VERSION: u8 = 1;

/// The stored form of an element, refused above `most` bytes.
pub(super) fn encode(element: &Element, most: usize) -> Result<Bytes, WalkError> {
    let xml = element.to_bytes(ns::CLIENT);
    if xml.len() > most {
        return Err(StanzaError::policy_violation()
            .with_text("too long to be stored")
            .into());
    }
    let mut value = Writer::new(VERSION, xml.len());
    value.rest(&xml);
    Ok(value.finish())
}

/// Reads a stored element.
pub(super) fn decode(value: Bytes) -> Result<Element, Corrupt> {
    let (_, value) = Reader::open("element", value, VERSION)?;
    Element::parse(&value.rest(), ns::CLIENT).map_err(|_| Corrupt {
        what: "element",
        why: "it is not well-formed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let element = Element::new("vCard", ns::VCARD)
            .with_child(Element::new("FN", ns::VCARD).with_text("A & B"));
        let golden = b"\x01<vCard xmlns='vcard-temp'><FN>A &amp; B</FN></vCard>";
        assert_eq!(&encode(&element, 100).unwrap()[..], golden);
        assert_eq!(decode(Bytes::from_static(golden)).unwrap(), element);
        assert!(encode(&element, 20).is_err());
        assert!(decode(Bytes::from_static(b"\x01<vCard")).is_err());
    }
}
