//! One face over all mechanisms for the initiating side: clients, tests, the load generator.
//!
//! ```text
//! let (mechanism, binding) = client::choose(&advertised, &bindings, allow_plain)?;
//! let (mut exchange, initial) = Exchange::start(mechanism, binding, &credentials, advertised, nonce)?;
//! // send initial; then for each challenge send exchange.challenge(..)?, at success:
//! exchange.success(additional_data)?;
//! ```

use super::downgrade::Advertised;
use super::hash::Digest;
use super::keys::ClientKeys;
use super::plain::Plain;
use super::scram::client::{self as scram, Binding};
use super::{
    BindingType, ChannelBindings, Condition, Failure, Hash, HtBinding, Mechanism, Secret, ht,
};

/// Who logs in and with what.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The localpart of the account's address.
    pub username: String,
    /// The password, or the token for HT mechanisms.
    pub secret: Secret,
    /// The stretched password of the last log-in, to spare stretching it again.
    keys: Option<CachedKeys>,
}

#[derive(Clone, Debug)]
struct CachedKeys {
    hash: Hash,
    salt: Vec<u8>,
    iterations: u32,
    keys: ClientKeys,
}

impl Credentials {
    /// An account's localpart and its password or token.
    pub fn new(username: impl Into<String>, secret: Secret) -> Credentials {
        Credentials {
            username: username.into(),
            secret,
            keys: None,
        }
    }

    fn keys(&mut self, need: &scram::NeedKeys) -> Result<ClientKeys, Failure> {
        let (hash, salt, iterations) = (need.hash(), need.salt(), need.iterations());
        if let Some(cached) = &self.keys
            && (cached.hash, cached.salt.as_slice(), cached.iterations) == (hash, salt, iterations)
        {
            return Ok(cached.keys.clone());
        }
        let keys = ClientKeys::derive(hash, &self.secret, salt, iterations)
            .map_err(|_| Failure::new(Condition::NotAuthorized, "the password cannot be used"))?;
        self.keys = Some(CachedKeys {
            hash,
            salt: salt.to_vec(),
            iterations,
            keys: keys.clone(),
        });
        Ok(keys)
    }
}

/// The strongest SCRAM mechanism that both sides have, with channel binding where possible, by
/// the rules of XEP-0440 §3; PLAIN only if `allow_plain` and there is no SCRAM.
pub fn choose(
    advertised: &Advertised,
    bindings: &ChannelBindings,
    allow_plain: bool,
) -> Option<(Mechanism, Binding)> {
    let offers = |mechanism: Mechanism| {
        advertised
            .mechanisms
            .iter()
            .any(|name| name == mechanism.name())
    };
    let strongest = |plus: bool| {
        Hash::ALL
            .into_iter()
            .rev()
            .map(|hash| Mechanism::Scram { hash, plus })
            .find(|m| offers(*m))
    };
    let plus = strongest(true);
    if let (Some(plus), Some((binding, data))) = (plus, common_binding(advertised, bindings)) {
        return Some((plus, Binding::Used(binding, data.into())));
    }
    if let Some(scram) = strongest(false) {
        // XEP-0474 §6, new rule 6: without a common type go on with `n`; the hash over the lists
        // shows whether somebody shortened them.
        let none_offered = plus.is_none() && advertised.channel_bindings.is_empty();
        let able = !bindings.is_empty();
        let flag = if able && none_offered {
            Binding::NotOffered
        } else {
            Binding::Unsupported
        };
        return Some((scram, flag));
    }
    (allow_plain && offers(Mechanism::Plain)).then_some((Mechanism::Plain, Binding::Unsupported))
}

/// The strongest type both have. A SASL1 server without XEP-0440 lists none: then the type that
/// every server has to implement is tried (XEP-0440 §3 rule 4).
fn common_binding<'a>(
    advertised: &Advertised,
    bindings: &'a ChannelBindings,
) -> Option<(BindingType, &'a [u8])> {
    let offered = |binding: &BindingType| match advertised.channel_bindings.as_slice() {
        [] => *binding == BindingType::TlsServerEndPoint,
        names => names.iter().any(|name| name == binding.name()),
    };
    let binding = bindings.types().find(offered)?;
    Some((binding, bindings.get(binding)?))
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange {
    advertised: Advertised,
    expect: Expect,
}

#[derive(Debug)]
enum Expect {
    ServerFirst(scram::ExpectServerFirst),
    ServerFinal(scram::ExpectServerFinal),
    Responder(Digest),
    Success,
}

impl Exchange {
    /// Begins. `nonce` is fresh randomness in printable characters without commas; `binding` is
    /// what [`choose`] gave, or for HT mechanisms the data of their channel binding. Returns the
    /// initial response.
    pub fn start(
        mechanism: Mechanism,
        binding: &Binding,
        credentials: &Credentials,
        advertised: Advertised,
        nonce: &str,
    ) -> Result<(Exchange, Vec<u8>), Failure> {
        let (expect, initial) = match mechanism {
            Mechanism::Scram { hash, .. } => {
                let (state, first) =
                    scram::client_first(hash, &credentials.username, None, binding, nonce);
                (Expect::ServerFirst(state), first)
            }
            Mechanism::Plain => {
                let plain = Plain {
                    authzid: None,
                    username: credentials.username.clone(),
                    password: credentials.secret.clone(),
                };
                (Expect::Success, plain.write())
            }
            Mechanism::External => (Expect::Success, Vec::new()),
            Mechanism::Ht(bound_to) => {
                let data = ht_binding_data(bound_to, binding)?;
                let token = credentials.secret.expose();
                let message = ht::initiator_message(&credentials.username, token, data);
                (Expect::Responder(ht::responder(token, data)), message)
            }
        };
        Ok((Exchange { advertised, expect }, initial))
    }

    /// Answers a challenge. The first SCRAM log-in with a salt stretches the password, which
    /// takes milliseconds to seconds.
    pub fn challenge(
        &mut self,
        message: &[u8],
        credentials: &mut Credentials,
    ) -> Result<Vec<u8>, Failure> {
        match std::mem::replace(&mut self.expect, Expect::Success) {
            Expect::ServerFirst(state) => {
                let need = state.server_first(message, &self.advertised)?;
                let keys = credentials.keys(&need)?;
                let (state, response) = need.with_keys(&keys);
                self.expect = Expect::ServerFinal(state);
                Ok(response)
            }
            // RFC 6120 §6.3.10: a server may send its last message as a challenge, too.
            Expect::ServerFinal(state) => state.server_final(message).map(|()| Vec::new()),
            Expect::Responder(_) | Expect::Success => {
                Err(Failure::malformed("a challenge where none belongs"))
            }
        }
    }

    /// The server says that we are in; `message` is the data that came with success. Fails if
    /// the mechanism makes the server prove itself and it did not: then it is not the server.
    pub fn success(self, message: Option<&[u8]>) -> Result<(), Failure> {
        const UNPROVEN: Failure =
            Failure::new(Condition::NotAuthorized, "the server has not proven itself");
        match (self.expect, message) {
            (Expect::ServerFinal(state), Some(message)) => state.server_final(message),
            (Expect::Responder(responder), Some(message)) => {
                if responder.matches(message) {
                    Ok(())
                } else {
                    Err(UNPROVEN)
                }
            }
            (Expect::Success, _) => Ok(()),
            (Expect::ServerFirst(_) | Expect::ServerFinal(_) | Expect::Responder(_), _) => {
                Err(UNPROVEN)
            }
        }
    }
}

fn ht_binding_data(bound_to: HtBinding, binding: &Binding) -> Result<&[u8], Failure> {
    match (bound_to.binding_type(), binding) {
        (None, _) => Ok(&[]),
        (Some(wanted), Binding::Used(used, data)) if wanted == *used => Ok(data),
        (Some(_), _) => Err(Failure::malformed(
            "the mechanism needs another channel binding",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(mechanisms: &[&str], channel_bindings: &[&str]) -> Advertised {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Advertised {
            mechanisms: owned(mechanisms),
            channel_bindings: owned(channel_bindings),
        }
    }

    fn bindings() -> ChannelBindings {
        ChannelBindings {
            exporter: Some([1; 32]),
            server_end_point: Some([2; 32].into()),
        }
    }

    #[test]
    fn the_strongest_common_mechanism_is_chosen() {
        let both = ["tls-server-end-point", "tls-exporter"];
        let all = ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"];
        let pick = |offer: &Advertised, have: &ChannelBindings, plain| {
            choose(offer, have, plain).map(|(mechanism, binding)| match binding {
                Binding::Unsupported => format!("{mechanism} n"),
                Binding::NotOffered => format!("{mechanism} y"),
                Binding::Used(kind, _) => format!("{mechanism} {}", kind.name()),
            })
        };
        let cases = [
            (
                advertised(&all, &both),
                bindings(),
                "SCRAM-SHA-1-PLUS tls-exporter",
            ),
            (
                advertised(&all, &both[..1]),
                bindings(),
                "SCRAM-SHA-1-PLUS tls-server-end-point",
            ),
            (
                advertised(&all, &[]),
                bindings(),
                "SCRAM-SHA-1-PLUS tls-server-end-point",
            ),
            (
                advertised(&all, &["tls-unique"]),
                bindings(),
                "SCRAM-SHA-256 n",
            ),
            (advertised(&all[..3], &[]), bindings(), "SCRAM-SHA-256 y"),
            (
                advertised(&all, &both),
                ChannelBindings::none(),
                "SCRAM-SHA-256 n",
            ),
        ];
        for (offer, have, expected) in cases {
            assert_eq!(
                pick(&offer, &have, true).as_deref(),
                Some(expected),
                "{offer:?}"
            );
        }
        let plain = advertised(&["PLAIN"], &[]);
        assert_eq!(pick(&plain, &bindings(), false), None);
        assert_eq!(pick(&plain, &bindings(), true).as_deref(), Some("PLAIN n"));
    }

    #[test]
    fn a_server_that_skips_its_proof_is_not_believed() {
        let credentials = Credentials::new("romeo", "secret".into());
        for mechanism in [
            Mechanism::Scram {
                hash: Hash::Sha1,
                plus: false,
            },
            Mechanism::Ht(HtBinding::None),
        ] {
            let start = || {
                Exchange::start(
                    mechanism,
                    &Binding::Unsupported,
                    &credentials,
                    Advertised::default(),
                    "nonce",
                )
                .unwrap()
                .0
            };
            assert!(start().success(None).is_err());
            assert!(start().success(Some(b"v=AAAA")).is_err());
        }
    }
}
