//! Two devices and a plain client of Juliet's come and go, read, confirm or do not, and the server crashes in between:
//! each device gets everything, and what it has confirmed a second before never again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use posthaste_im::config::Config;
use posthaste_im::session::QueueLimits;
use posthaste_kv::memory::MemoryKv;

use crate::harness::{Client, World, body, chat, config};

const DEVICES: [&str; 2] = ["phone", "laptop"];

/// Numbers from a seed, which a failure prints.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What is known of one device from outside.
#[derive(Default)]
struct Device {
    client: Option<Client>,
    /// Stanzas read in this session, and the texts among them that are not confirmed.
    read: u32,
    open: Vec<String>,
    in_session: BTreeSet<String>,
    confirmed: BTreeSet<String>,
    /// Confirmed, and saved by housekeeping since.
    safe: BTreeSet<String>,
}

impl Device {
    fn lose(&mut self) -> Option<Client> {
        self.read = 0;
        self.open.clear();
        self.in_session.clear();
        self.client.take()
    }

    async fn come(&mut self, world: &World, name: &str) {
        drop(self.lose());
        let mut client = world.device("juliet", name).await;
        client.manage_stream().await;
        client.send("<presence/>").await;
        self.client = Some(client);
    }

    async fn read(&mut self, seed: u64) -> usize {
        let Some(client) = &mut self.client else {
            return 0;
        };
        let (received, error) = client.receives_within(usize::MAX).await;
        assert_eq!(error, None, "seed {seed}");
        let stanzas = received.iter().filter(|xml| !xml.starts_with("<r "));
        let mut count = 0;
        for xml in stanzas {
            count += 1;
            self.read += 1;
            if let Some(text) = body(xml) {
                assert!(!self.confirmed.contains(&text), "seed {seed}: {text} again");
                let is_new = self.in_session.insert(text.clone());
                assert!(is_new, "seed {seed}: {text} twice in one session");
                self.open.push(text);
            }
        }
        count
    }

    async fn confirm(&mut self) {
        if let Some(client) = &mut self.client {
            let ack = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.read);
            client.send(&ack).await;
            self.confirmed.extend(self.open.drain(..));
        }
    }
}

struct Play {
    seed: u64,
    dice: Dice,
    world: World,
    romeo: Client,
    devices: BTreeMap<&'static str, Device>,
    plain: Option<Client>,
    /// What each device has to get.
    owed: BTreeMap<&'static str, BTreeSet<String>>,
    said: u32,
}

impl Play {
    async fn new(seed: u64) -> Play {
        let queue = QueueLimits {
            bytes: 100_000,
            items: 12,
        };
        let world = World::with(Config { queue, ..config() }, Arc::new(MemoryKv::new()));
        let mut devices = BTreeMap::new();
        for name in DEVICES {
            world.device("juliet", name).await.connection.close().await;
            devices.insert(name, Device::default());
        }
        let romeo = world.connect("romeo", "orchard").await;
        let owed = DEVICES.map(|name| (name, BTreeSet::new())).into();
        Play {
            seed,
            dice: Dice(seed),
            world,
            romeo,
            devices,
            plain: None,
            owed,
            said: 0,
        }
    }

    async fn step(&mut self) {
        let name = DEVICES[usize::try_from(self.dice.below(2)).unwrap()];
        let seed = self.seed;
        match self.dice.below(16) {
            0..=4 => self.romeo_writes().await,
            5 => self.juliet_writes(name).await,
            6 | 7 => {
                let device = self.devices.get_mut(name).unwrap();
                if device.client.is_none() {
                    device.come(&self.world, name).await;
                }
            }
            8 | 9 => {
                let device = self.devices.get_mut(name).unwrap();
                device.read(seed).await;
                device.confirm().await;
            }
            10 => {
                self.devices.get_mut(name).unwrap().read(seed).await;
            }
            11 => {
                let client = self.devices.get_mut(name).unwrap().lose();
                if let Some(client) = client {
                    match self.dice.below(2) {
                        0 => client.connection.close().await,
                        _ => client.connection.detach().await,
                    }
                }
            }
            12 => self.plain_comes_or_goes().await,
            13 | 14 => self.a_second_passes().await,
            _ => self.crash().await,
        }
    }

    async fn romeo_writes(&mut self) {
        self.said += 1;
        let text = format!("m{}", self.said);
        self.romeo.send(&chat("juliet@example.org", &text)).await;
        for owed in self.owed.values_mut() {
            owed.insert(text.clone());
        }
    }

    async fn juliet_writes(&mut self, name: &str) {
        let Some(client) = &mut self.devices.get_mut(name).unwrap().client else {
            return;
        };
        self.said += 1;
        let text = format!("from {name} {}", self.said);
        client.send(&chat("romeo@example.org", &text)).await;
        for (other, owed) in &mut self.owed {
            if *other != name {
                owed.insert(text.clone());
            }
        }
    }

    async fn plain_comes_or_goes(&mut self) {
        match self.plain.take() {
            Some(mut plain) => {
                plain.receives_until_quiet().await;
                plain.connection.close().await;
            }
            None => self.plain = Some(self.world.online_keeping("juliet", "balcony").await),
        }
    }

    async fn a_second_passes(&mut self) {
        self.world.pass_seconds(2).await;
        for device in self.devices.values_mut() {
            device.safe = device.confirmed.clone();
        }
    }

    async fn crash(&mut self) {
        self.world = self.world.restarted();
        self.plain = None;
        for device in self.devices.values_mut() {
            drop(device.lose());
            device.confirmed = device.safe.clone();
        }
        self.romeo = self.world.connect("romeo", "orchard").await;
    }

    async fn end(mut self) {
        for (name, mut device) in std::mem::take(&mut self.devices) {
            device.come(&self.world, name).await;
            while device.read(self.seed).await > 0 {
                device.confirm().await;
            }
            let missed: Vec<_> = self.owed[name].difference(&device.confirmed).collect();
            assert!(
                missed.is_empty(),
                "seed {}: {name} missed {missed:?}",
                self.seed
            );
        }
    }
}

#[tokio::test]
async fn whatever_happens_each_device_gets_everything_and_nothing_confirmed_twice() {
    for seed in 0..150 {
        let mut play = Play::new(seed).await;
        for _ in 0..80 {
            play.step().await;
        }
        play.end().await;
    }
}
