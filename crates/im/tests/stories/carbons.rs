//! Every device shows the whole conversation (XEP-0280).

use crate::harness::{Client, World, chat};

async fn with_carbons(world: &World, user: &str, resource: &str) -> Client {
    let mut client = world.online(user, resource).await;
    let reply = client
        .asks("<iq type='set' id='e'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        .await;
    assert!(reply.contains("type='result'"), "{reply}");
    client
}

#[tokio::test]
async fn what_one_device_receives_and_sends_the_others_see() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut garden = world.online("romeo", "garden").await;
    let mut home = with_carbons(&world, "romeo", "home").await;
    garden.receives_until_quiet().await;
    juliet
        .send(&chat("romeo@example.org/garden", "What man art thou"))
        .await;
    garden
        .receives(&[&["from='juliet@example.org/balcony'", "What man art thou"]])
        .await;
    home.receives(&[&[
        "<message from='romeo@example.org' to='romeo@example.org/home' type='chat'>",
        "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'",
        "to='romeo@example.org/garden'",
        "What man art thou",
    ]])
    .await;
    garden
        .send(&chat("juliet@example.org", "Neither, fair saint"))
        .await;
    home.receives(&[&[
        "<sent xmlns='urn:xmpp:carbons:2'>",
        "from='romeo@example.org/garden'",
        "Neither, fair saint",
    ]])
    .await;
    garden.receives_nothing().await;
    // To the bare JID both get the message itself, and no copy.
    juliet.send(&chat("romeo@example.org", "both")).await;
    garden.receives(&[&["<body>both</body>"]]).await;
    let received = home.receives_until_quiet().await;
    assert_eq!(received.len(), 1);
    assert!(!received[0].contains("urn:xmpp:carbons:2"), "{received:?}");
}

#[tokio::test]
async fn private_messages_and_disabled_devices_get_no_copies() {
    let world = World::new();
    let mut juliet = world.online("juliet", "balcony").await;
    let mut garden = world.online("romeo", "garden").await;
    let mut home = with_carbons(&world, "romeo", "home").await;
    garden.receives_until_quiet().await;
    let private = "<message to='romeo@example.org/garden' type='chat'><body>secret</body><private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/></message>";
    juliet.send(private).await;
    garden
        .receives(&[&["secret", "<private xmlns='urn:xmpp:carbons:2'/>"]])
        .await;
    home.receives_nothing().await;
    let reply = home
        .asks("<iq type='set' id='d'><disable xmlns='urn:xmpp:carbons:2'/></iq>")
        .await;
    assert!(reply.contains("type='result'"), "{reply}");
    juliet
        .send(&chat("romeo@example.org/garden", "hello"))
        .await;
    home.receives_nothing().await;
}

#[tokio::test]
async fn forged_copies_never_pass() {
    let world = World::new();
    let mut romeo = with_carbons(&world, "romeo", "home").await;
    let mut tybalt = world.online("nurse", "street").await;
    let forged = "<message to='romeo@example.org' type='chat'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='juliet@example.org/balcony' to='romeo@example.org/home' type='chat'><body>Thou shall meet me tonite</body></message></forwarded></received></message>";
    tybalt.send(forged).await;
    let received = romeo.receives_until_quiet().await;
    assert!(
        received
            .iter()
            .all(|xml| !xml.contains("tonite") && !xml.contains("carbons")),
        "{received:?}"
    );
}

#[tokio::test]
async fn an_error_for_a_message_that_others_saw_sent_is_seen_by_them_too() {
    let world = World::new();
    let mut garden = world.online("romeo", "garden").await;
    let mut home = with_carbons(&world, "romeo", "home").await;
    garden.receives_until_quiet().await;
    garden.send(&chat("nobody@example.org", "hello")).await;
    garden
        .receives(&[&["type='error'", "service-unavailable"]])
        .await;
    home.receives(&[
        &["<sent ", "hello"],
        &["<received ", "type='error'", "service-unavailable"],
    ])
    .await;
}

#[tokio::test]
async fn who_writes_to_another_device_of_their_own_gets_no_copy_of_it() {
    let world = World::new();
    let mut garden = with_carbons(&world, "romeo", "garden").await;
    let mut home = with_carbons(&world, "romeo", "home").await;
    let mut phone = with_carbons(&world, "romeo", "phone").await;
    for client in [&mut garden, &mut home, &mut phone] {
        client.receives_until_quiet().await;
    }
    garden
        .send(&chat("romeo@example.org/home", "do not forget"))
        .await;
    home.receives(&[&["<body>do not forget</body>"]]).await;
    phone
        .receives(&[&["<received xmlns='urn:xmpp:carbons:2'>", "do not forget"]])
        .await;
    garden.receives_nothing().await;
}
