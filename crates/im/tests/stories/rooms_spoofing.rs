//! Nobody is taken for somebody else in a room (XEP-0045 §14; transcripts/xep-0045/spoofing.txt has what clients try).

use posthaste_proto::error::StreamCondition;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Limits, StreamContext};

use crate::harness::{Client, World};
use crate::rooms::{COVEN, join};

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client()).unwrap()
}

/// Juliet's room, with Romeo in it.
async fn coven() -> (World, Client, Client) {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("firstwitch")).await;
    juliet.opens_room(COVEN).await;
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("thirdwitch")).await;
    for client in [&mut juliet, &mut romeo] {
        client.receives_until_quiet().await;
    }
    (world, juliet, romeo)
}

#[tokio::test]
async fn no_other_server_speaks_for_a_room_or_its_occupants() {
    let (world, mut juliet, mut romeo) = coven().await;
    for from in [
        COVEN,
        "coven@conference.example.org/firstwitch",
        "conference.example.org",
    ] {
        for forged in [
            format!(
                "<message from='{from}' to='romeo@example.org/orchard' type='groupchat'><body>mew</body></message>"
            ),
            format!(
                "<message from='{from}' to='romeo@example.org'><x xmlns='http://jabber.org/protocol/muc#user'><invite from='juliet@example.org'/></x></message>"
            ),
            format!("<presence from='{from}' to='romeo@example.org/orchard' type='unavailable'/>"),
            format!(
                "<message from='{from}' to='{COVEN}' type='groupchat'><body>mew</body></message>"
            ),
        ] {
            let refused = world.node.enter(stanza(&forged)).await.unwrap_err();
            assert_eq!(refused.condition, StreamCondition::InvalidFrom, "{forged}");
        }
    }
    romeo.receives_nothing().await;
    juliet.receives_nothing().await;
}

#[tokio::test]
async fn whoever_is_not_inside_moves_nobody() {
    let (world, mut juliet, mut romeo) = coven().await;
    for from in ["hecate@elsewhere.example/broom", "hecate@elsewhere.example"] {
        for forged in [
            format!("<presence from='{from}' to='{COVEN}/thirdwitch' type='unavailable'/>"),
            format!(
                "<presence from='{from}' to='{COVEN}/thirdwitch' type='error'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
            ),
            format!("<presence from='{from}' to='{COVEN}/thirdwitch'><show>dnd</show></presence>"),
            format!(
                "<message from='{from}' to='{COVEN}' type='error' id='m'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            ),
            format!(
                "<message from='{from}' to='{COVEN}' type='groupchat'><body>mew</body></message>"
            ),
            format!(
                "<message from='{from}' to='{COVEN}/thirdwitch' type='chat'><body>mew</body></message>"
            ),
            format!(
                "<iq from='{from}' to='{COVEN}' type='set' id='a'><query xmlns='http://jabber.org/protocol/muc#admin'><item nick='thirdwitch' role='none'/></query></iq>"
            ),
            format!(
                "<iq from='{from}' to='{COVEN}' type='set' id='a'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='hecate@elsewhere.example' affiliation='owner'/></query></iq>"
            ),
        ] {
            world.node.enter(stanza(&forged)).await.unwrap();
            romeo.receives_nothing().await;
            juliet.receives_nothing().await;
        }
    }
}

#[tokio::test]
async fn what_an_occupant_says_of_itself_is_no_word_of_the_rooms() {
    let (_world, mut juliet, mut romeo) = coven().await;
    romeo
        .send(&format!(
            "<presence to='{COVEN}/thirdwitch'><status>mew</status>\
             <x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator' jid='juliet@example.org/balcony'/>\
             <status code='110'/><status code='172'/></x>\
             <delay xmlns='urn:xmpp:delay' from='{COVEN}' stamp='2002-10-13T23:58:37Z'/></presence>"
        ))
        .await;
    let received = juliet.receives_until_quiet().await;
    assert_eq!(received.len(), 1, "{received:#?}");
    let seen = &received[0];
    assert!(seen.contains("<status>mew</status>"), "{seen}");
    assert!(
        seen.contains("affiliation='none' jid='romeo@example.org/orchard' role='participant'"),
        "{seen}"
    );
    for forged in [
        "owner",
        "juliet@example.org/balcony'/>",
        "code=",
        "2002-10-13",
    ] {
        assert!(!seen.contains(forged), "{forged}: {seen}");
    }
}

#[tokio::test]
async fn nobody_does_something_in_anothers_name() {
    let (world, mut juliet, mut romeo) = coven().await;
    let mut nurse = world.online("nurse", "pda").await;
    nurse.send(&join("nurse")).await;
    for client in [&mut juliet, &mut romeo, &mut nurse] {
        client.receives_until_quiet().await;
    }
    juliet
        .send(&format!(
            "<iq type='set' id='k' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
             <item nick='thirdwitch' role='none'><actor nick='nurse' jid='nurse@example.org'/></item></query></iq>"
        ))
        .await;
    romeo
        .receives(&[&["code='307'", "<actor nick='firstwitch'/>"]])
        .await;
    let received = nurse.receives_until_quiet().await;
    assert!(
        received.len() == 1 && !received[0].contains("<actor nick='nurse'"),
        "{received:#?}"
    );
}
