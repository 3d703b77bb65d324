//! From raw character data and attribute values to what they mean: references and line ends resolved.

use super::XmlError;
use super::chars::is_char;
use std::borrow::Cow;

/// The longest reference accepted, `&#x0000010FFFF;` with room for zeros: more is no honest input.
const REFERENCE_BYTES: usize = 32;

/// Resolves the reference at the start of `raw` (which starts with `&`): the character and the bytes it took.
pub(super) fn reference(raw: &str) -> Result<(char, usize), XmlError> {
    let window = &raw.as_bytes()[..raw.len().min(REFERENCE_BYTES)];
    let Some(end) = memchr::memchr(b';', window) else {
        return Err(XmlError::NotWellFormed("a reference without an end"));
    };
    let c = match &raw[1..end] {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "apos" => '\'',
        "quot" => '"',
        name => match name.strip_prefix('#') {
            Some(number) => numbered(number)?,
            None if name.is_empty() => return Err(XmlError::NotWellFormed("an empty reference")),
            None => return Err(XmlError::Restricted("an entity reference")),
        },
    };
    Ok((c, end + 1))
}

fn numbered(number: &str) -> Result<char, XmlError> {
    const BAD: XmlError = XmlError::NotWellFormed("a bad character reference");
    let (digits, radix) = match number.strip_prefix('x') {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    // `from_str_radix` alone would take a sign.
    if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return Err(BAD);
    }
    let code = u32::from_str_radix(digits, radix).map_err(|_| BAD)?;
    char::from_u32(code).filter(|c| is_char(*c)).ok_or(BAD)
}

/// What scanned character data says. XML 1.0 §2.11: `\r\n` and `\r` are `\n`.
pub(super) fn unescape_text(raw: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'&', b'\r', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(unescape(raw, '\n'))
}

/// What the text of a CDATA section says: only its line ends are normalised.
pub(super) fn unescape_cdata(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\r', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.replace("\r\n", "\n").replace('\r', "\n"))
}

/// What a scanned attribute value says. XML 1.0 §3.3.3: literal white space becomes a space.
pub(super) fn unescape_attr(raw: &str) -> Cow<'_, str> {
    if !raw
        .bytes()
        .any(|b| matches!(b, b'&' | b'\t' | b'\n' | b'\r'))
    {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(unescape(raw, ' '))
}

/// Resolves references; `line_end` is what a literal line end becomes, and in attributes (a space) a literal tab.
fn unescape(raw: &str, line_end: char) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            // The scanner has let only good references through.
            '&' => {
                if let Ok((c, length)) = reference(rest) {
                    out.push(c);
                    taken = length;
                }
            }
            '\r' => {
                out.push(line_end);
                taken += usize::from(rest.as_bytes().get(1) == Some(&b'\n'));
            }
            '\n' => out.push(line_end),
            '\t' if line_end == ' ' => out.push(' '),
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_entities_and_character_references_resolve() {
        assert_eq!(
            unescape_text("a&lt;b&gt;&amp;&apos;&quot;&#65;&#x1F980;\r\n\r."),
            "a<b>&'\"A🦀\n\n."
        );
        assert_eq!(unescape_attr("a\tb\r\nc\nd&#10;&#9;"), "a b c d\n\t");
        assert_eq!(unescape_cdata("a&lt;\r\n\r"), "a&lt;\n\n");
    }

    #[test]
    fn bad_references_are_refused() {
        for bad in [
            "&#0;",
            "&#x;",
            "&#;",
            "&#+65;",
            "&#xD800;",
            "&#xFFFF;",
            "&#x110000;",
            "&#99999999999;",
            "&;",
            "&amp",
        ] {
            assert!(
                matches!(reference(bad), Err(XmlError::NotWellFormed(_))),
                "{bad}"
            );
        }
        assert!(matches!(reference("&nbsp;"), Err(XmlError::Restricted(_))));
    }
}
