//! Logging in: users prove who they are without their password ever being stored.
//!
//! The SASL mechanisms of Posthaste for both ends of a stream, as step machines without IO: each
//! state is a type, a step consumes it and returns the next one and the bytes to send. Randomness
//! (nonces, salts) is an argument.
//!
//! - [`scram`]: SCRAM-SHA-1, -SHA-256, -SHA-512 and their -PLUS forms (RFC 5802, RFC 7677),
//!   with the downgrade protection of XEP-0474 (0.5.0, [`downgrade`]).
//! - [`plain`]: PLAIN (RFC 4616), to be offered over TLS only.
//! - [`external`]: EXTERNAL (RFC 4422 appendix A) by client certificate.
//! - [`ht`]: HT-SHA-256-NONE, -EXPR and -ENDP (draft-schmaus-kitten-sasl-ht-09), the mechanisms
//!   of FAST (XEP-0484).
//! - [`keys`]: what a server stores instead of a password.
//! - [`client`]: one face over all of them for the initiating side.
//!
//! Left out: `tls-unique` and with it HT-SHA-256-UNIQ (undefined in TLS 1.3, unsafe before it without the extended master
//! secret; RFC 9266 §1), security layers (TLS does that), DIGEST-MD5 (historic, RFC 6331).

pub mod channel_binding;
pub mod client;
pub mod downgrade;
pub mod external;
mod failure;
mod hash;
pub mod ht;
pub mod keys;
mod mechanism;
pub mod plain;
pub mod scram;
mod secret;

pub use channel_binding::{BindingType, ChannelBindings};
pub use failure::{Condition, Failure};
pub use hash::{Digest, Hash};
pub use keys::StoredKeys;
pub use mechanism::{HtBinding, Mechanism};
pub use secret::Secret;

/// The longest SASL message either side reads, in bytes after base64 decoding.
///
/// The longest honest one is a SCRAM client-first-message with two JIDs (authcid and authzid) of
/// the maximum length and a nonce; anything longer is an attack on memory or on hashing time.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;
