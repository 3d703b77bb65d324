//! People see which clients can get into their account, and put one out (XEP-0494).

use posthaste_im::tables;
use posthaste_kv::{Kv as _, Partition};
use posthaste_proto::error::StreamCondition;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::sasl::{HtBinding, Secret};
use posthaste_proto::stream::server::ClientId;
use posthaste_proto::xml::Element;

use crate::harness::{Client, World, chat};

const LIST: &str = "<iq type='get' id='l'><list xmlns='urn:xmpp:cam:0'/></iq>";
const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

fn revoke(id: &str) -> String {
    format!("<iq type='set' id='v'><revoke xmlns='urn:xmpp:cam:0' id='{id}'/></iq>")
}

async fn listed(client: &mut Client) -> Vec<Element> {
    let reply = client.asks(LIST).await;
    let reply = Element::parse(reply.as_bytes(), ns::CLIENT).unwrap();
    let clients = reply.child("clients", ns::CLIENT_ACCESS).unwrap();
    clients.children().cloned().collect()
}

fn auth(client: &Element) -> Vec<String> {
    let auth = client.child("auth", ns::CLIENT_ACCESS).unwrap();
    auth.children()
        .map(|child| child.name().to_owned())
        .collect()
}

fn juliet() -> BareJid {
    BareJid::parse("juliet@example.org").unwrap()
}

async fn give_token(world: &World) {
    let client = ClientId::parse(PHONE).unwrap();
    let (accounts, account) = (world.node.accounts(), juliet());
    let issued = accounts.issue_token(&account, &client, HtBinding::None);
    issued.await.unwrap();
}

async fn is_stored(world: &World, key: &[u8]) -> bool {
    let partition = Partition::new("juliet@example.org").unwrap();
    world.kv.get(&partition, key).await.unwrap().is_some()
}

#[tokio::test]
async fn the_list_tells_devices_and_clients_without_a_name() {
    let world = World::new();
    let phone = world.device_online("juliet", PHONE).await;
    give_token(&world).await;
    world.pass_seconds(60).await;
    phone.connection.close().await;
    world.pass_seconds(60).await;
    let mut plain = world.online("juliet", "balcony").await;
    let clients = listed(&mut plain).await;
    assert_eq!(clients.len(), 2);
    let (phone, unnamed) = (&clients[0], &clients[1]);
    assert_eq!(phone.attr("id"), Some(PHONE));
    assert_eq!(phone.attr("connected"), Some("false"));
    assert_eq!(auth(phone), ["password", "fast"]);
    let text = |name| phone.child(name, ns::CLIENT_ACCESS).unwrap().text();
    assert_eq!(text("first-seen"), "2026-11-22T09:08:07.000Z");
    assert_eq!(text("last-seen"), "2026-11-22T09:09:07.000Z");
    let agent = phone.child("user-agent", ns::CLIENT_ACCESS).unwrap();
    assert_eq!(
        agent.child("software", ns::CLIENT_ACCESS).unwrap().text(),
        "Poezio"
    );
    assert_eq!(unnamed.attr("id"), Some("resource:balcony"));
    assert_eq!(unnamed.attr("connected"), Some("true"));
}

#[tokio::test]
async fn a_client_that_is_put_out_loses_its_session_its_tokens_and_its_place() {
    let world = World::new();
    let mut phone = world.device_online("juliet", PHONE).await;
    let previd = phone.manage_stream_among_others().await;
    give_token(&world).await;
    phone
        .asks("<iq type='set' id='p'><enable xmlns='urn:xmpp:push:0' jid='nurse@example.org/push' node='n'/></iq>")
        .await;
    let mut plain = world.online("juliet", "balcony").await;
    let reply = plain.asks(&revoke(PHONE)).await;
    // It has logged in with the password, and may remember it.
    assert!(reply.contains("<service-unavailable"), "{reply}");
    assert!(reply.contains("<password-reset-required xmlns='urn:xmpp:cam:0'/>"));
    let (_, error) = phone.receives_within(usize::MAX).await;
    assert_eq!(error.unwrap().condition, StreamCondition::NotAuthorized);
    phone.connection.detach().await;
    assert!(world.resume("juliet", &previd, 0).await.is_none());
    for key in [
        tables::text_key(tables::DEVICE, PHONE),
        tables::device_cursor_key(PHONE),
        tables::token_key(PHONE),
        tables::text_key(tables::PUSH, "nurse@example.org/push\0n"),
    ] {
        assert!(!is_stored(&world, &key).await, "{key:?}");
    }
    assert_eq!(listed(&mut plain).await.len(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_know_the_password_is_put_out_for_good() {
    let world = World::new();
    let phone = world.device_online("juliet", PHONE).await;
    phone.connection.close().await;
    world.pass_seconds(1).await;
    let password = Secret::new("another".to_owned());
    let accounts = world.node.accounts();
    accounts
        .change_password(&juliet(), &password)
        .await
        .unwrap();
    let mut plain = world.online("juliet", "balcony").await;
    assert_eq!(auth(&listed(&mut plain).await[0]), Vec::<String>::new());
    let reply = plain.asks(&revoke(PHONE)).await;
    assert!(reply.contains("type='result'"), "{reply}");
    let reply = plain.asks(&revoke(PHONE)).await;
    assert!(reply.contains("<item-not-found"), "{reply}");
}

#[tokio::test]
async fn a_session_that_waits_to_be_resumed_is_put_out_too() {
    let world = World::new();
    let mut phone = world.device_online("juliet", PHONE).await;
    let previd = phone.manage_stream_among_others().await;
    phone.connection.detach().await;
    let mut plain = world.online("juliet", "balcony").await;
    plain.asks(&revoke(PHONE)).await;
    assert!(world.resume("juliet", &previd, 0).await.is_none());
    world.pass_seconds(1).await;
    assert_eq!(world.node.stats.sessions(), 1);
}

#[tokio::test]
async fn a_client_without_a_name_is_put_out_by_its_resource() {
    let world = World::new();
    let mut thief = world.online("juliet", "thief").await;
    let mut phone = world.device_online("juliet", PHONE).await;
    thief.receives_until_quiet().await;
    phone.receives_until_quiet().await;
    let reply = phone.asks(&revoke("resource:thief")).await;
    assert!(reply.contains("<password-reset-required"), "{reply}");
    let (_, error) = thief.receives_within(usize::MAX).await;
    assert_eq!(error.unwrap().condition, StreamCondition::NotAuthorized);
    let reply = phone.asks(&revoke("resource:nobody")).await;
    assert!(reply.contains("<item-not-found"), "{reply}");
}

#[tokio::test]
async fn nobody_else_sees_or_puts_out_anything() {
    let world = World::new();
    let mut phone = world.device_online("juliet", PHONE).await;
    let mut romeo = world.online("romeo", "orchard").await;
    for iq in [LIST.to_owned(), revoke(PHONE)] {
        let reply = romeo
            .asks(&iq.replace("<iq ", "<iq to='juliet@example.org' "))
            .await;
        assert!(reply.contains("<service-unavailable"), "{reply}");
        assert!(!reply.contains("password-reset"), "{reply}");
    }
    romeo.send(&chat("juliet@example.org", "still there")).await;
    assert_eq!(phone.bodies().await, ["still there"]);
}
