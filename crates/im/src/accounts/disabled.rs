//! Accounts that nobody may log in to for now (XEP-0133 §4.3). They keep everything and go on receiving.
//!
//! Whoever tries learns no more than of an account that does not exist. The list is the node's, so that it can be read
//! without looking at every account.

use bytes::Bytes;
use posthaste_kv::{Batch, KvError, Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use super::{AccountError, Accounts, after_key, list_partition, record};
use crate::tables;

/// Rows that are counted at a time.
const COUNT_PAGE: usize = 4_096;

impl Accounts {
    /// Locks an account, durably when this returns. Its sessions go on: a running server uses
    /// [`crate::node::Node::disable_account`].
    ///
    /// # Errors
    /// There is no such account, or the store failed.
    pub async fn disable(&self, account: &BareJid) -> Result<(), AccountError> {
        if !self.exists(account).await? {
            return Err(AccountError::NotFound);
        }
        let mut batch = Batch::new(list_partition());
        batch.put(
            tables::disabled_account_key(account),
            record::encode_disabled(self.now()),
        );
        let ticket = self.kv.commit(batch)?;
        self.durable(ticket).await
    }

    /// Unlocks it; one that is not locked stays so.
    ///
    /// # Errors
    /// There is no such account, or the store failed.
    pub async fn enable(&self, account: &BareJid) -> Result<(), AccountError> {
        if !self.exists(account).await? {
            return Err(AccountError::NotFound);
        }
        let mut batch = Batch::new(list_partition());
        batch.delete(tables::disabled_account_key(account));
        let ticket = self.kv.commit(batch)?;
        self.durable(ticket).await
    }

    /// Whether the account is locked.
    ///
    /// # Errors
    /// The store failed.
    pub async fn is_disabled(&self, account: &BareJid) -> Result<bool, KvError> {
        let key = tables::disabled_account_key(account);
        Ok(self.kv.get(&list_partition(), &key).await?.is_some())
    }

    /// Whether there is such an account and it may be logged in to.
    ///
    /// # Errors
    /// The store failed.
    pub async fn may_log_in(&self, account: &BareJid) -> Result<bool, AccountError> {
        Ok(self.exists(account).await? && !self.is_disabled(account).await?)
    }

    /// The locked accounts of a host: at most `limit` after `after`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn disabled(
        &self,
        host: &BareJid,
        after: Option<&BareJid>,
        limit: usize,
    ) -> Result<Vec<BareJid>, AccountError> {
        let prefix = tables::disabled_host_key(host.domain());
        let from = match after {
            Some(after) => after_key(&tables::disabled_account_key(after)),
            None => prefix.clone(),
        };
        let scan = Scan::range(from, prefix_end(&prefix), limit);
        let rows = self.kv.scan(&list_partition(), scan).await?;
        let accounts = rows
            .iter()
            .filter_map(|(key, _)| tables::account_in(tables::DISABLED, key));
        Ok(accounts.collect())
    }

    /// How many accounts of a host are locked.
    ///
    /// # Errors
    /// The store failed.
    pub async fn count_disabled(&self, host: &BareJid) -> Result<usize, AccountError> {
        self.count_keys(tables::disabled_host_key(host.domain()))
            .await
    }

    /// How many accounts a host has. A name whose making was cut short by a crash is counted, too.
    ///
    /// # Errors
    /// The store failed.
    pub async fn count(&self, host: &BareJid) -> Result<usize, AccountError> {
        self.count_keys(tables::listed_host_key(Some(host.domain())))
            .await
    }

    async fn count_keys(&self, prefix: Bytes) -> Result<usize, AccountError> {
        let (list, end) = (list_partition(), prefix_end(&prefix));
        let (mut from, mut count) = (prefix, 0);
        loop {
            let rows = self
                .kv
                .scan(&list, Scan::range(from, end.clone(), COUNT_PAGE))
                .await?;
            count += rows.len();
            match rows.last() {
                Some((last, _)) if rows.len() == COUNT_PAGE => from = after_key(last),
                _ => return Ok(count),
            }
        }
    }
}
