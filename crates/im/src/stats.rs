//! Counters of the heart: plain atomics, read by whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering};

use posthaste_proto::stanza::Kind;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Stanzas by kind.
#[derive(Debug, Default)]
pub struct ByKind {
    /// Messages.
    pub message: Counter,
    /// Presence stanzas.
    pub presence: Counter,
    /// IQs.
    pub iq: Counter,
}

impl ByKind {
    /// Counts a stanza.
    pub fn count(&self, kind: Kind) {
        match kind {
            Kind::Message(_) => self.message.count(),
            Kind::Presence(_) => self.presence.count(),
            Kind::Iq(_) => self.iq.count(),
        }
    }
}

/// What the heart counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// Stanzas from clients.
    pub stanzas_in: ByKind,
    /// Stanzas handed to sessions.
    pub stanzas_out: ByKind,
    /// Entries appended to logs.
    pub log_appends: Counter,
    /// Sessions bound.
    pub sessions_bound: Counter,
    /// Sessions resumed (XEP-0198).
    pub sessions_resumed: Counter,
    /// Sessions ended.
    pub sessions_ended: Counter,
    /// Stanza errors sent.
    pub stanza_errors: Counter,
    /// Walks that failed for a reason of the store.
    pub store_errors: Counter,
    /// Push notifications published (XEP-0357).
    pub pushes: Counter,
    /// Blocked senders reported for spam (XEP-0377).
    pub spam_reports: Counter,
    /// Blocked senders reported for abuse or another reason (XEP-0377).
    pub abuse_reports: Counter,
    /// Stanzas that found no room in a slow session's queue.
    pub refused_by_queue: Counter,
    /// What has become of files.
    pub media: crate::media::stats::Stats,
}

impl Stats {
    /// Sessions that exist now.
    pub fn sessions(&self) -> u64 {
        self.sessions_bound
            .value()
            .saturating_sub(self.sessions_ended.value())
    }
}
