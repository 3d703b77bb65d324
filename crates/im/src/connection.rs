//! The gate's end of a session: stanzas go in, bytes come out.
//!
//! ```text
//! loop {
//!     on bytes from the client:  connection.receive(stanza).await / connection.receive_nonza(element).await
//!     whenever writable:         match connection.poll_outbound(cx, &mut wire) {
//!                                    Ready(Outbound::Work)  => connection.work().await,   // reads from the log
//!                                    Ready(Outbound::Close(error)) => send the error, drop the connection,
//!                                    Pending => all is written that can be; the waker is set }
//! }
//! at the end:  connection.close().await after </stream:stream>, connection.detach().await when the socket is gone
//! ```

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use posthaste_kv::Ticket;
use posthaste_proto::error::{Condition, StreamCondition, StreamError};
use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{Refusal, Stanza};
use posthaste_proto::stream::sm;
use posthaste_proto::xml::Element;

use crate::catch_up;
use crate::clock::Timestamp;
use crate::copies::Xml;
use crate::ext::mam;
use crate::home::Home;
use crate::node::Node;
use crate::pipeline;
use crate::session::{Item, Next, Session, StreamManagement, What};
use crate::walk::Walk;

/// Where a gate puts elements. Elements are whole; on TCP they follow each other, on WebSocket each is a frame.
pub trait Wire {
    /// How many bytes there is room for. An element may be longer than that if there is any room at all.
    fn room(&self) -> usize;
    /// Takes one element, in the default namespace `jabber:client`.
    fn element(&mut self, xml: &[u8]);
    /// As [`Wire::element`], for one that is put together by appending it to where it goes.
    fn element_by(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut xml = Vec::new();
        write(&mut xml);
        self.element(&xml);
    }
}

/// What [`Connection::poll_outbound`] asks of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound {
    /// Call [`Connection::work`], then poll again.
    Work,
    /// Send this stream error and close; then [`Connection::detach`].
    Close(StreamError),
}

/// `<r/>` as a constant: it is written after every burst.
const REQUEST: &[u8] = b"<r xmlns='urn:xmpp:sm:3'/>";
/// So many commits may be on their way for one session; then its next stanza waits, which is back-pressure enough.
const MAX_UNDURABLE: usize = 1024;

/// Acknowledgements that the client asked for and that wait for the disk. The first is not put off by later ones, or
/// a client that asks all the time would get none.
#[derive(Clone, Copy, Debug)]
struct AckWanted {
    first: Ticket,
    last: Ticket,
}

/// A bound session's connection. Dropping it (a task that panics does) counts as a lost connection.
#[derive(Debug)]
pub struct Connection {
    node: Arc<Node>,
    home: Arc<Home>,
    session: Arc<Session>,
    epoch: u32,
    /// Answers to nonzas, written before the queue.
    answers: Vec<Bytes>,
    /// What the client asked to have acknowledged.
    ack_wanted: Option<AckWanted>,
    /// Has the session been told that this connection is over?
    over: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What needs to wait is left to housekeeping.
        if let Some(deadline) = self.let_go() {
            self.node
                .expect_resumption(deadline, self.session.id, self.session.jid.clone());
        }
    }
}

impl Connection {
    pub(crate) fn new(
        node: Arc<Node>,
        home: Arc<Home>,
        session: Arc<Session>,
        epoch: u32,
    ) -> Connection {
        Connection {
            node,
            home,
            session,
            epoch,
            answers: Vec::new(),
            ack_wanted: None,
            over: false,
        }
    }

    /// The full JID of the session.
    pub fn jid(&self) -> &FullJid {
        &self.session.jid
    }

    /// Handles one stanza from the client. In order: the next one only when this has returned.
    ///
    /// # Errors
    /// The stream error that the client deserves; the connection is then to be closed.
    pub async fn receive(&mut self, mut stanza: Stanza) -> Result<(), StreamError> {
        self.admit().await?;
        self.node.stats.stanzas_in.count(stanza.kind);
        stamp_from(&mut stanza, self.jid())?;
        let session = self.session.clone();
        let _turn = session.turn.lock().await;
        if session.state().epoch != self.epoch {
            return Err(StreamError::new(StreamCondition::Conflict));
        }
        let ticket = self.walk(stanza).await;
        session.state().count_handled(ticket);
        Ok(())
    }

    /// A stanza came that cannot be processed: its sender is told, and it counts as handled, as the client counted it
    /// when it sent it (XEP-0198 §4).
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub async fn receive_refused(&mut self, refusal: Refusal) -> Result<(), StreamError> {
        self.admit().await?;
        let session = self.session.clone();
        let _turn = session.turn.lock().await;
        let limits = self.node.config().queue;
        let mut state = session.state();
        if state.epoch != self.epoch {
            return Err(StreamError::new(StreamCondition::Conflict));
        }
        if let Some(mut reply) = refusal.reply {
            reply.to = Some(self.jid().clone().into());
            let item = Item {
                what: What::Passing,
                xml: Some(reply.encode().into()),
                hold: false,
            };
            // Without room the client learns nothing, as if the network had lost the error.
            let _ = state.push(item, limits);
        }
        state.count_handled(Ticket::DURABLE);
        Ok(())
    }

    /// Waits while too much is on its way to the disk.
    async fn admit(&self) -> Result<(), StreamError> {
        let line = self.node.kv().line();
        line.room().await;
        let behind = {
            let mut state = self.session.state();
            state.durable_count(|ticket| line.is_durable(ticket));
            (state.undurable_len() >= MAX_UNDURABLE).then(|| state.last_ticket())
        };
        match behind {
            Some(ticket) => line.wait(ticket).await.map_err(|_| store_failed()),
            None if line.failed() => Err(store_failed()),
            None => Ok(()),
        }
    }

    /// The stanza's way through the sender's home and all that follows from it.
    async fn walk(&self, stanza: Stanza) -> Ticket {
        let node = &*self.node;
        let outcome = match self.home.lock(node).await {
            Ok(mut state) => {
                let mut walk =
                    Walk::new(node, &self.home, &mut state, stanza, Some(self.session.id));
                let outcome = pipeline::sent(&mut walk).await;
                walk.finish(outcome).await
            }
            Err(error) => Err((stanza, error)),
        };
        let (ticket, out) = outcome
            .unwrap_or_else(|(stanza, error)| (Ticket::DURABLE, node.refuse(&stanza, error)));
        ticket.max(node.route(out).await)
    }

    /// Handles a top-level element that is no stanza: stream management (XEP-0198) and client state (XEP-0352).
    ///
    /// # Errors
    /// The stream error that the client deserves.
    pub async fn receive_nonza(&mut self, nonza: &Element) -> Result<(), StreamError> {
        match (nonza.ns(), nonza.name()) {
            (ns::SM, _) => return self.receive_sm(sm::Nonza::parse(nonza)?).await,
            (ns::CSI, "active") => self.set_inactive(false),
            (ns::CSI, "inactive") => self.set_inactive(true),
            _ => return Err(StreamError::new(StreamCondition::UnsupportedStanzaType)),
        }
        Ok(())
    }

    async fn receive_sm(&mut self, nonza: sm::Nonza) -> Result<(), StreamError> {
        match nonza {
            sm::Nonza::Request => {
                let last = self.session.state().last_ticket();
                let first = self.ack_wanted.map_or(last, |wanted| wanted.first);
                self.ack_wanted = Some(AckWanted { first, last });
            }
            sm::Nonza::Ack(h) => self.acknowledged(h).await?,
            sm::Nonza::Enable(request) if self.session.state().sm.is_none() => {
                let enabled = self.enable_sm(request.resume, request.max_seconds);
                self.answer(&enabled.to_element());
            }
            // XEP-0198 §3: only once, and §5: only before a resource is bound.
            sm::Nonza::Enable(_) | sm::Nonza::Resume(_) => {
                self.answer(&sm::Failed::new(Condition::UnexpectedRequest).to_element());
            }
            // Only servers say these.
            sm::Nonza::Enabled(_) | sm::Nonza::Resumed(_) | sm::Nonza::Failed(_) => {
                return Err(StreamError::new(StreamCondition::UnsupportedStanzaType));
            }
        }
        Ok(())
    }

    fn answer(&mut self, element: &Element) {
        self.answers.push(element.to_bytes(ns::CLIENT).into());
        self.session.state().wake();
    }

    /// Enables stream management; Bind 2 does it inline (XEP-0386), others by `<enable/>`.
    pub fn enable_sm(&mut self, resume: bool, max_seconds: Option<u32>) -> sm::Enabled {
        let most = self.node.config().resume_seconds;
        let seconds = max_seconds.map_or(most, |wanted| wanted.min(most));
        let may_resume = resume && seconds > 0;
        let id = may_resume.then(|| self.node.random_name());
        let mut state = self.session.state();
        state.set_handled(0);
        state.sm = Some(Box::new(StreamManagement {
            id: id.as_deref().map(Box::from),
            resume_millis: if may_resume {
                u64::from(seconds) * 1000
            } else {
                0
            },
            ..StreamManagement::default()
        }));
        sm::Enabled {
            resume_id: id,
            max_seconds: may_resume.then_some(seconds),
        }
    }

    /// XEP-0280 by Bind 2: copies from the first stanza on.
    pub async fn enable_carbons(&mut self) {
        if let Ok(mut state) = self.home.lock(&self.node).await
            && let Some(attendee) = state.attendee_mut(self.session.id)
        {
            attendee.carbons = true;
        }
    }

    /// The ends of the archive (XEP-0313 §5), if the store can say.
    pub async fn archive_metadata(&self) -> Option<Element> {
        let state = self.home.lock(&self.node).await.ok()?;
        mam::archive_metadata(&self.node, &state).await.ok()
    }

    /// XEP-0352: the client is (in)active.
    pub fn set_inactive(&mut self, inactive: bool) {
        let limits = self.node.config().queue;
        self.session.state().set_inactive(inactive, limits);
    }

    async fn acknowledged(&mut self, h: u32) -> Result<(), StreamError> {
        let delivered = self.session.state().acked(h)?;
        if !delivered.is_empty() {
            catch_up::delivered(&self.node, &self.home, self.session.id, &delivered).await;
        }
        Ok(())
    }

    /// Writes what there is to write. See the module's loop.
    pub fn poll_outbound(&mut self, cx: &mut Context<'_>, wire: &mut dyn Wire) -> Poll<Outbound> {
        for answer in std::mem::take(&mut self.answers) {
            wire.element(&answer);
        }
        if let Poll::Ready(close) = self.poll_ack(cx, wire) {
            return Poll::Ready(close);
        }
        let limits = self.node.config().queue;
        let mut state = self.session.state();
        if state.epoch != self.epoch {
            return Poll::Ready(Outbound::Close(StreamError::new(StreamCondition::Conflict)));
        }
        while wire.room() > 0
            && let Next::Write(xml) = state.next_to_write()
        {
            match &xml {
                Xml::Own(xml) => wire.element(xml),
                Xml::Shared(shared) => {
                    wire.element_by(&mut |out| shared.write(&self.session.jid, out));
                }
            }
            state.wrote();
        }
        if wire.room() > 0 && state.wants_ack() {
            wire.element(REQUEST);
        } else if state.asks_later() {
            self.node.note_asks_later(self.session.clone());
        }
        if let Some(error) = &state.closing {
            return Poll::Ready(Outbound::Close((**error).clone()));
        }
        if wire.room() > 0 && state.needs_work(limits) {
            return Poll::Ready(Outbound::Work);
        }
        if !state
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Answers `<r/>` once all that it asks for is durable: an acknowledgement is a promise.
    fn poll_ack(&mut self, cx: &mut Context<'_>, wire: &mut dyn Wire) -> Poll<Outbound> {
        while let Some(AckWanted { first, last }) = self.ack_wanted {
            let line = self.node.kv().line();
            match line.poll_durable(cx, first) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(Outbound::Close(store_failed())),
                Poll::Ready(Ok(())) => {}
            }
            let h = self
                .session
                .state()
                .durable_count(|ticket| line.is_durable(ticket));
            wire.element(&sm::Nonza::Ack(h).to_element().to_bytes(ns::CLIENT));
            let first = last;
            self.ack_wanted = (!line.is_durable(last)).then_some(AckWanted { first, last });
        }
        Poll::Pending
    }

    /// Does what [`Outbound::Work`] asks for: reads from the log, accounts for what was written.
    pub async fn work(&mut self) {
        catch_up::work(&self.node, &self.home, &self.session).await;
    }

    /// The connection has been silent: asks the client for a sign of life. Answers false when stream management is off,
    /// so that the gate asks in another way.
    pub fn probe(&mut self) -> bool {
        let managed = self.session.state().sm.is_some();
        if managed {
            self.answers.push(Bytes::from_static(REQUEST));
            self.session.state().wake();
        }
        managed
    }

    /// Waits until the acknowledgement that the client has asked for can be given, or never will. The caller bounds it.
    pub async fn settled(&self) {
        if let Some(wanted) = self.ack_wanted {
            // A failed store is told of by the next `poll_outbound`.
            let _ = self.node.kv().line().wait(wanted.last).await;
        }
    }

    /// The client closed its stream: the session ends now (RFC 6120 §4.4).
    pub async fn close(mut self) {
        if self.let_go().is_some() {
            self.node.end_session(&self.home.jid, self.session.id).await;
        }
    }

    /// The connection is lost, or is being closed with an error: the session waits to be resumed, if it may be.
    pub async fn detach(mut self) {
        let Some(deadline) = self.let_go() else {
            return;
        };
        if deadline > self.node.now() {
            self.node
                .expect_resumption(deadline, self.session.id, self.session.jid.clone());
        } else {
            self.node.end_session(&self.home.jid, self.session.id).await;
        }
    }

    /// Takes this connection off its session. Answers when the session ends if nobody resumes it; `None` when it is no
    /// longer this connection's: another one has taken over, or it has ended.
    fn let_go(&mut self) -> Option<Timestamp> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        let now = self.node.now();
        let mut state = self.session.state();
        if state.epoch != self.epoch || state.ended {
            return None;
        }
        state.detach(now);
        Some(now.plus_millis(state.resume_millis()))
    }
}

fn store_failed() -> StreamError {
    StreamError::new(StreamCondition::InternalServerError)
}

/// RFC 6120 §8.1.2.1: whatever the client says, `from` is the full JID of its session; a false claim ends the stream.
fn stamp_from(stanza: &mut Stanza, own: &FullJid) -> Result<(), StreamError> {
    if let Some(claimed) = &stanza.from {
        let is_own = claimed.to_bare() == own.to_bare()
            && claimed
                .resource()
                .is_none_or(|resource| resource == own.resource());
        if !is_own {
            return Err(StreamError::new(StreamCondition::InvalidFrom));
        }
    }
    stanza.from = Some(own.clone().into());
    Ok(())
}
