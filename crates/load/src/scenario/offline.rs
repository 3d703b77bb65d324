//! `offline`: messages to users who are away. First they are stored, each acknowledged to its sender (XEP-0198), then
//! the users come online and get them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connection::Received;
use crate::crowd::{log_in_all, log_out_all};
use crate::login::{Client, Nonza, Wishes, write_ack};
use crate::report::Report;
use crate::server_process::ServerProcess;
use crate::stamp::{Clock, MessageForm};
use crate::target::{Target, TargetOptions};

/// Options of `offline`.
#[derive(Args, Debug)]
pub(crate) struct Offline {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Users who write; accounts FIRST, FIRST+1, ….
    #[arg(long, default_value_t = 50)]
    senders: usize,
    /// Users who are away; the accounts after the senders'.
    #[arg(long, default_value_t = 200)]
    recipients: usize,
    /// Number of the first account.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Messages for each user who is away.
    #[arg(long, default_value_t = 50)]
    messages: usize,
    /// Unacknowledged messages of one sender.
    #[arg(long, default_value_t = 50)]
    window: usize,
    /// Length of a message's body.
    #[arg(long, default_value_t = 80)]
    body_bytes: usize,
    /// The longest that storing, and delivering, may take in seconds.
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Log-ins at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

const SENDER: Wishes = Wishes {
    stream_management: true,
    carbons: false,
    presence: true,
};
/// Away until it sends presence.
const RECIPIENT: Wishes = Wishes {
    stream_management: true,
    carbons: false,
    presence: false,
};

/// Measures storing and delivering.
pub(crate) async fn run(options: &Offline) -> anyhow::Result<Report> {
    let target = Target::new(&options.target)?;
    let mut report = Report::new("offline");
    ensure!(
        options.senders > 0 && options.recipients > 0,
        "senders and recipients are needed"
    );
    store(options, &target, &mut report).await?;
    drain(options, &target, &mut report).await?;
    Ok(report)
}

/// The recipients' accounts.
fn recipients(options: &Offline) -> std::ops::Range<usize> {
    let first = options.first + options.senders;
    first..first + options.recipients
}

async fn store(options: &Offline, target: &Arc<Target>, report: &mut Report) -> anyhow::Result<()> {
    let server = ServerProcess::new(&options.target.server_pid);
    let indexes = options.first..options.first + options.senders;
    let clients = log_in_all(target, indexes, options.concurrency, SENDER).await?;
    let body_bytes = options.body_bytes;
    let forms: Arc<Vec<MessageForm>> = Arc::new(
        recipients(options)
            .map(|i| MessageForm::new(&target.bare_jid(i), body_bytes))
            .collect(),
    );
    let all = options.recipients * options.messages;

    let cpu = server.as_ref().map(ServerProcess::cpu_time).transpose()?;
    let started = Instant::now();
    let mut writers = JoinSet::new();
    for (index, client) in clients {
        let number = index - options.first;
        let letters: Vec<usize> = (number..all).step_by(options.senders).collect();
        writers.spawn(Box::pin(write_letters(
            client,
            letters,
            forms.clone(),
            options.window,
        )));
    }
    let mut done = Vec::new();
    let limit = started + Duration::from_secs(options.limit);
    while let Some(writer) = tokio::time::timeout_at(limit, writers.join_next())
        .await
        .context("storing took too long")?
    {
        done.push(writer??);
    }
    let elapsed = started.elapsed();
    report.rate("stored", all as u64, elapsed);
    if let (Some(server), Some(before)) = (&server, cpu) {
        report.cpu(
            "store",
            server.cpu_time()?.saturating_sub(before),
            all as u64,
            elapsed,
        );
    }
    log_out_all(done).await;
    Ok(())
}

/// Sends messages number `letters`, each to the recipient whose turn it is, and waits until all are acknowledged.
async fn write_letters(
    mut client: Client,
    letters: Vec<usize>,
    forms: Arc<Vec<MessageForm>>,
    window: usize,
) -> anyhow::Result<Client> {
    let clock = Clock::start();
    for batch in letters.chunks(window.max(2) / 2) {
        let out = client.connection.outbound();
        for letter in batch {
            forms[letter % forms.len()].write(out, clock.now(), *letter as u64);
        }
        out.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
        await_ack(&mut client).await?;
    }
    Ok(client)
}

async fn await_ack(client: &mut Client) -> anyhow::Result<()> {
    loop {
        let Received::Element(xml) = client.connection.receive().await? else {
            bail!("the server closed the stream");
        };
        match Nonza::of(xml) {
            Some(Nonza::Ack(_)) => return Ok(()),
            Some(Nonza::Request) => client.acknowledge(),
            None => client.handled = client.handled.wrapping_add(1),
        }
    }
}

async fn drain(options: &Offline, target: &Arc<Target>, report: &mut Report) -> anyhow::Result<()> {
    let server = ServerProcess::new(&options.target.server_pid);
    let clients = log_in_all(target, recipients(options), options.concurrency, RECIPIENT).await?;
    let expected = (options.recipients * options.messages) as u64;
    let arrived = Arc::new(AtomicU64::new(0));

    let cpu = server.as_ref().map(ServerProcess::cpu_time).transpose()?;
    let started = Instant::now();
    let limit = started + Duration::from_secs(options.limit);
    let mut readers = JoinSet::new();
    for (_, client) in clients {
        let reader = read_letters(client, options.messages, arrived.clone());
        readers.spawn(tokio::time::timeout_at(limit, Box::pin(reader)));
    }
    let mut done = Vec::new();
    while let Some(reader) = readers.join_next().await {
        // Who ran out of time has its messages missing in the count.
        if let Ok(client) = reader? {
            done.push(client?);
        }
    }
    let elapsed = started.elapsed();
    let arrived = arrived.load(Ordering::Relaxed);
    report.rate("drained", arrived, elapsed);
    report.count("missing", expected.saturating_sub(arrived));
    if let (Some(server), Some(before)) = (&server, cpu) {
        report.cpu(
            "drain",
            server.cpu_time()?.saturating_sub(before),
            arrived,
            elapsed,
        );
    }
    log_out_all(done).await;
    Ok(())
}

/// Comes online and reads so many messages.
async fn read_letters(
    mut client: Client,
    messages: usize,
    arrived: Arc<AtomicU64>,
) -> anyhow::Result<Client> {
    client
        .connection
        .outbound()
        .extend_from_slice(b"<presence/>");
    let mut waiting = messages;
    let clock = Clock::start();
    while waiting > 0 {
        client.connection.turn().await?;
        while let Some((received, out)) = client.connection.take()? {
            let Received::Element(xml) = received else {
                bail!("the server closed the stream")
            };
            match Nonza::of(xml) {
                Some(Nonza::Request) => write_ack(out, client.handled),
                Some(Nonza::Ack(_)) => {}
                None => {
                    client.handled = client.handled.wrapping_add(1);
                    if clock.stamp_in(xml).is_some() {
                        waiting = waiting.saturating_sub(1);
                        arrived.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }
    client.acknowledge();
    client.connection.flush().await?;
    Ok(client)
}
