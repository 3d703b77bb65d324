//! `login`: how many log-ins the server carries per second, from TCP connect to bound session and polite close.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::login::{Client, Wishes, log_in};
use crate::report::{Report, micros_histogram};
use crate::server_process::ServerProcess;
use crate::target::{Target, TargetOptions};

/// Options of `login`.
#[derive(Args, Debug)]
pub(crate) struct LogIn {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Accounts to take turns with.
    #[arg(long, default_value_t = 1000)]
    accounts: usize,
    /// Log-ins under way at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Seconds to measure, after each account has logged in once if --warm.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Log every account in once before measuring, so that clients know their salts as real ones do.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    warm: bool,
}

const WISHES: Wishes = Wishes {
    stream_management: true,
    carbons: false,
    presence: false,
};

/// Connections that have logged in and wait for the server to close them: a part of the files a process may open.
const MAX_CLOSING: usize = 4000;

#[derive(Default)]
struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
    next: AtomicUsize,
}

/// Measures log-ins per second.
pub(crate) async fn run(options: &LogIn) -> anyhow::Result<Report> {
    let target = Target::new(&options.target)?;
    if options.warm {
        let warming = target.clone();
        crate::crowd::for_each(0..options.accounts, options.concurrency, move |index| {
            let target = warming.clone();
            async move {
                log_in(&target, index, WISHES)
                    .await?
                    .connection
                    .close()
                    .await;
                Ok(())
            }
        })
        .await?;
    }
    measure(options, &target).await
}

async fn measure(options: &LogIn, target: &Arc<Target>) -> anyhow::Result<Report> {
    let server = ServerProcess::new(&options.target.server_pid);
    let cpu_before = server.as_ref().map(ServerProcess::cpu_time).transpose()?;
    let tally = Arc::new(Tally::default());
    let latency = Arc::new(Mutex::new(micros_histogram()));
    let closing = Arc::new(Semaphore::new(MAX_CLOSING));
    let started = Instant::now();
    let deadline = started + Duration::from_secs(options.seconds);
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        workers.spawn(log_in_until(
            deadline,
            options.accounts,
            target.clone(),
            tally.clone(),
            latency.clone(),
            closing.clone(),
        ));
    }
    workers.join_all().await;
    let elapsed = started.elapsed();

    let mut report = Report::new("login");
    let done = tally.done.load(Ordering::Relaxed);
    report.rate("logins", done, elapsed);
    report.count("failed", tally.failed.load(Ordering::Relaxed));
    if let (Some(server), Some(before)) = (&server, cpu_before) {
        report.cpu(
            "server",
            server.cpu_time()?.saturating_sub(before),
            done,
            elapsed,
        );
    }
    report.latency(
        "login",
        &latency.lock().unwrap_or_else(PoisonError::into_inner),
    );
    Ok(report)
}

async fn close_in_background(client: Client, closing: &Arc<Semaphore>) {
    let permit = closing.clone().acquire_owned().await;
    tokio::spawn(async move {
        client.connection.close().await;
        drop(permit);
    });
}

async fn log_in_until(
    deadline: Instant,
    accounts: usize,
    target: Arc<Target>,
    tally: Arc<Tally>,
    latency: Arc<Mutex<Histogram<u64>>>,
    closing: Arc<Semaphore>,
) {
    while Instant::now() < deadline {
        let index = tally.next.fetch_add(1, Ordering::Relaxed) % accounts;
        let started = Instant::now();
        match log_in(&target, index, WISHES).await {
            Ok(client) => {
                let micros = started.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
                latency
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .saturating_record(micros);
                tally.done.fetch_add(1, Ordering::Relaxed);
                // Some servers take their time to close, which is not part of a log-in.
                close_in_background(client, &closing).await;
            }
            Err(_) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                // A server that refuses everything must not be hammered in a tight loop.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
