//! The start tag of a stream, with the XML declaration that may precede it (RFC 6120 §4.7, §11.5).

use super::chars::{self, SPACE};
use super::{Event, Limits, Scanner, StreamContext, XmlError};
use crate::ns;
use std::borrow::Cow;

/// Prefixes, namespaces and language that a stream may declare, in bytes: they are kept as long as the connection.
const CONTEXT_BYTES: usize = 1024;

/// A stream's start tag: what it says and what it declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTag {
    /// Name without prefix; `stream` in a valid stream.
    pub name: Box<str>,
    /// Namespace; [`ns::STREAM`] in a valid stream.
    pub ns: Box<str>,
    /// The `to` attribute, unparsed.
    pub to: Option<Box<str>>,
    /// The `from` attribute, unparsed.
    pub from: Option<Box<str>>,
    /// The `id` attribute.
    pub id: Option<Box<str>>,
    /// The `version` attribute, unparsed.
    pub version: Option<Box<str>>,
    /// What it declares for the elements of the stream, `xml:lang` included.
    pub context: StreamContext,
}

impl OpenTag {
    /// Parses what [`super::Frame::StreamOpen`] cut.
    ///
    /// # Errors
    /// The declaration is not that of an XML 1.0 document in UTF-8, or the tag is bad XML.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<OpenTag, XmlError> {
        let tag = after_declaration(bytes)?;
        let nothing = StreamContext::bare("");
        let mut scanner = Scanner::new(tag, limits, &nothing)?;
        let Event::Start(start) = scanner.step()? else {
            return Err(XmlError::BadFormat("no start tag"));
        };
        if start.empty || start.to != tag.len() {
            return Err(XmlError::BadFormat("not one start tag"));
        }
        let value = |name| {
            scanner
                .attrs()
                .iter()
                .find(|a| a.is(name))
                .map(|a| a.value().into())
        };
        Ok(OpenTag {
            name: start.name.into(),
            ns: (&*start.ns).into(),
            to: value("to"),
            from: value("from"),
            id: value("id"),
            version: value("version"),
            context: context(&scanner)?,
        })
    }
}

fn context(scanner: &Scanner<'_>) -> Result<StreamContext, XmlError> {
    let mut context = StreamContext::bare("");
    let mut prefixes = Vec::new();
    for (prefix, uri) in scanner.bindings() {
        match (prefix, &**uri) {
            ("", ns::CLIENT) => context.default_ns = Cow::Borrowed(ns::CLIENT),
            ("", ns::SERVER) => context.default_ns = Cow::Borrowed(ns::SERVER),
            ("", other) => context.default_ns = Cow::Owned(other.to_owned()),
            ("stream", ns::STREAM) => context.stream_prefix = true,
            // Declared already, by the specification.
            ("xml", _) => {}
            (prefix, uri) => prefixes.push((prefix.into(), uri.into())),
        }
    }
    context.prefixes = prefixes.into_boxed_slice();
    context.lang = scanner
        .attrs()
        .iter()
        .find(|a| a.is_lang())
        .map(|a| a.value().into());
    let prefixes = context.prefixes.iter().map(|(p, uri)| p.len() + uri.len());
    let remembered = prefixes.sum::<usize>() + context.lang.as_ref().map_or(0, |l| l.len());
    if remembered > CONTEXT_BYTES {
        return Err(XmlError::OverLimit("too much declared for the stream"));
    }
    Ok(context)
}

/// Checks and removes `<?xml version='1.0' encoding='UTF-8' standalone='yes'?>` and the white space after it.
fn after_declaration(bytes: &[u8]) -> Result<&[u8], XmlError> {
    const BAD: XmlError = XmlError::NotWellFormed("a bad XML declaration");
    let Some(rest) = bytes.strip_prefix(b"<?xml") else {
        return Ok(bytes);
    };
    let end = memchr::memmem::find(rest, b"?>").ok_or(BAD)?;
    let mut declaration =
        std::str::from_utf8(&rest[..end]).map_err(|_| XmlError::UnsupportedEncoding)?;
    let mut expected = ["version", "encoding", "standalone"].into_iter();
    while !declaration.trim_start().is_empty() {
        let (name, value, after) = pseudo_attribute(declaration).ok_or(BAD)?;
        declaration = after;
        let first = expected.len() == 3;
        if (first && name != "version") || !expected.any(|e| e == name) {
            return Err(BAD);
        }
        match name {
            "version" if value != "1.0" => return Err(XmlError::NotWellFormed("not XML 1.0")),
            "encoding" if !value.eq_ignore_ascii_case("utf-8") => {
                return Err(XmlError::UnsupportedEncoding);
            }
            "standalone" if !matches!(value, "yes" | "no") => return Err(BAD),
            _ => {}
        }
    }
    if expected.len() == 3 {
        return Err(BAD);
    }
    let tag = &rest[end + 2..];
    let space = tag.iter().take_while(|b| chars::is(**b, SPACE)).count();
    Ok(&tag[space..])
}

/// Splits ` name = 'value' rest`.
fn pseudo_attribute(text: &str) -> Option<(&str, &str, &str)> {
    let trimmed = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if trimmed.len() == text.len() {
        return None;
    }
    let (name, rest) = trimmed.split_once('=')?;
    let rest = rest.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (value, rest) = rest[1..].split_once(quote)?;
    Some((name.trim_end(), value, rest))
}
