//! One validating pass over one complete element, without copying and, at ordinary depth, without allocating.
//!
//! The scanner checks everything that XML 1.0, Namespaces in XML and RFC 6120 §11 ask for, so that what it has let
//! through can be forwarded verbatim: well-formedness, characters, references, duplicate attributes (also by expanded
//! name), namespace declarations, and our [`Limits`].

use super::chars::{self, ATTR_STOP, CLASS, NAME, NAME_START, SPACE, TEXT_STOP};
use super::{Limits, StreamContext, XmlError, text};
use crate::ns;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Namespace declarations in scope at once: lookups walk them, so their number bounds the time per element.
const BINDINGS: usize = 64;

/// The longest name or prefix, in bytes; lets tables keep lengths in 16 bits.
const NAME_BYTES: usize = 1024;

/// The longest namespace name, in bytes, as written.
const NAMESPACE_BYTES: usize = 4096;

/// What [`Scanner::step`] found next.
#[derive(Debug)]
pub enum Event<'a> {
    /// A start tag, or an empty-element tag (which an [`Event::End`] follows all the same).
    Start(StartTag<'a>),
    /// The end of the innermost open element.
    End {
        /// Offset of its end tag (for an empty-element tag, of the byte after it).
        from: usize,
    },
    /// A run of character data, references unresolved.
    Text(&'a str),
    /// The text of a CDATA section.
    Cdata(&'a str),
    /// The input ended after the top-level element.
    Done,
}

/// A start tag; its attributes are at [`Scanner::attrs`] until the next step.
#[derive(Debug)]
pub struct StartTag<'a> {
    /// Offset of the `<`.
    pub from: usize,
    /// Offset after the `>`.
    pub to: usize,
    /// Name without prefix.
    pub name: &'a str,
    /// Namespace, empty for none.
    pub ns: Cow<'a, str>,
    /// Whether this is an empty-element tag.
    pub empty: bool,
}

/// An attribute that is not a namespace declaration.
#[derive(Debug, Clone)]
pub struct Attr<'a> {
    /// Name without prefix.
    pub name: &'a str,
    /// Namespace, empty for none.
    pub ns: Cow<'a, str>,
    prefix: &'a str,
    raw: &'a str,
}

impl<'a> Attr<'a> {
    /// The value as it stands in the input.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The value with references and white space resolved.
    pub fn value(&self) -> Cow<'a, str> {
        text::unescape_attr(self.raw)
    }

    /// Whether this is the attribute `name` without a namespace.
    pub fn is(&self, name: &str) -> bool {
        self.prefix.is_empty() && self.name == name
    }

    /// Whether this is `xml:lang`.
    pub fn is_lang(&self) -> bool {
        self.name == "lang" && self.ns == ns::XML
    }
}

#[derive(Debug)]
struct Binding<'a> {
    prefix: &'a str,
    uri: Cow<'a, str>,
    /// Where the namespace name stands in the input, as written; `None` for what the stream declared.
    written: Option<(usize, usize)>,
    /// Depth of the element that declares it; 0 for the stream.
    depth: usize,
}

#[derive(Debug)]
struct Open<'a> {
    /// The name as written, prefix included.
    qname: &'a str,
    children: usize,
    /// Bindings in scope before this element.
    bindings: usize,
}

/// Walks one element; see the module comment.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    limits: Limits,
    open: SmallVec<[Open<'a>; 8]>,
    bindings: SmallVec<[Binding<'a>; 8]>,
    attrs: SmallVec<[Attr<'a>; 8]>,
    /// The last start tag was an empty-element tag whose end has not been told yet.
    ending: bool,
    started: bool,
    /// Elements of this depth are not content: 1 for a stanza, 0 for a lone child of one.
    outside: usize,
    relies_on_outside: bool,
    disguised_ns: bool,
    /// Where the namespace of the last start tag is written.
    ns_written: Option<(usize, usize)>,
}

impl<'a> Scanner<'a> {
    /// A scanner of the one element that `bytes` are, in a stream that declares `context`.
    ///
    /// # Errors
    /// `bytes` are not UTF-8 or more than the limit.
    pub fn new(
        bytes: &'a [u8],
        limits: &Limits,
        context: &'a StreamContext,
    ) -> Result<Scanner<'a>, XmlError> {
        if bytes.len() > limits.stanza_bytes {
            return Err(XmlError::OverLimit("element too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| XmlError::UnsupportedEncoding)?;
        let mut bindings = SmallVec::new();
        let mut declare = |prefix, uri| {
            bindings.push(Binding {
                prefix,
                uri: Cow::Borrowed(uri),
                written: None,
                depth: 0,
            });
        };
        if !context.default_ns.is_empty() {
            declare("", &*context.default_ns);
        }
        if context.stream_prefix {
            declare("stream", ns::STREAM);
        }
        for (prefix, uri) in &context.prefixes {
            declare(prefix, uri);
        }
        Ok(Scanner {
            text,
            at: 0,
            limits: *limits,
            open: SmallVec::new(),
            bindings,
            attrs: SmallVec::new(),
            ending: false,
            started: false,
            outside: 1,
            relies_on_outside: false,
            disguised_ns: false,
            ns_written: None,
        })
    }

    /// A scanner of one child of a stanza, without the stanza around it.
    ///
    /// # Errors
    /// As [`Scanner::new`].
    pub fn of_child(
        bytes: &'a [u8],
        limits: &Limits,
        context: &'a StreamContext,
    ) -> Result<Scanner<'a>, XmlError> {
        Ok(Scanner {
            outside: 0,
            ..Scanner::new(bytes, limits, context)?
        })
    }

    /// The attributes of the last start tag, namespace declarations left out.
    pub fn attrs(&self) -> &[Attr<'a>] {
        &self.attrs
    }

    /// How far the input has been read.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Elements open now.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether anything so far inside the top-level element would mean something else (or nothing) if its content
    /// stood alone in the default namespace `jabber:client`.
    pub fn relies_on_outside(&self) -> bool {
        self.relies_on_outside
    }

    /// Whether a first-level child writes its namespace with references, so that comparing it as written would not do.
    pub fn disguised_ns(&self) -> bool {
        self.disguised_ns
    }

    /// Where the namespace of the last start tag is written in the input, if inside the top-level element.
    pub fn ns_written(&self) -> Option<(usize, usize)> {
        self.ns_written
    }

    /// The namespace declarations in scope, as prefix and name, outermost first.
    pub fn bindings(&self) -> impl Iterator<Item = (&'a str, &Cow<'a, str>)> {
        self.bindings.iter().map(|b| (b.prefix, &b.uri))
    }

    /// The next event.
    ///
    /// # Errors
    /// The input breaks a rule; the scanner must not be used further.
    pub fn step(&mut self) -> Result<Event<'a>, XmlError> {
        if self.ending {
            self.ending = false;
            self.close();
            return Ok(Event::End { from: self.at });
        }
        let bytes = self.text.as_bytes();
        if self.open.is_empty() {
            return self.outside();
        }
        match bytes.get(self.at) {
            None => Err(XmlError::NotWellFormed("the element does not end")),
            Some(b'<') => match bytes.get(self.at + 1) {
                Some(b'/') => self.end_tag(),
                Some(b'!') => self.cdata(),
                _ => self.start_tag(),
            },
            Some(_) => self.character_data(),
        }
    }

    fn outside(&mut self) -> Result<Event<'a>, XmlError> {
        let rest = &self.text.as_bytes()[self.at..];
        match (self.started, rest) {
            (true, []) => Ok(Event::Done),
            (true, _) => Err(XmlError::BadFormat("something follows the element")),
            (false, [b'<', b'!', ..]) => Err(forbidden(rest)),
            (false, [b'<', ..]) => {
                self.started = true;
                self.start_tag()
            }
            (false, _) => Err(XmlError::BadFormat("no element")),
        }
    }

    fn start_tag(&mut self) -> Result<Event<'a>, XmlError> {
        let from = self.at;
        if self.open.len() >= self.limits.depth {
            return Err(XmlError::OverLimit("too deep"));
        }
        if let Some(parent) = self.open.last_mut() {
            parent.children += 1;
            if parent.children > self.limits.children {
                return Err(XmlError::OverLimit("too many children"));
            }
        }
        if self.text.as_bytes().get(from + 1) == Some(&b'?') {
            return Err(XmlError::Restricted("a processing instruction"));
        }
        self.at += 1;
        let (prefix, name) = self.qname()?;
        let qname = &self.text[from + 1..self.at];
        self.open.push(Open {
            qname,
            children: 0,
            bindings: self.bindings.len(),
        });
        let empty = self.attributes()?;
        self.resolve_attributes()?;
        let ns = self.element_ns(prefix)?;
        self.ending = empty;
        Ok(Event::Start(StartTag {
            from,
            to: self.at,
            name,
            ns,
            empty,
        }))
    }

    /// Reads up to and including the `>`; tells whether it was `/>`.
    fn attributes(&mut self) -> Result<bool, XmlError> {
        self.attrs.clear();
        let bytes = self.text.as_bytes();
        let mut count = 0;
        loop {
            let before = self.at;
            self.skip_space();
            match bytes.get(self.at) {
                Some(b'>') => {
                    self.at += 1;
                    return Ok(false);
                }
                Some(b'/') if bytes.get(self.at + 1) == Some(&b'>') => {
                    self.at += 2;
                    return Ok(true);
                }
                None => return Err(XmlError::NotWellFormed("a tag does not end")),
                Some(_) if self.at == before => {
                    return Err(XmlError::NotWellFormed("no space before an attribute"));
                }
                Some(_) => {}
            }
            count += 1;
            if count > self.limits.attributes {
                return Err(XmlError::OverLimit("too many attributes"));
            }
            self.attribute()?;
        }
    }

    fn attribute(&mut self) -> Result<(), XmlError> {
        let (prefix, name) = self.qname()?;
        self.skip_space();
        if self.text.as_bytes().get(self.at) != Some(&b'=') {
            return Err(XmlError::NotWellFormed("an attribute without a value"));
        }
        self.at += 1;
        self.skip_space();
        let from = self.at + 1;
        let raw = self.quoted()?;
        match (prefix, name) {
            ("", "xmlns") => self.declare("", raw, from),
            ("xmlns", _) => self.declare(name, raw, from),
            _ if self
                .attrs
                .iter()
                .any(|a| a.name == name && a.prefix == prefix) =>
            {
                Err(XmlError::NotWellFormed("a duplicate attribute"))
            }
            _ => {
                self.attrs.push(Attr {
                    name,
                    ns: Cow::Borrowed(""),
                    prefix,
                    raw,
                });
                Ok(())
            }
        }
    }

    /// Reads a quoted attribute value and returns what is between the quotes.
    fn quoted(&mut self) -> Result<&'a str, XmlError> {
        let bytes = self.text.as_bytes();
        let Some(&quote @ (b'\'' | b'"')) = bytes.get(self.at) else {
            return Err(XmlError::NotWellFormed("an attribute value without quotes"));
        };
        let from = self.at + 1;
        let mut at = from;
        loop {
            while at < bytes.len() && CLASS[bytes[at] as usize] & ATTR_STOP == 0 {
                at += 1;
            }
            match bytes.get(at) {
                None => return Err(XmlError::NotWellFormed("an attribute value does not end")),
                Some(&byte) if byte == quote => break,
                Some(b'\'' | b'"' | b'\t' | b'\n' | b'\r') => at += 1,
                Some(b'<') => return Err(XmlError::NotWellFormed("`<` in an attribute value")),
                Some(b'&') => at += text::reference(&self.text[at..])?.1,
                Some(_) => at += self.special(at)?,
            }
        }
        self.at = at + 1;
        Ok(&self.text[from..at])
    }

    /// Takes a namespace declaration (Namespaces in XML 1.0 §2.2, §3).
    fn declare(&mut self, prefix: &'a str, raw: &'a str, from: usize) -> Result<(), XmlError> {
        if raw.len() > NAMESPACE_BYTES {
            return Err(XmlError::OverLimit("namespace name too long"));
        }
        let uri = text::unescape_attr(raw);
        let reserved =
            uri == ns::XMLNS || (uri == ns::XML) != (prefix == "xml") || prefix == "xmlns";
        if reserved {
            return Err(XmlError::NotWellFormed("a reserved namespace declared"));
        }
        if uri.is_empty() && !prefix.is_empty() {
            return Err(XmlError::NotWellFormed("a prefix undeclared"));
        }
        let depth = self.open.len();
        if self
            .bindings
            .iter()
            .rev()
            .take_while(|b| b.depth == depth)
            .any(|b| b.prefix == prefix)
        {
            return Err(XmlError::NotWellFormed("a duplicate attribute"));
        }
        if self.bindings.len() >= BINDINGS {
            return Err(XmlError::OverLimit("too many namespaces"));
        }
        self.bindings.push(Binding {
            prefix,
            uri,
            written: Some((from, from + raw.len())),
            depth,
        });
        Ok(())
    }

    /// Gives prefixed attributes their namespaces and finds duplicates by expanded name.
    fn resolve_attributes(&mut self) -> Result<(), XmlError> {
        for at in 0..self.attrs.len() {
            let prefix = self.attrs[at].prefix;
            if prefix.is_empty() {
                continue;
            }
            let ns = match prefix {
                "xml" => Cow::Borrowed(ns::XML),
                _ => {
                    let binding = self.binding(prefix).ok_or(XmlError::UndeclaredPrefix)?;
                    let (uri, depth) = (binding.uri.clone(), binding.depth);
                    self.relies_on_outside |=
                        depth <= self.outside && self.open.len() > self.outside;
                    uri
                }
            };
            let name = self.attrs[at].name;
            // Prefix and namespace are not one to one, so equal names may still be equal after expansion.
            if self.attrs[..at]
                .iter()
                .any(|a| a.name == name && !a.prefix.is_empty() && a.ns == ns)
            {
                return Err(XmlError::NotWellFormed("a duplicate attribute"));
            }
            self.attrs[at].ns = ns;
        }
        Ok(())
    }

    fn element_ns(&mut self, prefix: &'a str) -> Result<Cow<'a, str>, XmlError> {
        let inside = self.open.len() > self.outside;
        self.ns_written = None;
        if prefix == "xml" {
            // Well-formed, but no such element exists, and everything here is simpler without.
            return Err(XmlError::BadFormat("an element of the xml namespace"));
        }
        match self.binding(prefix) {
            Some(binding) => {
                let (uri, depth, written) = (binding.uri.clone(), binding.depth, binding.written);
                if depth > self.outside {
                    self.ns_written = written;
                    self.disguised_ns |=
                        self.open.len() == self.outside + 1 && matches!(uri, Cow::Owned(_));
                } else {
                    self.relies_on_outside |= inside && (!prefix.is_empty() || uri != ns::CLIENT);
                }
                Ok(uri)
            }
            None if prefix.is_empty() => {
                self.relies_on_outside |= inside;
                Ok(Cow::Borrowed(""))
            }
            None => Err(XmlError::UndeclaredPrefix),
        }
    }

    fn binding(&self, prefix: &str) -> Option<&Binding<'a>> {
        self.bindings.iter().rev().find(|b| b.prefix == prefix)
    }

    fn end_tag(&mut self) -> Result<Event<'a>, XmlError> {
        const MISMATCH: XmlError = XmlError::NotWellFormed("an end tag that does not match");
        let from = self.at;
        let qname = self.open.last().map_or("", |open| open.qname);
        let rest = self.text[from + 2..].strip_prefix(qname).ok_or(MISMATCH)?;
        self.at = self.text.len() - rest.len();
        self.skip_space();
        if self.text.as_bytes().get(self.at) != Some(&b'>') {
            return Err(MISMATCH);
        }
        self.at += 1;
        self.close();
        Ok(Event::End { from })
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.bindings.truncate(open.bindings);
        }
    }

    fn cdata(&mut self) -> Result<Event<'a>, XmlError> {
        let rest = &self.text[self.at..];
        let Some(body) = rest.strip_prefix("<![CDATA[") else {
            return Err(forbidden(rest.as_bytes()));
        };
        let length = memchr::memmem::find(body.as_bytes(), b"]]>")
            .ok_or(XmlError::NotWellFormed("a CDATA section does not end"))?;
        let text = &body[..length];
        if !chars::is_xml_text(text) {
            return Err(XmlError::NotWellFormed("a forbidden character"));
        }
        self.at += "<![CDATA[".len() + length + "]]>".len();
        Ok(Event::Cdata(text))
    }

    fn character_data(&mut self) -> Result<Event<'a>, XmlError> {
        let bytes = self.text.as_bytes();
        let from = self.at;
        let mut at = from;
        loop {
            while at < bytes.len() && CLASS[bytes[at] as usize] & TEXT_STOP == 0 {
                at += 1;
            }
            match bytes.get(at) {
                None => return Err(XmlError::NotWellFormed("the element does not end")),
                Some(b'<') => break,
                Some(b'&') => at += text::reference(&self.text[at..])?.1,
                Some(b']') if bytes[at..].starts_with(b"]]>") => {
                    return Err(XmlError::NotWellFormed("`]]>` in text"));
                }
                Some(b']') => at += 1,
                Some(_) => at += self.special(at)?,
            }
        }
        self.at = at;
        Ok(Event::Text(&self.text[from..at]))
    }

    /// A byte that may belong to a forbidden character: how many bytes to skip if it does not.
    fn special(&self, at: usize) -> Result<usize, XmlError> {
        match self.text.as_bytes()[at..] {
            [0xEF, 0xBF, 0xBE | 0xBF, ..] => Err(XmlError::NotWellFormed("a forbidden character")),
            [0xEF, ..] => Ok(3),
            _ => Err(XmlError::NotWellFormed("a forbidden character")),
        }
    }

    #[inline]
    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && chars::is(bytes[self.at], SPACE) {
            self.at += 1;
        }
    }

    /// Reads a name and splits it at its colon (Namespaces in XML 1.0 §4).
    fn qname(&mut self) -> Result<(&'a str, &'a str), XmlError> {
        let first = self.ncname()?;
        if self.text.as_bytes().get(self.at) != Some(&b':') {
            return Ok(("", first));
        }
        self.at += 1;
        Ok((first, self.ncname()?))
    }

    #[inline]
    fn ncname(&mut self) -> Result<&'a str, XmlError> {
        let bytes = self.text.as_bytes();
        let from = self.at;
        let mut class = NAME_START;
        loop {
            match bytes.get(self.at) {
                Some(&byte) if chars::is(byte, class) => self.at += 1,
                Some(&byte) if byte >= 0x80 => {
                    let c = self.text[self.at..].chars().next().unwrap_or('\0');
                    let fits = if class == NAME_START {
                        chars::is_wide_name_start(c)
                    } else {
                        chars::is_wide_name(c)
                    };
                    if !fits {
                        return Err(XmlError::NotWellFormed("a bad name"));
                    }
                    self.at += c.len_utf8();
                }
                _ if class == NAME_START => return Err(XmlError::NotWellFormed("a bad name")),
                _ => break,
            }
            class = NAME;
        }
        if self.at - from > NAME_BYTES {
            return Err(XmlError::OverLimit("name too long"));
        }
        Ok(&self.text[from..self.at])
    }
}

/// What `<!…`, other than a CDATA section where one may stand, is called.
pub(super) fn forbidden(markup: &[u8]) -> XmlError {
    if markup.starts_with(b"<!--") {
        XmlError::Restricted("a comment")
    } else if markup.starts_with(b"<!DOCTYPE") {
        XmlError::Restricted("a document type declaration")
    } else if markup.starts_with(b"<![CDATA[") {
        XmlError::BadFormat("text outside an element")
    } else {
        XmlError::NotWellFormed("bad markup")
    }
}
