//! Sessions over real sockets, and every bound of theirs reached.

use super::*;

use std::sync::atomic::{AtomicU64, Ordering};

use posthaste_kv::memory::MemoryKv;
use tokio::io::AsyncReadExt;

use crate::config::Limits as Bounds;
use crate::stats::TransportKind;
use crate::testing::{Client, World};

const R: &str = "<r xmlns='urn:xmpp:sm:3'/>";

fn ping(id: impl std::fmt::Display) -> String {
    format!("<iq type='get' id='{id}' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

async fn alone() -> (World, Client) {
    bounded(Bounds::default()).await
}

async fn bounded(limits: Bounds) -> (World, Client) {
    let world = World::new(limits).await;
    let client = world.client("romeo").await;
    (world, client)
}

async fn manage_stream(client: &mut Client) {
    client
        .send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        .await;
    client.until("<enabled").await;
    client.until("/>").await;
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test]
async fn two_clients_exchange_messages() {
    let (world, mut romeo) = alone().await;
    let mut juliet = world.client("juliet").await;
    juliet.send("<presence/>").await;
    juliet.send(ping("there")).await;
    juliet.until("there").await;
    romeo
        .send("<message to='juliet@example.org' type='chat'><body>hi</body></message>")
        .await;
    let received = juliet.until("</message>").await;
    assert!(
        received.contains("from='romeo@example.org/test'"),
        "{received}"
    );
    assert!(received.contains("<body>hi</body>"), "{received}");
}

#[tokio::test]
async fn many_stanzas_in_one_read_are_answered_in_order() {
    let (_world, mut romeo) = alone().await;
    romeo.send((0..500).map(ping).collect::<String>()).await;
    for id in 0..500 {
        romeo.until(&format!("id='{id}'")).await;
    }
}

#[tokio::test]
async fn one_stanza_a_turn_is_enough_to_handle_them_all() {
    let (_world, mut romeo) = bounded(Bounds {
        stanzas_per_turn: 1,
        ..Bounds::default()
    })
    .await;
    romeo.send((0..100).map(ping).collect::<String>()).await;
    romeo.until("id='99'").await;
}

#[tokio::test]
async fn a_client_that_sends_byte_by_byte_is_understood() {
    let (_world, mut romeo) = alone().await;
    romeo.stream.set_nodelay(true).unwrap();
    for byte in ping("slow").bytes() {
        romeo.send([byte]).await;
        tokio::task::yield_now().await;
    }
    romeo.until("id='slow'").await;
}

#[tokio::test]
async fn white_space_keeps_a_connection_alive_and_means_nothing() {
    let (_world, mut romeo) = alone().await;
    romeo.send(" \n ").await;
    romeo.send(ping("after")).await;
    let answer = romeo.until("id='after'").await;
    assert!(!answer.contains("error"), "{answer}");
}

#[tokio::test]
async fn the_client_closes_its_stream_and_gets_its_last_answers_and_the_end() {
    let (world, mut romeo) = alone().await;
    romeo.send(ping("last") + "</stream:stream>").await;
    let last = romeo.drained().await;
    assert!(last.contains("id='last'"), "{last}");
    assert!(last.ends_with("</stream:stream>"), "{last}");
    assert_eq!(world.shared.stats.open(TransportKind::Tcp), 0);
}

/// Sends a message, asks whether it is safe and says goodbye, on a store that makes nothing durable.
async fn leave_with_a_question(limits: Bounds) -> (Arc<MemoryKv>, World, Client) {
    let kv = Arc::new(MemoryKv::manual());
    let world = World::on(Arc::clone(&kv), limits).await;
    kv.make_durable();
    let mut romeo = world.client("romeo").await;
    manage_stream(&mut romeo).await;
    let message = "<message to='juliet@example.org' type='chat'><body>hi</body></message>";
    romeo
        .send([message, R, &ping("there"), "</stream:stream>"].concat())
        .await;
    (kv, world, romeo)
}

#[tokio::test]
async fn who_asks_and_leaves_is_told_when_it_is_safe() {
    let (kv, _world, romeo) = leave_with_a_question(Bounds::default()).await;
    let waiting = tokio::spawn(romeo.drained());
    tokio::time::sleep(millis(50)).await;
    assert!(!waiting.is_finished());
    kv.make_durable();
    let last = waiting.await.unwrap();
    assert!(last.contains("<a xmlns='urn:xmpp:sm:3' h='2'/>"), "{last}");
    assert!(last.ends_with("</stream:stream>"), "{last}");
}

#[tokio::test]
async fn who_asks_and_leaves_is_not_kept_for_ever_by_a_slow_disk() {
    let limits = Bounds {
        linger: millis(50),
        ..Bounds::default()
    };
    let (_kv, _world, romeo) = leave_with_a_question(limits).await;
    let last = romeo.drained().await;
    assert!(!last.contains("<a "), "{last}");
    assert!(last.ends_with("</stream:stream>"), "{last}");
}

#[tokio::test]
async fn bad_input_gets_the_stream_error_it_deserves() {
    let table = [
        ("<message><body></message></body>", "not-well-formed"),
        ("<message><!-- --></message>", "restricted-xml"),
        ("<message from='juliet@example.org'/>", "invalid-from"),
        (
            "<nonsense xmlns='urn:nonsense'/>",
            "unsupported-stanza-type",
        ),
        (
            "<message><body>\u{FFFF}</body></message>",
            "not-well-formed",
        ),
        ("hello", "bad-format"),
    ];
    for (input, condition) in table {
        let (world, mut romeo) = alone().await;
        romeo.send(input).await;
        let end = romeo.drained().await;
        let error = format!("<stream:error><{condition} ");
        assert!(end.contains(&error), "{input}: {end}");
        assert!(end.ends_with("</stream:error></stream:stream>"), "{end}");
        assert_eq!(world.shared.stats.stream_errors()[condition], 1);
    }
}

#[tokio::test]
async fn a_stanza_over_the_limit_ends_the_stream_and_one_below_does_not() {
    let (_world, mut romeo) = bounded(Bounds {
        stanza_bytes: 12_000,
        ..Bounds::default()
    })
    .await;
    let message = |bytes| format!("<message><body>{}</body></message>", "x".repeat(bytes));
    romeo.send(message(11_900) + &ping("below")).await;
    romeo.until("id='below'").await;
    romeo.send(message(12_000)).await;
    let end = romeo.drained().await;
    assert!(end.contains("<policy-violation "), "{end}");
}

#[tokio::test]
async fn a_stanza_that_cannot_be_processed_is_refused_counted_and_survived() {
    let (_world, mut romeo) = alone().await;
    manage_stream(&mut romeo).await;
    romeo.send("<iq type='nonsense' id='bad'/>").await;
    let refusal = romeo.until("</iq>").await;
    assert!(
        refusal.contains("type='error'") && refusal.contains("id='bad'"),
        "{refusal}"
    );
    romeo.send(R).await;
    romeo.until("h='1'").await;
}

#[tokio::test]
async fn an_element_that_comes_too_slowly_ends_the_connection() {
    let limits = Bounds {
        element_grace: millis(300),
        ..Bounds::default()
    };
    let (world, mut romeo) = bounded(limits).await;
    romeo.send("<message><bo").await;
    let end = romeo.drained().await;
    assert!(end.contains("<connection-timeout "), "{end}");
    assert_eq!(load(&world.shared.stats.slow_elements), 1);
}

#[tokio::test]
async fn an_element_that_comes_fast_enough_may_take_longer_than_its_grace() {
    let limits = Bounds {
        element_grace: millis(200),
        element_bytes_per_second: 1_000,
        ..Bounds::default()
    };
    let (_world, mut romeo) = bounded(limits).await;
    // 5,000 bytes have earned five seconds.
    romeo
        .send(format!("<message><body>{}", "x".repeat(5_000)))
        .await;
    tokio::time::sleep(millis(600)).await;
    romeo
        .send("</body></message>".to_owned() + &ping("after"))
        .await;
    romeo.until("id='after'").await;
}

fn idle() -> Bounds {
    Bounds {
        idle_probe: millis(200),
        probe_timeout: millis(300),
        ..Bounds::default()
    }
}

#[tokio::test]
async fn a_silent_client_is_asked_and_lost_when_it_does_not_answer() {
    let (world, mut romeo) = bounded(idle()).await;
    manage_stream(&mut romeo).await;
    romeo.until(R).await;
    let end = romeo.drained().await;
    assert!(end.contains("<connection-timeout "), "{end}");
    assert_eq!(load(&world.shared.stats.idle_timeouts), 1);
}

#[tokio::test]
async fn a_silent_client_that_answers_is_kept() {
    let (world, mut romeo) = bounded(idle()).await;
    manage_stream(&mut romeo).await;
    for _ in 0..3 {
        romeo.until(R).await;
        romeo.send("<a xmlns='urn:xmpp:sm:3' h='0'/>").await;
    }
    assert_eq!(load(&world.shared.stats.idle_timeouts), 0);
}

#[tokio::test]
async fn a_silent_client_without_stream_management_gets_white_space() {
    let (_world, mut romeo) = bounded(idle()).await;
    assert_eq!(romeo.until("  ").await, "  ");
    romeo.send(ping("alive")).await;
    romeo.until("id='alive'").await;
}

/// Sends pings without reading answers until the server stops reading or gives up; answers how many
/// bytes its kernel took.
async fn stuff(client: &mut Client) -> u64 {
    let pings = (0..200).map(ping).collect::<String>();
    let (mut sent, mut at) = (0, 0);
    loop {
        match client.stream.try_write(&pings.as_bytes()[at..]) {
            Ok(written) => {
                sent += written as u64;
                at = (at + written) % pings.len();
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return sent,
            Err(_) => {
                let more = tokio::time::timeout(millis(1_000), client.stream.writable()).await;
                if more.is_err() {
                    return sent;
                }
            }
        }
    }
}

fn unread() -> Bounds {
    Bounds {
        bytes_per_second: None,
        outbound_bytes: 16 * 1024,
        write_stall: Duration::from_secs(60),
        ..Bounds::default()
    }
}

#[tokio::test]
async fn nothing_more_is_read_from_a_client_that_does_not_read() {
    let (world, mut romeo) = bounded(unread()).await;
    let sent = stuff(&mut romeo).await;
    let taken = load(&world.shared.stats.bytes_in);
    assert!(taken < sent, "{taken} of {sent}");
    // Where it reads again, everything goes on.
    let mut buffer = vec![0; 1 << 16];
    while load(&world.shared.stats.bytes_in) < sent {
        assert_ne!(romeo.stream.read(&mut buffer).await.unwrap(), 0);
    }
    assert_eq!(load(&world.shared.stats.write_stalls), 0);
}

#[tokio::test]
async fn a_client_that_never_reads_is_lost_after_a_time() {
    let limits = Bounds {
        write_stall: millis(300),
        ..unread()
    };
    let (world, mut romeo) = bounded(limits).await;
    stuff(&mut romeo).await;
    let end = tokio::time::timeout(Duration::from_secs(5), &mut romeo.session).await;
    end.unwrap().unwrap();
    assert_eq!(load(&world.shared.stats.write_stalls), 1);
}

#[tokio::test]
async fn a_client_that_sends_too_fast_is_slowed_down_and_loses_nothing() {
    let limits = Bounds {
        bytes_per_second: Some(10_000),
        burst_bytes: 2_000,
        ..Bounds::default()
    };
    let (world, mut romeo) = bounded(limits).await;
    let started = std::time::Instant::now();
    let (mut id, mut sent) = (0, 0);
    while sent < 22_000 {
        let next = ping(id);
        sent += next.len();
        romeo.send(next).await;
        id += 1;
    }
    romeo.until(&format!("id='{}'", id - 1)).await;
    // One read of 16 KiB may go over the burst; what follows has to wait for it.
    assert!(started.elapsed() > millis(1_200), "{:?}", started.elapsed());
    assert!(load(&world.shared.stats.rate_delays) > 0);
}

#[tokio::test]
async fn draining_closes_streams_so_that_they_can_be_resumed() {
    let (world, mut romeo) = alone().await;
    romeo
        .send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        .await;
    romeo.until("<enabled").await;
    let enabled = romeo.until("/>").await;
    let id = enabled
        .split("id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    world.shared.advance(Phase::Draining);
    world.shared.wheel.wake_all();
    let end = romeo.drained().await;
    assert!(end.contains("<system-shutdown "), "{end}");
    assert!(end.ends_with("</stream:stream>"), "{end}");
    let account = posthaste_proto::jid::BareJid::parse("romeo@example.org").unwrap();
    world.shared.node.resume(&account, id, 0).await.unwrap();
}

#[tokio::test]
async fn a_stale_connection_does_not_end_the_session_that_was_resumed_elsewhere() {
    let (world, mut romeo) = alone().await;
    romeo
        .send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        .await;
    romeo.until("<enabled").await;
    let enabled = romeo.until("/>").await;
    let id = enabled
        .split("id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    let account = posthaste_proto::jid::BareJid::parse("romeo@example.org").unwrap();
    let (resumed, _) = world.shared.node.resume(&account, id, 0).await.unwrap();
    romeo.send(ping("stale") + "</stream:stream>").await;
    let end = romeo.drained().await;
    assert!(
        end.contains("<conflict ") && !end.contains("stale"),
        "{end}"
    );
    resumed.detach().await;
    world.shared.node.resume(&account, id, 0).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_close_its_side_is_not_waited_for_for_ever() {
    let (world, mut romeo) = bounded(Bounds {
        linger: millis(200),
        ..Bounds::default()
    })
    .await;
    romeo.send("</stream:stream>").await;
    romeo.until("</stream:stream>").await;
    tokio::time::timeout(Duration::from_secs(5), romeo.session)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(world.shared.admission.total(), 0);
}

#[tokio::test]
async fn a_closed_gate_drops_its_connections() {
    let (world, romeo) = alone().await;
    world.shared.advance(Phase::Closed);
    world.shared.wheel.wake_all();
    assert_eq!(romeo.drained().await, "");
}

#[tokio::test]
async fn a_lost_connection_leaves_a_session_to_resume() {
    let (world, mut romeo) = alone().await;
    manage_stream(&mut romeo).await;
    drop(romeo.stream);
    romeo.session.await.unwrap();
    world.shared.admission.empty().await;
}

/// A masked frame, with a mask of noughts.
fn frame(first: u8, payload: &str) -> Vec<u8> {
    let length = payload.len();
    assert!(!(126..=0xff).contains(&length));
    let mut frame = vec![first];
    match u8::try_from(length) {
        Ok(short) => frame.push(0x80 | short),
        Err(_) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload.as_bytes());
    frame
}

fn text(xml: &str) -> Vec<u8> {
    frame(0x81, xml)
}

async fn on_web_socket(limits: Bounds) -> (World, Client) {
    let world = World::new(limits).await;
    let client = world
        .client_of_kind("romeo", TransportKind::WebSocket)
        .await;
    (world, client)
}

const PING: &str = "<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";

#[tokio::test]
async fn each_stanza_on_a_web_socket_is_a_message_that_declares_its_namespace() {
    let (_world, mut romeo) = on_web_socket(Bounds::default()).await;
    romeo.send(text(PING)).await;
    let answer = romeo.until("/>").await;
    assert!(answer.contains("xmlns='jabber:client'"), "{answer}");
    // A text frame that is whole, and its length.
    assert_eq!(
        answer.chars().next().map(u32::from),
        Some(0xFFFD),
        "{answer:?}"
    );
    romeo.send(frame(0x89, "echo")).await;
    romeo.until("\u{4}echo").await;
}

#[tokio::test]
async fn a_web_socket_is_closed_with_both_its_ends() {
    let (_world, mut romeo) = on_web_socket(Bounds::default()).await;
    romeo
        .send(text("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"))
        .await;
    let end = romeo.drained().await;
    assert!(
        end.contains("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"),
        "{end}"
    );
    assert!(end.ends_with("\u{3}\u{FFFD}"), "1000: {end:?}");
}

#[tokio::test]
async fn what_is_no_message_for_xmpp_ends_a_web_socket() {
    let table = [
        (frame(0x82, "binary"), "bad-format"),
        (text("no xml"), "bad-format"),
        (
            text("<message xmlns='jabber:client'/><presence/>"),
            "bad-format",
        ),
        (vec![0x81, 0x02, b'h', b'i'], "bad-format"),
    ];
    for (input, condition) in table {
        let (_world, mut romeo) = on_web_socket(Bounds::default()).await;
        romeo.send(&input).await;
        let end = romeo.drained().await;
        assert!(end.contains(&format!("<{condition} ")), "{input:?}: {end}");
        assert!(
            end.contains("xmlns:stream='http://etherx.jabber.org/streams'"),
            "{end}"
        );
    }
}

#[tokio::test]
async fn a_silent_web_socket_is_pinged_and_lost_without_a_pong() {
    let (world, mut romeo) = on_web_socket(idle()).await;
    let mut ping = [0; 2];
    romeo.stream.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping, [0x89, 0]);
    romeo.send(frame(0x8a, "")).await;
    romeo.stream.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping, [0x89, 0]);
    assert_eq!(load(&world.shared.stats.idle_timeouts), 0);
    let end = romeo.drained().await;
    assert!(end.contains("<connection-timeout "), "{end}");
}
