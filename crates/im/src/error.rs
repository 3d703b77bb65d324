//! What can go wrong here, and how it becomes a stanza error: in exactly one place.

use posthaste_kv::KvError;
use posthaste_proto::error::StanzaError;
use posthaste_proto::xml::XmlError;
use thiserror::Error;

use crate::codec::Corrupt;

/// Why a walk came to nothing.
#[derive(Debug, Error)]
pub enum WalkError {
    /// The peer asked for something that it gets told about: the stanza error to send back.
    #[error("refused: {0:?}")]
    Refused(Box<StanzaError>),
    /// The store did not do its part.
    #[error("the store: {0}")]
    Store(#[from] KvError),
    /// The store holds something this version cannot read: a bug, a damaged disk or a downgrade.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl From<StanzaError> for WalkError {
    fn from(error: StanzaError) -> WalkError {
        WalkError::Refused(Box::new(error))
    }
}

impl From<XmlError> for WalkError {
    /// A payload that is well-formed XML but not what it should be.
    fn from(_: XmlError) -> WalkError {
        StanzaError::bad_request().into()
    }
}

impl WalkError {
    /// The stanza error that the sender is told.
    pub fn into_stanza_error(self) -> StanzaError {
        match self {
            WalkError::Refused(error) => *error,
            // RFC 6120 §8.3.3.18: the sender may try again later.
            WalkError::Store(KvError::Full | KvError::Backlog) => {
                StanzaError::resource_constraint()
            }
            WalkError::Store(KvError::TooLarge) => StanzaError::policy_violation(),
            WalkError::Store(error) => {
                tracing::warn!(%error, "the store did not answer a stanza");
                StanzaError::internal_server_error()
            }
            WalkError::Corrupt(corrupt) => {
                tracing::error!(%corrupt, "a stored value cannot be read");
                StanzaError::internal_server_error()
            }
        }
    }
}
