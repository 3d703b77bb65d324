//! A gate without listeners for tests: Romeo and Juliet have accounts, and their connections start
//! where negotiation has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use posthaste_im::binding::ResourceWish;
use posthaste_im::clock::{Clock, Entropy, Timestamp};
use posthaste_im::config::{Config, HostConfig, Keep};
use posthaste_im::node::Node;
use posthaste_im::tables;
use posthaste_kv::memory::MemoryKv;
use posthaste_kv::{Batch, Kv, Partition};
use posthaste_proto::jid::BareJid;
use posthaste_proto::xml::StreamContext;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::channel::Channel;
use crate::config::{GateConfig, Limits};
use crate::http::Routes;
use crate::negotiate::Negotiated;
use crate::session::Session;
use crate::shared::Shared;
use crate::stats::TransportKind;

/// Longer than anything takes here; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_338_487_000)
    }
}

#[derive(Default)]
struct TestEntropy(AtomicU64);

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let next = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            *byte = (next >> 32).to_le_bytes()[0];
        }
    }
}

/// The inside of a gate, and a listener to connect to.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    listener: TcpListener,
    turning: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new(limits: Limits) -> World {
        World::on(Arc::new(MemoryKv::new()), limits).await
    }

    /// On a store whose durability the test decides.
    pub(crate) async fn on(kv: Arc<MemoryKv>, limits: Limits) -> World {
        let config = GateConfig {
            limits,
            ..GateConfig::default()
        };
        let shared = Shared::new(node(kv), config, Routes::default(), None);
        let turning = tokio::spawn(Arc::clone(&shared.wheel).run());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        World {
            shared,
            listener,
            turning,
        }
    }

    /// Both ends of a connection on which nothing has been said.
    pub(crate) async fn channel(&self, kind: TransportKind) -> (TcpStream, Channel) {
        let client = TcpStream::connect(self.listener.local_addr().unwrap())
            .await
            .unwrap();
        let (tcp, peer) = self.listener.accept().await.unwrap();
        // The less the kernel holds, the sooner a client that does not read is noticed.
        for stream in [&client, &tcp] {
            let socket = SockRef::from(stream);
            socket.set_send_buffer_size(16 * 1024).unwrap();
            socket.set_recv_buffer_size(16 * 1024).unwrap();
        }
        let permit = self.shared.admission.admit(peer.ip(), kind).unwrap();
        let channel = Channel::new(Arc::clone(&self.shared), permit, peer, tcp);
        (client, channel)
    }

    /// A client at the start of a session of `user`.
    pub(crate) async fn client(&self, user: &str) -> Client {
        self.client_of_kind(user, TransportKind::Tcp).await
    }

    pub(crate) async fn client_of_kind(&self, user: &str, kind: TransportKind) -> Client {
        let (mut client, mut channel) = self.channel(kind).await;
        let context = if kind == TransportKind::WebSocket {
            let Channel {
                shared,
                permit,
                peer,
                tls,
                transport,
                ..
            } = channel;
            channel = Channel::web_socket(shared, permit, peer, tls, transport, b"");
            StreamContext::framed(None)
        } else {
            let header = "<stream:stream xmlns='jabber:client' \
                xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
            client.write_all(header.as_bytes()).await.unwrap();
            channel.receive().await.unwrap();
            StreamContext::client()
        };
        let account = BareJid::parse(&format!("{user}@example.org")).unwrap();
        let wish = ResourceWish::Exactly("test".to_owned());
        let connection = self.shared.node.bind(&account, &wish).await.unwrap();
        let mut session = Box::new(Session::new(Negotiated {
            channel,
            connection,
            context,
        }));
        let session = async move {
            let end = session.run().await;
            session.finish(end).await;
        };
        Client {
            stream: client,
            session: tokio::spawn(session),
            unread: Vec::new(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.turning.abort();
    }
}

fn node(kv: Arc<MemoryKv>) -> Arc<Node> {
    for user in ["romeo", "juliet"] {
        let mut batch = Batch::new(Partition::new(format!("{user}@example.org")).unwrap());
        batch.put(
            Bytes::from_static(tables::ACCOUNT),
            Bytes::from_static(&[1]),
        );
        kv.commit(batch).unwrap();
    }
    let domain = BareJid::parse("example.org").unwrap();
    let host = HostConfig {
        domain,
        keep: Keep::Forever,
        registration: false,
        services: Vec::new(),
        media_base: None,
        admins: Vec::new(),
        public_vcards: false,
    };
    let config = Config {
        hosts: vec![host],
        ..Config::default()
    };
    Node::new(
        config,
        kv,
        Arc::new(TestClock),
        Arc::new(TestEntropy::default()),
    )
}

/// The client's end of a connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) session: JoinHandle<()>,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, xml: impl AsRef<[u8]>) {
        tokio::time::timeout(PATIENCE, self.stream.write_all(xml.as_ref()))
            .await
            .unwrap()
            .unwrap();
    }

    /// What comes, to the end of the first `end` in it.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let rest = self.unread.split_off(at + end.len());
                let text = std::mem::replace(&mut self.unread, rest);
                return String::from_utf8_lossy(&text).into_owned();
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
            let so_far = String::from_utf8_lossy(&self.unread).into_owned();
            let read = read
                .unwrap_or_else(|_| panic!("no {end:?} in {so_far:?}"))
                .unwrap();
            assert_ne!(read, 0, "the connection ended after {so_far:?}");
        }
    }

    /// What comes until the server closes the connection, and the end of the session.
    pub(crate) async fn drained(mut self) -> String {
        let mut rest = std::mem::take(&mut self.unread);
        let end = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        end.expect("the server closes the connection").unwrap();
        drop(self.stream);
        tokio::time::timeout(PATIENCE, self.session)
            .await
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }
}
