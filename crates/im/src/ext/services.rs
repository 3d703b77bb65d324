//! Addresses beside a host at which a service of ours answers, such as `pubsub.example.org`.

use posthaste_kv::Ticket;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::stanza::Stanza;

use super::{muc, pubsub, upload};
use crate::config::ServiceKind;
use crate::error::WalkError;
use crate::node::Node;
use crate::router::Envelope;

/// A stanza to one of our services, or to somebody there.
pub async fn receive(
    node: &Node,
    to: &Jid,
    stanza: Stanza,
) -> Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)> {
    let kind = node
        .config()
        .service(to.domain())
        .map(|(_, service)| service.kind);
    match kind {
        Some(ServiceKind::PubSub) => pubsub::service::receive(node, stanza).await,
        Some(ServiceKind::Rooms) => muc::receive(node, to, stanza).await,
        Some(ServiceKind::Upload) => upload::receive(node, to, stanza).await,
        // It was switched off a moment ago.
        None => Err((stanza, StanzaError::service_unavailable().into())),
    }
}
