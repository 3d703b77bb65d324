//! The server learns once what a kind of client can do, instead of asking each of them.
//!
//! XEP-0115: Entity Capabilities, version 1.6.0, §5.4: a hash in presence is believed only when an answer to disco#info
//! has proved it, and is then known of everybody who sends the same, also after a restart. The server's own
//! capabilities are [`super::disco`]'s. Left out: the legacy format, and taking known capabilities out of presence
//! (§8.4).

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use posthaste_kv::{Batch, KvError, Partition, Scan};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, PresenceType, Stanza};
use posthaste_proto::xep::caps::Caps;
use posthaste_proto::xep::disco::Info;
use posthaste_proto::xml::Element;

use super::{Ext, stored_xml};
use crate::codec;
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

/// A session has said what it can do: if nobody has proved that yet, it is asked to.
///
/// # Errors
/// The store's.
pub async fn ask(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let broadcast = Kind::Presence(PresenceType::Available);
    let (true, None, Some(id)) = (walk.stanza.kind == broadcast, &walk.stanza.to, walk.session)
    else {
        return Ok(());
    };
    let Some(caps) = advertised(&walk.stanza) else {
        return Ok(());
    };
    let fingerprint = fingerprint(&caps);
    let Some(attendee) = walk.home.attendee_mut(id) else {
        return Ok(());
    };
    // One who could not prove it is not asked again and again.
    if attendee.caps_asked == fingerprint {
        return Ok(());
    }
    attendee.caps_asked = fingerprint;
    let session = attendee.session.clone();
    if proved(walk.node, &caps).await?.is_some() {
        return Ok(());
    }
    let query = Element::new("query", ns::DISCO_INFO).with_attr("node", caps.disco_node());
    let question = Stanza::iq(IqType::Get)
        .id(format!("caps-{fingerprint:x}"))
        .from(walk.home.jid.clone())
        .to(session.jid.clone());
    walk.deliver(
        &session,
        What::Iq,
        question.with_child(&query).encode(),
        false,
    );
    Ok(())
}

/// A session answers the server: what it proves of its own capabilities is kept. Everything else is of no interest.
///
/// # Errors
/// The store's.
pub async fn hear(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some(answer) = walk.stanza.child("query", ns::DISCO_INFO) else {
        return Ok(());
    };
    let answer = answer.to_element()?;
    let attendee = walk.session.and_then(|id| walk.home.attendee(id));
    let Some(available) = attendee.and_then(|attendee| attendee.available.as_deref()) else {
        return Ok(());
    };
    let Some(caps) = advertised(&codec::stanza(&available.stanza)?) else {
        return Ok(());
    };
    // No matter what was asked: the hash is the proof.
    if Info::read(&answer).is_some_and(|info| caps.is_proved_by(&info)) {
        keep(walk.node, &caps, &answer).await?;
    }
    Ok(())
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
