//! What a stream header declares for every element inside it.

use crate::ns;
use std::borrow::Cow;

/// Namespaces and language that a top-level element inherits from its stream (RFC 6120 §4.7.4, §4.8).
///
/// Small, since every connection keeps one: the usual client stream allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamContext {
    /// The default namespace of the stream's content; empty when none is declared.
    pub default_ns: Cow<'static, str>,
    /// Declared prefixes and their namespaces, without [`StreamContext::stream_prefix`].
    pub prefixes: Box<[(Box<str>, Box<str>)]>,
    /// Whether the prefix `stream` means the streams namespace, as it does by custom.
    pub stream_prefix: bool,
    /// The stream's `xml:lang`.
    pub lang: Option<Box<str>>,
}

impl StreamContext {
    /// An ordinary client stream: default namespace `jabber:client`, prefix `stream` declared, no language.
    pub fn client() -> StreamContext {
        StreamContext {
            default_ns: Cow::Borrowed(ns::CLIENT),
            prefixes: Box::default(),
            stream_prefix: true,
            lang: None,
        }
    }

    /// A WebSocket (RFC 7395 §3.3): every frame is a document of its own and declares what it uses.
    pub fn framed(lang: Option<Box<str>>) -> StreamContext {
        StreamContext {
            default_ns: Cow::Borrowed(""),
            prefixes: Box::default(),
            stream_prefix: false,
            lang,
        }
    }

    /// Nothing is inherited but a default namespace.
    pub fn bare(default_ns: impl Into<Cow<'static, str>>) -> StreamContext {
        StreamContext {
            default_ns: default_ns.into(),
            ..StreamContext::framed(None)
        }
    }
}

impl Default for StreamContext {
    fn default() -> StreamContext {
        StreamContext::client()
    }
}
