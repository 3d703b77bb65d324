//! Whatever comes in a WebSocket: it means the same however it is split into reads, and no message is over the limit.
//! The first byte of an input is our role and the size of the reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use posthaste_proto::websocket::{Decoder, Message, Role, WebSocketError};

const LIMIT: usize = 300;

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let choice = *choice;
    let role = if choice & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let whole = read(bytes, role, bytes.len().max(1));
    assert_eq!(read(bytes, role, usize::from(choice / 2).max(1)), whole);
});

fn read(bytes: &[u8], role: Role, size: usize) -> (Vec<String>, Option<WebSocketError>) {
    let mut decoder = Decoder::new(role);
    let (mut unread, mut told) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(size) {
        unread.extend_from_slice(chunk);
        loop {
            match decoder.decode(&mut unread, LIMIT) {
                Err(error) => return (told, Some(error)),
                Ok(decoded) => {
                    if let Some(Message::Text(text)) = &decoded.message {
                        assert!(text.len() <= LIMIT);
                    }
                    told.extend(decoded.message.map(|message| format!("{message:?}")));
                    let consumed = decoded.consumed;
                    if consumed == 0 {
                        break;
                    }
                    unread.drain(..consumed);
                }
            }
        }
    }
    (told, None)
}
