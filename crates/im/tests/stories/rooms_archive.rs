//! What was said in a room is there later, for whoever may enter it, and it stays clear who said it (XEP-0313, XEP-0421,
//! XEP-0410).

use crate::archive::{ask, between, query};
use crate::harness::{Client, World, body};
use crate::rooms::{COVEN, inside, join, said};

/// A query of the room's archive.
pub(crate) fn of_room(id: &str, fields: &[(&str, &str)], set: &str) -> String {
    query(id, fields, set).replace("<iq ", &format!("<iq to='{COVEN}' "))
}

pub(crate) fn occupant_id(xml: &str) -> String {
    assert_eq!(xml.matches("<occupant-id ").count(), 1, "{xml}");
    between(xml, "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='", "'").unwrap()
}

#[tokio::test]
async fn what_was_said_is_read_later_by_who_was_never_there() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    let subject =
        format!("<message to='{COVEN}' type='groupchat'><subject>fog</subject></message>");
    juliet.send(&subject).await;
    juliet.send(&said("when")).await;
    romeo.send(&said("where")).await;
    let private =
        format!("<message to='{COVEN}/firstwitch' type='chat'><body>psst</body></message>");
    romeo.send(&private).await;
    let live = romeo.receives_until_quiet().await;
    let mut nurse = world.online("nurse", "hall").await;
    let answer = ask(&mut nurse, &of_room("q", &[], "")).await;
    assert_eq!(answer.bodies, ["when", "where"]);
    assert_eq!(answer.messages.len(), 3, "{:#?}", answer.messages);
    assert!(answer.messages[0].contains("<subject>fog</subject>"));
    assert!(answer.iq.contains("complete='true'") && answer.iq.contains("<count>3</count>"));
    for (live, later) in live.iter().zip(&answer.messages[..]).skip(1) {
        let id = between(live, "<stanza-id xmlns='urn:xmpp:sid:0' id='", "'").unwrap();
        assert!(later.contains(&format!("<result xmlns='urn:xmpp:mam:2' id='{id}'")));
        assert_eq!(occupant_id(live), occupant_id(later));
    }
    let last = &answer.messages[2];
    for part in [
        "<message from='coven@conference.example.org' to='nurse@example.org/hall'>",
        "from='coven@conference.example.org/thirdwitch' id='where' type='groupchat'",
    ] {
        assert!(last.contains(part), "{part} in {last}");
    }
    // §5.1.3: the forwarded message has no address, and says who it was only to those who may know.
    assert_eq!(last.matches(" to='").count(), 1, "{last}");
    assert!(!last.contains("romeo@"), "{last}");
    juliet.receives_until_quiet().await;
    let moderators = ask(&mut juliet, &of_room("q", &[], "")).await;
    assert!(moderators.messages[2].contains("jid='romeo@example.org/pda'"));
}

#[tokio::test]
async fn a_page_ends_where_it_is_asked_to_and_the_next_goes_on() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    for number in 0..30 {
        juliet.send(&said(&format!("j{number}"))).await;
        romeo.send(&said(&format!("r{number}"))).await;
    }
    for client in [&mut juliet, &mut romeo] {
        client.receives_until_quiet().await;
    }
    let newest = ask(&mut romeo, &of_room("a", &[], "<max>2</max><before/>")).await;
    assert_eq!(newest.bodies, ["j29", "r29"]);
    let first = between(&newest.iq, "<first>", "</first>").unwrap();
    let set = format!("<max>2</max><before>{first}</before>");
    let older = ask(&mut romeo, &of_room("b", &[], &set)).await;
    assert_eq!(older.bodies, ["j28", "r28"]);
    let fields = [("after-id", &*first)];
    let after = ask(&mut romeo, &of_room("c", &fields, "")).await;
    assert_eq!(after.bodies, ["r29"]);
    let unknown = ask(
        &mut romeo,
        &of_room("d", &[("after-id", "0000000000000001")], ""),
    )
    .await;
    assert!(unknown.iq.contains("<item-not-found "), "{}", unknown.iq);
    // Who has said it: by the nickname for all, by the address for those who may see it.
    let by_nick = [("with", "coven@conference.example.org/thirdwitch")];
    let with = ask(&mut romeo, &of_room("e", &by_nick, "<max>3</max>")).await;
    assert_eq!(with.bodies, ["r0", "r1", "r2"]);
    let by_jid = [("with", "juliet@example.org")];
    let blind = ask(&mut romeo, &of_room("f", &by_jid, "<max>3</max>")).await;
    assert!(blind.bodies.is_empty() && blind.iq.contains("complete='true'"));
    let seen = ask(&mut juliet, &of_room("g", &by_jid, "<max>3</max>")).await;
    assert_eq!(seen.bodies, ["j0", "j1", "j2"]);
}

#[tokio::test]
async fn a_page_of_long_messages_is_short_and_says_so() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    for _ in 0..6 {
        juliet.send(&said(&"x".repeat(8_000))).await;
    }
    let mut nurse = world.online("nurse", "hall").await;
    let (mut found, mut set) = (0, String::new());
    for page in 0.. {
        let answer = ask(&mut nurse, &of_room("q", &[], &set)).await;
        found += answer.bodies.len();
        if answer.iq.contains("complete='true'") {
            assert!(page > 0, "all fits into one page");
            break;
        }
        let last = between(&answer.iq, "<last>", "</last>").unwrap();
        set = format!("<after>{last}</after>");
    }
    assert_eq!(found, 6);
}

#[tokio::test]
async fn an_occupant_keeps_its_id_whatever_it_calls_itself() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    let id = occupant_id(&juliet.receives_until_quiet().await[0]);
    let forged = said("where").replace(
        "</body>",
        "</body><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>",
    );
    romeo.send(&forged).await;
    let private = forged
        .replace("groupchat", "chat")
        .replace(COVEN, &format!("{COVEN}/firstwitch"));
    romeo.send(&private).await;
    romeo.send(&format!("<presence to='{COVEN}/hag'/>")).await;
    let leave = format!("<presence type='unavailable' to='{COVEN}/hag'/>");
    romeo.send(&leave).await;
    romeo.send(&join("crone")).await;
    let received = juliet.receives_until_quiet().await;
    assert_eq!(received.len(), 6, "{received:#?}");
    for xml in &received {
        assert_eq!(occupant_id(xml), id);
    }
    // Another person has another one, and in another room everybody has.
    romeo.receives_until_quiet().await;
    juliet.send(&said("when")).await;
    assert_ne!(occupant_id(&romeo.receives_until_quiet().await[0]), id);
    romeo.send(&join("crone").replace("coven@", "heath@")).await;
    assert_ne!(occupant_id(&romeo.receives_until_quiet().await[0]), id);
}

#[tokio::test]
async fn the_room_answers_whether_one_is_there() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = world.online("romeo", "orchard").await;
    let ping = |nick: &str| {
        format!("<iq type='get' id='p' to='{COVEN}/{nick}'><ping xmlns='urn:xmpp:ping'/></iq>")
    };
    let pong = juliet.asks(&ping("firstwitch")).await;
    assert!(
        pong.contains("from='coven@conference.example.org/firstwitch'"),
        "{pong}"
    );
    assert!(pong.contains("type='result'"));
    let not_there = romeo.asks(&ping("firstwitch")).await;
    assert!(not_there.contains("<not-acceptable "), "{not_there}");
    romeo.send(&join("thirdwitch")).await;
    romeo.receives_until_quiet().await;
    juliet.receives_until_quiet().await;
    // Somebody else is asked, not the room.
    romeo.send(&ping("firstwitch")).await;
    romeo.receives_nothing().await;
    juliet
        .receives(&[&["from='coven@conference.example.org/thirdwitch'", "<ping "]])
        .await;
}

#[tokio::test]
async fn a_room_announces_what_is_around_it() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let info = format!(
        "<iq type='get' id='i' to='{COVEN}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    let answer = juliet.asks(&info).await;
    for feature in [
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
        "urn:xmpp:sid:0",
        "urn:xmpp:occupant-id:0",
        "http://jabber.org/protocol/muc#self-ping-optimization",
        "urn:xmpp:message-moderate:1",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:message-retract:1#tombstone",
    ] {
        assert!(
            answer.contains(&format!("<feature var='{feature}'/>")),
            "{feature}: {answer}"
        );
    }
    let service = info.replace("coven@", "");
    assert!(
        juliet
            .asks(&service)
            .await
            .contains("urn:xmpp:occupant-id:0")
    );
}

/// Changes settings of the room of which this client is the owner.
pub(crate) async fn configure(owner: &mut Client, fields: &[(&str, &str)]) {
    let field = |(var, value): &(&str, &str)| {
        format!("<field var='muc#roomconfig_{var}'><value>{value}</value></field>")
    };
    let fields: String = fields.iter().map(field).collect();
    let iq = format!(
        "<iq type='set' id='c' to='{COVEN}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x></query></iq>"
    );
    let answer = owner.asks(&iq).await;
    assert!(answer.contains("type='result'"), "{answer}");
}

#[tokio::test]
async fn only_who_may_enter_may_read_and_a_room_has_no_preferences() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    let mut romeo = inside(&world, "romeo", "thirdwitch").await;
    juliet.send(&said("when")).await;
    let mut nurse = world.online("nurse", "hall").await;
    let prefs = format!("<iq to='{COVEN}' type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>");
    assert!(nurse.asks(&prefs).await.contains("<service-unavailable "));
    let nobody = of_room("q", &[], "").replace("coven@", "heath@");
    assert!(nurse.asks(&nobody).await.contains("<item-not-found "));
    configure(
        &mut juliet,
        &[("passwordprotectedroom", "1"), ("roomsecret", "cauldron")],
    )
    .await;
    assert!(
        nurse
            .asks(&of_room("q", &[], ""))
            .await
            .contains("<forbidden ")
    );
    romeo.receives_until_quiet().await;
    assert_eq!(
        ask(&mut romeo, &of_room("q", &[], "")).await.bodies,
        ["when"]
    );
    configure(
        &mut juliet,
        &[("passwordprotectedroom", "0"), ("enablelogging", "0")],
    )
    .await;
    juliet.receives_until_quiet().await;
    let off = juliet.asks(&of_room("q", &[], "")).await;
    assert!(off.contains("<service-unavailable "), "{off}");
}

#[tokio::test]
async fn a_kept_rooms_ids_outlive_a_restart() {
    let world = World::new();
    let mut juliet = inside(&world, "juliet", "firstwitch").await;
    configure(&mut juliet, &[("persistentroom", "1")]).await;
    juliet.send(&said("when")).await;
    let received = juliet.receives_until_quiet().await;
    let id = occupant_id(received.iter().find(|xml| body(xml).is_some()).unwrap());
    let world = world.restarted();
    let mut juliet = world.online("juliet", "pda").await;
    juliet.send(&join("firstwitch")).await;
    let received = juliet.receives_until_quiet().await;
    for xml in received.iter().filter(|xml| xml.contains("/firstwitch'")) {
        assert_eq!(occupant_id(xml), id);
    }
    let answer = ask(&mut juliet, &of_room("q", &[], "")).await;
    assert_eq!(occupant_id(answer.messages.last().unwrap()), id);
}
