//! Files that go by themselves, and bytes that are to be erased: a slow round over the accounts that have files.
//!
//! Whoever has the object store calls [`sweep`] again and again, erases what it answers, and says so by [`erased`].
//! After a crash between the two the same is answered again: to erase what is not there does no harm.

use bytes::Bytes;
use posthaste_kv::{Batch, Partition, Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use super::books::{self, Books};
use super::due::Class;
use super::ledger::{DAY_MILLIS, durable};
use super::removal::doom_account;
use super::stats::Sum;
use super::usage::next_key;
use super::{LedgerError, ObjectName, Usage};
use crate::home::HomeState;
use crate::node::Node;
use crate::tables;

/// Accounts that one call looks at: a look is a few reads.
const ACCOUNTS: usize = 64;
/// Files of one account that go in one batch: their home is locked meanwhile.
const FILES: usize = 256;
/// Objects that one call answers, so that the list is small.
const OBJECTS: usize = 1_024;

/// How far the round has come. A new one begins with what accounts have left that are gone.
#[derive(Debug, Default)]
pub struct Round {
    /// The account to go on with.
    from: Option<Bytes>,
    /// What the accounts before it have.
    sum: Sum,
}

impl Round {
    /// Has it come round? Then there is time until the next one.
    pub fn is_over(&self) -> bool {
        self.from.is_none()
    }
}

/// Bytes that nobody finds any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Whose they were; `None` when the account is gone.
    pub account: Option<BareJid>,
    /// Their names in the object store, and where an upload may have staged them.
    pub objects: Vec<ObjectName>,
}

/// Goes on with the round: lets files go whose time has come, and answers whose bytes are to be erased. What it
/// answers is gone from disk otherwise.
///
/// # Errors
/// The store failed; begin a new round then.
pub async fn sweep(node: &Node, round: &mut Round) -> Result<Vec<Doomed>, LedgerError> {
    let mut doomed = Vec::new();
    let from = match round.from.take() {
        Some(from) => from,
        None => {
            let partition = tables::media_partition();
            let objects = doomed_in(node, &partition, tables::DOOMED).await?;
            push(&mut doomed, None, objects);
            Bytes::from_static(tables::MEDIA_ACCOUNT)
        }
    };
    let scan = Scan::range(from, prefix_end(tables::MEDIA_ACCOUNT), ACCOUNTS);
    let listed = node.kv().scan(&tables::media_partition(), scan).await?;
    let is_last = listed.len() < ACCOUNTS;
    let mut next = None;
    for (key, _) in listed {
        let count: usize = doomed.iter().map(|of: &Doomed| of.objects.len()).sum();
        if count >= OBJECTS {
            round.from = Some(key);
            break;
        }
        next = Some(next_key(&key));
        let account = tables::key_text(tables::MEDIA_ACCOUNT, &key);
        let Some(account) = account.and_then(|jid| BareJid::parse(jid).ok()) else {
            continue;
        };
        match visit(node, &account).await {
            Ok((objects, usage)) => {
                round.sum.add(&usage);
                push(&mut doomed, Some(account), objects);
            }
            // The others are not kept waiting.
            Err(error) => tracing::warn!(%error, "the files of an account could not be swept"),
        }
    }
    if round.from.is_none() && !is_last {
        round.from = next;
    }
    if round.is_over() {
        node.stats.media.came_round(std::mem::take(&mut round.sum));
    }
    // Nothing is erased that a crash could bring back.
    durable(node, node.kv().line().issued()).await?;
    Ok(doomed)
}

/// The bytes are erased: their names are forgotten.
///
/// # Errors
/// The store failed: they will be answered again.
pub async fn erased(node: &Node, doomed: &Doomed) -> Result<(), LedgerError> {
    type Key = fn(&ObjectName) -> Bytes;
    let (partition, key): (Partition, Key) = match &doomed.account {
        Some(account) => (tables::partition(account)?, tables::media_doomed_key),
        None => (tables::media_partition(), tables::doomed_key),
    };
    let mut batch = Batch::new(partition);
    for object in &doomed.objects {
        batch.delete(key(object));
    }
    node.kv().commit(batch)?;
    Ok(())
}

fn push(doomed: &mut Vec<Doomed>, account: Option<BareJid>, objects: Vec<ObjectName>) {
    if !objects.is_empty() {
        doomed.push(Doomed { account, objects });
    }
}

async fn doomed_in(
    node: &Node,
    partition: &Partition,
    table: &[u8],
) -> Result<Vec<ObjectName>, LedgerError> {
    let rows = node
        .kv()
        .scan(partition, Scan::prefix(table, OBJECTS))
        .await?;
    let object = |key: &Bytes| tables::key_text(table, key).and_then(ObjectName::parse);
    Ok(rows.iter().filter_map(|(key, _)| object(key)).collect())
}

/// One account: lets go what is due, and answers what is doomed, and what it has now.
async fn visit(node: &Node, account: &BareJid) -> Result<(Vec<ObjectName>, Usage), LedgerError> {
    let partition = tables::partition(account)?;
    let mut usage = books::usage(node, &partition).await?;
    // Looks before it loads the home: nearly always there is nothing to do.
    if needs_visit(node, &partition, usage).await? {
        let home = node.home(account);
        let state = home.lock(node).await?;
        if state.has_account {
            let_go(node, &state).await?;
        } else {
            // It was removed, and a crash came before its files were.
            doom_account(node, account).await?;
        }
        usage = books::usage(node, &partition).await?;
    }
    let doomed = doomed_in(node, &partition, tables::MEDIA_DOOMED).await?;
    Ok((doomed, usage))
}

async fn needs_visit(
    node: &Node,
    partition: &Partition,
    usage: Usage,
) -> Result<bool, LedgerError> {
    if node.kv().get(partition, tables::ACCOUNT).await?.is_none() {
        return Ok(true);
    }
    let mut due = due_scans(node, 1);
    due.push((Bytes::new(), used_scan(node, 1)));
    for (_, scan) in due {
        if !node.kv().scan(partition, scan).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(is_spent(node, usage))
}

/// Has the account neither files nor uploaded anything today?
fn is_spent(node: &Node, usage: Usage) -> bool {
    let today = node.now().millis() / DAY_MILLIS;
    let is_today = u64::from(usage.day) == today && usage.day_bytes > 0;
    usage.files == 0 && usage.used == 0 && !is_today
}

/// The rows of what is due, by their tables.
fn due_scans(node: &Node, limit: usize) -> Vec<(Bytes, Scan)> {
    let config = node.config();
    let scan = |class: Class| {
        let due = class.due(&config.media, node.now(), limit)?;
        Some((class.table(), due))
    };
    Class::ALL.into_iter().filter_map(scan).collect()
}

/// Slots that could not be used any more anyway.
fn used_scan(node: &Node, limit: usize) -> Scan {
    let now = node.now().millis().to_be_bytes();
    let end = [tables::MEDIA_USED, &now].concat();
    Scan::range(Bytes::from_static(tables::MEDIA_USED), end, limit)
}

/// Lets go up to a few files whose time has come; the rest goes at the next visit.
async fn let_go(node: &Node, state: &HomeState) -> Result<(), LedgerError> {
    let mut books = Books::open(node, state).await?;
    let mut gone = Vec::new();
    for (table, scan) in due_scans(node, FILES) {
        for (key, _) in node.kv().scan(&state.partition, scan).await? {
            let Some(id) = tables::media_time_file(&table, &key) else {
                continue;
            };
            // What is due twice goes once.
            if gone.contains(&id) || gone.len() >= FILES {
                continue;
            }
            match books::record(node, &state.partition, &id).await? {
                Some(record) => books.drop_file(&id, &record).await?,
                None => {
                    books.batch.delete(key);
                }
            }
            gone.push(id);
        }
    }
    let used = node
        .kv()
        .scan(&state.partition, used_scan(node, FILES))
        .await?;
    for (key, _) in used {
        books.batch.delete(key);
        books.usage.used = books.usage.used.saturating_sub(1);
    }
    let is_spent = is_spent(node, books.usage);
    let has_doomed = !gone.is_empty()
        || !doomed_in(node, &state.partition, tables::MEDIA_DOOMED)
            .await?
            .is_empty();
    if !is_spent || has_doomed {
        books.commit()?;
        return Ok(());
    }
    books.close()?;
    // After the account's own row: whoever sweeps has to find what is there.
    let mut unlisted = Batch::new(tables::media_partition());
    unlisted.delete(tables::media_account_key(&state.jid));
    node.kv().commit(unlisted)?;
    Ok(())
}
