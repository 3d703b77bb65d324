//! The extensions: one file each, found by their XEP number.
//!
//! An extension plugs in in two ways. **Table**: its `const EXT` in [`ALL`] says what it announces and which IQs it
//! answers; order does not matter. **Pipeline**: a plain call at its place in [`crate::pipeline`]; order matters, and a
//! comment there says why. Read [`ping`] for a small one.

pub mod administration;
pub mod avatar;
pub mod blocking;
pub mod bookmarks;
pub mod caps;
pub mod carbons;
pub mod client_access;
pub mod commands;
pub mod compliance;
pub mod disco;
pub mod displayed;
pub mod elsewhere;
pub mod external_services;
pub mod groups;
pub mod host;
pub mod inbox;
pub mod last_activity;
pub mod legacy_session;
pub mod listing;
pub mod mam;
pub mod media_preview;
pub mod muc;
pub mod ping;
pub mod presence;
pub mod privacy_lists;
pub mod private;
pub mod pubsub;
pub mod push;
pub mod register;
pub mod reports;
pub mod retraction;
pub mod roster;
pub mod services;
mod stored_xml;
pub mod time;
pub mod upload;
pub mod vcard;
pub mod version;

use std::collections::HashMap;
use std::sync::LazyLock;

use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, Stanza};
use posthaste_proto::xml::Element;

use crate::config::Config;
use crate::error::WalkError;
use crate::node::Node;
use crate::walk::Walk;

/// Every extension with a file of its own.
pub const ALL: &[&Ext] = &[
    &roster::EXT,
    &presence::EXT,
    &last_activity::EXT,
    &legacy_session::EXT,
    &disco::EXT,
    &private::EXT,
    &push::EXT,
    &register::EXT,
    &vcard::EXT,
    &pubsub::EXT,
    &pubsub::pep::EXT,
    &avatar::EXT,
    &bookmarks::EXT,
    &displayed::EXT,
    &groups::EXT,
    &version::EXT,
    &caps::EXT,
    &blocking::EXT,
    &ping::EXT,
    &time::EXT,
    &external_services::EXT,
    &reports::EXT,
    &privacy_lists::EXT,
    &commands::EXT,
    &administration::EXT,
    &carbons::EXT,
    &inbox::EXT,
    &retraction::EXT,
    &mam::EXT,
    &mam::PREFS_EXT,
    &muc::EXT,
    &muc::slow_mode::EXT,
    &muc::avatar::EXT,
    &muc::occupant_id::EXT,
    &muc::self_ping::EXT,
    &muc::moderation::EXT,
    &muc::search::EXT,
    &muc::hats::EXT,
    &upload::EXT,
    &media_preview::EXT,
    &media_preview::THUMBNAILS_EXT,
    &media_preview::BITS_EXT,
    &client_access::EXT,
];

/// Every extension of the server.
pub fn every() -> impl Iterator<Item = &'static Ext> {
    [ALL, elsewhere::HEART, elsewhere::GATE]
        .into_iter()
        .flatten()
        .copied()
}

/// What an extension brings.
pub struct Ext {
    /// Its name, as its specification has it.
    pub name: &'static str,
    /// Its XEP number; 0 for what an RFC specifies.
    pub xep: u16,
    /// The version of the XEP that it follows, or the RFC.
    pub version: &'static str,
    /// What service discovery says of the server because of it (XEP-0030).
    pub host_features: &'static [&'static str],
    /// What service discovery says of every account because of it.
    pub account_features: &'static [&'static str],
    /// The IQs to an account that it answers.
    pub account_iqs: &'static [AccountIq],
    /// The IQs to the server that it answers.
    pub host_iqs: &'static [HostIq],
}

/// An answer to an IQ: the payload of the result, if it has one.
pub type Answer = Result<Option<Element>, WalkError>;

/// Answers an IQ to an account, in a walk through its home.
pub type AccountHandler = for<'w, 'a> fn(&'w mut Walk<'a>, Element) -> BoxFuture<'w, Answer>;

/// Answers an IQ to the server.
pub type HostHandler = for<'q> fn(&'q HostQuery<'q>, Element) -> BoxFuture<'q, Answer>;

/// Who may ask an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Only its owner; others are told that there is no such service (RFC 6121 §8.5.2.1.3).
    Owner,
    /// Anyone.
    Anyone,
}

/// A claim on an IQ to an account.
pub struct AccountIq {
    /// Get or set.
    pub kind: IqType,
    /// The payload's namespace.
    pub ns: &'static str,
    /// The payload's name.
    pub name: &'static str,
    /// Who may ask.
    pub asker: Asker,
    /// What answers.
    pub handler: AccountHandler,
}

/// A claim on an IQ to the server.
pub struct HostIq {
    /// Get or set.
    pub kind: IqType,
    /// The payload's namespace.
    pub ns: &'static str,
    /// The payload's name.
    pub name: &'static str,
    /// What answers.
    pub handler: HostHandler,
}

/// An IQ to the server.
pub struct HostQuery<'q> {
    /// The node.
    pub node: &'q Node,
    /// The virtual host that was asked.
    pub host: &'q BareJid,
    /// Who asks.
    pub from: &'q Jid,
    /// The whole IQ.
    pub stanza: &'q Stanza,
}

/// What a client is told once it has signed in to a host that allows registration or not (RFC 6120 §4.3.2), apart from
/// what the stream itself can do.
pub fn stream_features(config: &Config, registration: bool) -> Vec<Element> {
    let feature = |name, ns| Element::new(name, ns);
    let mut features = vec![
        feature("csi", ns::CSI),
        feature("ver", ns::ROSTER_VERSIONING),
        feature("sub", ns::PRE_APPROVAL),
    ];
    features.extend(disco::server_caps(config, registration));
    features
}

type Key = (IqType, &'static str, &'static str);

static ACCOUNT_IQS: LazyLock<HashMap<Key, &'static AccountIq>> = LazyLock::new(|| {
    let claims = ALL.iter().flat_map(|ext| ext.account_iqs);
    claims
        .map(|claim| ((claim.kind, claim.ns, claim.name), claim))
        .collect()
});

static HOST_IQS: LazyLock<HashMap<Key, &'static HostIq>> = LazyLock::new(|| {
    let claims = ALL.iter().flat_map(|ext| ext.host_iqs);
    claims
        .map(|claim| ((claim.kind, claim.ns, claim.name), claim))
        .collect()
});

/// The payload of a request, or `None` for a result or an error, which nobody here waits for.
fn request(stanza: &Stanza) -> Result<Option<(IqType, Element)>, WalkError> {
    match stanza.kind {
        Kind::Iq(kind @ (IqType::Get | IqType::Set)) => Ok(Some((kind, stanza.payload()?))),
        _ => Ok(None),
    }
}

/// An IQ to the account whose home this is: the server answers it.
pub async fn account_iq(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some((kind, payload)) = request(&walk.stanza)? else {
        return Ok(());
    };
    let claim = ACCOUNT_IQS
        .iter()
        .find(|((of, ns, name), _)| *of == kind && *ns == payload.ns() && *name == payload.name());
    let Some((_, claim)) = claim else {
        return Err(StanzaError::service_unavailable().into());
    };
    if claim.asker == Asker::Owner && !walk.is_from_owner() {
        return Err(StanzaError::service_unavailable().into());
    }
    // Before what the handler sends: a client sees the answer first, then what follows from it.
    let place = walk.answer_place();
    let answer = (claim.handler)(walk, payload).await?;
    let mut result = walk.stanza.result(answer);
    if result.from.is_none() {
        // RFC 6120 §8.1.2.1: the answer to an IQ without `to` comes from the account.
        result.from = Some(walk.home.jid.clone().into());
    }
    walk.send_answer(place, result);
    Ok(())
}

/// An IQ to the server.
pub async fn host_iq(query: &HostQuery<'_>) -> Result<Option<Stanza>, WalkError> {
    let Some((kind, payload)) = request(query.stanza)? else {
        return Ok(None);
    };
    let claim = HOST_IQS
        .iter()
        .find(|((of, ns, name), _)| *of == kind && *ns == payload.ns() && *name == payload.name());
    let Some((_, claim)) = claim else {
        return Err(StanzaError::service_unavailable().into());
    };
    let answer = (claim.handler)(query, payload).await?;
    Ok(Some(query.stanza.result(answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_extensions_claim_the_same_iq() {
        let accounts: usize = ALL.iter().map(|ext| ext.account_iqs.len()).sum();
        let hosts: usize = ALL.iter().map(|ext| ext.host_iqs.len()).sum();
        assert_eq!((ACCOUNT_IQS.len(), HOST_IQS.len()), (accounts, hosts));
    }
}
