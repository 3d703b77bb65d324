//! Bytes ⇄ meaning: everything XMPP says on the wire, without IO, clock or randomness.
//!
//! Compiles to WebAssembly; the server and the client SDK share it. Read [`stanza`] first, then [`xml`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod error;
pub mod jid;
pub mod ns;
pub mod sasl;
pub mod stanza;
pub mod stream;
pub mod websocket;
pub mod xep;
pub mod xml;
