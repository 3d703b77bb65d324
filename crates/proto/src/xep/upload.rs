//! Places to upload files to: what a client asks for, what it gets, and why it gets nothing.
//!
//! XEP-0363 1.2.0. The `<header/>` children of a slot are left out: what permits an upload stands in its address.

use thiserror::Error;

use super::data_form::{DataForm, Field, FormKind};
use super::date_time;
use crate::error::StanzaError;
use crate::ns;
use crate::xml::Element;

/// Longest name of a file, in bytes: what file systems take. A longer one loses its middle and keeps its ending.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest media type with its parameters, in bytes: twice 127 of the registry (RFC 6838 §4.2) and the slash.
pub const MAX_TYPE_BYTES: usize = 255;
/// Longest ending that a shortened name keeps, in bytes with its dot.
const MAX_ENDING_BYTES: usize = 16;

/// The feature of each purpose (§5).
pub const PURPOSE_FEATURES: [&str; 4] = [
    "urn:xmpp:http:upload:purpose:0#message",
    "urn:xmpp:http:upload:purpose:0#profile",
    "urn:xmpp:http:upload:purpose:0#ephemeral",
    "urn:xmpp:http:upload:purpose:0#permanent",
];

/// What a file is for (§5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be sent; also what is meant when nothing is said.
    #[default]
    Message,
    /// An avatar or the like.
    Profile,
    /// It must not be there after this moment, in milliseconds since 1970.
    Ephemeral(u64),
    /// To stay.
    Permanent,
}

/// `<request/>` (§4): a client wants to upload a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is called: one segment of a path, at most [`MAX_NAME_BYTES`].
    pub name: String,
    /// Its bytes, at least one.
    pub size: u64,
    /// Its media type, if one was said: printable ASCII, at most [`MAX_TYPE_BYTES`].
    pub content_type: Option<String>,
    /// What it is for.
    pub purpose: Purpose,
}

/// A request that is not what it should be. The client's fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadRequest {
    /// There is no name, or one that is a path or cannot be shown.
    #[error("the file needs a name without slashes and control characters")]
    Name,
    /// There is no size, or it is no positive number.
    #[error("the file needs a size in bytes")]
    Size,
    /// The media type is none.
    #[error("the content type is no media type")]
    ContentType,
    /// Two purposes, or one without its moment.
    #[error("the purpose is none")]
    Purpose,
}

impl Request {
    /// Reads the element.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn read(request: &Element) -> Result<Request, BadRequest> {
        let name = request.attr("filename").and_then(file_name);
        let size = request.attr("size").and_then(|size| size.parse().ok());
        let content_type = match request.attr("content-type") {
            // COMPAT(several clients): what they do not know they leave empty.
            None | Some("") => None,
            Some(text) => Some(media_type(text).ok_or(BadRequest::ContentType)?),
        };
        Ok(Request {
            name: name.ok_or(BadRequest::Name)?,
            size: size.filter(|size| *size > 0).ok_or(BadRequest::Size)?,
            content_type: content_type.map(str::to_owned),
            purpose: purpose(request)?,
        })
    }
}

fn purpose(request: &Element) -> Result<Purpose, BadRequest> {
    let mut said = request
        .children()
        .filter(|child| child.ns() == ns::UPLOAD_PURPOSE);
    let purpose = match said.next().map(|child| (child.name(), child)) {
        Some(("profile", _)) => Purpose::Profile,
        Some(("ephemeral", child)) => {
            let moment = child.attr("expire-before").and_then(date_time::parse);
            Purpose::Ephemeral(moment.ok_or(BadRequest::Purpose)?)
        }
        Some(("permanent", _)) => Purpose::Permanent,
        // §5: "If no purpose is specified, the service MUST assume 'message'"; so is one that we do not announce.
        Some(_) | None => Purpose::Message,
    };
    match said.next() {
        Some(_) => Err(BadRequest::Purpose),
        None => Ok(purpose),
    }
}

/// What may stand as one segment at the end of an address, and may be the name of a file wherever it is saved.
fn file_name(name: &str) -> Option<String> {
    // Those that turn the direction of writing make `exe.jpg` of what is none.
    let is_hidden =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_path = |c: char| matches!(c, '/' | '\\');
    if matches!(name.trim(), "" | "." | "..") || name.contains(is_path) || name.contains(is_hidden)
    {
        return None;
    }
    Some(shortened(name))
}

fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let ending = name.rfind('.').map_or("", |dot| &name[dot..]);
    let ending = if ending.len() <= MAX_ENDING_BYTES {
        ending
    } else {
        ""
    };
    let cut = name.floor_char_boundary(MAX_NAME_BYTES - ending.len());
    format!("{}{ending}", &name[..cut])
}

/// A media type as it may stand in a header (RFC 9110 §8.3.1).
fn media_type(text: &str) -> Option<&str> {
    let is_token_char =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_char);
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let (kind, subtype) = essence.trim_end_matches(' ').split_once('/')?;
    let is_shown = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let is_one = is_token(kind) && is_token(subtype) && parameters.bytes().all(is_shown);
    (is_one && text.len() <= MAX_TYPE_BYTES).then_some(text)
}

/// The name as the last segment of an address: everything that RFC 3986 §2.3 reserves is escaped.
pub fn percent_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// `<slot/>` (§4): where to upload to, and where everybody gets it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The address to upload to.
    pub put: String,
    /// The address to send to others.
    pub get: String,
}

impl Slot {
    /// The element.
    pub fn to_element(&self) -> Element {
        let url = |name, url: &str| Element::new(name, ns::UPLOAD).with_attr("url", url);
        Element::new("slot", ns::UPLOAD)
            .with_child(url("put", &self.put))
            .with_child(url("get", &self.get))
    }

    /// Reads the element; `None` if an address is missing.
    pub fn read(slot: &Element) -> Option<Slot> {
        let url = |name| Some(slot.child(name, ns::UPLOAD)?.attr("url")?.to_owned());
        Some(Slot {
            put: url("put")?,
            get: url("get")?,
        })
    }
}

/// The form that says how large a file may be (§3).
pub fn limits_form(max_file_size: u64) -> DataForm {
    DataForm::new(FormKind::Result, ns::UPLOAD)
        .with_field(Field::new("max-file-size", [max_file_size.to_string()]))
}

/// The file is larger than what is taken (§6).
pub fn file_too_large(max_file_size: u64) -> StanzaError {
    let most = Element::new("max-file-size", ns::UPLOAD).with_text(&max_file_size.to_string());
    StanzaError::not_acceptable()
        .with_text(format!(
            "the file is too large: at most {max_file_size} bytes are taken"
        ))
        .with_app(Element::new("file-too-large", ns::UPLOAD).with_child(most))
}

/// Enough has been uploaded for now (§6). `stamp` is the moment (XEP-0082) from which on it is worth trying again, if
/// that is known.
pub fn quota_reached(text: &str, stamp: Option<String>) -> StanzaError {
    let error = StanzaError::resource_constraint().with_text(text);
    match stamp {
        Some(stamp) => error.with_app(Element::new("retry", ns::UPLOAD).with_attr("stamp", stamp)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(xml: &str) -> Element {
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap()
    }

    fn request(attributes: &str, purpose: &str) -> Result<Request, BadRequest> {
        Request::read(&element(&format!(
            "<request xmlns='urn:xmpp:http:upload:0' {attributes}>{purpose}</request>"
        )))
    }

    fn named(name: &str) -> Result<String, BadRequest> {
        let element = Element::new("request", ns::UPLOAD)
            .with_attr("filename", name)
            .with_attr("size", "1");
        Request::read(&element).map(|request| request.name)
    }

    #[test]
    fn the_example_is_read() {
        let asked = "filename='très cool.jpg' size='23456' content-type='image/jpeg'";
        assert_eq!(
            request(asked, ""),
            Ok(Request {
                name: "très cool.jpg".to_owned(),
                size: 23_456,
                content_type: Some("image/jpeg".to_owned()),
                purpose: Purpose::Message,
            })
        );
    }

    #[test]
    fn every_purpose_is_read() {
        let purpose = |xml: &str| Ok(request("filename='a' size='1'", xml)?.purpose);
        let one = |name: &str| format!("<{name} xmlns='urn:xmpp:http:upload:purpose:0'/>");
        assert_eq!(purpose(&one("message")), Ok(Purpose::Message));
        assert_eq!(purpose(&one("profile")), Ok(Purpose::Profile));
        assert_eq!(purpose(&one("permanent")), Ok(Purpose::Permanent));
        assert_eq!(purpose(&one("of-another-time")), Ok(Purpose::Message));
        let moment = "<ephemeral xmlns='urn:xmpp:http:upload:purpose:0' expire-before='2000-02-29T00:00:00Z'/>";
        assert_eq!(purpose(moment), Ok(Purpose::Ephemeral(951_782_400_000)));
        assert_eq!(purpose(&one("ephemeral")), Err(BadRequest::Purpose));
        let both = [one("profile"), one("permanent")].concat();
        assert_eq!(purpose(&both), Err(BadRequest::Purpose));
    }

    #[test]
    fn a_name_is_one_segment_that_can_be_shown() {
        for good in [
            "a",
            ".bashrc",
            "a..b",
            "très cool.jpg",
            "%2e%2e",
            "写真.png",
        ] {
            assert_eq!(named(good).as_deref(), Ok(good));
        }
        for wrong in [
            "",
            " ",
            ".",
            "..",
            "../../etc/passwd",
            "/etc/passwd",
            "..\\boot.ini",
            "a\nSet-Cookie: b",
            "a\u{7f}",
            "a\u{85}b",
            "gpj\u{202e}exe.jpg",
        ] {
            assert_eq!(named(wrong), Err(BadRequest::Name), "{wrong:?}");
        }
        assert_eq!(request("size='1'", ""), Err(BadRequest::Name));
    }

    #[test]
    fn a_long_name_keeps_its_ending() {
        let long = named(&format!("{}.jpeg", "é".repeat(200))).unwrap();
        assert!(long.ends_with("é.jpeg"), "{long}");
        assert!((MAX_NAME_BYTES - 1..=MAX_NAME_BYTES).contains(&long.len()));
        let without = named(&"é".repeat(200)).unwrap();
        assert_eq!(without, "é".repeat(127));
        let dotted = named(&format!("a.{}", "b".repeat(300))).unwrap();
        assert_eq!(dotted.len(), MAX_NAME_BYTES);
    }

    #[test]
    fn a_size_is_a_positive_number() {
        let sized = |size: &str| request(&format!("filename='a' size='{size}'"), "");
        assert_eq!(
            sized("18446744073709551615").map(|it| it.size),
            Ok(u64::MAX)
        );
        for wrong in ["", "0", "-1", "1.5", "1e3", "18446744073709551616", "many"] {
            assert_eq!(sized(wrong), Err(BadRequest::Size), "{wrong}");
        }
        assert_eq!(request("filename='a'", ""), Err(BadRequest::Size));
    }

    #[test]
    fn a_content_type_is_a_media_type_and_fits_into_a_header() {
        let typed = |kind: &str| {
            let element = Element::new("request", ns::UPLOAD)
                .with_attr("filename", "a")
                .with_attr("size", "1")
                .with_attr("content-type", kind);
            Request::read(&element).map(|request| request.content_type)
        };
        for good in [
            "image/jpeg",
            "image/svg+xml",
            "text/plain; charset=\"utf-8\"",
            "text/plain ;charset=utf-8",
        ] {
            assert_eq!(typed(good), Ok(Some(good.to_owned())));
        }
        assert_eq!(typed(""), Ok(None));
        let long = format!("text/{}", "x".repeat(MAX_TYPE_BYTES));
        for wrong in [
            "jpeg",
            "image/",
            "/jpeg",
            "image/jp eg",
            "image/jpeg\r\nX-Evil: 1",
            "image/jpeg; a=\"\n\"",
            "text/plain; charset=é",
            "a/b/c",
            &long,
        ] {
            assert_eq!(typed(wrong), Err(BadRequest::ContentType), "{wrong:?}");
        }
    }

    #[test]
    fn a_slot_comes_back_as_it_was_sent() {
        assert_eq!(percent_encoded("très cool.jpg"), "tr%C3%A8s%20cool.jpg");
        assert_eq!(
            percent_encoded("a?b#c%&'\"<+"),
            "a%3Fb%23c%25%26%27%22%3C%2B"
        );
        let slot = Slot {
            put: "https://example.org/media/a/b?slot=c".to_owned(),
            get: "https://example.org/media/a/b".to_owned(),
        };
        assert_eq!(Slot::read(&slot.to_element()), Some(slot));
        assert_eq!(Slot::read(&Element::new("slot", ns::UPLOAD)), None);
    }

    #[test]
    fn errors_say_what_the_client_can_do() {
        let xml = |error: StanzaError| {
            String::from_utf8(error.to_element().to_bytes(ns::CLIENT)).unwrap()
        };
        let large = xml(file_too_large(20_000));
        assert!(
            large.starts_with("<error type='modify'><not-acceptable "),
            "{large}"
        );
        let part = "<file-too-large xmlns='urn:xmpp:http:upload:0'><max-file-size>20000</max-file-size></file-too-large>";
        assert!(large.contains(part), "{large}");
        let moment = Some("2017-12-03T23:42:05Z".to_owned());
        let quota = xml(quota_reached("enough for today", moment));
        assert!(
            quota.starts_with("<error type='wait'><resource-constraint "),
            "{quota}"
        );
        let part = "<retry xmlns='urn:xmpp:http:upload:0' stamp='2017-12-03T23:42:05Z'/>";
        assert!(quota.contains(part), "{quota}");
        assert!(!xml(quota_reached("full", None)).contains("<retry"));
    }
}
