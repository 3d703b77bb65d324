//! Store and forward: what is acknowledged arrives, in order, once, whoever is there.

use std::sync::Arc;

use crate::harness::{World, chat, config};
use posthaste_im::config::{Config, Keep};
use posthaste_im::session::QueueLimits;
use posthaste_kv::Kv as _;
use posthaste_kv::memory::MemoryKv;

#[tokio::test]
async fn a_message_reaches_whoever_is_there_with_a_stanza_id() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    romeo
        .send(&chat("juliet@example.org", "art thou there"))
        .await;
    let received = juliet.receives_until_quiet().await;
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(
        received[0].contains("from='romeo@example.org/orchard'"),
        "{received:?}"
    );
    assert!(received[0].contains("urn:xmpp:sid:0"), "{received:?}");
    assert_eq!(romeo.receives_until_quiet().await, Vec::<String>::new());
}

#[tokio::test]
async fn messages_wait_in_order_for_someone_who_is_away_and_come_once() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let texts: Vec<String> = (0..300).map(|n| format!("m{n}")).collect();
    for text in &texts {
        romeo.send(&chat("juliet@example.org", text)).await;
    }
    let mut juliet = world.connect("juliet", "balcony").await;
    assert_eq!(
        juliet.bodies().await,
        Vec::<String>::new(),
        "nothing before she is available"
    );
    juliet.send("<presence/>").await;
    let received = juliet.receives_until_quiet().await;
    let messages: Vec<_> = received
        .iter()
        .filter_map(|xml| crate::harness::body(xml))
        .collect();
    assert_eq!(messages, texts);
    assert!(
        received
            .iter()
            .filter(|xml| xml.contains("<body>"))
            .all(|xml| xml.contains("urn:xmpp:delay"))
    );
    let mut second = world.online("juliet", "chamber").await;
    assert_eq!(second.bodies().await, Vec::<String>::new());
    let again = world.restarted();
    let mut third = again.connect("juliet", "balcony").await;
    third.send("<presence/>").await;
    let repeated = third.bodies().await.len();
    assert!(
        repeated == 0 || repeated == 300,
        "before the cursor is saved all are repeated, recognisably"
    );
    world.pass_seconds(2).await;
    let mut fourth = world.restarted().connect("juliet", "balcony").await;
    fourth.send("<presence/>").await;
    assert_eq!(fourth.bodies().await, Vec::<String>::new());
}

#[tokio::test]
async fn live_messages_come_after_the_ones_that_waited() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    for n in 0..200 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet.send("<presence/>").await;
    let (mut some, _) = juliet.receives_within(2000).await;
    for n in 200..220 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    some.extend(juliet.receives_until_quiet().await);
    let bodies: Vec<_> = some
        .iter()
        .filter_map(|xml| crate::harness::body(xml))
        .collect();
    assert_eq!(
        bodies,
        (0..220).map(|n| format!("m{n}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_acknowledgement_waits_for_the_disk() {
    let kv = Arc::new(MemoryKv::manual());
    let world = World::with(config(), kv.clone());
    kv.make_durable();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    romeo.manage_stream().await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    assert_eq!(
        juliet.bodies().await,
        ["one"],
        "live delivery does not wait"
    );
    assert_eq!(romeo.acked().await, None);
    kv.make_durable();
    let late = romeo.receives_until_quiet().await;
    assert_eq!(late, ["<a xmlns='urn:xmpp:sm:3' h='1'/>"]);
}

#[tokio::test]
async fn who_asks_all_the_time_is_acknowledged_as_far_as_the_disk_has_come() {
    let kv = Arc::new(MemoryKv::manual());
    let world = World::with(config(), kv.clone());
    kv.make_durable();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.manage_stream().await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    assert_eq!(romeo.acked().await, None);
    let first = kv.line().issued();
    romeo.send(&chat("juliet@example.org", "two")).await;
    assert_eq!(romeo.acked().await, None);
    kv.make_durable_up_to(first);
    let early = romeo.receives_until_quiet().await;
    assert_eq!(early, ["<a xmlns='urn:xmpp:sm:3' h='1'/>"]);
    kv.make_durable();
    let late = romeo.receives_until_quiet().await;
    assert_eq!(late, ["<a xmlns='urn:xmpp:sm:3' h='2'/>"]);
}

#[tokio::test]
async fn a_failed_store_ends_streams_and_acknowledges_nothing() {
    let kv = Arc::new(MemoryKv::manual());
    let world = World::with(config(), kv.clone());
    kv.make_durable();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.manage_stream().await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    romeo.send("<r xmlns='urn:xmpp:sm:3'/>").await;
    kv.fail();
    let (received, error) = romeo.receives_within(usize::MAX).await;
    assert!(received.is_empty(), "{received:?}");
    assert!(error.is_some());
    assert!(
        romeo
            .try_send(&chat("juliet@example.org", "two"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_resumed_session_gets_what_it_missed_once_and_in_order() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let previd = juliet.manage_stream().await;
    for n in 0..10 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    assert_eq!(juliet.bodies().await.len(), 10);
    juliet.send("<a xmlns='urn:xmpp:sm:3' h='4'/>").await;
    juliet.connection.detach().await;
    for n in 10..20 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    let (mut juliet, handled) = world.resume("juliet", &previd, 6).await.unwrap();
    assert_eq!(handled, 0);
    let expected: Vec<_> = (6..20).map(|n| format!("m{n}")).collect();
    assert_eq!(juliet.bodies().await, expected);
    juliet.send("<a xmlns='urn:xmpp:sm:3' h='20'/>").await;
    assert!(
        juliet
            .try_send("<a xmlns='urn:xmpp:sm:3' h='21'/>")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_session_given_up_hands_its_messages_to_the_next_one() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.manage_stream().await;
    for n in 0..5 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    assert_eq!(juliet.bodies().await.len(), 5);
    juliet.send("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    juliet.connection.detach().await;
    world.pass_seconds(3600).await;
    let mut again = world.connect("juliet", "chamber").await;
    again.send("<presence/>").await;
    assert_eq!(again.bodies().await, ["m2", "m3", "m4"]);
}

#[tokio::test]
async fn an_old_connection_cannot_go_on_after_its_session_was_resumed() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let previd = juliet.manage_stream().await;
    let (mut resumed, _) = world.resume("juliet", &previd, 0).await.unwrap();
    assert!(
        juliet
            .try_send(&chat("romeo@example.org", "late"))
            .await
            .is_err()
    );
    assert!(juliet.receives_within(usize::MAX).await.1.is_some());
    juliet.connection.detach().await;
    resumed.send(&chat("romeo@example.org", "on time")).await;
    assert_eq!(resumed.acked().await, Some(1));
}

#[tokio::test]
async fn a_session_outlives_a_restart_of_the_server() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let previd = juliet.manage_stream().await;
    juliet.send(&chat("romeo@example.org", "hello")).await;
    romeo.send(&chat("juliet@example.org", "m0")).await;
    romeo.send(&chat("juliet@example.org", "m1")).await;
    assert_eq!(juliet.bodies().await.len(), 2);
    juliet.connection.detach().await;
    assert_eq!(world.node.store_sessions().await, 1);
    let world = world.restarted();
    assert_eq!(world.node.restore_sessions().await.unwrap(), 1);
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.bodies().await;
    romeo.send(&chat("juliet@example.org", "m2")).await;
    let (mut juliet, handled) = world.resume("juliet", &previd, 1).await.unwrap();
    assert_eq!(handled, 1);
    assert_eq!(juliet.bodies().await, ["m1", "m2"]);
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_no_memory_and_misses_nothing() {
    let queue = QueueLimits {
        bytes: 4000,
        items: 20,
    };
    let world = World::with(Config { queue, ..config() }, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let expected: Vec<_> = (0..500).map(|n| format!("m{n}")).collect();
    for text in &expected {
        romeo.send(&chat("juliet@example.org", text)).await;
    }
    assert_eq!(juliet.bodies().await, expected);
    romeo.send(&chat("juliet@example.org", "live again")).await;
    assert_eq!(juliet.bodies().await, ["live again"]);
}

#[tokio::test]
async fn a_managed_reader_that_never_acknowledges_is_not_written_to_without_end() {
    let queue = QueueLimits {
        bytes: 100_000,
        items: 20,
    };
    let world = World::with(Config { queue, ..config() }, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.manage_stream().await;
    for n in 0..100 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    let mut got = juliet.bodies().await;
    assert_eq!(got.len(), 20);
    while got.len() < 100 {
        juliet
            .send(&format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", got.len()))
            .await;
        let more = juliet.bodies().await;
        assert!(!more.is_empty(), "stuck at {}", got.len());
        got.extend(more);
    }
    assert_eq!(got, (0..100).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn other_devices_get_copies_of_both_sides() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut balcony = world.online("juliet", "balcony").await;
    let mut chamber = world.online("juliet", "chamber").await;
    chamber
        .send("<iq type='set' id='c1'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        .await;
    chamber.receives_until_quiet().await;
    romeo.send(&chat("juliet@example.org/balcony", "hi")).await;
    assert_eq!(balcony.bodies().await, ["hi"]);
    let copies = chamber.receives_until_quiet().await;
    assert!(
        copies.len() == 1 && copies[0].contains("<received xmlns='urn:xmpp:carbons:2'>"),
        "{copies:?}"
    );
    balcony.send(&chat("romeo@example.org", "ho")).await;
    let copies = chamber.receives_until_quiet().await;
    assert!(
        copies.len() == 1 && copies[0].contains("<sent xmlns='urn:xmpp:carbons:2'>"),
        "{copies:?}"
    );
}

#[tokio::test]
async fn delivered_messages_leave_the_log_where_the_operator_wants_it_so() {
    let mut settings = config();
    settings.hosts[0].keep = Keep::Delivered;
    let world = World::with(settings, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    world.pass_seconds(2).await;
    assert_eq!(log_len(&world, "juliet").await, 1);
    assert_eq!(log_len(&world, "romeo").await, 0);
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet.send("<presence/>").await;
    assert_eq!(juliet.bodies().await, ["one"]);
    world.pass_seconds(2).await;
    assert_eq!(log_len(&world, "juliet").await, 0);
}

#[tokio::test]
async fn a_false_from_ends_the_stream() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let forged =
        "<message from='juliet@example.org' to='nurse@example.org'><body>x</body></message>";
    assert!(romeo.try_send(forged).await.is_err());
}

async fn log_len(world: &World, user: &str) -> usize {
    use posthaste_kv::{Kv, Partition, Scan};
    let partition = Partition::new(format!("{user}@example.org")).unwrap();
    world
        .kv
        .scan(&partition, Scan::prefix(posthaste_im::tables::LOG, 1000))
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn after_the_days_that_the_operator_set_only_the_undelivered_is_still_there() {
    let mut settings = config();
    settings.hosts[0].keep = Keep::Days(30);
    let world = World::with(settings, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    romeo.send(&chat("juliet@example.org", "taken")).await;
    romeo.send(&chat("nurse@example.org", "waiting")).await;
    juliet.bodies().await;
    world.pass_seconds(31 * 86_400).await;
    assert_eq!(log_len(&world, "juliet").await, 0);
    assert_eq!(log_len(&world, "nurse").await, 1);
}

#[tokio::test]
async fn a_forged_stanza_id_or_server_delay_never_arrives() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let forged = "<message to='juliet@example.org' type='chat'><body>x</body>\
        <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='juliet@example.org'/>\
        <stanza-id xmlns='urn:xmpp:sid:0' id='theirs' by='room.example.net'/>\
        <delay xmlns='urn:xmpp:delay' from='example.org' stamp='2000-01-01T00:00:00Z'/></message>";
    romeo.send(forged).await;
    let received = juliet.receives_until_quiet().await.remove(0);
    assert!(
        !received.contains("forged") && !received.contains("2000-01-01"),
        "{received}"
    );
    assert!(received.contains("theirs"), "{received}");
}

#[tokio::test]
async fn a_session_that_was_resumed_in_time_lives_on_when_its_old_deadline_passes() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let previd = juliet.manage_stream().await;
    juliet.connection.detach().await;
    world.pass_seconds(300).await;
    let (mut juliet, _) = world.resume("juliet", &previd, 0).await.unwrap();
    world.pass_seconds(400).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@example.org", "still there")).await;
    assert_eq!(juliet.bodies().await, ["still there"]);
}

#[tokio::test]
async fn a_connection_that_is_dropped_counts_as_lost() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let juliet = world.online("juliet", "balcony").await;
    drop(juliet);
    world.pass_seconds(1).await;
    assert_eq!(world.node.stats.sessions(), 1);
    romeo.send(&chat("juliet@example.org", "wait")).await;
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet.send("<presence/>").await;
    assert_eq!(juliet.bodies().await, ["wait"]);
}

#[tokio::test]
async fn a_stale_connection_that_closes_does_not_end_the_resumed_session() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let previd = juliet.manage_stream().await;
    let (mut resumed, _) = world.resume("juliet", &previd, 0).await.unwrap();
    juliet.connection.close().await;
    assert_eq!(resumed.acked().await, Some(0));
    assert_eq!(world.node.stats.sessions(), 1);
}
