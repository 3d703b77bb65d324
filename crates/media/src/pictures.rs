//! Small pictures go out: thumbnails of files, and avatars. They are in memory whole, and called what their bytes are.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use posthaste_gate::Body;
use posthaste_im::media::PictureKind;
use sha1::{Digest as _, Sha1};

/// A picture on its way to a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    kind: PictureKind,
    bytes: Bytes,
    /// The SHA-1 of the bytes, in small hexadecimal letters: what XMPP calls an avatar by.
    pub(crate) hash: String,
}

impl Shown {
    pub(crate) fn new(kind: PictureKind, bytes: Bytes) -> Shown {
        let digest = Sha1::digest(&bytes);
        let hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Shown { kind, bytes, hash }
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Answers GET and HEAD. `caching` is what `Cache-Control` says.
    pub(crate) fn answer(
        &self,
        asked: &HeaderMap,
        is_get: bool,
        caching: &'static str,
    ) -> Response<Body> {
        let etag = format!("\"{}\"", self.hash);
        let is_known = knows(asked, &etag);
        let body = match is_get && !is_known {
            true => Full::new(self.bytes.clone())
                .map_err(|never| match never {})
                .boxed_unsync(),
            false => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        // Hexadecimal digits in quotes.
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(ETAG, etag);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let kind = HeaderValue::from_static(self.kind.media_type());
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.bytes.len()));
        response
    }
}

/// RFC 9110 §13.1.2: does whoever asks have it already?
fn knows(asked: &HeaderMap, etag: &str) -> bool {
    asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_sent_once_to_whoever_keeps_it() {
        let shown = Shown::new(PictureKind::Png, Bytes::from_static(b"abc"));
        let etag = "\"a9993e364706816aba3e25717850c26c9cd0d89d\"";
        let asked = |tags: &'static str| {
            let mut asked = HeaderMap::new();
            asked.insert(IF_NONE_MATCH, HeaderValue::from_static(tags));
            shown.answer(&asked, true, "no-cache").status()
        };
        let first = shown.answer(&HeaderMap::new(), true, "no-cache");
        assert_eq!(first.headers()[ETAG], etag);
        assert_eq!(first.headers()[CONTENT_TYPE], "image/png");
        assert_eq!(first.headers()[CONTENT_LENGTH], "3");
        assert_eq!(asked("\"a9993e364706816aba3e25717850c26c9cd0d89d\""), 304);
        assert_eq!(
            asked("\"x\", W/\"a9993e364706816aba3e25717850c26c9cd0d89d\""),
            304
        );
        assert_eq!(asked("*"), 304);
        assert_eq!(asked("\"b9993e364706816aba3e25717850c26c9cd0d89d\""), 200);
    }
}
