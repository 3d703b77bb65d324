//! What every answer says: to browsers, that they run nothing of it, and to pages of web clients, that they may ask.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use posthaste_gate::Body;

use crate::refusal::METHODS;
use crate::resume;

/// A file that is opened by itself runs nothing, loads nothing but itself, and is in nobody's frame. This says nothing of
/// pictures and videos that a page shows.
const POLICY: &str =
    "default-src 'none'; img-src 'self'; media-src 'self'; sandbox; frame-ancestors 'none'";

/// What pages of other origins may say, and read. Addresses are permissions, so that no credentials are sent along.
const SAID: &str = "Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, \
    If-Unmodified-Since, Range, Tus-Resumable, Upload-Length, Upload-Metadata, Upload-Offset, \
    X-HTTP-Method-Override, X-Requested-With";
const READ: &str = "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Last-Modified, \
    Location, Retry-After, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, \
    Upload-Length, Upload-Offset";

/// How long a browser may remember that it may ask.
const PREFLIGHT_SECONDS: &str = "86400";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Answers OPTIONS: what may be done here, for browsers (CORS) and for tus.
pub(crate) fn options(most_bytes: u64) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let fields = [
        (ALLOW, METHODS),
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, SAID),
        (ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
    ];
    for (name, value) in fields {
        headers.insert(name, HeaderValue::from_static(value));
    }
    resume::offer(headers, most_bytes);
    response
}

/// Says what every answer says.
pub(crate) fn secure(headers: &mut HeaderMap) {
    let fields = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (RESOURCE_POLICY, "cross-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, READ),
    ];
    for (name, value) in fields {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is refused now may be there in a moment.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}
