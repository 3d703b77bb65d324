//! Stanzas without trees (RFC 6120 §8): a parsed root, the content as the bytes that came, and where each child stands.
//!
//! A stanza is parsed and validated once ([`Stanza::parse`]); forwarding writes a new root tag and copies the content.
//! The content is self-contained: it means the same in any stream whose default namespace is `jabber:client`, because
//! input that leans on prefixes or default namespaces declared outside it is rewritten while it is parsed.
//! Left out: attributes of the root other than the five of RFC 6120 §8.1, which no XEP uses and nobody forwards.

mod children;
mod kind;
mod normalise;
mod parse;

pub use crate::xml::StreamContext;
pub use children::ChildRef;
pub use kind::{IqType, Kind, MessageType, PresenceType};
pub use parse::{Refusal, StanzaParseError};

use crate::error::StanzaError;
use crate::jid::Jid;
use crate::ns;
use crate::xml::{Element, XmlError};
use bytes::Bytes;
use children::Child;
use smallvec::SmallVec;

/// One stanza. Cheap to clone: the content is shared.
#[derive(Debug, Clone)]
pub struct Stanza {
    /// Element name and `type`.
    pub kind: Kind,
    /// Addressee.
    pub to: Option<Jid>,
    /// Sender, as claimed.
    pub from: Option<Jid>,
    /// The `id` attribute.
    pub id: Option<Box<str>>,
    /// `xml:lang`, inherited from the stream if the stanza has none itself (RFC 6120 §4.7.4).
    pub lang: Option<Box<str>>,
    content: Bytes,
    children: SmallVec<[Child; 4]>,
}

impl Stanza {
    /// A stanza without addresses and content.
    pub fn new(kind: Kind) -> Stanza {
        Stanza {
            kind,
            to: None,
            from: None,
            id: None,
            lang: None,
            content: Bytes::new(),
            children: SmallVec::new(),
        }
    }

    /// A message of a type.
    pub fn message(kind: MessageType) -> Stanza {
        Stanza::new(Kind::Message(kind))
    }

    /// A presence of a type.
    pub fn presence(kind: PresenceType) -> Stanza {
        Stanza::new(Kind::Presence(kind))
    }

    /// An IQ of a type.
    pub fn iq(kind: IqType) -> Stanza {
        Stanza::new(Kind::Iq(kind))
    }

    /// The same stanza with this addressee.
    #[must_use]
    pub fn to(mut self, to: impl Into<Jid>) -> Stanza {
        self.to = Some(to.into());
        self
    }

    /// The same stanza with this sender.
    #[must_use]
    pub fn from(mut self, from: impl Into<Jid>) -> Stanza {
        self.from = Some(from.into());
        self
    }

    /// The same stanza with this id.
    #[must_use]
    pub fn id(mut self, id: impl Into<Box<str>>) -> Stanza {
        self.id = Some(id.into());
        self
    }

    /// The same stanza with one more child.
    #[must_use]
    pub fn with_child(mut self, child: &Element) -> Stanza {
        self.push_child(child);
        self
    }

    /// The inner XML, self-contained in the default namespace `jabber:client`.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// Whether this is a message, presence or IQ of type `error`.
    pub fn is_error(&self) -> bool {
        self.kind.is_error()
    }

    /// The whole stanza as XML for a place where the default namespace is `jabber:client`.
    pub fn encode(&self) -> Bytes {
        // Just as much as it takes: it may wait in a session's queue until the client has confirmed it.
        let mut out = Vec::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out.into()
    }

    /// The length of what [`Stanza::encode`] returns, if no attribute has to be escaped.
    fn encoded_len(&self) -> usize {
        let name = self.kind.name().len();
        let attribute = |name: &str, value: Option<&str>| {
            value.map_or(0, |value| " =''".len() + name.len() + value.len())
        };
        let attributes = attribute("from", self.from.as_ref().map(Jid::as_str))
            + attribute("to", self.to.as_ref().map(Jid::as_str))
            + attribute("id", self.id.as_deref())
            + attribute("type", self.kind.type_attr())
            + attribute("xml:lang", self.lang.as_deref());
        let ends = match self.content.len() {
            0 => "</>".len(),
            _ => "<></>".len() + name,
        };
        name + attributes + self.content.len() + ends
    }

    /// Appends what [`Stanza::encode`] returns.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        use crate::xml::write_attribute as attribute;
        let name = self.kind.name();
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        if let Some(from) = &self.from {
            attribute(out, "from", from.as_str());
        }
        if let Some(to) = &self.to {
            attribute(out, "to", to.as_str());
        }
        if let Some(id) = &self.id {
            attribute(out, "id", id);
        }
        if let Some(kind) = self.kind.type_attr() {
            attribute(out, "type", kind);
        }
        if let Some(lang) = &self.lang {
            attribute(out, "xml:lang", lang);
        }
        if self.content.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        out.extend_from_slice(&self.content);
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.as_bytes());
        out.push(b'>');
    }

    /// The single child of an IQ as a tree.
    ///
    /// # Errors
    /// There is no child, or more than one.
    pub fn payload(&self) -> Result<Element, XmlError> {
        let mut children = self.children();
        match (children.next(), children.next()) {
            (Some(child), None) => child.to_element(),
            (None, _) => Err(XmlError::BadFormat("no payload")),
            (Some(_), Some(_)) => Err(XmlError::BadFormat("more than one payload")),
        }
    }

    /// The error that this stanza carries, if it is of type `error`.
    pub fn error(&self) -> Option<StanzaError> {
        let child = self.is_error().then(|| self.child("error", ns::CLIENT))??;
        child
            .to_element()
            .ok()
            .map(|error| StanzaError::from_element(&error))
    }

    /// The reply that tells the sender of this stanza about an error; `None` where RFC 6120 §8.3.1 forbids one
    /// (to errors and IQ results).
    pub fn error_reply(&self, error: &StanzaError) -> Option<Stanza> {
        let kind = match self.kind {
            Kind::Message(MessageType::Error) | Kind::Presence(PresenceType::Error) => return None,
            Kind::Iq(IqType::Result | IqType::Error) => return None,
            Kind::Message(_) => Kind::Message(MessageType::Error),
            Kind::Presence(_) => Kind::Presence(PresenceType::Error),
            Kind::Iq(_) => Kind::Iq(IqType::Error),
        };
        Some(self.reply(kind).with_child(&error.to_element()))
    }

    /// The result of this IQ.
    #[must_use]
    pub fn result(&self, payload: Option<Element>) -> Stanza {
        let mut reply = self.reply(Kind::Iq(IqType::Result));
        if let Some(payload) = payload {
            reply.push_child(&payload);
        }
        reply
    }

    fn reply(&self, kind: Kind) -> Stanza {
        Stanza {
            to: self.from.clone(),
            from: self.to.clone(),
            id: self.id.clone(),
            ..Stanza::new(kind)
        }
    }
}

impl PartialEq for Stanza {
    /// Equal as they would be written.
    fn eq(&self, other: &Stanza) -> bool {
        (
            self.kind,
            &self.to,
            &self.from,
            &self.id,
            &self.lang,
            &self.content,
        ) == (
            other.kind,
            &other.to,
            &other.from,
            &other.id,
            &other.lang,
            &other.content,
        )
    }
}

impl Eq for Stanza {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Frame, Framer, Limits};

    fn parse(xml: &str) -> Stanza {
        Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client()).unwrap()
    }

    #[test]
    fn a_message_has_its_root_and_its_children() {
        let mut stanza = parse(
            "<message to='Romeo@example.net' id='a&amp;1' type='chat' xml:lang='en'><body>Wherefore &amp; why</body>\
             <request xmlns='urn:xmpp:receipts'/><x:origin-id xmlns:x=\"urn:xmpp:sid:0\" id='7'>.</x:origin-id></message>",
        );
        assert_eq!(stanza.kind, Kind::Message(MessageType::Chat));
        assert_eq!(stanza.to.as_ref().unwrap().as_str(), "romeo@example.net");
        assert_eq!(stanza.id.as_deref(), Some("a&1"));
        let children: Vec<_> = stanza.children().map(|c| (c.name, c.ns)).collect();
        assert_eq!(
            children,
            [
                ("body", ns::CLIENT),
                ("request", ns::RECEIPTS),
                ("origin-id", ns::STANZA_ID)
            ]
        );
        assert_eq!(
            stanza
                .child("body", ns::CLIENT)
                .unwrap()
                .to_element()
                .unwrap()
                .text(),
            "Wherefore & why"
        );
        stanza.remove_children(|c| c.is("request", ns::RECEIPTS));
        stanza.push_child(&Element::new("delay", ns::DELAY).with_attr("stamp", "now"));
        assert_eq!(
            parse(std::str::from_utf8(&stanza.encode()).unwrap()),
            stanza
        );
        assert_eq!(stanza.children().nth(1).unwrap().name, "origin-id");
        assert!(stanza.has("delay", ns::DELAY) && !stanza.has("request", ns::RECEIPTS));
    }

    #[test]
    fn content_that_relies_on_the_stream_is_rewritten() {
        let context = StreamContext {
            prefixes: [("r".into(), ns::RECEIPTS.into())].into(),
            ..StreamContext::bare(ns::SERVER)
        };
        let xml = b"<message><body>hi</body><r:received id='1'/></message>";
        let stanza = Stanza::parse(xml, &Limits::default(), &context).unwrap();
        assert_eq!(
            stanza.content(),
            &b"<body>hi</body><received xmlns='urn:xmpp:receipts' id='1'/>"[..]
        );
        assert!(stanza.has("body", ns::CLIENT) && stanza.has("received", ns::RECEIPTS));
    }

    #[test]
    fn a_language_is_inherited_from_the_stream() {
        let context = StreamContext {
            lang: Some("de".into()),
            ..StreamContext::client()
        };
        let lang = |xml: &[u8]| {
            Stanza::parse(xml, &Limits::default(), &context)
                .unwrap()
                .lang
        };
        assert_eq!(lang(b"<presence/>").as_deref(), Some("de"));
        assert_eq!(lang(b"<presence xml:lang='en'/>").as_deref(), Some("en"));
    }

    #[test]
    fn a_websocket_message_declares_its_own_namespace() {
        let framed = StreamContext::framed(None);
        let parse = |xml: &[u8]| Stanza::parse(xml, &Limits::default(), &framed);
        let stanza = parse(b"<message xmlns='jabber:client'><body>hi</body></message>").unwrap();
        assert_eq!(stanza.encode(), "<message><body>hi</body></message>");
        for other in [
            "<message/>",
            "<message xmlns='jabber:server'/>",
            "<a xmlns='jabber:client'/>",
        ] {
            assert!(
                matches!(parse(other.as_bytes()), Err(StanzaParseError::NotAStanza)),
                "{other}"
            );
        }
    }

    #[test]
    fn a_stanza_that_cannot_be_processed_gets_an_error_that_fits() {
        use crate::error::Condition::{BadRequest, JidMalformed};
        let cases = [
            ("<iq type='get'><a/></iq>", BadRequest),
            ("<iq id='1'><a/></iq>", BadRequest),
            ("<iq id='1' type='get'/>", BadRequest),
            ("<iq id='1' type='set'><a/><b/></iq>", BadRequest),
            ("<presence type='away'/>", BadRequest),
            ("<message to='a b@c'/>", JidMalformed),
            ("<message from='@c'/>", JidMalformed),
        ];
        for (xml, condition) in cases {
            let parsed =
                Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client());
            let Err(StanzaParseError::Refused(refusal)) = parsed else {
                panic!("{xml}")
            };
            assert_eq!(refusal.error.condition, condition, "{xml}");
            assert_eq!(refusal.reply.unwrap().error(), Some(refusal.error));
        }
        let result = "<iq type='result' id='1'><a/><b/></iq>";
        let parsed = Stanza::parse(
            result.as_bytes(),
            &Limits::default(),
            &StreamContext::client(),
        );
        assert!(matches!(parsed, Err(StanzaParseError::Refused(r)) if r.reply.is_none()));
        assert_eq!(
            parse("<message type='loud'/>").kind,
            Kind::Message(MessageType::Normal)
        );
    }

    #[test]
    fn a_namespace_cannot_be_disguised() {
        let stanza =
            parse("<message><a xmlns='urn:xmpp:&#115;id:0'/><b xmlns='a&amp;b'/></message>");
        assert!(stanza.has("a", ns::STANZA_ID));
        assert!(stanza.has("b", "a&amp;b"));
        let mut built = Stanza::message(MessageType::Normal);
        built.push_xml(b"<a xmlns='urn:xmpp:&#115;id:0'/>").unwrap();
        assert!(built.has("a", ns::STANZA_ID));
        assert!(built.push_xml(b"<stream:a/>").is_err());
    }

    #[test]
    fn replies_go_back_where_the_stanza_came_from() {
        let iq =
            parse("<iq to='a' from='b/c' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>");
        assert!(iq.payload().unwrap().is("ping", ns::PING));
        assert_eq!(
            iq.result(None).encode(),
            "<iq from='a' to='b/c' id='1' type='result'/>"
        );
        let error = iq.error_reply(&StanzaError::service_unavailable()).unwrap();
        assert_eq!(error.error(), Some(StanzaError::service_unavailable()));
        assert_eq!(error.error_reply(&StanzaError::conflict()), None);
    }

    #[test]
    fn a_bad_type_is_answered_and_the_stream_lives() {
        let xml = b"<iq type='make' id='1'/>";
        let refused = Stanza::parse(xml, &Limits::default(), &StreamContext::client());
        let Err(StanzaParseError::Refused(refusal)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(refusal.error.condition, crate::error::Condition::BadRequest);
        assert_eq!(refusal.reply.unwrap().id.as_deref(), Some("1"));
    }

    #[test]
    fn a_stream_is_cut_into_its_elements() {
        let stream = "<?xml version='1.0'?> <stream:stream to='>'> <a><b x='/>'/><![CDATA[</a>]]></a><c/></stream:stream>";
        let mut framer = Framer::new();
        let mut rest = stream.as_bytes();
        let mut frames = Vec::new();
        loop {
            let frame = framer.push(rest, &Limits::default()).unwrap();
            let (Frame::Whitespace(n)
            | Frame::StreamOpen(n)
            | Frame::Element(n)
            | Frame::StreamClose(n)) = frame
            else {
                break;
            };
            frames.push(std::str::from_utf8(&rest[..n]).unwrap());
            rest = &rest[n..];
        }
        assert_eq!(
            frames,
            [
                "<?xml version='1.0'?> <stream:stream to='>'>",
                " ",
                "<a><b x='/>'/><![CDATA[</a>]]></a>",
                "<c/>",
                "</stream:stream>"
            ]
        );
    }
}
