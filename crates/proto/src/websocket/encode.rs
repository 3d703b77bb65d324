//! Messages to bytes.

use super::decode::mask;
use crate::ns;

/// The kinds of frame we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A whole text message.
    Text = 1,
    /// The end.
    Close = 8,
    /// A question whether the peer lives.
    Ping = 9,
    /// The answer.
    Pong = 10,
}

/// Appends one unfragmented frame. A client gives a fresh random `key`, a server none (RFC 6455 §5.3).
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
    encode_parts(out, opcode, &[payload], key);
}

/// Appends a close frame; `reason` is cut at 123 bytes (RFC 6455 §5.5).
pub fn encode_close(out: &mut Vec<u8>, code: u16, reason: &str, key: Option<[u8; 4]>) {
    let reason = &reason[..reason.floor_char_boundary(123)];
    encode_parts(
        out,
        Opcode::Close,
        &[&code.to_be_bytes(), reason.as_bytes()],
        key,
    );
}

/// Appends a text message of one element written for a stream whose default namespace is `jabber:client` and whose
/// prefix `stream` is declared: what the stream would declare is added to its start tag (RFC 7395 §3.3.3).
pub fn encode_xml(out: &mut Vec<u8>, xml: &[u8], key: Option<[u8; 4]>) {
    let name = 1 + xml[1.min(xml.len())..]
        .iter()
        .take_while(|b| !matches!(b, b' ' | b'/' | b'>'))
        .count();
    let (before, after) = xml.split_at(name.min(xml.len()));
    let mut declarations = Vec::new();
    let (has_default, has_stream) = declared(after);
    if !has_default {
        crate::xml::write_attribute(&mut declarations, "xmlns", ns::CLIENT);
    }
    if before.starts_with(b"<stream:") && !has_stream {
        crate::xml::write_attribute(&mut declarations, "xmlns:stream", ns::STREAM);
    }
    encode_parts(out, Opcode::Text, &[before, &declarations, after], key);
}

/// Whether the attributes at the start of `tag` declare a default namespace, and the prefix `stream`.
fn declared(tag: &[u8]) -> (bool, bool) {
    let (mut default, mut stream) = (false, false);
    let mut rest = tag;
    // Our own writer's form: ` name='value'` or with double quotes, no space around the `=`.
    while let [b' ', attribute @ ..] = rest {
        default |= attribute.starts_with(b"xmlns=");
        stream |= attribute.starts_with(b"xmlns:stream=");
        let Some(open) = memchr::memchr2(b'\'', b'"', attribute) else {
            break;
        };
        let Some(length) = memchr::memchr(attribute[open], &attribute[open + 1..]) else {
            break;
        };
        rest = &attribute[open + length + 2..];
    }
    (default, stream)
}

fn encode_parts(out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]], key: Option<[u8; 4]>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let masked = if key.is_some() { 0x80 } else { 0 };
    out.reserve(length + 14);
    out.push(0x80 | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(masked | short),
        (_, Ok(medium)) => {
            out.push(masked | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key.unwrap_or_default()[..if key.is_some() { 4 } else { 0 }]);
    let from = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    if let Some(key) = key {
        mask(&mut out[from..], key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_6455_section_5_7_are_written() {
        let mut out = Vec::new();
        encode(&mut out, Opcode::Text, b"Hello", None);
        encode(
            &mut out,
            Opcode::Text,
            b"Hello",
            Some([0x37, 0xFA, 0x21, 0x3D]),
        );
        assert_eq!(
            out,
            b"\x81\x05Hello\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
        for (length, header) in [
            (256, &b"\x81\x7E\x01\x00"[..]),
            (65536, b"\x81\x7F\0\0\0\0\0\x01\0\0"),
        ] {
            out.clear();
            encode(&mut out, Opcode::Text, &vec![b'a'; length], None);
            assert!(out.starts_with(header) && out.len() == header.len() + length);
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        encode_close(&mut out, 1001, &"é".repeat(100), None);
        assert_eq!((out[1], out.len()), (124, 126));
    }

    #[test]
    fn an_element_is_sent_with_the_namespaces_of_the_stream() {
        let cases = [
            ("<iq id='1'/>", "<iq xmlns='jabber:client' id='1'/>"),
            ("<iq/>", "<iq xmlns='jabber:client'/>"),
            (
                "<iq><a xmlns='b'/></iq>",
                "<iq xmlns='jabber:client'><a xmlns='b'/></iq>",
            ),
            ("<r xmlns='urn:xmpp:sm:3'/>", "<r xmlns='urn:xmpp:sm:3'/>"),
            (
                "<m id=\" xmlns='no'\" xmlns=\"jabber:client\">t</m>",
                "<m id=\" xmlns='no'\" xmlns=\"jabber:client\">t</m>",
            ),
            (
                "<stream:features><a/></stream:features>",
                "<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><a/></stream:features>",
            ),
        ];
        for (xml, framed) in cases {
            let mut out = Vec::new();
            encode_xml(&mut out, xml.as_bytes(), None);
            assert!(
                out.ends_with(framed.as_bytes()),
                "{}",
                String::from_utf8_lossy(&out)
            );
        }
    }
}
