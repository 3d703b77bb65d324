//! `chat`: pairs of online users who write to each other, with stream management on both sides.
//!
//! Closed loop (`--window`): that many messages are under way per pair at any time, each delivery sets the next one
//! off; it finds what the server can carry. Open loop (`--rate`): messages are due at fixed times whatever the server
//! does, and latency counts from the due time, so that a stalled server cannot hide its stall.

mod talker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::crowd::log_in_all;
use crate::login::Wishes;
use crate::report::{Report, as_f64, micros_histogram};
use crate::server_process::ServerProcess;
use crate::stamp::Clock;
use crate::target::{Target, TargetOptions};

use talker::Talker;

/// Histograms are shared by the talkers of one shard, to keep both memory and contention low.
const SHARDS: usize = 8;

/// Options of `chat`.
#[derive(Args, Debug)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Pairs of users; accounts FIRST, FIRST+1 are the first pair.
    #[arg(long, default_value_t = 200)]
    pairs: usize,
    /// Number of the first account, so that several processes can share the work.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Open loop: messages per second of all users together.
    #[arg(long, conflicts_with = "window")]
    rate: Option<f64>,
    /// Closed loop: messages under way per pair.
    #[arg(long, default_value_t = 4)]
    window: u32,
    /// Seconds before the measurement.
    #[arg(long, default_value_t = 3)]
    warmup: u64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds to wait at the end for messages that are still under way.
    #[arg(long, default_value_t = 10)]
    drain: u64,
    /// Length of a message's body.
    #[arg(long, default_value_t = 80)]
    body_bytes: usize,
    /// Ask for an ack after so many messages.
    #[arg(long, default_value_t = 5)]
    ack_every: u32,
    /// Do without stream management.
    #[arg(long)]
    no_sm: bool,
    /// Log-ins at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

/// When a run starts, measures and ends, in stamps of its clock and as instants.
pub(crate) struct Schedule {
    pub(crate) measure_from: u64,
    pub(crate) measure_to: u64,
    pub(crate) start: Instant,
    /// Nothing is sent from here on.
    pub(crate) stop: Instant,
    /// Nothing is waited for from here on.
    pub(crate) give_up: Instant,
}

impl Schedule {
    /// From `start` on: some seconds to warm up, some to measure, and some to wait for what is under way.
    pub(crate) fn new(
        clock: &Clock,
        start: Instant,
        [warmup, seconds, drain]: [u64; 3],
    ) -> Schedule {
        let from = start + Duration::from_secs(warmup);
        let stop = from + Duration::from_secs(seconds);
        Schedule {
            measure_from: clock.at(from.into_std()),
            measure_to: clock.at(stop.into_std()),
            start,
            stop,
            give_up: stop + Duration::from_secs(drain),
        }
    }
}

/// What all talkers of a run share.
pub(crate) struct Stage {
    pub(crate) clock: Clock,
    pub(crate) schedule: Schedule,
    /// Time between two messages of one user; `None` in a closed loop.
    pub(crate) period: Option<Duration>,
    pub(crate) window: u32,
    pub(crate) ack_every: Option<u32>,
    pub(crate) sent: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) bounced: AtomicU64,
    pub(crate) lost_connections: AtomicU64,
    latency: [Mutex<Histogram<u64>>; SHARDS],
    acks: [Mutex<Histogram<u64>>; SHARDS],
}

impl Stage {
    /// Records deliveries and acks of one talker, in microseconds.
    pub(crate) fn record(&self, talker: usize, latency: &mut Vec<u64>, acks: &mut Vec<u64>) {
        for (histograms, values) in [(&self.latency, latency), (&self.acks, acks)] {
            record(&histograms[talker % SHARDS], values);
        }
    }
}

/// Measures chat traffic.
pub(crate) async fn run(options: &Chat) -> anyhow::Result<Report> {
    let target = Target::new(&options.target)?;
    let users = options.pairs * 2;
    anyhow::ensure!(users > 0, "at least one pair is needed");
    let wishes = Wishes {
        stream_management: !options.no_sm,
        carbons: true,
        presence: true,
    };
    let indexes = options.first..options.first + users;
    let clients = log_in_all(&target, indexes, options.concurrency, wishes).await?;

    let stage = Arc::new(new_stage(options));
    let mut talkers = JoinSet::new();
    for (index, client) in clients {
        let number = index - options.first;
        let peer = target.bare_jid(options.first + (number ^ 1));
        let talker = Talker::new(client, &peer, options.body_bytes, number, users);
        talkers.spawn(talker.run(stage.clone()));
    }
    let mut report = watch(options, &stage).await?;
    talkers.join_all().await;

    let sent = stage.sent.load(Ordering::Relaxed);
    let delivered = stage.delivered.load(Ordering::Relaxed);
    report.count("sent_in_all", sent);
    report.count("undelivered_in_all", sent.saturating_sub(delivered));
    report.count("bounced", stage.bounced.load(Ordering::Relaxed));
    report.count(
        "lost_connections",
        stage.lost_connections.load(Ordering::Relaxed),
    );
    report.latency("latency", &merged(&stage.latency));
    report.latency("ack", &merged(&stage.acks));
    Ok(report)
}

/// Moves values into a histogram, which is locked only if there are some.
pub(crate) fn record(histogram: &Mutex<Histogram<u64>>, values: &mut Vec<u64>) {
    if !values.is_empty() {
        let mut histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
        let values = values.drain(..);
        values.for_each(|value| histogram.saturating_record(value));
    }
}

fn new_stage(options: &Chat) -> Stage {
    let clock = Clock::start();
    let users = as_f64(options.pairs as u64) * 2.0;
    Stage {
        schedule: Schedule::new(
            &clock,
            Instant::now(),
            [options.warmup, options.seconds, options.drain],
        ),
        clock,
        period: options
            .rate
            .map(|rate| Duration::from_secs_f64(users / rate.max(0.001))),
        window: options.window,
        ack_every: (!options.no_sm).then_some(options.ack_every.max(1)),
        sent: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        bounced: AtomicU64::new(0),
        lost_connections: AtomicU64::new(0),
        latency: std::array::from_fn(|_| Mutex::new(micros_histogram())),
        acks: std::array::from_fn(|_| Mutex::new(micros_histogram())),
    }
}

/// Takes the counts and the server's CPU time at both ends of the measurement.
async fn watch(options: &Chat, stage: &Stage) -> anyhow::Result<Report> {
    let server = ServerProcess::new(&options.target.server_pid);
    tokio::time::sleep_until(stage.schedule.stop - Duration::from_secs(options.seconds)).await;
    let cpu = server.as_ref().map(ServerProcess::cpu_time).transpose()?;
    let (sent, delivered) = (&stage.sent, &stage.delivered);
    let before = (
        sent.load(Ordering::Relaxed),
        delivered.load(Ordering::Relaxed),
    );
    let started = Instant::now();
    tokio::time::sleep_until(stage.schedule.stop).await;
    let elapsed = started.elapsed();
    let sent = sent.load(Ordering::Relaxed) - before.0;
    let delivered = delivered.load(Ordering::Relaxed) - before.1;

    let mut report = Report::new("chat");
    report.rate("sent", sent, elapsed);
    report.rate("delivered", delivered, elapsed);
    if let (Some(server), Some(before)) = (&server, cpu) {
        let used = server.cpu_time()?.saturating_sub(before);
        report.cpu("server", used, delivered, elapsed);
        let seconds = used.as_secs_f64().max(0.01);
        report.add("delivered_per_cpu_s", as_f64(delivered) / seconds, "/CPU s");
    }
    Ok(report)
}

fn merged(shards: &[Mutex<Histogram<u64>>]) -> Histogram<u64> {
    let mut all = micros_histogram();
    for shard in shards {
        all += &*shard.lock().unwrap_or_else(PoisonError::into_inner);
    }
    all
}
