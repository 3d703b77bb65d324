//! People on other servers: what leaves us, what comes in, and what is not lost in between.

use std::sync::{Arc, Mutex};

use crate::harness::{World, chat, config};
use posthaste_im::border::{Beyond, Parcel};
use posthaste_kv::memory::MemoryKv;
use posthaste_proto::error::{StanzaError, StreamCondition};
use posthaste_proto::stanza::Stanza;
use posthaste_proto::xml::{Limits, StreamContext};

/// Another server, as far as it can be reached: it takes so many parcels and keeps them.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Vec<Parcel>>>);

/// Room for so many parcels.
const ROOM: usize = 3;

impl Beyond for Elsewhere {
    fn pass(&self, parcel: Parcel) -> Result<(), Box<(Parcel, StanzaError)>> {
        let mut parcels = self.0.lock().unwrap();
        if parcels.len() >= ROOM {
            return Err(Box::new((parcel, StanzaError::resource_constraint())));
        }
        parcels.push(parcel);
        Ok(())
    }
}

impl Elsewhere {
    fn takes(&self) -> Vec<Parcel> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn bodies(&self) -> Vec<String> {
        let parcels = self.0.lock().unwrap();
        let texts = parcels.iter().map(|parcel| {
            let body = parcel.stanza.children().find(|child| child.name == "body");
            body.map_or_else(
                || format!("{:?}", parcel.stanza.kind),
                |body| body.to_element().unwrap().text(),
            )
        });
        texts.collect()
    }
}

/// A world with a way to everywhere.
fn open_world() -> (World, Elsewhere) {
    let (world, elsewhere) = (World::new(), Elsewhere::default());
    world.node.open_border(Arc::new(elsewhere.clone()));
    (world, elsewhere)
}

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client()).unwrap()
}

async fn comes_in(world: &World, xml: &str) {
    world.node.enter(stanza(xml)).await.unwrap();
}

#[tokio::test]
async fn without_a_border_there_is_no_other_server() {
    let world = World::new();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@capulet.example", "hello")).await;
    romeo
        .receives(&[&["from='juliet@capulet.example'", "remote-server-not-found"]])
        .await;
    assert!(world.restarted_is_silent().await);
}

#[tokio::test]
async fn a_message_leaves_us_and_the_answer_comes_in() {
    let (world, elsewhere) = open_world();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("juliet@capulet.example", "hello")).await;
    assert_eq!(elsewhere.bodies(), ["hello"]);
    comes_in(
        &world,
        "<message from='juliet@capulet.example/balcony' to='romeo@example.org' type='chat'><body>who?</body>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='forged'/></message>",
    )
    .await;
    let received = romeo.receives_until_quiet().await;
    assert_eq!(received.len(), 1);
    assert!(received[0].contains("who?") && !received[0].contains("forged"));
}

#[tokio::test]
async fn nobody_from_beyond_speaks_for_us() {
    let (world, _) = open_world();
    for (xml, condition) in [
        (
            "<message from='juliet@example.org' to='romeo@example.org'/>",
            StreamCondition::InvalidFrom,
        ),
        (
            "<message to='romeo@example.org'/>",
            StreamCondition::ImproperAddressing,
        ),
        (
            "<message from='juliet@capulet.example'/>",
            StreamCondition::ImproperAddressing,
        ),
    ] {
        let error = world.node.enter(stanza(xml)).await.unwrap_err();
        assert_eq!(error.condition, condition, "{xml}");
    }
}

#[tokio::test]
async fn a_message_is_not_lost_in_a_crash_before_the_other_server_has_it() {
    let (world, elsewhere) = open_world();
    let mut romeo = world.online("romeo", "orchard").await;
    for text in ["one", "two", "three"] {
        romeo.send(&chat("juliet@capulet.example", text)).await;
    }
    world.node.delivered(elsewhere.takes().remove(0));

    let restarted = world.restarted();
    let later = Elsewhere::default();
    restarted.node.open_border(Arc::new(later.clone()));
    restarted.node.send_unsent().await;
    assert_eq!(later.bodies(), ["two", "three"]);
    for parcel in later.takes() {
        assert!(parcel.stored_at().is_some());
        restarted.node.delivered(parcel);
    }
    assert!(restarted.restarted_is_silent().await);
}

#[tokio::test]
async fn a_message_without_an_id_gets_one_so_that_a_repeat_is_known() {
    let (world, elsewhere) = open_world();
    let mut romeo = world.online("romeo", "orchard").await;
    romeo
        .send("<message to='juliet@capulet.example'><body>hello</body></message>")
        .await;
    let first = elsewhere.takes().remove(0);
    assert!(first.stanza.id.is_some());

    let restarted = world.restarted();
    let later = Elsewhere::default();
    restarted.node.open_border(Arc::new(later.clone()));
    restarted.node.send_unsent().await;
    assert_eq!(later.takes().remove(0).stanza, first.stanza);
}

#[tokio::test]
async fn what_is_under_way_is_not_sent_again_when_its_home_comes_back_to_memory() {
    let (world, elsewhere) = open_world();
    let romeo = {
        let mut romeo = world.online("romeo", "orchard").await;
        romeo.send(&chat("juliet@capulet.example", "once")).await;
        romeo
    };
    romeo.connection.close().await;
    world.pass_seconds(60).await;
    world.node.forget_idle_homes();
    let _romeo = world.online("romeo", "orchard").await;
    world.node.send_unsent().await;
    assert_eq!(elsewhere.bodies(), ["once"]);
}

#[tokio::test]
async fn what_cannot_be_delivered_comes_back_and_is_not_sent_again() {
    let (world, elsewhere) = open_world();
    let mut romeo = world.online("romeo", "orchard").await;
    for text in ["1", "2", "3", "too many"] {
        romeo.send(&chat("juliet@capulet.example", text)).await;
    }
    romeo
        .receives(&[&["id='too many'", "type='error'", "resource-constraint"]])
        .await;
    for parcel in elsewhere.takes() {
        let timeout = StanzaError::remote_server_timeout();
        world.node.give_back(parcel, timeout).await;
    }
    let error = |id| ["type='error'", "remote-server-timeout", id];
    romeo
        .receives(&[&error("id='1'"), &error("id='2'"), &error("id='3'")])
        .await;
    assert!(world.restarted_is_silent().await);
}

#[tokio::test]
async fn friends_on_other_servers_see_each_other() {
    let (world, elsewhere) = open_world();
    let mut romeo = world.following("romeo", "orchard").await;
    romeo
        .send("<presence type='subscribe' to='juliet@capulet.example'/>")
        .await;
    assert_eq!(elsewhere.bodies(), ["Presence(Subscribe)"]);
    elsewhere.takes();
    romeo.receives_until_quiet().await;
    let subscribed =
        "<presence type='subscribed' from='juliet@capulet.example' to='romeo@example.org'/>";
    comes_in(&world, subscribed).await;
    comes_in(
        &world,
        "<presence from='juliet@capulet.example/balcony' to='romeo@example.org'/>",
    )
    .await;
    romeo
        .receives(&[
            &["type='subscribed'", "from='juliet@capulet.example'"],
            &["jid='juliet@capulet.example'", "subscription='to'"],
            &["from='juliet@capulet.example/balcony'"],
        ])
        .await;

    let subscribe =
        "<presence type='subscribe' from='juliet@capulet.example' to='romeo@example.org'/>";
    comes_in(&world, subscribe).await;
    romeo
        .send("<presence type='subscribed' to='juliet@capulet.example'/>")
        .await;
    assert_eq!(
        elsewhere.bodies(),
        ["Presence(Subscribed)", "Presence(Available)"]
    );
    elsewhere.takes();
    let probe = "<presence type='probe' from='juliet@capulet.example' to='romeo@example.org'/>";
    comes_in(&world, probe).await;
    assert_eq!(elsewhere.bodies(), ["Presence(Available)"]);
    elsewhere.takes();
    romeo.connection.close().await;
    assert_eq!(elsewhere.bodies(), ["Presence(Unavailable)"]);
    elsewhere.takes();
    // Whoever comes asks those whom it sees.
    world.online("romeo", "orchard").await;
    assert_eq!(
        elsewhere.bodies(),
        ["Presence(Available)", "Presence(Probe)"]
    );
}

#[tokio::test]
async fn a_claimed_domain_comes_before_the_world_until_it_is_released() {
    let (world, elsewhere) = open_world();
    let component = Elsewhere::default();
    world
        .node
        .claim_domain("irc.example.org", Arc::new(component.clone()));
    assert!(world.node.serves("irc.example.org") && world.node.serves("example.org"));
    let mut romeo = world.online("romeo", "orchard").await;
    romeo.send(&chat("x@irc.example.org", "in")).await;
    assert_eq!(component.bodies(), ["in"]);
    // It may write to us and to others.
    comes_in(
        &world,
        "<message from='x@irc.example.org' to='romeo@example.org'><body>out</body></message>",
    )
    .await;
    assert_eq!(romeo.bodies().await, ["out"]);
    comes_in(
        &world,
        "<message from='x@irc.example.org' to='a@b.example'><body>far</body></message>",
    )
    .await;
    assert_eq!(elsewhere.bodies(), ["far"]);
    world.node.release_domain("irc.example.org");
    assert!(!world.node.serves("irc.example.org"));
    romeo.send(&chat("x@irc.example.org", "gone")).await;
    assert_eq!(elsewhere.bodies(), ["far", "gone"]);
}

impl World {
    /// After a crash now, nothing would be sent again.
    async fn restarted_is_silent(&self) -> bool {
        let restarted = World::with(config(), Arc::<MemoryKv>::clone(&self.kv));
        let elsewhere = Elsewhere::default();
        restarted.node.open_border(Arc::new(elsewhere.clone()));
        restarted.node.send_unsent().await;
        elsewhere.bodies().is_empty()
    }
}
