//! What a stream must not contain, and the stream error that each deserves (RFC 6120 §4.9.3, §11).
#![allow(clippy::unwrap_used, reason = "tests may")]

use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::stanza::{Stanza, StanzaParseError};
use posthaste_proto::xml::{Frame, Framer, Limits, OpenTag, StreamContext, XmlError};

const HEADER: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Reads a stream as a server does and returns the error that ends it.
fn stream_error(stream: &[u8], limits: &Limits) -> Option<StreamCondition> {
    read(stream, limits)
        .err()
        .map(|error| StreamError::from(error).condition)
}

fn read(stream: &[u8], limits: &Limits) -> Result<(), XmlError> {
    let mut framer = Framer::new();
    let mut context = StreamContext::client();
    let mut rest = stream;
    loop {
        let n = match framer.push(rest, limits)? {
            Frame::Incomplete | Frame::StreamClose(_) => return Ok(()),
            Frame::Whitespace(n) => n,
            Frame::StreamOpen(n) => {
                context = OpenTag::parse(&rest[..n], limits)?.context;
                n
            }
            Frame::Element(n) => {
                if let Err(StanzaParseError::Xml(error)) =
                    Stanza::parse(&rest[..n], limits, &context)
                {
                    return Err(error);
                }
                n
            }
        };
        rest = &rest[n..];
    }
}

fn element_error(element: &[u8]) -> Option<StreamCondition> {
    stream_error(&[HEADER.as_bytes(), element].concat(), &Limits::default())
}

#[test]
fn every_forbidden_construct_ends_the_stream_with_its_error() {
    use StreamCondition::{
        BadFormat, BadNamespacePrefix, NotWellFormed, RestrictedXml, UnsupportedEncoding,
    };
    let cases: &[(&str, &[u8], StreamCondition)] = &[
        ("a comment between stanzas", b"<!-- -->", RestrictedXml),
        (
            "a comment inside a stanza",
            b"<message><!-- --></message>",
            RestrictedXml,
        ),
        (
            "a processing instruction between stanzas",
            b"<?php ?>",
            RestrictedXml,
        ),
        (
            "a processing instruction inside a stanza",
            b"<message><?php ?></message>",
            RestrictedXml,
        ),
        (
            "an XML declaration inside the stream",
            b"<?xml version='1.0'?>",
            RestrictedXml,
        ),
        ("a document type", b"<!DOCTYPE lolz>", RestrictedXml),
        (
            "a document type inside a stanza",
            b"<message><!DOCTYPE lolz></message>",
            RestrictedXml,
        ),
        (
            "an entity reference",
            b"<message><body>&nbsp;</body></message>",
            RestrictedXml,
        ),
        (
            "an entity reference in an attribute",
            b"<message id='&lol;'/>",
            RestrictedXml,
        ),
        (
            "an undeclared element prefix",
            b"<message><x:a/></message>",
            BadNamespacePrefix,
        ),
        (
            "an undeclared attribute prefix",
            b"<message x:a='1'/>",
            BadNamespacePrefix,
        ),
        (
            "a prefix out of scope",
            b"<message><a xmlns:x='x'/><x:a/></message>",
            BadNamespacePrefix,
        ),
        ("text between stanzas", b"hello", BadFormat),
        ("CDATA between stanzas", b"<![CDATA[hello]]>", BadFormat),
        (
            "bytes that are not UTF-8",
            b"<message><body>\xFF</body></message>",
            UnsupportedEncoding,
        ),
        (
            "an overlong encoding",
            b"<message><body>\xC0\x80</body></message>",
            UnsupportedEncoding,
        ),
        (
            "an encoded surrogate",
            b"<message id='\xED\xA0\x80'/>",
            UnsupportedEncoding,
        ),
        (
            "a control character",
            b"<message><body>\x01</body></message>",
            NotWellFormed,
        ),
        (
            "a NUL in an attribute",
            b"<message id='\0'/>",
            NotWellFormed,
        ),
        (
            "U+FFFE in text",
            b"<message><body>\xEF\xBF\xBE</body></message>",
            NotWellFormed,
        ),
        (
            "U+FFFF in an attribute",
            b"<message id='\xEF\xBF\xBF'/>",
            NotWellFormed,
        ),
        (
            "a control character in CDATA",
            b"<message><![CDATA[\x02]]></message>",
            NotWellFormed,
        ),
        (
            "a reference to NUL",
            b"<message>&#0;</message>",
            NotWellFormed,
        ),
        (
            "a reference to U+FFFF",
            b"<message>&#xFFFF;</message>",
            NotWellFormed,
        ),
        (
            "a reference without an end",
            b"<message>&amp </message>",
            NotWellFormed,
        ),
        (
            "a lone ampersand",
            b"<message>a & b</message>",
            NotWellFormed,
        ),
        ("`]]>` in text", b"<message>a]]>b</message>", NotWellFormed),
        ("`<` in an attribute", b"<message id='<'/>", NotWellFormed),
        (
            "an attribute without quotes",
            b"<message id=1/>",
            NotWellFormed,
        ),
        (
            "an attribute without a value",
            b"<message id/>",
            NotWellFormed,
        ),
        (
            "no space between attributes",
            b"<message id='1'to='a'/>",
            NotWellFormed,
        ),
        (
            "a duplicate attribute",
            b"<message id='1' id='2'/>",
            NotWellFormed,
        ),
        (
            "a duplicate by expanded name",
            b"<message xmlns:a='u' xmlns:b='u' a:x='1' b:x='2'/>",
            NotWellFormed,
        ),
        (
            "a duplicate namespace",
            b"<message xmlns:a='u' xmlns:a='v'/>",
            NotWellFormed,
        ),
        (
            "a duplicate default namespace",
            b"<message xmlns='jabber:client' xmlns='jabber:client'/>",
            NotWellFormed,
        ),
        (
            "a prefix undeclared",
            b"<message xmlns:a=''/>",
            NotWellFormed,
        ),
        (
            "the prefix xmlns declared",
            b"<message xmlns:xmlns='a'/>",
            NotWellFormed,
        ),
        (
            "the prefix xml bound elsewhere",
            b"<message xmlns:xml='a'/>",
            NotWellFormed,
        ),
        (
            "another prefix for xml",
            b"<message xmlns:a='http://www.w3.org/XML/1998/namespace'/>",
            NotWellFormed,
        ),
        (
            "tags that do not match",
            b"<message><a></b></message>",
            NotWellFormed,
        ),
        (
            "tags that match only by namespace",
            b"<message xmlns:a='u' xmlns:b='u'><a:x></b:x></message>",
            NotWellFormed,
        ),
        (
            "an end tag with an attribute",
            b"<message></message a='1'>",
            NotWellFormed,
        ),
        (
            "a name that starts with a digit",
            b"<message><1a/></message>",
            NotWellFormed,
        ),
        (
            "a name that starts with a combining mark",
            "<message><\u{300}a/></message>".as_bytes(),
            NotWellFormed,
        ),
        (
            "a name with a multiplication sign",
            "<message><a×b/></message>".as_bytes(),
            NotWellFormed,
        ),
        (
            "a name with two colons",
            b"<message xmlns:a='u'><a:b:c/></message>",
            NotWellFormed,
        ),
        (
            "a name that ends in a colon",
            b"<message xmlns:a='u'><a:/></message>",
            NotWellFormed,
        ),
        ("an empty name", b"<message>< /></message>", NotWellFormed),
        ("a slash inside a tag", b"<message / >", NotWellFormed),
        ("a tag inside a tag", b"<message <body/>>", NotWellFormed),
        (
            "markup that is nothing",
            b"<message><!ELEMENT a></message>",
            NotWellFormed,
        ),
    ];
    for (what, xml, condition) in cases {
        assert_eq!(element_error(xml), Some(*condition), "{what}");
    }
}

#[test]
fn a_bad_start_of_a_stream_ends_it_with_its_error() {
    use StreamCondition::{BadFormat, NotWellFormed, RestrictedXml, UnsupportedEncoding};
    let cases: &[(&str, StreamCondition)] = &[
        ("<?xml version='1.1'?>", NotWellFormed),
        ("<?xml encoding='UTF-8'?>", NotWellFormed),
        ("<?xml version='1.0' standalone='maybe'?>", NotWellFormed),
        (
            "<?xml version='1.0' encoding='ISO-8859-1'?>",
            UnsupportedEncoding,
        ),
        ("<?xml version='1.0'?><?xml version='1.0'?>", RestrictedXml),
        ("<?xml version='1.0'?><!DOCTYPE a>", RestrictedXml),
        ("<?xml-stylesheet href='a'?>", RestrictedXml),
        ("<!-- -->", RestrictedXml),
        ("hello", BadFormat),
        ("</stream:stream>", NotWellFormed),
    ];
    for (start, condition) in cases {
        let stream = format!("{start}{HEADER}");
        let error = stream_error(stream.as_bytes(), &Limits::default());
        assert_eq!(error, Some(*condition), "{start}");
    }
    let whole = |xml: &[u8]| stream_error(xml, &Limits::default());
    assert_eq!(whole(b"<stream:stream/>"), Some(BadFormat));
    assert_eq!(whole(b"\xFF\xFE<\0s\0"), Some(UnsupportedEncoding));
    assert_eq!(whole(b"\0<\0s\0"), Some(UnsupportedEncoding));
    for good in [
        "<?xml version='1.0'?>\r\n",
        "<?xml version = \"1.0\" encoding='utf-8' standalone=\"yes\" ?>",
        " ",
    ] {
        assert_eq!(whole(format!("{good}{HEADER}").as_bytes()), None, "{good}");
    }
}

#[test]
fn every_limit_ends_the_stream_with_a_policy_violation() {
    let limits = Limits {
        stanza_bytes: 2000,
        depth: 5,
        attributes: 4,
        children: 3,
        ..Limits::default()
    };
    let error = |element: &str| stream_error(format!("{HEADER}{element}").as_bytes(), &limits);
    let violation = Some(StreamCondition::PolicyViolation);

    let sized = |bytes: usize| {
        format!(
            "<message id='{}'/>",
            "x".repeat(bytes - "<message id=''/>".len())
        )
    };
    assert_eq!(error(&sized(2000)), None);
    assert_eq!(error(&sized(2001)), violation);
    assert_eq!(error(&sized(2001)[..2001]), violation, "before it ends");
    assert_eq!(error(&format!("<message{}/>", " ".repeat(3000))), violation);

    let deep = |depth: usize| {
        format!(
            "<message>{}{}</message>",
            "<a>".repeat(depth - 1),
            "</a>".repeat(depth - 1)
        )
    };
    assert_eq!(error(&deep(5)), None);
    assert_eq!(error(&deep(6)), violation);
    assert_eq!(
        error("<message><a><a><a><a><a/></a></a></a></a></message>"),
        violation
    );

    let attributes = |n: usize| (0..n).map(|i| format!(" a{i}=''")).collect::<String>();
    assert_eq!(error(&format!("<message{}/>", attributes(4))), None);
    assert_eq!(error(&format!("<message{}/>", attributes(5))), violation);

    assert_eq!(
        error(&format!("<message>{}</message>", "<a/>".repeat(3))),
        None
    );
    assert_eq!(
        error(&format!("<message>{}</message>", "<a/>".repeat(4))),
        violation
    );
    assert_eq!(
        error(&format!("<message><a>{}</a></message>", "<a/>".repeat(4))),
        violation
    );

    let error = element_error;
    let name = |bytes: usize| format!("<message><{}/></message>", "n".repeat(bytes));
    assert_eq!(error(name(1024).as_bytes()), None);
    assert_eq!(error(name(1025).as_bytes()), violation);
    let namespace = |bytes: usize| format!("<message><a xmlns='{}'/></message>", "n".repeat(bytes));
    assert_eq!(error(namespace(512).as_bytes()), None);
    assert_eq!(error(namespace(513).as_bytes()), violation);
    let many = |elements: usize| {
        format!(
            "<message>{}</message>",
            format!("<a>{}</a>", "<b/>".repeat(1023)).repeat(elements / 1024)
        )
    };
    assert_eq!(error(many(15 * 1024).as_bytes()), None);
    assert_eq!(error(many(16 * 1024).as_bytes()), violation);
    let header = |bytes: usize| {
        let lang = "l".repeat(bytes);
        let tag = HEADER.replace('>', &format!(" xml:lang='{lang}'>"));
        stream_error(tag.as_bytes(), &Limits::default())
    };
    assert_eq!(header(1024), None);
    assert_eq!(header(1025), violation);
    let nested: String = (0..40)
        .map(|i| format!("<a xmlns:p{i}='u' xmlns:q{i}='u'>"))
        .collect();
    assert_eq!(
        error(format!("<message>{nested}{}</message>", "</a>".repeat(40)).as_bytes()),
        violation
    );
}

#[test]
fn an_element_that_comes_byte_by_byte_is_looked_at_once() {
    // A quadratic framer would need minutes for this.
    let limits = Limits {
        stanza_bytes: 1 << 21,
        ..Limits::default()
    };
    for filler in [
        "<a/>",
        "text ",
        "<![CDATA[]]]]>",
        "&amp;",
        "<a b='c'>d</a >",
    ] {
        let xml = format!(
            "<message>{}</message>",
            filler.repeat((1 << 20) / filler.len())
        );
        let mut framer = Framer::new();
        framer.push(HEADER.as_bytes(), &limits).unwrap();
        for end in 0..xml.len() {
            assert_eq!(
                framer.push(&xml.as_bytes()[..end], &limits),
                Ok(Frame::Incomplete)
            );
        }
        assert_eq!(
            framer.push(xml.as_bytes(), &limits),
            Ok(Frame::Element(xml.len()))
        );
    }
}

#[test]
fn a_framer_is_a_few_bytes() {
    assert!(size_of::<Framer>() <= 16);
    assert!(size_of::<StreamContext>() <= 64);
    assert!(size_of::<Stanza>() <= 240, "{}", size_of::<Stanza>());
}
