//! Uploads that go on where they broke off (tus 1.0.0).

use posthaste_im::media::Slot;

use crate::harness::{Answer, World, romeo};

const CONTENT: &[u8] = b"Parting is such sweet sorrow";
const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

async fn offset(world: &World, path: &str) -> Option<String> {
    let answer = world.ask("HEAD", path, TUS, b"").await;
    assert_eq!(answer.field("tus-resumable"), Some("1.0.0"), "{answer:?}");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    answer.field("upload-offset").map(str::to_owned)
}

async fn patch(world: &World, path: &str, from: usize, content: &[u8]) -> Answer {
    let fields =
        format!("{TUS}Upload-Offset: {from}\r\nContent-Type: application/offset+octet-stream\r\n");
    world.ask("PATCH", path, &fields, content).await
}

async fn slot(world: &World) -> (Slot, String) {
    let slot = world.slot(CONTENT.len(), "image/jpeg");
    let path = world.put_path(&slot).await;
    (slot, path)
}

#[tokio::test]
async fn a_file_comes_in_pieces() {
    let world = World::new().await;
    let (slot, path) = slot(&world).await;
    let fresh = world.ask("HEAD", &path, TUS, b"").await;
    assert_eq!(fresh.field("upload-offset"), Some("0"));
    assert_eq!(fresh.field("upload-length"), Some("28"));
    assert_eq!(
        fresh.field("upload-expires"),
        Some("Sun, 22 Nov 2026 09:13:07 GMT")
    );
    let first = patch(&world, &path, 0, &CONTENT[..10]).await;
    assert_eq!(
        (first.status, first.field("upload-offset")),
        (204, Some("10"))
    );
    assert_eq!(
        first.field("upload-expires"),
        Some("Sun, 22 Nov 2026 15:08:07 GMT")
    );
    assert_eq!(world.get(&slot).await.status, 404);
    assert_eq!(offset(&world, &path).await.as_deref(), Some("10"));
    let last = patch(&world, &path, 10, &CONTENT[10..]).await;
    assert_eq!(
        (last.status, last.field("upload-offset")),
        (204, Some("28"))
    );
    assert_eq!(world.get(&slot).await.body, CONTENT);
    assert_eq!(offset(&world, &path).await.as_deref(), Some("28"));
    assert_eq!(world.stored().len(), 1, "{:?}", world.stored());
}

#[tokio::test]
async fn what_broke_off_goes_on_after_a_restart_of_the_server_and_long_after_the_slot() {
    let world = World::new().await;
    let (slot, path) = slot(&world).await;
    let mut client = world.connect().await;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n");
    client.send(head).await;
    client.send(&CONTENT[..10]).await;
    world.has_begun(&slot).await;
    drop(client);
    world.is_idle().await;
    assert_eq!(offset(&world, &path).await.as_deref(), Some("10"));
    let world = world.restarted().await;
    world.pass(3_600);
    assert_eq!(offset(&world, &path).await.as_deref(), Some("10"));
    // A PUT begins anew, and for that it is too late.
    assert_eq!(world.ask("PUT", &path, "", CONTENT).await.status, 410);
    let last = patch(&world, &path, 10, &CONTENT[10..]).await;
    assert_eq!(last.status, 204, "{last:?}");
    assert_eq!(world.get(&slot).await.body, CONTENT);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let (slot, path) = slot(&world).await;
    assert_eq!(patch(&world, &path, 5, b"x").await.status, 409);
    assert!(world.stored().is_empty());
    assert_eq!(patch(&world, &path, 0, &CONTENT[..10]).await.status, 204);
    for (from, content) in [(0, &CONTENT[..10]), (9, b"x"), (11, b"x")] {
        let refused = patch(&world, &path, from, content).await;
        assert_eq!(refused.status, 409, "{from}");
        assert_eq!(refused.field("upload-offset"), Some("10"), "{from}");
    }
    assert_eq!(patch(&world, &path, 10, &[b'x'; 19]).await.status, 413);
    let chunked = format!(
        "PATCH {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{TUS}Upload-Offset: 10\r\n\
         Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
         13\r\nxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n"
    );
    assert_eq!(world.send(chunked.as_bytes()).await.status, 413);
    for (fields, status) in [
        (
            "Upload-Offset: 10\r\nContent-Type: application/offset+octet-stream\r\n",
            412,
        ),
        ("Tus-Resumable: 0.2.2\r\nUpload-Offset: 10\r\n", 412),
        ("Tus-Resumable: 1.0.0\r\nUpload-Offset: 10\r\n", 415),
        (
            "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n",
            400,
        ),
        (
            "Tus-Resumable: 1.0.0\r\nUpload-Offset: -1\r\nContent-Type: application/offset+octet-stream\r\n",
            400,
        ),
    ] {
        let refused = world.ask("PATCH", &path, fields, b"x").await;
        assert_eq!(refused.status, status, "{fields}");
    }
    let (bare, _) = path.split_once('?').unwrap();
    assert_eq!(patch(&world, bare, 10, b"x").await.status, 403);
    assert_eq!(offset(&world, &path).await.as_deref(), Some("10"));
    assert_eq!(patch(&world, &path, 10, &CONTENT[10..]).await.status, 204);
    assert_eq!(world.get(&slot).await.body, CONTENT);
}

#[tokio::test]
async fn an_upload_is_given_up() {
    let world = World::new().await;
    let (slot, path) = slot(&world).await;
    assert_eq!(world.ask("DELETE", &path, TUS, b"").await.status, 404);
    assert_eq!(patch(&world, &path, 0, &CONTENT[..10]).await.status, 204);
    assert_eq!(world.ask("DELETE", &path, TUS, b"").await.status, 204);
    assert!(world.stored().is_empty(), "{:?}", world.stored());
    assert_eq!(world.ask("HEAD", &path, TUS, b"").await.status, 410);
    assert_eq!(patch(&world, &path, 0, CONTENT).await.status, 410);
    assert_eq!(world.get(&slot).await.status, 404);
}

#[tokio::test]
async fn what_is_there_is_not_removed_over_http() {
    let world = World::new().await;
    let slot = world.file(CONTENT, "image/jpeg").await;
    let path = world.put_path(&slot).await;
    assert_eq!(world.ask("DELETE", &path, TUS, b"").await.status, 409);
    assert_eq!(world.get(&slot).await.body, CONTENT);
}

#[tokio::test]
async fn an_upload_that_took_too_long_or_never_began_is_gone() {
    let world = World::new().await;
    let (_, unused) = slot(&world).await;
    let (_, path) = slot(&world).await;
    assert_eq!(patch(&world, &path, 0, &CONTENT[..10]).await.status, 204);
    world.pass(301);
    assert_eq!(world.ask("HEAD", &unused, TUS, b"").await.status, 410);
    assert_eq!(patch(&world, &unused, 0, CONTENT).await.status, 410);
    world.pass(6 * 3_600);
    assert_eq!(world.ask("HEAD", &path, TUS, b"").await.status, 410);
    assert_eq!(patch(&world, &path, 10, &CONTENT[10..]).await.status, 410);
}

#[tokio::test]
async fn who_comes_again_takes_over_from_a_connection_that_hangs() {
    let world = World::new().await;
    let (slot, path) = slot(&world).await;
    let mut hanging = world.connect().await;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 28\r\n\r\n"
    );
    hanging.send(head).await;
    hanging.send(&CONTENT[..10]).await;
    world.has_begun(&slot).await;
    let at: usize = offset(&world, &path).await.unwrap().parse().unwrap();
    assert!(at == 0 || at == 10, "{at}");
    assert_eq!(hanging.answer().await.status, 409);
    assert_eq!(patch(&world, &path, at, &CONTENT[at..]).await.status, 204);
    assert_eq!(world.get(&slot).await.body, CONTENT);
}

#[tokio::test]
async fn what_tus_offers_is_told_and_post_stands_for_methods_that_cannot_be_sent() {
    let world = World::new().await;
    let (slot, path) = slot(&world).await;
    let offer = world.ask("OPTIONS", &path, "", b"").await;
    assert_eq!(offer.field("tus-version"), Some("1.0.0"));
    assert_eq!(offer.field("tus-extension"), Some("expiration,termination"));
    assert_eq!(offer.field("tus-max-size"), Some("268435456"));
    let fields = format!(
        "{TUS}X-HTTP-Method-Override: PATCH\r\nUpload-Offset: 0\r\n\
         Content-Type: application/offset+octet-stream\r\n"
    );
    assert_eq!(world.ask("POST", &path, &fields, CONTENT).await.status, 204);
    assert_eq!(world.get(&slot).await.body, CONTENT);
}

#[tokio::test]
async fn the_upload_of_an_account_that_goes_goes_too() {
    let world = World::new().await;
    let (slot, path) = slot(&world).await;
    assert_eq!(patch(&world, &path, 0, &CONTENT[..10]).await.status, 204);
    world.node.remove_account(&romeo()).await.unwrap();
    let refused = patch(&world, &path, 10, &CONTENT[10..]).await.status;
    assert!([403, 409, 410].contains(&refused), "{refused}");
    assert_eq!(world.get(&slot).await.status, 404);
}
