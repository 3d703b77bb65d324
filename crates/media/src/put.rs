//! A file comes whole (XEP-0363 §7).

use std::sync::Arc;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use posthaste_gate::{Body, HttpPeer};
use posthaste_im::media::Slot;

use crate::headers::empty;
use crate::kind::essence;
use crate::path::Target;
use crate::refusal::Refusal;
use crate::site::{Progress, Site};

/// Takes a file. The body is left in its place unless it is read, so that its sender can be told why it is not.
///
/// # Errors
/// What is said of the body is not what the slot is for, or [`Site::begin`] or [`crate::intake`] refuses it.
pub(crate) async fn put(
    site: &Arc<Site>,
    target: &Target,
    headers: &HeaderMap,
    body: &mut Option<Incoming>,
    peer: HttpPeer,
) -> Result<Response<Body>, Refusal> {
    let mut slot = site.slot(target).await?;
    if !site.is_fresh(&slot) {
        return Err(Refusal::Expired);
    }
    check_length(headers, &slot)?;
    if let Some(content_type) = checked_type(headers, &slot)? {
        slot.content_type = content_type;
    }
    let place = site.upload_place(peer)?;
    let hold = site.hold(&slot).await?;
    let mut intake = match site.progress(&slot).await? {
        Progress::Done => return Err(Refusal::Used),
        Progress::Fresh => site.begin(slot, hold, place).await?,
        // HTTP libraries send a PUT again when its connection broke (RFC 9110 §9.2.2): it begins from the beginning.
        Progress::UnderWay(record) => site.restart(slot, record, hold, place).await?,
    };
    let Some(body) = body.take() else {
        return Err(Refusal::Broken);
    };
    if let Err(refusal) = intake.receive(body).await {
        intake.leave().await;
        return Err(refusal);
    }
    if !intake.is_whole() {
        return Err(Refusal::TooShort(intake.slot.size));
    }
    intake.complete().await?;
    Ok(created(target))
}

fn created(target: &Target) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    if let Ok(location) = HeaderValue::try_from(&target.path) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The body has to be as long as the slot says, and to say so.
fn check_length(headers: &HeaderMap, slot: &Slot) -> Result<(), Refusal> {
    if headers.contains_key(CONTENT_RANGE) {
        // RFC 9110 §14.5: it is meant for a part of the file.
        return Err(Refusal::Malformed("a PUT is of the whole file"));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::NoLength);
    }
    let length = headers.get(CONTENT_LENGTH).ok_or(Refusal::NoLength)?;
    let length: u64 = length
        .to_str()
        .ok()
        .and_then(|length| length.parse().ok())
        .ok_or(Refusal::Malformed("a length that is no number"))?;
    if length > slot.size {
        return Err(Refusal::TooLong(slot.size));
    }
    if length < slot.size {
        return Err(Refusal::TooShort(slot.size));
    }
    Ok(())
}

/// What the upload says it is, where the slot says nothing.
///
/// # Errors
/// The slot says something else. Parameters are no difference (browsers add a charset), and neither is silence: XEP-0363
/// §7 lets us assume a type then.
fn checked_type(headers: &HeaderMap, slot: &Slot) -> Result<Option<String>, Refusal> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(Refusal::WrongType);
    }
    let said = headers
        .get(CONTENT_TYPE)
        .and_then(|said| said.to_str().ok());
    let Some(said) = said else {
        return Ok(None);
    };
    if slot.content_type.is_empty() {
        return Ok(essence(said).map(|_| said.to_owned()));
    }
    let is_same = match (essence(said), essence(&slot.content_type)) {
        (Some(said), Some(agreed)) => said == agreed,
        _ => said.eq_ignore_ascii_case(&slot.content_type),
    };
    if is_same {
        Ok(None)
    } else {
        Err(Refusal::WrongType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use posthaste_im::clock::Timestamp;
    use posthaste_im::media::{FileId, Purpose};
    use posthaste_proto::jid::BareJid;

    fn slot(content_type: &str) -> Slot {
        Slot {
            account: BareJid::parse("romeo@example.org").unwrap(),
            id: FileId::parse("abcdefghijklmnopqrstuvw7").unwrap(),
            name: "a".to_owned(),
            size: 10,
            content_type: content_type.to_owned(),
            purpose: Purpose::Message,
            expires: Timestamp(0),
        }
    }

    fn headers(fields: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_length_is_said_and_is_that_of_the_slot() {
        let check = |fields: &[_]| check_length(&headers(fields), &slot(""));
        assert_eq!(check(&[(CONTENT_LENGTH, "10")]), Ok(()));
        assert_eq!(check(&[]), Err(Refusal::NoLength));
        assert_eq!(
            check(&[(TRANSFER_ENCODING, "chunked")]),
            Err(Refusal::NoLength)
        );
        assert_eq!(check(&[(CONTENT_LENGTH, "11")]), Err(Refusal::TooLong(10)));
        assert_eq!(check(&[(CONTENT_LENGTH, "9")]), Err(Refusal::TooShort(10)));
        let part = check(&[(CONTENT_LENGTH, "10"), (CONTENT_RANGE, "bytes 0-9/10")]);
        assert!(matches!(part, Err(Refusal::Malformed(_))));
    }

    #[test]
    fn the_type_is_that_of_the_slot_if_the_slot_has_one() {
        let check = |said: &'static str, agreed| {
            let fields = if said.is_empty() {
                headers(&[])
            } else {
                headers(&[(CONTENT_TYPE, said)])
            };
            checked_type(&fields, &slot(agreed))
        };
        assert_eq!(check("image/png", "image/png"), Ok(None));
        assert_eq!(check("Text/Plain;charset=UTF-8", "text/plain"), Ok(None));
        assert_eq!(check("", "image/png"), Ok(None));
        assert_eq!(check("text/html", "image/png"), Err(Refusal::WrongType));
        assert_eq!(check("image/png", ""), Ok(Some("image/png".to_owned())));
        assert_eq!(check("nonsense", ""), Ok(None));
        let zipped = headers(&[(CONTENT_ENCODING, "gzip")]);
        assert_eq!(checked_type(&zipped, &slot("")), Err(Refusal::WrongType));
    }
}
