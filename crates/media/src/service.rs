//! The road of an HTTP request to the media service.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use posthaste_gate::{Body, HttpPeer, HttpService};
use posthaste_im::node::Node;

use crate::store::Store;

/// Where the service is on the HTTP port.
pub const PATH: &str = "/media";

/// The HTTP half of the media service.
#[derive(Debug)]
pub struct MediaService {
    node: Arc<Node>,
    store: Arc<Store>,
}

impl MediaService {
    /// A service of this node's files, with their bytes in this store.
    pub fn new(node: Arc<Node>, store: Arc<Store>) -> MediaService {
        MediaService { node, store }
    }
}

impl HttpService for MediaService {
    fn answer(&self, request: Request<Incoming>, peer: HttpPeer) -> BoxFuture<'_, Response<Body>> {
        async move {
            tracing::trace!(path = request.uri().path(), ?peer, node = ?self.node, store = ?self.store);
            let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
        .boxed()
    }
}
