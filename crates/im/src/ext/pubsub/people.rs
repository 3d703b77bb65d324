//! Who belongs to a node: subscriptions by request and affiliations (XEP-0060 §5.6, §5.7, §6.1, §6.2, §8.8, §8.9).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::xep::pubsub::{Affiliation, Change, Request, refused};
use posthaste_proto::xml::Element;

use super::leaf::Leaf;
use super::{MAX_AFFILIATIONS, Site, access, existing, notify};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::walk::Walk;

/// Answers what is asked about people.
///
/// # Errors
/// What the one who asks is to be told; or the store's.
pub(super) async fn answer(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    request: Request,
) -> Answer {
    match request {
        Request::Subscribe { node, jid } => subscribe(walk, site, who, &node, &jid).await,
        Request::Unsubscribe { node, jid } => unsubscribe(walk, site, who, &node, &jid).await,
        Request::Subscriptions { node } => subscriptions(walk, who, node.as_deref()).await,
        Request::Affiliations { node } => affiliations(walk, site, who, node.as_deref()).await,
        Request::Subscribers { node } => subscribers(walk, site, who, &node).await,
        Request::ChangeSubscribers { node, changes } => {
            change_subscribers(walk, site, who, &node, &changes).await
        }
        Request::Affiliates { node } => affiliates(walk, site, who, &node).await,
        Request::ChangeAffiliates { node, changes } => {
            change_affiliates(walk, site, who, &node, &changes).await
        }
        _ => Err(StanzaError::feature_not_implemented().into()),
    }
}

/// §6.1
async fn subscribe(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    jid: &Jid,
) -> Answer {
    let mut leaf = existing(walk, node).await?;
    if jid.to_bare() != *who {
        return Err(refused(StanzaError::bad_request(), "invalid-jid").into());
    }
    access::may_read(walk, site, &leaf, who).await?;
    add(walk, &mut leaf, jid).await?;
    leaf.save(walk);
    notify::greet(walk, site, &leaf, jid).await?;
    let subscription = subscription(node, jid, true, ns::PUBSUB);
    Ok(Some(
        Element::new("pubsub", ns::PUBSUB).with_child(subscription),
    ))
}

async fn add(walk: &mut Walk<'_>, leaf: &mut Leaf, jid: &Jid) -> Result<(), WalkError> {
    if access::is_subscribed(walk, leaf, jid).await? {
        return Ok(());
    }
    if leaf.subscribers >= walk.node.config().pubsub.subscribers_per_node {
        return Err(refused(StanzaError::policy_violation(), "too-many-subscriptions").into());
    }
    access::put_subscription(walk, leaf, jid);
    leaf.subscribers += 1;
    Ok(())
}

async fn remove(walk: &mut Walk<'_>, leaf: &mut Leaf, jid: &Jid) -> Result<bool, WalkError> {
    let was_there = access::is_subscribed(walk, leaf, jid).await?;
    if was_there {
        access::delete_subscription(walk, leaf, jid);
        leaf.subscribers = leaf.subscribers.saturating_sub(1);
    }
    Ok(was_there)
}

/// §6.2
async fn unsubscribe(
    walk: &mut Walk<'_>,
    _: &Site,
    who: &BareJid,
    node: &str,
    jid: &Jid,
) -> Answer {
    let mut leaf = existing(walk, node).await?;
    if jid.to_bare() != *who {
        return Err(StanzaError::forbidden().into());
    }
    if !remove(walk, &mut leaf, jid).await? {
        return Err(refused(StanzaError::unexpected_request(), "not-subscribed").into());
    }
    leaf.save(walk);
    Ok(None)
}

/// §5.6: of whoever asks, with all their resources.
async fn subscriptions(walk: &mut Walk<'_>, who: &BareJid, node: Option<&str>) -> Answer {
    let mut list = Element::new("subscriptions", ns::PUBSUB).with_attr_opt("node", node);
    for leaf in concerned(walk, node).await? {
        for jid in of_entity(walk, &leaf, who).await? {
            list.push_child(subscription(&leaf.name, &jid, true, ns::PUBSUB));
        }
    }
    Ok(Some(Element::new("pubsub", ns::PUBSUB).with_child(list)))
}

async fn concerned(walk: &Walk<'_>, node: Option<&str>) -> Result<Vec<Leaf>, WalkError> {
    match node {
        Some(node) => Ok(vec![existing(walk, node).await?]),
        None => Leaf::all(walk).await,
    }
}

/// The subscribed addresses of one entity at a node.
pub(super) async fn of_entity(
    walk: &Walk<'_>,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<Vec<Jid>, WalkError> {
    if leaf.subscribers == 0 {
        return Ok(Vec::new());
    }
    let all = access::subscribers(walk, leaf, most_subscribers(walk)).await?;
    Ok(all
        .into_iter()
        .filter(|jid| jid.to_bare() == *who)
        .collect())
}

/// As many as a node may have.
pub(super) fn most_subscribers(walk: &Walk<'_>) -> usize {
    usize::try_from(walk.node.config().pubsub.subscribers_per_node).unwrap_or(usize::MAX)
}

/// §5.7
async fn affiliations(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: Option<&str>,
) -> Answer {
    let mut list = Element::new("affiliations", ns::PUBSUB).with_attr_opt("node", node);
    for leaf in concerned(walk, node).await? {
        let affiliation = access::affiliation(walk, site, &leaf, who).await?;
        if affiliation != Affiliation::None {
            list.push_child(
                Element::new("affiliation", ns::PUBSUB)
                    .with_attr("node", &*leaf.name)
                    .with_attr("affiliation", affiliation.as_str()),
            );
        }
    }
    Ok(Some(Element::new("pubsub", ns::PUBSUB).with_child(list)))
}

pub(super) fn subscription(
    node: &str,
    jid: &Jid,
    is_subscribed: bool,
    ns: &'static str,
) -> Element {
    let state = if is_subscribed { "subscribed" } else { "none" };
    let element = Element::new("subscription", ns)
        .with_attr("jid", jid.as_str())
        .with_attr("subscription", state);
    // §8.8.1: the owner's list names the node once.
    if ns == ns::PUBSUB_OWNER {
        return element;
    }
    element.with_attr("node", node)
}

// ---- what owners do -----------------------------------------------------------------------------------

/// §8.8.1
async fn subscribers(walk: &mut Walk<'_>, site: &Site, who: &BareJid, node: &str) -> Answer {
    let leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    let all = access::subscribers(walk, &leaf, most_subscribers(walk)).await?;
    let list = Element::new("subscriptions", ns::PUBSUB_OWNER)
        .with_attr("node", node)
        .with_children(
            all.iter()
                .map(|jid| subscription(node, jid, true, ns::PUBSUB_OWNER)),
        );
    Ok(Some(
        Element::new("pubsub", ns::PUBSUB_OWNER).with_child(list),
    ))
}

/// §8.8.2: those who were taken off are told (§8.8.4).
async fn change_subscribers(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    changes: &[Change<bool>],
) -> Answer {
    let mut leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    // An account signs nobody up for what they did not ask for.
    if site.is_account && changes.iter().any(|change| change.to) {
        return Err(StanzaError::not_allowed().into());
    }
    for Change { jid, to } in changes {
        let is_changed = if *to {
            let was_there = access::is_subscribed(walk, &leaf, jid).await?;
            add(walk, &mut leaf, jid).await?;
            !was_there
        } else {
            remove(walk, &mut leaf, jid).await?
        };
        if is_changed {
            let told = Element::new("event", ns::PUBSUB_EVENT).with_child(subscription(
                node,
                jid,
                *to,
                ns::PUBSUB_EVENT,
            ));
            notify::send(walk, site, jid, &told);
        }
    }
    leaf.save(walk);
    Ok(None)
}

/// §8.9.1
async fn affiliates(walk: &mut Walk<'_>, site: &Site, who: &BareJid, node: &str) -> Answer {
    let leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    let mut all = access::affiliates(walk, &leaf, MAX_AFFILIATIONS).await?;
    if site.is_account {
        all.insert(0, (site.jid.clone(), Affiliation::Owner));
    }
    let affiliation = |(jid, affiliation): &(BareJid, Affiliation)| {
        Element::new("affiliation", ns::PUBSUB_OWNER)
            .with_attr("jid", jid.as_str())
            .with_attr("affiliation", affiliation.as_str())
    };
    let list = Element::new("affiliations", ns::PUBSUB_OWNER)
        .with_attr("node", node)
        .with_children(all.iter().map(affiliation));
    Ok(Some(
        Element::new("pubsub", ns::PUBSUB_OWNER).with_child(list),
    ))
}

/// §8.9.2
async fn change_affiliates(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    changes: &[Change<Affiliation>],
) -> Answer {
    let mut leaf = existing(walk, node).await?;
    access::require_owner(walk, site, &leaf, who).await?;
    let mut all = access::affiliates(walk, &leaf, MAX_AFFILIATIONS).await?;
    for Change { jid, to } in changes {
        let jid = jid.to_bare();
        // XEP-0163 §3.2: the account is the one owner of its nodes.
        if site.is_account && (jid == site.jid || *to == Affiliation::Owner) {
            return Err(StanzaError::not_acceptable().into());
        }
        all.retain(|(known, _)| *known != jid);
        if *to != Affiliation::None {
            all.push((jid.clone(), *to));
        }
        access::set_affiliation(walk, &leaf, &jid, *to);
        if *to == Affiliation::Outcast {
            for subscribed in of_entity(walk, &leaf, &jid).await? {
                remove(walk, &mut leaf, &subscribed).await?;
            }
        }
    }
    let is_owned = |all: &[(BareJid, Affiliation)]| {
        all.iter()
            .any(|(_, affiliation)| *affiliation == Affiliation::Owner)
    };
    if !site.is_account && !is_owned(&all) {
        // §8.9.2.4: a node without an owner would be nobody's for ever.
        return Err(StanzaError::not_acceptable().into());
    }
    if all.len() > MAX_AFFILIATIONS {
        return Err(StanzaError::resource_constraint().into());
    }
    leaf.save(walk);
    Ok(None)
}
