//! The end of the log that is not in the index yet.

use bytes::Bytes;
use posthaste_kv::{Kv, Partition};
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use thin_vec::ThinVec;

use super::index::Indexed;
use crate::codec::{Corrupt, Reader, Writer};
use crate::error::WalkError;
use crate::log::ArchiveId;
use crate::tables;

/// Notes kept in memory; the walk that finds so many saves them. 32 bytes each.
pub const MAX_NOTES: usize = 128;

/// A log entry that is not in the index yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) entry: Indexed,
    /// Is it in the archive? If not, all that matters is what it says of what has been seen.
    pub(super) archived: bool,
    /// The owner has seen the message of this name, and all before it (XEP-0333).
    pub(super) displayed: Option<u32>,
}

/// What is not in the index yet of one conversation.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) peer: BareJid,
    pub(super) notes: Vec<Note>,
}

/// The end of the log that is not indexed yet.
#[derive(Debug, Default)]
pub struct Recent {
    /// In a second one speaks with few.
    pub(super) talks: ThinVec<Talk>,
    count: usize,
    /// What is in it.
    pub(super) covered: Covered,
}

/// What of the log the index covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Everything up to here.
    pub indexed: ArchiveId,
    /// Nothing older, since retention has dropped it.
    pub pruned: ArchiveId,
}

const COVERED_VERSION: u8 = 1;

impl Covered {
    /// What is stored in a home; nothing for one that was last saved before there was an index.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(kv: &dyn Kv, partition: &Partition) -> Result<Covered, WalkError> {
        let value = kv.get(partition, tables::INDEXED).await?;
        Ok(value.map(Covered::decode).transpose()?.unwrap_or_default())
    }

    pub(super) fn encode(self) -> Bytes {
        let mut writer = Writer::new(COVERED_VERSION, 16);
        writer.u64(self.indexed.0).u64(self.pruned.0);
        writer.finish()
    }

    pub(super) fn decode(value: Bytes) -> Result<Covered, Corrupt> {
        let (_, mut reader) = Reader::open("extent of the index", value, COVERED_VERSION)?;
        let (indexed, pruned) = (ArchiveId(reader.u64()?), ArchiveId(reader.u64()?));
        reader.end()?;
        Ok(Covered { indexed, pruned })
    }
}

impl Recent {
    /// Nothing, beyond what the store says that the index covers.
    pub fn new(covered: Covered) -> Recent {
        Recent {
            covered,
            ..Recent::default()
        }
    }

    /// An archived stanza was committed; `message` says whether it is something said ([`crate::weight`]).
    pub fn note(
        &mut self,
        id: ArchiveId,
        stanza: &Stanza,
        outgoing: bool,
        message: bool,
        owner: &BareJid,
    ) {
        self.push(id, stanza, outgoing, message, owner, true);
    }

    /// The owner has sent something that is not archived, after the entry of this id: by it too one tells what one has
    /// seen.
    pub fn note_passing(
        &mut self,
        after: ArchiveId,
        stanza: &Stanza,
        message: bool,
        owner: &BareJid,
    ) {
        if message || displayed(stanza).is_some() {
            self.push(after, stanza, true, message, owner, false);
        }
    }

    fn push(
        &mut self,
        id: ArchiveId,
        stanza: &Stanza,
        outgoing: bool,
        message: bool,
        owner: &BareJid,
        archived: bool,
    ) {
        let address = if outgoing { &stanza.to } else { &stanza.from };
        let Some(address) = address else { return };
        let peer = address.bare_str();
        let own = outgoing || peer == owner.as_str();
        let note = Note {
            entry: Indexed {
                id,
                own,
                message,
                name: stanza.id.as_deref().map_or(0, name_of),
            },
            archived,
            displayed: own.then(|| displayed(stanza)).flatten(),
        };
        self.count += 1;
        let mut talks = self.talks.iter_mut();
        match talks.find(|talk| talk.peer.as_str() == peer) {
            Some(talk) => talk.notes.push(note),
            None => self.talks.push(Talk {
                peer: address.to_bare(),
                notes: vec![note],
            }),
        }
    }

    /// The newest entry of a conversation that is meant, among those that are not in the index yet.
    pub(super) fn newest(
        &self,
        peer: &BareJid,
        is_meant: impl Fn(&Indexed) -> bool,
    ) -> Option<Indexed> {
        let talk = self.talks.iter().find(|talk| talk.peer == *peer)?;
        let mut entries = archived(&talk.notes).rev();
        entries.find(|entry| is_meant(entry))
    }

    /// Must it be saved before more comes?
    pub fn is_full(&self) -> bool {
        self.count >= MAX_NOTES
    }

    /// Is there nothing to save?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Entries up to here are gone from the log.
    pub fn forget(&mut self, upto: ArchiveId) {
        for talk in &mut self.talks {
            talk.notes.retain(|note| note.entry.id > upto);
        }
        self.talks.retain(|talk| !talk.notes.is_empty());
        self.count = self.talks.iter().map(|talk| talk.notes.len()).sum();
    }
}

pub(super) fn archived(notes: &[Note]) -> impl DoubleEndedIterator<Item = Indexed> + Clone + '_ {
    let archived = notes.iter().filter(|note| note.archived);
    archived.map(|note| note.entry)
}

/// What a marker says that its sender has seen (XEP-0333 §4.2; `acknowledged` is of its older versions).
fn displayed(stanza: &Stanza) -> Option<u32> {
    let is_marker = |name| name == "displayed" || name == "acknowledged";
    let marker = stanza
        .children()
        .find(|child| child.ns == ns::MARKERS && is_marker(child.name))?;
    let marker = marker.to_element().ok()?;
    marker.attr("id").map(name_of)
}

/// A hash of a stanza's id (FNV-1a): tells which of a conversation's entries a marker or a retraction may mean.
pub(super) fn name_of(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
