//! Every key space of the server, in one place: what is stored under which key of which partition.
//!
//! A home's partition is its bare JID. Keys start with the table's name and a slash; what follows sorts bytewise,
//! so that a scan of a table runs in the order its comment gives. Values carry a version byte ([`crate::codec`]).

use bytes::Bytes;

use crate::log::ArchiveId;

/// `account`: there is an account here ([`crate::accounts`]).
pub const ACCOUNT: &[u8] = b"account";
/// `log/<archive id>`: the messages of a home, oldest first ([`crate::log::Entry`]).
pub const LOG: &[u8] = b"log/";
/// `cursor`: how far the log has been delivered ([`crate::log::Cursor`]).
pub const CURSOR: &[u8] = b"cursor";
/// `roster/<bare jid>`: one contact ([`crate::roster`]).
pub const ROSTER: &[u8] = b"roster/";
/// `block/<jid>`: one blocked address (XEP-0191); the value is only a version byte.
pub const BLOCK: &[u8] = b"block/";
/// `outbox/<archive id>`: a stanza that must reach another home even over a crash ([`crate::outbox`]).
pub const OUTBOX: &[u8] = b"outbox/";
/// `session/<stream management id>`: a session that outlives a restart of the server ([`crate::session_store`]).
pub const SESSION: &[u8] = b"session/";

/// The key of one log entry.
pub fn log_key(id: ArchiveId) -> Bytes {
    id_key(LOG, id)
}

/// The key of one outbox entry.
pub fn outbox_key(id: ArchiveId) -> Bytes {
    id_key(OUTBOX, id)
}

/// A table's prefix followed by an id's eight bytes.
fn id_key(table: &[u8], id: ArchiveId) -> Bytes {
    let mut key = Vec::with_capacity(table.len() + 8);
    key.extend_from_slice(table);
    key.extend_from_slice(&id.0.to_be_bytes());
    key.into()
}

/// A table's prefix followed by a text (a JID, a token's name).
pub fn text_key(table: &[u8], text: &str) -> Bytes {
    let mut key = Vec::with_capacity(table.len() + text.len());
    key.extend_from_slice(table);
    key.extend_from_slice(text.as_bytes());
    key.into()
}

/// The id at the end of a key made by [`log_key`] or [`outbox_key`]; `None` when the key is of another table.
pub fn key_id(table: &[u8], key: &[u8]) -> Option<ArchiveId> {
    let id: [u8; 8] = key.strip_prefix(table)?.try_into().ok()?;
    Some(ArchiveId(u64::from_be_bytes(id)))
}
