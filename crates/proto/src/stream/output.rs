//! Writing for TCP (one document) and WebSocket (a document per message), to clients and to servers.

use crate::error::StreamError;
use crate::ns;
use crate::xml::{Element, escape_attr};

/// What kind of stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Dialect {
    /// With a client over TCP.
    Client,
    /// With a client over WebSocket.
    WebSocket,
    /// With a server (RFC 6120 §4.8.2), with the prefix of XEP-0220 §2 declared.
    Server,
}

/// What is to be sent.
#[derive(Debug)]
pub(in crate::stream) struct Output {
    dialect: Dialect,
    messages: Vec<Vec<u8>>,
    /// Whether our stream is open: an error needs a stream to stand in (RFC 6120 §4.9.1.2).
    open: bool,
}

/// Our side's stream header.
pub(in crate::stream) struct OurHeader<'a> {
    /// Given by whoever is connected to.
    pub(in crate::stream) id: Option<&'a str>,
    pub(in crate::stream) from: &'a str,
    pub(in crate::stream) to: Option<&'a str>,
}

impl Output {
    pub(in crate::stream) fn new(dialect: Dialect) -> Output {
        Output {
            dialect,
            messages: Vec::new(),
            open: false,
        }
    }

    pub(in crate::stream) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.messages)
    }

    pub(in crate::stream) fn is_open(&self) -> bool {
        self.open
    }

    /// The stream has to be opened anew.
    pub(in crate::stream) fn restart(&mut self) {
        self.open = false;
    }

    pub(in crate::stream) fn header(&mut self, header: &OurHeader<'_>) {
        let stream = |content| {
            let streams = ns::STREAM;
            format!(
                "<?xml version='1.0'?><stream:stream xmlns='{content}' xmlns:stream='{streams}'"
            )
        };
        let mut bytes = match self.dialect {
            Dialect::WebSocket => format!("<open xmlns='{}'", ns::FRAMING),
            Dialect::Client => stream(ns::CLIENT),
            Dialect::Server => format!("{} xmlns:db='{}'", stream(ns::SERVER), ns::DIALBACK),
        }
        .into_bytes();
        if let Some(id) = header.id {
            attribute(&mut bytes, "id", id);
        }
        attribute(&mut bytes, "from", header.from);
        if let Some(to) = header.to {
            attribute(&mut bytes, "to", to);
        }
        bytes.extend_from_slice(b" version='1.0' xml:lang='en'");
        bytes.extend_from_slice(match self.dialect {
            Dialect::WebSocket => b"/>",
            Dialect::Client | Dialect::Server => b">",
        });
        self.messages.push(bytes);
        self.open = true;
    }

    pub(in crate::stream) fn element(&mut self, element: &Element) {
        let bytes = element.to_bytes(self.default_ns());
        self.messages.push(bytes);
    }

    /// Bytes that are whole elements.
    pub(in crate::stream) fn raw(&mut self, bytes: Vec<u8>) {
        self.messages.push(bytes);
    }

    pub(in crate::stream) fn features(&mut self, features: &Element) {
        self.stream_level("features", features.children());
    }

    /// The error and the end of the stream.
    pub(in crate::stream) fn stream_error(&mut self, error: &StreamError) {
        self.stream_level("error", error.to_element().children());
        self.close();
    }

    pub(in crate::stream) fn close(&mut self) {
        if !self.open {
            return;
        }
        self.open = false;
        self.messages.push(match self.dialect {
            Dialect::WebSocket => format!("<close xmlns='{}'/>", ns::FRAMING).into_bytes(),
            Dialect::Client | Dialect::Server => b"</stream:stream>".to_vec(),
        });
    }

    /// An element of the streams namespace, with the customary prefix: COMPAT(old clients) some
    /// look for `stream:features` as a string.
    fn stream_level<'a>(&mut self, name: &str, children: impl Iterator<Item = &'a Element>) {
        let declaration = match self.dialect {
            Dialect::WebSocket => format!(" xmlns:stream='{}'", ns::STREAM),
            Dialect::Client | Dialect::Server => String::new(),
        };
        let mut bytes = format!("<stream:{name}{declaration}>").into_bytes();
        for child in children {
            child.write(&mut bytes, self.default_ns());
        }
        bytes.extend_from_slice(format!("</stream:{name}>").as_bytes());
        self.messages.push(bytes);
    }

    fn default_ns(&self) -> &'static str {
        match self.dialect {
            Dialect::WebSocket => "",
            Dialect::Client => ns::CLIENT,
            Dialect::Server => ns::SERVER,
        }
    }
}

pub(in crate::stream) fn attribute(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(format!(" {name}='").as_bytes());
    escape_attr(bytes, value);
    bytes.push(b'\'');
}
