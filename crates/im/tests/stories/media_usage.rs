//! Whoever runs the server sees what accounts have uploaded, and puts an end to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use posthaste_im::clock::{Clock as _, Timestamp};
use posthaste_im::media::stats::{Refused, Sum};
use posthaste_im::media::usage::{self, Found, MOST_FILES, Which};
use posthaste_im::media::{self, FileId, LedgerError, Purpose, Round, Slot};
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::jid::BareJid;

use crate::harness::{World, config};

const DAY_SECONDS: u64 = 86_400;

fn account(user: &str) -> BareJid {
    BareJid::parse(&format!("{user}@example.org")).unwrap()
}

/// A name that no other file of this test has; those of the harness come again after some hundreds.
fn new_id() -> FileId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let letter = |shift: u32| char::from(b'a' + u8::try_from(number >> shift & 15).unwrap());
    let name: String = (0..6).map(|at| letter(at * 4)).collect();
    FileId::parse(&format!("{name:a<24}")).unwrap()
}

/// Somebody begins to upload something.
async fn begins(world: &World, user: &str, size: u64) -> Slot {
    let slot = Slot {
        account: account(user),
        id: new_id(),
        name: "balcony.jpg".to_owned(),
        size,
        content_type: "image/jpeg".to_owned(),
        purpose: Purpose::Message,
        expires: world.clock.now().plus_millis(60_000),
    };
    media::claim(&world.node, &slot).await.unwrap();
    slot
}

/// Somebody uploads something whose bytes are all `byte`.
async fn uploads(world: &World, user: &str, byte: u8, size: u64) -> FileId {
    let slot = begins(world, user, size).await;
    let digest = [byte; 32];
    let is_known = media::adopt(&world.node, &slot.account, &slot.id, digest);
    if !is_known.await.unwrap() {
        let kept = media::finish(&world.node, &slot.account, &slot.id, digest);
        kept.await.unwrap();
    }
    slot.id
}

/// Files, uploads under way, bytes, bytes of today.
async fn used(world: &World, user: &str) -> (u32, u32, u64, u64) {
    let used = usage::usage_of(&world.node, &account(user)).await.unwrap();
    (used.files, used.open, used.bytes, used.day_bytes)
}

async fn is_there(world: &World, id: &FileId) -> bool {
    media::file(&world.node, id).await.unwrap().is_some()
}

#[tokio::test]
async fn what_accounts_have_uploaded_is_told_account_by_account() {
    let world = World::new();
    assert_eq!(used(&world, "romeo").await, (0, 0, 0, 0));
    uploads(&world, "romeo", 1, 100).await;
    uploads(&world, "romeo", 1, 100).await;
    uploads(&world, "romeo", 2, 50).await;
    begins(&world, "romeo", 7).await;
    uploads(&world, "juliet", 1, 100).await;
    // What is there twice is stored once, but was uploaded twice.
    assert_eq!(used(&world, "romeo").await, (4, 1, 157, 257));
    world.pass_seconds(DAY_SECONDS).await;
    assert_eq!(used(&world, "romeo").await, (4, 1, 157, 0));
    assert_eq!(used(&world, "nobody").await, (0, 0, 0, 0));
    let (all, next) = usage::usages(&world.node, None).await.unwrap();
    let names = all.iter().map(|usage| usage.account.as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["juliet@example.org", "romeo@example.org"]
    );
    assert_eq!(next, None);
    let juliet = account("juliet");
    let (after, _) = usage::usages(&world.node, Some(&juliet)).await.unwrap();
    assert_eq!(after, all[1..]);
}

#[tokio::test]
async fn pages_of_accounts_end_where_the_next_begins() {
    let world = World::new();
    let count = usage::MOST_ACCOUNTS + 1;
    for number in 0..count {
        let user = format!("witch{number:04}");
        world.add_account(&user);
        begins(&world, &user, 1).await;
    }
    let (first, next) = usage::usages(&world.node, None).await.unwrap();
    assert_eq!(first.len(), count - 1);
    assert_eq!(next.as_ref(), first.last().map(|usage| &usage.account));
    let (last, next) = usage::usages(&world.node, next.as_ref()).await.unwrap();
    assert_eq!((last.len(), next), (1, None));
    assert_eq!(last[0].account, account("witch0500"));
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_new_or_somebody_elses_stays() {
    let world = World::new();
    let old = [
        uploads(&world, "romeo", 1, 100).await,
        uploads(&world, "romeo", 1, 100).await,
        uploads(&world, "romeo", 2, 50).await,
    ];
    let hers = uploads(&world, "juliet", 1, 100).await;
    world.pass_seconds(30 * DAY_SECONDS).await;
    // It shares its bytes with what goes.
    let new = uploads(&world, "romeo", 1, 100).await;
    let which = Which {
        before: Some(world.clock.now()),
        after: None,
    };
    let found = Found {
        files: 3,
        bytes: 250,
        next: None,
    };
    let romeo = account("romeo");
    assert_eq!(
        usage::count(&world.node, &romeo, which).await.unwrap(),
        found
    );
    assert_eq!(used(&world, "romeo").await, (4, 0, 150, 100));
    assert_eq!(
        usage::purge(&world.node, &romeo, which).await.unwrap(),
        found
    );
    for id in &old {
        assert!(!is_there(&world, id).await);
    }
    assert!(is_there(&world, &new).await && is_there(&world, &hers).await);
    assert_eq!(used(&world, "romeo").await, (1, 0, 100, 100));
    let left = usage::count(&world.node, &romeo, Which::default()).await;
    assert_eq!(
        (left.as_ref().unwrap().files, left.unwrap().bytes),
        (1, 100)
    );
}

#[tokio::test]
async fn an_account_with_many_files_is_purged_step_by_step() {
    let world = World::new();
    for _ in 0..=MOST_FILES {
        // All share their bytes: the last one takes them along.
        uploads(&world, "romeo", 1, 10).await;
    }
    let romeo = account("romeo");
    let first = usage::purge(&world.node, &romeo, Which::default()).await;
    let first = first.unwrap();
    assert_eq!(first.files as usize, MOST_FILES);
    assert_eq!(used(&world, "romeo").await.2, 10);
    let which = Which {
        before: None,
        after: first.next.as_ref(),
    };
    let second = usage::purge(&world.node, &romeo, which).await.unwrap();
    assert_eq!((second.files, second.next), (1, None));
    let left = used(&world, "romeo").await;
    assert_eq!((left.0, left.1, left.2), (0, 0, 0));
}

#[tokio::test]
async fn an_upload_that_is_under_way_ends_with_its_row() {
    let world = World::new();
    let slot = begins(&world, "romeo", 10).await;
    let romeo = account("romeo");
    let purged = usage::purge(&world.node, &romeo, Which::default()).await;
    assert_eq!(purged.unwrap().files, 1);
    assert_eq!(used(&world, "romeo").await, (0, 0, 0, 10));
    let finished = media::finish(&world.node, &romeo, &slot.id, [1; 32]).await;
    assert!(matches!(finished, Err(LedgerError::NotFound)));
    let before = Which {
        before: Some(Timestamp(0)),
        after: None,
    };
    let nothing = usage::purge(&world.node, &romeo, before).await.unwrap();
    assert_eq!(nothing, Found::default());
}

#[tokio::test]
async fn what_becomes_of_files_is_counted() {
    let mut config = config();
    config.media.open_uploads = 3;
    config.media.account_files = 5;
    config.media.day_bytes = 1_000;
    config.media.upload_seconds = 3_600;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let romeo = account("romeo");
    uploads(&world, "romeo", 1, 100).await;
    uploads(&world, "romeo", 1, 100).await;
    let stats = &world.node.stats.media;
    assert_eq!((stats.begun.value(), stats.stored.value()), (2, 1));
    assert_eq!(stats.adopted.value(), 1);

    // Each limit has a counter of its own.
    let slot = begins(&world, "romeo", 10).await;
    let again = media::claim(&world.node, &slot).await;
    assert!(matches!(again, Err(LedgerError::Used)));
    assert!(media::check(&world.node, &romeo, 900).await.is_err());
    begins(&world, "romeo", 10).await;
    begins(&world, "romeo", 10).await;
    assert!(media::check(&world.node, &romeo, 10).await.is_err());
    for (why, count) in [
        (Refused::Size, 0),
        (Refused::Account, 0),
        (Refused::Day, 1),
        (Refused::Open, 1),
        (Refused::Slot, 1),
        (Refused::Store, 0),
    ] {
        assert_eq!(stats.refused(why), count, "{why:?}");
    }
    media::abandon(&world.node, &romeo, &slot.id).await.unwrap();
    assert!(media::check(&world.node, &romeo, 10).await.is_err());
    assert_eq!(
        (stats.abandoned.value(), stats.refused(Refused::Account)),
        (1, 1)
    );

    // What there is, is known when the sweep has come round.
    assert_eq!(stats.sum(), Sum::default());
    let mut round = Round::default();
    media::sweep(&world.node, &mut round).await.unwrap();
    let sum = Sum {
        accounts: 1,
        files: 4,
        open: 2,
        bytes: 120,
    };
    assert_eq!((stats.rounds.value(), stats.sum()), (1, sum));
    world.pass_seconds(7_200).await;
    media::sweep(&world.node, &mut round).await.unwrap();
    assert_eq!(stats.abandoned.value(), 3);
    usage::purge(&world.node, &romeo, Which::default())
        .await
        .unwrap();
    assert_eq!(stats.removed.value(), 2);
    media::sweep(&world.node, &mut round).await.unwrap();
    assert_eq!((stats.rounds.value(), stats.sum()), (3, Sum::default()));
}
