//! XMPP over plain HTTP requests, for web clients that have no WebSocket: BOSH (XEP-0124 1.11.2) for
//! XMPP (XEP-0206 1.4).
//!
//! `body.rs` is what requests and answers say, `window.rs` their order, `stream.rs` the stream
//! behind a session, `session.rs` the task between them. A session counts as a connection and is
//! held to the same bounds; one that is lost is a lost connection, and what its client has not
//! shown to have received is delivered elsewhere or later.
//! Left out: multiple streams in a session, reports of missing answers, compression, encodings
//! other than UTF-8, HTTP errors for clients from before version 1.6, `Content-Type` at the
//! client's wish (a page of somebody else's could have its answers read as HTML).

mod body;
mod session;
mod stream;
mod window;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use posthaste_proto::xml::Limits;
use tokio::sync::{mpsc, oneshot};

use super::upgrade::may_connect;
use super::{Body, HttpPeer, HttpService, empty, status};
use crate::channel::Channel;
use crate::shared::{Phase, Shared};
use crate::stats::TransportKind;
use body::{Answer, Condition, Request, WRAPPER_BYTES};
use session::{Arrival, Session};
use stream::Stream;

/// Where BOSH is.
pub(crate) const BOSH_PATH: &str = "/http-bind";

/// Bytes that are under way between a session and its stream in each direction, beside what either
/// of them keeps.
const PIPE_BYTES: usize = 16 * 1024;

/// Requests of one session that wait to be looked at: as many as a client may have open, and some
/// that repeat them.
const MOST_ARRIVALS: usize = 4;

/// How long a browser may remember that it may come.
const PREFLIGHT_SECONDS: &str = "86400";

/// The service at [`BOSH_PATH`].
pub(crate) struct Bosh {
    shared: Weak<Shared>,
    table: Arc<Table>,
}

/// The sessions, by their ids.
#[derive(Debug, Default)]
struct Table {
    sessions: Mutex<HashMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    arrivals: mpsc::Sender<Arrival>,
    /// It was made over TLS, and goes on over TLS only (XEP-0124 §19.1).
    secure: bool,
    logged_in: Arc<AtomicBool>,
}

impl Table {
    fn find(&self, sid: &str) -> Option<Entry> {
        self.lock().get(sid).cloned()
    }

    fn forget(&self, sid: &str) {
        self.lock().remove(sid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bosh {
    /// The service of the gate that `shared` is the inside of.
    pub(crate) fn new(shared: Weak<Shared>) -> Bosh {
        Bosh {
            shared,
            table: Arc::default(),
        }
    }

    async fn serve(
        &self,
        shared: &Arc<Shared>,
        request: http::Request<Incoming>,
        peer: HttpPeer,
    ) -> Response<Body> {
        let body = match self.read(shared, request.into_body()).await {
            Ok(body) => body,
            Err(Unread::Lost) => return status(StatusCode::BAD_REQUEST),
            Err(Unread::Late) => return status(StatusCode::REQUEST_TIMEOUT),
            Err(Unread::TooLong) => return told(Condition::PolicyViolation),
        };
        let Some(request) = Request::parse(&body, &limits(body.len())) else {
            return told(Condition::BadRequest);
        };
        let (reply, answer) = oneshot::channel();
        let arrival = Arrival { request, reply };
        let refused = match arrival.request.sid.clone() {
            None => self.create(shared, arrival, peer),
            Some(sid) => self.go_on(&sid, arrival, peer).await,
        };
        match refused {
            Err(condition) => told(condition),
            Ok(()) => match answer.await {
                Ok(body) => xml(body),
                // The session ended while this request was on its way to it.
                Err(_) => told(Condition::ItemNotFound),
            },
        }
    }

    /// Takes a request to its session.
    async fn go_on(&self, sid: &str, arrival: Arrival, peer: HttpPeer) -> Result<(), Condition> {
        let entry = self.table.find(sid).ok_or(Condition::ItemNotFound)?;
        if entry.secure && !peer.secure {
            return Err(Condition::ItemNotFound);
        }
        let sent = entry.arrivals.send(arrival).await;
        sent.map_err(|_| Condition::ItemNotFound)
    }

    /// Makes the session that a request asks for.
    fn create(
        &self,
        shared: &Arc<Shared>,
        arrival: Arrival,
        peer: HttpPeer,
    ) -> Result<(), Condition> {
        if shared.phase() != Phase::Open {
            return Err(Condition::SystemShutdown);
        }
        let to = arrival.request.to.as_deref();
        let to = to.ok_or(Condition::ImproperAddressing)?;
        let is_ours = |host: &posthaste_im::config::HostConfig| host.domain.as_str() == to;
        if !shared.node.config().hosts.iter().any(is_ours) {
            return Err(Condition::HostUnknown);
        }
        // Each is a connection, and counts as one where connections are bounded.
        let permit = shared
            .admission
            .admit(peer.address.ip(), TransportKind::Bosh)
            .map_err(|_| Condition::PolicyViolation)?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let channel = Channel::inside(Arc::clone(shared), permit, peer, theirs);
        tokio::spawn(crate::gate::serve_stream(channel));

        let sid = session_id(shared);
        let (sender, receiver) = mpsc::channel(MOST_ARRIVALS);
        let logged_in = Arc::<AtomicBool>::default();
        let entry = Entry {
            arrivals: sender,
            secure: peer.secure,
            logged_in: Arc::clone(&logged_in),
        };
        self.table.lock().insert(sid.clone(), entry);
        let table = Arc::clone(&self.table);
        let session = Session::new(sid, table, logged_in, Stream::new(ours), receiver, arrival);
        tokio::spawn(session.run());
        Ok(())
    }

    /// Reads a request's body: before log-in as much as an element may have, after it as much as a
    /// stanza may.
    async fn read(&self, shared: &Shared, mut body: Incoming) -> Result<Vec<u8>, Unread> {
        let bounds = &shared.config.limits;
        let mut most = bounds.element_bytes_before_login + WRAPPER_BYTES;
        let reading = async {
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Unread::Lost)?;
                bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                if bytes.len() > most && self.is_logged_in(&bytes) {
                    most = bounds.stanza_bytes + WRAPPER_BYTES;
                }
                if bytes.len() > most {
                    return Err(Unread::TooLong);
                }
            }
            Ok(bytes)
        };
        // As slowly as the largest stanza may come in on any other road.
        let rate = u64::from(bounds.element_bytes_per_second.max(1));
        let time = bounds.element_grace + Duration::from_secs(bounds.stanza_bytes as u64 / rate);
        let read = tokio::time::timeout(time, reading).await;
        read.unwrap_or(Err(Unread::Late))
    }

    /// Whether the session named by the start of a wrapper is one of somebody who has logged in.
    fn is_logged_in(&self, start: &[u8]) -> bool {
        let head = &start[..start.len().min(WRAPPER_BYTES)];
        let sid = Request::session_of(head, &limits(head.len() + 2));
        sid.and_then(|sid| self.table.find(&sid))
            .is_some_and(|entry| entry.logged_in.load(Ordering::Relaxed))
    }
}

impl HttpService for Bosh {
    fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: HttpPeer,
    ) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            let Some(shared) = self.shared.upgrade() else {
                return status(StatusCode::SERVICE_UNAVAILABLE);
            };
            let origins = &shared.config.http.origins;
            if !may_connect(request.headers(), origins) {
                return status(StatusCode::FORBIDDEN);
            }
            let origin = allowed_origin(request.headers(), origins);
            let mut response = match *request.method() {
                Method::POST => self.serve(&shared, request, peer).await,
                Method::OPTIONS => preflight(),
                _ => not_allowed(),
            };
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(VARY, HeaderValue::from_static("Origin"));
            response
        })
    }
}

/// Why there is no body.
enum Unread {
    Lost,
    Late,
    TooLong,
}

/// Bounds of a wrapper with the stanzas in it: one level and one size more than theirs.
fn limits(bytes: usize) -> Limits {
    let stanza = Limits::default();
    Limits {
        stanza_bytes: bytes,
        depth: stanza.depth + 1,
        ..stanza
    }
}

/// 144 bits that nobody can guess (XEP-0124 §19.3).
fn session_id(shared: &Shared) -> String {
    let mut bytes = [0; 18];
    shared.node.entropy().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a page is told about who may read answers; it has been checked that this one may.
fn allowed_origin(headers: &HeaderMap, origins: &[String]) -> HeaderValue {
    match headers.get(ORIGIN) {
        Some(origin) if !origins.is_empty() => origin.clone(),
        _ => HeaderValue::from_static("*"),
    }
}

fn preflight() -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let pairs = [
        (ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type"),
        (ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
    ];
    for (name, value) in pairs {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn not_allowed() -> Response<Body> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    let methods = HeaderValue::from_static("POST, OPTIONS");
    response.headers_mut().insert(ALLOW, methods);
    response
}

/// A session is over, or does not begin.
fn told(condition: Condition) -> Response<Body> {
    xml(Answer::terminate(Some(condition)).into_bytes().into())
}

fn xml(body: Bytes) -> Response<Body> {
    let body = Full::new(body).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/xml; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    let as_said = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, as_said);
    response
}
