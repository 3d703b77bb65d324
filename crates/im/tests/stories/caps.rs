//! What clients say they can do is believed when it is proved (XEP-0115).

use crate::harness::{Client, World};
use posthaste_im::ext::caps::{MAX_PER_SHELF, proved};
use posthaste_proto::ns;
use posthaste_proto::xep::caps::Caps;
use posthaste_proto::xep::disco::{Identity, Info};

fn client_named(name: &str) -> Info {
    Info {
        identities: vec![Identity::new("client", "pc", Some(name))],
        features: vec![ns::DISCO_INFO.to_owned()],
        ..Info::default()
    }
}

fn xml(element: &posthaste_proto::xml::Element) -> String {
    String::from_utf8(element.to_bytes(ns::CLIENT)).unwrap()
}

/// The client says what it can do; answers whether it was asked for a proof.
async fn advertise(client: &mut Client, caps: &Caps) -> bool {
    client
        .send(&format!("<presence>{}</presence>", xml(&caps.to_element())))
        .await;
    let received = client.receives_until_quiet().await;
    received
        .iter()
        .any(|it| it.starts_with("<iq ") && it.contains(&caps.disco_node()))
}

async fn answer(client: &mut Client, info: &Info) {
    let info = xml(&info.to_element());
    client
        .send(&format!(
            "<iq type='result' id='caps-1' to='{}'>{info}</iq>",
            client.bare()
        ))
        .await;
    client.receives_nothing().await;
}

#[tokio::test]
async fn the_first_client_of_its_kind_is_asked_and_no_other() {
    let world = World::new();
    let info = client_named("Exodus");
    let caps = Caps::of(&info, "https://exodus.example").unwrap();
    let mut romeo = world.connect("romeo", "orchard").await;
    assert!(advertise(&mut romeo, &caps).await);
    answer(&mut romeo, &info).await;
    assert_eq!(proved(&world.node, &caps).await.unwrap(), Some(info));
    assert!(!advertise(&mut romeo, &caps).await);
    let world = world.restarted();
    let mut juliet = world.connect("juliet", "balcony").await;
    assert!(!advertise(&mut juliet, &caps).await);
}

#[tokio::test]
async fn nobody_can_say_what_others_can_do() {
    let world = World::new();
    let caps = Caps::of(&client_named("Exodus"), "https://exodus.example").unwrap();
    let mut tybalt = world.connect("nurse", "street").await;
    assert!(advertise(&mut tybalt, &caps).await);
    answer(&mut tybalt, &client_named("Something worse")).await;
    assert_eq!(proved(&world.node, &caps).await.unwrap(), None);
    // He is not asked again; the next one is.
    assert!(!advertise(&mut tybalt, &caps).await);
    let mut juliet = world.connect("juliet", "balcony").await;
    assert!(advertise(&mut juliet, &caps).await);
}

#[tokio::test]
async fn what_is_learnt_is_bounded() {
    let world = World::new();
    let mut romeo = world.connect("romeo", "orchard").await;
    let (mut first, mut last) = (None, None);
    let mut on_shelf = 0;
    for n in 0.. {
        let info = client_named(&format!("client {n}"));
        let caps = Caps::of(&info, "https://exodus.example").unwrap();
        if !caps.ver.starts_with('a') {
            continue;
        }
        advertise(&mut romeo, &caps).await;
        answer(&mut romeo, &info).await;
        first.get_or_insert(caps.clone());
        last = Some(caps);
        on_shelf += 1;
        if on_shelf > MAX_PER_SHELF {
            break;
        }
    }
    assert_eq!(proved(&world.node, &first.unwrap()).await.unwrap(), None);
    assert!(proved(&world.node, &last.unwrap()).await.unwrap().is_some());
}
