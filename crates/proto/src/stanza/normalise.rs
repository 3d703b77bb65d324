//! Makes content self-contained: the slow way for stanzas that lean on prefixes or a default namespace declared
//! outside their content, or whose children write their namespaces in disguise.
//!
//! Every element is written without a prefix, declaring its namespace where it is not that of its parent; text stays
//! as it came. Elements of the stanza's own namespace (`jabber:server` between servers, `jabber:component:accept`) become `jabber:client`.

use super::children::{Child, written};
use crate::ns;
use crate::xml::{
    Attr, Event, Limits, Scanner, StartTag, StreamContext, XmlError, escape_attr, write_attribute,
};
use smallvec::SmallVec;

/// The content of the stanza that `bytes` are, rewritten, and its children.
///
/// # Errors
/// The XML is bad, or the result would be longer than a stanza may be: one long namespace declared once outside can
/// be meant by thousands of elements inside.
pub(super) fn normalise(
    bytes: &[u8],
    limits: &Limits,
    stream: &StreamContext,
) -> Result<(Vec<u8>, SmallVec<[Child; 4]>), XmlError> {
    let mut scanner = Scanner::new(bytes, limits, stream)?;
    let mut writer = Writer {
        out: Vec::with_capacity(bytes.len() * 2),
        open: Vec::new(),
        children: SmallVec::new(),
    };
    let mut content_ns = String::new();
    loop {
        match scanner.step()? {
            Event::Start(tag) if scanner.depth() == 1 => content_ns = tag.ns.into_owned(),
            Event::Start(mut tag) => {
                if tag.ns == content_ns {
                    tag.ns = ns::CLIENT.into();
                }
                writer.start(&tag, scanner.attrs());
            }
            Event::Text(raw) => writer.out.extend_from_slice(raw.as_bytes()),
            Event::Cdata(raw) => {
                for part in ["<![CDATA[", raw, "]]>"] {
                    writer.out.extend_from_slice(part.as_bytes());
                }
            }
            Event::End { .. } => writer.end(),
            Event::Done => return Ok((writer.out, writer.children)),
        }
        if writer.out.len() > limits.stanza_bytes {
            return Err(XmlError::OverLimit("element too long without its prefixes"));
        }
    }
}

struct Writer<'a> {
    out: Vec<u8>,
    open: Vec<Open<'a>>,
    children: SmallVec<[Child; 4]>,
}

struct Open<'a> {
    name: &'a str,
    ns: std::borrow::Cow<'a, str>,
    empty: bool,
}

impl<'a> Writer<'a> {
    fn start(&mut self, tag: &StartTag<'a>, attrs: &[Attr<'a>]) {
        let from = self.out.len();
        self.out.push(b'<');
        self.out.extend_from_slice(tag.name.as_bytes());
        let parent_ns = self.open.last().map_or(ns::CLIENT, |open| &open.ns);
        let mut declared = None;
        if tag.ns != parent_ns {
            self.out.extend_from_slice(b" xmlns='");
            let at = self.out.len();
            escape_attr(&mut self.out, &tag.ns);
            declared = Some((at, self.out.len()));
            self.out.push(b'\'');
        }
        if self.open.is_empty() {
            self.children.push(written(from, tag.name.len(), declared));
        }
        for (number, attr) in attrs.iter().enumerate() {
            self.attribute(number, attr);
        }
        self.out
            .extend_from_slice(if tag.empty { b"/>" } else { b">" });
        self.open.push(Open {
            name: tag.name,
            ns: tag.ns.clone(),
            empty: tag.empty,
        });
    }

    fn attribute(&mut self, number: usize, attr: &Attr<'_>) {
        match &*attr.ns {
            "" => write_attribute(&mut self.out, attr.name, &attr.value()),
            ns::XML => write_attribute(&mut self.out, &format!("xml:{}", attr.name), &attr.value()),
            other => {
                write_attribute(&mut self.out, &format!("xmlns:a{number}"), other);
                write_attribute(
                    &mut self.out,
                    &format!("a{number}:{}", attr.name),
                    &attr.value(),
                );
            }
        }
    }

    /// Ends the innermost element; the end of the stanza itself, when nothing is open, writes nothing.
    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if !open.empty {
            self.out.extend_from_slice(b"</");
            self.out.extend_from_slice(open.name.as_bytes());
            self.out.push(b'>');
        }
        if let (true, Some(child)) = (self.open.is_empty(), self.children.last_mut()) {
            child.set_end(self.out.len());
        }
    }
}
