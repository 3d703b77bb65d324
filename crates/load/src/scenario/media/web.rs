//! PUT and GET, each on a connection of its own, as a phone's are that has just woken up.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::content::{Content, Pace};
use crate::transport::{Transport, Trust};

/// The longest that a connection may take to be made, and an answer to begin after the request has been written.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What a reader who is slow on purpose lets the kernel take for it: otherwise its megabytes of buffers would be quick
/// instead of it.
const SLOW_RECEIVE_BYTES: u32 = 32 * 1024;
/// And what it reads at once.
const SLOW_READ_BYTES: usize = 8 * 1024;

type Body = BoxBody<Bytes, Infallible>;

/// How files go over HTTP.
pub(super) struct Web {
    trust: Trust,
    /// Servers outside of loopback may be loaded, too.
    remote: bool,
    /// Bytes a second of each transfer.
    pub(super) pace: Option<u64>,
    /// Bytes of bodies that have gone either way.
    pub(super) moved: Arc<AtomicU64>,
}

/// What a download was like.
pub(super) struct Downloaded {
    pub(super) bytes: u64,
    /// Until the first byte of the body came.
    pub(super) first_byte: Duration,
}

impl Web {
    pub(super) fn new(remote: bool, pace: Option<u64>) -> anyhow::Result<Web> {
        Ok(Web {
            trust: Trust::any(b"http/1.1")?,
            remote,
            pace,
            moved: Arc::default(),
        })
    }

    /// Uploads a file to where its slot says.
    pub(super) async fn put(
        &self,
        to: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        content: &Content,
    ) -> anyhow::Result<()> {
        let mut request = request(Method::PUT, to, content.body(self.pace, &self.moved))?;
        let length = HeaderValue::from(content.size);
        request.headers_mut().insert(CONTENT_LENGTH, length);
        let binary = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, binary);
        request.headers_mut().extend(headers.iter().cloned());
        let response = self.ask(to, request, false).await?;
        let status = response.status();
        let said = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            let said = String::from_utf8_lossy(&said[..said.len().min(200)]).into_owned();
            bail!("the upload was answered by {status} {said}");
        }
        Ok(())
    }

    /// Downloads a file until it is whole or the time is over, and compares what comes.
    pub(super) async fn get(
        &self,
        from: &Uri,
        content: &Content,
        until: Instant,
    ) -> anyhow::Result<Downloaded> {
        let started = Instant::now();
        let request = request(Method::GET, from, Empty::new().boxed())?;
        let mut response = self.ask(from, request, self.pace.is_some()).await?;
        ensure!(
            response.status() == 200,
            "the download was answered by {}",
            response.status()
        );
        let pace = self.pace.map(Pace::new);
        let mut done = Downloaded {
            bytes: 0,
            first_byte: Duration::ZERO,
        };
        while let Ok(frame) = tokio::time::timeout_at(until, response.frame()).await {
            let Some(frame) = frame else {
                ensure!(done.bytes == content.size, "the file came short");
                break;
            };
            let frame = frame.context("the download broke off")?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            ensure!(content.has(done.bytes, &bytes), "a byte came out wrong");
            if done.bytes == 0 {
                done.first_byte = started.elapsed();
            }
            done.bytes += bytes.len() as u64;
            self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if let Some(pace) = &pace {
                tokio::time::sleep_until(pace.due(done.bytes).min(until)).await;
            }
        }
        Ok(done)
    }

    /// Sends one request on a fresh connection, which ends with its answer.
    async fn ask(
        &self,
        to: &Uri,
        request: Request<Body>,
        slow: bool,
    ) -> anyhow::Result<Response<Incoming>> {
        let connecting = self.connect(to, slow);
        let transport = tokio::time::timeout(ANSWER_TIMEOUT, connecting)
            .await
            .context("connecting took too long")??;
        let mut builder = http1::Builder::new();
        if slow {
            builder.max_buf_size(SLOW_READ_BYTES);
        }
        let (mut sender, connection) = builder
            .handshake::<_, Body>(TokioIo::new(transport))
            .await?;
        // It ends when the answer is read or dropped.
        tokio::spawn(connection);
        // The body's own time is bounded by whoever paces it.
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self, to: &Uri, slow: bool) -> anyhow::Result<Transport> {
        let host = to.host().context("an address without a host")?;
        let secure = to.scheme_str() == Some("https");
        let port = to.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((bare, port)).await?.collect();
        // Where a name has both, test servers listen to the old one.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let mut refused = None;
        for address in addresses {
            ensure!(
                self.remote || address.ip().is_loopback(),
                "{host} is not on loopback; say --remote if that server is yours to load"
            );
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if slow {
                socket.set_recv_buffer_size(SLOW_RECEIVE_BYTES)?;
            }
            match socket.connect(address).await {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(match secure {
                        true => Transport::encrypted(tcp, bare, &self.trust).await?,
                        false => Transport::Plain(tcp),
                    });
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or_else(
            || anyhow::anyhow!("{host} has no address"),
            |error| anyhow::Error::new(error).context(format!("connecting to {host}:{port}")),
        ))
    }
}

fn request(method: Method, to: &Uri, body: Body) -> anyhow::Result<Request<Body>> {
    let path = to.path_and_query().map_or("/", |path| path.as_str());
    let authority = to.authority().context("an address without a host")?;
    Ok(Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, authority.as_str())
        .body(body)?)
}
