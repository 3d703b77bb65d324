//! The client's side of SCRAM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{ServerFirst, escape, parse_server_final};
use crate::sasl::downgrade::Advertised;
use crate::sasl::hash::Digest;
use crate::sasl::keys::{ClientKeys, MAX_ITERATIONS, MIN_ITERATIONS};
use crate::sasl::{BindingType, Condition, Failure, Hash};

/// What the client does about channel binding, and so whether it uses the -PLUS form.
#[derive(Clone, Debug)]
pub enum Binding {
    /// It cannot (`n`).
    Unsupported,
    /// It could, but the server offers none (`y`).
    NotOffered,
    /// It does, with this data (`p=`): for -PLUS mechanisms.
    Used(BindingType, Box<[u8]>),
}

impl Binding {
    fn gs2_flag(&self) -> String {
        match self {
            Binding::Unsupported => "n".to_owned(),
            Binding::NotOffered => "y".to_owned(),
            Binding::Used(binding, _) => format!("p={}", binding.name()),
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Binding::Unsupported | Binding::NotOffered => &[],
            Binding::Used(_, data) => data,
        }
    }
}

/// Begins an exchange. `nonce` is fresh and printable without commas, such as base64. Returns the
/// client-first-message.
pub fn client_first(
    hash: Hash,
    username: &str,
    authzid: Option<&str>,
    binding: &Binding,
    nonce: &str,
) -> (ExpectServerFirst, Vec<u8>) {
    let authzid = authzid
        .map(|authzid| format!("a={}", escape(authzid)))
        .unwrap_or_default();
    let gs2_header = format!("{},{authzid},", binding.gs2_flag());
    let bare = format!("n={},r={nonce}", escape(username));
    let message = format!("{gs2_header}{bare}").into_bytes();
    let mut channel_input = gs2_header.into_bytes();
    channel_input.extend_from_slice(binding.data());
    let state = ExpectServerFirst {
        hash,
        channel_input,
        client_first_bare: bare,
        client_nonce: nonce.to_owned(),
    };
    (state, message)
}

/// Waiting for salt and iterations.
#[derive(Debug)]
pub struct ExpectServerFirst {
    hash: Hash,
    channel_input: Vec<u8>,
    client_first_bare: String,
    client_nonce: String,
}

impl ExpectServerFirst {
    /// Reads the server-first-message and compares what the server says it advertised with what
    /// arrived (XEP-0474; nothing to compare with servers that do not implement it).
    pub fn server_first(
        self,
        message: &[u8],
        advertised: &Advertised,
    ) -> Result<NeedKeys, Failure> {
        let first = ServerFirst::parse(message)?;
        if !first.nonce.starts_with(&self.client_nonce)
            || first.nonce.len() == self.client_nonce.len()
        {
            return Err(Failure::new(Condition::NotAuthorized, "other nonce"));
        }
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&first.iterations) {
            return Err(Failure::new(
                Condition::NotAuthorized,
                "iterations out of bounds",
            ));
        }
        if first
            .downgrade_hash
            .is_some_and(|theirs| theirs != advertised.hash(self.hash))
        {
            return Err(Failure::new(
                Condition::NotAuthorized,
                "downgrade: lists were changed",
            ));
        }
        // The message was UTF-8, or it would not have parsed.
        let server_first = String::from_utf8_lossy(message);
        Ok(NeedKeys {
            hash: self.hash,
            first_messages: format!("{},{server_first}", self.client_first_bare),
            channel_input: self.channel_input,
            nonce: first.nonce.to_owned(),
            salt: first.salt,
            iterations: first.iterations,
        })
    }
}

/// Salt and iterations are known; now the stretched password is needed.
#[derive(Debug)]
pub struct NeedKeys {
    hash: Hash,
    first_messages: String,
    channel_input: Vec<u8>,
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl NeedKeys {
    /// The hash of the mechanism.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The account's salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The account's rounds of PBKDF2, between [`MIN_ITERATIONS`] and [`MAX_ITERATIONS`].
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Goes on with the keys of that salt and those iterations. Returns the
    /// client-final-message.
    pub fn with_keys(self, keys: &ClientKeys) -> (ExpectServerFinal, Vec<u8>) {
        let without_proof = format!(
            "c={},r={}",
            STANDARD.encode(&self.channel_input),
            self.nonce
        );
        let auth_message = format!("{},{without_proof}", self.first_messages);
        let stored_key = self.hash.digest(&[keys.client_key.as_slice()]);
        let signature = self
            .hash
            .hmac(stored_key.as_slice(), &[auth_message.as_bytes()]);
        let proof = signature
            .xor(keys.client_key.as_slice())
            .map(|proof| STANDARD.encode(proof.as_slice()))
            .unwrap_or_default();
        let state = ExpectServerFinal {
            signature: self
                .hash
                .hmac(keys.server_key.as_slice(), &[auth_message.as_bytes()]),
        };
        (state, format!("{without_proof},p={proof}").into_bytes())
    }
}

/// Waiting for the server's proof.
#[derive(Debug)]
pub struct ExpectServerFinal {
    signature: Digest,
}

impl ExpectServerFinal {
    /// Checks that the server knows the account's keys too.
    pub fn server_final(self, message: &[u8]) -> Result<(), Failure> {
        if !self.signature.matches(&parse_server_final(message)?) {
            return Err(Failure::new(
                Condition::NotAuthorized,
                "the server's proof is wrong",
            ));
        }
        Ok(())
    }
}
