//! People's pictures are seen everywhere, whether a client knows the new way to keep them or only the old one.
//!
//! XEP-0398: User Avatar to vCard-Based Avatars Conversion, version 1.0.0, between XEP-0084 (version 1.1.4) and the
//! photo of the vCard (XEP-0153). The nodes are the truth: a vCard is shown with the picture of the nodes, as far as
//! whoever asks may read them, and a photo in a vCard that is stored is published to them. A vCard without a photo leaves
//! the picture as it is; one with an empty photo takes it away. What is open to everybody is on the web, too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, PresenceType, Stanza};
use posthaste_proto::xml::Element;
use sha1::{Digest, Sha1};

use super::pubsub::own::{self, OwnNode};
use super::{Ext, muc};
use crate::error::WalkError;
use crate::media::PictureKind;
use crate::node::Node;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "User Avatar to vCard-Based Avatars Conversion",
    xep: 398,
    version: "1.0.0",
    host_features: &[],
    account_features: &["urn:xmpp:pep-vcard-conversion:0"],
    account_iqs: &[],
    host_iqs: &[],
};

/// What the metadata say of the picture that is at hand here, and not somewhere in the web.
struct Picture {
    /// The SHA-1 of its bytes, in hexadecimal.
    id: String,
    kind: String,
}

async fn current(walk: &Walk<'_>, metadata: &OwnNode) -> Result<Option<Picture>, WalkError> {
    let Some((_, payload)) = metadata.items(walk, 1).await?.pop() else {
        return Ok(None);
    };
    let info = payload
        .children()
        .find(|child| child.is("info", ns::AVATAR_METADATA) && child.attr("url").is_none());
    Ok(info.and_then(|info| {
        Some(Picture {
            id: info.attr("id")?.to_owned(),
            kind: info.attr("type").unwrap_or("image/png").to_owned(),
        })
    }))
}

// ---- the vCard ------------------------------------------------------------------------------------------

/// The card as `who` sees it: with the picture of the nodes, if they may read them.
///
/// # Errors
/// The store's.
pub(super) async fn show(
    walk: &Walk<'_>,
    card: Option<Element>,
    who: &BareJid,
) -> Result<Option<Element>, WalkError> {
    let Some(photo) = photo(walk, who).await? else {
        return Ok(card);
    };
    let mut shown = Element::new("vCard", ns::VCARD);
    for child in card.into_iter().flat_map(Element::into_children) {
        if !child.is("PHOTO", ns::VCARD) {
            shown.push_child(child);
        }
    }
    Ok(Some(shown.with_child(photo)))
}

async fn photo(walk: &Walk<'_>, who: &BareJid) -> Result<Option<Element>, WalkError> {
    let Some(metadata) = OwnNode::find(walk, ns::AVATAR_METADATA).await? else {
        return Ok(None);
    };
    let Some(data) = OwnNode::find(walk, ns::AVATAR_DATA).await? else {
        return Ok(None);
    };
    if !metadata.can_be_read_by(walk, who).await? || !data.can_be_read_by(walk, who).await? {
        return Ok(None);
    }
    let Some(picture) = current(walk, &metadata).await? else {
        return Ok(None);
    };
    let Some(data) = data.item(walk, &picture.id).await? else {
        return Ok(None);
    };
    let text = |name: &'static str, text: &str| Element::new(name, ns::VCARD).with_text(text);
    Ok(Some(
        Element::new("PHOTO", ns::VCARD)
            .with_child(text("TYPE", &picture.kind))
            .with_child(text("BINVAL", &data.text())),
    ))
}

/// A card that is to be stored: its photo goes to the nodes. Answers the rest.
///
/// # Errors
/// A bound of pubsub is reached; or the store's.
pub(super) async fn take(walk: &mut Walk<'_>, card: Element) -> Result<Element, WalkError> {
    let Some(photo) = card.child("PHOTO", ns::VCARD) else {
        return Ok(card);
    };
    let text = |name| photo.child(name, ns::VCARD).map(Element::text);
    let base64: String = text("BINVAL")
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    if base64.is_empty() && photo.child("EXTVAL", ns::VCARD).is_none() {
        withdraw(walk).await?;
    } else if let Some(bytes) = BASE64
        .decode(&base64)
        .ok()
        .filter(|bytes| !bytes.is_empty())
    {
        let kind = text("TYPE").filter(|kind| !kind.is_empty());
        publish(
            walk,
            &bytes,
            &base64,
            kind.as_deref().unwrap_or("image/png"),
        )
        .await?;
    } else {
        // A picture somewhere in the web, or none at all: it stays where it is.
        return Ok(card);
    }
    let mut rest = Element::new("vCard", ns::VCARD);
    for child in card.into_children() {
        if !child.is("PHOTO", ns::VCARD) {
            rest.push_child(child);
        }
    }
    Ok(rest)
}

/// §3.2: first the data, then the metadata. What is in a vCard is for everybody.
async fn publish(
    walk: &mut Walk<'_>,
    bytes: &[u8],
    base64: &str,
    kind: &str,
) -> Result<(), WalkError> {
    let id: String = Sha1::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut metadata = OwnNode::find_or_make(walk, ns::AVATAR_METADATA, own::public()).await?;
    let mut data = OwnNode::find_or_make(walk, ns::AVATAR_DATA, own::public()).await?;
    let is_known = current(walk, &metadata)
        .await?
        .is_some_and(|picture| picture.id == id);
    if is_known && data.item(walk, &id).await?.is_some() {
        // A client has stored its card with the picture that it was shown.
        return Ok(());
    }
    let payload = Element::new("data", ns::AVATAR_DATA).with_text(base64);
    data.publish(walk, &id, payload).await?;
    data.save(walk).await?;
    let info = Element::new("info", ns::AVATAR_METADATA)
        .with_attr("bytes", bytes.len().to_string())
        .with_attr("id", &*id)
        .with_attr("type", kind);
    let payload = Element::new("metadata", ns::AVATAR_METADATA).with_child(info);
    metadata.publish(walk, &id, payload).await?;
    metadata.save(walk).await
}

/// XEP-0084 §4.2.1: no picture any more.
async fn withdraw(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some(mut metadata) = OwnNode::find(walk, ns::AVATAR_METADATA).await? else {
        return Ok(());
    };
    if current(walk, &metadata).await?.is_none() {
        return Ok(());
    }
    let none = Element::new("metadata", ns::AVATAR_METADATA);
    metadata.publish(walk, "current", none).await?;
    metadata.save(walk).await
}

// ---- presence -------------------------------------------------------------------------------------------

/// §4: the hash of the picture goes into available presence, directed presence too, unless the client says that it has
/// no picture to show.
///
/// # Errors
/// The store's.
pub async fn stamp(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if walk.stanza.kind != Kind::Presence(PresenceType::Available) {
        return Ok(());
    }
    if let Some(update) = walk.stanza.child("x", ns::VCARD_UPDATE) {
        let update = update.to_element()?;
        let photo = update.child("photo", ns::VCARD_UPDATE);
        if photo.is_some_and(|photo| photo.text().is_empty()) {
            return Ok(());
        }
    }
    let Some(metadata) = OwnNode::find(walk, ns::AVATAR_METADATA).await? else {
        return Ok(());
    };
    if !metadata.is_for_contacts() {
        return Ok(());
    }
    let Some(picture) = current(walk, &metadata).await? else {
        return Ok(());
    };
    walk.stanza
        .remove_children(|child| child.is("x", ns::VCARD_UPDATE));
    let photo = Element::new("photo", ns::VCARD_UPDATE).with_text(&picture.id);
    walk.stanza
        .push_child(&Element::new("x", ns::VCARD_UPDATE).with_child(photo));
    Ok(())
}

// ---- the web --------------------------------------------------------------------------------------------

/// A picture that everybody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPicture {
    /// What it really is.
    pub kind: PictureKind,
    /// The file.
    pub bytes: Bytes,
}

/// The picture of this account or room, if everybody may see it: the nodes that hold it are open, or the room is a
/// public one. For all others, and for addresses where nobody is, there is none.
///
/// # Errors
/// The store's.
pub async fn public(node: &Node, jid: &BareJid) -> Result<Option<PublicPicture>, WalkError> {
    let partition = tables::partition(jid)?;
    let is_account = node.kv().get(&partition, tables::ACCOUNT).await?.is_some();
    // Before a home is made for it: most addresses that strangers try are nobody's.
    if !is_account && node.kv().get(&partition, tables::ROOM).await?.is_none() {
        return Ok(None);
    }
    let home = node.home(jid);
    let mut state = home.lock(node).await?;
    let nobody = Stanza::iq(IqType::Get);
    let walk = Walk::new(node, &home, &mut state, nobody, None);
    let base64 = match is_account {
        true => open_picture(&walk).await,
        false => muc::avatar::public(&walk).await,
    };
    // It has written nothing; what waited to be sent since the home was loaded sets out as after any walk.
    let finished = walk.finish(Ok(())).await.map_err(|(_, error)| error);
    drop(state);
    let (_, out) = finished?;
    node.route(out).await;
    let mut base64 = base64?.unwrap_or_default();
    base64.retain(|c| !c.is_ascii_whitespace());
    let bytes = BASE64.decode(base64).unwrap_or_default();
    let kind = PictureKind::sniff(&bytes);
    Ok(kind.map(|kind| PublicPicture {
        kind,
        bytes: bytes.into(),
    }))
}

async fn open_picture(walk: &Walk<'_>) -> Result<Option<String>, WalkError> {
    let Some(metadata) = OwnNode::find(walk, ns::AVATAR_METADATA).await? else {
        return Ok(None);
    };
    let Some(data) = OwnNode::find(walk, ns::AVATAR_DATA).await? else {
        return Ok(None);
    };
    if !metadata.is_for_everybody() || !data.is_for_everybody() {
        return Ok(None);
    }
    let Some(picture) = current(walk, &metadata).await? else {
        return Ok(None);
    };
    let data = data.item(walk, &picture.id).await?;
    Ok(data.map(|data| data.text()))
}
