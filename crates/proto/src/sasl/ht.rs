//! HT-SHA-256: logging in again in one round trip with a token that the server gave.
//!
//! draft-schmaus-kitten-sasl-ht-09, the form that clients of FAST (XEP-0484) speak. The initiator
//! sends `authcid NUL HMAC(token, "Initiator" || cb-data)`, the responder answers
//! `HMAC(token, "Responder" || cb-data)`, where cb-data is the channel binding or empty.
//! Left out: -UNIQ (`tls-unique`) and the extra key/value pairs of draft-ietf-kitten-sasl-ht-01.

use super::hash::{Digest, Hash};
use super::{Failure, MAX_MESSAGE_BYTES};

/// The client's only message.
#[derive(Debug)]
pub struct HashedToken {
    /// The authentication identity: with XMPP a localpart.
    pub username: String,
    /// The proof that the client holds the token.
    pub initiator: Digest,
}

impl HashedToken {
    /// Reads the client's message.
    pub fn parse(message: &[u8]) -> Result<HashedToken, Failure> {
        const BAD: Failure = Failure::malformed("HT message");
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(BAD);
        }
        let nul = message.iter().position(|byte| *byte == 0).ok_or(BAD)?;
        let username = std::str::from_utf8(&message[..nul]).map_err(|_| BAD)?;
        let initiator = Digest::from_stored(Hash::Sha256, &message[nul + 1..]).ok_or(BAD)?;
        if username.is_empty() {
            return Err(BAD);
        }
        Ok(HashedToken {
            username: username.to_owned(),
            initiator,
        })
    }
}

/// The client's message for a token. `binding` is the channel binding's data, empty for -NONE.
pub fn initiator_message(username: &str, token: &str, binding: &[u8]) -> Vec<u8> {
    let mut message = username.as_bytes().to_vec();
    message.push(0);
    message.extend_from_slice(initiator(token, binding).as_slice());
    message
}

/// The client's proof.
pub fn initiator(token: &str, binding: &[u8]) -> Digest {
    Hash::Sha256.hmac(token.as_bytes(), &[b"Initiator", binding])
}

/// The server's proof, sent with success.
pub fn responder(token: &str, binding: &[u8]) -> Digest {
    Hash::Sha256.hmac(token.as_bytes(), &[b"Responder", binding])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_name_and_proof() {
        let message = initiator_message("romeo", "token", b"channel");
        let parsed = HashedToken::parse(&message).unwrap();
        assert_eq!(parsed.username, "romeo");
        assert_eq!(parsed.initiator, initiator("token", b"channel"));
        assert_ne!(parsed.initiator, initiator("token", b""));
        assert_ne!(parsed.initiator, initiator("other", b"channel"));
        assert_ne!(parsed.initiator, responder("token", b"channel"));
    }

    #[test]
    fn anything_else_is_malformed() {
        let proof = [7; 32];
        for bad in [
            b"".to_vec(),
            b"romeo".to_vec(),
            b"romeo\0short".to_vec(),
            [b"\0".as_slice(), &proof].concat(),
            [b"\xff\0".as_slice(), &proof].concat(),
            [b"romeo\0".as_slice(), &proof, &proof].concat(),
            [&[b'x'; MAX_MESSAGE_BYTES][..], b"\0", &proof].concat(),
        ] {
            assert!(HashedToken::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
