//! What is on its way to one client: gathered in one buffer, written with as few calls as possible.
//! On a WebSocket each element is a message.
//!
//! The buffer comes from the pool and goes back when all is written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use posthaste_proto::websocket::{self, Opcode};
use tokio::io::AsyncWrite;

use crate::pool;
use crate::transport::Transport;

/// See the module comment.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes before this have been written.
    written: usize,
    web_socket: bool,
}

impl Outbox {
    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// An outbox to a WebSocket; the default one is to a TCP stream.
    pub(crate) fn web_socket() -> Outbox {
        Outbox {
            web_socket: true,
            ..Outbox::default()
        }
    }

    /// Whether the peer is on a WebSocket.
    pub(crate) fn is_web_socket(&self) -> bool {
        self.web_socket
    }

    /// Appends an element, or a stream header or end, that says all it has to say where it stands.
    pub(crate) fn whole(&mut self, xml: &[u8]) {
        match self.web_socket {
            true => websocket::encode(self.buffer(), Opcode::Text, xml, None),
            false => self.buffer().extend_from_slice(xml),
        }
    }

    /// Appends an element written for a TCP stream of `jabber:client`.
    pub(crate) fn element(&mut self, xml: &[u8]) {
        match self.web_socket {
            true => websocket::encode_xml(self.buffer(), xml, None),
            false => self.buffer().extend_from_slice(xml),
        }
    }

    /// As [`Outbox::element`], for one that is put together by appending it.
    pub(crate) fn element_by(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        if self.web_socket {
            let mut xml = Vec::new();
            write(&mut xml);
            self.element(&xml);
        } else {
            write(self.buffer());
        }
    }

    /// Appends the answer to a WebSocket ping.
    pub(crate) fn pong(&mut self, echo: &[u8]) {
        websocket::encode(self.buffer(), Opcode::Pong, echo, None);
    }

    /// Appends what shows whether the peer's machine is there; answers whether the peer itself
    /// will answer.
    pub(crate) fn ping(&mut self) -> bool {
        match self.web_socket {
            true => websocket::encode(self.buffer(), Opcode::Ping, b"", None),
            // RFC 6120 §4.6.1: white space between stanzas means nothing.
            false => self.buffer().push(b' '),
        }
        self.web_socket
    }

    /// Appends the end of the stream, and of the WebSocket for the reason `code`.
    pub(crate) fn end(&mut self, code: u16) {
        if self.web_socket {
            self.whole(&websocket::close(None).to_bytes(""));
            websocket::encode_close(self.buffer(), code, "", None);
        } else {
            self.whole(b"</stream:stream>");
        }
    }

    /// Where to append what shall be written.
    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool::take();
        }
        &mut self.bytes
    }

    /// Writes until all has been taken or the transport takes no more. Ready says that the peer's
    /// kernel has everything; `Ok(n)` tells how many bytes moved in this call.
    pub(crate) fn poll_write(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
        moved: &mut usize,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.waiting() > 0 {
            let rest = &self.bytes[self.written..];
            match Pin::new(&mut *transport).poll_write(context, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => {
                    self.written += count;
                    *moved += count;
                }
                Poll::Pending => {
                    self.forget_written();
                    return Poll::Pending;
                }
            }
        }
        // TLS keeps ciphertext of its own until it is flushed.
        ready!(Pin::new(transport).poll_flush(context)?);
        self.written = 0;
        pool::give(std::mem::take(&mut self.bytes));
        Poll::Ready(Ok(()))
    }

    /// A slow reader must not make the buffer grow by what it has read long ago.
    fn forget_written(&mut self) {
        if self.written >= self.waiting() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }
}
