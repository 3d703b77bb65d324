//! A blocked sender learns nothing and reaches nobody (XEP-0191).

use std::sync::Arc;

use crate::harness::{World, chat, config};
use posthaste_im::config::Config;
use posthaste_im::ext::reports::MOST_AT_ONCE;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::jid::BareJid;

const LIST: &str = "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>";

fn command(name: &str, jid: &str) -> String {
    format!(
        "<iq type='set' id='c'><{name} xmlns='urn:xmpp:blocking'><item jid='{jid}'/></{name}></iq>"
    )
}

#[tokio::test]
async fn the_list_is_kept_and_changes_are_pushed_to_who_asked_for_it() {
    let world = World::new();
    let mut balcony = world.connect("juliet", "balcony").await;
    let mut chamber = world.connect("juliet", "chamber").await;
    assert!(
        balcony
            .asks(LIST)
            .await
            .contains("<blocklist xmlns='urn:xmpp:blocking'/>")
    );
    chamber.send(&command("block", "romeo@example.org")).await;
    chamber.receives(&[&["id='c'", "type='result'"]]).await;
    balcony
        .receives(&[&[
            "type='set'",
            "<block ",
            "jid='romeo@example.org'",
            "to='juliet@example.org/balcony'",
        ]])
        .await;
    assert!(
        chamber
            .asks(LIST)
            .await
            .contains("<item jid='romeo@example.org'/>")
    );
    let world = world.restarted();
    let mut juliet = world.connect("juliet", "balcony").await;
    assert!(
        juliet
            .asks(LIST)
            .await
            .contains("<item jid='romeo@example.org'/>")
    );
    juliet
        .send("<iq type='set' id='c'><unblock xmlns='urn:xmpp:blocking'/></iq>")
        .await;
    juliet
        .receives(&[
            &["type='set'", "<unblock xmlns='urn:xmpp:blocking'/>"],
            &["type='result'"],
        ])
        .await;
    assert!(!juliet.asks(LIST).await.contains("romeo"));
}

#[tokio::test]
async fn a_blocked_sender_learns_nothing() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.following("romeo", "orchard").await;
    let mut juliet = world.following("juliet", "balcony").await;
    romeo.receives_until_quiet().await;
    juliet.send(&command("block", "romeo@example.org")).await;
    juliet.receives(&[&["type='result'"]]).await;
    romeo
        .receives(&[&["from='juliet@example.org/balcony'", "type='unavailable'"]])
        .await;

    romeo.send(&chat("juliet@example.org", "hello")).await;
    romeo
        .receives(&[&["<message", "type='error'", "service-unavailable"]])
        .await;
    romeo
        .send("<presence type='probe' to='juliet@example.org'/>")
        .await;
    romeo.send("<presence><show>away</show></presence>").await;
    romeo.receives(&[&["away"]]).await;
    let reply = romeo.asks("<iq type='get' id='p' to='juliet@example.org/balcony'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(reply.contains("service-unavailable"), "{reply}");
    juliet.send("<presence><show>dnd</show></presence>").await;
    juliet.receives(&[&["dnd"]]).await;
    romeo.receives_nothing().await;
}

#[tokio::test]
async fn nobody_writes_to_whom_they_have_blocked() {
    let world = World::new();
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet.asks(&command("block", "romeo@example.org")).await;
    juliet
        .send(&chat("romeo@example.org/orchard", "can you hear me now"))
        .await;
    juliet
        .receives(&[&[
            "type='error'",
            "<not-acceptable",
            "<blocked xmlns='urn:xmpp:blocking:errors'/>",
            "type='cancel'",
        ]])
        .await;
}

#[tokio::test]
async fn after_unblocking_both_see_each_other_again() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = world.following("romeo", "orchard").await;
    let mut juliet = world.following("juliet", "balcony").await;
    juliet.asks(&command("block", "romeo@example.org")).await;
    romeo.receives_until_quiet().await;
    juliet.send(&command("unblock", "romeo@example.org")).await;
    juliet
        .receives(&[&["type='result'"], &["from='romeo@example.org/orchard'"]])
        .await;
    romeo
        .receives(&[&["<presence from='juliet@example.org/balcony'"]])
        .await;
    romeo.send(&chat("juliet@example.org", "hello")).await;
    assert_eq!(juliet.bodies().await, ["hello"]);
}

#[tokio::test]
async fn directed_presence_to_whom_is_blocked_ends() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet
        .send("<presence to='romeo@example.org/orchard'/>")
        .await;
    romeo
        .receives(&[&["from='juliet@example.org/balcony'"]])
        .await;
    juliet.asks(&command("block", "romeo@example.org")).await;
    romeo
        .receives(&[&["from='juliet@example.org/balcony'", "type='unavailable'"]])
        .await;
}

#[tokio::test]
async fn blocking_ones_own_domain_shuts_out_neither_oneself_nor_the_server() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.asks(&command("block", "example.org")).await;
    assert!(
        juliet
            .asks("<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
            .await
            .contains("type='result'")
    );
    juliet.send(&chat("juliet@example.org", "note")).await;
    assert_eq!(juliet.bodies().await, ["note"]);
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@example.org", "hello")).await;
    romeo.receives(&[&["service-unavailable"]]).await;
}

#[tokio::test]
async fn bad_commands_and_full_lists_are_refused() {
    let config = Config {
        blocked_addresses: 2,
        ..config()
    };
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.connect("juliet", "balcony").await;
    let empty = "<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'/></iq>";
    assert!(juliet.asks(empty).await.contains("bad-request"));
    assert!(
        juliet
            .asks(&command("block", "@"))
            .await
            .contains("jid-malformed")
    );
    for (jid, outcome) in [
        ("a@b.example", "result"),
        ("c@b.example", "result"),
        ("a@b.example", "result"),
        ("d@b.example", "policy-violation"),
    ] {
        assert!(
            juliet.asks(&command("block", jid)).await.contains(outcome),
            "{jid}"
        );
    }
}

fn reported(jid: &str, report: &str) -> String {
    let report = format!("<report xmlns='urn:xmpp:reporting:1' {report}</report>");
    format!(
        "<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'><item jid='{jid}'>{report}</item></block></iq>"
    )
}

#[tokio::test]
async fn a_report_reaches_the_operator_and_blocks_in_any_case() {
    let config = Config {
        reports_to: Some(BareJid::parse("nurse@example.org").unwrap()),
        ..config()
    };
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut nurse = world.online("nurse", "kitchen").await;
    let mut juliet = world.connect("juliet", "balcony").await;
    let spam =
        "reason='urn:xmpp:reporting:spam'><text>Never came trouble to my house like this.</text>";
    let reply = juliet.asks(&reported("iago@spam.example", spam)).await;
    assert!(reply.contains("type='result'"), "{reply}");
    nurse
        .receives(&[&[
            "from='example.org'",
            "<body>juliet@example.org has blocked and reported iago@spam.example (urn:xmpp:reporting:spam).\nNever came",
            "<item xmlns='urn:xmpp:blocking' jid='iago@spam.example'><report xmlns='urn:xmpp:reporting:1'",
        ]])
        .await;
    juliet
        .asks(&reported(
            "tybalt@spam.example",
            "reason='urn:xmpp:reporting:abuse'>",
        ))
        .await;
    assert!(juliet.asks(LIST).await.contains("tybalt@spam.example"));
    let stats = &world.node.stats;
    assert_eq!(
        (stats.spam_reports.value(), stats.abuse_reports.value()),
        (1, 1)
    );

    let reply = juliet.asks(&reported("paris@spam.example", ">")).await;
    assert!(reply.contains("bad-request"), "{reply}");
    assert!(
        !juliet.asks(LIST).await.contains("paris"),
        "an error blocks nobody"
    );
}

#[tokio::test]
async fn an_operator_gets_so_many_reports_of_one_command() {
    let config = Config {
        reports_to: Some(BareJid::parse("nurse@example.org").unwrap()),
        ..config()
    };
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut nurse = world.online("nurse", "kitchen").await;
    let mut juliet = world.connect("juliet", "balcony").await;
    let item = |n: usize| {
        format!(
            "<item jid='s{n}@spam.example'><report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/></item>"
        )
    };
    let items: String = (0..=MOST_AT_ONCE).map(item).collect();
    juliet
        .asks(&format!(
            "<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>"
        ))
        .await;
    assert_eq!(nurse.receives_until_quiet().await.len(), MOST_AT_ONCE);
    assert_eq!(
        world.node.stats.spam_reports.value(),
        MOST_AT_ONCE as u64 + 1
    );
}
