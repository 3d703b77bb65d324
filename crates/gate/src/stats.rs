//! What the gate counts about itself, for the server's metrics.
//!
//! Plain atomics: reading and writing them costs nothing worth measuring.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// XMPP over TCP without TLS (yet).
    Tcp,
    /// XMPP over TCP after STARTTLS.
    StartTls,
    /// XMPP over TLS from the first byte.
    DirectTls,
    /// XMPP over WebSocket.
    WebSocket,
    /// XMPP over BOSH: a session, whatever connections its requests come on.
    Bosh,
    /// HTTP that has not become a WebSocket.
    Http,
    /// Another server's connection to us.
    ServerIn,
    /// Our connection to another server.
    ServerOut,
}

impl TransportKind {
    /// Every kind, in the order of [`GateStats::open`].
    pub const ALL: [TransportKind; 8] = [
        TransportKind::Tcp,
        TransportKind::StartTls,
        TransportKind::DirectTls,
        TransportKind::WebSocket,
        TransportKind::Bosh,
        TransportKind::Http,
        TransportKind::ServerIn,
        TransportKind::ServerOut,
    ];

    /// The kind as a metrics label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            TransportKind::Tcp => "tcp",
            TransportKind::StartTls => "starttls",
            TransportKind::DirectTls => "tls",
            TransportKind::WebSocket => "websocket",
            TransportKind::Bosh => "bosh",
            TransportKind::Http => "http",
            TransportKind::ServerIn => "s2s_in",
            TransportKind::ServerOut => "s2s_out",
        }
    }
}

/// Counters of one gate since its start; the server crate exports them.
#[derive(Debug, Default)]
pub struct GateStats {
    open: [AtomicI64; TransportKind::ALL.len()],
    /// Connections let in.
    pub accepted: AtomicU64,
    /// Connections refused because the gate was full.
    pub refused_full: AtomicU64,
    /// Connections refused because their address had too many.
    pub refused_address: AtomicU64,
    /// Times the system gave no connection, for want of file descriptors or memory.
    pub accept_errors: AtomicU64,
    /// TLS handshakes that failed.
    pub tls_failures: AtomicU64,
    /// Connections that did not reach a session in time.
    pub negotiation_timeouts: AtomicU64,
    /// Sessions bound or resumed.
    pub sessions: AtomicU64,
    /// Sessions lost because the client did not react to the idle probe.
    pub idle_timeouts: AtomicU64,
    /// Sessions lost because an element came in too slowly.
    pub slow_elements: AtomicU64,
    /// Sessions lost because the client stopped reading.
    pub write_stalls: AtomicU64,
    /// Times reading was delayed because a session sent too fast.
    pub rate_delays: AtomicU64,
    /// Bytes of XMPP received, below TLS and WebSocket framing taken off.
    pub bytes_in: AtomicU64,
    /// Bytes of XMPP sent, before TLS.
    pub bytes_out: AtomicU64,
    /// Stanzas received in sessions.
    pub stanzas_in: AtomicU64,
    /// Stanzas taken from other servers.
    pub servers_stanzas_in: AtomicU64,
    /// Stanzas that other servers have taken.
    pub servers_stanzas_out: AtomicU64,
    /// Stanzas that wait for other servers, or for their acknowledgement.
    pub servers_queued: AtomicU64,
    /// Stanzas given back to their senders because their server could not be reached.
    pub servers_returned: AtomicU64,
    /// Attempts to open a stream to another server that failed.
    pub servers_failures: AtomicU64,
    /// HTTP requests answered.
    pub http_requests: AtomicU64,
    stream_errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl GateStats {
    /// Connections of `kind` that are open now.
    #[must_use]
    pub fn open(&self, kind: TransportKind) -> i64 {
        self.open[kind as usize].load(Ordering::Relaxed)
    }

    /// Stream errors sent to clients, by condition (RFC 6120 §4.9.3).
    #[must_use]
    pub fn stream_errors(&self) -> BTreeMap<&'static str, u64> {
        self.stream_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn opened(&self, kind: TransportKind) {
        self.open[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, kind: TransportKind) {
        self.open[kind as usize].fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn stream_error(&self, condition: &'static str) {
        let mut errors = self
            .stream_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *errors.entry(condition).or_default() += 1;
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_are_counted_by_kind() {
        let stats = GateStats::default();
        stats.opened(TransportKind::WebSocket);
        stats.opened(TransportKind::WebSocket);
        stats.closed(TransportKind::WebSocket);
        assert_eq!(stats.open(TransportKind::WebSocket), 1);
        assert_eq!(stats.open(TransportKind::Tcp), 0);
    }

    #[test]
    fn stream_errors_are_counted_by_condition() {
        let stats = GateStats::default();
        stats.stream_error("not-well-formed");
        stats.stream_error("not-well-formed");
        assert_eq!(stats.stream_errors()["not-well-formed"], 2);
    }

    #[test]
    fn every_kind_has_its_own_place() {
        for (index, kind) in TransportKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
