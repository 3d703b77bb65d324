//! All of a person's devices know what has been read, and a client tells them and the sender by one message.
//!
//! XEP-0490: Message Displayed Synchronization, version 1.0.1. The node is personal eventing's ([`super::pubsub`]);
//! here is the server's help of §3.4: it takes the marker out of a message and publishes it.

use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::Kind;
use posthaste_proto::xml::Element;

use super::Ext;
use super::groups;
use super::pubsub::own::{self, OwnNode};
use crate::conversations;
use crate::error::WalkError;
use crate::log::ArchiveId;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Message Displayed Synchronization",
    xep: 490,
    version: "1.0.1",
    host_features: &[],
    account_features: &["urn:xmpp:mds:server-assist:0"],
    account_iqs: &[],
    host_iqs: &[],
};

/// Takes the marker for the own devices out of a message that is sent, and publishes it.
///
/// # Errors
/// A bound of pubsub is reached; or the store's.
pub async fn publish(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let (Kind::Message(_), Some(to)) = (walk.stanza.kind, walk.stanza.to.clone()) else {
        return Ok(());
    };
    let Some(marker) = walk.stanza.child("displayed", ns::MDS_DISPLAYED) else {
        return Ok(());
    };
    let marker = marker.to_element()?;
    walk.stanza
        .remove_children(|child| child.is("displayed", ns::MDS_DISPLAYED));
    let mut node = OwnNode::find_or_make(walk, ns::MDS_DISPLAYED, own::private()).await?;
    node.publish(walk, to.as_str(), marker).await?;
    node.save(walk).await
}

/// An item was published in the node, in one way or the other: what it says has been seen is not unread any more
/// ([`super::inbox`]). The ids in the items of rooms are the rooms'.
///
/// # Errors
/// The store's.
pub(super) async fn note(
    walk: &mut Walk<'_>,
    chat: &str,
    displayed: &Element,
) -> Result<(), WalkError> {
    let Some(stanza_id) = displayed.child("stanza-id", ns::STANZA_ID) else {
        return Ok(());
    };
    let by = stanza_id.attr("by");
    if let (Some(id), Ok(room)) = (stanza_id.attr("id"), BareJid::parse(chat)) {
        let is_the_rooms = match by {
            Some(by) => by == chat,
            // COMPAT(slixmpp, 1.17): it does not say whose id it is. Of a group it is the room's.
            None => groups::find(walk, &room).await?.is_some(),
        };
        if is_the_rooms {
            return groups::note_seen(walk, &room, id).await;
        }
    }
    let is_own = by.is_none_or(|by| by == walk.home.jid.as_str());
    let id = stanza_id.attr("id").and_then(ArchiveId::parse);
    let (true, Some(id), Ok(peer)) = (is_own, id, Jid::parse(chat)) else {
        return Ok(());
    };
    let peer = peer.to_bare();
    if let Some(read) = conversations::read_upto(walk.node, walk.home, &peer, id).await? {
        let key = tables::text_key(tables::CONVERSATION, peer.as_str());
        walk.put(key, read.encode());
    }
    Ok(())
}
