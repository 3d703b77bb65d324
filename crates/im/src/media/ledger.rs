//! Keeping the account's rows and the file's own in step.

use bytes::Bytes;
use posthaste_kv::{Batch, KvError, Partition, Ticket};
use posthaste_proto::jid::BareJid;
use thiserror::Error;

use super::record::{Shared, Usage};
use super::{Digest, File, FileId, Limits, ObjectName, Record, Slot, State};
use crate::clock::Timestamp;
use crate::codec::Corrupt;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::node::Node;
use crate::tables;

const DAY_MILLIS: u64 = 86_400_000;
/// The value of rows that say all by being there.
const THERE: &[u8] = b"\x01";

/// Why a file could not be written down or removed.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// There is no such account any more.
    #[error("there is no such account")]
    NoAccount,
    /// The slot has been used.
    #[error("the slot has been used")]
    Used,
    /// There is no such file of this account, or no such upload.
    #[error("there is no such file")]
    NotFound,
    /// The account has as many files or bytes as it may have.
    #[error("the account has no room for it")]
    AccountFull,
    /// The account has uploaded enough today; then there is another day.
    #[error("the account has uploaded enough today")]
    DayFull(Timestamp),
    /// Too many uploads of the account are under way.
    #[error("too many uploads are under way")]
    TooManyOpen,
    /// The store did not do its part, or holds what cannot be read.
    #[error("the store: {0}")]
    Store(String),
}

impl From<KvError> for LedgerError {
    fn from(error: KvError) -> LedgerError {
        LedgerError::Store(error.to_string())
    }
}

impl From<Corrupt> for LedgerError {
    fn from(error: Corrupt) -> LedgerError {
        LedgerError::Store(error.to_string())
    }
}

impl From<WalkError> for LedgerError {
    fn from(error: WalkError) -> LedgerError {
        LedgerError::Store(error.to_string())
    }
}

/// The account's row of a file whose upload may begin, or go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Where the bytes are to be written.
    pub object: ObjectName,
}

/// An upload begins: the slot is used from now on, and its size is taken from what the account may have. When this
/// returns it is on disk.
///
/// # Errors
/// The slot was used before, the account is gone, or a limit is reached.
pub async fn claim(node: &Node, slot: &Slot) -> Result<Claimed, LedgerError> {
    let object = ObjectName::random(node);
    let ticket = {
        let home = node.home(&slot.account);
        let state = home.lock(node).await?;
        if !state.has_account {
            return Err(LedgerError::NoAccount);
        }
        if record(node, &state, &slot.id).await?.is_some() {
            return Err(LedgerError::Used);
        }
        let now = node.now();
        let usage = admitted(
            usage(node, &state).await?,
            slot.size,
            &node.config().media,
            now,
        )?;
        // Before the account's own row: whoever sweeps has to find it.
        let mut listed = Batch::new(tables::media_partition());
        listed.put(tables::media_account_key(&slot.account), THERE);
        node.kv().commit(listed)?;
        let mut batch = Batch::new(state.partition.clone());
        let record = Record::of(slot, object.clone(), now);
        batch.put(tables::media_key(&slot.id), record.encode());
        batch.put(tables::MEDIA_USAGE, usage.encode());
        node.kv().commit(batch)?
    };
    durable(node, ticket).await?;
    Ok(Claimed { object })
}

/// May so much more be uploaded? Answers what is used then.
pub(super) fn admitted(
    mut usage: Usage,
    size: u64,
    limits: &Limits,
    now: Timestamp,
) -> Result<Usage, LedgerError> {
    let today = now.millis() / DAY_MILLIS;
    let day = u32::try_from(today).unwrap_or(u32::MAX);
    if usage.day != day {
        (usage.day, usage.day_bytes) = (day, 0);
    }
    usage.files += 1;
    usage.open += 1;
    usage.bytes = usage.bytes.saturating_add(size);
    usage.day_bytes = usage.day_bytes.saturating_add(size);
    if usage.open > limits.open_uploads {
        return Err(LedgerError::TooManyOpen);
    }
    if usage.files > limits.account_files || usage.bytes > limits.account_bytes {
        return Err(LedgerError::AccountFull);
    }
    if usage.day_bytes > limits.day_bytes {
        return Err(LedgerError::DayFull(Timestamp((today + 1) * DAY_MILLIS)));
    }
    Ok(usage)
}

/// All bytes have come, and are these: if the account has them already, its file is there from now on, and what was
/// written is not needed. When this answers yes it is on disk.
///
/// # Errors
/// There is no such upload, or the store failed.
pub async fn adopt(
    node: &Node,
    account: &BareJid,
    id: &FileId,
    digest: Digest,
) -> Result<bool, LedgerError> {
    complete(node, account, id, digest, false).await
}

/// The bytes are in the object store under the name of [`Claimed::object`]: the file is there from now on. When this
/// returns it is on disk.
///
/// # Errors
/// There is no such upload (it was swept, or removed, or its account was), or the store failed. Then the object is
/// doomed, or its name unknown here: the caller erases it.
pub async fn finish(
    node: &Node,
    account: &BareJid,
    id: &FileId,
    digest: Digest,
) -> Result<(), LedgerError> {
    complete(node, account, id, digest, true).await.map(drop)
}

async fn complete(
    node: &Node,
    account: &BareJid,
    id: &FileId,
    digest: Digest,
    is_written: bool,
) -> Result<bool, LedgerError> {
    let ticket = {
        let home = node.home(account);
        let state = home.lock(node).await?;
        let mut record = uploading(node, &state, id).await?;
        let mut usage = usage(node, &state).await?;
        let mut batch = Batch::new(state.partition.clone());
        let shared = match shared(node, &state, &digest).await? {
            Some(mut shared) => {
                // Another upload of the same has been faster: its bytes are kept.
                if is_written {
                    batch.put(tables::media_doomed_key(&record.object), THERE);
                }
                shared.files = shared.files.saturating_add(1);
                record.object = shared.object.clone();
                usage.bytes = usage.bytes.saturating_sub(record.size);
                shared
            }
            None if is_written => Shared {
                object: record.object.clone(),
                files: 1,
            },
            None => return Ok(false),
        };
        (record.state, record.digest) = (State::Stored, digest);
        usage.open = usage.open.saturating_sub(1);
        batch.put(tables::media_key(id), record.encode());
        batch.put(tables::media_object_key(&digest), shared.encode());
        batch.put(tables::MEDIA_USAGE, usage.encode());
        write_file(node, account, id, &record)?;
        node.kv().commit(batch)?
    };
    durable(node, ticket).await?;
    Ok(true)
}

fn write_file(
    node: &Node,
    account: &BareJid,
    id: &FileId,
    record: &Record,
) -> Result<(), LedgerError> {
    let file = File {
        account: account.clone(),
        object: record.object.clone(),
        size: record.size,
        digest: record.digest,
        name: record.name.clone(),
        content_type: record.content_type.clone(),
        created: record.created,
    };
    let mut batch = Batch::new(tables::file_partition(id));
    batch.put(tables::FILE, file.encode());
    node.kv().commit(batch)?;
    Ok(())
}

/// An upload will not go on: its bytes are doomed and what it took of the account's limits is given back, but the slot
/// stays used: what was uploaded today counts.
///
/// # Errors
/// The store failed. An upload that is not known is none.
pub async fn abandon(node: &Node, account: &BareJid, id: &FileId) -> Result<(), LedgerError> {
    let home = node.home(account);
    let state = home.lock(node).await?;
    let mut batch = Batch::new(state.partition.clone());
    let mut usage = usage(node, &state).await?;
    let record = record(node, &state, id).await?;
    let Some(record) = record.filter(|record| record.state == State::Uploading) else {
        return Ok(());
    };
    drop_row(node, &state, id, &record, &mut usage, &mut batch).await?;
    batch.put(tables::MEDIA_USAGE, usage.encode());
    node.kv().commit(batch)?;
    Ok(())
}

/// The uploader does not want it to be there any more. When this returns it is gone from disk, apart from its bytes,
/// which the sweep erases.
///
/// # Errors
/// The account has no such file, or the store failed.
pub async fn remove(node: &Node, account: &BareJid, id: &FileId) -> Result<(), LedgerError> {
    let ticket = {
        let home = node.home(account);
        let state = home.lock(node).await?;
        let record = record(node, &state, id)
            .await?
            .ok_or(LedgerError::NotFound)?;
        let mut usage = usage(node, &state).await?;
        let mut batch = Batch::new(state.partition.clone());
        drop_row(node, &state, id, &record, &mut usage, &mut batch).await?;
        batch.put(tables::MEDIA_USAGE, usage.encode());
        node.kv().commit(batch)?
    };
    durable(node, ticket).await
}

/// Takes one file out of the account's rows: the file's own are gone first, so that nobody is sent to bytes that are
/// not there. `usage` is changed, not written: one batch may drop several, but none twice and none with the same bytes.
pub(super) async fn drop_row(
    node: &Node,
    state: &HomeState,
    id: &FileId,
    record: &Record,
    usage: &mut Usage,
    batch: &mut Batch,
) -> Result<(), LedgerError> {
    let mut file = Batch::new(tables::file_partition(id));
    file.delete_range(Bytes::new(), Bytes::new());
    node.kv().commit(file)?;
    batch.delete(tables::media_key(id));
    usage.files = usage.files.saturating_sub(1);
    let mut is_last = true;
    match record.state {
        State::Uploading => usage.open = usage.open.saturating_sub(1),
        State::Stored => {
            if let Some(mut shared) = shared(node, state, &record.digest).await? {
                shared.files = shared.files.saturating_sub(1);
                is_last = shared.files == 0;
                let key = tables::media_object_key(&record.digest);
                if is_last {
                    batch.delete(key);
                } else {
                    batch.put(key, shared.encode());
                }
            }
        }
    }
    if is_last {
        batch.put(tables::media_doomed_key(&record.object), THERE);
        usage.bytes = usage.bytes.saturating_sub(record.size);
    }
    Ok(())
}

/// The file with this name, if it is there.
///
/// # Errors
/// The store failed.
pub async fn file(node: &Node, id: &FileId) -> Result<Option<File>, LedgerError> {
    let row = node
        .kv()
        .get(&tables::file_partition(id), tables::FILE)
        .await?;
    Ok(row.map(File::decode).transpose()?)
}

pub(super) async fn record(
    node: &Node,
    state: &HomeState,
    id: &FileId,
) -> Result<Option<Record>, LedgerError> {
    let row = get(node, &state.partition, &tables::media_key(id)).await?;
    Ok(row.map(Record::decode).transpose()?)
}

async fn uploading(node: &Node, state: &HomeState, id: &FileId) -> Result<Record, LedgerError> {
    let record = record(node, state, id).await?;
    record
        .filter(|record| record.state == State::Uploading)
        .ok_or(LedgerError::NotFound)
}

async fn shared(
    node: &Node,
    state: &HomeState,
    digest: &Digest,
) -> Result<Option<Shared>, LedgerError> {
    let row = get(node, &state.partition, &tables::media_object_key(digest)).await?;
    Ok(row.map(Shared::decode).transpose()?)
}

/// What the account of this home has uploaded.
pub(super) async fn usage(node: &Node, state: &HomeState) -> Result<Usage, LedgerError> {
    let row = get(node, &state.partition, tables::MEDIA_USAGE).await?;
    Ok(row.map(Usage::decode).transpose()?.unwrap_or_default())
}

async fn get(node: &Node, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, LedgerError> {
    Ok(node.kv().get(partition, key).await?)
}

async fn durable(node: &Node, ticket: Ticket) -> Result<(), LedgerError> {
    node.kv().line().wait(ticket).await.map_err(KvError::from)?;
    Ok(())
}
