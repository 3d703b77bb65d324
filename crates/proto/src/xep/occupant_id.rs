//! Who an occupant of a room is, without saying who it is: the same id for the same person under every nickname.
//!
//! XEP-0421 1.0.1. The id is HMAC-SHA-256 of the person's bare JID, keyed with a secret of the room's own, cut to 160
//! bits: without the secret neither can the JID be found by trying, nor can the ids of two rooms be compared.

use crate::jid::BareJid;
use crate::ns;
use crate::sasl::Hash;
use crate::stanza::Stanza;
use crate::xml::Element;

/// Bytes of a room's secret: as many as the hash has, more would add nothing.
pub const SECRET_BYTES: usize = 32;

/// What the ids of one room are made with. Whoever knows it can tell who is who.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// A secret from random bytes, or from the store.
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Secret {
        Secret(bytes)
    }

    /// To be stored, and nowhere else to be seen.
    pub fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Bytes of the hash that are shown. 160 bits do not collide in any room, and every message carries them.
const ID_BYTES: usize = 20;

/// The id of an occupant of one room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OccupantId(Box<str>);

impl OccupantId {
    /// The id of `user` in the room that has this secret.
    pub fn derive(secret: &Secret, user: &BareJid) -> OccupantId {
        let digest = Hash::Sha256.hmac(&secret.0, &[user.as_str().as_bytes()]);
        let shown = &digest.as_slice()[..ID_BYTES];
        let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        OccupantId(hex.into())
    }

    /// The id that a stanza of a room of ours carries. In what came from elsewhere it means nothing.
    pub fn of(stanza: &Stanza) -> Option<OccupantId> {
        let child = stanza.child("occupant-id", ns::OCCUPANT_ID)?;
        let element = child.to_element().ok()?;
        element.attr("id").map(|id| OccupantId(id.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The `<occupant-id/>` of a stanza.
    pub fn to_element(&self) -> Element {
        Element::new("occupant-id", ns::OCCUPANT_ID).with_attr("id", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::MessageType;

    #[test]
    fn an_id_is_of_a_person_and_a_room() {
        let jid = |text| BareJid::parse(text).unwrap();
        let (witch, hag) = (jid("crone1@shakespeare.lit"), jid("hag66@shakespeare.lit"));
        let (coven, heath) = (
            Secret::new([1; SECRET_BYTES]),
            Secret::new([2; SECRET_BYTES]),
        );
        let id = OccupantId::derive(&coven, &witch);
        // Stored nowhere: if the derivation changed, everybody in every archive would become somebody else.
        assert_eq!(id.as_str(), "d3d99b2d08521cc0775bcfd36d399e1456a53337");
        assert_eq!(id, OccupantId::derive(&coven, &witch));
        assert_ne!(id, OccupantId::derive(&coven, &hag));
        assert_ne!(id, OccupantId::derive(&heath, &witch));
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let mut stanza = Stanza::message(MessageType::Groupchat);
        assert_eq!(OccupantId::of(&stanza), None);
        let bare = BareJid::parse("a@b").unwrap();
        let id = OccupantId::derive(&Secret::default(), &bare);
        assert_eq!(format!("{:?}", Secret::default()), "Secret");
        stanza.push_child(&id.to_element());
        assert_eq!(OccupantId::of(&stanza), Some(id));
    }
}
