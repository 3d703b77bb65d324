//! A person's rooms are the same on all devices, whichever of the two ways a client keeps bookmarks.
//!
//! XEP-0402: PEP Native Bookmarks, version 1.2.0, with the conversion to and from XEP-0048 in private storage
//! (XEP-0049, §5.3 "Compatibility"). The node is the truth: what an old client reads is made from it, and what an old
//! client writes is published to it. What has no place there (bookmarks of web pages, rooms without an address) stays in
//! private storage. Left out: XEP-0048 in a node of its own (`#compat-pep`).

use std::collections::HashMap;

use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xml::Element;

use super::Ext;
use super::pubsub::own::{self, OwnNode};
use crate::error::WalkError;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "PEP Native Bookmarks",
    xep: 402,
    version: "1.2.0",
    host_features: &[],
    account_features: &["urn:xmpp:bookmarks:1#compat"],
    account_iqs: &[],
    host_iqs: &[],
};

/// Rooms that an old client is shown. Its list is one stanza, and nobody has so many.
const MAX_ROOMS: usize = 1_000;

/// Is this what old clients keep in private storage?
pub(super) fn is_storage(element: &Element) -> bool {
    element.is("storage", ns::BOOKMARKS_STORAGE)
}

/// What an old client reads: the rooms of the node, and what else is in private storage.
///
/// # Errors
/// The store's.
pub(super) async fn read(walk: &Walk<'_>, stored: Element) -> Result<Element, WalkError> {
    let Some(node) = OwnNode::find(walk, ns::BOOKMARKS).await? else {
        return Ok(stored);
    };
    let rooms = node.items(walk, MAX_ROOMS).await?;
    let rooms = rooms.iter().map(|(id, conference)| to_old(id, conference));
    Ok(Element::new("storage", ns::BOOKMARKS_STORAGE)
        .with_children(rooms)
        .with_children(stored.into_children().filter(|it| room_of(it).is_none())))
}

/// An old client has written its list: what has changed is published, what is missing is taken back. Answers what stays
/// in private storage.
///
/// # Errors
/// A bound of pubsub is reached; or the store's.
pub(super) async fn write(walk: &mut Walk<'_>, list: &Element) -> Result<Element, WalkError> {
    let mut wanted: Vec<(BareJid, &Element)> = Vec::new();
    let mut rest = Element::new("storage", ns::BOOKMARKS_STORAGE);
    for child in list.children() {
        match room_of(child) {
            Some(room) if wanted.iter().any(|(known, _)| *known == room) => {}
            Some(room) if wanted.len() < MAX_ROOMS => wanted.push((room, child)),
            _ => rest.push_child(child.clone()),
        }
    }
    let mut node = OwnNode::find_or_make(walk, ns::BOOKMARKS, own::private()).await?;
    let known: HashMap<String, Element> = node.items(walk, MAX_ROOMS).await?.into_iter().collect();
    for (room, old) in &wanted {
        let known = known.get(room.as_str());
        let new = to_new(old, known);
        // §5.3.2: nobody is told of what has not changed.
        if known.is_none_or(|known| meaning(known) != meaning(&new)) {
            node.publish(walk, room.as_str(), new).await?;
        }
    }
    for id in known.keys() {
        if !wanted.iter().any(|(room, _)| room.as_str() == id) {
            node.retract(walk, id).await?;
        }
    }
    node.save(walk).await?;
    Ok(rest)
}

/// The address of a room in an old list, if it is one.
fn room_of(child: &Element) -> Option<BareJid> {
    if !child.is("conference", ns::BOOKMARKS_STORAGE) {
        return None;
    }
    BareJid::parse(child.attr("jid")?).ok()
}

fn to_old(id: &str, conference: &Element) -> Element {
    let text = |name: &'static str| {
        let child = conference.child(name, ns::BOOKMARKS)?;
        Some(Element::new(name, ns::BOOKMARKS_STORAGE).with_text(&child.text()))
    };
    Element::new("conference", ns::BOOKMARKS_STORAGE)
        .with_attr("jid", id)
        .with_attr_opt("name", conference.attr("name"))
        .with_attr_opt("autojoin", conference.attr("autojoin"))
        .with_children(text("nick"))
        .with_children(text("password"))
}

/// §3.4: what new clients keep beside it is not lost when an old one writes.
fn to_new(conference: &Element, known: Option<&Element>) -> Element {
    let text = |name: &'static str| {
        let child = conference.child(name, ns::BOOKMARKS_STORAGE)?;
        Some(Element::new(name, ns::BOOKMARKS).with_text(&child.text()))
    };
    let extensions = known.and_then(|known| known.child("extensions", ns::BOOKMARKS));
    Element::new("conference", ns::BOOKMARKS)
        .with_attr_opt("name", conference.attr("name"))
        .with_attr_opt("autojoin", conference.attr("autojoin"))
        .with_children(text("nick"))
        .with_children(text("password"))
        .with_children(extensions.cloned())
}

/// What of a bookmark an old client can change.
fn meaning(conference: &Element) -> (String, bool, Option<String>, Option<String>) {
    let text = |name| conference.child(name, ns::BOOKMARKS).map(Element::text);
    (
        conference.attr("name").unwrap_or_default().to_owned(),
        matches!(conference.attr("autojoin"), Some("1" | "true")),
        text("nick"),
        text("password"),
    )
}
