//! Files that go when everybody has them: a day after the last one to whom they were sent has said so, and after thirty
//! days in any case.

use posthaste_im::media::{self, FileId, Keep, Limits};
use posthaste_im::tables;
use posthaste_kv::{Kv as _, Partition, Scan};

use crate::archive::between;
use crate::group_rooms::{Elsewhere, group};
use crate::harness::{Client, World, body};
use crate::media::{is_there, slot, swept, upload, world_with};
use crate::rooms::{COVEN, join};

/// A group of another server.
const AFAR: &str = "coven@chat.verona.example";
const DAY: u64 = 86_400;
const MOST: u64 = 30;

fn world() -> World {
    world_with(Limits {
        keep: Keep::Delivered { after: 1, most: 30 },
        ..Limits::default()
    })
}

/// Uploads something, and answers its name and address.
async fn uploads(world: &World, client: &mut Client, byte: u8) -> (FileId, String) {
    let slot = slot(world, client, 5).await;
    upload(world, &slot, [byte; 32]).await.unwrap();
    let address = media::address("https://files.example.org", &slot.id, &slot.name);
    (slot.id, address)
}

fn link(to: &str, id: &str, address: &str) -> String {
    format!(
        "<message to='{to}' type='chat' id='{id}'><body>{address}</body><x xmlns='jabber:x:oob'><url>{address}</url></x>\
         <request xmlns='urn:xmpp:receipts'/></message>"
    )
}

fn receipt(to: &str, id: &str) -> String {
    format!(
        "<message to='{to}' type='chat'><received xmlns='urn:xmpp:receipts' id='{id}'/></message>"
    )
}

async fn is_there_after_days(world: &World, id: &FileId, days: u64) -> bool {
    world.pass_seconds(days * DAY).await;
    swept(world).await;
    is_there(world, id).await
}

async fn rows(world: &World, table: &[u8]) -> usize {
    let partition = Partition::new("romeo@example.org").unwrap();
    let scan = Scan::prefix(table, 10_000);
    world.kv.scan(&partition, scan).await.unwrap().len()
}

#[tokio::test]
async fn a_file_goes_a_day_after_its_recipient_has_it() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = world.online("juliet", "phone").await;
    let mut tablet = world.online("juliet", "tablet").await;
    let (id, address) = uploads(&world, &mut romeo, 1).await;
    romeo
        .send(&link("juliet@example.org", "m1", &address))
        .await;
    assert!(is_there_after_days(&world, &id, 2).await);
    phone.send(&receipt("romeo@example.org", "m1")).await;
    world.pass_seconds(DAY - 1).await;
    swept(&world).await;
    assert!(is_there(&world, &id).await);
    // Her other device is late, and does not begin the day again.
    tablet.send(&receipt("romeo@example.org", "m1")).await;
    world.pass_seconds(1).await;
    assert_eq!(swept(&world).await.len(), 1);
    assert!(!is_there(&world, &id).await);
    for table in [tables::MEDIA_TO, tables::MEDIA_SENT, tables::MEDIA_DUE] {
        assert_eq!(rows(&world, table).await, 0);
    }
}

#[tokio::test]
async fn a_file_waits_for_the_last_of_those_to_whom_it_was_sent() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let (id, address) = uploads(&world, &mut romeo, 1).await;
    romeo
        .send(&link("juliet@example.org", "m1", &address))
        .await;
    romeo.send(&link("nurse@example.org", "m2", &address)).await;
    juliet.send(&receipt("romeo@example.org", "m1")).await;
    // She has not got that one, and nobody got the third.
    juliet.send(&receipt("romeo@example.org", "m2")).await;
    juliet.send(&receipt("romeo@example.org", "m3")).await;
    assert!(is_there_after_days(&world, &id, 3).await);
    let seen = "<message to='romeo@example.org' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='m2'/></message>";
    nurse.send(seen).await;
    assert!(!is_there_after_days(&world, &id, 1).await);
}

#[tokio::test]
async fn what_is_sent_again_waits_again_and_one_receipt_is_for_all_that_brought_it() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let (id, address) = uploads(&world, &mut romeo, 1).await;
    romeo
        .send(&link("juliet@example.org", "m1", &address))
        .await;
    juliet.send(&receipt("romeo@example.org", "m1")).await;
    for n in 2..20 {
        let again = link("nurse@example.org", &format!("m{n}"), &address);
        romeo.send(&again).await;
    }
    assert_eq!(rows(&world, tables::MEDIA_SENT).await, 8);
    assert!(is_there_after_days(&world, &id, 2).await);
    nurse.send(&receipt("romeo@example.org", "m19")).await;
    assert_eq!(rows(&world, tables::MEDIA_SENT).await, 0);
    assert!(!is_there_after_days(&world, &id, 1).await);
}

#[tokio::test]
async fn a_file_of_which_nobody_is_heard_goes_after_the_longest_time() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let (never_sent, _) = uploads(&world, &mut romeo, 1).await;
    let (unanswered, address) = uploads(&world, &mut romeo, 2).await;
    romeo
        .send(&link("juliet@example.org", "m1", &address))
        .await;
    let (nameless, address) = uploads(&world, &mut romeo, 3).await;
    let without_id =
        format!("<message to='juliet@example.org' type='chat'><body>{address}</body></message>");
    romeo.send(&without_id).await;
    world.pass_seconds(MOST * DAY - 1).await;
    swept(&world).await;
    for id in [&never_sent, &unanswered, &nameless] {
        assert!(is_there(&world, id).await);
    }
    world.pass_seconds(1).await;
    assert_eq!(swept(&world).await.len(), 3);
    for table in [tables::MEDIA_TO, tables::MEDIA_SENT, tables::MEDIA_DUE] {
        assert_eq!(rows(&world, table).await, 0);
    }
}

#[tokio::test]
async fn what_is_sent_to_too_many_is_not_counted() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let (id, address) = uploads(&world, &mut romeo, 1).await;
    for n in 0..=256 {
        let to = format!("user{n}@example.org");
        romeo.send(&link(&to, &format!("m{n}"), &address)).await;
    }
    assert_eq!(rows(&world, tables::MEDIA_TO).await, 256);
    assert!(is_there_after_days(&world, &id, MOST - 1).await);
    assert!(!is_there_after_days(&world, &id, 1).await);
    assert_eq!(rows(&world, tables::MEDIA_TO).await, 0);
    assert_eq!(rows(&world, tables::MEDIA_SENT).await, 0);
}

#[tokio::test]
async fn the_link_of_somebody_else_is_none_of_ours() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let (id, address) = uploads(&world, &mut romeo, 1).await;
    juliet
        .send(&link("nurse@example.org", "m1", &address))
        .await;
    nurse.send(&receipt("juliet@example.org", "m1")).await;
    nurse.send(&receipt("romeo@example.org", "m1")).await;
    assert!(is_there_after_days(&world, &id, MOST - 1).await);
}

#[tokio::test]
async fn a_profile_stays_whoever_has_got_it() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let purpose = "<profile xmlns='urn:xmpp:http:upload:purpose:0'/>";
    let slot = crate::media::slot_for(&world, &mut romeo, 5, purpose).await;
    upload(&world, &slot, [1; 32]).await.unwrap();
    let address = media::address("https://files.example.org", &slot.id, &slot.name);
    romeo
        .send(&link("juliet@example.org", "m1", &address))
        .await;
    juliet.send(&receipt("romeo@example.org", "m1")).await;
    assert!(is_there_after_days(&world, &slot.id, 100).await);
}

/// In a group the room says when all members have it; what one of them says for all does not count.
#[tokio::test]
async fn in_a_group_a_file_waits_for_all_members() {
    let world = world();
    let mut romeo = group(&world, &["juliet@example.org", "nurse@example.org"]).await;
    let (id, address) = uploads(&world, &mut romeo, 1).await;
    let said =
        format!("<message to='{COVEN}' type='groupchat' id='g1'><body>{address}</body></message>");
    romeo.send(&said).await;
    let echo = romeo.receives_until_quiet().await;
    let echo = echo.iter().find(|xml| body(xml).is_some()).unwrap();
    let position = between(echo, "<stanza-id xmlns='urn:xmpp:sid:0' id='", "'").unwrap();
    let marker = format!(
        "<message to='{COVEN}' type='groupchat'><displayed xmlns='urn:xmpp:chat-markers:0' id='{position}'/></message>"
    );
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    juliet.send(&join("juliet")).await;
    juliet.receives_until_quiet().await;
    for forged in ["g1", &position] {
        juliet
            .send(&receipt(&format!("{COVEN}/romeo"), forged))
            .await;
        juliet.send(&receipt("romeo@example.org", forged)).await;
    }
    juliet.send(&marker).await;
    world.pass_seconds(5).await;
    romeo.receives_until_quiet().await;
    assert!(is_there_after_days(&world, &id, 3).await);
    nurse.send(&marker).await;
    world.pass_seconds(60).await;
    let told = romeo.receives_until_quiet().await;
    let all = told.iter().any(|xml| xml.contains("delivered='2'"));
    assert!(all, "{told:?}");
    assert!(is_there(&world, &id).await);
    assert!(!is_there_after_days(&world, &id, 1).await);
    assert_eq!(rows(&world, tables::MEDIA_SENT).await, 0);
}

/// Who is told of a group that is far away: what one says there comes back much later.
#[tokio::test]
async fn in_a_group_elsewhere_each_file_is_known_by_what_comes_back() {
    let world = world();
    world
        .node
        .open_border(std::sync::Arc::new(Elsewhere::default()));
    let mut romeo = world.online("romeo", "orchard").await;
    let mut files = Vec::new();
    for n in 1..=3 {
        let (id, address) = uploads(&world, &mut romeo, n).await;
        let said = format!(
            "<message to='{AFAR}' type='groupchat' id='g{n}'><body>{address}</body></message>"
        );
        romeo.send(&said).await;
        files.push(id);
    }
    // An error that is about something else, and one about the third.
    for about in ["g7", "g3"] {
        let error = format!(
            "<message from='{AFAR}' to='romeo@example.org/orchard' type='error' id='{about}'/>"
        );
        world.arrives(&error).await;
    }
    for n in 1..=2 {
        let echo = format!(
            "<message from='{AFAR}/romeo' to='romeo@example.org/orchard' type='groupchat' id='g{n}'><body>x</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{AFAR}' id='{:016x}'/>\
             <counted xmlns='urn:posthaste:groups:0' n='{n}'/></message>",
            (1_795_338_487_000_u64 << 16) + n
        );
        world.arrives(&echo).await;
    }
    let statuses = |n: u64| {
        format!(
            "<message id='{:016x}' members='2' delivered='2'/>",
            (1_795_338_487_000_u64 << 16) + n
        )
    };
    // More than a group ever tells at once is not looked at.
    let many = |first: String, count: usize, last: String| {
        let other = "<message id='a' members='1' delivered='1'/>".repeat(count);
        format!(
            "<message from='{AFAR}' to='romeo@example.org' type='headline'>\
             <status xmlns='urn:posthaste:groups:0'>{first}{other}{last}</status></message>"
        )
    };
    world.arrives(&many(statuses(1), 63, statuses(2))).await;
    assert!(!is_there_after_days(&world, &files[0], 1).await);
    assert!(is_there(&world, &files[1]).await);
    world.arrives(&many(statuses(2), 0, String::new())).await;
    assert!(!is_there_after_days(&world, &files[1], 1).await);
    assert!(is_there(&world, &files[2]).await);
}

/// As clients write it: each address as text, for a link and with its thumbnail.
#[tokio::test]
async fn every_file_of_an_album_is_counted() {
    let world = world();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut album = String::new();
    let mut last = None;
    for n in 1..=12 {
        let (id, address) = uploads(&world, &mut romeo, n).await;
        album.push_str(&format!("{address} ").repeat(4));
        last = Some(id);
    }
    let id = last.unwrap();
    romeo.send(&link("juliet@example.org", "m1", &album)).await;
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&receipt("romeo@example.org", "m1")).await;
    assert!(!is_there_after_days(&world, &id, 1).await);
}
