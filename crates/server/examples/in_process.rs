//! Measures the heart without sockets: a process here may open only so many files, a million sessions need none.
//!
//! ```text
//! cargo run --release --example in_process -- idle [SESSIONS]
//! cargo run --release --example in_process -- chat [PAIRS] [MESSAGES]
//! cargo run --release --example in_process -- archive [MESSAGES]
//! ```
//!
//! `idle` binds sessions (stream management, carbons, presence) on the embedded store in a temporary folder and prints
//! the process's memory per session as it climbs; it stops before the machine's memory runs out. Not in the figure:
//! the gate's task, the socket and TLS of each. `chat` lets pairs write to each other and prints what a message costs
//! in CPU time from parsed stanza to encoded delivery, each sender's ack durable. `archive` fills one account's log and
//! prints what queries of it take (XEP-0313), results encoded: the figures should not depend on the length of the log.

#![allow(clippy::print_stdout, reason = "an example prints its result")]
#![allow(missing_docs, reason = "an example has no interface")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use anyhow::Context as _;
use posthaste_engine_embedded::{Embedded, EmbeddedOptions};
use posthaste_im::binding::ResourceWish;
use posthaste_im::clock::{Clock, Entropy, Timestamp};
use posthaste_im::config::{Config, HostConfig, Keep};
use posthaste_im::connection::{Connection, Outbound, Wire};
use posthaste_im::log::{ArchiveId, Cursor, Entry};
use posthaste_im::node::Node;
use posthaste_im::tables;
use posthaste_kv::{Batch, Kv, Partition};
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Element, Limits, StreamContext};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DOMAIN: &str = "localhost";

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

struct RealEntropy;

impl Entropy for RealEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}

/// Counts what is written to a client and forgets it.
#[derive(Default)]
struct Counter {
    /// As stream management counts, for the client's acks.
    stanzas: u32,
    messages: u64,
}

/// A session and what its client has received.
struct Client {
    connection: Connection,
    received: Counter,
}

impl Wire for Counter {
    fn room(&self) -> usize {
        64 * 1024
    }

    fn element(&mut self, xml: &[u8]) {
        let is_nonza = xml.starts_with(b"<r ") || xml.starts_with(b"<a ");
        self.stanzas += u32::from(!is_nonza);
        self.messages += u64::from(xml.starts_with(b"<message"));
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        words
            .get(index)
            .and_then(|word| word.parse().ok())
            .unwrap_or(default)
    };
    let folder = tempfile::tempdir()?;
    let kv: Arc<dyn Kv> = Embedded::open(folder.path().join("store"), EmbeddedOptions::default())?;
    let domain = BareJid::parse(DOMAIN)?;
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
    let node = Node::new(
        config,
        kv.clone(),
        Arc::new(RealClock),
        Arc::new(RealEntropy),
    );
    match words.first().map(String::as_str) {
        Some("idle") => idle(&node, number(1, 1_000_000)).await?,
        Some("chat") => chat(&node, number(1, 200), number(2, 1000)).await?,
        Some("archive") => archive(&node, number(1, 1_000_000)).await?,
        _ => anyhow::bail!("say idle, chat or archive"),
    }
    Ok(kv.close().await?)
}

/// Climbs to so many sessions.
async fn idle(node: &Arc<Node>, sessions: usize) -> anyhow::Result<()> {
    let step = (sessions / 10).max(1);
    let mut held = Vec::with_capacity(sessions);
    // What only the first sessions cost is not a session's cost.
    for index in 0..1000 {
        held.push(online(node, index).await?);
    }
    let before = resident_bytes()?;
    let started = Instant::now();
    println!(
        "{:>10} {:>12} {:>18} {:>12}",
        "sessions", "MiB", "bytes per session", "sessions/s"
    );
    for index in 1000..sessions {
        held.push(online(node, index).await?);
        if (index + 1) % step == 0 {
            let added = held.len() - 1000;
            let bytes = resident_bytes()?.saturating_sub(before);
            println!(
                "{:>10} {:>12} {:>18} {:>12.0}",
                held.len(),
                bytes >> 20,
                bytes / added as u64,
                added as f64 / started.elapsed().as_secs_f64()
            );
            if available_bytes()? < 1 << 30 {
                println!("less than 1 GiB of memory is left: enough");
                break;
            }
        }
    }
    Ok(())
}

/// Lets pairs talk: everybody in turn sends one message and takes what has arrived.
async fn chat(node: &Arc<Node>, pairs: usize, messages: usize) -> anyhow::Result<()> {
    let mut users = Vec::new();
    for index in 0..pairs * 2 {
        users.push(online(node, index).await?);
    }
    let (cpu, started) = (cpu_seconds()?, Instant::now());
    for number in 0..messages {
        for (index, user) in users.iter_mut().enumerate() {
            let peer = index ^ 1;
            let xml = format!(
                "<message to='u{peer}@{DOMAIN}' type='chat' id='m{number}'><body>{:080}</body></message>",
                number
            );
            user.send(&xml).await?;
            if number % 5 == 4 {
                user.acknowledge().await?;
            }
            user.take().await?;
        }
    }
    let (cpu, elapsed) = (cpu_seconds()? - cpu, started.elapsed().as_secs_f64());
    let done = users.iter().map(|user| user.received.messages).sum::<u64>() as f64;
    println!(
        "{done} delivered in {elapsed:.2} s, {:.1} µs of CPU time each, {:.0} per CPU second",
        cpu / done * 1e6,
        done / cpu
    );
    Ok(())
}

/// So many correspondents share a long archive.
const CORRESPONDENTS: usize = 100;
/// How often each query is asked.
const ROUNDS: u32 = 500;

/// Asks an archive of so many messages for pages.
async fn archive(node: &Arc<Node>, messages: usize) -> anyhow::Result<()> {
    let ids = fill(node, messages).await?;
    let started = Instant::now();
    let mut reader = online(node, 0).await?;
    println!(
        "{messages} messages, indexed in {:.2} s",
        started.elapsed().as_secs_f64()
    );
    let middle = ids.get(messages / 2).context("too few messages")?;
    let with = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
                <field var='with'><value>u1@localhost</value></field></x>";
    for (name, filter, page) in [
        ("the last 50", "", "<before/>".to_owned()),
        ("50 from the middle", "", format!("<after>{middle}</after>")),
        ("the last 50 with one", with, "<before/>".to_owned()),
        (
            "50 with one, from the middle",
            with,
            format!("<after>{middle}</after>"),
        ),
    ] {
        let query = format!(
            "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>{filter}\
             <set xmlns='http://jabber.org/protocol/rsm'><max>50</max>{page}</set></query></iq>"
        );
        let (before, started) = (reader.received.messages, Instant::now());
        for _ in 0..ROUNDS {
            reader.send(&query).await?;
            reader.take().await?;
            reader.acknowledge().await?;
        }
        let each = started.elapsed() / ROUNDS;
        let results = (reader.received.messages - before) / u64::from(ROUNDS);
        println!(
            "{name:>30}: {results} results in {:>6.0} µs",
            each.as_secs_f64() * 1e6
        );
    }
    Ok(())
}

/// Writes a log as the heart would have written it. Answers the ids.
async fn fill(node: &Arc<Node>, messages: usize) -> anyhow::Result<Vec<ArchiveId>> {
    const PER_BATCH: usize = 500;
    let partition = Partition::new(format!("u0@{DOMAIN}"))?;
    let first = Timestamp(node.now().millis().saturating_sub(messages as u64 * 60_000));
    let id =
        |number: usize| ArchiveId::after(ArchiveId(0), first.plus_millis(number as u64 * 60_000));
    for start in (0..messages).step_by(PER_BATCH) {
        let mut batch = Batch::new(partition.clone());
        for number in start..messages.min(start + PER_BATCH) {
            let from = 1 + number % CORRESPONDENTS;
            let xml = format!(
                "<message from='u{from}@{DOMAIN}/x' to='u0@{DOMAIN}' type='chat' id='m{number}'><body>{number:080}</body>\
                 <stanza-id xmlns='urn:xmpp:sid:0' id='{}' by='u0@{DOMAIN}'/></message>",
                id(number)
            );
            let entry = Entry {
                outgoing: false,
                offline: true,
                archive: true,
                carbon: true,
                stanza: xml.into(),
            };
            batch.put(tables::log_key(id(number)), entry.encode());
        }
        node.kv().line().room().await;
        node.kv().commit(batch)?;
    }
    let delivered = Cursor {
        last: id(messages),
        upto: id(messages),
        ..Cursor::default()
    };
    let mut batch = Batch::new(partition);
    batch.put(
        bytes::Bytes::from_static(tables::CURSOR),
        delivered.encode(),
    );
    node.kv().commit(batch)?;
    Ok((0..messages).map(id).collect())
}

/// Makes an account and brings it online as a usual client would.
async fn online(node: &Arc<Node>, index: usize) -> anyhow::Result<Client> {
    let account = BareJid::parse(&format!("u{index}@{DOMAIN}"))?;
    let mut batch = Batch::new(Partition::new(account.as_str())?);
    batch.put(
        bytes::Bytes::from_static(tables::ACCOUNT),
        bytes::Bytes::from_static(&[1]),
    );
    node.kv().line().room().await;
    node.kv().commit(batch)?;
    let mut connection = node.bind(&account, &ResourceWish::Any).await?;
    connection.enable_sm(true, None);
    let mut client = Client {
        connection,
        received: Counter::default(),
    };
    client
        .send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        .await?;
    client.send("<presence/>").await?;
    client.take().await?;
    client.acknowledge().await?;
    client.take().await?;
    Ok(client)
}

impl Client {
    async fn send(&mut self, xml: &str) -> anyhow::Result<()> {
        let stanza = Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client())
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        self.connection
            .receive(stanza)
            .await
            .map_err(|error| anyhow::anyhow!("{error:?}"))
    }

    /// Acknowledges all that has been received.
    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let ack = Element::new("a", ns::SM).with_attr("h", self.received.stanzas.to_string());
        let done = self.connection.receive_nonza(&ack).await;
        done.map_err(|error| anyhow::anyhow!("{error:?}"))
    }

    /// Takes what the session has for its client now.
    async fn take(&mut self) -> anyhow::Result<()> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match self
                .connection
                .poll_outbound(&mut context, &mut self.received)
            {
                Poll::Pending => return Ok(()),
                Poll::Ready(Outbound::Work) => self.connection.work().await,
                Poll::Ready(Outbound::Close(error)) => anyhow::bail!("closed: {error:?}"),
            }
        }
    }
}

fn resident_bytes() -> anyhow::Result<u64> {
    kib("/proc/self/status", "VmRSS:")
}

fn available_bytes() -> anyhow::Result<u64> {
    kib("/proc/meminfo", "MemAvailable:")
}

fn kib(file: &str, label: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(label))
        .context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// User and system time of this process; Linux counts in hundredths.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("no name in stat")?.1;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next().and_then(|ticks| ticks.parse::<f64>().ok());
    let (user, system) = (next().context("no utime")?, next().context("no stime")?);
    Ok((user + system) / 100.0)
}
