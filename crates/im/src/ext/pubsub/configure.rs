//! Nodes are made, configured and deleted (XEP-0060 §8.1 to §8.4).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::data_form::{DataForm, FormKind};
use posthaste_proto::xep::pubsub::{Affiliation, BadField, Event, NodeConfig, Unknown, refused};
use posthaste_proto::xml::Element;

use super::leaf::Leaf;
use super::{Site, access, existing, notify};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::walk::Walk;

/// Bytes of the texts in a configuration: title, description, type and roster groups together.
const MAX_TEXT_BYTES: usize = 4 * 1_024;

/// §8.1
pub(super) async fn create(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: Option<String>,
    form: Option<DataForm>,
) -> Answer {
    if site.is_account && *who != site.jid {
        return Err(StanzaError::forbidden().into());
    }
    let node = node.unwrap_or_else(|| walk.node.random_name());
    if Leaf::find(walk, &node).await?.is_some() {
        return Err(StanzaError::conflict().into());
    }
    let mut config = site.defaults(&node);
    if let Some(form) = form {
        apply(&mut config, &form)?;
    }
    make(walk, site, who, &node, config).await?.save(walk);
    let create = Element::new("create", ns::PUBSUB).with_attr("node", node);
    Ok(Some(Element::new("pubsub", ns::PUBSUB).with_child(create)))
}

/// A new node; saving it is the caller's.
///
/// # Errors
/// The configuration is not on offer, or there are too many nodes; or the store's.
pub(super) async fn make(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    config: NodeConfig,
) -> Result<Leaf, WalkError> {
    check(site, &config)?;
    if Leaf::all(walk).await?.len() >= walk.node.config().pubsub.nodes {
        return Err(StanzaError::resource_constraint()
            .with_text("there are too many nodes")
            .into());
    }
    let leaf = Leaf::new(node, config, who.as_str(), walk.now);
    if !site.is_account {
        access::set_affiliation(walk, &leaf, who, Affiliation::Owner);
    }
    Ok(leaf)
}

/// §8.2.1
pub(super) async fn show(walk: &mut Walk<'_>, site: &Site, who: &BareJid, node: &str) -> Answer {
    let leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    let form = leaf.config.to_form(FormKind::Form, site.models());
    let configure = Element::new("configure", ns::PUBSUB_OWNER)
        .with_attr("node", node)
        .with_child(form.to_element());
    Ok(Some(owner(configure)))
}

/// §8.3
pub(super) fn default(site: &Site) -> Element {
    let form = site.defaults("").to_form(FormKind::Form, site.models());
    owner(Element::new("default", ns::PUBSUB_OWNER).with_child(form.to_element()))
}

fn owner(child: Element) -> Element {
    Element::new("pubsub", ns::PUBSUB_OWNER).with_child(child)
}

/// §8.2.4
pub(super) async fn configure(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    form: &DataForm,
) -> Answer {
    let mut leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    if form.kind == FormKind::Cancel {
        return Ok(None);
    }
    apply(&mut leaf.config, form)?;
    check(site, &leaf.config)?;
    if !leaf.config.persist_items {
        leaf.purge(walk);
    }
    let most = leaf
        .config
        .max_items
        .at_most(walk.node.config().pubsub.items_per_node);
    leaf.drop_oldest(walk, most.max(1)).await?;
    leaf.save(walk);
    if leaf.config.notify_config {
        notify::tell(walk, site, &leaf, &Event::Configured).await?;
    }
    Ok(None)
}

/// §8.4
pub(super) async fn delete(walk: &mut Walk<'_>, site: &Site, who: &BareJid, node: &str) -> Answer {
    let leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    if leaf.config.notify_delete {
        notify::tell(walk, site, &leaf, &Event::Deleted).await?;
    }
    leaf.remove(walk);
    Ok(None)
}

fn apply(config: &mut NodeConfig, form: &DataForm) -> Result<(), WalkError> {
    config
        .apply(form, Unknown::Skip)
        .map_err(|BadField(field)| match &*field {
            // §8.1.3
            "pubsub#access_model" => unsupported_access(),
            _ => StanzaError::not_acceptable()
                .with_text(BadField(field).to_string())
                .into(),
        })
}

fn unsupported_access() -> WalkError {
    refused(StanzaError::not_acceptable(), "unsupported-access-model").into()
}

fn check(site: &Site, config: &NodeConfig) -> Result<(), WalkError> {
    if !site.models().contains(&config.access) {
        return Err(unsupported_access());
    }
    let groups = config.roster_groups.iter().map(String::len).sum::<usize>();
    let texts = [&config.title, &config.description, &config.payload_type];
    if groups + texts.iter().map(|text| text.len()).sum::<usize>() > MAX_TEXT_BYTES
        || config.roster_groups.len() > usize::from(crate::roster::MAX_GROUPS)
    {
        return Err(StanzaError::not_acceptable()
            .with_text("the configuration is too long")
            .into());
    }
    Ok(())
}
