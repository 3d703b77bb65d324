//! Listening sockets: how they are opened, and a loop of accepting that survives a full system.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::config::ListenerConfig;
use crate::error::GateError;
use crate::stats::{GateStats, count};

/// Connections the kernel may hold until we accept them: a crowd that comes back after a restart.
/// The kernel lowers it to its own bound (net.core.somaxconn).
const BACKLOG: i32 = 4_096;

/// The first and the longest pause after the system could give no connection. Without a pause the
/// loop would spin, as the connection stays in the queue and is reported again at once.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Opens a listening socket.
///
/// # Errors
/// The system refuses: the port is taken, or privileged.
pub(crate) fn open(config: &ListenerConfig) -> Result<TcpListener, GateError> {
    let address = config.address;
    listener(address).map_err(|source| GateError::Listen { address, source })
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restarted server must not wait for its predecessor's connections to fade.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sets what every accepted connection needs. The kernel declares a connection dead when
/// `user_timeout` has passed without the peer acknowledging bytes.
pub(crate) fn prepare(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    // Writes are coalesced by us; Nagle's algorithm would only delay them.
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(user_timeout))
}

/// What the kernel takes of an answer beyond what it has sent. Without a bound it takes megabytes for a reader who is
/// slow, and we would take such a reader for a fast one.
const UNSENT_BYTES: u32 = 128 * 1024;

/// Bounds what of a file waits in the kernel for its reader.
pub(crate) fn bound_unsent(stream: &TcpStream) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok(())
}

/// Where connections come from; a trait so that a test can be a system without file descriptors.
pub(crate) trait Accept {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

/// Hands every connection to `take`, for ever; abort it to stop accepting.
pub(crate) async fn accept_all(
    listener: impl Accept,
    stats: &GateStats,
    take: impl Fn(TcpStream, SocketAddr),
) {
    let mut pause = PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSE;
                take(stream, peer);
            }
            // This one connection has failed already; the next may be good.
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                count(&stats.accept_errors, 1);
                tracing::warn!(%error, "no connection can be accepted; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use crate::config::ListenerKind;

    #[tokio::test]
    async fn port_zero_is_replaced_and_a_taken_port_is_an_error_that_names_it() {
        let any = ListenerConfig {
            address: "127.0.0.1:0".parse().unwrap(),
            kind: ListenerKind::Xmpp,
        };
        let first = open(&any).unwrap();
        let address = first.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let error = open(&ListenerConfig { address, ..any }).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[tokio::test]
    async fn the_kernel_gives_up_on_a_peer_that_acknowledges_nothing() {
        let listener = open(&ListenerConfig {
            address: "127.0.0.1:0".parse().unwrap(),
            kind: ListenerKind::Xmpp,
        })
        .unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        prepare(&client, Duration::from_secs(60)).unwrap();
        let timeout = SockRef::from(&client).tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_secs(60)));
        assert!(client.nodelay().unwrap());
    }

    #[tokio::test]
    async fn the_kernel_takes_little_for_a_reader_who_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = tokio::net::TcpSocket::new_v4().unwrap();
        connecting.set_recv_buffer_size(32 * 1024).unwrap();
        let address = listener.local_addr().unwrap();
        let (_client, accepted) = tokio::join!(connecting.connect(address), listener.accept());
        let stream = accepted.unwrap().0;
        bound_unsent(&stream).unwrap();
        let piece = [0; 16 * 1024];
        let mut taken = 0;
        let patience = Duration::from_millis(200);
        while let Ok(writable) = tokio::time::timeout(patience, stream.writable()).await {
            writable.unwrap();
            taken += stream.try_write(&piece).unwrap_or(0);
        }
        assert!(taken >= UNSENT_BYTES as usize, "{taken}");
        assert!(taken <= 3 * UNSENT_BYTES as usize, "{taken}");
    }

    /// A system that gives these answers and then nothing more.
    struct Script(Mutex<Vec<io::Result<(TcpStream, SocketAddr)>>>);

    impl Accept for Script {
        async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let next = self.0.lock().unwrap().pop();
            match next {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn a_system_out_of_file_descriptors_is_asked_again_after_a_pause() {
        let real = open(&ListenerConfig {
            address: "127.0.0.1:0".parse().unwrap(),
            kind: ListenerKind::Xmpp,
        })
        .unwrap();
        let _client = TcpStream::connect(real.local_addr().unwrap())
            .await
            .unwrap();
        let good = TcpListener::accept(&real).await;
        let (emfile, aborted) = (24, io::ErrorKind::ConnectionAborted);
        let script = Script(Mutex::new(vec![
            good,
            Err(aborted.into()),
            Err(io::Error::from_raw_os_error(emfile)),
            Err(io::Error::from_raw_os_error(emfile)),
        ]));
        let (stats, taken) = (GateStats::default(), AtomicUsize::new(0));
        let done = tokio::sync::Notify::new();
        let started = Instant::now();
        let accepting = accept_all(script, &stats, |_, _| {
            taken.fetch_add(1, Ordering::Relaxed);
            done.notify_one();
        });
        tokio::select! {
            () = accepting => {}
            () = done.notified() => {}
        }
        assert_eq!(taken.load(Ordering::Relaxed), 1);
        assert_eq!(stats.accept_errors.load(Ordering::Relaxed), 2);
        assert!(started.elapsed() >= PAUSE * 3);
    }
}
