//! Public rooms are found by whoever searches for them (XEP-0433).

use crate::harness::{Client, World};

const SERVICE: &str = "conference.example.org";
const BY_ADDRESS: (&str, &str) = ("key", "{urn:xmpp:channel-search:0:order}address");

fn request(inside: &str) -> String {
    format!(
        "<iq type='get' id='s' to='{SERVICE}'><search xmlns='urn:xmpp:channel-search:0:search'>{inside}</search></iq>"
    )
}

fn form(form_type: &str, kind: &str, fields: &[(&str, &str)]) -> String {
    let field =
        |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<x xmlns='jabber:x:data' type='{kind}'><field var='FORM_TYPE'><value>urn:xmpp:channel-search:0:{form_type}</value></field>{fields}</x>"
    )
}

fn set(inside: &str) -> String {
    format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>")
}

async fn search(client: &mut Client, set: &str, fields: &[(&str, &str)]) -> String {
    let form = form("search-params", "submit", fields);
    client.asks(&request(&format!("{set}{form}"))).await
}

/// The localparts of the rooms in an answer, in their order.
fn found(answer: &str) -> Vec<&str> {
    assert!(answer.contains("type='result'"), "{answer}");
    let items = answer.split("<item address='").skip(1);
    items.map(|item| item.split('@').next().unwrap()).collect()
}

async fn finds(client: &mut Client, fields: &[(&str, &str)]) -> Vec<String> {
    let answer = search(client, "", fields).await;
    found(&answer).into_iter().map(str::to_owned).collect()
}

async fn enters(client: &mut Client, room: &str, nick: &str) {
    let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
    client
        .send(&format!(
            "<presence to='{room}@{SERVICE}/{nick}'>{x}</presence>"
        ))
        .await;
    client.receives_until_quiet().await;
}

async fn makes(client: &mut Client, room: &str, settings: &[(&str, &str)]) {
    enters(client, room, "witch").await;
    configures(client, room, settings).await;
}

async fn configures(client: &mut Client, room: &str, settings: &[(&str, &str)]) {
    let field = |(var, value): &(&str, &str)| {
        format!("<field var='muc#roomconfig_{var}'><value>{value}</value></field>")
    };
    let fields: String = settings.iter().map(field).collect();
    client
        .send(&format!(
            "<iq type='set' id='o' to='{room}@{SERVICE}'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x></query></iq>"
        ))
        .await;
    let received = client.receives_until_quiet().await;
    let is_done = |it: &String| it.contains("type='result'");
    assert!(received.iter().any(is_done), "{received:#?}");
}

/// Juliet and Romeo, and her rooms: `cave` for all, `heath` for all and non-anonymous, `den` with a password, and
/// `lair`, which is hidden.
async fn rooms(world: &World) -> (Client, Client) {
    let mut juliet = world.online("juliet", "balcony").await;
    let romeo = world.online("romeo", "orchard").await;
    for (room, settings) in [
        (
            "cave",
            &[
                ("roomname", "A Dark Cave"),
                ("roomdesc", "Where Witches boil &amp; bubble"),
                ("lang", "en"),
            ][..],
        ),
        ("heath", &[("roomname", "Open ground"), ("whois", "anyone")]),
        (
            "den",
            &[
                ("roomname", "Dark den"),
                ("passwordprotectedroom", "1"),
                ("roomsecret", "cauldronburn"),
            ],
        ),
        ("lair", &[("roomname", "Dark lair"), ("publicroom", "0")]),
    ] {
        makes(&mut juliet, room, settings).await;
    }
    (juliet, romeo)
}

#[tokio::test]
async fn a_room_is_found_by_its_name_its_description_and_its_address() {
    let world = World::new();
    let (_juliet, mut romeo) = rooms(&world).await;
    for (fields, wanted) in [
        (&[BY_ADDRESS, ("q", "dark")][..], &["cave", "den"][..]),
        (&[("q", "dark WITCHES")], &["cave"]),
        (&[("q", "boil bubble")], &["cave"]),
        (&[("q", "heath@conference")], &["heath"]),
        (&[("q", "heath"), ("sinaddress", "0")], &[]),
        (&[("q", "witches"), ("sindescription", "0")], &[]),
        (&[("q", "ground"), ("sinname", "0")], &[]),
        (&[("q", "lair")], &[]),
        (&[("q", "ground"), ("types", "xep-0369")], &[]),
        (&[("q", "ground"), ("types", "xep-0045")], &["heath"]),
        (&[BY_ADDRESS, ("all", "1")], &["cave", "den", "heath"]),
    ] {
        assert_eq!(finds(&mut romeo, fields).await, wanted, "{fields:?}");
    }
}

#[tokio::test]
async fn what_is_found_says_what_everybody_may_know() {
    let world = World::new();
    let (mut juliet, mut romeo) = rooms(&world).await;
    let answer = search(&mut romeo, "", &[BY_ADDRESS, ("all", "1")]).await;
    let items: Vec<&str> = answer.split("</item>").collect();
    for (item, wanted) in items.iter().zip([
        "<item address='cave@conference.example.org'><name>A Dark Cave</name><description>Where Witches boil &amp; bubble</description><language>en</language><nusers>1</nusers><service-type>xep-0045</service-type><is-open>true</is-open><anonymity-mode>muc_semianonymous</anonymity-mode>",
        // How many are behind a door is not told before it.
        "<item address='den@conference.example.org'><name>Dark den</name><service-type>xep-0045</service-type><anonymity-mode>muc_semianonymous</anonymity-mode>",
        "<item address='heath@conference.example.org'><name>Open ground</name><nusers>1</nusers><service-type>xep-0045</service-type><is-open>true</is-open><anonymity-mode>{urn:xmpp:channel-search:0:anonymity}none</anonymity-mode>",
    ]) {
        assert!(item.ends_with(wanted), "{item}");
    }
    // A search finds what the room is now.
    configures(
        &mut juliet,
        "cave",
        &[("roomdesc", "Empty"), ("membersonly", "1")],
    )
    .await;
    assert!(finds(&mut romeo, &[("q", "witches")]).await.is_empty());
    let answer = search(&mut romeo, "", &[("q", "empty")]).await;
    assert_eq!(found(&answer), ["cave"]);
    assert!(
        !answer.contains("nusers") && !answer.contains("is-open"),
        "{answer}"
    );
    configures(&mut juliet, "cave", &[("publicroom", "0")]).await;
    assert!(finds(&mut romeo, &[("q", "empty")]).await.is_empty());
}

#[tokio::test]
async fn rooms_with_most_people_come_first_unless_the_order_is_another() {
    let world = World::new();
    let (_juliet, mut romeo) = rooms(&world).await;
    enters(&mut romeo, "heath", "thirdwitch").await;
    assert_eq!(
        finds(&mut romeo, &[("all", "1")]).await,
        ["heath", "cave", "den"]
    );
    let fields = [("all", "1"), BY_ADDRESS];
    assert_eq!(finds(&mut romeo, &fields).await, ["cave", "den", "heath"]);
    for (least, wanted) in [("1", &["heath", "cave"][..]), ("2", &["heath"]), ("3", &[])] {
        let fields = [("all", "1"), ("min_users", least)];
        assert_eq!(finds(&mut romeo, &fields).await, wanted);
    }
}

#[tokio::test]
async fn what_is_found_comes_in_pages() {
    let world = World::new();
    let (mut juliet, mut romeo) = rooms(&world).await;
    let fields = [("all", "1"), BY_ADDRESS];
    let first = search(&mut romeo, &set("<max>2</max>"), &fields).await;
    assert_eq!(found(&first), ["cave", "den"]);
    let end = "<last>den@conference.example.org</last><count>3</count></set>";
    assert!(first.contains(end), "{first}");
    let after = set("<max>2</max><after>den@conference.example.org</after>");
    let second = search(&mut romeo, &after, &fields).await;
    assert_eq!(found(&second), ["heath"]);
    let gone = set("<max>2</max><after>lair@conference.example.org</after>");
    let answer = search(&mut romeo, &gone, &fields).await;
    assert!(answer.contains("<item-not-found "), "{answer}");
    // However many are asked for, a page has a bound.
    for number in 0..60 {
        makes(&mut juliet, &format!("many{number}"), &[]).await;
    }
    let most = search(&mut romeo, &set("<max>1000</max>"), &fields).await;
    assert_eq!(found(&most).len(), 50);
    assert!(most.contains("<count>63</count>"), "{most}");
}

#[tokio::test]
async fn a_search_that_makes_no_sense_is_refused_and_says_why() {
    let world = World::new();
    let (_juliet, mut romeo) = rooms(&world).await;
    let (long, many) = ("x".repeat(257), "ab ".repeat(9));
    for (fields, wanted) in [
        (
            &[("q", "a")][..],
            &["<bad-request ", "<invalid-search-terms "][..],
        ),
        (&[("q", "")], &["type='modify'", "<invalid-search-terms "]),
        (&[("q", &long)], &["<invalid-search-terms ", "<text "]),
        (&[("q", &many)], &["<invalid-search-terms ", "<text "]),
        (
            &[],
            &["type='cancel'", "<bad-request ", "<no-search-conditions "],
        ),
        (
            &[("all", "1"), ("q", "dark")],
            &[
                "<bad-request ",
                "<conflicting-fields ",
                "<var>all</var><var>q</var>",
            ],
        ),
        (
            &[("q", "dark"), ("key", "size")],
            &[
                "type='modify'",
                "<feature-not-implemented ",
                "<invalid-sort-key ",
            ],
        ),
        (&[("q", "dark"), ("min_users", "some")], &["<bad-request "]),
        (&[("q", "dark"), ("sinname", "maybe")], &["<bad-request "]),
    ] {
        let answer = search(&mut romeo, "", fields).await;
        for part in wanted {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }
    let fields = [("q", "dark")];
    for inside in [
        form("other", "submit", &fields),
        form("search-params", "cancel", &fields),
        "<x xmlns='jabber:x:data' type='submit'><field var='q'><value>dark</value></field></x>"
            .to_owned(),
        "<q>dark</q>".to_owned(),
        set("<max>2</max>"),
        set("<max>two</max>") + &form("search-params", "submit", &fields),
    ] {
        let answer = romeo.asks(&request(&inside)).await;
        assert!(answer.contains("<bad-request "), "{inside}: {answer}");
    }
}

#[tokio::test]
async fn the_service_says_that_it_can_be_searched_and_by_what() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    let info = format!(
        "<iq type='get' id='i' to='{SERVICE}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    let answer = romeo.asks(&info).await;
    assert!(
        answer.contains("<feature var='urn:xmpp:channel-search:0:search'/>"),
        "{answer}"
    );
    let answer = romeo.asks(&request("")).await;
    for var in [
        "q",
        "all",
        "sinname",
        "sindescription",
        "sinaddress",
        "types",
        "min_users",
        "key",
    ] {
        assert!(answer.contains(&format!("var='{var}'")), "{var}: {answer}");
    }
}
