//! A device goes on in each group where it was, and its room is told how far it has come (docs/protocol/groups.md §4,
//! §5). The room is far away here.

use std::sync::{Arc, Mutex};

use posthaste_im::border::{Beyond, Parcel};
use posthaste_im::config::Config;
use posthaste_im::session::QueueLimits;
use posthaste_im::tables;
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::error::StanzaError;

use crate::harness::{Client, World, config};

const COVEN: &str = "coven@chat.verona.example";
const ENTERING: &str = "<presence to='coven@chat.verona.example/crone'><x xmlns='http://jabber.org/protocol/muc'/></presence>";

/// What goes to the room.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<Vec<Parcel>>>);

impl Beyond for Room {
    fn pass(&self, parcel: Parcel) -> Result<(), Box<(Parcel, StanzaError)>> {
        self.0.lock().unwrap().push(parcel);
        Ok(())
    }
}

impl Room {
    fn takes(&self) -> Vec<String> {
        let parcels = std::mem::take(&mut *self.0.lock().unwrap());
        let xml = parcels.into_iter().map(|parcel| parcel.stanza.encode());
        xml.map(|xml| String::from_utf8(xml.to_vec()).unwrap())
            .collect()
    }

    /// From where a client goes on that enters now.
    async fn since(&self, client: &mut Client, entering: &str) -> Option<String> {
        client.send(entering).await;
        let presence = self.takes().pop().unwrap();
        let since = presence.split("<since xmlns='urn:posthaste:groups:0' id='");
        Some(since.into_iter().nth(1)?.split('\'').next()?.to_owned())
    }
}

fn position(n: u32) -> String {
    format!("{:016x}", (1_795_338_487_000_u64 << 16) + u64::from(n))
}

async fn says(world: &World, client: &Client, n: u32) {
    let (to, id) = (client.connection.jid(), position(n));
    let xml = format!(
        "<message from='{COVEN}/hecate' to='{to}' type='groupchat'><body>m{n}</body>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='{COVEN}' id='{id}'/>\
         <counted xmlns='urn:posthaste:groups:0' n='{n}'/></message>"
    );
    world.arrives(&xml).await;
}

fn world_with(limits: QueueLimits) -> (World, Room) {
    let config = Config {
        queue: limits,
        ..config()
    };
    let (world, room) = (
        World::with(config, Arc::new(MemoryKv::new())),
        Room::default(),
    );
    world.node.open_border(Arc::new(room.clone()));
    (world, room)
}

fn world() -> (World, Room) {
    world_with(Config::default().queue)
}

#[tokio::test]
async fn a_device_goes_on_after_what_it_has_confirmed_also_after_a_crash() {
    let (world, room) = world();
    let mut phone = world.device("juliet", "phone").await;
    assert_eq!(room.since(&mut phone, ENTERING).await, None);
    phone.manage_stream_among_others().await;
    for n in 1..=3 {
        says(&world, &phone, n).await;
    }
    assert_eq!(phone.bodies().await, ["m1", "m2", "m3"]);
    phone.send("<a xmlns='urn:xmpp:sm:3' h='2'/>").await;
    phone.receives_until_quiet().await;
    phone.connection.close().await;
    room.takes();
    let mut phone = world.device("juliet", "phone").await;
    assert_eq!(room.since(&mut phone, ENTERING).await, Some(position(2)));
    let mut laptop = world.device("juliet", "laptop").await;
    assert_eq!(room.since(&mut laptop, ENTERING).await, None);
    world.pass_seconds(2).await;
    let world = world.restarted();
    world.node.open_border(Arc::new(room.clone()));
    let mut phone = world.device("juliet", "phone").await;
    assert_eq!(room.since(&mut phone, ENTERING).await, Some(position(2)));
    // Who says from where, is believed.
    let asking = ENTERING.replace("/></presence>", "><history maxstanzas='0'/></x></presence>");
    assert_eq!(room.since(&mut phone, &asking).await, None);
    let naming = ENTERING.replace(
        "/></presence>",
        "><since xmlns='urn:posthaste:groups:0' id='x'/></x></presence>",
    );
    assert_eq!(room.since(&mut phone, &naming).await, Some("x".into()));
}

#[tokio::test]
async fn what_did_not_fit_is_not_behind_the_cursor() {
    let (world, room) = world_with(QueueLimits {
        bytes: 100_000,
        items: 3,
    });
    let mut phone = world.device("juliet", "phone").await;
    room.since(&mut phone, ENTERING).await;
    phone.manage_stream_among_others().await;
    for n in 1..=5 {
        says(&world, &phone, n).await;
    }
    assert_eq!(phone.bodies().await, ["m1", "m2", "m3"]);
    phone.send("<a xmlns='urn:xmpp:sm:3' h='3'/>").await;
    says(&world, &phone, 6).await;
    assert_eq!(phone.bodies().await, ["m6"]);
    phone.send("<a xmlns='urn:xmpp:sm:3' h='4'/>").await;
    phone.receives_until_quiet().await;
    assert_eq!(room.since(&mut phone, ENTERING).await, Some(position(3)));
}

#[tokio::test]
async fn the_room_is_told_once_a_second_how_far_its_member_has_come() {
    let (world, room) = world();
    let mut phone = world.device("juliet", "phone").await;
    let mut plain = world.online("juliet", "balcony").await;
    room.since(&mut phone, ENTERING).await;
    for n in 1..=20 {
        says(&world, &phone, n).await;
        says(&world, &plain, n).await;
    }
    phone.receives_until_quiet().await;
    plain.receives_until_quiet().await;
    assert!(room.takes().is_empty());
    world.pass_seconds(1).await;
    let told = room.takes();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [
        "from='juliet@example.org'",
        "type='groupchat'",
        &format!(
            "<received xmlns='urn:xmpp:receipts' id='{}'/>",
            position(20)
        ),
    ] {
        assert!(told[0].contains(part), "{part} in {}", told[0]);
    }
    world.pass_seconds(1).await;
    assert!(room.takes().is_empty());
    assert_eq!(world.keys("juliet", tables::ROOM_CURSOR).await, 1);
}

/// Whoever speaks without being there gets a copy of it: that tells nothing of what was said before.
#[tokio::test]
async fn what_a_device_gets_where_it_has_not_entered_moves_no_cursor() {
    let (world, room) = world();
    let mut phone = world.device("juliet", "phone").await;
    assert_eq!(room.since(&mut phone, ENTERING).await, None);
    phone.manage_stream_among_others().await;
    says(&world, &phone, 1).await;
    assert_eq!(phone.bodies().await, ["m1"]);
    phone.send("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    phone.receives_until_quiet().await;
    phone.connection.close().await;
    let mut phone = world.device("juliet", "phone").await;
    phone.manage_stream_among_others().await;
    says(&world, &phone, 9).await;
    assert_eq!(phone.bodies().await, ["m9"]);
    phone.send("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    phone.receives_until_quiet().await;
    room.takes();
    assert_eq!(room.since(&mut phone, ENTERING).await, Some(position(1)));
}
