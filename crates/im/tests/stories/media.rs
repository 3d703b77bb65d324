//! Files: a client gets a slot, and is told of every limit what it needs to know (XEP-0363). What comes over HTTP is
//! done here by the calls that the HTTP half makes.

use std::sync::Arc;

use posthaste_im::config::Config;
use posthaste_im::media::{self, Digest, FileId, LedgerError, Limits, Purpose, Slot, SlotError};
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::ns;
use posthaste_proto::xep::upload;
use posthaste_proto::xml::Element;

use crate::harness::{Client, World, config};

const BASE: &str = "https://files.example.org";

fn world_with(limits: Limits) -> World {
    let config = Config {
        media: limits,
        ..config()
    };
    World::with(config, Arc::new(MemoryKv::new()))
}

fn request(attributes: &str, purpose: &str) -> String {
    format!(
        "<iq type='get' id='slot' to='upload.example.org'><request xmlns='urn:xmpp:http:upload:0' {attributes}>{purpose}</request></iq>"
    )
}

/// Asks for a slot and answers it as the HTTP half reads it.
async fn slot(world: &World, client: &mut Client, size: u64) -> Slot {
    slot_for(world, client, size, "").await
}

async fn slot_for(world: &World, client: &mut Client, size: u64, purpose: &str) -> Slot {
    let attributes =
        format!("filename='tr\u{e8}s cool.jpg' size='{size}' content-type='image/jpeg'");
    let answer = client.asks(&request(&attributes, purpose)).await;
    read_slot(world, &answer).await.unwrap()
}

async fn read_slot(world: &World, answer: &str) -> Result<Slot, SlotError> {
    let answer = Element::parse(answer.as_bytes(), ns::CLIENT).unwrap();
    let slot = answer.child("slot", ns::UPLOAD).unwrap();
    let slot = upload::Slot::read(slot).unwrap();
    let (address, token) = slot.put.split_once("?slot=").unwrap();
    assert_eq!(address, slot.get);
    let key = media::slot_key(&world.node).await.unwrap();
    let read = Slot::verify(token, &key, world.node.now())?;
    assert_eq!(media::file_in(BASE, &slot.get), Some(read.id.clone()));
    Ok(read)
}

/// Uploads, as far as the heart is concerned.
async fn upload(world: &World, slot: &Slot, digest: Digest) -> Result<(), LedgerError> {
    let node = &world.node;
    media::claim(node, slot).await?;
    if !media::adopt(node, &slot.account, &slot.id, digest).await? {
        media::finish(node, &slot.account, &slot.id, digest).await?;
    }
    Ok(())
}

async fn is_there(world: &World, id: &FileId) -> bool {
    media::file(&world.node, id).await.unwrap().is_some()
}

#[tokio::test]
async fn a_client_finds_the_service_and_what_it_takes() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let items = romeo
        .asks("<iq type='get' id='1' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        .await;
    assert!(
        items.contains("<item jid='upload.example.org' name='HTTP File Upload'/>"),
        "{items}"
    );
    let info = romeo
        .asks("<iq type='get' id='2' to='upload.example.org'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        .await;
    for part in [
        "from='upload.example.org'",
        "<identity category='store' type='file' name='HTTP File Upload'/>",
        "<feature var='urn:xmpp:http:upload:0'/>",
        "<feature var='urn:xmpp:http:upload:purpose:0#message'/>",
        "<feature var='urn:xmpp:http:upload:purpose:0#profile'/>",
        "<feature var='urn:xmpp:http:upload:purpose:0#ephemeral'/>",
        "<feature var='urn:xmpp:http:upload:purpose:0#permanent'/>",
        "<field var='max-file-size'><value>268435456</value></field>",
    ] {
        assert!(info.contains(part), "{part} in {info}");
    }
    let ping = "<iq type='get' id='3' to='upload.example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert!(romeo.asks(ping).await.contains("type='result'"));
}

#[tokio::test]
async fn without_an_address_for_files_there_is_no_service() {
    let mut config = config();
    config.hosts[0].media_base = None;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.connect("romeo", "orchard").await;
    let items = romeo
        .asks("<iq type='get' id='1' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        .await;
    assert!(!items.contains("upload"), "{items}");
    let refused = romeo.asks(&request("filename='a' size='1'", "")).await;
    assert!(refused.contains("<service-unavailable"), "{refused}");
}

#[tokio::test]
async fn a_slot_says_what_was_agreed_on_and_is_good_for_minutes() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let attributes = "filename='très cool.jpg' size='23456' content-type='image/jpeg'";
    let answer = romeo.asks(&request(attributes, "")).await;
    let slot = read_slot(&world, &answer).await.unwrap();
    assert!(answer.contains("/tr%C3%A8s%20cool.jpg?slot="), "{answer}");
    assert_eq!(slot.account, romeo.bare());
    assert_eq!(slot.name, "très cool.jpg");
    assert_eq!(
        (slot.size, slot.content_type.as_str()),
        (23_456, "image/jpeg")
    );
    assert_eq!(slot.purpose, Purpose::Message);
    world.pass_seconds(300).await;
    assert_eq!(read_slot(&world, &answer).await, Ok(slot));
    world.pass_seconds(1).await;
    assert_eq!(read_slot(&world, &answer).await, Err(SlotError::Expired));
    // Every request gets a place of its own.
    let other = romeo.asks(&request(attributes, "")).await;
    assert_ne!(answer, other);
}

#[tokio::test]
async fn what_is_no_file_gets_no_slot() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    for wrong in [
        "",
        "filename='a'",
        "size='1'",
        "filename='../../etc/passwd' size='1'",
        "filename='a&#10;b' size='1'",
        "filename='a' size='0'",
        "filename='a' size='-1'",
        "filename='a' size='1' content-type='image/png&#13;&#10;X-Evil: 1'",
    ] {
        let refused = romeo.asks(&request(wrong, "")).await;
        assert!(refused.contains("<bad-request"), "{wrong}: {refused}");
    }
    let gone =
        "<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='2020-01-01T00:00:00Z'/>";
    let refused = romeo.asks(&request("filename='a' size='1'", gone)).await;
    assert!(refused.contains("<not-acceptable"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_too_large_is_told_the_limit() {
    let world = world_with(Limits {
        file_bytes: 20_000,
        ..Limits::default()
    });
    let mut romeo = world.connect("romeo", "orchard").await;
    let refused = romeo.asks(&request("filename='a' size='20001'", "")).await;
    for part in [
        "<error type='modify'><not-acceptable",
        "<file-too-large xmlns='urn:xmpp:http:upload:0'><max-file-size>20000</max-file-size></file-too-large>",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let taken = romeo.asks(&request("filename='a' size='20000'", "")).await;
    assert!(taken.contains("<slot"), "{taken}");
}

/// A file that no quota will ever let in is too large, whatever the limit of one file says.
#[tokio::test]
async fn what_never_fits_is_too_large() {
    let world = world_with(Limits {
        day_bytes: 10,
        ..Limits::default()
    });
    let mut romeo = world.connect("romeo", "orchard").await;
    let refused = romeo.asks(&request("filename='a' size='11'", "")).await;
    assert!(
        refused.contains("<max-file-size>10</max-file-size>"),
        "{refused}"
    );
}

#[tokio::test]
async fn only_accounts_of_the_host_upload() {
    let mut config = config();
    let mut other = config.hosts[0].clone();
    other.domain = posthaste_proto::jid::BareJid::parse("verona.example").unwrap();
    other.services.clear();
    config.hosts.push(other);
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.connect("romeo", "orchard").await;
    let mut stranger = world.connect_at("paris@verona.example", "garden").await;
    let asked = request("filename='a' size='1'", "");
    let refused = stranger.asks(&asked).await;
    assert!(
        refused.contains("<error type='auth'><forbidden"),
        "{refused}"
    );
    let own = romeo.asks(&asked).await;
    assert!(own.contains("<slot"), "{own}");
}

#[tokio::test]
async fn who_has_uploaded_enough_today_is_told_when_to_come_again() {
    let world = world_with(Limits {
        day_bytes: 100,
        ..Limits::default()
    });
    let mut romeo = world.connect("romeo", "orchard").await;
    let first = slot(&world, &mut romeo, 60).await;
    let second = slot(&world, &mut romeo, 60).await;
    upload(&world, &first, [1; 32]).await.unwrap();
    let late = upload(&world, &second, [2; 32]).await;
    assert!(matches!(late, Err(LedgerError::DayFull(_))), "{late:?}");
    let refused = romeo.asks(&request("filename='a' size='41'", "")).await;
    for part in [
        "<error type='wait'><resource-constraint",
        // The clock of the stories stands at 2026-11-22T09:08:07.
        "<retry xmlns='urn:xmpp:http:upload:0' stamp='2026-11-23T00:00:00.000Z'/>",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    // What is removed has been uploaded all the same.
    media::remove(&world.node, &romeo.bare(), &first.id)
        .await
        .unwrap();
    let refused = romeo.asks(&request("filename='a' size='41'", "")).await;
    assert!(refused.contains("<retry"), "{refused}");
    world.pass_seconds(86_400).await;
    slot(&world, &mut romeo, 100).await;
}

#[tokio::test]
async fn who_has_no_room_left_has_it_again_when_something_is_removed() {
    let world = world_with(Limits {
        account_bytes: 100,
        ..Limits::default()
    });
    let mut romeo = world.connect("romeo", "orchard").await;
    let first = slot(&world, &mut romeo, 60).await;
    upload(&world, &first, [1; 32]).await.unwrap();
    let refused = romeo.asks(&request("filename='a' size='41'", "")).await;
    assert!(refused.contains("<resource-constraint"), "{refused}");
    assert!(!refused.contains("<retry"), "{refused}");
    media::remove(&world.node, &romeo.bare(), &first.id)
        .await
        .unwrap();
    slot(&world, &mut romeo, 100).await;
}

#[tokio::test]
async fn files_are_counted_and_so_are_uploads_under_way() {
    let world = world_with(Limits {
        account_files: 2,
        open_uploads: 1,
        ..Limits::default()
    });
    let node = &world.node;
    let mut romeo = world.connect("romeo", "orchard").await;
    let first = slot(&world, &mut romeo, 1).await;
    media::claim(node, &first).await.unwrap();
    let refused = romeo.asks(&request("filename='a' size='1'", "")).await;
    assert!(refused.contains("too many of your uploads"), "{refused}");
    media::finish(node, &first.account, &first.id, [1; 32])
        .await
        .unwrap();
    let second = slot(&world, &mut romeo, 1).await;
    upload(&world, &second, [1; 32]).await.unwrap();
    let refused = romeo.asks(&request("filename='a' size='1'", "")).await;
    assert!(refused.contains("no room for more files"), "{refused}");
}

#[tokio::test]
async fn a_slot_is_used_once_even_when_its_file_is_gone() {
    let world = World::new();
    let node = &world.node;
    let mut romeo = world.connect("romeo", "orchard").await;
    let removed = slot(&world, &mut romeo, 5).await;
    upload(&world, &removed, [1; 32]).await.unwrap();
    assert!(is_there(&world, &removed.id).await);
    let again = media::claim(node, &removed).await;
    assert!(matches!(again, Err(LedgerError::Used)), "{again:?}");
    media::remove(node, &removed.account, &removed.id)
        .await
        .unwrap();
    assert!(!is_there(&world, &removed.id).await);
    let abandoned = slot(&world, &mut romeo, 5).await;
    media::claim(node, &abandoned).await.unwrap();
    media::abandon(node, &abandoned.account, &abandoned.id)
        .await
        .unwrap();
    for used in [removed, abandoned] {
        let again = media::claim(node, &used).await;
        assert!(matches!(again, Err(LedgerError::Used)), "{again:?}");
        let late = media::finish(node, &used.account, &used.id, [1; 32]).await;
        assert!(matches!(late, Err(LedgerError::NotFound)), "{late:?}");
    }
}
