//! Escaping, for everything we write ourselves.

/// Appends `text` as character data: `&`, `<` and `>` escaped, carriage returns kept by reference.
///
/// The caller sees to it that `text` is XML at all ([`super::is_xml_text`]); parsed input always is.
pub fn escape_text(out: &mut Vec<u8>, text: &str) {
    escape(out, text, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        // `]]>` must not appear in text.
        b'>' => Some(b"&gt;"),
        b'\r' => Some(b"&#13;"),
        _ => None,
    });
}

/// Appends `value` for an attribute in single or double quotes; white space other than the space survives by reference.
pub fn escape_attr(out: &mut Vec<u8>, value: &str) {
    escape(out, value, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\'' => Some(b"&apos;"),
        b'"' => Some(b"&quot;"),
        b'\r' => Some(b"&#13;"),
        b'\n' => Some(b"&#10;"),
        b'\t' => Some(b"&#9;"),
        _ => None,
    });
}

/// Appends ` name='value'`.
pub(crate) fn attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attr(out, value);
    out.push(b'\'');
}

#[inline]
fn escape(out: &mut Vec<u8>, text: &str, replacement: impl Fn(u8) -> Option<&'static [u8]>) {
    let bytes = text.as_bytes();
    let mut clean_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if let Some(replacement) = replacement(byte) {
            out.extend_from_slice(&bytes[clean_from..at]);
            out.extend_from_slice(replacement);
            clean_from = at + 1;
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_value_or_vanish_is_escaped() {
        let mut out = Vec::new();
        escape_text(&mut out, "a]]>b<&'\"\r\n");
        escape_attr(&mut out, "<>&'\"\r\n\té");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a]]&gt;b&lt;&amp;'\"&#13;\n&lt;&gt;&amp;&apos;&quot;&#13;&#10;&#9;é"
        );
    }
}
