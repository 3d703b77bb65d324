//! XML as XMPP allows it (RFC 6120 §11): UTF-8 only, namespaces, no DTD, comment, processing instruction or entity.
//!
//! Two ways in: [`Framer`] finds where an element ends in a stream of bytes with a few bytes of state, and
//! [`Scanner`] validates one complete element in one pass without copying. [`Element`] is a small tree for payloads
//! that have to be understood; stanzas do not build one (see [`crate::stanza`]).

mod chars;
mod context;
mod element;
mod framer;
mod open_tag;
mod scan;
mod scope;
mod tag;
mod text;
mod write;

pub use chars::is_xml_text;
pub use context::StreamContext;
pub use element::{Attribute, Element, Node};
pub use framer::{Frame, Framer};
pub use open_tag::OpenTag;
pub use scan::{Event, Scanner, StartTag};
pub use tag::Attr;
pub(crate) use write::attribute as write_attribute;
pub use write::{escape_attr, escape_text};

use thiserror::Error;

/// What one element of a stream may weigh. Exceeding any of them is a `policy-violation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one top-level element, tags included. RFC 6120 §13.12 asks for at least 10,000.
    pub stanza_bytes: usize,
    /// Elements open at once, the top-level one included.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
    /// Child elements of one element.
    pub children: usize,
    /// Elements in all. A tree of them takes a hundred times the bytes of `<a/>`.
    pub elements: usize,
    /// Namespace declarations in scope at once. Lookups walk them, so their number bounds the time per element.
    pub namespaces: usize,
}

impl Limits {
    /// For what has passed limits before, and may have grown since: stored stanzas, and parts of stanzas.
    pub const NONE: Limits = Limits {
        stanza_bytes: usize::MAX,
        depth: usize::MAX,
        attributes: usize::MAX,
        children: usize::MAX,
        elements: usize::MAX,
        namespaces: usize::MAX,
    };
}

impl Default for Limits {
    /// 256 KiB holds an avatar in base64, which is the largest thing clients send in a stanza.
    fn default() -> Limits {
        Limits {
            stanza_bytes: 256 * 1024,
            depth: 64,
            attributes: 64,
            children: 1024,
            elements: 16 * 1024,
            namespaces: 64,
        }
    }
}

/// Why bytes are not the XML of an XMPP stream. The peer's fault in every case.
///
/// Which stream error each deserves is said by `StreamError::from` (RFC 6120 §4.9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum XmlError {
    /// Breaks a rule of XML 1.0 or of Namespaces in XML 1.0.
    #[error("not well-formed: {0}")]
    NotWellFormed(&'static str),
    /// Well-formed perhaps, but forbidden in XMPP (RFC 6120 §11.1).
    #[error("restricted XML: {0}")]
    Restricted(&'static str),
    /// A prefix that nobody declared.
    #[error("undeclared namespace prefix")]
    UndeclaredPrefix,
    /// Well-formed, but not what is expected at this place of a stream.
    #[error("bad format: {0}")]
    BadFormat(&'static str),
    /// Exceeds one of the [`Limits`] or a fixed bound of the parser.
    #[error("over a limit: {0}")]
    OverLimit(&'static str),
    /// Not UTF-8.
    #[error("not UTF-8")]
    UnsupportedEncoding,
}
