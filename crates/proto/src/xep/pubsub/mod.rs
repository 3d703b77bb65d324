//! Publish-subscribe: what is asked of a service, how its nodes are configured, and what it tells its subscribers.
//!
//! XEP-0060 1.30. Left out: subscription options and their form, subscription ids, collections (XEP-0248), and approval
//! of subscriptions.

mod config;
mod event;
mod request;

pub use config::{AccessModel, BadField, MaxItems, NodeConfig, PublishModel, SendLast, Unknown};
pub use event::Event;
pub use request::{Change, Request, read};

use crate::error::StanzaError;
use crate::ns;
use crate::xml::Element;

/// Longest name of a node and of an item, in bytes: as long as a part of a JID may be, since JIDs serve as item ids.
pub const MAX_NAME_BYTES: usize = 1_023;
/// Most items, entities or ids that one request may name; as many as nobody asks for by hand.
pub const MAX_NAMED: usize = 256;

/// One item of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Its name within the node; `None` if the service is to choose one.
    pub id: Option<String>,
    /// Who published it.
    pub publisher: Option<String>,
    /// What it holds.
    pub payload: Option<Element>,
}

impl Item {
    /// The `<item/>` in the namespace of a request, an answer or an event.
    pub fn to_element(&self, ns: &'static str) -> Element {
        Element::new("item", ns)
            .with_attr_opt("id", self.id.as_deref())
            .with_attr_opt("publisher", self.publisher.as_deref())
            .with_children(self.payload.clone())
    }
}

/// What an entity may do at a node (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Affiliation {
    /// Nothing at all.
    Outcast,
    /// What the access model says.
    None,
    /// Publish, and nothing else.
    PublishOnly,
    /// Read, whatever the access model says.
    Member,
    /// Read and publish.
    Publisher,
    /// Everything.
    Owner,
}

impl Affiliation {
    const ALL: [Affiliation; 6] = [
        Affiliation::Outcast,
        Affiliation::None,
        Affiliation::PublishOnly,
        Affiliation::Member,
        Affiliation::Publisher,
        Affiliation::Owner,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Affiliation::Outcast => "outcast",
            Affiliation::None => "none",
            Affiliation::PublishOnly => "publish-only",
            Affiliation::Member => "member",
            Affiliation::Publisher => "publisher",
            Affiliation::Owner => "owner",
        }
    }

    /// From the word on the wire.
    pub fn parse(word: &str) -> Option<Affiliation> {
        Affiliation::ALL
            .into_iter()
            .find(|known| known.as_str() == word)
    }
}

/// An error with a condition of pubsub's own beside the general one.
pub fn refused(error: StanzaError, condition: &'static str) -> StanzaError {
    error.with_app(Element::new(condition, ns::PUBSUB_ERRORS))
}

/// §5.6 and many others: the service cannot do it.
pub fn unsupported(feature: &str) -> StanzaError {
    StanzaError::feature_not_implemented()
        .with_app(Element::new("unsupported", ns::PUBSUB_ERRORS).with_attr("feature", feature))
}
