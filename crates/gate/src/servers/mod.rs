//! Federation: streams with other servers, ours to them and theirs to us.
//!
//! A stanza for another domain comes from the node by [`Beyond::pass`] and joins the queue of its pair of domains
//! ([`link`]); the queue's task looks the domain up ([`resolve`]), connects and proves us ([`dial`]), writes, and tells
//! the node what has arrived. Other servers' connections are served by [`incoming`]. The protocol itself is
//! `posthaste_proto::stream::s2s`.

mod dial;
mod incoming;
mod link;
mod resolve;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use posthaste_im::border::{Beyond, Parcel};
use posthaste_im::node::Node;
use posthaste_proto::error::StanzaError;
use posthaste_proto::stream::s2s::{KeySecret, Pair};

use crate::bucket::Rate;
use crate::config::ServersConfig;
use crate::error::GateError;
use crate::shared::{Phase, Shared};
use crate::tls::Trust;
use link::Link;
use resolve::Lookup;

pub(crate) use incoming::serve;

/// What all streams with other servers share.
pub(crate) struct Federation {
    config: ServersConfig,
    trust: Trust,
    lookup: Lookup,
    /// Lives as long as the process: whoever asks about a key asks within seconds.
    secret: KeySecret,
    rate: Rate,
    links: Mutex<HashMap<Pair, Arc<Link>>>,
    /// Bytes that wait in all queues.
    queued_bytes: AtomicUsize,
    shared: OnceLock<Weak<Shared>>,
    me: Weak<Federation>,
}

impl Federation {
    /// Reads the authorities and the resolver's settings. Nothing happens before [`Federation::open`].
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(crate) fn new(config: ServersConfig, node: &Node) -> Result<Arc<Federation>, GateError> {
        let trust = Trust::open(&config)?;
        let lookup = Lookup::new(&config)?;
        let rate = Rate::new(config.bytes_per_second, config.burst_bytes);
        let mut secret = [0; 32];
        node.entropy().fill(&mut secret);
        Ok(Arc::new_cyclic(|me| Federation {
            trust,
            lookup,
            secret: KeySecret::new(&secret),
            rate,
            config,
            links: Mutex::default(),
            queued_bytes: AtomicUsize::new(0),
            shared: OnceLock::new(),
            me: me.clone(),
        }))
    }

    /// From now on the node's stanzas for other domains come here.
    pub(crate) fn open(self: &Arc<Self>, shared: &Arc<Shared>) {
        // Set once: a gate is started once.
        let _ = self.shared.set(Arc::downgrade(shared));
        shared.node.open_border(Arc::clone(self) as Arc<dyn Beyond>);
    }

    /// Does the operator let us talk to this domain?
    fn is_allowed(&self, domain: &str) -> bool {
        let is_under = |listed: &String| {
            domain == listed
                || domain
                    .strip_suffix(listed.as_str())
                    .is_some_and(|below| below.ends_with('.'))
        };
        let (allow, deny) = (&self.config.allow, &self.config.deny);
        (allow.is_empty() || allow.iter().any(is_under)) && !deny.iter().any(is_under)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<Pair, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for so many bytes among all that waits; given back by [`Federation::release`].
    fn reserve(&self, bytes: usize) -> bool {
        let most = self.config.total_bytes;
        let add = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= most);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.queued_bytes.fetch_update(set, fetch, add).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn join_queue(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        pair: Pair,
        parcel: Parcel,
    ) -> Result<(), Box<(Parcel, StanzaError)>> {
        // Held until the parcel is in: a link that ends looks under this lock whether it is empty.
        let mut links = self.links();
        if let Some(link) = links.get(&pair) {
            return link.push(self, shared, parcel);
        }
        if links.len() >= self.config.streams {
            return Err(Box::new((parcel, StanzaError::resource_constraint())));
        }
        let link = Arc::new(Link::new(pair.clone()));
        link.push(self, shared, parcel)?;
        links.insert(pair, Arc::clone(&link));
        tokio::spawn(link.run(Arc::clone(self), Arc::clone(shared)));
        Ok(())
    }
}

impl Beyond for Federation {
    fn pass(&self, parcel: Parcel) -> Result<(), Box<(Parcel, StanzaError)>> {
        let shared = self.shared.get().and_then(Weak::upgrade);
        let (Some(me), Some(shared)) = (self.me.upgrade(), shared) else {
            return Ok(());
        };
        if shared.phase() != Phase::Open {
            // What is stored sets out again after the restart; the rest goes the way of its session.
            return Ok(());
        }
        let (Some(from), Some(to)) = (&parcel.stanza.from, &parcel.stanza.to) else {
            return Err(Box::new((parcel, StanzaError::bad_request())));
        };
        let pair = Pair {
            from: from.to_bare().domain_jid(),
            to: to.to_bare().domain_jid(),
        };
        if !self.is_allowed(pair.to.as_str()) {
            let error =
                StanzaError::not_allowed().with_text("this server does not talk to that domain");
            return Err(Box::new((parcel, error)));
        }
        me.join_queue(&shared, pair, parcel)
    }
}
