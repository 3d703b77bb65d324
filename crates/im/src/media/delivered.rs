//! Files that go when everybody has them ([`Keep::Delivered`]): who was sent what, and who has said that it came.
//!
//! Only what the uploader's own home sees counts: the address of a file in a message that one of its sessions sends, and
//! the receipt for that message (XEP-0184), a marker (XEP-0333), or a group's word that all its members have it
//! (`docs/protocol/groups.md` §5). What is encrypted, or sent to a room that is no group, or in a message without an id,
//! is never heard of again: such a file stays as long as the setting allows at most.
//!
//! Costs nothing under other settings; under this one a search in each message that is sent, and a read for each receipt.

use bytes::Bytes;
use posthaste_kv::Scan;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, MessageType, Stanza};
use smallvec::SmallVec;

use super::books::{self, Books, THERE};
use super::record::Sent;
use super::{FileId, Keep, LedgerError, PATH, Record};
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::ext::groups;
use crate::tables;
use crate::walk::Walk;

/// Addresses of files that are looked for in one message: an album has no more.
const MAX_FILES: usize = 32;
/// Those to whom a file was sent and who may not have it, each of which costs some rows.
const MAX_PEERS: u32 = 256;
/// Messages that brought one file to one of them, beyond which the oldest is forgotten.
const MAX_MESSAGES: usize = 8;
/// Longest id of a message, in bytes, whose receipt is waited for: clients' are UUIDs.
const MAX_ID_BYTES: usize = 256;
/// Messages of which one status tells, as a group lists them (`docs/protocol/groups.md` §5): each is a read.
const MAX_STATUSES: usize = 64;

const VERSION: u8 = 1;

/// How a message is to be found again.
#[derive(Clone, Copy)]
enum Way {
    /// By the receipt for its id.
    Direct,
    /// By its id, when it comes back from a group.
    Echo,
    /// By the position that the group has given it.
    Position,
}

impl Way {
    /// The name of a message in the rows: what one way finds is not found by another.
    fn name(self, id: &str) -> String {
        let letter = match self {
            Way::Direct => 'd',
            Way::Echo => 'e',
            Way::Position => 'p',
        };
        format!("{letter}{id}")
    }
}

fn is_counted(walk: &Walk<'_>) -> bool {
    matches!(walk.node.config().media.keep, Keep::Delivered { .. })
}

/// One of the account's sessions sends a message: the files in it are on their way to its recipient.
///
/// # Errors
/// The store's.
pub(crate) async fn note_sent(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if !is_counted(walk) {
        return Ok(());
    }
    let Some(peer) = walk.stanza.to.as_ref().map(|to| to.to_bare()) else {
        return Ok(());
    };
    let is_group = walk.stanza.kind == Kind::Message(MessageType::Groupchat);
    let way = if is_group { Way::Echo } else { Way::Direct };
    let id = walk.stanza.id.as_deref();
    let id = id.filter(|id| id.len() <= MAX_ID_BYTES);
    let message = id.map(|id| way.name(id));
    let mut is_awaited = false;
    for file in files_in(walk) {
        // What somebody else has uploaded is none of our business.
        let Some(before) = books::record(walk.node, &walk.home.partition, &file).await? else {
            continue;
        };
        if before.sent.waiting == Sent::FOR_GOOD {
            continue;
        }
        let waiting = on_its_way(walk, &file, &before, &peer, message.as_deref()).await?;
        let now = Record {
            sent: Sent {
                waiting,
                delivered: None,
            },
            ..before.clone()
        };
        books::change(walk.batch(), &file, &before, &now);
        is_awaited |= is_group && message.is_some();
    }
    if is_awaited {
        walk.home.awaits_echo = walk.home.awaits_echo.saturating_add(1);
    }
    Ok(())
}

/// Answers how many wait for the file now.
async fn on_its_way(
    walk: &mut Walk<'_>,
    file: &FileId,
    record: &Record,
    peer: &BareJid,
    message: Option<&str>,
) -> Result<u32, WalkError> {
    let key = tables::media_to_key(file, peer);
    let known = walk.get(&key).await?.map(decode).transpose()?;
    let has_room = known.is_some() || record.sent.waiting < MAX_PEERS;
    let Some(message) = message.filter(|_| has_room) else {
        return Ok(Sent::FOR_GOOD);
    };
    let is_new = known.is_none();
    let mut messages = known.unwrap_or_default();
    if messages.iter().any(|it| it == message) {
        return Ok(record.sent.waiting);
    }
    if messages.len() >= MAX_MESSAGES {
        let oldest = messages.remove(0);
        walk.delete(tables::media_sent_key(peer.as_str(), &oldest, file));
    }
    walk.put(tables::media_sent_key(peer.as_str(), message, file), THERE);
    messages.push(message.to_owned());
    walk.put(key, encode(&messages));
    Ok(record.sent.waiting + u32::from(is_new))
}

/// The files of the host whose addresses stand in the message, each once.
fn files_in(walk: &Walk<'_>) -> SmallVec<[FileId; 4]> {
    let mut found = SmallVec::<[FileId; 4]>::new();
    let config = walk.node.config();
    let host = config.host(walk.home.jid.domain());
    let base = host.and_then(|host| host.media_base.as_deref());
    let content = std::str::from_utf8(walk.stanza.content());
    let (Some(base), Ok(content)) = (base, content) else {
        return found;
    };
    let begin = format!("{base}{PATH}/");
    for (at, _) in content.match_indices(&begin) {
        let rest = &content[at + begin.len()..];
        let id = rest.split_once('/').and_then(|(id, _)| FileId::parse(id));
        // A file's address may stand in several places: as text, for a link, with its thumbnail.
        found.extend(id.filter(|id| !found.contains(id)));
        if found.len() >= MAX_FILES {
            break;
        }
    }
    found
}

/// Somebody has sent the account a message: perhaps it says that what was sent has come.
///
/// # Errors
/// The store's.
pub(crate) async fn note_received(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if !is_counted(walk) {
        return Ok(());
    }
    let Some(peer) = walk.stanza.from.as_ref().map(|from| from.to_bare()) else {
        return Ok(());
    };
    match walk.stanza.kind {
        Kind::Message(MessageType::Error) => refused(walk, &peer).await?,
        Kind::Message(MessageType::Groupchat) => came_back(walk, &peer).await?,
        Kind::Message(_) => {
            let mut done = SmallVec::new();
            for message in arrived(&walk.stanza) {
                has_it(walk, &peer, &message, &mut done).await?;
            }
        }
        Kind::Presence(_) | Kind::Iq(_) => {}
    }
    Ok(())
}

/// The messages of which the stanza says that they have come.
fn arrived(stanza: &Stanza) -> Vec<String> {
    let mut messages = Vec::new();
    for (name, ns) in [("received", ns::RECEIPTS), ("displayed", ns::MARKERS)] {
        let child = stanza.child(name, ns).map(|child| child.to_element());
        if let Some(Ok(child)) = child {
            let id = child.attr("id").filter(|id| id.len() <= MAX_ID_BYTES);
            messages.extend(id.map(|id| Way::Direct.name(id)));
        }
    }
    let status = stanza.child("status", ns::GROUPS);
    let Some(Ok(status)) = status.map(|child| child.to_element()) else {
        return messages;
    };
    for message in status.children().take(MAX_STATUSES) {
        let number = |name| message.attr(name)?.parse::<u32>().ok();
        if let (Some(id), Some(members), Some(delivered)) =
            (message.attr("id"), number("members"), number("delivered"))
            && delivered >= members
            && id.len() <= MAX_ID_BYTES
        {
            messages.push(Way::Position.name(id));
        }
    }
    messages
}

/// The recipient of a message has it, and so the files in it, whichever message brought them.
async fn has_it(
    walk: &mut Walk<'_>,
    peer: &BareJid,
    message: &str,
    done: &mut SmallVec<[FileId; 4]>,
) -> Result<(), WalkError> {
    for file in files_of(walk, peer, message).await? {
        if done.contains(&file) {
            continue;
        }
        let key = tables::media_to_key(&file, peer);
        let messages = walk.get(&key).await?.map(decode).transpose()?;
        for message in messages.unwrap_or_default() {
            walk.delete(tables::media_sent_key(peer.as_str(), &message, &file));
        }
        walk.delete(key);
        if let Some(before) = books::record(walk.node, &walk.home.partition, &file).await?
            && before.sent.waiting != Sent::FOR_GOOD
        {
            let waiting = before.sent.waiting.saturating_sub(1);
            let delivered = (waiting == 0).then_some(walk.now);
            let now = Record {
                sent: Sent { waiting, delivered },
                ..before.clone()
            };
            books::change(walk.batch(), &file, &before, &now);
        }
        done.push(file);
    }
    Ok(())
}

/// A room that refuses a message does not send it back.
async fn refused(walk: &mut Walk<'_>, room: &BareJid) -> Result<(), WalkError> {
    let id = walk.stanza.id.as_deref();
    let (true, Some(id)) = (walk.home.awaits_echo > 0, id) else {
        return Ok(());
    };
    if !files_of(walk, room, &Way::Echo.name(id)).await?.is_empty() {
        walk.home.awaits_echo -= 1;
    }
    Ok(())
}

/// A message of one's own comes back from a group: from now on it is known by its position there.
async fn came_back(walk: &mut Walk<'_>, room: &BareJid) -> Result<(), WalkError> {
    if walk.home.awaits_echo == 0 {
        return Ok(());
    }
    let position = groups::position(&walk.stanza);
    let (Some((_, position)), Some(id)) = (position, walk.stanza.id.as_deref()) else {
        return Ok(());
    };
    let (before, now) = (
        Way::Echo.name(id),
        Way::Position.name(&position.to_string()),
    );
    let files = files_of(walk, room, &before).await?;
    if !files.is_empty() {
        walk.home.awaits_echo -= 1;
    }
    for file in files {
        let key = tables::media_to_key(&file, room);
        let known = walk.get(&key).await?.map(decode).transpose()?;
        let mut messages = known.unwrap_or_default();
        for message in messages.iter_mut().filter(|it| **it == before) {
            message.clone_from(&now);
        }
        walk.put(key, encode(&messages));
        walk.delete(tables::media_sent_key(room.as_str(), &before, &file));
        walk.put(tables::media_sent_key(room.as_str(), &now, &file), THERE);
    }
    Ok(())
}

async fn files_of(
    walk: &Walk<'_>,
    peer: &BareJid,
    message: &str,
) -> Result<Vec<FileId>, WalkError> {
    let prefix = tables::media_sent_prefix(peer.as_str(), message);
    let rows = walk.scan(Scan::prefix(&prefix, MAX_FILES)).await?;
    let file = |key: &Bytes| FileId::parse(tables::key_text(&prefix, key)?);
    Ok(rows.iter().filter_map(|(key, _)| file(key)).collect())
}

/// A file goes: nobody waits for it any more.
pub(super) async fn forget(books: &mut Books<'_>, file: &FileId) -> Result<(), LedgerError> {
    let prefix = tables::media_to_prefix(file);
    let most = usize::try_from(MAX_PEERS).unwrap_or(usize::MAX);
    let scan = Scan::prefix(&prefix, most);
    let rows = books.node.kv().scan(&books.state.partition, scan).await?;
    for (key, value) in rows {
        let peer = tables::key_text(&prefix, &key)
            .unwrap_or_default()
            .to_owned();
        for message in decode(value)? {
            books
                .batch
                .delete(tables::media_sent_key(&peer, &message, file));
        }
        books.batch.delete(key);
    }
    Ok(())
}

fn encode(messages: &[String]) -> Bytes {
    let mut value = Writer::new(VERSION, 64);
    for message in messages {
        value.text(message);
    }
    value.finish()
}

fn decode(value: Bytes) -> Result<Vec<String>, Corrupt> {
    let (_, mut value) = Reader::open("recipient of a file", value, VERSION)?;
    let mut messages = Vec::new();
    while !value.is_empty() {
        messages.push(value.text()?);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is on disk today can be read tomorrow: these bytes never change.
    #[test]
    fn stored_values_stay_as_they_are() {
        let messages = vec!["da1".to_owned(), "p01".to_owned()];
        let golden = b"\x01\x00\x00\x00\x03da1\x00\x00\x00\x03p01";
        assert_eq!(&encode(&messages)[..], golden);
        assert_eq!(decode(encode(&messages)), Ok(messages));
        assert_eq!(decode(encode(&[])), Ok(Vec::new()));
        for wrong in [&b""[..], b"\x02", b"\x01\x00", b"\x01\x00\x00\x00\x03da"] {
            assert!(decode(Bytes::copy_from_slice(wrong)).is_err());
        }
    }
}
