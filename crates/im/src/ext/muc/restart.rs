//! Occupants outlive a restart of the server, as their sessions do ([`crate::session_store`]): when it goes down in good
//! order they are put into the store, and taken out when the room's home is loaded again. After a crash nobody is there.

use std::sync::Arc;

use posthaste_kv::{Batch, Pages, Partition, Scan};
use posthaste_proto::jid::BareJid;

use super::room::Room;
use super::stored;
use crate::error::WalkError;
use crate::home::Home;
use crate::node::Node;
use crate::tables;

/// Rows read at a time.
const PAGE: usize = 1000;

/// Puts the occupants of a home's room into the store. Answers how many.
///
/// # Errors
/// The store's.
pub async fn store(node: &Arc<Node>, home: &Home) -> Result<usize, WalkError> {
    let state = home.lock(node).await?;
    let Some(room) = state.room.as_deref() else {
        return Ok(0);
    };
    let mut batch = Batch::new(state.partition.clone());
    for occupant in room.occupants.iter() {
        let key = tables::text_key(tables::ROOM_OCCUPANT, occupant.nick());
        batch.put(key, stored::encode_occupant(occupant));
    }
    if !batch.is_empty() {
        node.kv().commit(batch)?;
    }
    Ok(room.occupants.len())
}

/// Takes stored occupants out of the store and into the room.
///
/// # Errors
/// The store's.
pub(super) async fn restore(
    node: &Node,
    jid: &BareJid,
    partition: &Partition,
    room: &mut Room,
) -> Result<(), WalkError> {
    let all = Scan::prefix(tables::ROOM_OCCUPANT, PAGE);
    let mut pages = Pages::new(node.kv(), partition, all);
    let mut batch = Batch::new(partition.clone());
    while let Some(rows) = pages.next().await? {
        for (key, value) in rows {
            let nick = tables::key_text(tables::ROOM_OCCUPANT, &key);
            let address = nick.and_then(|nick| jid.with_resource(nick).ok());
            if let Some(address) = address {
                let occupant = stored::occupant(room, address, value)?;
                room.occupants.restore(occupant);
            }
            batch.delete(key);
        }
    }
    if !batch.is_empty() {
        // A crash from here on finds nobody there, as it finds no session.
        node.kv().commit(batch)?;
    }
    Ok(())
}
