//! What was taken back is gone from both archives (XEP-0424); what was corrected stays (XEP-0308).

use posthaste_im::conversations::LOOK_BACK;

use crate::archive::{ask, query};
use crate::harness::{World, chat};

fn retract(to: &str, id: &str) -> String {
    format!(
        "<message to='{to}' type='chat' id='r-{id}'><retract xmlns='urn:xmpp:message-retract:1' id='{id}'/>\
         <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/><body>/me retracted</body>\
         <store xmlns='urn:xmpp:hints'/></message>"
    )
}

#[tokio::test]
async fn a_retracted_message_is_a_tombstone_in_both_archives() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    juliet.send(&chat("romeo@example.org", "secret")).await;
    juliet.send(&chat("romeo@example.org", "public")).await;
    world.pass_seconds(1).await;
    juliet.send(&retract("romeo@example.org", "secret")).await;
    let live = romeo.bodies().await;
    assert_eq!(live, ["secret", "public", "/me retracted"]);
    for client in [&mut juliet, &mut romeo] {
        let answer = ask(client, &query("q", &[], "")).await;
        assert_eq!(answer.bodies, ["public", "/me retracted"]);
        let tombstone = &answer.messages[0];
        let stamp = "<retracted xmlns='urn:xmpp:message-retract:1' id='r-secret' stamp='2026-11-22T09:08:08.000Z'/>";
        assert!(tombstone.contains(stamp), "{tombstone}");
        assert!(tombstone.contains("id='secret'") && tombstone.contains("<stanza-id "));
        assert!(!tombstone.contains("<body>"));
    }
}

#[tokio::test]
async fn nobody_takes_back_what_another_has_said() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let mut romeo = world.online("romeo", "orchard").await;
    juliet.send(&chat("romeo@example.org", "vow")).await;
    nurse.send(&retract("romeo@example.org", "vow")).await;
    romeo.send(&retract("juliet@example.org", "vow")).await;
    juliet.send(&retract("romeo@example.org", "unknown")).await;
    let not_kept = retract("romeo@example.org", "vow").replace(
        "<store xmlns='urn:xmpp:hints'/>",
        "<no-store xmlns='urn:xmpp:hints'/>",
    );
    juliet.send(&not_kept).await;
    for client in [&mut juliet, &mut romeo] {
        let answer = ask(client, &query("q", &[("with", "romeo@example.org")], "")).await;
        assert!(answer.iq.contains("type='result'"));
    }
    romeo.receives_until_quiet().await;
    let answer = ask(&mut romeo, &query("q", &[], "")).await;
    assert_eq!(answer.bodies[0], "vow");
    assert!(
        answer
            .messages
            .iter()
            .all(|xml| !xml.contains("<retracted"))
    );
}

#[tokio::test]
async fn who_was_away_does_not_get_what_was_taken_back_meanwhile() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&chat("romeo@example.org", "secret")).await;
    juliet.send(&retract("romeo@example.org", "secret")).await;
    let mut romeo = world.connect("romeo", "orchard").await;
    romeo.send("<presence/>").await;
    let received = romeo.receives_until_quiet().await;
    assert!(
        received.iter().all(|xml| !xml.contains("<body>secret")),
        "{received:?}"
    );
    assert!(received.iter().any(|xml| xml.contains("<retract ")));
}

#[tokio::test]
async fn corrections_reactions_replies_and_files_are_archived_as_they_are() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let payloads = [
        "<body>But soft</body><replace xmlns='urn:xmpp:message-correct:0' id='one'/>",
        "<reactions xmlns='urn:xmpp:reactions:0' id='one'><reaction>!</reaction></reactions>",
        "<reply xmlns='urn:xmpp:reply:0' to='romeo@example.org/orchard' id='one'/><body>yes</body>",
        "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'><name>a.jpg</name></file></file-sharing>",
        "<body>https://a/b</body><x xmlns='jabber:x:oob'><url>https://a/b</url></x>",
    ];
    juliet.send(&chat("romeo@example.org", "one")).await;
    for (number, payload) in payloads.iter().enumerate() {
        let message = format!(
            "<message to='romeo@example.org' type='chat' id='p{number}'>{payload}</message>"
        );
        juliet.send(&message).await;
    }
    let live = romeo.receives_until_quiet().await;
    let answer = ask(&mut romeo, &query("q", &[], "")).await;
    assert_eq!(answer.messages.len(), 6);
    assert_eq!(
        answer.bodies[0], "one",
        "a correction replaces nothing in the archive"
    );
    for (number, payload) in payloads.iter().enumerate() {
        assert!(live[number + 1].contains(payload), "{}", live[number + 1]);
        assert!(answer.messages[number + 1].contains(payload));
    }
}

#[tokio::test]
async fn what_was_said_too_long_ago_stays() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&chat("romeo@example.org", "long ago")).await;
    for _ in 0..LOOK_BACK - 2 {
        juliet.send(&chat("romeo@example.org", "since")).await;
    }
    world.pass_seconds(1).await;
    let first = "<max>1</max>";
    juliet.send(&retract("romeo@example.org", "long ago")).await;
    let answer = ask(&mut juliet, &query("q", &[], first)).await;
    assert!(
        answer.messages[0].contains("<retracted"),
        "just within reach"
    );
    let mut nurse = world.online("nurse", "hall").await;
    nurse.send(&chat("romeo@example.org", "long ago")).await;
    for _ in 0..LOOK_BACK {
        nurse.send(&chat("romeo@example.org", "since")).await;
    }
    world.pass_seconds(1).await;
    nurse.send(&retract("romeo@example.org", "long ago")).await;
    let answer = ask(&mut nurse, &query("q", &[], first)).await;
    assert_eq!(answer.bodies, ["long ago"]);
}
