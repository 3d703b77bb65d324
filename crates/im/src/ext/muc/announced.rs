//! The host that a room belongs to has a word for everybody in it: what its administrators announce is said by the room
//! itself, as a service message, and is in nobody's history.

use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, MessageType, Stanza};

use super::broadcast;
use crate::walk::Walk;

/// A message to the room: perhaps it is the host's. Answers whether it was; it is for nobody else then.
///
/// Only we can have sent it: accounts write with a resource, and other servers and components have other domains.
pub(super) fn hear(walk: &mut Walk<'_>) -> bool {
    let is_headline = walk.stanza.kind == Kind::Message(MessageType::Headline);
    let config = walk.node.config();
    let host = config.service(walk.home.jid.domain());
    let from = walk.stanza.from.as_ref().filter(|_| is_headline);
    let is_host = host
        .zip(from)
        .is_some_and(|((host, _), from)| host.domain.as_str() == from.as_str());
    if !is_host {
        return false;
    }
    let body = walk.stanza.child("body", ns::CLIENT);
    let Some(Ok(body)) = body.map(|body| body.to_element()) else {
        return true;
    };
    let said = Stanza::message(MessageType::Groupchat)
        .id(walk.node.random_name())
        .from(walk.home.jid.clone())
        .with_child(&body);
    if let Some((room, out)) = walk.room_and_out() {
        broadcast::message(room, out, &said);
    }
    true
}
