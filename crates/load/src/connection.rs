//! One XMPP stream as cheap for the client as it can be: bytes in, whole elements out, writes that never block reads.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use posthaste_proto::xml::{Frame, Framer, Limits, XmlError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::target::Target;
use crate::transport::Transport;

/// What one read takes at most.
const READ_BYTES: usize = 8 * 1024;

/// A capacity above which an emptied buffer is given back, so that idle connections stay small.
const KEPT_BYTES: usize = 4 * 1024;

/// The longest that a polite end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream to the server.
pub(crate) struct Connection {
    transport: Option<Transport>,
    framer: Framer,
    limits: Limits,
    inbound: Vec<u8>,
    /// Where the unread bytes of `inbound` start.
    read_from: usize,
    outbound: Vec<u8>,
    /// Where the unwritten bytes of `outbound` start.
    write_from: usize,
}

/// What the server said next.
#[derive(Debug)]
pub(crate) enum Received<'a> {
    /// The stream's opening tag.
    StreamOpen,
    /// A whole top-level element.
    Element(&'a [u8]),
    /// The stream's closing tag.
    StreamClose,
}

/// A piece of `inbound`; an element by its start and end there.
#[derive(Clone, Copy)]
enum Piece {
    StreamOpen,
    Element(usize, usize),
    StreamClose,
}

impl Connection {
    /// Connects; under TLS already if the target uses direct TLS.
    pub(crate) async fn open(target: &Target) -> io::Result<Connection> {
        Ok(Connection {
            transport: Some(Transport::connect(target).await?),
            framer: Framer::new(),
            limits: Limits::default(),
            inbound: Vec::new(),
            read_from: 0,
            outbound: Vec::new(),
            write_from: 0,
        })
    }

    /// Does the TLS handshake; the next thing to send is a new stream header.
    pub(crate) async fn start_tls(&mut self, target: &Target) -> io::Result<()> {
        let transport = self.transport.take().ok_or(io::ErrorKind::NotConnected)?;
        self.transport = Some(transport.start_tls(target).await?);
        self.restart();
        Ok(())
    }

    /// Forgets the old stream: the server's next bytes open a new one.
    pub(crate) fn restart(&mut self) {
        self.framer = Framer::new();
    }

    /// What will be written; append whole elements.
    pub(crate) fn outbound(&mut self) -> &mut Vec<u8> {
        &mut self.outbound
    }

    /// Writes what is queued and waits for more bytes from the server, whichever it takes. Cancel safe.
    pub(crate) async fn turn(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_turn(cx)).await
    }

    /// Writes what is queued without waiting for the server to say anything.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.poll_write_out(cx) {
            // A server that itself waits for us to read must not wait for ever.
            Poll::Pending => match self.poll_read_in(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            },
            ready => ready,
        })
        .await
    }

    /// Waits for the next thing that the server says.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Received<'_>> {
        loop {
            if let Some(piece) = self.next_piece()? {
                return Ok(self.received(piece));
            }
            self.turn().await?;
        }
    }

    /// The next whole thing among the bytes read so far, and where to put an answer.
    pub(crate) fn take(&mut self) -> anyhow::Result<Option<(Received<'_>, &mut Vec<u8>)>> {
        let Some(piece) = self.next_piece()? else {
            return Ok(None);
        };
        Ok(Some(match piece {
            Piece::StreamOpen => (Received::StreamOpen, &mut self.outbound),
            Piece::Element(start, end) => (
                Received::Element(&self.inbound[start..end]),
                &mut self.outbound,
            ),
            Piece::StreamClose => (Received::StreamClose, &mut self.outbound),
        }))
    }

    fn received(&self, piece: Piece) -> Received<'_> {
        match piece {
            Piece::StreamOpen => Received::StreamOpen,
            Piece::Element(start, end) => Received::Element(&self.inbound[start..end]),
            Piece::StreamClose => Received::StreamClose,
        }
    }

    /// Cuts the next piece off the bytes read so far; gives their space back when none is whole.
    fn next_piece(&mut self) -> Result<Option<Piece>, XmlError> {
        loop {
            let start = self.read_from;
            match self.framer.push(&self.inbound[start..], &self.limits)? {
                Frame::Incomplete => {
                    self.inbound.drain(..start);
                    self.read_from = 0;
                    if self.inbound.is_empty() {
                        self.inbound.shrink_to(KEPT_BYTES);
                    }
                    return Ok(None);
                }
                Frame::Whitespace(n) => self.read_from += n,
                Frame::StreamOpen(n) => {
                    self.read_from += n;
                    return Ok(Some(Piece::StreamOpen));
                }
                Frame::Element(n) => {
                    self.read_from += n;
                    return Ok(Some(Piece::Element(start, start + n)));
                }
                Frame::StreamClose(n) => {
                    self.read_from += n;
                    return Ok(Some(Piece::StreamClose));
                }
            }
        }
    }

    /// Ends the stream politely, waiting a bounded time for the server's end; errors no longer matter.
    pub(crate) async fn close(mut self) {
        self.outbound.extend_from_slice(b"</stream:stream>");
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, async {
            while let Ok(Received::Element(_) | Received::StreamOpen) = self.receive().await {}
        })
        .await;
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_read_in(cx)
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbound.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let transport = self.transport.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while self.write_from < self.outbound.len() {
            let rest = &self.outbound[self.write_from..];
            match ready!(Pin::new(&mut *transport).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.write_from += n,
            }
        }
        ready!(Pin::new(transport).poll_flush(cx))?;
        self.outbound.clear();
        self.outbound.shrink_to(KEPT_BYTES);
        self.write_from = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_read_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let transport = self.transport.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut space = [0; READ_BYTES];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(transport).poll_read(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.inbound.extend_from_slice(buf.filled());
        Poll::Ready(Ok(()))
    }
}
