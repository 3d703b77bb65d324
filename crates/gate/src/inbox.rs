//! The unread bytes of one connection, cut into elements.
//!
//! A buffer is borrowed from the pool while bytes come in. When a turn ends, nothing is kept but an
//! unfinished element, in a piece of memory of its own size.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll};

use posthaste_proto::xml::{Frame, Framer, Limits, XmlError};

use crate::pool;
use crate::transport::Transport;

/// Unread bytes of which so much is unfinished are moved to memory of their own size.
const WASTE: usize = 2;

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The stream's start: a start tag over TCP, an `<open/>` over WebSocket.
    Open(Range<usize>),
    /// One whole top-level element.
    Element(Range<usize>),
    /// The stream's end: an end tag over TCP, a `<close/>` over WebSocket.
    Close,
}

/// See the module comment.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    framer: Framer,
    unread: Vec<u8>,
    /// Bytes before this have been handled.
    at: usize,
}

impl Inbox {
    /// An inbox with bytes that were read by somebody else already.
    pub(crate) fn with(unread: &[u8]) -> Inbox {
        Inbox {
            unread: unread.to_vec(),
            ..Inbox::default()
        }
    }

    /// Reads what the transport has. 0 is the end of the stream.
    pub(crate) fn poll_fill(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = pool::take();
        let read = transport.poll_read_to(context, &mut buffer);
        if self.unread.is_empty() && matches!(read, Poll::Ready(Ok(1..))) {
            self.unread = buffer;
            return read;
        }
        self.unread.extend_from_slice(&buffer);
        pool::give(buffer);
        read
    }

    /// The next whole piece. Its bytes are at [`Inbox::bytes`] until the next call.
    ///
    /// # Errors
    /// The bytes are not a stream of XML within `limits`.
    pub(crate) fn next(&mut self, limits: &Limits) -> Result<Option<Piece>, XmlError> {
        loop {
            let start = self.at;
            let frame = self.framer.push(&self.unread[start..], limits)?;
            let mut take = |length: usize| {
                self.at = start + length;
                start..self.at
            };
            return Ok(Some(match frame {
                Frame::Incomplete => return Ok(None),
                Frame::Whitespace(length) => {
                    take(length);
                    continue;
                }
                Frame::StreamOpen(length) => Piece::Open(take(length)),
                Frame::Element(length) => Piece::Element(take(length)),
                Frame::StreamClose(length) => {
                    take(length);
                    Piece::Close
                }
            }));
        }
    }

    /// The bytes of a piece.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.unread[range]
    }

    /// Bytes that are in and not handled.
    pub(crate) fn waiting(&self) -> usize {
        self.unread.len() - self.at
    }

    /// Expects a new stream (RFC 6120 §4.3.3).
    pub(crate) fn restart(&mut self) {
        self.framer = Framer::default();
    }

    /// Ends a turn: gives back all memory that no unfinished element needs.
    pub(crate) fn settle(&mut self) {
        let waiting = self.waiting();
        if waiting == 0 {
            pool::give(std::mem::take(&mut self.unread));
        } else if self.unread.capacity() > WASTE * waiting {
            let rest = self.unread[self.at..].to_vec();
            pool::give(std::mem::replace(&mut self.unread, rest));
        } else {
            self.unread.drain(..self.at);
        }
        self.at = 0;
    }
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
            });
        }
        inbox.settle();
        found
    }

    #[test]
    fn many_pieces_in_one_read_come_out_in_order() {
        let mut inbox = Inbox::with(STREAM.as_bytes());
        feed(&mut inbox, b"</stream:stream>");
        assert_eq!(pieces(&mut inbox), ["open", "<a/>", "<b>x</b>", "close"]);
    }

    #[test]
    fn any_split_into_reads_gives_the_same_pieces() {
        for split in 0..=STREAM.len() {
            let mut inbox = Inbox::with(&STREAM.as_bytes()[..split]);
            let mut found = pieces(&mut inbox);
            feed(&mut inbox, &STREAM.as_bytes()[split..]);
            found.extend(pieces(&mut inbox));
            assert_eq!(found, ["open", "<a/>", "<b>x</b>"], "split at {split}");
        }
    }

    #[test]
    fn nothing_is_kept_of_a_finished_turn_and_no_more_than_needed_of_an_unfinished_one() {
        let mut inbox = Inbox {
            unread: pool::take(),
            ..Inbox::default()
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
