//! Accounts: who has one, and how they prove it. Passwords are never stored, only what checks them.
//!
//! An account is the key [`tables::ACCOUNT`] in its home's partition, with keys for each SCRAM
//! hash (RFC 5802) beside it and the FAST tokens (XEP-0484) of its clients. A node's own
//! partition lists the accounts by host. Nothing here tells whether an account exists, by answer
//! or by time, to someone who has not logged in. Left out: second factors.
//!
//! [`Accounts`] needs a store only, so that the command line can use it without a server. With a
//! server running, accounts are made and removed by [`Node::create_account`] and
//! [`Node::remove_account`], so that homes in memory know.
//!
//! [`Node::create_account`]: crate::node::Node::create_account
//! [`Node::remove_account`]: crate::node::Node::remove_account

mod disabled;
mod homes;
mod record;
mod throttle;
mod tokens;
mod upgrade;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use posthaste_kv::{Batch, Kv, KvError, Partition, Precondition, Scan, Ticket, prefix_end};
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::keys::{DEFAULT_ITERATIONS, PasswordError, SALT_BYTES, prepare};
use posthaste_proto::sasl::{Hash, Secret, StoredKeys};
use thiserror::Error;
use tokio::sync::{OnceCell, Semaphore};

use crate::clock::{Clock, Entropy, Timestamp};
use crate::codec::Corrupt;
use crate::tables::{self, partition};
pub(crate) use record::decode_password_changed;
pub use throttle::Admission;
use throttle::{Quota, Throttle};

/// What an operator decides about accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Rounds of PBKDF2 for new passwords; see [`DEFAULT_ITERATIONS`]. Between
    /// [`posthaste_proto::sasl::keys::MIN_ITERATIONS`] and
    /// [`posthaste_proto::sasl::keys::MAX_ITERATIONS`].
    pub iterations: u32,
    /// How long a FAST token is good for, in days. Each use after `token_rotation_hours` brings a
    /// new one, so that only a device that is not used for so long has to show its password.
    pub token_days: u32,
    /// How old a token may get before its next use brings a new one, in hours.
    pub token_rotation_hours: u32,
    /// Accounts that one address may register in a day (XEP-0077).
    pub registrations_per_day: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            iterations: DEFAULT_ITERATIONS,
            token_days: 60,
            token_rotation_hours: 24,
            // A household behind one address, but no farm of accounts.
            registrations_per_day: 10,
        }
    }
}

/// Why something about an account was not done.
#[derive(Debug, Error)]
pub enum AccountError {
    // The asker's doing.
    /// There is an account of this address.
    #[error("there is such an account already")]
    Exists,
    /// There is none.
    #[error("there is no such account")]
    NotFound,
    /// The address has no localpart: it is a host's.
    #[error("an account's address has the form user@host")]
    NoLocalpart,
    /// The password cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Too many accounts were registered from this address today.
    #[error("too many accounts were registered from this address")]
    TooManyRegistrations,
    // The outside failed.
    /// The store did not do its part.
    #[error("the store: {0}")]
    Store(#[from] KvError),
    /// The store holds something this version cannot read.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// Everyone's credentials. See the module comment.
pub struct Accounts {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    settings: Mutex<Settings>,
    /// Made at the first start; fake salts and tokens are derived from it.
    secret: OnceCell<[u8; SECRET_BYTES]>,
    throttle: Throttle,
    registrations: Quota,
    /// Stretching a password takes a core for milliseconds: half of the cores at most, so that
    /// log-ins by PLAIN and registrations do not stop the rest.
    stretching: Semaphore,
}

const SECRET_BYTES: usize = 32;

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accounts")
    }
}

impl Accounts {
    /// The accounts in a store.
    pub fn new(
        kv: Arc<dyn Kv>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Settings,
    ) -> Accounts {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Accounts {
            kv,
            clock,
            entropy,
            settings: Mutex::new(settings),
            secret: OnceCell::new(),
            throttle: Throttle::default(),
            registrations: Quota::default(),
            stretching: Semaphore::new(cores.div_ceil(2)),
        }
    }

    /// New settings, for what happens from now on.
    pub fn reconfigure(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is such an account.
    ///
    /// # Errors
    /// The store failed.
    pub async fn exists(&self, account: &BareJid) -> Result<bool, AccountError> {
        let partition = partition(account)?;
        Ok(self.kv.get(&partition, tables::ACCOUNT).await?.is_some())
    }

    /// Makes an account. It is durable when this returns.
    ///
    /// # Errors
    /// There is one, the password cannot be used, or the store failed.
    pub async fn create(&self, account: &BareJid, password: &Secret) -> Result<(), AccountError> {
        if account.local().is_none() {
            return Err(AccountError::NoLocalpart);
        }
        if self.exists(account).await? {
            return Err(AccountError::Exists);
        }
        let all = self.stretch(password).await?;
        // The list first: a name in it without an account is skipped, the reverse would be lost.
        let mut list = Batch::new(list_partition());
        list.put(tables::listed_account_key(account), record::LISTED);
        self.kv.commit(list)?;
        let mut batch = Batch::new(partition(account)?);
        // What an account of that name left, if a crash kept it from being erased, is not for the
        // next one.
        batch.delete_range(Bytes::new(), Bytes::new());
        batch.put(tables::ACCOUNT, record::encode_account(self.clock.now()));
        put_keys(&mut batch, &all);
        let absent = Precondition::Absent(Bytes::from_static(tables::ACCOUNT));
        match self.kv.commit_if(batch, vec![absent]).await {
            Ok(ticket) => self.durable(ticket).await,
            Err(KvError::PreconditionFailed) => Err(AccountError::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives an account another password. Its FAST tokens end: whoever stole a device is out.
    ///
    /// # Errors
    /// There is no such account, the password cannot be used, or the store failed.
    pub async fn change_password(
        &self,
        account: &BareJid,
        password: &Secret,
    ) -> Result<(), AccountError> {
        let partition = partition(account)?;
        let Some(there) = self.kv.get(&partition, tables::ACCOUNT).await? else {
            return Err(AccountError::NotFound);
        };
        let all = self.stretch(password).await?;
        let mut batch = Batch::new(partition);
        put_keys(&mut batch, &all);
        batch.delete_range(tables::FAST, prefix_end(tables::FAST));
        let changed_at = record::encode_password_changed(self.clock.now());
        batch.put(tables::PASSWORD_CHANGED, changed_at);
        let still_there = Precondition::Equals {
            key: Bytes::from_static(tables::ACCOUNT),
            value: there,
        };
        match self.kv.commit_if(batch, vec![still_there]).await {
            Ok(ticket) => self.durable(ticket).await,
            Err(KvError::PreconditionFailed) => Err(AccountError::NotFound),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an account with everything in its home. Sessions and subscriptions are not
    /// touched: a running server uses [`crate::node::Node::remove_account`].
    ///
    /// # Errors
    /// There is no such account, or the store failed.
    pub async fn remove(&self, account: &BareJid) -> Result<(), AccountError> {
        self.revoke(account).await?;
        self.erase(account).await
    }

    /// The first half of [`Accounts::remove`]: nobody logs in any more. Durable when this returns.
    pub(crate) async fn revoke(&self, account: &BareJid) -> Result<(), AccountError> {
        if !self.exists(account).await? {
            return Err(AccountError::NotFound);
        }
        let mut batch = Batch::new(partition(account)?);
        batch.delete(tables::ACCOUNT);
        for table in [tables::CREDENTIALS, tables::FAST] {
            batch.delete_range(table, prefix_end(table));
        }
        self.kv.commit(batch)?;
        let mut list = Batch::new(list_partition());
        list.delete(tables::listed_account_key(account));
        list.delete(tables::disabled_account_key(account));
        let ticket = self.kv.commit(list)?;
        self.durable(ticket).await
    }

    /// The second half: nothing is left of it.
    pub(crate) async fn erase(&self, account: &BareJid) -> Result<(), AccountError> {
        let mut batch = Batch::new(partition(account)?);
        batch.delete_range(Bytes::new(), Bytes::new());
        let ticket = self.kv.commit(batch)?;
        self.durable(ticket).await
    }

    /// The accounts of a host (or of all hosts), by host and then by name: at most `limit` after
    /// `after`. Fewer than `limit` means that there are no more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(
        &self,
        host: Option<&str>,
        after: Option<&BareJid>,
        limit: usize,
    ) -> Result<Vec<BareJid>, AccountError> {
        let prefix = tables::listed_host_key(host);
        let mut from = match after {
            Some(after) => after_key(&tables::listed_account_key(after)),
            None => prefix.clone(),
        };
        let list = list_partition();
        let mut found = Vec::new();
        loop {
            let scan = Scan::range(from, prefix_end(&prefix), limit - found.len());
            let rows = self.kv.scan(&list, scan).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(found);
            };
            from = after_key(last);
            for (key, _) in &rows {
                let account = tables::listed_account(key);
                if let Some(account) = account
                    && self.exists(&account).await?
                {
                    found.push(account);
                }
            }
            if found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// The keys that check a SCRAM log-in. For an account that does not exist they are made up,
    /// always the same ones, and no password opens them; for a disabled one, too.
    ///
    /// # Errors
    /// The store failed.
    pub async fn keys(&self, account: &BareJid, hash: Hash) -> Result<StoredKeys, AccountError> {
        let secret = self.secret().await?;
        // Made for everyone, so that accounts that exist do not take less time.
        let fake = StoredKeys::fake(hash, secret, account.as_str(), self.settings().iterations);
        let partition = partition(account)?;
        let stored = self
            .kv
            .get(&partition, tables::credentials_key(hash))
            .await?;
        match stored {
            Some(value) if !self.is_disabled(account).await? => {
                Ok(record::decode_keys(hash, value)?)
            }
            Some(_) | None => Ok(fake),
        }
    }

    /// Whether this is the account's password, for PLAIN. Takes a core for milliseconds.
    ///
    /// # Errors
    /// The store failed.
    pub async fn verify_password(
        &self,
        account: &BareJid,
        password: Secret,
    ) -> Result<bool, AccountError> {
        // Of the three hashes the one that processors compute fastest.
        let keys = self.keys(account, Hash::Sha256).await?;
        Ok(self.stretching(move || keys.is_password(&password)).await)
    }

    /// Whether a client at this address may try to log in (to this account), and when.
    pub fn admit(&self, address: IpAddr, account: Option<&BareJid>) -> Admission {
        self.throttle.admit(self.clock.now(), address, account)
    }

    /// A log-in has failed: the next ones from this address and to this account will wait.
    pub fn login_failed(&self, address: IpAddr, account: Option<&BareJid>) {
        self.throttle.failed(self.clock.now(), address, account);
    }

    /// A log-in has succeeded: its account is no longer suspected of being tried.
    pub fn login_succeeded(&self, account: &BareJid) {
        self.throttle.succeeded(account);
    }

    /// Counts a registration from this address.
    ///
    /// # Errors
    /// [`AccountError::TooManyRegistrations`].
    pub fn admit_registration(&self, address: IpAddr) -> Result<(), AccountError> {
        let most = self.settings().registrations_per_day;
        match self.registrations.take(self.clock.now(), address, most) {
            true => Ok(()),
            false => Err(AccountError::TooManyRegistrations),
        }
    }

    /// The keys of a password for all hashes.
    async fn stretch(&self, password: &Secret) -> Result<Vec<StoredKeys>, AccountError> {
        prepare(password)?;
        let iterations = self.settings().iterations;
        let salts = Hash::ALL.map(|hash| {
            let mut salt = [0; SALT_BYTES];
            self.entropy.fill(&mut salt);
            (hash, salt)
        });
        let password = password.clone();
        let derive = move || {
            let derive = |(hash, salt): (Hash, [u8; SALT_BYTES])| {
                StoredKeys::derive(hash, &password, &salt, iterations)
            };
            salts
                .into_iter()
                .map(derive)
                .collect::<Result<Vec<_>, PasswordError>>()
        };
        Ok(self.stretching(derive).await?)
    }

    /// Runs what takes a core for long on a thread that serves no sockets, in turn.
    async fn stretching<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _turn = self.stretching.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// What only this node knows, and what it derives other secrets from.
    pub(crate) async fn secret(&self) -> Result<&[u8; SECRET_BYTES], AccountError> {
        self.secret.get_or_try_init(|| self.load_secret()).await
    }

    async fn load_secret(&self) -> Result<[u8; SECRET_BYTES], AccountError> {
        let partition = list_partition();
        if let Some(stored) = self.kv.get(&partition, tables::SECRET).await? {
            return Ok(record::decode_secret(stored)?);
        }
        let mut secret = [0; SECRET_BYTES];
        self.entropy.fill(&mut secret);
        let mut batch = Batch::new(partition);
        batch.put(tables::SECRET, record::encode_secret(&secret));
        let ticket = self.kv.commit(batch)?;
        self.durable(ticket).await?;
        Ok(secret)
    }

    async fn durable(&self, ticket: Ticket) -> Result<(), AccountError> {
        self.kv.line().wait(ticket).await.map_err(KvError::from)?;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn put_keys(batch: &mut Batch, all: &[StoredKeys]) {
    for keys in all {
        batch.put(
            tables::credentials_key(keys.hash),
            record::encode_keys(keys),
        );
    }
}

fn list_partition() -> Partition {
    Partition::new(tables::ACCOUNTS_PARTITION).expect("a constant of few bytes without NUL")
}

/// The smallest key above `key`.
fn after_key(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

#[cfg(test)]
mod tests;
