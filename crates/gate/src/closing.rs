//! The end of a stream: a last word, the end tag, the end of TLS and of TCP, in bounded time
//! (RFC 6120 §4.4, §4.9.1).

use std::future::poll_fn;
use std::io;

use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::{ns, websocket};
use tokio::io::AsyncWriteExt;

use crate::outbox::Outbox;
use crate::pool;
use crate::shared::{Phase, Shared};
use crate::stats::count;
use crate::transport::Transport;
use crate::wheel::Timer;

/// Bytes that a peer may still have sent before it saw the end of the stream. They are read and
/// forgotten: closing a socket with unread bytes would reset it and take our last word with it.
const LATE_BYTES: usize = 256 * 1024;

/// Ends a stream whose header has been sent: says `error`, if there is one, closes the stream and
/// hangs up.
pub(crate) async fn close(
    shared: &Shared,
    transport: Transport,
    mut outbox: Outbox,
    error: Option<&StreamError>,
) {
    if let Some(error) = error {
        shared.stats.stream_error(error.condition.as_str());
        outbox.element(&written(error));
    }
    outbox.end(close_code(error));
    hang_up(shared, transport, outbox).await;
}

/// The error as it stands in a stream. COMPAT(old clients): some look for the prefix as a string.
fn written(error: &StreamError) -> Vec<u8> {
    let mut xml = b"<stream:error>".to_vec();
    for child in error.to_element().children() {
        child.write(&mut xml, ns::CLIENT);
    }
    xml.extend_from_slice(b"</stream:error>");
    xml
}

/// Why a WebSocket is closed (RFC 6455 §7.4.1).
fn close_code(error: Option<&StreamError>) -> u16 {
    match error.map(|error| error.condition) {
        None => websocket::CLOSE_NORMAL,
        Some(StreamCondition::SystemShutdown) => websocket::CLOSE_GOING_AWAY,
        Some(_) => websocket::CLOSE_POLICY_VIOLATION,
    }
}

/// Writes what is left, ends TLS and TCP, and waits for the peer to do the same, all within
/// [`crate::Limits::linger`].
pub(crate) async fn hang_up(shared: &Shared, mut transport: Transport, mut outbox: Outbox) {
    let goodbye = async {
        let mut moved = 0;
        let sent = poll_fn(|context| outbox.poll_write(&mut transport, context, &mut moved)).await;
        count(&shared.stats.bytes_out, moved);
        sent?;
        transport.shutdown().await?;
        forget_rest(&mut transport).await
    };
    let goodbye = tokio::time::timeout(shared.config.limits.linger, goodbye);
    let mut timer = Timer::new(&shared.wheel);
    // Whether the peer has heard us makes no difference any more.
    tokio::select! {
        _ = goodbye => {}
        () = shared.reached(&mut timer, Phase::Closed) => {}
    }
}

async fn forget_rest(transport: &mut Transport) -> io::Result<()> {
    let mut buffer = pool::take();
    let mut late = 0;
    while late < LATE_BYTES {
        buffer.clear();
        match poll_fn(|context| transport.poll_read_to(context, &mut buffer)).await? {
            0 => break,
            read => late += read,
        }
    }
    pool::give(buffer);
    Ok(())
}
