//! Sessions that outlive a restart of the server: what a resumption needs is put into the store when the server goes
//! down in good order, and taken out when the account's home is loaded again.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_kv::{Batch, Scan};
use posthaste_proto::jid::FullJid;
use posthaste_proto::stream::sm;

use crate::clock::Timestamp;
use crate::codec::{self, Corrupt, Reader, Writer};
use crate::devices;
use crate::error::WalkError;
use crate::ext::caps;
use crate::home::{Attendee, Available, Home, HomeState};
use crate::log::ArchiveId;
use crate::node::Node;
use crate::session::{Form, Item, Session, StreamManagement, What};
use crate::tables;

/// Version 2 added the client's name.
const VERSION: u8 = 2;
/// No account has more sessions to restore; `sessions_per_account` is bounded by it too.
const MOST: usize = 1000;
/// No queue has more items; `queue.items` is bounded by it too.
const MOST_ITEMS: u32 = 100_000;

/// What is stored of a session.
#[derive(Debug, PartialEq)]
struct Stored {
    resource: String,
    id: String,
    resume_millis: u64,
    /// When it ends if nobody resumes it.
    deadline: Timestamp,
    handled: u32,
    sent: u32,
    acked: u32,
    carbons: bool,
    interested: bool,
    block_interested: bool,
    available: Option<Available>,
    directed: Vec<String>,
    items: Vec<StoredItem>,
    /// The client's installation, if it named itself.
    client: Option<String>,
}

#[derive(Debug, PartialEq)]
enum StoredItem {
    Logged {
        id: ArchiveId,
        form: Form,
        waits: bool,
    },
    Whole(Bytes),
    Archived {
        id: ArchiveId,
        waits: bool,
        query: Option<String>,
    },
}

/// Stores the resumable sessions of a home. Answers how many.
pub async fn store(node: &Node, home: &Home) -> Result<usize, WalkError> {
    let state = home.lock(node).await?;
    let mut batch = Batch::new(state.partition.clone());
    let mut count = 0;
    for attendee in &state.sessions {
        if let Some(stored) = snapshot(attendee, node.now()) {
            batch.put(
                tables::text_key(tables::SESSION, &stored.id),
                encode(&stored),
            );
            count += 1;
        }
    }
    if count > 0 {
        let mut index = Batch::new(node_partition()?);
        index.put(
            Bytes::copy_from_slice(state.jid.as_str().as_bytes()),
            Bytes::from_static(&[VERSION]),
        );
        node.kv().commit(batch)?;
        node.kv().commit(index)?;
    }
    Ok(count)
}

/// The node's own list of accounts that have stored sessions, so that those nobody resumes end in time too.
fn node_partition() -> Result<posthaste_kv::Partition, WalkError> {
    posthaste_kv::Partition::new("!stored-sessions")
        .map_err(|_| posthaste_kv::KvError::TooLarge.into())
}

impl Node {
    /// After a start: loads the homes whose sessions were stored, so that contacts see them go if they are not resumed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn restore_sessions(self: &Arc<Node>) -> Result<usize, WalkError> {
        let partition = node_partition()?;
        let mut restored = 0;
        loop {
            let rows = self.kv().scan(&partition, Scan::prefix(b"", MOST)).await?;
            if rows.is_empty() {
                return Ok(restored);
            }
            let mut done = Batch::new(partition.clone());
            for (key, _) in rows {
                if let Some(jid) = std::str::from_utf8(&key)
                    .ok()
                    .and_then(|text| posthaste_proto::jid::BareJid::parse(text).ok())
                {
                    restored += self.home(&jid).lock(self).await?.sessions.len();
                }
                done.delete(key);
            }
            self.kv().commit(done)?;
        }
    }
}

fn snapshot(attendee: &Attendee, now: Timestamp) -> Option<Stored> {
    let state = attendee.session.state();
    let sm = state.sm.as_ref()?;
    let id = sm.id.as_deref()?;
    if state.ended || state.closing.is_some() {
        return None;
    }
    let since = state.detached_at.unwrap_or(now);
    let items = state
        .items()
        .filter_map(|item| match (item.what, &item.xml) {
            (What::Logged { id, form, waits }, _) => Some(StoredItem::Logged { id, form, waits }),
            (What::Archived { id, query, waits }, _) => Some(StoredItem::Archived {
                id,
                waits,
                query: state.query_name(query).map(|name| name.to_string()),
            }),
            (_, Some(xml)) => Some(StoredItem::Whole(xml.whole(&attendee.session.jid))),
            (_, None) => None,
        });
    Some(Stored {
        resource: attendee.session.jid.resource().to_owned(),
        id: id.to_owned(),
        resume_millis: sm.resume_millis,
        deadline: since.plus_millis(sm.resume_millis),
        handled: state.handled(),
        sent: sm.sent.count(),
        acked: sm.sent.acked(),
        carbons: attendee.carbons,
        interested: attendee.interested,
        block_interested: attendee.block_interested,
        available: attendee.available.as_deref().cloned(),
        directed: attendee.directed.iter().map(ToString::to_string).collect(),
        items: items.collect(),
        client: attendee.client.as_deref().map(str::to_owned),
    })
}

/// Takes stored sessions out of the store and into the home. Called by the home's load only.
pub async fn restore(node: &Node, state: &mut HomeState) -> Result<(), WalkError> {
    let rows = node
        .kv()
        .scan(&state.partition, Scan::prefix(tables::SESSION, MOST))
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new(state.partition.clone());
    for (key, value) in rows {
        batch.delete(key);
        let stored = decode(value)?;
        let Ok(jid) = state.jid.with_resource(&stored.resource) else {
            continue;
        };
        revive(node, state, stored, jid);
    }
    // A crash from here on finds the sessions gone and their messages in the log: repeated, not lost.
    node.kv().commit(batch)?;
    Ok(())
}

fn revive(node: &Node, state: &mut HomeState, stored: Stored, jid: FullJid) {
    let session = Arc::new(Session::new(jid.clone(), node.next_session_id()));
    let mut queue = session.state();
    if let Some(client) = &stored.client {
        devices::attach(state, client, session.id, node.now());
    }
    queue.detach(node.now());
    queue.set_handled(stored.handled);
    queue.sm = Some(Box::new(StreamManagement {
        id: Some(stored.id.into()),
        resume_millis: stored.resume_millis,
        sent: sm::Sent::restore(stored.sent, stored.acked),
        ..StreamManagement::default()
    }));
    for item in stored.items {
        let item = match item {
            StoredItem::Logged { id, form, waits } => {
                if waits {
                    state.delivery.flying(id, 1);
                }
                if let Some(device) = state.device(session.id) {
                    device.reading.flying(id, 1);
                }
                Item {
                    what: What::Logged { id, form, waits },
                    xml: None,
                    hold: false,
                }
            }
            StoredItem::Archived {
                id,
                waits,
                query: name,
            } => {
                state.note_from_archive(session.id, id, waits);
                let query = queue.query_named(name.as_deref());
                Item {
                    what: What::Archived { id, query, waits },
                    xml: None,
                    hold: false,
                }
            }
            StoredItem::Whole(xml) => Item {
                what: What::Passing,
                xml: Some(xml.into()),
                hold: false,
            },
        };
        queue.push_caught_up(item);
    }
    drop(queue);
    let mut attendee = Attendee::new(session.clone());
    attendee.client = stored.client.map(String::into_boxed_str);
    attendee.carbons = stored.carbons;
    attendee.interested = stored.interested;
    attendee.block_interested = stored.block_interested;
    attendee.available = stored.available.map(Box::new);
    attendee.kind = attendee
        .available
        .as_deref()
        .and_then(|available| codec::stanza(&available.stanza).ok())
        .and_then(|presence| caps::kind_of(node, &presence));
    attendee.directed = stored
        .directed
        .iter()
        .filter_map(|jid| posthaste_proto::jid::Jid::parse(jid).ok())
        .collect();
    let takes_messages = attendee.takes_messages();
    state.sessions.push(attendee);
    if takes_messages {
        crate::catch_up::begin(state, &session);
    }
    node.stats.sessions_bound.count();
    node.expect_resumption(stored.deadline, session.id, jid);
}

fn encode(stored: &Stored) -> Bytes {
    let mut writer = Writer::new(VERSION, 256);
    writer
        .text(&stored.resource)
        .text(&stored.id)
        .u64(stored.resume_millis)
        .u64(stored.deadline.millis());
    writer
        .u32(stored.handled)
        .u32(stored.sent)
        .u32(stored.acked);
    writer
        .u8(u8::from(stored.carbons))
        .u8(u8::from(stored.interested))
        .u8(u8::from(stored.block_interested));
    match &stored.available {
        None => writer.u8(0),
        Some(available) => writer
            .u8(1)
            .u8(available.priority.cast_unsigned())
            .u64(available.since.millis())
            .bytes(&available.stanza),
    };
    writer.u32(u32::try_from(stored.directed.len()).unwrap_or(u32::MAX));
    for jid in &stored.directed {
        writer.text(jid);
    }
    writer.u32(u32::try_from(stored.items.len()).unwrap_or(u32::MAX));
    for item in &stored.items {
        match item {
            StoredItem::Logged { id, form, waits } => {
                let form = match form {
                    Form::Direct => 0,
                    Form::CarbonReceived => 1,
                    Form::CarbonSent => 2,
                };
                writer.u8(form).u8(u8::from(*waits)).u64(id.0);
            }
            StoredItem::Archived { id, waits, query } => {
                writer.u8(3).u8(u8::from(*waits)).u64(id.0);
                writer.text(query.as_deref().unwrap_or_default());
            }
            StoredItem::Whole(xml) => {
                writer.u8(255).bytes(xml);
            }
        }
    }
    match &stored.client {
        None => writer.u8(0),
        Some(client) => writer.u8(1).text(client),
    };
    writer.finish()
}

fn decode(value: Bytes) -> Result<Stored, Corrupt> {
    let (version, mut reader) = Reader::open("session", value, VERSION)?;
    let (resource, id) = (reader.text()?, reader.text()?);
    let (resume_millis, deadline) = (reader.u64()?, Timestamp(reader.u64()?));
    let (handled, sent, acked) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let (carbons, interested, block_interested) =
        (reader.u8()? != 0, reader.u8()? != 0, reader.u8()? != 0);
    let available = match reader.u8()? {
        0 => None,
        _ => Some(Available {
            priority: reader.u8()?.cast_signed(),
            since: Timestamp(reader.u64()?),
            stanza: reader.bytes()?,
        }),
    };
    let directed = (0..reader.count(MOST_ITEMS)?)
        .map(|_| reader.text())
        .collect::<Result<_, _>>()?;
    let items = (0..reader.count(MOST_ITEMS)?)
        .map(|_| decode_item(&mut reader))
        .collect::<Result<_, _>>()?;
    let client = match version {
        1 => None,
        _ if reader.u8()? == 0 => None,
        _ => Some(reader.text()?),
    };
    reader.end()?;
    Ok(Stored {
        client,
        resource,
        id,
        resume_millis,
        deadline,
        handled,
        sent,
        acked,
        carbons,
        interested,
        block_interested,
        available,
        directed,
        items,
    })
}

fn decode_item(reader: &mut Reader) -> Result<StoredItem, Corrupt> {
    let form = match reader.u8()? {
        0 => Form::Direct,
        1 => Form::CarbonReceived,
        2 => Form::CarbonSent,
        3 => {
            let (waits, id) = (reader.u8()? != 0, ArchiveId(reader.u64()?));
            let query = Some(reader.text()?).filter(|name| !name.is_empty());
            return Ok(StoredItem::Archived { id, waits, query });
        }
        255 => return Ok(StoredItem::Whole(reader.bytes()?)),
        _ => return Err(reader.corrupt("an item in it is of no known kind")),
    };
    Ok(StoredItem::Logged {
        waits: reader.u8()? != 0,
        id: ArchiveId(reader.u64()?),
        form,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_session_is_read_back_and_looks_like_this() {
        let stored = Stored {
            resource: "balcony".into(),
            id: "sm1".into(),
            resume_millis: 600_000,
            deadline: Timestamp(9),
            handled: 3,
            sent: 1,
            acked: u32::MAX,
            carbons: true,
            interested: false,
            block_interested: true,
            available: Some(Available {
                priority: -1,
                since: Timestamp(7),
                stanza: Bytes::from_static(b"<presence/>"),
            }),
            directed: vec!["romeo@example.net".into()],
            items: vec![
                StoredItem::Logged {
                    id: ArchiveId(5),
                    form: Form::CarbonSent,
                    waits: false,
                },
                StoredItem::Whole(Bytes::from_static(b"<iq/>")),
                StoredItem::Archived {
                    id: ArchiveId(6),
                    waits: true,
                    query: Some("f27".into()),
                },
            ],
            client: Some("d4565fa7".into()),
        };
        let bytes = encode(&stored);
        assert_eq!(decode(bytes.clone()).unwrap(), stored);
        assert_eq!(&bytes[..16], b"\x02\0\0\0\x07balcony\0\0\0\x03");
        for end in 0..bytes.len() {
            assert!(decode(bytes.slice(..end)).is_err());
        }
        // Version 1 ended before the client's name.
        let mut first = bytes[..bytes.len() - 13].to_vec();
        first[0] = 1;
        let unnamed = Stored {
            client: None,
            ..stored
        };
        assert_eq!(decode(first.into()).unwrap(), unnamed);
    }
}
