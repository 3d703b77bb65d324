//! One account's rows while they are changed: what is read of them, what is to be written, and one commit.
//!
//! Everything that adds or takes away a file goes through here, so that the sums agree with the rows however many files
//! one batch touches.

use std::collections::BTreeMap;

use bytes::Bytes;
use posthaste_kv::{Batch, Partition, Ticket};

use super::record::{Shared, encode_owner};
use super::{Digest, FileId, LedgerError, Record, State, Usage, delivered, due};
use crate::error::WalkError;
use crate::home::HomeState;
use crate::node::Node;
use crate::tables;

/// The value of rows that say all by being there.
pub(super) const THERE: &[u8] = b"\x01";

/// The rows of the account whose home is locked.
pub(super) struct Books<'a> {
    pub(super) node: &'a Node,
    pub(super) state: &'a HomeState,
    pub(super) usage: Usage,
    /// Bytes in common that this batch has to do with, as they will be.
    shared: BTreeMap<Digest, Option<Shared>>,
    pub(super) batch: Batch,
}

impl<'a> Books<'a> {
    pub(super) async fn open(
        node: &'a Node,
        state: &'a HomeState,
    ) -> Result<Books<'a>, LedgerError> {
        Ok(Books {
            node,
            state,
            usage: usage(node, &state.partition).await?,
            shared: BTreeMap::new(),
            batch: Batch::new(state.partition.clone()),
        })
    }

    /// A file that is not there yet.
    pub(super) fn add(&mut self, id: &FileId, record: &Record) {
        let time = tables::media_time_key(tables::MEDIA_TIME, record.created, id);
        self.batch.put(time, THERE);
        self.batch.put(tables::media_key(id), record.encode());
        for key in due::keys(record, id) {
            self.batch.put(key, THERE);
        }
    }

    /// A file that is there is another one from now on.
    pub(super) fn change(&mut self, id: &FileId, before: &Record, now: &Record) {
        change(&mut self.batch, id, before, now);
    }

    /// One more file has these bytes. Answers where they lie, if others have them already.
    pub(super) async fn share(
        &mut self,
        record: &Record,
        is_written: bool,
    ) -> Result<Option<Shared>, LedgerError> {
        let shared = match self.shared(&record.digest).await? {
            Some(mut shared) => {
                shared.files = shared.files.saturating_add(1);
                shared
            }
            None if is_written => Shared {
                object: record.object.clone(),
                files: 1,
            },
            None => return Ok(None),
        };
        self.shared.insert(record.digest, Some(shared.clone()));
        Ok(Some(shared))
    }

    /// These bytes are nobody's any more.
    pub(super) fn doom(&mut self, record: &Record) {
        self.batch
            .put(tables::media_doomed_key(&record.object), THERE);
    }

    /// Takes one file out. Its own partition is emptied first: after a crash nobody would know of it. Its slot stays
    /// used.
    pub(super) async fn drop_file(
        &mut self,
        id: &FileId,
        record: &Record,
    ) -> Result<(), LedgerError> {
        let mut file = Batch::new(tables::file_partition(id));
        file.delete_range(Bytes::new(), Bytes::new());
        self.node.kv().commit(file)?;
        let time = tables::media_time_key(tables::MEDIA_TIME, record.created, id);
        self.batch.delete(time);
        self.batch.delete(tables::media_key(id));
        for key in due::keys(record, id) {
            self.batch.delete(key);
        }
        if record.sent.waiting > 0 {
            delivered::forget(self, id).await?;
        }
        if self.node.now() <= record.slot_expires {
            let used = tables::media_time_key(tables::MEDIA_USED, record.slot_expires, id);
            self.batch.put(used, THERE);
            self.usage.used = self.usage.used.saturating_add(1);
        }
        self.usage.files = self.usage.files.saturating_sub(1);
        let is_last = match record.state {
            State::Uploading => {
                self.usage.open = self.usage.open.saturating_sub(1);
                self.node.stats.media.abandoned.count();
                true
            }
            State::Stored => {
                self.node.stats.media.removed.count();
                self.unshare(record).await?
            }
        };
        if is_last {
            self.doom(record);
            self.usage.bytes = self.usage.bytes.saturating_sub(record.size);
        }
        Ok(())
    }

    /// One file less has these bytes. Answers whether it was the last one.
    async fn unshare(&mut self, record: &Record) -> Result<bool, LedgerError> {
        let Some(mut shared) = self.shared(&record.digest).await? else {
            return Ok(true);
        };
        shared.files = shared.files.saturating_sub(1);
        let is_last = shared.files == 0;
        let left = Some(shared).filter(|_| !is_last);
        self.shared.insert(record.digest, left);
        Ok(is_last)
    }

    async fn shared(&self, digest: &Digest) -> Result<Option<Shared>, LedgerError> {
        if let Some(shared) = self.shared.get(digest) {
            return Ok(shared.clone());
        }
        let key = tables::media_object_key(digest);
        let row = self.node.kv().get(&self.state.partition, &key).await?;
        Ok(row.map(Shared::decode).transpose()?)
    }

    /// Gives everything to the store in one batch.
    pub(super) fn commit(mut self) -> Result<Ticket, LedgerError> {
        self.batch.put(tables::MEDIA_USAGE, self.usage.encode());
        self.write()
    }

    /// As [`Books::commit`], when nothing is left and the sum is not worth a row.
    pub(super) fn close(mut self) -> Result<Ticket, LedgerError> {
        self.batch.delete(tables::MEDIA_USAGE);
        self.write()
    }

    fn write(mut self) -> Result<Ticket, LedgerError> {
        for (digest, shared) in &self.shared {
            let key = tables::media_object_key(digest);
            match shared {
                Some(shared) => self.batch.put(key, shared.encode()),
                None => self.batch.delete(key),
            };
        }
        Ok(self.node.kv().commit(self.batch)?)
    }
}

/// A file that is there is another one from now on; what it counts for stays.
pub(super) fn change(batch: &mut Batch, id: &FileId, before: &Record, now: &Record) {
    for key in due::keys(before, id) {
        batch.delete(key);
    }
    batch.put(tables::media_key(id), now.encode());
    for key in due::keys(now, id) {
        batch.put(key, THERE);
    }
}

/// What an account has uploaded.
pub(super) async fn usage(node: &Node, partition: &Partition) -> Result<Usage, WalkError> {
    let row = node.kv().get(partition, tables::MEDIA_USAGE).await?;
    Ok(row.map(Usage::decode).transpose()?.unwrap_or_default())
}

/// One file of an account, if it has it.
pub(super) async fn record(
    node: &Node,
    partition: &Partition,
    id: &FileId,
) -> Result<Option<Record>, WalkError> {
    let row = node.kv().get(partition, &tables::media_key(id)).await?;
    Ok(row.map(Record::decode).transpose()?)
}

/// Whoever has the address of a file is told whose it is, and with that what. To be committed before the account's rows.
pub(super) fn write_owner(node: &Node, state: &HomeState, id: &FileId) -> Result<(), LedgerError> {
    let mut batch = Batch::new(tables::file_partition(id));
    batch.put(tables::FILE, encode_owner(&state.jid));
    node.kv().commit(batch)?;
    Ok(())
}
