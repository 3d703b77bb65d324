//! Streams: from the first byte of a connection to a session, and what is said besides stanzas.
//!
//! - [`component`]: external components (XEP-0114).
//! - [`server`]: the receiving side's negotiation (RFC 6120 §4 to §7, XEP-0388 and what hangs from it).
//! - [`s2s`]: streams between servers, both sides (RFC 6120 §4 to §6, XEP-0220).
//! - [`sm`]: stream management (XEP-0198): counters, and the elements it exchanges.

pub mod component;
mod output;
pub mod s2s;
pub mod server;
pub mod sm;
