//! The unread bytes of one connection, cut into elements: by their tags on a TCP stream, by messages
//! on a WebSocket.
//!
//! A buffer is borrowed from the pool while bytes come in. When a turn ends, nothing is kept but an
//! unfinished element, in a piece of memory of its own size.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll};

use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::websocket::{Decoder, Message, Role, WebSocketError};
use posthaste_proto::xml::{Frame, Framer, Limits, XmlError};

use crate::pool;
use crate::transport::Transport;

/// What comes next on a connection. Ranges are of [`Inbox::bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The start tag of a stream over TCP.
    Open(Range<usize>),
    /// One whole top-level element over TCP, one whole message over WebSocket.
    Element(Range<usize>),
    /// The end tag of a stream over TCP.
    Close,
    /// A WebSocket ping, to be answered with its payload.
    Ping(Range<usize>),
    /// The WebSocket's own end. A stream that has not been closed before is lost, not over
    /// (RFC 7395 §3.6).
    SocketClose,
}

/// Why what comes can be no piece. The peer's fault.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum BadInput {
    /// Not the XML of a stream.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Not a WebSocket for XMPP.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
}

impl BadInput {
    /// The stream error it deserves (RFC 6120 §4.9.3).
    pub(crate) fn stream_error(self) -> StreamError {
        let error = match self {
            BadInput::Xml(error) => return StreamError::from(error),
            BadInput::WebSocket(error) => error,
        };
        let condition = match error {
            WebSocketError::TooBig => StreamCondition::PolicyViolation,
            WebSocketError::NotUtf8 => StreamCondition::UnsupportedEncoding,
            WebSocketError::Binary | WebSocketError::Protocol(_) => StreamCondition::BadFormat,
        };
        StreamError::new(condition).with_text(error.to_string())
    }
}

#[derive(Debug)]
enum Framing {
    Stream(Framer),
    WebSocket(Decoder),
}

/// See the module comment.
#[derive(Debug)]
pub(crate) struct Inbox {
    framing: Framing,
    unread: Vec<u8>,
    /// Bytes before this have been handled.
    at: usize,
}

impl Inbox {
    /// The inbox of a TCP stream.
    pub(crate) fn stream() -> Inbox {
        Inbox {
            framing: Framing::Stream(Framer::new()),
            unread: Vec::new(),
            at: 0,
        }
    }

    /// The inbox of a WebSocket, with bytes that were read together with its HTTP request.
    pub(crate) fn web_socket(unread: &[u8]) -> Inbox {
        let framing = Framing::WebSocket(Decoder::new(Role::Server));
        Inbox {
            framing,
            unread: unread.to_vec(),
            at: 0,
        }
    }

    /// Reads what the transport has. 0 is the end of the stream.
    pub(crate) fn poll_fill(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        pool::fill(&mut self.unread, |buffer| {
            transport.poll_read_to(context, buffer)
        })
    }

    /// The next whole piece. Its bytes are at [`Inbox::bytes`] until the next call.
    ///
    /// # Errors
    /// What comes can be no piece within `limits`.
    pub(crate) fn next(&mut self, limits: &Limits) -> Result<Option<Piece>, BadInput> {
        loop {
            let start = self.at;
            let (used, piece) = match &mut self.framing {
                Framing::Stream(framer) => {
                    let frame = framer.push(&self.unread[start..], limits)?;
                    of_stream(frame, start)
                }
                Framing::WebSocket(decoder) => {
                    of_web_socket(decoder, &mut self.unread, start, limits)?
                }
            };
            self.at = start + used;
            if piece.is_some() || used == 0 {
                return Ok(piece);
            }
        }
    }

    /// The bytes of a piece.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.unread[range]
    }

    /// Forgets white space that is in and not handled.
    pub(crate) fn skip_space(&mut self) {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at += self.unread[self.at..].iter().take_while(is_space).count();
    }

    /// Bytes that are in and not handled.
    pub(crate) fn waiting(&self) -> usize {
        self.unread.len() - self.at
    }

    /// Whether something has begun whose end has not come. To be asked when there is no piece.
    pub(crate) fn is_unfinished(&self) -> bool {
        let mid_message = match &self.framing {
            Framing::Stream(_) => false,
            Framing::WebSocket(decoder) => decoder.is_mid_message(),
        };
        mid_message || self.waiting() > 0
    }

    /// Expects a new stream (RFC 6120 §4.3.3). On a WebSocket it makes no difference.
    pub(crate) fn restart(&mut self) {
        if let Framing::Stream(framer) = &mut self.framing {
            *framer = Framer::new();
        }
    }

    /// Ends a turn: gives back all memory that no unfinished element needs.
    pub(crate) fn settle(&mut self) {
        pool::settle(&mut self.unread, self.at);
        self.at = 0;
    }
}

/// How many bytes a frame of a stream uses, and the piece it is.
fn of_stream(frame: Frame, start: usize) -> (usize, Option<Piece>) {
    match frame {
        Frame::Incomplete => (0, None),
        Frame::Whitespace(length) => (length, None),
        Frame::StreamOpen(length) => (length, Some(Piece::Open(start..start + length))),
        Frame::Element(length) => (length, Some(Piece::Element(start..start + length))),
        Frame::StreamClose(length) => (length, Some(Piece::Close)),
    }
}

/// How many bytes the frame at `start` uses, and the piece that it ends.
fn of_web_socket(
    decoder: &mut Decoder,
    unread: &mut Vec<u8>,
    start: usize,
    limits: &Limits,
) -> Result<(usize, Option<Piece>), WebSocketError> {
    let decoded = decoder.decode(&mut unread[start..], limits.stanza_bytes)?;
    let used = decoded.consumed;
    // The payload is the end of its frame.
    let payload = |length: usize| start + used - length..start + used;
    let piece = match decoded.message {
        None | Some(Message::Pong(_)) => None,
        // COMPAT(clients that keep alive by white space as over TCP).
        Some(Message::Text(text)) if text.trim_ascii().is_empty() => None,
        Some(Message::Text(Cow::Borrowed(text))) => Some(Piece::Element(payload(text.len()))),
        Some(Message::Text(Cow::Owned(text))) => {
            // It came in fragments: it takes the place of the last one.
            let length = text.len();
            unread.splice(start..start + used, text.into_bytes());
            return Ok((length, Some(Piece::Element(start..start + length))));
        }
        Some(Message::Ping(echo)) => Some(Piece::Ping(payload(echo.len()))),
        Some(Message::Close { .. }) => Some(Piece::SocketClose),
    };
    Ok((used, piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client'> \n<a/><b>x</b>";

    fn feed(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.unread.extend_from_slice(bytes);
    }

    fn pieces(inbox: &mut Inbox) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(piece) = inbox.next(&Limits::default()).unwrap() {
            found.push(match piece {
                Piece::Open(_) => "open".to_owned(),
                Piece::Element(range) => String::from_utf8(inbox.bytes(range).to_vec()).unwrap(),
                Piece::Close => "close".to_owned(),
                Piece::Ping(range) => format!("ping {}", inbox.bytes(range).len()),
                Piece::SocketClose => "socket close".to_owned(),
            });
        }
        inbox.settle();
        found
    }

    #[test]
    fn many_pieces_in_one_read_come_out_in_order() {
        let mut inbox = Inbox::stream();
        feed(&mut inbox, STREAM.as_bytes());
        feed(&mut inbox, b"</stream:stream>");
        assert_eq!(pieces(&mut inbox), ["open", "<a/>", "<b>x</b>", "close"]);
    }

    #[test]
    fn any_split_into_reads_gives_the_same_pieces() {
        for split in 0..=STREAM.len() {
            let mut inbox = Inbox::stream();
            feed(&mut inbox, &STREAM.as_bytes()[..split]);
            let mut found = pieces(&mut inbox);
            feed(&mut inbox, &STREAM.as_bytes()[split..]);
            found.extend(pieces(&mut inbox));
            assert_eq!(found, ["open", "<a/>", "<b>x</b>"], "split at {split}");
        }
    }

    /// A frame as a client sends it, with a mask of noughts.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![
            first,
            0x80 | u8::try_from(payload.len()).unwrap(),
            0,
            0,
            0,
            0,
        ];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn messages_of_a_web_socket_are_pieces_even_in_fragments_and_byte_by_byte() {
        let frames = [
            frame(0x81, b"<a/>"),
            frame(0x01, b"<b>"),
            frame(0x89, b"echo"),
            frame(0x00, b""),
            frame(0x80, b"</b>"),
            frame(0x8a, b""),
            frame(0x81, b" "),
            frame(0x81, b"<c/>"),
            frame(0x88, b""),
        ]
        .concat();
        let expected = ["<a/>", "ping 4", "<b></b>", "<c/>", "socket close"];
        let mut at_once = Inbox::web_socket(&frames);
        assert_eq!(pieces(&mut at_once), expected);
        assert!(!at_once.is_unfinished());

        let mut slowly = Inbox::web_socket(b"");
        let mut found = Vec::new();
        for byte in frames {
            feed(&mut slowly, &[byte]);
            found.extend(pieces(&mut slowly));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unfinished_message_is_known_as_one_even_when_all_its_bytes_are_in() {
        let mut inbox = Inbox::web_socket(&frame(0x01, b"<a>"));
        assert!(pieces(&mut inbox).is_empty());
        assert_eq!(inbox.waiting(), 0);
        assert!(inbox.is_unfinished());
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let limits = Limits {
            stanza_bytes: 10,
            ..Limits::default()
        };
        let mut inbox = Inbox::web_socket(&frame(0x81, b"<a>0123456789</a>"));
        let error = inbox.next(&limits).unwrap_err();
        assert!(
            matches!(error, BadInput::WebSocket(WebSocketError::TooBig)),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_kept_of_a_finished_turn_and_no_more_than_needed_of_an_unfinished_one() {
        let mut inbox = Inbox {
            unread: pool::take(),
            ..Inbox::stream()
        };
        feed(&mut inbox, STREAM.as_bytes());
        feed(&mut inbox, b"<half");
        pieces(&mut inbox);
        assert_eq!(inbox.waiting(), 5);
        assert!(inbox.unread.capacity() <= 16, "{}", inbox.unread.capacity());
        feed(&mut inbox, b"/>");
        assert_eq!(pieces(&mut inbox), ["<half/>"]);
        assert_eq!(inbox.unread.capacity(), 0);
    }
}
