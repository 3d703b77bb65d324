//! What ends a stream, and with which words. Nothing makes the negotiation panic.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn assert_ends(wire: &mut Wire, xml: &str, condition: StreamCondition) {
    let said = wire.say(xml);
    assert_has(
        &said,
        &[&format!(
            "<stream:error><{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
            condition.as_str()
        )],
    );
    assert!(said.ends_with("</stream:stream>[close]"), "{said}");
    assert_eq!(wire.error, Some(condition));
}

#[test]
fn a_header_is_checked() {
    use StreamCondition::*;
    let cases = [
        (HEADER.replace("a.example", "c.example"), HostUnknown),
        (HEADER.replace("a.example", "a..b"), HostUnknown),
        (HEADER.replace("a.example", "romeo@a.example"), HostUnknown),
        (HEADER.replace(" to='a.example'", ""), ImproperAddressing),
        (HEADER.replace(" version='1.0'", ""), UnsupportedVersion),
        (HEADER.replace("'1.0'", "'0.9'"), UnsupportedVersion),
        (HEADER.replace("'1.0'", "'one'"), UnsupportedVersion),
        (
            HEADER.replace("jabber:client", "jabber:server"),
            InvalidNamespace,
        ),
        (
            HEADER.replace(" xmlns='jabber:client'", ""),
            InvalidNamespace,
        ),
        (HEADER.replace("etherx", "aether"), InvalidNamespace),
        (
            HEADER.replace("to=", "from='romeo@b.example' to="),
            InvalidFrom,
        ),
        (HEADER.replace("to=", "from='@' to="), InvalidFrom),
        (HEADER.replace("to=", "to='x' to="), NotWellFormed),
        (
            HEADER.replace(" xmlns:stream='http://etherx.jabber.org/streams'", ""),
            BadNamespacePrefix,
        ),
    ];
    for (header, condition) in cases {
        let mut wire = Wire::over(tls());
        assert_ends(&mut wire, &header, condition);
    }
    let mut wire = Wire::over(tls());
    assert_has(
        &wire.say(&HEADER.replace("'1.0'", "'1.5'")),
        &["<stream:features>"],
    );
}

#[test]
fn an_error_before_the_header_stands_in_a_stream_all_the_same() {
    let mut wire = Wire::over(tls());
    let said = wire.say(&HEADER.replace("a.example", "c.example"));
    assert!(
        said.starts_with("<?xml version='1.0'?><stream:stream "),
        "{said}"
    );
    assert_has(&said, &["from='a.example'"]);
}

#[test]
fn nothing_but_logging_in_is_done_before_logging_in() {
    for xml in [
        "<message><body>hi</body></message>",
        "<presence/>",
        "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<x xmlns='urn:example'/>",
    ] {
        assert_ends(&mut Wire::secure(), xml, StreamCondition::NotAuthorized);
    }
}

#[test]
fn nothing_but_the_exchange_is_said_during_a_log_in() {
    for xml in [
        "<presence/>".to_owned(),
        auth("PLAIN", b"\0romeo\0secret"),
        "<response xmlns='urn:xmpp:sasl:2'/>".to_owned(),
    ] {
        let mut wire = Wire::secure();
        wire.say(&auth("SCRAM-SHA-1", b"n,,n=romeo,r=x"));
        assert_ends(&mut wire, &xml, StreamCondition::PolicyViolation);
    }
}

#[test]
fn no_stanzas_without_a_resource() {
    for xml in [
        "<message to='juliet@a.example'><body>hi</body></message>",
        "<presence/>",
        "<iq type='set' id='1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
    ] {
        assert_ends(&mut Wire::logged_in(), xml, StreamCondition::NotAuthorized);
    }
}

#[test]
fn nobody_logs_in_twice() {
    let again = auth("PLAIN", b"\0romeo\0secret");
    assert_ends(
        &mut Wire::logged_in(),
        &again,
        StreamCondition::PolicyViolation,
    );
}

#[test]
fn the_host_stays_what_it_was_at_log_in() {
    let mut wire = Wire::secure();
    wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    let other = HEADER.replace("a.example", "b.example");
    assert_ends(&mut wire, &other, StreamCondition::HostUnknown);
}

#[test]
fn so_many_elements_and_no_more() {
    let mut wire = Wire::secure();
    let iq = "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>";
    for _ in 0..40 {
        assert_has(&wire.say(iq), &["type='result'"]);
    }
    assert_ends(&mut wire, iq, StreamCondition::PolicyViolation);
}

#[test]
fn an_element_has_its_limits() {
    use StreamCondition::*;
    let long = format!("<auth xmlns='{}'>{}</auth>", ns::SASL, "A".repeat(17_000));
    let deep = format!("{}{}", "<a>".repeat(17), "</a>".repeat(17));
    let cases = [
        (long, PolicyViolation),
        (deep, PolicyViolation),
        ("<auth xmlns='x".to_owned(), NotWellFormed),
        ("<p:a/>".to_owned(), BadNamespacePrefix),
        ("<!-- x -->".to_owned(), RestrictedXml),
    ];
    for (xml, condition) in cases {
        assert_ends(&mut Wire::secure(), &xml, condition);
    }
}

#[test]
fn who_takes_too_long_is_told() {
    let mut wire = Wire::secure();
    let step = wire
        .negotiation
        .fail(StreamCondition::ConnectionTimeout.into());
    assert_has(&wire.follow(step), &["<connection-timeout "]);
}

#[test]
fn a_stream_in_a_stream_is_bad_format() {
    assert_ends(&mut Wire::secure(), HEADER, StreamCondition::BadFormat);
}

proptest! {
    #[test]
    fn whatever_comes_the_negotiation_answers(
        first: Vec<u8>,
        pieces in proptest::collection::vec(0usize..14, 0..12),
        noise in "[<>/='a-c&; ]{0,30}",
    ) {
        let plain = auth("PLAIN", b"\0romeo\0secret");
        let scram = auth("SCRAM-SHA-256", b"n,,n=romeo,r=x");
        let vocabulary: [&str; 14] = [
            HEADER, "</stream:stream>", &plain, &scram, &noise,
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AAAA</response>",
            "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'/>",
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>\
             AHJvbWVvAHNlY3JldA==</initial-response><bind xmlns='urn:xmpp:bind:0'/></authenticate>",
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            "<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/>",
            "<enable xmlns='urn:xmpp:sm:3'/>",
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'/></iq>",
            "<message/>",
        ];
        let mut wire = Wire::over(tls());
        let step = wire.negotiation.stream_open(&first);
        wire.follow(step);
        let mut wire = Wire::secure();
        for piece in pieces {
            wire.say(vocabulary[piece]);
            if wire.done.is_some() {
                break;
            }
        }
        prop_assert!(wire.closed || wire.error.is_none());
    }
}
