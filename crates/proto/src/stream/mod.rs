//! Streams: from the first byte of a connection to a session, and what is said besides stanzas.
//!
//! - [`sm`]: stream management (XEP-0198): counters, and the elements it exchanges.

pub mod sm;
