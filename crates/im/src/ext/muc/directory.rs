//! Which rooms a service has: rows in the service's own partition, written after the room's own. A crash between the two
//! leaves a room that is not listed until it is configured again, or listed though it is gone; whoever looks there finds
//! nothing.

use bytes::Bytes;
use posthaste_kv::{Batch, Partition, Scan, Ticket};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;

use super::Creators;
use crate::codec::{Corrupt, Reader, Writer};
use crate::config::HostConfig;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::node::Node;
use crate::tables;

const VERSION: u8 = 1;
/// Rows read at a time.
const PAGE: usize = 1000;
/// Rooms that are listed to whoever asks; nobody reads further, and a search (XEP-0433) finds the others.
const MOST_LISTED: usize = 20_000;

/// What the directory says of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What people call it.
    pub name: String,
    /// Who made it.
    pub creator: BareJid,
    /// Is it shown to everybody?
    pub public: bool,
}

impl Entry {
    /// What it says of the room of a home, if there is one.
    pub fn of(state: &HomeState) -> Option<Entry> {
        let room = state.room.as_deref()?;
        Some(Entry {
            name: room.config.name.clone(),
            creator: room.creator.clone(),
            public: room.config.public && !room.locked,
        })
    }

    fn encode(&self) -> Bytes {
        let mut value = Writer::new(VERSION, 64);
        value
            .u8(u8::from(self.public))
            .text(self.creator.as_str())
            .text(&self.name);
        value.finish()
    }

    fn decode(value: Bytes) -> Result<Entry, Corrupt> {
        let (_, mut value) = Reader::open("listed room", value, VERSION)?;
        let public = value.u8()? != 0;
        let creator = value.text()?;
        let creator = BareJid::parse(&creator).map_err(|_| value.corrupt("no address"))?;
        let name = value.text()?;
        value.end()?;
        Ok(Entry {
            name,
            creator,
            public,
        })
    }
}

fn partition(service: &BareJid) -> Result<Partition, WalkError> {
    Ok(Partition::new(service.as_str()).map_err(|_| posthaste_kv::KvError::TooLarge)?)
}

fn key(room: &BareJid) -> Bytes {
    tables::text_key(tables::ROOM_LISTED, room.local().unwrap_or_default())
}

fn made_by(creator: &BareJid, local: &str) -> Bytes {
    tables::text_key(tables::ROOM_OF, &format!("{creator}\0{local}"))
}

/// A room is now listed so, or not at all.
///
/// # Errors
/// The store's.
pub fn file(
    node: &Node,
    room: &BareJid,
    before: Option<&Entry>,
    now: Option<&Entry>,
) -> Result<Ticket, WalkError> {
    let mut batch = Batch::new(partition(&room.domain_jid())?);
    let local = room.local().unwrap_or_default();
    match now {
        Some(entry) => {
            batch.put(key(room), entry.encode());
            batch.put(
                made_by(&entry.creator, local),
                Bytes::from_static(&[VERSION]),
            );
        }
        None => {
            batch.delete(key(room));
            if let Some(before) = before {
                batch.delete(made_by(&before.creator, local));
            }
        }
    }
    Ok(node.kv().commit(batch)?)
}

/// §10.1.1: who may make rooms is the operator's to say, and how many.
///
/// # Errors
/// `<not-allowed/>`: this user may not; `<resource-constraint/>`: it has made too many.
pub async fn may_create(node: &Node, room: &BareJid, maker: &BareJid) -> Result<(), WalkError> {
    let config = node.config();
    let service = room.domain_jid();
    let host = config.service(service.as_str());
    let is_ours = |host: &HostConfig| host.domain.as_str() == maker.domain();
    // Another server vouches for its people, but not for ours.
    let is_local = config.host(maker.domain()).is_some();
    let administers = |host: &HostConfig| {
        is_local && (config.admins.contains(maker) || host.admins.contains(maker))
    };
    let may = host.is_some_and(|(host, _)| match config.rooms.creators {
        Creators::Everyone => true,
        Creators::Accounts => is_ours(host) || administers(host),
        Creators::Admins => administers(host),
    });
    if !may {
        return Err(StanzaError::not_allowed()
            .with_text("you may not make rooms here")
            .into());
    }
    let most = config.rooms.rooms_per_user;
    let scan = Scan::prefix(&made_by(maker, ""), most);
    if node.kv().scan(&partition(&service)?, scan).await?.len() >= most {
        return Err(StanzaError::resource_constraint()
            .with_text("you have made too many rooms")
            .into());
    }
    Ok(())
}

/// The rooms that everybody may see, by address, with what people call them.
///
/// # Errors
/// The store's.
pub async fn public(node: &Node, service: &BareJid) -> Result<Vec<(BareJid, String)>, WalkError> {
    let partition = partition(service)?;
    let mut scan = Scan::prefix(tables::ROOM_LISTED, PAGE);
    let mut found = Vec::new();
    loop {
        let rows = node.kv().scan(&partition, scan.clone()).await?;
        let is_last = rows.len() < PAGE;
        for (key, value) in rows {
            scan.from = [&key, &b"\0"[..]].concat().into();
            let local = tables::key_text(tables::ROOM_LISTED, &key);
            let room = local.and_then(|local| BareJid::new(Some(local), service.domain()).ok());
            let entry = Entry::decode(value)?;
            if let Some(room) = room.filter(|_| entry.public) {
                found.push((room, entry.name));
            }
        }
        if is_last || found.len() >= MOST_LISTED {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_version_1_stays_readable() {
        let entry = Entry {
            name: "A Dark Cave".to_owned(),
            creator: BareJid::parse("crone1@shakespeare.lit").unwrap(),
            public: true,
        };
        let golden = b"\x01\x01\0\0\0\x16crone1@shakespeare.lit\0\0\0\x0bA Dark Cave";
        assert_eq!(&entry.encode()[..], golden);
        assert_eq!(Entry::decode(Bytes::from_static(golden)), Ok(entry));
        assert!(Entry::decode(Bytes::from_static(b"\x01\x01")).is_err());
    }
}
