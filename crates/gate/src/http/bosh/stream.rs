//! The stream behind a BOSH session: to the rest of the gate it is a WebSocket, on a pipe inside of
//! this process, so that negotiation, limits and the session's driver are the same code.
//!
//! What was given to the client counts as delivered only when a later request shows that it has
//! arrived. Where the client does no stream management (XEP-0198) of its own, it is done here for
//! it: the session hears of what has arrived by `<a/>`, and what has not goes back to the log when
//! the client is gone.

use std::collections::VecDeque;
use std::io;

use posthaste_proto::ns;
use posthaste_proto::stream::sm::Nonza;
use posthaste_proto::websocket::{self, Decoder, Message, Opcode, Role, WebSocketError};
use posthaste_proto::xml::Element;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use super::body::Request;
use crate::pool;

/// RFC 6455 §5.3 wants a mask from clients, against proxies; inside of a process there is none.
const NO_MASK: Option<[u8; 4]> = Some([0; 4]);

const ENABLE: &[u8] = b"<enable xmlns='urn:xmpp:sm:3'/>";

/// The client's end of the stream, held for it.
#[derive(Debug)]
pub(super) struct Stream {
    reading: ReadHalf<DuplexStream>,
    writing: WriteHalf<DuplexStream>,
    decoder: Decoder,
    /// Bytes read that make no whole message.
    unread: Vec<u8>,
    /// Bytes to be written.
    unwritten: Vec<u8>,
    said: VecDeque<Said>,
    management: Management,
    arrivals: Arrivals,
}

/// What the server says.
#[derive(Debug)]
pub(super) enum Said {
    /// Its side of the stream is open.
    Open {
        id: Option<String>,
        from: Option<String>,
    },
    /// An element for the client.
    Payload(Vec<u8>),
    /// The error that ends the stream, for the client.
    Error(Vec<u8>),
    /// The stream is over.
    Close,
}

/// Who manages the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Management {
    /// There is no session yet.
    NoSession,
    /// There is one, and nobody yet.
    Nobody,
    /// The client.
    Client,
    /// We have asked for it, and it begins with `<enabled/>`.
    Asked,
    /// We.
    Ours,
}

/// What of the payloads has arrived at the client, in the words of stream management.
#[derive(Debug, Default)]
struct Arrivals {
    /// Payloads known to have arrived.
    payloads: u64,
    /// Of each later one, whether it is a stanza that counts.
    later: VecDeque<bool>,
    /// Stanzas that counted and have arrived: the `h` of `<a/>`.
    h: u32,
    /// The session has asked for it.
    asked: bool,
}

impl Stream {
    /// The stream on `pipe`.
    pub(super) fn new(pipe: DuplexStream) -> Stream {
        let (reading, writing) = tokio::io::split(pipe);
        Stream {
            reading,
            writing,
            decoder: Decoder::new(Role::Client),
            unread: Vec::new(),
            unwritten: Vec::new(),
            said: VecDeque::new(),
            management: Management::NoSession,
            arrivals: Arrivals::default(),
        }
    }

    /// Opens the stream, or opens it anew after log-in.
    pub(super) fn open(&mut self, request: &Request) {
        let mut open = Element::new("open", ns::FRAMING)
            .with_attr_opt("to", request.to.as_deref())
            .with_attr_opt("from", request.from.as_deref())
            .with_attr("version", request.version.as_deref().unwrap_or("1.0"));
        if let Some(lang) = &request.lang {
            open = open.with_lang(lang.clone());
        }
        self.send(&open.to_bytes(""));
    }

    /// The client says `payload`.
    pub(super) fn say(&mut self, payload: &[u8]) {
        if self.management == Management::Nobody {
            if is_stanza(payload) {
                self.send(ENABLE);
                self.management = Management::Asked;
            } else if payload.starts_with(b"<enable") {
                self.management = Management::Client;
            }
        }
        self.send(payload);
    }

    /// Of all payloads the first `payloads` have arrived at the client.
    pub(super) fn arrived(&mut self, payloads: u64) {
        let arrivals = &mut self.arrivals;
        let before = arrivals.h;
        while arrivals.payloads < payloads
            && let Some(counts) = arrivals.later.pop_front()
        {
            arrivals.payloads += 1;
            arrivals.h = arrivals.h.wrapping_add(u32::from(counts));
        }
        let is_news = arrivals.h != before || arrivals.asked;
        if self.management == Management::Ours && is_news {
            self.acknowledge();
        }
    }

    fn acknowledge(&mut self) {
        self.arrivals.asked = false;
        let ack = Nonza::Ack(self.arrivals.h).to_element();
        self.send(&ack.to_bytes(""));
    }

    /// The client closes the stream.
    pub(super) fn close(&mut self) {
        self.send(&websocket::close(None).to_bytes(""));
    }

    fn send(&mut self, xml: &[u8]) {
        websocket::encode(&mut self.unwritten, Opcode::Text, xml, NO_MASK);
    }

    /// Whether all that the client has said is with the session.
    pub(super) fn is_flushed(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Writes what is to be written and, if `listening`, reads: one step of either, after which
    /// [`Stream::next`] may have something. May be dropped half-way.
    ///
    /// # Errors
    /// The stream has ended, without `<close/>`.
    pub(super) async fn exchange(&mut self, listening: bool) -> io::Result<()> {
        if listening && self.unread.capacity() == 0 {
            self.unread = pool::take();
        }
        tokio::select! {
            written = self.writing.write(&self.unwritten), if !self.unwritten.is_empty() => {
                let written = written?;
                self.unwritten.drain(..written);
                Ok(())
            }
            read = self.reading.read_buf(&mut self.unread), if listening => match read? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => self
                    .decode()
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            },
            else => std::future::pending().await,
        }
    }

    /// Nobody reads any more: what the client has said is forgotten.
    pub(super) fn discard(&mut self) {
        self.unwritten = Vec::new();
    }

    /// Whether the client has a session.
    pub(super) fn has_session(&self) -> bool {
        self.management != Management::NoSession
    }

    fn decode(&mut self) -> Result<(), WebSocketError> {
        let mut at = 0;
        loop {
            // What the session writes is within bounds already.
            let decoded = self.decoder.decode(&mut self.unread[at..], usize::MAX)?;
            if decoded.consumed == 0 {
                break;
            }
            at += decoded.consumed;
            match decoded.message {
                Some(Message::Text(text)) => {
                    let text = text.into_owned().into_bytes();
                    self.heard(text);
                }
                // Whether the client is there is for the session of BOSH to find out.
                Some(Message::Ping(echo)) => {
                    websocket::encode(&mut self.unwritten, Opcode::Pong, echo, NO_MASK);
                }
                Some(Message::Close { .. }) => self.said.push_back(Said::Close),
                Some(Message::Pong(_)) | None => {}
            }
        }
        pool::settle(&mut self.unread, at);
        Ok(())
    }

    /// What the server has said, in order.
    pub(super) fn next(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    fn heard(&mut self, xml: Vec<u8>) {
        let said = match name(&xml) {
            b"open" => {
                let open = Element::parse(&xml, "").ok();
                let value = |name| Some(open.as_ref()?.attr(name)?.to_owned());
                Said::Open {
                    id: value("id"),
                    from: value("from"),
                }
            }
            b"close" => Said::Close,
            b"stream:error" => Said::Error(xml),
            b"enabled" | b"r" | b"a" if self.is_ours(&xml) => return,
            _ => {
                self.note(&xml);
                Said::Payload(xml)
            }
        };
        self.said.push_back(said);
    }

    /// Whether this is stream management that the client knows nothing of.
    fn is_ours(&mut self, xml: &[u8]) -> bool {
        let nonza = Element::parse(xml, "").ok();
        let nonza = nonza.and_then(|nonza| Nonza::parse(&nonza).ok());
        match (self.management, nonza) {
            (Management::Asked, Some(Nonza::Enabled(_))) => {
                self.management = Management::Ours;
                true
            }
            (Management::Ours, Some(Nonza::Request)) => {
                // Later, if something is on its way: what has not changed would only be asked for
                // again at once.
                match self.arrivals.later.contains(&true) {
                    true => self.arrivals.asked = true,
                    false => self.acknowledge(),
                }
                true
            }
            (Management::Ours, Some(Nonza::Ack(_))) => true,
            _ => false,
        }
    }

    /// Counts what the client is given, and sees when it has a session.
    fn note(&mut self, xml: &[u8]) {
        let counts = self.management == Management::Ours && is_stanza(xml);
        self.arrivals.later.push_back(counts);
        if self.management == Management::NoSession {
            self.management = session_made(xml);
        }
    }
}

/// Whether there is a session once the client has been told `xml`.
fn session_made(xml: &[u8]) -> Management {
    let name = name(xml);
    if !matches!(name, b"iq" | b"success" | b"resumed") {
        return Management::NoSession;
    }
    let Ok(element) = Element::parse(xml, "") else {
        return Management::NoSession;
    };
    let is_managed = |parent: &Element| {
        parent.child("enabled", ns::SM).is_some() || parent.child("resumed", ns::SM).is_some()
    };
    let bound = element.child("bound", ns::BIND2);
    if element.is("resumed", ns::SM) || is_managed(&element) || bound.is_some_and(is_managed) {
        return Management::Client;
    }
    let is_bound =
        element.attr("type") == Some("result") && element.child("bind", ns::BIND).is_some();
    match is_bound || bound.is_some() {
        true => Management::Nobody,
        false => Management::NoSession,
    }
}

/// The name in a start tag that our own writer has written.
fn name(xml: &[u8]) -> &[u8] {
    let name = xml.strip_prefix(b"<").unwrap_or_default();
    let end = name
        .iter()
        .position(|byte| matches!(byte, b' ' | b'/' | b'>'));
    &name[..end.unwrap_or(name.len())]
}

fn is_stanza(xml: &[u8]) -> bool {
    matches!(name(xml), b"message" | b"presence" | b"iq")
}
