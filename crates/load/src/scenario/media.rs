//! `media`: files that go up (XEP-0363: a slot is asked for over XMPP, the bytes go over HTTP) and come down, at full
//! speed or paced, each byte of a download compared.
//!
//! With `--folder` no XMPP is spoken and the files go to any server that takes PUT, so that others can be measured alike.
//! A run ends after so many files or so many seconds; what is under way then is broken off and counted as such.

mod content;
mod slots;
mod web;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::crowd;
use crate::report::{Report, as_f64, micros_histogram};
use crate::scenario::chat::record;
use crate::server_process::ServerProcess;
use crate::target::{Target, TargetOptions};

use content::Content;
use slots::Giver;
use web::Web;

const GIB: f64 = 1_073_741_824.0;
const MIB: f64 = 1_048_576.0;

/// How often the server's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest that a run without `--seconds` takes.
const LONGEST: Duration = Duration::from_secs(600);

/// Which way the files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Every client uploads files of its own.
    Upload,
    /// All clients download one file, which is uploaded before.
    Download,
}

/// Options of `media`.
#[derive(Args, Debug)]
pub(crate) struct Media {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Which way the files go.
    #[arg(long, value_enum, default_value = "upload")]
    mode: Mode,
    /// Clients, each with one transfer at a time; accounts FIRST, FIRST+1, … where they upload.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Number of the first account.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Size of a file in bytes; K, M and G stand for powers of 1024.
    #[arg(long, default_value = "16M", value_parser = read_size)]
    size: u64,
    /// Files of each client.
    #[arg(long, default_value_t = 4)]
    files: u64,
    /// Seconds after which the run ends, however many files that are.
    #[arg(long, conflicts_with = "files")]
    seconds: Option<u64>,
    /// Bytes per second of each transfer (as --size); readers are truly slow then, with small buffers in the kernel.
    #[arg(long, value_parser = read_size)]
    pace: Option<u64>,
    /// Address of the upload service (default: `upload.` before the served domain).
    #[arg(long)]
    service: Option<String>,
    /// Put files below this address, which ends in a slash, without asking for slots: another server's WebDAV folder.
    #[arg(long, value_parser = slots::folder)]
    folder: Option<String>,
    /// Log-ins at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

/// What all clients of a run share.
struct Stage {
    web: Web,
    size: u64,
    /// `None`: as many as there is time for.
    files: Option<u64>,
    until: Instant,
    done: AtomicU64,
    /// Transfers that the end of the run broke off.
    cut: AtomicU64,
    slots: Mutex<Histogram<u64>>,
    first_bytes: Mutex<Histogram<u64>>,
    transfers: Mutex<Histogram<u64>>,
}

impl Stage {
    fn new(options: &Media, web: Web) -> Stage {
        let longest = options.seconds.map_or(LONGEST, Duration::from_secs);
        Stage {
            web,
            size: options.size,
            files: options.seconds.is_none().then_some(options.files),
            until: Instant::now() + longest,
            done: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            slots: Mutex::new(micros_histogram()),
            first_bytes: Mutex::new(micros_histogram()),
            transfers: Mutex::new(micros_histogram()),
        }
    }

    fn goes_on(&self, done: u64) -> bool {
        self.files.is_none_or(|files| done < files) && Instant::now() < self.until
    }

    /// A transfer has come to its end.
    fn note(&self, took: Duration) {
        self.done.fetch_add(1, Ordering::Relaxed);
        note(&self.transfers, took);
    }
}

fn note(histogram: &Mutex<Histogram<u64>>, took: Duration) {
    let micros = took.as_micros().try_into().unwrap_or(u64::MAX);
    record(histogram, &mut vec![micros]);
}

/// Measures uploads or downloads.
pub(crate) async fn run(options: &Media) -> anyhow::Result<Report> {
    ensure!(
        options.clients > 0 && options.size > 0,
        "at least one client and one byte are needed"
    );
    let target = Target::new(&options.target)?;
    match options.mode {
        Mode::Upload => {
            let givers = givers(options, &target, options.clients).await?;
            let watched = Watched::start(options)?;
            let stage = Arc::new(Stage::new(options, Web::new(target.remote, options.pace)?));
            let mut clients = JoinSet::new();
            for giver in givers {
                clients.spawn(Box::pin(upload(giver, Arc::clone(&stage))));
            }
            finish(options, watched, &stage, clients).await
        }
        Mode::Download => {
            let (slot, content) = prepare(options, &target).await?;
            let watched = Watched::start(options)?;
            let stage = Arc::new(Stage::new(options, Web::new(target.remote, options.pace)?));
            let mut clients = JoinSet::new();
            for _ in 0..options.clients {
                let (from, content) = (slot.get.clone(), content.clone());
                clients.spawn(Box::pin(download(from, content, Arc::clone(&stage))));
            }
            finish(options, watched, &stage, clients).await
        }
    }
}

/// Whoever gives slots to the first `count` clients.
async fn givers(options: &Media, target: &Arc<Target>, count: usize) -> anyhow::Result<Vec<Giver>> {
    if let Some(folder) = &options.folder {
        return Ok((0..count).map(|_| Giver::Folder(folder.clone())).collect());
    }
    let service = match &options.service {
        Some(service) => service.clone(),
        None => format!("upload.{}", target.domain),
    };
    let indexes = options.first..options.first + count;
    let target = Arc::clone(target);
    crowd::for_each(indexes, options.concurrency, move |index| {
        let (target, service) = (Arc::clone(&target), service.clone());
        async move { Giver::log_in(&target, index, &service).await }
    })
    .await
}

/// Uploads the file that everybody downloads.
async fn prepare(options: &Media, target: &Arc<Target>) -> anyhow::Result<(slots::Slot, Content)> {
    let mut giver = givers(options, target, 1).await?.remove(0);
    let content = Content::new(options.size)?;
    let slot = giver.slot(&content).await?;
    let web = Web::new(target.remote, None)?;
    let putting = web.put(&slot.put, &slot.headers, &content);
    tokio::time::timeout(LONGEST, putting)
        .await
        .context("uploading what is to be downloaded took too long")??;
    giver.leave().await;
    Ok((slot, content))
}

async fn upload(mut giver: Giver, stage: Arc<Stage>) -> anyhow::Result<()> {
    let mut done = 0;
    while stage.goes_on(done) {
        let content = Content::new(stage.size)?;
        let started = Instant::now();
        let slot = giver.slot(&content).await?;
        note(&stage.slots, started.elapsed());
        let started = Instant::now();
        let putting = stage.web.put(&slot.put, &slot.headers, &content);
        match tokio::time::timeout_at(stage.until, putting).await {
            Ok(put) => {
                put?;
                stage.note(started.elapsed());
                done += 1;
            }
            Err(_) => {
                stage.cut.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    giver.leave().await;
    Ok(())
}

async fn download(from: http::Uri, content: Content, stage: Arc<Stage>) -> anyhow::Result<()> {
    let mut done = 0;
    while stage.goes_on(done) {
        let started = Instant::now();
        let got = stage.web.get(&from, &content, stage.until).await?;
        if got.bytes > 0 {
            note(&stage.first_bytes, got.first_byte);
        }
        if got.bytes == content.size {
            stage.note(started.elapsed());
            done += 1;
        } else {
            stage.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The server's process while the files go.
struct Watched {
    server: Option<ServerProcess>,
    cpu: Duration,
    resident: u64,
    most: Arc<AtomicU64>,
    started: Instant,
    looking: JoinSet<()>,
}

impl Watched {
    fn start(options: &Media) -> anyhow::Result<Watched> {
        let server = ServerProcess::new(&options.target.server_pid);
        let most = Arc::new(AtomicU64::new(0));
        let mut looking = JoinSet::new();
        let (mut cpu, mut resident) = (Duration::ZERO, 0);
        if let Some(server) = &server {
            cpu = server.cpu_time()?;
            resident = server.resident()?;
            let (server, most) = (server.clone(), Arc::clone(&most));
            looking.spawn(async move {
                // A server that is gone is found out about by the transfers.
                while let Ok(resident) = server.resident() {
                    most.fetch_max(resident, Ordering::Relaxed);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            });
        }
        Ok(Watched {
            server,
            cpu,
            resident,
            most,
            started: Instant::now(),
            looking,
        })
    }

    fn report(mut self, report: &mut Report, bytes: u64, clients: usize) -> anyhow::Result<()> {
        self.looking.abort_all();
        let elapsed = self.started.elapsed();
        report.add("seconds", elapsed.as_secs_f64(), "s");
        let per_second = as_f64(bytes) / MIB / elapsed.as_secs_f64();
        report.add("mib_per_s", per_second, "MiB/s");
        if let Some(server) = &self.server {
            let used = server.cpu_time()?.saturating_sub(self.cpu);
            let cores = used.as_secs_f64() / elapsed.as_secs_f64();
            report.add("server_cores", cores, "cores");
            let per_gib = used.as_secs_f64() * GIB / as_f64(bytes.max(1));
            report.add("server_cpu_s_per_gib", per_gib, "s/GiB");
            let most = self.most.load(Ordering::Relaxed).max(server.resident()?);
            let grown = as_f64(most) - as_f64(self.resident);
            report.add("server_rss_grown_mib", grown / MIB, "MiB");
            let each = grown / as_f64(clients as u64);
            report.add("server_rss_grown_per_client", each, "bytes");
        }
        Ok(())
    }
}

async fn finish(
    options: &Media,
    watched: Watched,
    stage: &Stage,
    mut clients: JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Report> {
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let mut report = Report::new("media");
    let bytes = stage.web.moved.load(Ordering::Relaxed);
    report.count("clients", options.clients as u64);
    report.count("transfers", stage.done.load(Ordering::Relaxed));
    report.count("broken_off", stage.cut.load(Ordering::Relaxed));
    report.add("mib", as_f64(bytes) / MIB, "MiB");
    watched.report(&mut report, bytes, options.clients)?;
    for (name, values) in [
        ("slot", &stage.slots),
        ("first_byte", &stage.first_bytes),
        ("transfer", &stage.transfers),
    ] {
        let values = values
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        report.latency(name, &values);
    }
    Ok(report)
}

/// A number of bytes, such as `500`, `64K` or `1G`.
fn read_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("{text} is no number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_have_a_unit() {
        assert_eq!(read_size("500"), Ok(500));
        assert_eq!(read_size("64K"), Ok(65_536));
        assert_eq!(read_size("1G"), Ok(1 << 30));
        for wrong in [
            "",
            "M",
            "1.5M",
            "99999999999999999999",
            "-1",
            "99999999999G",
        ] {
            assert!(read_size(wrong).is_err(), "{wrong}");
        }
    }
}
