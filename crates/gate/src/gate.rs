//! Opening the doors, one connection's way from the socket to its session, and closing the doors.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use posthaste_im::node::Node;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::components;
use crate::config::{GateConfig, ListenerKind};
use crate::error::GateError;
use crate::http::{HttpPeer, Routes};
use crate::listen;
use crate::negotiate::negotiate;
use crate::servers::{self, Federation};
use crate::session::Session;
use crate::shared::{Phase, Shared};
use crate::stats::{GateStats, TransportKind};
use crate::tls::{ALPN_XMPP, TlsStore, TlsUse};
use crate::wheel::Timer;

/// How often a draining gate wakes those that have not heard of it.
const DRAIN_ROUND: Duration = Duration::from_millis(100);

/// Time for connections to notice that their time to drain is over. They drop their sockets and
/// tell the node, which waits for nobody.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Said to clients that are not let in, where the protocol allows to say it at once.
const REFUSAL: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='refused'><stream:error>\
    <resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
    </stream:stream>";

/// The open doors. Dropping it closes them at once; [`Gate::drain`] does it politely.
pub struct Gate {
    shared: Arc<Shared>,
    addresses: Vec<(ListenerKind, SocketAddr)>,
    listening: Vec<JoinHandle<()>>,
    turning: JoinHandle<()>,
}

impl Gate {
    /// Opens all doors: from now on clients can come to `node`. `routes` are the HTTP services
    /// besides our own.
    ///
    /// # Errors
    /// A certificate that cannot be used, or an address that cannot be listened on. Then nothing
    /// is open.
    pub async fn start(
        node: Arc<Node>,
        config: GateConfig,
        routes: Routes,
    ) -> Result<Gate, GateError> {
        let tls = config
            .tls
            .clone()
            .map(TlsStore::open)
            .transpose()?
            .map(Arc::new);
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let needs_tls = match listener.kind {
                ListenerKind::Xmpp | ListenerKind::Http | ListenerKind::Components => false,
                ListenerKind::XmppTls
                | ListenerKind::Https
                | ListenerKind::Servers
                | ListenerKind::ServersTls => true,
            };
            if needs_tls && tls.is_none() {
                return Err(GateError::NoCertificate {
                    address: listener.address,
                });
            }
            listeners.push((listener.kind, listen::open(listener)?));
        }
        let federation = match &config.servers {
            Some(servers) => Some(Federation::new(servers.clone(), &node)?),
            None => None,
        };
        let shared = Shared::new(node, config, routes, tls);
        if let Some(federation) = &federation {
            // Before anybody can send anything.
            federation.open(&shared);
        }
        let mut gate = Gate {
            addresses: Vec::new(),
            listening: Vec::new(),
            turning: tokio::spawn(Arc::clone(&shared.wheel).run()),
            shared,
        };
        for (kind, listener) in listeners {
            let address = listener.local_addr().map_err(|source| GateError::Listen {
                address: ([0; 4], 0).into(),
                source,
            })?;
            gate.addresses.push((kind, address));
            let (shared, federation) = (Arc::clone(&gate.shared), federation.clone());
            gate.listening.push(tokio::spawn(async move {
                let take = |tcp, peer| take(&shared, federation.as_ref(), kind, tcp, peer);
                listen::accept_all(listener, &shared.stats, take).await;
            }));
        }
        Ok(gate)
    }

    /// Where the gate listens, in the order of the configuration, with the ports that were chosen.
    pub fn addresses(&self) -> &[(ListenerKind, SocketAddr)] {
        &self.addresses
    }

    /// What the gate counts.
    pub fn stats(&self) -> &Arc<GateStats> {
        &self.shared.stats
    }

    /// Reads certificates again, without touching open connections.
    ///
    /// # Errors
    /// One for each file that cannot be used; what it held before stays in use.
    pub fn reload_certificates(&self) -> Result<(), Vec<GateError>> {
        self.shared
            .tls
            .as_ref()
            .map_or(Ok(()), |store| store.reload())
    }

    /// Closes the doors: accepts nobody any more and ends all streams so that they can be resumed.
    /// Connections that are open after `within` are dropped as they are. Answers how many.
    pub async fn drain(mut self, within: Duration) -> usize {
        for task in std::mem::take(&mut self.listening) {
            task.abort();
            // The socket is closed when the task is gone.
            let _ = task.await;
        }
        self.shared.advance(Phase::Draining);
        let until = Instant::now() + within;
        while Instant::now() < until {
            self.shared.wheel.wake_all();
            if self.is_empty(DRAIN_ROUND).await {
                return 0;
            }
        }
        let left = self.shared.admission.total();
        self.shared.advance(Phase::Closed);
        self.shared.wheel.wake_all();
        self.is_empty(CLOSE_TIME).await;
        left
    }

    async fn is_empty(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.shared.admission.empty())
            .await
            .is_ok()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
        self.shared.advance(Phase::Closed);
        self.shared.wheel.wake_all();
        self.turning.abort();
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Gate")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Lets a connection in, if there is room.
fn take(
    shared: &Arc<Shared>,
    federation: Option<&Arc<Federation>>,
    kind: ListenerKind,
    tcp: TcpStream,
    peer: SocketAddr,
) {
    let counted = match kind {
        ListenerKind::Xmpp | ListenerKind::Components => TransportKind::Tcp,
        ListenerKind::XmppTls => TransportKind::DirectTls,
        ListenerKind::Servers | ListenerKind::ServersTls => TransportKind::ServerIn,
        ListenerKind::Http | ListenerKind::Https => TransportKind::Http,
    };
    match shared.admission.admit(peer.ip(), counted) {
        Ok(permit) => {
            let limits = &shared.config.limits;
            // What fails here is a connection that is gone already, as its first read will show.
            let _ = listen::prepare(&tcp, limits.probe_timeout.max(limits.write_stall));
            if counted == TransportKind::Http {
                let _ = listen::bound_unsent(&tcp);
            }
            if kind == ListenerKind::Components {
                tokio::spawn(components::serve(Arc::clone(shared), permit, peer, tcp));
                return;
            }
            let channel = Channel::new(Arc::clone(shared), permit, peer, tcp);
            match (counted, federation) {
                (TransportKind::ServerIn, Some(federation)) => {
                    tokio::spawn(servers::serve(channel, kind, Arc::clone(federation)));
                }
                // A configuration that listens for servers without talking to them.
                (TransportKind::ServerIn, None) => {}
                _ => {
                    tokio::spawn(serve(channel, kind));
                }
            }
        }
        Err(_) if kind == ListenerKind::Xmpp => {
            // There is room for this in a fresh socket; if not, the client learns it from the end.
            let _ = SockRef::from(&tcp).send(REFUSAL);
        }
        Err(_) => {}
    }
}

/// One connection's life. What comes before the session is boxed, since it is large and short; the
/// session is, since inside of a future it would have its place several times over.
fn serve(channel: Channel, kind: ListenerKind) -> impl Future<Output = ()> + Send {
    let establishing = Box::pin(establish(channel, kind));
    async move {
        if let Some(mut session) = establishing.await {
            let end = session.run().await;
            Box::pin(session.finish(end)).await;
        }
    }
}

/// The life of a stream on a connection that is made and secured.
pub(crate) async fn serve_stream(channel: Channel) {
    let Some(negotiated) = Box::pin(negotiate(channel)).await else {
        return;
    };
    let mut session = Box::new(Session::new(negotiated));
    let end = session.run().await;
    Box::pin(session.finish(end)).await;
}

/// The way to a session; `None` when the connection ends before.
async fn establish(mut channel: Channel, kind: ListenerKind) -> Option<Box<Session>> {
    match kind {
        // Components and servers have gone another way.
        ListenerKind::Xmpp | ListenerKind::Components => {}
        ListenerKind::Servers | ListenerKind::ServersTls => return None,
        ListenerKind::XmppTls => Box::pin(channel.secure(TlsUse::Xmpp, None)).await.ok()?,
        ListenerKind::Http => channel = Box::pin(through_http(channel)).await?,
        ListenerKind::Https => {
            Box::pin(channel.secure(TlsUse::Http, None)).await.ok()?;
            match channel.tls.as_ref().and_then(|tls| tls.alpn.as_deref()) {
                Some(ALPN_XMPP) => channel.permit.becomes(TransportKind::DirectTls),
                Some(_) | None => channel = Box::pin(through_http(channel)).await?,
            }
        }
    }
    let negotiated = Box::pin(negotiate(channel)).await?;
    Some(Box::new(Session::new(negotiated)))
}

/// Serves HTTP until the connection has become a WebSocket.
async fn through_http(channel: Channel) -> Option<Channel> {
    let Channel {
        shared,
        permit,
        peer,
        tls,
        transport,
        ..
    } = channel;
    let from = HttpPeer {
        address: peer,
        secure: tls.is_some(),
    };
    let (mut draining, mut closed) = (Timer::new(&shared.wheel), Timer::new(&shared.wheel));
    let leave = shared.reached(&mut draining, Phase::Draining);
    let serving = shared.http.serve(transport, from, &shared.stats, leave);
    tokio::select! {
        upgraded = serving => {
            let (transport, unread) = upgraded?;
            let shared = Arc::clone(&shared);
            Some(Channel::web_socket(shared, permit, peer, tls, transport, &unread))
        }
        () = shared.reached(&mut closed, Phase::Closed) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::Limits;
    use crate::testing::World;

    /// The budget of an idle plain session is 4 KiB in all; this is the gate's part of it, with the
    /// session's handle inside. TLS adds its own state, boxed.
    #[tokio::test]
    async fn the_future_of_a_connection_is_small() {
        let world = World::new(Limits::default()).await;
        let (_client, channel) = world.channel(TransportKind::Tcp).await;
        let connection = serve(channel, ListenerKind::Xmpp);
        let bytes = size_of_val(&connection) + size_of::<Session>();
        assert!(bytes <= 640, "{bytes}");
    }

    /// What a connection costs while it logs in: a crowd that comes back after a restart does so
    /// all at once.
    #[tokio::test]
    async fn logging_in_costs_little_more() {
        let world = World::new(Limits::default()).await;
        let (_client, channel) = world.channel(TransportKind::Tcp).await;
        let bytes = size_of_val(&negotiate(channel));
        assert!(bytes <= 6_144, "{bytes}");
        let (_client, channel) = world.channel(TransportKind::Tcp).await;
        let bytes = size_of_val(&establish(channel, ListenerKind::Xmpp));
        assert!(bytes <= 1_024, "{bytes}");
    }
}
