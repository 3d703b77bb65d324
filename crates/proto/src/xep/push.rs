//! Push notifications: what a client asks its server for, and what the server publishes to a push service.
//!
//! XEP-0357 0.4.1.

use thiserror::Error;

use super::data_form::{DataForm, FORM_TYPE, Field, FormKind};
use crate::jid::{BareJid, Jid};
use crate::ns;
use crate::xml::Element;

/// Longest name of a node, in bytes: tokens of push systems are shorter by far.
pub const MAX_NODE_BYTES: usize = 1024;

/// A request that is not what it should be. The client's fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadPush {
    /// There is no service, or a node's name or the options are none.
    #[error("{0}")]
    Malformed(&'static str),
    /// The service's address is no JID.
    #[error("the push service's address is no JID")]
    BadJid,
}

/// `<enable/>` (§5): notifications are to be published to this node of this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enable {
    /// The push service.
    pub service: Jid,
    /// Its node; empty when the service needs none.
    pub node: String,
    /// The form that each publish has to carry, as the client gave it.
    pub options: Option<Element>,
}

/// `<disable/>` (§6): no more of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disable {
    /// The push service.
    pub service: Jid,
    /// One node of it, or all of them.
    pub node: Option<String>,
}

impl Enable {
    /// Reads the element.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn read(enable: &Element) -> Result<Enable, BadPush> {
        let (service, node) = address(enable)?;
        let options = enable.child("x", ns::DATA_FORMS).cloned();
        if let Some(options) = &options {
            let has_type = |kind: &Element| {
                kind.attr("var") == Some(FORM_TYPE)
                    && kind
                        .child("value", ns::DATA_FORMS)
                        .is_some_and(|value| value.text() == ns::PUBLISH_OPTIONS)
            };
            if !options.children().any(has_type) {
                return Err(BadPush::Malformed("the form holds no publish options"));
            }
        }
        Ok(Enable {
            service,
            node: node.unwrap_or_default(),
            options,
        })
    }
}

impl Disable {
    /// Reads the element.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn read(disable: &Element) -> Result<Disable, BadPush> {
        let (service, node) = address(disable)?;
        Ok(Disable { service, node })
    }
}

fn address(element: &Element) -> Result<(Jid, Option<String>), BadPush> {
    let service = element
        .attr("jid")
        .ok_or(BadPush::Malformed("there is no push service"))?;
    let service = Jid::parse(service).map_err(|_| BadPush::BadJid)?;
    let node = element.attr("node").map(str::to_owned);
    if node
        .as_ref()
        .is_some_and(|node| node.len() > MAX_NODE_BYTES)
    {
        return Err(BadPush::Malformed("the node's name is too long"));
    }
    Ok((service, node))
}

/// What a notification tells besides that there is something (§7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many messages wait.
    pub message_count: Option<usize>,
    /// Who sent the last one.
    pub last_sender: Option<Jid>,
    /// Its text.
    pub last_body: Option<String>,
}

impl Summary {
    fn form(&self) -> Option<Element> {
        let fields = [
            ("message-count", self.message_count.map(|n| n.to_string())),
            (
                "last-message-sender",
                self.last_sender.as_ref().map(Jid::to_string),
            ),
            ("last-message-body", self.last_body.clone()),
        ];
        let mut form = DataForm::new(FormKind::Submit, ns::PUSH_SUMMARY);
        for (name, value) in fields {
            if let Some(value) = value {
                form = form.with_field(Field::new(name, [value]));
            }
        }
        (form.fields.len() > 1).then(|| form.to_element())
    }
}

/// The payload of the IQ that publishes a notification (§7).
pub fn publish(node: &str, summary: &Summary, options: Option<Element>) -> Element {
    let notification = Element::new("notification", ns::PUSH).with_children(summary.form());
    let item = Element::new("item", ns::PUBSUB).with_child(notification);
    let mut publish = Element::new("publish", ns::PUBSUB);
    if !node.is_empty() {
        publish = publish.with_attr("node", node);
    }
    let options = options.map(|form| Element::new("publish-options", ns::PUBSUB).with_child(form));
    Element::new("pubsub", ns::PUBSUB)
        .with_child(publish.with_child(item))
        .with_children(options)
}

/// The node at which a push service no longer takes what this account publishes (§8), if that is what a message's
/// `<pubsub/>` says.
pub fn withdrawn_node(pubsub: &Element, account: &BareJid) -> Option<String> {
    let affiliation = pubsub.child("affiliation", ns::PUBSUB)?;
    let jid = Jid::parse(affiliation.attr("jid")?).ok()?;
    let is_withdrawn = matches!(
        affiliation.attr("affiliation")?,
        "none" | "outcast" | "member"
    );
    (is_withdrawn && jid.to_bare() == *account)
        .then(|| pubsub.attr("node").unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(xml: &str) -> Element {
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap()
    }

    const OPTIONS: &str = "<x xmlns='jabber:x:data' type='submit'>\
        <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
        <field var='secret'><value>eruio234vzxc2kla-91</value></field></x>";

    #[test]
    fn the_examples_are_read() {
        let enable = Enable::read(&element(&format!(
            "<enable xmlns='urn:xmpp:push:0' jid='push-5.client.example' node='yxs'>{OPTIONS}</enable>"
        )))
        .unwrap();
        assert_eq!(enable.service.to_string(), "push-5.client.example");
        assert_eq!(
            (enable.node.as_str(), enable.options.is_some()),
            ("yxs", true)
        );
        let disable = element("<disable xmlns='urn:xmpp:push:0' jid='push-5.client.example'/>");
        assert_eq!(Disable::read(&disable).unwrap().node, None);
    }

    #[test]
    fn what_cannot_be_published_to_is_refused() {
        let long = "x".repeat(MAX_NODE_BYTES + 1);
        for wrong in [
            "<enable xmlns='urn:xmpp:push:0' node='yxs'/>".to_owned(),
            "<enable xmlns='urn:xmpp:push:0' jid='a@b@c' node='yxs'/>".to_owned(),
            format!("<enable xmlns='urn:xmpp:push:0' jid='push.example' node='{long}'/>"),
            "<enable xmlns='urn:xmpp:push:0' jid='push.example'><x xmlns='jabber:x:data'/></enable>"
                .to_owned(),
        ] {
            assert!(Enable::read(&element(&wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_notification_tells_what_it_is_told_to() {
        let nothing = publish("yxs", &Summary::default(), None).to_bytes(ns::CLIENT);
        assert_eq!(
            String::from_utf8(nothing).unwrap(),
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='yxs'><item>\
             <notification xmlns='urn:xmpp:push:0'/></item></publish></pubsub>"
        );
        let summary = Summary {
            message_count: Some(1),
            last_sender: Some(Jid::parse("juliet@capulet.example/balcony").unwrap()),
            last_body: Some("Wherefore art thou, Romeo?".to_owned()),
        };
        let all = publish("yxs", &summary, Some(element(OPTIONS))).to_bytes(ns::CLIENT);
        let all = String::from_utf8(all).unwrap();
        for part in [
            "<field var='message-count'><value>1</value></field>",
            "<value>juliet@capulet.example/balcony</value>",
            "<value>Wherefore art thou, Romeo?</value>",
            "</publish><publish-options><x xmlns='jabber:x:data' type='submit'>",
            "<value>eruio234vzxc2kla-91</value>",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn a_service_may_withdraw() {
        let own = BareJid::parse("user@example.com").unwrap();
        let event = |jid: &str, affiliation: &str| {
            element(&format!(
                "<pubsub xmlns='http://jabber.org/protocol/pubsub' node='yxs'>\
                 <affiliation jid='{jid}' affiliation='{affiliation}'/></pubsub>"
            ))
        };
        assert_eq!(
            withdrawn_node(&event("user@example.com", "none"), &own),
            Some("yxs".to_owned())
        );
        assert_eq!(
            withdrawn_node(&event("user@example.com", "publish-only"), &own),
            None
        );
        assert_eq!(
            withdrawn_node(&event("other@example.com", "none"), &own),
            None
        );
    }
}
