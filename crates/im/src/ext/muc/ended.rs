//! A room ends, and for a while says where its people have gone (§10.9).

use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::stanza::{Kind, PresenceType};
use posthaste_proto::xep::muc::{Affiliation, Destroy, Role};

use super::presence::{self, Said};
use super::{broadcast, room};
use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::tables;
use crate::walk::Walk;

const ENDED_V1: u8 = 1;
/// How long an address leads to the room that has taken its place: until those have looked who look once a month.
const SHOWN_FOR_MS: u64 = 31 * 24 * 60 * 60 * 1000;

/// What is kept of a room that has ended with the address of another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ended {
    at: Timestamp,
    /// Who ended it, and may make it anew.
    by: String,
    venue: String,
}

/// Ends the room: everybody goes, and nothing is left but where to go instead.
///
/// # Errors
/// None today; callers are ready for them.
pub(super) fn end(walk: &mut Walk<'_>, by: &BareJid, destroy: Destroy) -> Result<(), WalkError> {
    let Some((room, out)) = walk.room_and_out() else {
        return Ok(());
    };
    let everybody: Vec<FullJid> = room.occupants.iter().map(|it| it.address.clone()).collect();
    for address in everybody {
        let Some(mut occupant) = room.occupants.remove(&address) else {
            continue;
        };
        occupant.affiliation = Affiliation::None;
        occupant.role = Role::None;
        // §10.9: each is told once, and of itself only.
        let said = Said {
            destroy: Some(&destroy),
            ..Said::default()
        };
        let stanza = presence::gone(&occupant, None);
        broadcast::to_itself(out, &occupant, &stanza, &said);
    }
    room::erase(walk);
    if let Some(venue) = destroy.venue {
        let ended = Ended {
            at: walk.now,
            by: by.to_string(),
            venue: venue.to_string(),
        };
        walk.put(tables::ROOM_ENDED, ended.encode());
    }
    Ok(())
}

/// Is this the address of a room that has moved? Whoever comes is told where; who has ended it may make another here.
///
/// # Errors
/// `<gone/>` with the address of the other room.
pub(super) async fn check(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let says_goodbye = matches!(
        walk.stanza.kind,
        Kind::Presence(kind) if kind != PresenceType::Available
    );
    if walk.home.room.is_some() || says_goodbye || walk.stanza.is_error() {
        return Ok(());
    }
    let Some(value) = walk.get(tables::ROOM_ENDED).await? else {
        return Ok(());
    };
    let ended = Ended::decode(value)?;
    let is_over = walk.now.millis().saturating_sub(ended.at.millis()) > SHOWN_FOR_MS;
    let from = walk.stanza.from.as_ref();
    let is_maker = from.is_some_and(|from| from.bare_str() == ended.by);
    let makes = is_maker && matches!(walk.stanza.kind, Kind::Presence(_));
    if is_over || makes {
        walk.delete(tables::ROOM_ENDED);
        return Ok(());
    }
    let mut gone = StanzaError::gone();
    // RFC 6120 §8.3.3.5: the new address is an URI.
    gone.address = Some(format!("xmpp:{}?join", ended.venue));
    Err(gone.into())
}

impl Ended {
    fn encode(&self) -> Bytes {
        let mut value = Writer::new(ENDED_V1, 64);
        value.u64(self.at.millis()).text(&self.by).text(&self.venue);
        value.finish()
    }

    fn decode(value: Bytes) -> Result<Ended, Corrupt> {
        let (_, mut value) = Reader::open("ended room", value, ENDED_V1)?;
        let ended = Ended {
            at: Timestamp(value.u64()?),
            by: value.text()?,
            venue: value.text()?,
        };
        value.end()?;
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let ended = Ended {
            at: Timestamp(258),
            by: "a@b".to_owned(),
            venue: "c@d".to_owned(),
        };
        let golden = b"\x01\0\0\0\0\0\0\x01\x02\0\0\0\x03a@b\0\0\0\x03c@d";
        assert_eq!(&ended.encode()[..], golden);
        assert_eq!(Ended::decode(Bytes::from_static(golden)), Ok(ended));
        assert!(Ended::decode(Bytes::from_static(b"\x01\0")).is_err());
    }
}
