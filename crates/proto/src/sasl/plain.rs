//! PLAIN: the password itself, for clients that can do nothing better; over TLS only.
//!
//! RFC 4616 §2: `[authzid] NUL authcid NUL passwd`.

use super::secret::Secret;
use super::{Failure, MAX_MESSAGE_BYTES};

/// A PLAIN message.
#[derive(Debug)]
pub struct Plain {
    /// The authorization identity, if given: with XMPP a bare JID.
    pub authzid: Option<String>,
    /// The authentication identity: with XMPP a localpart.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl Plain {
    /// Reads the client's only message.
    pub fn parse(message: &[u8]) -> Result<Plain, Failure> {
        const BAD: Failure = Failure::malformed("PLAIN message");
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(BAD);
        }
        let text = std::str::from_utf8(message).map_err(|_| BAD)?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(username), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BAD);
        };
        if username.is_empty() || password.is_empty() {
            return Err(BAD);
        }
        Ok(Plain {
            authzid: (!authzid.is_empty()).then(|| authzid.to_owned()),
            username: username.to_owned(),
            password: password.into(),
        })
    }

    /// Writes the client's only message.
    pub fn write(&self) -> Vec<u8> {
        let authzid = self.authzid.as_deref().unwrap_or_default();
        format!("{authzid}\0{}\0{}", self.username, self.password.expose()).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4616_are_read() {
        let plain = Plain::parse(b"\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!((plain.authzid, plain.username.as_str()), (None, "tim"));
        assert_eq!(plain.password.expose(), "tanstaaftanstaaf");
        let plain = Plain::parse(b"Ursel\0Kurt\0xipj3plmq").unwrap();
        assert_eq!(plain.authzid.as_deref(), Some("Ursel"));
        assert_eq!(plain.write(), b"Ursel\0Kurt\0xipj3plmq");
    }

    #[test]
    fn anything_else_is_malformed() {
        let long = [b"\0a\0".as_slice(), &[b'x'; MAX_MESSAGE_BYTES]].concat();
        for bad in [
            b"".as_slice(),
            b"\0",
            b"a\0b",
            b"\0a\0",
            b"\0\0b",
            b"\0a\0b\0",
            b"\0a\0\xff",
            &long,
        ] {
            assert!(Plain::parse(bad).is_err(), "{bad:?}");
        }
    }
}
