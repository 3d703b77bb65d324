//! Streams between servers, without IO: each side is told what arrives and says what to send and what to do next.
//!
//! - [`receiving`]: another server has connected to us.
//! - [`initiating`]: we have connected to another server.
//! - [`dialback`]: the proof without certificates (XEP-0220).
//!
//! RFC 6120 §4 to §6 and §13.7.2 (TLS always, SASL EXTERNAL by certificate), XEP-0178 1.2, XEP-0198 (both sides count and
//! acknowledge), XEP-0220 1.1.1 (with multiplexing of what comes in), XEP-0344 (a certificate that vouches for a claim
//! spares the call). Left out: streams without TLS, resumption, streams in both directions (XEP-0288).

pub mod dialback;
pub mod initiating;
pub mod receiving;
#[cfg(test)]
mod tests;

pub use dialback::{Dialback, KeySecret, Pair, Verdict};

use crate::error::{StreamCondition, StreamError};
use crate::ns;
use crate::xml::{Limits, OpenTag};

/// Bounds of what is no stanza between servers: SASL, dialback, features.
const LIMITS: Limits = Limits {
    stanza_bytes: 16 * 1024,
    depth: 16,
    attributes: 32,
    children: 64,
    elements: 256,
    namespaces: 64,
};

/// A header that opens a stream of servers.
fn header(bytes: &[u8]) -> Result<OpenTag, StreamError> {
    let tag = OpenTag::parse(bytes, &LIMITS)?;
    if &*tag.ns != ns::STREAM || tag.context.default_ns != ns::SERVER {
        return Err(StreamCondition::InvalidNamespace.into());
    }
    if &*tag.name != "stream" {
        return Err(StreamCondition::BadFormat.into());
    }
    // RFC 6120 §4.7.5: no version is version 0.9, which has no TLS.
    let version = tag.version.as_deref().and_then(|v| v.split_once('.'));
    if !version.is_some_and(|(major, _)| major.parse::<u32>().is_ok_and(|major| major >= 1)) {
        return Err(StreamCondition::UnsupportedVersion.into());
    }
    Ok(tag)
}
