//! One life of the store: the store, the heart on it and the gate before them, opened together and
//! given up together.

use crate::certificate::CertificateError;
use crate::config::{Complaint, Config};
use crate::media::{self, Caretaker};
use crate::system::{SystemClock, SystemEntropy};
use crate::{store, wiring};
use posthaste_engine_embedded::{Embedded, OpenError};
use posthaste_gate::{Gate, GateError, GateStats, ListenerKind, Routes};
use posthaste_im::node::Node;
use posthaste_kv::Kv as _;
use posthaste_media::{MediaService, StoreError};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Time for the store to make the last commits durable and close. A disk that has not done it by
/// then does not answer.
const CLOSING_PATIENCE: Duration = Duration::from_secs(30);

/// What serves.
pub(crate) struct Generation {
    pub(crate) store: Arc<Embedded>,
    pub(crate) node: Arc<Node>,
    pub(crate) gate_stats: Arc<GateStats>,
    pub(crate) addresses: Vec<(ListenerKind, SocketAddr)>,
    /// Taken out when its doors are closed.
    gate: Mutex<Option<Gate>>,
    /// What serves uploaded files, where they can be uploaded.
    pub(crate) media: Option<Arc<MediaService>>,
    caretaker: Mutex<Option<Caretaker>>,
    house: JoinHandle<()>,
}

/// Why nothing serves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// We are misconfigured: an address is taken, or a certificate cannot be used.
    #[error(transparent)]
    Configuration(#[from] Complaint),
    /// We cannot keep a self-signed certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The disk, or what is on it.
    #[error("cannot open the store: {0}")]
    Store(#[from] OpenError),
    /// The folder of uploaded files.
    #[error(
        "cannot use {folder}, where uploaded files lie: {error}; it has to be a folder that the server's own user may write to"
    )]
    Media { folder: String, error: StoreError },
    /// We are misconfigured: what is said of the service of uploaded files makes no sense.
    #[error("cannot use the service of uploaded files: {0}; look at [s3] in the configuration")]
    MediaService(StoreError),
    /// A bug of ours.
    #[error("opening the store panicked")]
    Panicked,
}

impl Generation {
    /// Opens everything; whoever can connect is served when this returns.
    pub(crate) async fn open(config: &Arc<Config>) -> Result<Self, StartError> {
        let gate_config = wiring::gate_config(config)?;
        let for_thread = Arc::clone(config);
        let store = spawn_blocking(move || store::open(&for_thread))
            .await
            .map_err(|_| StartError::Panicked)??;
        let node = Node::new(
            wiring::heart_config(config, &wiring::configured(config)),
            store.clone(),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        );
        // Before anyone connects: sessions that nobody resumes end in time, too, and their contacts see it.
        if let Err(error) = node.restore_sessions().await {
            tracing::warn!(%error, "stored sessions wait until their accounts are used");
        }
        let files = match media::open(config).await {
            Ok(files) => files,
            Err(error) => {
                close_store(&store).await;
                return Err(match error {
                    error @ StoreError::Settings(_) => StartError::MediaService(error),
                    error => StartError::Media {
                        folder: media::folder(config).display().to_string(),
                        error,
                    },
                });
            }
        };
        let service = files
            .as_ref()
            .map(|files| Arc::new(MediaService::new(node.clone(), Arc::clone(files))));
        let routes = match &service {
            Some(service) => {
                Routes::default().with(posthaste_media::service::PATH, service.clone())
            }
            None => Routes::default(),
        };
        match Gate::start(node.clone(), gate_config, routes).await {
            Ok(gate) => {
                // A port that was any free one is known now.
                let addresses = gate.addresses().to_vec();
                node.reconfigure(wiring::heart_config(config, &addresses));
                let caretaker = files.as_ref().map(|files| Caretaker::start(&node, files));
                Ok(Self {
                    house: tokio::spawn(node.clone().keep_house()),
                    store,
                    node,
                    gate_stats: Arc::clone(gate.stats()),
                    addresses,
                    gate: Mutex::new(Some(gate)),
                    media: service,
                    caretaker: Mutex::new(caretaker),
                })
            }
            Err(error) => {
                close_store(&store).await;
                Err(wiring::blame(config, &error).into())
            }
        }
    }

    /// Takes what a running server can take of a new configuration, and reads certificates again.
    /// Answers the files that cannot be used; what they held before stays in use.
    pub(crate) fn reconfigure(&self, config: &Config) -> Vec<GateError> {
        self.node
            .reconfigure(wiring::heart_config(config, &self.addresses));
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gate) = &*gate else {
            return Vec::new();
        };
        gate.reload_certificates().err().unwrap_or_default()
    }

    /// The end of a good life: streams are closed so that they can be resumed, sessions and
    /// everything else go to the disk. Says whether all of it got there.
    pub(crate) async fn drain(&self, within: Duration) -> bool {
        self.close_doors(within).await;
        let stored = self.node.store_sessions().await;
        tracing::info!(sessions = stored, "sessions that can be resumed are stored");
        close_store(&self.store).await
    }

    /// The end after a failure of the store: every session is dropped, so that no client takes for
    /// stored what was not. Clients come back and send again what was not acknowledged.
    pub(crate) async fn abandon(&self) {
        self.close_doors(Duration::ZERO).await;
        close_store(&self.store).await;
    }

    async fn close_doors(&self, within: Duration) {
        let gate = self
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(gate) = gate {
            let left = gate.drain(within).await;
            if left > 0 {
                tracing::info!(
                    connections = left,
                    "connections that did not close in time were dropped"
                );
            }
        }
        let caretaker = self
            .caretaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(caretaker) = caretaker {
            caretaker.stop().await;
        }
        self.house.abort();
    }
}

async fn close_store(store: &Embedded) -> bool {
    match timeout(CLOSING_PATIENCE, store.close()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, "the store could not be closed cleanly; nothing acknowledged is lost by that");
            false
        }
        Err(_) => {
            tracing::error!(
                "the disk did not take the last writes in time; nothing acknowledged is lost by that"
            );
            false
        }
    }
}
