//! Streams: from the first byte of a connection to a session, and what is said besides stanzas.
//!
//! - [`component`]: external components (XEP-0114).
//! - [`server`]: the receiving side's negotiation (RFC 6120 §4 to §7, XEP-0388 and what hangs from it).
//! - [`sm`]: stream management (XEP-0198): counters, and the elements it exchanges.

pub mod component;
pub mod server;
pub mod sm;
