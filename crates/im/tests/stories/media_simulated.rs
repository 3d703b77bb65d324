//! Romeo uploads, repeats himself, changes his mind; files go by themselves, and the power fails in between, or the disk
//! is full: what his
//! account is said to use is always what its rows say, nobody is ever sent to bytes that are not there, and in the end
//! no bytes are left that nobody can find.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::poll;
use posthaste_im::config::Config;
use posthaste_im::media::{
    self, Digest, FileId, Keep, LedgerError, Limits, Listed, ObjectName, Page, Purpose, Round,
    Slot, State,
};
use posthaste_im::tables;
use posthaste_kv::fault::Faulty;
use posthaste_kv::memory::MemoryKv;
use posthaste_kv::{Kv, KvError, Partition, Scan};
use posthaste_proto::jid::BareJid;

use crate::harness::{World, config};

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

struct Play {
    seed: u64,
    dice: Dice,
    world: World,
    /// What refuses to write now and then, in a play in which the power does not fail.
    faults: Option<Arc<Faulty>>,
    account: BareJid,
    /// Slots that were given out, and what they will be filled with.
    slots: Vec<(Slot, Digest)>,
    /// Slots of uploads that were acknowledged to have begun, whatever came of them.
    begun: BTreeSet<FileId>,
    /// Uploads that are under way, as the HTTP half sees it.
    coming: BTreeMap<FileId, (Digest, ObjectName)>,
    /// The object store.
    objects: BTreeSet<ObjectName>,
    /// Files whose upload was acknowledged, and that nobody has removed since.
    acknowledged: BTreeSet<FileId>,
}

impl Play {
    fn new(seed: u64, has_faults: bool) -> Play {
        let limits = Limits {
            keep: Keep::Days(1),
            ..Limits::default()
        };
        let config = Config {
            media: limits,
            ..config()
        };
        let kv = Arc::new(if has_faults {
            MemoryKv::new()
        } else {
            MemoryKv::manual()
        });
        let faults = has_faults.then(|| Arc::new(Faulty::over(kv.clone())));
        let world = match &faults {
            Some(faults) => World::behind(config, kv, faults.clone()),
            None => World::with(config, kv),
        };
        world.kv.make_durable();
        Play {
            seed,
            dice: Dice(seed),
            world,
            faults,
            account: BareJid::parse("romeo@example.org").unwrap(),
            slots: Vec::new(),
            begun: BTreeSet::new(),
            coming: BTreeMap::new(),
            objects: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    /// Waits for something, with a disk that does its part, unless the power fails: then `None`.
    async fn does<T>(&mut self, deed: impl Future<Output = T>) -> Option<T> {
        let mut deed = pin!(deed);
        loop {
            if let Poll::Ready(done) = poll!(deed.as_mut()) {
                return Some(done);
            }
            if self.faults.is_none() && self.dice.below(8) == 0 {
                return None;
            }
            self.world.kv.make_durable();
            tokio::task::yield_now().await;
        }
    }

    /// Waits for something with a disk that does its part.
    async fn waits<T>(&self, deed: impl Future<Output = T>) -> T {
        let mut deed = pin!(deed);
        loop {
            match poll!(deed.as_mut()) {
                Poll::Ready(done) => return done,
                Poll::Pending => self.world.kv.make_durable(),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn step(&mut self) {
        if let Some(faults) = &self.faults
            && self.dice.below(3) == 0
        {
            let nth = u64::try_from(self.dice.below(4)).unwrap() + 1;
            faults.fail_commit(nth, || KvError::Full);
        }
        match self.dice.below(16) {
            0..=3 => self.ask(),
            4..=6 => self.claim().await,
            7..=10 => self.complete().await,
            11 => self.abandon().await,
            12 => self.remove().await,
            13 => self.pass_time().await,
            14 => self.sweep().await,
            _ => self.power_cut(),
        }
        self.check().await;
    }

    fn ask(&mut self) {
        let digest = u8::try_from(self.dice.below(4)).unwrap();
        let purpose = match self.dice.below(4) {
            0 => Purpose::Permanent,
            1 => Purpose::Ephemeral(self.world.node.now().plus_millis(3_600_000)),
            _ => Purpose::Message,
        };
        let slot = Slot {
            account: self.account.clone(),
            id: FileId::random(&self.world.node),
            name: "a".to_owned(),
            // The same bytes are as many.
            size: u64::from(digest) + 1,
            content_type: String::new(),
            purpose,
            expires: self.world.node.now().plus_millis(300_000),
        };
        self.slots.push((slot, [digest; 32]));
    }

    async fn claim(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let which = self.dice.below(self.slots.len());
        let (slot, digest) = self.slots[which].clone();
        if slot.expires < self.world.node.now() {
            self.slots.remove(which);
            return;
        }
        let node = self.world.node.clone();
        match self.does(media::claim(&node, &slot)).await {
            Some(Ok(claimed)) => {
                let is_first = self.begun.insert(slot.id.clone());
                assert!(is_first, "seed {}: a slot was used twice", self.seed);
                self.coming.insert(slot.id, (digest, claimed.object));
            }
            Some(Err(LedgerError::Used)) => {}
            Some(Err(error)) => self.is_fault(&error),
            None => self.power_cut(),
        }
    }

    async fn complete(&mut self) {
        let Some((id, (digest, object))) = self.coming.pop_first() else {
            return;
        };
        let (node, account) = (self.world.node.clone(), self.account.clone());
        match self.does(media::adopt(&node, &account, &id, digest)).await {
            Some(Ok(true)) => {
                self.acknowledged.insert(id);
                return;
            }
            Some(Ok(false)) => {}
            Some(Err(LedgerError::NotFound)) => return,
            Some(Err(error)) => return self.is_fault(&error),
            None => return self.power_cut(),
        }
        self.objects.insert(object.clone());
        match self.does(media::finish(&node, &account, &id, digest)).await {
            Some(Ok(())) => {
                self.acknowledged.insert(id);
            }
            Some(Err(LedgerError::NotFound)) => {
                self.objects.remove(&object);
            }
            Some(Err(error)) => self.is_fault(&error),
            None => self.power_cut(),
        }
    }

    async fn abandon(&mut self) {
        if let Some((id, _)) = self.coming.pop_last() {
            let (node, account) = (self.world.node.clone(), self.account.clone());
            if self
                .does(media::abandon(&node, &account, &id))
                .await
                .is_none()
            {
                self.power_cut();
            }
        }
    }

    async fn remove(&mut self) {
        let Some(id) = self.acknowledged.pop_first() else {
            return;
        };
        let (node, account) = (self.world.node.clone(), self.account.clone());
        match self.does(media::remove(&node, &account, &id)).await {
            Some(Ok(())) => assert!(media::file(&node, &id).await.unwrap().is_none()),
            // It has gone by itself.
            Some(Err(LedgerError::NotFound)) => {}
            Some(Err(error)) => self.is_fault(&error),
            None => self.power_cut(),
        }
    }

    async fn pass_time(&mut self) {
        let seconds = [10, 200, 3_600, 7 * 3_600][self.dice.below(4)];
        self.world.pass_seconds(seconds).await;
    }

    async fn sweep(&mut self) {
        let node = self.world.node.clone();
        let mut round = Round::default();
        loop {
            let Some(doomed) = self.does(media::sweep(&node, &mut round)).await else {
                return self.power_cut();
            };
            let Ok(doomed) = doomed.inspect_err(|error| self.is_fault(error)) else {
                return;
            };
            for doomed in doomed {
                for object in &doomed.objects {
                    self.objects.remove(object);
                }
                // The power may fail before the names are forgotten.
                if self.dice.below(4) == 0 {
                    return self.power_cut();
                }
                if let Err(error) = media::erased(&node, &doomed).await {
                    self.is_fault(&error);
                }
            }
            if round.is_over() {
                return;
            }
        }
    }

    fn is_fault(&self, error: &LedgerError) {
        let is_store = matches!(error, LedgerError::Store(_));
        assert!(self.faults.is_some() && is_store, "{error}");
    }

    /// Some of what was not durable may be there all the same.
    fn power_cut(&mut self) {
        self.coming.clear();
        if self.faults.is_some() {
            return;
        }
        let more = self.dice.below(4);
        self.world.kv.make_oldest_durable(more);
        self.world = self.world.after_power_cut();
        self.world.kv.make_durable();
    }

    async fn rows(&self, table: &[u8]) -> Vec<(bytes::Bytes, bytes::Bytes)> {
        let partition = Partition::new(self.account.as_str()).unwrap();
        let scan = Scan::prefix(table, 10_000);
        self.world.kv.scan(&partition, scan).await.unwrap()
    }

    async fn listed(&self) -> Vec<Listed> {
        media::list(&self.world.node, &self.account, &Page::First, 10_000)
            .await
            .unwrap()
    }

    /// The sums are what the rows say, and nobody is sent to bytes that are not there.
    async fn check(&self) {
        let seed = self.seed;
        let (node, files) = (&self.world.node, self.listed().await);
        assert_eq!(
            files.len(),
            self.rows(tables::MEDIA).await.len(),
            "seed {seed}"
        );
        let usage = media::usage(node, &self.account).await.unwrap();
        assert_eq!(
            usize::try_from(usage.files).unwrap(),
            files.len(),
            "seed {seed}"
        );
        let open = files
            .iter()
            .filter(|it| it.record.state == State::Uploading);
        assert_eq!(
            usize::try_from(usage.open).unwrap(),
            open.clone().count(),
            "seed {seed}"
        );
        let used = self.rows(tables::MEDIA_USED).await.len();
        assert_eq!(usize::try_from(usage.used).unwrap(), used, "seed {seed}");
        let mut kept: BTreeMap<Digest, (u64, ObjectName)> = BTreeMap::new();
        for file in files.iter().filter(|it| it.record.state == State::Stored) {
            let record = &file.record;
            let bytes = (record.size, record.object.clone());
            let known = kept.entry(record.digest).or_insert(bytes.clone());
            assert_eq!(*known, bytes, "seed {seed}");
        }
        let bytes: u64 = kept.values().map(|(size, _)| size).sum::<u64>()
            + open.map(|it| it.record.size).sum::<u64>();
        assert_eq!(usage.bytes, bytes, "seed {seed}");
        assert_eq!(
            self.rows(tables::MEDIA_OBJECT).await.len(),
            kept.len(),
            "seed {seed}"
        );
        for (_, object) in kept.values() {
            assert!(self.objects.contains(object), "seed {seed}: bytes are gone");
        }
        for (slot, _) in &self.slots {
            if let Some(file) = media::file(node, &slot.id).await.unwrap() {
                assert!(
                    self.objects.contains(&file.object),
                    "seed {seed}: a dead link"
                );
            }
        }
    }

    /// When all has gone that goes by itself, exactly the bytes are left that somebody can find.
    async fn end(mut self) {
        let seed = self.seed;
        if let Some(faults) = &self.faults {
            // The disk has room again.
            faults.fail_commit(u64::MAX, || KvError::Full);
        }
        self.world.kv.make_durable();
        self.world.pass_seconds(86_400).await;
        let node = self.world.node.clone();
        for _ in 0..3 {
            let mut round = Round::default();
            loop {
                let doomed = self.waits(media::sweep(&node, &mut round)).await.unwrap();
                for doomed in doomed {
                    for object in &doomed.objects {
                        self.objects.remove(object);
                    }
                    media::erased(&node, &doomed).await.unwrap();
                }
                if round.is_over() {
                    break;
                }
            }
        }
        self.check().await;
        let files = self.listed().await;
        let findable: BTreeSet<ObjectName> =
            files.iter().map(|it| it.record.object.clone()).collect();
        assert_eq!(self.objects, findable, "seed {seed}");
        assert!(
            files
                .iter()
                .all(|it| it.record.purpose == Purpose::Permanent)
        );
        for table in [tables::MEDIA_DUE, tables::MEDIA_USED, tables::MEDIA_DOOMED] {
            assert_eq!(self.rows(table).await.len(), 0, "seed {seed}");
        }
        let kept: BTreeSet<FileId> = files.into_iter().map(|it| it.id).collect();
        let permanent = self.slots.iter().filter(|(slot, _)| {
            slot.purpose == Purpose::Permanent && self.acknowledged.contains(&slot.id)
        });
        for (slot, _) in permanent {
            assert!(
                kept.contains(&slot.id),
                "seed {seed}: an acknowledged file is gone"
            );
        }
    }
}

#[tokio::test]
async fn whatever_happens_what_is_used_is_what_is_there() {
    for seed in 0..150 {
        for has_faults in [false, true] {
            let mut play = Play::new(seed, has_faults);
            for _ in 0..80 {
                play.step().await;
            }
            play.end().await;
        }
    }
}
