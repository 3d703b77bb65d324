//! Clients learn where STUN and TURN servers are, and get credentials for the moment (XEP-0215).

use std::sync::Arc;

use crate::harness::{World, config};
use posthaste_im::config::Config;
use posthaste_im::ext::external_services::{ExternalServices, Service};
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::ns;
use posthaste_proto::xml::Element;

fn world(secret: Option<&str>) -> World {
    let uris = [
        "stun:stun.example.org:3478",
        "turn:turn.example.org:3478?transport=udp",
        "turn:turn.example.org:3479?transport=tcp",
    ];
    let external_services = ExternalServices {
        services: uris.map(|uri| Service::parse(uri).unwrap()).into(),
        secret: secret.map(Into::into),
        credentials_seconds: 600,
    };
    let config = Config {
        external_services,
        ..config()
    };
    World::with(config, Arc::new(MemoryKv::new()))
}

fn ask(payload: &str) -> String {
    format!("<iq type='get' id='e' to='example.org'>{payload}</iq>")
}

const SERVICES: &str = "<services xmlns='urn:xmpp:extdisco:2'/>";

fn services(reply: &str) -> Vec<Element> {
    let reply = Element::parse(reply.as_bytes(), ns::CLIENT).unwrap();
    let answer = reply.children().next().unwrap();
    answer.children().cloned().collect()
}

#[tokio::test]
async fn whoever_has_an_account_gets_credentials_that_expire() {
    let world = world(Some("north"));
    let mut romeo = world.connect("romeo", "orchard").await;
    let all = services(&romeo.asks(&ask(SERVICES)).await);
    assert_eq!(all.len(), 3);
    let (stun, turn) = (&all[0], &all[1]);
    assert_eq!(
        (stun.attr("type"), stun.attr("username")),
        (Some("stun"), None)
    );
    assert_eq!(
        (turn.attr("host"), turn.attr("port"), turn.attr("transport")),
        (Some("turn.example.org"), Some("3478"), Some("udp"))
    );
    let username = turn.attr("username").unwrap().to_owned();
    assert_eq!(turn.attr("expires"), Some("2026-11-22T09:18:07.000Z"));
    assert!(username.starts_with("1795339087:"), "{username}");

    world.pass_seconds(60).await;
    let later = services(&romeo.asks(&ask(SERVICES)).await);
    let later = later[1].attr("username").unwrap();
    let name = |username: &str| username.split_once(':').unwrap().1.to_owned();
    assert_ne!(later, username);
    assert_eq!(
        name(later),
        name(&username),
        "a quota at the TURN server is one account's"
    );
}

#[tokio::test]
async fn one_type_or_one_service_can_be_asked_for() {
    let world = world(Some("north"));
    let mut romeo = world.connect("romeo", "orchard").await;
    let reply = romeo
        .asks(&ask("<services xmlns='urn:xmpp:extdisco:2' type='turn'/>"))
        .await;
    assert!(
        reply.contains("<services xmlns='urn:xmpp:extdisco:2' type='turn'>"),
        "{reply}"
    );
    assert_eq!(services(&reply).len(), 2);
    let credentials = |service: &str| {
        ask(&format!(
            "<credentials xmlns='urn:xmpp:extdisco:2'>{service}</credentials>"
        ))
    };
    for (service, count) in [
        ("<service host='turn.example.org' type='turn'/>", 2),
        (
            "<service host='turn.example.org' type='turn' port='3479'/>",
            1,
        ),
    ] {
        assert_eq!(
            services(&romeo.asks(&credentials(service)).await).len(),
            count
        );
    }
    for (service, condition) in [
        (
            "<service host='stun.example.org' type='stun'/>",
            "item-not-found",
        ),
        (
            "<service host='other.example' type='turn'/>",
            "item-not-found",
        ),
        ("<service host='turn.example.org'/>", "bad-request"),
        ("", "bad-request"),
    ] {
        let reply = romeo.asks(&credentials(service)).await;
        assert!(reply.contains(condition), "{service}: {reply}");
    }
}

#[tokio::test]
async fn without_a_secret_there_are_no_credentials() {
    let world = world(None);
    let mut romeo = world.connect("romeo", "orchard").await;
    let reply = romeo.asks(&ask(SERVICES)).await;
    assert!(!reply.contains("password"), "{reply}");
    let wanted = "<credentials xmlns='urn:xmpp:extdisco:2'><service host='turn.example.org' type='turn'/></credentials>";
    assert!(romeo.asks(&ask(wanted)).await.contains("item-not-found"));
}
