//! The driver of a connection with a session: bytes to stanzas to the node, and back.
//!
//! One of these futures lives as long as its connection, so it is small: while nothing happens it
//! holds the socket, the session's handle, counters and a deadline, and no buffer. Work with larger
//! needs (a turn of stanzas, the end of the stream) is boxed for its time.
//!
//! A turn reads what is there, handles its stanzas in order, then writes all that they and others
//! have caused in one go.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use posthaste_im::connection::{Connection, Outbound, Wire};
use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::ns;
use posthaste_proto::stanza::{Stanza, StanzaParseError};
use posthaste_proto::xml::{Element, Limits, StreamContext};

use crate::admission::Permit;
use crate::bucket::Bucket;
use crate::channel::Channel;
use crate::closing;
use crate::inbox::{Inbox, Piece};
use crate::negotiate::Negotiated;
use crate::outbox::Outbox;
use crate::shared::{Phase, Shared};
use crate::stats::count;
use crate::transport::Transport;
use crate::wheel::{Tick, Timer};

/// Rounds of fetching and writing output before others have their turn.
const WRITES_PER_TURN: usize = 4;

/// A bound session on its connection.
pub(crate) struct Session {
    connection: Connection,
    transport: Transport,
    inbox: Inbox,
    outbox: Outbox,
    context: StreamContext,
    shared: Arc<Shared>,
    permit: Permit,
    timer: Timer,
    bucket: Bucket,
    /// When bytes last came in.
    heard: Tick,
    /// When the client was asked whether it is there, if it has not been heard since.
    probed: Option<Tick>,
    /// Since when the unfinished element in the inbox has been coming.
    unfinished_since: Option<Tick>,
    /// Whole elements of an earlier read wait in the inbox.
    more_whole: bool,
    /// Reading waits because the client sends too fast.
    delayed: bool,
    /// Since when the client has taken no byte of what waits for it.
    stalled_since: Option<Tick>,
}

/// Why a session's connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed its stream.
    ByClient,
    /// The node closes the connection: the session was replaced or goes on elsewhere, or the store
    /// failed. It may be resumed, if the node says so.
    ByNode(StreamError),
    /// The client sent what deserves a stream error: its session is over.
    Error(StreamError),
    /// The connection counts as lost, though a last word may reach the client; the session may be
    /// resumed.
    Given(StreamCondition),
    /// The client closed its WebSocket and not its stream; the session may be resumed.
    SocketClose,
    /// The connection is lost; the session may be resumed.
    Lost,
}

impl End {
    /// The end that an error of the node's means. Its own faults and a session that has moved to
    /// another connection are no reason to end the session.
    fn of(error: StreamError) -> End {
        match error.condition {
            StreamCondition::InternalServerError | StreamCondition::Conflict => End::ByNode(error),
            _ => End::Error(error),
        }
    }
}

/// What a session waits for.
enum Event {
    /// Bytes have come in.
    Bytes,
    /// The node has to read from the log before it can go on writing.
    Work,
    /// The connection ends.
    End(End),
}

/// How far a turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// All whole elements that are in have been handled.
    Done,
    /// There are more, and it is others' turn.
    More,
}

impl Session {
    /// A session on the connection that negotiated it.
    pub(crate) fn new(negotiated: Negotiated) -> Session {
        let Negotiated {
            channel,
            connection,
            context,
        } = negotiated;
        let Channel {
            shared,
            permit,
            transport,
            inbox,
            outbox,
            ..
        } = channel;
        Session {
            connection,
            transport,
            inbox,
            outbox,
            context,
            permit,
            timer: Timer::new(&shared.wheel),
            bucket: Bucket::default(),
            heard: shared.wheel.now(),
            probed: None,
            unfinished_since: None,
            more_whole: false,
            delayed: false,
            stalled_since: None,
            shared,
        }
    }

    /// Serves the client until its connection has to end; [`Session::finish`] ends it.
    pub(crate) async fn run(&mut self) -> End {
        // What came with the last bytes of negotiation is handled first.
        let mut event = Event::Bytes;
        loop {
            match event {
                Event::Bytes => match Box::pin(self.turn()).await {
                    Ok(Turn::Done) => {}
                    Ok(Turn::More) => tokio::task::yield_now().await,
                    Err(end) => return end,
                },
                Event::Work => Box::pin(self.connection.work()).await,
                Event::End(end) => return end,
            }
            event = poll_fn(|context| self.poll_event(context)).await;
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        match self.shared.phase() {
            Phase::Open => {}
            Phase::Draining => {
                return Poll::Ready(Event::End(End::Given(StreamCondition::SystemShutdown)));
            }
            Phase::Closed => return Poll::Ready(Event::End(End::Lost)),
        }
        if let Poll::Ready(event) = self.poll_output(context) {
            return Poll::Ready(event);
        }
        if let Poll::Ready(event) = self.poll_input(context) {
            return Poll::Ready(event);
        }
        self.poll_overdue(context).map(Event::End)
    }

    /// Takes what the node has for the client and writes it, until one of them has no more.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        for _ in 0..WRITES_PER_TURN {
            let most = self.shared.config.limits.outbound_bytes;
            let mut wire = OutboxWire {
                outbox: &mut self.outbox,
                most,
            };
            let wanted = self.connection.poll_outbound(context, &mut wire);
            let full = wire.room() == 0;
            if let Poll::Ready(Outbound::Close(error)) = wanted {
                return Poll::Ready(Event::End(End::ByNode(error)));
            }
            match self.write(context) {
                Err(_) => return Poll::Ready(Event::End(End::Lost)),
                Ok(all) if wanted.is_ready() && (all || !full) => return Poll::Ready(Event::Work),
                Ok(true) if full => {}
                Ok(_) => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes; answers whether all has been taken.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = 0;
        let written = self
            .outbox
            .poll_write(&mut self.transport, context, &mut moved);
        count(&self.shared.stats.bytes_out, moved);
        match written {
            Poll::Ready(result) => {
                self.stalled_since = None;
                result.map(|()| true)
            }
            Poll::Pending => {
                if moved > 0 || self.stalled_since.is_none() {
                    self.stalled_since = Some(self.shared.wheel.now());
                }
                Ok(false)
            }
        }
    }

    /// Reads, unless elements of an earlier read wait, the client does not read itself, or it sends
    /// too fast.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if self.outbox.waiting() >= self.shared.config.limits.outbound_bytes {
            return Poll::Pending;
        }
        if self.more_whole {
            return Poll::Ready(Event::Bytes);
        }
        if let Some(rate) = self.shared.rate {
            let wait = self.bucket.wait(rate, self.shared.wheel.micros());
            let resume = self.shared.wheel.now().after(wait);
            if !wait.is_zero() && self.timer.poll_until(context, resume).is_pending() {
                if !self.delayed {
                    count(&self.shared.stats.rate_delays, 1);
                }
                self.delayed = true;
                return Poll::Pending;
            }
        }
        self.delayed = false;
        match self.inbox.poll_fill(&mut self.transport, context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Event::End(End::Lost)),
            Poll::Ready(Ok(read)) => {
                self.heard(read);
                Poll::Ready(Event::Bytes)
            }
        }
    }

    fn heard(&mut self, read: usize) {
        count(&self.shared.stats.bytes_in, read);
        if let Some(rate) = self.shared.rate {
            self.bucket.take(rate, self.shared.wheel.micros(), read);
        }
        self.heard = self.shared.wheel.now();
        self.probed = None;
    }

    /// Ready when one of the session's deadlines has passed; else the task is woken at the first.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let limits = &self.shared.config.limits;
        let stats = &self.shared.stats;
        if let Some(since) = self.stalled_since {
            if self
                .timer
                .poll_until(context, since.after(limits.write_stall))
                .is_ready()
            {
                count(&stats.write_stalls, 1);
                return Poll::Ready(End::Lost);
            }
            // The client has its own problem now; whether it is there shows when it reads.
            return Poll::Pending;
        }
        if let Some(since) = self.unfinished_since {
            let earned =
                self.inbox.waiting() as u64 / u64::from(limits.element_bytes_per_second.max(1));
            let time = limits.element_grace.max(Duration::from_secs(earned));
            if self.timer.poll_until(context, since.after(time)).is_ready() {
                count(&stats.slow_elements, 1);
                return Poll::Ready(End::Given(StreamCondition::ConnectionTimeout));
            }
        }
        if let Some(asked) = self.probed {
            if self
                .timer
                .poll_until(context, asked.after(limits.probe_timeout))
                .is_pending()
            {
                return Poll::Pending;
            }
            count(&stats.idle_timeouts, 1);
            return Poll::Ready(End::Given(StreamCondition::ConnectionTimeout));
        }
        if self
            .timer
            .poll_until(context, self.heard.after(limits.idle_probe))
            .is_ready()
        {
            self.probe();
            // What was asked has to be written, and a deadline to be set for the answer.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Asks a silent client for a sign of life.
    fn probe(&mut self) {
        let now = self.shared.wheel.now();
        if self.connection.probe() || self.outbox.ping() {
            self.probed = Some(now);
        } else {
            // No answer comes to white space. But if the client's machine is gone, nobody
            // acknowledges it, and the kernel ends the connection (TCP_USER_TIMEOUT).
            self.heard = now;
        }
    }

    /// Handles the whole elements that are in, in order.
    async fn turn(&mut self) -> Result<Turn, End> {
        let limits = self.limits();
        for handled in 0..self.shared.config.limits.stanzas_per_turn.max(1) {
            let piece = self.inbox.next(&limits);
            let piece = piece.map_err(|error| End::Error(error.stream_error()))?;
            let Some(piece) = piece else {
                self.inbox.settle();
                self.note_unfinished(handled > 0);
                self.more_whole = false;
                return Ok(Turn::Done);
            };
            match piece {
                Piece::Element(range) => self.element(range, &limits).await?,
                Piece::Close => return Err(End::ByClient),
                Piece::Ping(range) => self.outbox.pong(self.inbox.bytes(range)),
                Piece::SocketClose => return Err(End::SocketClose),
                // The framer gives one start tag for each stream, and that one has been taken.
                Piece::Open(_) => {
                    return Err(End::Error(StreamError::new(StreamCondition::BadFormat)));
                }
            }
        }
        self.more_whole = true;
        Ok(Turn::More)
    }

    fn limits(&self) -> Limits {
        Limits {
            stanza_bytes: self.shared.config.limits.stanza_bytes,
            ..Limits::default()
        }
    }

    fn note_unfinished(&mut self, some_finished: bool) {
        if !self.inbox.is_unfinished() {
            self.unfinished_since = None;
        } else if some_finished || self.unfinished_since.is_none() {
            self.unfinished_since = Some(self.shared.wheel.now());
        }
    }

    async fn element(&mut self, range: Range<usize>, limits: &Limits) -> Result<(), End> {
        let bytes = self.inbox.bytes(range);
        let done = match Stanza::parse(bytes, limits, &self.context) {
            Ok(stanza) => {
                count(&self.shared.stats.stanzas_in, 1);
                self.connection.receive(stanza).await
            }
            Err(StanzaParseError::Refused(refusal)) => {
                count(&self.shared.stats.stanzas_in, 1);
                self.connection.receive_refused(*refusal).await
            }
            Err(StanzaParseError::NotAStanza) => {
                let nonza = Element::parse_in(bytes, limits, &self.context);
                let nonza = nonza.map_err(|error| End::Error(error.into()))?;
                if self.outbox.is_web_socket() && nonza.is("close", ns::FRAMING) {
                    return Err(End::ByClient);
                }
                self.connection.receive_nonza(&nonza).await
            }
            Err(StanzaParseError::Xml(error)) => Err(error.into()),
        };
        done.map_err(End::of)
    }

    /// Tells the node and the client that this connection ends.
    pub(crate) async fn finish(mut self: Box<Self>, end: End) {
        let word = match end {
            End::ByClient => {
                // Answers to what came before the end of the stream still go out with it, also the one to an `<r/>`:
                // a client that sends something and leaves wants to know that it is safe.
                let patience = self.shared.config.limits.linger;
                let _ = tokio::time::timeout(patience, self.connection.settled()).await;
                poll_fn(|context| Poll::Ready(self.poll_output(context).is_ready())).await;
                self.connection.close().await;
                None
            }
            End::Error(error) => {
                self.connection.close().await;
                Some(error)
            }
            End::ByNode(error) => {
                self.connection.detach().await;
                Some(error)
            }
            End::Given(condition) => {
                self.connection.detach().await;
                Some(StreamError::new(condition))
            }
            End::SocketClose => {
                self.connection.detach().await;
                None
            }
            End::Lost => return self.connection.detach().await,
        };
        // The permit is given back when nothing of the connection is left.
        let Session {
            shared,
            transport,
            outbox,
            permit: _permit,
            ..
        } = *self;
        closing::close(&shared, transport, outbox, word.as_ref()).await;
    }
}

/// The outbox as the node sees it.
struct OutboxWire<'a> {
    outbox: &'a mut Outbox,
    most: usize,
}

impl Wire for OutboxWire<'_> {
    fn room(&self) -> usize {
        self.most.saturating_sub(self.outbox.waiting())
    }

    fn element(&mut self, xml: &[u8]) {
        self.outbox.element(xml);
    }

    fn element_by(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.outbox.element_by(write);
    }
}
