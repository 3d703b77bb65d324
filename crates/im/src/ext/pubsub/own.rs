//! What other extensions read from and keep in nodes of the account whose home this is, in the owner's name.

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::pubsub::{AccessModel, Event, Item, MaxItems, NodeConfig, SendLast};
use posthaste_proto::xml::Element;

use super::leaf::Leaf;
use super::{Site, access, configure, notify, publish};
use crate::error::WalkError;
use crate::walk::Walk;

/// XEP-0223 §3.1, as XEP-0402 and XEP-0490 ask for it: for nobody but the owner, and with room for many items.
pub(in crate::ext) fn private() -> NodeConfig {
    NodeConfig {
        access: AccessModel::Whitelist,
        max_items: MaxItems::Max,
        send_last: SendLast::Never,
        // What some clients add to these options.
        notify_retract: true,
        ..NodeConfig::of_account()
    }
}

/// XEP-0222 §3.1: for everybody.
pub(in crate::ext) fn public() -> NodeConfig {
    NodeConfig {
        access: AccessModel::Open,
        ..NodeConfig::of_account()
    }
}

/// What a new node of an account is like, if its owner does not say: as the specification of its name wants it, so that
/// a client that relies on defaults neither shows the world what is private nor hides the keys it needs.
pub(super) fn defaults(node: &str) -> NodeConfig {
    match node {
        ns::BOOKMARKS | ns::BOOKMARKS_STORAGE | ns::MDS_DISPLAYED => private(),
        // XEP-0384 §4.5.2: one item for each device.
        "urn:xmpp:omemo:2:bundles" => NodeConfig {
            max_items: MaxItems::Max,
            ..public()
        },
        // §8.5: whoever is to write to somebody needs their keys.
        "urn:xmpp:omemo:2:devices" => public(),
        _ if node.starts_with("eu.siacs.conversations.axolotl.") => public(),
        _ => NodeConfig::of_account(),
    }
}

/// A node of the account.
pub(in crate::ext) struct OwnNode {
    site: Site,
    leaf: Leaf,
    retracted: Vec<String>,
}

impl OwnNode {
    /// The node, if it is there.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::ext) async fn find(
        walk: &Walk<'_>,
        name: &str,
    ) -> Result<Option<OwnNode>, WalkError> {
        Ok(Leaf::find(walk, name).await?.map(|leaf| OwnNode {
            site: Site::of_account(walk),
            leaf,
            retracted: Vec::new(),
        }))
    }

    /// The node, made if it is not there.
    ///
    /// # Errors
    /// There are too many nodes; or the store's.
    pub(in crate::ext) async fn find_or_make(
        walk: &mut Walk<'_>,
        name: &str,
        config: NodeConfig,
    ) -> Result<OwnNode, WalkError> {
        if let Some(node) = OwnNode::find(walk, name).await? {
            return Ok(node);
        }
        let site = Site::of_account(walk);
        let owner = site.jid.clone();
        let leaf = configure::make(walk, &site, &owner, name, config).await?;
        Ok(OwnNode {
            site,
            leaf,
            retracted: Vec::new(),
        })
    }

    /// May this entity read it?
    ///
    /// # Errors
    /// The store's.
    pub(in crate::ext) async fn can_be_read_by(
        &self,
        walk: &Walk<'_>,
        who: &BareJid,
    ) -> Result<bool, WalkError> {
        access::can_read(walk, &self.site, &self.leaf, who).await
    }

    /// Is it for those who may see the owner's presence, or for even more?
    pub(in crate::ext) fn is_for_contacts(&self) -> bool {
        matches!(
            self.leaf.config.access,
            AccessModel::Open | AccessModel::Presence
        )
    }

    /// Is it for everybody, known or not?
    pub(in crate::ext) fn is_for_everybody(&self) -> bool {
        matches!(self.leaf.config.access, AccessModel::Open)
    }

    /// The ids and payloads of its items, at most `most` of the newest, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::ext) async fn items(
        &self,
        walk: &Walk<'_>,
        most: usize,
    ) -> Result<Vec<(String, Element)>, WalkError> {
        let mut items = Vec::new();
        for stored in self.leaf.newest(walk, None, most).await? {
            let item = stored.to_item(self.site.jid.as_str())?;
            items.extend(item.payload.map(|payload| (stored.id, payload)));
        }
        Ok(items)
    }

    /// The payload of one item.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::ext) async fn item(
        &self,
        walk: &Walk<'_>,
        id: &str,
    ) -> Result<Option<Element>, WalkError> {
        match self.leaf.item(walk, id).await? {
            Some(item) => Ok(item.to_item(self.site.jid.as_str())?.payload),
            None => Ok(None),
        }
    }

    /// Publishes an item. Each id once in a walk.
    ///
    /// # Errors
    /// A bound is reached; or the store's.
    pub(in crate::ext) async fn publish(
        &mut self,
        walk: &mut Walk<'_>,
        id: &str,
        payload: Element,
    ) -> Result<(), WalkError> {
        let item = Item {
            id: Some(id.to_owned()),
            publisher: None,
            payload: Some(payload),
        };
        if id.len() > posthaste_proto::xep::pubsub::MAX_NAME_BYTES {
            return Err(StanzaError::policy_violation().into());
        }
        let owner = self.site.jid.clone();
        publish::publish_to(walk, &self.site, &mut self.leaf, &owner, item).await
    }

    /// Takes an item back, if it is there.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::ext) async fn retract(
        &mut self,
        walk: &mut Walk<'_>,
        id: &str,
    ) -> Result<(), WalkError> {
        if let Some(item) = self.leaf.item(walk, id).await? {
            self.leaf.take(walk, &item);
            self.retracted.push(item.id);
        }
        Ok(())
    }

    /// Writes what was changed, and tells of what was taken back.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::ext) async fn save(self, walk: &mut Walk<'_>) -> Result<(), WalkError> {
        self.leaf.save(walk);
        if !self.retracted.is_empty() {
            let event = Event::Retracted(self.retracted);
            notify::tell(walk, &self.site, &self.leaf, &event).await?;
        }
        Ok(())
    }
}
