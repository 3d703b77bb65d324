//! A group and its members, both ours: nobody misses anything, and senders see whom they have reached
//! (docs/protocol/groups.md).

use std::sync::{Arc, Mutex};

use posthaste_im::border::{Beyond, Parcel};
use posthaste_im::ext::muc::group::gap::MOST_MISSED;
use posthaste_im::tables;
use posthaste_kv::{Kv as _, Partition, Scan};
use posthaste_proto::error::StanzaError;

use crate::archive::{ask, between};
use crate::harness::{Client, World, body};
use crate::rooms::{COVEN, join, said};

/// Somewhere else, where members live: what is sent there is kept.
#[derive(Clone, Default)]
pub(crate) struct Elsewhere(Arc<Mutex<Vec<String>>>);

impl Beyond for Elsewhere {
    fn pass(&self, parcel: Parcel) -> Result<(), Box<(Parcel, StanzaError)>> {
        let xml = String::from_utf8(parcel.stanza.encode().to_vec()).unwrap();
        self.0.lock().unwrap().push(xml);
        Ok(())
    }
}

impl Elsewhere {
    fn takes(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn marker(from: &str, id: &str) -> String {
    format!(
        "<message {from} to='{COVEN}' type='groupchat'><displayed xmlns='urn:xmpp:chat-markers:0' id='{id}'/></message>"
    )
}

async fn is_done(client: &mut Client, iq: &str) {
    let reply = client.asks(iq).await;
    assert!(reply.contains("type='result'"), "{iq}: {reply}");
}

fn configured(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| {
        format!("<field var='muc#roomconfig_{name}'><value>{value}</value></field>")
    };
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<iq type='set' id='c' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
         {fields}</x></query></iq>"
    )
}

fn affiliated(jid: &str, affiliation: &str) -> String {
    format!(
        "<iq type='set' id='a' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item affiliation='{affiliation}' jid='{jid}'/></query></iq>"
    )
}

/// Romeo's group, in which these are members too. He is there.
pub(crate) async fn group(world: &World, members: &[&str]) -> Client {
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    romeo.receives_until_quiet().await;
    let fields = [("persistentroom", "1"), ("membersonly", "1")];
    is_done(&mut romeo, &configured(&fields)).await;
    for member in members {
        is_done(&mut romeo, &affiliated(member, "member")).await;
    }
    // They know by now that it is a group.
    world.pass_seconds(2).await;
    romeo.receives_until_quiet().await;
    romeo
}

/// What the inbox says of the group: unread, mentions, the last text.
pub(crate) async fn line(client: &mut Client) -> Option<(u32, u32, String)> {
    client.receives_until_quiet().await;
    let inbox = "<iq type='get' id='inbox'><inbox xmlns='urn:xmpp:inbox:1'/></iq>";
    let lines = ask(client, inbox).await.messages;
    let mut own = lines
        .iter()
        .filter(|line| line.contains(&format!("jid='{COVEN}'")));
    let own = own.find(|line| line.contains("<group "))?;
    let number = |name: &str| {
        between(own, &format!(" {name}='"), "'")
            .unwrap()
            .parse()
            .unwrap()
    };
    Some((
        number("unread"),
        number("mentions"),
        body(own).unwrap_or_default(),
    ))
}

/// The ids that the room gave to what somebody hears.
async fn hears(client: &mut Client) -> Vec<(String, String)> {
    let received = client.receives_until_quiet().await;
    let said = received.iter().filter_map(|xml| {
        let text = body(xml)?;
        let id = between(xml, "<stanza-id xmlns='urn:xmpp:sid:0' id='", "'")?;
        Some((id, text))
    });
    said.collect()
}

#[tokio::test]
async fn a_member_who_is_away_finds_what_was_said_and_one_copy_of_it_is_kept() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org"]).await;
    for text in ["one", "two", "three"] {
        romeo.send(&said(text)).await;
        world.pass_seconds(2).await;
    }
    let mut juliet = world.online("juliet", "balcony").await;
    assert_eq!(line(&mut juliet).await, Some((3, 0, "three".into())));
    assert_eq!(line(&mut romeo).await, Some((0, 0, "three".into())));
    let texts = async |user: &str| {
        let partition = Partition::new(user).unwrap();
        let rows = world
            .kv
            .scan(&partition, Scan::prefix(tables::LOG, 100))
            .await
            .unwrap();
        let is_said = |row: &&(bytes::Bytes, bytes::Bytes)| {
            String::from_utf8_lossy(&row.1).contains("<body>three")
        };
        rows.iter().filter(is_said).count()
    };
    assert_eq!(texts(COVEN).await, 1);
    assert_eq!(texts("juliet@example.org").await, 0);
    assert_eq!(world.keys("juliet", tables::GROUP).await, 1);
    // Who she is talking with is nobody's to know here.
    let inbox = "<iq type='get' id='inbox'><inbox xmlns='urn:xmpp:inbox:1'/></iq>";
    let lines = ask(&mut juliet, inbox).await.messages.concat();
    assert!(!lines.contains("romeo@example.org"), "{lines}");
}

#[tokio::test]
async fn messages_are_numbered_by_the_room_alone() {
    let world = World::new();
    let mut romeo = group(&world, &[]).await;
    let forged = said("one").replace(
        "</message>",
        "<counted xmlns='urn:posthaste:groups:0' n='77'/></message>",
    );
    romeo.send(&forged).await;
    romeo
        .receives(&[&[
            "<body>one</body>",
            "<counted xmlns='urn:posthaste:groups:0' n='1'/>",
        ]])
        .await;
    // What only changes something said is not counted.
    let reaction = format!(
        "<message to='{COVEN}' type='groupchat' id='r'><reactions xmlns='urn:xmpp:reactions:0' id='one'/></message>"
    );
    romeo.send(&reaction).await;
    let received = romeo.receives_until_quiet().await.concat();
    assert!(
        received.contains("<reactions") && !received.contains("<counted"),
        "{received}"
    );
}

#[tokio::test]
async fn what_is_read_is_read_everywhere_by_a_marker_an_answer_or_silently() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org"]).await;
    let mut ids = Vec::new();
    for n in 1..=5 {
        romeo.send(&said(&format!("m{n}"))).await;
        ids.extend(hears(&mut romeo).await.into_iter().map(|(id, _)| id));
        world.pass_seconds(2).await;
    }
    let mut juliet = world.online("juliet", "balcony").await;
    let unread = async |juliet: &mut Client| line(juliet).await.unwrap().0;
    assert_eq!(unread(&mut juliet).await, 5);
    // Silently, and not the newest: the room says which number that is, and nobody else learns of it.
    let seen = format!(
        "<iq type='set' id='s'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <publish node='urn:xmpp:mds:displayed:0'><item id='{COVEN}'><displayed xmlns='urn:xmpp:mds:displayed:0'>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='{COVEN}' id='{}'/></displayed></item></publish></pubsub></iq>",
        ids[1]
    );
    is_done(&mut juliet, &seen).await;
    assert_eq!(unread(&mut juliet).await, 3);
    romeo.receives_nothing().await;
    // To all.
    juliet.send(&marker("", &ids[3])).await;
    assert_eq!(unread(&mut juliet).await, 1);
    romeo
        .receives(&[&[
            "<status xmlns='urn:posthaste:groups:0'>",
            "members='1' delivered='1' displayed='1'",
        ]])
        .await;
    // By an answer.
    juliet.send(&join("juliet")).await;
    juliet.send(&said("answer")).await;
    world.pass_seconds(2).await;
    assert_eq!(unread(&mut juliet).await, 0);
}

#[tokio::test]
async fn whoever_is_meant_is_told_so() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org", "nurse@example.org"]).await;
    let mut juliet = world.online("juliet", "balcony").await;
    let reference =
        "<reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:juliet@example.org'/>";
    romeo
        .send(&said("one").replace("</message>", &format!("{reference}</message>")))
        .await;
    romeo.send(&said("two")).await;
    world.pass_seconds(2).await;
    assert_eq!(line(&mut juliet).await.unwrap(), (2, 1, "two".into()));
    let mut nurse = world.online("nurse", "hall").await;
    assert_eq!(line(&mut nurse).await.unwrap(), (2, 0, "two".into()));
    // A reply, to her name in the room.
    juliet.send(&join("juliet")).await;
    juliet.send(&said("three")).await;
    world.pass_seconds(2).await;
    assert_eq!(line(&mut juliet).await.unwrap().1, 0);
    let reply = format!("<reply xmlns='urn:xmpp:reply:0' to='{COVEN}/juliet' id='x'/>");
    romeo
        .send(&said("four").replace("</message>", &format!("{reply}</message>")))
        .await;
    world.pass_seconds(2).await;
    assert_eq!(line(&mut juliet).await.unwrap(), (1, 1, "four".into()));
}

#[tokio::test]
async fn coming_begins_now_and_going_leaves_nothing() {
    let world = World::new();
    let mut romeo = group(&world, &[]).await;
    romeo.send(&said("before")).await;
    is_done(&mut romeo, &affiliated("juliet@example.org", "member")).await;
    let mut juliet = world.online("juliet", "balcony").await;
    assert_eq!(line(&mut juliet).await, Some((0, 0, "before".into())));
    world.pass_seconds(2).await;
    romeo.send(&said("after")).await;
    assert_eq!(line(&mut juliet).await, Some((1, 0, "after".into())));
    is_done(&mut romeo, &affiliated("juliet@example.org", "none")).await;
    assert_eq!(line(&mut juliet).await, None);
    world.pass_seconds(2).await;
    romeo.send(&said("secret")).await;
    world.pass_seconds(2).await;
    assert_eq!(line(&mut juliet).await, None);
    // Also for who is there at that moment, and when the group is no more.
    is_done(&mut romeo, &affiliated("juliet@example.org", "member")).await;
    juliet.send(&join("juliet")).await;
    is_done(&mut romeo, &affiliated("juliet@example.org", "none")).await;
    assert_eq!(line(&mut juliet).await, None);
    is_done(&mut romeo, &affiliated("juliet@example.org", "member")).await;
    assert!(line(&mut juliet).await.is_some());
    let end = format!(
        "<iq type='set' id='d' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query></iq>"
    );
    is_done(&mut romeo, &end).await;
    assert_eq!(line(&mut juliet).await, None);
}

#[tokio::test]
async fn only_members_ask_mark_and_see() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org"]).await;
    romeo.send(&said("one")).await;
    let id = hears(&mut romeo).await.remove(0).0;
    let mut nurse = world.online("nurse", "hall").await;
    let readers = format!(
        "<iq type='get' id='r' to='{COVEN}'><readers xmlns='urn:posthaste:groups:0' id='{id}'/></iq>"
    );
    let activity = format!(
        "<iq type='get' id='g' to='{COVEN}'><activity xmlns='urn:posthaste:groups:0'/></iq>"
    );
    for iq in [&readers, &activity] {
        assert!(nurse.asks(iq).await.contains("<forbidden"));
    }
    let seen = format!(
        "<message type='headline' to='{COVEN}'><seen xmlns='urn:posthaste:groups:0' id='{id}'/></message>"
    );
    for message in [marker("", &id), seen] {
        nurse.send(&message).await;
        nurse.receives(&[&["type='error'", "<forbidden"]]).await;
    }
    let mut juliet = world.online("juliet", "balcony").await;
    let answer = juliet.asks(&activity).await;
    assert!(answer.contains("count='1' by='romeo'/>"), "{answer}");
    // What is not in the archive is ignored, and is no message.
    for id in ["0000000000000001", "x"] {
        juliet.send(&marker("", id)).await;
    }
    juliet.receives_nothing().await;
    romeo.receives_nothing().await;
    let unknown = readers.replace(&id, "0000000000000001");
    assert!(juliet.asks(&unknown).await.contains("<item-not-found"));
}

// ---- how much is sent ------------------------------------------------------------------------------------

/// A group with twelve members far away, and what is sent to them.
async fn twelve(world: &World) -> (Client, Elsewhere) {
    let elsewhere = Elsewhere::default();
    world.node.open_border(Arc::new(elsewhere.clone()));
    let members: Vec<String> = (1..=12).map(|n| format!("m{n}@verona.example")).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let romeo = group(world, &members).await;
    elsewhere.takes();
    (romeo, elsewhere)
}

#[tokio::test]
async fn the_sender_sees_delivered_to_all_and_read_by_seven_of_twelve_in_a_handful_of_stanzas() {
    let world = World::new();
    let (mut romeo, elsewhere) = twelve(&world).await;
    romeo.send(&said("one")).await;
    let id = hears(&mut romeo).await.remove(0).0;
    assert_eq!(elsewhere.takes().len(), 12);
    for n in 1..=12 {
        let from = format!("from='m{n}@verona.example'");
        let received = marker(&from, &id).replace(
            "<displayed xmlns='urn:xmpp:chat-markers:0'",
            "<received xmlns='urn:xmpp:receipts'",
        );
        world.arrives(&received).await;
    }
    for n in 1..=7 {
        world
            .arrives(&marker(&format!("from='m{n}@verona.example/phone'"), &id))
            .await;
    }
    world.pass_seconds(2).await;
    world.pass_seconds(2).await;
    // Nothing of it went to anybody but the sender, and to him twice.
    assert_eq!(elsewhere.takes(), Vec::<String>::new());
    let statuses = romeo.receives_until_quiet().await;
    assert_eq!(statuses.len(), 2, "{statuses:#?}");
    let reached = |delivered, displayed| {
        format!(
            "<status xmlns='urn:posthaste:groups:0'><message id='{id}' members='12' delivered='{delivered}' displayed='{displayed}'/></status>"
        )
    };
    assert!(statuses[0].contains(&reached(1, 0)), "{}", statuses[0]);
    assert!(statuses[1].contains(&reached(12, 7)), "{}", statuses[1]);
    // Who has read it is known to who asks.
    let readers = format!(
        "<iq type='get' id='r' to='{COVEN}'><readers xmlns='urn:posthaste:groups:0' id='{id}'>\
         <set xmlns='http://jabber.org/protocol/rsm'><max>5</max></set></readers></iq>"
    );
    let answer = romeo.asks(&readers).await;
    for part in [
        "members='12' delivered='12' displayed='7'",
        "<member jid='m1@verona.example' delivered='true' displayed='true'/>",
        "<member jid='m10@verona.example' delivered='true'/>",
        "<count>12</count>",
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    assert_eq!(answer.matches("<member ").count(), 5);
}

#[tokio::test]
async fn a_busy_group_tells_its_members_once_in_a_while() {
    let world = World::new();
    let (mut romeo, elsewhere) = twelve(&world).await;
    for n in 1..=100 {
        romeo.send(&said(&format!("m{n}"))).await;
        romeo.receives_until_quiet().await;
    }
    world.pass_seconds(2).await;
    world.pass_seconds(2).await;
    let told = elsewhere.takes();
    assert_eq!(told.len(), 24, "{told:#?}");
    assert!(
        told[23].contains("count='100' by='romeo'/>"),
        "{}",
        told[23]
    );
}

#[tokio::test]
async fn in_a_semi_anonymous_group_members_see_no_addresses() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org", "nurse@example.org"]).await;
    let mut nurse = world.online("nurse", "hall").await;
    nurse.send(&join("angelica")).await;
    romeo.send(&said("one")).await;
    let said = hears(&mut romeo).await;
    let mut juliet = world.online("juliet", "balcony").await;
    let readers = format!(
        "<iq type='get' id='r' to='{COVEN}'><readers xmlns='urn:posthaste:groups:0' id='{}'/></iq>",
        said[0].0
    );
    let answer = juliet.asks(&readers).await;
    assert!(
        answer.contains("<member nick='angelica'/>") && !answer.contains("jid="),
        "{answer}"
    );
    let fields = [
        ("persistentroom", "1"),
        ("membersonly", "1"),
        ("whois", "anyone"),
    ];
    is_done(&mut romeo, &configured(&fields)).await;
    juliet.receives_until_quiet().await;
    let answer = juliet.asks(&readers).await;
    assert!(
        answer.contains("<member jid='nurse@example.org' nick='angelica'/>"),
        "{answer}"
    );
}

// ---- crashes and returns ---------------------------------------------------------------------------------

#[tokio::test]
async fn what_members_were_not_told_before_a_crash_they_are_told_after_it() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org"]).await;
    for text in ["one", "two", "three"] {
        romeo.send(&said(text)).await;
    }
    // Only the first was told at once.
    let world = world.restarted();
    let mut juliet = world.online("juliet", "balcony").await;
    assert_eq!(line(&mut juliet).await, Some((1, 0, "one".into())));
    world.node.send_unsent().await;
    assert_eq!(line(&mut juliet).await, Some((3, 0, "three".into())));
    let marked = async |world: &World| {
        let partition = Partition::new(COVEN).unwrap();
        let rows = world.kv.scan(&partition, Scan::prefix(tables::OUTBOX, 10));
        rows.await.unwrap().len()
    };
    assert_eq!(marked(&world).await, 0);
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&join("romeo")).await;
    romeo.send(&said("four")).await;
    assert_eq!(marked(&world).await, 1);
    world.pass_seconds(2).await;
    world.pass_seconds(2).await;
    assert_eq!(marked(&world).await, 0);
}

#[tokio::test]
async fn a_device_that_comes_back_gets_exactly_what_it_missed() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org"]).await;
    let mut phone = world.device_online("juliet", "phone").await;
    phone.send(&join("juliet")).await;
    phone.receives_until_quiet().await;
    phone.manage_stream().await;
    romeo.send(&said("one")).await;
    assert_eq!(phone.acked_all().await, ["one"]);
    phone.connection.close().await;
    for text in ["two", "three"] {
        romeo.send(&said(text)).await;
    }
    let mut phone = world.device_online("juliet", "phone").await;
    phone.send(&join("juliet")).await;
    assert_eq!(hears(&mut phone).await.len(), 2);
    phone.receives_until_quiet().await;
    phone.connection.close().await;
    // More than is sent so.
    for n in 0..MOST_MISSED + 10 {
        romeo.send(&said(&format!("m{n}"))).await;
        romeo.receives_until_quiet().await;
        world.pass_seconds(1).await;
    }
    let mut phone = world.device_online("juliet", "phone").await;
    phone.send(&join("juliet")).await;
    let received = phone.receives_until_quiet().await;
    let gap = received
        .iter()
        .find(|xml| xml.contains("<gap xmlns='urn:posthaste:groups:0'"))
        .unwrap();
    let said: Vec<String> = received.iter().filter_map(|xml| body(xml)).collect();
    assert_eq!((said.len(), &*said[0]), (MOST_MISSED, "m10"));
    let first = received
        .iter()
        .find(|xml| xml.contains("<body>m10</body>"))
        .unwrap();
    let first = between(first, "<stanza-id xmlns='urn:xmpp:sid:0' id='", "'").unwrap();
    assert!(gap.contains(&format!("before='{first}'")), "{gap}");
}

impl Client {
    /// The texts that come now, all of them confirmed.
    async fn acked_all(&mut self) -> Vec<String> {
        let received = self.receives_until_quiet().await;
        let stanzas = received.iter().filter(|xml| !xml.starts_with("<r "));
        let h = stanzas.count();
        self.send(&format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>"))
            .await;
        self.receives_until_quiet().await;
        received.iter().filter_map(|xml| body(xml)).collect()
    }
}

#[tokio::test]
async fn a_member_with_a_nickname_speaks_without_being_there() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org", "nurse@example.org"]).await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut nurse = world.online("nurse", "kitchen").await;
    let refusal: &[&str] = &["type='error'", "<not-acceptable "];
    // Nobody would know who it is.
    juliet.send(&said("unnamed")).await;
    juliet.receives(&[refusal]).await;
    is_done(&mut juliet, &registered("jules")).await;
    // Registering makes members known to who is there.
    romeo.receives_until_quiet().await;
    juliet.send(&said("a")).await;
    let from_juliet: &[&str] = &[
        "from='coven@conference.example.org/jules'",
        "type='groupchat'",
        "<body>a</body>",
        "<occupant-id ",
        "<counted xmlns='urn:posthaste:groups:0' n='1'/>",
        "<stanza-id ",
    ];
    // She learns by her own copy which number it has.
    juliet.receives(&[from_juliet]).await;
    romeo.receives(&[from_juliet]).await;
    assert!(line(&mut romeo).await.is_some());
    // Nobody says anything to single ones from outside, or in another's name.
    let private = format!("<message to='{COVEN}/romeo' type='chat'><body>psst</body></message>");
    juliet.send(&private).await;
    juliet.receives(&[refusal]).await;
    nurse.send(&said("b")).await;
    nurse.receives(&[refusal]).await;
    // Who is there under another name is known by that.
    juliet.send(&join("countess")).await;
    juliet.receives_until_quiet().await;
    let mut garden = world.online("juliet", "garden").await;
    garden.send(&said("c")).await;
    garden.receives(&[refusal]).await;
    // A room that is open to all is no group.
    is_done(&mut romeo, &configured(&[("membersonly", "0")])).await;
    juliet.connection.close().await;
    garden.receives_until_quiet().await;
    garden.send(&said("d")).await;
    garden.receives(&[refusal]).await;
}

fn registered(nick: &str) -> String {
    format!(
        "<iq type='set' id='r' to='{COVEN}'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
         <field var='muc#register_roomnick'><value>{nick}</value></field></x></query></iq>"
    )
}

#[tokio::test]
async fn a_member_who_sends_markers_too_fast_has_to_wait() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org"]).await;
    let mut juliet = world.online("juliet", "balcony").await;
    romeo.send(&said("one")).await;
    let (id, _) = hears(&mut romeo).await.remove(0);
    juliet.receives_until_quiet().await;
    let receipt = format!(
        "<message to='{COVEN}' type='groupchat'><received xmlns='urn:xmpp:receipts' id='{id}'/></message>"
    );
    let seen = format!(
        "<message to='{COVEN}' type='headline'><seen xmlns='urn:posthaste:groups:0' id='{id}'/></message>"
    );
    let refusals = async |client: &mut Client| {
        let received = client.receives_until_quiet().await;
        let is_refusal = |xml: &&String| {
            xml.contains("<error type='wait'>") && xml.contains("<policy-violation ")
        };
        received.iter().filter(is_refusal).count()
    };
    // As many as one who comes back is sent.
    for _ in 0..100 {
        juliet.send(&receipt).await;
        juliet.send(&seen).await;
    }
    assert_eq!(refusals(&mut juliet).await, 0);
    juliet.send(&marker("", &id)).await;
    juliet.send(&seen).await;
    assert_eq!(refusals(&mut juliet).await, 2);
    // Nobody else waits, and neither does she for long.
    romeo.send(&marker("", &id)).await;
    assert_eq!(refusals(&mut romeo).await, 0);
    world.pass_seconds(1).await;
    juliet.send(&marker("", &id)).await;
    assert_eq!(refusals(&mut juliet).await, 0);
}

#[tokio::test]
async fn whoever_has_no_voice_has_none_with_another_session_either() {
    let world = World::new();
    let mut romeo = group(&world, &["juliet@example.org"]).await;
    let mut juliet = world.online("juliet", "balcony").await;
    is_done(&mut juliet, &registered("jules")).await;
    juliet.send(&join("jules")).await;
    juliet.receives_until_quiet().await;
    let silence = format!(
        "<iq type='set' id='s' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
         <item nick='jules' role='visitor'/></query></iq>"
    );
    is_done(&mut romeo, &silence).await;
    let mut garden = world.online("juliet", "garden").await;
    garden.send(&said("psst")).await;
    garden.receives(&[&["type='error'", "<forbidden "]]).await;
}
