//! A leaf node: its configuration and its items, as they are stored. Nothing of it stays in memory.
//!
//! Items lie in the order in which they were published, under a number; a second row leads from an item's id to its
//! number. To publish an id again moves the item to the end (XEP-0060 §7.1.3).

use bytes::Bytes;
use posthaste_kv::{Kv, Partition, Scan, prefix_end};
use posthaste_proto::ns;
use posthaste_proto::xep::pubsub::{
    AccessModel, Item, MaxItems, NodeConfig, PublishModel, SendLast,
};
use posthaste_proto::xml::Element;

use crate::clock::Timestamp;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::tables;
use crate::walk::Walk;

const LEAF_V1: u8 = 1;
const ITEM_V1: u8 = 1;
const NUMBER_V1: u8 = 1;
/// Roster groups in a configuration that are read back; a roster entry has fewer.
const MAX_GROUPS: u32 = 256;
/// Rows of nodes that are read at once: more than any setting lets an account have.
const MOST_LEAVES: usize = 10_000;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Its name.
    pub(super) name: String,
    /// How it behaves.
    pub(super) config: NodeConfig,
    /// Who made it, as a bare JID.
    pub(super) creator: String,
    /// When.
    pub(super) created_at: Timestamp,
    /// How many items it holds.
    pub(super) items: u32,
    /// Their ids and payloads in bytes.
    pub(super) bytes: u64,
    /// How many are subscribed to it by request.
    pub(super) subscribers: u32,
    /// The number of the next item.
    next: u64,
    /// Items that this walk has taken away, which the store still shows.
    gone: Vec<u64>,
}

/// An item of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredItem {
    /// Its place.
    pub(super) number: u64,
    /// Its name.
    pub(super) id: String,
    /// When it was published.
    pub(super) published_at: Timestamp,
    /// Who published it, as a bare JID.
    pub(super) publisher: String,
    /// Its payload as XML in the default namespace `jabber:client`; empty for none.
    pub(super) payload: Bytes,
}

/// What became of an item that was to be stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is new.
    New,
    /// It has taken the place of one with its id.
    Replaced,
}

impl Leaf {
    /// A node that is not stored yet.
    pub(super) fn new(name: &str, config: NodeConfig, creator: &str, now: Timestamp) -> Leaf {
        Leaf {
            name: name.to_owned(),
            config,
            creator: creator.to_owned(),
            created_at: now,
            items: 0,
            bytes: 0,
            subscribers: 0,
            next: 0,
            gone: Vec::new(),
        }
    }

    /// The node of that name.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn find(walk: &Walk<'_>, name: &str) -> Result<Option<Leaf>, WalkError> {
        Leaf::stored(walk.node.kv(), &walk.home.partition, name).await
    }

    /// The node of that name in a partition.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn stored(
        kv: &dyn Kv,
        partition: &Partition,
        name: &str,
    ) -> Result<Option<Leaf>, WalkError> {
        let value = kv
            .get(partition, &tables::text_key(tables::NODE, name))
            .await?;
        Ok(value.map(|value| Leaf::decode(name, value)).transpose()?)
    }

    /// All nodes of this home, by name.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn all(walk: &Walk<'_>) -> Result<Vec<Leaf>, WalkError> {
        let rows = walk.scan(Scan::prefix(tables::NODE, MOST_LEAVES)).await?;
        let leaves = rows.into_iter().filter_map(|(key, value)| {
            let name = std::str::from_utf8(key.strip_prefix(tables::NODE)?).ok()?;
            Some(Leaf::decode(name, value))
        });
        Ok(leaves.collect::<Result<_, _>>()?)
    }

    /// Writes the node's own row. Call it once, when all else is done.
    pub(super) fn save(&self, walk: &mut Walk<'_>) {
        walk.put(tables::text_key(tables::NODE, &self.name), self.encode());
    }

    /// Takes the node away with all that belongs to it.
    pub(super) fn remove(&self, walk: &mut Walk<'_>) {
        walk.delete(tables::text_key(tables::NODE, &self.name));
        for table in [
            tables::NODE_ITEM,
            tables::NODE_ITEM_ID,
            tables::NODE_AFFILIATION,
            tables::NODE_SUBSCRIPTION,
        ] {
            walk.delete_prefix(&tables::node_key(table, &self.name, b""));
        }
    }

    /// Takes all items away.
    pub(super) fn purge(&mut self, walk: &mut Walk<'_>) {
        for table in [tables::NODE_ITEM, tables::NODE_ITEM_ID] {
            walk.delete_prefix(&tables::node_key(table, &self.name, b""));
        }
        self.items = 0;
        self.bytes = 0;
    }

    /// Puts an item at the end, in the place of one with the same id, and drops the oldest ones beyond `most`. One
    /// walk puts each id once.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn put(
        &mut self,
        walk: &mut Walk<'_>,
        id: &str,
        publisher: &str,
        payload: Bytes,
        most: u32,
    ) -> Result<Put, WalkError> {
        let old = self.item(walk, id).await?;
        let outcome = if old.is_some() {
            Put::Replaced
        } else {
            Put::New
        };
        if let Some(old) = old {
            self.take(walk, &old);
        }
        let item = StoredItem {
            number: self.next,
            id: id.to_owned(),
            published_at: walk.now,
            publisher: publisher.to_owned(),
            payload,
        };
        self.next += 1;
        self.items += 1;
        self.bytes += item.weight();
        walk.put(self.item_key(item.number), item.encode());
        let mut number = Writer::new(NUMBER_V1, 8);
        number.u64(item.number);
        walk.put(self.id_key(id), number.finish());
        self.drop_oldest(walk, most).await?;
        Ok(outcome)
    }

    /// Drops the oldest items while there are more than `most`.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn drop_oldest(
        &mut self,
        walk: &mut Walk<'_>,
        most: u32,
    ) -> Result<(), WalkError> {
        let excess = usize::try_from(self.items.saturating_sub(most)).unwrap_or(usize::MAX);
        if excess == 0 {
            return Ok(());
        }
        let oldest = self
            .scan(walk, 0, None, self.gone.len().saturating_add(excess))
            .await?;
        let there = oldest.iter().filter(|old| !self.gone.contains(&old.number));
        for old in there.take(excess).cloned().collect::<Vec<_>>() {
            self.take(walk, &old);
        }
        Ok(())
    }

    /// Takes one item away.
    pub(super) fn take(&mut self, walk: &mut Walk<'_>, item: &StoredItem) {
        walk.delete(self.item_key(item.number));
        walk.delete(self.id_key(&item.id));
        self.gone.push(item.number);
        self.items = self.items.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(item.weight());
    }

    /// The item of that id.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn item(
        &self,
        walk: &Walk<'_>,
        id: &str,
    ) -> Result<Option<StoredItem>, WalkError> {
        let Some(value) = walk.get(&self.id_key(id)).await? else {
            return Ok(None);
        };
        let (_, mut value) = Reader::open("item number", value, NUMBER_V1)?;
        let number = value.u64()?;
        let item = walk.get(&self.item_key(number)).await?;
        Ok(item
            .map(|value| StoredItem::decode(number, value))
            .transpose()?)
    }

    /// At most `most` items from number `from` up to but without number `to`, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn scan(
        &self,
        walk: &Walk<'_>,
        from: u64,
        to: Option<u64>,
        most: usize,
    ) -> Result<Vec<StoredItem>, WalkError> {
        let range = Scan::range(self.item_key(from), self.end_key(to), most);
        self.rows(walk, range).await
    }

    /// At most `most` items before number `to`: the newest ones, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn newest(
        &self,
        walk: &Walk<'_>,
        to: Option<u64>,
        most: usize,
    ) -> Result<Vec<StoredItem>, WalkError> {
        let range = Scan::range(self.item_key(0), self.end_key(to), most).reversed();
        let mut items = self.rows(walk, range).await?;
        items.reverse();
        Ok(items)
    }

    async fn rows(&self, walk: &Walk<'_>, scan: Scan) -> Result<Vec<StoredItem>, WalkError> {
        let prefix = tables::node_key(tables::NODE_ITEM, &self.name, b"");
        let rows = walk.scan(scan).await?.into_iter();
        let items = rows.filter_map(|(key, value)| {
            let number = key.strip_prefix(&prefix[..])?.try_into().ok()?;
            Some(StoredItem::decode(u64::from_be_bytes(number), value))
        });
        Ok(items.collect::<Result<_, _>>()?)
    }

    fn item_key(&self, number: u64) -> Bytes {
        tables::node_key(tables::NODE_ITEM, &self.name, &number.to_be_bytes())
    }

    fn end_key(&self, to: Option<u64>) -> Bytes {
        match to {
            Some(number) => self.item_key(number),
            None => prefix_end(&tables::node_key(tables::NODE_ITEM, &self.name, b"")),
        }
    }

    fn id_key(&self, id: &str) -> Bytes {
        tables::node_key(tables::NODE_ITEM_ID, &self.name, id.as_bytes())
    }

    fn encode(&self) -> Bytes {
        let config = &self.config;
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(config.persist_items, 1)
            | flag(config.deliver_notifications, 2)
            | flag(config.deliver_payloads, 4)
            | flag(config.notify_retract, 8)
            | flag(config.notify_delete, 16)
            | flag(config.notify_config, 32);
        let mut value = Writer::new(LEAF_V1, 128);
        value
            .u8(flags)
            .text(config.access.as_str())
            .text(config.publish.as_str())
            .text(config.send_last.as_str())
            .text(&config.max_items.to_string())
            .text(&config.title)
            .text(&config.description)
            .text(&config.payload_type)
            .text(&self.creator)
            .u64(self.created_at.millis())
            .u32(self.items)
            .u64(self.bytes)
            .u32(self.subscribers)
            .u64(self.next)
            .u32(u32::try_from(config.roster_groups.len()).unwrap_or(u32::MAX));
        for group in &config.roster_groups {
            value.text(group);
        }
        value.finish()
    }

    fn decode(name: &str, value: Bytes) -> Result<Leaf, Corrupt> {
        let (_, mut value) = Reader::open("node", value, LEAF_V1)?;
        let flags = value.u8()?;
        let unknown = Corrupt {
            what: "node",
            why: "a word in it is not known here",
        };
        let mut config = NodeConfig {
            persist_items: flags & 1 != 0,
            deliver_notifications: flags & 2 != 0,
            deliver_payloads: flags & 4 != 0,
            notify_retract: flags & 8 != 0,
            notify_delete: flags & 16 != 0,
            notify_config: flags & 32 != 0,
            access: AccessModel::parse(&value.text()?).ok_or_else(|| unknown.clone())?,
            publish: PublishModel::parse(&value.text()?).ok_or_else(|| unknown.clone())?,
            send_last: SendLast::parse(&value.text()?).ok_or_else(|| unknown.clone())?,
            max_items: MaxItems::parse(&value.text()?).ok_or(unknown)?,
            title: value.text()?,
            description: value.text()?,
            payload_type: value.text()?,
            roster_groups: Vec::new(),
        };
        let creator = value.text()?;
        let created_at = Timestamp(value.u64()?);
        let (items, bytes) = (value.u32()?, value.u64()?);
        let (subscribers, next) = (value.u32()?, value.u64()?);
        config.roster_groups = (0..value.count(MAX_GROUPS)?)
            .map(|_| value.text())
            .collect::<Result<_, _>>()?;
        value.end()?;
        Ok(Leaf {
            name: name.to_owned(),
            config,
            creator,
            created_at,
            items,
            bytes,
            subscribers,
            next,
            gone: Vec::new(),
        })
    }
}

impl StoredItem {
    /// What it counts for in its node.
    fn weight(&self) -> u64 {
        (self.id.len() + self.payload.len()) as u64
    }

    /// As it is shown. The account itself need not be named as the publisher of its own items.
    ///
    /// # Errors
    /// The payload cannot be read.
    pub(super) fn to_item(&self, site: &str) -> Result<Item, Corrupt> {
        let payload = match &self.payload[..] {
            b"" => None,
            xml => Some(Element::parse(xml, ns::CLIENT).map_err(|_| Corrupt {
                what: "item",
                why: "its payload is not well-formed",
            })?),
        };
        Ok(Item {
            id: Some(self.id.clone()),
            publisher: (self.publisher != site).then(|| self.publisher.clone()),
            payload,
        })
    }

    fn encode(&self) -> Bytes {
        let mut value = Writer::new(ITEM_V1, 32 + self.payload.len());
        value
            .text(&self.id)
            .u64(self.published_at.millis())
            .text(&self.publisher)
            .rest(&self.payload);
        value.finish()
    }

    fn decode(number: u64, value: Bytes) -> Result<StoredItem, Corrupt> {
        let (_, mut value) = Reader::open("item", value, ITEM_V1)?;
        Ok(StoredItem {
            number,
            id: value.text()?,
            published_at: Timestamp(value.u64()?),
            publisher: value.text()?,
            payload: value.rest(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_of_version_1_stay_readable() {
        let config = NodeConfig {
            title: "T".to_owned(),
            access: AccessModel::Roster,
            roster_groups: vec!["A".to_owned()],
            max_items: MaxItems::Max,
            send_last: SendLast::Never,
            ..NodeConfig::of_account()
        };
        let leaf = Leaf {
            items: 1,
            bytes: 2,
            subscribers: 3,
            next: 4,
            ..Leaf::new("n", config, "a@b", Timestamp(5))
        };
        let golden = b"\x01\x17\0\0\0\x06roster\0\0\0\x0apublishers\0\0\0\x05never\0\0\0\x03max\0\0\0\x01T\0\0\0\0\
            \0\0\0\0\0\0\0\x03a@b\0\0\0\0\0\0\0\x05\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x04\
            \0\0\0\x01\0\0\0\x01A";
        assert_eq!(&leaf.encode()[..], golden);
        assert_eq!(Leaf::decode("n", Bytes::from_static(golden)), Ok(leaf));
        let item = StoredItem {
            number: 9,
            id: "i".to_owned(),
            published_at: Timestamp(7),
            publisher: "a@b".to_owned(),
            payload: Bytes::from_static(b"<x xmlns='y'/>"),
        };
        let golden = b"\x01\0\0\0\x01i\0\0\0\0\0\0\0\x07\0\0\0\x03a@b<x xmlns='y'/>";
        assert_eq!(&item.encode()[..], golden);
        assert_eq!(
            StoredItem::decode(9, Bytes::from_static(golden)),
            Ok(item.clone())
        );
        assert_eq!(item.to_item("a@b").unwrap().publisher, None);
        assert_eq!(
            item.to_item("c@b").unwrap().publisher.as_deref(),
            Some("a@b")
        );
    }

    #[test]
    fn damaged_values_are_errors_not_panics() {
        let value = Leaf::new("n", NodeConfig::of_service(), "a@b", Timestamp(5)).encode();
        for end in 0..value.len() {
            assert!(Leaf::decode("n", value.slice(..end)).is_err());
        }
        assert!(StoredItem::decode(1, Bytes::from_static(b"\x01\0\0")).is_err());
    }
}
