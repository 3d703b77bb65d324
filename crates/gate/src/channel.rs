//! A connection before it has a session: elements in, bytes out, and the changes of transport that
//! negotiation makes. All waiting here is bounded by the time a client has to log in.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::xml::Limits;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;

use crate::admission::Permit;
use crate::closing;
use crate::http::HttpPeer;
use crate::inbox::{BadInput, Inbox, Piece};
use crate::outbox::Outbox;
use crate::shared::{Cut, Shared};
use crate::stats::{TransportKind, count};
use crate::tls::{self, TlsFacts, TlsUse};
use crate::transport::Transport;
use crate::wheel::{Tick, Timer};

/// What the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The start tag of a stream over TCP.
    Open(Vec<u8>),
    /// One whole element, not yet validated; over WebSocket one whole message, `<open/>` and
    /// `<close/>` included.
    Element(Vec<u8>),
    /// The end tag of a stream over TCP.
    Close,
}

/// Why nothing more comes from a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The peer or the network closed the connection, or a TLS handshake failed.
    #[error("the connection is lost: {0}")]
    Lost(#[from] io::Error),
    /// The peer sent what is no XMPP.
    #[error("the peer sent bad input: {0}")]
    BadInput(#[from] BadInput),
    /// The peer sent something behind `<starttls/>` without waiting for the handshake: it would be
    /// taken for protected (RFC 6120 §5.3.3).
    #[error("the peer sent plain text where TLS must begin")]
    PlainTextBeforeTls,
    /// The peer took too long.
    #[error("the time to log in is over")]
    Late,
    /// The gate is draining.
    #[error("the gate is closing")]
    Draining,
}

impl ChannelError {
    /// What to tell the peer; `None` if there is nobody to tell.
    pub(crate) fn stream_error(&self) -> Option<StreamError> {
        let condition = match self {
            ChannelError::Lost(_) | ChannelError::PlainTextBeforeTls => return None,
            ChannelError::BadInput(error) => return Some(error.stream_error()),
            ChannelError::Late => StreamCondition::ConnectionTimeout,
            ChannelError::Draining => StreamCondition::SystemShutdown,
        };
        Some(StreamError::new(condition))
    }
}

impl From<Cut> for ChannelError {
    fn from(cut: Cut) -> ChannelError {
        match cut {
            Cut::Late => ChannelError::Late,
            Cut::Draining => ChannelError::Draining,
        }
    }
}

/// See the module comment.
pub(crate) struct Channel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) permit: Permit,
    pub(crate) peer: SocketAddr,
    /// What TLS has proved; `None` without TLS.
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) transport: Transport,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    timer: Timer,
    deadline: Tick,
    limits: Limits,
}

impl Channel {
    /// A channel on an accepted connection. The time to log in begins.
    pub(crate) fn new(
        shared: Arc<Shared>,
        permit: Permit,
        peer: SocketAddr,
        tcp: TcpStream,
    ) -> Channel {
        let bounds = &shared.config.limits;
        Channel {
            permit,
            peer,
            tls: None,
            transport: Transport::Tcp(tcp),
            inbox: Inbox::stream(),
            outbox: Outbox::default(),
            timer: Timer::new(&shared.wheel),
            deadline: shared.wheel.now().after(bounds.negotiation_timeout),
            limits: Limits {
                stanza_bytes: bounds.element_bytes_before_login,
                ..Limits::default()
            },
            shared,
        }
    }

    /// A channel over a WebSocket, on a connection from which `unread` has been read with its HTTP
    /// request. The time to log in begins.
    pub(crate) fn web_socket(
        shared: Arc<Shared>,
        mut permit: Permit,
        peer: SocketAddr,
        tls: Option<TlsFacts>,
        transport: Transport,
        unread: &[u8],
    ) -> Channel {
        permit.becomes(TransportKind::WebSocket);
        Channel::framed(shared, permit, peer, tls, transport, unread)
    }

    /// A channel for the stream of a BOSH session, which is a WebSocket on a pipe. The connections
    /// of its requests come and go, so nothing can be bound to their TLS.
    pub(crate) fn inside(
        shared: Arc<Shared>,
        permit: Permit,
        peer: HttpPeer,
        pipe: DuplexStream,
    ) -> Channel {
        let tls = peer.secure.then(TlsFacts::default);
        let transport = Transport::Inside(pipe);
        Channel::framed(shared, permit, peer.address, tls, transport, b"")
    }

    fn framed(
        shared: Arc<Shared>,
        permit: Permit,
        peer: SocketAddr,
        tls: Option<TlsFacts>,
        transport: Transport,
        unread: &[u8],
    ) -> Channel {
        let bounds = &shared.config.limits;
        Channel {
            permit,
            peer,
            tls,
            transport,
            inbox: Inbox::web_socket(unread),
            outbox: Outbox::web_socket(),
            timer: Timer::new(&shared.wheel),
            deadline: shared.wheel.now().after(bounds.negotiation_timeout),
            limits: Limits {
                stanza_bytes: bounds.element_bytes_before_login,
                ..Limits::default()
            },
            shared,
        }
    }

    /// Whether elements stand in WebSocket messages.
    pub(crate) fn is_web_socket(&self) -> bool {
        self.outbox.is_web_socket()
    }

    /// Whether credentials may be shown: over TLS, or on loopback in development.
    pub(crate) fn is_secure(&self) -> bool {
        let is_local = self.peer.ip().to_canonical().is_loopback();
        self.tls.is_some() || (self.shared.config.plaintext_on_loopback && is_local)
    }

    /// Whether STARTTLS can be had now.
    pub(crate) fn offers_start_tls(&self) -> bool {
        self.permit.kind() == TransportKind::Tcp && self.shared.tls.is_some()
    }

    /// Queues `xml`, a whole element or a stream header. It is written by the next
    /// [`Channel::receive`] or [`Channel::flush`].
    pub(crate) fn send(&mut self, xml: &[u8]) {
        self.outbox.whole(xml);
    }

    /// Writes what is queued, then waits for the next thing the peer sends.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub(crate) async fn receive(&mut self) -> Result<Received, ChannelError> {
        loop {
            if let Some(piece) = self.inbox.next(&self.limits)? {
                match piece {
                    Piece::Open(range) => {
                        return Ok(Received::Open(self.inbox.bytes(range).to_vec()));
                    }
                    Piece::Element(range) => {
                        return Ok(Received::Element(self.inbox.bytes(range).to_vec()));
                    }
                    Piece::Close => return Ok(Received::Close),
                    Piece::Ping(range) => self.outbox.pong(self.inbox.bytes(range)),
                    Piece::SocketClose => {
                        return Err(ChannelError::Lost(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                continue;
            }
            self.inbox.settle();
            self.flush().await?;
            self.fill().await?;
        }
    }

    /// As [`Channel::receive`], after the gate has begun to drain, when nothing is waited for any
    /// more. Writes nothing; bound its time.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub(crate) async fn receive_while_draining(&mut self) -> Result<Received, ChannelError> {
        loop {
            match self.inbox.next(&self.limits)? {
                Some(Piece::Element(range)) => {
                    return Ok(Received::Element(self.inbox.bytes(range).to_vec()));
                }
                Some(_) => return Ok(Received::Close),
                None => {}
            }
            self.inbox.settle();
            let (inbox, transport) = (&mut self.inbox, &mut self.transport);
            if poll_fn(|context| inbox.poll_fill(transport, context)).await? == 0 {
                return Ok(Received::Close);
            }
        }
    }

    async fn fill(&mut self) -> Result<(), ChannelError> {
        let (inbox, transport) = (&mut self.inbox, &mut self.transport);
        let reading = poll_fn(|context| inbox.poll_fill(transport, context));
        let read = self
            .shared
            .bounded(&mut self.timer, self.deadline, reading)
            .await??;
        count(&self.shared.stats.bytes_in, read);
        match read {
            0 => Err(ChannelError::Lost(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub(crate) async fn flush(&mut self) -> Result<(), ChannelError> {
        let (outbox, transport) = (&mut self.outbox, &mut self.transport);
        let mut moved = 0;
        let writing = poll_fn(|context| outbox.poll_write(transport, context, &mut moved));
        let written = self
            .shared
            .bounded(&mut self.timer, self.deadline, writing)
            .await;
        count(&self.shared.stats.bytes_out, moved);
        Ok(written??)
    }

    /// Expects a new stream on the same connection (RFC 6120 §4.3.3).
    pub(crate) fn restart(&mut self) {
        self.inbox.restart();
    }

    /// Begins TLS with a client after `<proceed/>` has been queued. `stream_host` chooses the
    /// certificate for clients that name no host in SNI.
    ///
    /// # Errors
    /// See [`ChannelError`]; then there is nobody left to talk to.
    pub(crate) async fn start_tls(&mut self, stream_host: &str) -> Result<(), ChannelError> {
        self.before_tls().await?;
        self.secure(TlsUse::StartTls, Some(stream_host)).await?;
        self.permit.becomes(TransportKind::StartTls);
        self.restart();
        Ok(())
    }

    /// As [`Channel::start_tls`], with a server that has connected to us.
    ///
    /// # Errors
    /// See [`ChannelError`]; then there is nobody left to talk to.
    pub(crate) async fn start_tls_with_server(&mut self, host: &str) -> Result<(), ChannelError> {
        self.before_tls().await?;
        self.secure(TlsUse::ServerStartTls, Some(host)).await?;
        self.restart();
        Ok(())
    }

    /// Begins TLS with the server of `domain`, to which we have connected, in the name of our host
    /// `own`.
    ///
    /// # Errors
    /// See [`ChannelError`]; then there is nobody left to talk to.
    pub(crate) async fn connect_tls(
        &mut self,
        purpose: TlsUse,
        own: &str,
        domain: &str,
    ) -> Result<(), ChannelError> {
        self.before_tls().await?;
        let tcp = self.take_tcp()?;
        let store = self.shared.tls.clone().ok_or_else(unsupported)?;
        let handshake = tls::connect(tcp, &store, purpose, own, domain);
        let (stream, facts) = self.handshake(Box::pin(handshake)).await?;
        self.transport = Transport::TlsOut(stream);
        self.tls = Some(facts);
        self.restart();
        Ok(())
    }

    /// What came before TLS must not be taken for what comes in it.
    async fn before_tls(&mut self) -> Result<(), ChannelError> {
        // COMPAT(go-sendxmpp, go-xmpp of 2022): a line ends after `<starttls/>`, which RFC 6120 §5.3.3 forbids. It carries
        // nothing, and does not outlive this.
        self.inbox.skip_space();
        if self.inbox.waiting() > 0 {
            return Err(ChannelError::PlainTextBeforeTls);
        }
        self.flush().await?;
        self.inbox.settle();
        Ok(())
    }

    /// Begins TLS.
    ///
    /// # Errors
    /// See [`ChannelError`]; then there is nobody left to talk to.
    pub(crate) async fn secure(
        &mut self,
        purpose: TlsUse,
        stream_host: Option<&str>,
    ) -> Result<(), ChannelError> {
        let tcp = self.take_tcp()?;
        let store = self.shared.tls.clone().ok_or_else(unsupported)?;
        let handshake = tls::accept(tcp, &store, purpose, stream_host);
        let (stream, facts) = self.handshake(Box::pin(handshake)).await?;
        self.transport = Transport::Tls(stream);
        self.tls = Some(facts);
        Ok(())
    }

    fn take_tcp(&mut self) -> Result<TcpStream, ChannelError> {
        match std::mem::replace(&mut self.transport, Transport::Gone) {
            Transport::Tcp(tcp) => Ok(tcp),
            Transport::Tls(_) | Transport::TlsOut(_) | Transport::Inside(_) | Transport::Gone => {
                Err(unsupported().into())
            }
        }
    }

    /// Waits for a handshake as long as one may take.
    async fn handshake<T>(
        &mut self,
        handshake: impl Future<Output = io::Result<T>>,
    ) -> Result<T, ChannelError> {
        let shared = &self.shared;
        let limits = &shared.config.limits;
        let until = shared.wheel.now().after(limits.handshake_timeout);
        let until = until.min(self.deadline);
        let done = shared.bounded(&mut self.timer, until, handshake).await;
        let done = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        Ok(done.inspect_err(|error| {
            count(&shared.stats.tls_failures, 1);
            tracing::debug!(%error, "a TLS handshake failed");
        })?)
    }

    /// The peer has proved who it is: from now on its elements may be as long as stanzas.
    pub(crate) fn expect_stanzas(&mut self) {
        self.limits.stanza_bytes = self.shared.config.limits.stanza_bytes;
    }

    /// Bounds of an element now.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// All waiting from now on is bounded by `time`.
    pub(crate) fn wait_at_most(&mut self, time: Duration) {
        self.deadline = self.shared.wheel.now().after(time);
    }

    /// Waits for `work` of another kind as long as the client may take to log in.
    ///
    /// # Errors
    /// The time is over, or the gate drains.
    pub(crate) async fn bounded<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, ChannelError> {
        Ok(self
            .shared
            .bounded(&mut self.timer, self.deadline, work)
            .await?)
    }

    /// Writes what is queued, within a time of its own, and closes the connection.
    pub(crate) async fn hang_up(self) {
        closing::hang_up(&self.shared, self.transport, self.outbox).await;
    }
}

/// Nobody asks for TLS without a certificate, or twice.
fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
