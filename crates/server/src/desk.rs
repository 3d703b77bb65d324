//! Requests of the administrator about accounts and their files, carried out on the heart: of the running server, or of
//! one that is opened on the idle store for this alone.

mod media;

use crate::admin::{Answer, PAGE, Request};
use crate::config::Config;
use crate::lock::DirectoryLock;
use crate::system::{SystemClock, SystemEntropy};
use crate::{store, wiring};
use anyhow::Context as _;
use posthaste_engine_embedded::Embedded;
use posthaste_im::node::Node;
use posthaste_kv::Kv as _;
use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::sasl::Secret;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Carries out an account request on `node`.
pub(crate) async fn carry_out(node: &Arc<Node>, request: Request) -> Answer {
    match attempt(node, request).await {
        Ok(answer) => answer,
        Err(why) => Answer::Refused(why),
    }
}

async fn attempt(node: &Arc<Node>, request: Request) -> Result<Answer, String> {
    match request {
        Request::UserAdd { account, password } => {
            let account = account_of(node, &account)?;
            let made = node
                .create_account(&account, &Secret::from(password.as_str()))
                .await;
            made.map_err(|error| format!("{account}: {error}"))?;
        }
        Request::UserPasswd { account, password } => {
            let account = account_of(node, &account)?;
            let changed = node
                .accounts()
                .change_password(&account, &Secret::from(password.as_str()))
                .await;
            changed.map_err(|error| format!("{account}: {error}"))?;
        }
        Request::UserRemove { account } => {
            let account = account_of(node, &account)?;
            let removed = node.remove_account(&account).await;
            removed.map_err(|error| format!("{account}: {error}"))?;
        }
        Request::UserDisable { account } => {
            let account = account_of(node, &account)?;
            let disabled = node.disable_account(&account).await;
            disabled.map_err(|error| format!("{account}: {error}"))?;
        }
        Request::UserEnable { account } => {
            let account = account_of(node, &account)?;
            let enabled = node.accounts().enable(&account).await;
            enabled.map_err(|error| format!("{account}: {error}"))?;
        }
        Request::UserKick { address } => {
            let jid = Jid::parse(&address)
                .map_err(|error| format!("{address:?} is not an address: {error}"))?;
            let account = account_of(node, jid.bare_str())?;
            let why = StreamError::new(StreamCondition::PolicyViolation)
                .with_text("ended by an administrator");
            let ended = node.end_sessions(&account, jid.resource(), &why).await;
            return ended
                .map(Answer::Ended)
                .map_err(|error| format!("{account}: {error}"));
        }
        Request::UserList { host, after } => return list(node, host, after).await,
        Request::MediaUsage { account, after } => {
            return media::usage_of(node, account, after).await;
        }
        Request::MediaPurge {
            account,
            older_than_seconds,
            after,
            dry_run,
        } => return media::purge(node, &account, older_than_seconds, after, dry_run).await,
        Request::MediaFile { file } => return media::file(node, &file).await,
        Request::MediaRemove { file } => return media::remove(node, &file).await,
        Request::Reload | Request::Status => return Err("that is not about accounts".to_owned()),
    }
    Ok(Answer::Done)
}

async fn list(
    node: &Arc<Node>,
    host: Option<String>,
    after: Option<String>,
) -> Result<Answer, String> {
    let host = match host {
        Some(host) => {
            let host = BareJid::new(None, &host)
                .map_err(|error| format!("{host:?} is not a domain: {error}"))?;
            Some(ours(node, host)?)
        }
        None => None,
    };
    let after = after.map(|after| parse(&after)).transpose()?;
    let found = node
        .accounts()
        .list(host.as_ref().map(BareJid::domain), after.as_ref(), PAGE)
        .await
        .map_err(|error| error.to_string())?;
    Ok(Answer::Accounts {
        more: found.len() == PAGE,
        accounts: found.iter().map(ToString::to_string).collect(),
    })
}

fn account_of(node: &Node, address: &str) -> Result<BareJid, String> {
    ours(node, parse(address)?)
}

fn parse(address: &str) -> Result<BareJid, String> {
    BareJid::parse(address).map_err(|error| format!("{address:?} is not an address: {error}"))
}

fn ours(node: &Node, address: BareJid) -> Result<BareJid, String> {
    if node.config().host(address.domain()).is_some() {
        return Ok(address);
    }
    let config = node.config();
    let hosts: Vec<_> = config
        .hosts
        .iter()
        .map(|host| host.domain.as_str())
        .collect();
    Err(format!(
        "{} is not a host of this server; its hosts are: {}",
        address.domain(),
        hosts.join(", ")
    ))
}

/// A heart on the idle store, in this process.
pub(crate) struct LocalDesk {
    node: Arc<Node>,
    store: Arc<Embedded>,
    runtime: Runtime,
    _lock: DirectoryLock,
}

impl LocalDesk {
    /// Opens the store, under the lock that a running server holds.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let lock = DirectoryLock::take(&config.storage.directory)?;
        let runtime = Runtime::new().context("cannot start worker threads")?;
        let _inside = runtime.enter();
        let store = store::open(config).context("cannot open the store")?;
        let heart = wiring::heart_config(config, &wiring::configured(config));
        let node = Node::new(
            heart,
            store.clone(),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        );
        Ok(Self {
            node,
            store,
            runtime,
            _lock: lock,
        })
    }

    pub(crate) fn ask(&self, request: Request) -> Answer {
        self.runtime.block_on(carry_out(&self.node, request))
    }

    /// Makes everything durable and lets go of the store.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        self.runtime
            .block_on(self.store.close())
            .context("cannot close the store")
    }
}
