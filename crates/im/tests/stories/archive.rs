//! The history is there for every device, and nothing comes twice (XEP-0313, XEP-0441).

use std::sync::Arc;

use posthaste_im::config::Keep;
use posthaste_im::conversations::MAX_NOTES;
use posthaste_kv::memory::MemoryKv;

use crate::harness::{Client, World, body, chat, config};

/// A query with fields of a form and the content of a result set request.
pub(crate) fn query(id: &str, fields: &[(&str, &str)], set: &str) -> String {
    let field = |(var, value): &(&str, &str)| {
        let values: String = value
            .split('\n')
            .map(|value| format!("<value>{value}</value>"))
            .collect();
        format!("<field var='{var}'>{values}</field>")
    };
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<iq type='set' id='{id}'><query xmlns='urn:xmpp:mam:2' queryid='{id}'>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>{fields}</x>\
         <set xmlns='http://jabber.org/protocol/rsm'>{set}</set></query></iq>"
    )
}

/// What a query brought: bodies in the order of their coming, and the IQ that ended it.
pub(crate) struct Answer {
    pub(crate) bodies: Vec<String>,
    pub(crate) messages: Vec<String>,
    pub(crate) iq: String,
}

impl Answer {
    fn end(&self, name: &str) -> String {
        between(&self.iq, &format!("<{name}"), &format!("</{name}>"))
            .and_then(|text| text.split_once('>').map(|(_, id)| id.to_owned()))
            .unwrap_or_else(|| panic!("no {name} in {}", self.iq))
    }

    fn is_complete(&self) -> bool {
        self.iq.contains("complete='true'")
    }
}

pub(crate) fn between(text: &str, from: &str, to: &str) -> Option<String> {
    let start = text.find(from)? + from.len();
    let end = text[start..].find(to)? + start;
    Some(text[start..end].to_owned())
}

pub(crate) async fn ask(client: &mut Client, query: &str) -> Answer {
    client.send(query).await;
    let mut received = client.receives_until_quiet().await;
    received.retain(|xml| !xml.starts_with("<r "));
    let iq = received.pop().unwrap();
    assert!(iq.starts_with("<iq "), "{iq}");
    Answer {
        bodies: received.iter().filter_map(|xml| body(xml)).collect(),
        messages: received,
        iq,
    }
}

/// The id that a received message has in the recipient's archive.
pub(crate) fn stanza_id(xml: &str) -> String {
    between(xml, "<stanza-id xmlns='urn:xmpp:sid:0' id='", "'").unwrap()
}

/// Juliet sends Romeo, and Romeo answers, so many times; the Nurse says something in between.
async fn with_history(rounds: usize) -> (World, Client) {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let mut romeo = world.online("romeo", "orchard").await;
    for round in 0..rounds {
        juliet
            .send(&chat("romeo@example.org", &format!("j{round}")))
            .await;
        romeo
            .send(&chat("juliet@example.org", &format!("r{round}")))
            .await;
        if round % 10 == 0 {
            nurse
                .send(&chat("romeo@example.org", &format!("n{round}")))
                .await;
            world.pass_seconds(60).await;
        }
        juliet.receives_until_quiet().await;
        romeo.receives_until_quiet().await;
    }
    (world, romeo)
}

#[tokio::test]
async fn a_query_brings_what_was_sent_and_received_in_order() {
    let (_, mut romeo) = with_history(2).await;
    let answer = ask(&mut romeo, &query("q", &[], "")).await;
    assert_eq!(answer.bodies, ["j0", "r0", "n0", "j1", "r1"]);
    assert!(answer.is_complete() && answer.iq.contains("<count>5</count>"));
    let sent = &answer.messages[1];
    for part in [
        "<message from='romeo@example.org' to='romeo@example.org/orchard'>",
        "<result xmlns='urn:xmpp:mam:2' id='",
        "queryid='q'>",
        "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-11-22T09:08:07.000Z'/>",
        "<message xmlns='jabber:client' from='romeo@example.org/orchard' to='juliet@example.org' id='r0' type='chat'>",
    ] {
        assert!(sent.contains(part), "no {part} in {sent}");
    }
    let id = between(sent, "<result xmlns='urn:xmpp:mam:2' id='", "'").unwrap();
    assert_eq!(
        stanza_id(sent),
        id,
        "what was sent has its id in the archive too"
    );
    assert_eq!(answer.end("first").len(), 16);
}

#[tokio::test]
async fn pages_go_forwards_and_backwards_without_gap_or_repeat() {
    let (_, mut romeo) = with_history(60).await;
    let everything = ask(&mut romeo, &query("all", &[], "<max>250</max>")).await;
    assert_eq!(everything.bodies.len(), 126);
    for fields in [&[][..], &[("with", "juliet@example.org")]] {
        let wanted: Vec<String> = everything
            .bodies
            .iter()
            .filter(|body| fields.is_empty() || !body.starts_with('n'))
            .cloned()
            .collect();
        let (mut forwards, mut set) = (Vec::new(), "<max>50</max>".to_owned());
        loop {
            let page = ask(&mut romeo, &query("f", fields, &set)).await;
            forwards.extend(page.bodies.clone());
            if page.is_complete() {
                break;
            }
            assert_eq!(page.bodies.len(), 50);
            set = format!("<max>50</max><after>{}</after>", page.end("last"));
        }
        assert_eq!(forwards, wanted, "forwards, {fields:?}");
        let (mut backwards, mut set) = (Vec::new(), "<max>50</max><before/>".to_owned());
        loop {
            let page = ask(&mut romeo, &query("b", fields, &set)).await;
            backwards.splice(0..0, page.bodies.clone());
            if page.is_complete() {
                break;
            }
            set = format!("<max>50</max><before>{}</before>", page.end("first"));
        }
        assert_eq!(backwards, wanted, "backwards, {fields:?}");
    }
    let usual = ask(&mut romeo, &query("u", &[], "")).await;
    assert_eq!((usual.bodies.len(), usual.is_complete()), (50, false));
    let most = ask(&mut romeo, &query("m", &[], "<max>100000</max>")).await;
    assert_eq!(most.bodies.len(), 126);
    let none = ask(&mut romeo, &query("n", &[], "<max>0</max>")).await;
    assert_eq!((none.bodies.len(), none.is_complete()), (0, false));
}

#[tokio::test]
async fn a_flipped_page_comes_newest_first() {
    let (_, mut romeo) = with_history(3).await;
    let flipped = query("f", &[], "<max>2</max>").replace("</query>", "<flip-page/></query>");
    let answer = ask(&mut romeo, &flipped).await;
    assert_eq!(answer.bodies, ["r0", "j0"]);
    let next = format!("<max>2</max><after>{}</after>", answer.end("last"));
    assert_eq!(
        ask(&mut romeo, &query("n", &[], &next)).await.bodies,
        ["n0", "j1"]
    );
}

#[tokio::test]
async fn every_filter_narrows_the_answer() {
    let (world, mut romeo) = with_history(12).await;
    let all = ask(&mut romeo, &query("all", &[], "<max>250</max>")).await;
    let id = |place: usize| between(&all.messages[place], "mam:2' id='", "'").unwrap();
    let mut bodies =
        async |fields: &[(&str, &str)]| ask(&mut romeo, &query("q", fields, "")).await.bodies;
    // The clock went on by a minute after n0.
    assert_eq!(
        bodies(&[("end", "2026-11-22T09:08:07Z")]).await,
        ["j0", "r0", "n0"]
    );
    assert_eq!(bodies(&[("start", "2026-11-22T09:08:08Z")]).await.len(), 23);
    let both = [
        ("start", "2026-11-22T10:08:08+01:00"),
        ("end", "2026-11-22T09:09:07Z"),
        ("with", "nurse@example.org"),
    ];
    assert_eq!(bodies(&both).await, ["n10"]);
    assert_eq!(
        bodies(&[("with", "nurse@example.org")]).await,
        ["n0", "n10"]
    );
    assert_eq!(
        bodies(&[("with", "nurse@example.org/hall")]).await,
        ["n0", "n10"]
    );
    assert_eq!(
        bodies(&[("with", "nurse@example.org/nowhere")]).await.len(),
        0
    );
    assert_eq!(bodies(&[("with", "tybalt@example.org")]).await.len(), 0);
    assert_eq!(
        bodies(&[("after-id", &id(1)), ("before-id", &id(4))]).await,
        ["n0", "j1"]
    );
    let ids = format!("{}\n{}", id(5), id(0));
    assert_eq!(bodies(&[("ids", &ids)]).await, ["j0", "j2"]);
    assert_eq!(
        bodies(&[("ids", &ids), ("with", "nurse@example.org")])
            .await
            .len(),
        0
    );
    assert_eq!(bodies(&[("include-groupchat", "true")]).await.len(), 26);
    let to_self = chat("romeo@example.org", "note");
    romeo.send(&to_self).await;
    romeo.receives_until_quiet().await;
    let own = ask(
        &mut romeo,
        &query("q", &[("with", "romeo@example.org")], ""),
    )
    .await;
    assert_eq!(own.bodies, ["note"], "only what one has sent to oneself");
    drop(world);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let (_, mut romeo) = with_history(1).await;
    let unknown = "0123456789abcdef";
    for (query, condition) in [
        (query("q", &[("before-id", unknown)], ""), "item-not-found"),
        (query("q", &[("after-id", "what?")], ""), "item-not-found"),
        (query("q", &[("ids", unknown)], ""), "item-not-found"),
        (
            query("q", &[], &format!("<after>{unknown}</after>")),
            "item-not-found",
        ),
        (
            query("q", &[], &format!("<before>{unknown}</before>")),
            "item-not-found",
        ),
        (
            query("q", &[], "<index>3</index>"),
            "feature-not-implemented",
        ),
        (
            query("q", &[("{urn:x}search", "love")], ""),
            "feature-not-implemented",
        ),
        (query("q", &[("start", "yesterday")], ""), "bad-request"),
        (query("q", &[("with", "@")], ""), "bad-request"),
    ] {
        let answer = ask(&mut romeo, &query).await;
        assert!(answer.iq.contains(condition), "{query}: {}", answer.iq);
        assert!(answer.messages.is_empty());
    }
    let theirs = query("q", &[], "").replace("<iq ", "<iq to='juliet@example.org' ");
    assert!(
        ask(&mut romeo, &theirs)
            .await
            .iq
            .contains("service-unavailable")
    );
}

#[tokio::test]
async fn live_copied_and_archived_it_is_the_same_id() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut garden = world.online("romeo", "garden").await;
    let mut home = world.online("romeo", "home").await;
    home.asks("<iq type='set' id='e'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        .await;
    garden.receives_until_quiet().await;
    juliet.send(&chat("romeo@example.org/garden", "in")).await;
    garden.send(&chat("juliet@example.org", "out")).await;
    let live = garden.receives_until_quiet().await;
    let copies = home.receives_until_quiet().await;
    let archive = ask(&mut home, &query("q", &[], "")).await;
    let ids: Vec<String> = archive.messages.iter().map(|xml| stanza_id(xml)).collect();
    assert_eq!(stanza_id(&live[0]), ids[0]);
    assert_eq!(
        copies.iter().map(|xml| stanza_id(xml)).collect::<Vec<_>>(),
        ids
    );
    let theirs = juliet.receives_until_quiet().await;
    assert!(!theirs[0].contains("by='romeo@example.org'"), "{theirs:?}");
}

#[tokio::test]
async fn what_was_taken_from_the_archive_does_not_come_again_as_an_offline_message() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    for text in ["one", "two", "three"] {
        juliet.send(&chat("romeo@example.org", text)).await;
    }
    let passing = "<message to='romeo@example.org' type='chat'><body>hush</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>";
    juliet.send(passing).await;
    let mut romeo = world.connect("romeo", "phone").await;
    romeo.manage_stream().await;
    let answer = ask(&mut romeo, &query("q", &[], "<max>2</max>")).await;
    assert_eq!(answer.bodies, ["one", "two"]);
    romeo.send("<presence/>").await;
    assert_eq!(romeo.bodies().await, ["three", "hush"]);
    romeo.send("<a xmlns='urn:xmpp:sm:3' h='6'/>").await;
    romeo.connection.close().await;
    let mut again = world.online("romeo", "phone").await;
    assert_eq!(again.bodies().await, [""; 0]);
    let answer = ask(&mut again, &query("q", &[], "")).await;
    assert_eq!(answer.bodies, ["one", "two", "three"]);
}

#[tokio::test]
async fn results_that_were_not_taken_are_still_offline_messages() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&chat("romeo@example.org", "one")).await;
    let mut romeo = world.connect("romeo", "phone").await;
    romeo.manage_stream().await;
    assert_eq!(ask(&mut romeo, &query("q", &[], "")).await.bodies, ["one"]);
    romeo.connection.close().await;
    let mut again = world.connect("romeo", "tablet").await;
    again.send("<presence/>").await;
    assert_eq!(again.bodies().await, ["one"]);
}

#[tokio::test]
async fn a_resumed_session_gets_the_rest_of_its_page() {
    let (world, mut romeo) = with_history(20).await;
    let id = romeo.manage_stream().await;
    romeo.send(&query("q7", &[], "<max>30</max>")).await;
    let (first, _) = romeo.receives_within(4000).await;
    assert!(first.len() < 30);
    drop(romeo);
    let (mut romeo, _) = world.resume("romeo", &id, 2).await.unwrap();
    let rest = romeo.receives_until_quiet().await;
    assert_eq!(
        rest.iter()
            .filter(|xml| xml.contains("queryid='q7'"))
            .count(),
        28
    );
    assert!(rest[rest.len() - 2].contains("<fin "), "{rest:?}");
}

#[tokio::test]
async fn a_long_page_keeps_to_the_bound_of_the_queue() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let long = "x".repeat(20_000);
    for _ in 0..40 {
        juliet.send(&chat("romeo@example.org", &long)).await;
    }
    let mut romeo = world.connect("romeo", "phone").await;
    romeo.send(&query("q", &[], "<max>40</max>")).await;
    let mut count = 0;
    loop {
        let (received, _) = romeo.receives_within(1).await;
        let home = world.node.home(&romeo.bare());
        let held = home.peek(|state| state.sessions[0].session.state().queue_len().1);
        let held = held.unwrap();
        assert!(
            held <= world.node.config().queue.bytes,
            "{held} bytes are held"
        );
        count += received.len();
        if received.is_empty() {
            break;
        }
    }
    assert_eq!(count, 41);
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_pile_up_results() {
    let mut config = config();
    config.queue.items = 20;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    for n in 0..30 {
        juliet
            .send(&chat("romeo@example.org", &format!("m{n}")))
            .await;
    }
    let mut romeo = world.connect("romeo", "phone").await;
    let answer = ask(&mut romeo, &query("q", &[], "<max>30</max>")).await;
    assert_eq!((answer.bodies.len(), answer.is_complete()), (19, false));
    romeo.send(&query("a", &[], "<max>30</max>")).await;
    romeo.send(&query("b", &[], "<max>30</max>")).await;
    let (received, _) = romeo.receives_within(usize::MAX).await;
    assert!(received.iter().all(|xml| !xml.contains("queryid='b'")));
}

#[tokio::test]
async fn a_client_can_ask_for_fields_and_for_the_ends() {
    let (_, mut romeo) = with_history(2).await;
    let form = romeo
        .asks("<iq type='get' id='f'><query xmlns='urn:xmpp:mam:2'/></iq>")
        .await;
    for var in ["with", "start", "end", "before-id", "after-id", "ids"] {
        assert!(form.contains(&format!("var='{var}'")), "{var}: {form}");
    }
    let ends = romeo
        .asks("<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>")
        .await;
    let all = ask(&mut romeo, &query("q", &[], "")).await;
    assert!(ends.contains(&format!(
        "<start id='{}' timestamp='2026-11-22T09:08:07.000Z'/>",
        all.end("first")
    )));
    assert!(
        ends.contains(&format!("<end id='{}'", all.end("last"))),
        "{ends}"
    );
    let world = World::new();
    let mut nurse = world.connect("nurse", "hall").await;
    let none = nurse
        .asks("<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>")
        .await;
    assert!(
        none.contains("<metadata xmlns='urn:xmpp:mam:2'/>"),
        "{none}"
    );
}

#[tokio::test]
async fn preferences_say_whose_messages_stay() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "hall").await;
    let mut romeo = world.connect("romeo", "orchard").await;
    let prefs = romeo
        .asks("<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>")
        .await;
    assert!(
        prefs.contains("<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>")
    );
    let set = |default: &str, always: &str, never: &str| {
        let jid = |jid: &str| match jid {
            "" => String::new(),
            jid => format!("<jid>{jid}@example.org</jid>"),
        };
        format!(
            "<iq type='set' id='s'><prefs xmlns='urn:xmpp:mam:2' default='{default}'><always>{}</always><never>{}</never></prefs></iq>",
            jid(always),
            jid(never)
        )
    };
    for (prefs, kept) in [
        (set("always", "", ""), &["j", "n", "r"][..]),
        (set("never", "", ""), &[]),
        (set("never", "nurse", ""), &["n"]),
        (set("roster", "", ""), &["j", "r"]),
        (set("always", "", "juliet"), &["n"]),
        (set("roster", "nurse", "juliet"), &["n"]),
    ] {
        let before = ask(&mut romeo, &query("q", &[], "<max>250</max>"))
            .await
            .bodies
            .len();
        let answer = romeo.asks(&prefs).await;
        assert!(answer.contains("type='result'"), "{answer}");
        juliet.send(&chat("romeo@example.org", "j")).await;
        nurse.send(&chat("romeo@example.org", "n")).await;
        romeo.send(&chat("juliet@example.org", "r")).await;
        let after = ask(&mut romeo, &query("q", &[], "<max>250</max>"))
            .await
            .bodies;
        assert_eq!(after[before..], *kept, "{prefs}");
    }
    // What is not archived waits all the same, and has no id of the archive.
    romeo.send("<presence/>").await;
    let received = romeo.receives_until_quiet().await;
    let hushed: Vec<_> = received
        .iter()
        .filter(|xml| xml.contains("<body>") && !xml.contains("<stanza-id"))
        .collect();
    assert_eq!(hushed.len(), 6, "{received:?}");
    let again = world.restarted();
    let mut later = again.connect("romeo", "orchard").await;
    let prefs = later
        .asks("<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>")
        .await;
    assert!(
        prefs.contains("default='roster'")
            && prefs.contains("<never><jid>juliet@example.org</jid></never>")
    );
    let many = "<jid>a@b</jid>".repeat(1001);
    let refused = later
        .asks(&format!("<iq type='set' id='s'><prefs xmlns='urn:xmpp:mam:2' default='always'><never>{many}</never></prefs></iq>"))
        .await;
    assert!(refused.contains("resource-constraint"), "{refused}");
}

#[tokio::test]
async fn the_index_outlives_a_crash_and_is_made_up_for() {
    let (world, romeo) = with_history(25).await;
    drop(romeo);
    // Nothing was saved since the last minute's tidying.
    let again = world.restarted();
    let mut romeo = again.connect("romeo", "phone").await;
    let fields = [("with", "juliet@example.org")];
    let answer = ask(&mut romeo, &query("q", &fields, "<max>250</max>")).await;
    assert_eq!(answer.bodies.len(), 50);
    assert_eq!(answer.bodies[48..], ["j24", "r24"]);
}

#[tokio::test]
async fn a_long_log_without_an_index_gets_one_when_it_is_loaded() {
    let (world, romeo) = with_history(400).await;
    drop(romeo);
    world.pass_seconds(1).await;
    world.forget_index("romeo").await;
    let again = world.restarted();
    let mut romeo = again.connect("romeo", "phone").await;
    let answer = ask(
        &mut romeo,
        &query("q", &[("with", "nurse@example.org")], "<max>250</max>"),
    )
    .await;
    assert_eq!(answer.bodies.len(), 40);
    let answer = ask(
        &mut romeo,
        &query(
            "q",
            &[("with", "juliet@example.org")],
            "<max>250</max><before/>",
        ),
    )
    .await;
    assert_eq!(answer.bodies.len(), 250);
    assert_eq!(answer.bodies[249], "r399");
}

#[tokio::test]
async fn what_retention_drops_is_in_no_answer() {
    let mut config = config();
    config.hosts[0].keep = Keep::Days(2);
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    juliet.send(&chat("romeo@example.org", "old")).await;
    romeo.receives_until_quiet().await;
    world.pass_seconds(86_400).await;
    let mut nurse = world.online("nurse", "hall").await;
    nurse.send(&chat("romeo@example.org", "older")).await;
    romeo.receives_until_quiet().await;
    world.pass_seconds(1).await;
    world.pass_seconds(3 * 86_400).await;
    juliet.send(&chat("romeo@example.org", "new")).await;
    romeo.receives_until_quiet().await;
    world.pass_seconds(1).await;
    for fields in [&[][..], &[("with", "juliet@example.org")]] {
        let answer = ask(&mut romeo, &query("q", fields, "")).await;
        assert_eq!(answer.bodies, ["new"], "{fields:?}");
        assert!(answer.is_complete());
    }
    assert_eq!(world.keys("romeo", b"with/").await, 3, "not cleared yet");
    world.sweep().await;
    assert_eq!(world.keys("romeo", b"with/").await, 1);
    assert_eq!(
        world.keys("romeo", b"conversation/").await,
        1,
        "the Nurse's is gone"
    );
    world.sweep().await;
    let answer = ask(
        &mut romeo,
        &query("q", &[("with", "nurse@example.org")], ""),
    )
    .await;
    assert_eq!(answer.bodies.len(), 0);
}

#[tokio::test]
async fn what_goes_when_it_is_delivered_is_not_indexed() {
    let mut config = config();
    config.hosts[0].keep = Keep::Delivered;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    juliet.send(&chat("romeo@example.org", "now")).await;
    romeo.receives_until_quiet().await;
    world.pass_seconds(1).await;
    assert_eq!(world.keys("romeo", b"with/").await, 0);
    romeo.connection.close().await;
    juliet.send(&chat("romeo@example.org", "later")).await;
    world.pass_seconds(1).await;
    let mut phone = world.connect("romeo", "phone").await;
    let answer = ask(
        &mut phone,
        &query("q", &[("with", "juliet@example.org")], ""),
    )
    .await;
    assert_eq!(answer.bodies, ["later"]);
    phone.send("<presence/>").await;
    assert_eq!(
        phone.bodies().await,
        [""; 0],
        "it was delivered from the archive"
    );
    world.pass_seconds(1).await;
    assert_eq!(world.keys("romeo", b"log/").await, 0);
    let answer = ask(
        &mut phone,
        &query("q", &[("with", "juliet@example.org")], ""),
    )
    .await;
    assert_eq!(answer.bodies.len(), 0);
    world.sweep().await;
    assert_eq!(world.keys("romeo", b"with/").await, 0);
}

#[tokio::test]
async fn what_is_held_back_for_an_inactive_client_takes_no_result_away() {
    let mut config = config();
    config.queue.items = 20;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    for n in 0..30 {
        juliet
            .send(&chat("romeo@example.org", &format!("m{n}")))
            .await;
    }
    let mut romeo = world.connect("romeo", "phone").await;
    romeo.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    let typing = "<message to='romeo@example.org/phone' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>";
    for _ in 0..5 {
        juliet.send(typing).await;
    }
    romeo.send(&query("q", &[], "<max>30</max>")).await;
    let received = romeo.receives_until_quiet().await;
    let results = received
        .iter()
        .filter(|xml| xml.contains("<result "))
        .count();
    let last = received
        .iter()
        .rfind(|xml| xml.contains("<result "))
        .unwrap();
    let fin = received.last().unwrap();
    let id = between(last, "mam:2' id='", "'").unwrap();
    assert!(results >= 10, "{results}");
    assert!(fin.contains(&format!("<last>{id}</last>")), "{fin}");
}

#[tokio::test]
async fn a_device_that_catches_up_from_the_archive_gets_nothing_twice() {
    let world = World::new();
    let mut phone = world.device("romeo", "phone-1").await;
    phone.send("<presence/>").await;
    phone.receives_until_quiet().await;
    phone.connection.close().await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut desk = world.online("romeo", "desk").await;
    for n in 0..5 {
        juliet
            .send(&chat("romeo@example.org", &format!("m{n}")))
            .await;
    }
    assert_eq!(desk.bodies().await.len(), 5);
    let mut phone = world.device("romeo", "phone-1").await;
    phone.manage_stream().await;
    let answer = ask(&mut phone, &query("q", &[], "<max>3</max>")).await;
    assert_eq!(answer.bodies, ["m0", "m1", "m2"]);
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, ["m3", "m4"]);
    phone
        .send(&format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", 4 + 1 + 1 + 2))
        .await;
    phone.connection.close().await;
    let mut phone = world.device("romeo", "phone-1").await;
    phone.send("<presence/>").await;
    assert_eq!(phone.bodies().await, [""; 0]);
}

#[tokio::test]
async fn a_burst_is_indexed_before_it_is_tidied() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    for n in 0..=MAX_NOTES {
        juliet
            .send(&chat("romeo@example.org", &format!("m{n}")))
            .await;
    }
    assert_eq!(world.keys("juliet", b"with/").await, 1);
    assert_eq!(world.keys("romeo", b"with/").await, 1);
}

#[tokio::test]
async fn a_search_for_a_resource_says_how_far_it_came() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet
        .send(&chat("romeo@example.org", "from the balcony"))
        .await;
    juliet.connection.close().await;
    let mut juliet = world.online("juliet", "tomb").await;
    for _ in 0..2100 {
        juliet.send(&chat("romeo@example.org", "x")).await;
    }
    let mut romeo = world.connect("romeo", "orchard").await;
    let fields = [("with", "juliet@example.org/balcony")];
    let answer = ask(&mut romeo, &query("q", &fields, "<max>5</max><before/>")).await;
    assert_eq!((answer.bodies.len(), answer.is_complete()), (0, false));
    let next = format!("<max>5</max><before>{}</before>", answer.end("first"));
    let answer = ask(&mut romeo, &query("q", &fields, &next)).await;
    assert_eq!(answer.bodies, ["from the balcony"]);
    assert!(answer.is_complete());
}
