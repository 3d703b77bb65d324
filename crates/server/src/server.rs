//! The running server's state, and what can be asked of it: by the admin socket, by Prometheus.

use crate::admin::{Answer, Handler, Request, Status};
use crate::cli::Source;
use crate::config::{self, Config, ConfigError};
use crate::generation::Generation;
use crate::log::LogControl;
use crate::metrics::{self, Page, Survey, exposition};
use crate::{desk, wiring};
use futures_util::future::BoxFuture;
use posthaste_kv::Kv as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

/// What lives as long as the process.
pub(crate) struct Server {
    source: Source,
    config: RwLock<Arc<Config>>,
    state: RwLock<State>,
    log: LogControl,
    started: Instant,
    /// Where the metrics are, once their listeners are open.
    pub(crate) metrics: OnceLock<Vec<SocketAddr>>,
    /// How often the store failed since the start.
    pub(crate) store_failures: AtomicU64,
}

/// What the server is doing.
#[derive(Clone)]
pub(crate) enum State {
    Starting,
    Serving(Arc<Generation>),
    /// The store failed; it is opened again with pauses between the attempts.
    StoreFailed(String),
    Draining,
}

impl State {
    fn describe(&self) -> String {
        match self {
            Self::Starting => "starting".to_owned(),
            Self::Serving(_) => "serving".to_owned(),
            Self::StoreFailed(why) => format!("store failed: {why}"),
            Self::Draining => "draining".to_owned(),
        }
    }
}

/// What a reload did.
pub(crate) struct Reloaded {
    pub(crate) changes: config::Changes,
    /// Files that could not be read; what they held before stays in use.
    pub(crate) certificate_errors: Vec<String>,
}

impl Server {
    pub(crate) fn new(source: Source, config: Config, log: LogControl) -> Arc<Self> {
        Arc::new(Self {
            source,
            config: RwLock::new(Arc::new(config)),
            state: RwLock::new(State::Starting),
            log,
            started: Instant::now(),
            metrics: OnceLock::new(),
            store_failures: AtomicU64::new(0),
        })
    }

    /// Whether this is the development configuration.
    pub(crate) fn is_development(&self) -> bool {
        self.source.dev
    }

    /// The configuration now.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn enter(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn state(&self) -> State {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What serves, if anything does.
    fn serving(&self) -> Option<Arc<Generation>> {
        match self.state() {
            State::Serving(generation) => Some(generation),
            State::Starting | State::StoreFailed(_) | State::Draining => None,
        }
    }

    /// Reads the configuration file again and takes what can be taken without a restart.
    pub(crate) fn reload(&self) -> Result<Reloaded, ConfigError> {
        let new = self.source.read()?;
        let old = self.config();
        let changes = config::changes(&old, &new);
        let taken = old.reloaded(&new);
        self.log.set_level(&taken.log.level);
        let mut certificate_errors = Vec::new();
        if let Some(generation) = self.serving() {
            let errors = generation.reconfigure(&taken);
            certificate_errors = errors.iter().map(ToString::to_string).collect();
        }
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(taken);
        tracing::info!(taken = ?changes.taken, "the configuration was read again");
        if !changes.waiting.is_empty() {
            tracing::warn!(waiting = ?changes.waiting, "these changes need a restart");
        }
        for error in &certificate_errors {
            tracing::warn!(%error, "a certificate stays as it was");
        }
        Ok(Reloaded {
            changes,
            certificate_errors,
        })
    }

    fn status(&self) -> Status {
        let state = self.state();
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            state: state.describe(),
            hosts: self
                .config()
                .hosts
                .iter()
                .map(|host| host.domain.to_string())
                .collect(),
            metrics: self
                .metrics
                .get()
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect(),
            memory_bytes: metrics::resident_bytes(),
            ..Status::default()
        };
        if let State::Serving(generation) = state {
            status.listening = wiring::listening(&generation.addresses);
            let survey = Survey::of(&generation.node);
            status.sessions = survey.connected;
            status.resumable_sessions = survey.resumable;
            status.queued_stanzas = survey.queued;
            status.longest_queue_stanzas = survey.longest_queue;
            status.store_bytes = generation.store.size_bytes();
        }
        status
    }

    /// The metrics page.
    pub(crate) fn render(&self) -> String {
        let mut page = Page::default();
        let serving = self.serving();
        let failures = self.store_failures.load(Ordering::Relaxed);
        exposition::process(
            &mut page,
            self.started.elapsed(),
            failures,
            serving.is_some(),
        );
        if let Some(generation) = serving {
            exposition::generation(&mut page, &generation);
        }
        page.finish()
    }

    async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Status => Answer::Status(self.status()),
            Request::Reload => match self.reload() {
                Ok(reloaded) if reloaded.certificate_errors.is_empty() => Answer::Reloaded {
                    taken: reloaded.changes.taken,
                    waiting: reloaded.changes.waiting,
                },
                Ok(reloaded) => Answer::Refused(reloaded.certificate_errors.join("\n")),
                Err(error) => Answer::Refused(error.to_string()),
            },
            about_accounts => match self.serving() {
                Some(generation) => desk::carry_out(&generation.node, about_accounts).await,
                None => Answer::Refused(format!("not now: {}", self.state().describe())),
            },
        }
    }
}

impl Handler for Server {
    fn handle(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(self.answer(request))
    }
}
