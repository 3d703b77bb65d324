//! What nodes there are and what they are about (XEP-0060 §5.2 to §5.5); each is shown to those who may read it.

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::data_form::{DataForm, Field, FieldKind, FormKind};
use posthaste_proto::xep::disco::{Identity, Info, Item, Items};
use posthaste_proto::xep::pubsub::Affiliation;

use super::leaf::Leaf;
use super::{MAX_AFFILIATIONS, Site, access, asker, items};
use crate::error::WalkError;
use crate::walk::Walk;

/// disco#info of a node of the account whose home this is.
///
/// # Errors
/// There is no such node for whoever asks; or the store's.
pub async fn account_info(walk: &Walk<'_>, node: &str) -> Result<Info, WalkError> {
    let site = Site::of_account(walk);
    let leaf = readable(walk, &site, node).await?;
    info(walk, &site, &leaf).await
}

/// disco#items of the account whose home this is: its nodes, or the items of one.
///
/// # Errors
/// There is no such node for whoever asks; or the store's.
pub async fn account_items(walk: &Walk<'_>, node: Option<&str>) -> Result<Items, WalkError> {
    let site = Site::of_account(walk);
    if let Some(node) = node {
        let leaf = readable(walk, &site, node).await?;
        return contents(walk, &site, &leaf).await;
    }
    let who = asker(walk)?;
    let mut nodes = Vec::new();
    for leaf in Leaf::all(walk).await? {
        if access::can_read(walk, &site, &leaf, &who).await? {
            nodes.push(listed(&site.jid, &leaf.name, &leaf.config.title));
        }
    }
    Ok(Items {
        node: None,
        items: nodes,
    })
}

/// A node in a list.
pub(super) fn listed(site: &BareJid, node: &str, title: &str) -> Item {
    Item {
        jid: site.as_str().to_owned(),
        node: Some(node.to_owned()),
        name: (!title.is_empty()).then(|| title.to_owned()),
    }
}

/// The node, if whoever asks may read it; others are not told that there is one.
async fn readable(walk: &Walk<'_>, site: &Site, node: &str) -> Result<Leaf, WalkError> {
    let who = asker(walk)?;
    match Leaf::find(walk, node).await? {
        Some(leaf) if access::can_read(walk, site, &leaf, &who).await? => Ok(leaf),
        _ => Err(StanzaError::item_not_found().into()),
    }
}

/// §5.3, §5.4
pub(super) async fn info(walk: &Walk<'_>, site: &Site, leaf: &Leaf) -> Result<Info, WalkError> {
    let mut owners = vec![];
    let mut publishers = vec![];
    if site.is_account {
        owners.push(site.jid.as_str().to_owned());
    }
    for (jid, affiliation) in access::affiliates(walk, leaf, MAX_AFFILIATIONS).await? {
        match affiliation {
            Affiliation::Owner => owners.push(jid.as_str().to_owned()),
            Affiliation::Publisher => publishers.push(jid.as_str().to_owned()),
            _ => {}
        }
    }
    let config = &leaf.config;
    let line = |var: &str, value: &str| {
        Field::new(format!("pubsub#{var}"), [value]).of_kind(FieldKind::TextSingle)
    };
    let people = |var: &str, jids: Vec<String>| {
        Field::new(format!("pubsub#{var}"), jids).of_kind(FieldKind::JidMulti)
    };
    let form = DataForm::new(FormKind::Result, ns::PUBSUB_METADATA)
        .with_field(line("title", &config.title))
        .with_field(line("description", &config.description))
        .with_field(line("type", &config.payload_type))
        .with_field(line("access_model", config.access.as_str()))
        .with_field(line("publish_model", config.publish.as_str()))
        .with_field(line("max_items", &config.max_items.to_string()))
        .with_field(line("creation_date", &leaf.created_at.to_string()))
        .with_field(line("num_subscribers", &leaf.subscribers.to_string()))
        .with_field(line("creator", &leaf.creator).of_kind(FieldKind::JidSingle))
        .with_field(people("owner", owners))
        .with_field(people("publisher", publishers));
    Ok(Info {
        node: Some(leaf.name.clone()),
        identities: vec![Identity::new("pubsub", "leaf", None)],
        features: vec![ns::PUBSUB.to_owned()],
        forms: vec![form],
    })
}

/// §5.5: the ids of the newest items.
pub(super) async fn contents(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
) -> Result<Items, WalkError> {
    let newest = leaf.newest(walk, None, items::MAX_PAGE).await?;
    let items = newest.into_iter().map(|item| Item {
        jid: site.jid.as_str().to_owned(),
        node: None,
        name: Some(item.id),
    });
    Ok(Items {
        node: Some(leaf.name.clone()),
        items: items.collect(),
    })
}
