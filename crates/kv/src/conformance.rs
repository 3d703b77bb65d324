//! The suite every engine passes. An engine's tests make a [`Subject`] and call [`all`] and
//! [`model`]; each part can also be called alone.
//!
//! What needs a power cut or a failing disk is not here: a subject cannot do that to itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Batch, Kv, KvError, Op, Partition, Precondition, Row, Scan, Ticket};

/// One store under test, opened one time after another.
pub trait Subject {
    /// Opens the store: empty the first time, then with what it held when it was last closed.
    fn open(&mut self) -> Arc<dyn Kv>;
}

/// Runs every part of the suite on a subject of its own.
///
/// # Panics
/// When the engine does not do what [`Kv`] promises.
pub async fn all<S: Subject>(mut subject: impl FnMut() -> S) {
    a_commit_is_read_at_once(&mut subject()).await;
    a_batch_applies_in_order(&mut subject()).await;
    a_scan_takes_its_range_from_either_end(&mut subject()).await;
    partitions_do_not_see_each_other(&mut subject()).await;
    partitions_are_listed_in_order(&mut subject()).await;
    a_range_is_deleted_whole(&mut subject()).await;
    a_large_range_is_deleted_whole(&mut subject()).await;
    preconditions_guard_a_commit(&mut subject()).await;
    only_one_of_many_takes_a_name(&mut subject()).await;
    tickets_become_durable_in_order(&mut subject()).await;
    what_is_too_large_is_refused(&mut subject()).await;
    everything_is_there_after_reopening(&mut subject()).await;
    a_closed_store_answers_so(&mut subject()).await;
}

fn romeo() -> Partition {
    partition("romeo@example.org")
}

fn partition(name: &str) -> Partition {
    Partition::new(name).expect("a good name")
}

fn put(partition: &Partition, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::new(partition.clone());
    batch.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    batch
}

fn commit(kv: &dyn Kv, batch: Batch) -> Ticket {
    kv.commit(batch).expect("the commit is taken")
}

async fn get(kv: &dyn Kv, partition: &Partition, key: &[u8]) -> Option<Bytes> {
    kv.get(partition, key).await.expect("the key can be read")
}

async fn scan(kv: &dyn Kv, partition: &Partition, scan: Scan) -> Vec<Row> {
    let rows = kv.scan(partition, scan).await;
    rows.expect("the range can be read")
}

async fn keys(kv: &dyn Kv, partition: &Partition, range: Scan) -> Vec<String> {
    let rows = scan(kv, partition, range).await;
    let text = |(key, _): Row| String::from_utf8_lossy(&key).into_owned();
    rows.into_iter().map(text).collect()
}

fn everything() -> Scan {
    Scan::range("", "", usize::MAX)
}

async fn durable(kv: &dyn Kv) {
    let wait = kv.line().wait(kv.line().issued());
    wait.await.expect("the disk is sound");
}

/// Does `check` twice: when nothing need be written out yet, and when everything is durable.
async fn before_and_after_durable<F: Future<Output = ()>>(kv: &dyn Kv, check: impl Fn() -> F) {
    check().await;
    durable(kv).await;
    check().await;
}

/// Reads see a commit when it returns, and the last one wins.
///
/// # Panics
/// When they do not.
pub async fn a_commit_is_read_at_once(subject: &mut dyn Subject) {
    let kv = subject.open();
    let romeo = romeo();
    assert_eq!(get(&*kv, &romeo, b"k").await, None);
    for round in 0..200u32 {
        let value = round.to_string();
        commit(&*kv, put(&romeo, b"k", value.as_bytes()));
        assert_eq!(
            get(&*kv, &romeo, b"k").await.as_deref(),
            Some(value.as_bytes())
        );
        assert_eq!(scan(&*kv, &romeo, everything()).await.len(), 1);
    }
    let mut gone = Batch::new(romeo.clone());
    gone.delete("k").delete("never there");
    commit(&*kv, gone);
    before_and_after_durable(&*kv, || async {
        assert_eq!(get(&*kv, &romeo, b"k").await, None);
    })
    .await;
    // Keys and values may be empty, and hold any byte.
    commit(&*kv, put(&romeo, b"", b""));
    commit(&*kv, put(&romeo, b"\0\xff", b"\0\0"));
    before_and_after_durable(&*kv, || async {
        assert_eq!(get(&*kv, &romeo, b"").await.as_deref(), Some(&b""[..]));
        assert_eq!(
            get(&*kv, &romeo, b"\0\xff").await.as_deref(),
            Some(&b"\0\0"[..])
        );
    })
    .await;
}

/// Later changes of one batch win over earlier ones.
///
/// # Panics
/// When they do not.
pub async fn a_batch_applies_in_order(subject: &mut dyn Subject) {
    let kv = subject.open();
    let romeo = romeo();
    commit(&*kv, put(&romeo, b"old", b"1"));
    durable(&*kv).await;
    let mut batch = Batch::new(romeo.clone());
    batch
        .put("a", "1")
        .delete_range("a", "z")
        .put("b", "1")
        .put("b", "2")
        .put("c", "1")
        .delete("c");
    commit(&*kv, batch);
    before_and_after_durable(&*kv, || async {
        let rows = scan(&*kv, &romeo, everything()).await;
        assert_eq!(rows, [(Bytes::from("b"), Bytes::from("2"))]);
        assert_eq!(get(&*kv, &romeo, b"old").await, None);
    })
    .await;
    assert_eq!(commit(&*kv, Batch::new(romeo)), Ticket::DURABLE);
}

/// Ranges, prefixes, limits and both directions, over rows that are durable and rows that are not.
///
/// # Panics
/// When a scan answers anything else than its range.
pub async fn a_scan_takes_its_range_from_either_end(subject: &mut dyn Subject) {
    let kv = subject.open();
    let romeo = romeo();
    for key in ["b", "d", "f", "h"] {
        commit(&*kv, put(&romeo, key.as_bytes(), b"1"));
    }
    durable(&*kv).await;
    for key in ["a", "c", "d", "i"] {
        commit(&*kv, put(&romeo, key.as_bytes(), b"2"));
    }
    let mut gone = Batch::new(romeo.clone());
    gone.delete("f");
    commit(&*kv, gone);

    before_and_after_durable(&*kv, || async {
        let table = [
            (everything(), "a b c d h i"),
            (everything().reversed(), "i h d c b a"),
            (Scan::range("b", "h", 9), "b c d"),
            (Scan::range("b", "h", 9).reversed(), "d c b"),
            (Scan::range("bb", "", 2), "c d"),
            (Scan::range("", "f", 2).reversed(), "d c"),
            (Scan::range("d", "d", 9), ""),
            (Scan::range("d", "b", 9), ""),
            (Scan::range("", "", 0), ""),
            (Scan::range("j", "", 9), ""),
            (Scan::prefix(b"d", 9), "d"),
        ];
        for (range, expected) in table {
            let found = keys(&*kv, &romeo, range.clone()).await.join(" ");
            assert_eq!(found, expected, "{range:?}");
        }
        assert_eq!(get(&*kv, &romeo, b"d").await.as_deref(), Some(&b"2"[..]));
    })
    .await;
}

/// A partition's keys, ranges and deletions are its own, however alike the names.
///
/// # Panics
/// When one reaches into another.
pub async fn partitions_do_not_see_each_other(subject: &mut dyn Subject) {
    let kv = subject.open();
    let names = ["a", "a!", "a@b", "a@b.c", "!a", "ä@b"];
    for name in names {
        for key in [&b""[..], b"k", b"\xff\xff"] {
            commit(&*kv, put(&partition(name), key, name.as_bytes()));
        }
    }
    before_and_after_durable(&*kv, || async {
        for name in names {
            let rows = scan(&*kv, &partition(name), everything()).await;
            assert_eq!(rows.len(), 3);
            assert!(rows.iter().all(|(_, value)| value == name), "{name}");
        }
    })
    .await;
    let mut gone = Batch::new(partition("a"));
    gone.delete_range("", "");
    commit(&*kv, gone);
    before_and_after_durable(&*kv, || async {
        for name in names {
            let left = scan(&*kv, &partition(name), everything()).await.len();
            assert_eq!(left, if name == "a" { 0 } else { 3 }, "{name}");
        }
    })
    .await;
}

/// Partitions that hold a key are listed, page by page.
///
/// # Panics
/// When one is missing, doubled or out of order.
pub async fn partitions_are_listed_in_order(subject: &mut dyn Subject) {
    let kv = subject.open();
    let mut names: Vec<String> = (0..25).map(|number| format!("u{number:02}@h")).collect();
    names.push("u01@h.example".to_owned());
    names.sort();
    for name in names.iter().rev() {
        let mut batch = Batch::new(partition(name));
        batch.put("a", "1").put("\0", "2");
        commit(&*kv, batch);
    }
    commit(&*kv, put(&partition("gone@h"), b"k", b"v"));
    let mut gone = Batch::new(partition("gone@h"));
    gone.delete("k");
    commit(&*kv, gone);

    before_and_after_durable(&*kv, || async {
        let mut listed: Vec<Partition> = Vec::new();
        loop {
            let page = kv.partitions(listed.last(), 7).await;
            let page = page.expect("partitions can be listed");
            assert!(page.len() <= 7);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        let listed: Vec<&str> = listed.iter().map(Partition::as_str).collect();
        assert_eq!(listed, names);
    })
    .await;
}

/// A deleted range takes what is durable and what is not, and spares what comes later.
///
/// # Panics
/// When it does not.
pub async fn a_range_is_deleted_whole(subject: &mut dyn Subject) {
    let kv = subject.open();
    let romeo = romeo();
    for key in ["log/1", "log/3", "log/5", "roster"] {
        commit(&*kv, put(&romeo, key.as_bytes(), b"durable"));
    }
    durable(&*kv).await;
    for key in ["log/2", "log/4"] {
        commit(&*kv, put(&romeo, key.as_bytes(), b"not yet"));
    }
    let mut gone = Batch::new(romeo.clone());
    gone.delete_range("log/", "log/5").delete_range("z", "a");
    commit(&*kv, gone);
    commit(&*kv, put(&romeo, b"log/3", b"later"));
    before_and_after_durable(&*kv, || async {
        let left = keys(&*kv, &romeo, everything()).await.join(" ");
        assert_eq!(left, "log/3 log/5 roster");
        assert_eq!(get(&*kv, &romeo, b"log/1").await, None);
        let down = keys(&*kv, &romeo, everything().reversed()).await.join(" ");
        assert_eq!(down, "roster log/5 log/3");
    })
    .await;
}

/// The same for a range larger than an engine does in one go.
///
/// # Panics
/// When a key of the range stays, or one beside it goes.
pub async fn a_large_range_is_deleted_whole(subject: &mut dyn Subject) {
    const KEYS: usize = 10_000;
    let kv = subject.open();
    let romeo = romeo();
    let key = |number: usize| format!("log/{number:06}");
    let mut batch = Batch::new(romeo.clone());
    for number in 0..KEYS {
        batch.put(key(number), "v");
    }
    commit(&*kv, batch);
    durable(&*kv).await;

    let mut gone = Batch::new(romeo.clone());
    gone.delete_range(key(1), key(KEYS - 1)).put(key(7), "kept");
    commit(&*kv, gone);
    commit(&*kv, put(&romeo, key(9).as_bytes(), b"later"));
    let expected = [key(0), key(7), key(9), key(KEYS - 1)];
    before_and_after_durable(&*kv, || async {
        assert_eq!(keys(&*kv, &romeo, everything()).await, expected);
        assert_eq!(get(&*kv, &romeo, key(8).as_bytes()).await, None);
    })
    .await;
    kv.close().await.expect("the store closes");
    drop(kv);
    let kv = subject.open();
    assert_eq!(keys(&*kv, &romeo, everything()).await, expected);
}

/// A batch with preconditions is committed only when they all hold.
///
/// # Panics
/// When it is otherwise.
pub async fn preconditions_guard_a_commit(subject: &mut dyn Subject) {
    let kv = subject.open();
    let romeo = romeo();
    let absent = || vec![Precondition::Absent(Bytes::from("k"))];
    let equals = |value: &'static str| {
        vec![Precondition::Equals {
            key: Bytes::from("k"),
            value: Bytes::from(value),
        }]
    };
    let attempt = async |value: &'static str, when| match kv
        .commit_if(put(&romeo, b"k", value.as_bytes()), when)
        .await
    {
        Ok(_) => true,
        Err(KvError::PreconditionFailed) => false,
        Err(other) => panic!("{other}"),
    };
    assert!(!attempt("0", equals("")).await);
    assert!(attempt("1", absent()).await);
    assert!(!attempt("2", absent()).await);
    durable(&*kv).await;
    assert!(!attempt("2", absent()).await);
    assert!(!attempt("2", equals("0")).await);
    assert!(attempt("2", equals("1")).await);
    assert!(!attempt("3", [absent(), equals("2")].concat()).await);
    assert_eq!(get(&*kv, &romeo, b"k").await.as_deref(), Some(&b"2"[..]));
    let mut gone = Batch::new(romeo.clone());
    gone.delete_range("", "");
    commit(&*kv, gone);
    assert!(attempt("4", absent()).await);
    // A batch that only asks changes nothing.
    let ask = kv.commit_if(Batch::new(romeo.clone()), equals("4")).await;
    assert_eq!(ask.expect("it holds"), Ticket::DURABLE);
    let ask = kv.commit_if(Batch::new(romeo.clone()), equals("5")).await;
    assert!(matches!(ask, Err(KvError::PreconditionFailed)));
}

/// Of many that claim one key at once exactly one gets it.
///
/// # Panics
/// When two get it, or none.
pub async fn only_one_of_many_takes_a_name(subject: &mut dyn Subject) {
    let kv = subject.open();
    for round in 0..20 {
        let key = format!("name/{round}");
        let taken: usize = std::thread::scope(|scope| {
            let claims: Vec<_> = (0..4)
                .map(|who: u32| {
                    let (kv, key) = (&kv, &key);
                    scope.spawn(move || {
                        let batch = put(&romeo(), key.as_bytes(), &who.to_be_bytes());
                        let when = vec![Precondition::Absent(Bytes::from(key.clone()))];
                        let claim = kv.commit_if(batch, when);
                        usize::from(
                            futures_util::FutureExt::now_or_never(claim)
                                .is_some_and(|claimed| claimed.is_ok()),
                        )
                    })
                })
                .collect();
            let results = claims.into_iter().map(|claim| claim.join());
            results
                .map(|claimed| claimed.expect("no claim panics"))
                .sum()
        });
        assert_eq!(taken, 1, "round {round}");
    }
}

/// Tickets grow, become durable in order, and the undurable bytes come down to nothing.
///
/// # Panics
/// When they do not.
pub async fn tickets_become_durable_in_order(subject: &mut dyn Subject) {
    let kv = subject.open();
    let line = kv.line().clone();
    assert!(line.is_durable(Ticket::DURABLE));
    let mut last = Ticket::DURABLE;
    for number in 0..500u32 {
        let home = partition(&format!("u{}@h", number % 7));
        let ticket = commit(&*kv, put(&home, &number.to_be_bytes(), &[7; 100]));
        assert!(ticket > last);
        last = ticket;
        if number % 50 == 0 {
            line.wait(ticket).await.expect("the disk is sound");
            assert!(line.is_durable(ticket));
        }
    }
    line.room().await;
    line.wait(last).await.expect("the disk is sound");
    assert_eq!(line.durable(), last);
    assert_eq!(line.undurable_bytes(), 0);
    assert!(!line.failed());
}

/// Keys and values beyond the bounds are refused, and those at the bounds are kept.
///
/// # Panics
/// When they are not.
pub async fn what_is_too_large_is_refused(subject: &mut dyn Subject) {
    let kv = subject.open();
    let romeo = romeo();
    let key = vec![b'k'; crate::KEY_MAX_BYTES];
    let value = vec![b'v'; crate::VALUE_MAX_BYTES];
    commit(&*kv, put(&romeo, &key, &value));
    durable(&*kv).await;
    assert_eq!(get(&*kv, &romeo, &key).await.as_deref(), Some(&*value));
    let too_long = [&key[..], b"k"].concat();
    let refused = kv.commit(put(&romeo, &too_long, b"v"));
    assert!(matches!(refused, Err(KvError::TooLarge)));
    let too_long = [&value[..], b"v"].concat();
    let refused = kv.commit(put(&romeo, b"k", &too_long));
    assert!(matches!(refused, Err(KvError::TooLarge)));
    assert_eq!(get(&*kv, &romeo, b"k").await, None);
}

/// A store that was closed has everything when it is opened again.
///
/// # Panics
/// When it has not.
pub async fn everything_is_there_after_reopening(subject: &mut dyn Subject) {
    let romeo = romeo();
    for round in 0..3u8 {
        let kv = subject.open();
        assert_eq!(
            scan(&*kv, &romeo, everything()).await.len(),
            usize::from(round)
        );
        commit(&*kv, put(&romeo, &[round], b"v"));
        kv.close().await.expect("the store closes");
    }
}

/// After a close every call says so, and a second close is fine.
///
/// # Panics
/// When a call does something else.
pub async fn a_closed_store_answers_so(subject: &mut dyn Subject) {
    let kv = subject.open();
    let romeo = romeo();
    let ticket = commit(&*kv, put(&romeo, b"k", b"v"));
    kv.close().await.expect("the store closes");
    assert!(kv.line().is_durable(ticket));
    assert!(matches!(kv.get(&romeo, b"k").await, Err(KvError::Closed)));
    assert!(matches!(
        kv.scan(&romeo, everything()).await,
        Err(KvError::Closed)
    ));
    assert!(matches!(kv.partitions(None, 1).await, Err(KvError::Closed)));
    assert!(matches!(
        kv.commit(put(&romeo, b"k", b"v")),
        Err(KvError::Closed)
    ));
    let commit_if = kv.commit_if(put(&romeo, b"k", b"v"), Vec::new()).await;
    assert!(matches!(commit_if, Err(KvError::Closed)));
    kv.close().await.expect("closing twice is fine");
}

/// Random commits, reads and reopenings compared with maps in memory. The same `seed` does the
/// same again.
///
/// # Panics
/// When the engine and the model differ; the message names the step and the seed.
pub async fn model(subject: &mut dyn Subject, seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    let mut model: BTreeMap<Partition, BTreeMap<Bytes, Bytes>> = BTreeMap::new();
    let mut kv = subject.open();
    for step in 0..steps {
        let place = format!("step {step} of seed {seed}");
        match dice.below(100) {
            0..55 => {
                let batch = dice.batch();
                apply(&mut model, &batch);
                commit(&*kv, batch);
            }
            55..70 => {
                let (home, key) = (dice.partition(), dice.key());
                let expected = model.get(&home).and_then(|table| table.get(&key));
                assert_eq!(get(&*kv, &home, &key).await.as_ref(), expected, "{place}");
            }
            70..95 => {
                let (home, range) = (dice.partition(), dice.scan());
                let expected = model_scan(&model, &home, &range);
                assert_eq!(
                    scan(&*kv, &home, range.clone()).await,
                    expected,
                    "{place}: {range:?}"
                );
            }
            95..97 => durable(&*kv).await,
            97..99 => {
                let listed = kv.partitions(None, usize::MAX).await;
                let listed = listed.expect("partitions can be listed");
                let expected: Vec<Partition> = model.keys().cloned().collect();
                assert_eq!(listed, expected, "{place}");
            }
            _ => {
                kv.close().await.expect("the store closes");
                drop(kv);
                kv = subject.open();
            }
        }
    }
}

fn apply(model: &mut BTreeMap<Partition, BTreeMap<Bytes, Bytes>>, batch: &Batch) {
    let table = model.entry(batch.partition.clone()).or_default();
    for op in &batch.ops {
        match op {
            Op::Put { key, value } => {
                table.insert(key.clone(), value.clone());
            }
            Op::Delete { key } => {
                table.remove(key);
            }
            Op::DeleteRange { from, to } => {
                table.retain(|key, _| key < from || (!to.is_empty() && key >= to));
            }
        }
    }
    if table.is_empty() {
        model.remove(&batch.partition);
    }
}

fn model_scan(
    model: &BTreeMap<Partition, BTreeMap<Bytes, Bytes>>,
    home: &Partition,
    range: &Scan,
) -> Vec<Row> {
    let mut rows: Vec<Row> = model
        .get(home)
        .into_iter()
        .flatten()
        .filter(|(key, _)| **key >= range.from && (range.to.is_empty() || **key < range.to))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if range.reverse {
        rows.reverse();
    }
    rows.truncate(range.limit);
    rows
}

/// A small generator of pseudo-random numbers (splitmix64), so that a seed says everything.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        let at = self.below(N as u64);
        choices[usize::try_from(at).expect("less than N")]
    }

    fn partition(&mut self) -> Partition {
        partition(self.one_of(["a", "a@b", "a@b.c", "!n"]))
    }

    /// Few different keys, so that they meet.
    fn key(&mut self) -> Bytes {
        let len = self.below(4);
        (0..len)
            .map(|_| self.one_of([0, b'a', b'b', u8::MAX]))
            .collect()
    }

    fn scan(&mut self) -> Scan {
        let range = Scan::range(
            self.key(),
            self.key(),
            self.one_of([0, 1, 2, 4, usize::MAX]),
        );
        if self.below(2) == 0 {
            range
        } else {
            range.reversed()
        }
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::new(self.partition());
        for _ in 0..1 + self.below(5) {
            match self.below(10) {
                0..7 => {
                    let value = self.next().to_be_bytes();
                    batch.put(self.key(), Bytes::copy_from_slice(&value));
                }
                7..9 => {
                    batch.delete(self.key());
                }
                _ => {
                    batch.delete_range(self.key(), self.key());
                }
            }
        }
        batch
    }
}
