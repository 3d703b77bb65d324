//! What a service remembers across its nodes: which there are, and to which an entity belongs.

use bytes::Bytes;
use posthaste_kv::{Batch, Kv, Partition, Scan};
use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::pubsub::AccessModel;

use super::leaf::Leaf;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::tables;

const ENTRY_V1: u8 = 1;
const MEMBER_V1: u8 = 1;

/// One node in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name.
    pub(super) node: String,
    /// Its name for people; empty for none.
    pub(super) title: String,
    /// Who made it, as a bare JID.
    pub(super) creator: String,
    /// May everybody see it?
    pub(super) is_open: bool,
}

/// All nodes, by name, at most `most`.
pub(super) async fn all(
    kv: &dyn Kv,
    partition: &Partition,
    most: usize,
) -> Result<Vec<Entry>, WalkError> {
    let rows = kv
        .scan(partition, Scan::prefix(tables::DIRECTORY, most))
        .await?;
    let entries = rows.into_iter().filter_map(|(key, value)| {
        let node = std::str::from_utf8(key.strip_prefix(tables::DIRECTORY)?).ok()?;
        Some(Entry::decode(node, value))
    });
    Ok(entries.collect::<Result<_, _>>()?)
}

/// The node is as `leaf` says, or is not there any more.
pub(super) fn file(batch: &mut Batch, node: &str, leaf: Option<&Leaf>) {
    let key = tables::text_key(tables::DIRECTORY, node);
    match leaf {
        Some(leaf) => batch.put(key, Entry::of(leaf).encode()),
        None => batch.delete(key),
    };
}

/// The entity has something to do with the node. What, the node knows.
pub(super) fn note_member(batch: &mut Batch, who: &BareJid, node: &str) {
    batch.put(member_key(who, node), Bytes::from_static(&[MEMBER_V1]));
}

/// The nodes that the entity has or had something to do with, at most `most`.
pub(super) async fn memberships(
    kv: &dyn Kv,
    partition: &Partition,
    who: &BareJid,
    most: usize,
) -> Result<Vec<String>, WalkError> {
    let prefix = member_key(who, "");
    let rows = kv.scan(partition, Scan::prefix(&prefix, most)).await?;
    let node = |key: Bytes| {
        let node = std::str::from_utf8(key.strip_prefix(&prefix[..])?).ok()?;
        Some(node.to_owned())
    };
    Ok(rows.into_iter().filter_map(|(key, _)| node(key)).collect())
}

fn member_key(who: &BareJid, node: &str) -> Bytes {
    tables::node_key(tables::DIRECTORY_MEMBER, who.as_str(), node.as_bytes())
}

impl Entry {
    fn of(leaf: &Leaf) -> Entry {
        Entry {
            node: leaf.name.clone(),
            title: leaf.config.title.clone(),
            creator: leaf.creator.clone(),
            is_open: leaf.config.access == AccessModel::Open,
        }
    }

    fn encode(&self) -> Bytes {
        let mut value = Writer::new(ENTRY_V1, 64);
        value
            .u8(u8::from(self.is_open))
            .text(&self.creator)
            .text(&self.title);
        value.finish()
    }

    fn decode(node: &str, value: Bytes) -> Result<Entry, Corrupt> {
        let (_, mut value) = Reader::open("directory entry", value, ENTRY_V1)?;
        let is_open = value.u8()? != 0;
        let (creator, title) = (value.text()?, value.text()?);
        value.end()?;
        Ok(Entry {
            node: node.to_owned(),
            title,
            creator,
            is_open,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_value_of_version_1_stays_readable() {
        let entry = Entry {
            node: "n".to_owned(),
            title: "T".to_owned(),
            creator: "a@b".to_owned(),
            is_open: true,
        };
        let golden = b"\x01\x01\0\0\0\x03a@b\0\0\0\x01T";
        assert_eq!(&entry.encode()[..], golden);
        assert_eq!(Entry::decode("n", Bytes::from_static(golden)), Ok(entry));
        assert!(Entry::decode("n", Bytes::from_static(b"\x01\x01\0\0")).is_err());
    }
}
