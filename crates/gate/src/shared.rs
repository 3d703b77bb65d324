//! What every connection of one gate shares, and how all of them are told to go.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use posthaste_im::node::Node;

use crate::admission::Admission;
use crate::bucket::Rate;
use crate::components::Components;
use crate::config::GateConfig;
use crate::http::bosh::{BOSH_PATH, Bosh};
use crate::http::{Http, Routes};
use crate::stats::GateStats;
use crate::tls::TlsStore;
use crate::wheel::{Tick, Timer, Wheel};

/// The inside of a gate.
pub(crate) struct Shared {
    pub(crate) node: Arc<Node>,
    pub(crate) config: GateConfig,
    pub(crate) tls: Option<Arc<TlsStore>>,
    pub(crate) http: Http,
    pub(crate) stats: Arc<GateStats>,
    pub(crate) wheel: Arc<Wheel>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) components: Components,
    /// The speed sessions are held to, if they are.
    pub(crate) rate: Option<Rate>,
    phase: AtomicU8,
}

/// What the gate is doing. Connections look at it whenever they are woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Serving.
    Open,
    /// Streams shall end so that they can be resumed.
    Draining,
    /// The time to drain is over: sockets are dropped as they are.
    Closed,
}

/// Why something that was waited for did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The deadline came first.
    Late,
    /// The gate is draining or closed.
    Draining,
}

impl Shared {
    pub(crate) fn new(
        node: Arc<Node>,
        config: GateConfig,
        routes: Routes,
        tls: Option<Arc<TlsStore>>,
    ) -> Arc<Shared> {
        let limits = &config.limits;
        let (head_timeout, write_stall, requests) = (
            limits.handshake_timeout,
            limits.write_stall,
            limits.http_requests_per_connection,
        );
        let rate = limits
            .bytes_per_second
            .map(|bytes| Rate::new(bytes, limits.burst_bytes));
        let stats = Arc::new(GateStats::default());
        let (most, most_per_address) = (limits.connections, limits.connections_per_address);
        Arc::new_cyclic(|shared| Shared {
            components: Components::open(&node, &config.components),
            node,
            tls,
            http: Http {
                config: config.http.clone(),
                routes: routes.with(BOSH_PATH, Arc::new(Bosh::new(Weak::clone(shared)))),
                head_timeout,
                write_stall,
                requests_per_connection: requests,
            },
            admission: Admission::new(most, most_per_address, Arc::clone(&stats)),
            stats,
            wheel: Wheel::new(),
            rate,
            phase: AtomicU8::new(Phase::Open as u8),
            config,
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    /// Goes on to a later phase. Connections see it at their next wake-up.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Release);
    }

    /// Waits until the gate is in `phase` or a later one.
    pub(crate) async fn reached(&self, timer: &mut Timer, phase: Phase) {
        // Any timer will do: the one that changes the phase wakes all that have one.
        const RARELY: Duration = Duration::from_secs(3_600);
        poll_fn(|context| match self.phase() >= phase {
            true => Poll::Ready(()),
            false => timer.poll_until(context, self.wheel.now().after(RARELY)),
        })
        .await;
    }

    /// Waits for `work` until `deadline` or the end of the open phase.
    pub(crate) async fn bounded<T>(
        &self,
        timer: &mut Timer,
        deadline: Tick,
        work: impl Future<Output = T>,
    ) -> Result<T, Cut> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.phase() != Phase::Open {
                return Poll::Ready(Err(Cut::Draining));
            }
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            timer.poll_until(context, deadline).map(|()| Err(Cut::Late))
        })
        .await
    }
}
