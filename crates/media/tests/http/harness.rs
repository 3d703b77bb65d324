//! A whole gate on loopback with a media service, and clients that speak bare HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use posthaste_gate::{Gate, GateConfig, ListenerConfig, ListenerKind, Routes};
use posthaste_im::clock::{Clock, Entropy, Timestamp};
use posthaste_im::config::{Config, HostConfig, Keep};
use posthaste_im::media::{self, FileId, Purpose, Slot};
use posthaste_im::node::Node;
use posthaste_kv::memory::MemoryKv;
use posthaste_media::store::{Backend, Settings};
use posthaste_media::{Bounds, MediaService, Store};
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Secret;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes here; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that tests set.
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
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

/// What a test changes.
#[derive(Clone, Default)]
pub(crate) struct Setting {
    pub(crate) bounds: Bounds,
    pub(crate) media: media::Limits,
    pub(crate) gate: posthaste_gate::Limits,
}

/// A server with an account of Romeo's and nothing in its store.
pub(crate) struct World {
    pub(crate) node: Arc<Node>,
    pub(crate) service: Arc<MediaService>,
    pub(crate) store: Arc<Store>,
    clock: Arc<TestClock>,
    kv: Arc<MemoryKv>,
    setting: Setting,
    gate: Gate,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(Setting::default()).await
    }

    pub(crate) async fn with(setting: Setting) -> World {
        let clock = Arc::new(TestClock(AtomicU64::new(1_795_338_487_000)));
        let kv = Arc::new(MemoryKv::new());
        let folder = TempDir::new().unwrap();
        let world = World::start(setting, clock, kv, folder).await;
        let password = Secret::from("secret");
        world
            .node
            .create_account(&romeo(), &password)
            .await
            .unwrap();
        world
    }

    async fn start(
        setting: Setting,
        clock: Arc<TestClock>,
        kv: Arc<MemoryKv>,
        folder: TempDir,
    ) -> World {
        let node = Node::new(
            config(&setting),
            kv.clone(),
            clock.clone(),
            Arc::new(TestEntropy::default()),
        );
        let settings = Settings {
            directory: folder.path().to_owned(),
            free_disk_floor: 0,
            backend: Backend::Local,
        };
        let store = Arc::new(Store::open(settings).await.unwrap());
        let service = MediaService::bounded(node.clone(), store.clone(), setting.bounds);
        let service = Arc::new(service);
        let gate = GateConfig {
            listeners: vec![ListenerConfig {
                address: "127.0.0.1:0".parse().unwrap(),
                kind: ListenerKind::Http,
            }],
            limits: setting.gate.clone(),
            ..GateConfig::default()
        };
        let routes = Routes::default().with(media::PATH, service.clone());
        let gate = Gate::start(node.clone(), gate, routes).await.unwrap();
        World {
            node,
            service,
            store,
            clock,
            kv,
            setting,
            gate,
            folder,
        }
    }

    /// The same server after a restart: what was in memory is gone.
    pub(crate) async fn restarted(self) -> World {
        self.gate.drain(Duration::from_millis(50)).await;
        World::start(self.setting, self.clock, self.kv, self.folder).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gate.addresses()[0].1
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }

    /// A slot as the heart gives it out.
    pub(crate) fn slot(&self, size: usize, content_type: &str) -> Slot {
        Slot {
            account: romeo(),
            id: FileId::random(&self.node),
            name: "tr\u{e8}s cool.jpg".to_owned(),
            size: size as u64,
            content_type: content_type.to_owned(),
            purpose: Purpose::Message,
            expires: self.node.now().plus_millis(300_000),
        }
    }

    /// Where the file of a slot is, or will be.
    pub(crate) fn get_path(&self, slot: &Slot) -> String {
        media::address("", &slot.id, &slot.name)
    }

    /// Where it is uploaded to.
    pub(crate) async fn put_path(&self, slot: &Slot) -> String {
        let key = media::slot_key(&self.node).await.unwrap();
        format!("{}?slot={}", self.get_path(slot), slot.sign(&key))
    }

    /// A file of Romeo's that is there.
    pub(crate) async fn file(&self, content: &[u8], content_type: &str) -> Slot {
        let slot = self.slot(content.len(), content_type);
        let path = self.put_path(&slot).await;
        let answer = self.ask("PUT", &path, "", content).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        slot
    }

    /// A request with its length, and what comes of it.
    pub(crate) async fn ask(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Answer {
        let length = match body.len() {
            0 if method != "PUT" => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n{length}{fields}\r\n"
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn get(&self, slot: &Slot) -> Answer {
        self.ask("GET", &self.get_path(slot), "", b"").await
    }

    /// What is said to these bytes until the server closes the connection.
    pub(crate) async fn send(&self, request: &[u8]) -> Answer {
        let mut client = self.connect().await;
        client.stream.write_all(request).await.unwrap();
        client.answer().await
    }

    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        Client { stream }
    }

    /// Every file below the store's folder.
    pub(crate) fn stored(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.folder.path(), &mut found);
        found.sort();
        found
    }

    /// Waits until the upload of a slot has begun.
    pub(crate) async fn has_begun(&self, slot: &Slot) {
        let begun = async {
            while media::progress(&self.node, slot).await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.unwrap();
    }

    /// Waits until no transfer is under way.
    pub(crate) async fn is_idle(&self) {
        let idle = async {
            while self.service.transfers() != (0, 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, idle).await.unwrap();
    }
}

pub(crate) fn romeo() -> BareJid {
    BareJid::parse("romeo@example.org").unwrap()
}

fn config(setting: &Setting) -> Config {
    Config {
        hosts: vec![HostConfig {
            domain: BareJid::parse("example.org").unwrap(),
            keep: Keep::Forever,
            registration: false,
            services: Vec::new(),
            admins: Vec::new(),
            public_vcards: false,
            media_base: Some("http://example.org".to_owned()),
        }],
        media: setting.media.clone(),
        ..Config::default()
    }
}

fn list(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, found);
        } else {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// What comes until the server closes the connection.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut bytes = Vec::new();
        let end = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await;
        // That it has closed on somebody who was still sending is an error after the answer.
        let _ = end.expect("the server closes the connection");
        Answer::parse(&bytes)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines of the head, names in small letters.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n").map(str::to_owned);
        let first = lines.next().unwrap();
        Answer {
            status: first.split(' ').nth(1).unwrap().parse().unwrap(),
            head: lines.collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.iter().find_map(|line| line.strip_prefix(&prefix))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
