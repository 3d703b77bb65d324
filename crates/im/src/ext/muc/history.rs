//! What was said before somebody came (§7.2.13, §7.2.14): from the room's log, and no more than was asked for.

use posthaste_kv::{Scan, prefix_end};
use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::muc::History;

use super::subject;
use crate::clock::Timestamp;
use crate::codec;
use crate::error::WalkError;
use crate::log::{ArchiveId, Entry};
use crate::tables;
use crate::walk::Walk;

/// Messages at entry where neither the room nor the client says how many: about what a screen shows.
const USUAL: u32 = 20;
/// Log entries read to find what is asked for; only messages that set a subject are passed over.
const MOST_READ: usize = 500;

/// What is to be sent, the oldest first.
///
/// # Errors
/// The store's.
pub async fn of(walk: &Walk<'_>, wanted: &History) -> Result<Vec<Stanza>, WalkError> {
    let Some(room) = walk.home.room.as_deref() else {
        return Ok(Vec::new());
    };
    let most = walk.node.config().rooms.history;
    let usual = room.config.max_history.unwrap_or(USUAL).min(most);
    let most = usual.min(wanted.max_stanzas.unwrap_or(usual));
    let mut most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut chars = wanted.max_chars.map_or(u64::MAX, u64::from);
    let mut found = Vec::new();
    if most == 0 || chars == 0 {
        return Ok(found);
    }
    let since = since(wanted, walk.now).min(u64::MAX >> 16);
    let from = tables::log_key(ArchiveId(since << 16));
    let scan = Scan::range(from, prefix_end(tables::LOG), most.min(MOST_READ)).reversed();
    for (key, value) in walk.scan(scan).await? {
        let Some(id) = tables::key_id(tables::LOG, &key) else {
            continue;
        };
        let stanza = codec::stanza(&Entry::decode(value)?.stanza)?;
        if subject::is_change(&stanza) {
            continue;
        }
        let stanza = shown(walk, id, stanza);
        let length = written(&stanza).chars().count() as u64;
        if most == 0 || length > chars {
            break;
        }
        most -= 1;
        chars -= length;
        found.push(stanza);
    }
    found.reverse();
    Ok(found)
}

/// In milliseconds since 1970.
fn since(wanted: &History, now: Timestamp) -> u64 {
    let seconds = wanted.seconds.map_or(u64::MAX, u64::from);
    let since = now.millis().saturating_sub(seconds.saturating_mul(1000));
    since.max(wanted.since_ms.unwrap_or_default())
}

/// §7.2.14: the characters of the complete stanza.
fn written(stanza: &Stanza) -> String {
    String::from_utf8_lossy(&stanza.encode()).into_owned()
}

/// An entry of the log as an occupant sees it later: who said it is not told, and when it was is.
fn shown(walk: &Walk<'_>, id: ArchiveId, mut stanza: Stanza) -> Stanza {
    stanza.remove_children(|child| child.is("x", ns::MUC_USER));
    stanza.push_child(&subject::delay(walk.home.jid.as_str(), id.timestamp()));
    stanza
}

/// Sends it to a session.
pub fn send(walk: &mut Walk<'_>, session: &FullJid, past: Vec<Stanza>) {
    for stanza in past {
        walk.send(stanza.to(session.clone()));
    }
}
