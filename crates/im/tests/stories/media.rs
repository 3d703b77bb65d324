//! Files: a client gets a slot, and is told of every limit what it needs to know (XEP-0363). What comes over HTTP is
//! done here by the calls that the HTTP half makes.

use std::sync::Arc;

use posthaste_im::config::Config;
use posthaste_im::media::{
    self, Digest, FileId, Keep, LedgerError, Limits, ObjectName, Purpose, Slot, SlotError, Usage,
};
use posthaste_im::tables;
use posthaste_kv::memory::MemoryKv;
use posthaste_kv::{Kv, Scan};
use posthaste_proto::ns;
use posthaste_proto::xep::upload;
use posthaste_proto::xml::Element;

use crate::harness::{Client, World, chat, config};

const BASE: &str = "https://files.example.org";

pub(crate) fn world_with(limits: Limits) -> World {
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
pub(crate) async fn slot(world: &World, client: &mut Client, size: u64) -> Slot {
    slot_for(world, client, size, "").await
}

pub(crate) async fn slot_for(world: &World, client: &mut Client, size: u64, purpose: &str) -> Slot {
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
pub(crate) async fn upload(world: &World, slot: &Slot, digest: Digest) -> Result<(), LedgerError> {
    let node = &world.node;
    media::claim(node, slot).await?;
    if !media::adopt(node, &slot.account, &slot.id, digest).await? {
        media::finish(node, &slot.account, &slot.id, digest).await?;
    }
    Ok(())
}

pub(crate) async fn is_there(world: &World, id: &FileId) -> bool {
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

/// What the object store is told to erase, until nothing is left to be told.
pub(crate) async fn swept(world: &World) -> Vec<ObjectName> {
    let mut erased = Vec::new();
    let mut round = media::Round::default();
    loop {
        for doomed in media::sweep(&world.node, &mut round).await.unwrap() {
            media::erased(&world.node, &doomed).await.unwrap();
            erased.extend(doomed.objects);
        }
        if round.is_over() {
            return erased;
        }
    }
}

async fn object(world: &World, id: &FileId) -> ObjectName {
    let file = media::file(&world.node, id).await.unwrap();
    file.unwrap().object
}

#[tokio::test]
async fn an_upload_that_never_ends_goes() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let slot = slot(&world, &mut romeo, 5).await;
    let claimed = media::claim(&world.node, &slot).await.unwrap();
    world.pass_seconds(6 * 3600 - 1).await;
    assert_eq!(swept(&world).await, []);
    world.pass_seconds(1).await;
    assert_eq!(swept(&world).await, [claimed.object]);
    assert_eq!(swept(&world).await, []);
    let usage = media::usage(&world.node, &slot.account).await.unwrap();
    assert_eq!((usage.files, usage.open, usage.bytes), (0, 0, 0));
}

#[tokio::test]
async fn a_file_goes_after_its_days_and_what_is_kept_stays() {
    let world = world_with(Limits {
        keep: Keep::Days(2),
        ..Limits::default()
    });
    let mut romeo = world.connect("romeo", "orchard").await;
    let of = |purpose: &str| format!("<{purpose} xmlns='urn:xmpp:http:upload:purpose:0'/>");
    let mut ids = Vec::new();
    for (n, purpose) in ["message", "profile", "permanent"].iter().enumerate() {
        let slot = slot_for(&world, &mut romeo, 5, &of(purpose)).await;
        upload(&world, &slot, [u8::try_from(n).unwrap(); 32])
            .await
            .unwrap();
        ids.push(slot.id);
    }
    let gone = object(&world, &ids[0]).await;
    world.pass_seconds(2 * 86_400 - 1).await;
    assert_eq!(swept(&world).await, []);
    world.pass_seconds(1).await;
    assert_eq!(swept(&world).await, [gone]);
    assert!(!is_there(&world, &ids[0]).await);
    assert!(is_there(&world, &ids[1]).await && is_there(&world, &ids[2]).await);
}

#[tokio::test]
async fn an_ephemeral_file_is_gone_at_its_moment_also_when_the_sweep_is_late() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    // A minute from the moment at which the clock of the stories stands.
    let purpose =
        "<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='2026-11-22T09:09:07Z'/>";
    let slot = slot_for(&world, &mut romeo, 5, purpose).await;
    upload(&world, &slot, [1; 32]).await.unwrap();
    let gone = object(&world, &slot.id).await;
    world.pass_seconds(59).await;
    assert!(is_there(&world, &slot.id).await);
    world.pass_seconds(1).await;
    assert!(!is_there(&world, &slot.id).await);
    assert_eq!(swept(&world).await, [gone]);
}

#[tokio::test]
async fn the_same_bytes_are_kept_once_and_as_long_as_a_file_has_them() {
    let world = world_with(Limits {
        keep: Keep::Days(1),
        ..Limits::default()
    });
    let node = &world.node;
    let mut romeo = world.connect("romeo", "orchard").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let slot = slot(&world, &mut romeo, 5).await;
        upload(&world, &slot, [1; 32]).await.unwrap();
        ids.push(slot.id);
    }
    let one = object(&world, &ids[0]).await;
    for id in &ids {
        assert_eq!(object(&world, id).await, one);
    }
    let usage = media::usage(node, &romeo.bare()).await.unwrap();
    assert_eq!((usage.files, usage.bytes), (3, 5));
    // Another account's copy is its own: nobody learns of it that somebody else has these bytes.
    let mut juliet = world.connect("juliet", "balcony").await;
    let hers = slot(&world, &mut juliet, 5).await;
    upload(&world, &hers, [1; 32]).await.unwrap();
    assert_ne!(object(&world, &hers.id).await, one);
    media::remove(node, &romeo.bare(), &ids[0]).await.unwrap();
    // Those of the two uploads that were not needed were never kept.
    assert_eq!(swept(&world).await, []);
    // The last two go in one batch.
    world.pass_seconds(86_400).await;
    let erased = swept(&world).await;
    assert!(erased.len() == 2 && erased.contains(&one), "{erased:?}");
    for account in [romeo.bare(), juliet.bare()] {
        let usage = media::usage(node, &account).await.unwrap();
        assert_eq!((usage.files, usage.bytes), (0, 0));
    }
}

#[tokio::test]
async fn the_slower_of_two_uploads_of_the_same_is_not_needed() {
    let world = World::new();
    let node = &world.node;
    let mut romeo = world.connect("romeo", "orchard").await;
    let first = slot(&world, &mut romeo, 5).await;
    let second = slot(&world, &mut romeo, 5).await;
    media::claim(node, &first).await.unwrap();
    let slow = media::claim(node, &second).await.unwrap();
    for slot in [&first, &second] {
        let adopted = media::adopt(node, &slot.account, &slot.id, [1; 32]).await;
        assert!(!adopted.unwrap());
    }
    for slot in [&first, &second] {
        media::finish(node, &slot.account, &slot.id, [1; 32])
            .await
            .unwrap();
    }
    let kept = object(&world, &first.id).await;
    assert_eq!(kept, object(&world, &second.id).await);
    assert_eq!(swept(&world).await, [slow.object]);
}

#[tokio::test]
async fn of_an_account_that_is_removed_nothing_is_left() {
    let world = World::new();
    let node = &world.node;
    let mut romeo = world.connect("romeo", "orchard").await;
    let account = romeo.bare();
    let mut objects = Vec::new();
    let mut ids = Vec::new();
    for n in 0..3 {
        let slot = slot(&world, &mut romeo, 5).await;
        upload(&world, &slot, [n; 32]).await.unwrap();
        objects.push(object(&world, &slot.id).await);
        ids.push(slot.id);
    }
    // One is doomed already, and one is under way.
    media::remove(node, &account, &ids[0]).await.unwrap();
    let open = slot(&world, &mut romeo, 5).await;
    objects.push(media::claim(node, &open).await.unwrap().object);
    let late = slot(&world, &mut romeo, 5).await;
    node.remove_account(&account).await.unwrap();
    for id in &ids {
        assert!(!is_there(&world, id).await);
    }
    let finished = media::finish(node, &account, &open.id, [9; 32]).await;
    let is_gone = matches!(finished, Err(LedgerError::NotFound));
    assert!(is_gone, "{finished:?}");
    let claimed = media::claim(node, &late).await;
    let is_gone = matches!(claimed, Err(LedgerError::NoAccount));
    assert!(is_gone, "{claimed:?}");
    let mut erased = swept(&world).await;
    erased.sort();
    objects.sort();
    assert_eq!(erased, objects);
    assert_eq!(swept(&world).await, []);
    // Whoever gets the name next has nothing of it.
    world.add_account("romeo");
    let usage = media::usage(node, &account).await.unwrap();
    assert_eq!(usage, Usage::default());
}

/// More accounts than one call looks at, and more files of one than one visit lets go.
#[tokio::test]
async fn a_sweep_comes_round_in_bounded_steps() {
    let world = world_with(Limits {
        keep: Keep::Days(1),
        ..Limits::default()
    });
    let node = &world.node;
    for user in 0..70 {
        let mut client = world
            .connect_at(&format!("user{user:02}@example.org"), "phone")
            .await;
        let files: u16 = if user == 0 { 300 } else { 1 };
        for n in 0..files {
            let slot = slot(&world, &mut client, 5).await;
            let mut digest = [0; 32];
            digest[..2].copy_from_slice(&n.to_be_bytes());
            upload(&world, &slot, digest).await.unwrap();
        }
        client.connection.close().await;
    }
    world.pass_seconds(86_400).await;
    let mut round = media::Round::default();
    let first: usize = media::sweep(node, &mut round)
        .await
        .unwrap()
        .iter()
        .map(|doomed| doomed.objects.len())
        .sum();
    assert!(!round.is_over());
    assert_eq!(first, 256 + 63);
    let mut all = swept(&world).await;
    all.extend(swept(&world).await);
    assert_eq!(all.len(), 300 + 69);
    // Nobody is looked at any more who has no files, once the day is over on which something was uploaded.
    world.pass_seconds(86_400).await;
    swept(&world).await;
    let scan = Scan::prefix(tables::MEDIA_ACCOUNT, 100);
    let listed = world
        .kv
        .scan(&tables::media_partition(), scan)
        .await
        .unwrap();
    assert_eq!(listed.len(), 0);
}

fn list(set: &str) -> String {
    format!(
        "<iq type='get' id='l' to='upload.example.org'><files xmlns='urn:posthaste:media:0'><set xmlns='http://jabber.org/protocol/rsm'>{set}</set></files></iq>"
    )
}

#[tokio::test]
async fn the_uploader_sees_its_files_and_what_it_may() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let slot = slot(&world, &mut romeo, 5 + u64::from(n)).await;
        upload(&world, &slot, [n; 32]).await.unwrap();
        ids.push(slot.id);
        world.pass_seconds(1).await;
    }
    let coming = slot(&world, &mut romeo, 10).await;
    media::claim(&world.node, &coming).await.unwrap();
    let all = romeo.asks(&list("")).await;
    let first = format!(
        "<file id='{0}' url='https://files.example.org/media/{0}/tr%C3%A8s%20cool.jpg' name='très cool.jpg' size='5' content-type='image/jpeg' purpose='message' created='2026-11-22T09:08:07.000Z' expires='2026-12-22T09:08:07.000Z'/>",
        ids[0]
    );
    for part in [
        "<usage files='4' bytes='28' day-bytes='28'/>",
        "<limits files='100000' bytes='10737418240' day-bytes='2147483648' file-bytes='268435456'/>",
        &first,
        "uploading='true'/>",
        "<count>4</count>",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    let page = |first: &FileId, last: &FileId| format!("<first>{first}</first><last>{last}</last>");
    for (set, expected) in [
        (
            "<max>2</max><before/>".to_owned(),
            page(&ids[2], &coming.id),
        ),
        (
            format!("<max>1</max><before>{}</before>", ids[2]),
            page(&ids[1], &ids[1]),
        ),
        (
            format!("<after>{}</after>", ids[2]),
            page(&coming.id, &coming.id),
        ),
        (
            "<after>nonsense</after>".to_owned(),
            "<item-not-found".to_owned(),
        ),
        (
            "<index>1</index>".to_owned(),
            "<feature-not-implemented".to_owned(),
        ),
    ] {
        let answer = romeo.asks(&list(&set)).await;
        assert!(answer.contains(&expected), "{set}: {answer}");
    }
    let mut juliet = world.connect("juliet", "balcony").await;
    let hers = juliet.asks(&list("")).await;
    let nothing = "<usage files='0' bytes='0' day-bytes='0'/>";
    assert!(hers.contains(nothing) && !hers.contains("<file "), "{hers}");
}

#[tokio::test]
async fn only_the_uploader_removes_a_file() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let mut juliet = world.connect("juliet", "balcony").await;
    let slot = slot(&world, &mut romeo, 5).await;
    upload(&world, &slot, [1; 32]).await.unwrap();
    let delete = |url: &str| {
        format!(
            "<iq type='set' id='d' to='upload.example.org'><delete xmlns='urn:posthaste:media:0' url='{url}'/></iq>"
        )
    };
    let url = media::address(BASE, &slot.id, &slot.name);
    let refused = juliet.asks(&delete(&url)).await;
    assert!(refused.contains("<item-not-found"), "{refused}");
    assert!(is_there(&world, &slot.id).await);
    for elsewhere in ["https://capulet.example/a", "", &url[..url.len() - 23]] {
        let refused = romeo.asks(&delete(elsewhere)).await;
        assert!(refused.contains("<item-not-found"), "{refused}");
    }
    let gone = object(&world, &slot.id).await;
    let removed = romeo.asks(&delete(&url)).await;
    assert!(removed.contains("type='result'"), "{removed}");
    assert!(!is_there(&world, &slot.id).await);
    assert_eq!(swept(&world).await, [gone]);
    let again = romeo.asks(&delete(&url)).await;
    assert!(again.contains("<item-not-found"), "{again}");
}

/// While an account's rows are erased nothing about its files is written: an account of that name that comes after it
/// would have it.
#[tokio::test]
async fn nothing_is_written_about_the_files_of_an_account_that_goes() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let coming = slot(&world, &mut romeo, 5).await;
    media::claim(&world.node, &coming).await.unwrap();
    let there = slot(&world, &mut romeo, 5).await;
    upload(&world, &there, [1; 32]).await.unwrap();
    let account = romeo.bare();
    let home = world.node.home(&account);
    home.lock(&world.node).await.unwrap().has_account = false;
    let usage = media::usage(&world.node, &account).await.unwrap();
    media::abandon(&world.node, &account, &coming.id)
        .await
        .unwrap();
    let removed = media::remove(&world.node, &account, &there.id).await;
    assert!(matches!(removed, Err(LedgerError::NotFound)), "{removed:?}");
    let preview = media::Preview::Nothing;
    let kept = media::keep_preview(&world.node, &there.id, &preview).await;
    assert!(matches!(kept, Err(LedgerError::NotFound)), "{kept:?}");
    let all = media::usage::Which::default();
    let purged = media::usage::purge(&world.node, &account, all)
        .await
        .unwrap();
    assert_eq!(purged, media::usage::Found::default());
    let after = media::usage(&world.node, &account).await.unwrap();
    assert_eq!(after, usage);
}

/// Files have partitions of their own; a round over the accounts does not go through them.
#[tokio::test]
async fn many_files_do_not_hold_up_what_is_done_for_accounts() {
    let mut config = config();
    config.hosts[0].keep = posthaste_im::config::Keep::Days(1);
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    for n in 0..100 {
        let slot = slot(&world, &mut romeo, 5).await;
        upload(&world, &slot, [n; 32]).await.unwrap();
    }
    romeo.send(&chat("juliet@example.org", "art")).await;
    romeo.connection.close().await;
    assert_eq!(world.keys("romeo", tables::LOG).await, 1);
    world.pass_seconds(2 * 86_400).await;
    let mut round = posthaste_im::retention::Round::default();
    for _ in 0..2 {
        world.node.visit_old_homes(&mut round).await;
    }
    assert_eq!(world.keys("romeo", tables::LOG).await, 0);
}
