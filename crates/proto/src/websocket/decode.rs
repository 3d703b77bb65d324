//! Bytes to messages.

use super::{Role, WebSocketError};
use std::borrow::Cow;

/// RFC 6455 §5.5: the payload of a control frame.
const CONTROL_BYTES: usize = 125;

/// A whole message, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message, proved to be UTF-8. Copied only if it came in fragments.
    Text(Cow<'a, str>),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping.
    Pong(&'a [u8]),
    /// The peer closes; to be answered by a close frame unless we sent ours already.
    Close {
        /// Status code, if any.
        code: Option<u16>,
        /// For humans.
        reason: &'a str,
    },
}

/// What [`Decoder::decode`] found at the start of the unread bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// How many of them are used up; 0 if more have to come first.
    pub consumed: usize,
    /// What they mean; `None` for a fragment that is not the last of its message.
    pub message: Option<Message<'a>>,
}

/// Takes messages from the bytes of one connection. A few bytes, unless a message is coming in fragments.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// A text message has begun and not ended.
    fragmented: bool,
    /// The fragments so far, unmasked.
    fragments: Vec<u8>,
}

impl Decoder {
    /// A decoder for our end of a connection.
    pub fn new(role: Role) -> Decoder {
        Decoder {
            role,
            fragmented: false,
            fragments: Vec::new(),
        }
    }

    /// Takes the first frame of `unread`, which it unmasks in place once the frame is whole. Call again with what is
    /// left until nothing is consumed; those bytes must come again, with more behind them.
    ///
    /// A message longer than `limit` bytes is refused as soon as its length is known.
    ///
    /// # Errors
    /// The connection has to be failed with [`WebSocketError::close_code`].
    pub fn decode<'a>(
        &mut self,
        unread: &'a mut [u8],
        limit: usize,
    ) -> Result<Decoded<'a>, WebSocketError> {
        let Some(header) = Header::parse(unread)? else {
            return Ok(Decoded {
                consumed: 0,
                message: None,
            });
        };
        header.check(self.role, self.fragmented)?;
        let total = header
            .payload
            .checked_add(self.fragments.len())
            .ok_or(WebSocketError::TooBig)?;
        if !header.is_control() && total > limit {
            return Err(WebSocketError::TooBig);
        }
        let end = header.length + header.payload;
        let Some(payload) = unread.get_mut(header.length..end) else {
            return Ok(Decoded {
                consumed: 0,
                message: None,
            });
        };
        if let Some(key) = header.mask {
            mask(payload, key);
        }
        Ok(Decoded {
            consumed: end,
            message: self.message(&header, payload)?,
        })
    }

    /// Whether a message has begun whose end has not come.
    pub fn is_mid_message(&self) -> bool {
        self.fragmented
    }

    fn message<'a>(
        &mut self,
        header: &Header,
        payload: &'a [u8],
    ) -> Result<Option<Message<'a>>, WebSocketError> {
        Ok(Some(match header.opcode {
            TEXT if header.last => Message::Text(Cow::Borrowed(utf8(payload)?)),
            TEXT | CONTINUATION => {
                self.fragments.extend_from_slice(payload);
                self.fragmented = !header.last;
                if self.fragmented {
                    return Ok(None);
                }
                let text = String::from_utf8(std::mem::take(&mut self.fragments));
                Message::Text(Cow::Owned(text.map_err(|_| WebSocketError::NotUtf8)?))
            }
            PING => Message::Ping(payload),
            PONG => Message::Pong(payload),
            _ => close(payload)?,
        }))
    }
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Header {
    last: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// Bytes of the payload.
    payload: usize,
    /// Bytes of the header.
    length: usize,
}

impl Header {
    /// RFC 6455 §5.2; `None` if it is not whole yet.
    fn parse(unread: &[u8]) -> Result<Option<Header>, WebSocketError> {
        let &[first, second, ref rest @ ..] = unread else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(WebSocketError::Protocol(
                "a reserved bit without an extension",
            ));
        }
        let short = second & 0x7F;
        let (payload, size) = match short {
            126 => match rest.first_chunk::<2>() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let shortest = match payload {
            0..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        if size != shortest || payload >> 63 != 0 {
            return Err(WebSocketError::Protocol(
                "a length that is not written in the shortest way",
            ));
        }
        let masked = second & 0x80 != 0;
        let mask = match (masked, rest[size..].first_chunk::<4>()) {
            (false, _) => None,
            (true, Some(key)) => Some(*key),
            (true, None) => return Ok(None),
        };
        let payload = usize::try_from(payload).map_err(|_| WebSocketError::TooBig)?;
        let length = 2 + size + if masked { 4 } else { 0 };
        Ok(Some(Header {
            last: first & 0x80 != 0,
            opcode: first & 0x0F,
            mask,
            payload,
            length,
        }))
    }

    fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }

    fn check(&self, role: Role, fragmented: bool) -> Result<(), WebSocketError> {
        let problem = match (role, self.mask) {
            (Role::Server, None) => "an unmasked frame from a client",
            (Role::Client, Some(_)) => "a masked frame from a server",
            _ if self.is_control() && !self.last => "a fragmented control frame",
            _ if self.is_control() && self.payload > CONTROL_BYTES => "a control frame too long",
            _ => match (self.opcode, fragmented) {
                (CONTINUATION, false) => "a continuation of nothing",
                (TEXT | BINARY, true) => "a message inside another",
                (BINARY, false) => return Err(WebSocketError::Binary),
                (CONTINUATION | TEXT | CLOSE | PING | PONG, _) => return Ok(()),
                _ => "an unknown opcode",
            },
        };
        Err(WebSocketError::Protocol(problem))
    }
}

/// RFC 6455 §5.5.1.
fn close(payload: &[u8]) -> Result<Message<'_>, WebSocketError> {
    match payload {
        [] => Ok(Message::Close {
            code: None,
            reason: "",
        }),
        [_] => Err(WebSocketError::Protocol("half a close code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            // §7.4: 1004 to 1006 and 1015 never travel; below 1000 and 1016 to 2999 mean nothing yet.
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(WebSocketError::Protocol(
                    "a close code that must not be sent",
                ));
            }
            Ok(Message::Close {
                code: Some(code),
                reason: utf8(reason)?,
            })
        }
    }
}

fn utf8(payload: &[u8]) -> Result<&str, WebSocketError> {
    std::str::from_utf8(payload).map_err(|_| WebSocketError::NotUtf8)
}

/// Masks or unmasks (RFC 6455 §5.3), eight bytes at a time.
pub(super) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Opcode, encode};
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    /// All messages of `bytes`, written out, and the error that ends them.
    fn decode(role: Role, bytes: &[u8]) -> (Vec<String>, Option<WebSocketError>) {
        let mut decoder = Decoder::new(role);
        let mut bytes = bytes.to_vec();
        let mut unread = &mut bytes[..];
        let mut told = Vec::new();
        loop {
            match decoder.decode(unread, 1000) {
                Err(error) => return (told, Some(error)),
                Ok(Decoded { consumed: 0, .. }) => return (told, None),
                Ok(Decoded { consumed, message }) => {
                    told.extend(message.map(|m| format!("{m:?}")));
                    unread = &mut unread[consumed..];
                }
            }
        }
    }

    #[test]
    fn the_examples_of_rfc_6455_section_5_7_are_read() {
        let hello = vec![r#"Text("Hello")"#.to_owned()];
        let unmasked = b"\x81\x05Hello";
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let fragmented = b"\x01\x03Hel\x80\x02lo";
        assert_eq!(decode(Role::Client, unmasked), (hello.clone(), None));
        assert_eq!(decode(Role::Server, masked), (hello.clone(), None));
        assert_eq!(decode(Role::Client, fragmented), (hello, None));
        assert_eq!(
            decode(Role::Client, b"\x89\x05Hello").0,
            ["Ping([72, 101, 108, 108, 111])"]
        );
        assert_eq!(
            decode(
                Role::Server,
                b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
            )
            .0,
            ["Pong([72, 101, 108, 108, 111])"]
        );
    }

    #[test]
    fn a_ping_may_come_between_fragments() {
        let told = decode(Role::Client, b"\x01\x03Hel\x89\x00\x80\x02lo").0;
        assert_eq!(told, ["Ping([])", r#"Text("Hello")"#]);
    }

    #[test]
    fn every_broken_rule_is_refused_with_its_close_code() {
        let cases: &[(&[u8], u16)] = &[
            (b"\xC1\x00", 1002),                     // reserved bit
            (b"\x81\x80\0\0\0\0", 1002),             // masked by a server
            (b"\x80\x00", 1002),                     // continuation of nothing
            (b"\x01\x00\x81\x00", 1002),             // message inside another
            (b"\x09\x00", 1002),                     // fragmented control frame
            (b"\x89\x7E\x00\x7E", 1002),             // control frame too long
            (b"\x83\x00", 1002),                     // unknown opcode
            (b"\x8B\x00", 1002),                     // unknown control opcode
            (b"\x81\x7E\x00\x7D", 1002),             // length not shortest
            (b"\x81\x7F\0\0\0\0\0\0\xFF\xFF", 1002), // length not shortest
            (b"\x81\x7F\x80\0\0\0\0\0\0\0", 1002),   // length negative
            (b"\x82\x00", 1003),                     // binary
            (b"\x81\x02\xC3\x28", 1007),             // not UTF-8
            (b"\x01\x01\xC3\x80\x01\x28", 1007),     // not UTF-8 over two frames
            (b"\x81\x7E\x03\xE9", 1009),             // 1001 bytes, refused before they come
            (b"\x01\x01a\x80\x7E\x03\xE8", 1009),    // too much in all
            (b"\x88\x01\x03", 1002),                 // half a close code
            (b"\x88\x02\x03\xED", 1002),             // close code 1005
            (b"\x88\x02\x07\xD0", 1002),             // close code 2000
            (b"\x88\x03\x03\xE8\xFF", 1007),         // close reason not UTF-8
        ];
        for (bytes, code) in cases {
            let error = decode(Role::Client, bytes)
                .1
                .unwrap_or_else(|| panic!("{bytes:x?} was accepted"));
            assert_eq!(error.close_code(), *code, "{bytes:x?}: {error}");
        }
        assert_eq!(
            decode(Role::Server, b"\x81\x00").1.unwrap().close_code(),
            1002
        );
    }

    #[test]
    fn a_close_frame_is_read() {
        let told = decode(Role::Client, b"\x88\x05\x03\xE8bye\x88\x00").0;
        assert_eq!(
            told,
            [
                r#"Close { code: Some(1000), reason: "bye" }"#,
                r#"Close { code: None, reason: "" }"#
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_whatever_the_split(
            texts in prop::collection::vec("\\PC{0,200}", 1..4),
            split in 1usize..300,
        ) {
            let mut bytes = Vec::new();
            for text in &texts {
                encode(&mut bytes, Opcode::Text, text.as_bytes(), Some(KEY));
            }
            let mut decoder = Decoder::new(Role::Server);
            let (mut unread, mut told) = (Vec::new(), Vec::new());
            for chunk in bytes.chunks(split) {
                unread.extend_from_slice(chunk);
                loop {
                    let decoded = decoder.decode(&mut unread, 10_000).unwrap();
                    let consumed = decoded.consumed;
                    if let Some(Message::Text(text)) = decoded.message {
                        told.push(text.into_owned());
                    }
                    if consumed == 0 {
                        break;
                    }
                    unread.drain(..consumed);
                }
            }
            prop_assert_eq!(told, texts);
        }
    }
}
