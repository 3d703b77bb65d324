//! Better keys for an account, made by a client that knows the password (XEP-0480).

use bytes::Bytes;
use posthaste_kv::{Batch, KvError, Precondition};
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::keys::SALT_BYTES;
use posthaste_proto::sasl::{Hash, StoredKeys};
use posthaste_proto::stream::server::Upgrade;

use super::{AccountError, Accounts, partition, put_keys, record};
use crate::tables;

impl Accounts {
    /// Which of the `wanted` keys would be new, or better than what is stored: those of a hash that
    /// the account has none of, or has with fewer rounds than passwords get now. None, if the
    /// password was changed since the client proved with `proven` to know it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn upgrades(
        &self,
        account: &BareJid,
        proven: &StoredKeys,
        wanted: &[Hash],
    ) -> Result<Vec<Upgrade>, AccountError> {
        let iterations = self.settings().iterations;
        let mut found = Vec::new();
        if self.stored(account, proven.hash).await?.as_ref() != Some(proven) {
            return Ok(found);
        }
        for hash in wanted {
            let stored = self.stored(account, *hash).await?;
            if stored.is_none_or(|keys| keys.iterations < iterations) {
                let mut salt = [0; SALT_BYTES];
                self.entropy.fill(&mut salt);
                found.push(Upgrade {
                    hash: *hash,
                    salt: salt.into(),
                    iterations,
                });
            }
        }
        Ok(found)
    }

    /// Stores `keys` beside the others, or in place of those of the same hash. Durable when this
    /// returns; nothing happens if the password was changed since `proven` was proved.
    ///
    /// # Errors
    /// The store failed.
    pub async fn upgrade(
        &self,
        account: &BareJid,
        proven: &StoredKeys,
        keys: &StoredKeys,
    ) -> Result<(), AccountError> {
        let home = partition(account)?;
        let key = tables::credentials_key(proven.hash);
        let Some(value) = self.kv.get(&home, key).await? else {
            return Ok(());
        };
        if record::decode_keys(proven.hash, value.clone())? != *proven {
            return Ok(());
        }
        let mut batch = Batch::new(home);
        put_keys(&mut batch, std::slice::from_ref(keys));
        let key = Bytes::from_static(key);
        let unchanged = Precondition::Equals { key, value };
        match self.kv.commit_if(batch, vec![unchanged]).await {
            Ok(ticket) => self.durable(ticket).await,
            Err(KvError::PreconditionFailed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn stored(
        &self,
        account: &BareJid,
        hash: Hash,
    ) -> Result<Option<StoredKeys>, AccountError> {
        let home = partition(account)?;
        let value = self.kv.get(&home, tables::credentials_key(hash)).await?;
        Ok(value
            .map(|value| record::decode_keys(hash, value))
            .transpose()?)
    }
}
