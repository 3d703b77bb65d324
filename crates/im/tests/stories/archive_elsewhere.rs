//! What an archive elsewhere (a room's) answers reaches the one who asked, once, or the client learns that it did not.

use crate::archive::{ask, query};
use crate::harness::{Client, World};

/// The Nurse's client stands for the archive: who sends results does not matter to those who get them.
async fn answers(archive: &mut Client, to: &str, text: &str) {
    let result = format!(
        "<message to='{to}'><result xmlns='urn:xmpp:mam:2' id='1' queryid='q'>\
         <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>{text}</body></message>\
         </forwarded></result></message>"
    );
    archive.send(&result).await;
}

async fn ends(archive: &mut Client, to: &str) {
    let end = format!("<iq to='{to}' type='result' id='q'><fin xmlns='urn:xmpp:mam:2'/></iq>");
    archive.send(&end).await;
}

#[tokio::test]
async fn results_are_for_the_resource_that_asked_and_are_not_kept() {
    let world = World::new();
    let mut nurse = world.online("nurse", "archive").await;
    let mut orchard = world.device_online("romeo", "phone").await;
    let mut street = world.device_online("romeo", "laptop").await;
    for client in [&mut orchard, &mut street] {
        client.receives_until_quiet().await;
    }
    let to = orchard.connection.jid().to_string();
    answers(&mut nurse, &to, "one").await;
    answers(&mut nurse, "romeo@example.org/gone", "two").await;
    answers(&mut nurse, "romeo@example.org", "three").await;
    assert_eq!(orchard.bodies().await, ["one"]);
    street.receives_nothing().await;
    for client in [&mut orchard, &mut nurse] {
        let kept = ask(client, &query("own", &[], "")).await;
        assert!(kept.messages.is_empty(), "{:?}", kept.messages);
    }
}

#[tokio::test]
async fn an_answer_that_found_no_room_ends_in_an_error() {
    let world = World::new();
    let mut nurse = world.online("nurse", "archive").await;
    let mut juliet = world.online("juliet", "archive").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let (to, limits) = ("romeo@example.org/orchard", world.node.config().queue);
    for _ in 0..=limits.items {
        answers(&mut nurse, to, "x").await;
    }
    assert!(romeo.bodies().await.len() <= limits.items);
    // Another archive's end says nothing of this one's.
    ends(&mut juliet, to).await;
    romeo.receives(&[&["from='juliet@", "type='result'"]]).await;
    ends(&mut nurse, to).await;
    romeo
        .receives(&[&["from='nurse@", "type='error'", "<resource-constraint "]])
        .await;
    // And the next answer is one of its own.
    answers(&mut nurse, to, "again").await;
    ends(&mut nurse, to).await;
    romeo.receives(&[&["again"], &["<fin "]]).await;
}
