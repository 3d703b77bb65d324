//! Sessions come and go: binding a resource (RFC 6120 §7), resuming a session (XEP-0198 §5), ending one.

use std::sync::Arc;

use posthaste_kv::Ticket;
use posthaste_proto::error::{StanzaError, StreamCondition, StreamError};
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::stanza::{IqType, Kind, PresenceType, Stanza};
use thiserror::Error;

use crate::catch_up;
use crate::codec;
use crate::connection::Connection;
use crate::copies::Xml;
use crate::devices::{self, Introduction};
use crate::error::WalkError;
use crate::home::{Attendee, HomeState};
use crate::node::Node;
use crate::pipeline;
use crate::router::Envelope;
use crate::session::{Item, Lag, Session, SessionId, What};
use crate::walk::Walk;

/// Which resource a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceWish {
    /// This one. An older session with the same resource is closed with `<conflict/>` (RFC 6120 §7.7.2.2).
    Exactly(String),
    /// One that the server makes up.
    Any,
    /// One that the server makes up and that starts with this tag (XEP-0386 §3.2).
    Tagged(String),
}

/// Why a resource could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// The resource is no resourcepart.
    #[error("the resource is not well-formed")]
    BadResource,
    /// The account has as many sessions as it may have.
    #[error("the account has too many sessions")]
    TooMany,
    /// The account is gone.
    #[error("there is no such account")]
    NoAccount,
    /// The store did not do its part.
    #[error(transparent)]
    Walk(#[from] WalkError),
}

/// Why a session could not be resumed.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// It is not known here (any more).
    #[error("there is no such session")]
    NotFound,
    /// The client claims to have received more than was sent.
    #[error("the client acknowledged too much")]
    TooHigh(StreamError),
    /// The store failed, so that nothing can be promised.
    #[error(transparent)]
    Walk(#[from] WalkError),
}

impl Node {
    /// Binds a resource to an authenticated account.
    ///
    /// # Errors
    /// See [`BindError`]; nothing has changed then.
    pub async fn bind(
        self: &Arc<Node>,
        account: &BareJid,
        wish: &ResourceWish,
    ) -> Result<Connection, BindError> {
        self.bind_as(account, wish, None).await
    }

    async fn bind_as(
        self: &Arc<Node>,
        account: &BareJid,
        wish: &ResourceWish,
        client: Option<&Introduction>,
    ) -> Result<Connection, BindError> {
        let resource = match wish {
            ResourceWish::Exactly(resource) => resource.clone(),
            ResourceWish::Any => self.random_name(),
            ResourceWish::Tagged(tag) => format!("{tag}/{}", self.random_name()),
        };
        let jid = account
            .with_resource(&resource)
            .map_err(|_| BindError::BadResource)?;
        let home = self.home(account);
        let old = {
            let state = home.lock(self).await?;
            state
                .resource(jid.resource())
                .map(|attendee| attendee.session.clone())
        };
        if let Some(old) = old {
            old.state()
                .close(StreamError::new(StreamCondition::Conflict));
            self.end_session(account, old.id).await;
        }
        let mut state = home.lock(self).await?;
        // It may have been disabled since its password was checked.
        let is_disabled = self.accounts().is_disabled(account).await;
        if !state.has_account || is_disabled.map_err(WalkError::from)? {
            return Err(BindError::NoAccount);
        }
        if state.sessions.len() >= self.config().sessions_per_account {
            return Err(BindError::TooMany);
        }
        let session = Arc::new(Session::new(jid, self.next_session_id()));
        let mut attendee = Attendee::new(session.clone());
        if let Some(client) = client {
            devices::register(self, &mut state, client, session.id).await?;
            attendee.client = Some(client.id.as_str().into());
        }
        state.sessions.push(attendee);
        state.sessions.shrink_to_fit();
        drop(state);
        self.stats.sessions_bound.count();
        Ok(Connection::new(self.clone(), home, session, 0))
    }

    /// As [`Node::bind`], for a client that names its installation (XEP-0386 §4): sessions that the same client has left
    /// behind end first, and what they had not taken is for the new one. It is a device of the account from now on.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind_client(
        self: &Arc<Node>,
        account: &BareJid,
        wish: &ResourceWish,
        client: &Introduction,
    ) -> Result<Connection, BindError> {
        let home = self.home(account);
        let left: Vec<Arc<Session>> = {
            let state = home.lock(self).await?;
            let same =
                |attendee: &&Attendee| attendee.client.as_deref().is_some_and(|id| id == client.id);
            let same = state.sessions.iter().filter(same);
            same.map(|attendee| attendee.session.clone()).collect()
        };
        for session in left {
            session
                .state()
                .close(StreamError::new(StreamCondition::Conflict));
            self.end_session(account, session.id).await;
        }
        self.bind_as(account, wish, Some(client)).await
    }

    /// Takes up a session again. Answers the connection and how many stanzas of the client are handled and durable.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub async fn resume(
        self: &Arc<Node>,
        account: &BareJid,
        previd: &str,
        h: u32,
    ) -> Result<(Connection, u32), ResumeError> {
        let home = self.home(account);
        let session = {
            let state = home.lock(self).await?;
            let has_id = |attendee: &&Attendee| {
                attendee
                    .session
                    .state()
                    .sm
                    .as_ref()
                    .is_some_and(|sm| sm.id.as_deref() == Some(previd))
            };
            state
                .sessions
                .iter()
                .find(has_id)
                .map(|attendee| attendee.session.clone())
        };
        let session = session.ok_or(ResumeError::NotFound)?;
        // A stanza that the old connection is handling is counted before the client is told the count.
        let turn = session.turn.lock().await;
        let (epoch, handled, ticket, delivered) = {
            let mut state = session.state();
            if state.ended {
                return Err(ResumeError::NotFound);
            }
            let delivered = state.acked(h).map_err(ResumeError::TooHigh)?;
            (
                state.attach(self.config().queue),
                state.handled(),
                state.last_ticket(),
                delivered,
            )
        };
        drop(turn);
        catch_up::delivered(self, &home, session.id, &delivered).await;
        self.kv()
            .line()
            .wait(ticket)
            .await
            .map_err(|failed| WalkError::Store(failed.into()))?;
        self.stats.sessions_resumed.count();
        Ok((Connection::new(self.clone(), home, session, epoch), handled))
    }

    /// Ends a session: the others see it go, and what it has not taken goes back.
    pub async fn end_session(&self, account: &BareJid, id: SessionId) {
        let home = self.home(account);
        let outcome = match home.lock(self).await {
            Ok(mut state) => {
                let Some(attendee) = state.attendee(id) else {
                    return;
                };
                let session = attendee.session.clone();
                if session.state().ended {
                    return;
                }
                let gone = gone_presence(&session.jid);
                let mut walk = Walk::new(self, &home, &mut state, gone, Some(id));
                let outcome = pipeline::session_ended(&mut walk).await;
                let outcome = walk.finish(outcome).await;
                let errors = self.hand_back(&mut state, &session);
                state.sessions.retain(|attendee| attendee.session.id != id);
                pass_on(&mut state);
                outcome.map(|(ticket, mut out)| {
                    out.extend(errors);
                    (ticket, out)
                })
            }
            Err(error) => Err((gone_presence_of(account), error)),
        };
        self.stats.sessions_ended.count();
        let (_, out): (Ticket, Vec<Envelope>) = outcome
            .unwrap_or_else(|(stanza, error)| (Ticket::DURABLE, self.refuse(&stanza, error)));
        Box::pin(self.route(out)).await;
    }

    /// What a session did not take: log entries wait again, requests are answered with an error.
    fn hand_back(&self, state: &mut HomeState, session: &Session) -> Vec<Envelope> {
        let (items, lag) = session.state().end();
        let (written, heard) = {
            let mut queue = session.state();
            (queue.take_written_unmanaged(), queue.take_heard())
        };
        state.note_taken(session.id, &written);
        state.note_heard(session.id, &heard);
        if let Some(Lag { since, .. }) = lag {
            // What it had not looked at yet still waits; what others took meanwhile is known as taken.
            state.delivery.wait_after(since);
        }
        let mut errors = Vec::new();
        for Item { what, xml, .. } in items {
            if let Some(taken) = what.taken() {
                state.note_handed_back(session.id, taken);
            }
            if what == What::Iq {
                errors.extend(self.undeliverable(xml));
            }
        }
        if state.drainer == Some(session.id) {
            state.drainer = None;
            // After all that it gives back: what devices took of it meanwhile waits for nobody.
            state.delivery.drainer_left();
        }
        if let Some(device) = state.device(session.id) {
            device.session = None;
        }
        errors
    }

    fn undeliverable(&self, xml: Option<Xml>) -> Vec<Envelope> {
        // Requests are nobody else's.
        let Some(Xml::Own(xml)) = xml else {
            return Vec::new();
        };
        let Ok(stanza) = codec::stanza(&xml) else {
            return Vec::new();
        };
        match stanza.kind {
            Kind::Iq(IqType::Get | IqType::Set) => {
                self.refuse(&stanza, StanzaError::service_unavailable().into())
            }
            _ => Vec::new(),
        }
    }
}

/// What waits again is for the next session that takes messages, if there is one.
fn pass_on(state: &mut HomeState) {
    let next = state
        .sessions
        .iter()
        .find(|attendee| attendee.takes_messages())
        .map(|attendee| attendee.session.clone());
    if let Some(next) = next {
        catch_up::begin(state, &next);
    }
}

fn gone_presence(jid: &FullJid) -> Stanza {
    let mut gone = Stanza::new(Kind::Presence(PresenceType::Unavailable));
    gone.from = Some(jid.clone().into());
    gone
}

fn gone_presence_of(account: &BareJid) -> Stanza {
    let mut gone = Stanza::new(Kind::Presence(PresenceType::Unavailable));
    gone.from = Some(account.clone().into());
    gone
}
