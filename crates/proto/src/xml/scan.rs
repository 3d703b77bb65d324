//! One validating pass over one complete element, without copying and, at ordinary depth, without allocating.
//!
//! The scanner checks everything that XML 1.0, Namespaces in XML and RFC 6120 §11 ask for, so that what it has let
//! through can be forwarded verbatim: well-formedness, characters, references, duplicate attributes (also by expanded
//! name), namespace declarations, and our [`Limits`].

use super::chars::{self, CLASS, TEXT_STOP};
use super::scope::Scope;
use super::tag::Attr;
use super::{Limits, StreamContext, XmlError, text};
use crate::ns;
use smallvec::SmallVec;
use std::borrow::Cow;

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

#[derive(Debug)]
pub(super) struct Open<'a> {
    /// The name as written, prefix included.
    qname: &'a str,
    children: usize,
    /// Bindings in scope before this element.
    bindings: usize,
}

/// Walks one element; see the module comment.
#[derive(Debug)]
pub struct Scanner<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) limits: Limits,
    pub(super) open: SmallVec<[Open<'a>; 6]>,
    pub(super) scope: Scope<'a>,
    pub(super) attrs: SmallVec<[Attr<'a>; 6]>,
    /// The last start tag was an empty-element tag whose end has not been told yet.
    ending: bool,
    /// Start tags so far.
    elements: usize,
    /// Elements of this depth are not content: 1 for a stanza, 0 for a lone child of one.
    pub(super) outside: usize,
    pub(super) relies_on_outside: bool,
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
        Ok(Scanner {
            text,
            at: 0,
            limits: *limits,
            open: SmallVec::new(),
            scope: Scope::of_stream(context, limits.namespaces),
            attrs: SmallVec::new(),
            ending: false,
            elements: 0,
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
        self.scope.iter().map(|b| (b.prefix, &b.uri))
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
        match (self.elements > 0, rest) {
            (true, []) => Ok(Event::Done),
            (true, _) => Err(XmlError::BadFormat("something follows the element")),
            (false, [b'<', b'!', ..]) => Err(forbidden(rest)),
            (false, [b'<', ..]) => self.start_tag(),
            (false, _) => Err(XmlError::BadFormat("no element")),
        }
    }

    fn start_tag(&mut self) -> Result<Event<'a>, XmlError> {
        let from = self.at;
        if self.open.len() >= self.limits.depth {
            return Err(XmlError::OverLimit("too deep"));
        }
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(XmlError::OverLimit("too many elements"));
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
            bindings: self.scope.len(),
        });
        let empty = self.attributes()?;
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

    #[inline]
    fn element_ns(&mut self, prefix: &'a str) -> Result<Cow<'a, str>, XmlError> {
        let inside = self.open.len() > self.outside;
        self.ns_written = None;
        let Some(binding) = self.scope.find(prefix) else {
            return match prefix {
                "" => {
                    self.relies_on_outside |= inside;
                    Ok(Cow::Borrowed(""))
                }
                // Well-formed, but no such element exists, and everything here is simpler without.
                "xml" => Err(XmlError::BadFormat("an element of the xml namespace")),
                _ => Err(XmlError::UndeclaredPrefix),
            };
        };
        if binding.uri == ns::XML {
            return Err(XmlError::BadFormat("an element of the xml namespace"));
        }
        if binding.depth > self.outside {
            self.ns_written = Some(binding.written);
            self.disguised_ns |=
                self.open.len() == self.outside + 1 && matches!(binding.uri, Cow::Owned(_));
        } else {
            self.relies_on_outside |= inside && (!prefix.is_empty() || binding.uri != ns::CLIENT);
        }
        Ok(binding.uri.clone())
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
            self.scope.truncate(open.bindings);
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
    pub(super) fn special(&self, at: usize) -> Result<usize, XmlError> {
        match self.text.as_bytes()[at..] {
            [0xEF, 0xBF, 0xBE | 0xBF, ..] => Err(XmlError::NotWellFormed("a forbidden character")),
            [0xEF, ..] => Ok(3),
            _ => Err(XmlError::NotWellFormed("a forbidden character")),
        }
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
