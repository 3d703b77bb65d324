//! A room has a picture: its card, which an owner publishes, and the hash by which clients know of a new one.
//!
//! XEP-0486: MUC Avatars, version 0.1.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::xep::muc::Affiliation;
use posthaste_proto::xml::Element;
use sha1::{Digest, Sha1};

use super::{configured, disco};
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::ext::{Answer, Ext, stored_xml};
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "MUC Avatars",
    xep: 486,
    version: "0.1.0",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Pictures of one card: the same one in some formats.
const MOST_PICTURES: u32 = 8;
const HASHES_V1: u8 = 1;

/// §3.4: the card, for whoever may know of the room.
pub(super) async fn get(walk: &Walk<'_>) -> Answer {
    disco::check_visible(walk)?;
    let card = walk.get(tables::VCARD).await?;
    let card = card.map(stored_xml::decode).transpose()?;
    Ok(Some(
        card.unwrap_or_else(|| Element::new("vCard", ns::VCARD)),
    ))
}

/// §3.2: an owner publishes the card; an empty one takes it back.
pub(super) fn set(walk: &mut Walk<'_>, card: &Element) -> Answer {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let from = walk.stanza.from.as_ref();
    let user = from.ok_or_else(StanzaError::bad_request)?.to_bare();
    if room.affiliation(&user) != Affiliation::Owner {
        return Err(StanzaError::forbidden()
            .with_text("owners give a room its picture")
            .into());
    }
    if card.children().next().is_none() {
        walk.delete(tables::VCARD);
        walk.delete(tables::ROOM_AVATAR);
    } else {
        let value = stored_xml::encode(card, walk.node.config().stored_xml_bytes)?;
        let photos = card.children().filter(|it| it.is("PHOTO", ns::VCARD));
        let hashes = photos.filter_map(hash).take(MOST_PICTURES as usize);
        let hashes: Vec<String> = hashes.collect();
        walk.put(tables::VCARD, value);
        walk.put(tables::ROOM_AVATAR, encode(&hashes));
    }
    configured::tell_changed(walk);
    Ok(None)
}

/// §3.3: the hashes of the pictures, for whoever may know of the room.
pub(super) async fn hashes(walk: &Walk<'_>) -> Result<Vec<String>, WalkError> {
    let value = walk.get(tables::ROOM_AVATAR).await?;
    Ok(value.map(decode).transpose()?.unwrap_or_default())
}

/// The picture of a room that everybody may find, as the card has it.
pub(in crate::ext) async fn public(walk: &Walk<'_>) -> Result<Option<String>, WalkError> {
    let room = walk.home.room.as_deref();
    if !room.is_some_and(|room| room.config.public && !room.locked) {
        return Ok(None);
    }
    let card = walk.get(tables::VCARD).await?;
    let card = card.map(stored_xml::decode).transpose()?;
    let photo = card
        .as_ref()
        .and_then(|card| card.child("PHOTO", ns::VCARD));
    let picture = photo.and_then(|photo| photo.child("BINVAL", ns::VCARD));
    Ok(picture.map(Element::text))
}

/// The hash of one picture, as XEP-0153 §3.1 makes it.
fn hash(photo: &Element) -> Option<String> {
    let mut text = photo.child("BINVAL", ns::VCARD)?.text();
    text.retain(|c| !c.is_ascii_whitespace());
    let picture = BASE64.decode(text).ok()?;
    let digest = Sha1::digest(picture);
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn encode(hashes: &[String]) -> Bytes {
    let mut value = Writer::new(HASHES_V1, 64);
    value.u32(u32::try_from(hashes.len()).unwrap_or(u32::MAX));
    for hash in hashes {
        value.text(hash);
    }
    value.finish()
}

fn decode(value: Bytes) -> Result<Vec<String>, Corrupt> {
    let (_, mut value) = Reader::open("hashes of pictures", value, HASHES_V1)?;
    let count = value.count(MOST_PICTURES)?;
    let hashes = (0..count).map(|_| value.text()).collect::<Result<_, _>>()?;
    value.end()?;
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let hashes = vec!["a31c".to_owned(), "b9b2".to_owned()];
        let golden = b"\x01\0\0\0\x02\0\0\0\x04a31c\0\0\0\x04b9b2";
        assert_eq!(&encode(&hashes)[..], golden);
        assert_eq!(decode(Bytes::from_static(golden)), Ok(hashes));
        assert!(decode(Bytes::from_static(b"\x01\0\0\0\x09")).is_err());
    }
}
