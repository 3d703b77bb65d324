//! What is on its way to one client: gathered in one buffer, written with as few calls as possible.
//!
//! The buffer comes from the pool and goes back when all is written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::pool;
use crate::transport::Transport;

/// See the module comment.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes before this have been written.
    written: usize,
}

impl Outbox {
    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Where to append what shall be written.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
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
