//! Everybody can tell whether two messages are of the same person, whatever nickname it has, and nobody but moderators who
//! that is.
//!
//! XEP-0421: Occupant identifiers, version 1.0.1. Each room has a secret of its own, made with the room and gone with it.
//! Ids are on every presence and message of an occupant, and in the archive; what clients send of them is taken away.

use bytes::Bytes;
use posthaste_kv::{Kv, Partition};
use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::occupant_id::{OccupantId, SECRET_BYTES, Secret};

use super::room::Room;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::ext::Ext;
use crate::tables;
use crate::walk::Walk;

/// The extension. Rooms announce it, not the server.
pub const EXT: Ext = Ext {
    name: "Occupant identifiers for semi-anonymous MUCs",
    xep: 421,
    version: "1.0.1",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

const VERSION: u8 = 1;

impl Room {
    /// The id of somebody in this room.
    pub fn occupant_id(&self, user: &BareJid) -> OccupantId {
        OccupantId::derive(&self.secret, user)
    }
}

/// The secret of a new room, stored with the walk's commit.
pub(super) fn make(walk: &mut Walk<'_>) -> Secret {
    let mut bytes = [0; SECRET_BYTES];
    walk.node.entropy().fill(&mut bytes);
    let secret = Secret::new(bytes);
    walk.put(tables::ROOM_SECRET, encode(&secret));
    secret
}

/// The secret of a room that is stored.
///
/// # Errors
/// The store's; a room without one.
pub(super) async fn load(kv: &dyn Kv, partition: &Partition) -> Result<Secret, WalkError> {
    let value = kv.get(partition, tables::ROOM_SECRET).await?;
    Ok(decode(value.unwrap_or_default())?)
}

fn encode(secret: &Secret) -> Bytes {
    let mut value = Writer::new(VERSION, SECRET_BYTES);
    value.rest(secret.as_bytes());
    value.finish()
}

fn decode(value: Bytes) -> Result<Secret, Corrupt> {
    let (_, value) = Reader::open("room's secret", value, VERSION)?;
    let wrong = value.corrupt("its length is wrong");
    let bytes = value.rest();
    let bytes = <[u8; SECRET_BYTES]>::try_from(&*bytes).map_err(|_| wrong)?;
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_secret_looks_like_this() {
        let secret = Secret::new(*b"when shall we three meet again i");
        let golden = Bytes::from_static(b"\x01when shall we three meet again i");
        assert_eq!(encode(&secret), golden);
        assert_eq!(decode(golden), Ok(secret));
        for damaged in [
            &b""[..],
            b"\x01short",
            b"\x02when shall we three meet again i",
        ] {
            assert!(decode(Bytes::from_static(damaged)).is_err());
        }
    }
}
