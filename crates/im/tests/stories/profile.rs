//! Bookmarks, pictures and read markers live in nodes and are seen the old way too (XEP-0402, 0398, 0490).

use std::sync::Arc;

use crate::harness::{Client, World, config};
use posthaste_kv::memory::MemoryKv;

const ROOMS: &str = "urn:xmpp:bookmarks:1";

fn pubsub(kind: &str, inner: &str) -> String {
    format!(
        "<iq type='{kind}' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inner}</pubsub></iq>"
    )
}

fn private(kind: &str, inner: &str) -> String {
    format!(
        "<iq type='{kind}' id='o'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>{inner}</storage></query></iq>"
    )
}

fn vcard(inner: &str) -> String {
    format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'>{inner}</vCard></iq>")
}

/// Makes a device listen to nodes of its own account by proving that it wants to.
async fn listening(world: &World, user: &str, resource: &str, node: &str) -> Client {
    let mut client = world.connect(user, resource).await;
    let info = posthaste_proto::xep::disco::Info {
        features: vec![format!("{node}+notify")],
        ..Default::default()
    };
    let caps = posthaste_proto::xep::caps::Caps::of(&info, "urn:client").unwrap();
    let xml = |element: posthaste_proto::xml::Element| {
        String::from_utf8(element.to_bytes("jabber:client")).unwrap()
    };
    client
        .send(&format!("<presence>{}</presence>", xml(caps.to_element())))
        .await;
    let answer = xml(info.to_element());
    client
        .send(&format!(
            "<iq type='result' id='caps' to='{user}@example.org'>{answer}</iq>"
        ))
        .await;
    client.receives_until_quiet().await;
    client
}

#[tokio::test]
async fn old_and_new_clients_share_their_bookmarks() {
    let world = World::new();
    let mut new = listening(&world, "juliet", "new", ROOMS).await;
    let mut old = world.online("juliet", "old").await;
    new.receives_until_quiet().await;
    let room = |name: &str, more: &str| {
        format!(
            "<conference xmlns='{ROOMS}' name='{name}' autojoin='true'><nick>JC</nick>{more}</conference>"
        )
    };
    let extensions = "<extensions><state xmlns='urn:mine'/></extensions>";
    new.asks(&pubsub(
        "set",
        &format!(
            "<publish node='{ROOMS}'><item id='play@rooms'>{}</item></publish>",
            room("The Play", extensions)
        ),
    ))
    .await;
    new.receives_until_quiet().await;
    let shown = old.asks(&private("get", "")).await;
    let play =
        "<conference jid='play@rooms' name='The Play' autojoin='true'><nick>JC</nick></conference>";
    assert!(shown.contains(play), "{shown}");
    // The old client adds one, and a page of the web.
    let orchard = "<conference jid='Orchard@rooms' name='Orchard'/>";
    let page = "<url name='Plays' url='https://example.org/'/>";
    let reply = old
        .asks(&private("set", &format!("{play}{orchard}{page}")))
        .await;
    assert!(reply.contains("type='result'"), "{reply}");
    new.receives(&[&["<item id='orchard@rooms'>", "name='Orchard'"]])
        .await;
    // It renames one and removes the other; what the new client keeps beside it stays.
    let renamed = play.replace("The Play", "Play");
    old.asks(&private("set", &format!("{renamed}{page}"))).await;
    new.receives(&[
        &["<item id='play@rooms'>", "name='Play'", "urn:mine"],
        &["<retract id='orchard@rooms'/>"],
    ])
    .await;
    let shown = old.asks(&private("get", "")).await;
    assert!(
        shown.contains(page) && shown.contains(&renamed) && !shown.contains("orchard"),
        "{shown}"
    );
    let items = new
        .asks(&pubsub("get", &format!("<items node='{ROOMS}'/>")))
        .await;
    assert_eq!(items.matches("<item ").count(), 1);
    // Nobody else sees them, also when an old client has made the node.
    let mut romeo = world.online("romeo", "orchard").await;
    romeo
        .asks(&private("set", "<conference jid='a@rooms'/>"))
        .await;
    let ask = pubsub("get", &format!("<items node='{ROOMS}'/>"))
        .replace("id='p'", "id='p' to='romeo@example.org'");
    assert!(new.asks(&ask).await.contains("closed-node"));
}

#[tokio::test]
async fn a_picture_in_the_vcard_is_published_and_the_other_way_round() {
    let world = World::new();
    world.befriend("romeo", "juliet").await;
    let mut romeo = listening(&world, "romeo", "orchard", "urn:xmpp:avatar:metadata").await;
    let mut juliet = world.online("juliet", "balcony").await;
    romeo.receives_until_quiet().await;
    let card =
        "<FN>Juliet</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>iVBO\nRw0KGgo=</BINVAL></PHOTO>";
    assert!(juliet.asks(&vcard(card)).await.contains("type='result'"));
    let told = romeo.receives_until_quiet().await.remove(0);
    assert!(told.contains("<info bytes='8' id='"), "{told}");
    let id_here = told.split("<item id='").nth(1).unwrap();
    let id_here = id_here.split('\'').next().unwrap().to_owned();
    assert_eq!(id_here.len(), 40);
    let ask_data = pubsub(
        "get",
        &format!("<items node='urn:xmpp:avatar:data'><item id='{id_here}'/></items>"),
    )
    .replace("id='p'", "id='p' to='juliet@example.org'");
    assert!(romeo.asks(&ask_data).await.contains("iVBORw0KGgo="));
    let read = "<iq type='get' id='v' to='juliet@example.org'><vCard xmlns='vcard-temp'/></iq>";
    let shown = romeo.asks(read).await;
    assert!(
        shown.contains("<FN>Juliet</FN>") && shown.contains("<BINVAL>iVBORw0KGgo=</BINVAL>"),
        "{shown}"
    );
    // The same card again tells nobody anything.
    juliet.asks(&vcard(card)).await;
    romeo.receives_nothing().await;
    // Presence carries the hash, unless the client has no picture to show.
    juliet.send("<presence><show>away</show></presence>").await;
    let photo = format!("<photo>{id_here}</photo>");
    romeo.receives(&[&["away", &photo]]).await;
    let none = "<x xmlns='vcard-temp:x:update'><photo/></x>";
    juliet.send(&format!("<presence>{none}</presence>")).await;
    romeo.receives(&[&[none]]).await;
    juliet
        .send("<presence><x xmlns='vcard-temp:x:update'/></presence>")
        .await;
    romeo.receives(&[&[&photo]]).await;
    juliet.send("<presence to='romeo@example.org'/>").await;
    romeo.receives(&[&[&photo]]).await;
    // A card without a photo says nothing of the picture, one with an empty photo takes it away.
    juliet.asks(&vcard("<FN>J</FN>")).await;
    assert!(romeo.asks(read).await.contains("iVBORw0KGgo="));
    juliet.asks(&vcard("<FN>J</FN><PHOTO/>")).await;
    romeo
        .receives(&[&["<metadata xmlns='urn:xmpp:avatar:metadata'/>"]])
        .await;
    let shown = romeo.asks(read).await;
    assert!(!shown.contains("PHOTO"), "{shown}");
}

#[tokio::test]
async fn a_picture_for_contacts_is_not_in_a_strangers_vcard() {
    let mut config = config();
    config.hosts[0].public_vcards = true;
    let world = World::with(config, Arc::new(MemoryKv::new()));
    let mut juliet = world.online("juliet", "balcony").await;
    juliet
        .asks(&pubsub("set", "<publish node='urn:xmpp:avatar:data'><item id='abc'><data xmlns='urn:xmpp:avatar:data'>AAAA</data></item></publish>"))
        .await;
    juliet
        .asks(&pubsub("set", "<publish node='urn:xmpp:avatar:metadata'><item id='abc'><metadata xmlns='urn:xmpp:avatar:metadata'><info id='web' url='https://example.org/' bytes='1' type='image/gif'/><info id='abc' bytes='3' type='image/gif'/></metadata></item></publish>"))
        .await;
    juliet.asks(&vcard("<FN>Juliet</FN>")).await;
    let read = "<iq type='get' id='v' to='juliet@example.org'><vCard xmlns='vcard-temp'/></iq>";
    let mut nurse = world.online("nurse", "kitchen").await;
    let shown = nurse.asks(read).await;
    assert!(
        shown.contains("Juliet") && !shown.contains("PHOTO"),
        "{shown}"
    );
    assert!(
        juliet
            .asks(read)
            .await
            .contains("<TYPE>image/gif</TYPE><BINVAL>AAAA</BINVAL>")
    );
    // A photo that is no picture, or is somewhere in the web, stays in the card.
    for photo in [
        "<PHOTO><BINVAL>no!</BINVAL></PHOTO>",
        "<PHOTO><EXTVAL>https://example.org/</EXTVAL></PHOTO>",
    ] {
        juliet.asks(&vcard(photo)).await;
        assert!(nurse.asks(read).await.contains(photo));
    }
}

#[tokio::test]
async fn one_message_says_to_all_what_was_read() {
    let world = World::new();
    let mut phone = listening(&world, "juliet", "phone", "urn:xmpp:mds:displayed:0").await;
    let mut juliet = world.online("juliet", "balcony").await;
    let mut romeo = world.online("romeo", "orchard").await;
    phone.receives_until_quiet().await;
    let to_sender = "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>";
    let to_devices = "<displayed xmlns='urn:xmpp:mds:displayed:0'><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.org' id='1'/></displayed>";
    juliet
        .send(&format!(
            "<message to='romeo@example.org' type='chat'>{to_sender}{to_devices}</message>"
        ))
        .await;
    let received = romeo.receives_until_quiet().await.concat();
    assert!(
        received.contains(to_sender) && !received.contains("mds"),
        "{received}"
    );
    phone
        .receives(&[&[
            "<items node='urn:xmpp:mds:displayed:0'><item id='romeo@example.org'>",
            to_devices,
        ]])
        .await;
    let ask = pubsub("get", "<items node='urn:xmpp:mds:displayed:0'/>")
        .replace("id='p'", "id='p' to='juliet@example.org'");
    assert!(romeo.asks(&ask).await.contains("closed-node"));
}
