//! Streams, STARTTLS and WebSocket.

use super::*;

#[test]
fn without_tls_there_is_nothing_but_starttls() {
    let mut wire = Wire::over(Transport {
        starttls: true,
        ..Transport::default()
    });
    let said = wire.say(HEADER);
    assert_has(
        &said,
        &[
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' id='",
            "from='a.example' version='1.0' xml:lang='en'>",
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/>\
             </starttls><limits ",
        ],
    );
    let said = wire.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert_eq!(
        said,
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>[tls]"
    );
    wire.negotiation.secured(tls());
    let said = wire.say(HEADER);
    assert_has(
        &said,
        &[
            "<mechanism>SCRAM-SHA-256-PLUS</mechanism>",
            "<stream:stream ",
        ],
    );
    assert_lacks(&said, &["starttls"]);
}

#[test]
fn what_was_said_before_tls_is_forgotten() {
    let mut wire = Wire::over(Transport {
        starttls: true,
        ..Transport::default()
    });
    wire.say(&HEADER.replace("to='a", "from='romeo@a.example' to='a"));
    wire.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    wire.negotiation.secured(tls());
    assert_eq!(wire.negotiation.host(), None);
    let said = wire.say(&HEADER.replace("a.example", "b.example"));
    assert_has(&said, &["from='b.example'"]);
    assert_lacks(&said, &["romeo"]);
}

#[test]
fn starttls_where_there_is_none_ends_the_stream() {
    let mut wire = Wire::secure();
    let said = wire.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>[close]";
    assert_eq!(said, failure);
}

#[test]
fn the_client_is_answered_as_whom_it_says_it_is() {
    let mut wire = Wire::over(tls());
    let said = wire.say(&HEADER.replace("to='a", "from='romeo@a.example/x' to='a"));
    assert_has(&said, &["to='romeo@a.example'"]);
}

#[test]
fn every_stream_has_an_id_of_its_own() {
    let mut wire = Wire::secure();
    let first = wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    assert_has(&first, &["[restart]"]);
    let mut other = Wire::over(tls());
    let (one, two) = (other.say(HEADER), wire.say(HEADER));
    assert_ne!(between(&one, " id='", "'"), between(&two, " id='", "'"));
}

#[test]
fn a_stream_that_is_closed_is_closed_from_both_sides() {
    let mut wire = Wire::secure();
    assert_eq!(wire.say("</stream:stream>"), "</stream:stream>[close]");
    assert_eq!(
        wire.say("<presence/>"),
        "[close]",
        "and nothing is heard after it"
    );
}

fn web_socket() -> Wire {
    Wire::over(Transport {
        websocket: true,
        secure: true,
        ..Transport::default()
    })
}

const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a.example' \
    version='1.0' xml:lang='de'/>";

#[test]
fn over_web_socket_every_element_stands_alone() {
    let mut wire = web_socket();
    let step = wire.negotiation.element(OPEN.as_bytes());
    let messages: Vec<String> = step
        .send
        .into_iter()
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .collect();
    let [open, features] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_has(
        open,
        &[
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='",
            "'/>",
        ],
    );
    assert_has(
        features,
        &[
            "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>",
            "<mechanism>SCRAM-SHA-256</mechanism>",
        ],
    );
    assert_lacks(features, &["starttls", "PLUS"]);
    let said = wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    assert_eq!(
        said,
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>[restart]"
    );
    let said = wire.say(OPEN);
    assert_has(
        &said,
        &["<open ", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"],
    );
    let said = wire.say(
        "<iq xmlns='jabber:client' type='set' id='b'>\
         <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    );
    assert_has(
        &said,
        &["<iq xmlns='jabber:client' type='result' id='b'>", "[done]"],
    );
    let context = wire.done.unwrap().context;
    assert_eq!(
        (context.default_ns.as_ref(), context.lang.as_deref()),
        ("", Some("de"))
    );
}

#[test]
fn a_web_socket_opens_and_closes_its_stream() {
    let mut wire = web_socket();
    let said = wire.say("<presence xmlns='jabber:client'/>");
    let error = "<stream:error xmlns:stream='http://etherx.jabber.org/streams'>\
        <bad-format xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
        <close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>[close]";
    assert_has(&said, &["<open ", error]);
    let mut wire = web_socket();
    wire.say(OPEN);
    let said = wire.say("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
    assert_eq!(
        said,
        "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>[close]"
    );
    let mut wire = web_socket();
    wire.say(OPEN);
    wire.say(OPEN);
    assert_eq!(
        wire.error,
        Some(StreamCondition::BadFormat),
        "a second <open/>"
    );
}
