//! XMPP in WebSocket messages, so that browsers can speak it: RFC 6455 for both ends, sans-IO, and the framing
//! elements of RFC 7395.
//!
//! [`Decoder`] turns bytes into messages, [`encode`] the reverse; [`accept_key`] is the server's half of the
//! handshake. HTTP itself belongs to others. Left out: extensions, so no permessage-deflate (its state per connection
//! would outweigh everything else we keep).

mod decode;
mod encode;
mod framing;
mod handshake;

pub use decode::{Decoded, Decoder, Message};
pub use encode::{Opcode, encode, encode_close, encode_xml};
pub use framing::{close, open};
pub use handshake::{SUBPROTOCOL, accept_key, client_key};

use thiserror::Error;

/// Which end of a connection we are: a client masks what it sends, a server does not (RFC 6455 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}

/// Why a connection has to be failed (RFC 6455 §7.1.7). The peer's fault in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebSocketError {
    /// Breaks a rule of RFC 6455.
    #[error("WebSocket protocol error: {0}")]
    Protocol(&'static str),
    /// A binary message; XMPP is text (RFC 7395 §3.2).
    #[error("a binary WebSocket message")]
    Binary,
    /// A text message or a close reason that is not UTF-8.
    #[error("a WebSocket message that is not UTF-8")]
    NotUtf8,
    /// A message over the limit.
    #[error("a WebSocket message over the limit")]
    TooBig,
}

impl WebSocketError {
    /// The status code to close with (RFC 6455 §7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            WebSocketError::Protocol(_) => CLOSE_PROTOCOL_ERROR,
            WebSocketError::Binary => CLOSE_UNSUPPORTED_DATA,
            WebSocketError::NotUtf8 => CLOSE_INVALID_PAYLOAD,
            WebSocketError::TooBig => CLOSE_TOO_BIG,
        }
    }
}

/// The purpose of the connection is fulfilled.
pub const CLOSE_NORMAL: u16 = 1000;
/// The server goes down.
pub const CLOSE_GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const CLOSE_PROTOCOL_ERROR: u16 = 1002;
/// The peer sent a kind of data that is not accepted.
pub const CLOSE_UNSUPPORTED_DATA: u16 = 1003;
/// The peer sent text that is not UTF-8.
pub const CLOSE_INVALID_PAYLOAD: u16 = 1007;
/// The peer violated a policy.
pub const CLOSE_POLICY_VIOLATION: u16 = 1008;
/// The peer sent too large a message.
pub const CLOSE_TOO_BIG: u16 = 1009;
