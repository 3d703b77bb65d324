//! What a browser is told that a file is. Whoever uploads a file says what it is, and is not to be believed: nothing
//! that a browser would run is called by its name, and only pictures, sound, video and plain text are shown in place.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is shown in place. No SVG, which is a program, and no PDF, which a browser's viewer does not show in the
/// sandbox that files are served in.
const SHOWN: &[&str] = &[
    "audio/3gpp",
    "audio/aac",
    "audio/amr",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/wav",
    "audio/webm",
    "audio/x-m4a",
    "audio/x-wav",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/webp",
    "text/plain",
    "video/3gpp",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
];

/// Text that no browser runs; all other text is only bytes.
const TEXTS: &[&str] = &[
    "text/calendar",
    "text/csv",
    "text/markdown",
    "text/plain",
    "text/vcard",
    "text/vtt",
];

/// Parts of names of application types that a browser runs or reads as a document.
const ACTIVE: &[&str] = &["html", "xml", "script", "svg", "flash", "wasm"];

/// Bytes of a media type that is looked at; what is longer is not one.
const MOST_BYTES: usize = 255;

const BYTES: &str = "application/octet-stream";

/// RFC 8187 §3.2.1: what need not be encoded, without the few that are not letters or digits but `.`, `-` and `_`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// What a file is called on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// For `Content-Type`.
    pub(crate) content_type: String,
    /// It may be shown where it is asked for, not only saved.
    pub(crate) is_shown: bool,
}

impl Kind {
    /// What is made of the type that the uploader said.
    pub(crate) fn of(said: &str) -> Kind {
        let essence = essence(said).unwrap_or_else(|| BYTES.to_owned());
        let is_shown = SHOWN.contains(&essence.as_str());
        let is_safe = match essence.split_once('/') {
            Some(("audio" | "video", _)) => true,
            Some(("image", subtype)) => !is_active(subtype),
            Some(("text", _)) => TEXTS.contains(&essence.as_str()),
            Some(("application", subtype)) => !is_active(subtype),
            _ => false,
        };
        let content_type = match essence.split_once('/') {
            _ if !is_safe => BYTES.to_owned(),
            Some(("text", _)) => {
                let charset = parameter(said, "charset").unwrap_or_else(|| "utf-8".to_owned());
                format!("{essence}; charset={charset}")
            }
            Some(("audio" | "video", _)) => match parameter(said, "codecs") {
                Some(codecs) => format!("{essence}; codecs=\"{codecs}\""),
                None => essence,
            },
            _ => essence,
        };
        Kind {
            content_type,
            is_shown,
        }
    }

    /// For `Content-Disposition` (RFC 6266), with the name in ASCII for old clients and whole for all others.
    pub(crate) fn disposition(&self, name: &str) -> HeaderValue {
        let disposition = if self.is_shown {
            "inline"
        } else {
            "attachment"
        };
        let ascii: String = name.chars().map(in_ascii).collect();
        let whole = utf8_percent_encode(name, ENCODED);
        let value = format!("{disposition}; filename=\"{ascii}\"; filename*=UTF-8''{whole}");
        HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
    }
}

/// A quoted string without anything that would have to be escaped: escapes are read differently everywhere, and so is
/// `%`, which some decode (RFC 6266 appendix D).
fn in_ascii(character: char) -> char {
    match character {
        '"' | '\\' | '%' | '/' => '_',
        ' '..='~' => character,
        _ => '_',
    }
}

fn is_active(subtype: &str) -> bool {
    ACTIVE.iter().any(|part| subtype.contains(part))
}

/// The type without its parameters, in small letters; `None` for what is no media type (RFC 9110 §8.3.1).
pub(crate) fn essence(said: &str) -> Option<String> {
    if said.len() > MOST_BYTES {
        return None;
    }
    let essence = said.split(';').next()?.trim();
    let (kind, subtype) = essence.split_once('/')?;
    (is_token(kind) && is_token(subtype)).then(|| essence.to_ascii_lowercase())
}

/// A parameter's value, if it is one that need not be escaped.
fn parameter(said: &str, name: &str) -> Option<String> {
    said.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.split_once('=')?;
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => value,
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".,-_+ ".contains(&byte);
        let is_it = found.trim().eq_ignore_ascii_case(name)
            && !value.is_empty()
            && value.bytes().all(is_plain);
        is_it.then(|| value.to_owned())
    })
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_browser_runs_is_called_by_its_name() {
        for active in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "text/xml",
            "text/css",
            "text/javascript",
            "application/xhtml+xml",
            "application/xml",
            "application/atom+xml",
            "application/javascript",
            "application/ecmascript",
            "image/svg+xml",
            "image/svg",
            "multipart/related",
            "message/rfc822",
            "model/gltf",
            "chemical/x",
            "",
            "html",
            "text/",
            "image/png\r\nX: y",
            "image/p ng",
            "*/*",
        ] {
            let kind = Kind::of(active);
            assert_eq!(kind.content_type, BYTES, "{active}");
            assert!(!kind.is_shown, "{active}");
        }
    }

    #[test]
    fn pictures_sound_video_and_text_are_shown_and_other_files_saved() {
        for (said, content_type, is_shown) in [
            ("image/jpeg", "image/jpeg", true),
            ("IMAGE/PNG; x=y", "image/png", true),
            ("text/plain", "text/plain; charset=utf-8", true),
            (
                "text/plain;charset=KOI8-R",
                "text/plain; charset=KOI8-R",
                true,
            ),
            (
                "text/plain; charset=\"a;b\"",
                "text/plain; charset=utf-8",
                true,
            ),
            ("text/markdown", "text/markdown; charset=utf-8", false),
            ("audio/ogg; codecs=opus", "audio/ogg; codecs=\"opus\"", true),
            (
                "video/mp4; codecs=\"avc1.4d,mp4a\"",
                "video/mp4; codecs=\"avc1.4d,mp4a\"",
                true,
            ),
            ("application/pdf", "application/pdf", false),
            ("application/zip", "application/zip", false),
            ("image/tiff", "image/tiff", false),
        ] {
            let expected = Kind {
                content_type: content_type.to_owned(),
                is_shown,
            };
            assert_eq!(Kind::of(said), expected, "{said}");
        }
    }

    #[test]
    fn a_name_is_told_whole_and_cannot_leave_its_place() {
        let shown = |name| Kind::of("image/png").disposition(name);
        assert_eq!(
            shown("très cool.jpg"),
            "inline; filename=\"tr_s cool.jpg\"; filename*=UTF-8''tr%C3%A8s%20cool.jpg"
        );
        assert_eq!(
            Kind::of("").disposition("a\"; b=\r\nX: y\\%41;"),
            "attachment; filename=\"a_; b=__X: y__41;\"; \
             filename*=UTF-8''a%22%3B%20b%3D%0D%0AX%3A%20y%5C%2541%3B"
        );
    }
}
