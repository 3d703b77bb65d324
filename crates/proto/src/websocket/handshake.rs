//! The keys of the opening handshake (RFC 6455 §1.3, §4).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// The value of `Sec-WebSocket-Protocol` (RFC 7395 §3.1).
pub const SUBPROTOCOL: &str = "xmpp";

/// The fixed salt of RFC 6455 §1.3.
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`; `None` if that is not 16 bytes in base64.
pub fn accept_key(key: &str) -> Option<String> {
    let nonce = BASE64_STANDARD.decode(key).ok()?;
    if nonce.len() != 16 {
        return None;
    }
    let digest = Sha1::new().chain_update(key).chain_update(SALT).finalize();
    Some(BASE64_STANDARD.encode(digest))
}

/// The `Sec-WebSocket-Key` of a client, from 16 random bytes.
pub fn client_key(nonce: [u8; 16]) -> String {
    BASE64_STANDARD.encode(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_section_1_3_is_answered() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ==").unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(client_key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_key("dG9vIHNob3J0"), None);
        assert_eq!(accept_key("?"), None);
    }
}
