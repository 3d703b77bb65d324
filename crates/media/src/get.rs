//! A file goes out: to whoever knows its address.

use futures_util::StreamExt;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use posthaste_gate::{Body, HttpPeer};
use posthaste_im::clock::Timestamp;
use posthaste_im::media::{self, File};

use crate::conditional::{Validators, Verdict};
use crate::headers::empty;
use crate::kind::Kind;
use crate::path::Target;
use crate::places::Place;
use crate::range::Part;
use crate::refusal::Refusal;
use crate::site::Site;
use crate::store::Content;

/// What is at an address never changes. For how long it is kept is a year at most, in seconds, as RFC 9111 suggests.
const MOST_CACHED: u64 = 31_536_000;

/// Answers GET and HEAD.
///
/// # Errors
/// There is no such file, a condition does not hold, or too many are served.
pub(crate) async fn get(
    site: &Site,
    target: &Target,
    headers: &HeaderMap,
    peer: HttpPeer,
    is_get: bool,
) -> Result<Response<Body>, Refusal> {
    let file = media::file(&site.node, &target.id).await;
    let file = file
        .map_err(|error| Refusal::of_ledger(error, site.node.now()))?
        .ok_or(Refusal::NotFound)?;
    let validators = Validators::of(&file);
    let cached = cached_for(&file, site.node.now());
    let part = match validators.judge(headers, file.size, is_get) {
        Verdict::NotModified => {
            let mut response = empty(StatusCode::NOT_MODIFIED);
            say_version(response.headers_mut(), &validators, cached);
            return Ok(response);
        }
        Verdict::Failed => return Err(Refusal::ConditionFailed),
        Verdict::Serve(Part::Unsatisfiable) => return Err(Refusal::OutOfRange(file.size)),
        Verdict::Serve(part) => part,
    };
    let mut response = if is_get {
        let place = site.download_place(peer)?;
        sent(content(site, &file, &part).await?, place)
    } else {
        empty(StatusCode::OK)
    };
    let headers = response.headers_mut();
    say_version(headers, &validators, cached);
    say_kind(headers, &file);
    let length = match &part {
        Part::Bytes(range) => {
            let last = range.end - 1;
            let said = format!("bytes {}-{last}/{}", range.start, file.size);
            say(headers, CONTENT_RANGE, said);
            range.end - range.start
        }
        Part::Whole | Part::Unsatisfiable => file.size,
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if matches!(part, Part::Bytes(_)) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

async fn content(site: &Site, file: &File, part: &Part) -> Result<Content, Refusal> {
    let content = match part {
        Part::Bytes(range) => site.store.read(&file.object, range.clone()).await,
        Part::Whole | Part::Unsatisfiable => {
            let (object, size) = (&file.object, file.size);
            site.store.read_whole(object, size, &file.digest).await
        }
    };
    Ok(content?)
}

/// The store reads no further than the connection asks for, and the connection asks when it has little left: a reader
/// that is slow, or does not read at all, has one piece of the file in memory.
fn sent(content: Content, place: Place) -> Response<Body> {
    let frames = content.map(move |piece| {
        let _served = &place;
        piece.map(Frame::data).map_err(Into::into)
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// How long a cache keeps a file, in seconds: not past the moment when it must be gone (XEP-0363 §5.3).
fn cached_for(file: &File, now: Timestamp) -> u64 {
    let left = |until: Timestamp| until.millis().saturating_sub(now.millis()) / 1_000;
    file.until.map_or(MOST_CACHED, left).min(MOST_CACHED)
}

fn say_version(headers: &mut HeaderMap, validators: &Validators, cached: u64) {
    say(headers, ETAG, validators.etag.clone());
    let modified = httpdate::fmt_http_date(validators.modified);
    say(headers, LAST_MODIFIED, modified);
    // Only the reader's own cache: from a shared one a file could still be had when its uploader has removed it.
    let caching = format!("private, max-age={cached}, immutable");
    say(headers, CACHE_CONTROL, caching);
}

fn say_kind(headers: &mut HeaderMap, file: &File) {
    let kind = Kind::of(&file.content_type);
    headers.insert(CONTENT_DISPOSITION, kind.disposition(&file.name));
    say(headers, CONTENT_TYPE, kind.content_type);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// Says a field, unless it could not be said: none of ours has such characters.
fn say(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures_util::stream;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use crate::places::Places;

    /// As the store's largest, and as the gate's connections read ahead.
    const PIECE: usize = 256 << 10;
    const CONNECTION: usize = 16 << 10;

    #[tokio::test]
    async fn a_slow_reader_holds_two_pieces_and_what_the_connection_buffers_and_no_more() {
        let read = Arc::new(AtomicUsize::new(0));
        let (ours, mut theirs) = duplex(1_024);
        let places = Places::new(1, 1);
        let service = service_fn(|_| {
            let read = Arc::clone(&read);
            let pieces = stream::repeat_with(move || {
                read.fetch_add(1, Ordering::Relaxed);
                Ok(Bytes::from_static(&[7; PIECE]))
            });
            let place = places.take([192, 0, 2, 1].into()).unwrap();
            async move { Ok::<_, Infallible>(sent(pieces.boxed(), place)) }
        });
        let serving = http1::Builder::new()
            .max_buf_size(CONNECTION)
            .serve_connection(TokioIo::new(ours), service);
        let reading = async {
            theirs
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .unwrap();
            let (mut taken, mut some) = (0, [0; 512]);
            while taken < 8 * PIECE {
                let count = theirs.read(&mut some).await.unwrap();
                taken += count;
                let held = (read.load(Ordering::Relaxed) * PIECE).saturating_sub(taken);
                assert!(held <= 2 * PIECE + CONNECTION, "{held}");
                // Whatever can be read ahead is.
                tokio::task::yield_now().await;
            }
            assert_eq!(places.taken(), 1);
            drop(theirs);
        };
        let (served, ()) = tokio::join!(serving, reading);
        assert!(served.is_err(), "the reader has gone");
        assert_eq!(places.taken(), 0);
    }
}
