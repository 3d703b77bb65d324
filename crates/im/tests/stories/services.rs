//! The small services: discovery, vCards, private storage, version, time, last activity, client state.

use std::sync::Arc;

use crate::harness::{World, chat, config};
use posthaste_im::config::{Component, Config, HostConfig};
use posthaste_im::ext;
use posthaste_im::ext::private::MAX_ELEMENTS;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xep::caps::Caps;
use posthaste_proto::xep::disco::Info;
use posthaste_proto::xml::{Limits, StreamContext};

fn get(to: &str, payload: &str) -> String {
    format!("<iq type='get' id='q' to='{to}'>{payload}</iq>")
}

const DISCO_INFO: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";

/// Where nobody may register, nobody is told that one could, and the capabilities prove that, too.
#[tokio::test]
async fn registration_is_announced_only_where_it_is_allowed() {
    let mut config = config();
    config.hosts[0].registration = false;
    let features = ext::stream_features(&config, false);
    let caps = features.iter().find_map(Caps::read).unwrap();
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.connect("romeo", "orchard").await;
    let told = romeo.asks(&get("example.org", DISCO_INFO)).await;
    assert!(!told.contains(ns::REGISTER), "{told}");
    let told = Stanza::parse(
        told.as_bytes(),
        &Limits::default(),
        &StreamContext::client(),
    )
    .unwrap();
    assert!(caps.is_proved_by(&Info::read(&told.payload().unwrap()).unwrap()));
}

#[tokio::test]
async fn the_server_says_what_it_is_and_proves_its_capabilities() {
    let contacts = vec![(
        "abuse-addresses".to_owned(),
        "mailto:abuse@example.org".to_owned(),
    )];
    let config = Config {
        contacts,
        ..config()
    };
    let features = ext::stream_features(&config, true);
    let caps = features.iter().find_map(Caps::read).unwrap();
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.connect("romeo", "orchard").await;
    let node = caps.disco_node();
    let by_node = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>");
    for asked in [DISCO_INFO, by_node.as_str()] {
        let reply = romeo.asks(&get("example.org", asked)).await;
        let reply = Stanza::parse(
            reply.as_bytes(),
            &Limits::default(),
            &StreamContext::client(),
        )
        .unwrap();
        let info = Info::read(&reply.payload().unwrap()).unwrap();
        assert!(caps.is_proved_by(&info));
        assert!(info.features.iter().any(|feature| feature == ns::BLOCKING));
        assert_eq!(
            info.forms[0].field("abuse-addresses").unwrap().value(),
            Some("mailto:abuse@example.org")
        );
    }
    let unknown = "<query xmlns='http://jabber.org/protocol/disco#info' node='other'/>";
    assert!(
        romeo
            .asks(&get("example.org", unknown))
            .await
            .contains("item-not-found")
    );
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    assert!(
        romeo
            .asks(&get("example.org", items))
            .await
            .contains("type='result'")
    );
}

#[tokio::test]
async fn an_account_shows_itself_to_its_owner_and_contacts_only() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.connect("romeo", "orchard").await;
    let mut juliet = world.connect("juliet", "balcony").await;
    let mut nurse = world.connect("nurse", "kitchen").await;
    let ask = get("juliet@example.org", DISCO_INFO);
    let is_account = "<identity category='account' type='registered'/>";
    assert!(juliet.asks(&ask).await.contains(is_account));
    assert!(romeo.asks(&ask).await.contains(is_account));
    assert!(nurse.asks(&ask).await.contains("service-unavailable"));
}

#[tokio::test]
async fn who_sees_the_presence_reads_the_vcard_and_its_owner_writes_it() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = world.connect("juliet", "balcony").await;
    let mut romeo = world.connect("romeo", "orchard").await;
    let read = get("juliet@example.org", "<vCard xmlns='vcard-temp'/>");
    let write =
        "<iq type='set' id='w'><vCard xmlns='vcard-temp'><FN>Juliet &amp; Co</FN></vCard></iq>";
    assert!(
        juliet
            .asks("<iq type='get' id='q'><vCard xmlns='vcard-temp'/></iq>")
            .await
            .contains("item-not-found")
    );
    // Others cannot tell an empty card from an account that does not exist.
    let nobody = romeo.asks(&read.replace("juliet", "nobody")).await;
    assert!(nobody.contains("service-unavailable"));
    assert_eq!(romeo.asks(&read).await, nobody.replace("nobody", "juliet"));
    assert!(
        romeo
            .asks(&write.replace("id='w'", "id='w' to='juliet@example.org'"))
            .await
            .contains("forbidden")
    );
    assert!(juliet.asks(write).await.contains("type='result'"));
    assert!(
        romeo
            .asks(&read)
            .await
            .contains("<vCard xmlns='vcard-temp'><FN>Juliet &amp; Co</FN></vCard>")
    );
    let mut nurse = world.connect("nurse", "kitchen").await;
    assert_eq!(
        nurse
            .asks(&read)
            .await
            .replace("nurse", "romeo")
            .replace("kitchen", "orchard"),
        nobody.replace("nobody", "juliet")
    );
}

#[tokio::test]
async fn a_host_can_open_its_vcards_to_everybody() {
    let mut config = config();
    config.hosts[0].public_vcards = true;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.connect("juliet", "balcony").await;
    let mut nurse = world.connect("nurse", "kitchen").await;
    juliet
        .asks("<iq type='set' id='w'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>")
        .await;
    let read = get("juliet@example.org", "<vCard xmlns='vcard-temp'/>");
    assert!(nurse.asks(&read).await.contains("<FN>Juliet</FN>"));
}

#[tokio::test]
async fn private_storage_is_private_and_bounded() {
    let config = Config {
        stored_xml_bytes: 200,
        ..config()
    };
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.connect("romeo", "orchard").await;
    let iq = |kind: &str, inner: &str| {
        format!("<iq type='{kind}' id='p'><query xmlns='jabber:iq:private'>{inner}</query></iq>")
    };
    assert!(
        romeo
            .asks(&iq("get", "<exodus xmlns='exodus:prefs'/>"))
            .await
            .contains("<exodus xmlns='exodus:prefs'/>")
    );
    let prefs = "<exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus>";
    assert!(
        romeo
            .asks(&iq("set", prefs))
            .await
            .contains("type='result'")
    );
    assert!(
        romeo
            .asks(&iq("get", "<exodus xmlns='exodus:prefs'/>"))
            .await
            .contains(prefs)
    );
    assert!(
        romeo
            .asks(&iq("get", "<a xmlns='x'/><b xmlns='x'/>"))
            .await
            .contains("not-acceptable")
    );
    assert!(romeo.asks(&iq("set", "")).await.contains("not-acceptable"));
    let long = format!("<a xmlns='x'>{}</a>", "x".repeat(200));
    assert!(
        romeo
            .asks(&iq("set", &long))
            .await
            .contains("policy-violation")
    );
    for n in 1..MAX_ELEMENTS {
        assert!(
            romeo
                .asks(&iq("set", &format!("<a xmlns='urn:{n}'/>")))
                .await
                .contains("type='result'"),
            "{n}"
        );
    }
    assert!(
        romeo
            .asks(&iq("set", "<a xmlns='urn:one-too-many'/>"))
            .await
            .contains("resource-constraint")
    );
    let foreign = iq("get", "<exodus xmlns='exodus:prefs'/>")
        .replace("id='p'", "id='p' to='juliet@example.org'");
    assert!(romeo.asks(&foreign).await.contains("service-unavailable"));
}

#[tokio::test]
async fn the_server_tells_its_version_and_the_time() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let version = romeo
        .asks(&get("example.org", "<query xmlns='jabber:iq:version'/>"))
        .await;
    assert!(
        version.contains("<name>Posthaste</name><version>"),
        "{version}"
    );
    let time = romeo
        .asks(&get("example.org", "<time xmlns='urn:xmpp:time'/>"))
        .await;
    assert!(
        time.contains("<tzo>+00:00</tzo><utc>2026-11-22T09:08:07.000Z</utc>"),
        "{time}"
    );
    world.pass_seconds(90).await;
    let uptime = romeo
        .asks(&get("example.org", "<query xmlns='jabber:iq:last'/>"))
        .await;
    assert!(uptime.contains("seconds='90'"), "{uptime}");
}

#[tokio::test]
async fn only_contacts_learn_when_somebody_was_last_there() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.connect("romeo", "orchard").await;
    let mut nurse = world.connect("nurse", "kitchen").await;
    let ask = get("juliet@example.org", "<query xmlns='jabber:iq:last'/>");
    let ask_resource = get(
        "juliet@example.org/balcony",
        "<query xmlns='jabber:iq:last'/>",
    );
    assert!(romeo.asks(&ask).await.contains("seconds='0'"));
    assert!(nurse.asks(&ask).await.contains("forbidden"));
    assert!(nurse.asks(&ask_resource).await.contains("forbidden"));
    juliet.receives_nothing().await;
    romeo.send(&ask_resource).await;
    juliet
        .receives(&[&["jabber:iq:last", "from='romeo@example.org/orchard'"]])
        .await;
    juliet
        .send("<presence type='unavailable'><status>Heading Home</status></presence>")
        .await;
    juliet.connection.close().await;
    world.pass_seconds(903).await;
    let told = romeo.asks(&ask).await;
    assert!(told.contains("seconds='903'>Heading Home<"), "{told}");
}

#[tokio::test]
async fn an_inactive_client_is_left_alone_until_something_matters() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.online("juliet", "balcony").await;
    romeo.receives_until_quiet().await;
    juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    for show in ["away", "xa", "dnd"] {
        romeo
            .send(&format!("<presence><show>{show}</show></presence>"))
            .await;
    }
    romeo.send("<message to='juliet@example.org/balcony' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>").await;
    juliet.receives_nothing().await;
    romeo.send(&chat("juliet@example.org", "wake up")).await;
    // The newest presence only, and before the message.
    juliet
        .receives(&[&["<show>dnd</show>"], &["<composing"], &["wake up"]])
        .await;
    romeo.send("<presence><show>chat</show></presence>").await;
    juliet.receives_nothing().await;
    juliet.send("<active xmlns='urn:xmpp:csi:0'/>").await;
    juliet.receives(&[&["<show>chat</show>"]]).await;
}

#[tokio::test]
async fn what_nobody_claims_is_refused() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let odd = "<odd xmlns='urn:example:odd'/>";
    for to in [
        "example.org",
        "romeo@example.org",
        "juliet@example.org",
        "nobody@example.org",
        "juliet@example.org/gone",
    ] {
        assert!(
            romeo
                .asks(&get(to, odd))
                .await
                .contains("service-unavailable"),
            "{to}"
        );
    }
}

#[tokio::test]
async fn a_host_lists_the_components_that_belong_to_it() {
    let component = |domain: &str| Component {
        domain: BareJid::parse(domain).unwrap(),
        name: Some("A bot".to_owned()),
    };
    let other = HostConfig {
        domain: BareJid::parse("verona.example").unwrap(),
        ..config().hosts[0].clone()
    };
    let config = Config {
        hosts: vec![config().hosts[0].clone(), other],
        components: [
            "bot.example.org",
            "bot.verona.example",
            "irc.example.net",
            "xexample.org",
        ]
        .map(component)
        .into(),
        ..config()
    };
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut romeo = world.connect("romeo", "orchard").await;
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    let listed = romeo.asks(&get("example.org", items)).await;
    assert!(
        listed.contains("<item jid='bot.example.org' name='A bot'/>"),
        "{listed}"
    );
    assert!(
        listed.contains("irc.example.net") && listed.contains("xexample.org"),
        "{listed}"
    );
    assert!(!listed.contains("verona"), "{listed}");
}
