//! `idle`: what a session that does nothing costs the server in memory and CPU time.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::crowd::{log_in_all, log_out_all};
use crate::login::Wishes;
use crate::report::{Report, as_f64};
use crate::server_process::ServerProcess;
use crate::target::{Target, TargetOptions};

/// Options of `idle`.
#[derive(Args, Debug)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Sessions to hold; a process may not have files for more than about 19,900.
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// Number of the first account, so that several processes can share the work.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Sessions that are there before the first measurement and pay for what only the first ones cost.
    #[arg(long, default_value_t = 100)]
    before: usize,
    /// Log-ins at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Seconds between the last log-in and the measurement, so that the server can give back what it used for it.
    #[arg(long, default_value_t = 5)]
    settle: u64,
    /// Seconds during which the idle server's CPU time is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Hold the sessions until a line arrives on standard input.
    #[arg(long)]
    hold: bool,
}

const WISHES: Wishes = Wishes {
    stream_management: true,
    carbons: true,
    presence: true,
};

/// Measures memory per idle session.
pub(crate) async fn run(options: &Idle) -> anyhow::Result<Report> {
    let target = Target::new(&options.target)?;
    let server = ServerProcess::new(&options.target.server_pid);
    let settle = Duration::from_secs(options.settle);
    let split = options.first + options.before.min(options.sessions / 2);
    let end = options.first + options.sessions;

    let mut held = log_in_all(&target, options.first..split, options.concurrency, WISHES).await?;
    tokio::time::sleep(settle).await;
    let before = server.as_ref().map(ServerProcess::memory).transpose()?;
    let started = Instant::now();
    held.append(&mut log_in_all(&target, split..end, options.concurrency, WISHES).await?);
    let took = started.elapsed();
    tokio::time::sleep(settle).await;

    let mut report = Report::new("idle");
    report.count("sessions", held.len() as u64);
    report.add("login_s", took.as_secs_f64(), "s");
    if let (Some(server), Some(before)) = (&server, before) {
        let after = server.memory()?;
        let added = as_f64((end - split) as u64);
        report.add("server_rss_mib", as_f64(after.rss) / 1048576.0, "MiB");
        let grown = as_f64(after.rss) - as_f64(before.rss);
        report.add("rss_bytes_per_session", grown / added, "bytes");
        let grown = as_f64(after.pss) - as_f64(before.pss);
        report.add("pss_bytes_per_session", grown / added, "bytes");

        let cpu = server.cpu_time()?;
        let watched = Instant::now();
        tokio::time::sleep(Duration::from_secs(options.seconds)).await;
        let used = server.cpu_time()?.saturating_sub(cpu);
        report.cpu("idle", used, held.len() as u64, watched.elapsed());
    }
    if options.hold {
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
            .await?
            .context("reading standard input")?;
    }
    log_out_all(held.into_iter().map(|(_, client)| client).collect()).await;
    Ok(report)
}
