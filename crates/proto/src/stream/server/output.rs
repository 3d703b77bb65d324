//! Writing for TCP (one document) and WebSocket (a document per message).

use crate::error::StreamError;
use crate::ns;
use crate::xml::{Element, escape_attr};

/// What is to be sent.
#[derive(Debug)]
pub(super) struct Output {
    websocket: bool,
    messages: Vec<Vec<u8>>,
    /// Whether our stream is open: an error needs a stream to stand in (RFC 6120 §4.9.1.2).
    open: bool,
}

/// Our side's stream header.
pub(super) struct OurHeader<'a> {
    pub(super) id: &'a str,
    pub(super) from: &'a str,
    pub(super) to: Option<&'a str>,
}

impl Output {
    pub(super) fn new(websocket: bool) -> Output {
        Output {
            websocket,
            messages: Vec::new(),
            open: false,
        }
    }

    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.messages)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// The stream has to be opened anew.
    pub(super) fn restart(&mut self) {
        self.open = false;
    }

    pub(super) fn header(&mut self, header: &OurHeader<'_>) {
        let mut bytes = match self.websocket {
            true => format!("<open xmlns='{}'", ns::FRAMING),
            false => format!(
                "<?xml version='1.0'?><stream:stream xmlns='{}' xmlns:stream='{}'",
                ns::CLIENT,
                ns::STREAM
            ),
        }
        .into_bytes();
        attribute(&mut bytes, "id", header.id);
        attribute(&mut bytes, "from", header.from);
        if let Some(to) = header.to {
            attribute(&mut bytes, "to", to);
        }
        bytes.extend_from_slice(b" version='1.0' xml:lang='en'");
        bytes.extend_from_slice(if self.websocket { b"/>" } else { b">" });
        self.messages.push(bytes);
        self.open = true;
    }

    pub(super) fn element(&mut self, element: &Element) {
        let bytes = element.to_bytes(self.default_ns());
        self.messages.push(bytes);
    }

    pub(super) fn features(&mut self, features: &Element) {
        self.stream_level("features", features.children());
    }

    /// The error and the end of the stream.
    pub(super) fn stream_error(&mut self, error: &StreamError) {
        self.stream_level("error", error.to_element().children());
        self.close();
    }

    pub(super) fn close(&mut self) {
        if !self.open {
            return;
        }
        self.open = false;
        self.messages.push(match self.websocket {
            true => format!("<close xmlns='{}'/>", ns::FRAMING).into_bytes(),
            false => b"</stream:stream>".to_vec(),
        });
    }

    /// An element of the streams namespace, with the customary prefix: COMPAT(old clients) some
    /// look for `stream:features` as a string.
    fn stream_level<'a>(&mut self, name: &str, children: impl Iterator<Item = &'a Element>) {
        let declaration = match self.websocket {
            true => format!(" xmlns:stream='{}'", ns::STREAM),
            false => String::new(),
        };
        let mut bytes = format!("<stream:{name}{declaration}>").into_bytes();
        for child in children {
            child.write(&mut bytes, self.default_ns());
        }
        bytes.extend_from_slice(format!("</stream:{name}>").as_bytes());
        self.messages.push(bytes);
    }

    fn default_ns(&self) -> &'static str {
        if self.websocket { "" } else { ns::CLIENT }
    }
}

fn attribute(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(format!(" {name}='").as_bytes());
    escape_attr(bytes, value);
    bytes.push(b'\'');
}
