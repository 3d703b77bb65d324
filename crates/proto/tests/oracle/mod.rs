//! The judge of our parser: rxml, an independent XML parser made for XMPP. Shared with the fuzz targets.

#![allow(
    dead_code,
    reason = "not every test that shares this file needs all of it"
)]

use std::collections::BTreeMap;

use posthaste_proto::ns;
use posthaste_proto::stanza::{Stanza, StanzaParseError};
use posthaste_proto::xml::{
    Element, Frame, Framer, Limits, Node, OpenTag, StreamContext, XmlError,
};
use rxml::{Event, Parse};

/// What both parsers are compared in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    name: (String, String),
    attrs: BTreeMap<(String, String), String>,
    nodes: Vec<Content>,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Tree(Tree),
    Text(String),
}

/// The header that [`StreamContext::client`] stands for.
pub(crate) const HEADER: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const FOOTER: &str = "</stream:stream>";

/// What rxml makes of the one element that is in a client stream; an error if there is not exactly one element.
pub(crate) fn element_in_stream(xml: &[u8]) -> Result<Tree, String> {
    let document = [HEADER.as_bytes(), xml, FOOTER.as_bytes()].concat();
    let mut nodes = document_tree(&document)?.nodes;
    match (nodes.pop(), nodes.is_empty()) {
        (Some(Content::Tree(tree)), true) => Ok(tree),
        _ => Err("not one element".into()),
    }
}

fn document_tree(document: &[u8]) -> Result<Tree, String> {
    let mut parser = rxml::Parser::new();
    let mut unread = document;
    let mut open: Vec<Tree> = Vec::new();
    let mut root = None;
    while let Some(event) = parser
        .parse(&mut unread, true)
        .map_err(|e| format!("{e:?}"))?
    {
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, (ns, name), attrs) => open.push(Tree {
                name: (ns.to_string(), name.to_string()),
                attrs: attrs
                    .iter()
                    .map(|((ns, name), value)| ((ns.to_string(), name.to_string()), value.clone()))
                    .collect(),
                nodes: Vec::new(),
            }),
            Event::Text(_, text) => push_text(open.last_mut().ok_or("text outside")?, &text),
            Event::EndElement(_) => {
                let element = open.pop().ok_or("an end of nothing")?;
                match open.last_mut() {
                    Some(parent) => parent.nodes.push(Content::Tree(element)),
                    None => root = Some(element),
                }
            }
        }
    }
    root.ok_or_else(|| "no root".into())
}

fn push_text(tree: &mut Tree, text: &str) {
    match tree.nodes.last_mut() {
        Some(Content::Text(last)) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => tree.nodes.push(Content::Text(text.into())),
    }
}

impl From<&Element> for Tree {
    fn from(element: &Element) -> Tree {
        let nodes = element.nodes().iter().map(|node| match node {
            Node::Element(child) => Content::Tree(child.into()),
            Node::Text(text) => Content::Text(text.clone()),
        });
        Tree {
            name: (element.ns().into(), element.name().into()),
            attrs: element
                .attrs()
                .iter()
                .map(|a| ((a.ns.to_string(), a.name.to_string()), a.value.clone()))
                .collect(),
            nodes: nodes.collect(),
        }
    }
}

/// What the oracle is not asked: tokens as long as its limit, characters that it leaves out of its name tables
/// against XML 1.0 §2.3, and a lone carriage return, which it does not take in attribute values against §2.11.
fn beyond_oracle(xml: &[u8]) -> bool {
    let lone_return = |w: &[u8]| w[0] == b'\r' && w[1] != b'\n';
    xml.len() > 8000
        || xml.windows(2).any(lone_return)
        || String::from_utf8_lossy(xml).contains(|c| matches!(c, '\u{FDF0}'..='\u{FFFD}'))
}

/// Where we are stricter: our limits, a namespace declared twice in one tag (which rxml misses, against XML 1.0 §3.1),
/// the namespace of `xmlns` as default (against Namespaces in XML 1.0 §3), and elements of the namespace `xml`, which do not exist.
fn stricter(error: XmlError) -> bool {
    match error {
        XmlError::OverLimit(_) => true,
        XmlError::NotWellFormed(why) => {
            matches!(
                why,
                "a duplicate attribute" | "a reserved namespace declared"
            )
        }
        XmlError::BadFormat(why) => why == "an element of the xml namespace",
        XmlError::Restricted(_) | XmlError::UndeclaredPrefix | XmlError::UnsupportedEncoding => {
            false
        }
    }
}

/// Panics where our parser and the oracle disagree on `xml`, or our parser with itself.
pub(crate) fn compare(xml: &[u8]) {
    let limits = Limits::default();
    let context = StreamContext::client();
    let ours = Element::parse_in(xml, &limits, &context);
    let theirs = if beyond_oracle(xml) {
        Err("not asked".into())
    } else {
        element_in_stream(xml)
    };
    match (&ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(Tree::from(ours), theirs),
        (Ok(_), Err(error)) => assert!(beyond_oracle(xml), "we accept what rxml does not: {error}"),
        (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => assert!(stricter(*error), "rxml accepts what we do not: {error}"),
    }
    let stanza = Stanza::parse(xml, &limits, &context);
    if let Ok(element) = ours {
        frames_as_one(xml);
        survives_writing(&element);
        match stanza {
            Ok(stanza) => same_stanza(&stanza, &element),
            Err(StanzaParseError::Xml(error)) => panic!("an element but no stanza: {error}"),
            Err(StanzaParseError::NotAStanza | StanzaParseError::Refused(_)) => {}
        }
    } else {
        assert!(
            matches!(
                stanza,
                Err(StanzaParseError::Xml(_) | StanzaParseError::NotAStanza)
            ),
            "a stanza but no element: {ours:?}"
        );
    }
}

/// The framer cuts an element exactly where the scanner says it ends.
fn frames_as_one(xml: &[u8]) {
    let limits = Limits {
        stanza_bytes: usize::MAX,
        ..Limits::default()
    };
    let mut framer = Framer::new();
    let opened = framer.push(HEADER.as_bytes(), &limits);
    assert_eq!(opened, Ok(Frame::StreamOpen(HEADER.len())));
    let followed = [xml, b"<next/>"].concat();
    assert_eq!(
        framer.push(&followed, &limits),
        Ok(Frame::Element(xml.len()))
    );
}

fn survives_writing(element: &Element) {
    for default in [ns::CLIENT, "", "urn:other"] {
        let context = StreamContext::bare(default);
        // What was admitted may be longer when it is written: `>` becomes `&gt;`.
        let written = element.to_bytes(default);
        let again = Element::parse_in(&written, &Limits::NONE, &context);
        assert_eq!(
            again.as_ref(),
            Ok(element),
            "{}",
            String::from_utf8_lossy(&written)
        );
    }
}

/// The stanza says what the tree says, and goes on saying it when it is sent on.
fn same_stanza(stanza: &Stanza, element: &Element) {
    assert_eq!(stanza.kind.name(), element.name());
    let children: Vec<Element> = stanza.children().map(|c| c.to_element().unwrap()).collect();
    let mut expected: Vec<Element> = element.children().cloned().collect();
    if element.ns() != ns::CLIENT {
        // `jabber:server` content becomes client content, so only names can be compared.
        let names = |elements: &[Element]| {
            elements
                .iter()
                .map(|e| e.name().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&children), names(&expected));
        expected.clone_from(&children);
    }
    assert_eq!(children, expected);
    for (child, element) in stanza.children().zip(&expected) {
        assert_eq!(child.name, element.name());
        let mut escaped = Vec::new();
        posthaste_proto::xml::escape_attr(&mut escaped, element.ns());
        let unescaped = !child.ns.contains(['&', '>', '\'', '"']);
        assert!(
            !unescaped || child.ns.as_bytes() == escaped,
            "{} {}",
            child.ns,
            element.ns()
        );
    }
    let encoded = stanza.encode();
    let limits = Limits {
        stanza_bytes: usize::MAX,
        ..Limits::default()
    };
    let again = Stanza::parse(&encoded, &limits, &StreamContext::bare(ns::CLIENT));
    assert_eq!(
        again.as_ref().ok(),
        Some(stanza),
        "{}",
        String::from_utf8_lossy(&encoded)
    );
    let mut without = stanza.clone();
    without.remove_children(|child| child.ns.len() % 2 == 1);
    let kept: Vec<_> = stanza
        .children()
        .filter(|child| child.ns.len() % 2 == 0)
        .collect();
    assert_eq!(without.children().collect::<Vec<_>>(), kept);
}

/// Cuts a stream that comes in reads of the given lengths (the last one again and again), up to its first error.
pub(crate) fn cut(stream: &[u8], reads: &[usize]) -> (Vec<String>, Option<XmlError>) {
    let limits = Limits::default();
    let mut framer = Framer::new();
    let (mut from, mut seen) = (0, 0);
    let mut reads = reads
        .iter()
        .copied()
        .chain(std::iter::repeat(reads.last().copied().unwrap_or(1)));
    let mut told = Vec::new();
    loop {
        let unread = &stream[from..seen];
        let (what, length) = match framer.push(unread, &limits) {
            Err(error) => return (told, Some(error)),
            Ok(Frame::Incomplete) if seen == stream.len() => return (told, None),
            Ok(Frame::Incomplete) => {
                seen = stream.len().min(seen + reads.next().unwrap_or(1).max(1));
                continue;
            }
            // Where white space is cut depends on the reads, and does not matter.
            Ok(Frame::Whitespace(n)) => (None, n),
            Ok(Frame::StreamOpen(n)) => (
                Some(format!("{:?}", OpenTag::parse(&unread[..n], &limits))),
                n,
            ),
            Ok(Frame::Element(n)) => (Some(describe(&unread[..n])), n),
            Ok(Frame::StreamClose(n)) => {
                (Some(String::from_utf8_lossy(&unread[..n]).into_owned()), n)
            }
        };
        told.extend(what);
        from += length;
    }
}

fn describe(xml: &[u8]) -> String {
    let context = StreamContext::client();
    match Stanza::parse(xml, &Limits::default(), &context) {
        Err(StanzaParseError::NotAStanza) => {
            format!("{:?}", Element::parse_in(xml, &Limits::default(), &context))
        }
        other => format!("{other:?}"),
    }
}
