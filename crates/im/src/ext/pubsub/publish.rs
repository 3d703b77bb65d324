//! Items come and go (XEP-0060 §7, §8.5).

use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::data_form::DataForm;
use posthaste_proto::xep::pubsub::{Event, Item, NodeConfig, Unknown, refused, unsupported};
use posthaste_proto::xml::Element;

use super::leaf::Leaf;
use super::{Site, access, configure, existing, notify};
use crate::error::WalkError;
use crate::ext::{Answer, displayed};
use crate::walk::Walk;

/// §7.1
pub(super) async fn publish(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    item: Option<Item>,
    options: Option<DataForm>,
) -> Answer {
    let mut leaf = match Leaf::find(walk, node).await? {
        Some(leaf) => {
            let may_touch_all = access::may_publish(walk, site, &leaf, who).await?;
            let id = item.as_ref().and_then(|item| item.id.as_deref());
            if let (false, Some(id)) = (may_touch_all, id) {
                refuse_foreign(walk, &leaf, id, who).await?;
            }
            check_options(&leaf.config, options.as_ref())?;
            leaf
        }
        None => create_for(walk, site, who, node, options.as_ref()).await?,
    };
    let item = complete(walk, &leaf.config, item)?;
    let id = item.as_ref().and_then(|item| item.id.clone());
    publish_to(walk, site, &mut leaf, who, item.unwrap_or_default()).await?;
    leaf.save(walk);
    let item = id.map(|id| Element::new("item", ns::PUBSUB).with_attr("id", id));
    let publish = Element::new("publish", ns::PUBSUB)
        .with_attr("node", node)
        .with_children(item);
    Ok(Some(Element::new("pubsub", ns::PUBSUB).with_child(publish)))
}

/// Keeps a complete item, if the node keeps items, and tells whom it concerns. Saving the node is the caller's.
///
/// # Errors
/// A bound is reached; or the store's.
pub(super) async fn publish_to(
    walk: &mut Walk<'_>,
    site: &Site,
    leaf: &mut Leaf,
    who: &BareJid,
    mut item: Item,
) -> Result<(), WalkError> {
    let limits = walk.node.config().pubsub;
    let payload = item
        .payload
        .as_ref()
        .map(|payload| payload.to_bytes(ns::CLIENT));
    let payload = Bytes::from(payload.unwrap_or_default());
    if payload.len() > limits.item_bytes {
        return Err(refused(StanzaError::not_acceptable(), "payload-too-big").into());
    }
    if let (true, Some(id)) = (leaf.config.persist_items, &item.id) {
        let others: u64 = Leaf::all(walk)
            .await?
            .iter()
            .filter(|other| other.name != leaf.name)
            .map(|other| other.bytes)
            .sum();
        let most = leaf.config.max_items.at_most(limits.items_per_node).max(1);
        leaf.put(walk, id, who.as_str(), payload, most).await?;
        // After the oldest have made room.
        if others.saturating_add(leaf.bytes) > limits.bytes {
            return Err(StanzaError::resource_constraint()
                .with_text("there is no room for more items")
                .into());
        }
    }
    if leaf.name == ns::MDS_DISPLAYED
        && site.jid == walk.home.jid
        && let (Some(id), Some(payload)) = (&item.id, &item.payload)
    {
        displayed::note(walk, id, payload).await?;
    }
    item.publisher = (*who != site.jid).then(|| who.as_str().to_owned());
    notify::tell(walk, site, leaf, &Event::Published(item)).await
}

/// Those who may publish, but not touch what others have published, do not overwrite it either.
async fn refuse_foreign(
    walk: &Walk<'_>,
    leaf: &Leaf,
    id: &str,
    who: &BareJid,
) -> Result<(), WalkError> {
    match leaf.item(walk, id).await? {
        Some(item) if item.publisher != who.as_str() => Err(StanzaError::forbidden().into()),
        _ => Ok(()),
    }
}

/// §7.1.5: an existing node must be as the options say already.
fn check_options(config: &NodeConfig, options: Option<&DataForm>) -> Result<(), WalkError> {
    let Some(form) = options else { return Ok(()) };
    let mut wanted = config.clone();
    match wanted.apply(form, Unknown::Refuse) {
        Ok(()) if wanted == *config => Ok(()),
        Ok(()) => Err(precondition("the node is configured in another way")),
        Err(bad) => Err(precondition(&bad.to_string())),
    }
}

fn precondition(text: &str) -> WalkError {
    refused(StanzaError::conflict(), "precondition-not-met")
        .with_text(text)
        .into()
}

/// §7.1.4: on an account its owner makes a node by publishing to it, as the options say.
async fn create_for(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    options: Option<&DataForm>,
) -> Result<Leaf, WalkError> {
    if !site.is_account || *who != site.jid {
        return Err(StanzaError::item_not_found().into());
    }
    let mut config = site.defaults(node);
    if let Some(form) = options {
        let applied = config.apply(form, Unknown::Refuse);
        applied.map_err(|bad| precondition(&bad.to_string()))?;
    }
    configure::make(walk, site, who, node, config).await
}

/// §7.1.3.6: whether there has to be an item and what it has to have. Answers it with an id.
fn complete(
    walk: &Walk<'_>,
    config: &NodeConfig,
    item: Option<Item>,
) -> Result<Option<Item>, WalkError> {
    let Some(mut item) = item else {
        return if config.persist_items || config.deliver_payloads {
            Err(refused(StanzaError::bad_request(), "item-required").into())
        } else {
            Ok(None)
        };
    };
    if config.deliver_payloads && item.payload.is_none() {
        return Err(refused(StanzaError::bad_request(), "payload-required").into());
    }
    if !config.persist_items && !config.deliver_payloads {
        return Err(refused(StanzaError::bad_request(), "item-forbidden").into());
    }
    item.id.get_or_insert_with(|| walk.node.random_name());
    Ok(Some(item))
}

/// §7.2
pub(super) async fn retract(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    ids: &[String],
    notify: bool,
) -> Answer {
    let mut leaf = existing(walk, node).await?;
    let may_touch_all = access::may_publish(walk, site, &leaf, who).await?;
    if !leaf.config.persist_items {
        return Err(unsupported("persistent-items").into());
    }
    for id in ids {
        let item = leaf.item(walk, id).await?;
        let item = item.ok_or_else(StanzaError::item_not_found)?;
        if !may_touch_all && item.publisher != who.as_str() {
            return Err(StanzaError::forbidden().into());
        }
        leaf.take(walk, &item);
    }
    leaf.save(walk);
    if notify || leaf.config.notify_retract {
        notify::tell(walk, site, &leaf, &Event::Retracted(ids.to_vec())).await?;
    }
    Ok(None)
}

/// §8.5
pub(super) async fn purge(walk: &mut Walk<'_>, site: &Site, who: &BareJid, node: &str) -> Answer {
    let mut leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    if !leaf.config.persist_items {
        return Err(unsupported("persistent-items").into());
    }
    leaf.purge(walk);
    leaf.save(walk);
    notify::tell(walk, site, &leaf, &Event::Purged).await?;
    Ok(None)
}
