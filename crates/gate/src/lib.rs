//! The gate: what owns the sockets of Posthaste.
//!
//! It accepts clients over TCP with STARTTLS (RFC 6120), over TLS from the first byte (XEP-0368)
//! and over WebSocket (RFC 7395), brings them through negotiation to a session of the node, and
//! moves bytes between socket and session while holding every peer to its bounds.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod bucket;
mod channel;
mod closing;
mod components;
mod config;
mod error;
mod gate;
mod http;
mod inbox;
mod listen;
mod negotiate;
mod outbox;
mod pool;
mod servers;
mod session;
mod shared;
mod stats;
#[cfg(test)]
mod testing;
mod tls;
mod transport;
mod wheel;

pub use config::{
    ComponentConfig, GateConfig, HostCertificate, HttpConfig, KnownHost, Limits, ListenerConfig,
    ListenerKind, LoginConfig, ServersConfig, TlsConfig,
};
pub use error::GateError;
pub use gate::Gate;
pub use http::{Body, HttpPeer, HttpService, Routes, WEB_SOCKET_PATH};
pub use stats::{GateStats, TransportKind};
pub use tls::{TlsFacts, TlsStore};
