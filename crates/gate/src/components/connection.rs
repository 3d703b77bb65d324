//! One component's connection: the handshake, then stanzas both ways.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use posthaste_im::accounts;
use posthaste_im::border::Parcel;
use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::ns;
use posthaste_proto::stanza::{Stanza, StanzaParseError};
use posthaste_proto::stream::component::{self, Header};
use posthaste_proto::xml::{Element, Limits, OpenTag, StreamContext};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Place, Seat, away};
use crate::admission::Permit;
use crate::closing;
use crate::inbox::{Inbox, Piece};
use crate::outbox::Outbox;
use crate::shared::{Phase, Shared};
use crate::stats::count;
use crate::transport::Transport;
use crate::wheel::Timer;

/// A component's connection from its first byte to its last.
pub(crate) async fn serve(shared: Arc<Shared>, permit: Permit, peer: SocketAddr, tcp: TcpStream) {
    let mut link = Link {
        transport: Transport::Tcp(tcp),
        inbox: Inbox::stream(),
        outbox: Outbox::default(),
        written: Vec::new(),
        limits: Limits {
            stanza_bytes: shared.config.limits.element_bytes_before_login,
            ..Limits::default()
        },
        shared,
    };
    let patience = link.shared.config.limits.negotiation_timeout;
    let error = match timeout(patience, link.shake_hands(peer)).await {
        Ok(Ok((seat, context))) => {
            let domain = seat.place.config.domain.clone();
            tracing::info!(%domain, "a component is there");
            let error = link.attend(seat, &context).await;
            tracing::info!(%domain, reason = ?error, "a component is gone");
            error
        }
        Ok(Err(end)) => end,
        Err(_) => End::Error(StreamCondition::ConnectionTimeout.into()),
    };
    link.close(error).await;
    drop(permit);
}

/// Why a connection is over.
#[derive(Debug)]
enum End {
    /// The component has said goodbye.
    Goodbye,
    /// The network has, or nothing is taken any more.
    Gone,
    /// For this reason, which it is told.
    Error(StreamError),
}

impl From<StreamError> for End {
    fn from(error: StreamError) -> End {
        End::Error(error)
    }
}

impl From<StreamCondition> for End {
    fn from(condition: StreamCondition) -> End {
        End::Error(condition.into())
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

/// What happened on the socket.
enum Turn {
    Open(Vec<u8>),
    Element(Vec<u8>),
    Close,
    /// All that was to be written has been.
    Flushed,
}

struct Link {
    shared: Arc<Shared>,
    transport: Transport,
    inbox: Inbox,
    outbox: Outbox,
    /// What is in the outbox and not in the component's kernel yet; bounded by the outbox.
    written: Vec<Parcel>,
    limits: Limits,
}

impl Link {
    /// XEP-0114 §3: header, header, handshake. Answers the component's place.
    async fn shake_hands(&mut self, peer: SocketAddr) -> Result<(Seat, StreamContext), End> {
        let Turn::Open(tag) = self.turn().await? else {
            return Err(self.refuse("", StreamCondition::BadFormat));
        };
        let header = OpenTag::parse(&tag, &self.limits)
            .map_err(StreamError::from)
            .and_then(Header::read);
        let header = match header {
            Ok(header) => header,
            Err(error) => return Err(self.refuse("", error)),
        };
        let place = self.shared.components.place(&header.domain).cloned();
        let domain = header.domain.as_str();
        let Some(place) = place else {
            return Err(self.refuse(domain, StreamCondition::HostUnknown));
        };
        if place.line().is_some() {
            return Err(self.refuse(domain, StreamCondition::Conflict));
        }
        let id = self.shared.node.random_name();
        self.outbox.whole(&component::header(domain, &id));
        self.prove(&place, &id, peer).await?;
        // It may have come a second time meanwhile.
        let seat = place.occupy().ok_or(StreamCondition::Conflict)?;
        self.outbox.whole(component::ACCEPTED);
        self.limits.stanza_bytes = self.shared.config.limits.stanza_bytes;
        Ok((seat, header.context))
    }

    /// An error that comes before our header needs one to stand in.
    fn refuse(&mut self, domain: &str, error: impl Into<StreamError>) -> End {
        let id = self.shared.node.random_name();
        self.outbox.whole(&component::header(domain, &id));
        End::Error(error.into())
    }

    async fn prove(&mut self, place: &Place, id: &str, peer: SocketAddr) -> Result<(), End> {
        let element = loop {
            match self.turn().await? {
                Turn::Element(element) => break element,
                Turn::Flushed => {}
                Turn::Close => return Err(End::Goodbye),
                Turn::Open(_) => return Err(StreamCondition::BadFormat.into()),
            }
        };
        let shared = Arc::clone(&self.shared);
        let accounts = shared.node.accounts();
        // As for accounts: whoever guesses is slowed down.
        match accounts.admit(peer.ip(), None) {
            accounts::Admission::Now => {}
            accounts::Admission::After(wait) => tokio::time::sleep(wait).await,
            accounts::Admission::Refused => return Err(StreamCondition::PolicyViolation.into()),
        }
        let handshake = Element::parse(&element, ns::COMPONENT).map_err(StreamError::from)?;
        if component::is_proof(&handshake, id, &place.config.secret) {
            return Ok(());
        }
        accounts.login_failed(peer.ip(), None);
        tracing::warn!(domain = %place.config.domain, "a component showed a wrong secret");
        Err(StreamCondition::NotAuthorized.into())
    }

    /// Stanzas both ways, to the end.
    async fn attend(&mut self, mut seat: Seat, context: &StreamContext) -> End {
        let end = match self.exchange(&mut seat, context).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let left = seat.close();
        for parcel in self.written.drain(..).chain(left) {
            self.shared.node.give_back(parcel, away()).await;
        }
        end
    }

    async fn exchange(
        &mut self,
        seat: &mut Seat,
        context: &StreamContext,
    ) -> Result<std::convert::Infallible, End> {
        let shared = Arc::clone(&self.shared);
        let limits = &shared.config.limits;
        let mut timer = Timer::new(&shared.wheel);
        let draining = shared.reached(&mut timer, Phase::Draining);
        tokio::pin!(draining);
        loop {
            let until = Instant::now() + self.patience(limits.idle_probe, limits.write_stall);
            let has_room = self.outbox.waiting() < limits.outbound_bytes;
            tokio::select! {
                turn = self.turn() => match turn? {
                    Turn::Element(element) => self.stanza(seat, &element, context).await?,
                    Turn::Flushed => self.written.drain(..).for_each(|parcel| shared.node.delivered(parcel)),
                    Turn::Close => return Err(End::Goodbye),
                    Turn::Open(_) => return Err(StreamCondition::BadFormat.into()),
                },
                parcel = seat.next(), if has_room => {
                    self.outbox.element(&parcel.stanza.encode());
                    self.written.push(parcel);
                }
                () = &mut draining => return Err(StreamCondition::SystemShutdown.into()),
                () = sleep_until(until) => match self.outbox.waiting() {
                    // White space: if nobody is there, the kernel finds out.
                    0 => drop(self.outbox.ping()),
                    _ => return Err(End::Gone),
                },
            }
        }
    }

    /// How long nothing may happen: until we ask whether somebody is there, or give up waiting for them to read.
    fn patience(&self, idle: Duration, stall: Duration) -> Duration {
        match self.outbox.waiting() {
            0 => idle,
            _ => stall,
        }
    }

    async fn stanza(
        &mut self,
        seat: &Seat,
        element: &[u8],
        context: &StreamContext,
    ) -> Result<(), End> {
        let stanza = match Stanza::parse(element, &self.limits, context) {
            Ok(stanza) => stanza,
            Err(StanzaParseError::Xml(error)) => return Err(StreamError::from(error).into()),
            Err(StanzaParseError::NotAStanza) => {
                return Err(StreamCondition::UnsupportedStanzaType.into());
            }
            Err(StanzaParseError::Refused(refusal)) => {
                if let Some(reply) = refusal.reply {
                    self.outbox.element(&reply.encode());
                }
                return Ok(());
            }
        };
        // §3: both addresses; `from` of its own domain, and nothing else about it.
        let Some(from) = &stanza.from else {
            return Err(StreamCondition::ImproperAddressing.into());
        };
        if from.domain() != seat.place.config.domain.as_str() {
            return Err(StreamCondition::InvalidFrom.into());
        }
        self.shared.node.enter(stanza).await?;
        Ok(())
    }

    /// Writes what is to be written, and reads what comes, whatever is first. Can be dropped and called again.
    async fn turn(&mut self) -> Result<Turn, End> {
        loop {
            let piece = self
                .inbox
                .next(&self.limits)
                .map_err(|error| error.stream_error())?;
            match piece {
                Some(Piece::Open(range)) => {
                    return Ok(Turn::Open(self.inbox.bytes(range).to_vec()));
                }
                Some(Piece::Element(range)) => {
                    return Ok(Turn::Element(self.inbox.bytes(range).to_vec()));
                }
                Some(Piece::Close) => return Ok(Turn::Close),
                // Of WebSockets only.
                Some(Piece::Ping(_) | Piece::SocketClose) => return Err(End::Gone),
                None => self.inbox.settle(),
            }
            if self.flush_and_fill().await? {
                return Ok(Turn::Flushed);
            }
        }
    }

    /// Answers `true` when what was to be written has been, `false` when something was read.
    async fn flush_and_fill(&mut self) -> Result<bool, End> {
        let (mut moved, mut read) = (0, 0);
        let Link {
            inbox,
            outbox,
            transport,
            written,
            ..
        } = self;
        let done = poll_fn(|context| {
            let flushed = outbox.poll_write(transport, context, &mut moved)?;
            if flushed.is_ready() && !written.is_empty() {
                return Poll::Ready(Ok(true));
            }
            inbox.poll_fill(transport, context).map_ok(|count| {
                read = count;
                false
            })
        })
        .await;
        count(&self.shared.stats.bytes_out, moved);
        count(&self.shared.stats.bytes_in, read);
        match done {
            Ok(false) if read == 0 => Err(End::Gone),
            Ok(flushed) => Ok(flushed),
            Err(error) => Err(io::Error::into(error)),
        }
    }

    async fn close(mut self, end: End) {
        match &end {
            End::Gone => return,
            End::Goodbye => self.outbox.whole(&component::end(None)),
            End::Error(error) => {
                self.shared.stats.stream_error(error.condition.as_str());
                self.outbox.whole(&component::end(Some(error)));
            }
        }
        closing::hang_up(&self.shared, self.transport, self.outbox).await;
    }
}
