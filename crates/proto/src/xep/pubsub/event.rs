//! What subscribers are told (§7.1.2, §7.2.2.1, §8.2.5.3, §8.4.2, §8.5.2, §12.6).

use super::Item;
use crate::ns;
use crate::xml::Element;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An item was published.
    Published(Item),
    /// Items were taken back.
    Retracted(Vec<String>),
    /// All items were taken away.
    Purged,
    /// The node is no more.
    Deleted,
    /// The node behaves differently from now on.
    Configured,
}

impl Event {
    /// The `<event/>` of a notification about `node`.
    pub fn to_element(&self, node: &str) -> Element {
        let element =
            |name: &'static str| Element::new(name, ns::PUBSUB_EVENT).with_attr("node", node);
        let content = match self {
            Event::Published(item) => {
                element("items").with_child(item.to_element(ns::PUBSUB_EVENT))
            }
            Event::Retracted(ids) => element("items").with_children(
                ids.iter()
                    .map(|id| Element::new("retract", ns::PUBSUB_EVENT).with_attr("id", &**id)),
            ),
            Event::Purged => element("purge"),
            Event::Deleted => element("delete"),
            Event::Configured => element("configuration"),
        };
        Element::new("event", ns::PUBSUB_EVENT).with_child(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_look_as_the_examples_do() {
        let id = Some("ae890".to_owned());
        let item = Item {
            id,
            ..Item::default()
        };
        for (event, xml) in [
            (
                Event::Published(item),
                "<items node='n'><item id='ae890'/></items>",
            ),
            (
                Event::Retracted(vec!["ae890".to_owned()]),
                "<items node='n'><retract id='ae890'/></items>",
            ),
            (Event::Purged, "<purge node='n'/>"),
            (Event::Deleted, "<delete node='n'/>"),
            (Event::Configured, "<configuration node='n'/>"),
        ] {
            let wanted =
                format!("<event xmlns='http://jabber.org/protocol/pubsub#event'>{xml}</event>");
            let found = event.to_element("n").to_bytes(ns::CLIENT);
            assert_eq!(String::from_utf8(found).unwrap(), wanted);
        }
    }
}
