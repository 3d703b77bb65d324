//! A look at every queue: how much waits for the sessions of this node, and since when.

use posthaste_im::clock::Timestamp;
use posthaste_im::home::{Attendee, HomeState};
use posthaste_im::node::Node;

/// What was seen. Homes that were busy at the moment of looking are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Homes in memory.
    pub(crate) homes: u64,
    /// Sessions with a connection.
    pub(crate) connected: u64,
    /// Sessions that wait for their client to resume them.
    pub(crate) resumable: u64,
    /// Sessions that are caught up from the log.
    pub(crate) lagging: u64,
    /// Stanzas in the queues of all sessions.
    pub(crate) queued: u64,
    /// The longest queue, in stanzas.
    pub(crate) longest_queue: u64,
    /// The bytes of queued stanzas that are in memory.
    pub(crate) queued_bytes: u64,
    /// When the oldest message came that some session would take and nobody has acknowledged.
    /// Messages for those who are away are meant to wait and do not count.
    pub(crate) oldest_undelivered: Option<Timestamp>,
}

impl Survey {
    /// Looks at every home of `node`. Takes about a microsecond for each: not for a worker thread.
    pub(crate) fn of(node: &Node) -> Self {
        let mut survey = Self::default();
        for home in node.homes() {
            survey.homes += 1;
            home.peek(|state| survey.look_at(state));
        }
        survey
    }

    fn look_at(&mut self, home: &HomeState) {
        for attendee in &home.sessions {
            let state = attendee.session.state();
            let (items, bytes) = state.queue_len();
            let items = items as u64;
            self.queued += items;
            self.longest_queue = self.longest_queue.max(items);
            self.queued_bytes += bytes as u64;
            self.lagging += u64::from(state.lag().is_some());
            if state.detached_at.is_some() {
                self.resumable += 1;
            } else {
                self.connected += 1;
            }
        }
        if home.sessions.iter().any(Attendee::takes_messages) {
            let oldest = home.delivery.oldest_undelivered().map(|id| id.timestamp());
            // What waits is known by the id before it, and before the first there is none.
            let oldest = oldest.filter(|since| since.millis() > 0);
            // `None` is less than any moment, so the two are told apart first.
            self.oldest_undelivered = match (self.oldest_undelivered, oldest) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }
}
