//! A TLS connection that keeps no buffers while nothing moves.
//!
//! rustls works here on buffers that are ours (its unbuffered interface): they are borrowed from
//! the pool while bytes are on the move. What stays of an idle connection are its keys and what
//! rustls knows about it; its own buffers would be 4 KiB more.
//!
//! A peer that sends or takes much is served by several records at once: fewer calls of the kernel for the same bytes.
//! One that is slow is not, so that little waits for it; for one that was fast and stops, four records do.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::server::{
    ServerConfig, ServerConnectionData, UnbufferedServerConnection,
};
use tokio_rustls::rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use tokio_rustls::rustls::{CommonState, Error};

use crate::pool;

/// Bytes of unfinished records and handshake messages that are kept: the longest handshake message
/// that rustls takes from anybody. A record is at most 18 KiB.
pub(super) const INCOMING_BYTES: usize = 64 * 1024;

/// Plaintext of one write: with what encryption adds it fits into a buffer of the pool.
const PLAINTEXT_BYTES: usize = pool::BUFFER_BYTES - RECORD_OVERHEAD;

/// Plaintext of one write to a peer that takes what it is sent: four records, which fit into a wide buffer.
const WIDE_PLAINTEXT_BYTES: usize = pool::WIDE_BYTES - 4 * RECORD_OVERHEAD;

/// Writes in a row that the kernel has to take at once before there are wide ones: more than it takes for a peer that
/// does not read.
const EASY_WRITES: u8 = 20;

/// What encryption adds to a record at most, a key update before it included.
const RECORD_OVERHEAD: usize = 128;

/// The server's side of TLS on a TCP connection.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    connection: UnbufferedServerConnection,
    /// Ciphertext that makes no whole record yet.
    incoming: Vec<u8>,
    /// Plaintext that a reader had no room for, from `taken` on.
    plaintext: Vec<u8>,
    taken: usize,
    /// Ciphertext to be written, from `written` on.
    outgoing: Vec<u8>,
    written: usize,
    /// The last read brought as much as it had room for.
    much_comes: bool,
    /// Writes in a row that the kernel took at once, up to [`EASY_WRITES`].
    easy_writes: u8,
    /// The peer has said that no more comes.
    ended: bool,
    /// We have.
    closing: bool,
    /// The peer has done what TLS does not forgive.
    broken: bool,
}

/// What is to be said, once the connection can say something.
#[derive(Clone, Copy)]
enum Word<'a> {
    Nothing,
    Plaintext(&'a [u8]),
    CloseNotify,
}

impl Word<'_> {
    fn say(
        self,
        mut traffic: WriteTraffic<'_, ServerConnectionData>,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match self {
            Word::Nothing => Ok(()),
            Word::Plaintext(text) => append(outgoing, text.len() + RECORD_OVERHEAD, |room| {
                traffic.encrypt(text, room)
            }),
            Word::CloseNotify => append(outgoing, 0, |room| traffic.queue_close_notify(room)),
        }
    }
}

impl TlsStream {
    /// The server's side of a connection from which `incoming` has been read. To be followed by
    /// [`TlsStream::poll_handshake`].
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn new(
        tcp: TcpStream,
        config: Arc<ServerConfig>,
        incoming: Vec<u8>,
    ) -> io::Result<TlsStream> {
        Ok(TlsStream {
            tcp,
            connection: UnbufferedServerConnection::new(config).map_err(invalid)?,
            incoming,
            plaintext: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            written: 0,
            much_comes: false,
            easy_writes: 0,
            ended: false,
            closing: false,
            broken: false,
        })
    }

    /// What the handshake has settled.
    pub(super) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// Bytes of memory that its buffers take.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.incoming.capacity() + self.plaintext.capacity() + self.outgoing.capacity()
    }

    /// Goes on with the handshake to its end.
    ///
    /// # Errors
    /// What the peer or the network did; the peer has been sent the alert.
    pub(super) fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut early = std::mem::take(&mut self.plaintext);
            let done = self.drive(context, &mut early, Word::Nothing);
            self.plaintext = early;
            done?;
            ready!(self.poll_send(context))?;
            if !self.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(poll_receive(&mut self.tcp, &mut self.incoming, context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads what is there to the end of `buffer`. 0 is the end that the peer has announced.
    pub(crate) fn poll_read_to(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.len();
        buffer.extend_from_slice(&self.plaintext[self.taken..]);
        self.taken = 0;
        pool::give(std::mem::take(&mut self.plaintext));
        if buffer.len() == before {
            ready!(self.poll_records(context, buffer, false))?;
        }
        Poll::Ready(Ok(buffer.len() - before))
    }

    /// Reads until there is plaintext, to the end of `buffer`; much at once, if it is `wide`.
    fn poll_records(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        wide: bool,
    ) -> Poll<io::Result<()>> {
        let before = buffer.len();
        while buffer.len() == before && !self.ended {
            let receive = if wide {
                poll_receive_much
            } else {
                poll_receive
            };
            let received = ready!(receive(&mut self.tcp, &mut self.incoming, context))?;
            if received == 0 {
                // An end that the peer has not announced may be somebody else's (RFC 8446 §6.1).
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.much_comes = received >= pool::BUFFER_BYTES;
            self.drive(context, buffer, Word::Nothing)?;
            // An answer of TLS' own, if there is one, goes out now or with the next write.
            let _: Poll<()> = self.poll_send(context)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes every whole record that has come: plaintext goes to the end of `buffer`, what is to be
    /// answered to `outgoing`. Then says `word`.
    fn drive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        word: Word<'_>,
    ) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let done = self.advance(buffer, word);
        pool::settle(&mut self.incoming, 0);
        done.map_err(|error| {
            self.broken = true;
            self.queue_alert();
            // Whether the peer learns the reason makes no difference to us.
            let _: Poll<io::Result<()>> = self.poll_send(context);
            invalid(error)
        })
    }

    fn advance(&mut self, buffer: &mut Vec<u8>, mut word: Word<'_>) -> Result<(), Error> {
        let mut used = 0;
        let done = loop {
            let UnbufferedStatus { discard, state } = self
                .connection
                .process_tls_records(&mut self.incoming[used..]);
            used += discard;
            let said = match state {
                Err(error) => break Err(error),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        buffer.extend_from_slice(record.payload);
                    }
                    Ok(())
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, 0, |room| data.encode(room))
                }
                // It is ours to transmit from here on.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    Ok(())
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    let word = std::mem::replace(&mut word, Word::Nothing);
                    break word.say(traffic, &mut self.outgoing);
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => break Ok(()),
                // Early data is not accepted, and there is no other state.
                Ok(_) => break Err(Error::General("a state of TLS not asked for".to_owned())),
            };
            if said.is_err() {
                break said;
            }
        };
        self.incoming.drain(..used);
        match (done, word) {
            (Ok(()), Word::Plaintext(_)) => Err(Error::General("TLS is over".to_owned())),
            (done, _) => done,
        }
    }

    /// After an error: what rustls has to say about it to the peer. It has sent all that came
    /// before, so this is one alert or nothing; to ask again would be to meet the error again.
    fn queue_alert(&mut self) {
        let status = self.connection.process_tls_records(&mut self.incoming);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
            // A peer that gets no alert sees the connection end, which says as much.
            let _ = append(&mut self.outgoing, 0, |room| data.encode(room));
        }
    }

    /// Writes what waits. Ready says that the kernel has all of it.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outgoing.len() {
            let rest = &self.outgoing[self.written..];
            match ready!(Pin::new(&mut self.tcp).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.written = 0;
        pool::give(std::mem::take(&mut self.outgoing));
        Poll::Ready(Ok(()))
    }

    fn say(&mut self, context: &mut Context<'_>, word: Word<'_>) -> io::Result<()> {
        let mut early = std::mem::take(&mut self.plaintext);
        let said = self.drive(context, &mut early, word);
        self.plaintext = early;
        said
    }
}

/// Reads ciphertext to the end of `incoming`. 0 is the end of the connection.
///
/// # Errors
/// The network's, and a message of the handshake longer than [`INCOMING_BYTES`].
pub(super) fn poll_receive(
    tcp: &mut TcpStream,
    incoming: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if incoming.len() >= INCOMING_BYTES {
        return Poll::Ready(Err(invalid("a TLS message is too long")));
    }
    pool::fill(incoming, |buffer| pin!(tcp.read_buf(buffer)).poll(context))
}

/// As [`poll_receive`], four times as much.
fn poll_receive_much(
    tcp: &mut TcpStream,
    incoming: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if incoming.len() >= INCOMING_BYTES {
        return Poll::Ready(Err(invalid("a TLS message is too long")));
    }
    pool::fill_wide(incoming, |buffer| pin!(tcp.read_buf(buffer)).poll(context))
}

pub(super) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Lets `write` write to the end of `outgoing`, into as much room as it wants; `guess` is how much
/// that may be.
fn append<E: WantsRoom>(
    outgoing: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    if outgoing.capacity() == 0 {
        *outgoing = if guess > pool::BUFFER_BYTES {
            pool::take_wide()
        } else {
            pool::take()
        };
    }
    let end = outgoing.len();
    let mut room = guess;
    // The second time it has said itself how much it wants.
    for _ in 0..2 {
        outgoing.resize(end + room, 0);
        match write(&mut outgoing[end..]) {
            Ok(written) => {
                outgoing.truncate(end + written);
                return Ok(());
            }
            Err(error) => match error.wanted() {
                Some(wanted) => room = wanted,
                None => break,
            },
        }
    }
    outgoing.truncate(end);
    Err(Error::EncryptError)
}

/// An error of rustls that may say how much room is wanted.
trait WantsRoom {
    fn wanted(&self) -> Option<usize>;
}

impl WantsRoom for EncodeError {
    fn wanted(&self) -> Option<usize> {
        match self {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Some(*required_size)
            }
            EncodeError::AlreadyEncoded => None,
        }
    }
}

impl WantsRoom for EncryptError {
    fn wanted(&self) -> Option<usize> {
        match self {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Some(*required_size)
            }
            EncryptError::EncryptExhausted => None,
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.plaintext.is_empty() {
            let wide = self.much_comes;
            let mut read = if wide {
                pool::take_wide()
            } else {
                pool::take()
            };
            let done = self.poll_records(context, &mut read, wide);
            if read.is_empty() {
                pool::give(read);
                return done;
            }
            self.plaintext = read;
        }
        let unread = &self.plaintext[self.taken..];
        let fitting = unread.len().min(buffer.remaining());
        buffer.put_slice(&unread[..fitting]);
        self.taken += fitting;
        if self.taken == self.plaintext.len() {
            self.taken = 0;
            pool::give(std::mem::take(&mut self.plaintext));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    /// Takes little, when all before it is with the kernel: what waits in memory for a peer that does not read is
    /// bounded by the gate, above this.
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context))?;
        let most = if self.easy_writes >= EASY_WRITES {
            WIDE_PLAINTEXT_BYTES
        } else {
            PLAINTEXT_BYTES
        };
        let taken = bytes.len().min(most);
        if taken > 0 {
            self.say(context, Word::Plaintext(&bytes[..taken]))?;
            self.easy_writes = if self.poll_send(context)?.is_ready() {
                (self.easy_writes + 1).min(EASY_WRITES)
            } else {
                0
            };
        }
        Poll::Ready(Ok(taken))
    }

    /// Small pieces go into one record; a large one is encrypted from where it is.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty()).peekable();
        let first = pieces.next().map_or(&[][..], |piece| piece);
        if first.len() >= PLAINTEXT_BYTES || pieces.peek().is_none() {
            return self.poll_write(context, first);
        }
        ready!(self.poll_send(context))?;
        let mut record = pool::take();
        record.extend_from_slice(first);
        for piece in pieces {
            let room = PLAINTEXT_BYTES - record.len();
            record.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        let done = self.as_mut().poll_write(context, &record);
        pool::give(record);
        done
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing && !self.broken {
            self.closing = true;
            self.say(context, Word::CloseNotify)?;
        }
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TlsStream").finish_non_exhaustive()
    }
}
