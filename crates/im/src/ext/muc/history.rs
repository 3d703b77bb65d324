//! What was said before somebody came (§7.2.13, §7.2.14): from the room's log, and no more than was asked for.

use posthaste_kv::{Scan, prefix_end};
use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::muc::History;

use super::group::gap;
use super::subject;
use crate::clock::Timestamp;
use crate::codec;
use crate::error::WalkError;
use crate::log::{ArchiveId, Entry};
use crate::tables;
use crate::walk::Walk;
use crate::weight::weigh_in_room;

/// Messages at entry where neither the room nor the client says how many: about what a screen shows.
const USUAL: u32 = 20;
/// Log entries read at a time.
const PAGE: usize = 64;
/// Log entries read to find what is asked for, where most of them are no messages: more than that is nobody's screen.
const MOST_READ: usize = 512;

/// What is to be sent to a session, the oldest first.
///
/// # Errors
/// The store's.
pub async fn of(
    walk: &Walk<'_>,
    wanted: &History,
    session: &FullJid,
) -> Result<Vec<Stanza>, WalkError> {
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(Vec::new());
    };
    if let Some(from) = gap::asked(walk) {
        return since_position(walk, from, session).await;
    }
    let most = walk.node.config().rooms.history;
    let usual = room.config.max_history.unwrap_or(USUAL).min(most);
    let most = usual.min(wanted.max_stanzas.unwrap_or(usual));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut chars = wanted.max_chars.map(u64::from);
    let mut found = Vec::new();
    let since = since(wanted, walk.now).min(u64::MAX >> 16);
    let from = tables::log_key(ArchiveId(since << 16));
    let (mut to, mut read) = (prefix_end(tables::LOG), 0);
    while found.len() < most && chars != Some(0) && read < MOST_READ {
        let scan = Scan::range(from.clone(), to.clone(), PAGE).reversed();
        let rows = walk.scan(scan).await?;
        let is_last = rows.len() < PAGE;
        read += rows.len();
        for (key, value) in rows {
            to = key.clone();
            let stanza = codec::stanza(&Entry::decode(value)?.stanza)?;
            let id = tables::key_id(tables::LOG, &key);
            let Some(id) = id.filter(|_| is_worth_it(&stanza)) else {
                continue;
            };
            let stanza = shown(walk, id, stanza).to(session.clone());
            // Only for those who ask for it: most do not, and it writes every stanza once more.
            let left = chars.map(|chars| chars.checked_sub(length(&stanza)));
            // Nothing is left out between two messages that are sent.
            if found.len() >= most || left == Some(None) {
                chars = Some(0);
                break;
            }
            chars = left.flatten();
            found.push(stanza);
        }
        if is_last {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// What was said. A subject is no history (§7.2.13), and markers or reactions say nothing to whoever has missed what they
/// are about; those who want them ask the archive.
fn is_worth_it(stanza: &Stanza) -> bool {
    let is_said = weigh_in_room(stanza).message || stanza.has("replace", ns::CORRECTION);
    is_said && !subject::is_change(stanza)
}

/// Somebody says what it has: all that came after it, or as much as is sent so, and where the rest is.
async fn since_position(
    walk: &Walk<'_>,
    from: ArchiveId,
    session: &FullJid,
) -> Result<Vec<Stanza>, WalkError> {
    let missed = gap::since(walk, from).await?;
    let mut past: Vec<Stanza> = gap::warning(walk, from, &missed).into_iter().collect();
    for (id, entry) in missed.entries {
        let stanza = codec::stanza(&entry.stanza)?;
        if !subject::is_change(&stanza) {
            past.push(shown(walk, id, stanza));
        }
    }
    Ok(past
        .into_iter()
        .map(|stanza| stanza.to(session.clone()))
        .collect())
}

/// In milliseconds since 1970.
fn since(wanted: &History, now: Timestamp) -> u64 {
    let seconds = wanted.seconds.map_or(u64::MAX, u64::from);
    let since = now.millis().saturating_sub(seconds.saturating_mul(1000));
    since.max(wanted.since_ms.unwrap_or_default())
}

/// §7.2.14: the characters of the complete stanza.
fn length(stanza: &Stanza) -> u64 {
    String::from_utf8_lossy(&stanza.encode()).chars().count() as u64
}

/// An entry of the log as an occupant sees it later: who said it is not told, and when it was is.
fn shown(walk: &Walk<'_>, id: ArchiveId, mut stanza: Stanza) -> Stanza {
    stanza.remove_children(|child| child.is("x", ns::MUC_USER));
    stanza.push_child(&subject::delay(walk.home.jid.as_str(), id.timestamp()));
    stanza
}

/// Sends it.
pub fn send(walk: &mut Walk<'_>, past: Vec<Stanza>) {
    for stanza in past {
        walk.send(stanza);
    }
}
