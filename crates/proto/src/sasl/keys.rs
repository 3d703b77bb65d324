//! What a server keeps instead of a password: it can check a log-in but not make one.
//!
//! Per hash a salt, an iteration count, StoredKey and ServerKey (RFC 5802 §3). Who steals them
//! must still guess the password through [`DEFAULT_ITERATIONS`] rounds of PBKDF2 per guess.

use std::fmt;

use zeroize::Zeroizing;

use super::hash::{Digest, Hash};
use super::secret::Secret;

/// Rounds of PBKDF2 for new passwords.
///
/// The client computes them at every log-in that has no FAST token, on a telephone or in a
/// browser's JavaScript, and a server computes them for PLAIN. OWASP's figures (600,000 for
/// SHA-256) are for servers that hash once and would cost such clients seconds; many refuse
/// or time out. 10,000 is the minimum of XEP-0438 (RFC 7677 §4 asks for 4096), about 3 ms of a
/// server's core. High-security deployments set 100,000 (same XEP) or more.
pub const DEFAULT_ITERATIONS: u32 = 10_000;

/// The fewest rounds that either side accepts (RFC 5802 §5.1 `i`): fewer only help who guesses.
pub const MIN_ITERATIONS: u32 = 4096;

/// The most rounds a client computes for a server, or an operator may configure: some seconds of
/// a phone's time. More would be a way to stall clients.
pub const MAX_ITERATIONS: u32 = 5_000_000;

/// Length of the salts we make: 128 bits, so that no two accounts in the world share one.
pub const SALT_BYTES: usize = 16;

/// The longest password taken, in bytes of UTF-8: bounds the time of preparing it.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// A password that cannot be used. The user's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is empty, or only consists of what SASLprep removes.
    #[error("the password is empty")]
    Empty,
    /// It is longer than [`MAX_PASSWORD_BYTES`].
    #[error("the password is longer than {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// It holds a character that SASLprep (RFC 4013) prohibits, such as a control character.
    #[error("the password holds a character that SASLprep prohibits")]
    Prohibited,
}

/// Normalises a password by SASLprep (RFC 4013), so that the same characters typed on different
/// devices give the same bytes.
pub fn prepare(password: &Secret) -> Result<Zeroizing<String>, PasswordError> {
    if password.expose().len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong);
    }
    let prepared =
        stringprep::saslprep(password.expose()).map_err(|_| PasswordError::Prohibited)?;
    if prepared.is_empty() {
        return Err(PasswordError::Empty);
    }
    Ok(Zeroizing::new(prepared.into_owned()))
}

/// The keys of one account for one hash.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKeys {
    /// The hash function they belong to.
    pub hash: Hash,
    /// The salt.
    pub salt: Box<[u8]>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// H(ClientKey): checks the client's proof.
    pub stored_key: Digest,
    /// Signs for the server.
    pub server_key: Digest,
}

impl StoredKeys {
    /// Derives the keys of a password. Takes `iterations` rounds of PBKDF2: milliseconds, so not
    /// on a thread that serves sockets.
    pub fn derive(
        hash: Hash,
        password: &Secret,
        salt: &[u8],
        iterations: u32,
    ) -> Result<StoredKeys, PasswordError> {
        let prepared = prepare(password)?;
        let client = ClientKeys::from_prepared(hash, prepared.as_bytes(), salt, iterations);
        Ok(client.stored(salt, iterations))
    }

    /// The keys of a password of which a client has computed the SaltedPassword (RFC 5802 §3);
    /// `None` if that has another length than the hash's.
    pub fn from_salted(
        hash: Hash,
        salted: &[u8],
        salt: &[u8],
        iterations: u32,
    ) -> Option<StoredKeys> {
        let is_whole = salted.len() == hash.digest_bytes();
        is_whole.then(|| ClientKeys::from_salted(hash, salted).stored(salt, iterations))
    }

    /// Keys of an account that does not exist, which no password opens.
    ///
    /// They are a function of `server_secret` and `account`, so that asking twice gives the same
    /// salt, as for an account that exists (RFC 5802 §9 leaves this to the server).
    pub fn fake(hash: Hash, server_secret: &[u8], account: &str, iterations: u32) -> StoredKeys {
        let derive = |label: &[u8]| hash.hmac(server_secret, &[label, &[0], account.as_bytes()]);
        let salt = derive(b"fake salt");
        StoredKeys {
            hash,
            salt: salt.as_slice()[..SALT_BYTES].into(),
            iterations,
            stored_key: derive(b"fake stored key"),
            server_key: derive(b"fake server key"),
        }
    }

    /// Whether this is the password. Takes as long as [`StoredKeys::derive`], whatever the answer
    /// and also for fake keys.
    pub fn is_password(&self, password: &Secret) -> bool {
        // An unusable password is stretched all the same: refusing early would be seen.
        let prepared = prepare(password).unwrap_or_default();
        let client =
            ClientKeys::from_prepared(self.hash, prepared.as_bytes(), &self.salt, self.iterations);
        let stored_key = self.hash.digest(&[client.client_key.as_slice()]);
        self.stored_key == stored_key && !prepared.is_empty()
    }
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StoredKeys({:?}, {} iterations)",
            self.hash, self.iterations
        )
    }
}

/// What a client needs per log-in; worth keeping while salt and iterations stay the same, as the
/// stretching is what takes time (RFC 5802 §5.1).
#[derive(Clone, Debug)]
pub struct ClientKeys {
    hash: Hash,
    pub(crate) client_key: Digest,
    pub(crate) server_key: Digest,
}

impl ClientKeys {
    /// Stretches a password.
    pub fn derive(
        hash: Hash,
        password: &Secret,
        salt: &[u8],
        iterations: u32,
    ) -> Result<ClientKeys, PasswordError> {
        let prepared = prepare(password)?;
        Ok(ClientKeys::from_prepared(
            hash,
            prepared.as_bytes(),
            salt,
            iterations,
        ))
    }

    /// The hash function they belong to.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    fn from_prepared(hash: Hash, prepared: &[u8], salt: &[u8], iterations: u32) -> ClientKeys {
        let salted = hash.pbkdf2(prepared, salt, iterations);
        ClientKeys::from_salted(hash, salted.as_slice())
    }

    fn from_salted(hash: Hash, salted: &[u8]) -> ClientKeys {
        ClientKeys {
            hash,
            client_key: hash.hmac(salted, &[b"Client Key"]),
            server_key: hash.hmac(salted, &[b"Server Key"]),
        }
    }

    fn stored(&self, salt: &[u8], iterations: u32) -> StoredKeys {
        StoredKeys {
            hash: self.hash,
            salt: salt.into(),
            iterations,
            stored_key: self.hash.digest(&[self.client_key.as_slice()]),
            server_key: self.server_key.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_its_own_keys_only() {
        let keys =
            StoredKeys::derive(Hash::Sha256, &"pencil".into(), b"0123456789abcdef", 4096).unwrap();
        assert!(keys.is_password(&"pencil".into()));
        for wrong in ["Pencil", "pencil ", "", "\u{7}"] {
            assert!(!keys.is_password(&wrong.into()), "{wrong:?}");
        }
    }

    #[test]
    fn the_same_characters_typed_differently_are_the_same_password() {
        // RFC 4013 §3: soft hyphens vanish, compatibility forms are replaced.
        let keys = StoredKeys::derive(Hash::Sha1, &"IX".into(), b"salt", 4096).unwrap();
        assert!(keys.is_password(&"I\u{ad}X".into()));
        assert!(keys.is_password(&"\u{2168}".into()));
    }

    #[test]
    fn unusable_passwords_are_refused_with_their_reason() {
        let refusal = |password: &str| prepare(&password.into()).unwrap_err();
        assert_eq!(refusal(""), PasswordError::Empty);
        assert_eq!(refusal("\u{ad}"), PasswordError::Empty);
        assert_eq!(refusal("a\u{7}b"), PasswordError::Prohibited);
        assert_eq!(
            refusal(&"x".repeat(MAX_PASSWORD_BYTES + 1)),
            PasswordError::TooLong
        );
        assert!(prepare(&"x".repeat(MAX_PASSWORD_BYTES).as_str().into()).is_ok());
    }

    #[test]
    fn an_account_that_does_not_exist_always_shows_the_same_salt() {
        let fake = |account| StoredKeys::fake(Hash::Sha256, b"secret", account, 10_000);
        assert_eq!(fake("romeo@a.example"), fake("romeo@a.example"));
        assert_ne!(fake("romeo@a.example").salt, fake("juliet@a.example").salt);
        assert_ne!(
            fake("romeo@a.example").salt,
            StoredKeys::fake(Hash::Sha256, b"other", "romeo@a.example", 10_000).salt
        );
        assert_eq!(fake("romeo@a.example").salt.len(), SALT_BYTES);
        assert!(!fake("romeo@a.example").is_password(&"".into()));
    }
}
