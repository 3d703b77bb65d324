//! `posthaste run`: starting, serving, going through failures of the store, and ending.

use crate::admin::AdminSocket;
use crate::cli::Source;
use crate::config::Config;
use crate::generation::{Generation, StartError};
use crate::lock::DirectoryLock;
use crate::metrics::MetricsListener;
use crate::server::{Server, State};
use crate::signals::{Said, Signals};
use crate::{log, welcome, wiring};
use anyhow::{Context as _, bail};
use posthaste_kv::Kv as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The pause before the store is opened again, doubled after each failure in a row.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// A store that has served this long before it failed did not fail "in a row".
const GOOD_LIFE: Duration = Duration::from_secs(60);

/// Runs the server until a signal ends it.
pub(crate) fn run(config: Config, source: Source) -> anyhow::Result<()> {
    let log = log::start(&config.log);
    // Held to the end of the process, also while the store is closed between two attempts.
    let _lock = DirectoryLock::take(&config.storage.directory)?;
    raise_descriptor_limit();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.server.threads > 0 {
        runtime.worker_threads(wiring::size(config.server.threads));
    }
    let runtime = runtime.enable_all().build().context("cannot start worker threads")?;
    let result = runtime.block_on(serve(Server::new(source, config, log)));
    // A thread that is stuck in a system call must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Every connection is a file descriptor, and the usual soft limit is 1024. The hard limit is the
/// operator's word.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files cannot be raised; connections may be refused");
    }
}

async fn serve(server: Arc<Server>) -> anyhow::Result<()> {
    let mut signals = Signals::take().context("cannot listen to signals")?;
    let config = server.config();
    let _admin = admin_socket(&server, &config)?;
    let metrics = metrics_listeners(&server, &config).await?;
    let mut generation = Arc::new(Generation::open(&config).await?);
    let mut pause = PAUSE_LEAST;
    loop {
        server.enter(State::Serving(Arc::clone(&generation)));
        welcome::announce(&server, &generation.gate, &metrics)?;
        let since = Instant::now();
        if attend(&server, &generation, &mut signals).await == Ended::Stopped {
            return stop(&server, &generation, &mut signals).await;
        }
        if since.elapsed() >= GOOD_LIFE {
            pause = PAUSE_LEAST;
        }
        give_up(&server, &generation).await;
        drop(generation);
        match reopen(&server, &mut signals, &mut pause).await {
            Some(opened) => generation = Arc::new(opened),
            None => return Ok(()),
        }
    }
}
