//! The roster in the store: one row per contact, read when somebody needs it, never kept in memory.
//!
//! Every change goes through [`change`]: it counts the roster's version, keeps the tombstones and pushes the entry to
//! the clients that asked for the roster (RFC 6121 §2.1.6).

use bytes::Bytes;
use posthaste_kv::{Kv, Pages, Partition, Scan};
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Stanza};
use posthaste_proto::xml::Element;

use crate::codec::{self, Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::roster::{
    Listing, MAX_PENDING_IN, MAX_TOMBSTONES, RosterItem, RosterSummary, stored_subscription,
};
use crate::session::What;
use crate::subscription::State;
use crate::tables;
use crate::walk::Walk;

const REQUEST_V1: u8 = 1;
/// Rows read at a time.
const PAGE: usize = 512;

/// What is stored about a contact; an unlisted entry without a subscription if nothing is.
///
/// # Errors
/// The store's.
pub async fn find(walk: &Walk<'_>, jid: &BareJid) -> Result<RosterItem, WalkError> {
    match walk
        .get(&tables::text_key(tables::ROSTER, jid.as_str()))
        .await?
    {
        Some(value) => Ok(RosterItem::decode(jid.clone(), value)?),
        None => Ok(RosterItem::unknown(jid.clone())),
    }
}

/// Whether `jid` may see the owner's presence: the owner may, and whoever is subscribed to it.
///
/// # Errors
/// The store's.
pub async fn may_see_presence(walk: &Walk<'_>, jid: &BareJid) -> Result<bool, WalkError> {
    Ok(*jid == walk.home.jid
        || find(walk, jid)
            .await?
            .subscription
            .state
            .is_seen_by_contact())
}

/// Every entry, tombstones and strangers' questions too.
///
/// # Errors
/// The store's.
pub async fn all(walk: &Walk<'_>) -> Result<Vec<RosterItem>, WalkError> {
    stored(walk.node.kv(), &walk.home.partition).await
}

/// As [`all`], of a home that is not being walked through.
///
/// # Errors
/// The store's.
pub async fn stored(kv: &dyn Kv, partition: &Partition) -> Result<Vec<RosterItem>, WalkError> {
    let items = rows(kv, partition)
        .await?
        .into_iter()
        .map(|(jid, value)| RosterItem::decode(jid, value));
    Ok(items.filter_map(readable).collect())
}

/// Who sees whom, for every entry: all that presence needs.
///
/// # Errors
/// The store's.
pub async fn subscriptions(walk: &Walk<'_>) -> Result<Vec<(BareJid, State)>, WalkError> {
    let rows = rows(walk.node.kv(), &walk.home.partition).await?;
    let states = rows
        .into_iter()
        .map(|(jid, value)| stored_subscription(&value).map(|it| (jid, it.state)));
    Ok(states.filter_map(readable).collect())
}

/// One damaged row must not keep a person offline: it is left out, and the operator hears of it.
fn readable<T>(decoded: Result<T, Corrupt>) -> Option<T> {
    decoded
        .inspect_err(|corrupt| tracing::error!(%corrupt, "a roster entry is left out"))
        .ok()
}

async fn rows(kv: &dyn Kv, partition: &Partition) -> Result<Vec<(BareJid, Bytes)>, WalkError> {
    let mut rows = Vec::new();
    let mut pages = Pages::new(kv, partition, Scan::prefix(tables::ROSTER, PAGE));
    while let Some(page) = pages.next().await? {
        rows.extend(page.into_iter().filter_map(|(key, value)| {
            let jid = std::str::from_utf8(key.strip_prefix(tables::ROSTER)?).ok()?;
            Some((BareJid::parse(jid).ok()?, value))
        }));
    }
    Ok(rows)
}

/// The roster's version and counts.
///
/// # Errors
/// The store's.
pub async fn summary(walk: &Walk<'_>) -> Result<RosterSummary, WalkError> {
    match walk.get(tables::ROSTER_SUMMARY).await? {
        Some(value) => Ok(RosterSummary::decode(value)?),
        None => Ok(RosterSummary::default()),
    }
}

/// Stores an entry in its new form and tells the owner's clients if they can see the difference. At most one change
/// per walk, so that each has its own version.
///
/// # Errors
/// The store's.
pub async fn change(
    walk: &mut Walk<'_>,
    old: &RosterItem,
    mut new: RosterItem,
) -> Result<(), WalkError> {
    if *old == new {
        return Ok(());
    }
    let key = tables::text_key(tables::ROSTER, new.jid.as_str());
    if new.looks_like(old) {
        if new.is_forgettable() {
            walk.delete(key);
        } else {
            walk.put(key, new.encode());
        }
        return Ok(());
    }
    let mut summary = summary(walk).await?;
    new.changed = summary.advance(walk.now.millis());
    summary.recount(old.listing, new.listing);
    if summary.tombstones > MAX_TOMBSTONES {
        forget_tombstones(walk).await?;
        summary.horizon = summary.current;
        summary.tombstones = u32::from(new.listing == Listing::Removed);
    }
    walk.put(key, new.encode());
    walk.put(tables::ROSTER_SUMMARY, summary.encode());
    push(walk, &new, summary.current);
    Ok(())
}

async fn forget_tombstones(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    for item in all(walk)
        .await?
        .into_iter()
        .filter(|item| item.listing == Listing::Removed)
    {
        let key = tables::text_key(tables::ROSTER, item.jid.as_str());
        let left = RosterItem {
            listing: Listing::Hidden,
            ..item
        };
        if left.is_forgettable() {
            walk.delete(key);
        } else {
            walk.put(key, left.encode());
        }
    }
    Ok(())
}

fn push(walk: &mut Walk<'_>, item: &RosterItem, version: u64) {
    let interested: Vec<_> = walk
        .home
        .sessions
        .iter()
        .filter(|attendee| attendee.interested)
        .map(|attendee| attendee.session.clone())
        .collect();
    for session in interested {
        let xml = push_stanza(item, version).to(session.jid.clone()).encode();
        walk.deliver(&session, What::Iq, xml, false);
    }
}

/// The roster push of an entry (RFC 6121 §2.1.6), without an addressee.
pub fn push_stanza(item: &RosterItem, version: u64) -> Stanza {
    let query = Element::new("query", ns::ROSTER)
        .with_attr("ver", version.to_string())
        .with_child(item.to_element());
    Stanza::iq(IqType::Set)
        .id(format!("push-{version:x}"))
        .with_child(&query)
}

// ---- strangers' questions -------------------------------------------------------------------------

/// Keeps a subscription request until it is answered (RFC 6121 §3.1.3): whole, with its greeting.
///
/// # Errors
/// The store's. `Ok(false)` when so many wait already that this one is not taken.
pub async fn keep_request(walk: &mut Walk<'_>, from: &BareJid) -> Result<bool, WalkError> {
    let waiting = Scan::prefix(tables::REQUEST, MAX_PENDING_IN);
    if walk
        .node
        .kv()
        .scan(&walk.home.partition, waiting)
        .await?
        .len()
        >= MAX_PENDING_IN
    {
        return Ok(false);
    }
    let stanza = walk.stanza.encode();
    let mut value = Writer::new(REQUEST_V1, stanza.len());
    value.rest(&stanza);
    walk.put(
        tables::text_key(tables::REQUEST, from.as_str()),
        value.finish(),
    );
    Ok(true)
}

/// The requests that wait for an answer.
///
/// # Errors
/// The store's.
pub async fn requests(walk: &Walk<'_>) -> Result<Vec<Stanza>, WalkError> {
    let waiting = Scan::prefix(tables::REQUEST, MAX_PENDING_IN);
    let rows = walk.node.kv().scan(&walk.home.partition, waiting).await?;
    Ok(rows
        .into_iter()
        .filter_map(|(_, value)| readable(decode_request(value)))
        .collect())
}

fn decode_request(value: Bytes) -> Result<Stanza, Corrupt> {
    let (_, value) = Reader::open("subscription request", value, REQUEST_V1)?;
    codec::stanza(&value.rest())
}

/// The request of `from` is answered, withdrawn or forgotten.
pub fn drop_request(walk: &mut Walk<'_>, from: &BareJid) {
    walk.delete(tables::text_key(tables::REQUEST, from.as_str()));
}
