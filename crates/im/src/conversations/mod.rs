//! Whom a home has spoken with: where in the log each conversation is, what was said last, and how much is unread.
//!
//! The log is the truth; this is derived from it and written behind it, with the cursor about once a second, so that a
//! message costs no more writes than its log entry. What a crash has cut off is read from the log again when the home
//! is loaded; so is the whole log of a home that was last saved before there was an index. See
//! `docs/decisions/0007-the-index-is-written-behind-the-log.md`.

mod index;
mod recent;

use bytes::Bytes;
use posthaste_kv::{Batch, Kv, Pages, Partition, Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use crate::codec::{self, Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::home::HomeState;
use crate::log::{ArchiveId, Entry};
use crate::node::Node;
use crate::tables;
use crate::weight::{Way, weigh};

pub use index::{Indexed, LOOK_BACK, Order, named, visit};
use index::{encode_row, newest, unread_after};
pub use recent::{Covered, MAX_NOTES, Recent};
use recent::{Note, Talk, archived};

/// Log entries read at a time when the index is made up for.
const REPLAY_PAGE: usize = 64;
/// Conversations that are listed, out of all that somebody may have had; a client shows hundreds. Each is 30 bytes and
/// an address.
pub const MAX_LISTED: usize = 20_000;
/// Unread messages are counted up to here: no screen shows more.
const MAX_UNREAD: u32 = 9999;

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
    save(node, state).await?;
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

/// Saves the cursors and what is not in the index yet: before the index is read, and when there is too much of it.
///
/// # Errors
/// The store's; then all of it is saved another time.
pub async fn save(node: &Node, state: &mut HomeState) -> Result<(), WalkError> {
    let nothing_else = Batch::new(state.partition.clone());
    save_with(node, state, nothing_else).await
}

/// As [`save`], with whatever is in the batch.
///
/// # Errors
/// The store's; then all of it is saved another time.
pub async fn save_with(
    node: &Node,
    state: &mut HomeState,
    mut batch: Batch,
) -> Result<(), WalkError> {
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

/// Drops what the index knows of entries that retention has dropped from the log: all older than `oldest`.
///
/// # Errors
/// The store's.
pub async fn prune(node: &Node, state: &mut HomeState, oldest: ArchiveId) -> Result<(), WalkError> {
    /// Conversations looked at between two commits.
    const PAGE: usize = 256;
    let (kv, partition) = (node.kv(), state.partition.clone());
    let all = Scan::prefix(tables::CONVERSATION, PAGE);
    let mut pages = Pages::new(kv, &partition, all);
    while let Some(rows) = pages.next().await? {
        let mut batch = Batch::new(partition.clone());
        for (key, value) in rows {
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
    }
    state.recent.covered.pruned = oldest;
    let mut batch = Batch::new(partition.clone());
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
    use super::index::decode_row;
    use super::recent::name_of;
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
