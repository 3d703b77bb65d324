//! The border: stanzas to domains that are not ours leave here, and those of others come in.
//!
//! [`Node::claim_domain`] gives one domain to whoever stands for it (an external component, XEP-0114); everything else
//! goes to whoever was set by [`Node::open_border`] (server-to-server streams). Without anybody the sender is told that
//! there is no such server. Incoming stanzas enter by [`Node::enter`].
//!
//! What was acknowledged to one of our clients is stored until the other side has it: a [`Parcel`] says so by
//! [`Node::delivered`] or comes back by [`Node::give_back`], and one of the two has to be called for every parcel that
//! was taken. After a crash what is still stored sets out again; the other side knows a repeat by its id.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use posthaste_kv::Ticket;
use posthaste_proto::error::{StanzaError, StreamCondition, StreamError};
use posthaste_proto::jid::Jid;
use posthaste_proto::stanza::Stanza;

use crate::clock::Timestamp;
use crate::node::Node;
use crate::outbox::Stored;
use crate::router::Envelope;

/// Whoever brings stanzas to a domain that is not ours. It may hold a node weakly only, since the node holds it.
pub trait Beyond: Send + Sync {
    /// Takes a parcel on its way. Never waits, and keeps a bounded number of them.
    ///
    /// # Errors
    /// It cannot go: the parcel comes back at once, with the error that its sender gets.
    fn pass(&self, parcel: Parcel) -> Result<(), Box<(Parcel, StanzaError)>>;
}

/// A stanza that leaves us, with `from` and `to`.
#[derive(Debug)]
pub struct Parcel {
    /// The stanza.
    pub stanza: Stanza,
    stored: Option<Stored>,
}

impl Parcel {
    /// When a stored stanza was sent; it may have waited over a restart. `None` for one that nobody would miss.
    pub fn stored_at(&self) -> Option<Timestamp> {
        self.stored.as_ref().map(|stored| stored.id.timestamp())
    }
}

/// Who stands at the border, and what is beyond it without having arrived.
#[derive(Default)]
pub(crate) struct Border {
    claimed: RwLock<HashMap<Box<str>, Arc<dyn Beyond>>>,
    world: OnceLock<Arc<dyn Beyond>>,
    /// What is stored and on its way: not to be sent again when its sender's home is loaded. As bounded as the queues
    /// of those who took it.
    under_way: Mutex<HashSet<Stored>>,
}

impl Border {
    fn claimed(&self, domain: &str) -> Option<Arc<dyn Beyond>> {
        self.claimed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(domain)
            .cloned()
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashSet<Stored>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// From now on `beyond` gets what is for `domain`. It comes before server-to-server streams, and after our own hosts.
    pub fn claim_domain(&self, domain: &str, beyond: Arc<dyn Beyond>) {
        self.border
            .claimed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(domain.into(), beyond);
    }

    /// Nobody stands for `domain` any more.
    pub fn release_domain(&self, domain: &str) {
        self.border
            .claimed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(domain);
    }

    /// From now on `beyond` gets what is for domains that nobody here stands for. Only the first call counts; it has to
    /// come before the first stanza is routed.
    pub fn open_border(&self, beyond: Arc<dyn Beyond>) {
        let _ = self.border.world.set(beyond);
    }

    /// Is this a domain that no other server may speak for: a host of ours, or a claimed one?
    pub fn serves(&self, domain: &str) -> bool {
        self.config().is_ours(domain) || self.border.claimed(domain).is_some()
    }

    /// A stanza from beyond. The caller has made sure that `from` is of a domain that the other side may speak for, and
    /// that `to` is of one that it may speak to. The ticket covers all that was written because of it: the other side is
    /// told that it was taken when the ticket is durable.
    ///
    /// # Errors
    /// An address is missing, or `from` is of a host of ours: the stream error that the other side deserves.
    pub async fn enter(&self, stanza: Stanza) -> Result<Ticket, StreamError> {
        let (Some(from), Some(_)) = (&stanza.from, &stanza.to) else {
            return Err(StreamCondition::ImproperAddressing.into());
        };
        if self.config().is_ours(from.domain()) {
            return Err(StreamCondition::InvalidFrom.into());
        }
        // Whoever sends faster than the disk writes waits here.
        self.kv().line().room().await;
        Ok(self.route(vec![Envelope::new(stanza)]).await)
    }

    /// The other side has taken the parcel.
    pub fn delivered(&self, parcel: Parcel) {
        if let Some(stored) = parcel.stored {
            self.settle(&stored);
        }
    }

    /// The parcel cannot be delivered: its sender is told, unless it is an error itself.
    pub async fn give_back(&self, parcel: Parcel, error: StanzaError) {
        let Parcel { stanza, stored } = parcel;
        self.route(self.refuse(&stanza, error.into())).await;
        if let Some(stored) = stored {
            self.settle(&stored);
        }
    }

    fn settle(&self, stored: &Stored) {
        if let Err(error) = stored.arrived(self.kv()) {
            tracing::warn!(%error, "a stored stanza that has arrived could not be deleted: it will be sent again");
        }
        self.border.under_way().remove(stored);
    }

    /// Is this stored stanza on its way beyond the border?
    pub(crate) fn is_under_way(&self, stored: &Stored) -> bool {
        self.border.under_way().contains(stored)
    }

    /// Hands a stanza to whoever stands for the domain of `to`. Answers what comes back at once: the error to the sender.
    pub(crate) fn send_beyond(
        &self,
        to: &Jid,
        stanza: Stanza,
        stored: Option<Stored>,
    ) -> Vec<Envelope> {
        let parcel = Parcel { stanza, stored };
        let claimed = self.border.claimed(to.domain());
        let outcome = match claimed.as_ref().or_else(|| self.border.world.get()) {
            Some(beyond) => {
                // Before it is taken: it may be delivered before `pass` returns.
                self.border.under_way().extend(parcel.stored.clone());
                beyond.pass(parcel)
            }
            None => Err(Box::new((parcel, StanzaError::remote_server_not_found()))),
        };
        let Err(refused) = outcome else {
            return Vec::new();
        };
        let (parcel, error) = *refused;
        if let Some(stored) = &parcel.stored {
            self.settle(stored);
        }
        self.refuse(&parcel.stanza, error.into())
    }
}
