//! Hats: what people are in a room beyond role and affiliation, such as "presenter".
//!
//! XEP-0317 0.3.1: the hats themselves and how presence shows them. Left out: custom payloads inside a hat.

use crate::ns;
use crate::xml::Element;

/// Bytes of a title: a badge beside a nickname.
const MAX_TITLE_BYTES: usize = 256;
/// Bytes of a URI: it is repeated in every presence of whoever wears it.
const MAX_URI_BYTES: usize = 512;

/// One kind of hat of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hat {
    /// What names it for programs; unique in a room.
    pub uri: String,
    /// What people read.
    pub title: String,
    /// Its colour, as an angle of degrees from 0 to 360 (XEP-0392), as it was written.
    pub hue: Option<String>,
}

/// Why a hat is none. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHat {
    /// It has no usable name for programs.
    #[error("the URI of a hat is an absolute URI of at most {MAX_URI_BYTES} bytes")]
    Uri,
    /// It has no usable name for people.
    #[error("the title of a hat has 1 to {MAX_TITLE_BYTES} bytes")]
    Title,
    /// Its colour is none.
    #[error("the hue of a hat is a number from 0 to 360")]
    Hue,
}

impl Hat {
    /// A hat as somebody describes it.
    ///
    /// # Errors
    /// See [`BadHat`].
    pub fn new(uri: &str, title: &str, hue: Option<&str>) -> Result<Hat, BadHat> {
        let hue = hue.map(str::trim).filter(|hue| !hue.is_empty());
        if !is_uri(uri) {
            return Err(BadHat::Uri);
        }
        if title.trim().is_empty() || title.len() > MAX_TITLE_BYTES {
            return Err(BadHat::Title);
        }
        if !hue.is_none_or(is_hue) {
            return Err(BadHat::Hue);
        }
        Ok(Hat {
            uri: uri.to_owned(),
            title: title.to_owned(),
            hue: hue.map(str::to_owned),
        })
    }

    fn to_element(&self) -> Element {
        Element::new("hat", ns::HATS)
            .with_attr("title", &*self.title)
            .with_attr("uri", &*self.uri)
            .with_attr_opt("hue", self.hue.as_deref())
    }
}

/// The `<hats/>` of a presence.
pub fn to_element<'h>(hats: impl IntoIterator<Item = &'h Hat>) -> Element {
    Element::new("hats", ns::HATS).with_children(hats.into_iter().map(Hat::to_element))
}

/// RFC 3986 §3.1: a scheme and something after it. More is not looked at: nobody resolves it.
fn is_uri(uri: &str) -> bool {
    let is_visible = |c: char| c.is_ascii_graphic() && !"<>\"{}|\\^`".contains(c);
    let scheme = uri.split_once(':').filter(|(_, rest)| !rest.is_empty());
    uri.len() <= MAX_URI_BYTES
        && uri.chars().all(is_visible)
        && scheme.is_some_and(|(scheme, _)| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        })
}

/// As many digits as XEP-0392 shows, and no "inf" or "1e2".
fn is_hue(hue: &str) -> bool {
    let is_plain = hue.len() <= 16 && hue.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let degrees = hue.parse::<f64>().ok().filter(|_| is_plain);
    degrees.is_some_and(|degrees| (0.0..=360.0).contains(&degrees))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hat_is_shown_as_it_was_described() {
        let uri = "http://schemas.example.com/hats#host";
        let host = Hat::new(uri, "Host", Some("327.255249")).unwrap();
        let plain = Hat::new("urn:example:scribe", "Scribe", Some("")).unwrap();
        let shown = to_element([&host, &plain]);
        assert_eq!(
            String::from_utf8(shown.to_bytes("")).unwrap(),
            "<hats xmlns='urn:xmpp:hats:0'>\
             <hat title='Host' uri='http://schemas.example.com/hats#host' hue='327.255249'/>\
             <hat title='Scribe' uri='urn:example:scribe'/></hats>"
        );
    }

    #[test]
    fn what_is_no_hat_is_refused() {
        let long = format!("urn:{}", "x".repeat(MAX_URI_BYTES));
        for (uri, title, hue, bad) in [
            ("host", "Host", None, BadHat::Uri),
            ("urn:", "Host", None, BadHat::Uri),
            ("1rn:x", "Host", None, BadHat::Uri),
            ("urn:a b", "Host", None, BadHat::Uri),
            (&long, "Host", None, BadHat::Uri),
            ("urn:x", " ", None, BadHat::Title),
            ("urn:x", &long, None, BadHat::Title),
            ("urn:x", "Host", Some("361"), BadHat::Hue),
            ("urn:x", "Host", Some("-1"), BadHat::Hue),
            ("urn:x", "Host", Some("NaN"), BadHat::Hue),
            ("urn:x", "Host", Some("red"), BadHat::Hue),
        ] {
            assert_eq!(Hat::new(uri, title, hue), Err(bad), "{uri} {title} {hue:?}");
        }
    }
}
