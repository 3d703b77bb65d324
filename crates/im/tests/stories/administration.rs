//! Administrators run the server by forms in their client (XEP-0050, XEP-0133).

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Client, World, config};
use posthaste_im::config::{Config, HostConfig};
use posthaste_im::ext::commands::sessions::LIFETIME_MILLIS;
use posthaste_im::media::{self, FileId, Purpose, Slot};
use posthaste_im::orders::Order;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::sasl::{Hash, Secret};
use posthaste_proto::xml::Element;

fn jid(text: &str) -> BareJid {
    BareJid::parse(text).unwrap()
}

/// Juliet administers the server, the Nurse only `example.org`; `verona.example` is served too.
fn world() -> World {
    let config = config();
    let mut hosts = config.hosts.clone();
    hosts[0].admins = vec![jid("nurse@example.org")];
    hosts.push(HostConfig {
        domain: jid("verona.example"),
        services: Vec::new(),
        admins: Vec::new(),
        ..hosts[0].clone()
    });
    let config = Config {
        hosts,
        admins: vec![jid("juliet@example.org"), jid("juliet@elsewhere.example")],
        ..config
    };
    World::with(config, Arc::new(MemoryKv::new()))
}

const ADMIN: &str = "http://jabber.org/protocol/admin#";

fn command_at(host: &str, node: &str, more: &str, fields: &[(&str, &[&str])]) -> String {
    let value = |value: &&str| format!("<value>{value}</value>");
    let field = |(var, values): &(&str, &[&str])| {
        let values: String = values.iter().map(value).collect();
        format!("<field var='{var}'>{values}</field>")
    };
    let form = match fields {
        [] => String::new(),
        fields => {
            let fields: String = fields.iter().map(field).collect();
            format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")
        }
    };
    format!(
        "<iq type='set' id='c' to='{host}'><command xmlns='http://jabber.org/protocol/commands' node='{node}' {more}>{form}</command></iq>"
    )
}

/// One request; answers the `<command/>` or the error's text.
async fn tell(
    client: &mut Client,
    node: &str,
    more: &str,
    fields: &[(&str, &[&str])],
) -> Result<Element, String> {
    let node = match node.starts_with("urn:") {
        true => node.to_owned(),
        false => format!("{ADMIN}{node}"),
    };
    let reply = client
        .asks(&command_at("example.org", &node, more, fields))
        .await;
    let iq = Element::parse(reply.as_bytes(), ns::CLIENT).unwrap();
    match iq.attr("type") {
        Some("result") => Ok(iq.child("command", ns::COMMANDS).unwrap().clone()),
        _ => Err(reply),
    }
}

fn attr(command: &Element, name: &str) -> String {
    command.attr(name).unwrap().to_owned()
}

/// Runs a command from its form to its end.
async fn run(
    client: &mut Client,
    node: &str,
    fields: &[(&str, &[&str])],
) -> Result<Element, String> {
    let form = tell(client, node, "", &[]).await?;
    assert_eq!(attr(&form, "status"), "executing");
    let session = format!("sessionid='{}'", attr(&form, "sessionid"));
    let done = tell(client, node, &session, fields).await?;
    assert_eq!(attr(&done, "sessionid"), attr(&form, "sessionid"));
    Ok(done)
}

/// The values of a field in the answer's form.
fn values(command: &Element, var: &str) -> Vec<String> {
    let form = command.child("x", ns::DATA_FORMS).unwrap();
    let field = form
        .children()
        .find(|field| field.attr("var") == Some(var))
        .unwrap();
    field.children().map(Element::text).collect()
}

#[tokio::test]
async fn only_administrators_find_and_run_commands() {
    let world = world();
    let items = "<iq type='get' id='q' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>";
    let info = |node: &str| {
        format!(
            "<iq type='get' id='q' to='example.org'><query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/></iq>"
        )
    };
    let add = format!("{ADMIN}add-user");
    let shutdown = format!("{ADMIN}shutdown");
    let mut romeo = world.connect("romeo", "orchard").await;
    let execute = command_at("example.org", &add, "", &[]);
    for asked in [items, &info(&add), &execute] {
        assert!(romeo.asks(asked).await.contains("<forbidden"), "{asked}");
    }

    let mut nurse = world.connect("nurse", "kitchen").await;
    let listed = nurse.asks(items).await;
    assert!(
        listed.contains(&add) && !listed.contains(&shutdown),
        "{listed}"
    );
    let about = nurse.asks(&info(&add)).await;
    assert!(
        about.contains("category='automation' type='command-node' name='Add User'"),
        "{about}"
    );
    assert!(about.contains("<feature var='jabber:x:data'/>"), "{about}");
    assert!(nurse.asks(&info(&shutdown)).await.contains("<forbidden"));
    assert!(
        tell(&mut nurse, "shutdown", "", &[])
            .await
            .unwrap_err()
            .contains("<forbidden")
    );
    let elsewhere = command_at("verona.example", &add, "", &[]);
    assert!(
        nurse.asks(&elsewhere).await.contains("<forbidden"),
        "she is not Verona's"
    );

    let mut juliet = world.connect("juliet", "balcony").await;
    assert!(juliet.asks(items).await.contains(&shutdown));
    assert!(juliet.asks(&elsewhere).await.contains("executing"));
    let list = juliet.asks(&info(ns::COMMANDS)).await;
    assert!(list.contains("type='command-list'"), "{list}");
    let unknown = command_at("example.org", "explode", "", &[]);
    assert!(juliet.asks(&unknown).await.contains("<item-not-found"));
}

#[tokio::test]
async fn an_account_is_made_given_a_password_and_deleted() {
    let world = world();
    let mut nurse = world.connect("nurse", "kitchen").await;
    let tybalt = ("accountjid", &["tybalt@example.org"][..]);
    let made = run(
        &mut nurse,
        "add-user",
        &[
            tybalt,
            ("password", &["sword"]),
            ("password-verify", &["sword"]),
        ],
    )
    .await;
    assert_eq!(attr(&made.unwrap(), "status"), "completed");
    let accounts = world.node.accounts();
    let opens = async |password: &str| {
        accounts
            .verify_password(&jid("tybalt@example.org"), Secret::from(password))
            .await
            .unwrap()
    };
    assert!(opens("sword").await);

    let again = run(
        &mut nurse,
        "add-user",
        &[tybalt, ("password", &["x1"]), ("password-verify", &["x1"])],
    )
    .await;
    assert!(again.unwrap_err().contains("<conflict"));
    let differ = run(
        &mut nurse,
        "add-user",
        &[tybalt, ("password", &["x1"]), ("password-verify", &["x2"])],
    )
    .await;
    assert!(differ.unwrap_err().contains("<bad-payload"));

    run(
        &mut nurse,
        "change-user-password",
        &[tybalt, ("password", &["dagger"])],
    )
    .await
    .unwrap();
    assert!(opens("dagger").await && !opens("sword").await);

    let several = ("accountjids", &["tybalt@example.org"][..]);
    run(&mut nurse, "delete-user", &[several]).await.unwrap();
    assert!(!accounts.exists(&jid("tybalt@example.org")).await.unwrap());
    assert!(
        run(&mut nurse, "delete-user", &[several])
            .await
            .unwrap_err()
            .contains("<item-not-found")
    );
    let other_host = ("accountjids", &["somebody@verona.example"][..]);
    assert!(
        run(&mut nurse, "delete-user", &[other_host])
            .await
            .unwrap_err()
            .contains("<forbidden")
    );
}

#[tokio::test]
async fn a_disabled_account_keeps_everything_and_lets_nobody_in() {
    let world = world();
    let tybalt = jid("tybalt@example.org");
    world
        .node
        .create_account(&tybalt, &Secret::from("sword"))
        .await
        .unwrap();
    let mut nurse = world.connect("nurse", "kitchen").await;
    let mut his = world.online("tybalt", "street").await;
    let accounts = world.node.accounts();
    let keys = accounts.keys(&tybalt, Hash::Sha256).await.unwrap();
    let him = [("accountjids", &["tybalt@example.org"][..])];
    run(&mut nurse, "disable-user", &him).await.unwrap();

    let (_, error) = his.receives_within(usize::MAX).await;
    assert_eq!(error.unwrap().condition.as_str(), "not-authorized");
    assert!(
        !accounts
            .verify_password(&tybalt, Secret::from("sword"))
            .await
            .unwrap()
    );
    assert_ne!(
        accounts.keys(&tybalt, Hash::Sha256).await.unwrap(),
        keys,
        "made up, as for nobody"
    );
    assert!(!accounts.may_log_in(&tybalt).await.unwrap());
    let wish = posthaste_im::binding::ResourceWish::Any;
    assert!(world.node.bind(&tybalt, &wish).await.is_err());
    let counted = run_at_once(&mut nurse, "get-disabled-users-num").await;
    assert_eq!(values(&counted, "disabledusersnum"), ["1"]);
    let listed = run(
        &mut nurse,
        "get-disabled-users-list",
        &[("max_items", &["25"])],
    )
    .await
    .unwrap();
    assert_eq!(values(&listed, "disableduserjids"), ["tybalt@example.org"]);

    nurse
        .send(&crate::harness::chat("tybalt@example.org", "wait"))
        .await;
    run(&mut nurse, "reenable-user", &him).await.unwrap();
    assert!(
        accounts
            .verify_password(&tybalt, Secret::from("sword"))
            .await
            .unwrap()
    );
    let mut his = world.connect("tybalt", "street").await;
    his.send("<presence/>").await;
    assert_eq!(his.bodies().await, ["wait"]);

    run(&mut nurse, "disable-user", &him).await.unwrap();
    run(&mut nurse, "delete-user", &him).await.unwrap();
    let counted = run_at_once(&mut nurse, "get-disabled-users-num").await;
    assert_eq!(
        values(&counted, "disabledusersnum"),
        ["0"],
        "a new account of that name is open"
    );
}

async fn run_at_once(client: &mut Client, node: &str) -> Element {
    let done = tell(client, node, "action='execute'", &[]).await.unwrap();
    assert_eq!(attr(&done, "status"), "completed");
    done
}

#[tokio::test]
async fn one_session_or_all_of_them_are_ended() {
    let world = world();
    let mut nurse = world.connect("nurse", "kitchen").await;
    let mut orchard = world.online("romeo", "orchard").await;
    let mut garden = world.online("romeo", "garden").await;
    orchard.manage_stream().await;
    let one = [("accountjids", &["romeo@example.org/garden"][..])];
    run(&mut nurse, "end-user-session", &one).await.unwrap();
    let (_, error) = garden.receives_within(usize::MAX).await;
    assert_eq!(error.unwrap().condition.as_str(), "policy-violation");
    assert_eq!(orchard.receives_within(usize::MAX).await.1, None);
    let all = [("accountjids", &["romeo@example.org"][..])];
    let done = run(&mut nurse, "end-user-session", &all).await.unwrap();
    assert!(orchard.receives_within(usize::MAX).await.1.is_some());
    assert_eq!(
        done.child("note", ns::COMMANDS).unwrap().text(),
        "Sessions ended: 1."
    );
}

#[tokio::test]
async fn an_administrator_learns_about_one_user() {
    let world = world();
    world.befriend("romeo", "juliet").await;
    let mut nurse = world.connect("nurse", "kitchen").await;
    let romeo = world.online("romeo", "orchard").await;
    let roster = run(
        &mut nurse,
        "get-user-roster",
        &[("accountjids", &["romeo@example.org"])],
    )
    .await
    .unwrap();
    let form = roster.child("x", ns::DATA_FORMS).unwrap();
    let item = form
        .child("query", ns::ROSTER)
        .unwrap()
        .child("item", ns::ROSTER)
        .unwrap();
    assert_eq!(
        (item.attr("jid"), item.attr("subscription")),
        (Some("juliet@example.org"), Some("both"))
    );

    let stats = run(
        &mut nurse,
        "user-stats",
        &[("accountjid", &["romeo@example.org"])],
    )
    .await
    .unwrap();
    assert_eq!(values(&stats, "rostersize"), ["1"]);
    assert_eq!(values(&stats, "onlineresources"), ["orchard"]);

    romeo.connection.close().await;
    world.pass_seconds(60).await;
    let seen = run(
        &mut nurse,
        "get-user-lastlogin",
        &[("accountjids", &["romeo@example.org"])],
    )
    .await
    .unwrap();
    assert_eq!(values(&seen, "lastlogin"), ["2026-11-22T09:08:07.000Z"]);
}

#[tokio::test]
async fn users_are_counted_and_listed_page_by_page() {
    let world = world();
    for name in ["a", "b", "c", "d", "e"] {
        let account = jid(&format!("{name}@example.org"));
        world
            .node
            .create_account(&account, &Secret::from("password"))
            .await
            .unwrap();
    }
    let mut nurse = world.connect("nurse", "kitchen").await;
    let mut idle = world.online("romeo", "orchard").await;
    idle.send("<inactive xmlns='urn:xmpp:csi:0'/>").await;
    for (node, var, count) in [
        ("get-registered-users-num", "registeredusersnum", "5"),
        ("get-online-users-num", "onlineusersnum", "2"),
        ("get-active-users-num", "activeusersnum", "1"),
        ("get-idle-users-num", "idleusersnum", "1"),
    ] {
        assert_eq!(
            values(&run_at_once(&mut nurse, node).await, var),
            [count],
            "{node}"
        );
    }
    for (node, var, jids) in [
        (
            "get-online-users-list",
            "onlineuserjids",
            &["nurse@example.org", "romeo@example.org"][..],
        ),
        ("get-active-users", "activeuserjids", &["nurse@example.org"]),
        ("get-idle-users", "activeuserjids", &["romeo@example.org"]),
    ] {
        let listed = run(&mut nurse, node, &[("max_items", &["none"])])
            .await
            .unwrap();
        assert_eq!(values(&listed, var), jids, "{node}");
        assert_eq!(attr(&listed, "status"), "completed");
    }

    let node = "get-registered-users-list";
    let page = run(&mut nurse, node, &[("max_items", &["2"])])
        .await
        .unwrap();
    let session = format!("sessionid='{}'", attr(&page, "sessionid"));
    let action = |action: &str| format!("{session} action='{action}'");
    let jids = |page: &Element| {
        values(page, "registereduserjids")
            .join(" ")
            .replace("@example.org", "")
    };
    assert_eq!(
        (jids(&page).as_str(), attr(&page, "status").as_str()),
        ("a b", "executing")
    );
    let page = tell(&mut nurse, node, &action("next"), &[]).await.unwrap();
    assert_eq!(jids(&page), "c d");
    let page = tell(&mut nurse, node, &action("prev"), &[]).await.unwrap();
    assert_eq!(jids(&page), "a b");
    let form = tell(&mut nurse, node, &action("prev"), &[]).await.unwrap();
    assert!(form.child("x", ns::DATA_FORMS).unwrap().attr("type") == Some("form"));
    let page = tell(&mut nurse, node, &action("next"), &[("max_items", &["4"])])
        .await
        .unwrap();
    assert_eq!(jids(&page), "a b c d");
    let page = tell(&mut nurse, node, &session, &[]).await.unwrap();
    assert_eq!(
        (jids(&page).as_str(), attr(&page, "status").as_str()),
        ("e", "completed")
    );
    let first = run(&mut nurse, node, &[("max_items", &["9999"])]).await;
    assert!(first.unwrap_err().contains("<bad-payload"));
}

#[tokio::test]
async fn what_a_client_gets_wrong_has_a_name() {
    let world = world();
    let mut nurse = world.connect("nurse", "kitchen").await;
    let node = "end-user-session";
    let begin = async |nurse: &mut Client| {
        let form = tell(nurse, node, "", &[]).await.unwrap();
        format!("sessionid='{}'", attr(&form, "sessionid"))
    };
    let wrong =
        async |nurse: &mut Client, more: &str, fields: &[(&str, &[&str])], condition: &str| {
            let error = tell(nurse, node, more, fields).await.unwrap_err();
            assert!(error.contains(&format!("<{condition} ")), "{error}");
        };
    wrong(&mut nurse, "action='explode'", &[], "malformed-action").await;
    wrong(&mut nurse, "action='prev'", &[], "bad-action").await;
    wrong(&mut nurse, "sessionid='never'", &[], "bad-sessionid").await;
    let session = begin(&mut nurse).await;
    for action in ["prev", "next"] {
        wrong(
            &mut nurse,
            &format!("{session} action='{action}'"),
            &[],
            "bad-action",
        )
        .await;
    }
    wrong(&mut nurse, &session, &[], "bad-payload").await;
    wrong(
        &mut nurse,
        &session,
        &[("accountjids", &[""])],
        "bad-payload",
    )
    .await;
    wrong(
        &mut nurse,
        &session,
        &[("accountjids", &["@@"])],
        "bad-payload",
    )
    .await;
    // The form can still be put right, by whoever opened it.
    let mut juliet = world.connect("juliet", "balcony").await;
    wrong(
        &mut juliet,
        &session,
        &[("accountjids", &["romeo@example.org"])],
        "bad-sessionid",
    )
    .await;
    tell(
        &mut nurse,
        node,
        &session,
        &[("accountjids", &["romeo@example.org"])],
    )
    .await
    .unwrap();
    wrong(&mut nurse, &session, &[], "session-expired").await;

    let session = begin(&mut nurse).await;
    let canceled = tell(&mut nurse, node, &format!("{session} action='cancel'"), &[])
        .await
        .unwrap();
    assert_eq!(attr(&canceled, "status"), "canceled");
    wrong(&mut nurse, &session, &[], "session-expired").await;

    let session = begin(&mut nurse).await;
    world.pass_seconds(LIFETIME_MILLIS / 1_000 + 1).await;
    wrong(&mut nurse, &session, &[], "session-expired").await;
}

#[tokio::test]
async fn an_announcement_is_made_in_all_rooms_of_the_host_by_the_rooms_themselves() {
    let world = world();
    let mut nurse = world.connect("nurse", "kitchen").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let enter = |room: &str, nick: &str| {
        format!(
            "<presence to='{room}@conference.example.org/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    for room in ["coven", "heath"] {
        juliet.send(&enter(room, "firstwitch")).await;
        juliet
            .opens_room(&format!("{room}@conference.example.org"))
            .await;
    }
    romeo.send(&enter("heath", "thirdwitch")).await;
    juliet.receives_until_quiet().await;
    romeo.receives_until_quiet().await;
    let words = [("announcement", &["Going down", "for maintenance."][..])];
    let node = "urn:posthaste:admin:0#announce-in-rooms";
    let done = run(&mut nurse, node, &words).await.unwrap();
    let note = done.child("note", ns::COMMANDS).unwrap().text();
    assert_eq!(note, "Announced in 2 rooms.");
    let heath = [
        "from='heath@conference.example.org'",
        "type='groupchat'",
        "<body>Going down\nfor maintenance.</body>",
    ];
    romeo.receives(&[&heath]).await;
    let coven = ["from='coven@conference.example.org'", heath[1], heath[2]];
    let mut received = juliet.receives_until_quiet().await;
    received.sort();
    assert_eq!(received.len(), 2, "{received:#?}");
    for (xml, parts) in received.iter().zip([coven, heath]) {
        assert!(parts.iter().all(|part| xml.contains(part)), "{xml}");
    }
    // It is in no history: whoever comes later does not hear of it.
    let mut tybalt = world.online("nurse", "hall").await;
    tybalt.send(&enter("heath", "hag")).await;
    let received = tybalt.receives_until_quiet().await.concat();
    assert!(received.contains("code='110'") && !received.contains("Going down"));
}

#[tokio::test]
async fn an_administrator_learns_how_much_somebody_has_uploaded() {
    let world = world();
    let slot = Slot {
        account: jid("romeo@example.org"),
        id: FileId::random(&world.node),
        name: "balcony.jpg".to_owned(),
        size: 23_456,
        content_type: "image/jpeg".to_owned(),
        purpose: Purpose::Message,
        expires: world.node.now().plus_millis(60_000),
    };
    media::claim(&world.node, &slot).await.unwrap();
    let mut nurse = world.connect("nurse", "kitchen").await;
    let node = "urn:posthaste:admin:0#media-usage";
    let of_romeo = [("accountjid", &["romeo@example.org"][..])];
    let usage = run(&mut nurse, node, &of_romeo).await.unwrap();
    for (var, value) in [
        ("FORM_TYPE", "urn:posthaste:admin:0"),
        ("files", "1"),
        ("files_most", "100000"),
        ("uploading", "1"),
        ("bytes", "23456"),
        ("today", "23456"),
    ] {
        assert_eq!(values(&usage, var), [value], "{var}");
    }
    let of_nobody = [("accountjid", &["nobody@example.org"][..])];
    let nobody = run(&mut nurse, node, &of_nobody).await.unwrap_err();
    assert!(nobody.contains("<item-not-found"), "{nobody}");
    let of_another = [("accountjid", &["juliet@verona.example"][..])];
    let another = run(&mut nurse, node, &of_another).await.unwrap_err();
    assert!(another.contains("<forbidden"), "{another}");
}

#[tokio::test]
async fn nobody_else_says_something_in_a_rooms_own_name() {
    let world = world();
    let mut juliet = world.online("juliet", "balcony").await;
    let room = "coven@conference.example.org";
    juliet
        .send(&format!(
            "<presence to='{room}/firstwitch'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    juliet.opens_room(room).await;
    juliet.receives_until_quiet().await;
    let mut romeo = world.online("romeo", "orchard").await;
    let headline =
        format!("<message to='{room}' type='headline'><body>Going down.</body></message>");
    for sender in [&mut romeo, &mut juliet] {
        sender.send(&headline).await;
        let received = sender.receives_until_quiet().await;
        assert_eq!(received.len(), 1, "{received:#?}");
        assert!(received[0].contains("type='error'"), "{received:#?}");
    }
}

#[tokio::test]
async fn an_announcement_reaches_whoever_is_there_and_nobody_later() {
    let world = world();
    let mut nurse = world.connect("nurse", "kitchen").await;
    let mut orchard = world.online("romeo", "orchard").await;
    let mut garden = world.online("romeo", "garden").await;
    orchard.receives_until_quiet().await;
    let words = [("announcement", &["Going down", "for maintenance."][..])];
    let done = run(&mut nurse, "announce", &words).await.unwrap();
    assert_eq!(
        done.child("note", ns::COMMANDS).unwrap().text(),
        "Announced to 2 users."
    );
    for client in [&mut orchard, &mut garden] {
        client
            .receives(&[&[
                "from='example.org'",
                "type='headline'",
                "<body>Going down\nfor maintenance.</body>",
            ]])
            .await;
    }
    let mut juliet = world.connect("juliet", "balcony").await;
    juliet.send("<presence/>").await;
    assert!(juliet.bodies().await.is_empty());
}

#[tokio::test]
async fn the_server_is_told_to_end_when_the_delay_is_over() {
    let world = world();
    let mut juliet = world.online("juliet", "balcony").await;
    let fields = [("delay", &["120"][..]), ("announcement", &["Good night."])];
    run(&mut juliet, "shutdown", &fields).await.unwrap();
    world.pass_seconds(119).await;
    let early = tokio::time::timeout(Duration::from_millis(20), world.node.ordered()).await;
    assert!(early.is_err());
    world.pass_seconds(1).await;
    assert_eq!(world.node.ordered().await, Order::ShutDown);
    let wrong = run(&mut juliet, "restart", &[("delay", &["soon"])]).await;
    assert!(wrong.unwrap_err().contains("<bad-payload"));
}
