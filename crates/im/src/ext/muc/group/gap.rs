//! What somebody gets who says from where to go on (§4): everything since, or the newest and where the rest is.

use posthaste_kv::{Scan, prefix_end};
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::groups::{gap, named_position};

use super::is_group;
use crate::error::WalkError;
use crate::log::{ArchiveId, Entry};
use crate::tables;
use crate::walk::Walk;

/// Messages that are sent so; what came before them is in the archive.
pub const MOST_MISSED: usize = 200;

/// Where somebody who enters wants to go on; only a group knows everything since.
pub fn asked(walk: &Walk<'_>) -> Option<ArchiveId> {
    let room = walk.home.room.as_deref()?;
    let entering = walk.stanza.child("x", ns::MUC)?.to_element().ok()?;
    let since = named_position(entering.child("since", ns::GROUPS)?).and_then(ArchiveId::parse)?;
    is_group(room).then_some(since)
}

/// What was missed, the oldest first.
#[derive(Debug, Default)]
pub struct Missed {
    /// What is sent.
    pub entries: Vec<(ArchiveId, Entry)>,
    /// Is there more between the position and the first of them?
    pub has_gap: bool,
}

/// What came after a position.
///
/// # Errors
/// The store's.
pub async fn since(walk: &Walk<'_>, since: ArchiveId) -> Result<Missed, WalkError> {
    let from = tables::log_key(since.next());
    let scan = Scan::range(from, prefix_end(tables::LOG), MOST_MISSED + 1).reversed();
    let mut entries = Vec::new();
    for (key, value) in walk.scan(scan).await? {
        if let Some(id) = tables::key_id(tables::LOG, &key) {
            entries.push((id, Entry::decode(value)?));
        }
    }
    let has_gap = entries.len() > MOST_MISSED;
    entries.truncate(MOST_MISSED);
    entries.reverse();
    Ok(Missed { entries, has_gap })
}

/// What says that more was missed than is sent.
pub fn warning(walk: &Walk<'_>, since: ArchiveId, missed: &Missed) -> Option<Stanza> {
    let (first, _) = missed.entries.first().filter(|_| missed.has_gap)?;
    let warning = Stanza::message(MessageType::Groupchat).from(walk.home.jid.clone());
    Some(warning.with_child(&gap(&since.to_string(), &first.to_string())))
}
