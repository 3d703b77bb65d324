//! The `<body/>` wrapper of XEP-0124: what a request says, and how an answer is written.

use posthaste_proto::ns;
use posthaste_proto::xml::{Element, Limits, Node, StreamContext, XmlError, escape_attr};

/// Bytes of the wrapper itself, beside what it carries: our attributes and a client's are some
/// hundreds.
pub(super) const WRAPPER_BYTES: usize = 4 * 1024;

/// What a client may put into `rid` (XEP-0124 §14.1): 2^53 - 1.
const MOST_RID: u64 = 9_007_199_254_740_991;

/// A client's `<body/>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) rid: u64,
    /// The session; `None` asks for a new one.
    pub(super) sid: Option<String>,
    pub(super) to: Option<String>,
    pub(super) from: Option<String>,
    pub(super) lang: Option<String>,
    /// The stream's version (XEP-0206 §3); a client that says none means 1.0.
    pub(super) version: Option<String>,
    /// BOSH's version.
    pub(super) ver: Option<String>,
    pub(super) wait: Option<u64>,
    pub(super) hold: Option<u64>,
    pub(super) ack: Option<u64>,
    pub(super) pause: Option<u64>,
    pub(super) key: Option<String>,
    pub(super) new_key: Option<String>,
    pub(super) restart: bool,
    pub(super) terminate: bool,
    /// Its children, each able to stand alone.
    pub(super) payloads: Vec<Vec<u8>>,
}

impl Request {
    /// Reads a wrapper. `None`: it is none, and deserves `bad-request`.
    pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Option<Request> {
        let element = parse(bytes, limits).ok()?;
        if !element.is("body", ns::BOSH) {
            return None;
        }
        // §6: no character data but between the payloads, where it is somebody's indentation.
        let is_blank = |node: &Node| match node {
            Node::Text(text) => text.trim_ascii().is_empty(),
            Node::Element(_) => true,
        };
        if !element.nodes().iter().all(is_blank) {
            return None;
        }
        let text = |name| element.attr(name).map(str::to_owned);
        let number = |name| match element.attr(name) {
            None => Some(None),
            Some(value) => value.parse::<u64>().ok().map(Some),
        };
        let is_true = |value: Option<&str>| matches!(value, Some("true" | "1"));
        Some(Request {
            rid: number("rid")?.filter(|rid| (1..=MOST_RID).contains(rid))?,
            sid: text("sid"),
            to: text("to"),
            from: text("from"),
            lang: element.lang().map(str::to_owned),
            version: element.attr_ns("version", ns::XBOSH).map(str::to_owned),
            ver: text("ver"),
            wait: number("wait")?,
            hold: number("hold")?,
            ack: number("ack")?,
            pause: number("pause")?,
            key: text("key"),
            new_key: text("newkey"),
            restart: is_true(element.attr_ns("restart", ns::XBOSH)),
            terminate: element.attr("type") == Some("terminate"),
            payloads: element
                .into_children()
                // COMPAT(XEP-0206 §2): clients that give their stanzas no namespace mean this one.
                .map(|child| child.moved_to_namespace(ns::BOSH, ns::CLIENT).to_bytes(""))
                .collect(),
        })
    }

    /// The session that the start of a wrapper names, when the rest has not come: whether to wait
    /// for much more depends on it.
    pub(super) fn session_of(start: &[u8], limits: &Limits) -> Option<String> {
        let mut quote = None;
        let end = start.iter().position(|byte| match (quote, byte) {
            (None, b'\'' | b'"') => {
                quote = Some(*byte);
                false
            }
            (Some(open), byte) if open == *byte => {
                quote = None;
                false
            }
            (None, b'>') => true,
            _ => false,
        })?;
        let mut alone = start[..end]
            .strip_suffix(b"/")
            .unwrap_or(&start[..end])
            .to_vec();
        alone.extend_from_slice(b"/>");
        Request::parse(&alone, limits)?.sid
    }
}

fn parse(bytes: &[u8], limits: &Limits) -> Result<Element, XmlError> {
    Element::parse_in(bytes.trim_ascii(), limits, &StreamContext::bare(""))
}

/// Why a session ends, or does not begin (XEP-0124 §17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    BadRequest,
    HostUnknown,
    ImproperAddressing,
    ItemNotFound,
    OtherRequest,
    PolicyViolation,
    RemoteConnectionFailed,
    RemoteStreamError,
    SystemShutdown,
}

impl Condition {
    pub(super) fn name(self) -> &'static str {
        match self {
            Condition::BadRequest => "bad-request",
            Condition::HostUnknown => "host-unknown",
            Condition::ImproperAddressing => "improper-addressing",
            Condition::ItemNotFound => "item-not-found",
            Condition::OtherRequest => "other-request",
            Condition::PolicyViolation => "policy-violation",
            Condition::RemoteConnectionFailed => "remote-connection-failed",
            Condition::RemoteStreamError => "remote-stream-error",
            Condition::SystemShutdown => "system-shutdown",
        }
    }
}

/// An answer's `<body/>`, being written.
#[derive(Debug)]
pub(super) struct Answer {
    tag: Vec<u8>,
    payloads: Vec<u8>,
}

impl Answer {
    /// An empty one.
    pub(super) fn new() -> Answer {
        // XEP-0206 §2 wants the prefix declared where it is used; everywhere does no harm.
        let tag = format!("<body xmlns='{}' xmlns:stream='{}'", ns::BOSH, ns::STREAM);
        Answer {
            tag: tag.into_bytes(),
            payloads: Vec::new(),
        }
    }

    /// One that ends the session; without a condition it is what the client wanted.
    pub(super) fn terminate(condition: Option<Condition>) -> Answer {
        let answer = Answer::new().with("type", "terminate");
        match condition {
            Some(condition) => answer.with("condition", condition.name()),
            None => answer,
        }
    }

    /// One that asks the client to send the request again (§17.3).
    pub(super) fn recoverable() -> Answer {
        Answer::new().with("type", "error")
    }

    /// The answer with an attribute.
    pub(super) fn with(mut self, name: &str, value: &str) -> Answer {
        self.tag.extend_from_slice(format!(" {name}='").as_bytes());
        escape_attr(&mut self.tag, value);
        self.tag.push(b'\'');
        self
    }

    /// The answer with these elements in it.
    pub(super) fn carrying<'a>(mut self, payloads: impl IntoIterator<Item = &'a [u8]>) -> Answer {
        for payload in payloads {
            self.payloads.extend_from_slice(payload);
        }
        self
    }

    /// The bytes to send.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let Answer { mut tag, payloads } = self;
        if payloads.is_empty() {
            tag.extend_from_slice(b"/>");
            return tag;
        }
        tag.push(b'>');
        tag.extend_from_slice(&payloads);
        tag.extend_from_slice(b"</body>");
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Option<Request> {
        Request::parse(xml.as_bytes(), &Limits::default())
    }

    #[test]
    fn the_example_of_a_session_request_is_read() {
        let request = read(
            "<body content='text/xml; charset=utf-8' from='user@example.com' hold='1' \
             rid='1573741820' to='example.com' route='xmpp:example.com:9999' wait='60' \
             xml:lang='en' xmpp:version='1.0' xmlns='http://jabber.org/protocol/httpbind' \
             xmlns:xmpp='urn:xmpp:xbosh'/>",
        )
        .unwrap();
        assert_eq!(
            (request.rid, request.wait, request.hold),
            (1_573_741_820, Some(60), Some(1))
        );
        assert_eq!(request.to.as_deref(), Some("example.com"));
        assert_eq!(request.lang.as_deref(), Some("en"));
        assert_eq!(request.version.as_deref(), Some("1.0"));
        assert!(request.sid.is_none() && !request.restart && !request.terminate);
    }

    #[test]
    fn payloads_stand_alone_and_stanzas_without_a_namespace_are_meant_for_the_stream() {
        let request = read(
            "<body rid='1' sid='a' xmlns='http://jabber.org/protocol/httpbind'> \
             <message to='b@c'><body>1 &lt; 2</body><x xmlns='jabber:x:oob'/></message>\
             <iq xmlns='jabber:client' xml:lang='de'/></body>",
        )
        .unwrap();
        let texts: Vec<_> = request
            .payloads
            .iter()
            .map(|bytes| std::str::from_utf8(bytes).unwrap())
            .collect();
        assert_eq!(
            texts,
            [
                "<message xmlns='jabber:client' to='b@c'><body>1 &lt; 2</body>\
                 <x xmlns='jabber:x:oob'/></message>",
                "<iq xmlns='jabber:client' xml:lang='de'/>",
            ]
        );
    }

    #[test]
    fn what_is_no_wrapper_is_not_taken_for_one() {
        for bad in [
            "",
            "<body/>",
            "<body rid='1'/>",
            "<body xmlns='http://jabber.org/protocol/httpbind'/>",
            "<body rid='x' xmlns='http://jabber.org/protocol/httpbind'/>",
            "<body rid='0' xmlns='http://jabber.org/protocol/httpbind'/>",
            "<body rid='9007199254740992' xmlns='http://jabber.org/protocol/httpbind'/>",
            "<body rid='1' wait='-1' xmlns='http://jabber.org/protocol/httpbind'/>",
            "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'>text</body>",
            "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><a></body>",
            "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'/><more/>",
            "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><!-- --></body>",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_start_of_a_wrapper_names_its_session() {
        let of = |start: &str| Request::session_of(start.as_bytes(), &Limits::default());
        let start =
            "<body rid='7' sid='a>b' xmlns='http://jabber.org/protocol/httpbind'><message>xx";
        assert_eq!(of(start).as_deref(), Some("a>b"));
        assert_eq!(of("<body rid='7' sid='a"), None);
        assert_eq!(
            of("<body rid='7' xmlns='http://jabber.org/protocol/httpbind'>"),
            None
        );
    }

    #[test]
    fn answers_are_written_with_what_they_carry() {
        let text = |answer: Answer| String::from_utf8(answer.into_bytes()).unwrap();
        let start = "<body xmlns='http://jabber.org/protocol/httpbind' \
            xmlns:stream='http://etherx.jabber.org/streams'";
        assert_eq!(text(Answer::new()), format!("{start}/>"));
        assert_eq!(
            text(Answer::terminate(Some(Condition::ItemNotFound))),
            format!("{start} type='terminate' condition='item-not-found'/>")
        );
        assert_eq!(
            text(
                Answer::new()
                    .with("sid", "a'b")
                    .carrying([&b"<a/>"[..], b"<b/>"])
            ),
            format!("{start} sid='a&apos;b'><a/><b/></body>")
        );
    }
}
