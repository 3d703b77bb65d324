//! What was said last, and what is unread, is the same on all devices (XEP-0430, XEP-0490).

use std::sync::Arc;

use posthaste_im::config::Keep;
use posthaste_kv::memory::MemoryKv;

use crate::archive::{ask, between, stanza_id};
use crate::harness::{Client, World, chat, config};

fn inbox(attributes: &str, set: &str) -> String {
    format!(
        "<iq type='get' id='inbox'><inbox xmlns='urn:xmpp:inbox:1' {attributes}>\
         <set xmlns='http://jabber.org/protocol/rsm'>{set}</set></inbox></iq>"
    )
}

/// The list as a client shows it: who, what was said last, how much is unread.
async fn list(client: &mut Client) -> Vec<(String, String, u32)> {
    client.receives_until_quiet().await;
    let answer = ask(client, &inbox("", "")).await;
    let part = |xml: &String, from, to| between(xml, from, to).unwrap();
    answer
        .messages
        .iter()
        .map(|xml| {
            let who = part(xml, " jid='", "@");
            let unread = part(xml, " unread='", "'").parse().unwrap();
            (who, part(xml, "<body>", "</body>"), unread)
        })
        .collect()
}

fn is(list: &[(String, String, u32)], wanted: &[(&str, &str, u32)]) {
    let list: Vec<_> = list
        .iter()
        .map(|(who, text, unread)| (who.as_str(), text.as_str(), *unread))
        .collect();
    assert_eq!(list, wanted);
}

fn with(to: &str, child: &str) -> String {
    format!("<message to='{to}' type='chat' id='x'>{child}</message>")
}

#[tokio::test]
async fn the_list_shows_who_said_what_last_and_what_is_unread() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let mut romeo = world.online("romeo", "orchard").await;
    is(&list(&mut romeo).await, &[]);
    juliet.send(&chat("romeo@example.org", "one")).await;
    juliet.send(&chat("romeo@example.org", "two")).await;
    nurse.send(&chat("romeo@example.org", "madam calls")).await;
    romeo.receives_until_quiet().await;
    is(
        &list(&mut romeo).await,
        &[("nurse", "madam calls", 1), ("juliet", "two", 2)],
    );
    let answer = ask(&mut romeo, &inbox("", "")).await;
    assert!(
        answer
            .iq
            .contains("<fin xmlns='urn:xmpp:inbox:1' total='2' unread='2' all-unread='3'>"),
        "{}",
        answer.iq
    );
    let first = &answer.messages[0];
    let id = between(
        first,
        "<entry xmlns='urn:xmpp:inbox:1' jid='nurse@example.org' unread='1' id='",
        "'",
    )
    .unwrap();
    assert!(first.contains(&format!(
        "<result xmlns='urn:xmpp:mam:2' id='{id}' queryid='inbox'>"
    )));
    // Whoever answers has seen what was said before.
    romeo.send(&chat("juliet@example.org", "three")).await;
    is(
        &list(&mut romeo).await,
        &[("juliet", "three", 0), ("nurse", "madam calls", 1)],
    );
    let unread = ask(
        &mut romeo,
        &inbox("unread-only='true' messages='false'", ""),
    )
    .await;
    assert_eq!(unread.messages.len(), 1);
    assert!(
        unread.messages[0].contains("jid='nurse@example.org'")
            && !unread.messages[0].contains("<result")
    );
    is(&list(&mut juliet).await, &[("romeo", "three", 1)]);
}

#[tokio::test]
async fn a_marker_says_what_has_been_seen_for_all_devices() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut phone = world.online("romeo", "phone").await;
    let mut desk = world.online("romeo", "desk").await;
    for text in ["one", "two", "three"] {
        juliet.send(&chat("romeo@example.org", text)).await;
    }
    phone.receives_until_quiet().await;
    desk.receives_until_quiet().await;
    let seen = |id: &str| {
        with(
            "juliet@example.org",
            &format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='{id}'/>"),
        )
    };
    phone.send(&seen("two")).await;
    is(&list(&mut desk).await, &[("juliet", "three", 1)]);
    // What was seen stays seen, and an unknown id means nothing.
    phone.send(&seen("one")).await;
    phone.send(&seen("zero")).await;
    is(&list(&mut desk).await, &[("juliet", "three", 1)]);
    // A marker may come in the same second as what it is about.
    juliet.send(&chat("romeo@example.org", "four")).await;
    phone.send(&seen("four")).await;
    juliet.send(&chat("romeo@example.org", "five")).await;
    desk.receives_until_quiet().await;
    is(&list(&mut desk).await, &[("juliet", "five", 1)]);
    // Somebody else's marker says nothing of what one has seen oneself.
    juliet
        .send(&with(
            "romeo@example.org",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='five'/>",
        ))
        .await;
    desk.receives_until_quiet().await;
    is(&list(&mut desk).await, &[("juliet", "five", 1)]);
    // A marker that is not to be stored says the same.
    let passing = seen("five").replace(
        "/></message>",
        "/><no-store xmlns='urn:xmpp:hints'/></message>",
    );
    assert!(passing.contains("no-store"));
    phone.send(&passing).await;
    is(&list(&mut desk).await, &[("juliet", "five", 0)]);
    juliet.send(&chat("romeo@example.org", "six")).await;
    desk.receives_until_quiet().await;
    is(&list(&mut desk).await, &[("juliet", "six", 1)]);
    let again = world.restarted();
    let mut later = again.connect("romeo", "desk").await;
    is(&list(&mut later).await, &[("juliet", "six", 1)]);
}

#[tokio::test]
async fn a_synchronised_marker_says_it_too() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut phone = world.online("romeo", "phone").await;
    let mut desk = world.online("romeo", "desk").await;
    phone.receives_until_quiet().await;
    for text in ["one", "two", "three"] {
        juliet.send(&chat("romeo@example.org", text)).await;
    }
    let received = phone.receives_until_quiet().await;
    desk.receives_until_quiet().await;
    let ids: Vec<String> = received.iter().map(|xml| stanza_id(xml)).collect();
    let displayed = |id: &str| {
        format!(
            "<displayed xmlns='urn:xmpp:mds:displayed:0'><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='{id}'/></displayed>"
        )
    };
    let publish = format!(
        "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:mds:displayed:0'>\
         <item id='juliet@example.org'>{}</item></publish></pubsub></iq>",
        displayed(&ids[0])
    );
    let answer = phone.asks(&publish).await;
    assert!(answer.contains("type='result'"), "{answer}");
    is(&list(&mut desk).await, &[("juliet", "three", 2)]);
    let assisted = format!(
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='two'/>{}",
        displayed(&ids[1])
    );
    phone.send(&with("juliet@example.org", &assisted)).await;
    is(&list(&mut desk).await, &[("juliet", "three", 1)]);
    let theirs = juliet.receives_until_quiet().await;
    assert!(!theirs[0].contains("mds:displayed"), "{theirs:?}");
}

#[tokio::test]
async fn what_only_changes_or_answers_a_message_is_not_unread() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    juliet.send(&chat("romeo@example.org", "one")).await;
    for child in [
        "<received xmlns='urn:xmpp:receipts' id='1'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>!</reaction></reactions>",
        "<replace xmlns='urn:xmpp:message-correct:0' id='one'/><body>One</body>",
    ] {
        juliet.send(&with("romeo@example.org", child)).await;
    }
    romeo.receives_until_quiet().await;
    is(&list(&mut romeo).await, &[("juliet", "one", 1)]);
    let reply = "<reply xmlns='urn:xmpp:reply:0' to='romeo@example.org' id='1'/><body>yes</body>";
    juliet.send(&with("romeo@example.org", reply)).await;
    romeo.receives_until_quiet().await;
    is(&list(&mut romeo).await, &[("juliet", "yes", 2)]);
}

#[tokio::test]
async fn a_long_list_is_paged() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    for n in 0..60 {
        world.add_account(&format!("friend{n:02}"));
        let mut friend = world.connect(&format!("friend{n:02}"), "x").await;
        friend.send(&chat("romeo@example.org", "hello")).await;
        friend.connection.close().await;
    }
    romeo.receives_until_quiet().await;
    let who = |xml: &String| between(xml, " jid='friend", "@").unwrap();
    let first = ask(&mut romeo, &inbox("", "")).await;
    assert_eq!(first.messages.len(), 50);
    assert_eq!(who(&first.messages[0]), "59");
    let after = "<max>20</max><after>friend10@example.org</after>";
    let rest = ask(&mut romeo, &inbox("", after)).await;
    assert_eq!(rest.messages.iter().map(who).next().unwrap(), "09");
    assert!(
        rest.iq
            .contains("<first index='50'>friend09@example.org</first>"),
        "{}",
        rest.iq
    );
    assert!(rest.iq.contains("<count>60</count>"));
    let last = ask(&mut romeo, &inbox("", "<max>2</max><before/>")).await;
    assert_eq!(
        last.messages.iter().map(who).collect::<Vec<_>>(),
        ["01", "00"]
    );
    let unknown = ask(&mut romeo, &inbox("", "<after>nobody@example.org</after>")).await;
    assert!(unknown.iq.contains("item-not-found"));
    let bad = ask(&mut romeo, &inbox("unread-only='perhaps'", "")).await;
    assert!(bad.iq.contains("bad-request"));
}

#[tokio::test]
async fn a_page_takes_no_more_than_its_part_of_the_queue() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let long = "x".repeat(14_000);
    for user in ["a", "b", "c", "d"] {
        world.add_account(user);
        let mut friend = world.connect(user, "x").await;
        friend.send(&chat("romeo@example.org", &long)).await;
    }
    let mut huge = world.online("nurse", "hall").await;
    huge.send(&chat("romeo@example.org", &"y".repeat(100_000)))
        .await;
    romeo.receives_until_quiet().await;
    let answer = ask(&mut romeo, &inbox("", "")).await;
    // The Nurse's message is too long for the queue; two of the others fit in half of it.
    assert!(!answer.messages[0].contains("<result"));
    assert_eq!(answer.messages.len(), 3);
    assert!(
        answer.iq.contains("<last>c@example.org</last>"),
        "{}",
        answer.iq
    );
    let last = ask(&mut romeo, &inbox("", "<before/>")).await;
    assert!(
        last.iq.contains("<first index='3'>b@example.org</first>"),
        "{}",
        last.iq
    );
}

#[tokio::test]
async fn a_conversation_that_retention_has_dropped_is_not_listed() {
    let mut config = config();
    config.hosts[0].keep = Keep::Days(2);
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let mut romeo = world.online("romeo", "orchard").await;
    juliet.send(&chat("romeo@example.org", "old")).await;
    romeo.receives_until_quiet().await;
    world.pass_seconds(1).await;
    world.pass_seconds(3 * 86_400).await;
    nurse.send(&chat("romeo@example.org", "new")).await;
    romeo.receives_until_quiet().await;
    world.pass_seconds(1).await;
    is(&list(&mut romeo).await, &[("nurse", "new", 1)]);
}
