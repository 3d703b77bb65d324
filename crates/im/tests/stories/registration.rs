//! In-band registration after log-in (XEP-0077), and what others see of an account that is removed.

use std::sync::Arc;

use crate::harness::{Client, World, chat, config};
use posthaste_im::accounts::{AccountError, Settings};
use posthaste_im::config::Config;
use posthaste_kv::memory::MemoryKv;
use posthaste_kv::{Kv, Partition, Scan};
use posthaste_proto::error::StreamCondition;
use posthaste_proto::jid::BareJid;

fn world() -> World {
    let accounts = Settings {
        iterations: 4096,
        ..Settings::default()
    };
    let config = Config {
        accounts,
        ..config()
    };
    World::with(config, Arc::new(MemoryKv::new()))
}

fn jid(user: &str) -> BareJid {
    BareJid::parse(&format!("{user}@example.org")).unwrap()
}

fn set(to: &str, fields: &str) -> String {
    format!("<iq type='set' id='r'{to}><query xmlns='jabber:iq:register'>{fields}</query></iq>")
}

/// Tybalt has just registered and is online.
async fn tybalt(world: &World) -> Client {
    let account = jid("tybalt");
    world
        .node
        .create_account(&account, &"old".into())
        .await
        .unwrap();
    world.online("tybalt", "tomb").await
}

async fn answer(client: &mut Client, xml: &str) -> String {
    client.send(xml).await;
    client.receives_until_quiet().await.concat()
}

#[tokio::test]
async fn a_user_changes_their_password() {
    let world = world();
    let mut client = tybalt(&world).await;
    let accounts = world.node.accounts();
    let fields = "<username>tybalt</username><password>";
    for (to, password) in [(" to='example.org'", "first"), ("", "second")] {
        let xml = set(to, &format!("{fields}{password}</password>"));
        let said = answer(&mut client, &xml).await;
        assert!(said.contains("type='result'"), "{said}");
        let right = accounts
            .verify_password(&jid("tybalt"), password.into())
            .await;
        assert!(right.unwrap());
    }
}

#[tokio::test]
async fn only_whole_requests_for_the_own_account_are_served() {
    let world = world();
    let mut client = tybalt(&world).await;
    let cases = [
        (
            "<username>romeo</username><password>x</password>",
            "not-allowed",
        ),
        ("<username>tybalt</username><password/>", "bad-request"),
        ("<username>tybalt</username>", "bad-request"),
        ("<remove/><username>tybalt</username>", "bad-request"),
        (
            "<username>tybalt</username><password>a\u{200e}b</password>",
            "not-acceptable",
        ),
    ];
    for (fields, condition) in cases {
        for to in ["", " to='example.org'"] {
            let said = answer(&mut client, &set(to, fields)).await;
            assert!(said.contains(condition), "{fields}: {said}");
            assert!(!said.contains("<password>"), "{said}");
        }
    }
    // Nobody does it for others.
    let said = answer(&mut client, &set(" to='romeo@example.org'", "<remove/>")).await;
    assert!(said.contains("service-unavailable"), "{said}");
    let accounts = world.node.accounts();
    let old = accounts.verify_password(&jid("tybalt"), "old".into()).await;
    assert!(old.unwrap());
}

#[tokio::test]
async fn a_user_sees_that_they_are_registered() {
    let world = world();
    let mut client = tybalt(&world).await;
    for to in ["", " to='example.org'"] {
        let get = set(to, "").replace("'set'", "'get'");
        let said = answer(&mut client, &get).await;
        assert!(said.contains("<registered/>"), "{said}");
        assert!(said.contains("<username>tybalt</username>"), "{said}");
    }
}

#[tokio::test]
async fn where_registration_is_off_nothing_is_changed() {
    let mut config = config();
    config.hosts[0].registration = false;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "orchard").await;
    for to in ["", " to='example.org'"] {
        let said = answer(&mut romeo, &set(to, "<remove/>")).await;
        assert!(said.contains("not-allowed"), "{said}");
    }
    assert!(world.node.accounts().exists(&jid("romeo")).await.unwrap());
}

#[tokio::test]
async fn an_account_that_its_owner_removes_is_gone_for_everyone() {
    for to in ["", " to='example.org'"] {
        let world = world();
        let mut client = tybalt(&world).await;
        let mut other = world.online("tybalt", "street").await;
        let mut juliet = world.online("juliet", "balcony").await;
        // They see each other.
        client
            .send("<presence type='subscribe' to='juliet@example.org'/>")
            .await;
        juliet
            .send("<presence type='subscribed' to='tybalt@example.org'/>")
            .await;
        juliet
            .send("<presence type='subscribe' to='tybalt@example.org'/>")
            .await;
        client
            .send("<presence type='subscribed' to='juliet@example.org'/>")
            .await;
        juliet.receives_until_quiet().await;
        client.receives_until_quiet().await;

        let said = answer(&mut client, &set(to, "<remove/>")).await;
        assert!(said.contains("type='result'"), "{said}");
        assert!(!world.node.accounts().exists(&jid("tybalt")).await.unwrap());
        world.pass_seconds(1).await;
        for session in [&mut client, &mut other] {
            let (_, error) = session.receives_within(usize::MAX).await;
            assert_eq!(error.unwrap().condition, StreamCondition::NotAuthorized);
        }
        let heard = juliet.receives_until_quiet().await.concat();
        for part in [
            "type='unavailable'",
            "type='unsubscribe'",
            "type='unsubscribed'",
        ] {
            assert!(heard.contains(part), "no {part} in {heard}");
        }
        let said = answer(&mut juliet, &chat("tybalt@example.org", "gone?")).await;
        assert!(said.contains("service-unavailable"), "{said}");
        let partition = Partition::new("tybalt@example.org").unwrap();
        let left = world.kv.scan(&partition, Scan::prefix(b"", 10)).await;
        assert_eq!(left.unwrap(), []);
    }
}

#[tokio::test]
async fn a_name_that_was_somebodys_is_given_to_another_without_their_things() {
    let world = world();
    let mut client = tybalt(&world).await;
    client
        .send(&chat("tybalt@example.org", "a note to myself"))
        .await;
    world.node.remove_account(&jid("tybalt")).await.unwrap();
    let gone = world.node.remove_account(&jid("tybalt")).await;
    assert!(matches!(gone, Err(AccountError::NotFound)));
    world
        .node
        .create_account(&jid("tybalt"), &"new".into())
        .await
        .unwrap();
    let mut other = world.online("tybalt", "elsewhere").await;
    assert_eq!(other.bodies().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_old_client_starts_its_session() {
    let world = world();
    let mut client = tybalt(&world).await;
    for to in ["", " to='example.org'"] {
        let xml = format!(
            "<iq type='set' id='s'{to}><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"
        );
        let said = answer(&mut client, &xml).await;
        assert!(said.contains("type='result'"), "{said}");
    }
}
