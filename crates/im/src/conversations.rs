//! Whom a home has spoken with: where in the log each conversation is, what was said last, and how much is unread.
//!
//! The log is the truth; this is derived from it and written behind it, with the cursor about once a second, so that a
//! message costs no more writes than its log entry. What a crash has cut off is read from the log again when the home
//! is loaded; so is the whole log of a home that was last saved before there was an index. See
//! `docs/decisions/0007-the-index-is-written-behind-the-log.md`.

use std::ops::{ControlFlow, RangeInclusive};

use bytes::Bytes;
use posthaste_kv::{Batch, Kv, Partition, Row, Scan, prefix_end};
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;

use crate::codec::{self, Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::home::HomeState;
use crate::log::{ArchiveId, Entry};
use crate::node::Node;
use crate::tables;
use crate::weight::{Way, weigh};

/// Notes kept in memory; the walk that finds so many saves them. 32 bytes each.
pub const MAX_NOTES: usize = 128;
/// Rows of the index read at a time; one row holds what a peer and the owner said within a second.
const ROWS: usize = 64;
/// Log entries read at a time when the index is made up for.
const REPLAY_PAGE: usize = 64;
/// A marker or a retraction names one message: it is looked for among so many of its conversation.
pub const LOOK_BACK: usize = 2000;
/// Conversations that are listed, out of all that somebody may have had; a client shows hundreds. Each is 30 bytes and
/// an address.
pub const MAX_LISTED: usize = 20_000;
/// Unread messages are counted up to here: no screen shows more.
const MAX_UNREAD: u32 = 9999;

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

/// A log entry that is not in the index yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    entry: Indexed,
    /// Is it in the archive? If not, all that matters is what it says of what has been seen.
    archived: bool,
    /// The owner has seen the message of this name, and all before it (XEP-0333).
    displayed: Option<u32>,
}

/// What is not in the index yet of one conversation.
#[derive(Debug)]
struct Talk {
    peer: BareJid,
    notes: Vec<Note>,
}

/// The end of the log that is not indexed yet.
#[derive(Debug, Default)]
pub struct Recent {
    /// In a second one speaks with few.
    talks: Vec<Talk>,
    count: usize,
    /// What is in it.
    covered: Covered,
}

/// What of the log the index covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Everything up to here.
    pub indexed: ArchiveId,
    /// Nothing older, since retention has dropped it.
    pub pruned: ArchiveId,
}

const COVERED_VERSION: u8 = 1;

impl Covered {
    /// What is stored in a home; nothing for one that was last saved before there was an index.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(kv: &dyn Kv, partition: &Partition) -> Result<Covered, WalkError> {
        let value = kv.get(partition, tables::INDEXED).await?;
        Ok(value.map(Covered::decode).transpose()?.unwrap_or_default())
    }

    fn encode(self) -> Bytes {
        let mut writer = Writer::new(COVERED_VERSION, 16);
        writer.u64(self.indexed.0).u64(self.pruned.0);
        writer.finish()
    }

    fn decode(value: Bytes) -> Result<Covered, Corrupt> {
        let (_, mut reader) = Reader::open("extent of the index", value, COVERED_VERSION)?;
        let (indexed, pruned) = (ArchiveId(reader.u64()?), ArchiveId(reader.u64()?));
        reader.end()?;
        Ok(Covered { indexed, pruned })
    }
}

impl Recent {
    /// Nothing, beyond what the store says that the index covers.
    pub fn new(covered: Covered) -> Recent {
        Recent {
            covered,
            ..Recent::default()
        }
    }

    /// An archived stanza was committed; `message` says whether it is something said ([`crate::weight`]).
    pub fn note(
        &mut self,
        id: ArchiveId,
        stanza: &Stanza,
        outgoing: bool,
        message: bool,
        owner: &BareJid,
    ) {
        self.push(id, stanza, outgoing, message, owner, true);
    }

    /// The owner has sent something that is not archived, after the entry of this id: by it too one tells what one has
    /// seen.
    pub fn note_passing(
        &mut self,
        after: ArchiveId,
        stanza: &Stanza,
        message: bool,
        owner: &BareJid,
    ) {
        if message || displayed(stanza).is_some() {
            self.push(after, stanza, true, message, owner, false);
        }
    }

    fn push(
        &mut self,
        id: ArchiveId,
        stanza: &Stanza,
        outgoing: bool,
        message: bool,
        owner: &BareJid,
        archived: bool,
    ) {
        let address = if outgoing { &stanza.to } else { &stanza.from };
        let Some(address) = address else { return };
        let peer = address.bare_str();
        let own = outgoing || peer == owner.as_str();
        let note = Note {
            entry: Indexed {
                id,
                own,
                message,
                name: stanza.id.as_deref().map_or(0, name_of),
            },
            archived,
            displayed: own.then(|| displayed(stanza)).flatten(),
        };
        self.count += 1;
        let mut talks = self.talks.iter_mut();
        match talks.find(|talk| talk.peer.as_str() == peer) {
            Some(talk) => talk.notes.push(note),
            None => self.talks.push(Talk {
                peer: address.to_bare(),
                notes: vec![note],
            }),
        }
    }

    /// The newest entry of a conversation that is meant, among those that are not in the index yet.
    fn newest(&self, peer: &BareJid, is_meant: impl Fn(&Indexed) -> bool) -> Option<Indexed> {
        let talk = self.talks.iter().find(|talk| talk.peer == *peer)?;
        let mut entries = archived(&talk.notes).rev();
        entries.find(|entry| is_meant(entry))
    }

    /// Must it be saved before more comes?
    pub fn is_full(&self) -> bool {
        self.count >= MAX_NOTES
    }

    /// Is there nothing to save?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Entries up to here are gone from the log.
    pub fn forget(&mut self, upto: ArchiveId) {
        for talk in &mut self.talks {
            talk.notes.retain(|note| note.entry.id > upto);
        }
        self.talks.retain(|talk| !talk.notes.is_empty());
        self.count = self.talks.iter().map(|talk| talk.notes.len()).sum();
    }
}

fn archived(notes: &[Note]) -> impl DoubleEndedIterator<Item = Indexed> + Clone + '_ {
    let archived = notes.iter().filter(|note| note.archived);
    archived.map(|note| note.entry)
}

/// What a marker says that its sender has seen (XEP-0333 §4.2; `acknowledged` is of its older versions).
fn displayed(stanza: &Stanza) -> Option<u32> {
    let is_marker = |name| name == "displayed" || name == "acknowledged";
    let marker = stanza
        .children()
        .find(|child| child.ns == ns::MARKERS && is_marker(child.name))?;
    let marker = marker.to_element().ok()?;
    marker.attr("id").map(name_of)
}

/// A hash of a stanza's id (FNV-1a): tells which of a conversation's entries a marker or a retraction may mean.
pub fn name_of(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

// ---- one conversation -------------------------------------------------------------------------------

/// What is stored of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Its newest entry.
    pub last: ArchiveId,
    /// The newest that is something said; 0 if there is none.
    pub last_message: ArchiveId,
    /// Everything up to here has been seen.
    pub read: ArchiveId,
    /// Messages beyond that which others have sent.
    pub unread: u32,
}

const CONVERSATION_VERSION: u8 = 1;

impl Conversation {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(CONVERSATION_VERSION, 28);
        writer
            .u64(self.last.0)
            .u64(self.last_message.0)
            .u64(self.read.0)
            .u32(self.unread);
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: Bytes) -> Result<Conversation, Corrupt> {
        let (_, mut reader) = Reader::open("conversation", value, CONVERSATION_VERSION)?;
        let mut id = || reader.u64().map(ArchiveId);
        let (last, last_message, read) = (id()?, id()?, id()?);
        let unread = reader.u32()?;
        reader.end()?;
        Ok(Conversation {
            last,
            last_message,
            read,
            unread,
        })
    }

    /// XEP-0430 §4: what others say starts unread; whoever answers has seen all before.
    fn take(&mut self, entry: Indexed) {
        self.last = entry.id;
        if !entry.message {
            return;
        }
        self.last_message = entry.id;
        if entry.own {
            self.answered(entry.id);
        } else {
            self.unread = self.unread.saturating_add(1).min(MAX_UNREAD);
        }
    }

    /// The owner has said something after this entry, or in it.
    fn answered(&mut self, id: ArchiveId) {
        if self.last > ArchiveId(0) {
            self.read = self.read.max(id);
            self.unread = 0;
        }
    }
}

/// One conversation, as it is stored.
pub async fn find(
    kv: &dyn Kv,
    partition: &Partition,
    peer: &BareJid,
) -> Result<Option<Conversation>, WalkError> {
    let key = tables::text_key(tables::CONVERSATION, peer.as_str());
    let value = kv.get(partition, &key).await?;
    Ok(value.map(Conversation::decode).transpose()?)
}

/// Every conversation, at most [`MAX_LISTED`].
///
/// # Errors
/// The store's.
pub async fn all(
    kv: &dyn Kv,
    partition: &Partition,
) -> Result<Vec<(BareJid, Conversation)>, WalkError> {
    let rows = kv
        .scan(partition, Scan::prefix(tables::CONVERSATION, MAX_LISTED))
        .await?;
    let mut conversations = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        if let Some(peer) = tables::conversation_peer(&key) {
            conversations.push((peer, Conversation::decode(value)?));
        }
    }
    Ok(conversations)
}

/// The owner has seen everything up to an entry. Answers the conversation if that is news.
///
/// # Errors
/// The store's.
pub async fn read_upto(
    node: &Node,
    state: &mut HomeState,
    peer: &BareJid,
    upto: ArchiveId,
) -> Result<Option<Conversation>, WalkError> {
    save(node, state, Batch::new(state.partition.clone())).await?;
    let Some(mut conversation) = find(node.kv(), &state.partition, peer).await? else {
        return Ok(None);
    };
    let upto = upto.min(conversation.last);
    if upto <= conversation.read {
        return Ok(None);
    }
    conversation.read = upto;
    conversation.unread = unread_after(node.kv(), &state.partition, peer, upto).await?;
    Ok(Some(conversation))
}

// ---- saving -----------------------------------------------------------------------------------------

/// Saves the cursors and what is not in the index yet, with whatever else is in the batch.
///
/// # Errors
/// The store's; then all of it is saved another time.
pub async fn save(node: &Node, state: &mut HomeState, mut batch: Batch) -> Result<(), WalkError> {
    // What is noted of an account that is being removed must not come back.
    if !state.has_account || (!state.has_unsaved() && batch.is_empty()) {
        return Ok(());
    }
    write(node.kv(), &state.partition, &state.recent, &mut batch).await?;
    let covered = Covered {
        indexed: state.delivery.last(),
        ..state.recent.covered
    };
    if !state.recent.is_empty() {
        batch.put(Bytes::from_static(tables::INDEXED), covered.encode());
    }
    state.save_cursors(&mut batch);
    node.kv().commit(batch)?;
    state.recent = Recent::new(covered);
    Ok(())
}

async fn write(
    kv: &dyn Kv,
    partition: &Partition,
    recent: &Recent,
    batch: &mut Batch,
) -> Result<(), WalkError> {
    for Talk { peer, notes } in &recent.talks {
        let mut conversation = find(kv, partition, peer).await?.unwrap_or_default();
        for (place, note) in notes.iter().enumerate() {
            if note.archived {
                conversation.take(note.entry);
            } else if note.entry.message {
                conversation.answered(note.entry.id);
            }
            if let Some(name) = note.displayed
                && conversation.unread > 0
            {
                let said = Said {
                    kv,
                    partition,
                    peer,
                    unsaved: &notes[..place],
                };
                said.mark(name, &mut conversation).await?;
            }
        }
        if conversation == Conversation::default() {
            continue;
        }
        let key = tables::text_key(tables::CONVERSATION, peer.as_str());
        batch.put(key, conversation.encode());
        if let Some(last) = archived(notes).next_back() {
            batch.put(tables::with_key(peer, last.id), encode_row(archived(notes)));
        }
    }
    Ok(())
}

/// A conversation while it is being saved: what is stored of it, and what follows that.
struct Said<'a> {
    kv: &'a dyn Kv,
    partition: &'a Partition,
    peer: &'a BareJid,
    unsaved: &'a [Note],
}

impl Said<'_> {
    /// The message of that name, and all before it, have been seen (XEP-0430 §4).
    async fn mark(&self, name: u32, conversation: &mut Conversation) -> Result<(), WalkError> {
        let is_meant = |entry: &Indexed| entry.name == name && !entry.own;
        let unsaved = archived(self.unsaved);
        let seen = match unsaved.clone().rev().find(is_meant) {
            Some(entry) => Some(entry),
            None => newest(self.kv, self.partition, self.peer, is_meant).await?,
        };
        let Some(seen) = seen.filter(|seen| seen.id > conversation.read) else {
            return Ok(());
        };
        conversation.read = seen.id;
        let later = |entry: &Indexed| entry.id > seen.id && entry.message && !entry.own;
        let unsaved = unsaved.filter(later).count();
        let stored = unread_after(self.kv, self.partition, self.peer, seen.id).await?;
        let unsaved = u32::try_from(unsaved).unwrap_or(MAX_UNREAD);
        conversation.unread = stored.saturating_add(unsaved).min(MAX_UNREAD);
        Ok(())
    }
}

/// How many messages of others come after an entry, as far as they are saved.
async fn unread_after(
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

// ---- the index --------------------------------------------------------------------------------------

const ROW_VERSION: u8 = 1;
const OWN: u8 = 1;
const MESSAGE: u8 = 2;

/// A row: entries of one conversation that were saved together, oldest first.
fn encode_row(entries: impl Iterator<Item = Indexed>) -> Bytes {
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

fn decode_row(value: Bytes) -> Result<Vec<Indexed>, Corrupt> {
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
    let mut scan = match order {
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
    loop {
        let rows = kv.scan(partition, scan.clone()).await?;
        let is_last = rows.len() < ROWS;
        match (order, rows.last()) {
            (_, None) => return Ok(()),
            // The next key after this one.
            (Order::OldestFirst, Some((key, _))) => scan.from = [key, &b"\0"[..]].concat().into(),
            (Order::NewestFirst, Some((key, _))) => scan.to = key.clone(),
        }
        for row in rows {
            if show(row)?.is_break() {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
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
async fn newest(
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

/// Drops what the index knows of entries that retention has dropped from the log: all older than `oldest`.
///
/// # Errors
/// The store's.
pub async fn prune(node: &Node, state: &mut HomeState, oldest: ArchiveId) -> Result<(), WalkError> {
    /// Conversations looked at between two commits.
    const PAGE: usize = 256;
    let (kv, partition) = (node.kv(), state.partition.clone());
    let mut scan = Scan::prefix(tables::CONVERSATION, PAGE);
    loop {
        let rows = kv.scan(&partition, scan.clone()).await?;
        let is_last = rows.len() < PAGE;
        let mut batch = Batch::new(partition.clone());
        for (key, value) in rows {
            scan.from = [&key, &b"\0"[..]].concat().into();
            let Some(peer) = tables::conversation_peer(&key) else {
                continue;
            };
            let first = tables::with_prefix(&peer);
            let kept = tables::with_key(&peer, oldest);
            let dropped = Scan::range(first.clone(), kept.clone(), 1);
            if !kv.scan(&partition, dropped).await?.is_empty() {
                batch.delete_range(first, kept);
            }
            if Conversation::decode(value)?.last < oldest {
                batch.delete(key);
            }
        }
        if !batch.is_empty() {
            kv.commit(batch)?;
        }
        if is_last {
            break;
        }
    }
    state.recent.covered.pruned = oldest;
    let mut batch = Batch::new(partition);
    let covered = state.recent.covered.encode();
    batch.put(Bytes::from_static(tables::INDEXED), covered);
    kv.commit(batch)?;
    Ok(())
}

/// Notes what the log holds beyond the index, after a crash or from before there was an index.
///
/// # Errors
/// The store's.
pub async fn replay(node: &Node, state: &mut HomeState) -> Result<(), WalkError> {
    let end = prefix_end(tables::LOG);
    let mut from = state.recent.covered.indexed.next();
    // What has been given out and never logged is no reason to read.
    while from <= state.delivery.last() {
        let scan = Scan::range(tables::log_key(from), end.clone(), REPLAY_PAGE);
        let rows = node.kv().scan(&state.partition, scan).await?;
        let is_last = rows.len() < REPLAY_PAGE;
        for (key, value) in rows {
            let Some(id) = tables::key_id(tables::LOG, &key) else {
                continue;
            };
            from = id.next();
            note_stored(state, id, value)?;
        }
        if is_last {
            return Ok(());
        }
        if state.recent.is_full() {
            save_replayed(node, state, ArchiveId(from.0 - 1)).await?;
        }
    }
    Ok(())
}

fn note_stored(state: &mut HomeState, id: ArchiveId, value: Bytes) -> Result<(), WalkError> {
    let entry = Entry::decode(value)?;
    if !entry.archive {
        return Ok(());
    }
    let stanza = codec::stanza(&entry.stanza)?;
    let way = if entry.outgoing {
        Way::Sent
    } else {
        Way::Received
    };
    let message = weigh(&stanza, way).message;
    let HomeState { recent, jid, .. } = state;
    recent.note(id, &stanza, entry.outgoing, message, jid);
    Ok(())
}

/// Saves part of a long log, so that a crash need not begin again.
async fn save_replayed(
    node: &Node,
    state: &mut HomeState,
    upto: ArchiveId,
) -> Result<(), WalkError> {
    let mut batch = Batch::new(state.partition.clone());
    write(node.kv(), &state.partition, &state.recent, &mut batch).await?;
    let covered = Covered {
        indexed: upto,
        ..state.recent.covered
    };
    batch.put(Bytes::from_static(tables::INDEXED), covered.encode());
    node.kv().commit(batch)?;
    state.recent = Recent::new(covered);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_conversation_and_a_row_of_the_index_look_like_this() {
        let conversation = Conversation {
            last: ArchiveId(4),
            last_message: ArchiveId(3),
            read: ArchiveId(2),
            unread: 1,
        };
        let bytes = conversation.encode();
        assert_eq!(
            &bytes[..],
            b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\x01"
        );
        assert_eq!(Conversation::decode(bytes).unwrap(), conversation);
        let entries = [
            Indexed {
                id: ArchiveId(1),
                own: true,
                message: true,
                name: name_of("a"),
            },
            Indexed {
                id: ArchiveId(2),
                own: false,
                message: false,
                name: 0,
            },
        ];
        let row = encode_row(entries.into_iter());
        assert_eq!(
            &row[..],
            b"\x01\0\0\0\0\0\0\0\x01\x03\xe4\x0c\x29\x2c\0\0\0\0\0\0\0\x02\0\0\0\0\0"
        );
        assert_eq!(decode_row(row.clone()).unwrap(), entries);
        assert!(decode_row(row.slice(..row.len() - 1)).is_err());
        let covered = Covered {
            indexed: ArchiveId(2),
            pruned: ArchiveId(1),
        };
        let bytes = covered.encode();
        assert_eq!(&bytes[..], b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
        assert_eq!(Covered::decode(bytes).unwrap(), covered);
    }
}
