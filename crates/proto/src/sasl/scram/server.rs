//! The server's side of SCRAM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{BindingFlag, ClientFinal, ClientFirst, ServerFirst};
use crate::sasl::downgrade::Advertised;
use crate::sasl::{BindingType, ChannelBindings, Condition, Failure, Hash, StoredKeys};

/// Reads the client's first message.
///
/// `plus` says whether the -PLUS form was chosen, `plus_offered` whether any was on offer: a
/// client that supports channel binding and believes that we do not has been lied to.
pub fn client_first(
    hash: Hash,
    plus: bool,
    plus_offered: bool,
    bindings: &ChannelBindings,
    message: &[u8],
) -> Result<NeedKeys, Failure> {
    let first = ClientFirst::parse(message)?;
    let data = binding_data(first.flag, plus, plus_offered, bindings)?;
    let mut channel_input = first.gs2_header.as_bytes().to_vec();
    channel_input.extend_from_slice(data);
    Ok(NeedKeys {
        hash,
        username: first.username,
        authzid: first.authzid,
        client_first_bare: first.bare.to_owned(),
        client_nonce: first.nonce.to_owned(),
        channel_input,
    })
}

fn binding_data<'a>(
    flag: BindingFlag<'_>,
    plus: bool,
    plus_offered: bool,
    bindings: &'a ChannelBindings,
) -> Result<&'a [u8], Failure> {
    match (flag, plus) {
        (BindingFlag::Unsupported, false) => Ok(&[]),
        // RFC 5802 §6: the -PLUS mechanisms were stripped from what the client saw.
        (BindingFlag::NotOffered, false) if plus_offered => Err(Failure::new(
            Condition::NotAuthorized,
            "channel binding was offered",
        )),
        (BindingFlag::NotOffered, false) => Ok(&[]),
        (BindingFlag::Used(name), true) => BindingType::from_name(name)
            .and_then(|binding| bindings.get(binding))
            .ok_or(Failure::new(
                Condition::NotAuthorized,
                "unsupported channel binding type",
            )),
        (BindingFlag::Used(_), false) | (_, true) => Err(Failure::malformed(
            "the GS2 flag does not fit the mechanism",
        )),
    }
}

/// The client has said who it is; now its stored keys (or fake ones) are needed.
#[derive(Debug)]
pub struct NeedKeys {
    hash: Hash,
    username: String,
    authzid: Option<String>,
    client_first_bare: String,
    client_nonce: String,
    channel_input: Vec<u8>,
}

impl NeedKeys {
    /// The hash of the mechanism, whose keys are needed.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The authentication identity as sent: with XMPP a localpart.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The authorization identity as sent, if any: with XMPP a bare JID.
    pub fn authzid(&self) -> Option<&str> {
        self.authzid.as_deref()
    }

    /// Goes on with the account's keys of [`NeedKeys::hash`]. `server_nonce` is fresh and printable without
    /// commas, such as base64. Returns the server-first-message.
    pub fn with_keys(
        self,
        keys: StoredKeys,
        server_nonce: &str,
        advertised: &Advertised,
    ) -> (ExpectClientFinal, Vec<u8>) {
        debug_assert_eq!(keys.hash, self.hash, "keys of another hash never verify");
        let nonce = self.client_nonce + server_nonce;
        let server_first = ServerFirst {
            nonce: &nonce,
            salt: keys.salt.to_vec(),
            iterations: keys.iterations,
            downgrade_hash: Some(&advertised.hash(self.hash)),
        }
        .write();
        let state = ExpectClientFinal {
            first_messages: format!("{},{server_first}", self.client_first_bare),
            nonce,
            channel_input: self.channel_input,
            keys,
        };
        (state, server_first.into_bytes())
    }
}

/// Waiting for the client's proof.
#[derive(Debug)]
pub struct ExpectClientFinal {
    /// AuthMessage up to the client-final-message.
    first_messages: String,
    nonce: String,
    channel_input: Vec<u8>,
    keys: StoredKeys,
}

impl ExpectClientFinal {
    /// The keys that the client is to prove the password of.
    pub fn keys(&self) -> &StoredKeys {
        &self.keys
    }

    /// Checks the proof. Returns the server-final-message, which proves the server to the client.
    pub fn client_final(self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let last = ClientFinal::parse(message)?;
        if last.nonce != self.nonce {
            return Err(Failure::new(Condition::NotAuthorized, "other nonce"));
        }
        if last.channel_input != self.channel_input {
            return Err(Failure::new(Condition::NotAuthorized, "other channel"));
        }
        let StoredKeys {
            hash,
            stored_key,
            server_key,
            ..
        } = &self.keys;
        let auth_message: [&[u8]; 3] = [
            self.first_messages.as_bytes(),
            b",",
            last.without_proof.as_bytes(),
        ];
        let client_signature = hash.hmac(stored_key.as_slice(), &auth_message);
        let Some(client_key) = client_signature.xor(&last.proof) else {
            return Err(Failure::malformed("length of the proof"));
        };
        if hash.digest(&[client_key.as_slice()]) != *stored_key {
            return Err(Failure::not_authorized());
        }
        let server_signature = hash.hmac(server_key.as_slice(), &auth_message);
        Ok(format!("v={}", STANDARD.encode(server_signature.as_slice())).into_bytes())
    }
}
