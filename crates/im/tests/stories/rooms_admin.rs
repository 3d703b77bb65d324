//! Order is kept in a room: roles, affiliations, and who may change them (XEP-0045 §8 to §10).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use posthaste_kv::memory::MemoryKv;

use crate::harness::{Client, World, config};
use crate::rooms::{COVEN, join, said};

fn admin(kind: &str, items: &str) -> String {
    format!(
        "<iq type='{kind}' id='a' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query></iq>"
    )
}

fn role(nick: &str, role: &str) -> String {
    admin("set", &format!("<item nick='{nick}' role='{role}'/>"))
}

fn affiliation(jid: &str, affiliation: &str) -> String {
    admin(
        "set",
        &format!("<item jid='{jid}' affiliation='{affiliation}'/>"),
    )
}

/// Juliet owns the room; Romeo and the Nurse are nobody in particular. All have read what there is.
struct Coven {
    world: World,
    juliet: Client,
    romeo: Client,
    nurse: Client,
}

impl Coven {
    async fn new() -> Coven {
        Coven::configured(&[]).await
    }

    async fn configured(fields: &[(&str, &str)]) -> Coven {
        let world = World::new();
        let mut juliet = world.online("juliet", "balcony").await;
        juliet.send(&join("firstwitch")).await;
        configure(&mut juliet, fields).await;
        let mut romeo = world.online("romeo", "orchard").await;
        romeo.send(&join("thirdwitch")).await;
        let mut nurse = world.online("nurse", "pda").await;
        nurse.send(&join("nurse")).await;
        let mut coven = Coven {
            world,
            juliet,
            romeo,
            nurse,
        };
        coven.quiet().await;
        coven
    }

    async fn quiet(&mut self) {
        for client in [&mut self.juliet, &mut self.romeo, &mut self.nurse] {
            client.receives_until_quiet().await;
        }
    }

    /// The owner does something, which succeeds.
    async fn owner_does(&mut self, iq: &str) {
        let answer = self.juliet.asks(iq).await;
        assert!(answer.contains("type='result'"), "{iq}: {answer}");
    }
}

/// The owner changes settings of the room.
async fn configure(owner: &mut Client, fields: &[(&str, &str)]) {
    let field = |(var, value): &(&str, &str)| {
        format!("<field var='muc#roomconfig_{var}'><value>{value}</value></field>")
    };
    let fields: String = fields.iter().map(field).collect();
    let answer = owner
        .asks(&format!(
            "<iq type='set' id='c' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x></query></iq>"
        ))
        .await;
    assert!(answer.contains("type='result'"), "{answer}");
}

#[tokio::test]
async fn a_moderator_kicks_and_everybody_sees_it() {
    let mut coven = Coven::new().await;
    coven
        .juliet
        .send(&admin(
            "set",
            "<item nick='thirdwitch' role='none'><reason>Avaunt!</reason></item>",
        ))
        .await;
    let removed: &[&str] = &[
        "type='unavailable'",
        "from='coven@conference.example.org/thirdwitch'",
        "affiliation='none'",
        "role='none'",
        "<actor nick='firstwitch'/>",
        "<reason>Avaunt!</reason>",
        "<status code='307'/>",
    ];
    let received = coven.romeo.receives_until_quiet().await;
    assert_eq!(received.len(), 1, "{received:#?}");
    assert!(
        removed.iter().all(|part| received[0].contains(part)),
        "{received:#?}"
    );
    assert!(
        received[0].contains("code='110'") && !received[0].contains("juliet@"),
        "{received:#?}"
    );
    coven.nurse.receives(&[removed]).await;
    // §8.2: success is told before what has happened.
    let received = coven.juliet.receives_until_quiet().await;
    assert!(
        received[0].starts_with("<iq ") && received[0].contains("type='result'"),
        "{received:#?}"
    );
    assert!(received[1].contains("code='307'"), "{received:#?}");
    // Kicked is not banned.
    coven.romeo.send(&join("thirdwitch")).await;
    let received = coven.romeo.receives_until_quiet().await;
    assert!(
        received.iter().any(|xml| xml.contains("code='110'")),
        "{received:#?}"
    );
}

#[tokio::test]
async fn whoever_is_no_moderator_changes_nothing() {
    let mut coven = Coven::new().await;
    for request in [
        role("nurse", "none"),
        role("nurse", "visitor"),
        role("thirdwitch", "moderator"),
        affiliation("nurse@example.org", "outcast"),
        affiliation("romeo@example.org", "owner"),
        affiliation("romeo@example.org", "member"),
    ] {
        let answer = coven.romeo.asks(&request).await;
        assert!(answer.contains("<forbidden "), "{request}: {answer}");
    }
    coven.nurse.receives_nothing().await;
    coven.juliet.receives_nothing().await;
    // Nor does somebody who is not even there.
    coven.world.add_account("tybalt");
    let mut tybalt = coven.world.online("tybalt", "street").await;
    let answer = tybalt.asks(&role("nurse", "none")).await;
    assert!(answer.contains("<forbidden "), "{answer}");
}

#[tokio::test]
async fn voice_is_taken_and_given_back() {
    let mut coven = Coven::new().await;
    coven.owner_does(&role("thirdwitch", "visitor")).await;
    coven
        .romeo
        .receives(&[&["/thirdwitch'", "role='visitor'", "code='110'"]])
        .await;
    coven
        .nurse
        .receives(&[&["/thirdwitch'", "role='visitor'"]])
        .await;
    coven.romeo.send(&said("mew")).await;
    coven
        .romeo
        .receives(&[&["type='error'", "<forbidden "]])
        .await;
    coven.owner_does(&role("thirdwitch", "participant")).await;
    coven.quiet().await;
    coven.romeo.send(&said("mew")).await;
    coven.nurse.receives(&[&["<body>mew</body>"]]).await;
    // Nobody takes it from an owner.
    coven.owner_does(&role("thirdwitch", "moderator")).await;
    let answer = coven.romeo.asks(&role("firstwitch", "visitor")).await;
    assert!(answer.contains("<not-allowed "), "{answer}");
    let answer = coven.romeo.asks(&role("firstwitch", "none")).await;
    assert!(answer.contains("<not-allowed "), "{answer}");
    let answer = coven.romeo.asks(&role("nobody", "none")).await;
    assert!(answer.contains("<item-not-found "), "{answer}");
}

#[tokio::test]
async fn the_banned_go_at_once_and_do_not_come_back() {
    let mut coven = Coven::new().await;
    let ban = "<item jid='romeo@example.org' affiliation='outcast'><reason>Treason</reason></item>";
    coven.juliet.send(&admin("set", ban)).await;
    let banned: &[&str] = &[
        "type='unavailable'",
        "affiliation='outcast'",
        "role='none'",
        "<reason>Treason</reason>",
        "<status code='301'/>",
    ];
    coven.romeo.receives(&[banned]).await;
    coven.nurse.receives(&[banned]).await;
    coven.romeo.send(&join("thirdwitch")).await;
    coven
        .romeo
        .receives(&[&["type='error'", "<forbidden "]])
        .await;
    let list = admin("get", "<item affiliation='outcast'/>");
    coven.quiet().await;
    let answer = coven.juliet.asks(&list).await;
    assert!(
        answer.contains(
            "<item affiliation='outcast' jid='romeo@example.org'><reason>Treason</reason></item>"
        ),
        "{answer}"
    );
    let answer = coven.nurse.asks(&list).await;
    assert!(answer.contains("<forbidden "), "{answer}");
    coven
        .owner_does(&affiliation("romeo@example.org", "none"))
        .await;
    coven.quiet().await;
    coven.romeo.send(&join("thirdwitch")).await;
    coven
        .nurse
        .receives(&[&["/thirdwitch'", "role='participant'"]])
        .await;
    let answer = coven.juliet.asks(&list).await;
    assert!(!answer.contains("<item"), "{answer}");
}

#[tokio::test]
async fn a_ban_may_name_a_nick_or_a_whole_domain() {
    let mut coven = Coven::new().await;
    coven
        .owner_does(&admin(
            "set",
            "<item nick='thirdwitch' affiliation='outcast'/>",
        ))
        .await;
    coven.romeo.receives(&[&["code='301'"]]).await;
    coven
        .owner_does(&affiliation("nurse@example.org", "member"))
        .await;
    coven.world.add_account("tybalt");
    let mut tybalt = coven.world.online("tybalt", "street").await;
    tybalt.send(&join("tybalt")).await;
    tybalt.receives_until_quiet().await;
    coven.quiet().await;
    // All but those who are something by themselves.
    coven
        .owner_does(&affiliation("example.org", "outcast"))
        .await;
    tybalt
        .receives(&[&["type='unavailable'", "code='301'"]])
        .await;
    coven.nurse.receives(&[&["/tybalt'", "code='301'"]]).await;
    tybalt.send(&join("tybalt")).await;
    tybalt.receives(&[&["type='error'", "<forbidden "]]).await;
    coven.owner_does(&affiliation("example.org", "none")).await;
    tybalt.send(&join("tybalt")).await;
    coven.nurse.receives(&[&["/tybalt'"]]).await;
}

#[tokio::test]
async fn a_request_is_done_as_a_whole_or_not_at_all() {
    let mut coven = Coven::new().await;
    let mixed = "<item jid='nurse@example.org' affiliation='member'/>\
        <item nick='thirdwitch' role='none'/><item jid='juliet@example.org' affiliation='outcast'/>";
    let answer = coven.juliet.asks(&admin("set", mixed)).await;
    assert!(answer.contains("<conflict "), "{answer}");
    coven.romeo.receives_nothing().await;
    coven.nurse.receives_nothing().await;
    let members = admin("get", "<item affiliation='member'/>");
    let answer = coven.juliet.asks(&members).await;
    assert!(!answer.contains("<item"), "{answer}");
    let both =
        "<item jid='nurse@example.org' affiliation='member'/><item nick='thirdwitch' role='none'/>";
    coven.owner_does(&admin("set", both)).await;
    coven
        .nurse
        .receives(&[
            &["/nurse'", "affiliation='member'"],
            &["/thirdwitch'", "code='307'"],
        ])
        .await;
}

#[tokio::test]
async fn owners_make_admins_and_admins_do_not() {
    let mut coven = Coven::new().await;
    coven
        .owner_does(&affiliation("romeo@example.org", "admin"))
        .await;
    // An admin is a moderator, and sees who the others are.
    coven
        .romeo
        .receives(&[&[
            "/thirdwitch'",
            "affiliation='admin'",
            "role='moderator'",
            "code='110'",
        ]])
        .await;
    coven.quiet().await;
    for (request, error) in [
        (affiliation("nurse@example.org", "admin"), "<forbidden "),
        (affiliation("juliet@example.org", "none"), "<forbidden "),
        (
            affiliation("juliet@example.org", "outcast"),
            "<not-allowed ",
        ),
        (affiliation("romeo@example.org", "owner"), "<forbidden "),
        (affiliation("romeo@example.org", "outcast"), "<conflict "),
        (admin("get", "<item affiliation='owner'/>"), "<forbidden "),
    ] {
        let answer = coven.romeo.asks(&request).await;
        assert!(answer.contains(error), "{request}: {answer}");
    }
    let answer = coven.romeo.asks(&role("nurse", "moderator")).await;
    assert!(answer.contains("type='result'"), "{answer}");
    let answer = coven
        .romeo
        .asks(&admin("get", "<item role='moderator'/>"))
        .await;
    assert_eq!(answer.matches("<item ").count(), 3, "{answer}");
    assert!(
        answer.contains("jid='nurse@example.org/pda' nick='nurse' role='moderator'"),
        "{answer}"
    );
    // §10.4: the last owner stays, until there is another.
    let resign = affiliation("juliet@example.org", "admin");
    let answer = coven.juliet.asks(&resign).await;
    assert!(answer.contains("<conflict "), "{answer}");
    coven
        .owner_does(&affiliation("romeo@example.org", "owner"))
        .await;
    coven.owner_does(&resign).await;
    let answer = coven
        .romeo
        .asks(&admin("get", "<item affiliation='owner'/>"))
        .await;
    assert!(
        answer.contains("jid='romeo@example.org'") && !answer.contains("juliet"),
        "{answer}"
    );
}

#[tokio::test]
async fn whoever_is_away_is_told_when_they_come_back() {
    let mut coven = Coven::new().await;
    coven.world.add_account("tybalt");
    coven
        .owner_does(&affiliation("tybalt@example.org", "member"))
        .await;
    // Who may not see addresses is not told of them.
    coven.nurse.receives_nothing().await;
    let mut tybalt = coven.world.online_keeping("tybalt", "street").await;
    let received = tybalt.receives_until_quiet().await;
    let told = received.iter().find(|xml| xml.contains("code='101'"));
    let told = told.unwrap_or_else(|| panic!("{received:#?}"));
    for part in [
        "from='coven@conference.example.org'",
        "affiliation='member'",
        "role='none'",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(
        !received.iter().any(|xml| xml.contains("<invite")),
        "{received:#?}"
    );
}

#[tokio::test]
async fn news_of_somebody_who_is_away_are_the_rooms_and_nobodys_own() {
    let mut coven = Coven::configured(&[("whois", "anyone")]).await;
    coven.world.add_account("tybalt");
    coven.quiet().await;
    coven
        .owner_does(&affiliation("tybalt@example.org", "member"))
        .await;
    let news = coven.nurse.receives_until_quiet().await;
    let [news] = &news[..] else {
        panic!("{news:?}")
    };
    assert!(news.contains("tybalt@example.org"), "{news}");
    // Her archive keeps what is said to her; this is not.
    assert!(news.contains("type='groupchat'"), "{news}");
    assert!(!news.contains("by='nurse@example.org'"), "{news}");
}

#[tokio::test]
async fn a_change_is_on_disk_before_anybody_hears_of_it() {
    let kv = Arc::new(MemoryKv::manual());
    let world = World::with(config(), kv.clone());
    let mut juliet = world.online("juliet", "balcony").await;
    juliet.send(&join("firstwitch")).await;
    {
        let mut opening = pin!(juliet.opens_room(COVEN));
        let opened = poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx))).await;
        assert!(opened.is_pending());
        kv.make_durable();
        opening.await;
    }
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("thirdwitch")).await;
    romeo.receives_until_quiet().await;
    juliet.receives_until_quiet().await;
    let ban = affiliation("romeo@example.org", "outcast");
    {
        let mut asking = pin!(juliet.send(&ban));
        let asked = poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx))).await;
        assert!(asked.is_pending());
        romeo.receives_nothing().await;
        kv.make_durable();
        asking.await;
    }
    romeo.receives(&[&["code='301'"]]).await;
    juliet
        .receives(&[&["type='result'"], &["code='301'"]])
        .await;
}

#[tokio::test]
async fn affiliations_outlive_a_restart() {
    let mut coven = Coven::configured(&[("persistentroom", "1")]).await;
    coven
        .owner_does(&affiliation("romeo@example.org", "outcast"))
        .await;
    coven
        .owner_does(&affiliation("nurse@example.org", "admin"))
        .await;
    let world = coven.world.restarted();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("thirdwitch")).await;
    romeo.receives(&[&["type='error'", "<forbidden "]]).await;
    let mut nurse = world.online("nurse", "pda").await;
    let answer = nurse
        .asks(&admin("get", "<item affiliation='outcast'/>"))
        .await;
    assert!(answer.contains("jid='romeo@example.org'"), "{answer}");
}

#[tokio::test]
async fn a_members_only_room_invites_its_members_and_removes_those_who_are_none_any_more() {
    let mut coven = Coven::configured(&[("whois", "anyone")]).await;
    coven
        .owner_does(&affiliation("romeo@example.org", "member"))
        .await;
    coven.quiet().await;
    configure(&mut coven.juliet, &[("membersonly", "1")]).await;
    coven
        .nurse
        .receives(&[&["type='unavailable'", "code='322'"]])
        .await;
    coven.quiet().await;
    // She is invited, as she is not there.
    coven
        .owner_does(&affiliation("nurse@example.org", "member"))
        .await;
    coven
        .nurse
        .receives(&[
            &["code='101'", "affiliation='member'"],
            &["<invite from='juliet@example.org'/>"],
        ])
        .await;
    coven.nurse.send(&join("nurse")).await;
    coven.quiet().await;
    // §9.4: removed, and nothing else.
    coven
        .owner_does(&affiliation("romeo@example.org", "none"))
        .await;
    coven
        .romeo
        .receives(&[&[
            "type='unavailable'",
            "affiliation='none'",
            "role='none'",
            "code='321'",
        ]])
        .await;
    coven
        .nurse
        .receives(&[&["/thirdwitch'", "code='321'"]])
        .await;
    coven.romeo.send(&join("thirdwitch")).await;
    coven
        .romeo
        .receives(&[&["type='error'", "<registration-required "]])
        .await;
    // Members see who else is one, where everybody's address is known.
    let answer = coven
        .nurse
        .asks(&admin("get", "<item affiliation='member'/>"))
        .await;
    assert!(
        answer.contains("<item affiliation='member' jid='nurse@example.org' nick='nurse'/>"),
        "{answer}"
    );
}

fn voice(fields: &str) -> String {
    format!(
        "<message to='{COVEN}' id='v'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/muc#request</value></field>\
         <field var='muc#role'><value>participant</value></field>{fields}</x></message>"
    )
}

fn answer(jid: &str, nick: &str, allow: &str) -> String {
    let field = |var, value| format!("<field var='muc#{var}'><value>{value}</value></field>");
    voice(
        &[
            field("jid", jid),
            field("roomnick", nick),
            field("request_allow", allow),
        ]
        .concat(),
    )
}

#[tokio::test]
async fn a_visitor_asks_for_voice_and_a_moderator_grants_it() {
    let mut coven = Coven::configured(&[("moderatedroom", "1")]).await;
    coven.romeo.send(&voice("")).await;
    coven
        .juliet
        .receives(&[&[
            "from='coven@conference.example.org'",
            "<value>http://jabber.org/protocol/muc#request</value>",
            "<value>romeo@example.org/orchard</value>",
            "<value>thirdwitch</value>",
        ]])
        .await;
    coven.nurse.receives_nothing().await;
    // Nobody answers it who may not, nor for somebody else.
    let granted = answer("romeo@example.org/orchard", "thirdwitch", "true");
    coven.nurse.send(&granted).await;
    coven
        .nurse
        .receives(&[&["type='error'", "<forbidden "]])
        .await;
    coven
        .juliet
        .send(&answer("romeo@example.org/orchard", "nurse", "true"))
        .await;
    coven
        .juliet
        .receives(&[&["type='error'", "<item-not-found "]])
        .await;
    coven
        .juliet
        .send(&answer("romeo@example.org/orchard", "thirdwitch", "false"))
        .await;
    coven.romeo.receives_nothing().await;
    coven.juliet.send(&granted).await;
    coven
        .romeo
        .receives(&[&["/thirdwitch'", "role='participant'", "code='110'"]])
        .await;
    coven
        .nurse
        .receives(&[&["/thirdwitch'", "role='participant'"]])
        .await;
    coven.romeo.send(&voice("")).await;
    coven
        .romeo
        .receives(&[&["type='error'", "<not-allowed "]])
        .await;
}

#[tokio::test]
async fn leaving_a_moderated_room_neither_gives_voice_nor_takes_it() {
    let mut coven = Coven::configured(&[("moderatedroom", "1")]).await;
    coven
        .owner_does(&affiliation("nurse@example.org", "member"))
        .await;
    coven.owner_does(&role("thirdwitch", "participant")).await;
    coven.owner_does(&role("nurse", "visitor")).await;
    coven.quiet().await;
    // She tries it under another name, beside the one that she has.
    let mut phone = coven.world.online("nurse", "phone").await;
    phone.send(&join("angelica")).await;
    coven
        .romeo
        .receives(&[&["/angelica'", "role='visitor'"]])
        .await;
    for (client, nick, kept) in [
        (&mut coven.romeo, "thirdwitch", "participant"),
        (&mut coven.nurse, "nurse", "visitor"),
        (&mut phone, "angelica", "visitor"),
    ] {
        client
            .send(&format!(
                "<presence type='unavailable' to='{COVEN}/{nick}'/>"
            ))
            .await;
        client.send(&join(nick)).await;
        let received = client.receives_until_quiet().await;
        let own = received.iter().rfind(|xml| xml.contains("code='110'"));
        let role = format!("role='{kept}'");
        assert!(own.unwrap().contains(&role), "{received:#?}");
    }
}
