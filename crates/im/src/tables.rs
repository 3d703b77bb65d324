//! Every key space of the server, in one place: what is stored under which key of which partition.
//!
//! A home's partition is its bare JID. Keys start with the table's name and a slash; what follows sorts bytewise,
//! so that a scan of a table runs in the order its comment gives. Values carry a version byte ([`crate::codec`]).

use bytes::Bytes;
use posthaste_kv::{KvError, Partition};
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Hash;

use crate::clock::Timestamp;
use crate::log::ArchiveId;
use crate::media::{FileId, ObjectName};

/// `account`: there is an account here ([`crate::accounts`]).
pub const ACCOUNT: &[u8] = b"account";
/// `credentials/<hash>`: what checks the account's password with that SCRAM hash ([`crate::accounts`]).
pub const CREDENTIALS: &[u8] = b"credentials/";
/// `password-changed`: when the account's password was changed last ([`crate::accounts`]).
pub const PASSWORD_CHANGED: &[u8] = b"password-changed";
/// `fast/<client id>`: the FAST tokens of one client ([`crate::accounts`]).
pub const FAST: &[u8] = b"fast/";
/// `log/<archive id>`: the messages of a home, oldest first ([`crate::log::Entry`]).
pub const LOG: &[u8] = b"log/";
/// `cursor`: how far the log has been delivered ([`crate::log::Cursor`]).
pub const CURSOR: &[u8] = b"cursor";
/// `device/<client id>`: a client that names its installation ([`crate::devices::DeviceRecord`]).
pub const DEVICE: &[u8] = b"device/";
/// `cursor/<client id>`: how far the log has been delivered to that device ([`crate::log::Cursor`]).
pub const DEVICE_CURSOR: &[u8] = b"cursor/";
/// `room-cursor/<client id> NUL <bare jid>`: how far that device has taken what was said in a group
/// ([`crate::devices`]).
pub const ROOM_CURSOR: &[u8] = b"room-cursor/";
/// `room-group`: how things stand in a group ([`crate::ext::muc::group`]).
pub const ROOM_GROUP: &[u8] = b"room-group";
/// `room-progress/<bare jid>`: how far a member of a group has come ([`crate::ext::muc::group`]).
pub const ROOM_PROGRESS: &[u8] = b"room-progress/";
/// `push/<service> NUL <node>`: a node of a push service ([`crate::ext::push::registration`]).
pub const PUSH: &[u8] = b"push/";
/// `conversation/<bare jid>`: what was said last and what is unread ([`crate::conversations::Conversation`]).
pub const CONVERSATION: &[u8] = b"conversation/";
/// `with/<bare jid>`, a NUL and `<archive id>`: which entries of the log are of one conversation, as rows of those that
/// were saved together, named for the newest ([`crate::conversations`]).
pub const WITH: &[u8] = b"with/";
/// `indexed`: what of the log the index of conversations covers ([`crate::conversations::Covered`]).
pub const INDEXED: &[u8] = b"indexed";
/// `archive-prefs`: whose messages are archived ([`crate::ext::mam`]).
pub const ARCHIVE_PREFS: &[u8] = b"archive-prefs";
/// `roster/<bare jid>`: one contact ([`crate::roster`]).
pub const ROSTER: &[u8] = b"roster/";
/// `roster-summary`: the roster's version and counts ([`crate::roster::RosterSummary`]).
pub const ROSTER_SUMMARY: &[u8] = b"roster-summary";
/// `request/<bare jid>`: a subscription request that waits for an answer, whole (RFC 6121 §3.1.3).
pub const REQUEST: &[u8] = b"request/";
/// `seen`: when the account's last resource went, and what it said then ([`crate::ext::last_activity`]).
pub const SEEN: &[u8] = b"seen";
/// `vcard`: the account's vCard ([`crate::ext::vcard`]).
pub const VCARD: &[u8] = b"vcard";
/// `private/<name> <namespace>`: one element of private storage ([`crate::ext::private`]).
pub const PRIVATE: &[u8] = b"private/";
/// `node/<name>`: one pubsub node of this home ([`crate::ext::pubsub`]).
pub const NODE: &[u8] = b"node/";
/// `node-item/<node>\0<number>`: its items, oldest first. XML has no NUL, so that the parts cannot be mistaken.
pub const NODE_ITEM: &[u8] = b"node-item/";
/// `node-item-id/<node>\0<item id>`: the number of the item with this id.
pub const NODE_ITEM_ID: &[u8] = b"node-item-id/";
/// `node-affiliation/<node>\0<bare jid>`: what an entity is to the node.
pub const NODE_AFFILIATION: &[u8] = b"node-affiliation/";
/// `node-subscription/<node>\0<jid>`: one who has subscribed by request; the value is only a version byte.
pub const NODE_SUBSCRIPTION: &[u8] = b"node-subscription/";
/// `directory/<node>`: one node of a pubsub service, in the service's partition ([`crate::ext::pubsub`]).
pub const DIRECTORY: &[u8] = b"directory/";
/// `directory-member/<bare jid>\0<node>`: an entity has something to do with a node; the value is only a version byte.
pub const DIRECTORY_MEMBER: &[u8] = b"directory-member/";
/// `group/<bare jid>`: how things stand in a group of the owner's ([`crate::ext::groups`]).
pub const GROUP: &[u8] = b"group/";
/// `room`: that there is a room, and its settings ([`crate::ext::muc::room`]).
pub const ROOM: &[u8] = b"room";
/// `room-subject`: what a room is about at the moment, and who said so ([`crate::ext::muc::room`]).
pub const ROOM_SUBJECT: &[u8] = b"room-subject";
/// `room-secret`: what the ids of a room's occupants are made with ([`crate::ext::muc::occupant_id`]).
pub const ROOM_SECRET: &[u8] = b"room-secret";
/// `room-affiliation/<bare jid>`: what a user is to a room ([`crate::ext::muc::room`]).
pub const ROOM_AFFILIATION: &[u8] = b"room-affiliation/";
/// `room-occupant/<nick>`: who is in a room while the server restarts ([`crate::ext::muc::restart`]).
pub const ROOM_OCCUPANT: &[u8] = b"room-occupant/";
/// `room-request/<bare jid>`: somebody wants to register with a room ([`crate::ext::muc::register`]).
pub const ROOM_REQUEST: &[u8] = b"room-request/";
/// `room-avatar`: the hashes of a room's pictures ([`crate::ext::muc::avatar`]).
pub const ROOM_AVATAR: &[u8] = b"room-avatar";
/// `room-hats`: which hats there are in a room ([`crate::ext::muc::hats`]).
pub const ROOM_HATS: &[u8] = b"room-hats";
/// `room-wearer/<bare jid>`: which of them a user wears ([`crate::ext::muc::hats`]).
pub const ROOM_WEARER: &[u8] = b"room-wearer/";
/// `room-ended`: where the people of a room that is no more have gone ([`crate::ext::muc::ended`]).
pub const ROOM_ENDED: &[u8] = b"room-ended";
/// `room-listed/<localpart>`: one room of a service, in the service's partition ([`crate::ext::muc::directory`]).
pub const ROOM_LISTED: &[u8] = b"room-listed/";
/// `room-of/<bare jid>\0<localpart>`: a room that somebody has made; the value is only a version byte.
pub const ROOM_OF: &[u8] = b"room-of/";
/// `block/<jid>`: one blocked address (XEP-0191); the value is only a version byte.
pub const BLOCK: &[u8] = b"block/";
/// `privacy-name`: what clients of privacy lists call the block list ([`crate::ext::privacy_lists`]).
pub const PRIVACY_NAME: &[u8] = b"privacy-name";
/// `outbox/<archive id>`: a stanza that must reach another home even over a crash ([`crate::outbox`]).
pub const OUTBOX: &[u8] = b"outbox/";
/// `session/<stream management id>`: a session that outlives a restart of the server ([`crate::session_store`]).
pub const SESSION: &[u8] = b"session/";

/// What the names of all tables begin with that are about an account's files.
pub const MEDIA_TABLES: &[u8] = b"media";
/// `media/<file id>`: a file that the account has uploaded, or is uploading ([`crate::media::Record`]).
pub const MEDIA: &[u8] = b"media/";
/// `media-object/<sha-256>`: bytes that files of the account have in common ([`crate::media`]).
pub const MEDIA_OBJECT: &[u8] = b"media-object/";
/// `media-doomed/<object name>`: bytes that are to be erased; the value is only a version byte.
pub const MEDIA_DOOMED: &[u8] = b"media-doomed/";
/// `media-time/<milliseconds><file id>`: the files of the account, oldest first; the value is only a version byte.
pub const MEDIA_TIME: &[u8] = b"media-time/";
/// `media-due/<class><milliseconds><file id>`: files that may go at some time, by what decides on it
/// ([`crate::media`]); the value is only a version byte.
pub const MEDIA_DUE: &[u8] = b"media-due/";
/// `media-used/<milliseconds><file id>`: a slot whose file is gone and that must not be used again, by when it expires;
/// the value is only a version byte.
pub const MEDIA_USED: &[u8] = b"media-used/";
/// `media-to/<file id><bare jid>`: somebody to whom a file was sent and who may not have it, with the messages that
/// brought it ([`crate::media`]).
pub const MEDIA_TO: &[u8] = b"media-to/";
/// `media-sent/<bare jid>\0<message>\0<file id>`: a message that brought a file to somebody, to be found by the receipt;
/// the value is only a version byte.
pub const MEDIA_SENT: &[u8] = b"media-sent/";
/// `media-usage`: how much the account has uploaded ([`crate::media::Usage`]).
pub const MEDIA_USAGE: &[u8] = b"media-usage";
/// `file` in the partition of a file: whose it is ([`crate::media::file`]).
pub const FILE: &[u8] = b"file";
/// `preview` in the partition of a file: how it looks, once somebody has asked ([`crate::media::Preview`]).
pub const PREVIEW: &[u8] = b"preview";
/// `doomed/<object name>` in [`media_partition`]: bytes of an account that is gone; the value is only a version byte.
pub const DOOMED: &[u8] = b"doomed/";
/// `account/<bare jid>` in [`media_partition`]: the account has files, or has had; the value is only a version byte.
pub const MEDIA_ACCOUNT: &[u8] = b"account/";

/// The node's own partition for what concerns all accounts.
pub const ACCOUNTS_PARTITION: &str = "!accounts";
/// `account/<host>/<localpart>` in [`ACCOUNTS_PARTITION`]: the list of accounts; the value is only a version byte.
pub const LISTED: &[u8] = b"account/";
/// `disabled/<host>/<localpart>` in [`ACCOUNTS_PARTITION`]: who may not log in for now ([`crate::accounts`]).
pub const DISABLED: &[u8] = b"disabled/";
/// `secret` in [`ACCOUNTS_PARTITION`]: what fake salts and FAST tokens are derived from ([`crate::accounts`]).
pub const SECRET: &[u8] = b"secret";

/// Where what belongs to this address lies: to an account, to a room, to a service.
///
/// # Errors
/// [`KvError::TooLarge`]: no engine takes so long a name.
pub fn partition(jid: &BareJid) -> Result<Partition, KvError> {
    Partition::new(jid.as_str()).map_err(|_| KvError::TooLarge)
}

/// The node's own partition for what concerns the files of all accounts.
pub fn media_partition() -> Partition {
    Partition::new("!media").expect("the name is short and has no NUL")
}

/// What the names of files' partitions begin with.
pub const FILE_PARTITIONS: &str = "!file/";

/// Where what is known of a file lies.
pub fn file_partition(id: &FileId) -> Partition {
    Partition::new(format!("{FILE_PARTITIONS}{id}")).expect("the name is short and has no NUL")
}

/// Where a round over all homes goes on that has come to this partition. Files have partitions of their own, many for
/// each account, in which there is nothing for it to do; they go when their accounts' rows say so.
pub fn beyond_files(visited: Partition) -> Partition {
    if !visited.as_str().starts_with(FILE_PARTITIONS) {
        return visited;
    }
    // A name that no partition has: what follows the slash.
    Partition::new("!file0").expect("the name is short and has no NUL")
}

/// The key of one file of an account.
pub fn media_key(id: &FileId) -> Bytes {
    text_key(MEDIA, id.as_str())
}

/// The key of bytes that files of an account have in common.
pub fn media_object_key(digest: &[u8; 32]) -> Bytes {
    [MEDIA_OBJECT, &digest[..]].concat().into()
}

/// The key of bytes that are to be erased.
pub fn media_doomed_key(object: &ObjectName) -> Bytes {
    text_key(MEDIA_DOOMED, object.as_str())
}

/// The key of a file of an account by its time, in [`MEDIA_TIME`], [`MEDIA_USED`] or one class of [`MEDIA_DUE`].
pub fn media_time_key(table: &[u8], at: Timestamp, id: &FileId) -> Bytes {
    [table, &at.millis().to_be_bytes(), id.as_str().as_bytes()]
        .concat()
        .into()
}

/// The file of a key made by [`media_time_key`].
pub fn media_time_file(table: &[u8], key: &[u8]) -> Option<FileId> {
    let (_, id) = key.strip_prefix(table)?.split_at_checked(8)?;
    FileId::parse(std::str::from_utf8(id).ok()?)
}

/// Where those begin to whom a file was sent. The name of a file is of one length, so that files do not mix.
pub fn media_to_prefix(id: &FileId) -> Bytes {
    text_key(MEDIA_TO, id.as_str())
}

/// The key of one to whom a file was sent.
pub fn media_to_key(id: &FileId, peer: &BareJid) -> Bytes {
    text_key(MEDIA_TO, &format!("{id}{peer}"))
}

/// Where the files of one message begin. Neither a JID nor the id of a stanza holds a NUL.
pub fn media_sent_prefix(peer: &str, message: &str) -> Bytes {
    text_key(MEDIA_SENT, &format!("{peer}\0{message}\0"))
}

/// The key of one file of one message.
pub fn media_sent_key(peer: &str, message: &str, id: &FileId) -> Bytes {
    text_key(MEDIA_SENT, &format!("{peer}\0{message}\0{id}"))
}

/// The key of bytes of an account that is gone.
pub fn doomed_key(object: &ObjectName) -> Bytes {
    text_key(DOOMED, object.as_str())
}

/// The key of an account that has files.
pub fn media_account_key(account: &BareJid) -> Bytes {
    text_key(MEDIA_ACCOUNT, account.as_str())
}

/// The key of the credentials for one hash.
pub fn credentials_key(hash: Hash) -> &'static [u8] {
    match hash {
        Hash::Sha1 => b"credentials/sha-1",
        Hash::Sha256 => b"credentials/sha-256",
        Hash::Sha512 => b"credentials/sha-512",
    }
}

/// The key of one client's FAST tokens.
pub fn token_key(client: &str) -> Bytes {
    text_key(FAST, client)
}

/// The key of one device's cursor.
pub fn device_cursor_key(client: &str) -> Bytes {
    text_key(DEVICE_CURSOR, client)
}

/// Where one device's cursors in groups begin. A client id is a UUID and holds no NUL.
pub fn room_cursors(client: &str) -> Bytes {
    text_key(ROOM_CURSOR, &format!("{client}\0"))
}

/// The key of one device's cursor in one group.
pub fn room_cursor_key(client: &str, room: &BareJid) -> Bytes {
    text_key(ROOM_CURSOR, &format!("{client}\0{room}"))
}

/// The text at the end of a key made by [`text_key`]; `None` when the key is of another table.
pub fn key_text<'k>(table: &[u8], key: &'k [u8]) -> Option<&'k str> {
    std::str::from_utf8(key.strip_prefix(table)?).ok()
}

/// Where the accounts of a host (or of all hosts) begin in the list.
pub fn listed_host_key(host: Option<&str>) -> Bytes {
    let host = host.map(|host| format!("{host}/")).unwrap_or_default();
    text_key(LISTED, &host)
}

/// The key of one account in the list. A domain holds no slash, so that hosts do not mix.
pub fn listed_account_key(account: &BareJid) -> Bytes {
    text_key(LISTED, &by_host(account))
}

/// The key of one account among those that are disabled.
pub fn disabled_account_key(account: &BareJid) -> Bytes {
    text_key(DISABLED, &by_host(account))
}

/// Where the disabled accounts of a host begin.
pub fn disabled_host_key(host: &str) -> Bytes {
    text_key(DISABLED, &format!("{host}/"))
}

fn by_host(account: &BareJid) -> String {
    format!(
        "{}/{}",
        account.domain(),
        account.local().unwrap_or_default()
    )
}

/// The account of a key of the list.
pub fn listed_account(key: &[u8]) -> Option<BareJid> {
    account_in(LISTED, key)
}

/// The account of a key of [`LISTED`] or [`DISABLED`].
pub fn account_in(table: &[u8], key: &[u8]) -> Option<BareJid> {
    let name = std::str::from_utf8(key.strip_prefix(table)?).ok()?;
    let (host, local) = name.split_once('/')?;
    BareJid::new(Some(local), host).ok()
}

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

/// A row of a pubsub node: the table, the node's name, and what the row is about.
pub fn node_key(table: &[u8], node: &str, of: &[u8]) -> Bytes {
    [table, node.as_bytes(), b"\0", of].concat().into()
}

/// Where the index of one conversation begins. No JID holds a NUL, so that conversations do not mix.
pub fn with_prefix(peer: &BareJid) -> Bytes {
    [WITH, peer.as_str().as_bytes(), b"\0"].concat().into()
}

/// The key of a row of the index whose newest entry is `id`.
pub fn with_key(peer: &BareJid, id: ArchiveId) -> Bytes {
    id_key(&with_prefix(peer), id)
}

/// Whom a conversation is with.
pub fn conversation_peer(key: &[u8]) -> Option<BareJid> {
    let jid = std::str::from_utf8(key.strip_prefix(CONVERSATION)?).ok()?;
    BareJid::parse(jid).ok()
}

/// The id at the end of a key made by [`log_key`] or [`outbox_key`]; `None` when the key is of another table.
pub fn key_id(table: &[u8], key: &[u8]) -> Option<ArchiveId> {
    let id: [u8; 8] = key.strip_prefix(table)?.try_into().ok()?;
    Some(ArchiveId(u64::from_be_bytes(id)))
}
