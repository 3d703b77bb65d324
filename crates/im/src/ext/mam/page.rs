//! One page of the archive: which entries of the log a query means.

use std::ops::{ControlFlow, RangeInclusive};

use bytes::Bytes;
use posthaste_kv::{Kv, Partition, Scan, prefix_end};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::mam::{End, Fin, Query};
use posthaste_proto::xep::rsm::{Answer, First, Page as Wanted};

use crate::codec;
use crate::conversations::{self, Order, visit};
use crate::error::WalkError;
use crate::log::{ArchiveId, Entry};
use crate::tables;
use crate::walk::Walk;

/// Results of a query that does not say how many it wants: about a screen's history.
const USUAL_PAGE: usize = 50;
/// Most results of one query. Sixteen kilobytes of a session's queue.
const MAX_PAGE: usize = 250;
/// Log entries read at a time. With the longest stanzas these are 16 MB, for a moment.
const ROWS: usize = 64;
/// Entries looked at for one page where no index can tell which are meant (`with` a full JID, or somebody in a room). The
/// page ends there and says how far it came, so that the client goes on.
const MAX_LOOKED_AT: usize = 2000;

/// How much there is room for. A page ends before it has more, but has one entry at least.
#[derive(Clone, Copy, Debug)]
pub(in crate::ext) struct Most {
    /// Entries.
    pub(in crate::ext) entries: usize,
    /// Bytes of stanzas that are read on the way.
    pub(in crate::ext) bytes: usize,
}

/// Whom `with` means (§4.1.1).
#[derive(Clone, Copy)]
pub(in crate::ext) enum With<'w> {
    /// In the archive of an account: the other side. The index of conversations knows.
    Peer,
    /// In the archive of a room: whoever has said it, as far as the one who asks may know.
    Publisher(&'w (dyn Fn(&Stanza, &Jid) -> bool + Sync)),
}

/// An entry of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ext) struct Found {
    /// The entry.
    pub(in crate::ext) id: ArchiveId,
    /// Can it be one that waits for delivery?
    pub(in crate::ext) may_wait: bool,
    /// The entry itself, if it was read on the way.
    pub(in crate::ext) entry: Option<Entry>,
}

impl Found {
    fn read(id: ArchiveId, entry: Entry) -> Found {
        Found {
            id,
            may_wait: entry.offline && !entry.outgoing,
            entry: Some(entry),
        }
    }
}

/// A page, oldest entry first.
#[derive(Debug, Default)]
pub(in crate::ext) struct Page {
    /// Its entries.
    pub(in crate::ext) entries: Vec<Found>,
    /// Nothing that the query means lies beyond its end.
    complete: bool,
    /// Nothing that the query means lies on either side.
    is_all: bool,
    /// Where the search ended when it found too little.
    looked_upto: Option<ArchiveId>,
}

impl Page {
    /// What ends the answer.
    pub(in crate::ext) fn fin(&self) -> Fin {
        let ends = match (self.entries.first(), self.entries.last(), self.looked_upto) {
            (Some(first), Some(last), None) => Some((first.id, last.id)),
            (first, last, Some(upto)) => {
                let first = first.map_or(upto, |first| first.id.min(upto));
                let last = last.map_or(upto, |last| last.id.max(upto));
                Some((first, last))
            }
            _ => None,
        };
        let count = self
            .is_all
            .then(|| u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        let first = ends.map(|(first, _)| First {
            uid: first.to_string(),
            index: count.map(|_| 0),
        });
        Fin {
            complete: self.complete,
            set: Answer {
                first,
                last: ends.map(|(_, last)| last.to_string()),
                count,
            },
        }
    }
}

/// Finds the page that a query means.
///
/// # Errors
/// `item-not-found` for an id that the archive does not have, `feature-not-implemented` for a page by its place, and the
/// store's.
pub(in crate::ext) async fn find(
    walk: &mut Walk<'_>,
    query: &Query,
    room: Most,
    with: With<'_>,
) -> Result<Page, WalkError> {
    let archive = Archive::of(walk);
    let range = archive.range(query).await?;
    let asked = query.set.max.and_then(|max| usize::try_from(max).ok());
    let most = asked.unwrap_or(USUAL_PAGE).min(MAX_PAGE).min(room.entries);
    let order = match query.set.page {
        Wanted::First | Wanted::After(_) => Order::OldestFirst,
        Wanted::Last | Wanted::Before(_) => Order::NewestFirst,
        // Counts are not kept, so that a place means nothing (XEP-0059 §2.5).
        Wanted::Index(_) => return Err(StanzaError::feature_not_implemented().into()),
    };
    // One more shows whether there is more.
    let wanted = most + 1;
    let mut search = match (&query.filter.with, with) {
        _ if !query.filter.ids.is_empty() => archive.named(query, &range, order, with).await?,
        (Some(jid), With::Peer) => {
            // The index is behind the log by what was said in the last second.
            conversations::save(walk.node, walk.home).await?;
            let archive = Archive::of(walk);
            archive.with(jid, &range, order, wanted).await?
        }
        (Some(jid), With::Publisher(_)) => {
            archive.said_by(jid, with, &range, order, wanted).await?
        }
        (None, _) => archive.any(&range, order, wanted).await?,
    };
    let fitting = search.fitting(most, room.bytes);
    let has_more = search.found.len() > fitting || search.gave_up_at.is_some();
    if search.found.len() > fitting {
        search.gave_up_at = None;
    }
    search.found.truncate(fitting);
    if order == Order::NewestFirst {
        search.found.reverse();
    }
    let starts_at_end = matches!(query.set.page, Wanted::First | Wanted::Last);
    Ok(Page {
        entries: search.found,
        complete: !has_more,
        is_all: !has_more && starts_at_end,
        looked_upto: search.gave_up_at,
    })
}

/// The ends of the archive.
pub(in crate::ext) async fn ends(
    kv: &dyn Kv,
    partition: &Partition,
) -> Result<Option<(End, End)>, WalkError> {
    let archive = Archive { kv, partition };
    let all = ArchiveId(0)..=ArchiveId(u64::MAX);
    let first = archive.any(&all, Order::OldestFirst, 1).await?;
    let last = archive.any(&all, Order::NewestFirst, 1).await?;
    let end = |found: &Found| End {
        id: found.id.to_string(),
        timestamp: found.id.timestamp().to_string(),
    };
    let (first, last) = (first.found.first(), last.found.first());
    Ok(first.map(end).zip(last.map(end)))
}

/// What was found, in the order of the search.
#[derive(Debug, Default)]
struct Search {
    found: Vec<Found>,
    gave_up_at: Option<ArchiveId>,
}

impl Search {
    /// How many of the first fit into a page.
    fn fitting(&self, entries: usize, bytes: usize) -> usize {
        let mut left = bytes;
        let fits = |found: &&Found| {
            let len = found.entry.as_ref().map_or(0, |entry| entry.stanza.len());
            let fits = len <= left;
            left = left.saturating_sub(len);
            fits
        };
        let count = self.found.iter().take(entries).take_while(fits).count();
        count.max(1).min(entries).min(self.found.len())
    }
}

/// The log of a home, as its archive.
#[derive(Clone, Copy)]
struct Archive<'a> {
    kv: &'a dyn Kv,
    partition: &'a Partition,
}

impl<'a> Archive<'a> {
    fn of(walk: &'a Walk<'_>) -> Archive<'a> {
        Archive {
            kv: walk.node.kv(),
            partition: &walk.home.partition,
        }
    }

    async fn entry(&self, id: ArchiveId) -> Result<Option<Entry>, WalkError> {
        let value = self.kv.get(self.partition, &tables::log_key(id)).await?;
        let entry = value.map(Entry::decode).transpose()?;
        Ok(entry.filter(|entry| entry.archive))
    }

    /// An id that the client says it knows: §4.1.4, §4.3.2.
    async fn known(&self, id: &str) -> Result<ArchiveId, WalkError> {
        let not_found = || WalkError::from(StanzaError::item_not_found());
        let id = ArchiveId::parse(id).ok_or_else(not_found)?;
        match self.entry(id).await? {
            Some(_) => Ok(id),
            None => Err(not_found()),
        }
    }

    /// Where the entries lie that a query can mean. Ids are in the order of time, so that times and ids are one range.
    async fn range(&self, query: &Query) -> Result<RangeInclusive<ArchiveId>, WalkError> {
        let filter = &query.filter;
        let first_of = |millis: u64| millis.min(u64::MAX >> 16) << 16;
        let mut from = filter.start.map_or(0, first_of);
        let mut upto = filter.end.map_or(u64::MAX, |end| first_of(end) | 0xffff);
        let after = match &query.set.page {
            Wanted::After(id) => Some(id),
            _ => None,
        };
        let before = match &query.set.page {
            Wanted::Before(id) => Some(id),
            _ => None,
        };
        for id in [filter.after_id.as_ref(), after].into_iter().flatten() {
            from = from.max(self.known(id).await?.0.saturating_add(1));
        }
        for id in [filter.before_id.as_ref(), before].into_iter().flatten() {
            upto = upto.min(self.known(id).await?.0.saturating_sub(1));
        }
        Ok(ArchiveId(from)..=ArchiveId(upto))
    }

    /// The entries of a range, whoever they are with.
    async fn any(
        &self,
        range: &RangeInclusive<ArchiveId>,
        order: Order,
        wanted: usize,
    ) -> Result<Search, WalkError> {
        let all = |_: &Entry| Ok(true);
        self.matching(range, order, wanted, usize::MAX, &all).await
    }

    /// The entries of a range that somebody has said, of a room.
    async fn said_by(
        &self,
        jid: &Jid,
        with: With<'_>,
        range: &RangeInclusive<ArchiveId>,
        order: Order,
        wanted: usize,
    ) -> Result<Search, WalkError> {
        let matches = |entry: &Entry| is_with(entry, Some(jid), with);
        self.matching(range, order, wanted, MAX_LOOKED_AT, &matches)
            .await
    }

    /// The entries of a range that match, of the first `look_at`.
    async fn matching(
        &self,
        range: &RangeInclusive<ArchiveId>,
        order: Order,
        wanted: usize,
        look_at: usize,
        matches: &(dyn Fn(&Entry) -> Result<bool, WalkError> + Sync),
    ) -> Result<Search, WalkError> {
        let mut search = Search::default();
        let mut looked_at = 0;
        let (mut from, mut to) = log_range(range);
        while search.found.len() < wanted && !range.is_empty() {
            let mut scan = Scan::range(from.clone(), to.clone(), ROWS.min(wanted));
            // What does not match is no reason to read row by row.
            if look_at != usize::MAX {
                scan.limit = ROWS;
            }
            scan.reverse = order == Order::NewestFirst;
            let limit = scan.limit;
            let rows = self.kv.scan(self.partition, scan).await?;
            let is_last = rows.len() < limit;
            for (key, value) in rows {
                match order {
                    Order::OldestFirst => from = [&key, &b"\0"[..]].concat().into(),
                    Order::NewestFirst => to = key.clone(),
                }
                let Some(id) = tables::key_id(tables::LOG, &key) else {
                    continue;
                };
                let entry = Entry::decode(value)?;
                if search.found.len() >= wanted || !entry.archive {
                    continue;
                }
                looked_at += 1;
                if matches(&entry)? {
                    search.found.push(Found::read(id, entry));
                } else if looked_at >= look_at {
                    search.gave_up_at = Some(id);
                    return Ok(search);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(search)
    }

    /// The entries of a range that are with somebody.
    async fn with(
        &self,
        with: &Jid,
        range: &RangeInclusive<ArchiveId>,
        order: Order,
        wanted: usize,
    ) -> Result<Search, WalkError> {
        // The index may still name what retention has dropped: all of that is older than the log.
        let oldest = self.any(range, Order::OldestFirst, 1).await?;
        let Some(oldest) = oldest.found.first() else {
            return Ok(Search::default());
        };
        let range = oldest.id..=*range.end();
        let most = match with.resource() {
            None => wanted,
            Some(_) => MAX_LOOKED_AT,
        };
        let mut listed = Vec::new();
        let list = |entry: conversations::Indexed| {
            listed.push(Found {
                id: entry.id,
                may_wait: !entry.own,
                entry: None,
            });
            if listed.len() < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        visit(
            self.kv,
            self.partition,
            &with.to_bare(),
            &range,
            order,
            list,
        )
        .await?;
        if with.resource().is_none() {
            return Ok(Search {
                found: listed,
                gave_up_at: None,
            });
        }
        self.of_resource(with, listed, wanted).await
    }

    /// Of these entries those with exactly this full JID: the index does not know resources.
    async fn of_resource(
        &self,
        with: &Jid,
        listed: Vec<Found>,
        wanted: usize,
    ) -> Result<Search, WalkError> {
        let mut search = Search::default();
        let may_be_more = listed.len() >= MAX_LOOKED_AT;
        let last = listed.last().map(|last| last.id);
        for found in listed {
            let Some(entry) = self.entry(found.id).await? else {
                continue;
            };
            let stanza = codec::stanza(&entry.stanza)?;
            if [&stanza.from, &stanza.to].contains(&&Some(with.clone())) {
                search.found.push(found);
            }
            if search.found.len() >= wanted {
                return Ok(search);
            }
        }
        search.gave_up_at = last.filter(|_| may_be_more);
        Ok(search)
    }

    /// The entries that a query names (§4.1.4).
    async fn named(
        &self,
        query: &Query,
        range: &RangeInclusive<ArchiveId>,
        order: Order,
        with: With<'_>,
    ) -> Result<Search, WalkError> {
        let mut search = Search::default();
        for id in &query.filter.ids {
            let id = self.known(id).await?;
            let Some(entry) = self.entry(id).await? else {
                continue;
            };
            if range.contains(&id) && is_with(&entry, query.filter.with.as_ref(), with)? {
                search.found.push(Found::read(id, entry));
            }
        }
        search.found.sort_by_key(|found| found.id);
        search.found.dedup();
        if order == Order::NewestFirst {
            search.found.reverse();
        }
        Ok(search)
    }
}

/// §4.1.1: a bare JID means all resources.
fn is_with(entry: &Entry, jid: Option<&Jid>, with: With<'_>) -> Result<bool, WalkError> {
    let Some(jid) = jid else { return Ok(true) };
    let stanza = codec::stanza(&entry.stanza)?;
    if let With::Publisher(is_by) = with {
        return Ok(is_by(&stanza, jid));
    }
    let address = if entry.outgoing {
        stanza.to
    } else {
        stanza.from
    };
    Ok(address.is_some_and(|address| match jid.resource() {
        Some(_) => address == *jid,
        None => address.to_bare() == jid.to_bare(),
    }))
}

fn log_range(range: &RangeInclusive<ArchiveId>) -> (Bytes, Bytes) {
    let to = match range.end().0.checked_add(1) {
        Some(next) => tables::log_key(ArchiveId(next)),
        None => prefix_end(tables::LOG),
    };
    (tables::log_key(*range.start()), to)
}
