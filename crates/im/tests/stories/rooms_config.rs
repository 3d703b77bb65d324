//! Owners configure and end rooms, people register and are invited, and a room tells what it is (XEP-0045).

use std::sync::Arc;

use posthaste_im::config::Config;
use posthaste_im::ext::muc::{Creators, Limits};
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::jid::BareJid;

use crate::harness::{Client, World, config};

const COVEN: &str = "coven@conference.example.org";
const HEATH: &str = "heath@conference.example.org";

fn join(room: &str, nick: &str) -> String {
    format!("<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
}

fn owner_query(kind: &str, inside: &str) -> String {
    format!(
        "<iq type='{kind}' id='o' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#owner'>{inside}</query></iq>"
    )
}

fn submit(fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| {
        let var = match *var {
            "maxhistoryfetch" => "muc#maxhistoryfetch".to_owned(),
            var => format!("muc#roomconfig_{var}"),
        };
        let values = value.split(' ').filter(|value| !value.is_empty());
        let values: String = values.map(|v| format!("<value>{v}</value>")).collect();
        format!("<field var='{var}'>{values}</field>")
    };
    let fields: String = fields.iter().map(field).collect();
    owner_query(
        "set",
        &format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x>"
        ),
    )
}

fn disco(room: &str, what: &str, node: &str) -> String {
    let node = match node {
        "" => String::new(),
        node => format!(" node='{node}'"),
    };
    format!(
        "<iq type='get' id='d' to='{room}'><query xmlns='http://jabber.org/protocol/disco#{what}'{node}/></iq>"
    )
}

fn register(kind: &str, inside: &str) -> String {
    format!(
        "<iq type='{kind}' id='r' to='{COVEN}'><query xmlns='jabber:iq:register'>{inside}</query></iq>"
    )
}

fn nick_form(nick: &str) -> String {
    register(
        "set",
        &format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field><field var='muc#register_roomnick'><value>{nick}</value></field></x>"
        ),
    )
}

/// Juliet in a new room of hers, configured so.
async fn owner_of(world: &World, fields: &[(&str, &str)]) -> Client {
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join(COVEN, "firstwitch")).await;
    juliet.receives_until_quiet().await;
    let answer = juliet.asks(&submit(fields)).await;
    assert!(answer.contains("type='result'"), "{answer}");
    juliet.receives_until_quiet().await;
    juliet
}

async fn enters(world: &World, user: &str, nick: &str) -> Client {
    let mut client = world.online(user, "pda").await;
    client.send(&join(COVEN, nick)).await;
    let received = client.receives_until_quiet().await;
    let is_in = received.iter().any(|it| it.contains("code='110'"));
    assert!(is_in, "{user}: {received:#?}");
    client
}

async fn refused(client: &mut Client, xml: &str, condition: &str) {
    let answer = client.asks(xml).await;
    assert!(answer.contains("type='error'"), "{answer}");
    assert!(answer.contains(&format!("<{condition} ")), "{answer}");
}

async fn succeeds(client: &mut Client, xml: &str) -> String {
    let answer = client.asks(xml).await;
    assert!(answer.contains("type='result'"), "{answer}");
    answer
}

#[tokio::test]
async fn a_new_room_is_locked_until_its_maker_has_configured_it() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "pda").await;
    juliet.send(&join(COVEN, "firstwitch")).await;
    juliet.receives_until_quiet().await;
    // §7.2.11: for everybody else it is not there.
    romeo.send(&join(COVEN, "thirdwitch")).await;
    romeo
        .receives(&[&["type='error'", "<item-not-found "]])
        .await;
    refused(&mut romeo, &disco(COVEN, "info", ""), "item-not-found").await;
    refused(&mut romeo, &owner_query("get", ""), "forbidden").await;
    // §10.1.2: she takes it as it is.
    let instant = owner_query("set", "<x xmlns='jabber:x:data' type='submit'/>");
    succeeds(&mut juliet, &instant).await;
    romeo.send(&join(COVEN, "thirdwitch")).await;
    assert_eq!(romeo.receives_until_quiet().await.len(), 3);
}

#[tokio::test]
async fn a_new_room_whose_configuration_is_cancelled_is_none() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join(COVEN, "firstwitch")).await;
    juliet.receives_until_quiet().await;
    juliet
        .send(&owner_query(
            "set",
            "<x xmlns='jabber:x:data' type='cancel'/>",
        ))
        .await;
    juliet
        .receives(&[
            &["<iq ", "type='result'"],
            &["type='unavailable'", "<destroy/>", "code='110'"],
        ])
        .await;
    refused(&mut juliet, &disco(COVEN, "info", ""), "item-not-found").await;
}

#[tokio::test]
async fn whoever_leaves_before_the_room_is_configured_leaves_none_behind() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join(COVEN, "firstwitch")).await;
    juliet.receives_until_quiet().await;
    juliet
        .send(&format!(
            "<presence type='unavailable' to='{COVEN}/firstwitch'/>"
        ))
        .await;
    juliet
        .receives(&[&["type='unavailable'", "<destroy/>", "code='110'"]])
        .await;
    refused(&mut juliet, &disco(COVEN, "info", ""), "item-not-found").await;
}

#[tokio::test]
async fn the_configuration_is_shown_changed_and_survives_a_restart() {
    let world = World::new();
    let mut juliet = owner_of(
        &world,
        &[
            ("roomname", "Cave"),
            ("persistentroom", "1"),
            ("roomadmins", "romeo@example.org"),
            ("pubsub", "xmpp:pubsub.example.org?;node=coven"),
            ("slow_mode_duration", "5"),
        ],
    )
    .await;
    let before = succeeds(&mut juliet, &owner_query("get", "")).await;
    for part in [
        "type='form'",
        "var='muc#roomconfig_roomname' type='text-single' label='Name'><value>Cave</value>",
        "<value>romeo@example.org</value>",
        "<value>juliet@example.org</value>",
        "<value>xmpp:pubsub.example.org?;node=coven</value>",
    ] {
        assert!(before.contains(part), "{part}: {before}");
    }
    // §10.2: who cancels changes nothing.
    let cancel = owner_query("set", "<x xmlns='jabber:x:data' type='cancel'/>");
    succeeds(&mut juliet, &cancel).await;
    let again = world.restarted();
    let mut juliet = again.online("juliet", "balcony").await;
    let after = succeeds(&mut juliet, &owner_query("get", "")).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn what_cannot_be_is_not_acceptable_and_changes_nothing() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let before = succeeds(&mut juliet, &owner_query("get", "")).await;
    for fields in [
        &[("passwordprotectedroom", "1"), ("roomsecret", "")][..],
        &[("membersonly", "maybe")],
        &[("maxusers", "1000000")],
        &[("roomname", "Cave"), ("whois", "nobody")],
    ] {
        refused(&mut juliet, &submit(fields), "not-acceptable").await;
    }
    // §10.2: a room has an owner.
    let handed = submit(&[("roomowners", "")]);
    succeeds(&mut juliet, &handed).await;
    let malformed = owner_query("set", "<x xmlns='jabber:x:data' type='result'/>");
    refused(&mut juliet, &malformed, "bad-request").await;
    let after = succeeds(&mut juliet, &owner_query("get", "")).await;
    assert_eq!(before, after);
    juliet.receives_nothing().await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    refused(&mut romeo, &submit(&[("membersonly", "1")]), "forbidden").await;
}

#[tokio::test]
async fn everybody_is_told_of_what_concerns_their_privacy() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    for (fields, codes) in [
        (&[("roomname", "Cave")][..], &["104"][..]),
        (&[("enablelogging", "0")], &["171"]),
        (&[("enablearchiving", "1")], &["170"]),
        (
            &[("roomname", "Den"), ("enablelogging", "0")],
            &["104", "171"],
        ),
    ] {
        succeeds(&mut juliet, &submit(fields)).await;
        let received = romeo.receives_until_quiet().await;
        assert_eq!(received.len(), 1, "{received:#?}");
        assert!(received[0].contains("type='groupchat'"));
        assert_eq!(received[0].matches("<status").count(), codes.len());
        for code in codes {
            assert!(received[0].contains(&format!("code='{code}'")));
        }
    }
    // What is as it was is no news.
    succeeds(&mut juliet, &submit(&[("roomname", "Den")])).await;
    romeo.receives_nothing().await;
    // When addresses are shown, everybody sees them at once.
    succeeds(&mut juliet, &submit(&[("whois", "anyone")])).await;
    romeo
        .receives(&[
            &["type='groupchat'", "code='172'"],
            &["/firstwitch'", "jid='juliet@example.org/balcony'"],
        ])
        .await;
    succeeds(&mut juliet, &submit(&[("whois", "moderators")])).await;
    romeo.receives(&[&["type='groupchat'", "code='173'"]]).await;
}

#[tokio::test]
async fn a_room_that_is_for_members_now_keeps_no_others() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    let mut nurse = enters(&world, "nurse", "hag").await;
    juliet.receives_until_quiet().await;
    romeo.receives_until_quiet().await;
    // Romeo becomes an administrator with the same form, and so stays.
    let form = submit(&[("membersonly", "1"), ("roomadmins", "romeo@example.org")]);
    succeeds(&mut juliet, &form).await;
    nurse
        .receives(&[&["type='unavailable'", "code='110'", "code='322'"]])
        .await;
    romeo
        .receives(&[
            &["type='unavailable'", "/hag'", "code='322'"],
            &["type='groupchat'", "code='104'"],
            &["/thirdwitch'", "affiliation='admin'", "role='moderator'"],
        ])
        .await;
    nurse.send(&join(COVEN, "hag")).await;
    nurse
        .receives(&[&["type='error'", "<registration-required "]])
        .await;
}

#[tokio::test]
async fn a_room_that_is_moderated_now_hears_only_those_who_belong_to_it() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    succeeds(&mut juliet, &submit(&[("moderatedroom", "1")])).await;
    romeo
        .receives(&[
            &["type='groupchat'", "code='104'"],
            &["/thirdwitch'", "role='visitor'", "code='110'"],
        ])
        .await;
    succeeds(&mut juliet, &submit(&[("moderatedroom", "0")])).await;
    romeo
        .receives(&[
            &["type='groupchat'", "code='104'"],
            &["/thirdwitch'", "role='participant'", "code='110'"],
        ])
        .await;
}

#[tokio::test]
async fn whose_presence_is_no_longer_shown_is_seen_to_go() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    succeeds(&mut juliet, &submit(&[("presencebroadcast", "moderator")])).await;
    romeo.receives(&[&["type='groupchat'", "code='104'"]]).await;
    let seen = submit(&[("presencebroadcast", "moderator participant visitor")]);
    juliet.send(&seen).await;
    juliet
        .receives(&[
            &["<iq ", "type='result'"],
            &["type='groupchat'", "code='104'"],
            &["/thirdwitch'", "role='participant'"],
        ])
        .await;
    romeo.receives(&[&["code='104'"]]).await;
}

#[tokio::test]
async fn owners_hand_a_room_over_but_never_leave_it_to_nobody() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[("persistentroom", "1")]).await;
    let romeo_owns = submit(&[("roomowners", "romeo@example.org")]);
    juliet.send(&romeo_owns).await;
    juliet
        .receives(&[
            &["<iq ", "type='result'"],
            &["/firstwitch'", "affiliation='admin'", "role='moderator'"],
        ])
        .await;
    refused(&mut juliet, &owner_query("get", ""), "forbidden").await;
    // He was not there, and is told wherever he is.
    let mut romeo = world.online_keeping("romeo", "pda").await;
    romeo
        .receives(&[
            &["<presence "],
            &[
                "<message ",
                "affiliation='owner'",
                "jid='romeo@example.org'",
                "code='101'",
            ],
        ])
        .await;
    // Nor is he lost by being named as something less.
    let lost = submit(&[
        ("roomowners", "juliet@example.org/balcony"),
        ("roomadmins", "romeo@example.org"),
    ]);
    refused(&mut romeo, &lost, "not-acceptable").await;
    succeeds(&mut romeo, &owner_query("get", "")).await;
}

#[tokio::test]
async fn a_room_that_ends_says_why_and_where_to_go_for_a_while() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[("persistentroom", "1")]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let destroy = owner_query(
        "set",
        &format!(
            "<destroy jid='{HEATH}'><password>toil</password><reason>Macbeth doth come.</reason></destroy>"
        ),
    );
    refused(&mut romeo, &destroy, "forbidden").await;
    juliet.send(&destroy).await;
    let own = |nick: &'static str| -> Vec<&'static str> {
        vec![
            "type='unavailable'",
            nick,
            "affiliation='none'",
            "role='none'",
            "<destroy jid='heath@conference.example.org'>",
            "<password>toil</password>",
            "<reason>Macbeth doth come.</reason>",
        ]
    };
    juliet
        .receives(&[&["<iq ", "type='result'"], &own("/firstwitch'")])
        .await;
    // §10.9: each is told of itself only.
    romeo.receives(&[&own("/thirdwitch'")]).await;
    let venue = "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:heath@conference.example.org?join</gone>";
    romeo.send(&join(COVEN, "thirdwitch")).await;
    romeo.receives(&[&["<presence ", venue]]).await;
    let asked = romeo.asks(&disco(COVEN, "info", "")).await;
    assert!(asked.contains(venue), "{asked}");
    // It is said after a restart too, and no longer after a month.
    let world = world.restarted();
    let mut romeo = world.online("romeo", "pda").await;
    romeo.send(&join(COVEN, "thirdwitch")).await;
    romeo.receives(&[&["<presence ", venue]]).await;
    world.pass_seconds(32 * 24 * 60 * 60).await;
    romeo.send(&join(COVEN, "thirdwitch")).await;
    let received = romeo.receives_until_quiet().await;
    assert!(received[0].contains("code='201'"), "{received:#?}");
}

#[tokio::test]
async fn whoever_has_ended_a_room_may_make_another_in_its_place() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let destroy = owner_query("set", &format!("<destroy jid='{HEATH}'/>"));
    succeeds(&mut juliet, &destroy).await;
    juliet.send(&join(COVEN, "firstwitch")).await;
    let received = juliet.receives_until_quiet().await;
    assert!(received[0].contains("code='201'"), "{received:#?}");
    // Without another place to go to, the address is free at once.
    succeeds(&mut juliet, &owner_query("set", "<destroy/>")).await;
    let mut romeo = world.online("romeo", "pda").await;
    romeo.send(&join(COVEN, "thirdwitch")).await;
    let received = romeo.receives_until_quiet().await;
    assert!(received[0].contains("code='201'"), "{received:#?}");
}

#[tokio::test]
async fn a_room_tells_what_it_is() {
    let world = World::new();
    let mut juliet = owner_of(
        &world,
        &[
            ("roomname", "Cave"),
            ("roomdesc", "Toil"),
            ("lang", "en"),
            ("changesubject", "1"),
            ("slow_mode_duration", "5"),
            ("maxhistoryfetch", "7"),
        ],
    )
    .await;
    juliet
        .send(&format!(
            "<message to='{COVEN}' type='groupchat'><subject>Spells</subject></message>"
        ))
        .await;
    juliet.receives_until_quiet().await;
    let mut romeo = world.online("romeo", "pda").await;
    let info = succeeds(&mut romeo, &disco(COVEN, "info", "")).await;
    for part in [
        "<identity category='conference' type='text' name='Cave'/>",
        "var='http://jabber.org/protocol/muc'",
        "var='http://jabber.org/protocol/muc#stable_id'",
        "var='muc_open'",
        "var='muc_temporary'",
        "var='muc_semianonymous'",
        "<value>http://jabber.org/protocol/muc#roominfo</value>",
        "var='muc#roominfo_description' label='Description'><value>Toil</value>",
        "var='muc#roominfo_subject' label='Subject'><value>Spells</value>",
        "var='muc#roominfo_occupants' label='Occupants'><value>1</value>",
        "var='muc#roominfo_lang' label='Language'><value>en</value>",
        "muc#roominfo_slow_mode_duration",
        "var='muc#maxhistoryfetch' label='Most messages of history at entry'><value>7</value>",
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    // Whose addresses are not shown are not named as those to ask.
    assert!(!info.contains("juliet"), "{info}");
    succeeds(&mut juliet, &submit(&[("whois", "anyone")])).await;
    let info = succeeds(&mut romeo, &disco(COVEN, "info", "")).await;
    assert!(info.contains("muc_nonanonymous"), "{info}");
    assert!(info.contains("<value>juliet@example.org</value>"), "{info}");
    // Behind a door goes on what is not told before it.
    let door = submit(&[("passwordprotectedroom", "1"), ("roomsecret", "toil")]);
    succeeds(&mut juliet, &door).await;
    let info = succeeds(&mut romeo, &disco(COVEN, "info", "")).await;
    assert!(!info.contains("Spells") && !info.contains("roominfo_occupants"));
    assert!(info.contains("muc_passwordprotected"), "{info}");
    refused(
        &mut romeo,
        &disco(COVEN, "info", "http://jabber.org/protocol/muc#traffic"),
        "service-unavailable",
    )
    .await;
    refused(&mut romeo, &disco(COVEN, "info", "poem"), "item-not-found").await;
}

#[tokio::test]
async fn occupants_are_listed_to_occupants_only() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let mut romeo = world.online("romeo", "pda").await;
    let items = succeeds(&mut romeo, &disco(COVEN, "items", "")).await;
    assert!(!items.contains("<item "), "{items}");
    let items = succeeds(&mut juliet, &disco(COVEN, "items", "")).await;
    assert!(items.contains("<item jid='coven@conference.example.org/firstwitch'/>"));
}

#[tokio::test]
async fn a_hidden_room_for_members_is_nowhere_to_be_found() {
    let world = World::new();
    let mut juliet = owner_of(
        &world,
        &[
            ("publicroom", "0"),
            ("membersonly", "1"),
            ("allowinvites", "0"),
        ],
    )
    .await;
    let mut romeo = world.online("romeo", "pda").await;
    refused(&mut romeo, &disco(COVEN, "info", ""), "item-not-found").await;
    refused(&mut romeo, &disco(COVEN, "items", ""), "item-not-found").await;
    refused(&mut romeo, &register("get", ""), "item-not-found").await;
    let vcard = format!("<iq type='get' id='v' to='{COVEN}'><vCard xmlns='vcard-temp'/></iq>");
    refused(&mut romeo, &vcard, "item-not-found").await;
    let list = disco("conference.example.org", "items", "");
    let rooms = succeeds(&mut romeo, &list).await;
    assert!(!rooms.contains("coven"), "{rooms}");
    succeeds(&mut juliet, &disco(COVEN, "info", "")).await;
    succeeds(&mut juliet, &submit(&[("publicroom", "1")])).await;
    let rooms = succeeds(&mut romeo, &list).await;
    assert!(rooms.contains("coven"), "{rooms}");
    succeeds(&mut romeo, &disco(COVEN, "info", "")).await;
}

#[tokio::test]
async fn whoever_registers_becomes_a_member_and_keeps_a_nickname() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    let mut nurse = world.online("nurse", "pda").await;
    juliet.receives_until_quiet().await;
    let form = succeeds(&mut romeo, &register("get", "")).await;
    assert!(form.contains("muc#register_roomnick"), "{form}");
    refused(
        &mut romeo,
        &register("set", "<username>a</username>"),
        "bad-request",
    )
    .await;
    // §7.10: another has it.
    refused(&mut nurse, &nick_form("thirdwitch"), "conflict").await;
    succeeds(&mut romeo, &nick_form("thirdwitch")).await;
    juliet
        .receives(&[&["/thirdwitch'", "affiliation='member'", "role='participant'"]])
        .await;
    let known = succeeds(&mut romeo, &register("get", "")).await;
    assert!(known.contains("<registered/><username>thirdwitch</username>"));
    // §7.12, also for who asks from outside.
    let reserved = disco(COVEN, "info", "x-roomuser-item");
    let own = succeeds(&mut romeo, &reserved).await;
    assert!(own.contains("<identity category='conference' type='text' name='thirdwitch'/>"));
    let nobody = succeeds(&mut nurse, &reserved).await;
    assert!(!nobody.contains("<identity"), "{nobody}");
    // It is kept while he is away.
    romeo.connection.close().await;
    nurse.send(&join(COVEN, "thirdwitch")).await;
    nurse.receives(&[&["type='error'", "<conflict "]]).await;
    let mut romeo = world.online("romeo", "pda").await;
    romeo.send(&register("set", "<remove/>")).await;
    romeo
        .receives(&[
            &["<iq ", "type='result'"],
            &["<message ", "affiliation='none'", "code='101'"],
        ])
        .await;
    nurse.send(&join(COVEN, "thirdwitch")).await;
    let received = nurse.receives_until_quiet().await;
    assert!(received.iter().any(|it| it.contains("code='110'")));
}

#[tokio::test]
async fn where_not_everybody_may_speak_a_registration_has_to_be_allowed() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[("moderatedroom", "1")]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    let mut nurse = world.online("nurse", "pda").await;
    juliet.receives_until_quiet().await;
    for _ in 0..2 {
        succeeds(&mut romeo, &nick_form("thirdwitch")).await;
    }
    refused(&mut nurse, &nick_form("thirdwitch"), "conflict").await;
    // Once, however often he asks.
    juliet
        .receives(&[&[
            "<message ",
            "muc#register_allow",
            "romeo@example.org",
            "thirdwitch",
        ]])
        .await;
    let answer = |allow: &str| {
        format!(
            "<message to='{COVEN}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field><field var='muc#jid'><value>romeo@example.org</value></field><field var='muc#register_roomnick'><value>thirdwitch</value></field><field var='muc#register_allow'><value>{allow}</value></field></x></message>"
        )
    };
    // He does not allow himself.
    romeo.send(&answer("1")).await;
    romeo.receives(&[&["type='error'", "<forbidden "]]).await;
    juliet.send(&answer("1")).await;
    juliet
        .receives(&[&["/thirdwitch'", "affiliation='member'", "role='participant'"]])
        .await;
    romeo
        .receives(&[&["/thirdwitch'", "affiliation='member'", "role='participant'"]])
        .await;
    juliet.send(&answer("1")).await;
    juliet
        .receives(&[&["type='error'", "<item-not-found "]])
        .await;
    // Who is refused is told nothing, and may ask again.
    succeeds(&mut nurse, &nick_form("hag")).await;
    juliet.receives_until_quiet().await;
    let refusal = answer("0").replace("romeo@", "nurse@");
    juliet.send(&refusal).await;
    juliet.receives_nothing().await;
    nurse.receives_nothing().await;
    succeeds(&mut nurse, &nick_form("hag")).await;
}

#[tokio::test]
async fn who_unregisters_from_a_room_for_members_goes() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    succeeds(&mut romeo, &nick_form("thirdwitch")).await;
    succeeds(&mut juliet, &submit(&[("membersonly", "1")])).await;
    romeo.receives_until_quiet().await;
    romeo.send(&register("set", "<remove/>")).await;
    romeo
        .receives(&[
            &["<iq ", "type='result'"],
            &[
                "type='unavailable'",
                "affiliation='none'",
                "code='110'",
                "code='321'",
            ],
        ])
        .await;
    // Her ownership is not taken back so.
    succeeds(&mut juliet, &register("set", "<remove/>")).await;
    succeeds(&mut juliet, &owner_query("get", "")).await;
}

fn invite(inside: &str) -> String {
    format!(
        "<message to='{COVEN}' id='i'><x xmlns='http://jabber.org/protocol/muc#user'>{inside}</x></message>"
    )
}

#[tokio::test]
async fn an_invitation_goes_by_way_of_the_room_and_waits() {
    let world = World::new();
    let mut juliet = owner_of(
        &world,
        &[("passwordprotectedroom", "1"), ("roomsecret", "toil")],
    )
    .await;
    // She cannot make anybody else the one who invites.
    juliet
        .send(&invite(
            "<invite to='romeo@example.org' from='nurse@example.org'><reason>Hey!</reason><continue thread='e0ffe'/></invite>",
        ))
        .await;
    juliet.receives_nothing().await;
    let mut romeo = world.online_keeping("romeo", "pda").await;
    romeo
        .receives(&[
            &["<presence "],
            &[
                "from='coven@conference.example.org'",
                "<invite from='juliet@example.org'><reason>Hey!</reason><continue thread='e0ffe'/></invite>",
                "<password>toil</password>",
            ],
        ])
        .await;
    romeo
        .send(&invite(
            "<decline to='juliet@example.org'><reason>Busy.</reason></decline>",
        ))
        .await;
    juliet
        .receives(&[&[
            "from='coven@conference.example.org'",
            "<decline from='romeo@example.org'><reason>Busy.</reason></decline>",
        ]])
        .await;
    // The room carries nothing to people who have nothing to do with it.
    romeo
        .send(&invite("<decline to='nurse@example.org'/>"))
        .await;
    romeo
        .receives(&[&["type='error'", "<item-not-found "]])
        .await;
    romeo
        .send(&invite("<invite to='nurse@example.org'/>"))
        .await;
    romeo.receives(&[&["type='error'", "<forbidden "]]).await;
}

#[tokio::test]
async fn whoever_is_invited_to_a_room_for_members_is_one() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[("membersonly", "1"), ("publicroom", "0")]).await;
    juliet
        .send(&invite("<invite to='romeo@example.org/pda'/>"))
        .await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    // Members invite where the owner lets them.
    let hag = invite("<invite to='nurse@example.org'/>");
    romeo.send(&hag).await;
    romeo.receives(&[&["type='error'", "<forbidden "]]).await;
    succeeds(&mut juliet, &submit(&[("allowinvites", "1")])).await;
    romeo.receives_until_quiet().await;
    romeo.send(&hag).await;
    romeo.receives_nothing().await;
    enters(&world, "nurse", "hag").await;
}

#[tokio::test]
async fn an_invitation_names_somebody_and_is_not_for_masses() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[]).await;
    let too_many = "<invite to='romeo@example.org'/>".repeat(51);
    let too_long = format!(
        "<invite to='romeo@example.org'><reason>{}</reason></invite>",
        "x".repeat(1025)
    );
    for (inside, condition) in [
        (&*too_many, "not-acceptable"),
        (&*too_long, "not-acceptable"),
        ("<invite/>", "jid-malformed"),
        ("<item/>", "bad-request"),
    ] {
        juliet.send(&invite(inside)).await;
        juliet
            .receives(&[&["type='error'", &format!("<{condition} ")]])
            .await;
    }
}

#[tokio::test]
async fn an_account_invites_in_no_rooms_name() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "pda").await;
    juliet
        .send("<message to='romeo@example.org' id='f'><body>Come!</body><x xmlns='http://jabber.org/protocol/muc#user'><invite from='nurse@example.org'/></x></message>")
        .await;
    let received = romeo.receives_until_quiet().await;
    assert_eq!(received.len(), 1, "{received:#?}");
    assert!(!received[0].contains("<invite"), "{received:#?}");
    // XEP-0249: in one's own name one may.
    juliet
        .send(&format!(
            "<message to='romeo@example.org' id='g'><x xmlns='jabber:x:conference' jid='{COVEN}' continue='true' thread='t'/></message>"
        ))
        .await;
    romeo
        .receives(&[&["from='juliet@example.org/balcony'", "jabber:x:conference"]])
        .await;
}

#[tokio::test]
async fn a_room_has_a_picture() {
    let world = World::new();
    let mut juliet = owner_of(&world, &[("persistentroom", "1")]).await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let card = |kind: &str, inside: &str| {
        format!(
            "<iq type='{kind}' id='v' to='{COVEN}'><vCard xmlns='vcard-temp'>{inside}</vCard></iq>"
        )
    };
    let picture = "<PHOTO><TYPE>image/png</TYPE><BINVAL>aGVs\nbG8=</BINVAL></PHOTO>";
    refused(&mut romeo, &card("set", picture), "forbidden").await;
    succeeds(&mut juliet, &card("set", picture)).await;
    romeo.receives(&[&["type='groupchat'", "code='104'"]]).await;
    let world = world.restarted();
    let mut romeo = world.online("romeo", "pda").await;
    let info = succeeds(&mut romeo, &disco(COVEN, "info", "")).await;
    assert!(info.contains("<value>aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d</value>"));
    assert!(info.contains("var='vcard-temp'"), "{info}");
    let shown = succeeds(&mut romeo, &card("get", "")).await;
    assert!(shown.contains("<TYPE>image/png</TYPE>"), "{shown}");
    let mut juliet = world.online("juliet", "balcony").await;
    succeeds(&mut juliet, &card("set", "")).await;
    let info = succeeds(&mut romeo, &disco(COVEN, "info", "")).await;
    assert!(!info.contains("avatarhash"), "{info}");
}

#[tokio::test]
async fn only_those_make_rooms_whom_the_operator_lets() {
    let limits = Limits {
        creators: Creators::Admins,
        ..Limits::default()
    };
    let admins = Config {
        rooms: limits,
        admins: vec![BareJid::parse("juliet@example.org").unwrap()],
        ..config()
    };
    let world = World::with(admins, Arc::new(MemoryKv::new()));
    let mut romeo = world.online("romeo", "pda").await;
    romeo.send(&join(COVEN, "thirdwitch")).await;
    romeo.receives(&[&["type='error'", "<not-allowed "]]).await;
    owner_of(&world, &[]).await;
    romeo.send(&join(COVEN, "thirdwitch")).await;
    let received = romeo.receives_until_quiet().await;
    assert!(received.iter().any(|it| it.contains("code='110'")));
}

#[tokio::test]
async fn nobody_asks_for_voice_all_the_time() {
    let world = World::new();
    let mut juliet = owner_of(
        &world,
        &[("moderatedroom", "1"), ("voice_request_min_interval", "60")],
    )
    .await;
    let mut romeo = enters(&world, "romeo", "thirdwitch").await;
    juliet.receives_until_quiet().await;
    let ask = format!(
        "<message to='{COVEN}' id='v'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field><field var='muc#role'><value>participant</value></field></x></message>"
    );
    romeo.send(&ask).await;
    juliet.receives(&[&["muc#request_allow"]]).await;
    romeo.send(&ask).await;
    romeo
        .receives(&[&["type='error'", "<policy-violation "]])
        .await;
    juliet.receives_nothing().await;
    world.pass_seconds(61).await;
    romeo.send(&ask).await;
    juliet.receives(&[&["muc#request_allow"]]).await;
}
