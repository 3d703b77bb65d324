//! Three members of a group talk, read, come and go, and the server crashes in between: each device gets everything, and
//! in the end everybody's inbox says exactly what is unread.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::between;
use crate::group_rooms::{group, line};
use crate::harness::{Client, World, body};
use crate::rooms::{COVEN, join, said};

const NAMES: [&str; 3] = ["romeo", "juliet", "nurse"];

/// Numbers from a seed, which a failure prints.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// What is known of one member from outside.
#[derive(Default)]
struct Member {
    /// Its phone, while it is in the room.
    phone: Option<Client>,
    /// Stanzas read in this session, and the texts among them that are not confirmed.
    seen: usize,
    open: Vec<String>,
    confirmed: BTreeSet<String>,
    /// How many messages it has read.
    read: usize,
}

struct Play {
    seed: u64,
    dice: Dice,
    world: World,
    members: BTreeMap<&'static str, Member>,
    /// The room's ids of what was said.
    ids: Vec<String>,
}

impl Play {
    async fn new(seed: u64) -> Play {
        let world = World::new();
        let romeo = group(&world, &["juliet@example.org", "nurse@example.org"]).await;
        romeo.connection.close().await;
        let members = NAMES.map(|name| (name, Member::default())).into();
        let mut play = Play {
            seed,
            dice: Dice(seed),
            world,
            members,
            ids: Vec::new(),
        };
        for name in NAMES {
            play.comes(name).await;
        }
        play
    }

    async fn step(&mut self) {
        let name = NAMES[self.dice.below(3)];
        match self.dice.below(20) {
            0..=7 => self.says(name).await,
            8 | 9 => self.comes(name).await,
            10 => self.goes(name).await,
            11..=13 => drop(self.hears(name, true).await),
            14 => drop(self.hears(name, false).await),
            15 | 16 => self.marks(name).await,
            17 | 18 => self.world.pass_seconds(2).await,
            _ => self.crash().await,
        }
    }

    async fn comes(&mut self, name: &'static str) {
        let member = self.members.get_mut(name).unwrap();
        if member.phone.is_some() {
            return;
        }
        let mut phone = self.world.device(name, "phone").await;
        phone.manage_stream().await;
        phone.send("<presence/>").await;
        phone.send(&join(name)).await;
        member.phone = Some(phone);
    }

    async fn goes(&mut self, name: &'static str) {
        let member = self.members.get_mut(name).unwrap();
        (member.seen, member.open) = (0, Vec::new());
        if let Some(phone) = member.phone.take() {
            phone.connection.close().await;
        }
    }

    async fn says(&mut self, name: &'static str) {
        if self.members[name].phone.is_none() {
            return;
        }
        let text = format!("m{}", self.ids.len() + 1);
        let phone = self.members.get_mut(name).unwrap().phone.as_mut().unwrap();
        phone.send(&said(&text)).await;
        self.hears(name, true).await;
        let member = self.members.get_mut(name).unwrap();
        assert!(
            member.confirmed.contains(&text),
            "seed {}: {text}",
            self.seed
        );
        member.read = self.ids.len();
    }

    /// Reads what has come to a phone, and confirms it or not.
    async fn hears(&mut self, name: &'static str, confirms: bool) -> usize {
        let member = self.members.get_mut(name).unwrap();
        let Some(phone) = &mut member.phone else {
            return 0;
        };
        let mut count = 0;
        for xml in phone.receives_until_quiet().await {
            if xml.starts_with("<r ") {
                continue;
            }
            count += 1;
            member.seen += 1;
            let Some(text) = body(&xml) else { continue };
            let id = between(&xml, "<stanza-id xmlns='urn:xmpp:sid:0' id='", "'").unwrap();
            if format!("m{}", self.ids.len() + 1) == text {
                self.ids.push(id);
            }
            member.open.push(text);
        }
        if confirms {
            phone
                .send(&format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", member.seen))
                .await;
            member.confirmed.extend(member.open.drain(..));
        }
        count
    }

    /// Says that it has seen one of the messages, to all or to its own devices only.
    async fn marks(&mut self, name: &'static str) {
        let (which, silently) = (
            self.dice.below(self.ids.len().max(1)),
            self.dice.below(2) == 0,
        );
        let member = self.members.get_mut(name).unwrap();
        let (Some(phone), Some(id)) = (&mut member.phone, self.ids.get(which)) else {
            return;
        };
        if silently {
            phone
                .send(&format!(
                    "<iq type='set' id='s'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                     <publish node='urn:xmpp:mds:displayed:0'><item id='{COVEN}'>\
                     <displayed xmlns='urn:xmpp:mds:displayed:0'><stanza-id xmlns='urn:xmpp:sid:0' by='{COVEN}' id='{id}'/>\
                     </displayed></item></publish></pubsub></iq>"
                ))
                .await;
        } else {
            phone
                .send(&format!(
                    "<message to='{COVEN}' type='groupchat'><displayed xmlns='urn:xmpp:chat-markers:0' id='{id}'/></message>"
                ))
                .await;
        }
        member.read = member.read.max(which + 1);
    }

    async fn crash(&mut self) {
        self.world = self.world.restarted();
        self.world.node.send_unsent().await;
        for member in self.members.values_mut() {
            member.phone = None;
            (member.seen, member.open) = (0, Vec::new());
        }
    }

    async fn end(mut self) {
        let all: BTreeSet<String> = (1..=self.ids.len()).map(|n| format!("m{n}")).collect();
        for name in NAMES {
            self.goes(name).await;
            self.comes(name).await;
            while self.hears(name, true).await > 0 {}
            let missed: Vec<_> = all.difference(&self.members[name].confirmed).collect();
            assert!(
                missed.is_empty(),
                "seed {}: {name} missed {missed:?}",
                self.seed
            );
        }
        self.world.pass_seconds(2).await;
        self.world.pass_seconds(2).await;
        for name in NAMES {
            let mut client = self.world.online(name, "desk").await;
            let unread = line(&mut client).await.map_or(0, |(unread, _, _)| unread);
            let expected = self.ids.len() - self.members[name].read;
            assert_eq!(
                usize::try_from(unread).unwrap(),
                expected,
                "seed {}: {name}",
                self.seed
            );
        }
    }
}

#[tokio::test]
async fn whatever_happens_nobody_misses_anything_and_unread_is_exact() {
    for seed in 0..60 {
        let mut play = Play::new(seed).await;
        for _ in 0..100 {
            play.step().await;
        }
        play.end().await;
    }
}
