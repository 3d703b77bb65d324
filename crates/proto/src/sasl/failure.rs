//! Why an authentication exchange failed, in the words of RFC 6120 §6.5.

use std::fmt;

/// A SASL error condition, RFC 6120 §6.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The client gave up (§6.5.1).
    Aborted,
    /// The account is disabled (§6.5.2).
    AccountDisabled,
    /// The credentials have expired (§6.5.3); with FAST: get a new token by another mechanism.
    CredentialsExpired,
    /// The mechanism needs TLS and the stream has none (§6.5.4).
    EncryptionRequired,
    /// The base64 is not base64 (§6.5.5).
    IncorrectEncoding,
    /// The authorization identity is not the account's (§6.5.6).
    InvalidAuthzid,
    /// The mechanism was not offered (§6.5.7).
    InvalidMechanism,
    /// The message breaks the mechanism's grammar (§6.5.8).
    MalformedRequest,
    /// The mechanism is weaker than the policy for this account (§6.5.9).
    MechanismTooWeak,
    /// The credentials are wrong (§6.5.10); says nothing about whether the account exists.
    NotAuthorized,
    /// Try again later (§6.5.11).
    TemporaryAuthFailure,
}

impl Condition {
    /// The element's local name.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Aborted => "aborted",
            Condition::AccountDisabled => "account-disabled",
            Condition::CredentialsExpired => "credentials-expired",
            Condition::EncryptionRequired => "encryption-required",
            Condition::IncorrectEncoding => "incorrect-encoding",
            Condition::InvalidAuthzid => "invalid-authzid",
            Condition::InvalidMechanism => "invalid-mechanism",
            Condition::MalformedRequest => "malformed-request",
            Condition::MechanismTooWeak => "mechanism-too-weak",
            Condition::NotAuthorized => "not-authorized",
            Condition::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    /// The condition of that element name, for the client's side.
    pub fn from_name(name: &str) -> Option<Condition> {
        [
            Condition::Aborted,
            Condition::AccountDisabled,
            Condition::CredentialsExpired,
            Condition::EncryptionRequired,
            Condition::IncorrectEncoding,
            Condition::InvalidAuthzid,
            Condition::InvalidMechanism,
            Condition::MalformedRequest,
            Condition::MechanismTooWeak,
            Condition::NotAuthorized,
            Condition::TemporaryAuthFailure,
        ]
        .into_iter()
        .find(|condition| condition.name() == name)
    }
}

/// A failed exchange: what the peer is told and what may be logged. Never holds a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What the peer is told.
    pub condition: Condition,
    /// Why, for the peer's developer and our debug log.
    pub reason: &'static str,
}

impl Failure {
    /// A failure with its reason.
    pub const fn new(condition: Condition, reason: &'static str) -> Failure {
        Failure { condition, reason }
    }

    /// Wrong credentials, told the same way whatever was wrong with them.
    pub const fn not_authorized() -> Failure {
        Failure::new(Condition::NotAuthorized, "")
    }

    pub(crate) const fn malformed(reason: &'static str) -> Failure {
        Failure::new(Condition::MalformedRequest, reason)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.name())?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}
