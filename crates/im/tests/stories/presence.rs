//! Who is there, and who may know it (RFC 6121 §3 and §4).

use crate::harness::{Client, World, config};
use posthaste_im::config::Config;
use posthaste_im::ext::presence::{MAX_DIRECTED, MAX_PRESENCE_BYTES};
use posthaste_im::roster::MAX_PENDING_IN;
use posthaste_kv::memory::MemoryKv;
use std::sync::Arc;

const SUBSCRIBE_TO_JULIET: &str = "<presence type='subscribe' to='juliet@example.org' id='ask'><status>It is I</status></presence>";

#[tokio::test]
async fn romeo_asks_juliet_agrees_and_they_see_each_other() {
    let world = World::new();
    let mut romeo = world.following("romeo", "orchard").await;
    let mut juliet = world.following("juliet", "balcony").await;

    romeo.send(SUBSCRIBE_TO_JULIET).await;
    romeo
        .receives(&[&[
            "<query",
            "jid='juliet@example.org'",
            "subscription='none'",
            "ask='subscribe'",
        ]])
        .await;
    // From the bare JID, whole, and without a roster push: a stranger is not in the roster.
    juliet
        .receives(&[&["from='romeo@example.org'", "type='subscribe'", "It is I"]])
        .await;

    juliet
        .send("<presence type='subscribed' to='romeo@example.org'/>")
        .await;
    juliet
        .receives(&[&["<query", "jid='romeo@example.org'", "subscription='from'"]])
        .await;
    romeo
        .receives(&[
            &["from='juliet@example.org'", "type='subscribed'"],
            &["<query", "jid='juliet@example.org'", "subscription='to'"],
            &[
                "<presence from='juliet@example.org/balcony'",
                "to='romeo@example.org'",
            ],
        ])
        .await;

    juliet
        .send("<presence type='subscribe' to='romeo@example.org'/>")
        .await;
    romeo
        .receives(&[&["from='juliet@example.org'", "type='subscribe'"]])
        .await;
    romeo
        .send("<presence type='subscribed' to='juliet@example.org'/>")
        .await;
    romeo
        .receives(&[&["jid='juliet@example.org'", "subscription='both'"]])
        .await;
    juliet
        .receives(&[
            &[
                "jid='romeo@example.org'",
                "subscription='from'",
                "ask='subscribe'",
            ],
            &["type='subscribed'"],
            &["jid='romeo@example.org'", "subscription='both'"],
            &["<presence from='romeo@example.org/orchard'"],
        ])
        .await;
}

#[tokio::test]
async fn a_question_waits_for_its_answer_over_every_log_in() {
    let world = World::new();
    let mut romeo = world.following("romeo", "orchard").await;
    romeo.send(SUBSCRIBE_TO_JULIET).await;
    for resource in ["balcony", "chamber"] {
        let mut juliet = world.connect("juliet", resource).await;
        juliet.send("<presence/>").await;
        juliet
            .receives(&[
                &["from='juliet@example.org/", "to='juliet@example.org'"],
                &["from='romeo@example.org'", "type='subscribe'", "It is I"],
            ])
            .await;
        juliet.connection.close().await;
    }
    let mut juliet = world.following("juliet", "balcony").await;
    juliet
        .send("<presence type='unsubscribed' to='romeo@example.org'/>")
        .await;
    juliet.receives_nothing().await;
    romeo.receives_until_quiet().await;
    juliet.connection.close().await;
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet.send("<presence/>").await;
    juliet.receives(&[&["to='juliet@example.org'"]]).await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_made_up_for_at_the_next_log_in() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    // Romeo's side never learnt of the answer.
    let mut romeo = world.connect("romeo", "orchard").await;
    romeo
        .send("<presence type='unsubscribe' to='juliet@example.org'/>")
        .await;
    let mut juliet = world.following("juliet", "balcony").await;
    juliet
        .send("<presence type='subscribed' to='romeo@example.org'/>")
        .await;
    romeo.send(SUBSCRIBE_TO_JULIET).await;
    romeo.connection.close().await;
    juliet.receives_until_quiet().await;
    let mut romeo = world.following("romeo", "orchard").await;
    let roster = romeo
        .asks("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        .await;
    assert!(roster.contains("subscription='both'"), "{roster}");
}

#[tokio::test]
async fn a_yes_before_the_question_answers_it() {
    let world = World::new();
    let mut romeo = world.following("romeo", "orchard").await;
    let mut juliet = world.following("juliet", "balcony").await;
    juliet
        .send("<presence type='subscribed' to='romeo@example.org'/>")
        .await;
    juliet
        .receives(&[&[
            "jid='romeo@example.org'",
            "subscription='none'",
            "approved='true'",
        ]])
        .await;
    romeo.receives_nothing().await;
    romeo.send(SUBSCRIBE_TO_JULIET).await;
    juliet
        .receives(&[&["jid='romeo@example.org'", "subscription='from'"]])
        .await;
    romeo
        .receives(&[
            &["ask='subscribe'"],
            &["type='subscribed'"],
            &["subscription='to'"],
            &["from='juliet@example.org/balcony'"],
        ])
        .await;
}

#[tokio::test]
async fn contacts_see_each_other_come_change_and_go() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = world.following("juliet", "balcony").await;
    let mut romeo = world.connect("romeo", "orchard").await;
    romeo
        .send("<presence><show>away</show><priority>5</priority></presence>")
        .await;
    juliet
        .receives(&[&[
            "<presence from='romeo@example.org/orchard' to='juliet@example.org'",
            "away",
        ]])
        .await;
    // His own, and hers as the answer to his server's probe, with its age.
    romeo
        .receives(&[
            &["from='romeo@example.org/orchard'", "to='romeo@example.org'"],
            &[
                "from='juliet@example.org/balcony'",
                "to='romeo@example.org/orchard'",
                "urn:xmpp:delay",
            ],
        ])
        .await;
    romeo.send("<presence><show>dnd</show></presence>").await;
    juliet.receives(&[&["dnd"]]).await;
    romeo.receives(&[&["dnd"]]).await;
    romeo
        .send("<presence type='unavailable'><status>gone</status></presence>")
        .await;
    juliet
        .receives(&[&[
            "from='romeo@example.org/orchard'",
            "type='unavailable'",
            "gone",
        ]])
        .await;
    // He hears his own goodbye; a second one changes nothing.
    romeo.receives(&[&["type='unavailable'", "gone"]]).await;
    romeo.send("<presence type='unavailable'/>").await;
    juliet.receives_nothing().await;
}

#[tokio::test]
async fn a_lost_connection_is_as_good_as_a_goodbye() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = world.following("juliet", "balcony").await;
    let romeo = world.online("romeo", "orchard").await;
    juliet.receives_until_quiet().await;
    romeo.connection.detach().await;
    juliet
        .receives(&[&["from='romeo@example.org/orchard'", "type='unavailable'"]])
        .await;
}

#[tokio::test]
async fn a_persons_devices_see_each_other() {
    let world = World::new();
    let mut orchard = world.online("romeo", "orchard").await;
    let mut street = world.connect("romeo", "street").await;
    street.send("<presence/>").await;
    street
        .receives(&[
            &["from='romeo@example.org/street'"],
            &["from='romeo@example.org/orchard'"],
        ])
        .await;
    orchard
        .receives(&[&["from='romeo@example.org/street'"]])
        .await;
    street.connection.close().await;
    orchard
        .receives(&[&["from='romeo@example.org/street'", "type='unavailable'"]])
        .await;
}

#[tokio::test]
async fn strangers_learn_nothing_from_a_probe() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let _juliet = world.online("juliet", "balcony").await;
    romeo
        .send("<presence type='probe' to='juliet@example.org'/>")
        .await;
    // Her server says "unsubscribed"; his has no subscription that it could end (Appendix A.3.4).
    romeo.receives_nothing().await;
}

#[tokio::test]
async fn a_contact_that_is_away_is_unavailable_since_a_moment() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let juliet = world.online("juliet", "balcony").await;
    juliet.connection.close().await;
    let mut romeo = world.connect("romeo", "orchard").await;
    romeo.send("<presence/>").await;
    romeo
        .receives(&[
            &["to='romeo@example.org'"],
            &[
                "from='juliet@example.org'",
                "type='unavailable'",
                "urn:xmpp:delay",
                "2026-11-22T",
            ],
        ])
        .await;
}

#[tokio::test]
async fn directed_presence_ends_with_the_session() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    romeo
        .send("<presence to='juliet@example.org/balcony'><status>psst</status></presence>")
        .await;
    juliet
        .receives(&[&["from='romeo@example.org/orchard'", "psst"]])
        .await;
    // She may ask again, although she is not subscribed.
    juliet
        .send("<presence type='probe' to='romeo@example.org/orchard'/>")
        .await;
    juliet.receives_until_quiet().await;
    romeo.connection.detach().await;
    juliet
        .receives(&[&["from='romeo@example.org/orchard'", "type='unavailable'"]])
        .await;
}

#[tokio::test]
async fn directed_presence_is_bounded() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    for n in 0..=MAX_DIRECTED {
        romeo
            .send(&format!("<presence to='room{n}@example.org/romeo'/>"))
            .await;
    }
    romeo
        .receives(&[&[
            "type='error'",
            "resource-constraint",
            &format!("room{MAX_DIRECTED}@"),
        ]])
        .await;
}

#[tokio::test]
async fn a_contact_who_no_longer_wants_to_see_is_told_nothing_more() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = world.following("juliet", "balcony").await;
    let mut romeo = world.following("romeo", "orchard").await;
    juliet.receives_until_quiet().await;
    romeo
        .send("<presence type='unsubscribe' to='juliet@example.org'/>")
        .await;
    romeo
        .receives(&[
            &["jid='juliet@example.org'", "subscription='from'"],
            &["from='juliet@example.org/balcony'", "type='unavailable'"],
        ])
        .await;
    juliet
        .receives(&[
            &["type='unsubscribe'"],
            &["jid='romeo@example.org'", "subscription='to'"],
        ])
        .await;
    juliet.send("<presence><show>away</show></presence>").await;
    romeo.receives_nothing().await;
}

#[tokio::test]
async fn bad_presence_is_answered_with_an_error() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let mut error = async |stanza: &str, condition: &str| {
        romeo.send(stanza).await;
        romeo.receives(&[&["type='error'", condition]]).await;
    };
    error(
        "<presence><priority>128</priority></presence>",
        "bad-request",
    )
    .await;
    error(
        "<presence><priority>high</priority></presence>",
        "bad-request",
    )
    .await;
    error("<presence type='subscribe'/>", "bad-request").await;
    error(
        "<presence type='subscribe' to='romeo@example.org'/>",
        "not-allowed",
    )
    .await;
    let long = format!(
        "<presence><status>{}</status></presence>",
        "x".repeat(MAX_PRESENCE_BYTES)
    );
    error(&long, "policy-violation").await;
}

#[tokio::test]
async fn a_full_roster_takes_no_more_contacts() {
    let config = Config {
        roster_items: 1,
        ..config()
    };
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.connect("romeo", "orchard").await;
    romeo.send(SUBSCRIBE_TO_JULIET).await;
    romeo.receives_nothing().await;
    romeo
        .send("<presence type='subscribe' to='nurse@example.org'/>")
        .await;
    romeo
        .receives(&[&["type='error'", "policy-violation"]])
        .await;
    let item = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='nurse@example.org'/></query></iq>";
    assert!(romeo.asks(item).await.contains("policy-violation"));
    // What is there already can still be changed.
    let item = item.replace("nurse", "juliet");
    assert!(romeo.asks(&item).await.contains("type='result'"));
}

#[tokio::test]
async fn questions_from_many_strangers_fill_nobodys_disk() {
    let world = World::new();
    let strangers: Vec<String> = (0..=MAX_PENDING_IN).map(|n| format!("s{n}")).collect();
    for stranger in &strangers {
        world.add_account(stranger);
        let mut client: Client = world.connect(stranger, "x").await;
        client.send(SUBSCRIBE_TO_JULIET).await;
        client.connection.close().await;
    }
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet.send("<presence/>").await;
    let received = juliet.receives_until_quiet().await;
    assert_eq!(
        received
            .iter()
            .filter(|xml| xml.contains("type='subscribe'"))
            .count(),
        MAX_PENDING_IN
    );
}
