//! What transfers may cost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use posthaste_media::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{PATIENCE, Setting, World};

fn bounded(change: fn(&mut Bounds)) -> Setting {
    let mut setting = Setting::default();
    change(&mut setting.bounds);
    setting
}

#[tokio::test]
async fn an_upload_that_stops_coming_is_given_up() {
    let world = World::with(bounded(|bounds| {
        bounds.silence = Duration::from_millis(100);
    }))
    .await;
    let slot = world.slot(100, "");
    let path = world.put_path(&slot).await;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin");
    let answer = world.send(head.as_bytes()).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(world.get(&slot).await.status, 404);
    world.is_idle().await;
}

#[tokio::test]
async fn an_upload_that_only_drips_is_given_up() {
    let world = World::with(bounded(|bounds| {
        bounds.grace = Duration::from_secs(1);
    }))
    .await;
    let slot = world.slot(10_000, "");
    let path = world.put_path(&slot).await;
    let mut client = world.connect().await;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n");
    client.send(head).await;
    world.has_begun(&slot).await;
    let dripping = async {
        while world.service.transfers().0 > 0 {
            let _ = client.stream.write_all(b"x").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, dripping).await.unwrap();
    assert_eq!(client.answer().await.status, 408);
}

#[tokio::test]
async fn no_more_uploads_than_there_are_places() {
    let world = World::with(bounded(|bounds| bounds.uploads = 1)).await;
    let slot = world.slot(100, "");
    let path = world.put_path(&slot).await;
    let mut first = world.connect().await;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin");
    first.send(head).await;
    let taken = async {
        while world.service.transfers().0 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
    let other = world.put_path(&world.slot(5, "")).await;
    let refused = world.ask("PUT", &other, "", b"other").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.field("retry-after"), Some("10"));
    drop(first);
    world.is_idle().await;
    assert_eq!(world.ask("PUT", &other, "", b"other").await.status, 201);
}

/// More than the kernel takes on loopback for somebody who does not read.
const LARGE: usize = 32 << 20;

#[tokio::test]
async fn a_reader_that_stops_has_little_read_for_it_and_then_loses_its_place() {
    let mut setting = bounded(|bounds| bounds.downloads = 1);
    setting.gate.write_stall = Duration::from_secs(6);
    let world = World::with(setting).await;
    let slot = world.file(&vec![7; LARGE], "video/mp4").await;
    let path = world.get_path(&slot);
    let before = world.store.stats().bytes_read.load(Ordering::Relaxed);
    let mut slow = world.connect().await;
    slow.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await;
    let mut start = [0; 1_000];
    slow.stream.read_exact(&mut start).await.unwrap();
    let refused = world.get(&slot).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.field("retry-after"), Some("10"));
    world.is_idle().await;
    let read = world.store.stats().bytes_read.load(Ordering::Relaxed) - before;
    assert!(read < LARGE as u64 / 2, "{read}");
    assert_eq!(world.get(&slot).await.body.len(), LARGE);
}
