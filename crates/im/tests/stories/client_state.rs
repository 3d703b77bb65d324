//! Phones that nobody looks at (XEP-0352), and phones that are out of reach for a while (XEP-0198 §5).

use std::sync::Arc;

use posthaste_im::config::Config;
use posthaste_im::session::QueueLimits;
use posthaste_kv::memory::MemoryKv;

use crate::harness::{Client, World, chat, config};

const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
const ACTIVE: &str = "<active xmlns='urn:xmpp:csi:0'/>";

fn typing(to: &str) -> String {
    format!(
        "<message to='{to}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )
}

fn show(show: &str) -> String {
    format!("<presence><show>{show}</show></presence>")
}

/// Romeo, and Juliet's phone, which is inactive; they see each other.
async fn scene(world: &World) -> (Client, Client) {
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.following("romeo", "orchard").await;
    let mut phone = world.following("juliet", "phone").await;
    romeo.receives_until_quiet().await;
    phone.send(INACTIVE).await;
    phone.receives_until_quiet().await;
    (romeo, phone)
}

#[tokio::test]
async fn a_message_brings_along_what_was_held_before_it_in_order() {
    let world = World::new();
    let (mut romeo, mut phone) = scene(&world).await;
    romeo.send(&show("away")).await;
    romeo.send(&typing("juliet@example.org")).await;
    romeo.send(&show("dnd")).await;
    phone.receives_nothing().await;
    romeo.send(&chat("juliet@example.org", "wake up")).await;
    let received = phone.receives_until_quiet().await;
    assert_eq!(received.len(), 3, "{received:#?}");
    assert!(received[0].contains("<composing"));
    assert!(received[1].contains("<show>dnd</show>"));
    assert!(received[2].contains("<body>wake up</body>"));
}

#[tokio::test]
async fn an_active_client_gets_at_once_what_was_held() {
    let world = World::new();
    let (mut romeo, mut phone) = scene(&world).await;
    romeo.send(&show("away")).await;
    phone.send(ACTIVE).await;
    phone.receives(&[&["<show>away</show>"]]).await;
}

#[tokio::test]
async fn an_error_or_the_answer_of_a_room_is_not_held() {
    let world = World::new();
    let (mut romeo, mut phone) = scene(&world).await;
    let to = phone.connection.jid().to_string();
    romeo
        .send(&format!(
            "<presence to='{to}'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>"
        ))
        .await;
    phone.receives(&[&["code='110'"]]).await;
    romeo
        .send(&format!(
            "<presence to='{to}' type='error'><error type='cancel'/></presence>"
        ))
        .await;
    phone.receives(&[&["type='error'"]]).await;
}

#[tokio::test]
async fn a_resumed_session_is_active_and_gets_the_presence_that_was_held() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.following("romeo", "orchard").await;
    let mut phone = world.following("juliet", "phone").await;
    let previd = phone.manage_stream().await;
    phone.send(INACTIVE).await;
    romeo.send(&show("away")).await;
    phone.connection.detach().await;
    romeo.send(&typing("juliet@example.org")).await;
    romeo.send(&show("dnd")).await;
    let (mut phone, _) = world.resume("juliet", &previd, 0).await.unwrap();
    let received = phone.receives_until_quiet().await;
    let presence: Vec<_> = received
        .iter()
        .filter(|xml| xml.contains("<show>"))
        .collect();
    assert_eq!(presence.len(), 1, "{received:#?}");
    assert!(presence[0].contains("<show>dnd</show>"));
    assert!(
        !received.iter().any(|xml| xml.contains("<composing")),
        "typing is moot by now"
    );
    romeo.send(&show("chat")).await;
    let received = phone.receives_until_quiet().await;
    assert!(received[0].contains("<show>chat</show>"), "{received:#?}");
}

#[tokio::test]
async fn held_presence_outlives_a_restart_with_its_session() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.following("romeo", "orchard").await;
    let mut phone = world.following("juliet", "phone").await;
    let previd = phone.manage_stream().await;
    phone.send(INACTIVE).await;
    romeo.send(&show("away")).await;
    phone.connection.detach().await;
    world.node.store_sessions().await;
    let world = world.restarted();
    world.node.restore_sessions().await.unwrap();
    let (mut phone, _) = world.resume("juliet", &previd, 0).await.unwrap();
    let received = phone.receives_until_quiet().await;
    assert!(
        received.iter().any(|xml| xml.contains("<show>away</show>")),
        "{received:#?}"
    );
}

/// A phone may be out of reach for hours: what it costs in memory meanwhile does not depend on what comes.
#[tokio::test]
async fn a_phone_out_of_reach_costs_a_bounded_queue_whatever_comes() {
    let queue = QueueLimits {
        bytes: 64 * 1024,
        items: 200,
    };
    let settings = Config {
        queue,
        resume_seconds: 86_400,
        ..config()
    };
    let world = World::with(settings, Arc::new(MemoryKv::new()));
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.following("romeo", "orchard").await;
    let mut phone = world.following("juliet", "phone").await;
    let previd = phone.manage_stream().await;
    phone.send(INACTIVE).await;
    phone.receives_until_quiet().await;
    phone.connection.detach().await;
    let long = "x".repeat(2000);
    for n in 0..1000 {
        romeo
            .send(&show(if n % 2 == 0 { "away" } else { "dnd" }))
            .await;
        romeo.send(&typing("juliet@example.org")).await;
        romeo
            .send(&chat("juliet@example.org", &format!("m{n} {long}")))
            .await;
    }
    let account = romeo.bare().to_string().replace("romeo", "juliet");
    let home = world
        .node
        .home(&posthaste_proto::jid::BareJid::parse(&account).unwrap());
    let (items, bytes) = home
        .peek(|state| state.sessions[0].session.state().queue_len())
        .unwrap();
    assert!(items <= 200 && bytes < 4096, "{items} items, {bytes} bytes");
    let (mut phone, _) = world.resume("juliet", &previd, 0).await.unwrap();
    let mut texts = Vec::new();
    let mut h = 0;
    while texts.len() < 1000 {
        let received = phone.receives_until_quiet().await;
        h += received
            .iter()
            .filter(|xml| !xml.starts_with("<r "))
            .count();
        texts.extend(received.iter().filter_map(|xml| crate::harness::body(xml)));
        phone
            .send(&format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"))
            .await;
    }
    let in_order = (0..1000).all(|n| texts[n].starts_with(&format!("m{n} ")));
    assert!(in_order, "everything comes, once and in order");
}

fn notice(node: &str, id: &str, text: &str) -> String {
    format!(
        "<message to='juliet@example.org/phone' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
         <items node='{node}'><item id='{id}'><x xmlns='urn:x'>{text}</x></item></items></event></message>"
    )
}

#[tokio::test]
async fn notices_of_a_contact_s_nodes_wait_too_and_only_the_newest_of_each_item_is_shown() {
    let world = World::new();
    let (mut romeo, mut phone) = scene(&world).await;
    for (node, id, text) in [
        ("tune", "current", "one"),
        ("tune", "current", "two"),
        ("blog", "a", "first"),
        ("blog", "b", "second"),
        ("tune", "current", "three"),
    ] {
        romeo.send(&notice(node, id, text)).await;
    }
    phone.receives_nothing().await;
    romeo.send(&chat("juliet@example.org", "wake up")).await;
    let received = phone.receives_until_quiet().await;
    let texts: Vec<_> = ["first", "second", "three", "wake up"]
        .into_iter()
        .collect();
    assert_eq!(received.len(), texts.len(), "{received:#?}");
    assert!(
        received
            .iter()
            .zip(texts)
            .all(|(xml, text)| xml.contains(text))
    );
}
