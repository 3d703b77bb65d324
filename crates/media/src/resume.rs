//! An upload goes on where it broke off: tus 1.0.0 on the slot's own address (`docs/decisions/` says why tus).
//!
//! The slot is what tus calls an upload: XEP-0363 has created it. HEAD tells how much has come, PATCH brings more,
//! DELETE gives it up. The first PATCH takes the slot's place among the account's uploads, as PUT does; a PUT that broke
//! off is gone on with in the same way. The extensions expiration and termination are spoken. Left out: creation (that is
//! XEP-0363's), checksum (TLS sees to that), concatenation.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use posthaste_gate::{Body, HttpPeer};
use posthaste_im::media::{self, Slot};

use crate::conditional::in_seconds;
use crate::headers::empty;
use crate::path::Target;
use crate::refusal::Refusal;
use crate::site::{Progress, Site, when_free};

/// The protocol's version.
pub(crate) const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "expiration,termination";
const PATCH_TYPE: &str = "application/offset+octet-stream";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
/// Which versions are spoken.
pub(crate) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
/// How much has come.
pub(crate) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Says which tus is spoken, in the answer to OPTIONS.
pub(crate) fn offer(headers: &mut HeaderMap, most_bytes: u64) {
    mark(headers);
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(TUS_EXTENSION, HeaderValue::from_static(EXTENSIONS));
    headers.insert(TUS_MAX_SIZE, HeaderValue::from(most_bytes));
}

/// Says that an answer is one of tus.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
}

/// What a request means: where PATCH and DELETE cannot be sent, POST stands for them.
pub(crate) fn method(said: &Method, headers: &HeaderMap) -> Method {
    let meant = headers.get(METHOD_OVERRIDE);
    match meant.and_then(|meant| meant.to_str().ok()) {
        Some("PATCH") if said == Method::POST => Method::PATCH,
        Some("DELETE") if said == Method::POST => Method::DELETE,
        _ => said.clone(),
    }
}

/// Answers HEAD: how much has come.
///
/// # Errors
/// There is no such slot, or it is too late for it.
pub(crate) async fn head(
    site: &Arc<Site>,
    target: &Target,
    headers: &HeaderMap,
    peer: HttpPeer,
) -> Result<Response<Body>, Refusal> {
    check_version(headers)?;
    let slot = site.slot(target).await?;
    let place = site.upload_place(peer)?;
    let size = slot.size;
    let hold = site.hold(&slot).await?;
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    let offset = match site.progress(&slot).await? {
        Progress::Fresh => {
            expires(headers, in_seconds(slot.expires));
            0
        }
        Progress::Done => size,
        Progress::UnderWay(record) => {
            expires(headers, in_seconds(site.deadline(&record)));
            match when_free(|| site.store.staged_len(&record.object)).await? {
                None => 0,
                Some(offset) if offset < size => offset,
                Some(_) => {
                    // All had come, and then the store failed: who is told that all is there must find it there.
                    let intake = site.go_on(slot, record, hold, place).await?;
                    let offset = intake.offset();
                    if intake.is_whole() {
                        intake.complete().await?;
                    }
                    offset
                }
            }
        }
    };
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
    headers.insert(UPLOAD_LENGTH, HeaderValue::from(size));
    Ok(response)
}

/// Answers PATCH: more comes.
///
/// # Errors
/// The upload is somewhere else, it is too late for it, or [`Site::begin`] or [`crate::intake`] refuses it.
pub(crate) async fn patch(
    site: &Arc<Site>,
    target: &Target,
    headers: &HeaderMap,
    body: &mut Option<Incoming>,
    peer: HttpPeer,
) -> Result<Response<Body>, Refusal> {
    check_version(headers)?;
    let slot = site.slot(target).await?;
    let from = checked_offset(headers, &slot)?;
    let place = site.upload_place(peer)?;
    let hold = site.hold(&slot).await?;
    let size = slot.size;
    let mut intake = match site.progress(&slot).await? {
        Progress::Done if from == size => return Ok(progressed(size, None)),
        Progress::Done => return Err(Refusal::WrongOffset(size)),
        Progress::Fresh if from > 0 => return Err(Refusal::WrongOffset(0)),
        Progress::Fresh => site.begin(slot, hold, place).await?,
        Progress::UnderWay(record) => site.go_on(slot, record, hold, place).await?,
    };
    let offset = intake.offset();
    if offset != from {
        intake.leave().await;
        return Err(Refusal::WrongOffset(offset));
    }
    let body = body.take().ok_or(Refusal::Broken)?;
    if let Err(refusal) = intake.receive(body).await {
        intake.leave().await;
        return Err(refusal);
    }
    let offset = intake.offset();
    if intake.is_whole() {
        intake.complete().await?;
        return Ok(progressed(offset, None));
    }
    let deadline = match site.progress(&intake.slot).await? {
        Progress::UnderWay(record) => Some(in_seconds(site.deadline(&record))),
        Progress::Fresh | Progress::Done => None,
    };
    Ok(progressed(offset, deadline))
}

/// Answers DELETE: it will not go on. A file that is there is removed over XMPP.
///
/// # Errors
/// There is no such upload, or it is done.
pub(crate) async fn delete(
    site: &Arc<Site>,
    target: &Target,
    headers: &HeaderMap,
    peer: HttpPeer,
) -> Result<Response<Body>, Refusal> {
    check_version(headers)?;
    let slot = site.slot(target).await?;
    let place = site.upload_place(peer)?;
    let hold = site.hold(&slot).await?;
    match site.progress(&slot).await? {
        Progress::Fresh => return Err(Refusal::NotFound),
        Progress::Done => return Err(Refusal::Used),
        Progress::UnderWay(record) => {
            let abandoned = media::abandon(&site.node, &slot.account, &slot.id).await;
            abandoned.map_err(|error| Refusal::of_ledger(error, site.node.now()))?;
            when_free(|| site.store.forget(&record.object)).await?;
        }
    }
    drop((hold, place));
    Ok(empty(StatusCode::NO_CONTENT))
}

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(TUS_RESUMABLE) {
        Some(version) if version == VERSION => Ok(()),
        Some(_) | None => Err(Refusal::Version),
    }
}

/// Where a PATCH goes on. What cannot fit is refused before it is sent.
fn checked_offset(headers: &HeaderMap, slot: &Slot) -> Result<u64, Refusal> {
    if headers
        .get(CONTENT_TYPE)
        .is_none_or(|said| said != PATCH_TYPE)
    {
        return Err(Refusal::WrongType);
    }
    let number =
        |name: HeaderName| -> Option<u64> { headers.get(name)?.to_str().ok()?.parse().ok() };
    let offset = number(UPLOAD_OFFSET).ok_or(Refusal::Malformed("an offset has to be said"))?;
    let end = offset.saturating_add(number(CONTENT_LENGTH).unwrap_or(0));
    if end > slot.size {
        return Err(Refusal::TooLong(slot.size));
    }
    Ok(offset)
}

fn progressed(offset: u64, deadline: Option<SystemTime>) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
    if let Some(deadline) = deadline {
        expires(headers, deadline);
    }
    response
}

fn expires(headers: &mut HeaderMap, deadline: SystemTime) {
    if let Ok(deadline) = HeaderValue::try_from(httpdate::fmt_http_date(deadline)) {
        headers.insert(UPLOAD_EXPIRES, deadline);
    }
}
