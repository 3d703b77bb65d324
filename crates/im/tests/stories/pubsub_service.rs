//! Nodes that belong to no account live at a service (XEP-0060).

use std::sync::Arc;

use crate::harness::{World, config};
use posthaste_im::config::Config;
use posthaste_im::ext::pubsub::Limits;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::ns;

fn ask(kind: &str, inner: &str) -> String {
    format!(
        "<iq type='{kind}' id='q' to='pubsub.example.org'><pubsub xmlns='{}'>{inner}</pubsub></iq>",
        ns::PUBSUB
    )
}

fn own(kind: &str, inner: &str) -> String {
    ask(kind, inner).replace(ns::PUBSUB, ns::PUBSUB_OWNER)
}

fn disco(ns: &str, rest: &str) -> String {
    format!("<iq type='get' id='d' to='pubsub.example.org'><query xmlns='{ns}'{rest}/></iq>")
}

fn item(node: &str, id: &str) -> String {
    ask(
        "set",
        &format!(
            "<publish node='{node}'><item id='{id}'><x xmlns='urn:x'>{id}</x></item></publish>"
        ),
    )
}

fn configured(access: &str) -> String {
    format!(
        "<configure><x xmlns='jabber:x:data' type='submit'><field var='pubsub#access_model'><value>{access}</value></field>\
         <field var='pubsub#title'><value>A title</value></field></x></configure>"
    )
}

#[tokio::test]
async fn a_node_is_created_found_followed_and_written_to() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let services = "<iq type='get' id='i' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
    assert!(
        romeo
            .asks(services)
            .await
            .contains("<item jid='pubsub.example.org'")
    );
    let info = romeo.asks(&disco(ns::DISCO_INFO, "")).await;
    assert!(
        info.contains("<identity category='pubsub' type='service'"),
        "{info}"
    );
    assert!(
        romeo
            .asks(&item("news", "1"))
            .await
            .contains("item-not-found")
    );
    let create = ask(
        "set",
        &format!("<create node='news'/>{}", configured("open")),
    );
    assert!(juliet.asks(&create).await.contains("<create node='news'/>"));
    assert!(romeo.asks(&create).await.contains("conflict"));
    let list = romeo.asks(&disco(ns::DISCO_ITEMS, "")).await;
    assert!(list.contains("node='news' name='A title'"), "{list}");
    // Romeo follows it with his bare JID, and gets the last item at once.
    juliet.asks(&item("news", "1")).await;
    assert!(romeo.asks(&item("news", "2")).await.contains("forbidden"));
    romeo
        .send(&ask(
            "set",
            "<subscribe node='news' jid='romeo@example.org'/>",
        ))
        .await;
    romeo
        .receives(&[
            &["from='pubsub.example.org'", "subscription='subscribed'"],
            &[
                "from='pubsub.example.org' to='romeo@example.org'",
                "<item id='1' publisher='juliet@example.org'>",
                "<delay ",
            ],
        ])
        .await;
    juliet.asks(&item("news", "2")).await;
    romeo
        .receives(&[&["<items node='news'><item id='2'", "type='headline'"]])
        .await;
    let mine = romeo.asks(&ask("get", "<subscriptions/>")).await;
    assert!(
        mine.contains(
            "<subscription jid='romeo@example.org' subscription='subscribed' node='news'/>"
        ),
        "{mine}"
    );
    // Juliet lets him publish.
    let publisher = own(
        "set",
        "<affiliations node='news'><affiliation jid='romeo@example.org' affiliation='publisher'/></affiliations>",
    );
    assert!(juliet.asks(&publisher).await.contains("type='result'"));
    assert!(
        romeo
            .asks(&item("news", "3"))
            .await
            .contains("type='result'")
    );
    let mine = romeo.asks(&ask("get", "<affiliations/>")).await;
    assert!(
        mine.contains("node='news' affiliation='publisher'"),
        "{mine}"
    );
    let found = romeo.asks(&disco(ns::DISCO_INFO, " node='news'")).await;
    assert!(
        found.contains("<identity category='pubsub' type='leaf'/>")
            && found.contains("<value>romeo@example.org</value>"),
        "{found}"
    );
    let found = romeo.asks(&disco(ns::DISCO_ITEMS, " node='news'")).await;
    assert!(
        found.contains("name='1'") && found.contains("name='3'"),
        "{found}"
    );
    assert!(
        romeo
            .asks(&ask(
                "set",
                "<unsubscribe node='news' jid='romeo@example.org'/>"
            ))
            .await
            .contains("type='result'")
    );
    assert!(
        !romeo
            .asks(&ask("get", "<subscriptions/>"))
            .await
            .contains("news")
    );
    // It outlives a restart, and goes when its owner deletes it.
    let world = world.restarted();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    assert!(
        romeo
            .asks(&own("set", "<delete node='news'/>"))
            .await
            .contains("forbidden")
    );
    assert!(
        juliet
            .asks(&own("set", "<delete node='news'/>"))
            .await
            .contains("type='result'")
    );
    assert!(
        !romeo
            .asks(&disco(ns::DISCO_ITEMS, ""))
            .await
            .contains("news")
    );
    assert!(
        !romeo
            .asks(&ask("get", "<affiliations/>"))
            .await
            .contains("news")
    );
}

#[tokio::test]
async fn a_closed_node_is_for_its_members() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    for model in ["presence", "roster", "authorize"] {
        let create = ask("set", &format!("<create node='no'/>{}", configured(model)));
        assert!(
            juliet
                .asks(&create)
                .await
                .contains("unsupported-access-model"),
            "{model}"
        );
    }
    juliet
        .asks(&ask(
            "set",
            &format!("<create node='secret'/>{}", configured("whitelist")),
        ))
        .await;
    juliet.asks(&item("secret", "1")).await;
    let read = ask("get", "<items node='secret'/>");
    assert!(romeo.asks(&read).await.contains("closed-node"));
    assert!(
        romeo
            .asks(&disco(ns::DISCO_INFO, " node='secret'"))
            .await
            .contains("closed-node")
    );
    assert!(
        !romeo
            .asks(&disco(ns::DISCO_ITEMS, ""))
            .await
            .contains("secret")
    );
    assert!(
        juliet
            .asks(&disco(ns::DISCO_ITEMS, ""))
            .await
            .contains("secret")
    );
    let change = |to: &str| {
        own(
            "set",
            &format!(
                "<affiliations node='secret'><affiliation jid='romeo@example.org' affiliation='{to}'/></affiliations>"
            ),
        )
    };
    juliet.asks(&change("member")).await;
    assert!(romeo.asks(&read).await.contains("<x xmlns='urn:x'>1</x>"));
    assert!(
        romeo
            .asks(&disco(ns::DISCO_ITEMS, ""))
            .await
            .contains("secret")
    );
    // A member who is cast out is not told any more.
    romeo
        .asks(&ask(
            "set",
            "<subscribe node='secret' jid='romeo@example.org/orchard'/>",
        ))
        .await;
    juliet.asks(&item("secret", "2")).await;
    romeo
        .receives(&[&["to='romeo@example.org/orchard'", "<item id='2'"]])
        .await;
    juliet.asks(&change("outcast")).await;
    juliet.asks(&item("secret", "3")).await;
    romeo.receives_nothing().await;
    assert!(
        romeo
            .asks(&ask(
                "set",
                "<subscribe node='secret' jid='romeo@example.org'/>"
            ))
            .await
            .contains("forbidden")
    );
    // Somebody has to own it.
    let resign = own(
        "set",
        "<affiliations node='secret'><affiliation jid='juliet@example.org' affiliation='none'/></affiliations>",
    );
    assert!(juliet.asks(&resign).await.contains("not-acceptable"));
    // The owner signs the Nurse up, who is told.
    let mut nurse = world.online("nurse", "kitchen").await;
    juliet
        .asks(&own("set", "<subscriptions node='secret'><subscription jid='nurse@example.org' subscription='subscribed'/></subscriptions>"))
        .await;
    nurse
        .receives(&[&["pubsub#event", "subscription='subscribed'"]])
        .await;
}

#[tokio::test]
async fn a_service_holds_so_many_nodes() {
    let pubsub = Limits {
        nodes: 2,
        service_nodes: 3,
        ..Limits::default()
    };
    let world = World::with(Config { pubsub, ..config() }, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let instant = ask("set", "<create/>");
    for _ in 0..2 {
        assert!(juliet.asks(&instant).await.contains("<create node='"));
    }
    assert!(juliet.asks(&instant).await.contains("resource-constraint"));
    assert!(romeo.asks(&instant).await.contains("<create node='"));
    assert!(romeo.asks(&instant).await.contains("resource-constraint"));
    let page = "<query xmlns='http://jabber.org/protocol/disco#items'><set xmlns='http://jabber.org/protocol/rsm'><max>2</max></set></query>";
    let list = romeo
        .asks(&format!(
            "<iq type='get' id='d' to='pubsub.example.org'>{page}</iq>"
        ))
        .await;
    assert!(
        list.matches("<item ").count() == 2 && list.contains("<count>3</count>"),
        "{list}"
    );
}

#[tokio::test]
async fn what_is_not_for_the_service_is_refused() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo
        .send("<message to='pubsub.example.org' type='chat' id='m'><body>hi</body></message>")
        .await;
    romeo
        .receives(&[&["type='error'", "service-unavailable"]])
        .await;
    romeo.send("<presence to='pubsub.example.org'/>").await;
    romeo.receives_nothing().await;
    for to in ["someone@pubsub.example.org", "pubsub.example.org/x"] {
        let reply = romeo
            .asks(
                &disco(ns::DISCO_INFO, "")
                    .replace("to='pubsub.example.org'", &format!("to='{to}'")),
            )
            .await;
        assert!(reply.contains("service-unavailable"), "{to}");
    }
    assert!(romeo.asks("<iq type='get' id='v' to='pubsub.example.org'><query xmlns='jabber:iq:version'/></iq>").await.contains("service-unavailable"));
    assert!(
        romeo
            .asks(&ask("set", "<publish/>"))
            .await
            .contains("nodeid-required")
    );
    // Nobody else speaks for it.
    assert!(world.node.serves("pubsub.example.org"));
}
