//! EXTERNAL: the client's certificate says who it is.
//!
//! RFC 4422 appendix A; RFC 6120 §13.7.2.1 for where an address stands in a certificate (its
//! owner, the gate, reads it). The message is the authorization identity or empty.

use super::Failure;
use crate::jid::BareJid;

/// The longest authorization identity: a bare JID (RFC 7622 §3.1: 1023 bytes each part).
const MAX_AUTHZID_BYTES: usize = 2047;

/// The account that a client may act as: the one it asks for, if its certificate names it, or the
/// only one its certificate names at `domain`.
pub fn authorize(message: &[u8], certified: &[BareJid], domain: &str) -> Result<BareJid, Failure> {
    use super::Condition::{InvalidAuthzid, NotAuthorized};
    if message.len() > MAX_AUTHZID_BYTES {
        return Err(Failure::malformed("authorization identity"));
    }
    let authzid =
        std::str::from_utf8(message).map_err(|_| Failure::malformed("authorization identity"))?;
    let mut here = certified.iter().filter(|jid| jid.domain() == domain);
    if authzid.is_empty() {
        return match (here.next(), here.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(_), Some(_)) => Err(Failure::new(
                InvalidAuthzid,
                "the certificate names several accounts",
            )),
            (None, _) => Err(Failure::not_authorized()),
        };
    }
    let asked =
        BareJid::parse(authzid).map_err(|_| Failure::new(InvalidAuthzid, "not an address"))?;
    here.find(|jid| **jid == asked).cloned().ok_or(Failure::new(
        NotAuthorized,
        "the certificate names another account",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::Condition;

    #[test]
    fn a_client_may_be_whom_its_certificate_names() {
        let jid = |text: &str| BareJid::parse(text).unwrap();
        let certified = [
            jid("romeo@a.example"),
            jid("romeo@b.example"),
            jid("mercutio@b.example"),
        ];
        let ask = |authzid: &str, domain| {
            authorize(authzid.as_bytes(), &certified, domain)
                .map(|jid| jid.to_string())
                .map_err(|failure| failure.condition)
        };
        assert_eq!(ask("", "a.example"), Ok("romeo@a.example".to_owned()));
        assert_eq!(
            ask("romeo@a.example", "a.example"),
            Ok("romeo@a.example".to_owned())
        );
        assert_eq!(ask("", "b.example"), Err(Condition::InvalidAuthzid));
        assert_eq!(
            ask("mercutio@b.example", "b.example"),
            Ok("mercutio@b.example".to_owned())
        );
        assert_eq!(
            ask("juliet@a.example", "a.example"),
            Err(Condition::NotAuthorized)
        );
        assert_eq!(
            ask("romeo@b.example", "a.example"),
            Err(Condition::NotAuthorized)
        );
        assert_eq!(ask("@", "a.example"), Err(Condition::InvalidAuthzid));
        assert_eq!(ask("", "c.example"), Err(Condition::NotAuthorized));
        assert_eq!(
            ask(&"x".repeat(3000), "a.example"),
            Err(Condition::MalformedRequest)
        );
    }
}
