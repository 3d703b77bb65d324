//! The elements that stand for the start and the end of a stream (RFC 7395 §3.4 to §3.6).

use crate::ns;
use crate::xml::{Element, OpenTag, StreamContext, XmlError};

/// `<open/>` with the attributes of a stream's start tag.
pub fn open(tag: &OpenTag) -> Element {
    let mut open = Element::new("open", ns::FRAMING);
    let attrs = [
        ("to", &tag.to),
        ("from", &tag.from),
        ("id", &tag.id),
        ("version", &tag.version),
    ];
    for (name, value) in attrs {
        if let Some(value) = value {
            open.set_attr(name, &**value);
        }
    }
    match &tag.context.lang {
        Some(lang) => open.with_lang(&**lang),
        None => open,
    }
}

/// `<close/>`, perhaps with the address of a better server (§3.6.1).
pub fn close(see_other_uri: Option<&str>) -> Element {
    Element::new("close", ns::FRAMING).with_attr_opt("see-other-uri", see_other_uri)
}

impl OpenTag {
    /// Reads `<open/>` as the start tag of a stream that it stands for.
    ///
    /// # Errors
    /// The element is another one.
    pub fn from_framed(open: &Element) -> Result<OpenTag, XmlError> {
        if !open.is("open", ns::FRAMING) {
            return Err(XmlError::BadFormat("no open element"));
        }
        let value = |name| open.attr(name).map(Box::from);
        Ok(OpenTag {
            name: "stream".into(),
            ns: ns::STREAM.into(),
            to: value("to"),
            from: value("from"),
            id: value("id"),
            version: value("version"),
            context: StreamContext::framed(open.lang().map(Box::from)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_element_is_the_start_of_a_stream() {
        let xml = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a.example' version='1.0' xml:lang='de'/>";
        let element = Element::parse(xml.as_bytes(), "").unwrap();
        let tag = OpenTag::from_framed(&element).unwrap();
        assert_eq!(
            (tag.to.as_deref(), tag.version.as_deref()),
            (Some("a.example"), Some("1.0"))
        );
        assert_eq!(tag.context.lang.as_deref(), Some("de"));
        assert_eq!(String::from_utf8(open(&tag).to_bytes("")).unwrap(), xml);
        assert!(OpenTag::from_framed(&close(None)).is_err());
    }
}
