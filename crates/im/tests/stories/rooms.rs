//! Many talk with each other in a room (XEP-0045).

use std::sync::Arc;

use crate::harness::{Client, World, config};
use posthaste_im::config::Keep;
use posthaste_kv::memory::MemoryKv;

pub(crate) const COVEN: &str = "coven@conference.example.org";

pub(crate) fn join(nick: &str) -> String {
    join_with(nick, "")
}

fn join_with(nick: &str, inside: &str) -> String {
    format!(
        "<presence to='{COVEN}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>{inside}</x></presence>"
    )
}

pub(crate) fn said(text: &str) -> String {
    format!("<message to='{COVEN}' type='groupchat' id='{text}'><body>{text}</body></message>")
}

/// Somebody who is in the room and has read all of it.
pub(crate) async fn inside(world: &World, user: &str, nick: &str) -> Client {
    let mut client = world.online(user, "pda").await;
    client.send(&join(nick)).await;
    let received = client.receives_until_quiet().await;
    assert!(
        received.last().unwrap().contains("<subject"),
        "{received:?}"
    );
    if received.iter().any(|it| it.contains("code='201'")) {
        client.opens_room(COVEN).await;
    }
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

    juliet.opens_room(COVEN).await;
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
    // Clients know by the `<x/>` that it is the answer of a room.
    let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
    romeo.receives(&[&["type='error'", "<conflict ", x]]).await;
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

fn stamped(history: &str) -> String {
    join_with("hecate", &format!("<history {history}/>"))
}

#[tokio::test]
async fn whoever_comes_later_gets_as_much_of_the_past_as_it_wants() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    for n in 0..30 {
        juliet.send(&said(&format!("m{n:02}"))).await;
        world.pass_seconds(10).await;
    }
    juliet
        .send(&format!(
            "<message to='{COVEN}' type='groupchat'><subject>Fire Burn!</subject></message>"
        ))
        .await;
    let mut nurse = world.online("nurse", "broom").await;
    for (wanted, first, last) in [
        ("", 10, 29),
        ("maxstanzas='3'", 27, 29),
        ("maxstanzas='0'", 30, 29),
        ("maxchars='0'", 30, 29),
        ("seconds='25'", 28, 29),
        ("seconds='25' maxstanzas='1'", 29, 29),
        // The clock began at 2026-11-22T09:08:07Z.
        ("since='2026-11-22T09:12:47Z'", 28, 29),
        ("since='1970-01-01T00:00:00Z' maxstanzas='40'", 10, 29),
    ] {
        nurse.send(&stamped(wanted)).await;
        let received = nurse.receives_until_quiet().await;
        let bodies: Vec<_> = received
            .iter()
            .filter_map(|it| crate::harness::body(it))
            .collect();
        let expected: Vec<_> = (first..=last).map(|n| format!("m{n:02}")).collect();
        assert_eq!(bodies, expected, "{wanted}");
        let past = received.iter().filter(|it| it.contains("<body>"));
        for message in past {
            assert!(
                message
                    .contains("<delay xmlns='urn:xmpp:delay' from='coven@conference.example.org'")
            );
            assert!(
                message.contains("<stanza-id ") && !message.contains("juliet"),
                "{message}"
            );
        }
        let subject = received.last().unwrap();
        assert!(
            subject.contains("<subject>Fire Burn!</subject><occupant-id "),
            "{subject}"
        );
        assert!(
            subject.contains("<delay ") && subject.contains("/firstwitch'"),
            "{subject}"
        );
        nurse
            .send(&format!(
                "<presence type='unavailable' to='{COVEN}/hecate'/>"
            ))
            .await;
        nurse.receives_until_quiet().await;
    }
    // §7.2.14: characters are those of whole stanzas.
    nurse.send(&stamped("")).await;
    let received = nurse.receives_until_quiet().await;
    let one = received.iter().find(|it| it.contains("<body>")).unwrap();
    let length = one.chars().count();
    nurse
        .send(&format!(
            "<presence type='unavailable' to='{COVEN}/hecate'/>"
        ))
        .await;
    nurse.receives_until_quiet().await;
    for (chars, count) in [(2 * length, 2), (2 * length - 1, 1)] {
        nurse.send(&stamped(&format!("maxchars='{chars}'"))).await;
        assert_eq!(nurse.bodies().await.len(), count);
        nurse
            .send(&format!(
                "<presence type='unavailable' to='{COVEN}/hecate'/>"
            ))
            .await;
        nurse.receives_until_quiet().await;
    }
}

#[tokio::test]
async fn moderators_say_what_the_room_is_about() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let change = |text: &str| {
        format!("<message to='{COVEN}' type='groupchat' id='s'><subject>{text}</subject></message>")
    };
    romeo.send(&change("mine")).await;
    romeo.receives(&[&["type='error'", "<forbidden "]]).await;
    juliet.send(&change("Fire Burn!")).await;
    for client in [&mut juliet, &mut romeo] {
        client
            .receives(&[&["/firstwitch'", "id='s'", "<subject>Fire Burn!</subject>"]])
            .await;
    }
    // A subject with a body is something said.
    romeo
        .send(&format!(
            "<message to='{COVEN}' type='groupchat'><subject>Re</subject><body>b</body></message>"
        ))
        .await;
    juliet.receives(&[&["<body>b</body>"]]).await;
    // It survives a crash, in a room that nobody is in any more.
    let world = world.restarted();
    let mut nurse = world.online("nurse", "broom").await;
    nurse
        .send(&join_with("hecate", "<history maxstanzas='1'/>"))
        .await;
    let received = nurse.receives_until_quiet().await;
    assert_eq!(received.len(), 3, "{received:#?}");
    assert!(received[0].contains("/hecate'") && !received[0].contains("code='201'"));
    assert!(received[1].contains("<body>b</body>"));
    assert!(received[2].contains("<subject>Fire Burn!</subject>"));
}

#[tokio::test]
async fn occupants_whisper_to_each_other() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    let mut nurse = world.online("nurse", "broom").await;
    juliet.receives_until_quiet().await;
    let whisper = |kind: &str, nick: &str| {
        format!(
            "<message to='{COVEN}/{nick}' id='w' type='{kind}'><body>wind</body>\
             <x xmlns='http://jabber.org/protocol/muc#user'><invite from='god@heaven.lit'/></x></message>"
        )
    };
    romeo.send(&whisper("chat", "firstwitch")).await;
    juliet
        .receives(&[&[
            "from='coven@conference.example.org/thirdwitch' to='juliet@example.org/pda' id='w' type='chat'",
            "<body>wind</body><x xmlns='http://jabber.org/protocol/muc#user'/>",
        ]])
        .await;
    romeo
        .send(&format!(
            "<message to='{COVEN}/firstwitch' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
        ))
        .await;
    juliet.receives(&[&["<composing ", "/thirdwitch'"]]).await;
    romeo.send(&whisper("groupchat", "firstwitch")).await;
    romeo.receives(&[&["type='error'", "<bad-request "]]).await;
    romeo.send(&whisper("chat", "nobody")).await;
    romeo
        .receives(&[&["type='error'", "<item-not-found "]])
        .await;
    nurse.send(&whisper("chat", "firstwitch")).await;
    nurse
        .receives(&[&["type='error'", "<not-acceptable "]])
        .await;
    juliet.receives_nothing().await;
    // An error comes back to whoever whispered, and nobody is thrown out for it.
    juliet
        .send(&format!(
            "<message to='{COVEN}/thirdwitch' id='w' type='error'><x xmlns='http://jabber.org/protocol/muc#user'/>\
             <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ))
        .await;
    romeo
        .receives(&[&["/firstwitch'", "type='error'", "<service-unavailable "]])
        .await;
    juliet.receives_nothing().await;
}

#[tokio::test]
async fn the_clients_of_one_user_share_a_nick() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut pda = inside(&world, "romeo", "thirdwitch").await;
    let mut tablet = world.online("romeo", "tablet").await;
    pda.receives_until_quiet().await;
    tablet.send(&join("thirdwitch")).await;
    let received = tablet.receives_until_quiet().await;
    assert_eq!(received.len(), 3, "{received:#?}");
    pda.receives(&[&["/thirdwitch'", "code='110'"]]).await;
    juliet.receives_until_quiet().await;
    // Both hear and speak.
    tablet.send(&said("from the tablet")).await;
    for client in [&mut juliet, &mut pda, &mut tablet] {
        client
            .receives(&[&["/thirdwitch'", "from the tablet"]])
            .await;
    }
    juliet
        .send(&format!(
            "<message to='{COVEN}/thirdwitch' type='chat'><body>wind</body></message>"
        ))
        .await;
    for client in [&mut pda, &mut tablet] {
        client.receives(&[&["wind"]]).await;
    }
    // One goes, and the user is still there.
    pda.send(&format!(
        "<presence type='unavailable' to='{COVEN}/thirdwitch'/>"
    ))
    .await;
    pda.receives(&[&["type='unavailable'", "code='110'"]]).await;
    let seen = juliet.receives_until_quiet().await;
    assert!(
        seen.iter().all(|it| !it.contains("unavailable")),
        "{seen:#?}"
    );
    tablet.receives_until_quiet().await;
    tablet
        .send(&format!(
            "<presence type='unavailable' to='{COVEN}/thirdwitch'/>"
        ))
        .await;
    juliet
        .receives(&[&["type='unavailable'", "/thirdwitch'"]])
        .await;
}

#[tokio::test]
async fn occupants_ask_each_other_without_learning_who_it_is() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    let mut nurse = world.online("nurse", "broom").await;
    juliet.receives_until_quiet().await;
    let ask = |what: &str| format!("<iq to='{COVEN}/firstwitch' id='v' type='get'>{what}</iq>");
    romeo.send(&ask("<query xmlns='jabber:iq:version'/>")).await;
    let asked = juliet.receives_until_quiet().await.remove(0);
    assert!(asked.contains("from='coven@conference.example.org/thirdwitch'"));
    assert!(asked.contains("to='juliet@example.org/pda'"), "{asked}");
    let id = asked
        .split("id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    juliet
        .send(&format!(
            "<iq to='{COVEN}/thirdwitch' id='{id}' type='result'><query xmlns='jabber:iq:version'/></iq>"
        ))
        .await;
    romeo
        .receives(&[&[
            "from='coven@conference.example.org/firstwitch'",
            "id='v' type='result'",
        ]])
        .await;
    // The vCard of an occupant is its account's.
    let vcard = romeo.asks(&ask("<vCard xmlns='vcard-temp'/>")).await;
    assert!(vcard.contains("/firstwitch'"), "{vcard}");
    juliet.receives_nothing().await;
    nurse.send(&ask("<query xmlns='jabber:iq:version'/>")).await;
    nurse
        .receives(&[&["type='error'", "<not-acceptable "]])
        .await;
    // An answer that nobody asked for goes nowhere.
    juliet
        .send(&format!(
            "<iq to='{COVEN}/thirdwitch' id='zzzzzzzzv' type='result'/>"
        ))
        .await;
    romeo.receives_nothing().await;
}

#[tokio::test]
async fn whoever_cannot_be_reached_is_not_there_any_more() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let error = |condition: &str| {
        format!(
            "<message to='{COVEN}' type='error'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
    };
    // What a client does not understand is no reason.
    romeo.send(&error("feature-not-implemented")).await;
    juliet.receives_nothing().await;
    romeo.send(&error("recipient-unavailable")).await;
    juliet
        .receives(&[&["type='unavailable'", "/thirdwitch'", "code='333'"]])
        .await;
    romeo.send(&said("still here")).await;
    let received = romeo.receives_until_quiet().await;
    assert!(
        received.last().unwrap().contains("<not-acceptable "),
        "{received:#?}"
    );
    juliet.receives_nothing().await;
}

#[tokio::test]
async fn occupants_outlive_a_restart_with_their_sessions_and_no_crash() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let id = juliet.manage_stream().await;
    romeo.send(&said("before")).await;
    juliet.receives_until_quiet().await;
    romeo.connection.close().await;
    juliet.receives_until_quiet().await;
    juliet.connection.detach().await;
    world.node.store_sessions().await;

    let world = world.restarted();
    world.node.restore_sessions().await.unwrap();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("thirdwitch")).await;
    let received = romeo.receives_until_quiet().await;
    assert!(received[0].contains("/firstwitch'"), "{received:#?}");
    assert!(received.iter().any(|it| it.contains("<body>before</body>")));
    let (mut juliet, _) = world.resume("juliet", &id, 1).await.unwrap();
    juliet
        .receives(&[
            &["type='unavailable'", "romeo@example.org/pda"],
            &["/thirdwitch'", "romeo@example.org/orchard"],
            &["<r "],
        ])
        .await;
    romeo.send(&said("after")).await;
    juliet.receives(&[&["<body>after</body>"]]).await;

    // A crash takes all sessions; the room, what was said, and whose it is stay.
    let world = world.restarted();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("thirdwitch")).await;
    let received = romeo.receives_until_quiet().await;
    assert!(received[0].contains("code='110'") && !received[0].contains("code='201'"));
    assert!(received[0].contains("affiliation='none'"), "{received:#?}");
    assert!(received.iter().any(|it| it.contains("<body>after</body>")));
}

#[tokio::test]
async fn how_one_is_changes_for_everybody() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    romeo
        .send(&format!(
            "<presence to='{COVEN}/thirdwitch' id='p'><show>xa</show>\
             <x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner'/></x></presence>"
        ))
        .await;
    romeo
        .receives(&[&[
            "id='p'",
            "<show>xa</show>",
            "affiliation='none'",
            "code='110'",
        ]])
        .await;
    juliet
        .receives(&[&[
            "/thirdwitch'",
            "<show>xa</show>",
            "affiliation='none' jid='romeo@example.org/pda'",
        ]])
        .await;
    // A client that has lost its place gets all again (§7.2.1).
    romeo.send(&join("thirdwitch")).await;
    let received = romeo.receives_until_quiet().await;
    assert_eq!(received.len(), 3, "{received:#?}");
    assert!(received[0].contains("/firstwitch'") && received[2].contains("<subject/>"));
}

#[tokio::test]
async fn nobody_speaks_in_the_name_of_the_room() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    romeo
        .send(&format!(
            "<message to='{COVEN}' type='groupchat' id='f'><body>b</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='{COVEN}'/>\
             <delay xmlns='urn:xmpp:delay' from='{COVEN}' stamp='2001-01-01T00:00:00Z'/>\
             <x xmlns='http://jabber.org/protocol/muc#user'><invite from='god@heaven.lit'/></x></message>"
        ))
        .await;
    let received = juliet.receives_until_quiet().await.remove(0);
    for forged in ["forged", "<delay", "heaven", "muc#user"] {
        assert!(!received.contains(forged), "{received}");
    }
    assert_eq!(received.matches("<stanza-id ").count(), 1, "{received}");
}

#[tokio::test]
async fn a_room_without_anybody_after_a_crash_waits_for_them_and_then_goes() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    juliet.send(&said("before")).await;
    juliet.receives_until_quiet().await;
    let world = world.restarted();
    world.sweep().await;
    let mut nurse = world.online("nurse", "broom").await;
    let rooms = "<iq type='get' id='i' to='conference.example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
    assert!(nurse.asks(rooms).await.contains(COVEN));
    world.pass_seconds(601).await;
    world.sweep().await;
    assert!(!nurse.asks(rooms).await.contains(COVEN));
    nurse.send(&join("hecate")).await;
    let received = nurse.receives_until_quiet().await;
    assert!(received[0].contains("code='201'"), "{received:#?}");
    assert_eq!(received.len(), 2, "nothing of the old room: {received:#?}");
}

#[tokio::test]
async fn what_was_said_long_ago_leaves_the_room() {
    let mut config = config();
    config.hosts[0].keep = Keep::Days(2);
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    juliet.send(&said("old")).await;
    world.pass_seconds(86_400).await;
    juliet.send(&said("new")).await;
    world.pass_seconds(86_401).await;
    world.sweep().await;
    let mut nurse = world.online("nurse", "broom").await;
    nurse.send(&join("hecate")).await;
    assert_eq!(nurse.bodies().await, ["new"]);
}

#[tokio::test]
async fn nobody_makes_more_rooms_than_the_server_lets_one_make() {
    let mut config = config();
    config.rooms.rooms_per_user = 2;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    let enter = |room: &str, kind: &str| {
        format!(
            "<presence to='{room}@conference.example.org/j'{kind}><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    for room in ["one", "two"] {
        juliet.send(&enter(room, "")).await;
        juliet.receives(&[&["code='201'"], &["<subject/>"]]).await;
    }
    juliet.send(&enter("three", "")).await;
    juliet
        .receives(&[&["type='error'", "<resource-constraint "]])
        .await;
    // One that is gone makes room.
    juliet.send(&enter("one", " type='unavailable'")).await;
    juliet.receives_until_quiet().await;
    juliet.send(&enter("three", "")).await;
    juliet.receives(&[&["code='201'"], &["<subject/>"]]).await;
}

#[tokio::test]
async fn a_full_room_takes_nobody_but_those_who_run_it() {
    let mut config = config();
    config.rooms.occupants = 1;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("thirdwitch")).await;
    romeo
        .receives(&[&[
            "type='error'",
            "<error type='wait'",
            "<service-unavailable ",
        ]])
        .await;
    let mut tablet = world.online("juliet", "tablet").await;
    tablet.send(&join("firstwitch")).await;
    assert_eq!(tablet.receives_until_quiet().await.len(), 2);
    juliet.receives_until_quiet().await;
}

#[tokio::test]
async fn a_room_keeps_no_presence_of_any_length() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let long = "x".repeat(8 * 1024);
    juliet
        .send(&format!(
            "<presence to='{COVEN}/firstwitch'><status>{long}</status><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    juliet
        .receives(&[&["type='error'", "<policy-violation "]])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_hears_everything_in_the_same_order() {
    let world = World::new();
    let mut clients = Vec::new();
    for n in 0..6 {
        let user = format!("witch{n}");
        world.add_account(&user);
        clients.push(inside(&world, &user, &user).await);
    }
    for client in &mut clients {
        client.receives_until_quiet().await;
    }
    let mut speaking = Vec::new();
    for mut client in clients {
        speaking.push(tokio::spawn(async move {
            for n in 0..20 {
                client.send(&said(&format!("{}-{n}", client.bare()))).await;
                tokio::task::yield_now().await;
            }
            client
        }));
    }
    let mut heard = Vec::new();
    let mut clients = Vec::new();
    for task in speaking {
        clients.push(task.await.unwrap());
    }
    for client in &mut clients {
        heard.push(client.bodies().await);
    }
    assert_eq!(heard[0].len(), 120);
    assert!(heard.windows(2).all(|two| two[0] == two[1]));
}

#[tokio::test]
async fn what_is_said_is_acknowledged_when_it_is_on_the_disk() {
    let kv = Arc::new(MemoryKv::manual());
    let world = World::with(config(), kv.clone());
    kv.make_durable();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.manage_stream().await;
    juliet.send(&join("firstwitch")).await;
    juliet.receives_until_quiet().await;
    kv.make_durable();
    assert_eq!(juliet.acked().await, Some(1));
    juliet.send(&said("heard")).await;
    // She hears it at once; that it is safe she is told later.
    assert_eq!(juliet.bodies().await, ["heard"]);
    assert_eq!(juliet.acked().await, None);
    kv.make_durable();
    let received = juliet.receives_until_quiet().await;
    assert!(
        received.iter().any(|it| it.contains("h='2'")),
        "{received:#?}"
    );
}
