//! Which rooms a service has: rows in the service's own partition, written after the room's own. A crash between the two
//! leaves a room that is not listed until it is configured again, or listed though it is gone; whoever looks there finds
//! nothing.

use std::ops::ControlFlow;

use bytes::Bytes;
use posthaste_kv::{Batch, Pages, Scan, Ticket};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::muc::RoomConfig;
use posthaste_proto::xep::muc::config::WhoIs;

use super::Creators;
use crate::codec::{Corrupt, Reader, Writer};
use crate::config::HostConfig;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::node::Node;
use crate::tables;

const VERSION: u8 = 2;
/// Before rooms could be searched for.
const VERSION_1: u8 = 1;
/// What has no content has a version nevertheless.
const MADE_BY_V1: u8 = 1;
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
    /// What else is told of it; `None` in rows that are older than that, until the room is configured again.
    pub about: Option<About>,
}

/// What whoever searches for a room is told beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What it is about; empty for nothing.
    pub description: String,
    /// The language spoken there; empty for none in particular.
    pub lang: String,
    /// May everybody enter?
    pub is_open: bool,
    /// Does everybody there see everybody's address?
    pub shows_addresses: bool,
}

impl About {
    fn of(config: &RoomConfig) -> About {
        About {
            description: config.description.clone(),
            lang: config.lang.clone(),
            is_open: !config.members_only && config.password.is_none(),
            shows_addresses: config.whois == WhoIs::Anyone,
        }
    }

    fn read(value: &mut Reader) -> Result<About, Corrupt> {
        Ok(About {
            is_open: value.u8()? != 0,
            shows_addresses: value.u8()? != 0,
            lang: value.text()?,
            description: value.text()?,
        })
    }
}

impl Entry {
    /// What it says of the room of a home, if there is one.
    pub fn of(state: &HomeState) -> Option<Entry> {
        let room = state.room.as_deref()?;
        Some(Entry {
            name: room.config.name.clone(),
            creator: room.creator.clone(),
            public: room.config.public && !room.locked,
            about: Some(About::of(&room.config)),
        })
    }

    fn encode(&self) -> Bytes {
        // A row that is not known whole is written as it was.
        let version = self.about.as_ref().map_or(VERSION_1, |_| VERSION);
        let mut value = Writer::new(version, 64);
        value
            .u8(u8::from(self.public))
            .text(self.creator.as_str())
            .text(&self.name);
        if let Some(about) = &self.about {
            value
                .u8(u8::from(about.is_open))
                .u8(u8::from(about.shows_addresses))
                .text(&about.lang)
                .text(&about.description);
        }
        value.finish()
    }

    fn decode(value: Bytes) -> Result<Entry, Corrupt> {
        let (version, mut value) = Reader::open("listed room", value, VERSION)?;
        let public = value.u8()? != 0;
        let creator = value.text()?;
        let creator = BareJid::parse(&creator).map_err(|_| value.corrupt("no address"))?;
        let name = value.text()?;
        let about = match version {
            VERSION_1 => None,
            _ => Some(About::read(&mut value)?),
        };
        value.end()?;
        Ok(Entry {
            name,
            creator,
            public,
            about,
        })
    }
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
    let mut batch = Batch::new(tables::partition(&room.domain_jid())?);
    let local = room.local().unwrap_or_default();
    match now {
        Some(entry) => {
            batch.put(key(room), entry.encode());
            batch.put(
                made_by(&entry.creator, local),
                Bytes::from_static(&[MADE_BY_V1]),
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
    if node
        .kv()
        .scan(&tables::partition(&service)?, scan)
        .await?
        .len()
        >= most
    {
        return Err(StanzaError::resource_constraint()
            .with_text("you have made too many rooms")
            .into());
    }
    Ok(())
}

/// The rooms that everybody may see, with what people call them.
///
/// # Errors
/// The store's.
pub async fn public(node: &Node, service: &BareJid) -> Result<Vec<(BareJid, String)>, WalkError> {
    let mut found = Vec::new();
    each_public(node, service, |room, entry| {
        found.push((room, entry.name));
        match found.len() {
            MOST_LISTED => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })
    .await?;
    Ok(found)
}

/// Shows the rooms that everybody may see, by localpart, until `look` has seen enough.
///
/// # Errors
/// The store's.
pub(super) async fn each_public(
    node: &Node,
    service: &BareJid,
    mut look: impl FnMut(BareJid, Entry) -> ControlFlow<()>,
) -> Result<(), WalkError> {
    let partition = tables::partition(service)?;
    let all = Scan::prefix(tables::ROOM_LISTED, PAGE);
    let mut pages = Pages::new(node.kv(), &partition, all);
    while let Some(rows) = pages.next().await? {
        for (key, value) in rows {
            let local = tables::key_text(tables::ROOM_LISTED, &key);
            let room = local.and_then(|local| BareJid::new(Some(local), service.domain()).ok());
            let entry = Entry::decode(value)?;
            if let Some(room) = room.filter(|_| entry.public)
                && look(room, entry).is_break()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What the directory says of a room, if everybody may see it.
///
/// # Errors
/// The store's.
pub(super) async fn public_entry(node: &Node, room: &BareJid) -> Result<Option<Entry>, WalkError> {
    let partition = tables::partition(&room.domain_jid())?;
    let value = node.kv().get(&partition, &key(room)).await?;
    let entry = value.map(Entry::decode).transpose()?;
    Ok(entry.filter(|entry| entry.public))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(about: Option<About>) -> Entry {
        Entry {
            name: "A Dark Cave".to_owned(),
            creator: BareJid::parse("crone1@shakespeare.lit").unwrap(),
            public: true,
            about,
        }
    }

    #[test]
    fn an_entry_of_version_1_stays_readable() {
        let golden = b"\x01\x01\0\0\0\x16crone1@shakespeare.lit\0\0\0\x0bA Dark Cave";
        assert_eq!(&entry(None).encode()[..], golden);
        assert_eq!(Entry::decode(Bytes::from_static(golden)), Ok(entry(None)));
        assert!(Entry::decode(Bytes::from_static(b"\x01\x01")).is_err());
    }

    #[test]
    fn an_entry_of_version_2_stays_readable() {
        let entry = entry(Some(About {
            description: "The place for witches".to_owned(),
            lang: "en".to_owned(),
            is_open: true,
            shows_addresses: false,
        }));
        let golden = b"\x02\x01\0\0\0\x16crone1@shakespeare.lit\0\0\0\x0bA Dark Cave\x01\0\0\0\0\x02en\0\0\0\x15The place for witches";
        assert_eq!(&entry.encode()[..], golden);
        assert_eq!(Entry::decode(Bytes::from_static(golden)), Ok(entry));
        let cut = golden.len() - 1;
        assert!(Entry::decode(Bytes::copy_from_slice(&golden[..cut])).is_err());
    }
}
