//! Whoever takes back a message takes it out of both archives; what is left there says that something was.
//!
//! XEP-0424: Message Retraction, version 0.4.2. The original is replaced by a tombstone where the archive has it among
//! the last messages of the conversation ([`crate::conversations::LOOK_BACK`]); the retraction itself is archived and
//! delivered like any message, so that every client learns of it. Only who sent a message can take it back: the home
//! looks for it among what the same side of the conversation has said.

use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::moderation::tombstone;
use posthaste_proto::xml::Element;

use super::Ext;
use crate::codec;
use crate::conversations;
use crate::error::WalkError;
use crate::log::Entry;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Message Retraction",
    xep: 424,
    version: "0.4.2",
    host_features: &[],
    account_features: &[ns::RETRACT, ns::RETRACT_TOMBSTONE],
    account_iqs: &[],
    host_iqs: &[],
};

/// Replaces the message that this one takes back, if it does. After the append: without the retraction in the archive a
/// client could not tell what the tombstone means.
///
/// # Errors
/// The store's.
pub async fn apply(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some(retract) = walk.stanza.child("retract", ns::RETRACT) else {
        return Ok(());
    };
    let Some(retracted) = retract.to_element()?.attr("id").map(str::to_owned) else {
        return Ok(());
    };
    // Business rules: the tombstone names the retraction, which must be there too.
    let (Some(_), Some(name)) = (walk.logged_id(), walk.stanza.id.clone()) else {
        return Ok(());
    };
    let own = walk.is_from_owner();
    let address = if own {
        &walk.stanza.to
    } else {
        &walk.stanza.from
    };
    let Some(peer) = address.as_ref().map(|address| address.to_bare()) else {
        return Ok(());
    };
    let found = conversations::named(walk.node, walk.home, &peer, &retracted, own).await?;
    let Some(id) = found else { return Ok(()) };
    let Some(value) = walk.get(&tables::log_key(id)).await? else {
        return Ok(());
    };
    let mut entry = Entry::decode(value)?;
    let mut original = codec::stanza(&entry.stanza)?;
    // The index knows only a hash of the id.
    if original.id.as_deref() != Some(&*retracted) || original.has("retracted", ns::RETRACT) {
        return Ok(());
    }
    bury(&mut original, &tombstone(&name, &walk.now.to_string()));
    entry.stanza = original.encode();
    walk.put(tables::log_key(id), entry.encode());
    Ok(())
}

/// Nothing stays but the addresses, the ids, in a room who it was and its number in the group, and what became of it.
pub(in crate::ext) fn bury(original: &mut Stanza, tombstone: &Element) {
    const STAYS: [&str; 4] = [ns::STANZA_ID, ns::OCCUPANT_ID, ns::MUC_USER, ns::GROUPS];
    original.remove_children(|child| !STAYS.contains(&child.ns));
    original.push_child(tombstone);
}
