//! The server learns once what a kind of client can do, instead of asking each of them.
//!
//! XEP-0115: Entity Capabilities, version 1.6.0, §5.4: a hash in presence is believed only when an answer to disco#info
//! has proved it, and is then known of everybody who sends the same, also after a restart. The server's own
//! capabilities are [`super::disco`]'s. Left out: the legacy format, and taking known capabilities out of presence
//! (§8.4).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use posthaste_kv::{Batch, KvError, Partition, Scan};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, PresenceType, Stanza};
use posthaste_proto::xep::caps::{Caps, CapsHash};
use posthaste_proto::xep::disco::Info;
use posthaste_proto::xml::Element;

use super::{Ext, stored_xml};
use crate::error::WalkError;
use crate::node::Node;
use crate::session::What;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Entity Capabilities",
    xep: 115,
    version: "1.6.0",
    host_features: &[ns::CAPS],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// The node's own partition of what is proved: `<hash>/<ver>` is the answer that proved it.
const PARTITION: &str = "!caps";
/// The first characters of a verification string choose its shelf; a full shelf is emptied before something new is put
/// there. With 64 characters of base 64 that makes at most 8,192 answers, many more than there are kinds of clients.
pub const MAX_PER_SHELF: usize = 128;
/// Bytes of one answer that is kept. Clients' answers have 2 to 4 KiB.
const MAX_INFO_BYTES: usize = 16 * 1_024;
/// The longest verification string: SHA-512 in base 64.
const MAX_VER_BYTES: usize = 88;

/// A kind of client: everybody who sends the same hash shares one of these.
#[derive(Debug)]
pub struct ClientKind {
    caps: Caps,
    /// The pubsub nodes that it wants to be told of (XEP-0060 §9.2), once somebody has proved what it can do.
    interests: OnceLock<Box<[Box<str>]>>,
}

impl ClientKind {
    /// Does it want to be told of this pubsub node? Not, as long as nobody has proved it.
    pub fn wants(&self, node: &str) -> bool {
        self.interests
            .get()
            .is_some_and(|all| all.iter().any(|it| **it == *node))
    }

    /// Does it want to be told of any pubsub node at all?
    pub fn wants_anything(&self) -> bool {
        self.interests.get().is_some_and(|all| !all.is_empty())
    }

    /// Has somebody proved what it can do?
    pub fn is_proved(&self) -> bool {
        self.interests.get().is_some()
    }

    fn believe(&self, info: &Info) {
        let interests = info
            .features
            .iter()
            .filter_map(|feature| feature.strip_suffix("+notify"))
            .map(Box::from);
        // Whoever was first has said the same.
        let _ = self.interests.set(interests.collect());
    }
}

/// The kinds of clients that are around.
#[derive(Debug, Default)]
pub struct ClientKinds(Mutex<HashMap<(CapsHash, String), Arc<ClientKind>>>);

/// Kinds kept in memory. There are a few hundred in the world; beyond it all are forgotten, and read from the store
/// again where they are needed.
const MAX_KINDS: usize = 4_096;

impl ClientKinds {
    /// The kind that says this of itself.
    pub fn of(&self, caps: &Caps) -> Arc<ClientKind> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (caps.hash, caps.ver.clone());
        if let Some(kind) = kinds.get(&key) {
            return kind.clone();
        }
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        let kind = Arc::new(ClientKind {
            caps: caps.clone(),
            interests: OnceLock::new(),
        });
        kinds.insert(key, kind.clone());
        kind
    }
}

/// The kind of client that a presence stanza says it is from.
pub fn kind_of(node: &Node, presence: &Stanza) -> Option<Arc<ClientKind>> {
    Some(node.client_kinds.of(&advertised(presence)?))
}

/// Reads what the store knows of this kind. Answers whether anything is known.
///
/// # Errors
/// The store's.
pub async fn learn(node: &Node, kind: &ClientKind) -> Result<bool, WalkError> {
    if !kind.is_proved()
        && let Some(info) = proved(node, &kind.caps).await?
    {
        kind.believe(&info);
    }
    Ok(kind.is_proved())
}

/// What a session's presence has changed about what it is.
#[derive(Debug)]
pub struct Turn {
    /// What it was.
    pub from: Option<Arc<ClientKind>>,
    /// What it is now.
    pub to: Arc<ClientKind>,
}

/// A session has said what it can do: if nobody has proved that yet, it is asked to. Answers what is new.
///
/// # Errors
/// The store's.
pub async fn ask(walk: &mut Walk<'_>) -> Result<Option<Turn>, WalkError> {
    let (None, Some(id)) = (&walk.stanza.to, walk.session) else {
        return Ok(None);
    };
    let is_available = walk.stanza.kind == Kind::Presence(PresenceType::Available);
    let kind = is_available
        .then(|| kind_of(walk.node, &walk.stanza))
        .flatten();
    let Some(attendee) = walk.home.attendee_mut(id) else {
        return Ok(None);
    };
    let from = std::mem::replace(&mut attendee.kind, kind.clone());
    let session = attendee.session.clone();
    let Some(to) = kind else { return Ok(None) };
    // One who could not prove it is not asked again and again.
    if from.as_ref().is_some_and(|from| from.caps == to.caps) {
        return Ok(None);
    }
    if !learn(walk.node, &to).await? {
        let question = question(walk, &to).to(session.jid.clone());
        walk.deliver(&session, What::Iq, question.encode(), false);
    }
    Ok(Some(Turn { from, to }))
}

/// What this kind of client is asked, without an addressee.
pub fn question(walk: &Walk<'_>, kind: &ClientKind) -> Stanza {
    let query = Element::new("query", ns::DISCO_INFO).with_attr("node", kind.caps.disco_node());
    Stanza::iq(IqType::Get)
        .id(format!("caps-{:x}", fingerprint(&kind.caps)))
        .from(walk.home.jid.clone())
        .with_child(&query)
}

/// A session answers the server: what it proves of its own capabilities is kept. Everything else is of no interest.
/// Answers what it has proved, if that is new.
///
/// # Errors
/// The store's.
pub async fn hear(walk: &mut Walk<'_>) -> Result<Option<Arc<ClientKind>>, WalkError> {
    let attendee = walk.session.and_then(|id| walk.home.attendee(id));
    let Some(kind) = attendee.and_then(|attendee| attendee.kind.clone()) else {
        return Ok(None);
    };
    let is_new = prove(walk, &kind).await?;
    Ok(is_new.then_some(kind))
}

/// Keeps what the stanza, an answer, proves of this kind. Answers whether that is new.
///
/// # Errors
/// The store's.
pub async fn prove(walk: &Walk<'_>, kind: &ClientKind) -> Result<bool, WalkError> {
    let Some(answer) = walk.stanza.child("query", ns::DISCO_INFO) else {
        return Ok(false);
    };
    let answer = answer.to_element()?;
    // No matter what was asked: the hash is the proof.
    let Some(info) = Info::read(&answer).filter(|info| kind.caps.is_proved_by(info)) else {
        return Ok(false);
    };
    let is_new = !kind.is_proved();
    kind.believe(&info);
    keep(walk.node, &kind.caps, &answer).await?;
    Ok(is_new)
}

/// What the sender of `caps` can do, if somebody has proved it.
///
/// # Errors
/// The store's.
pub async fn proved(node: &Node, caps: &Caps) -> Result<Option<Info>, WalkError> {
    let value = node.kv().get(&partition()?, &key(caps)).await?;
    let element = value.map(stored_xml::decode).transpose()?;
    Ok(element.and_then(|element| Info::read(&element)))
}

fn advertised(presence: &Stanza) -> Option<Caps> {
    let caps = Caps::read(&presence.child("c", ns::CAPS)?.to_element().ok()?)?;
    (caps.ver.len() <= MAX_VER_BYTES).then_some(caps)
}

async fn keep(node: &Node, caps: &Caps, answer: &Element) -> Result<(), WalkError> {
    let partition = partition()?;
    let key = key(caps);
    let value = stored_xml::encode(answer, MAX_INFO_BYTES)?;
    let shelf = &key[..shelf_bytes(caps)];
    let on_it = node
        .kv()
        .scan(&partition, Scan::prefix(shelf, MAX_PER_SHELF))
        .await?;
    let mut batch = Batch::new(partition);
    if on_it.len() >= MAX_PER_SHELF {
        for (old, _) in on_it {
            batch.delete(old);
        }
    }
    batch.put(key, value);
    // Nobody waits for it: what a crash takes is asked for again.
    node.kv().commit(batch)?;
    Ok(())
}

fn partition() -> Result<Partition, WalkError> {
    Ok(Partition::new(PARTITION).map_err(|_| KvError::TooLarge)?)
}

fn key(caps: &Caps) -> Bytes {
    format!("{}/{}", caps.hash.as_str(), caps.ver).into()
}

/// The hash function, the slash and one character, which may have several bytes if somebody invents a hash.
fn shelf_bytes(caps: &Caps) -> usize {
    caps.hash.as_str().len() + 1 + caps.ver.chars().next().map_or(0, char::len_utf8)
}

fn fingerprint(caps: &Caps) -> u64 {
    let mut hasher = DefaultHasher::new();
    caps.hash(&mut hasher);
    hasher.finish()
}
