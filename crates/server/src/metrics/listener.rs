//! The HTTP listener that Prometheus asks.

use super::page::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A few scrapers ask now and then; more connections wait their turn.
const CONNECTIONS_MOST: usize = 16;

/// Time for one request and its answer, so that idle connections do not keep scrapers out.
const PATIENCE: Duration = Duration::from_secs(10);

/// Renders the page when it is asked for.
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// One listening socket.
pub(crate) struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Listens at `address`.
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// Where it listens, with the port the system chose for port 0.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until dropped.
    pub(crate) async fn serve(self, render: Render) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MOST));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.0.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(converse(stream, Arc::clone(&render), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "the metrics listener gives no connection");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, render: Render, _place: OwnedSemaphorePermit) {
    let service = service_fn(move |request| {
        let render = Arc::clone(&render);
        // Rendering looks at every home, which would hold up the worker's other tasks.
        async move {
            let response = spawn_blocking(move || respond(&request, &render)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|_| failed()))
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever went wrong is the scraper's to notice.
    let _ = timeout(PATIENCE, connection).await;
}

fn respond(request: &Request<Incoming>, render: &Render) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, CONTENT_TYPE, render()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
        _ => {
            let hint = "The metrics are at /metrics.\n".to_owned();
            (StatusCode::NOT_FOUND, "text/plain", hint)
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The answer where rendering panicked, which is a bug of ours.
fn failed() -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn the_page_is_served_and_nothing_else() {
        let listener = MetricsListener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.address().unwrap();
        let server = tokio::spawn(listener.serve(Arc::new(|| "up 1\n".to_owned())));
        for (request, status, body) in [
            ("GET /metrics", "HTTP/1.1 200", "up 1\n"),
            ("POST /metrics", "HTTP/1.1 405", ""),
            ("GET /", "HTTP/1.1 404", "at /metrics"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let text = format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(status), "{answer}");
            assert!(answer.contains(body), "{answer}");
        }
        server.abort();
    }
}
