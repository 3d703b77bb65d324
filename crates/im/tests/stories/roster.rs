//! The contact list and its versions (RFC 6121 §2).

use crate::harness::{Client, World};
use posthaste_im::roster::MAX_TOMBSTONES;

const GET: &str = "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>";

fn set(item: &str) -> String {
    format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>")
}

/// The `ver` of a roster.
fn version(xml: &str) -> String {
    let from = xml.find(" ver='").unwrap() + 6;
    xml[from..].split('\'').next().unwrap().to_owned()
}

async fn get_since(client: &mut Client, ver: &str) -> Vec<String> {
    client
        .send(&format!(
            "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>"
        ))
        .await;
    client.receives_until_quiet().await
}

#[tokio::test]
async fn a_change_shows_on_all_devices_that_follow_the_roster() {
    let world = World::new();
    let mut orchard = world.following("romeo", "orchard").await;
    let mut street = world.following("romeo", "street").await;
    let mut silent = world.online("romeo", "silent").await;
    orchard.receives_until_quiet().await;
    street.receives_until_quiet().await;
    silent.receives_until_quiet().await;
    orchard
        .send(&set(
            "<item jid='juliet@example.org' name='Juliet'><group>Friends</group></item>",
        ))
        .await;
    let item: &[&str] = &[
        "type='set'",
        "jid='juliet@example.org'",
        "name='Juliet'",
        "subscription='none'",
        "<group>Friends</group>",
        " ver='",
    ];
    orchard
        .receives(&[item, &["id='s'", "type='result'"]])
        .await;
    street.receives(&[item]).await;
    silent.receives_nothing().await;
    let roster = street.asks(GET).await;
    assert!(
        roster.contains("<group>Friends</group>") && roster.contains(" ver="),
        "{roster}"
    );
}

#[tokio::test]
async fn a_removed_contact_is_told_and_gone() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.following("romeo", "orchard").await;
    let mut juliet = world.following("juliet", "balcony").await;
    romeo.receives_until_quiet().await;
    romeo
        .send(&set(
            "<item jid='juliet@example.org' subscription='remove'/>",
        ))
        .await;
    romeo
        .receives(&[
            &["jid='juliet@example.org'", "subscription='remove'"],
            &["id='s'", "type='result'"],
            &["from='juliet@example.org/balcony'", "type='unavailable'"],
        ])
        .await;
    juliet
        .receives(&[
            &["type='unsubscribe'"],
            &["type='unsubscribed'"],
            &["jid='romeo@example.org'", "subscription='to'"],
            &["jid='romeo@example.org'", "subscription='none'"],
            &["from='romeo@example.org/orchard'", "type='unavailable'"],
        ])
        .await;
    assert!(!romeo.asks(GET).await.contains("juliet"));
    let again = romeo
        .asks(&set(
            "<item jid='juliet@example.org' subscription='remove'/>",
        ))
        .await;
    assert!(again.contains("item-not-found"), "{again}");
}

#[tokio::test]
async fn a_client_that_comes_back_is_told_only_what_has_changed() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    for contact in ["juliet", "nurse", "mercutio"] {
        romeo
            .send(&set(&format!("<item jid='{contact}@example.org'/>")))
            .await;
    }
    let whole = get_since(&mut romeo, "").await.pop().unwrap();
    assert!(
        whole.contains("juliet") && whole.contains("mercutio"),
        "{whole}"
    );
    let known = version(&whole);
    let nothing = get_since(&mut romeo, &known).await;
    assert_eq!(nothing.len(), 1);
    assert!(!nothing[0].contains("<query"), "{nothing:?}");

    let mut street = world.connect("romeo", "street").await;
    street
        .send(&set(
            "<item jid='nurse@example.org' subscription='remove'/>",
        ))
        .await;
    street
        .send(&set("<item jid='juliet@example.org' name='J.'/>"))
        .await;
    let mut back = world.connect("romeo", "again").await;
    let told = get_since(&mut back, &known).await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].contains("type='result'") && !told[0].contains("<query"),
        "the answer comes first: {told:?}"
    );
    assert!(
        told[1].contains("nurse@") && told[1].contains("subscription='remove'"),
        "{told:?}"
    );
    assert!(
        told[2].contains("name='J.'") && told[2].contains("from='romeo@example.org'"),
        "{told:?}"
    );
    // The version of the last push is the version of the roster.
    assert_eq!(get_since(&mut back, &version(&told[2])).await.len(), 1);
}

#[tokio::test]
async fn a_client_that_was_away_too_long_gets_the_whole_roster() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    romeo.send(&set("<item jid='juliet@example.org'/>")).await;
    let known = version(&get_since(&mut romeo, "").await.pop().unwrap());
    for n in 0..=MAX_TOMBSTONES {
        romeo
            .send(&set(&format!("<item jid='c{n}@example.org'/>")))
            .await;
        romeo
            .send(&set(&format!(
                "<item jid='c{n}@example.org' subscription='remove'/>"
            )))
            .await;
    }
    romeo.receives_until_quiet().await;
    let told = get_since(&mut romeo, &known).await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("<item jid='juliet@example.org'"),
        "{told:?}"
    );
}

#[tokio::test]
async fn bad_sets_and_strangers_are_refused() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    for (item, condition) in [
        ("", "bad-request"),
        (
            "<item jid='a@b.example'/><item jid='c@b.example'/>",
            "bad-request",
        ),
        (
            "<item jid='a@b.example'><group>x</group><group>x</group></item>",
            "bad-request",
        ),
        ("<item jid='a@b.example'><group/></item>", "not-acceptable"),
        (
            "<item jid='nobody@b.example' subscription='remove'/>",
            "item-not-found",
        ),
        ("<item jid='romeo@example.org'/>", "not-allowed"),
    ] {
        let reply = romeo.asks(&set(item)).await;
        assert!(
            reply.contains("type='error'") && reply.contains(condition),
            "{item}: {reply}"
        );
    }
    let reply = romeo
        .asks(&GET.replace("id='g'", "id='g' to='juliet@example.org'"))
        .await;
    assert!(reply.contains("service-unavailable"), "{reply}");
}

#[tokio::test]
async fn a_roster_survives_a_restart() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let world = world.restarted();
    let mut romeo = world.connect("romeo", "orchard").await;
    let roster = romeo.asks(GET).await;
    assert!(
        roster.contains("jid='juliet@example.org' subscription='both'"),
        "{roster}"
    );
}
