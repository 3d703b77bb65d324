//! Power cuts, failing syncs and full disks: what was durable is there afterwards, whole batches
//! only, in their order.
//!
//! A child process (the example `crash_child`) writes a history through `tests/crash/powercut.c`,
//! which takes back what was not synced when the power goes, or fails syncs and writes. After
//! each round the store must hold exactly a beginning of the history, no shorter than what the
//! child had said was durable.
//!
//! `POSTHASTE_CRASH_ROUNDS` sets the number of rounds, `POSTHASTE_CRASH_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod history;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use posthaste_engine_embedded::{Embedded, EmbeddedOptions};
use posthaste_kv::{Batch, Kv, KvError, Partition};
use tempfile::TempDir;

use crate::history::Model;

/// Rounds of power cuts in an ordinary run.
const ROUNDS: u64 = 20;
/// A store is begun anew after so many of them, so that first starts are cut too.
const ROUNDS_PER_STORE: u64 = 5;

fn rounds() -> u64 {
    env::var("POSTHASTE_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

/// This run's seed, printed for the next one.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed =
            env::var("POSTHASTE_CRASH_SEED").map_or(now.as_secs(), |seed| seed.parse().unwrap());
        eprintln!("POSTHASTE_CRASH_SEED={seed}");
        seed
    })
}

fn dice(round: u64, about: u64) -> u64 {
    let mut mixed = seed() ^ round.rotate_left(32) ^ about.rotate_left(17);
    for _ in 0..3 {
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mixed >> 8
}

/// The preloaded library, built once.
fn powercut() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../tests/crash/powercut.c"
        );
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("powercut.so");
        let built = Command::new(env::var("CC").unwrap_or_else(|_| "cc".to_owned()))
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([path.as_os_str(), source.as_ref()])
            .arg("-lpthread")
            .status()
            .expect("a C compiler, for tests/crash/powercut.c");
        assert!(built.success(), "tests/crash/powercut.c does not compile");
        (dir, path)
    });
    path
}

/// The example that writes. Cargo builds it along with the tests of this crate.
fn child_path() -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/crash_child");
    assert!(
        path.exists(),
        "{} is missing: run all tests of this crate, or build the example first",
        path.display()
    );
    path
}

/// A store and what it should hold.
struct Scene {
    dir: TempDir,
    model: Model,
}

impl Scene {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            model: Model::default(),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn trigger_path(&self) -> PathBuf {
        self.dir.path().join("trigger")
    }

    /// Tells the disk what to do from now on.
    fn trigger(&self, what: &str) {
        let new = self.dir.path().join("trigger.new");
        fs::write(&new, what).unwrap();
        fs::rename(new, self.trigger_path()).unwrap();
    }

    fn heal(&self) {
        fs::remove_file(self.trigger_path()).unwrap();
    }

    /// Starts the child; `cut_at` is the operation at which the power goes by itself.
    fn start(&self, round: u64, cut_at: Option<u64>) -> Writer {
        let _ = fs::remove_file(self.trigger_path());
        let mut command = Command::new(child_path());
        command
            .arg(self.data())
            .env("LD_PRELOAD", powercut())
            .env("POWERCUT_DIR", self.data())
            .env("POWERCUT_TRIGGER", self.trigger_path())
            .env("POWERCUT_SEED", dice(round, 1).to_string())
            .stdout(Stdio::piped());
        if let Some(cut_at) = cut_at {
            command.env("POWERCUT_AT", cut_at.to_string());
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Writer {
            child,
            lines,
            acked: 0,
        }
    }

    /// Opens the store on a sound disk and compares it with the history.
    async fn check(&mut self, acked: u64, place: &str) {
        let kv = Embedded::open(self.data(), sound()).unwrap_or_else(|e| panic!("{place}: {e}"));
        let length = history::length(&*kv).await;
        let before = self.model.length();
        let place = format!("{place}: {before} before, {acked} acknowledged, {length} there");
        assert!(length >= acked.max(before), "{place}");
        self.model.advance(length);
        self.model.check(&*kv, &place).await;
        kv.close().await.unwrap();
    }
}

fn sound() -> EmbeddedOptions {
    EmbeddedOptions {
        free_disk_floor_bytes: 0,
        ..EmbeddedOptions::default()
    }
}

/// A running child.
struct Writer {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The batches that it has said are durable.
    acked: u64,
}

impl Writer {
    /// The child's next words; `None` when it has ended.
    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        // The power may have gone in the middle of a line.
        let (what, number) = line.strip_suffix('\n')?.split_once(' ')?;
        if what == "acked" {
            self.acked = number.parse().unwrap();
        }
        Some(what.to_owned())
    }

    /// Listens until the child has said `what` so many times.
    fn until(&mut self, what: &str, times: u64) {
        for _ in 0..times {
            while self.next().expect("the child goes on") != what {}
        }
    }

    /// Listens until the child has ended. Answers how many batches it said were durable.
    fn end(mut self) -> u64 {
        while self.next().is_some() {}
        self.child.wait().unwrap();
        self.acked
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Before how many operations a round's power goes: sometimes while the store is made or
/// opened, sometimes in full swing, and in a long run after journals were rotated.
fn within(round: u64) -> u64 {
    if rounds() > ROUNDS && round % 10 == 9 {
        return 40_000;
    }
    [120, 300, 1000, 2500][usize::try_from(dice(round, 2) % 4).unwrap()]
}

#[tokio::test]
async fn a_power_cut_loses_nothing_durable_and_tears_no_batch() {
    let mut scene = Scene::new();
    for round in 0..rounds() {
        if round % ROUNDS_PER_STORE == 0 {
            scene = Scene::new();
        }
        let cut_at = 1 + dice(round, 3) % within(round);
        let acked = scene.start(round, Some(cut_at)).end();
        let place = format!("round {round}, cut at operation {cut_at}, seed {}", seed());
        scene.check(acked, &place).await;
    }
}

#[tokio::test]
async fn after_a_failed_sync_a_reopened_store_does_not_build_on_what_was_lost() {
    for round in 100..100 + rounds().div_ceil(8) {
        let mut scene = Scene::new();
        let mut writer = scene.start(round, None);
        writer.until("acked", 5 + dice(round, 4) % 50);
        scene.trigger("sync-error");
        writer.until("failed", 1);
        scene.heal();
        // Only the page cache has what the failed sync was for; new commits follow.
        writer.until("opened", 1);
        writer.until("acked", 1 + dice(round, 5) % 50);
        scene.trigger("cut");
        let place = format!("round {round}, seed {}", seed());
        let acked = writer.end();
        scene.check(acked, &place).await;
    }
}

#[tokio::test]
async fn failed_writes_are_not_acknowledged_and_the_store_goes_on() {
    for (round, fault) in (200..).zip(["write-error", "full"]) {
        let mut scene = Scene::new();
        let mut writer = scene.start(round, None);
        for _ in 0..2 {
            writer.until("acked", 5 + dice(round, 6) % 50);
            scene.trigger(fault);
            writer.until("failed", 1);
            scene.heal();
            writer.until("opened", 1);
        }
        writer.until("acked", 5);
        scene.trigger("cut");
        let place = format!("{fault}, seed {}", seed());
        let acked = writer.end();
        scene.check(acked, &place).await;
    }
}

/// The store is closed or being opened again when the power goes: nothing must depend on the disk
/// having recovered before.
#[tokio::test]
async fn a_power_cut_while_the_disk_still_fails_loses_nothing_durable() {
    for round in 300..300 + rounds().div_ceil(8) {
        for fault in ["write-error", "full", "sync-error"] {
            let mut scene = Scene::new();
            let mut writer = scene.start(round, None);
            writer.until("acked", 5 + dice(round, 7) % 50);
            scene.trigger(fault);
            writer.until("failed", 1);
            scene.trigger("cut");
            let place = format!("{fault}, round {round}, seed {}", seed());
            let acked = writer.end();
            scene.check(acked, &place).await;
        }
    }
}

/// A small file system of its own, or the reason why there is none.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Result<Self, String> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .output()
            .map_err(|error| format!("no mount command: {error}"))?;
        if !mounted.status.success() {
            return Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned());
        }
        Ok(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_fails_clearly_and_keeps_what_was_durable() {
    const MIB: u64 = 1024 * 1024;
    let disk = match SmallDisk::mount(24 * MIB) {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!("skipped: no file system to fill ({reason})");
            return;
        }
    };
    let folder = disk.0.path().join("data");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 8 << 20]).unwrap();

    // With a floor the store stops by itself, unharmed.
    let floor = EmbeddedOptions {
        free_disk_floor_bytes: 12 * MIB,
        ..sound()
    };
    let kv = Embedded::open(&folder, floor).unwrap();
    let (first, full) = fill(&kv, 0).await;
    assert!(matches!(full, KvError::Full), "{full}");
    assert!(!kv.failed() && kv.commit_stats().disk_full);
    let mut batch = Batch::new(partition());
    batch.delete("nothing");
    let ticket = kv.commit(batch).expect("deletions are taken");
    kv.line().wait(ticket).await.unwrap();
    kv.close().await.unwrap();

    // Without one it meets the end of the disk and fails, and what was durable stays.
    let kv = Embedded::open(&folder, sound()).unwrap();
    let (second, failed) = fill(&kv, first).await;
    assert!(matches!(failed, KvError::Failed(_)), "{failed}");
    assert!(second > first && kv.failed());
    assert!(kv.close().await.is_err());

    fs::remove_file(&ballast).unwrap();
    let kv = Embedded::open(&folder, sound()).unwrap();
    for number in 0..second {
        let value = kv.get(&partition(), &number.to_be_bytes()).await.unwrap();
        assert!(value.is_some_and(|value| value.len() == 10_000), "{number}");
    }
    let (third, _) = tokio::time::timeout(Duration::from_secs(60), fill(&kv, second))
        .await
        .unwrap();
    assert!(third > second);
}

fn partition() -> Partition {
    Partition::new("romeo@example.org").unwrap()
}

/// Commits until the store takes no more. Answers how many commits are durable, and the error.
async fn fill(kv: &Embedded, from: u64) -> (u64, KvError) {
    for number in from.. {
        let mut batch = Batch::new(partition());
        let key = Bytes::copy_from_slice(&number.to_be_bytes());
        batch.put(key, vec![7; 10_000]);
        let durable = match kv.commit(batch) {
            Ok(ticket) => kv.line().wait(ticket).await,
            Err(error) => return (number, error),
        };
        if let Err(failed) = durable {
            return (number, failed.into());
        }
    }
    unreachable!("the disk is finite")
}
