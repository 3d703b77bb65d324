//! Brings stanzas to their homes: one queue, forward only. What a stanza causes is put at the end of the queue, so that
//! no home ever waits for another one. This is where a cluster's bus will stand; on one node it is a function call.

use std::collections::VecDeque;
use std::sync::Arc;

use posthaste_kv::Ticket;
use posthaste_proto::jid::{BareJid, FullJid, Jid};
use posthaste_proto::stanza::{PresenceType, Stanza};

use crate::copies::{Asleep, Shared};
use crate::error::WalkError;
use crate::ext::{host, services};
use crate::node::Node;
use crate::outbox::Stored;
use crate::pipeline;
use crate::walk::Walk;

/// A stanza on its way to the home of its `to`.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// With `from` and `to`.
    pub stanza: Stanza,
    /// How many stanzas led to this one.
    pub hops: u8,
    /// Where it is stored until it has arrived, if it is.
    pub stored: Option<Stored>,
    /// Is it more than one stanza to one address?
    pub many: Option<Many>,
}

/// What one envelope brings that is many stanzas ([`crate::copies`]).
#[derive(Clone, Debug)]
pub enum Many {
    /// The stanza goes to these sessions instead of its `to`.
    Sessions(Arc<[FullJid]>),
    /// These presences go to one session, instead of the stanza, which says only from which room and to whom.
    Crowd(FullJid, Vec<Arc<Shared>>),
}

/// Where the stanzas to an address are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the home of an account of ours.
    Home,
    /// By the server itself.
    Host,
    /// By a service of ours with a domain of its own.
    Service,
    /// Beyond the border ([`crate::border`]).
    Beyond,
}

/// An answer to an answer to an answer: nothing in XMPP goes further, so that a longer chain is a loop of ours.
const MAX_HOPS: u8 = 8;
/// After so many walks in a row other tasks get a turn.
const WALKS_PER_TURN: usize = 32;

impl Node {
    /// Brings stanzas to their homes, and what they cause to theirs. The ticket covers all that was written.
    pub async fn route(&self, out: Vec<Envelope>) -> Ticket {
        let mut queue = VecDeque::from(out);
        let mut covering = Ticket::DURABLE;
        let mut walks = 0;
        while let Some(envelope) = queue.pop_front() {
            let hops = envelope.hops + 1;
            if hops > MAX_HOPS {
                tracing::error!(
                    "a stanza caused a stanza caused a stanza, {MAX_HOPS} times: dropped"
                );
                continue;
            }
            let (ticket, caused) = self.bring(envelope).await;
            covering = covering.max(ticket);
            queue.extend(caused.into_iter().map(|next| Envelope { hops, ..next }));
            walks += 1;
            if walks % WALKS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        covering
    }

    async fn bring(&self, envelope: Envelope) -> (Ticket, Vec<Envelope>) {
        let Envelope {
            stanza,
            stored,
            many,
            ..
        } = envelope;
        if let Some(many) = many {
            let mut asleep = Asleep::default();
            let brought = self.bring_many(stanza, many, &mut asleep).await;
            asleep.wake().await;
            return brought;
        }
        let Some(to) = stanza.to.clone() else {
            tracing::error!("a stanza without an address came to the router: dropped");
            return (Ticket::DURABLE, Vec::new());
        };
        let outcome = match self.place(&to) {
            Place::Beyond => {
                // Whether and when it has arrived is known there.
                return (Ticket::DURABLE, self.send_beyond(&to, stanza, stored));
            }
            Place::Host => host::receive(self, stanza)
                .await
                .map(|caused| (Ticket::DURABLE, caused)),
            Place::Service => services::receive(self, &to, stanza).await,
            Place::Home => self.bring_home(&to, stanza).await,
        };
        self.brought(outcome, stored)
    }

    /// Brings what one room has said to those it is for, one after another, and answers what that caused. Only homes of
    /// accounts are entered here: whoever waits to be next cannot be waited for. The sessions in `asleep` are to be woken
    /// after that.
    pub(crate) async fn bring_in_order(
        &self,
        out: Vec<Envelope>,
        asleep: &mut Asleep,
    ) -> (Ticket, Vec<Envelope>) {
        let (mut covering, mut caused) = (Ticket::DURABLE, Vec::new());
        for (walks, envelope) in out.into_iter().enumerate() {
            let (ticket, more) = match envelope {
                Envelope {
                    many: Some(many),
                    stanza,
                    ..
                } => self.bring_many(stanza, many, asleep).await,
                single => self.bring_to_account(single).await,
            };
            covering = covering.max(ticket);
            caused.extend(more);
            if (walks + 1) % WALKS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        (covering, caused)
    }

    /// Brings a stanza to the account or beyond the border; what is for anybody else is answered.
    pub(crate) async fn bring_to_account(&self, envelope: Envelope) -> (Ticket, Vec<Envelope>) {
        let place = envelope.stanza.to.clone().map(|to| (self.place(&to), to));
        match place {
            Some((Place::Home, to)) => {
                let outcome = self.bring_home(&to, envelope.stanza).await;
                self.brought(outcome, envelope.stored)
            }
            Some((Place::Beyond, to)) => {
                let caused = self.send_beyond(&to, envelope.stanza, envelope.stored);
                (Ticket::DURABLE, caused)
            }
            Some((Place::Host | Place::Service, _)) | None => (Ticket::DURABLE, vec![envelope]),
        }
    }

    fn brought(
        &self,
        outcome: Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)>,
        stored: Option<Stored>,
    ) -> (Ticket, Vec<Envelope>) {
        let (ticket, caused) = outcome
            .unwrap_or_else(|(stanza, error)| (Ticket::DURABLE, self.refuse(&stanza, error)));
        if let Some(stored) = stored
            && let Err(error) = stored.arrived(self.kv())
        {
            tracing::warn!(%error, "a stored stanza that has arrived could not be deleted: it will be sent again");
        }
        (ticket, caused)
    }

    /// By its domain first.
    pub(crate) fn place(&self, to: &Jid) -> Place {
        let config = self.config();
        if config.host(to.domain()).is_none() {
            return match config.service(to.domain()) {
                Some(_) => Place::Service,
                None => Place::Beyond,
            };
        }
        match to.local() {
            Some(_) => Place::Home,
            None => Place::Host,
        }
    }

    async fn bring_home(
        &self,
        to: &Jid,
        stanza: Stanza,
    ) -> Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)> {
        let home = self.home(&to.to_bare());
        let mut state = match home.lock(self).await {
            Ok(state) => state,
            Err(error) => return Err((stanza, error)),
        };
        let mut walk = Walk::new(self, &home, &mut state, stanza, None);
        let outcome = pipeline::received(&mut walk).await;
        walk.finish(outcome).await
    }

    /// The error reply to a stanza, if it may have one (RFC 6120 §8.3.1: never for an error).
    pub(crate) fn refuse(&self, stanza: &Stanza, error: WalkError) -> Vec<Envelope> {
        if let WalkError::Store(_) | WalkError::Corrupt(_) = error {
            self.stats.store_errors.count();
        }
        let Some(reply) = stanza.error_reply(&error.into_stanza_error()) else {
            return Vec::new();
        };
        if reply.to.is_none() {
            return Vec::new();
        }
        self.stats.stanza_errors.count();
        vec![Envelope::new(reply)]
    }
}

impl Envelope {
    /// A stanza that sets out.
    pub fn new(stanza: Stanza) -> Envelope {
        Envelope {
            stanza,
            hops: 0,
            stored: None,
            many: None,
        }
    }

    /// One stanza that sets out to many sessions ([`crate::copies`]).
    pub fn to_many(stanza: Stanza, many: Arc<[FullJid]>) -> Envelope {
        Envelope {
            many: Some(Many::Sessions(many)),
            ..Envelope::new(stanza)
        }
    }

    /// Those who are in a room, for a session that enters it.
    pub fn crowd(room: &BareJid, session: FullJid, crowd: Vec<Arc<Shared>>) -> Envelope {
        let label = Stanza::presence(PresenceType::Available)
            .from(room.clone())
            .to(session.clone());
        Envelope {
            many: Some(Many::Crowd(session, crowd)),
            ..Envelope::new(label)
        }
    }
}
