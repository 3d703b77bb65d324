//! A node in memory and clients without sockets, so that a test reads as a story: Romeo sends, Juliet receives.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::noop_waker;
use posthaste_im::binding::ResourceWish;
use posthaste_im::clock::{Clock, Entropy, Timestamp};
use posthaste_im::config::{Config, HostConfig, Keep, ServiceDomain, ServiceKind};
use posthaste_im::connection::{Connection, Outbound, Wire};
use posthaste_im::devices::Introduction;
use posthaste_im::node::Node;
use posthaste_im::retention::Round;
use posthaste_im::tables;
use posthaste_kv::memory::MemoryKv;
use posthaste_kv::{Batch, Kv, Partition, Scan, prefix_end};
use posthaste_proto::error::StreamError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Element, Limits, StreamContext};

/// A clock that stands still unless it is moved.
pub struct TestClock(AtomicU64);

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
            // Mixed: of the counter alone the bytes repeat themselves, and so would long lists of names.
            let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = (mixed >> 32).to_le_bytes()[0];
        }
    }
}

/// A node on a store in memory.
pub struct World {
    pub node: Arc<Node>,
    pub kv: Arc<MemoryKv>,
    pub clock: Arc<TestClock>,
}

/// Settings for `example.org`.
pub fn config() -> Config {
    let domain = BareJid::parse("example.org").unwrap();
    Config {
        hosts: vec![HostConfig {
            domain,
            keep: Keep::Forever,
            registration: true,
            services: vec![
                ServiceDomain {
                    domain: BareJid::parse("pubsub.example.org").unwrap(),
                    kind: ServiceKind::PubSub,
                },
                ServiceDomain {
                    domain: BareJid::parse("conference.example.org").unwrap(),
                    kind: ServiceKind::Rooms,
                },
                ServiceDomain {
                    domain: BareJid::parse("upload.example.org").unwrap(),
                    kind: ServiceKind::Upload,
                },
            ],
            media_base: Some("https://files.example.org".to_owned()),
            admins: Vec::new(),
            public_vcards: false,
        }],
        ..Config::default()
    }
}

impl World {
    /// Romeo, Juliet and the Nurse have accounts; everything is durable at once.
    pub fn new() -> World {
        World::with(config(), Arc::new(MemoryKv::new()))
    }

    /// The same on another store and with other settings.
    pub fn with(config: Config, kv: Arc<MemoryKv>) -> World {
        World::of(config, kv, TestEntropy::default())
    }

    /// The same, where what the node sees of the store lies in front of it.
    pub fn behind(config: Config, kv: Arc<MemoryKv>, front: Arc<dyn Kv>) -> World {
        World::of_front(config, kv, front, TestEntropy::default())
    }

    fn of(config: Config, kv: Arc<MemoryKv>, entropy: TestEntropy) -> World {
        World::of_front(config, kv.clone(), kv, entropy)
    }

    fn of_front(
        config: Config,
        kv: Arc<MemoryKv>,
        front: Arc<dyn Kv>,
        entropy: TestEntropy,
    ) -> World {
        let clock = Arc::new(TestClock(AtomicU64::new(1_795_338_487_000)));
        let node = Node::new(config, front, clock.clone(), Arc::new(entropy));
        let world = World { node, kv, clock };
        for user in ["romeo", "juliet", "nurse"] {
            world.add_account(user);
        }
        world
    }

    /// One more account.
    pub fn add_account(&self, user: &str) {
        let mut batch = Batch::new(Partition::new(format!("{user}@example.org")).unwrap());
        batch.put(
            Bytes::from_static(tables::ACCOUNT),
            Bytes::from_static(&[1]),
        );
        self.kv.commit(batch).unwrap();
    }

    /// The same store under a new node, as after a restart.
    pub fn restarted(&self) -> World {
        // Names made after a restart are not those made before.
        let mut bytes = [0; 8];
        self.node.entropy().fill(&mut bytes);
        let entropy = TestEntropy(AtomicU64::new(u64::from_le_bytes(bytes)));
        World::of((*self.node.config()).clone(), self.kv.clone(), entropy)
    }

    /// What a power cut leaves, under a new node.
    pub fn after_power_cut(&self) -> World {
        let kv = Arc::new(self.kv.after_power_cut());
        let mut bytes = [0; 8];
        self.node.entropy().fill(&mut bytes);
        let entropy = TestEntropy(AtomicU64::new(u64::from_le_bytes(bytes)));
        let world = World::of((*self.node.config()).clone(), kv, entropy);
        let now = self.node.now().millis();
        world.clock.0.store(now, Ordering::Relaxed);
        world
    }

    /// Moves the clock and lets the node tidy up.
    pub async fn pass_seconds(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::Relaxed);
        self.node.tidy().await;
    }

    /// A client that has just bound `user@example.org/resource`.
    pub async fn connect(&self, user: &str, resource: &str) -> Client {
        let account = BareJid::parse(&format!("{user}@example.org")).unwrap();
        let connection = self
            .node
            .bind(&account, &ResourceWish::Exactly(resource.into()))
            .await
            .unwrap();
        Client { connection }
    }

    /// A client of an account of any host, which is made first.
    pub async fn connect_at(&self, account: &str, resource: &str) -> Client {
        let account = BareJid::parse(account).unwrap();
        let mut batch = Batch::new(Partition::new(account.as_str()).unwrap());
        batch.put(
            Bytes::from_static(tables::ACCOUNT),
            Bytes::from_static(&[1]),
        );
        self.kv.commit(batch).unwrap();
        let wish = ResourceWish::Exactly(resource.into());
        let connection = self.node.bind(&account, &wish).await.unwrap();
        Client { connection }
    }

    /// A client that has just bound by Bind 2, with copies enabled, and names its installation.
    pub async fn device(&self, user: &str, id: &str) -> Client {
        let account = BareJid::parse(&format!("{user}@example.org")).unwrap();
        let client = Introduction {
            id: id.into(),
            software: Some("Poezio".into()),
            device: Some(format!("{user}'s {id}")),
            by_password: true,
        };
        let wish = ResourceWish::Tagged("app".into());
        let bound = self.node.bind_client(&account, &wish, &client).await;
        let mut connection = bound.unwrap();
        connection.enable_carbons().await;
        Client { connection }
    }

    /// A device that is available.
    pub async fn device_online(&self, user: &str, id: &str) -> Client {
        let mut client = self.device(user, id).await;
        client.send("<presence/>").await;
        client
    }

    /// A client that is available.
    pub async fn online(&self, user: &str, resource: &str) -> Client {
        let mut client = self.connect(user, resource).await;
        client.send("<presence/>").await;
        client.receives_until_quiet().await;
        client
    }

    /// A client that is available and has read nothing yet.
    pub async fn online_keeping(&self, user: &str, resource: &str) -> Client {
        let mut client = self.connect(user, resource).await;
        client.send("<presence/>").await;
        client
    }

    /// The slow round over all accounts, as far as the first few.
    pub async fn visit_homes(&self) {
        self.node.visit_old_homes(&mut Round::default()).await;
    }

    /// A client that resumes a session.
    pub async fn resume(&self, user: &str, previd: &str, h: u32) -> Option<(Client, u32)> {
        let account = BareJid::parse(&format!("{user}@example.org")).unwrap();
        let (connection, handled) = self.node.resume(&account, previd, h).await.ok()?;
        Some((Client { connection }, handled))
    }
}

/// One client's end.
pub struct Client {
    pub connection: Connection,
}

/// Collects elements; takes `room` bytes at the most.
pub struct Collected {
    pub elements: Vec<String>,
    pub room: usize,
}

impl Wire for Collected {
    fn room(&self) -> usize {
        self.room
    }

    fn element(&mut self, xml: &[u8]) {
        self.room = self.room.saturating_sub(xml.len());
        self.elements.push(String::from_utf8(xml.to_vec()).unwrap());
    }
}

impl Client {
    /// Sends a stanza or a nonza.
    pub async fn send(&mut self, xml: &str) {
        self.try_send(xml).await.unwrap();
    }

    /// Sends something that may end the stream.
    pub async fn try_send(&mut self, xml: &str) -> Result<(), StreamError> {
        match Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client()) {
            Ok(stanza) => self.connection.receive(stanza).await,
            Err(_) => {
                let nonza = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
                self.connection.receive_nonza(&nonza).await
            }
        }
    }

    /// Everything that comes now, with room for `room` bytes.
    pub async fn receives_within(&mut self, room: usize) -> (Vec<String>, Option<StreamError>) {
        let mut wire = Collected {
            elements: Vec::new(),
            room,
        };
        let waker = noop_waker();
        loop {
            match self
                .connection
                .poll_outbound(&mut Context::from_waker(&waker), &mut wire)
            {
                Poll::Pending => return (wire.elements, None),
                Poll::Ready(Outbound::Work) => self.connection.work().await,
                Poll::Ready(Outbound::Close(error)) => return (wire.elements, Some(error)),
            }
        }
    }

    /// Everything that comes now.
    pub async fn receives_until_quiet(&mut self) -> Vec<String> {
        self.receives_within(usize::MAX).await.0
    }

    /// The bodies of the messages that come now, copies included.
    pub async fn bodies(&mut self) -> Vec<String> {
        let received = self.receives_until_quiet().await;
        received.iter().filter_map(|xml| body(xml)).collect()
    }

    /// Enables stream management; answers the id to resume with.
    pub async fn manage_stream(&mut self) -> String {
        self.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            .await;
        let enabled = self.receives_until_quiet().await.remove(0);
        let enabled = Element::parse(enabled.as_bytes(), ns::CLIENT).unwrap();
        enabled.attr("id").unwrap().to_owned()
    }

    /// As [`Client::manage_stream`], where other stanzas may come first.
    pub async fn manage_stream_among_others(&mut self) -> String {
        self.receives_until_quiet().await;
        self.manage_stream().await
    }

    /// Asks for an acknowledgement; answers what has come by then and the acknowledged count.
    pub async fn acked(&mut self) -> Option<u32> {
        self.send("<r xmlns='urn:xmpp:sm:3'/>").await;
        let received = self.receives_until_quiet().await;
        let ack = received.iter().find(|xml| xml.starts_with("<a "))?;
        Element::parse(ack.as_bytes(), ns::CLIENT)
            .unwrap()
            .attr("h")
            .unwrap()
            .parse()
            .ok()
    }
}

/// The text of the first `<body/>` in some XML.
pub fn body(xml: &str) -> Option<String> {
    let start = xml.find("<body>")? + "<body>".len();
    let end = xml.find("</body>")?;
    Some(xml[start..end].to_owned())
}

/// A chat message.
pub fn chat(to: &str, text: &str) -> String {
    format!("<message to='{to}' type='chat' id='{text}'><body>{text}</body></message>")
}

impl Client {
    /// Sends an IQ and answers the reply to it; what else came by then is dropped.
    pub async fn asks(&mut self, iq: &str) -> String {
        self.send(iq).await;
        let received = self.receives_until_quiet().await;
        let is_reply = |xml: &&String| {
            xml.starts_with("<iq ")
                && (xml.contains("type='result'") || xml.contains("type='error'"))
        };
        received
            .iter()
            .find(is_reply)
            .unwrap_or_else(|| panic!("no reply to {iq}: {received:?}"))
            .clone()
    }

    /// Everything that comes now is, in any order, exactly this many stanzas, each with all its parts.
    pub async fn receives(&mut self, expected: &[&[&str]]) {
        let mut received = self.receives_until_quiet().await;
        for parts in expected {
            let has_all = |xml: &String| parts.iter().all(|part| xml.contains(part));
            let Some(place) = received.iter().position(has_all) else {
                panic!(
                    "{}: nothing with {parts:?} in {received:#?}",
                    self.connection.jid()
                );
            };
            received.remove(place);
        }
        assert!(
            received.is_empty(),
            "{}: unexpected {received:#?}",
            self.connection.jid()
        );
    }

    /// Takes a new room as it is, so that others may enter (XEP-0045 §10.1.2).
    pub async fn opens_room(&mut self, room: &str) {
        let answer = self
            .asks(&format!(
                "<iq type='set' id='instant' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>"
            ))
            .await;
        assert!(answer.contains("type='result'"), "{answer}");
    }

    /// Its account.
    pub fn bare(&self) -> BareJid {
        self.connection.jid().to_bare()
    }

    /// Nothing comes.
    pub async fn receives_nothing(&mut self) {
        self.receives(&[]).await;
    }
}

impl World {
    /// A client that follows its roster and is available.
    pub async fn following(&self, user: &str, resource: &str) -> Client {
        let mut client = self.connect(user, resource).await;
        client
            .send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
            .await;
        client.send("<presence/>").await;
        client.receives_until_quiet().await;
        client
    }

    /// Both see each other from now on.
    pub async fn befriend(&self, one: &str, other: &str) {
        let mut first = self.connect(one, "befriend").await;
        let mut second = self.connect(other, "befriend").await;
        first
            .send(&format!(
                "<presence type='subscribe' to='{other}@example.org'/>"
            ))
            .await;
        second
            .send(&format!(
                "<presence type='subscribed' to='{one}@example.org'/>"
            ))
            .await;
        second
            .send(&format!(
                "<presence type='subscribe' to='{one}@example.org'/>"
            ))
            .await;
        first
            .send(&format!(
                "<presence type='subscribed' to='{other}@example.org'/>"
            ))
            .await;
        first.connection.close().await;
        second.connection.close().await;
    }
}

impl World {
    /// How many keys an account has in a table.
    pub async fn keys(&self, user: &str, table: &[u8]) -> usize {
        let partition = Partition::new(format!("{user}@example.org")).unwrap();
        let scan = Scan::prefix(table, usize::MAX);
        self.kv.scan(&partition, scan).await.unwrap().len()
    }

    /// As if an account's log had been written before there was an index of conversations.
    pub async fn forget_index(&self, user: &str) {
        let mut batch = Batch::new(Partition::new(format!("{user}@example.org")).unwrap());
        for table in [tables::CONVERSATION, tables::WITH] {
            batch.delete_range(Bytes::from_static(table), prefix_end(table));
        }
        batch.delete(Bytes::from_static(tables::INDEXED));
        self.kv.commit(batch).unwrap();
    }

    /// Retention's round over the store.
    pub async fn sweep(&self) {
        self.node.visit_old_homes(&mut Round::default()).await;
    }
}
