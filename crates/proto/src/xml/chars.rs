//! Which characters XML 1.0 (fifth edition) allows where, as a table for ASCII and ranges for the rest.

/// May start a name (without the colon, which separates the prefix).
pub(super) const NAME_START: u8 = 1;
/// May stand in a name.
pub(super) const NAME: u8 = 2;
/// The white space of XML: space, tab, line feed, carriage return.
pub(super) const SPACE: u8 = 4;
/// Cannot be skipped in character data: markup, references, `]`, controls, and the lead byte of U+FFFE and U+FFFF.
pub(super) const TEXT_STOP: u8 = 8;
/// Cannot be skipped in an attribute value.
pub(super) const ATTR_STOP: u8 = 16;

/// The classes of every byte.
pub(super) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] = class_of(byte);
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => return table,
        }
    }
}

const fn class_of(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME_START | NAME,
        b'0'..=b'9' | b'-' | b'.' => NAME,
        b' ' => SPACE,
        // In an attribute value these become spaces (XML 1.0 §3.3.3).
        b'\t' | b'\n' | b'\r' => SPACE | ATTR_STOP,
        0..=0x1F => TEXT_STOP | ATTR_STOP,
        b'<' | b'&' => TEXT_STOP | ATTR_STOP,
        b']' => TEXT_STOP,
        b'\'' | b'"' => ATTR_STOP,
        0xEF => TEXT_STOP | ATTR_STOP,
        _ => 0,
    }
}

#[inline]
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// `Char` of XML 1.0 §2.2.
pub(super) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// Whether every character of `text` may appear in XML at all, escaped or not.
pub fn is_xml_text(text: &str) -> bool {
    text.chars().all(is_char)
}

/// `NameStartChar` of XML 1.0 §2.3 beyond ASCII.
pub(super) fn is_wide_name_start(c: char) -> bool {
    matches!(c,
        '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// `NameChar` of XML 1.0 §2.3 beyond ASCII.
pub(super) fn is_wide_name(c: char) -> bool {
    is_wide_name_start(c) || matches!(c, '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ascii_table_and_the_char_ranges_agree() {
        for byte in 0..=0x7Fu8 {
            let allowed = is_char(char::from(byte));
            let stopped = is(byte, TEXT_STOP) && !matches!(byte, b'<' | b'&' | b']');
            assert_eq!(allowed, !stopped, "{byte:#x}");
        }
    }

    #[test]
    fn noncharacters_and_controls_are_no_xml_text() {
        assert!(is_xml_text("tab\tnewline\nß🦀\u{FFFD}\u{85}"));
        for bad in ["\0", "\u{1F}", "\u{FFFE}", "\u{FFFF}"] {
            assert!(!is_xml_text(bad), "{bad:?}");
        }
    }
}
