//! The end of a stream: a last word, the end tag, the end of TLS and of TCP, in bounded time
//! (RFC 6120 §4.4, §4.9.1).

use std::future::poll_fn;
use std::io;

use posthaste_proto::error::StreamError;
use tokio::io::AsyncWriteExt;

use crate::outbox::Outbox;
use crate::pool;
use crate::shared::Shared;
use crate::stats::count;
use crate::transport::Transport;

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
    let buffer = outbox.buffer();
    if let Some(error) = error {
        shared.stats.stream_error(error.condition.as_str());
        error.to_element().write(buffer, "");
    }
    buffer.extend_from_slice(b"</stream:stream>");
    hang_up(shared, transport, outbox).await;
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
    // Whether the peer has heard us makes no difference any more.
    let _ = tokio::time::timeout(shared.config.limits.linger, goodbye).await;
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
