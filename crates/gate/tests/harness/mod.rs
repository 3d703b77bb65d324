//! A whole gate on loopback with its node in memory, and clients that speak bare XML over every
//! transport: Romeo sends, Juliet receives.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use posthaste_gate::{
    Gate, GateConfig, HostCertificate, Limits, ListenerConfig, ListenerKind, Routes, TlsConfig,
};
use posthaste_im::clock::{Clock, Entropy, Timestamp};
use posthaste_im::config::{Config, HostConfig, Keep};
use posthaste_im::node::Node;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Secret;
use posthaste_proto::websocket::{Decoder, Message, Opcode, Role, encode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Longer than anything takes here; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(u64::try_from(since.as_millis()).unwrap())
    }
}

/// Numbers that are different each time and the same in each run.
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

/// A gate for example.org, with a door of each kind. Romeo and Juliet have accounts with the
/// password `secret`.
pub(crate) struct World {
    pub(crate) gate: Option<Gate>,
    pub(crate) node: Arc<Node>,
    pub(crate) certificate: HostCertificate,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> World {
        let folder = TempDir::new().unwrap();
        let certificate = certificate(&folder);
        let node = node().await;
        let kinds = [
            ListenerKind::Xmpp,
            ListenerKind::XmppTls,
            ListenerKind::Http,
            ListenerKind::Https,
        ];
        let address = "127.0.0.1:0".parse().unwrap();
        let config = GateConfig {
            listeners: kinds.map(|kind| ListenerConfig { address, kind }).to_vec(),
            tls: Some(TlsConfig {
                hosts: vec![certificate.clone()],
                client_authorities: None,
            }),
            plaintext_on_loopback: true,
            limits,
            ..GateConfig::default()
        };
        let gate = Gate::start(Arc::clone(&node), config, Routes::default())
            .await
            .unwrap();
        World {
            gate: Some(gate),
            node,
            certificate,
            folder,
        }
    }

    pub(crate) fn gate(&self) -> &Gate {
        self.gate.as_ref().unwrap()
    }

    pub(crate) fn address(&self, kind: ListenerKind) -> SocketAddr {
        self.gate()
            .addresses()
            .iter()
            .find(|(found, _)| *found == kind)
            .unwrap()
            .1
    }

    pub(crate) async fn tcp(&self, kind: ListenerKind) -> TcpStream {
        TcpStream::connect(self.address(kind)).await.unwrap()
    }

    /// Writes another certificate in place of the old one.
    pub(crate) fn renew_certificate(&self) {
        certificate(&self.folder);
    }

    /// A TLS client over `tcp` that trusts the certificate as it is in its file now.
    pub(crate) async fn tls(
        &self,
        tcp: impl Io + 'static,
        alpn: &[&[u8]],
    ) -> std::io::Result<Box<dyn Io>> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&self.certificate.certificate).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from("example.org").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        Ok(Box::new(stream))
    }

    /// A connection over `transport` on which nothing of XMPP has been said.
    pub(crate) async fn connect(&self, transport: Transport) -> Client {
        match transport {
            Transport::Plain => Client::new(Box::new(self.tcp(ListenerKind::Xmpp).await), false),
            Transport::StartTls => {
                let plain = Client::new(Box::new(self.tcp(ListenerKind::Xmpp).await), false);
                let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
                plain.start_tls(self, starttls).await
            }
            Transport::DirectTls => {
                let tcp = self.tcp(ListenerKind::XmppTls).await;
                Client::new(self.tls(tcp, &[b"xmpp-client"]).await.unwrap(), false)
            }
            Transport::TlsOnHttps => {
                let tcp = self.tcp(ListenerKind::Https).await;
                Client::new(self.tls(tcp, &[b"xmpp-client"]).await.unwrap(), false)
            }
            Transport::WebSocket => {
                let tcp = self.tcp(ListenerKind::Http).await;
                Client::upgraded(Box::new(tcp)).await
            }
            Transport::SecureWebSocket => {
                let tcp = self.tcp(ListenerKind::Https).await;
                Client::upgraded(self.tls(tcp, &[b"http/1.1"]).await.unwrap()).await
            }
        }
    }

    /// `user`, logged in over `transport` with the resource `resource`.
    pub(crate) async fn online(&self, transport: Transport, user: &str, resource: &str) -> Client {
        let mut client = self.connect(transport).await;
        client.log_in(user, resource).await;
        client.send("<presence xmlns='jabber:client'/>").await;
        client.ping("online").await;
        client
    }
}

/// The ways to a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    StartTls,
    DirectTls,
    TlsOnHttps,
    WebSocket,
    SecureWebSocket,
}

impl Transport {
    pub(crate) const ALL: [Transport; 6] = [
        Transport::Plain,
        Transport::StartTls,
        Transport::DirectTls,
        Transport::TlsOnHttps,
        Transport::WebSocket,
        Transport::SecureWebSocket,
    ];
}

fn certificate(folder: &TempDir) -> HostCertificate {
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let made = rcgen::generate_simple_self_signed(vec!["example.org".to_owned()]).unwrap();
    std::fs::write(path("certificate.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let host = "example.org".to_owned();
    HostCertificate {
        host,
        certificate: path("certificate.pem"),
        key: path("key.pem"),
    }
}

async fn node() -> Arc<Node> {
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
    let kv = Arc::new(MemoryKv::new());
    let node = Node::new(
        config,
        kv,
        Arc::new(SystemClock),
        Arc::new(TestEntropy::default()),
    );
    for user in ["romeo", "juliet"] {
        let account = BareJid::parse(&format!("{user}@example.org")).unwrap();
        node.create_account(&account, &Secret::from("secret"))
            .await
            .unwrap();
    }
    node
}

/// A byte stream of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A client's end of a connection.
pub(crate) struct Client {
    io: Box<dyn Io>,
    web_socket: Option<Decoder>,
    /// Bytes of WebSocket frames that are not whole.
    frames: Vec<u8>,
    /// What has come and not been looked at.
    unread: String,
}

impl Client {
    pub(crate) fn new(io: Box<dyn Io>, web_socket: bool) -> Client {
        let web_socket = web_socket.then(|| Decoder::new(Role::Client));
        Client {
            io,
            web_socket,
            frames: Vec::new(),
            unread: String::new(),
        }
    }

    async fn upgraded(io: Box<dyn Io>) -> Client {
        let mut client = Client::new(io, false);
        client
            .send(
                "GET /xmpp-websocket HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Protocol: xmpp\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await;
        let head = client.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Client::new(client.io, true)
    }

    /// Sends an element; over WebSocket as a message.
    pub(crate) async fn send(&mut self, xml: &str) {
        let mut bytes = Vec::new();
        match self.web_socket {
            Some(_) => encode(&mut bytes, Opcode::Text, xml.as_bytes(), Some([1, 2, 3, 4])),
            None => bytes.extend_from_slice(xml.as_bytes()),
        }
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let sending = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        tokio::time::timeout(PATIENCE, sending)
            .await
            .unwrap()
            .unwrap();
    }

    /// What comes, to the end of the first `end` in it.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.unread.find(end) {
                let rest = self.unread.split_off(at + end.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            let more = tokio::time::timeout(PATIENCE, self.read()).await;
            let more = more.unwrap_or_else(|_| panic!("no {end:?} in {:?}", self.unread));
            assert!(
                more.unwrap(),
                "the connection ended after {:?}",
                self.unread
            );
        }
    }

    /// What comes until the server closes the connection.
    pub(crate) async fn drained(mut self) -> String {
        let reading = async { while self.read().await.unwrap_or(false) {} };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the server closes the connection");
        self.unread
    }

    /// Reads once; false at the end.
    async fn read(&mut self) -> std::io::Result<bool> {
        let mut bytes = vec![0; 4_096];
        let read = self.io.read(&mut bytes).await?;
        self.frames.extend_from_slice(&bytes[..read]);
        match &mut self.web_socket {
            None => {
                self.unread.push_str(&String::from_utf8_lossy(&self.frames));
                self.frames.clear();
            }
            Some(decoder) => loop {
                let decoded = decoder.decode(&mut self.frames, 1 << 20).unwrap();
                if let Some(Message::Text(text)) = &decoded.message {
                    self.unread.push_str(text);
                }
                let used = decoded.consumed;
                if used == 0 {
                    break;
                }
                self.frames.drain(..used);
            },
        }
        Ok(read > 0)
    }

    /// Opens a stream and reads the features.
    pub(crate) async fn open(&mut self) -> String {
        let open = match self.web_socket {
            Some(_) => {
                "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>"
            }
            None => {
                "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' \
                 xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            }
        };
        self.send(open).await;
        self.until("</stream:features>").await
    }

    /// Opens a stream and secures it; `starttls` is what asks for that, as it is sent.
    pub(crate) async fn start_tls(mut self, world: &World, starttls: &str) -> Client {
        self.open().await;
        self.send(starttls).await;
        self.until("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            .await;
        Client::new(world.tls(self.io, &[]).await.unwrap(), false)
    }

    /// Opens a stream and sends a PLAIN log-in.
    pub(crate) async fn authenticate(&mut self, user: &str) {
        let features = self.open().await;
        assert!(
            features.contains("<mechanism>PLAIN</mechanism>"),
            "{features}"
        );
        let credentials = format!("\0{user}\0secret");
        let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
        self.send(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{credentials}</auth>"
        ))
        .await;
    }

    /// Logs in by PLAIN and binds `resource`.
    pub(crate) async fn log_in(&mut self, user: &str, resource: &str) {
        self.authenticate(user).await;
        self.until("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'")
            .await;
        self.until(">").await;
        self.open().await;
        self.send(&format!(
            "<iq xmlns='jabber:client' type='set' id='bind'>\
             <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind>\
             </iq>"
        ))
        .await;
        let bound = self.until("</iq>").await;
        assert!(
            bound.contains(&format!("<jid>{user}@example.org/{resource}</jid>")),
            "{bound}"
        );
    }

    /// Asks the server for a sign of life and waits for it.
    pub(crate) async fn ping(&mut self, id: &str) -> String {
        self.send(&ping(id)).await;
        self.until(&format!("id='{id}'")).await
    }
}

/// A ping to the server (XEP-0199).
pub(crate) fn ping(id: &str) -> String {
    format!(
        "<iq xmlns='jabber:client' type='get' id='{id}' to='example.org'>\
         <ping xmlns='urn:xmpp:ping'/></iq>"
    )
}
