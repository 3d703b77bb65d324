//! The files of an account that is gone.

use bytes::Bytes;
use posthaste_kv::{Batch, Pages, Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use super::books::THERE;
use super::{FileId, ObjectName, Record};
use crate::error::WalkError;
use crate::node::Node;
use crate::tables;

/// Rows that are read at once.
const PAGE: usize = 256;

/// Nobody finds the files of this account any more, and their bytes are doomed. The caller has made sure that no file
/// comes to be meanwhile.
pub(crate) async fn doom_account(node: &Node, account: &BareJid) -> Result<(), WalkError> {
    let partition = tables::partition(account)?;
    let kv = node.kv();
    let mut files = Pages::new(kv, &partition, Scan::prefix(tables::MEDIA, PAGE));
    while let Some(page) = files.next().await? {
        let mut doomed = Batch::new(tables::media_partition());
        for (key, value) in page {
            let id = tables::key_text(tables::MEDIA, &key).and_then(FileId::parse);
            if let Some(id) = id {
                let mut file = Batch::new(tables::file_partition(&id));
                file.delete_range(Bytes::new(), Bytes::new());
                kv.commit(file)?;
            }
            let object = Record::decode(value)?.object;
            doomed.put(tables::doomed_key(&object), THERE);
        }
        kv.commit(doomed)?;
    }
    let mut objects = Pages::new(kv, &partition, Scan::prefix(tables::MEDIA_DOOMED, PAGE));
    while let Some(page) = objects.next().await? {
        let mut doomed = Batch::new(tables::media_partition());
        for (key, _) in page {
            let object = tables::key_text(tables::MEDIA_DOOMED, &key).and_then(ObjectName::parse);
            if let Some(object) = object {
                doomed.put(tables::doomed_key(&object), THERE);
            }
        }
        kv.commit(doomed)?;
    }
    // If a crash leaves the rest of its rows to a new account of this name, these must not be among them.
    let mut rows = Batch::new(partition);
    rows.delete_range(tables::MEDIA_TABLES, prefix_end(tables::MEDIA_TABLES));
    kv.commit(rows)?;
    let mut unlisted = Batch::new(tables::media_partition());
    unlisted.delete(tables::media_account_key(account));
    kv.commit(unlisted)?;
    Ok(())
}
