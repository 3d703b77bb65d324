//! The server itself as an addressee: `example.org` answers IQs; messages and presence to it go nowhere.

use posthaste_proto::error::StanzaError;
use posthaste_proto::stanza::{Kind, MessageType, Stanza};

use super::{HostQuery, host_iq};
use crate::error::WalkError;
use crate::node::Node;
use crate::router::Envelope;

/// A stanza to one of our domains.
pub async fn receive(node: &Node, stanza: Stanza) -> Result<Vec<Envelope>, (Stanza, WalkError)> {
    match answer(node, &stanza).await {
        Ok(reply) => Ok(reply.map(Envelope::new).into_iter().collect()),
        Err(error) => Err((stanza, error)),
    }
}

async fn answer(node: &Node, stanza: &Stanza) -> Result<Option<Stanza>, WalkError> {
    let (Some(from), Some(to)) = (&stanza.from, &stanza.to) else {
        return Ok(None);
    };
    match stanza.kind {
        // RFC 6121 §4.3.1, §4.6: the server has no presence to share and does not mind directed presence.
        Kind::Presence(_) | Kind::Message(MessageType::Error) => Ok(None),
        // Nobody reads what is sent to the server.
        Kind::Message(_) => Err(StanzaError::service_unavailable().into()),
        Kind::Iq(_) if to.resource().is_some() => Err(StanzaError::service_unavailable().into()),
        Kind::Iq(_) => {
            host_iq(&HostQuery {
                node,
                host: &to.to_bare(),
                from,
                stanza,
            })
            .await
        }
    }
}
