//! Clients that name their installation (XEP-0388 §2.3, XEP-0386 §4) are devices: each gets everything, whichever other
//! device was online.

use std::sync::Arc;

use posthaste_im::config::{Config, Keep};
use posthaste_im::devices::DeviceRecord;
use posthaste_im::session::QueueLimits;
use posthaste_im::tables;
use posthaste_kv::memory::MemoryKv;
use posthaste_kv::{Batch, Kv as _, Partition, Scan};
use posthaste_proto::error::StreamCondition;

use crate::harness::{Client, World, body, chat, config};

const NOBODY: &[String] = &[];

async fn log_len(world: &World, user: &str) -> usize {
    rows(world, user, tables::LOG).await
}

async fn rows(world: &World, user: &str, table: &'static [u8]) -> usize {
    let partition = Partition::new(format!("{user}@example.org")).unwrap();
    let rows = world.kv.scan(&partition, Scan::prefix(table, 10_000)).await;
    rows.unwrap().len()
}

/// Acknowledges as many stanzas as have come in all.
async fn confirm(client: &mut Client, h: u32) {
    let ack = format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>");
    client.send(&ack).await;
}

#[tokio::test]
async fn a_client_that_comes_back_takes_over_what_its_former_session_had_not_taken() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = world.device_online("juliet", "phone").await;
    phone.receives_until_quiet().await;
    phone.manage_stream().await;
    romeo
        .send(&chat("juliet@example.org", "lost on the way"))
        .await;
    assert_eq!(phone.bodies().await, ["lost on the way"]);
    phone.connection.detach().await;

    let mut again = world.device_online("juliet", "phone").await;
    assert_eq!(again.bodies().await, ["lost on the way"]);
}

#[tokio::test]
async fn a_session_that_its_client_has_left_behind_is_closed() {
    let world = World::new();
    let mut phone = world.device_online("juliet", "phone").await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    phone.receives_until_quiet().await;
    let again = world.device_online("juliet", "phone").await;
    let (_, error) = phone.receives_within(usize::MAX).await;
    assert_eq!(error.unwrap().condition, StreamCondition::Conflict);
    let (_, error) = laptop.receives_within(usize::MAX).await;
    assert_eq!(error, None, "another client is left alone");
    let account = again.connection.jid().to_bare();
    let home = world.node.home(&account);
    assert_eq!(home.peek(|state| state.sessions.len()), Some(2));
}

#[tokio::test]
async fn a_phone_gets_what_came_while_only_the_laptop_was_there() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let phone = world.device_online("juliet", "phone").await;
    phone.connection.close().await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    laptop.receives_until_quiet().await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    laptop.send(&chat("romeo@example.org", "two")).await;
    romeo.send(&chat("juliet@example.org", "three")).await;
    assert_eq!(laptop.bodies().await, ["one", "three"]);

    let mut phone = world.device("juliet", "phone").await;
    assert_eq!(phone.bodies().await, NOBODY, "not before it is available");
    phone.send("<presence/>").await;
    let received = phone.receives_until_quiet().await;
    let messages: Vec<_> = received.iter().filter(|xml| body(xml).is_some()).collect();
    let texts: Vec<_> = messages.iter().filter_map(|xml| body(xml)).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert!(messages[0].contains("urn:xmpp:delay") && !messages[0].contains("<forwarded"));
    assert!(messages[1].contains("<sent xmlns='urn:xmpp:carbons:2'>"));
    laptop.receives_until_quiet().await;

    romeo.send(&chat("juliet@example.org", "live")).await;
    assert_eq!(phone.bodies().await, ["live"]);
    assert_eq!(laptop.bodies().await, ["live"], "nothing comes twice");
}

#[tokio::test]
async fn the_same_message_has_the_same_stanza_id_on_every_device_whenever_it_comes() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let phone = world.device_online("juliet", "phone").await;
    phone.connection.close().await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    laptop.receives_until_quiet().await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    let mut phone = world.device_online("juliet", "phone").await;
    let id_in = |received: Vec<String>| {
        let message = received
            .into_iter()
            .find(|xml| body(xml).is_some())
            .unwrap();
        let start = message.find("urn:xmpp:sid:0").unwrap();
        message[start..].split('\'').nth(2).unwrap().to_owned()
    };
    let ids = [
        id_in(laptop.receives_until_quiet().await),
        id_in(phone.receives_until_quiet().await),
    ];
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_plain_client_gets_what_nobody_has_taken_and_no_more() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = world.device_online("juliet", "phone").await;
    phone.receives_until_quiet().await;
    romeo.send(&chat("juliet@example.org", "taken")).await;
    assert_eq!(phone.bodies().await, ["taken"]);
    phone.connection.close().await;
    romeo.send(&chat("juliet@example.org", "waiting")).await;
    let mut plain = world.online_keeping("juliet", "balcony").await;
    assert_eq!(plain.bodies().await, ["waiting"]);
    let mut second = world.online_keeping("juliet", "chamber").await;
    assert_eq!(second.bodies().await, NOBODY);
    let mut phone = world.device_online("juliet", "phone").await;
    assert_eq!(
        phone.bodies().await,
        ["waiting"],
        "the phone has a cursor of its own"
    );
}

#[tokio::test]
async fn what_a_plain_client_is_taking_is_not_taken_from_it_by_a_device() {
    let queue = QueueLimits {
        bytes: 100_000,
        items: 10,
    };
    let world = World::with(Config { queue, ..config() }, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    let phone = world.device_online("juliet", "phone").await;
    phone.connection.close().await;
    let texts: Vec<_> = (0..50).map(|n| format!("m{n}")).collect();
    for text in &texts {
        romeo.send(&chat("juliet@example.org", text)).await;
    }
    let mut plain = world.connect("juliet", "balcony").await;
    plain.send("<presence/>").await;
    let (first, _) = plain.receives_within(1000).await;
    let mut phone = world.device_online("juliet", "phone").await;
    assert_eq!(phone.bodies().await, texts, "the device gets all");
    let mut seen: Vec<_> = first.iter().filter_map(|xml| body(xml)).collect();
    seen.extend(plain.bodies().await);
    assert_eq!(seen, texts, "and so does the client that came first");
}

#[tokio::test]
async fn a_new_device_begins_now_and_with_what_waits_for_anybody() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut plain = world.online("juliet", "balcony").await;
    romeo.send(&chat("juliet@example.org", "before")).await;
    assert_eq!(plain.bodies().await, ["before"]);
    plain.connection.close().await;
    romeo.send(&chat("juliet@example.org", "waiting")).await;
    let mut phone = world.device_online("juliet", "phone").await;
    assert_eq!(phone.bodies().await, ["waiting"]);
}

#[tokio::test]
async fn each_device_is_acknowledged_for_itself_also_over_a_crash() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    for name in ["phone", "laptop"] {
        world
            .device_online("juliet", name)
            .await
            .connection
            .close()
            .await;
    }
    for n in 0..5 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    for (name, count) in [("phone", 2), ("laptop", 4)] {
        let mut device = world.device("juliet", name).await;
        device.manage_stream().await;
        device.send("<presence/>").await;
        let received = device.receives_until_quiet().await;
        // The presence of the device itself, and of others, may have come before.
        let before = received
            .iter()
            .filter(|xml| xml.starts_with("<presence"))
            .count();
        assert_eq!(received.iter().filter_map(|xml| body(xml)).count(), 5);
        confirm(&mut device, u32::try_from(before).unwrap() + count).await;
    }
    world.pass_seconds(2).await;
    let crashed = world.restarted();
    let mut phone = crashed.device_online("juliet", "phone").await;
    assert_eq!(phone.bodies().await, ["m2", "m3", "m4"]);
    let mut laptop = crashed.device_online("juliet", "laptop").await;
    assert_eq!(laptop.bodies().await, ["m4"]);
}

#[tokio::test]
async fn a_device_that_was_away_for_long_is_caught_up_in_pages_and_its_cursor_follows() {
    let queue = QueueLimits {
        bytes: 1_000_000,
        items: 100,
    };
    let world = World::with(Config { queue, ..config() }, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    let mut plain = world.online("juliet", "balcony").await;
    world
        .device_online("juliet", "phone")
        .await
        .connection
        .close()
        .await;
    plain.receives_until_quiet().await;
    let texts: Vec<_> = (0..3000).map(|n| format!("m{n}")).collect();
    for text in &texts {
        romeo.send(&chat("juliet@example.org", text)).await;
        plain.receives_until_quiet().await;
    }
    let mut phone = world.device("juliet", "phone").await;
    phone.manage_stream().await;
    phone.send("<presence/>").await;
    let (mut got, mut h) = (Vec::new(), 0);
    while got.len() < 2000 {
        let received = phone.receives_until_quiet().await;
        h += received
            .iter()
            .filter(|xml| !xml.starts_with("<r "))
            .count();
        got.extend(received.iter().filter_map(|xml| body(xml)));
        confirm(&mut phone, u32::try_from(h).unwrap()).await;
    }
    world.pass_seconds(2).await;
    let mut again = world.restarted().device_online("juliet", "phone").await;
    got.extend(again.bodies().await);
    assert_eq!(got, texts, "nothing is missing, and nothing comes twice");
}

#[tokio::test]
async fn a_device_resumes_its_session_and_misses_nothing_and_repeats_nothing() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = world.device("juliet", "phone").await;
    let previd = phone.manage_stream().await;
    phone.send("<presence/>").await;
    let before = phone
        .receives_until_quiet()
        .await
        .iter()
        .filter(|xml| !xml.starts_with("<r "))
        .count();
    romeo.send(&chat("juliet@example.org", "m0")).await;
    romeo.send(&chat("juliet@example.org", "m1")).await;
    assert_eq!(phone.bodies().await, ["m0", "m1"]);
    phone.connection.detach().await;
    romeo.send(&chat("juliet@example.org", "m2")).await;
    assert_eq!(world.node.store_sessions().await, 1);
    let world = world.restarted();
    assert_eq!(world.node.restore_sessions().await.unwrap(), 1);
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@example.org", "m3")).await;
    let h = u32::try_from(before).unwrap() + 1;
    let (mut phone, _) = world.resume("juliet", &previd, h).await.unwrap();
    assert_eq!(phone.bodies().await, ["m1", "m2", "m3"]);
    confirm(&mut phone, h + 3).await;
    phone.connection.close().await;
    let mut phone = world.device_online("juliet", "phone").await;
    assert_eq!(phone.bodies().await, NOBODY);
}

#[tokio::test]
async fn messages_stay_until_every_device_has_them_where_the_operator_keeps_no_more() {
    let mut settings = config();
    settings.hosts[0].keep = Keep::Delivered;
    let world = World::with(settings, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    world
        .device_online("juliet", "phone")
        .await
        .connection
        .close()
        .await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    laptop.receives_until_quiet().await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    laptop.send(&chat("romeo@example.org", "two")).await;
    assert_eq!(laptop.bodies().await, ["one"]);
    world.pass_seconds(2).await;
    assert_eq!(log_len(&world, "juliet").await, 2, "the phone has neither");
    let mut phone = world.device_online("juliet", "phone").await;
    assert_eq!(phone.bodies().await, ["one", "two"]);
    world.pass_seconds(2).await;
    assert_eq!(log_len(&world, "juliet").await, 0);
    laptop.receives_until_quiet().await;
    laptop.send(&chat("romeo@example.org", "three")).await;
    assert_eq!(phone.bodies().await, ["three"]);
    world.pass_seconds(2).await;
    assert_eq!(log_len(&world, "juliet").await, 0);
}

#[tokio::test]
async fn a_device_that_is_not_seen_for_long_is_forgotten_and_holds_nothing_back() {
    let mut settings = config();
    settings.hosts[0].keep = Keep::Delivered;
    let world = World::with(settings, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    world
        .device_online("juliet", "lost")
        .await
        .connection
        .close()
        .await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    laptop.receives_until_quiet().await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    assert_eq!(laptop.bodies().await, ["one"]);
    world.pass_seconds(59 * 86_400).await;
    world.visit_homes().await;
    assert_eq!(log_len(&world, "juliet").await, 1);
    world.pass_seconds(2 * 86_400).await;
    world.visit_homes().await;
    assert_eq!(log_len(&world, "juliet").await, 0);
    assert_eq!(
        rows(&world, "juliet", tables::DEVICE).await,
        1,
        "the laptop is connected"
    );
    assert_eq!(rows(&world, "juliet", tables::DEVICE_CURSOR).await, 1);
}

#[tokio::test]
async fn beyond_the_number_of_devices_the_one_that_was_away_longest_makes_room() {
    let settings = Config {
        devices_per_account: 2,
        ..config()
    };
    let world = World::with(settings, Arc::new(MemoryKv::new()));
    for name in ["one", "two"] {
        world
            .device_online("juliet", name)
            .await
            .connection
            .close()
            .await;
        world.pass_seconds(60).await;
    }
    let three = world.device_online("juliet", "three").await;
    let partition = Partition::new("juliet@example.org").unwrap();
    let names = || async {
        let found = world
            .kv
            .scan(&partition, Scan::prefix(tables::DEVICE, 10))
            .await;
        let found = found.unwrap().into_iter();
        found
            .map(|(key, value)| {
                assert_eq!(DeviceRecord::decode(value).unwrap().software, "Poezio");
                tables::key_text(tables::DEVICE, &key).unwrap().to_owned()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["three", "two"]);
    let two = world.device_online("juliet", "two").await;
    // Both are there: the third is let in, and served like a client that does not name itself.
    let mut guest = world.device_online("juliet", "guest").await;
    guest.receives_until_quiet().await;
    assert_eq!(names().await, ["three", "two"]);
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@example.org", "hello")).await;
    assert_eq!(guest.bodies().await, ["hello"]);
    drop((two, three));
}

#[tokio::test]
async fn a_message_to_a_device_s_former_address_reaches_it() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let phone = world.device_online("juliet", "phone").await;
    let former = phone.connection.jid().to_string();
    phone.connection.close().await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    laptop.receives_until_quiet().await;
    romeo.send(&chat(&former, "are you there")).await;
    assert_eq!(laptop.bodies().await, ["are you there"]);
    let mut phone = world.device_online("juliet", "phone").await;
    assert_eq!(phone.bodies().await, ["are you there"]);
}

#[tokio::test]
async fn what_may_not_be_copied_is_for_the_addressed_device_alone() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = world.device_online("juliet", "phone").await;
    world
        .device_online("juliet", "laptop")
        .await
        .connection
        .close()
        .await;
    phone.receives_until_quiet().await;
    let to = phone.connection.jid().to_string();
    let private = format!(
        "<message to='{to}' type='chat'><body>psst</body><no-copy xmlns='urn:xmpp:hints'/></message>"
    );
    romeo.send(&private).await;
    assert_eq!(phone.bodies().await, ["psst"]);
    let mut laptop = world.device_online("juliet", "laptop").await;
    assert_eq!(laptop.bodies().await, NOBODY);
}

#[tokio::test]
async fn a_device_that_reads_the_archive_first_gets_nothing_twice() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    world
        .device_online("juliet", "phone")
        .await
        .connection
        .close()
        .await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    for n in 0..10 {
        let text = format!("m{n}");
        romeo.send(&chat("juliet@example.org", &text)).await;
    }
    laptop.receives_until_quiet().await;
    laptop.send(&chat("romeo@example.org", "mine")).await;
    let mut phone = world.device("juliet", "phone").await;
    phone
        .send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        .await;
    assert_eq!(phone.bodies().await.len(), 11);
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, NOBODY);
    romeo.send(&chat("juliet@example.org", "live")).await;
    assert_eq!(phone.bodies().await, ["live"]);
}

#[tokio::test]
async fn an_entry_that_is_gone_from_the_log_holds_no_cursor_back() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = world.device_online("juliet", "phone").await;
    let previd = phone.manage_stream_among_others().await;
    phone.connection.detach().await;
    for text in ["one", "two"] {
        romeo.send(&chat("juliet@example.org", text)).await;
    }
    let partition = Partition::new("juliet@example.org").unwrap();
    let log = world
        .kv
        .scan(&partition, Scan::prefix(tables::LOG, 1))
        .await;
    let mut batch = Batch::new(partition);
    batch.delete(log.unwrap().remove(0).0);
    world.kv.commit(batch).unwrap();
    let (mut phone, _) = world.resume("juliet", &previd, 0).await.unwrap();
    assert_eq!(phone.bodies().await, ["two"]);
    confirm(&mut phone, 1).await;
    let home = world.node.home(&phone.bare());
    let (settled, last) = home
        .peek(|state| (state.delivered_upto(), state.delivery.last()))
        .unwrap();
    assert_eq!(settled, last);
}
