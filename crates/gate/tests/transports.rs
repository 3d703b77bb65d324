//! Every way from a socket to a session and back.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod harness;

use harness::{Transport, World, ping};
use posthaste_gate::ListenerKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn message(to: &str, body: &str) -> String {
    format!(
        "<message xmlns='jabber:client' to='{to}@example.org' type='chat'><body>{body}</body></message>"
    )
}

#[tokio::test]
async fn romeo_and_juliet_talk_over_every_transport() {
    let world = World::new().await;
    for transport in Transport::ALL {
        let mut romeo = world.online(transport, "romeo", "orchard").await;
        let mut juliet = world.online(transport, "juliet", "balcony").await;
        romeo.send(&message("juliet", "O, speak again")).await;
        let heard = juliet.until("</message>").await;
        assert!(
            heard.contains("<body>O, speak again</body>"),
            "{transport:?}: {heard}"
        );
        assert!(
            heard.contains("from='romeo@example.org/orchard'"),
            "{transport:?}: {heard}"
        );
        juliet.send(&message("romeo", "Romeo, Romeo")).await;
        let heard = romeo.until("</message>").await;
        assert!(
            heard.contains("<body>Romeo, Romeo</body>"),
            "{transport:?}: {heard}"
        );
    }
}

#[tokio::test]
async fn romeo_on_a_web_socket_talks_to_juliet_on_tls() {
    let world = World::new().await;
    let mut romeo = world
        .online(Transport::SecureWebSocket, "romeo", "orchard")
        .await;
    let mut juliet = world
        .online(Transport::DirectTls, "juliet", "balcony")
        .await;
    for number in 0..200 {
        romeo.send(&message("juliet", &number.to_string())).await;
    }
    for number in 0..200 {
        juliet.until(&format!("<body>{number}</body>")).await;
    }
}

#[tokio::test]
async fn a_large_stanza_goes_through_every_transport_whole() {
    let world = World::new().await;
    let body = "x".repeat(200_000);
    for transport in Transport::ALL {
        let mut romeo = world.online(transport, "romeo", "orchard").await;
        let mut juliet = world.online(transport, "juliet", "balcony").await;
        romeo.send(&message("juliet", &body)).await;
        let heard = juliet.until("</message>").await;
        assert!(heard.contains(&body), "{transport:?}");
    }
}

#[tokio::test]
async fn a_client_is_told_where_tls_is_and_gets_it() {
    let world = World::new().await;
    let mut romeo = world.connect(Transport::Plain).await;
    let features = romeo.open().await;
    assert!(
        features.contains("urn:ietf:params:xml:ns:xmpp-tls"),
        "{features}"
    );
    let mut romeo = world.connect(Transport::StartTls).await;
    let features = romeo.open().await;
    assert!(
        !features.contains("urn:ietf:params:xml:ns:xmpp-tls"),
        "{features}"
    );
    assert!(features.contains("SCRAM-SHA-256-PLUS"), "{features}");
}

#[tokio::test]
async fn plain_text_behind_starttls_ends_the_connection() {
    let world = World::new().await;
    let mut romeo = world.connect(Transport::Plain).await;
    romeo.open().await;
    let injected = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:stream>";
    romeo.send(injected).await;
    let end = romeo.drained().await;
    assert!(!end.contains("<stream:features"), "{end}");
}

#[tokio::test]
async fn the_end_of_a_line_behind_starttls_is_nothing() {
    let world = World::new().await;
    let romeo = world.connect(Transport::Plain).await;
    let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\r\n";
    let mut romeo = romeo.start_tls(&world, starttls).await;
    assert!(romeo.open().await.contains("SCRAM-SHA-256-PLUS"));
}

#[tokio::test]
async fn a_client_with_a_foreign_alpn_protocol_is_refused_on_the_xmpp_port() {
    let world = World::new().await;
    let tcp = world.tcp(ListenerKind::XmppTls).await;
    assert!(world.tls(tcp, &[b"h2"]).await.is_err());
    let tcp = world.tcp(ListenerKind::XmppTls).await;
    world.tls(tcp, &[]).await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_used_for_new_connections_and_keeps_old_ones() {
    let world = World::new().await;
    let mut before = world.online(Transport::DirectTls, "romeo", "orchard").await;
    world.renew_certificate();
    let tcp = world.tcp(ListenerKind::XmppTls).await;
    assert!(
        world.tls(tcp, &[]).await.is_err(),
        "the old certificate is still shown"
    );
    world.gate().reload_certificates().unwrap();
    world
        .online(Transport::DirectTls, "juliet", "balcony")
        .await;
    before.ping("still here").await;
}

#[tokio::test]
async fn host_meta_is_served_with_and_without_tls() {
    let world = World::new().await;
    let request = "GET /.well-known/host-meta.json HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n";
    let mut plain = world.tcp(ListenerKind::Http).await;
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains("\"ws://example.org/xmpp-websocket\""),
        "{answer}"
    );

    let tcp = world.tcp(ListenerKind::Https).await;
    let mut secure = world.tls(tcp, &[b"http/1.1"]).await.unwrap();
    secure.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = secure.read_to_string(&mut answer).await;
    assert!(
        answer.contains("\"wss://example.org/xmpp-websocket\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_web_socket_without_the_subprotocol_is_refused() {
    let world = World::new().await;
    let mut http = world.tcp(ListenerKind::Http).await;
    let request = "GET /xmpp-websocket HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    http.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    http.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");
}

#[tokio::test]
async fn a_client_that_sends_everything_in_single_bytes_logs_in() {
    let world = World::new().await;
    let mut romeo = world.connect(Transport::Plain).await;
    romeo.log_in("romeo", "orchard").await;
    for byte in ping("bytes").bytes() {
        romeo.send_bytes(&[byte]).await;
    }
    romeo.until("id='bytes'").await;
}

#[tokio::test]
async fn what_comes_together_with_the_request_for_a_resource_is_handled_after_it() {
    let world = World::new().await;
    let mut romeo = world.connect(Transport::DirectTls).await;
    romeo.open().await;
    romeo
        .send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHNlY3JldA==</auth>")
        .await;
    romeo.until("<success").await;
    romeo.until(">").await;
    romeo.open().await;
    let bind = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    romeo.send(&format!("{bind}{}", ping("pipelined"))).await;
    romeo.until("id='pipelined'").await;
}
