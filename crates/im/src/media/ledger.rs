//! Keeping the account's rows and the file's own in step.

use posthaste_kv::{Batch, KvError, Ticket};
use posthaste_proto::jid::BareJid;
use thiserror::Error;

use super::books::{self, Books, THERE};
use super::record::{Usage, decode_owner};
use super::{Digest, File, FileId, Limits, ObjectName, Record, Slot, State};
use crate::clock::Timestamp;
use crate::codec::Corrupt;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::node::Node;
use crate::tables;

pub(super) const DAY_MILLIS: u64 = 86_400_000;

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
    #[error(transparent)]
    Store(#[from] WalkError),
}

impl From<KvError> for LedgerError {
    fn from(error: KvError) -> LedgerError {
        LedgerError::Store(error.into())
    }
}

impl From<Corrupt> for LedgerError {
    fn from(error: Corrupt) -> LedgerError {
        LedgerError::Store(error.into())
    }
}

/// The account's row of a file whose upload may begin, or go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Where the bytes are to be written.
    pub object: ObjectName,
}

/// May the account upload so much more now? Nothing is taken from what it may have before the upload begins.
///
/// # Errors
/// The account is gone, or a limit is reached.
pub async fn check(node: &Node, account: &BareJid, size: u64) -> Result<(), LedgerError> {
    let stats = &node.stats.media;
    stats.noted(has_room(node, account, size).await)
}

async fn has_room(node: &Node, account: &BareJid, size: u64) -> Result<(), LedgerError> {
    let home = node.home(account);
    let state = home.lock(node).await?;
    if !state.has_account {
        return Err(LedgerError::NoAccount);
    }
    let usage = books::usage(node, &state.partition).await?;
    admitted(usage, size, &node.config().media, node.now()).map(drop)
}

/// An upload begins: the slot is used from now on, and its size is taken from what the account may have. When this
/// returns it is on disk.
///
/// # Errors
/// The slot was used before, the account is gone, or a limit is reached.
pub async fn claim(node: &Node, slot: &Slot) -> Result<Claimed, LedgerError> {
    let stats = &node.stats.media;
    let claimed = stats.noted(begin(node, slot).await)?;
    stats.begun.count();
    Ok(claimed)
}

async fn begin(node: &Node, slot: &Slot) -> Result<Claimed, LedgerError> {
    let object = ObjectName::random(node);
    let ticket = {
        let home = node.home(&slot.account);
        let state = home.lock(node).await?;
        if !state.has_account {
            return Err(LedgerError::NoAccount);
        }
        if is_used(node, &state, slot).await? {
            return Err(LedgerError::Used);
        }
        let now = node.now();
        let mut books = Books::open(node, &state).await?;
        let is_first = books.usage == Usage::default();
        books.usage = admitted(books.usage, slot.size, &node.config().media, now)?;
        if is_first {
            // Before the account's own row: whoever sweeps has to find it.
            let mut listed = Batch::new(tables::media_partition());
            listed.put(tables::media_account_key(&slot.account), THERE);
            node.kv().commit(listed)?;
        }
        books.add(&slot.id, &Record::of(slot, object.clone(), now));
        books.commit()?
    };
    durable(node, ticket).await?;
    Ok(Claimed { object })
}

/// The file of a slot as far as it has come; `None` when nothing of it has.
///
/// # Errors
/// The slot has been used for a file that is gone, or the store failed.
pub async fn progress(node: &Node, slot: &Slot) -> Result<Option<Record>, LedgerError> {
    let home = node.home(&slot.account);
    let state = home.lock(node).await?;
    let record = books::record(node, &state.partition, &slot.id).await?;
    if record.is_none() && is_used(node, &state, slot).await? {
        return Err(LedgerError::Used);
    }
    Ok(record)
}

/// A slot is good once: also when the file that came of it has been removed.
async fn is_used(node: &Node, state: &HomeState, slot: &Slot) -> Result<bool, LedgerError> {
    if books::record(node, &state.partition, &slot.id)
        .await?
        .is_some()
    {
        return Ok(true);
    }
    let used = tables::media_time_key(tables::MEDIA_USED, slot.expires, &slot.id);
    Ok(node.kv().get(&state.partition, &used).await?.is_some())
}

/// May so much more be uploaded? Answers what is used then.
fn admitted(
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
    usage.files = usage.files.saturating_add(1);
    usage.open = usage.open.saturating_add(1);
    usage.bytes = usage.bytes.saturating_add(size);
    usage.day_bytes = usage.day_bytes.saturating_add(size);
    if usage.open > limits.open_uploads {
        return Err(LedgerError::TooManyOpen);
    }
    // Each slot whose file has gone is a row for some minutes.
    let rows = usage.files.saturating_add(usage.used);
    if rows > limits.account_files || usage.bytes > limits.account_bytes {
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
/// [`LedgerError::NotFound`]: there is no such upload (it was swept, or removed, or its account was), and the caller
/// erases what it has written. Or the store failed: then the bytes stay, since somebody may be sent to them already; the
/// sweep has them erased if nothing comes of the upload.
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
        // Of an account that goes nothing may come to be while its rows are erased.
        if !state.has_account {
            return Err(LedgerError::NotFound);
        }
        let record = books::record(node, &state.partition, id).await?;
        let before = record
            .filter(|record| record.state == State::Uploading)
            .ok_or(LedgerError::NotFound)?;
        let mut now = Record {
            state: State::Stored,
            digest,
            ..before.clone()
        };
        let mut books = Books::open(node, &state).await?;
        let Some(shared) = books.share(&now, is_written).await? else {
            return Ok(false);
        };
        let is_shared = shared.object != before.object;
        if is_shared {
            // The account has these bytes: they count once. If they were written, another upload of them has been
            // faster.
            if is_written {
                books.doom(&before);
            }
            now.object = shared.object;
            books.usage.bytes = books.usage.bytes.saturating_sub(before.size);
        }
        books.usage.open = books.usage.open.saturating_sub(1);
        books.change(id, &before, &now);
        books::write_owner(node, &state, id)?;
        let ticket = books.commit()?;
        let stats = &node.stats.media;
        match is_shared {
            true => stats.adopted.count(),
            false => stats.stored.count(),
        }
        ticket
    };
    durable(node, ticket).await?;
    Ok(true)
}

/// An upload will not go on: its bytes are doomed and what it took of the account's limits is given back, but the slot
/// stays used: what was uploaded today counts.
///
/// # Errors
/// The store failed. An upload that is not known is none.
pub async fn abandon(node: &Node, account: &BareJid, id: &FileId) -> Result<(), LedgerError> {
    let home = node.home(account);
    let state = home.lock(node).await?;
    // Of an account that goes nothing is written while its rows are erased.
    if !state.has_account {
        return Ok(());
    }
    let record = books::record(node, &state.partition, id).await?;
    if let Some(record) = record.filter(|record| record.state == State::Uploading) {
        let mut books = Books::open(node, &state).await?;
        books.drop_file(id, &record).await?;
        books.commit()?;
    }
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
        if !state.has_account {
            return Err(LedgerError::NotFound);
        }
        let record = books::record(node, &state.partition, id).await?;
        let record = record.ok_or(LedgerError::NotFound)?;
        let mut books = Books::open(node, &state).await?;
        books.drop_file(id, &record).await?;
        books.commit()?
    };
    durable(node, ticket).await
}

/// The file with this name, if it is there. Its account's row decides: that changes together with what it counts for and
/// with what becomes of its bytes.
///
/// # Errors
/// The store failed.
pub async fn file(node: &Node, id: &FileId) -> Result<Option<File>, LedgerError> {
    let row = node
        .kv()
        .get(&tables::file_partition(id), tables::FILE)
        .await?;
    let Some(account) = row.map(decode_owner).transpose()? else {
        return Ok(None);
    };
    let record = books::record(node, &tables::partition(&account)?, id).await?;
    let file = record
        .filter(|record| record.state == State::Stored)
        .map(|record| File::of(account, record));
    // XEP-0363 §5.3: not after that moment, also if the sweep is late.
    Ok(file.filter(|file| file.until.is_none_or(|until| node.now() < until)))
}

pub(super) async fn durable(node: &Node, ticket: Ticket) -> Result<(), LedgerError> {
    node.kv().line().wait(ticket).await.map_err(KvError::from)?;
    Ok(())
}
