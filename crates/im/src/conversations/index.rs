//! Where in the log each conversation is: rows of entry ids, read from either end.

use std::ops::{ControlFlow, RangeInclusive};

use bytes::Bytes;
use posthaste_kv::{Kv, Pages, Partition, Row, Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use super::MAX_UNREAD;
use super::recent::name_of;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::home::HomeState;
use crate::log::ArchiveId;
use crate::node::Node;
use crate::tables;

/// Rows of the index read at a time; one row holds what a peer and the owner said within a second.
const ROWS: usize = 64;
/// A marker or a retraction names one message: it is looked for among so many of its conversation.
pub const LOOK_BACK: usize = 2000;

/// What the index knows of a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// The entry.
    pub id: ArchiveId,
    /// Did the home's owner send it?
    pub own: bool,
    /// Is it something said, rather than a receipt, a marker or a reaction?
    pub message: bool,
    /// A hash of the stanza's id ([`name_of`]).
    pub name: u32,
}

const ROW_VERSION: u8 = 1;
const OWN: u8 = 1;
const MESSAGE: u8 = 2;

/// A row: entries of one conversation that were saved together, oldest first.
pub(super) fn encode_row(entries: impl Iterator<Item = Indexed>) -> Bytes {
    let mut writer = Writer::new(ROW_VERSION, entries.size_hint().1.unwrap_or(0) * 13);
    for entry in entries {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        writer
            .u64(entry.id.0)
            .u8(flag(entry.own, OWN) | flag(entry.message, MESSAGE))
            .u32(entry.name);
    }
    writer.finish()
}

pub(super) fn decode_row(value: Bytes) -> Result<Vec<Indexed>, Corrupt> {
    let (_, mut reader) = Reader::open("row of the index", value, ROW_VERSION)?;
    let mut entries = Vec::new();
    while !reader.is_empty() {
        let (id, flags) = (ArchiveId(reader.u64()?), reader.u8()?);
        entries.push(Indexed {
            id,
            own: flags & OWN != 0,
            message: flags & MESSAGE != 0,
            name: reader.u32()?,
        });
    }
    Ok(entries)
}

/// Which end a page or a search begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The past first.
    OldestFirst,
    /// The present first.
    NewestFirst,
}

/// Shows the entries of one conversation within a range to `visitor`, until it has seen enough.
///
/// # Errors
/// The store's.
pub async fn visit(
    kv: &dyn Kv,
    partition: &Partition,
    peer: &BareJid,
    range: &RangeInclusive<ArchiveId>,
    order: Order,
    mut visitor: impl FnMut(Indexed) -> ControlFlow<()>,
) -> Result<(), WalkError> {
    let from = tables::with_key(peer, *range.start());
    let end = prefix_end(&tables::with_prefix(peer));
    let mut show = |row: Row| -> Result<ControlFlow<()>, WalkError> {
        let mut entries = decode_row(row.1)?;
        if order == Order::NewestFirst {
            entries.reverse();
        }
        for entry in entries {
            if range.contains(&entry.id) && visitor(entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if order == Order::OldestFirst && entry.id > *range.end() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    // A row is named for its newest entry: the one that holds the end of the range may be named beyond it.
    let last = tables::with_key(peer, *range.end());
    let scan = match order {
        Order::OldestFirst => Scan::range(from, end, ROWS),
        Order::NewestFirst => {
            let straddling = Scan::range(last.clone(), end, 1);
            for row in kv.scan(partition, straddling).await? {
                if show(row)?.is_break() {
                    return Ok(());
                }
            }
            Scan::range(from, last, ROWS).reversed()
        }
    };
    let mut pages = Pages::new(kv, partition, scan);
    while let Some(rows) = pages.next().await? {
        for row in rows {
            if show(row)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The newest entry of a conversation that has this name, among those that the owner, or else the other one, has sent.
///
/// # Errors
/// The store's.
pub async fn named(
    node: &Node,
    state: &HomeState,
    peer: &BareJid,
    name: &str,
    own: bool,
) -> Result<Option<ArchiveId>, WalkError> {
    let name = name_of(name);
    let is_meant = |entry: &Indexed| entry.name == name && entry.own == own;
    let found = match state.recent.newest(peer, is_meant) {
        Some(found) => Some(found),
        None => newest(node.kv(), &state.partition, peer, is_meant).await?,
    };
    Ok(found.map(|found| found.id))
}

/// The newest entry of a conversation that is meant, among the last [`LOOK_BACK`].
///
/// # Errors
/// The store's.
pub(super) async fn newest(
    kv: &dyn Kv,
    partition: &Partition,
    peer: &BareJid,
    is_meant: impl Fn(&Indexed) -> bool,
) -> Result<Option<Indexed>, WalkError> {
    let (mut found, mut looked_at) = (None, 0);
    let range = ArchiveId(0)..=ArchiveId(u64::MAX);
    let visitor = |entry: Indexed| {
        looked_at += 1;
        if is_meant(&entry) {
            found = Some(entry);
        }
        if found.is_some() || looked_at >= LOOK_BACK {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    visit(kv, partition, peer, &range, Order::NewestFirst, visitor).await?;
    Ok(found)
}

/// How many messages of others come after an entry, as far as they are saved.
pub(super) async fn unread_after(
    kv: &dyn Kv,
    partition: &Partition,
    peer: &BareJid,
    after: ArchiveId,
) -> Result<u32, WalkError> {
    let mut unread = 0;
    let range = after.next()..=ArchiveId(u64::MAX);
    let count = |entry: Indexed| {
        unread += u32::from(entry.message && !entry.own);
        if unread >= MAX_UNREAD {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    visit(kv, partition, peer, &range, Order::OldestFirst, count).await?;
    Ok(unread)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use posthaste_kv::Batch;
    use posthaste_kv::memory::MemoryKv;
    use proptest::prelude::*;

    use super::*;

    fn entry(id: u64) -> Indexed {
        Indexed {
            id: ArchiveId(id),
            own: id.is_multiple_of(3),
            message: !id.is_multiple_of(5),
            name: 0,
        }
    }

    fn stored(kv: &MemoryKv, partition: &Partition, peer: &BareJid, rows: &[Vec<u64>]) {
        let mut batch = Batch::new(partition.clone());
        for row in rows {
            if let Some(last) = row.last() {
                let entries = row.iter().map(|id| entry(*id));
                batch.put(
                    tables::with_key(peer, ArchiveId(*last)),
                    encode_row(entries),
                );
            }
        }
        kv.commit(batch).unwrap();
    }

    proptest! {
        /// However entries were saved together, a range of them is found from either end, without gap or repeat, and
        /// never one of somebody else.
        #[test]
        fn a_range_is_found_however_it_was_saved(
            ids in proptest::collection::btree_set(1u64..400, 0..200),
            lengths in proptest::collection::vec(1usize..9, 1..8),
            from in 0u64..420,
            to in 0u64..420,
            most in 1usize..120,
        ) {
            let ids: Vec<u64> = ids.into_iter().collect();
            let (mut rows, mut rest, mut turn) = (Vec::new(), &ids[..], lengths.iter().cycle());
            while let Some(length) = turn.next().filter(|_| !rest.is_empty()) {
                let (row, left) = rest.split_at((*length).min(rest.len()));
                rows.push(row.to_vec());
                rest = left;
            }
            let kv = MemoryKv::new();
            let partition = Partition::new("a@b").unwrap();
            let jid = |jid| BareJid::parse(jid).unwrap();
            stored(&kv, &partition, &jid("c@d"), &rows);
            for other in ["c", "c@c", "c@d.e", "c@e"] {
                stored(&kv, &partition, &jid(other), &[vec![1, 200, 399]]);
            }
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let mut wanted: Vec<u64> = ids.iter().copied().filter(|id| (from..=to).contains(id)).collect();
                if order == Order::NewestFirst {
                    wanted.reverse();
                }
                wanted.truncate(most);
                let mut found = Vec::new();
                let range = ArchiveId(from)..=ArchiveId(to);
                let visitor = |entry: Indexed| {
                    found.push(entry.id.0);
                    if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                };
                let peer = jid("c@d");
                let visiting = visit(&kv, &partition, &peer, &range, order, visitor);
                visiting.now_or_never().unwrap().unwrap();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
