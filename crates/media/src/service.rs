//! The road of an HTTP request to the media service.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::EXPECT;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use posthaste_gate::{Body, HttpPeer, HttpService};
use posthaste_im::ext::media_preview::SEGMENT;
use posthaste_im::node::Node;

use crate::avatar::Wanted;
use crate::bounds::Bounds;
use crate::path::Target;
use crate::refusal::Refusal;
use crate::site::Site;
use crate::stats::{Answers, Previewed};
use crate::store::Store;
use crate::{get, headers, preview, put, resume};

/// Where the service is on the HTTP port.
pub const PATH: &str = posthaste_im::media::PATH;

/// Bytes of a refused body that are read and thrown away, and for how long: a client that is still sending when its
/// connection is closed does not see why.
const DRAINED_BYTES: u64 = 8 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(10);

/// The HTTP half of the media service.
#[derive(Debug)]
pub struct MediaService {
    site: Arc<Site>,
    answers: Answers,
}

impl MediaService {
    /// A service of this node's files, with their bytes in this store.
    pub fn new(node: Arc<Node>, store: Arc<Store>) -> MediaService {
        MediaService::bounded(node, store, Bounds::default())
    }

    /// A service with bounds of its own.
    pub fn bounded(node: Arc<Node>, store: Arc<Store>, bounds: Bounds) -> MediaService {
        MediaService {
            site: Site::new(node, store, bounds),
            answers: Answers::default(),
        }
    }

    /// Where the bytes are.
    pub fn store(&self) -> &Store {
        &self.site.store
    }

    /// Uploads and downloads that are under way, in this order.
    pub fn transfers(&self) -> (usize, usize) {
        (self.site.uploads.taken(), self.site.downloads.taken())
    }

    /// What came of looking at files for their previews.
    pub fn previewed(&self) -> &Previewed {
        self.site.previews.stats()
    }

    /// How requests were answered.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    async fn serve(&self, request: Request<Incoming>, peer: HttpPeer) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let method = resume::method(&parts.method, &parts.headers);
        let mut body = Some(body);
        let target = Target::of(&parts.uri);
        let has_slot = target.as_ref().is_some_and(|target| target.slot.is_some());
        let answer = match &target {
            _ if method == Method::OPTIONS => {
                Ok(headers::options(self.site.node.config().media.file_bytes))
            }
            Some(target) => {
                self.answer_to(&method, target, &parts.headers, &mut body, peer)
                    .await
            }
            None => self.avatar(&method, &parts, peer).await,
        };
        let mut response = answer.unwrap_or_else(|refusal| {
            tracing::debug!(%method, ?refusal, "refused");
            // Who asks before sending is not told to go on.
            if let Some(body) = body.filter(|_| !parts.headers.contains_key(EXPECT)) {
                drain(body);
            }
            refusal.answer()
        });
        self.answers.count(response.status());
        headers::secure(response.headers_mut());
        if has_slot {
            resume::mark(response.headers_mut());
        }
        response
    }

    async fn answer_to(
        &self,
        method: &Method,
        target: &Target,
        headers: &http::HeaderMap,
        body: &mut Option<Incoming>,
        peer: HttpPeer,
    ) -> Result<Response<Body>, Refusal> {
        let site = &self.site;
        match *method {
            Method::PUT => put::put(site, target, headers, body, peer).await,
            Method::HEAD if target.slot.is_some() => {
                resume::head(site, target, headers, peer).await
            }
            Method::PATCH => resume::patch(site, target, headers, body, peer).await,
            Method::DELETE => resume::delete(site, target, headers, peer).await,
            Method::GET | Method::HEAD => {
                let is_get = *method == Method::GET;
                match target.name == SEGMENT {
                    true => preview::get(site, target, headers, peer, is_get).await,
                    false => get::get(site, target, headers, peer, is_get).await,
                }
            }
            _ => Err(Refusal::Method),
        }
    }

    /// What is no file may be a picture of somebody.
    async fn avatar(
        &self,
        method: &Method,
        asked: &Parts,
        peer: HttpPeer,
    ) -> Result<Response<Body>, Refusal> {
        let wanted = Wanted::of(asked.uri.path()).ok_or(Refusal::NotFound)?;
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        let _place = self.site.download_place(peer)?;
        let (node, avatars) = (&self.site.node, &self.site.avatars);
        let is_get = *method == Method::GET;
        avatars.get(node, &wanted, &asked.headers, is_get).await
    }
}

impl HttpService for MediaService {
    fn answer(&self, request: Request<Incoming>, peer: HttpPeer) -> BoxFuture<'_, Response<Body>> {
        self.serve(request, peer).boxed()
    }
}

/// Reads what is refused while the answer goes out, so that the client gets to read the answer.
fn drain(mut body: Incoming) {
    let reading = async move {
        let mut left = DRAINED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
            let Some(rest) = left.checked_sub(read) else {
                return;
            };
            left = rest;
        }
    };
    tokio::spawn(tokio::time::timeout(DRAINED_FOR, reading));
}
