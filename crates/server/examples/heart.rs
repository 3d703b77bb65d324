//! What one message costs in the heart and the store alone, without sockets: pairs of sessions in one process,
//! stream management on, archive on, the embedded store. Prints microseconds of CPU per delivered message.
//!
//! `cargo run --release --example heart -- [messages] [pairs]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an example to run by hand"
)]

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::task::noop_waker;
use posthaste_engine_embedded::{Embedded, EmbeddedOptions};
use posthaste_im::binding::ResourceWish;
use posthaste_im::clock::{Clock, Entropy, Timestamp};
use posthaste_im::config::{Config, HostConfig, Keep};
use posthaste_im::connection::{Connection, Outbound, Wire};
use posthaste_im::node::Node;
use posthaste_im::tables;
use posthaste_kv::{Batch, Kv, Partition};
use posthaste_proto::jid::BareJid;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Element, Limits, StreamContext};

struct WallClock;
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Timestamp(u64::try_from(now.as_millis()).unwrap())
    }
}

struct Dice;
impl Entropy for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

#[derive(Default)]
struct Count {
    messages: u32,
    bytes: usize,
}
impl Wire for Count {
    fn room(&self) -> usize {
        usize::MAX
    }
    fn element(&mut self, xml: &[u8]) {
        self.messages += u32::from(xml.starts_with(b"<message"));
        self.bytes += xml.len();
    }
}

async fn drain(connection: &mut Connection, count: &mut Count) {
    let waker = noop_waker();
    loop {
        match connection.poll_outbound(&mut Context::from_waker(&waker), count) {
            Poll::Ready(Outbound::Work) => connection.work().await,
            Poll::Ready(Outbound::Close(error)) => panic!("{error:?}"),
            Poll::Pending => return,
        }
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<u32>().unwrap());
    let (messages, pairs) = (
        arguments.next().unwrap_or(200_000),
        arguments.next().unwrap_or(50),
    );
    let folder = tempfile::tempdir().unwrap();
    let kv = Embedded::open(folder.path(), EmbeddedOptions::default()).unwrap();
    let domain = BareJid::parse("example.org").unwrap();
    let config = Config {
        hosts: vec![HostConfig {
            domain,
            keep: Keep::Forever,
            registration: true,
        }],
        ..Config::default()
    };
    let node = Node::new(config, kv.clone(), Arc::new(WallClock), Arc::new(Dice));
    tokio::spawn(node.clone().keep_house());
    let mut sessions = Vec::new();
    for n in 0..pairs * 2 {
        let jid = BareJid::parse(&format!("user{n}@example.org")).unwrap();
        let mut account = Batch::new(Partition::new(jid.as_str()).unwrap());
        account.put(
            Bytes::from_static(tables::ACCOUNT),
            Bytes::from_static(&[1]),
        );
        kv.commit(account).unwrap();
        let mut connection = node
            .bind(&jid, &ResourceWish::Exactly("r".into()))
            .await
            .unwrap();
        connection.receive(stanza("<presence/>")).await.unwrap();
        connection.enable_sm(true, None);
        sessions.push((connection, 0u32));
    }
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut delivered = 0;
    for n in 0..messages {
        let pair = usize::try_from(n % pairs).unwrap() * 2;
        let xml = format!(
            "<message to='user{}@example.org' type='chat' id='m{n}'><body>But soft, what light through yonder window breaks? It is the east &amp; Juliet is the sun.</body>\
             <request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='m{n}'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
            pair + 1
        );
        sessions[pair].0.receive(stanza(&xml)).await.unwrap();
        let (juliet, h) = &mut sessions[pair + 1];
        let mut count = Count::default();
        drain(juliet, &mut count).await;
        delivered += count.messages;
        *h += count.messages;
        if *h % 8 == 0 {
            let ack = Element::new("a", "urn:xmpp:sm:3").with_attr("h", h.to_string());
            juliet.receive_nonza(&ack).await.unwrap();
        }
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    kv.line().wait(kv.line().issued()).await.unwrap();
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{delivered} delivered, {:.2} us CPU and {:.2} us wall each",
        cpu * 1e6 / f64::from(delivered),
        wall * 1e6 / f64::from(delivered)
    );
}

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client()).unwrap()
}
