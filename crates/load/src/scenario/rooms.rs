//! `rooms`: chat rooms (XEP-0045) full of occupants, with stream management on.
//!
//! The occupants join, a few at a time; the last one of each room is timed from sending its presence to having its own
//! presence (status 110) and the subject. Then they talk. Closed loop (`--window`): that many messages are under way
//! per room, and the occupant who gets the last copy of one writes the next. Open loop (`--rate`): messages are due
//! at fixed times whatever the server does, and latency counts from the due time.

mod cast;
mod occupant;
mod standing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use hdrhistogram::Histogram;

use crate::crowd::log_in_all;
use crate::login::Wishes;
use crate::report::{Report, as_f64, micros_histogram};
use crate::scenario::chat::record;
use crate::server_process::ServerProcess;
use crate::stamp::Clock;
use crate::target::{Target, TargetOptions};

use cast::Cast;

/// Options of `rooms`.
#[derive(Args, Debug)]
pub(crate) struct Rooms {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Domain of the room service (default: `conference.` before the served domain).
    #[arg(long)]
    service: Option<String>,
    /// How many rooms.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Occupants of each room; each is an account that is in no other.
    #[arg(long, default_value_t = 100)]
    occupants: usize,
    /// How many occupants of each room write, in an open loop.
    #[arg(long, default_value_t = 20)]
    speakers: usize,
    /// Number of the first account.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Tell nobody of occupants who are no more than participants (`muc#roomconfig_presencebroadcast`).
    #[arg(long)]
    quiet_presence: bool,
    /// Joins under way at a time.
    #[arg(long, default_value_t = 8)]
    joining: usize,
    /// How often the last occupant of each room leaves and joins again, to time it.
    #[arg(long, default_value_t = 5)]
    rejoins: usize,
    /// Open loop: messages per second written to all rooms together.
    #[arg(long, conflicts_with = "window")]
    rate: Option<f64>,
    /// Closed loop: messages under way per room.
    #[arg(long, default_value_t = 4)]
    window: u32,
    /// Seconds before the measurement.
    #[arg(long, default_value_t = 3)]
    warmup: u64,
    /// Seconds of the measurement; none: joining only.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds to wait at the end for messages that are still under way.
    #[arg(long, default_value_t = 10)]
    drain: u64,
    /// Length of a message's body.
    #[arg(long, default_value_t = 80)]
    body_bytes: usize,
    /// The longest that any one join, or what it sets off, may take, in seconds.
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Log-ins at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

/// A room and what its occupants have been given.
pub(crate) struct Room {
    pub(crate) jid: String,
    /// Its place among the rooms, from 0 to below 1: rooms do not speak in chorus.
    pub(crate) offset: f64,
    pub(crate) sent: AtomicU64,
    pub(crate) delivered: AtomicU64,
}

/// What all occupants of a run share.
pub(crate) struct Stage {
    pub(crate) clock: Clock,
    /// Of each room.
    pub(crate) occupants: u64,
    /// Everything that came, nonzas aside.
    pub(crate) stanzas: AtomicU64,
    pub(crate) lost_connections: AtomicU64,
    latency: Mutex<Histogram<u64>>,
    acks: Mutex<Histogram<u64>>,
}

impl Stage {
    fn new(occupants: usize) -> Stage {
        Stage {
            clock: Clock::start(),
            occupants: occupants as u64,
            stanzas: AtomicU64::new(0),
            lost_connections: AtomicU64::new(0),
            latency: Mutex::new(micros_histogram()),
            acks: Mutex::new(micros_histogram()),
        }
    }

    /// Records deliveries and acks, in microseconds.
    pub(crate) fn record(&self, latency: &mut Vec<u64>, acks: &mut Vec<u64>) {
        for (histogram, values) in [(&self.latency, latency), (&self.acks, acks)] {
            record(histogram, values);
        }
    }
}

/// Measures rooms.
pub(crate) async fn run(options: &Rooms) -> anyhow::Result<Report> {
    let target = Target::new(&options.target)?;
    anyhow::ensure!(
        options.rooms > 0 && options.occupants > 2,
        "at least one room for three is needed"
    );
    let server = ServerProcess::new(&options.target.server_pid);
    let wishes = Wishes {
        stream_management: true,
        carbons: true,
        presence: true,
    };
    let indexes = options.first..options.first + options.rooms * options.occupants;
    let mut clients = log_in_all(&target, indexes, options.concurrency, wishes).await?;
    clients.sort_unstable_by_key(|(index, _)| *index);
    let clients = clients.into_iter().map(|(_, client)| client).collect();

    let mut report = Report::new("rooms");
    let memory = || server.as_ref().map(ServerProcess::memory).transpose();
    let before = memory()?;
    let mut cast = Cast::new(options, &target, clients);
    cast.fill_rooms(server.as_ref(), &mut report).await?;
    cast.time_last_joins(&mut report).await?;
    if let (Some(before), Some(after)) = (before, memory()?) {
        let occupants = as_f64((options.rooms * options.occupants) as u64);
        let grown = as_f64(after.rss) - as_f64(before.rss);
        report.add("rss_bytes_per_occupant", grown / occupants, "bytes");
    }
    if options.seconds > 0 {
        cast.talk(server.as_ref(), &mut report).await?;
    }
    let stage = cast.end().await;
    let lost = stage.lost_connections.load(Ordering::Relaxed);
    report.count("lost_connections", lost);
    for (name, values) in [("latency", &stage.latency), ("ack", &stage.acks)] {
        report.latency(name, &values.lock().unwrap_or_else(PoisonError::into_inner));
    }
    Ok(report)
}
