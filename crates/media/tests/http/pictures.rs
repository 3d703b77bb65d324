//! Small pictures over HTTP: how files look, and whose avatar is whose.

use std::fs::OpenOptions;
use std::io::Cursor;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use posthaste_im::binding::ResourceWish;
use posthaste_im::media::{self, PictureKind, Preview};
use posthaste_media::preview::{Bounds, PreviewError, Previews};
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Limits, StreamContext};

use crate::harness::{World, romeo};

fn photo(width: u32, height: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| {
        let byte = |number: u32| u8::try_from(number % 256).unwrap();
        Rgb([byte(x), byte(y), byte(x + y)])
    });
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgb8(image);
    image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

fn field<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_picture_is_had_in_small_in_the_place_of_its_name() {
    let world = World::new().await;
    // Its sender says nothing of what it is; its bytes do.
    let slot = world
        .file(&photo(800, 600), "application/octet-stream")
        .await;
    let path = format!("/media/{}/preview", slot.id);
    let answer = world.ask("GET", &path, "", b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(field(&answer.head, "content-type"), Some("image/jpeg"));
    assert_eq!(
        field(&answer.head, "x-content-type-options"),
        Some("nosniff")
    );
    let small = image::load_from_memory(&answer.body).unwrap();
    assert_eq!((small.width(), small.height()), (320, 240));
    let etag = field(&answer.head, "etag").unwrap().to_owned();
    let known = world
        .ask("GET", &path, &format!("If-None-Match: {etag}\r\n"), b"")
        .await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = world.ask("HEAD", &path, "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        field(&head.head, "content-length"),
        Some(&*answer.body.len().to_string())
    );
    // It is kept with the file and goes with it.
    let world = world.restarted().await;
    let kept = media::preview(&world.node, &slot.id).await.unwrap();
    let kept = kept.unwrap().picture().unwrap().thumbnail.bytes.clone();
    assert_eq!(kept, answer.body);
    media::remove(&world.node, &romeo(), &slot.id)
        .await
        .unwrap();
    assert_eq!(world.ask("GET", &path, "", b"").await.status, 404);
}

#[tokio::test]
async fn what_is_no_picture_is_left_alone() {
    let world = World::new().await;
    let encrypted: Vec<u8> = (0..5_000u32).map(|n| (n * 7919 % 251) as u8).collect();
    let cut = &photo(400, 300)[..300];
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>";
    for lie in [&encrypted[..], cut, svg, b"x", b"\xff\xd8\xff\xe0 no photo"] {
        let slot = world.file(lie, "image/jpeg").await;
        let path = format!("/media/{}/preview", slot.id);
        assert_eq!(world.ask("GET", &path, "", b"").await.status, 404);
        // It is known from now on that nothing comes of it, and the file itself is as it was.
        let kept = media::preview(&world.node, &slot.id).await.unwrap();
        assert_eq!(kept, Some(Preview::Nothing));
        assert_eq!(world.get(&slot).await.body, lie);
    }
    let nothing = "/media/aaaaaaaaaaaaaaaaaaaaaaaa/preview";
    assert_eq!(world.ask("GET", nothing, "", b"").await.status, 404);
}

#[tokio::test]
async fn a_file_that_is_called_preview_is_itself() {
    let world = World::new().await;
    let photo = photo(400, 300);
    let mut slot = world.slot(photo.len(), "image/jpeg");
    slot.name = "preview".to_owned();
    let path = world.put_path(&slot).await;
    assert_eq!(world.ask("PUT", &path, "", &photo).await.status, 201);
    assert_eq!(world.get(&slot).await.body, photo);
}

#[tokio::test]
async fn however_many_ask_it_is_looked_at_once() {
    let world = World::new().await;
    let photo = photo(1200, 900);
    let slot = world.file(&photo, "image/jpeg").await;
    let path = format!("/media/{}/preview", slot.id);
    let read = || world.store.stats().bytes_read.load(Ordering::Relaxed);
    let before = read();
    let answers = join_all((0..20).map(|_| world.ask("GET", &path, "", b""))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, answers[0].body);
    }
    let once = (PictureKind::SNIFFED + photo.len()) as u64;
    assert_eq!(read() - before, once);
}

#[tokio::test]
async fn pictures_have_bounds() {
    let world = World::new().await;
    let mut slots = Vec::new();
    for side in 0..5 {
        slots.push(world.file(&photo(300 + side, 200), "image/jpeg").await);
    }
    let previews = |bounds| Previews::new(&world.node, world.store.clone(), bounds);
    // Nobody is put off for ever: whoever asked too early may ask again.
    let full = previews(Bounds {
        waiting: 0,
        ..Bounds::default()
    });
    let refused = full.of(&slots[0].id).await;
    assert!(matches!(refused, Err(PreviewError::Busy)), "{refused:?}");
    assert_eq!(
        media::preview(&world.node, &slots[0].id).await.unwrap(),
        None
    );
    // One after another, with memory for one at a time, is slow, and goes.
    let narrow = previews(Bounds {
        at_once: 1,
        memory: 1 << 20,
        ..Bounds::default()
    });
    let made = join_all(slots[1..4].iter().map(|slot| narrow.of(&slot.id))).await;
    for preview in made {
        assert!(preview.unwrap().picture().is_some());
    }
    let short = previews(Bounds {
        file_bytes: 500,
        ..Bounds::default()
    });
    assert_eq!(short.of(&slots[4].id).await.unwrap(), Preview::Nothing);
}

#[tokio::test]
async fn a_store_that_takes_too_long_is_no_fault_of_the_picture() {
    let world = World::new().await;
    let photo = photo(300, 200);
    let slot = world.file(&photo, "image/jpeg").await;
    // A pipe without a writer is opened for as long as there is none.
    let path = world.stored().remove(0);
    std::fs::remove_file(&path).unwrap();
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let hasty = Bounds {
        time: Duration::from_millis(50),
        ..Bounds::default()
    };
    let hasty = Previews::new(&world.node, world.store.clone(), hasty);
    let refused = hasty.of(&slot.id).await;
    drop(OpenOptions::new().write(true).open(&path).unwrap());
    assert!(
        matches!(refused, Err(PreviewError::Store(_))),
        "{refused:?}"
    );
    assert_eq!(media::preview(&world.node, &slot.id).await.unwrap(), None);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &photo).unwrap();
    let patient = Previews::new(&world.node, world.store.clone(), Bounds::default());
    let made = patient.of(&slot.id).await.unwrap();
    assert!(made.picture().is_some());
}

async fn says(world: &World, xml: &str) {
    let wish = ResourceWish::Exactly("orchard".into());
    let mut connection = world.node.bind(&romeo(), &wish).await.unwrap();
    let stanza = Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client());
    connection.receive(stanza.unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_avatar_is_had_by_address_and_by_hash() {
    let world = World::new().await;
    let path = "/media/avatar/romeo@example.org";
    let card = |inside: &str| {
        format!(
            "<iq type='set' id='v'><vCard xmlns='vcard-temp'><PHOTO>{inside}</PHOTO></vCard></iq>"
        )
    };
    let picture = "iVBORw0KGgo=";
    says(&world, &card(&format!("<BINVAL>{picture}</BINVAL>"))).await;
    let answer = world.ask("GET", path, "", b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, b"\x89PNG\r\n\x1a\n");
    assert_eq!(field(&answer.head, "content-type"), Some("image/png"));
    let etag = field(&answer.head, "etag").unwrap().trim_matches('"');
    let place = field(&answer.head, "content-location").unwrap();
    assert_eq!(place, format!("{path}/{etag}"));
    let by_hash = world.ask("GET", place, "", b"").await;
    assert_eq!(by_hash.body, answer.body);
    let caching = field(&by_hash.head, "cache-control").unwrap();
    assert!(caching.contains("immutable"), "{caching}");
    let known = format!("If-None-Match: \"{etag}\"\r\n");
    assert_eq!(world.ask("GET", place, &known, b"").await.status, 304);
    let other = format!("{path}/{}", "0".repeat(40));
    assert_eq!(world.ask("GET", &other, "", b"").await.status, 404);
    assert_eq!(world.ask("POST", path, "", b"").await.status, 405);
    // Whoever has none, is not there or is elsewhere gets the same.
    let none = world
        .ask("GET", "/media/avatar/nobody@example.org", "", b"")
        .await;
    assert_eq!(none.status, 404);
    let answers = [
        "/media/avatar/romeo@example.net",
        "/media/avatar/example.org",
        "/media/avatar/",
        "/media/avatar/%00",
    ];
    for path in answers {
        let answer = world.ask("GET", path, "", b"").await;
        assert_eq!(
            (answer.status, answer.body),
            (404, none.body.clone()),
            "{path}"
        );
    }
    // What was taken back is gone once nobody believes in it any more.
    says(&world, &card("")).await;
    assert_eq!(world.ask("GET", path, "", b"").await.status, 200);
    let world = world.restarted().await;
    assert_eq!(world.ask("GET", path, "", b"").await.status, 404);
}
