//! What of a room goes by itself: what was said long ago, and temporary rooms that a crash has left without occupants.
//! The round of [`crate::retention`] comes by here.

use bytes::Bytes;
use posthaste_kv::{Batch, Partition, Scan};
use posthaste_proto::jid::BareJid;

use super::{directory, stored};
use crate::clock::Timestamp;
use crate::config::Keep;
use crate::error::WalkError;
use crate::log::ArchiveId;
use crate::node::Node;
use crate::tables;

/// Where accounts keep messages until they are delivered: to whom a room has still to deliver something, it does not
/// know. Whoever was away for a month has missed something.
const DAYS_FOR_LATECOMERS: u32 = 30;
/// After a start clients come back to their rooms, which are as they were: so long they have.
const TO_COME_BACK_MILLIS: u64 = 600_000;

/// Visits a room: nearly always there is nothing to do.
///
/// # Errors
/// The store's.
pub async fn visit(node: &Node, partition: &Partition, jid: &BareJid) -> Result<(), WalkError> {
    let Some(value) = node.kv().get(partition, tables::ROOM).await? else {
        return Ok(());
    };
    let is_temporary = !stored::room(value)?.config.persistent;
    if is_temporary && node.now().since(node.started_at) > TO_COME_BACK_MILLIS {
        return close(node, jid).await;
    }
    drop_old(node, partition, jid).await
}

/// A room that only its occupants keep is gone with them (§4.2).
async fn close(node: &Node, jid: &BareJid) -> Result<(), WalkError> {
    let home = node.home(jid);
    let mut state = home.lock(node).await?;
    let room = state.room.as_deref();
    let is_deserted = room.is_some_and(|room| room.occupants.is_empty() && !room.config.persistent);
    if !is_deserted {
        return drop_old(node, &state.partition, jid).await;
    }
    let listed = directory::Entry::of(&state);
    let mut batch = Batch::new(state.partition.clone());
    batch.delete_range(Bytes::new(), Bytes::new());
    node.kv().commit(batch)?;
    state.room = None;
    directory::file(node, jid, listed.as_ref(), None)?;
    Ok(())
}

async fn drop_old(node: &Node, partition: &Partition, jid: &BareJid) -> Result<(), WalkError> {
    let config = node.config();
    let days = match config.service(jid.domain()).map(|(host, _)| host.keep) {
        Some(Keep::Days(days)) => days,
        Some(Keep::Delivered) => DAYS_FOR_LATECOMERS,
        Some(Keep::Forever) | None => return Ok(()),
    };
    let kept = node
        .now()
        .millis()
        .saturating_sub(u64::from(days) * 86_400_000);
    let from = ArchiveId::after(ArchiveId(0), Timestamp(kept));
    let (first, end) = (tables::log_key(ArchiveId(0)), tables::log_key(from));
    let old = Scan::range(first.clone(), end.clone(), 1);
    if node.kv().scan(partition, old).await?.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new(partition.clone());
    batch.delete_range(first, end);
    node.kv().commit(batch)?;
    Ok(())
}
