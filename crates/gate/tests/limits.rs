//! The bounds that hold before a session, reached over real sockets; those of sessions are tested
//! with the session.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod harness;

use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::{Transport, World};
use posthaste_gate::{Limits, ListenerKind, TransportKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_full_gate_says_so_and_lets_the_next_in_when_someone_leaves() {
    let world = World::with(Limits {
        connections: 2,
        ..Limits::default()
    })
    .await;
    let romeo = world.online(Transport::Plain, "romeo", "orchard").await;
    let _juliet = world.online(Transport::Plain, "juliet", "balcony").await;
    let mut refused = String::new();
    world
        .tcp(ListenerKind::Xmpp)
        .await
        .read_to_string(&mut refused)
        .await
        .unwrap();
    assert!(refused.contains("<resource-constraint"), "{refused}");
    assert_eq!(world.gate().stats().refused_full.load(Ordering::Relaxed), 1);

    let mut leaving = romeo;
    leaving.send("</stream:stream>").await;
    leaving.drained().await;
    let stats = world.gate().stats();
    while stats.open(TransportKind::Tcp) > 1 {
        tokio::task::yield_now().await;
    }
    world.online(Transport::Plain, "romeo", "orchard").await;
}

#[tokio::test]
async fn one_address_has_a_bounded_number_of_connections() {
    let world = World::with(Limits {
        connections_per_address: 1,
        ..Limits::default()
    })
    .await;
    let _romeo = world.online(Transport::Plain, "romeo", "orchard").await;
    let mut refused = String::new();
    world
        .tcp(ListenerKind::Xmpp)
        .await
        .read_to_string(&mut refused)
        .await
        .unwrap();
    assert!(refused.contains("<resource-constraint"), "{refused}");
    assert_eq!(
        world.gate().stats().refused_address.load(Ordering::Relaxed),
        1
    );
}

#[tokio::test]
async fn a_client_that_does_not_log_in_in_time_is_told_and_closed() {
    let limits = Limits {
        negotiation_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    for transport in Transport::ALL {
        let world = World::with(limits.clone()).await;
        let mut romeo = world.connect(transport).await;
        romeo.open().await;
        let end = romeo.drained().await;
        assert!(end.contains("<connection-timeout"), "{transport:?}: {end}");
        assert_eq!(
            world
                .gate()
                .stats()
                .negotiation_timeouts
                .load(Ordering::Relaxed),
            1
        );
    }
}

#[tokio::test]
async fn a_tls_handshake_is_not_waited_for_for_ever() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let world = World::with(limits).await;
    for kind in [ListenerKind::XmppTls, ListenerKind::Https] {
        let mut silent = world.tcp(kind).await;
        let mut nothing = Vec::new();
        silent.read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty());
    }
    assert_eq!(world.gate().stats().tls_failures.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_is_no_tls_is_refused_and_the_next_client_is_served() {
    let world = World::new().await;
    let mut confused = world.tcp(ListenerKind::XmppTls).await;
    confused
        .write_all(b"<?xml version='1.0'?><stream:stream>")
        .await
        .unwrap();
    let mut alert = Vec::new();
    let _ = confused.read_to_end(&mut alert).await;
    world.online(Transport::DirectTls, "romeo", "orchard").await;
}

#[tokio::test]
async fn an_element_before_log_in_is_bounded_more_tightly() {
    let world = World::with(Limits {
        element_bytes_before_login: 10_000,
        ..Limits::default()
    })
    .await;
    for transport in [Transport::Plain, Transport::WebSocket] {
        let mut romeo = world.connect(transport).await;
        romeo.open().await;
        let long = "x".repeat(10_000);
        romeo
            .send(&format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{long}</auth>"
            ))
            .await;
        let end = romeo.drained().await;
        assert!(end.contains("<policy-violation"), "{transport:?}: {end}");
    }
}

#[tokio::test]
async fn a_draining_gate_ends_streams_and_accepts_nobody() {
    let mut world = World::new().await;
    let mut clients = Vec::new();
    for transport in Transport::ALL {
        clients.push(
            world
                .online(transport, "romeo", &format!("{transport:?}"))
                .await,
        );
    }
    let unfinished = {
        let mut client = world.connect(Transport::Plain).await;
        client.open().await;
        client
    };
    let address = world.address(ListenerKind::Xmpp);
    let gate = world.gate.take().unwrap();
    let draining = tokio::spawn(gate.drain(Duration::from_secs(10)));
    for client in clients {
        let end = client.drained().await;
        assert!(end.contains("<system-shutdown"), "{end}");
    }
    assert!(unfinished.drained().await.contains("<system-shutdown"));
    assert_eq!(draining.await.unwrap(), 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn draining_takes_no_longer_than_it_may() {
    // A client that never closes its side keeps its connection for the time of a linger.
    let limits = Limits {
        linger: Duration::from_secs(60),
        ..Limits::default()
    };
    let mut world = World::with(limits).await;
    let _stubborn = world.online(Transport::Plain, "romeo", "orchard").await;
    let gate = world.gate.take().unwrap();
    let started = std::time::Instant::now();
    assert_eq!(gate.drain(Duration::from_millis(500)).await, 1);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

/// Between a failure of the store and its being opened again nobody's password is wrong.
#[tokio::test]
async fn a_log_in_without_a_store_is_told_to_come_back_later() {
    let world = World::new().await;
    world.node.kv().close().await.unwrap();
    let mut romeo = world.connect(Transport::Plain).await;
    romeo.authenticate("romeo").await;
    let answer = romeo.until("</failure>").await;
    assert!(answer.contains("<temporary-auth-failure"), "{answer}");
}
