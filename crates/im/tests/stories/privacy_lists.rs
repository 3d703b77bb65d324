//! Privacy lists are another view of the block list, and what they can say beyond it is refused (XEP-0016).

use crate::harness::{Client, World, chat};
use posthaste_im::ext::privacy_lists::MAX_NAME_BYTES;

fn get(inner: &str) -> String {
    format!("<iq type='get' id='g'><query xmlns='jabber:iq:privacy'>{inner}</query></iq>")
}

fn set(inner: &str) -> String {
    format!("<iq type='set' id='s'><query xmlns='jabber:iq:privacy'>{inner}</query></iq>")
}

fn deny(jid: &str, order: u32) -> String {
    format!("<item type='jid' value='{jid}' action='deny' order='{order}'/>")
}

fn list(name: &str, items: &str) -> String {
    set(&format!("<list name='{name}'>{items}</list>"))
}

async fn refuses(client: &mut Client, iq: &str, condition: &str) {
    let reply = client.asks(iq).await;
    assert!(reply.contains(&format!("<{condition} ")), "{iq}: {reply}");
}

#[tokio::test]
async fn a_list_that_denies_is_the_block_list() {
    let world = World::new();
    let mut juliet = world.connect("juliet", "balcony").await;
    let mut romeo = world.connect("romeo", "orchard").await;
    let blocks = "<iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>";
    let none = juliet.asks(&get("")).await;
    assert!(
        none.contains("<query xmlns='jabber:iq:privacy'/>"),
        "{none}"
    );

    let items = deny("romeo@example.org", 3)
        + &deny("paris@example.org", 5)
        + "<item action='allow' order='68'/>";
    let edited = juliet.asks(&list("public", &items)).await;
    assert!(edited.contains("type='result'"), "{edited}");
    let blocked = juliet.asks(blocks).await;
    assert!(
        blocked.contains("jid='romeo@example.org'") && blocked.contains("jid='paris@example.org'"),
        "{blocked}"
    );
    romeo.send(&chat("juliet@example.org", "hark")).await;
    romeo
        .receives(&[&["type='error'", "service-unavailable"]])
        .await;

    let names = juliet.asks(&get("")).await;
    assert!(
        names.contains("<default name='public'/><list name='public'/>"),
        "{names}"
    );
    let shown = juliet.asks(&get("<list name='public'/>")).await;
    assert!(
        shown.contains("<item type='jid' value='paris@example.org' action='deny' order='1'/><item type='jid' value='romeo@example.org' action='deny' order='2'/>"),
        "{shown}"
    );
    // The new list is the whole list.
    juliet
        .asks(&list("public", &deny("paris@example.org", 1)))
        .await;
    assert!(!juliet.asks(blocks).await.contains("romeo"));
    let world = world.restarted();
    let mut juliet = world.connect("juliet", "balcony").await;
    assert!(
        juliet
            .asks(&get(""))
            .await
            .contains("<default name='public'/>")
    );
}

#[tokio::test]
async fn both_kinds_of_clients_are_told_of_each_others_changes() {
    let world = World::new();
    let mut old = world.connect("juliet", "balcony").await;
    let mut new = world.connect("juliet", "chamber").await;
    let mut other = world.connect("juliet", "hall").await;
    old.asks(&get("")).await;
    new.asks("<iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        .await;
    new.send("<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/></block></iq>").await;
    old.receives(&[&[
        "type='set'",
        "<query xmlns='jabber:iq:privacy'><list name='blocked'/></query>",
    ]])
    .await;
    assert!(old.asks(&get("")).await.contains("<list name='blocked'/>"));
    new.receives_until_quiet().await;
    old.send(&list("blocked", &deny("paris@example.org", 1)))
        .await;
    old.receives(&[&["type='result'"], &["<list name='blocked'/>"]])
        .await;
    new.receives(&[
        &["<unblock xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/>"],
        &["<block xmlns='urn:xmpp:blocking'><item jid='paris@example.org'/>"],
    ])
    .await;
    new.send("<iq type='set' id='c'><unblock xmlns='urn:xmpp:blocking'/></iq>")
        .await;
    old.receives(&[&["<list name='blocked'/>"]]).await;
    assert!(!old.asks(&get("")).await.contains("<list"));
    other.receives_nothing().await;
}

#[tokio::test]
async fn the_list_is_active_for_whoever_chooses_it_and_the_default_for_all() {
    let world = World::new();
    let mut balcony = world.connect("juliet", "balcony").await;
    refuses(
        &mut balcony,
        &set("<active name='public'/>"),
        "item-not-found",
    )
    .await;
    refuses(
        &mut balcony,
        &set("<default name='public'/>"),
        "item-not-found",
    )
    .await;
    for nothing in ["<active/>", "<default/>"] {
        assert!(balcony.asks(&set(nothing)).await.contains("type='result'"));
    }
    balcony
        .asks(&list("public", &deny("paris@example.org", 1)))
        .await;
    for chosen in ["<active name='public'/>", "<default name='public'/>"] {
        assert!(balcony.asks(&set(chosen)).await.contains("type='result'"));
    }
    let mut chamber = world.connect("juliet", "chamber").await;
    assert!(
        balcony
            .asks(&get(""))
            .await
            .contains("<active name='public'/>")
    );
    assert!(!chamber.asks(&get("")).await.contains("<active"));
    balcony.asks(&set("<active/>")).await;
    assert!(!balcony.asks(&get("")).await.contains("<active"));

    refuses(&mut balcony, &set("<default/>"), "conflict").await;
    refuses(&mut balcony, &set("<list name='public'/>"), "conflict").await;
    chamber.connection.close().await;
    refuses(&mut balcony, &set("<default/>"), "feature-not-implemented").await;
    balcony.receives_until_quiet().await;
    balcony.send(&set("<list name='public'/>")).await;
    balcony
        .receives(&[&["type='result'"], &["<list name='public'/>"]])
        .await;
    refuses(
        &mut balcony,
        &set("<list name='public'/>"),
        "item-not-found",
    )
    .await;
}

#[tokio::test]
async fn what_a_block_list_cannot_say_is_refused_and_changes_nothing() {
    let world = World::new();
    let mut juliet = world.connect("juliet", "balcony").await;
    let items = [
        "<item type='group' value='Enemies' action='deny' order='1'/>",
        "<item type='subscription' value='none' action='deny' order='1'/>",
        "<item type='jid' value='romeo@example.org' action='allow' order='1'/><item action='deny' order='2'/>",
        "<item type='jid' value='romeo@example.org' action='deny' order='1'><message/></item>",
        "<item action='deny' order='1'/>",
        "<item action='allow' order='1'/>",
    ];
    for items in items {
        refuses(
            &mut juliet,
            &list("public", items),
            "feature-not-implemented",
        )
        .await;
    }
    for items in [
        "<item type='jid' value='romeo@example.org' action='deny'/>",
        "<item type='jid' value='romeo@example.org' order='1'/>",
        "<item type='jid' action='deny' order='1'/>",
        &(deny("romeo@example.org", 1) + &deny("paris@example.org", 1)),
    ] {
        refuses(&mut juliet, &list("public", items), "bad-request").await;
    }
    refuses(
        &mut juliet,
        &list("public", &deny("@@", 1)),
        "jid-malformed",
    )
    .await;
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    for name in ["", &long] {
        refuses(
            &mut juliet,
            &list(name, &deny("romeo@example.org", 1)),
            "not-acceptable",
        )
        .await;
    }
    refuses(&mut juliet, &get("<list name='public'/>"), "item-not-found").await;
    refuses(
        &mut juliet,
        &get("<list name='a'/><list name='b'/>"),
        "bad-request",
    )
    .await;
    refuses(
        &mut juliet,
        &set("<active name='a'/><default name='b'/>"),
        "bad-request",
    )
    .await;
    refuses(&mut juliet, &set(""), "bad-request").await;
    assert!(!juliet.asks(&get("")).await.contains("<list"));

    juliet
        .asks(&list("public", &deny("romeo@example.org", 1)))
        .await;
    refuses(
        &mut juliet,
        &list("private", &deny("paris@example.org", 1)),
        "feature-not-implemented",
    )
    .await;
}
