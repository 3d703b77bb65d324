//! What accounts have uploaded, for those who run the server: how much there is, and an end to it.
//!
//! Everything is read and removed page by page, so that neither memory nor the time for which a home is locked grows
//! with what somebody has uploaded. An upload that is under way ends with its row: what still comes of it is refused.

use bytes::Bytes;
use posthaste_kv::{Scan, Ticket};
use posthaste_proto::jid::BareJid;

use super::books::{self, Books};
use super::ledger::{DAY_MILLIS, durable};
use super::record::Usage;
use super::{FileId, LedgerError, Record};
use crate::clock::Timestamp;
use crate::error::WalkError;
use crate::node::Node;
use crate::tables;

/// Accounts in one page.
pub const MOST_ACCOUNTS: usize = 500;
/// Files that one step looks at, while the home of their account is locked.
pub const MOST_FILES: usize = 100;

/// What an account has uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUsage {
    /// Whose it is.
    pub account: BareJid,
    /// Files, those that are coming included.
    pub files: u32,
    /// Of these, how many are coming.
    pub open: u32,
    /// Bytes, each counted once; those that are to come included.
    pub bytes: u64,
    /// Bytes of the uploads that have begun today (UTC).
    pub day_bytes: u64,
}

impl AccountUsage {
    fn of(account: BareJid, usage: Usage, now: Timestamp) -> AccountUsage {
        let is_today = u64::from(usage.day) == now.millis() / DAY_MILLIS;
        AccountUsage {
            account,
            files: usage.files,
            open: usage.open,
            bytes: usage.bytes,
            day_bytes: if is_today { usage.day_bytes } else { 0 },
        }
    }
}

/// What an account has uploaded; nothing if there is no such account.
///
/// # Errors
/// The store failed.
pub async fn usage_of(node: &Node, account: &BareJid) -> Result<AccountUsage, WalkError> {
    let usage = books::usage(node, &tables::partition(account)?).await?;
    Ok(AccountUsage::of(account.clone(), usage, node.now()))
}

/// A page of the accounts that have uploaded something, in the order of their addresses: those after `after`, and the
/// place after which the next page begins, if there may be one. Accounts that have nothing any more are in it, too.
///
/// # Errors
/// The store failed.
pub async fn usages(
    node: &Node,
    after: Option<&BareJid>,
) -> Result<(Vec<AccountUsage>, Option<BareJid>), LedgerError> {
    let mut scan = Scan::prefix(tables::MEDIA_ACCOUNT, MOST_ACCOUNTS);
    if let Some(after) = after {
        scan.from = next_key(&tables::media_account_key(after));
    }
    let rows = node.kv().scan(&tables::media_partition(), scan).await?;
    let is_full = rows.len() == MOST_ACCOUNTS;
    let mut found = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        let account = tables::key_text(tables::MEDIA_ACCOUNT, &key).map(BareJid::parse);
        if let Some(Ok(account)) = account {
            found.push(usage_of(node, &account).await?);
        }
    }
    let last = found.last().map(|usage| usage.account.clone());
    Ok((found, last.filter(|_| is_full)))
}

/// Which files are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Which<'a> {
    /// Only those of which the upload began before; `None` for all.
    pub before: Option<Timestamp>,
    /// Only those after this one, in the order of their names.
    pub after: Option<&'a FileId>,
}

/// What was found, or removed, in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Files.
    pub files: u32,
    /// What they say their sizes are, together; what is stored once for several files counts for each.
    pub bytes: u64,
    /// There may be more, after this one.
    pub next: Option<FileId>,
}

/// Counts the files of an account that are meant, as far as one step goes.
///
/// # Errors
/// The store failed.
pub async fn count(node: &Node, account: &BareJid, which: Which<'_>) -> Result<Found, LedgerError> {
    let (found, _) = step(node, account, which).await?;
    Ok(found)
}

/// Removes them, as far as one step goes: as [`super::remove`] does with each.
///
/// # Errors
/// The store failed; some may be gone then.
pub async fn purge(node: &Node, account: &BareJid, which: Which<'_>) -> Result<Found, LedgerError> {
    let home = node.home(account);
    let (found, ticket) = {
        let state = home.lock(node).await?;
        // Its files go with it.
        if !state.has_account {
            return Ok(Found::default());
        }
        let (found, records) = step(node, account, which).await?;
        let mut books = Books::open(node, &state).await?;
        for (id, record) in &records {
            books.drop_file(id, record).await?;
        }
        let ticket = match records.is_empty() {
            true => Ticket::DURABLE,
            false => books.commit()?,
        };
        (found, ticket)
    };
    durable(node, ticket).await?;
    Ok(found)
}

async fn step(
    node: &Node,
    account: &BareJid,
    which: Which<'_>,
) -> Result<(Found, Vec<(FileId, Record)>), LedgerError> {
    let mut scan = Scan::prefix(tables::MEDIA, MOST_FILES);
    if let Some(after) = which.after {
        scan.from = next_key(&tables::media_key(after));
    }
    let rows = node.kv().scan(&tables::partition(account)?, scan).await?;
    let is_full = rows.len() == MOST_FILES;
    let mut found = Found::default();
    let mut records = Vec::new();
    for (key, value) in rows {
        let Some(id) = tables::key_text(tables::MEDIA, &key).and_then(FileId::parse) else {
            continue;
        };
        let record = Record::decode(value)?;
        found.next = Some(id.clone()).filter(|_| is_full);
        if which.before.is_none_or(|before| record.created < before) {
            found.files += 1;
            found.bytes = found.bytes.saturating_add(record.size);
            records.push((id, record));
        }
    }
    Ok((found, records))
}

/// The first key after this one.
pub(super) fn next_key(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}
