//! The first-level children of a stanza as ranges of its content.

use super::Stanza;
use crate::ns;
use crate::xml::{Element, Event, Limits, Scanner, StreamContext, XmlError};
use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::Range;

/// Where a child stands in the content. Names are bounded by the scanner, so lengths fit.
#[derive(Debug, Clone)]
pub(super) struct Child {
    from: u32,
    to: u32,
    name: u32,
    name_bytes: u16,
    ns_bytes: u16,
    /// [`INHERITED`] for a child in the default namespace `jabber:client`.
    ns: u32,
}

const INHERITED: u32 = u32::MAX;

/// A first-level child of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildRef<'a> {
    /// Namespace, as written in XML: one that holds `&`, `<` or quotes has them escaped.
    pub ns: &'a str,
    /// Name without prefix.
    pub name: &'a str,
    /// The whole element, for a place where the default namespace is `jabber:client`.
    pub xml: &'a [u8],
}

impl ChildRef<'_> {
    /// Whether this is the element `name` of the namespace `ns`.
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name == name && self.ns == ns
    }

    /// The child as a tree.
    ///
    /// # Errors
    /// None in practice: the stanza was validated when it was made.
    pub fn to_element(&self) -> Result<Element, XmlError> {
        Element::parse_in(self.xml, &Limits::NONE, &StreamContext::client())
    }
}

impl Child {
    pub(super) fn range(&self) -> Range<usize> {
        self.from as usize..self.to as usize
    }

    pub(super) fn set_end(&mut self, to: usize) {
        self.to = offset(to);
    }

    fn moved_on(self, on: usize) -> Child {
        let on = offset(on);
        let ns = if self.ns == INHERITED {
            INHERITED
        } else {
            self.ns + on
        };
        Child {
            from: self.from + on,
            to: self.to + on,
            name: self.name + on,
            ns,
            ..self
        }
    }

    fn moved_back(&self, back: usize) -> Child {
        let back = offset(back);
        let ns = if self.ns == INHERITED {
            INHERITED
        } else {
            self.ns - back
        };
        Child {
            from: self.from - back,
            to: self.to - back,
            name: self.name - back,
            ns,
            ..self.clone()
        }
    }
}

/// Cannot truncate: content is bounded far below 4 GiB by [`super::parse::CONTENT_BYTES`].
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX - 1)
}

/// The table entry of a child whose start tag was just scanned; `shift` is what to subtract to get content offsets.
pub(super) fn entry(
    scanner: &Scanner<'_>,
    tag: &crate::xml::StartTag<'_>,
    shift: usize,
    source: &[u8],
) -> Child {
    let written = &source[tag.from + 1..];
    // The name is the last thing before the attributes: skip a prefix.
    let qname = written
        .iter()
        .take_while(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>'))
        .count();
    let name = tag.from + 1 + qname - tag.name.len();
    let (ns, ns_bytes) = match scanner.ns_written() {
        Some((from, to)) => (offset(from - shift), to - from),
        None => (INHERITED, 0),
    };
    Child {
        from: offset(tag.from - shift),
        to: offset(tag.to - shift),
        name: offset(name - shift),
        name_bytes: u16::try_from(tag.name.len()).unwrap_or(u16::MAX),
        ns_bytes: u16::try_from(ns_bytes).unwrap_or(u16::MAX),
        ns,
    }
}

/// The table entry of a child written at `from` as `<name xmlns='…`, its end still to be set.
pub(super) fn written(from: usize, name_bytes: usize, ns: Option<(usize, usize)>) -> Child {
    let (ns, ns_bytes) = ns.map_or((INHERITED, 0), |(from, to)| (offset(from), to - from));
    Child {
        from: offset(from),
        to: offset(from),
        name: offset(from + 1),
        name_bytes: u16::try_from(name_bytes).unwrap_or(u16::MAX),
        ns_bytes: u16::try_from(ns_bytes).unwrap_or(u16::MAX),
        ns,
    }
}

/// Validates a lone child; also tells whether its namespace is disguised.
fn scan_child(xml: &[u8]) -> Result<(Child, bool), XmlError> {
    let context = StreamContext::client();
    let mut scanner = Scanner::of_child(xml, &Limits::NONE, &context)?;
    let mut child = None;
    loop {
        match scanner.step()? {
            Event::Start(tag) if scanner.depth() == 1 => {
                child = Some(entry(&scanner, &tag, 0, xml));
            }
            Event::Done => break,
            Event::Start(_) | Event::End { .. } | Event::Text(_) | Event::Cdata(_) => {}
        }
    }
    let mut child = child.ok_or(XmlError::BadFormat("no element"))?;
    child.set_end(xml.len());
    if scanner.relies_on_outside() {
        return Err(XmlError::BadFormat(
            "a child that relies on its surroundings",
        ));
    }
    Ok((child, scanner.disguised_ns()))
}

impl Stanza {
    /// The first-level children, in order.
    pub fn children(&self) -> impl Iterator<Item = ChildRef<'_>> {
        self.children.iter().map(|child| self.child_ref(child))
    }

    fn child_ref(&self, child: &Child) -> ChildRef<'_> {
        let text = |from: u32, bytes: u16| {
            let range = from as usize..from as usize + usize::from(bytes);
            // The content was validated as UTF-8 and ranges begin and end at ASCII.
            std::str::from_utf8(&self.content[range]).unwrap_or("")
        };
        ChildRef {
            ns: if child.ns == INHERITED {
                ns::CLIENT
            } else {
                text(child.ns, child.ns_bytes)
            },
            name: text(child.name, child.name_bytes),
            xml: &self.content[child.range()],
        }
    }

    /// The first child with this name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<ChildRef<'_>> {
        self.children().find(|child| child.is(name, ns))
    }

    /// Whether there is a child with this name and namespace.
    pub fn has(&self, name: &str, ns: &str) -> bool {
        self.child(name, ns).is_some()
    }

    /// Adds a child at the end.
    pub fn push_child(&mut self, child: &Element) {
        let mut content: Vec<u8> = std::mem::take(&mut self.content).into();
        let from = content.len();
        child.write(&mut content, ns::CLIENT);
        debug_assert!(
            scan_child(&content[from..]).is_ok(),
            "an element with a bad name"
        );
        // An element is written as `<name xmlns='…'`, the declaration only where it is needed.
        let declared = (child.ns() != ns::CLIENT).then(|| {
            let at = from + 1 + child.name().len() + " xmlns='".len();
            let length = memchr::memchr(b'\'', &content[at..]).unwrap_or(0);
            (at, at + length)
        });
        let mut child = written(from, child.name().len(), declared);
        child.set_end(content.len());
        self.children.push(child);
        self.content = content.into();
    }

    /// Adds a child at the end that is XML for a place where the default namespace is `jabber:client`.
    ///
    /// # Errors
    /// `xml` is not exactly one well-formed element, or relies on prefixes it does not declare.
    pub fn push_xml(&mut self, xml: &[u8]) -> Result<(), XmlError> {
        match scan_child(xml)? {
            (child, false) => self.append(child, xml),
            (_, true) => self.push_child(&Element::parse_in(
                xml,
                &Limits::NONE,
                &StreamContext::client(),
            )?),
        }
        Ok(())
    }

    fn append(&mut self, child: Child, xml: &[u8]) {
        let mut content: Vec<u8> = std::mem::take(&mut self.content).into();
        self.children.push(child.moved_on(content.len()));
        content.extend_from_slice(xml);
        self.content = content.into();
    }

    /// Removes the children for which `remove` says so.
    pub fn remove_children(&mut self, mut remove: impl FnMut(ChildRef<'_>) -> bool) {
        let doomed: SmallVec<[bool; 16]> = self.children().map(&mut remove).collect();
        if !doomed.contains(&true) {
            return;
        }
        let mut content = Vec::with_capacity(self.content.len());
        let mut children = SmallVec::new();
        let mut copied = 0;
        let mut removed = 0;
        for (child, doomed) in self.children.iter().zip(doomed) {
            if doomed {
                content.extend_from_slice(&self.content[copied..child.range().start]);
                copied = child.range().end;
                removed += child.range().len();
            } else {
                children.push(child.moved_back(removed));
            }
        }
        content.extend_from_slice(&self.content[copied..]);
        self.content = Bytes::from(content);
        self.children = children;
    }
}
