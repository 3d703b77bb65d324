//! The HTTP port: WebSocket and BOSH for web clients, host-meta, and a place for later HTTP services.
//!
//! HTTP/1.1 by hyper (RFC 9112). A connection that becomes a WebSocket leaves this module whole:
//! its socket and unread bytes go to the connection driver, and nothing of hyper stays in memory.
//! Left out: HTTP/2, compression.

pub(crate) mod bosh;
mod host_meta;
mod pace;
mod upgrade;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, select};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::config::HttpConfig;
use crate::stats::{GateStats, count};
use crate::transport::Transport;
use pace::Paced;

/// Where the WebSocket is.
pub const WEB_SOCKET_PATH: &str = "/xmpp-websocket";

/// Bytes of a request's head, and of what hyper reads ahead: more than any browser sends.
const HEAD_BYTES: usize = 16 * 1024;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct HttpPeer {
    /// The address of the connection; of the proxy, where there is one.
    pub address: SocketAddr,
    /// The request came over TLS.
    pub secure: bool,
}

/// An HTTP service on the gate's HTTP port. It bounds the bodies it reads.
pub trait HttpService: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Incoming>, peer: HttpPeer) -> BoxFuture<'_, Response<Body>>;
}

/// The services of the HTTP port, by path.
#[derive(Clone, Default)]
pub struct Routes {
    list: Vec<(String, Arc<dyn HttpService>)>,
}

impl Routes {
    /// Gives `service` the path `prefix` and all below it. The longest prefix wins; what the gate
    /// serves itself comes first.
    #[must_use]
    pub fn with(mut self, prefix: &str, service: Arc<dyn HttpService>) -> Routes {
        self.list
            .push((prefix.trim_end_matches('/').to_owned(), service));
        self.list
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        self
    }

    fn find(&self, path: &str) -> Option<&Arc<dyn HttpService>> {
        let covers = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.list
            .iter()
            .find(|(prefix, _)| covers(prefix))
            .map(|(_, service)| service)
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_list()
            .entries(self.list.iter().map(|(prefix, _)| prefix))
            .finish()
    }
}

/// What the connections of the HTTP port share.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) config: HttpConfig,
    pub(crate) routes: Routes,
    pub(crate) head_timeout: Duration,
    /// Time for a client to take what it is sent.
    pub(crate) write_stall: Duration,
    pub(crate) requests_per_connection: usize,
}

impl Http {
    /// Serves one connection until it ends, or until it has become a WebSocket: then its socket
    /// and the bytes already read from it come back. After `leave` no new request is taken.
    pub(crate) async fn serve(
        &self,
        transport: Transport,
        peer: HttpPeer,
        stats: &GateStats,
        leave: impl Future<Output = ()>,
    ) -> Option<(Transport, Bytes)> {
        let upgraded: Mutex<Option<OnUpgrade>> = Mutex::new(None);
        let requests = AtomicUsize::new(0);
        let service = service_fn(|request| async {
            count(&stats.http_requests, 1);
            let mut response = self.answer(request, peer, &upgraded).await;
            if requests.fetch_add(1, Ordering::Relaxed) + 1 >= self.requests_per_connection {
                response
                    .headers_mut()
                    .entry(CONNECTION)
                    .or_insert(HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.head_timeout)
                .max_buf_size(HEAD_BYTES)
                .serve_connection(
                    TokioIo::new(Paced::new(transport, self.write_stall)),
                    service
                )
                .with_upgrades()
        );
        let served = match select(connection.as_mut(), pin!(leave)).await {
            Either::Left((served, _)) => served,
            Either::Right(((), _)) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "an HTTP connection broke");
        }
        let upgrade = upgraded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let parts = upgrade.await.ok()?;
        let parts = parts.downcast::<TokioIo<Paced<Transport>>>().ok()?;
        Some((parts.io.into_inner().into_inner(), parts.read_buf))
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: HttpPeer,
        upgraded: &Mutex<Option<OnUpgrade>>,
    ) -> Response<Body> {
        match request.uri().path() {
            WEB_SOCKET_PATH => {
                let response = upgrade::answer(&request, &self.config.origins);
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let pending = hyper::upgrade::on(&mut request);
                    *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
                }
                response
            }
            host_meta::XML_PATH => {
                host_meta::answer(host_meta::Form::Xml, &request, &peer, &self.config)
            }
            host_meta::JSON_PATH => {
                host_meta::answer(host_meta::Form::Json, &request, &peer, &self.config)
            }
            path => match self.routes.find(path) {
                Some(service) => service.answer(request, peer).await,
                None => status(StatusCode::NOT_FOUND),
            },
        }
    }
}

/// An answer with a text in it.
fn full(text: String) -> Response<Body> {
    Response::new(
        Full::new(Bytes::from(text))
            .map_err(|never| match never {})
            .boxed_unsync(),
    )
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// An answer that says its status in words.
fn status(status: StatusCode) -> Response<Body> {
    let mut response = full(format!("{status}\n"));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// XEP-0156 §3: web clients of every origin may read this.
fn open_to_every_page(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    struct Named(&'static str);

    impl HttpService for Named {
        fn answer(
            &self,
            _request: Request<Incoming>,
            _peer: HttpPeer,
        ) -> BoxFuture<'_, Response<Body>> {
            Box::pin(async { full(self.0.to_owned()) })
        }
    }

    fn http() -> Http {
        let routes = Routes::default()
            .with("/files", Arc::new(Named("files")))
            .with("/files/new/", Arc::new(Named("new files")));
        Http {
            config: HttpConfig::default(),
            routes,
            head_timeout: Duration::from_millis(200),
            write_stall: Duration::from_millis(200),
            requests_per_connection: 2,
        }
    }

    /// What the port says to `request` until it closes the connection, and what became of it.
    async fn exchange(request: &str) -> (String, Option<Bytes>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let (http, stats) = (http(), GateStats::default());
        let peer = HttpPeer {
            address,
            secure: false,
        };
        let rest = http
            .serve(Transport::Tcp(stream), peer, &stats, std::future::pending())
            .await
            .map(|(_, rest)| rest);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (answer, rest)
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost:5280\r\nConnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn a_service_has_its_path_and_all_below_and_the_longest_path_wins() {
        for (path, content) in [
            ("/files", "files"),
            ("/files/a", "files"),
            ("/files/new/b", "new files"),
        ] {
            let (answer, _) = exchange(&get(path)).await;
            assert!(answer.ends_with(&format!("\r\n\r\n{content}")), "{answer}");
        }
        let (answer, _) = exchange(&get("/filesystem")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }

    #[tokio::test]
    async fn host_meta_leads_every_web_page_to_the_web_socket() {
        let (xml, _) = exchange(&get("/.well-known/host-meta")).await;
        assert!(xml.contains("access-control-allow-origin: *"), "{xml}");
        assert!(
            xml.contains("href='ws://localhost:5280/xmpp-websocket'"),
            "{xml}"
        );
        let (json, _) = exchange(&get("/.well-known/host-meta.json")).await;
        assert!(json.contains("content-type: application/json"), "{json}");
        let (post, _) = exchange(&get("/.well-known/host-meta").replace("GET", "POST")).await;
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    }

    #[tokio::test]
    async fn an_upgraded_connection_comes_back_with_the_bytes_already_read() {
        let request = "GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nfirst frame";
        let (answer, rest) = exchange(request).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert_eq!(rest.unwrap(), "first frame");
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let (answer, _) = exchange("GET /xmpp-websocket HTTP/1.1\r\nHost: loc").await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
        let long = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES)
        );
        let (answer, _) = exchange(&long).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_has_a_bounded_number_of_requests() {
        let request = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (answer, _) = exchange(&request.repeat(3)).await;
        assert_eq!(answer.matches("HTTP/1.1 404").count(), 2, "{answer}");
    }

    #[tokio::test]
    async fn an_idle_keep_alive_connection_is_closed() {
        let (answer, _) = exchange("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}
