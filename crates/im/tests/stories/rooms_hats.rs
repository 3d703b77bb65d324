//! Who is what in a room beyond role and affiliation is seen by everybody, and decided by its admins (XEP-0317).

use crate::harness::{Client, World};
use crate::rooms::{COVEN, inside, join};

const HOST: (&str, &str) = ("hats#uri", "urn:example:hats#host");
const ROMEO: (&str, &str) = ("hats#jid", "romeo@example.org");
const SHOWN: &str = "<hats xmlns='urn:xmpp:hats:0'><hat title='Host' uri='urn:example:hats#host' hue='327.255249'/></hats>";
const CHANGED: &str = "<status code='104'/>";

fn run(command: &str, attributes: &str, fields: &[(&str, &str)]) -> String {
    let field =
        |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    let form = match fields.as_str() {
        "" => String::new(),
        fields => format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:hats:commands</value></field>{fields}</x>"
        ),
    };
    format!(
        "<iq type='set' id='c' to='{COVEN}'><command xmlns='http://jabber.org/protocol/commands' \
         node='urn:xmpp:hats:commands:{command}' {attributes}>{form}</command></iq>"
    )
}

fn attribute<'x>(xml: &'x str, name: &str) -> &'x str {
    let (_, rest) = xml.split_once(&format!("{name}='")).unwrap();
    rest.split_once('\'').unwrap().0
}

async fn done(client: &mut Client, command: &str, fields: &[(&str, &str)]) {
    let reply = client.asks(&run(command, "", fields)).await;
    assert!(reply.contains("status='completed'"), "{reply}");
}

async fn refused(client: &mut Client, command: &str, fields: &[(&str, &str)], why: &str) {
    let reply = client.asks(&run(command, "", fields)).await;
    assert!(
        reply.contains("type='error'") && reply.contains(why),
        "{why}: {reply}"
    );
}

/// Makes the hat of a host.
async fn make_host(admin: &mut Client) {
    let fields = [("hats#title", "Host"), HOST, ("hats#hue", "327.255249")];
    done(admin, "create", &fields).await;
}

#[tokio::test]
async fn a_hat_is_made_and_given_by_forms() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let form = juliet.asks(&run("create", "action='execute'", &[])).await;
    for part in [
        "status='executing'",
        "<value>urn:xmpp:hats:commands</value>",
        "var='hats#title' type='text-single'",
        "var='hats#uri' type='text-single'",
        "var='hats#hue' type='text-single'",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
    let session = format!("sessionid='{}'", attribute(&form, "sessionid"));
    let fields = [("hats#title", "Host"), HOST, ("hats#hue", "327.255249")];
    juliet.send(&run("create", &session, &fields)).await;
    juliet
        .receives(&[
            &["type='result'", &session, "status='completed'"],
            &[CHANGED],
        ])
        .await;
    romeo
        .receives(&[&[
            "type='groupchat'",
            "from='coven@conference.example.org'",
            CHANGED,
        ]])
        .await;

    let form = juliet.asks(&run("assign", "", &[])).await;
    for part in [
        "var='hats#jid' type='jid-single'",
        "<option label='Host'><value>urn:example:hats#host</value></option>",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
    let session = format!(
        "sessionid='{}' action='complete'",
        attribute(&form, "sessionid")
    );
    juliet.send(&run("assign", &session, &[ROMEO, HOST])).await;
    let worn = ["from='coven@conference.example.org/thirdwitch'", SHOWN];
    juliet
        .receives(&[&["type='result'", "status='completed'"], &worn])
        .await;
    romeo.receives(&[&[worn[0], SHOWN, "code='110'"]]).await;
    // A form can be put aside, but not gone back from.
    let form = juliet.asks(&run("assign", "", &[])).await;
    let session = format!("sessionid='{}'", attribute(&form, "sessionid"));
    let cancel = run("assign", &format!("{session} action='cancel'"), &[]);
    assert!(juliet.asks(&cancel).await.contains("status='canceled'"));
    let back = run("assign", &format!("{session} action='prev'"), &[]);
    assert!(juliet.asks(&back).await.contains("<bad-action "));
    let empty = run("assign", &session, &[]);
    assert!(juliet.asks(&empty).await.contains("<bad-payload "));
}

#[tokio::test]
async fn a_hat_is_seen_by_who_enters_later_and_outlasts_what_its_wearer_does() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    make_host(&mut juliet).await;
    // He is not there yet.
    done(&mut juliet, "assign", &[ROMEO, HOST]).await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.receives(&[&["/thirdwitch'", SHOWN]]).await;
    let mut nurse = world.online("nurse", "hall").await;
    nurse.send(&join("hecate")).await;
    let received = nurse.receives_until_quiet().await;
    let wears = |xml: &&String| xml.contains("<hats ");
    let seen: Vec<&String> = received.iter().filter(wears).collect();
    assert!(
        seen.len() == 1 && seen[0].contains("/thirdwitch'") && seen[0].contains(SHOWN),
        "{received:#?}"
    );
    for client in [&mut juliet, &mut romeo] {
        client.receives_until_quiet().await;
    }
    // What he says of himself adds no hat and takes none away.
    romeo
        .send(&format!(
            "<presence to='{COVEN}/thirdwitch'><show>away</show>\
             <hats xmlns='urn:xmpp:hats:0'><hat title='King' uri='urn:example:king'/></hats></presence>"
        ))
        .await;
    let received = juliet.receives_until_quiet().await;
    assert!(received[0].contains(SHOWN) && received[0].contains("<show>away</show>"));
    assert!(!received[0].contains("King"), "{received:#?}");
    romeo.send(&format!("<presence to='{COVEN}/hag'/>")).await;
    let received = juliet.receives_until_quiet().await;
    assert!(received[1].contains("/hag'") && received[1].contains(SHOWN));

    // And a crash.
    let world = world.restarted();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    inside(&world, "romeo", "thirdwitch").await;
    juliet.receives(&[&["/thirdwitch'", SHOWN]]).await;
    done(&mut juliet, "destroy", &[HOST]).await;
    let world = world.restarted();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let list = juliet.asks(&run("list", "", &[])).await;
    assert!(!list.contains("<item>"), "{list}");
    make_host(&mut juliet).await;
    let worn = juliet.asks(&run("list-assigned", "", &[])).await;
    assert!(!worn.contains("<item>"), "{worn}");
}

#[tokio::test]
async fn a_hat_that_is_taken_changed_or_destroyed_is_seen_to_be() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    make_host(&mut juliet).await;
    done(&mut juliet, "assign", &[ROMEO, HOST]).await;
    // Once more is no news.
    romeo.receives_until_quiet().await;
    done(&mut juliet, "assign", &[ROMEO, HOST]).await;
    make_host(&mut juliet).await;
    romeo.receives_nothing().await;
    done(&mut juliet, "unassign", &[ROMEO, HOST]).await;
    let received = romeo.receives_until_quiet().await;
    assert!(received[0].contains("/thirdwitch'") && !received[0].contains("<hats "));
    refused(&mut juliet, "unassign", &[ROMEO, HOST], "<item-not-found ").await;

    done(&mut juliet, "assign", &[ROMEO, HOST]).await;
    romeo.receives_until_quiet().await;
    done(&mut juliet, "create", &[("hats#title", "Guest"), HOST]).await;
    let renamed = "<hat title='Guest' uri='urn:example:hats#host'/>";
    romeo
        .receives(&[&[CHANGED], &["/thirdwitch'", renamed]])
        .await;
    done(&mut juliet, "destroy", &[HOST]).await;
    let received = romeo.receives_until_quiet().await;
    assert_eq!(received.len(), 2, "{received:#?}");
    assert!(received[1].contains("/thirdwitch'") && !received[1].contains("<hats "));
    refused(&mut juliet, "destroy", &[HOST], "<item-not-found ").await;
    refused(&mut juliet, "assign", &[ROMEO, HOST], "<item-not-found ").await;
    // Whoever enters now sees nothing of it.
    let mut nurse = world.online("nurse", "hall").await;
    nurse.send(&join("hecate")).await;
    let received = nurse.receives_until_quiet().await;
    assert!(received.iter().all(|xml| !xml.contains("<hats ")));
}

#[tokio::test]
async fn the_hats_of_a_room_are_listed_and_announced() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let query = |kind: &str, node: &str| {
        format!(
            "<iq type='get' id='d' to='{COVEN}'><query xmlns='http://jabber.org/protocol/disco#{kind}' {node}/></iq>"
        )
    };
    let info = juliet.asks(&query("info", "")).await;
    for feature in ["urn:xmpp:hats:0", "http://jabber.org/protocol/commands"] {
        assert!(info.contains(&format!("<feature var='{feature}'/>")));
    }
    assert!(!info.contains("hats#hash"), "{info}");
    make_host(&mut juliet).await;
    done(&mut juliet, "assign", &[ROMEO, HOST]).await;
    let with_one = juliet.asks(&query("info", "")).await;
    assert!(with_one.contains("var='hats#hash'"), "{with_one}");
    done(&mut juliet, "create", &[("hats#title", "Guest"), HOST]).await;
    assert_ne!(juliet.asks(&query("info", "")).await, with_one);

    let list = juliet.asks(&run("list", "", &[])).await;
    let item = "<item><field var='hats#title'><value>Guest</value></field>\
                <field var='hats#uri'><value>urn:example:hats#host</value></field></item>";
    assert!(list.contains("<reported>") && list.contains(item), "{list}");
    let worn = juliet.asks(&run("list-assigned", "", &[])).await;
    let item = "<item><field var='hats#jid'><value>romeo@example.org</value></field>";
    assert!(worn.contains(item) && worn.contains("Guest"), "{worn}");

    let node = "node='http://jabber.org/protocol/commands'";
    let items = juliet.asks(&query("items", node)).await;
    assert_eq!(items.matches("<item ").count(), 6, "{items}");
    let node = "node='urn:xmpp:hats:commands:assign'";
    let info = juliet.asks(&query("info", node)).await;
    assert!(info.contains("type='command-node'"), "{info}");
}

#[tokio::test]
async fn only_admins_and_owners_decide_about_hats() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    make_host(&mut juliet).await;
    let mut nurse = world.online("nurse", "hall").await;
    // To moderate is not enough.
    juliet
        .asks(&format!(
            "<iq type='set' id='a' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
             <item nick='thirdwitch' role='moderator'/></query></iq>"
        ))
        .await;
    let commands = [
        ("create", &[("hats#title", "King"), HOST][..]),
        ("destroy", &[HOST]),
        ("assign", &[ROMEO, HOST]),
        ("unassign", &[ROMEO, HOST]),
        ("assign", &[]),
        ("list", &[]),
        ("list-assigned", &[]),
    ];
    for client in [&mut romeo, &mut nurse] {
        for (command, fields) in commands {
            refused(client, command, fields, "<forbidden ").await;
        }
    }
    let items = format!(
        "<iq type='get' id='d' to='{COVEN}'><query xmlns='http://jabber.org/protocol/disco#items' \
         node='http://jabber.org/protocol/commands'/></iq>"
    );
    assert!(romeo.asks(&items).await.contains("<forbidden "));
    juliet
        .asks(&format!(
            "<iq type='set' id='a' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
             <item jid='romeo@example.org' affiliation='admin'/></query></iq>"
        ))
        .await;
    romeo.receives_until_quiet().await;
    done(&mut romeo, "assign", &[ROMEO, HOST]).await;
    let reply = juliet.asks(&run("steal", "", &[])).await;
    assert!(reply.contains("<item-not-found "), "{reply}");
}

#[tokio::test]
async fn hats_are_bounded_and_none_is_given_to_nobody() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    make_host(&mut juliet).await;
    let long = format!("urn:{}", "x".repeat(256));
    for fields in [
        [
            ("hats#uri", "host"),
            ("hats#title", "Host"),
            ("hats#hue", ""),
        ],
        [
            ("hats#uri", &long),
            ("hats#title", "Host"),
            ("hats#hue", ""),
        ],
        [HOST, ("hats#title", &long), ("hats#hue", "")],
        [HOST, ("hats#title", "Host"), ("hats#hue", "red")],
    ] {
        refused(&mut juliet, "create", &fields, "<bad-payload ").await;
    }
    for whom in [
        "@",
        COVEN,
        "example.org",
        "",
        &format!("{COVEN}/firstwitch"),
    ] {
        let fields = [("hats#jid", whom), HOST];
        refused(&mut juliet, "assign", &fields, "<bad-payload ").await;
    }
    let numbered = |number: usize| format!("urn:example:{number}");
    for number in 1..32 {
        let fields = [("hats#uri", &*numbered(number)), ("hats#title", "Any")];
        done(&mut juliet, "create", &fields).await;
    }
    let one_more = [("hats#uri", "urn:example:32"), ("hats#title", "Any")];
    let full = "<resource-constraint ";
    refused(&mut juliet, "create", &one_more, full).await;
    // What is there can still be changed.
    done(&mut juliet, "create", &[HOST, ("hats#title", "Guest")]).await;
    for number in 1..=8 {
        let fields = [ROMEO, ("hats#uri", &*numbered(number))];
        done(&mut juliet, "assign", &fields).await;
    }
    refused(&mut juliet, "assign", &[ROMEO, HOST], full).await;
    for user in 0..492 {
        let user = format!("user{user}@example.org");
        done(&mut juliet, "assign", &[("hats#jid", &user), HOST]).await;
    }
    let nurse = ("hats#jid", "nurse@example.org");
    refused(&mut juliet, "assign", &[nurse, HOST], full).await;
    done(
        &mut juliet,
        "unassign",
        &[ROMEO, ("hats#uri", &numbered(1))],
    )
    .await;
    done(&mut juliet, "assign", &[nurse, HOST]).await;
    let worn = juliet.asks(&run("list-assigned", "", &[])).await;
    assert_eq!(worn.matches("<item>").count(), 500);
}
