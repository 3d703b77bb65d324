//! `posthaste run`: starting, serving, going through failures of the store, and ending.

use crate::admin::{AdminSocket, Handler};
use crate::cli::Source;
use crate::config::Config;
use crate::generation::Generation;
use crate::lock::DirectoryLock;
use crate::metrics::MetricsListener;
use crate::server::{Server, State};
use crate::signals::{Said, Signals};
use crate::{log, media, welcome, wiring};
use anyhow::{Context as _, bail};
use posthaste_im::orders::Order;
use posthaste_kv::Kv as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

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
    let runtime = runtime
        .enable_all()
        .build()
        .context("cannot start worker threads")?;
    let result = runtime.block_on(serve(Server::new(source, config, log)));
    // A thread that is stuck in a system call must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result? {
        Ended::Restarted => Err(begin_anew()),
        Ended::Stopped | Ended::StoreFailed => Ok(()),
    }
}

/// The same program in the same process, as the administrator ordered: whoever supervises it sees no end. The lock,
/// the sockets and the store's files are closed by that. Returns only if it cannot be done.
fn begin_anew() -> anyhow::Error {
    use std::os::unix::process::CommandExt as _;
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            return anyhow::Error::new(error).context("cannot find this program to start it again");
        }
    };
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context("cannot start this program again")
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

async fn serve(server: Arc<Server>) -> anyhow::Result<Ended> {
    let mut signals = Signals::take().context("cannot listen to signals")?;
    let config = server.config();
    let _admin = admin_socket(&server, &config)?;
    metrics_listeners(&server, &config).await?;
    let mut generation = Arc::new(Generation::open(&config).await?);
    welcome::warn_of_self_signed(&config);
    media::warn_of_loopback(&config, &generation.addresses);
    let mut pause = PAUSE_LEAST;
    loop {
        server.enter(State::Serving(Arc::clone(&generation)));
        welcome::announce(&server, &generation.addresses)?;
        let since = Instant::now();
        match attend(&server, &generation, &mut signals).await {
            ended @ (Ended::Stopped | Ended::Restarted) => {
                return stop(&server, &generation, &mut signals)
                    .await
                    .map(|()| ended);
            }
            Ended::StoreFailed => {}
        }
        if since.elapsed() >= GOOD_LIFE {
            pause = PAUSE_LEAST;
        }
        give_up(&server, &generation).await;
        drop(generation);
        match reopen(&server, &mut signals, &mut pause).await {
            Some(opened) => generation = Arc::new(opened),
            None => return Ok(Ended::Stopped),
        }
    }
}

/// The socket of `posthaste user`, `reload` and `status`; its file goes with the answer.
fn admin_socket(server: &Arc<Server>, config: &Config) -> anyhow::Result<JoinHandle<()>> {
    let path = config.admin_socket();
    let socket = AdminSocket::bind(&path).map_err(|error| {
        let what = format!("cannot listen at {}: {error}", path.display());
        config.origins.blame("admin.socket", what)
    })?;
    let handler: Arc<dyn Handler> = server.clone();
    Ok(tokio::spawn(async move { socket.serve(handler).await }))
}

/// Starts the metrics listeners.
async fn metrics_listeners(server: &Arc<Server>, config: &Config) -> anyhow::Result<()> {
    let mut addresses = Vec::new();
    for address in &config.listen.metrics {
        let listener = MetricsListener::bind(*address).await.map_err(|error| {
            let what = format!("cannot listen on {address}: {error}");
            config.origins.blame("listen.metrics", what)
        })?;
        addresses.push(listener.address()?);
        let asked = Arc::clone(server);
        tokio::spawn(listener.serve(Arc::new(move || asked.render())));
    }
    // Nobody else sets it: this is the only start.
    let _ = server.metrics.set(addresses);
    Ok(())
}

/// Why serving came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Stopped,
    /// An administrator wants it to begin anew (XEP-0133 §4.30).
    Restarted,
    StoreFailed,
}

/// Serves until a signal or an administrator says stop, or the store fails.
async fn attend(server: &Server, generation: &Generation, signals: &mut Signals) -> Ended {
    let line = Arc::clone(generation.store.line());
    loop {
        tokio::select! {
            said = signals.next() => match said {
                Said::Stop => return Ended::Stopped,
                // `reload` logs what it did; without an administrator to tell, so is the error.
                Said::Reload => {
                    if let Err(error) = server.reload() {
                        tracing::warn!(%error, "the configuration stays as it was");
                    }
                }
            },
            order = generation.node.ordered() => return match order {
                Order::ShutDown => Ended::Stopped,
                Order::Restart => Ended::Restarted,
            },
            () = line.wait_failed() => return Ended::StoreFailed,
        }
    }
}

/// The polite end; a second signal cuts it short.
async fn stop(
    server: &Server,
    generation: &Generation,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    server.enter(State::Draining);
    let within = server.config().server.drain_timeout;
    tracing::info!(
        ?within,
        "stopping: streams are closed so that clients can resume them"
    );
    let hurried = async { while signals.next().await != Said::Stop {} };
    tokio::select! {
        whole = generation.drain(within) => {
            if !whole {
                bail!("not everything could be brought to the disk; the log says why");
            }
            tracing::info!("stopped");
            Ok(())
        }
        () = hurried => bail!("stopped at once by a second signal; nothing acknowledged is lost"),
    }
}

/// Drops everything that hangs on a store that failed, and says so to the operator.
async fn give_up(server: &Server, generation: &Generation) {
    server.store_failures.fetch_add(1, Ordering::Relaxed);
    server.enter(State::StoreFailed("a write or a sync failed".to_owned()));
    tracing::error!(
        directory = %server.config().storage.directory.display(),
        "the store failed: a write or a sync of the disk went wrong. Every session is dropped, \
         nothing acknowledged is lost, and the store will be opened again. Look at the kernel's \
         log and at the disk's health and free space"
    );
    generation.abandon().await;
}

/// Opens everything again, as often as it takes; `None` when a signal says stop first.
async fn reopen(
    server: &Server,
    signals: &mut Signals,
    pause: &mut Duration,
) -> Option<Generation> {
    loop {
        tracing::info!(?pause, "the store will be opened again");
        if pause_or_stop(*pause, signals).await == Ended::Stopped {
            return None;
        }
        *pause = (*pause * 2).min(PAUSE_MOST);
        match Generation::open(&server.config()).await {
            Ok(generation) => return Some(generation),
            Err(error) => {
                tracing::error!(%error, "clients cannot be served yet");
                server.enter(State::StoreFailed(error.to_string()));
            }
        }
    }
}

async fn pause_or_stop(pause: Duration, signals: &mut Signals) -> Ended {
    let over = tokio::time::sleep(pause);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return Ended::StoreFailed,
            said = signals.next() => if said == Said::Stop {
                return Ended::Stopped;
            },
        }
    }
}
