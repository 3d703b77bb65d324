//! From the bytes of one top-level element to a [`Stanza`]: one validating pass, and a second only for input that
//! leans on what is declared outside its content.

use super::children::{Child, entry};
use super::normalise::normalise;
use super::{IqType, Kind, MessageType, PresenceType, Stanza};
use crate::error::StanzaError;
use crate::jid::{Jid, JidError};
use crate::ns;
use crate::xml::{Event, Limits, Scanner, StartTag, StreamContext, XmlError};
use bytes::Bytes;
use smallvec::SmallVec;
use thiserror::Error;

/// The longest stanza whatever the limits say: offsets into content are 32 bits wide.
pub(super) const CONTENT_BYTES: usize = 16 * 1024 * 1024;

/// Why bytes are no stanza that can be processed. The sender's fault in every case.
#[derive(Debug, Error)]
pub enum StanzaParseError {
    /// The XML is bad: the stream must end, with the error that `StreamError::from` gives.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Not a message, presence or IQ of the stream's content namespace: another nonza, or an `unsupported-stanza-type`.
    /// Told from the start tag alone; what follows it has not been validated.
    #[error("not a stanza")]
    NotAStanza,
    /// A stanza that cannot be processed; the stream lives on.
    #[error("a stanza refused: {:?}", .0.error.condition)]
    Refused(Box<Refusal>),
}

/// A stanza that is well-formed but cannot be processed.
#[derive(Debug)]
pub struct Refusal {
    /// What to tell the sender.
    pub error: StanzaError,
    /// The error to send back; `None` if the stanza was itself an error or result. Its `to` and `from` are those of
    /// the stanza exchanged, as far as they could be read.
    pub reply: Option<Stanza>,
}

impl Stanza {
    /// Parses one whole top-level element of a stream and validates all of it.
    ///
    /// # Errors
    /// See [`StanzaParseError`].
    pub fn parse(
        bytes: &[u8],
        limits: &Limits,
        stream: &StreamContext,
    ) -> Result<Stanza, StanzaParseError> {
        if bytes.len() > CONTENT_BYTES {
            return Err(XmlError::OverLimit("element too long").into());
        }
        let mut scanner = Scanner::new(bytes, limits, stream)?;
        let Event::Start(tag) = scanner.step()? else {
            return Err(XmlError::BadFormat("no element").into());
        };
        if tag.ns != content_ns(stream) || !matches!(tag.name, "message" | "presence" | "iq") {
            return Err(StanzaParseError::NotAStanza);
        }
        let root = Root::read(&tag, &scanner, stream);
        let (children, end) = scan_content(&mut scanner, &tag, bytes)?;
        let mut stanza = Stanza::new(Kind::Message(MessageType::Normal));
        if scanner.relies_on_outside() || scanner.disguised_ns() {
            let (content, children) = normalise(bytes, limits, stream)?;
            stanza.content = content.into();
            stanza.children = children;
        } else {
            stanza.content = Bytes::copy_from_slice(&bytes[tag.to..end]);
            stanza.children = children;
        }
        root.finish(stanza)
    }
}

/// The namespace of the stanzas in a stream (RFC 6120 §4.8.2).
fn content_ns(stream: &StreamContext) -> &'static str {
    match &*stream.default_ns {
        ns::SERVER => ns::SERVER,
        ns::COMPONENT => ns::COMPONENT,
        _ => ns::CLIENT,
    }
}

/// Validates the rest of the element; returns its children and where its content ends.
fn scan_content(
    scanner: &mut Scanner<'_>,
    root: &StartTag<'_>,
    bytes: &[u8],
) -> Result<(SmallVec<[Child; 4]>, usize), XmlError> {
    let mut children: SmallVec<[Child; 4]> = SmallVec::new();
    let mut end = root.to;
    loop {
        match scanner.step()? {
            Event::Start(tag) if scanner.depth() == 2 => {
                children.push(entry(scanner, &tag, root.to, bytes));
            }
            Event::End { .. } if scanner.depth() == 1 => {
                if let Some(child) = children.last_mut() {
                    child.set_end(scanner.offset() - root.to);
                }
            }
            Event::End { from } if scanner.depth() == 0 => end = from,
            Event::Done => return Ok((children, end)),
            Event::Start(_) | Event::End { .. } | Event::Text(_) | Event::Cdata(_) => {}
        }
    }
}

/// What the root tag says, before it is judged: bad XML further on comes first.
struct Root {
    to: Option<Result<Jid, JidError>>,
    from: Option<Result<Jid, JidError>>,
    id: Option<Box<str>>,
    lang: Option<Box<str>>,
    kind: Result<Kind, Kind>,
}

impl Root {
    fn read(tag: &StartTag<'_>, scanner: &Scanner<'_>, stream: &StreamContext) -> Root {
        let (mut to, mut from, mut id, mut lang, mut kind) = (None, None, None, None, None);
        for attr in scanner.attrs() {
            if attr.is("to") {
                to = Some(Jid::parse(&attr.value()));
            } else if attr.is("from") {
                from = Some(Jid::parse(&attr.value()));
            } else if attr.is("id") {
                id = Some(attr.value().into());
            } else if attr.is("type") {
                kind = Some(attr.value());
            } else if attr.is_lang() {
                lang = Some(attr.value().into());
            }
        }
        let kind = kind.as_deref();
        let kind = match tag.name {
            "message" => Ok(Kind::Message(MessageType::from_attr(kind))),
            "presence" => PresenceType::from_attr(kind)
                .map(Kind::Presence)
                .ok_or(Kind::Presence(PresenceType::Available)),
            _ => IqType::from_attr(kind)
                .map(Kind::Iq)
                .ok_or(Kind::Iq(IqType::Get)),
        };
        Root {
            to,
            from,
            id,
            lang: lang.or_else(|| stream.lang.clone()),
            kind,
        }
    }

    fn finish(self, mut stanza: Stanza) -> Result<Stanza, StanzaParseError> {
        let error = self.judge(&stanza);
        let (Ok(kind) | Err(kind)) = self.kind;
        stanza.kind = kind;
        stanza.to = self.to.and_then(Result::ok);
        stanza.from = self.from.and_then(Result::ok);
        stanza.id = self.id;
        stanza.lang = self.lang;
        match error {
            None => Ok(stanza),
            Some(error) => {
                let reply = stanza.error_reply(&error);
                Err(StanzaParseError::Refused(Box::new(Refusal {
                    error,
                    reply,
                })))
            }
        }
    }

    fn judge(&self, stanza: &Stanza) -> Option<StanzaError> {
        let text = match (&self.kind, &self.id, stanza.children.len()) {
            (Err(_), _, _) => "unknown type",
            (Ok(Kind::Iq(_)), None, _) => "an IQ needs an id",
            (Ok(Kind::Iq(IqType::Get | IqType::Set)), _, n) if n != 1 => {
                "a request has exactly one child"
            }
            (Ok(Kind::Iq(IqType::Result)), _, n) if n > 1 => "a result has at most one child",
            _ if matches!(self.to, Some(Err(_))) => {
                return Some(StanzaError::jid_malformed().with_text("bad `to`"));
            }
            _ if matches!(self.from, Some(Err(_))) => {
                return Some(StanzaError::jid_malformed().with_text("bad `from`"));
            }
            _ => return None,
        };
        Some(StanzaError::bad_request().with_text(text))
    }
}
