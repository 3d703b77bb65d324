//! Who may do what at a node (XEP-0060 §4.1, §4.5).

use bytes::Bytes;
use posthaste_kv::{Kv, Partition, Scan};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::xep::pubsub::{AccessModel, Affiliation, PublishModel, refused};

use super::Site;
use super::leaf::Leaf;
use crate::codec::{Corrupt, Reader, Writer};
use crate::contacts;
use crate::error::WalkError;
use crate::tables;
use crate::walk::Walk;

const AFFILIATION_V1: u8 = 1;
const SUBSCRIPTION_V1: u8 = 1;

/// The affiliation of an entity with a node.
///
/// # Errors
/// The store's.
pub(super) async fn affiliation(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<Affiliation, WalkError> {
    if site.is_account && *who == site.jid {
        return Ok(Affiliation::Owner);
    }
    stored_affiliation(walk.node.kv(), &walk.home.partition, &leaf.name, who).await
}

/// The affiliation that is stored in a node's partition.
///
/// # Errors
/// The store's.
pub(super) async fn stored_affiliation(
    kv: &dyn Kv,
    partition: &Partition,
    node: &str,
    who: &BareJid,
) -> Result<Affiliation, WalkError> {
    let key = tables::node_key(tables::NODE_AFFILIATION, node, who.as_str().as_bytes());
    match kv.get(partition, &key).await? {
        Some(value) => Ok(decode(value)?),
        None => Ok(Affiliation::None),
    }
}

/// Everybody with an affiliation of their own, at most `most`; the owner of an account is not stored.
///
/// # Errors
/// The store's.
pub(super) async fn affiliates(
    walk: &Walk<'_>,
    leaf: &Leaf,
    most: usize,
) -> Result<Vec<(BareJid, Affiliation)>, WalkError> {
    let prefix = tables::node_key(tables::NODE_AFFILIATION, &leaf.name, b"");
    let rows = walk.scan(Scan::prefix(&prefix, most)).await?.into_iter();
    let affiliates = rows.filter_map(|(key, value)| {
        let jid = std::str::from_utf8(key.strip_prefix(&prefix[..])?).ok()?;
        let jid = BareJid::parse(jid).ok()?;
        Some(decode(value).map(|affiliation| (jid, affiliation)))
    });
    Ok(affiliates.collect::<Result<_, _>>()?)
}

/// From now on `who` is that to the node.
pub(super) fn set_affiliation(walk: &mut Walk<'_>, leaf: &Leaf, who: &BareJid, to: Affiliation) {
    let key = tables::node_key(
        tables::NODE_AFFILIATION,
        &leaf.name,
        who.as_str().as_bytes(),
    );
    match to {
        Affiliation::None => walk.delete(key),
        _ => walk.put(key, encode(to)),
    }
}

fn encode(affiliation: Affiliation) -> Bytes {
    let mut value = Writer::new(AFFILIATION_V1, 16);
    value.text(affiliation.as_str());
    value.finish()
}

fn decode(value: Bytes) -> Result<Affiliation, Corrupt> {
    let (_, mut value) = Reader::open("affiliation", value, AFFILIATION_V1)?;
    let word = value.text()?;
    Affiliation::parse(&word).ok_or(Corrupt {
        what: "affiliation",
        why: "a word in it is not known here",
    })
}

/// May `who` read the node and subscribe to it?
///
/// # Errors
/// No, with what the XEP says to them (§6.1.3, §6.5.9); or the store's.
pub(super) async fn may_read(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<(), WalkError> {
    match affiliation(walk, site, leaf, who).await? {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => return Ok(()),
        Affiliation::Outcast | Affiliation::PublishOnly => {
            return Err(StanzaError::forbidden().into());
        }
        Affiliation::None => {}
    }
    let refusal = match leaf.config.access {
        AccessModel::Open => return Ok(()),
        AccessModel::Presence if contacts::may_see_presence(walk, who).await? => return Ok(()),
        AccessModel::Presence => refused(
            StanzaError::not_authorized(),
            "presence-subscription-required",
        ),
        AccessModel::Roster => {
            let contact = contacts::find(walk, who).await?;
            let allowed = &leaf.config.roster_groups;
            if contact
                .groups
                .iter()
                .any(|group| allowed.iter().any(|it| **it == **group))
            {
                return Ok(());
            }
            refused(StanzaError::not_authorized(), "not-in-roster-group")
        }
        AccessModel::Whitelist => refused(StanzaError::not_allowed(), "closed-node"),
    };
    Err(refusal.into())
}

/// As [`may_read`], where a refusal is an answer and no error.
///
/// # Errors
/// The store's.
pub(super) async fn can_read(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<bool, WalkError> {
    match may_read(walk, site, leaf, who).await {
        Ok(()) => Ok(true),
        Err(WalkError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// As [`can_read`], for one who may see the owner's presence, maybe only from this walk on.
///
/// # Errors
/// The store's.
pub(super) async fn can_contact_read(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<bool, WalkError> {
    match leaf.config.access {
        AccessModel::Presence => {
            let affiliation = affiliation(walk, site, leaf, who).await?;
            Ok(!matches!(
                affiliation,
                Affiliation::Outcast | Affiliation::PublishOnly
            ))
        }
        _ => can_read(walk, site, leaf, who).await,
    }
}

/// May `who` publish? Answers whether they may touch what others have published.
///
/// # Errors
/// No (§7.1.3.1); or the store's.
pub(super) async fn may_publish(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<bool, WalkError> {
    match affiliation(walk, site, leaf, who).await? {
        Affiliation::Owner | Affiliation::Publisher => return Ok(true),
        Affiliation::PublishOnly => return Ok(false),
        Affiliation::Outcast => return Err(StanzaError::forbidden().into()),
        Affiliation::Member | Affiliation::None => {}
    }
    let may = match leaf.config.publish {
        PublishModel::Publishers => false,
        PublishModel::Subscribers => {
            is_subscribed(walk, leaf, &who.clone().into()).await?
                && can_read(walk, site, leaf, who).await?
        }
        PublishModel::Open => can_read(walk, site, leaf, who).await?,
    };
    if may {
        Ok(false)
    } else {
        Err(StanzaError::forbidden().into())
    }
}

/// Only owners may go on.
///
/// # Errors
/// `forbidden`; or the store's.
pub(super) async fn require_owner(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<(), WalkError> {
    if affiliation(walk, site, leaf, who).await? == Affiliation::Owner {
        return Ok(());
    }
    Err(StanzaError::forbidden().into())
}

// ---- subscriptions by request ----------------------------------------------------------------------

/// Is exactly this address subscribed?
///
/// # Errors
/// The store's.
pub(super) async fn is_subscribed(
    walk: &Walk<'_>,
    leaf: &Leaf,
    who: &Jid,
) -> Result<bool, WalkError> {
    Ok(walk.get(&subscription_key(leaf, who)).await?.is_some())
}

/// The addresses that are subscribed, at most `most`.
///
/// # Errors
/// The store's.
pub(super) async fn subscribers(
    walk: &Walk<'_>,
    leaf: &Leaf,
    most: usize,
) -> Result<Vec<Jid>, WalkError> {
    let prefix = tables::node_key(tables::NODE_SUBSCRIPTION, &leaf.name, b"");
    let rows = walk.scan(Scan::prefix(&prefix, most)).await?.into_iter();
    let jid = |key: Bytes| {
        let jid = std::str::from_utf8(key.strip_prefix(&prefix[..])?).ok()?;
        Jid::parse(jid).ok()
    };
    Ok(rows.filter_map(|(key, _)| jid(key)).collect())
}

/// Writes down that an address is subscribed; the node's own count is the caller's.
pub(super) fn put_subscription(walk: &mut Walk<'_>, leaf: &Leaf, who: &Jid) {
    walk.put(
        subscription_key(leaf, who),
        Bytes::from_static(&[SUBSCRIPTION_V1]),
    );
}

/// Forgets that an address is subscribed.
pub(super) fn delete_subscription(walk: &mut Walk<'_>, leaf: &Leaf, who: &Jid) {
    walk.delete(subscription_key(leaf, who));
}

fn subscription_key(leaf: &Leaf, who: &Jid) -> Bytes {
    tables::node_key(
        tables::NODE_SUBSCRIPTION,
        &leaf.name,
        who.as_str().as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let golden = b"\x01\0\0\0\x06member";
        assert_eq!(&encode(Affiliation::Member)[..], golden);
        assert_eq!(decode(Bytes::from_static(golden)), Ok(Affiliation::Member));
        assert!(decode(Bytes::from_static(b"\x01\0\0\0\x04king")).is_err());
    }
}
