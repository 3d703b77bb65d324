//! Rooms with many in them: what is bounded stays bounded, and nobody pays for somebody else's slowness.

use std::sync::{Arc, Mutex};

use posthaste_im::config::Config;
use posthaste_im::session::QueueLimits;
use posthaste_kv::memory::MemoryKv;

use crate::harness::{Client, World, chat, config};
use crate::rooms::{COVEN, join, said};

/// Queues as short as a test can fill.
fn with_short_queues(items: usize) -> World {
    let queue = QueueLimits {
        bytes: 128 * 1024,
        items,
    };
    let config = Config { queue, ..config() };
    World::with(config, Arc::new(MemoryKv::new()))
}

/// So many who are in the room and do not read.
async fn crowd(world: &World, size: usize) -> Vec<Client> {
    let mut all = Vec::new();
    for number in 0..size {
        let user = format!("witch{number}");
        world.add_account(&user);
        let mut client = world.online(&user, "broom").await;
        client.send(&join(&user)).await;
        if number == 0 {
            client.opens_room(COVEN).await;
        }
        all.push(client);
    }
    all
}

#[tokio::test]
async fn whoever_enters_sees_everybody_however_short_its_queue_is() {
    let world = with_short_queues(20);
    let _crowd = crowd(&world, 200).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    // Before it has read any of that, somebody says something.
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("juliet")).await;
    juliet.receives_until_quiet().await;
    juliet.send(&said("harpier")).await;

    let received = romeo.receives_until_quiet().await;
    for number in 0..200 {
        let address =
            format!("<presence from='{COVEN}/witch{number}' to='romeo@example.org/orchard'");
        let seen = received.iter().filter(|xml| xml.starts_with(&address));
        assert_eq!(seen.count(), 1, "witch{number}");
    }
    assert!(received[200].contains("code='110'"), "{}", received[200]);
    assert!(received[201].contains("<subject"), "{}", received[201]);
    assert!(received[202].contains("/juliet'"), "{}", received[202]);
    assert!(received[203].contains("harpier"), "{}", received[203]);
    assert_eq!(received.len(), 204);
}

#[tokio::test]
async fn the_crowds_that_wait_for_one_reader_are_bounded() {
    let mut config = config();
    config.rooms.occupants = 10;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let _crowd = crowd(&world, 9).await;
    let mut romeo = world.online("romeo", "orchard").await;
    // It enters again and again and does not read: after four full rooms it is told of nobody but itself.
    for _ in 0..6 {
        romeo.send(&join("romeo")).await;
    }
    let received = romeo.receives_until_quiet().await;
    let of_others = received.iter().filter(|xml| xml.contains("/witch"));
    assert_eq!(of_others.count(), 4 * 9);
    assert_eq!(world.node.stats.refused_by_queue.value(), 2 * 9);
    romeo.send(&join("romeo")).await;
    assert_eq!(romeo.receives_until_quiet().await.len(), 9 + 2);
}

#[tokio::test]
async fn a_full_room_takes_nobody_more() {
    let mut config = config();
    config.rooms.occupants = 10;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let _crowd = crowd(&world, 10).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    romeo
        .receives(&[&["type='error'", "type='wait'", "<service-unavailable"]])
        .await;
}

#[tokio::test]
async fn whoever_enters_a_crowd_sees_it_and_is_heard_and_not_seen() {
    let mut config = config();
    config.rooms.shown = 2;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("juliet")).await;
    juliet.opens_room(COVEN).await;
    let mut nurse = world.online("nurse", "kitchen").await;
    nurse.send(&join("nurse")).await;
    juliet.receives_until_quiet().await;
    nurse.receives_until_quiet().await;

    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    let seen = romeo.receives_until_quiet().await.concat();
    for nick in ["juliet", "nurse"] {
        assert!(seen.contains(&format!("from='{COVEN}/{nick}'")), "{seen}");
    }
    assert!(seen.contains("code='110'"), "{seen}");
    juliet.receives_nothing().await;
    romeo.send(&said("hark")).await;
    assert_eq!(juliet.bodies().await, ["hark"]);
    assert_eq!(nurse.bodies().await, ["hark"]);
    assert_eq!(romeo.bodies().await, ["hark"]);

    // Who may do something to others is to be seen by them.
    let moderator = format!(
        "<iq type='set' id='m' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item nick='romeo' role='moderator'/></query></iq>"
    );
    juliet.send(&moderator).await;
    let seen = nurse.receives_until_quiet().await.concat();
    assert!(seen.contains(&format!("from='{COVEN}/romeo'")), "{seen}");
    let away = format!("<presence type='unavailable' to='{COVEN}/romeo'/>");
    romeo.send(&away).await;
    let gone = nurse.receives_until_quiet().await.concat();
    assert!(gone.contains("type='unavailable'"), "{gone}");
}

#[tokio::test]
async fn a_slow_reader_loses_what_has_no_room_and_nobody_else_does() {
    let world = with_short_queues(10);
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("juliet")).await;
    juliet.opens_room(COVEN).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    let mut nurse = world.online("nurse", "kitchen").await;
    nurse.send(&join("nurse")).await;
    for client in [&mut juliet, &mut romeo, &mut nurse] {
        client.receives_until_quiet().await;
    }
    for number in 0..50 {
        let text = format!("{number}");
        juliet.send(&said(&text)).await;
        assert_eq!(juliet.bodies().await, std::slice::from_ref(&text));
        assert_eq!(nurse.bodies().await, [text]);
    }
    // He reads at last, in order, what had room; the rest is in the room's archive.
    let kept: Vec<_> = (0..10).map(|number| format!("{number}")).collect();
    assert_eq!(romeo.bodies().await, kept);
    assert_eq!(world.node.stats.refused_by_queue.value(), 40);
    juliet.send(&said("again")).await;
    assert_eq!(romeo.bodies().await, ["again"]);
}

#[tokio::test]
async fn whoever_has_blocked_the_room_gets_nothing_of_it() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("juliet")).await;
    juliet.opens_room(COVEN).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    for client in [&mut juliet, &mut romeo] {
        client.receives_until_quiet().await;
    }
    let block = format!(
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{COVEN}'/></block></iq>"
    );
    romeo.asks(&block).await;
    juliet.send(&said("harpier")).await;
    assert_eq!(romeo.bodies().await, [""; 0]);
}

#[tokio::test]
async fn a_stanza_id_in_an_occupants_name_is_not_passed_on() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("juliet")).await;
    juliet.opens_room(COVEN).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    romeo.receives_until_quiet().await;
    juliet
        .send(&format!(
            "<message to='{COVEN}' type='groupchat' id='f'><body>forged</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' id='7' by='romeo@example.org'/></message>"
        ))
        .await;
    let received = romeo.receives_until_quiet().await;
    let message = received.iter().find(|xml| xml.contains("forged")).unwrap();
    assert!(!message.contains("by='romeo@example.org'"), "{message}");
    assert!(message.contains(&format!("by='{COVEN}'")), "{message}");
}

#[tokio::test]
async fn a_message_to_many_does_not_hold_up_a_message_to_one() {
    let world = World::new();
    let mut speaker = crowd(&world, 600).await.remove(0);
    let mut romeo = world.online("romeo", "orchard").await;
    let done = Mutex::new(Vec::new());
    let to_many = async {
        speaker.send(&said("to many")).await;
        done.lock().unwrap().push("many");
    };
    let to_one = async {
        romeo.send(&chat("juliet@example.org", "to one")).await;
        done.lock().unwrap().push("one");
    };
    // On one thread: the second gets its turn because the first gives it.
    tokio::join!(to_many, to_one);
    assert_eq!(*done.lock().unwrap(), ["one", "many"]);
}

#[tokio::test]
async fn what_many_get_is_acknowledged_together() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("juliet")).await;
    juliet.opens_room(COVEN).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.manage_stream().await;
    romeo.send(&join("romeo")).await;
    let entered = romeo.receives_until_quiet().await;
    assert!(entered.last().unwrap().starts_with("<r "), "{entered:?}");
    let taken = entered.len() - 1;
    romeo
        .send(&format!("<a xmlns='urn:xmpp:sm:3' h='{taken}'/>"))
        .await;
    world.pass_seconds(1).await;
    romeo.receives_until_quiet().await;

    for text in ["one", "two", "three"] {
        juliet.send(&said(text)).await;
        assert_eq!(romeo.receives_until_quiet().await.len(), 1, "{text}");
    }
    world.pass_seconds(1).await;
    let asked = romeo.receives_until_quiet().await;
    assert_eq!(asked, ["<r xmlns='urn:xmpp:sm:3'/>"]);
    // What is for him alone is asked for at once.
    juliet.send(&chat("romeo@example.org", "for you")).await;
    romeo.receives_until_quiet().await;
    romeo
        .send(&format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", taken + 3))
        .await;
    let asked = romeo.receives_until_quiet().await;
    assert_eq!(asked, ["<r xmlns='urn:xmpp:sm:3'/>"]);
    // And in a burst of copies after so many, as ever.
    romeo
        .send(&format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", taken + 4))
        .await;
    for number in 0..64 {
        juliet.send(&said(&number.to_string())).await;
    }
    let burst = romeo.receives_until_quiet().await;
    assert_eq!(burst.iter().filter(|xml| xml.starts_with("<r ")).count(), 1);
}
