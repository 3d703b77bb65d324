//! What a room bears, and what is refused (XEP-0045 §13.6).

use std::sync::Arc;

use posthaste_im::ext::muc::Limits;
use posthaste_im::ext::muc::pace::Rates;
use posthaste_kv::memory::MemoryKv;

use crate::group_rooms::group;
use crate::harness::{Client, World, config};
use crate::rooms::{COVEN, join, said};

fn world(limits: Limits) -> World {
    let mut config = config();
    config.rooms = limits;
    World::with(config, Arc::new(MemoryKv::new()))
}

fn paced(rates: Rates) -> World {
    world(Limits {
        rates,
        ..Limits::default()
    })
}

async fn enter(world: &World, user: &str, nick: &str) -> Client {
    let mut client = world.online(user, "pda").await;
    client.send(&join(nick)).await;
    let received = client.receives_until_quiet().await;
    let own = received.iter().find(|xml| xml.contains("code='110'"));
    let own = own.unwrap_or_else(|| panic!("{received:#?}"));
    if own.contains("code='201'") {
        client.opens_room(COVEN).await;
    }
    client
}

/// How many of those that came are errors to wait after.
async fn refusals(client: &mut Client, condition: &str) -> usize {
    let received = client.receives_until_quiet().await;
    let is_refusal = |xml: &&String| {
        xml.contains("<error type='wait'>")
            && xml.contains(condition)
            && !xml.contains("urn:xmpp:sid")
    };
    received.iter().filter(is_refusal).count()
}

#[tokio::test]
async fn who_writes_too_fast_has_to_wait_and_nobody_else_has() {
    let world = paced(Rates {
        messages: 2,
        room_messages: 0,
        presences: 0,
    });
    let mut juliet = enter(&world, "juliet", "firstwitch").await;
    let mut romeo = enter(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    for _ in 0..19 {
        romeo.send(&said("mew")).await;
    }
    // What is whispered is written, too.
    let whisper =
        format!("<message to='{COVEN}/firstwitch' type='chat'><body>mew</body></message>");
    romeo.send(&whisper).await;
    assert_eq!(refusals(&mut romeo, "<policy-violation ").await, 0);
    assert_eq!(juliet.bodies().await.len(), 20);
    romeo.send(&said("mew")).await;
    romeo.send(&whisper).await;
    assert_eq!(refusals(&mut romeo, "<policy-violation ").await, 2);
    juliet.receives_nothing().await;
    juliet.send(&said("hush")).await;
    assert_eq!(romeo.bodies().await, ["hush"]);
    world.pass_seconds(1).await;
    romeo.send(&said("mew")).await;
    assert_eq!(romeo.bodies().await, ["mew"]);
}

#[tokio::test]
async fn a_room_in_which_all_talk_at_once_asks_them_to_wait() {
    let world = paced(Rates {
        messages: 0,
        room_messages: 1,
        presences: 0,
    });
    let mut juliet = enter(&world, "juliet", "firstwitch").await;
    let mut romeo = enter(&world, "romeo", "thirdwitch").await;
    for _ in 0..5 {
        romeo.send(&said("mew")).await;
        juliet.send(&said("mew")).await;
    }
    romeo.send(&said("mew")).await;
    assert_eq!(refusals(&mut romeo, "<resource-constraint ").await, 1);
    assert_eq!(juliet.bodies().await.len(), 10);
}

#[tokio::test]
async fn whoever_comes_and_goes_has_to_rest() {
    let world = paced(Rates {
        messages: 0,
        room_messages: 0,
        presences: 1,
    });
    let mut juliet = enter(&world, "juliet", "firstwitch").await;
    let mut romeo = enter(&world, "romeo", "thirdwitch").await;
    for number in 0..4 {
        romeo
            .send(&format!(
                "<presence type='unavailable' to='{COVEN}/thirdwitch'/>"
            ))
            .await;
        romeo.send(&join("thirdwitch")).await;
        romeo
            .send(&format!(
                "<presence to='{COVEN}/thirdwitch'><status>{number}</status></presence>"
            ))
            .await;
    }
    romeo
        .send(&format!("<presence to='{COVEN}/oldhag'/>"))
        .await;
    assert_eq!(refusals(&mut romeo, "<policy-violation ").await, 0);
    juliet.receives_until_quiet().await;
    romeo
        .send(&format!("<presence to='{COVEN}/thirdwitch'/>"))
        .await;
    romeo
        .receives(&[&["type='error'", "<error type='wait'>", "<policy-violation "]])
        .await;
    // One may always go.
    romeo
        .send(&format!(
            "<presence type='unavailable' to='{COVEN}/oldhag'/>"
        ))
        .await;
    juliet
        .receives(&[&["type='unavailable'", "/oldhag'"]])
        .await;
    romeo.receives_until_quiet().await;
    romeo.send(&join("thirdwitch")).await;
    romeo
        .receives(&[&["type='error'", "<policy-violation "]])
        .await;
    world.pass_seconds(1).await;
    romeo.send(&join("thirdwitch")).await;
    juliet
        .receives(&[&["/thirdwitch'", "role='participant'"]])
        .await;
}

#[tokio::test]
async fn the_lists_of_a_room_have_a_bound() {
    let world = world(Limits {
        affiliations: 3,
        ..Limits::default()
    });
    let mut juliet = enter(&world, "juliet", "firstwitch").await;
    let member = |user: &str, affiliation: &str| {
        format!(
            "<iq type='set' id='m' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
             <item jid='{user}@example.org' affiliation='{affiliation}'/></query></iq>"
        )
    };
    for user in ["romeo", "nurse"] {
        let answer = juliet.asks(&member(user, "member")).await;
        assert!(answer.contains("type='result'"), "{answer}");
    }
    let answer = juliet.asks(&member("tybalt", "outcast")).await;
    assert!(answer.contains("<resource-constraint "), "{answer}");
    // What is there can be changed, and makes room when it goes.
    for (user, affiliation) in [("romeo", "admin"), ("nurse", "none"), ("tybalt", "outcast")] {
        let answer = juliet.asks(&member(user, affiliation)).await;
        assert!(answer.contains("type='result'"), "{answer}");
        juliet.receives_until_quiet().await;
    }
}

#[tokio::test]
async fn who_invites_too_many_has_to_wait_and_nobody_hears_of_it() {
    let world = World::new();
    let mut juliet = enter(&world, "juliet", "firstwitch").await;
    let mut romeo = world.online("romeo", "pda").await;
    let invites = |count: usize| {
        format!(
            "<message to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc#user'>{}</x></message>",
            "<invite to='romeo@example.org'/>".repeat(count)
        )
    };
    let invitations = async |romeo: &mut Client| {
        let received = romeo.receives_until_quiet().await;
        received.iter().filter(|it| it.contains("<invite ")).count()
    };
    // More than one message may invite is another matter.
    juliet.send(&invites(51)).await;
    juliet
        .receives(&[&["type='error'", "<not-acceptable "]])
        .await;
    for _ in 0..2 {
        juliet.send(&invites(50)).await;
    }
    juliet.receives_nothing().await;
    assert_eq!(invitations(&mut romeo).await, 100);
    juliet.send(&invites(1)).await;
    assert_eq!(refusals(&mut juliet, "<policy-violation ").await, 1);
    assert_eq!(invitations(&mut romeo).await, 0);
    // Somebody else may: and declining is bounded by itself, too.
    let decline = format!(
        "<message to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <decline to='juliet@example.org'/></x></message>"
    );
    for _ in 0..101 {
        romeo.send(&decline).await;
    }
    assert_eq!(refusals(&mut romeo, "<policy-violation ").await, 1);
    assert_eq!(juliet.receives_until_quiet().await.len(), 100);
    world.pass_seconds(6).await;
    juliet.send(&invites(1)).await;
    assert_eq!(invitations(&mut romeo).await, 1);
}

#[tokio::test]
async fn invitations_that_do_not_go_out_are_not_counted() {
    let world = world(Limits {
        affiliations: 3,
        ..Limits::default()
    });
    let mut romeo = group(&world, &[]).await;
    let guests: String = (0..50)
        .map(|n| format!("<invite to='user{n}@example.org'/>"))
        .collect();
    for _ in 0..3 {
        let invitation = format!(
            "<message to='{COVEN}'><x xmlns='http://jabber.org/protocol/muc#user'>{guests}</x></message>"
        );
        romeo.send(&invitation).await;
        romeo
            .receives(&[&["type='error'", "<resource-constraint "]])
            .await;
    }
}

#[tokio::test]
async fn who_registers_again_and_again_has_to_wait() {
    let world = World::new();
    let mut juliet = enter(&world, "juliet", "firstwitch").await;
    let mut romeo = enter(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let register = |inside: &str| {
        format!(
            "<iq type='set' id='r' to='{COVEN}'><query xmlns='jabber:iq:register'>{inside}</query></iq>"
        )
    };
    let (nick, remove) = (
        register(
            "<x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
             <field var='muc#register_roomnick'><value>thirdwitch</value></field></x>",
        ),
        register("<remove/>"),
    );
    for _ in 0..5 {
        for iq in [&nick, &remove] {
            let answer = romeo.asks(iq).await;
            assert!(answer.contains("type='result'"), "{answer}");
            romeo.receives_until_quiet().await;
        }
    }
    juliet.receives_until_quiet().await;
    let answer = romeo.asks(&nick).await;
    assert!(answer.contains("<policy-violation "), "{answer}");
    assert!(answer.contains("<error type='wait'>"), "{answer}");
    juliet.receives_nothing().await;
    world.pass_seconds(30).await;
    let answer = romeo.asks(&nick).await;
    assert!(answer.contains("type='result'"), "{answer}");
}
