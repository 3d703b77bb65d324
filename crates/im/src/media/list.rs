//! What an account has uploaded, as it and whoever administers the server see it.

use bytes::Bytes;
use posthaste_kv::{Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use super::usage::next_key;
use super::{FileId, LedgerError, Record, Usage, books, due};
use crate::clock::Timestamp;
use crate::node::Node;
use crate::tables;

/// Which of an account's files, which are in the order in which their uploads began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// The oldest.
    First,
    /// What follows this one.
    After(FileId),
    /// What comes right before this one.
    Before(FileId),
    /// The newest.
    Last,
}

/// One file of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// How it is called in its address.
    pub id: FileId,
    /// What is known of it.
    pub record: Record,
    /// When it goes by itself, as things stand.
    pub expires: Option<Timestamp>,
}

/// What an account has uploaded, all in all.
///
/// # Errors
/// The store failed.
pub async fn usage(node: &Node, account: &BareJid) -> Result<Usage, LedgerError> {
    Ok(books::usage(node, &tables::partition(account)?).await?)
}

/// A page of an account's files, at most `most`, oldest first.
///
/// # Errors
/// The file that the page was to begin or end at is not there, or the store failed.
pub async fn list(
    node: &Node,
    account: &BareJid,
    page: &Page,
    most: usize,
) -> Result<Vec<Listed>, LedgerError> {
    let home = node.home(account);
    let state = home.lock(node).await?;
    let (start, end) = (
        Bytes::from_static(tables::MEDIA_TIME),
        prefix_end(tables::MEDIA_TIME),
    );
    let key_of = async |id: &FileId| {
        let record = books::record(node, &state.partition, id).await?;
        let record = record.ok_or(LedgerError::NotFound)?;
        let key = tables::media_time_key(tables::MEDIA_TIME, record.created, id);
        Ok::<Bytes, LedgerError>(key)
    };
    let scan = match page {
        Page::First => Scan::range(start, end, most),
        Page::Last => Scan::range(start, end, most).reversed(),
        Page::After(id) => {
            let after = next_key(&key_of(id).await?);
            Scan::range(after, end, most)
        }
        Page::Before(id) => Scan::range(start, key_of(id).await?, most).reversed(),
    };
    let is_reversed = scan.reverse;
    let mut files = Vec::new();
    for (key, _) in node.kv().scan(&state.partition, scan).await? {
        let Some(id) = tables::media_time_file(tables::MEDIA_TIME, &key) else {
            continue;
        };
        if let Some(record) = books::record(node, &state.partition, &id).await? {
            let expires = due::expires(&record, &node.config().media);
            files.push(Listed {
                id,
                record,
                expires,
            });
        }
    }
    if is_reversed {
        files.reverse();
    }
    Ok(files)
}
