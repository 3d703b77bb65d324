//! What was said in a room is taken back by its author or by a moderator, and by nobody else (XEP-0424, XEP-0425).

use crate::archive::{ask, between};
use crate::harness::World;
use crate::rooms::{COVEN, inside, join, said};
use crate::rooms_archive::of_room;

fn stanza_id(xml: &str) -> String {
    between(xml, "<stanza-id xmlns='urn:xmpp:sid:0' id='", "'").unwrap()
}

fn retract(id: &str, inside: &str) -> String {
    format!(
        "<message to='{COVEN}' type='groupchat' id='r1'>\
         <retract xmlns='urn:xmpp:message-retract:1' id='{id}'>{inside}</retract>\
         <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/><body>/me retracted</body></message>"
    )
}

fn moderate(id: &str, reason: &str) -> String {
    format!(
        "<iq type='set' id='m1' to='{COVEN}'><moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'>\
         <retract xmlns='urn:xmpp:message-retract:1'/>{reason}</moderate></iq>"
    )
}

#[tokio::test]
async fn an_author_takes_back_under_any_nickname_what_it_has_said() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    romeo.send(&said("secret")).await;
    let id = stanza_id(&romeo.receives_until_quiet().await[0]);
    romeo.send(&format!("<presence to='{COVEN}/hag'/>")).await;
    romeo.send(&retract(&id, "")).await;
    let live = juliet.receives_until_quiet().await;
    assert!(live.last().unwrap().contains(&format!(
        "<retract xmlns='urn:xmpp:message-retract:1' id='{id}'>"
    )));
    let mut nurse = world.online("nurse", "hall").await;
    let answer = ask(&mut nurse, &of_room("q", &[], "")).await;
    assert_eq!(answer.bodies, ["/me retracted"]);
    let tombstone = &answer.messages[0];
    for part in [
        &format!("<result xmlns='urn:xmpp:mam:2' id='{id}'"),
        "<retracted xmlns='urn:xmpp:message-retract:1' id='r1' stamp='",
        "<occupant-id ",
        "from='coven@conference.example.org/thirdwitch' id='secret'",
    ] {
        assert!(tombstone.contains(part), "{part}: {tombstone}");
    }
    assert!(!tombstone.contains("<body>") && !tombstone.contains("romeo@"));
    // Whoever comes now does not hear of it.
    nurse.send(&join("hecate")).await;
    let received = nurse.receives_until_quiet().await;
    assert!(
        received.iter().all(|xml| !xml.contains("secret")),
        "{received:#?}"
    );
}

#[tokio::test]
async fn nobody_takes_back_what_another_has_said() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.send(&said("vow")).await;
    let id = stanza_id(&juliet.receives_until_quiet().await[1]);
    romeo.receives_until_quiet().await;
    romeo.send(&retract(&id, "")).await;
    romeo
        .receives(&[&[
            "type='error'",
            "from='coven@conference.example.org'",
            "<forbidden ",
        ]])
        .await;
    romeo.send(&moderate(&id, "")).await;
    romeo.receives(&[&["type='error'", "<forbidden "]]).await;
    juliet.receives_nothing().await;
    // Nor by speaking as the room does, or under a nickname that somebody else had.
    let forged = "<moderated xmlns='urn:xmpp:message-moderate:1' by='coven@conference.example.org/firstwitch'/>";
    romeo.send(&retract(&id, forged)).await;
    for client in [&mut juliet, &mut romeo] {
        let received = client.receives_until_quiet().await;
        assert!(!received[0].contains("<retract"), "{received:#?}");
    }
    let mut nurse = world.online("nurse", "hall").await;
    nurse.send(&moderate(&id, "")).await;
    nurse
        .receives(&[&["type='error'", "<not-acceptable "]])
        .await;
    juliet
        .send(&format!("<presence to='{COVEN}/crone'/>"))
        .await;
    romeo
        .send(&format!("<presence to='{COVEN}/firstwitch'/>"))
        .await;
    romeo.receives_until_quiet().await;
    romeo.send(&retract(&id, "")).await;
    romeo.receives(&[&["<forbidden "]]).await;
    let answer = ask(&mut nurse, &of_room("q", &[], "")).await;
    assert_eq!(answer.bodies[0], "vow");
}

#[tokio::test]
async fn a_moderator_takes_back_what_anybody_has_said_and_says_why() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    romeo.send(&said("potions")).await;
    let id = stanza_id(&romeo.receives_until_quiet().await[0]);
    juliet.receives_until_quiet().await;
    let request = moderate(&id, "<reason>It is rude</reason>");
    juliet.send(&request).await;
    let retraction = format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'>");
    let told = [
        "<message from='coven@conference.example.org' to='",
        "type='groupchat'",
        &retraction,
        "<moderated xmlns='urn:xmpp:message-moderate:1' by='coven@conference.example.org/firstwitch'><occupant-id ",
        "<reason>It is rude</reason>",
        "<stanza-id ",
    ];
    romeo.receives(&[&told]).await;
    juliet.receives(&[&["<iq ", "type='result'"], &told]).await;
    let answer = ask(&mut romeo, &of_room("q", &[], "")).await;
    assert_eq!(answer.messages.len(), 2, "{:#?}", answer.messages);
    let tombstone = &answer.messages[0];
    for part in [
        "<retracted ",
        "<moderated ",
        "<reason>It is rude</reason>",
        " stamp='",
    ] {
        assert!(tombstone.contains(part), "{part}: {tombstone}");
    }
    assert!(!tombstone.contains("<body>"));
    assert!(answer.messages[1].contains(&retraction));
    // It is gone, and what never was cannot go.
    assert!(juliet.asks(&request).await.contains("<item-not-found "));
    let unknown = moderate("0000000000000001", "");
    assert!(juliet.asks(&unknown).await.contains("<item-not-found "));
    let announcement = moderate(&stanza_id(&answer.messages[1]), "");
    assert!(
        juliet
            .asks(&announcement)
            .await
            .contains("<item-not-found ")
    );
    let about_nothing = request.replace("<retract xmlns='urn:xmpp:message-retract:1'/>", "");
    assert!(
        juliet
            .asks(&about_nothing)
            .await
            .contains("<feature-not-implemented ")
    );
}

#[tokio::test]
async fn corrections_reactions_and_replies_pass_with_their_ids() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let payloads = [
        "<body>But soft</body><replace xmlns='urn:xmpp:message-correct:0' id='one'/>",
        "<reactions xmlns='urn:xmpp:reactions:0' id='one'><reaction>!</reaction></reactions>",
        "<reply xmlns='urn:xmpp:reply:0' to='coven@conference.example.org/firstwitch' id='one'/><body>yes</body>",
        "<reference xmlns='urn:xmpp:reference:0' type='mention' begin='0' end='3' uri='xmpp:juliet@example.org'/><body>you</body>",
    ];
    for (number, payload) in payloads.iter().enumerate() {
        let message =
            format!("<message to='{COVEN}' type='groupchat' id='p{number}'>{payload}</message>");
        romeo.send(&message).await;
    }
    let live = juliet.receives_until_quiet().await;
    let answer = ask(&mut juliet, &of_room("q", &[], "")).await;
    assert_eq!((live.len(), answer.messages.len()), (4, 4));
    for (number, payload) in payloads.iter().enumerate() {
        for shown in [&live[number], &answer.messages[number]] {
            assert!(shown.contains(payload), "{shown}");
            assert!(shown.contains(&format!("id='p{number}'")) && shown.contains("<occupant-id "));
        }
    }
}

#[tokio::test]
async fn what_passes_in_rooms_is_copied_as_the_rules_say() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut phone = world.device("romeo", "phone").await;
    phone.send("<presence/>").await;
    let mut laptop = world.device("romeo", "laptop").await;
    laptop.send("<presence/>").await;
    phone.send(&join("thirdwitch")).await;
    for client in [&mut juliet, &mut phone, &mut laptop] {
        client.receives_until_quiet().await;
    }
    phone.send(&said("aloud")).await;
    juliet.send(&said("too")).await;
    let whisper = |to: &str| {
        format!(
            "<message to='{COVEN}/{to}' type='chat'><body>psst</body><x xmlns='http://jabber.org/protocol/muc#user'/></message>"
        )
    };
    juliet.send(&whisper("thirdwitch")).await;
    laptop.receives_nothing().await;
    // What one whispers oneself the other devices show too (XEP-0280 §6.1).
    phone.send(&whisper("firstwitch")).await;
    laptop
        .receives(&[&["<sent xmlns='urn:xmpp:carbons:2'>", "psst"]])
        .await;
    // And nothing that was said in the room is in the own archive, but what was whispered is.
    phone.receives_until_quiet().await;
    let own = ask(&mut phone, &crate::archive::query("q", &[], "")).await;
    assert_eq!(own.bodies, ["psst", "psst"]);
}
