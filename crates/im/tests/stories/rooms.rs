//! Many talk with each other in a room (XEP-0045).

use crate::harness::{Client, World};

const COVEN: &str = "coven@conference.example.org";

fn join(nick: &str) -> String {
    join_with(nick, "")
}

fn join_with(nick: &str, inside: &str) -> String {
    format!(
        "<presence to='{COVEN}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>{inside}</x></presence>"
    )
}

fn said(text: &str) -> String {
    format!("<message to='{COVEN}' type='groupchat' id='{text}'><body>{text}</body></message>")
}

/// Somebody who is in the room and has read all of it.
async fn inside(world: &World, user: &str, nick: &str) -> Client {
    let mut client = world.online(user, "pda").await;
    client.send(&join(nick)).await;
    let received = client.receives_until_quiet().await;
    assert!(
        received.last().unwrap().contains("<subject"),
        "{received:?}"
    );
    client
}

#[tokio::test]
async fn whoever_enters_a_new_room_owns_it_and_others_meet_there() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    juliet.send(&join("firstwitch")).await;
    let received = juliet.receives_until_quiet().await;
    assert_eq!(received.len(), 2, "{received:#?}");
    for part in [
        "from='coven@conference.example.org/firstwitch'",
        "affiliation='owner'",
        "role='moderator'",
        "<status code='110'/>",
        "<status code='201'/>",
    ] {
        assert!(received[0].contains(part), "{part}: {received:#?}");
    }
    assert!(received[1].contains("<subject/>"), "{received:#?}");

    romeo.send(&join("thirdwitch")).await;
    let received = romeo.receives_until_quiet().await;
    assert_eq!(received.len(), 3, "{received:#?}");
    assert!(received[0].contains("/firstwitch'") && !received[0].contains("jid='juliet"));
    assert!(received[1].contains("/thirdwitch'") && received[1].contains("code='110'"));
    assert!(!received[1].contains("code='201'"));
    // She moderates the room, so that she sees who he is.
    juliet
        .receives(&[&[
            "/thirdwitch'",
            "affiliation='none' jid='romeo@example.org/orchard' role='participant'",
        ]])
        .await;

    romeo.send(&said("harpier")).await;
    for client in [&mut juliet, &mut romeo] {
        client
            .receives(&[&[
                "from='coven@conference.example.org/thirdwitch'",
                "id='harpier' type='groupchat'",
                "<body>harpier</body>",
                "<stanza-id xmlns='urn:xmpp:sid:0'",
                "by='coven@conference.example.org'",
            ]])
            .await;
    }
}

#[tokio::test]
async fn whoever_leaves_is_seen_to_leave_and_an_empty_temporary_room_is_gone() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    romeo
        .send(&format!(
            "<presence type='unavailable' to='{COVEN}/thirdwitch'><status>by the cock</status></presence>"
        ))
        .await;
    romeo
        .receives(&[&["type='unavailable'", "code='110'", "role='none'"]])
        .await;
    juliet
        .receives(&[&[
            "type='unavailable'",
            "/thirdwitch'",
            "by the cock",
            "role='none'",
        ]])
        .await;
    // Her client goes without a word to the room.
    juliet.connection.close().await;
    let info = format!(
        "<iq type='get' id='i' to='{COVEN}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    assert!(romeo.asks(&info).await.contains("item-not-found"));
}

#[tokio::test]
async fn a_nick_is_one_persons_and_can_be_changed() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("firstwitch")).await;
    romeo.receives(&[&["type='error'", "<conflict "]]).await;
    romeo.send(&join("thirdwitch")).await;
    romeo.receives_until_quiet().await;
    juliet.receives_until_quiet().await;
    romeo
        .send(&format!("<presence to='{COVEN}/firstwitch'/>"))
        .await;
    romeo.receives(&[&["type='error'", "<conflict "]]).await;
    romeo
        .send(&format!("<presence to='{COVEN}/oldhag'/>"))
        .await;
    for (client, own) in [(&mut romeo, true), (&mut juliet, false)] {
        let received = client.receives_until_quiet().await;
        assert_eq!(received.len(), 2, "{received:#?}");
        assert!(received[0].contains("/thirdwitch'") && received[0].contains("nick='oldhag'"));
        assert!(received[0].contains("type='unavailable'") && received[0].contains("code='303'"));
        assert!(received[1].contains("/oldhag'") && !received[1].contains("unavailable"));
        assert!(received.iter().all(|it| it.contains("code='110'") == own));
    }
}

#[tokio::test]
async fn only_occupants_are_heard() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&said("harpier")).await;
    romeo
        .receives(&[&["type='error'", "<not-acceptable "]])
        .await;
    // A client that has lost its place is told that it is not there (§7.2.16).
    romeo
        .send(&format!("<presence to='{COVEN}/thirdwitch'/>"))
        .await;
    romeo
        .receives(&[&[
            "type='unavailable'",
            "code='110'",
            "code='307'",
            "code='333'",
        ]])
        .await;
    juliet.receives_nothing().await;
}
