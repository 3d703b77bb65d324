//! Two gates that talk to each other over loopback: capulet.example, where Juliet lives, and montague.example, Romeo's
//! home. And what becomes of a stanza when they cannot.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use posthaste_gate::{
    Gate, GateConfig, HostCertificate, KnownHost, ListenerConfig, ListenerKind, Routes,
    ServersConfig, TlsConfig, TransportKind,
};
use posthaste_im::binding::ResourceWish;
use posthaste_im::clock::{Clock, Entropy, Timestamp};
use posthaste_im::config::{Config, HostConfig, Keep};
use posthaste_im::connection::{Connection, Outbound, Wire};
use posthaste_im::node::Node;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Secret;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Limits, StreamContext};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Longer than anything takes here; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);
const CAPULET: &str = "capulet.example";
const MONTAGUE: &str = "montague.example";

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(u64::try_from(since.as_millis()).unwrap())
    }
}

/// Numbers that are different each time, in each server.
struct TestEntropy(AtomicU64);

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let next = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            *byte = (next >> 32).to_le_bytes()[0];
        }
    }
}

/// Whose certificates are whose, and where the servers are.
struct Verona {
    folder: TempDir,
    authority: (CertificateParams, KeyPair),
    capulet: SocketAddr,
    montague: SocketAddr,
}

/// How a server is set up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// A certificate that both trust.
    Certificate,
    /// One that nobody knows.
    SelfSigned,
}

impl Verona {
    fn new() -> Verona {
        let folder = TempDir::new().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("authority.pem"), certificate.pem()).unwrap();
        // Each has an address of its own: on a shared one, ports that are free now may be taken by the time when a
        // server listens.
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let free = || {
            let address = Ipv4Addr::new(127, high.max(1), low, number);
            let listener = TcpListener::bind((address, 0)).unwrap();
            listener.local_addr().unwrap()
        };
        Verona {
            folder,
            authority: (params, key),
            capulet: free(),
            montague: free(),
        }
    }

    fn certificate(&self, domain: &str, proof: Proof) -> HostCertificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![domain.to_owned()]).unwrap();
        let (authority, authority_key) = &self.authority;
        let certificate = match proof {
            Proof::Certificate => {
                let issuer = Issuer::from_params(authority, authority_key);
                params.signed_by(&key, &issuer).unwrap()
            }
            Proof::SelfSigned => params.self_signed(&key).unwrap(),
        };
        let file = |kind| self.folder.path().join(format!("{domain}.{kind}"));
        fs::write(file("pem"), certificate.pem()).unwrap();
        fs::write(file("key"), key.serialize_pem()).unwrap();
        HostCertificate {
            host: domain.to_owned(),
            certificate: file("pem"),
            key: file("key"),
        }
    }

    /// What a server knows of the others: where they are, and whom to trust.
    fn config(&self) -> ServersConfig {
        let known = |domain: &str, address: SocketAddr| KnownHost {
            domain: domain.to_owned(),
            host: address.ip().to_string(),
            port: address.port(),
            // Each way has another kind of TLS.
            direct_tls: domain == CAPULET,
        };
        ServersConfig {
            authorities: Some(self.folder.path().join("authority.pem")),
            hosts: vec![known(CAPULET, self.capulet), known(MONTAGUE, self.montague)],
            longest_pause: Duration::from_secs(1),
            ..ServersConfig::default()
        }
    }

    async fn server(&self, domain: &str, proof: Proof, servers: ServersConfig) -> Server {
        let (address, kind, user) = match domain {
            CAPULET => (self.capulet, ListenerKind::ServersTls, "juliet"),
            _ => (self.montague, ListenerKind::Servers, "romeo"),
        };
        let host = HostConfig {
            domain: BareJid::parse(domain).unwrap(),
            keep: Keep::Forever,
            registration: false,
            media_base: None,
            admins: Vec::new(),
            public_vcards: false,
            services: Vec::new(),
        };
        let config = Config {
            hosts: vec![host],
            ..Config::default()
        };
        let seed = u64::from(address.port()) << 32;
        let node = Node::new(
            config,
            Arc::new(MemoryKv::new()),
            Arc::new(SystemClock),
            Arc::new(TestEntropy(AtomicU64::new(seed))),
        );
        let account = BareJid::new(Some(user), domain).unwrap();
        let secret = Secret::from("secret");
        node.create_account(&account, &secret).await.unwrap();
        let config = GateConfig {
            listeners: vec![ListenerConfig { address, kind }],
            tls: Some(TlsConfig {
                hosts: vec![self.certificate(domain, proof)],
                client_authorities: None,
            }),
            servers: Some(servers),
            ..GateConfig::default()
        };
        let gate = Gate::start(Arc::clone(&node), config, Routes::default());
        let gate = gate.await.unwrap();
        let connection = node.bind(&account, &ResourceWish::Any).await.unwrap();
        let unread = Vec::new();
        let mut person = Server {
            gate,
            connection,
            unread,
        };
        person.send("<presence/>").await;
        person
    }

    async fn both(&self, proof: Proof) -> (Server, Server) {
        let capulet = self.server(CAPULET, proof, self.config()).await;
        let montague = self.server(MONTAGUE, proof, self.config()).await;
        (capulet, montague)
    }
}

/// A server with the one person who lives there, online.
struct Server {
    gate: Gate,
    connection: Connection,
    /// What has come and has not been asked for.
    unread: Vec<String>,
}

struct Collected(Vec<String>);

impl Wire for Collected {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn element(&mut self, xml: &[u8]) {
        self.0.push(String::from_utf8(xml.to_vec()).unwrap());
    }
}

impl Server {
    async fn send(&mut self, xml: &str) {
        let stanza = Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client());
        self.connection.receive(stanza.unwrap()).await.unwrap();
    }

    async fn says(&mut self, to: &str, text: &str) {
        self.send(&format!(
            "<message to='{to}' type='chat' id='{text}'><body>{text}</body></message>"
        ))
        .await;
    }

    /// The next stanza with all these parts.
    async fn hears(&mut self, parts: &[&str]) -> String {
        let until = Instant::now() + PATIENCE;
        let mut seen = Collected(std::mem::take(&mut self.unread));
        loop {
            let mut context = Context::from_waker(Waker::noop());
            match self.connection.poll_outbound(&mut context, &mut seen) {
                Poll::Ready(Outbound::Work) => self.connection.work().await,
                Poll::Ready(Outbound::Close(error)) => panic!("{error:?}"),
                Poll::Pending => {
                    let has_all = |xml: &String| parts.iter().all(|part| xml.contains(part));
                    if let Some(place) = seen.0.iter().position(has_all) {
                        let found = seen.0.remove(place);
                        self.unread = seen.0;
                        return found;
                    }
                    assert!(Instant::now() < until, "no {parts:?} in {:?}", seen.0);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    /// Waits until the gate has so many streams of a kind.
    async fn has(&self, kind: TransportKind, count: i64) {
        let until = Instant::now() + PATIENCE;
        while self.gate.stats().open(kind) != count {
            assert!(Instant::now() < until, "{}", self.gate.stats().open(kind));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn queued(&self) -> u64 {
        self.gate.stats().servers_queued.load(Ordering::Relaxed)
    }
}

const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@montague.example";

async fn converse(capulet: &mut Server, montague: &mut Server) {
    capulet.says(ROMEO, "wherefore").await;
    montague
        .hears(&["wherefore", "from='juliet@capulet.example/"])
        .await;
    montague.says(JULIET, "I-know-not").await;
    capulet
        .hears(&["I-know-not", "from='romeo@montague.example/"])
        .await;
}

#[tokio::test]
async fn two_servers_with_certificates_need_no_dialback() {
    let verona = Verona::new();
    let strict = || ServersConfig {
        dialback: false,
        ..verona.config()
    };
    let mut capulet = verona.server(CAPULET, Proof::Certificate, strict()).await;
    let mut montague = verona.server(MONTAGUE, Proof::Certificate, strict()).await;
    converse(&mut capulet, &mut montague).await;
    // One stream each way, and all that was sent is acknowledged.
    capulet.has(TransportKind::ServerIn, 1).await;
    capulet.has(TransportKind::ServerOut, 1).await;
    let until = Instant::now() + PATIENCE;
    while capulet.queued() + montague.queued() > 0 {
        assert!(Instant::now() < until, "not acknowledged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        capulet
            .gate
            .stats()
            .servers_stanzas_out
            .load(Ordering::Relaxed),
        1
    );
}

#[tokio::test]
async fn without_certificates_dialback_does() {
    let verona = Verona::new();
    let (mut capulet, mut montague) = verona.both(Proof::SelfSigned).await;
    converse(&mut capulet, &mut montague).await;
}

#[tokio::test]
async fn a_server_that_wants_certificates_takes_and_gives_none_else() {
    let verona = Verona::new();
    let strict = ServersConfig {
        dialback: false,
        ..verona.config()
    };
    let mut capulet = verona.server(CAPULET, Proof::SelfSigned, strict).await;
    let mut montague = verona
        .server(MONTAGUE, Proof::SelfSigned, verona.config())
        .await;
    let refused = ["type='error'", "remote-server-timeout"];
    capulet.says(ROMEO, "one").await;
    capulet.hears(&refused).await;
    montague.says(JULIET, "two").await;
    montague.hears(&refused).await;
}

#[tokio::test]
async fn a_denied_domain_is_neither_spoken_to_nor_heard() {
    let verona = Verona::new();
    let proud = ServersConfig {
        deny: vec!["example".to_owned()],
        ..verona.config()
    };
    let mut capulet = verona.server(CAPULET, Proof::Certificate, proud).await;
    let mut montague = verona
        .server(MONTAGUE, Proof::Certificate, verona.config())
        .await;
    capulet.says(ROMEO, "one").await;
    capulet.hears(&["type='error'", "not-allowed"]).await;
    montague.says(JULIET, "two").await;
    montague
        .hears(&["type='error'", "remote-server-timeout"])
        .await;
}

#[tokio::test]
async fn what_waits_for_a_server_is_bounded_in_number_and_in_time() {
    let verona = Verona::new();
    let impatient = ServersConfig {
        queue_stanzas: 2,
        queue_time: Duration::from_secs(2),
        ..verona.config()
    };
    let mut capulet = verona.server(CAPULET, Proof::Certificate, impatient).await;
    for text in ["one", "two", "three"] {
        capulet.says(ROMEO, text).await;
    }
    capulet
        .hears(&["id='three'", "type='error'", "resource-constraint"])
        .await;
    assert_eq!(capulet.queued(), 2);
    capulet
        .hears(&["id='one'", "type='error'", "remote-server-timeout"])
        .await;
    let returned = &capulet.gate.stats().servers_returned;
    let until = Instant::now() + PATIENCE;
    while returned.load(Ordering::Relaxed) < 2 {
        assert!(Instant::now() < until, "the second does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(capulet.queued(), 0);
}

#[tokio::test]
async fn so_many_domains_may_be_waited_for_and_so_many_bytes_in_all() {
    let verona = Verona::new();
    for (bound, error) in [
        (
            ServersConfig {
                streams: 1,
                ..verona.config()
            },
            "resource-constraint",
        ),
        (
            ServersConfig {
                total_bytes: 800,
                ..verona.config()
            },
            "resource-constraint",
        ),
    ] {
        let mut capulet = verona.server(CAPULET, Proof::Certificate, bound).await;
        capulet.says(ROMEO, "first").await;
        capulet.says("paris@verona.example", "second").await;
        capulet.hears(&["id='second'", "type='error'", error]).await;
        assert_eq!(capulet.queued(), 1);
        capulet.gate.drain(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_message_waits_for_a_server_that_comes_up_later() {
    let verona = Verona::new();
    let mut capulet = verona
        .server(CAPULET, Proof::Certificate, verona.config())
        .await;
    for text in ["one", "two", "three"] {
        capulet.says(ROMEO, text).await;
    }
    let mut montague = verona
        .server(MONTAGUE, Proof::Certificate, verona.config())
        .await;
    for text in ["one", "two", "three"] {
        montague.hears(&[text]).await;
    }
}

#[tokio::test]
async fn a_silent_stream_is_closed_and_opened_again_when_it_is_needed() {
    let verona = Verona::new();
    let terse = ServersConfig {
        idle: Duration::from_secs(1),
        ..verona.config()
    };
    let mut capulet = verona.server(CAPULET, Proof::Certificate, terse).await;
    let mut montague = verona
        .server(MONTAGUE, Proof::Certificate, verona.config())
        .await;
    capulet.says(ROMEO, "first").await;
    montague.hears(&["first"]).await;
    capulet.has(TransportKind::ServerOut, 0).await;
    montague.has(TransportKind::ServerIn, 0).await;
    capulet.says(ROMEO, "second").await;
    montague.hears(&["second"]).await;
}
