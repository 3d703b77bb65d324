//! Taking messages back: what an author asks, what a moderator asks, what a room tells, and what stays in archives.
//!
//! XEP-0425 0.3.0 and the part of XEP-0424 0.4.2 that it builds on. Its older namespace (`:0`, by way of XEP-0422) is
//! left out: clients that still read it do not ask for it.

use super::occupant_id::OccupantId;
use crate::error::StanzaError;
use crate::jid::Jid;
use crate::ns;
use crate::stanza::{ChildRef, Stanza};
use crate::xml::Element;

/// Bytes of a reason that is kept: it is repeated in every copy, and nobody reads more.
pub const MAX_REASON_BYTES: usize = 1024;

/// What a moderator asks of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The room's id of the message.
    pub id: String,
    /// Why it has to go.
    pub reason: Option<String>,
}

impl Request {
    /// Reads a `<moderate/>`.
    ///
    /// # Errors
    /// There is no id (`bad-request`), it is not about a retraction (`feature-not-implemented`), or the reason is longer
    /// than [`MAX_REASON_BYTES`] (`not-acceptable`).
    pub fn read(moderate: &Element) -> Result<Request, StanzaError> {
        let id = moderate.attr("id").filter(|id| !id.is_empty());
        let id = id.ok_or_else(StanzaError::bad_request)?.to_owned();
        if moderate.child("retract", ns::RETRACT).is_none() {
            return Err(StanzaError::feature_not_implemented());
        }
        let reason = moderate.child("reason", ns::MODERATE).map(Element::text);
        let reason = reason.filter(|reason| !reason.is_empty());
        if reason
            .as_ref()
            .is_some_and(|reason| reason.len() > MAX_REASON_BYTES)
        {
            return Err(StanzaError::not_acceptable().with_text("the reason is too long"));
        }
        Ok(Request { id, reason })
    }
}

/// Who has moderated, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moderated {
    /// The moderator in the room.
    pub by: Jid,
    /// And by the id that outlasts the nickname.
    pub occupant: OccupantId,
    /// Why.
    pub reason: Option<String>,
}

impl Moderated {
    /// The `<retract/>` by which a room tells its occupants that the message with this id is gone.
    pub fn to_retract(&self, id: &str) -> Element {
        self.inside(Element::new("retract", ns::RETRACT).with_attr("id", id))
    }

    /// What stays of the message in the archive, from the moment `stamp` (an XEP-0082 DateTime). It names the message
    /// with id `announcement` by which the room has told of it (XEP-0424 §5), so that clients can match the two.
    pub fn to_tombstone(&self, announcement: &str, stamp: &str) -> Element {
        self.inside(tombstone(announcement, stamp))
    }

    fn inside(&self, element: Element) -> Element {
        let moderated = Element::new("moderated", ns::MODERATE)
            .with_attr("by", self.by.as_str())
            .with_child(self.occupant.to_element());
        let reason = self.reason.as_deref();
        let reason = reason.map(|reason| Element::new("reason", ns::RETRACT).with_text(reason));
        element.with_child(moderated).with_children(reason)
    }
}

/// What stays of a message that its author took back by the message with id `retraction` (XEP-0424 §5).
pub fn tombstone(retraction: &str, stamp: &str) -> Element {
    Element::new("retracted", ns::RETRACT)
        .with_attr("id", retraction)
        .with_attr("stamp", stamp)
}

/// Which message a message takes back, if it does (XEP-0424 §4).
pub fn retracted(stanza: &Stanza) -> Option<String> {
    let retract = stanza.child("retract", ns::RETRACT)?.to_element().ok()?;
    retract.attr("id").map(str::to_owned)
}

/// Does a child of a message claim to be a moderator's retraction? Only a room says so (business rules).
pub fn is_claim(child: &ChildRef<'_>) -> bool {
    let claims = |element: Element| element.child("moderated", ns::MODERATE).is_some();
    child.ns == ns::RETRACT && child.to_element().is_ok_and(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Condition;
    use crate::jid::BareJid;
    use crate::stanza::MessageType;
    use crate::xep::occupant_id::Secret;

    fn request(content: &str) -> Result<Request, StanzaError> {
        let xml = format!("<moderate xmlns='urn:xmpp:message-moderate:1' {content}</moderate>");
        Request::read(&Element::parse(xml.as_bytes(), "").unwrap())
    }

    const RETRACT: &str = "<retract xmlns='urn:xmpp:message-retract:1'/>";

    #[test]
    fn a_moderator_names_a_message_and_perhaps_a_reason() {
        let plain = request(&format!("id='stanza-id-1'>{RETRACT}")).unwrap();
        assert_eq!((&*plain.id, plain.reason), ("stanza-id-1", None));
        let why = request(&format!("id='1'>{RETRACT}<reason>Rude</reason>")).unwrap();
        assert_eq!(why.reason.as_deref(), Some("Rude"));
        let most = "x".repeat(MAX_REASON_BYTES);
        assert!(request(&format!("id='1'>{RETRACT}<reason>{most}</reason>")).is_ok());
        let long = format!("id='1'>{RETRACT}<reason>{most}x</reason>");
        for (bad, condition) in [
            (format!(">{RETRACT}"), Condition::BadRequest),
            (format!("id=''>{RETRACT}"), Condition::BadRequest),
            ("id='1'>".to_owned(), Condition::FeatureNotImplemented),
            (long, Condition::NotAcceptable),
        ] {
            assert_eq!(request(&bad).unwrap_err().condition, condition, "{bad}");
        }
    }

    #[test]
    fn a_room_tells_who_has_moderated() {
        let moderated = Moderated {
            by: Jid::parse("room@muc.example.com/macbeth").unwrap(),
            occupant: OccupantId::derive(&Secret::default(), &BareJid::parse("a@b").unwrap()),
            reason: Some("Rude".to_owned()),
        };
        let told = moderated.to_retract("stanza-id-1");
        let by = told.child("moderated", ns::MODERATE).unwrap();
        assert_eq!(told.attr("id"), Some("stanza-id-1"));
        assert_eq!(by.attr("by"), Some("room@muc.example.com/macbeth"));
        assert!(by.child("occupant-id", ns::OCCUPANT_ID).is_some());
        assert_eq!(told.child("reason", ns::RETRACT).unwrap().text(), "Rude");
        let left = moderated.to_tombstone("told-1", "2019-09-20T23:19:12Z");
        assert_eq!(left.name(), "retracted");
        assert_eq!(left.attr("stamp"), Some("2019-09-20T23:19:12Z"));
        assert!(left.child("moderated", ns::MODERATE).is_some());
    }

    #[test]
    fn an_occupant_cannot_speak_as_a_moderator() {
        let forged = Element::new("retract", ns::RETRACT)
            .with_attr("id", "1")
            .with_child(Element::new("moderated", ns::MODERATE));
        let honest = Element::new("retract", ns::RETRACT).with_attr("id", "2");
        let mut stanza = Stanza::message(MessageType::Groupchat)
            .with_child(&forged)
            .with_child(&honest);
        stanza.remove_children(|child| is_claim(&child));
        assert_eq!(retracted(&stanza).as_deref(), Some("2"));
    }
}
