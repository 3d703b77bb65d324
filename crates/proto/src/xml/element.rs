//! A small owned tree for what has to be understood: IQ payloads, nonzas, SASL, errors.

use super::text::{unescape_cdata, unescape_text};
use super::write::{attribute, escape_text};
use super::{Event, Limits, Scanner, StartTag, StreamContext, XmlError};
use crate::ns;
use std::borrow::Cow;

/// An element with its resolved namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    name: Cow<'static, str>,
    ns: Cow<'static, str>,
    attrs: Vec<Attribute>,
    nodes: Vec<Node>,
}

/// An attribute with its resolved namespace (empty for none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Namespace, empty for none.
    pub ns: Cow<'static, str>,
    /// Name without prefix.
    pub name: Cow<'static, str>,
    /// Value, unescaped.
    pub value: String,
}

/// What an element contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A child element.
    Element(Element),
    /// Character data, unescaped.
    Text(String),
}

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<Cow<'static, str>>, ns: impl Into<Cow<'static, str>>) -> Element {
        Element {
            name: name.into(),
            ns: ns.into(),
            attrs: Vec::new(),
            nodes: Vec::new(),
        }
    }

    /// Parses one whole element that stands in the default namespace `default_ns`, within the default [`Limits`].
    ///
    /// # Errors
    /// Anything but exactly one well-formed element.
    pub fn parse(bytes: &[u8], default_ns: &str) -> Result<Element, XmlError> {
        let context = match default_ns {
            ns::CLIENT => StreamContext::client(),
            other => StreamContext::bare(other.to_owned()),
        };
        Element::parse_in(bytes, &Limits::default(), &context)
    }

    /// Parses one whole top-level element of a stream.
    ///
    /// # Errors
    /// Anything but exactly one well-formed element within `limits`.
    pub fn parse_in(
        bytes: &[u8],
        limits: &Limits,
        context: &StreamContext,
    ) -> Result<Element, XmlError> {
        let mut scanner = Scanner::new(bytes, limits, context)?;
        let mut open: Vec<Element> = Vec::new();
        loop {
            match scanner.step()? {
                Event::Start(tag) => open.push(Element::from_tag(&tag, &scanner)),
                Event::Text(raw) => push_text(&mut open, &unescape_text(raw)),
                Event::Cdata(raw) => push_text(&mut open, &unescape_cdata(raw)),
                Event::End { .. } => {
                    let Some(element) = open.pop() else { continue };
                    match open.last_mut() {
                        Some(parent) => parent.nodes.push(Node::Element(element)),
                        // The scanner still has to see that nothing follows.
                        None => return scanner.step().map(|_| element),
                    }
                }
                Event::Done => return Err(XmlError::BadFormat("no element")),
            }
        }
    }

    fn from_tag(tag: &StartTag<'_>, scanner: &Scanner<'_>) -> Element {
        let attrs = scanner.attrs().iter().map(|a| Attribute {
            ns: Cow::Owned(a.ns.clone().into_owned()),
            name: Cow::Owned(a.name.to_owned()),
            value: a.value().into_owned(),
        });
        Element {
            name: Cow::Owned(tag.name.to_owned()),
            ns: Cow::Owned(tag.ns.clone().into_owned()),
            attrs: attrs.collect(),
            nodes: Vec::new(),
        }
    }

    /// The same element with one more attribute (an earlier one of that name is replaced).
    #[must_use]
    pub fn with_attr(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Element {
        self.set_attr(name, value);
        self
    }

    /// The same element with an attribute if there is a value for it.
    #[must_use]
    pub fn with_attr_opt(
        self,
        name: impl Into<Cow<'static, str>>,
        value: Option<impl Into<String>>,
    ) -> Element {
        match value {
            Some(value) => self.with_attr(name, value),
            None => self,
        }
    }

    /// The same element with `xml:lang`.
    #[must_use]
    pub fn with_lang(mut self, lang: impl Into<String>) -> Element {
        self.set_ns_attr("lang", ns::XML, lang.into());
        self
    }

    /// The same element with one more child.
    #[must_use]
    pub fn with_child(mut self, child: Element) -> Element {
        self.nodes.push(Node::Element(child));
        self
    }

    /// The same element with more children.
    #[must_use]
    pub fn with_children(mut self, children: impl IntoIterator<Item = Element>) -> Element {
        self.nodes.extend(children.into_iter().map(Node::Element));
        self
    }

    /// The same element with more text. Characters that XML cannot carry become U+FFFD.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Element {
        self.push_text(text);
        self
    }

    /// The same element with all that is in the namespace `from` put into `to`. Attributes stay.
    #[must_use]
    pub fn moved_to_namespace(mut self, from: &str, to: &'static str) -> Element {
        if self.ns == from {
            self.ns = Cow::Borrowed(to);
        }
        let nodes = self.nodes.into_iter().map(|node| match node {
            Node::Element(child) => Node::Element(child.moved_to_namespace(from, to)),
            Node::Text(text) => Node::Text(text),
        });
        self.nodes = nodes.collect();
        self
    }

    /// Sets an attribute without a namespace.
    pub fn set_attr(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.set_ns_attr(name, "", value.into());
    }

    fn set_ns_attr(&mut self, name: impl Into<Cow<'static, str>>, ns: &'static str, value: String) {
        let (name, value) = (name.into(), printable(value));
        match self.attrs.iter_mut().find(|a| a.name == name && a.ns == ns) {
            Some(attr) => attr.value = value,
            None => self.attrs.push(Attribute {
                ns: Cow::Borrowed(ns),
                name,
                value,
            }),
        }
    }

    /// Adds a child at the end.
    pub fn push_child(&mut self, child: Element) {
        self.nodes.push(Node::Element(child));
    }

    /// Adds text at the end. Characters that XML cannot carry become U+FFFD.
    pub fn push_text(&mut self, text: &str) {
        let text = printable(text.to_owned());
        match self.nodes.last_mut() {
            Some(Node::Text(last)) => last.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.nodes.push(Node::Text(text)),
        }
    }

    /// Name without prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Namespace, empty for none.
    pub fn ns(&self) -> &str {
        &self.ns
    }

    /// Whether this is the element `name` of the namespace `ns`.
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name == name && self.ns == ns
    }

    /// The value of an attribute without a namespace.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attr_ns(name, "")
    }

    /// The value of an attribute in a namespace (empty for none).
    pub fn attr_ns(&self, name: &str, ns: &str) -> Option<&str> {
        self.attrs
            .iter()
            .find(|a| a.name == name && a.ns == ns)
            .map(|a| a.value.as_str())
    }

    /// The value of `xml:lang` on this very element.
    pub fn lang(&self) -> Option<&str> {
        self.attr_ns("lang", ns::XML)
    }

    /// All attributes, in order.
    pub fn attrs(&self) -> &[Attribute] {
        &self.attrs
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The first child with this name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Element> {
        self.children().find(|child| child.is(name, ns))
    }

    /// The child elements, in order.
    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    /// The children, owned.
    pub fn into_children(self) -> impl Iterator<Item = Element> {
        self.nodes.into_iter().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    /// The text directly inside this element.
    pub fn text(&self) -> String {
        self.nodes
            .iter()
            .filter_map(|node| {
                if let Node::Text(text) = node {
                    Some(text.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    /// Appends the element as XML for a place where the default namespace is `parent_ns` and no prefix is declared.
    pub fn write(&self, out: &mut Vec<u8>, parent_ns: &str) {
        out.push(b'<');
        out.extend_from_slice(self.name.as_bytes());
        if self.ns != parent_ns {
            attribute(out, "xmlns", &self.ns);
        }
        self.write_attrs(out);
        if self.nodes.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        for node in &self.nodes {
            match node {
                Node::Element(child) => child.write(out, &self.ns),
                Node::Text(text) => escape_text(out, text),
            }
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'>');
    }

    fn write_attrs(&self, out: &mut Vec<u8>) {
        for (number, attr) in self.attrs.iter().enumerate() {
            match &*attr.ns {
                "" => attribute(out, &attr.name, &attr.value),
                ns::XML => attribute(out, &format!("xml:{}", attr.name), &attr.value),
                ns => {
                    attribute(out, &format!("xmlns:a{number}"), ns);
                    attribute(out, &format!("a{number}:{}", attr.name), &attr.value);
                }
            }
        }
    }

    /// The element as XML for a place where the default namespace is `parent_ns`.
    pub fn to_bytes(&self, parent_ns: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out, parent_ns);
        out
    }
}

fn push_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        match element.nodes.last_mut() {
            Some(Node::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => element.nodes.push(Node::Text(text.to_owned())),
        }
    }
}

/// Replaces what XML cannot carry.
fn printable(text: String) -> String {
    if super::is_xml_text(&text) {
        return text;
    }
    text.chars()
        .map(|c| {
            if super::chars::is_char(c) {
                c
            } else {
                '\u{FFFD}'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_written_as_it_was_built() {
        let element = Element::new("iq", ns::CLIENT)
            .with_attr("id", "a'b")
            .with_lang("de")
            .with_child(
                Element::new("query", ns::ROSTER)
                    .with_attr_opt("ver", Some("1"))
                    .with_attr_opt("none", None::<String>)
                    .with_text("a<b"),
            );
        let xml = element.to_bytes(ns::CLIENT);
        assert_eq!(
            String::from_utf8(xml.clone()).unwrap(),
            "<iq id='a&apos;b' xml:lang='de'><query xmlns='jabber:iq:roster' ver='1'>a&lt;b</query></iq>"
        );
        assert_eq!(Element::parse(&xml, ns::CLIENT).unwrap(), element);
    }

    #[test]
    fn prefixes_and_cdata_resolve() {
        let xml = b"<p:a xmlns:p='urn:p' xmlns='urn:d' p:x='1' x='2'><b>1<![CDATA[<2>]]>3</b><c xmlns=''/></p:a>";
        let element = Element::parse(xml, "").unwrap();
        assert!(element.is("a", "urn:p"));
        assert_eq!(element.attr("x"), Some("2"));
        assert_eq!(element.attr_ns("x", "urn:p"), Some("1"));
        assert_eq!(element.child("b", "urn:d").unwrap().text(), "1<2>3");
        assert!(element.child("c", "").is_some());
        assert_eq!(
            Element::parse(&element.to_bytes("urn:x"), "urn:x").unwrap(),
            element
        );
    }

    #[test]
    fn characters_xml_cannot_carry_are_replaced() {
        assert_eq!(Element::new("a", "").with_text("\0b").text(), "\u{FFFD}b");
    }
}
