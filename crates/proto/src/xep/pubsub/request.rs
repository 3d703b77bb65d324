//! What is asked of a service, as types (§5 to §8).

use super::{Affiliation, Item, MAX_NAME_BYTES, MAX_NAMED, refused, unsupported};
use crate::error::StanzaError;
use crate::jid::Jid;
use crate::ns;
use crate::stanza::IqType;
use crate::xep::data_form::DataForm;
use crate::xep::rsm;
use crate::xml::Element;

/// One change that an owner makes to who belongs to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// Whom it is about.
    pub jid: Jid,
    /// What they are from now on.
    pub to: T,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// §7.1
    Publish {
        /// The node.
        node: String,
        /// The item, unless the event is all there is.
        item: Option<Item>,
        /// What must be true of the node.
        options: Option<DataForm>,
    },
    /// §7.2
    Retract {
        /// The node.
        node: String,
        /// The items.
        ids: Vec<String>,
        /// Are subscribers to be told?
        notify: bool,
    },
    /// §6.5
    Items {
        /// The node.
        node: String,
        /// Only these; all if it is empty.
        ids: Vec<String>,
        /// Only the newest.
        max_items: Option<u32>,
        /// Only a page.
        page: rsm::Request,
        /// Was a page asked for, so that the answer says where it is?
        paged: bool,
    },
    /// §6.1
    Subscribe {
        /// The node.
        node: String,
        /// Who.
        jid: Jid,
    },
    /// §6.2
    Unsubscribe {
        /// The node.
        node: String,
        /// Who.
        jid: Jid,
    },
    /// §5.6
    Subscriptions {
        /// Only there; everywhere if it is `None`.
        node: Option<String>,
    },
    /// §5.7
    Affiliations {
        /// Only there; everywhere if it is `None`.
        node: Option<String>,
    },
    /// §8.1
    Create {
        /// Its name; `None` for one that the service chooses.
        node: Option<String>,
        /// How it is to behave.
        config: Option<DataForm>,
    },
    /// §8.2
    Configuration {
        /// The node.
        node: String,
    },
    /// §8.2.4
    Configure {
        /// The node.
        node: String,
        /// The form that was filled in, or that whoever asked thought better of it.
        form: DataForm,
    },
    /// §8.3
    DefaultConfiguration,
    /// §8.4
    Delete {
        /// The node.
        node: String,
    },
    /// §8.5
    Purge {
        /// The node.
        node: String,
    },
    /// §8.8.1
    Subscribers {
        /// The node.
        node: String,
    },
    /// §8.8.2: whether they are subscribed.
    ChangeSubscribers {
        /// The node.
        node: String,
        /// Who.
        changes: Vec<Change<bool>>,
    },
    /// §8.9.1
    Affiliates {
        /// The node.
        node: String,
    },
    /// §8.9.2
    ChangeAffiliates {
        /// The node.
        node: String,
        /// Who.
        changes: Vec<Change<Affiliation>>,
    },
}

impl Request {
    /// The node that it is about, if it is about one that there is.
    pub fn node(&self) -> Option<&str> {
        match self {
            Request::Publish { node, .. }
            | Request::Retract { node, .. }
            | Request::Items { node, .. }
            | Request::Subscribe { node, .. }
            | Request::Unsubscribe { node, .. }
            | Request::Configuration { node }
            | Request::Configure { node, .. }
            | Request::Delete { node }
            | Request::Purge { node }
            | Request::Subscribers { node }
            | Request::ChangeSubscribers { node, .. }
            | Request::Affiliates { node }
            | Request::ChangeAffiliates { node, .. } => Some(node),
            Request::Create { node, .. }
            | Request::Subscriptions { node }
            | Request::Affiliations { node } => node.as_deref(),
            Request::DefaultConfiguration => None,
        }
    }
}

/// Reads the `<pubsub/>` of an IQ.
///
/// # Errors
/// What the one who asks is to be told: it makes no sense, or is not offered.
pub fn read(kind: IqType, pubsub: &Element) -> Result<Request, StanzaError> {
    let Some(verb) = pubsub.children().find(|child| child.ns() == pubsub.ns()) else {
        return Err(StanzaError::bad_request());
    };
    match (pubsub.ns(), kind, verb.name()) {
        (ns::PUBSUB, IqType::Set, "publish") => publish(pubsub, verb),
        (ns::PUBSUB, IqType::Set, "retract") => retract(verb),
        (ns::PUBSUB, IqType::Set, "create" | "configure") => create(pubsub),
        (ns::PUBSUB, IqType::Set, "subscribe") => {
            // §6.3.6: what cannot be configured is not half done.
            if pubsub.child("options", ns::PUBSUB).is_some() {
                return Err(unsupported("subscription-options"));
            }
            let (node, jid) = (node(verb)?, subscriber(verb)?);
            Ok(Request::Subscribe { node, jid })
        }
        (ns::PUBSUB, IqType::Set, "unsubscribe") => {
            let (node, jid) = (node(verb)?, subscriber(verb)?);
            Ok(Request::Unsubscribe { node, jid })
        }
        (ns::PUBSUB, IqType::Get, "items") => items(pubsub, verb),
        (ns::PUBSUB, IqType::Get, "subscriptions") => Ok(Request::Subscriptions {
            node: optional_node(verb)?,
        }),
        (ns::PUBSUB, IqType::Get, "affiliations") => Ok(Request::Affiliations {
            node: optional_node(verb)?,
        }),
        (ns::PUBSUB, _, "options") => Err(unsupported("subscription-options")),
        (ns::PUBSUB, IqType::Get, "default") => Err(unsupported("retrieve-default-sub")),
        (ns::PUBSUB_OWNER, _, _) => of_owner(kind, verb),
        _ => Err(StanzaError::bad_request()),
    }
}

fn of_owner(kind: IqType, verb: &Element) -> Result<Request, StanzaError> {
    let children = |name: &'static str| {
        let named = verb.children().filter(move |child| child.name() == name);
        named.take(MAX_NAMED + 1).collect::<Vec<_>>()
    };
    match (kind, verb.name()) {
        (IqType::Get, "default") => Ok(Request::DefaultConfiguration),
        (IqType::Get, "configure") => Ok(Request::Configuration { node: node(verb)? }),
        (IqType::Set, "configure") => Ok(Request::Configure {
            node: node(verb)?,
            form: form(verb)?.ok_or_else(StanzaError::bad_request)?,
        }),
        (IqType::Set, "delete") => Ok(Request::Delete { node: node(verb)? }),
        (IqType::Set, "purge") => Ok(Request::Purge { node: node(verb)? }),
        (IqType::Get, "subscriptions") => Ok(Request::Subscribers { node: node(verb)? }),
        (IqType::Set, "subscriptions") => Ok(Request::ChangeSubscribers {
            node: node(verb)?,
            changes: changes(
                &children("subscription"),
                "subscription",
                |word| match word {
                    "subscribed" => Some(true),
                    "none" => Some(false),
                    _ => None,
                },
            )?,
        }),
        (IqType::Get, "affiliations") => Ok(Request::Affiliates { node: node(verb)? }),
        (IqType::Set, "affiliations") => Ok(Request::ChangeAffiliates {
            node: node(verb)?,
            changes: changes(&children("affiliation"), "affiliation", Affiliation::parse)?,
        }),
        _ => Err(StanzaError::bad_request()),
    }
}

fn publish(pubsub: &Element, publish: &Element) -> Result<Request, StanzaError> {
    let mut items = publish
        .children()
        .filter(|child| child.is("item", ns::PUBSUB));
    let item = items.next().map(item).transpose()?;
    if items.next().is_some() {
        // §7.1.1: one item at a time.
        return Err(refused(StanzaError::bad_request(), "invalid-payload"));
    }
    let options = pubsub.child("publish-options", ns::PUBSUB);
    Ok(Request::Publish {
        node: node(publish)?,
        item,
        options: options.map(form).transpose()?.flatten(),
    })
}

fn item(item: &Element) -> Result<Item, StanzaError> {
    let mut payloads = item.children();
    let payload = payloads.next().cloned();
    if payloads.next().is_some() {
        return Err(refused(StanzaError::bad_request(), "invalid-payload"));
    }
    Ok(Item {
        id: item.attr("id").map(name).transpose()?,
        publisher: None,
        payload,
    })
}

fn retract(retract: &Element) -> Result<Request, StanzaError> {
    let ids = ids(retract)?;
    if ids.is_empty() {
        return Err(refused(StanzaError::bad_request(), "item-required"));
    }
    Ok(Request::Retract {
        node: node(retract)?,
        ids,
        notify: matches!(retract.attr("notify"), Some("1" | "true")),
    })
}

fn items(pubsub: &Element, items: &Element) -> Result<Request, StanzaError> {
    let max_items = items.attr("max_items").map(str::parse).transpose();
    Ok(Request::Items {
        node: node(items)?,
        ids: ids(items)?,
        max_items: max_items.map_err(|_| StanzaError::bad_request())?,
        page: rsm::Request::read(pubsub).map_err(|_| StanzaError::bad_request())?,
        paged: pubsub.child("set", ns::RSM).is_some(),
    })
}

fn create(pubsub: &Element) -> Result<Request, StanzaError> {
    let create = pubsub
        .child("create", ns::PUBSUB)
        .ok_or_else(StanzaError::bad_request)?;
    let configure = pubsub.child("configure", ns::PUBSUB);
    Ok(Request::Create {
        node: optional_node(create)?,
        config: configure.map(form).transpose()?.flatten(),
    })
}

/// The ids of the items in a `<retract/>` or `<items/>`.
fn ids(parent: &Element) -> Result<Vec<String>, StanzaError> {
    let items = parent.children().filter(|child| child.name() == "item");
    let ids: Vec<String> = items
        .take(MAX_NAMED + 1)
        .map(|item| match item.attr("id") {
            Some(id) => name(id),
            None => Err(refused(StanzaError::bad_request(), "item-required")),
        })
        .collect::<Result<_, _>>()?;
    bounded(ids)
}

fn changes<T>(
    elements: &[&Element],
    attr: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<Change<T>>, StanzaError> {
    let change = |element: &&Element| {
        let to = element.attr(attr).and_then(&parse);
        Ok(Change {
            jid: subscriber(element)?,
            to: to.ok_or_else(StanzaError::not_acceptable)?,
        })
    };
    bounded(
        elements
            .iter()
            .map(change)
            .collect::<Result<_, StanzaError>>()?,
    )
}

fn bounded<T>(list: Vec<T>) -> Result<Vec<T>, StanzaError> {
    if list.len() > MAX_NAMED {
        return Err(StanzaError::policy_violation().with_text("too many at once"));
    }
    Ok(list)
}

fn form(parent: &Element) -> Result<Option<DataForm>, StanzaError> {
    match parent.child("x", ns::DATA_FORMS) {
        Some(form) => DataForm::read(form)
            .map(Some)
            .ok_or_else(StanzaError::bad_request),
        None => Ok(None),
    }
}

fn subscriber(element: &Element) -> Result<Jid, StanzaError> {
    let jid = element
        .attr("jid")
        .ok_or_else(|| refused(StanzaError::bad_request(), "jid-required"))?;
    Jid::parse(jid).map_err(|_| StanzaError::jid_malformed())
}

fn node(element: &Element) -> Result<String, StanzaError> {
    optional_node(element)?.ok_or_else(|| refused(StanzaError::bad_request(), "nodeid-required"))
}

fn optional_node(element: &Element) -> Result<Option<String>, StanzaError> {
    let node = element.attr("node").filter(|node| !node.is_empty());
    node.map(name).transpose()
}

fn name(name: &str) -> Result<String, StanzaError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(StanzaError::policy_violation().with_text("the name is too long"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Condition;

    fn ask(kind: IqType, ns: &str, inner: &str) -> Result<Request, StanzaError> {
        let xml = format!("<pubsub xmlns='{ns}'>{inner}</pubsub>");
        read(kind, &Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn requests_are_read() {
        let node = || "n".to_owned();
        for (kind, ns, inner, wanted) in [
            (
                IqType::Set,
                ns::PUBSUB,
                "<retract node='n' notify='true'><item id='a'/><item id='b'/></retract>",
                Request::Retract {
                    node: node(),
                    ids: vec!["a".to_owned(), "b".to_owned()],
                    notify: true,
                },
            ),
            (
                IqType::Get,
                ns::PUBSUB,
                "<items node='n' max_items='2'/>",
                Request::Items {
                    node: node(),
                    ids: vec![],
                    max_items: Some(2),
                    page: rsm::Request::default(),
                    paged: false,
                },
            ),
            (
                IqType::Set,
                ns::PUBSUB,
                "<create/><configure/>",
                Request::Create {
                    node: None,
                    config: None,
                },
            ),
            (
                IqType::Set,
                ns::PUBSUB_OWNER,
                "<affiliations node='n'><affiliation jid='a@b' affiliation='publish-only'/></affiliations>",
                Request::ChangeAffiliates {
                    node: node(),
                    changes: vec![Change {
                        jid: Jid::parse("a@b").unwrap(),
                        to: Affiliation::PublishOnly,
                    }],
                },
            ),
        ] {
            assert_eq!(ask(kind, ns, inner), Ok(wanted), "{inner}");
        }
    }

    #[test]
    fn what_makes_no_sense_gets_the_error_of_the_xep() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let many = "<item id='a'/>".repeat(MAX_NAMED + 1);
        for (kind, ns, inner, condition, app) in [
            (IqType::Set, ns::PUBSUB, "", Condition::BadRequest, None),
            (
                IqType::Set,
                ns::PUBSUB,
                "<publish/>",
                Condition::BadRequest,
                Some("nodeid-required"),
            ),
            (
                IqType::Set,
                ns::PUBSUB,
                "<publish node='n'><item><a xmlns='a'/><b xmlns='a'/></item></publish>",
                Condition::BadRequest,
                Some("invalid-payload"),
            ),
            (
                IqType::Set,
                ns::PUBSUB,
                "<publish node='n'><item/><item/></publish>",
                Condition::BadRequest,
                Some("invalid-payload"),
            ),
            (
                IqType::Set,
                ns::PUBSUB,
                "<retract node='n'/>",
                Condition::BadRequest,
                Some("item-required"),
            ),
            (
                IqType::Set,
                ns::PUBSUB,
                "<subscribe node='n'/>",
                Condition::BadRequest,
                Some("jid-required"),
            ),
            (
                IqType::Set,
                ns::PUBSUB,
                "<subscribe node='n' jid='a b@c'/>",
                Condition::JidMalformed,
                None,
            ),
            (
                IqType::Get,
                ns::PUBSUB,
                "<options node='n' jid='a@b'/>",
                Condition::FeatureNotImplemented,
                Some("unsupported"),
            ),
            (
                IqType::Get,
                ns::PUBSUB,
                &format!("<items node='{long}'/>"),
                Condition::PolicyViolation,
                None,
            ),
            (
                IqType::Get,
                ns::PUBSUB,
                &format!("<items node='n'>{many}</items>"),
                Condition::PolicyViolation,
                None,
            ),
            (
                IqType::Set,
                ns::PUBSUB_OWNER,
                "<subscriptions node='n'><subscription jid='a@b' subscription='pending'/></subscriptions>",
                Condition::NotAcceptable,
                None,
            ),
        ] {
            let error = ask(kind, ns, inner).unwrap_err();
            assert_eq!(
                error.condition,
                condition,
                "{}",
                &inner[..inner.len().min(50)]
            );
            assert_eq!(error.app.as_ref().map(|app| app.name()), app, "{inner:.50}");
        }
    }
}
