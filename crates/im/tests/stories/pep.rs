//! People publish to nodes of their accounts; contacts and own devices are told and can look it up (XEP-0060, XEP-0163).

use std::sync::Arc;

use crate::harness::{Client, World, config};
use posthaste_im::config::Config;
use posthaste_im::ext::pubsub::{Limits, MAX_AFFILIATIONS, pep::MAX_AUDIENCE};
use posthaste_im::session::QueueLimits;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::ns;
use posthaste_proto::xep::caps::Caps;
use posthaste_proto::xep::disco::{Identity, Info};

const TUNE: &str = "http://jabber.org/protocol/tune";
const MOOD: &str = "http://jabber.org/protocol/mood";

fn set(inner: &str) -> String {
    format!(
        "<iq type='set' id='s'><pubsub xmlns='{}'>{inner}</pubsub></iq>",
        ns::PUBSUB
    )
}

fn own(kind: &str, inner: &str) -> String {
    format!(
        "<iq type='{kind}' id='o'><pubsub xmlns='{}'>{inner}</pubsub></iq>",
        ns::PUBSUB_OWNER
    )
}

fn get(to: &str, inner: &str) -> String {
    format!(
        "<iq type='get' id='g' to='{to}@example.org'><pubsub xmlns='{}'>{inner}</pubsub></iq>",
        ns::PUBSUB
    )
}

fn item(node: &str, id: &str, text: &str) -> String {
    format!("<publish node='{node}'><item id='{id}'><x xmlns='urn:x'>{text}</x></item></publish>")
}

fn options(fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='pubsub#{var}'><value>{value}</value></field>"))
        .collect();
    format!(
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/pubsub#publish-options</value></field>{fields}</x></publish-options>"
    )
}

fn submitted(fields: &[(&str, &str)]) -> String {
    options(fields)
        .replace("<publish-options>", "")
        .replace("</publish-options>", "")
        .replace("#publish-options", "#node_config")
}

/// What a client that wants to be told of these nodes can do.
fn listening_to(nodes: &[&str]) -> (Info, Caps) {
    let info = Info {
        identities: vec![Identity::new("client", "pc", Some("Listener"))],
        features: nodes.iter().map(|node| format!("{node}+notify")).collect(),
        ..Info::default()
    };
    let caps = Caps::of(&info, "https://listener.example").unwrap();
    (info, caps)
}

fn xml(element: &posthaste_proto::xml::Element) -> String {
    String::from_utf8(element.to_bytes(ns::CLIENT)).unwrap()
}

/// Comes online as a client that wants to be told of these nodes, and proves it if it is asked; answers all that came.
async fn listen(client: &mut Client, nodes: &[&str]) -> Vec<String> {
    let (info, caps) = listening_to(nodes);
    client
        .send(&format!("<presence>{}</presence>", xml(&caps.to_element())))
        .await;
    let mut received = client.receives_until_quiet().await;
    if received.iter().any(|it| it.contains(&caps.disco_node())) {
        let info = xml(&info.to_element());
        client
            .send(&format!(
                "<iq type='result' id='caps' to='{}'>{info}</iq>",
                client.bare()
            ))
            .await;
        received.extend(client.receives_until_quiet().await);
    }
    received
}

async fn listening(world: &World, user: &str, resource: &str, nodes: &[&str]) -> Client {
    let mut client = world.connect(user, resource).await;
    listen(&mut client, nodes).await;
    client
}

fn events(received: &[String]) -> Vec<&String> {
    received
        .iter()
        .filter(|xml| xml.contains("pubsub#event"))
        .collect()
}

#[tokio::test]
async fn what_is_published_reaches_the_devices_and_contacts_that_want_it() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = listening(&world, "juliet", "balcony", &[TUNE]).await;
    let mut deaf = listening(&world, "juliet", "chamber", &[MOOD]).await;
    let mut romeo = listening(&world, "romeo", "orchard", &[TUNE]).await;
    let mut uninterested = listening(&world, "romeo", "garden", &[MOOD]).await;
    let mut nurse = listening(&world, "nurse", "kitchen", &[TUNE]).await;
    for client in [
        &mut juliet,
        &mut deaf,
        &mut romeo,
        &mut uninterested,
        &mut nurse,
    ] {
        client.receives_until_quiet().await;
    }
    juliet.send(&set(&item(TUNE, "current", "Finzi"))).await;
    let notification = "<items node='http://jabber.org/protocol/tune'><item id='current'><x xmlns='urn:x'>Finzi</x></item></items>";
    juliet
        .receives(&[
            &["type='result'", "<item id='current'/>"],
            &[
                "from='juliet@example.org' to='juliet@example.org/balcony'",
                "type='headline'",
                notification,
            ],
        ])
        .await;
    romeo
        .receives(&[&[
            "from='juliet@example.org' to='romeo@example.org/orchard'",
            "type='headline'",
            notification,
        ]])
        .await;
    for client in [&mut deaf, &mut uninterested, &mut nurse] {
        client.receives_nothing().await;
    }
    // Gone is gone.
    romeo.send("<presence type='unavailable'/>").await;
    romeo.receives_until_quiet().await;
    juliet.send(&set(&item(TUNE, "current", "Holst"))).await;
    romeo.receives_nothing().await;
}

#[tokio::test]
async fn whoever_comes_online_gets_the_last_item_once() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = listening(&world, "juliet", "balcony", &[]).await;
    for text in ["Finzi", "Holst"] {
        juliet.asks(&set(&item(TUNE, "current", text))).await;
    }
    juliet.asks(&set(&item(MOOD, "current", "happy"))).await;
    juliet.send("<presence type='unavailable'/>").await;
    // A contact, though the owner is away; the first of its kind, so that it has to prove what it wants.
    let mut romeo = world.connect("romeo", "orchard").await;
    let received = listen(&mut romeo, &[TUNE]).await;
    let last = events(&received);
    assert_eq!(last.len(), 1, "{received:#?}");
    assert!(last[0].contains("Holst") && last[0].contains("<delay xmlns='urn:xmpp:delay'"));
    // A change of presence brings nothing new, even when the home has left memory.
    world.pass_seconds(60).await;
    let (_, caps) = listening_to(&[TUNE]);
    romeo
        .send(&format!(
            "<presence><show>away</show>{}</presence>",
            xml(&caps.to_element())
        ))
        .await;
    assert!(events(&romeo.receives_until_quiet().await).is_empty());
    // Another interest does.
    let received = listen(&mut romeo, &[TUNE, MOOD]).await;
    assert!(
        received.iter().any(|xml| xml.contains("happy")),
        "{received:#?}"
    );
    // One of a known kind is shown it at once, and so is the owner's own device.
    let mut other = world.connect("romeo", "garden").await;
    assert_eq!(events(&listen(&mut other, &[TUNE]).await).len(), 1);
    let mut phone = world.connect("juliet", "phone").await;
    assert_eq!(events(&listen(&mut phone, &[TUNE]).await).len(), 1);
}

#[tokio::test]
async fn a_new_contact_is_shown_what_there_is() {
    let world = World::new();
    let mut juliet = listening(&world, "juliet", "balcony", &[]).await;
    juliet.asks(&set(&item(TUNE, "current", "Finzi"))).await;
    let mut romeo = listening(&world, "romeo", "orchard", &[TUNE]).await;
    juliet
        .send("<presence type='subscribe' to='romeo@example.org'/>")
        .await;
    romeo
        .send("<presence type='subscribed' to='juliet@example.org'/>")
        .await;
    romeo
        .send("<presence type='subscribe' to='juliet@example.org'/>")
        .await;
    assert!(events(&romeo.receives_until_quiet().await).is_empty());
    juliet
        .send("<presence type='subscribed' to='romeo@example.org'/>")
        .await;
    assert_eq!(events(&romeo.receives_until_quiet().await).len(), 1);
}

#[tokio::test]
async fn items_are_read_whole_by_id_and_by_page() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let many = options(&[("max_items", "max")]);
    for n in 1..=5 {
        let reply = juliet
            .asks(&set(&(item("n", &n.to_string(), "x") + &many)))
            .await;
        assert!(reply.contains("type='result'"), "{reply}");
    }
    let ids = |reply: &str| -> Vec<String> {
        let parts = reply.split("<item id='").skip(1);
        parts
            .map(|part| part.split('\'').next().unwrap().to_owned())
            .collect()
    };
    let set = |inner: &str| format!("<items node='n'/><set xmlns='{}'>{inner}</set>", ns::RSM);
    for (inner, wanted) in [
        ("<items node='n'/>".to_owned(), "1 2 3 4 5"),
        ("<items node='n' max_items='2'/>".to_owned(), "4 5"),
        (
            "<items node='n'><item id='4'/><item id='2'/><item id='9'/></items>".to_owned(),
            "4 2",
        ),
        (set("<max>2</max>"), "1 2"),
        (set("<max>2</max><after>2</after>"), "3 4"),
        (set("<max>2</max><before>4</before>"), "2 3"),
        (set("<max>2</max><before/>"), "4 5"),
        (set("<max>2</max><index>3</index>"), "4 5"),
        (set("<max>0</max>"), ""),
    ] {
        let reply = juliet.asks(&get("juliet", &inner)).await;
        assert_eq!(ids(&reply).join(" "), wanted, "{inner}: {reply}");
        assert_eq!(
            reply.contains("<count>5</count>"),
            inner.contains("<set"),
            "{inner}"
        );
    }
    for inner in [
        "<items node='n'><item id='9'/></items>".to_owned(),
        "<items node='other'/>".to_owned(),
        set("<max>2</max><after>9</after>"),
    ] {
        assert!(
            juliet
                .asks(&get("juliet", &inner))
                .await
                .contains("item-not-found"),
            "{inner}"
        );
    }
}

#[tokio::test]
async fn a_node_is_made_as_the_options_say_and_has_to_be_so_afterwards() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let closed = options(&[
        ("access_model", "whitelist"),
        ("persist_items", "1"),
        ("max_items", "max"),
    ]);
    for _ in 0..2 {
        let reply = juliet.asks(&set(&(item("n", "a", "x") + &closed))).await;
        assert!(reply.contains("type='result'"), "{reply}");
    }
    for other in [
        &[("access_model", "open")][..],
        &[("max_items", "1")],
        &[("unheard_of", "1")],
        &[("access_model", "authorize")],
    ] {
        let reply = juliet
            .asks(&set(&(item("n", "a", "x") + &options(other))))
            .await;
        assert!(
            reply.contains("<conflict") && reply.contains("precondition-not-met"),
            "{other:?}: {reply}"
        );
    }
    let form = juliet.asks(&own("get", "<configure node='n'/>")).await;
    assert!(
        form.contains("<value>whitelist</value>") && form.contains("<value>max</value>"),
        "{form}"
    );
    let change = |fields: &[(&str, &str)]| {
        own(
            "set",
            &format!("<configure node='n'>{}</configure>", submitted(fields)),
        )
    };
    assert!(
        juliet
            .asks(&change(&[("access_model", "authorize")]))
            .await
            .contains("unsupported-access-model")
    );
    assert!(
        juliet
            .asks(&change(&[("max_items", "few")]))
            .await
            .contains("not-acceptable")
    );
    assert!(
        juliet
            .asks(&change(&[("title", &"x".repeat(5_000))]))
            .await
            .contains("not-acceptable")
    );
    assert!(
        juliet
            .asks(&change(&[("access_model", "open"), ("title", "Musings")]))
            .await
            .contains("type='result'")
    );
    let reply = juliet
        .asks(&set(
            &(item("n", "a", "x") + &options(&[("access_model", "open")]))
        ))
        .await;
    assert!(reply.contains("type='result'"), "{reply}");
    let world = world.restarted();
    let mut juliet = world.online("juliet", "balcony").await;
    assert!(
        juliet
            .asks(&own("get", "<configure node='n'/>"))
            .await
            .contains("Musings")
    );
}

#[tokio::test]
async fn who_may_read_is_what_the_access_model_says() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = world.online("juliet", "balcony").await;
    juliet
        .asks("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='nurse@example.org'><group>Servants</group></item></query></iq>")
        .await;
    let mut romeo = world.online("romeo", "orchard").await;
    let mut nurse = world.online("nurse", "kitchen").await;
    for (fields, romeo_is_told, nurse_is_told) in [
        (&[("access_model", "open")][..], "Finzi", "Finzi"),
        (
            &[("access_model", "presence")],
            "Finzi",
            "presence-subscription-required",
        ),
        (
            &[
                ("access_model", "roster"),
                ("roster_groups_allowed", "Servants"),
            ],
            "not-in-roster-group",
            "Finzi",
        ),
        (
            &[("access_model", "whitelist")],
            "closed-node",
            "closed-node",
        ),
    ] {
        let node = fields[0].1;
        juliet
            .asks(&set(&(item(node, "a", "Finzi") + &options(fields))))
            .await;
        let ask = get("juliet", &format!("<items node='{node}'/>"));
        for (client, told) in [(&mut romeo, romeo_is_told), (&mut nurse, nurse_is_told)] {
            let reply = client.asks(&ask).await;
            assert!(reply.contains(told), "{node}: {reply}");
        }
        assert!(juliet.asks(&ask).await.contains("Finzi"));
        let publish =
            set(&item(node, "b", "x")).replace("id='s'", "id='s' to='juliet@example.org'");
        assert!(romeo.asks(&publish).await.contains("forbidden"));
    }
    // Each sees the nodes that it may read.
    let items = |to: &str| {
        format!(
            "<iq type='get' id='d' to='{to}@example.org'><query xmlns='{}'/></iq>",
            ns::DISCO_ITEMS
        )
    };
    assert_eq!(
        juliet
            .asks(&items("juliet"))
            .await
            .matches("<item ")
            .count(),
        4
    );
    let shown = romeo.asks(&items("juliet")).await;
    assert!(
        shown.contains("node='open'")
            && shown.contains("node='presence'")
            && shown.matches("<item ").count() == 2,
        "{shown}"
    );
    // A member may read what is closed, an outcast not even what is open.
    let change = |node: &str, who: &str, to: &str| {
        own(
            "set",
            &format!(
                "<affiliations node='{node}'><affiliation jid='{who}@example.org' affiliation='{to}'/></affiliations>"
            ),
        )
    };
    assert!(
        juliet
            .asks(&change("whitelist", "nurse", "member"))
            .await
            .contains("type='result'")
    );
    assert!(
        nurse
            .asks(&get("juliet", "<items node='whitelist'/>"))
            .await
            .contains("Finzi")
    );
    assert!(
        juliet
            .asks(&change("open", "romeo", "outcast"))
            .await
            .contains("type='result'")
    );
    assert!(
        romeo
            .asks(&get("juliet", "<items node='open'/>"))
            .await
            .contains("forbidden")
    );
    assert!(
        juliet
            .asks(&change("open", "romeo", "owner"))
            .await
            .contains("not-acceptable")
    );
    assert!(
        romeo
            .asks(
                &own("get", "<affiliations node='open'/>")
                    .replace("id='o'", "id='o' to='juliet@example.org'")
            )
            .await
            .contains("forbidden")
    );
    let list = juliet
        .asks(&own("get", "<affiliations node='open'/>"))
        .await;
    assert!(
        list.contains("jid='juliet@example.org' affiliation='owner'")
            && list.contains("jid='romeo@example.org' affiliation='outcast'"),
        "{list}"
    );
    let mine = nurse.asks(&get("juliet", "<affiliations/>")).await;
    assert!(
        mine.contains("<affiliation node='whitelist' affiliation='member'/>"),
        "{mine}"
    );
}

#[tokio::test]
async fn what_is_taken_back_is_gone_and_listeners_are_told() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = listening(&world, "juliet", "balcony", &[]).await;
    let mut romeo = listening(&world, "romeo", "orchard", &["n"]).await;
    for id in ["a", "b", "c"] {
        juliet
            .asks(&set(
                &(item("n", id, "x") + &options(&[("max_items", "10")]))
            ))
            .await;
    }
    romeo.receives_until_quiet().await;
    assert!(
        juliet
            .asks(&set("<retract node='n'><item id='z'/></retract>"))
            .await
            .contains("item-not-found")
    );
    assert!(
        juliet
            .asks(&set("<retract node='n'><item id='a'/></retract>"))
            .await
            .contains("type='result'")
    );
    romeo.receives_nothing().await;
    juliet
        .asks(&set(
            "<retract node='n' notify='true'><item id='b'/></retract>",
        ))
        .await;
    romeo
        .receives(&[&["<items node='n'><retract id='b'/></items>"]])
        .await;
    let left = romeo.asks(&get("juliet", "<items node='n'/>")).await;
    assert_eq!(left.matches("<item ").count(), 1);
    let other = |inner: &str| own("set", inner).replace("id='o'", "id='o' to='juliet@example.org'");
    assert!(
        romeo
            .asks(&other("<purge node='n'/>"))
            .await
            .contains("forbidden")
    );
    assert!(
        romeo
            .asks(&other("<delete node='n'/>"))
            .await
            .contains("forbidden")
    );
    juliet.asks(&own("set", "<purge node='n'/>")).await;
    romeo.receives(&[&["<purge node='n'/>"]]).await;
    assert_eq!(
        romeo
            .asks(&get("juliet", "<items node='n'/>"))
            .await
            .matches("<item ")
            .count(),
        0
    );
    juliet.asks(&own("set", "<delete node='n'/>")).await;
    romeo.receives(&[&["<delete node='n'/>"]]).await;
    assert!(
        romeo
            .asks(&get("juliet", "<items node='n'/>"))
            .await
            .contains("item-not-found")
    );
    // Nothing of it is left.
    assert!(
        juliet
            .asks(&set("<create node='n'/>"))
            .await
            .contains("<create node='n'/>")
    );
    assert!(
        juliet
            .asks(&set("<create node='n'/>"))
            .await
            .contains("conflict")
    );
    assert_eq!(
        juliet
            .asks(&get("juliet", "<items node='n'/>"))
            .await
            .matches("<item ")
            .count(),
        0
    );
}

#[tokio::test]
async fn strangers_subscribe_to_what_is_open() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "kitchen").await;
    juliet
        .asks(&set(
            &(item("n", "a", "one") + &options(&[("access_model", "open")]))
        ))
        .await;
    let ask = |inner: &str| set(inner).replace("id='s'", "id='s' to='juliet@example.org'");
    assert!(
        nurse
            .asks(&ask("<subscribe node='n' jid='romeo@example.org'/>"))
            .await
            .contains("invalid-jid")
    );
    nurse
        .send(&ask("<subscribe node='n' jid='nurse@example.org'/>"))
        .await;
    nurse
        .receives(&[
            &["type='result'", "subscription='subscribed'"],
            &[
                "from='juliet@example.org' to='nurse@example.org'",
                "one",
                "<delay ",
            ],
        ])
        .await;
    juliet.asks(&set(&item("n", "a", "two"))).await;
    nurse.receives(&[&["two"]]).await;
    let list = nurse.asks(&get("juliet", "<subscriptions/>")).await;
    assert!(
        list.contains("node='n'") && list.contains("jid='nurse@example.org'"),
        "{list}"
    );
    let list = juliet.asks(&own("get", "<subscriptions node='n'/>")).await;
    assert!(
        list.contains("<subscription jid='nurse@example.org' subscription='subscribed'/>"),
        "{list}"
    );
    assert!(
        nurse
            .asks(&ask("<unsubscribe node='n' jid='nurse@example.org'/>"))
            .await
            .contains("type='result'")
    );
    assert!(
        nurse
            .asks(&ask("<unsubscribe node='n' jid='nurse@example.org'/>"))
            .await
            .contains("not-subscribed")
    );
    juliet.asks(&set(&item("n", "a", "three"))).await;
    nurse.receives_nothing().await;
    // Whoever loses access is not told any more.
    nurse
        .asks(&ask("<subscribe node='n' jid='nurse@example.org'/>"))
        .await;
    let closed = submitted(&[("access_model", "whitelist")]);
    juliet
        .asks(&own(
            "set",
            &format!("<configure node='n'>{closed}</configure>"),
        ))
        .await;
    juliet.asks(&set(&item("n", "a", "four"))).await;
    nurse.receives_nothing().await;
    // The owner takes a subscriber off, who is told.
    juliet
        .asks(&own("set", "<subscriptions node='n'><subscription jid='nurse@example.org' subscription='none'/></subscriptions>"))
        .await;
    nurse
        .receives(&[&["pubsub#event", "subscription='none'"]])
        .await;
}

#[tokio::test]
async fn a_request_that_does_not_fit_the_node_is_refused() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.asks(&set(&item("n", "a", "x"))).await;
    for (publish, condition) in [
        ("<publish node='n'/>", "item-required"),
        (
            "<publish node='n'><item id='a'/></publish>",
            "payload-required",
        ),
        ("<retract node='n'><item/></retract>", "item-required"),
    ] {
        assert!(
            juliet.asks(&set(publish)).await.contains(condition),
            "{publish}"
        );
    }
    // A node that keeps nothing only tells.
    let passing = options(&[("persist_items", "0")]);
    let mut listener = listening(&world, "juliet", "phone", &["passing"]).await;
    juliet
        .asks(&set(&(item("passing", "a", "x") + &passing)))
        .await;
    let received = listener.receives_until_quiet().await;
    assert_eq!(events(&received).len(), 1);
    assert_eq!(
        juliet
            .asks(&get("juliet", "<items node='passing'/>"))
            .await
            .matches("<item ")
            .count(),
        0
    );
    assert!(
        juliet
            .asks(&set("<retract node='passing'><item id='a'/></retract>"))
            .await
            .contains("feature='persistent-items'")
    );
    let neither = options(&[("persist_items", "0"), ("deliver_payloads", "0")]);
    assert!(
        juliet
            .asks(&set(&(item("bare", "a", "x") + &neither)))
            .await
            .contains("item-forbidden")
    );
    assert!(
        juliet
            .asks(&set(&format!("<publish node='bare'/>{neither}")))
            .await
            .contains("type='result'")
    );
}

fn limited(pubsub: Limits) -> World {
    World::with(Config { pubsub, ..config() }, Arc::new(MemoryKv::new()))
}

#[tokio::test]
async fn an_account_holds_so_many_nodes_items_and_bytes() {
    let world = limited(Limits {
        nodes: 2,
        items_per_node: 3,
        item_bytes: 100,
        bytes: 220,
        ..Limits::default()
    });
    let mut juliet = world.online("juliet", "balcony").await;
    let max = options(&[("max_items", "max")]);
    for n in 1..=5 {
        juliet
            .asks(&set(&(item("a", &n.to_string(), "x") + &max)))
            .await;
    }
    let left = juliet.asks(&get("juliet", "<items node='a'/>")).await;
    assert_eq!(left.matches("<item ").count(), 3);
    assert!(left.contains("id='3'") && left.contains("id='5'"), "{left}");
    assert!(
        juliet
            .asks(&set(&item("a", "6", &"x".repeat(100))))
            .await
            .contains("payload-too-big")
    );
    assert!(
        juliet
            .asks(&set(&(item("b", "1", &"x".repeat(60)) + &max)))
            .await
            .contains("type='result'")
    );
    assert!(
        juliet
            .asks(&set(&item("b", "2", &"x".repeat(70))))
            .await
            .contains("resource-constraint")
    );
    // What was refused has left no trace.
    assert_eq!(
        juliet
            .asks(&get("juliet", "<items node='b'/>"))
            .await
            .matches("<item ")
            .count(),
        1
    );
    assert!(
        juliet
            .asks(&set(&item("c", "1", "x")))
            .await
            .contains("resource-constraint")
    );
    assert!(
        juliet
            .asks(&set("<create/>"))
            .await
            .contains("resource-constraint")
    );
    // A lower number drops the oldest.
    let fewer = submitted(&[("max_items", "1")]);
    juliet
        .asks(&own(
            "set",
            &format!("<configure node='a'>{fewer}</configure>"),
        ))
        .await;
    let left = juliet.asks(&get("juliet", "<items node='a'/>")).await;
    assert!(
        left.matches("<item ").count() == 1 && left.contains("id='5'"),
        "{left}"
    );
}

#[tokio::test]
async fn a_node_has_so_many_subscribers_and_affiliations() {
    let world = limited(Limits {
        subscribers_per_node: 1,
        ..Limits::default()
    });
    let mut juliet = world.online("juliet", "balcony").await;
    juliet
        .asks(&set(
            &(item("n", "a", "x") + &options(&[("access_model", "open")]))
        ))
        .await;
    let ask = |user: &str| {
        set(&format!("<subscribe node='n' jid='{user}@example.org'/>"))
            .replace("id='s'", "id='s' to='juliet@example.org'")
    };
    assert!(
        world
            .online("nurse", "kitchen")
            .await
            .asks(&ask("nurse"))
            .await
            .contains("type='result'")
    );
    assert!(
        world
            .online("romeo", "orchard")
            .await
            .asks(&ask("romeo"))
            .await
            .contains("too-many-subscriptions")
    );
    let affiliate = |from: usize, to: usize| {
        let each = |n| format!("<affiliation jid='user{n}@example.org' affiliation='member'/>");
        let all: String = (from..to).map(each).collect();
        own(
            "set",
            &format!("<affiliations node='n'>{all}</affiliations>"),
        )
    };
    for from in (0..MAX_AFFILIATIONS).step_by(200) {
        assert!(
            juliet
                .asks(&affiliate(from, from + 200))
                .await
                .contains("type='result'")
        );
    }
    assert!(
        juliet
            .asks(&affiliate(5_000, 5_001))
            .await
            .contains("resource-constraint")
    );
}

#[tokio::test]
async fn strangers_and_crowds_fill_no_home() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let juliet = listening(&world, "juliet", "balcony", &[]).await;
    let mut nurse = listening(&world, "nurse", "kitchen", &[TUNE]).await;
    let (_, caps) = listening_to(&[TUNE]);
    let caps = xml(&caps.to_element());
    nurse
        .send(&format!(
            "<presence to='juliet@example.org'>{caps}</presence>"
        ))
        .await;
    let home = world.node.home(&juliet.bare());
    let audience = || home.peek(|state| state.audience.listeners().len()).unwrap();
    assert_eq!(audience(), 0);
    let romeo = |n: usize| {
        let xml = format!(
            "<presence from='romeo@example.org/{n}' to='juliet@example.org'>{caps}</presence>"
        );
        posthaste_im::router::Envelope::new(
            posthaste_proto::stanza::Stanza::parse(
                xml.as_bytes(),
                &posthaste_proto::xml::Limits::default(),
                &posthaste_proto::xml::StreamContext::client(),
            )
            .unwrap(),
        )
    };
    world
        .node
        .route((0..MAX_AUDIENCE + 10).map(romeo).collect())
        .await;
    assert_eq!(audience(), MAX_AUDIENCE);
}

#[tokio::test]
async fn an_answer_that_is_longer_than_a_queue_comes_all_the_same() {
    let queue = QueueLimits {
        bytes: 1_000,
        items: 10,
    };
    let world = World::with(Config { queue, ..config() }, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.asks(&set(&item("n", "a", &"x".repeat(5_000)))).await;
    let reply = juliet.asks(&get("juliet", "<items node='n'/>")).await;
    assert!(reply.len() > 5_000);
}
