//! A phone that sleeps is woken (XEP-0357). Its app's push service is a user here, `nurse@example.org/push`.

use std::sync::Arc;

use posthaste_im::config::{Config, PushContent};
use posthaste_im::tables;
use posthaste_kv::memory::MemoryKv;
use posthaste_kv::{Kv as _, Partition, Scan};

use crate::harness::{Client, World, chat, config};

const SERVICE: &str = "nurse@example.org/push";
const OPTIONS: &str = "<x xmlns='jabber:x:data' type='submit'>\
    <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
    <field var='secret'><value>eruio234vzxc2kla-91</value></field></x>";

fn enable(node: &str, options: &str) -> String {
    format!(
        "<iq type='set' id='x42'><enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='{node}'>{options}</enable></iq>"
    )
}

async fn is_done(client: &mut Client, iq: &str) {
    let reply = client.asks(iq).await;
    assert!(reply.contains("type='result'"), "{reply}");
}

/// The notifications that have come to the push service.
async fn pushes(service: &mut Client) -> Vec<String> {
    let received = service.receives_until_quiet().await;
    let publishes = received
        .into_iter()
        .filter(|xml| xml.contains("<notification xmlns='urn:xmpp:push:0'"));
    publishes.collect()
}

async fn answers(service: &mut Client, push: &str, error: Option<&str>) {
    let id = push
        .split("id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    let answer = match error {
        None => format!("<iq type='result' to='juliet@example.org' id='{id}'/>"),
        Some(error) => format!("<iq type='error' to='juliet@example.org' id='{id}'>{error}</iq>"),
    };
    service.send(&answer).await;
}

async fn registrations(world: &World) -> usize {
    let partition = Partition::new("juliet@example.org").unwrap();
    let rows = world.kv.scan(&partition, Scan::prefix(tables::PUSH, 100));
    rows.await.unwrap().len()
}

/// Romeo, and the push service with which Juliet's phone is registered; the phone is offline.
async fn scene(world: &World) -> (Client, Client) {
    let service = world.online("nurse", "push").await;
    let mut phone = world.device_online("juliet", "phone").await;
    is_done(&mut phone, &enable("yxs", OPTIONS)).await;
    phone.connection.close().await;
    (world.online("romeo", "orchard").await, service)
}

fn world_telling(push_content: PushContent) -> World {
    let settings = Config {
        push_content,
        ..config()
    };
    World::with(settings, Arc::new(MemoryKv::new()))
}

#[tokio::test]
async fn a_message_wakes_a_phone_that_is_away_and_tells_nothing_else() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    romeo.send(&chat("juliet@example.org", "wherefore")).await;
    let pushes = pushes(&mut service).await;
    assert_eq!(pushes.len(), 1);
    for part in [
        "from='juliet@example.org' to='nurse@example.org/push'",
        "type='set'",
        "<publish node='yxs'><item><notification xmlns='urn:xmpp:push:0'/></item></publish>",
        "<publish-options><x xmlns='jabber:x:data' type='submit'>",
        "<value>eruio234vzxc2kla-91</value>",
    ] {
        assert!(pushes[0].contains(part), "{part} in {}", pushes[0]);
    }
    assert!(!pushes[0].contains("wherefore") && !pushes[0].contains("romeo"));
}

#[tokio::test]
async fn the_operator_may_let_more_be_told() {
    let told = [
        (PushContent::Count, [true, false, false]),
        (PushContent::Sender, [true, true, false]),
        (PushContent::Body, [true, true, true]),
    ];
    for (content, expected) in told {
        let world = world_telling(content);
        let (mut romeo, mut service) = scene(&world).await;
        romeo.send(&chat("juliet@example.org", "one")).await;
        let first = pushes(&mut service).await.remove(0);
        answers(&mut service, &first, None).await;
        assert!(first.contains("<field var='message-count'><value>1</value></field>"));
        for text in ["two", "three"] {
            romeo.send(&chat("juliet@example.org", text)).await;
        }
        world.pass_seconds(5).await;
        let last = pushes(&mut service).await.remove(0);
        let found = [
            "<field var='message-count'><value>3</value></field>",
            "<field var='last-message-sender'><value>romeo@example.org/orchard</value></field>",
            "<field var='last-message-body'><value>three</value></field>",
        ]
        .map(|part| last.contains(part));
        assert_eq!(found, expected, "{content:?}: {last}");
    }
}

#[tokio::test]
async fn typing_receipts_and_own_messages_wake_nobody_and_a_call_does() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    let mut laptop = world.device_online("juliet", "laptop").await;
    for content in [
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<received xmlns='urn:xmpp:receipts' id='1'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        "<retract xmlns='urn:xmpp:jingle-message:0' id='c'/><store xmlns='urn:xmpp:hints'/>",
        "<body>not to be kept</body><no-store xmlns='urn:xmpp:hints'/>",
    ] {
        romeo
            .send(&format!(
                "<message to='juliet@example.org' type='chat'>{content}</message>"
            ))
            .await;
    }
    laptop
        .send(&chat("romeo@example.org", "from another device"))
        .await;
    laptop.send(&chat("juliet@example.org", "to myself")).await;
    assert!(pushes(&mut service).await.is_empty());
    romeo
        .send("<message to='juliet@example.org' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='c'/><store xmlns='urn:xmpp:hints'/></message>")
        .await;
    assert_eq!(
        pushes(&mut service).await.len(),
        1,
        "whatever other device is there"
    );
}

#[tokio::test]
async fn a_burst_makes_one_notification_at_its_beginning_and_one_at_its_end() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    for n in 0..50 {
        romeo
            .send(&chat("juliet@example.org", &format!("m{n}")))
            .await;
    }
    let first = pushes(&mut service).await;
    assert_eq!(first.len(), 1);
    answers(&mut service, &first[0], None).await;
    world.pass_seconds(1).await;
    assert!(pushes(&mut service).await.is_empty());
    world.pass_seconds(3).await;
    assert_eq!(pushes(&mut service).await.len(), 1);
    world.pass_seconds(600).await;
    assert!(pushes(&mut service).await.is_empty());
}

#[tokio::test]
async fn a_client_that_came_back_meanwhile_is_not_woken_again() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    romeo.send(&chat("juliet@example.org", "two")).await;
    assert_eq!(pushes(&mut service).await.len(), 1);
    let mut phone = world.device_online("juliet", "phone").await;
    assert_eq!(phone.bodies().await.len(), 2);
    world.pass_seconds(60).await;
    romeo.send(&chat("juliet@example.org", "three")).await;
    world.pass_seconds(60).await;
    assert!(pushes(&mut service).await.is_empty());
}

#[tokio::test]
async fn a_session_that_waits_to_be_resumed_is_woken() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    let mut phone = world.device("juliet", "phone").await;
    phone.manage_stream().await;
    phone.send("<presence/>").await;
    phone.receives_until_quiet().await;
    phone.connection.detach().await;
    romeo
        .send(&chat("juliet@example.org", "are you there"))
        .await;
    assert_eq!(pushes(&mut service).await.len(), 1);
}

#[tokio::test]
async fn a_client_that_is_connected_and_does_not_confirm_a_message_is_woken() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    let mut phone = world.device("juliet", "phone").await;
    phone.manage_stream().await;
    phone.send("<presence/>").await;
    phone.receives_until_quiet().await;
    romeo
        .send(&chat("juliet@example.org", "are you there"))
        .await;
    world.pass_seconds(20).await;
    assert!(pushes(&mut service).await.is_empty());
    world.pass_seconds(20).await;
    assert_eq!(
        pushes(&mut service).await.len(),
        1,
        "its system has frozen it"
    );

    // The first stanza was its own presence.
    let received = phone.receives_until_quiet().await;
    assert!(received.iter().any(|xml| xml.contains("are you there")));
    phone.send("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    world.pass_seconds(100).await;
    romeo.send(&chat("juliet@example.org", "and now")).await;
    phone.receives_until_quiet().await;
    phone.send("<a xmlns='urn:xmpp:sm:3' h='3'/>").await;
    world.pass_seconds(100).await;
    assert!(pushes(&mut service).await.is_empty());
}

#[tokio::test]
async fn a_registration_outlives_a_restart_and_works_with_nobody_online() {
    let world = World::new();
    let (_, _) = scene(&world).await;
    let world = world.restarted();
    let mut service = world.online("nurse", "push").await;
    let mut romeo = world.connect("romeo", "orchard").await;
    romeo.send(&chat("juliet@example.org", "wherefore")).await;
    assert_eq!(pushes(&mut service).await.len(), 1);
}

#[tokio::test]
async fn a_service_that_fails_for_now_is_asked_again_later_and_later() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    romeo.send(&chat("juliet@example.org", "wherefore")).await;
    let busy = "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let first = pushes(&mut service).await;
    answers(&mut service, &first[0], Some(busy)).await;
    world.pass_seconds(20).await;
    assert!(pushes(&mut service).await.is_empty());
    world.pass_seconds(11).await;
    let second = pushes(&mut service).await;
    assert_eq!(second.len(), 1);
    answers(&mut service, &second[0], Some(busy)).await;
    world.pass_seconds(31).await;
    assert!(pushes(&mut service).await.is_empty(), "twice as long");
    world.pass_seconds(30).await;
    let third = pushes(&mut service).await;
    answers(&mut service, &third[0], None).await;
    world.pass_seconds(3600).await;
    assert!(pushes(&mut service).await.is_empty(), "it has been told");
    assert_eq!(registrations(&world).await, 1);
}

#[tokio::test]
async fn a_service_that_always_fails_for_now_is_given_up_in_the_end() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    romeo.send(&chat("juliet@example.org", "wherefore")).await;
    let busy = "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let mut tries = 0;
    loop {
        let asked = pushes(&mut service).await;
        let Some(push) = asked.first() else { break };
        tries += 1;
        answers(&mut service, push, Some(busy)).await;
        world.pass_seconds(3601).await;
    }
    assert_eq!((tries, registrations(&world).await), (16, 0));
}

#[tokio::test]
async fn a_service_that_refuses_is_asked_no_more() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    let push = pushes(&mut service).await.remove(0);
    let gone = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    // Nobody but the service itself may say so.
    romeo
        .send(&format!(
            "<iq type='error' to='juliet@example.org' id='{}'>{gone}</iq>",
            push.split("id='")
                .nth(1)
                .unwrap()
                .split('\'')
                .next()
                .unwrap()
        ))
        .await;
    assert_eq!(registrations(&world).await, 1);
    answers(&mut service, &push, Some(gone)).await;
    assert_eq!(registrations(&world).await, 0);
    world.pass_seconds(60).await;
    romeo.send(&chat("juliet@example.org", "two")).await;
    assert!(pushes(&mut service).await.is_empty());
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_asked_again_after_a_minute_if_there_is_news() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    assert_eq!(pushes(&mut service).await.len(), 1);
    world.pass_seconds(10).await;
    romeo.send(&chat("juliet@example.org", "two")).await;
    world.pass_seconds(10).await;
    assert!(
        pushes(&mut service).await.is_empty(),
        "one request at a time"
    );
    world.pass_seconds(45).await;
    assert_eq!(pushes(&mut service).await.len(), 1);
}

#[tokio::test]
async fn a_service_may_withdraw() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    let withdrawn = |node: &str| {
        format!(
            "<message to='juliet@example.org'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='{node}'>\
             <affiliation jid='juliet@example.org' affiliation='none'/></pubsub></message>"
        )
    };
    romeo.send(&withdrawn("yxs")).await;
    assert_eq!(
        registrations(&world).await,
        1,
        "it is not Romeo's to withdraw"
    );
    service.send(&withdrawn("yxs")).await;
    assert_eq!(registrations(&world).await, 0);
}

#[tokio::test]
async fn notifications_are_enabled_and_disabled_by_service_and_node() {
    let world = World::new();
    let mut phone = world.device_online("juliet", "phone").await;
    for node in ["one", "two", "two"] {
        is_done(&mut phone, &enable(node, "")).await;
    }
    assert_eq!(registrations(&world).await, 2);
    is_done(
        &mut phone,
        &format!("<iq type='set' id='d'><disable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='one'/></iq>"),
    )
    .await;
    assert_eq!(registrations(&world).await, 1);
    is_done(&mut phone, &enable("three", "")).await;
    is_done(
        &mut phone,
        &format!("<iq type='set' id='d'><disable xmlns='urn:xmpp:push:0' jid='{SERVICE}'/></iq>"),
    )
    .await;
    assert_eq!(registrations(&world).await, 0);
    let refused = phone
        .asks("<iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' node='n'/></iq>")
        .await;
    assert!(refused.contains("<bad-request"), "{refused}");
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_registrations_and_the_oldest_goes() {
    let world = World::new();
    let mut phone = world.device_online("juliet", "phone").await;
    for n in 0..45 {
        is_done(&mut phone, &enable(&format!("n{n}"), "")).await;
    }
    assert_eq!(registrations(&world).await, 40);
    let long = OPTIONS.replace("eruio", &"x".repeat(5000));
    let refused = phone.asks(&enable("n", &long)).await;
    assert!(refused.contains("<policy-violation"), "{refused}");
}

#[tokio::test]
async fn a_device_that_is_forgotten_is_woken_no_more() {
    let world = World::new();
    let (mut romeo, mut service) = scene(&world).await;
    world.pass_seconds(61 * 86_400).await;
    world.visit_homes().await;
    assert_eq!(registrations(&world).await, 0);
    romeo.send(&chat("juliet@example.org", "hello")).await;
    assert!(pushes(&mut service).await.is_empty());
}

#[tokio::test]
async fn a_client_without_a_name_is_woken_when_its_resource_is_gone() {
    let world = World::new();
    let mut service = world.online("nurse", "push").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let mut phone = world.online("juliet", "phone").await;
    is_done(&mut phone, &enable("yxs", "")).await;
    romeo.send(&chat("juliet@example.org", "one")).await;
    assert!(pushes(&mut service).await.is_empty());
    phone.connection.close().await;
    romeo.send(&chat("juliet@example.org", "two")).await;
    assert_eq!(pushes(&mut service).await.len(), 1);
}
