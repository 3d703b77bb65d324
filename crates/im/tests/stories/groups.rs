//! Who belongs to a group misses nothing while away (docs/protocol/groups.md): the member's side, to which a room speaks.

use std::sync::Arc;

use posthaste_im::config::{Config, PushContent};
use posthaste_im::ext::groups::MAX_GROUPS;
use posthaste_im::router::Envelope;
use posthaste_im::tables;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::caps::Caps;
use posthaste_proto::xep::disco::{Identity, Info};
use posthaste_proto::xml::{Limits, StreamContext};

use crate::archive::{ask, between};
use crate::harness::{Client, World, chat, config};

/// A room far away.
const COVEN: &str = "coven@chat.verona.example";

impl World {
    /// A stanza comes from somewhere else.
    pub(crate) async fn arrives(&self, xml: &str) {
        let stanza = Stanza::parse(xml.as_bytes(), &Limits::NONE, &StreamContext::client());
        self.node.route(vec![Envelope::new(stanza.unwrap())]).await;
    }
}

/// What a room tells Juliet of how things stand.
fn activity(room: &str, attributes: &str) -> String {
    format!(
        "<message from='{room}' to='juliet@example.org' type='headline'>\
         <activity xmlns='urn:posthaste:groups:0' {attributes}/></message>"
    )
}

fn bookmark(room: &str, setting: &str) -> String {
    format!(
        "<iq type='set' id='b'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <publish node='urn:xmpp:bookmarks:1'><item id='{room}'>\
         <conference xmlns='urn:xmpp:bookmarks:1'><extensions>\
         <notify xmlns='urn:xmpp:notification-settings:1'>{setting}</notify>\
         </extensions></conference></item></publish></pubsub></iq>"
    )
}

async fn is_done(client: &mut Client, iq: &str) {
    let reply = client.asks(iq).await;
    assert!(reply.contains("type='result'"), "{reply}");
}

const INBOX: &str = "<iq type='get' id='inbox'><inbox xmlns='urn:xmpp:inbox:1'/></iq>";

/// The lines of the inbox: what is unread of whom.
async fn inbox(client: &mut Client) -> Vec<String> {
    client.receives_until_quiet().await;
    ask(client, INBOX).await.messages
}

async fn juliet_with(world: &World, room: &str, setting: &str) -> Client {
    let mut juliet = world.online("juliet", "balcony").await;
    is_done(&mut juliet, &bookmark(room, setting)).await;
    juliet
}

#[tokio::test]
async fn the_inbox_shows_a_group_as_its_room_says_that_it_stands() {
    let world = World::new();
    let mut juliet = juliet_with(&world, COVEN, "").await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@example.org", "before")).await;
    world.pass_seconds(1).await;
    world
        .arrives(&activity(
            COVEN,
            "last='p42' count='42' by='hecate' read='40' mentions='42'",
        ))
        .await;
    let lines = inbox(&mut juliet).await;
    assert_eq!(lines.len(), 2);
    for part in [
        "<entry xmlns='urn:xmpp:inbox:1' jid='coven@chat.verona.example' unread='2' id='p42'/>",
        "<group xmlns='urn:posthaste:groups:0' mentions='1' by='hecate'/>",
    ] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    assert!(lines[1].contains("before"));
    let fin = ask(&mut juliet, INBOX).await.iq;
    assert!(fin.contains("total='2' unread='2' all-unread='3'"), "{fin}");
    // It is the state that is told, so that it may be told again.
    world
        .arrives(&activity(
            COVEN,
            "last='p42' count='42' by='hecate' read='40' mentions='42'",
        ))
        .await;
    world.arrives(&activity(COVEN, "last='p9' count='9'")).await;
    assert_eq!(inbox(&mut juliet).await[0], lines[0]);
    assert_eq!(world.keys("juliet", tables::GROUP).await, 1);
}

#[tokio::test]
async fn what_has_been_seen_on_one_device_is_seen() {
    let world = World::new();
    let mut juliet = juliet_with(&world, COVEN, "").await;
    let unread = async |juliet: &mut Client, n: u32| {
        let line = inbox(juliet).await.remove(0);
        assert!(line.contains(&format!("unread='{n}'")), "{line}");
    };
    let seen = |id: &str| {
        format!(
            "<iq type='set' id='s'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <publish node='urn:xmpp:mds:displayed:0'><item id='{COVEN}'><displayed xmlns='urn:xmpp:mds:displayed:0'>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{COVEN}' id='{id}'/></displayed></item></publish></pubsub></iq>"
        )
    };
    // As slixmpp 1.17 says it.
    let seen_by_nobody = |id: &str| seen(id).replace(&format!(" by='{COVEN}'"), "");
    world
        .arrives(&activity(COVEN, "last='p5' count='5' by='a' mentions='4'"))
        .await;
    unread(&mut juliet, 5).await;
    is_done(&mut juliet, &seen("p5")).await;
    unread(&mut juliet, 0).await;
    // An older one only the room can number.
    world
        .arrives(&activity(COVEN, "last='p9' count='9' by='a'"))
        .await;
    is_done(&mut juliet, &seen("p7")).await;
    unread(&mut juliet, 4).await;
    world
        .arrives(&activity(COVEN, "last='p9' count='9' by='a' read='7'"))
        .await;
    unread(&mut juliet, 2).await;
    is_done(&mut juliet, &seen_by_nobody("p9")).await;
    unread(&mut juliet, 0).await;
    world
        .arrives(&activity(COVEN, "last='pb' count='11' by='a'"))
        .await;
    let marker = format!(
        "<message to='{COVEN}' type='groupchat'><displayed xmlns='urn:xmpp:chat-markers:0' id='pb'/></message>"
    );
    unread(&mut juliet, 2).await;
    juliet.send(&marker).await;
    unread(&mut juliet, 0).await;
}

#[tokio::test]
async fn nobody_far_away_puts_lines_into_the_inbox_unasked() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let news = "last='p1' count='1' by='a'";
    world.arrives(&activity(COVEN, news)).await;
    world.arrives(&activity("chat.verona.example", news)).await;
    world
        .arrives(&activity("coven@chat.verona.example/hecate", news))
        .await;
    assert_eq!(inbox(&mut juliet).await.len(), 0);
    // A room of ours may; unless it is blocked.
    world
        .arrives(&activity("coven@pubsub.example.org", news))
        .await;
    assert_eq!(inbox(&mut juliet).await.len(), 1);
    let block = "<iq type='set' id='k'><block xmlns='urn:xmpp:blocking'><item jid='coven@pubsub.example.org'/></block></iq>";
    is_done(&mut juliet, block).await;
    world
        .arrives(&activity(
            "coven@pubsub.example.org",
            "last='p2' count='2' by='a'",
        ))
        .await;
    assert!(inbox(&mut juliet).await[0].contains("unread='1'"));
}

#[tokio::test]
async fn groups_are_kept_up_to_a_number_and_forgotten_when_one_leaves() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let room = |n: usize| format!("room{n}@pubsub.example.org");
    for n in 0..=MAX_GROUPS {
        world
            .arrives(&activity(&room(n), "last='p' count='1' by='a'"))
            .await;
    }
    assert_eq!(world.keys("juliet", tables::GROUP).await, MAX_GROUPS);
    let change = |affiliation: &str, code: &str| {
        format!(
            "<message from='{}' to='juliet@example.org'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='{affiliation}' jid='juliet@example.org'/><status code='{code}'/></x></message>",
            room(1)
        )
    };
    world.arrives(&change("admin", "101")).await;
    world.arrives(&change("none", "100")).await;
    assert_eq!(world.keys("juliet", tables::GROUP).await, MAX_GROUPS);
    world.arrives(&change("none", "101")).await;
    assert_eq!(world.keys("juliet", tables::GROUP).await, MAX_GROUPS - 1);
    juliet.receives_until_quiet().await;
}

// ---- who is woken ----------------------------------------------------------------------------------------

/// Juliet's phone, registered and gone, with this setting for the group; answers the push service, the Nurse's.
async fn asleep(world: &World, setting: &str) -> Client {
    let service = world.online("nurse", "push").await;
    let mut phone = world.device_online("juliet", "phone").await;
    is_done(&mut phone, &bookmark(COVEN, setting)).await;
    let enable = "<iq type='set' id='x42'><enable xmlns='urn:xmpp:push:0' jid='nurse@example.org/push' node='n'/></iq>";
    is_done(&mut phone, enable).await;
    phone.connection.close().await;
    service
}

/// How many notifications have come to the push service, which takes them.
async fn pushes(service: &mut Client) -> usize {
    let received = service.receives_until_quiet().await;
    let is_push = |xml: &&String| xml.contains("<notification xmlns='urn:xmpp:push:0'");
    let pushes: Vec<&String> = received.iter().filter(is_push).collect();
    for push in &pushes {
        let id = between(push, " id='", "'").unwrap();
        let answer = format!("<iq type='result' to='juliet@example.org' id='{id}'/>");
        service.send(&answer).await;
    }
    pushes.len()
}

#[tokio::test]
async fn a_sleeping_phone_is_woken_as_its_owner_wants() {
    let steps = [
        "last='p1' count='1' by='a'",
        "last='p2' count='2' by='a' mentions='2'",
        // Heard of before; and her own.
        "last='p2' count='2' by='a' mentions='2'",
        "last='p3' count='3' by='juliet' read='3'",
    ];
    for (setting, expected) in [
        ("", [1, 1, 0, 0]),
        ("<always/>", [1, 1, 0, 0]),
        ("<on-mention/>", [0, 1, 0, 0]),
        ("<never/>", [0, 0, 0, 0]),
        ("<always/><never identity-category='client'/>", [0, 0, 0, 0]),
    ] {
        let world = World::new();
        let mut service = asleep(&world, setting).await;
        for (step, expected) in steps.iter().zip(expected) {
            world.arrives(&activity(COVEN, step)).await;
            assert_eq!(pushes(&mut service).await, expected, "{setting}: {step}");
            // The burst is over.
            world.pass_seconds(10).await;
        }
    }
}

#[tokio::test]
async fn a_notification_tells_what_the_operator_lets_it_tell() {
    let config = Config {
        push_content: PushContent::Sender,
        ..config()
    };
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut service = asleep(&world, "").await;
    world
        .arrives(&activity(COVEN, "last='p1' count='1' by='hecate'"))
        .await;
    let push = service.receives_until_quiet().await.remove(0);
    assert!(
        push.contains("<value>coven@chat.verona.example/hecate</value>"),
        "{push}"
    );
    assert!(
        push.contains("<field var='message-count'><value>1</value></field>"),
        "{push}"
    );
}

// ---- a client that wants to be told live -----------------------------------------------------------------

#[tokio::test]
async fn a_client_that_has_not_joined_may_be_told_and_a_newer_notice_replaces_an_older_one() {
    let world = World::new();
    let info = Info {
        identities: vec![Identity::new("client", "phone", Some("Balcony"))],
        features: vec![ns::DISCO_INFO.into(), format!("{}+notify", ns::GROUPS)],
        ..Info::default()
    };
    let xml = |element: posthaste_proto::xml::Element| {
        String::from_utf8(element.to_bytes(ns::CLIENT)).unwrap()
    };
    let caps = Caps::of(&info, "https://balcony.example").unwrap();
    let mut juliet = juliet_with(&world, COVEN, "").await;
    juliet
        .send(&format!("<presence>{}</presence>", xml(caps.to_element())))
        .await;
    juliet.receives_until_quiet().await;
    let proof = xml(info.to_element());
    juliet
        .send(&format!(
            "<iq type='result' id='caps-1' to='juliet@example.org'>{proof}</iq>"
        ))
        .await;
    juliet.receives_until_quiet().await;
    let mut other = world.online("juliet", "chamber").await;
    juliet.receives_until_quiet().await;
    world
        .arrives(&activity(COVEN, "last='p1' count='1' by='a'"))
        .await;
    juliet
        .receives(&[&[
            "from='coven@chat.verona.example'",
            "type='headline'",
            "last='p1' count='1' by='a'",
        ]])
        .await;
    other.receives_nothing().await;
    // Whoever reads slowly gets how things stand now.
    for n in 2..2_000 {
        let attributes = format!("last='p{n}' count='{n}' by='a'");
        world.arrives(&activity(COVEN, &attributes)).await;
    }
    let received = juliet.receives_until_quiet().await;
    assert!(received.len() <= 1_000, "{}", received.len());
    assert!(received.last().unwrap().contains("count='1999'"));
}
