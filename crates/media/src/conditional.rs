//! Conditional requests (RFC 9110 §13): whoever has a file already is not sent it again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderName};
use posthaste_im::clock::Timestamp;
use posthaste_im::media::File;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::range::Part;

/// What tells one version of a file from another; there is only one ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    /// Strong: it says what the bytes are.
    pub(crate) etag: String,
    /// In whole seconds, as HTTP says it.
    pub(crate) modified: SystemTime,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is answered with this much of the file.
    Serve(Part),
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Validators {
    pub(crate) fn of(file: &File) -> Validators {
        Validators {
            etag: format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(file.digest)),
            modified: in_seconds(file.created),
        }
    }

    /// §13.2.2, for GET and HEAD. Ranges count for GET only (§14.2).
    pub(crate) fn judge(&self, headers: &HeaderMap, size: u64, is_get: bool) -> Verdict {
        if let Some(tags) = text(headers, &IF_MATCH) {
            if !self.is_among(&tags, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let Some(date) = date(headers, &IF_UNMODIFIED_SINCE)
            && self.modified > date
        {
            return Verdict::Failed;
        }
        if let Some(tags) = text(headers, &IF_NONE_MATCH) {
            if self.is_among(&tags, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = date(headers, &IF_MODIFIED_SINCE)
            && self.modified <= date
        {
            return Verdict::NotModified;
        }
        match text(headers, &RANGE) {
            Some(range) if is_get && self.is_same(headers) => {
                Verdict::Serve(Part::of(&range, size))
            }
            _ => Verdict::Serve(Part::Whole),
        }
    }

    /// §13.1.5: is what `If-Range` means still the file?
    fn is_same(&self, headers: &HeaderMap) -> bool {
        let Some(value) = text(headers, &IF_RANGE) else {
            return !headers.contains_key(IF_RANGE);
        };
        match httpdate::parse_http_date(&value) {
            // A file never changes, so that its date is a strong validator.
            Ok(date) => date == self.modified,
            Err(_) => value.trim() == self.etag,
        }
    }

    fn is_among(&self, tags: &str, comparison: Comparison) -> bool {
        // Our tag has no comma in it, so that splitting at commas cannot make one of something else's parts.
        tags.split(',').map(str::trim).any(|tag| {
            let tag = match comparison {
                Comparison::Strong => tag,
                Comparison::Weak => tag.strip_prefix("W/").unwrap_or(tag),
            };
            tag == "*" || tag == self.etag
        })
    }
}

/// §8.8.3.2.
#[derive(Clone, Copy)]
enum Comparison {
    Strong,
    Weak,
}

/// A moment as HTTP knows it.
pub(crate) fn in_seconds(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.millis() / 1_000)
}

/// The value of a field that may stand several times in a list.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// §13.1.3: a date that is none says nothing.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(&text(headers, name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"AAAA\"";
    const DATE: &str = "Sun, 22 Nov 2026 09:08:07 GMT";
    const BEFORE: &str = "Sun, 22 Nov 2026 09:08:06 GMT";

    fn judge(fields: &[(HeaderName, &str)], is_get: bool) -> Verdict {
        let validators = Validators {
            etag: TAG.to_owned(),
            modified: httpdate::parse_http_date(DATE).unwrap(),
        };
        let headers = fields
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        validators.judge(&headers, 10, is_get)
    }

    #[test]
    fn every_condition_of_rfc_9110() {
        let whole = Verdict::Serve(Part::Whole);
        let table = [
            (vec![], whole.clone()),
            (vec![(IF_NONE_MATCH, TAG)], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, "W/\"AAAA\"")], Verdict::NotModified),
            (
                vec![(IF_NONE_MATCH, "\"x\", \"AAAA\"")],
                Verdict::NotModified,
            ),
            (vec![(IF_NONE_MATCH, "*")], Verdict::NotModified),
            (vec![(IF_NONE_MATCH, "\"x\"")], whole.clone()),
            (vec![(IF_MODIFIED_SINCE, DATE)], Verdict::NotModified),
            (vec![(IF_MODIFIED_SINCE, BEFORE)], whole.clone()),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], whole.clone()),
            // The tag decides where there is one.
            (
                vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DATE)],
                whole.clone(),
            ),
            (vec![(IF_MATCH, TAG)], whole.clone()),
            (vec![(IF_MATCH, "*")], whole.clone()),
            (vec![(IF_MATCH, "W/\"AAAA\"")], Verdict::Failed),
            (vec![(IF_MATCH, "\"x\"")], Verdict::Failed),
            (vec![(IF_UNMODIFIED_SINCE, BEFORE)], Verdict::Failed),
            (vec![(IF_UNMODIFIED_SINCE, DATE)], whole),
        ];
        for (fields, expected) in table {
            assert_eq!(judge(&fields, true), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_part_is_served_of_what_the_client_has_the_other_parts_of() {
        let part = Verdict::Serve(Part::Bytes(2..10));
        let whole = Verdict::Serve(Part::Whole);
        let range = (RANGE, "bytes=2-");
        let with = |value| judge(&[range.clone(), (IF_RANGE, value)], true);
        assert_eq!(judge(std::slice::from_ref(&range), true), part);
        assert_eq!(judge(std::slice::from_ref(&range), false), whole);
        assert_eq!(with(TAG), part);
        assert_eq!(with(DATE), part);
        assert_eq!(with("W/\"AAAA\""), whole);
        assert_eq!(with("\"x\""), whole);
        assert_eq!(with(BEFORE), whole);
    }
}
