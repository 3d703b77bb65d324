//! The byte stream under a connection: TCP, TLS on it, or a pipe.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client;

use crate::tls::TlsStream;

/// A connected byte stream. TLS is boxed: its state is 1.2 KiB, and a plain connection has none.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    /// A pipe inside of this process: the stream of a BOSH session.
    Inside(DuplexStream),
    /// TLS that we have begun, to another server.
    TlsOut(Box<client::TlsStream<TcpStream>>),
    /// Closed, in a handshake or given to somebody else.
    Gone,
}

impl Transport {
    /// Reads what is there to the end of `buffer`: about as much as it has room for. 0 is the end.
    pub(crate) fn poll_read_to(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Transport::Tcp(stream) => pin!(stream.read_buf(buffer)).poll(context),
            Transport::Tls(stream) => stream.poll_read_to(context, buffer),
            Transport::Inside(stream) => pin!(stream.read_buf(buffer)).poll(context),
            Transport::TlsOut(stream) => pin!(stream.read_buf(buffer)).poll(context),
            Transport::Gone => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Inside(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::TlsOut(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Inside(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::TlsOut(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Transport::Inside(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Transport::TlsOut(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Transport::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
            Transport::Inside(stream) => stream.is_write_vectored(),
            Transport::TlsOut(stream) => stream.is_write_vectored(),
            Transport::Gone => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
            Transport::Inside(stream) => Pin::new(stream).poll_flush(context),
            Transport::TlsOut(stream) => Pin::new(stream).poll_flush(context),
            Transport::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Inside(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::TlsOut(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Gone => Poll::Ready(Ok(())),
        }
    }
}
