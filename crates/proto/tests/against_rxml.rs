//! Our parser against rxml: on hand-made cases, on generated XML, and on XML damaged at random.
#![allow(clippy::unwrap_used, reason = "tests may")]

use oracle::{HEADER, compare, cut};
use posthaste_proto::xml::{Element, Limits, StreamContext};
use proptest::prelude::*;

mod oracle;

/// Ordinary things and hard ones, as seeds for damage.
const SAMPLES: &[&str] = &[
    "<message to='romeo@example.net/orchard' from='juliet@example.com' id='ab&amp;12' type='chat' xml:lang='en'>\
     <body>Wherefore art thou, &#x52;omeo? 🦀 ]] &gt;</body><request xmlns='urn:xmpp:receipts'/>\
     <origin-id xmlns='urn:xmpp:sid:0' id='1'/></message>",
    "<iq type=\"set\" id='1'>\n<query xmlns='jabber:iq:roster'><item jid='a@b' name='é&apos;'><group/></item></query></iq >",
    "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>",
    "<message xmlns='jabber:client' xmlns:a='urn:a' a:b='1'><a:c xmlns:a=\"urn:b\" a:d='2' d='3'><![CDATA[<x>]]&]]>]]&gt;</a:c><b xmlns=''><c/></b></message>",
    "<x:iq xmlns:x='jabber:client' type='get' id='é'><x:y/>\r\n<y xmlns='&#117;rn:x'/><stream:z/></x:iq>",
    "<message><é:ü xmlns:é='urn:ü' é:a='\t\r\n &#9;&#10;&#13;'>\r\r\n</é:ü></message>",
];

/// What damage inserts.
const TOKENS: &[&str] = &[
    "<",
    ">",
    "/",
    "'",
    "\"",
    "=",
    " ",
    "&",
    ";",
    "]",
    "]]>",
    "<![CDATA[",
    "<!--",
    "-->",
    "<?x?>",
    "<!DOCTYPE a>",
    "xmlns",
    "xmlns:a",
    ":",
    "xml:",
    "&amp;",
    "&lt;",
    "&#0;",
    "&#x41;",
    "&nbsp;",
    "&#xFFFF;",
    "\0",
    "\u{1}",
    "\u{FFFE}",
    "\u{FFFF}",
    "\r",
    "\n",
    "\t",
    "a",
    "1",
    "-",
    "é",
    "\u{B7}",
    "\u{300}",
    "\u{10000}",
    "\u{EFFFF}",
    "\u{F0000}",
    "<a>",
    "</a>",
    "<a/>",
    " a='1'",
    " a:b=\"\"",
    " xmlns=''",
    " xmlns:a=''",
    " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
    " xmlns:a='http://www.w3.org/XML/1998/namespace'",
    " xmlns='http://www.w3.org/2000/xmlns/'",
    " xmlns='jabber:server'",
    "</message>",
    "\u{2028}",
    "\u{85}",
    "\u{7F}",
    "xmlns:xmlns='a'",
    "<xmlns:a/>",
    "<xml:a/>",
];

/// Bytes that a failure shows as text.
#[derive(Clone)]
struct Xml(Vec<u8>);

impl std::fmt::Debug for Xml {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

fn damaged() -> impl Strategy<Value = Xml> {
    let edit = (
        any::<prop::sample::Index>(),
        0..4u8,
        prop::sample::select(TOKENS),
        any::<u8>(),
    );
    (
        prop::sample::select(SAMPLES),
        prop::collection::vec(edit, 0..5),
    )
        .prop_map(|(sample, edits)| {
            let mut xml = sample.as_bytes().to_vec();
            for (index, kind, token, byte) in edits {
                let at = index.index(xml.len() + 1);
                match kind {
                    0 => drop(xml.splice(at..at, token.bytes())),
                    1 => drop(xml.splice(at..xml.len().min(at + token.len()), token.bytes())),
                    2 => drop(xml.drain(at..xml.len().min(at + usize::from(byte) % 8))),
                    _ => {
                        if let Some(b) = xml.get_mut(at) {
                            *b = byte;
                        }
                    }
                }
            }
            Xml(xml)
        })
}

/// XML that is mostly well-formed, with namespaces at all levels.
fn generated() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "a", "b", "p:a", "q:b", "xml:c", "é", "_1-.", "stream:d", "body",
    ]);
    let attr = prop::sample::select(vec![
        "",
        " x='1'",
        " p:x='&lt;'",
        " q:x=\"'\"",
        " xml:lang='en'",
        " xmlns='urn:d'",
        " xmlns='jabber:client'",
        " xmlns=''",
        " xmlns:p='urn:p'",
        " xmlns:q='urn:p'",
        " xmlns:p='jabber:client'",
        " y='&#13;\n'",
        "\nz = \"&quot;\" ",
    ]);
    let text = prop::sample::select(vec![
        "",
        "t",
        "&amp;",
        "<![CDATA[&]]>",
        "\r\n",
        "🦀",
        "]]",
        "&#x10FFFF;",
    ]);
    let tag = (
        name,
        prop::collection::vec(attr, 0..4).prop_map(|a| a.concat()),
    );
    let leaf = (tag.clone(), text.clone()).prop_map(|((name, attrs), text)| match text {
        "" => format!("<{name}{attrs}/>"),
        text => format!("<{name}{attrs}>{text}</{name}>"),
    });
    let inner = leaf.prop_recursive(4, 24, 4, move |inner| {
        (
            tag.clone(),
            prop::collection::vec((text.clone(), inner), 0..4),
        )
            .prop_map(|((name, attrs), nodes)| {
                let nodes: String = nodes
                    .into_iter()
                    .map(|(text, node)| format!("{text}{node}"))
                    .collect();
                format!("<{name}{attrs}>{nodes}</{name}>")
            })
    });
    let root = prop::sample::select(vec![
        "message",
        "presence",
        "message xmlns:p='urn:p'",
        "message xmlns:q='urn:q' xmlns:p='urn:p'",
        "message xmlns='jabber:server'",
        "message xml:lang='de' xmlns:p='jabber:client'",
        "message id='1' to='a@b' to2='c'",
    ]);
    (root, prop::collection::vec(inner, 0..4)).prop_map(|(root, nodes)| {
        let name = root.split(' ').next().unwrap_or(root);
        format!("<{root}>{}</{name}>", nodes.concat())
    })
}

#[test]
fn a_namespace_is_measured_as_it_is_meant() {
    // Between our double quotes each of these takes six bytes, and it must be read again.
    let name = "\"".repeat(512);
    compare(format!("<message><a xmlns='{name}'/></message>").as_bytes());
    let longer = format!("<message><a xmlns='{name}x'/></message>");
    assert!(
        Element::parse_in(
            longer.as_bytes(),
            &Limits::default(),
            &StreamContext::client()
        )
        .is_err()
    );
}

#[test]
fn the_samples_mean_the_same_to_both() {
    for sample in SAMPLES {
        compare(sample.as_bytes());
        assert!(
            oracle::element_in_stream(sample.as_bytes()).is_ok(),
            "{sample}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_xml_is_accepted_by_both_or_by_neither(xml in damaged()) {
        compare(&xml.0);
    }

    #[test]
    fn generated_xml_means_the_same_to_both(xml in generated()) {
        compare(xml.as_bytes());
    }
}

proptest! {
    #[test]
    fn any_split_into_reads_gives_the_same_stanzas(
        elements in prop::collection::vec(prop_oneof![damaged(), generated().prop_map(|xml| Xml(xml.into_bytes()))], 0..4),
        reads in prop::collection::vec(1usize..40, 1..20),
    ) {
        let elements: Vec<u8> = elements.into_iter().flat_map(|xml| xml.0).collect();
        let stream = [HEADER.as_bytes(), &elements, b" \n</stream:stream>"].concat();
        let whole = cut(&stream, &[stream.len()]);
        prop_assert_eq!(&cut(&stream, &reads), &whole);
        prop_assert_eq!(&cut(&stream, &[1]), &whole);
    }
}
