//! Files that come whole, and what is refused without leaving anything.

use posthaste_im::media;

use crate::harness::{Setting, World, romeo};

const CONTENT: &[u8] = b"It is the east, and Juliet is the sun";

#[tokio::test]
async fn a_file_that_was_put_is_there() {
    let world = World::new().await;
    let slot = world.slot(CONTENT.len(), "image/jpeg");
    assert_eq!(world.get(&slot).await.status, 404);
    let path = world.put_path(&slot).await;
    let fields = "Content-Type: image/jpeg\r\n";
    let answer = world.ask("PUT", &path, fields, CONTENT).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        answer.field("location"),
        Some(world.get_path(&slot).as_str())
    );
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    assert_eq!(world.get(&slot).await.body, CONTENT);
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test]
async fn the_upload_says_what_it_is_if_the_slot_does_not() {
    let world = World::new().await;
    let slot = world.slot(CONTENT.len(), "");
    let path = world.put_path(&slot).await;
    let fields = "Content-Type: audio/ogg; codecs=opus\r\n";
    let answer = world.ask("PUT", &path, fields, CONTENT).await;
    assert_eq!(answer.status, 201);
    let got = world.get(&slot).await;
    assert_eq!(
        got.field("content-type"),
        Some("audio/ogg; codecs=\"opus\"")
    );
}

#[tokio::test]
async fn the_same_bytes_are_stored_once() {
    let world = World::new().await;
    let first = world.file(CONTENT, "image/jpeg").await;
    let second = world.file(CONTENT, "image/png").await;
    assert_eq!(world.stored().len(), 1);
    assert_eq!(world.get(&first).await.body, CONTENT);
    assert_eq!(world.get(&second).await.body, CONTENT);
}

#[tokio::test]
async fn a_slot_is_good_once() {
    let world = World::new().await;
    let slot = world.file(CONTENT, "image/jpeg").await;
    let other = vec![b'x'; CONTENT.len()];
    let again = world
        .ask("PUT", &world.put_path(&slot).await, "", &other)
        .await;
    assert_eq!(again.status, 409, "{again:?}");
    assert_eq!(world.get(&slot).await.body, CONTENT);
    assert_eq!(world.stored().len(), 1);
    // Nor is it when what came of it is gone.
    media::remove(&world.node, &romeo(), &slot.id)
        .await
        .unwrap();
    let again = world
        .ask("PUT", &world.put_path(&slot).await, "", &other)
        .await;
    assert_eq!(again.status, 410, "{again:?}");
    assert_eq!(world.get(&slot).await.status, 404);
}

#[tokio::test]
async fn what_is_not_as_agreed_is_refused_and_nothing_is_stored() {
    let world = World::new().await;
    let slot = world.slot(10, "image/png");
    let path = world.put_path(&slot).await;
    let bare = world.get_path(&slot);
    let (_, token) = path.split_once("?slot=").unwrap();
    let flipped = if token.starts_with('A') { "B" } else { "A" };
    let forged = format!("{bare}?slot={flipped}{}", &token[1..]);
    let elsewhere = world.get_path(&world.slot(10, ""));
    let elsewhere = format!("{elsewhere}?slot={token}");
    let renamed = format!(
        "{}/evil.html?slot={token}",
        bare.rsplit_once('/').unwrap().0
    );
    let climbing = format!("{bare}/../../x?slot={token}");
    let nul = format!("/media/{}/a%00b?slot={token}", slot.id);
    let slashed = format!("/media/{}/..%2f..%2fx?slot={token}", slot.id);
    let split = format!("/media/{}/a%0d%0aX-Evil:%20yes?slot={token}", slot.id);
    let length = "Content-Length: 10\r\n";
    let cases = [
        (bare.as_str(), length, 403, "no token"),
        (&format!("{bare}?slot="), length, 403, "an empty token"),
        (&forged, length, 403, "a forged token"),
        (&elsewhere, length, 403, "another file's token"),
        (&renamed, length, 403, "another name"),
        (&climbing, length, 404, "a path that climbs"),
        (&nul, length, 404, "a NUL"),
        (&slashed, length, 404, "encoded slashes"),
        (&split, length, 404, "a name with line ends"),
        (&path, "", 411, "no length"),
        (&path, "Transfer-Encoding: chunked\r\n", 411, "chunks"),
        (&path, "Content-Length: 11\r\n", 413, "too long"),
        (&path, "Content-Length: 9\r\n", 400, "too short"),
        (
            &path,
            "Content-Length: 10\r\nContent-Length: 11\r\n",
            400,
            "two lengths",
        ),
        (&path, "Content-Length: -1\r\n", 400, "a length below zero"),
        (
            &path,
            "Content-Length: 10\r\nContent-Type: text/html\r\n",
            415,
            "another type",
        ),
        (
            &path,
            "Content-Length: 10\r\nContent-Encoding: gzip\r\n",
            415,
            "encoded",
        ),
        (
            &path,
            "Content-Length: 10\r\nContent-Range: bytes 0-9/20\r\n",
            400,
            "a part",
        ),
    ];
    for (path, fields, status, what) in cases {
        let body = if fields.contains("chunked") {
            "a\r\n0123456789\r\n0\r\n\r\n"
        } else {
            "0123456789"
        };
        let request =
            format!("PUT {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n{body}");
        let answer = world.send(request.as_bytes()).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(world.stored().is_empty(), "{what}: {:?}", world.stored());
        assert_eq!(world.get(&slot).await.status, 404, "{what}");
    }
    // None of them has used the slot.
    let answer = world.ask("PUT", &path, "", b"0123456789").await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn too_much_is_told_how_much_is_right() {
    let world = World::new().await;
    let path = world.put_path(&world.slot(10, "")).await;
    // More than sockets hold: the answer comes although nobody wants the rest.
    let answer = world.ask("PUT", &path, "", &vec![0; 6 << 20]).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.text(), "too large: this slot is for 10 bytes\n");
    assert!(world.stored().is_empty());
}

#[tokio::test]
async fn a_slot_that_was_not_used_in_time_is_gone() {
    let world = World::new().await;
    let slot = world.slot(CONTENT.len(), "");
    let path = world.put_path(&slot).await;
    world.pass(301);
    let answer = world.ask("PUT", &path, "", CONTENT).await;
    assert_eq!(answer.status, 410, "{answer:?}");
    assert!(world.stored().is_empty());
}

#[tokio::test]
async fn the_slot_of_an_account_that_is_gone_is_good_for_nothing() {
    let world = World::new().await;
    let path = world.put_path(&world.slot(CONTENT.len(), "")).await;
    world.node.remove_account(&romeo()).await.unwrap();
    let answer = world.ask("PUT", &path, "", CONTENT).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(world.stored().is_empty());
}

#[tokio::test]
async fn each_quota_has_its_answer() {
    let limits = |change: fn(&mut media::Limits)| {
        let mut setting = Setting::default();
        change(&mut setting.media);
        setting
    };
    for (setting, status, wait) in [
        (limits(|limits| limits.account_bytes = 5), 507, None),
        (limits(|limits| limits.account_files = 0), 507, None),
        // 2026-11-22T09:08:07Z to midnight.
        (limits(|limits| limits.day_bytes = 5), 429, Some("53513")),
        (limits(|limits| limits.open_uploads = 0), 429, Some("10")),
    ] {
        let world = World::with(setting).await;
        let path = world.put_path(&world.slot(CONTENT.len(), "")).await;
        let answer = world.ask("PUT", &path, "", CONTENT).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.field("retry-after"), wait, "{answer:?}");
        assert!(world.stored().is_empty());
    }
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing_to_be_seen() {
    let world = World::new().await;
    let slot = world.slot(CONTENT.len(), "");
    let path = world.put_path(&slot).await;
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        CONTENT.len()
    );
    let mut client = world.connect().await;
    client.send(request.as_bytes()).await;
    client.send(&CONTENT[..10]).await;
    drop(client);
    // The same request once more, as HTTP libraries send it, takes the place of the first.
    let answer = world.ask("PUT", &path, "", CONTENT).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(world.get(&slot).await.body, CONTENT);
    assert_eq!(world.stored().len(), 1, "{:?}", world.stored());
}

#[tokio::test]
async fn who_asks_before_sending_is_told_to_go_on_only_if_it_would_be_taken() {
    let world = World::new().await;
    let expecting = |path: &str, length: usize| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    let slot = world.slot(CONTENT.len(), "");
    let path = world.put_path(&slot).await;
    let refused = world.send(expecting(&path, 1 << 20).as_bytes()).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    let mut client = world.connect().await;
    client.send(expecting(&path, CONTENT.len())).await;
    let mut go_on = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut go_on)
        .await
        .unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(CONTENT).await;
    assert_eq!(client.answer().await.status, 201);
}
