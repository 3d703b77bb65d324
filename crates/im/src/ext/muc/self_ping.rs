//! A client can find out whether it is still in a room without asking anybody else.
//!
//! XEP-0410: MUC Self-Ping (Schrödinger's Chat), version 1.1.0. A ping of an occupant to itself is answered by the room;
//! whoever is not there gets `<not-acceptable/>`, as for every request to an occupant ([`super::iq`]).

use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, Stanza};

use super::occupants::Occupant;
use crate::ext::Ext;

/// The extension. Rooms announce it, not the server.
pub const EXT: Ext = Ext {
    name: "MUC Self-Ping (Schrödinger's Chat)",
    xep: 410,
    version: "1.1.0",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// The answer to a ping of an occupant to itself, if the request is one (§4.3).
pub(super) fn answer(asker: &Occupant, asked: &FullJid, request: &Stanza) -> Option<Stanza> {
    let is_ping = request.kind == Kind::Iq(IqType::Get) && request.has("ping", ns::PING);
    (is_ping && asker.address == *asked).then(|| request.result(None))
}
