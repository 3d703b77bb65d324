//! Making an account before logging in (XEP-0077).

use super::*;

fn set(fields: &str) -> String {
    format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'>{fields}</query></iq>")
}

const JULIET: &str = "<username>juliet</username><password>R0m30</password>";

#[test]
fn a_stranger_makes_an_account() {
    let mut wire = Wire::over(tls());
    let said = wire.say(HEADER);
    assert_has(
        &said,
        &["<register xmlns='http://jabber.org/features/iq-register'/>"],
    );
    let said = wire.say("<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>");
    assert_has(
        &said,
        &[
            "<iq type='result' id='r'>",
            "<instructions>",
            "<username/><password/></query></iq>",
        ],
    );
    assert_eq!(wire.say(&set(JULIET)), "<iq type='result' id='r'/>");
    assert_eq!(wire.registered["juliet@a.example"].expose(), "R0m30");
    // The password does not come back with the error.
    let said = wire.say(&set(JULIET));
    assert_eq!(
        said,
        "<iq type='error' id='r'><error type='cancel'>\
         <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
}

#[test]
fn a_registration_must_be_whole() {
    let cases = [
        ("<username>juliet</username>", "not-acceptable"),
        ("<username>juliet</username><password/>", "not-acceptable"),
        ("<password>x</password>", "not-acceptable"),
        (
            "<username>ju liet</username><password>x</password>",
            "jid-malformed",
        ),
        ("<remove/>", "unexpected-request"),
    ];
    for (fields, condition) in cases {
        let mut wire = Wire::secure();
        assert_has(
            &wire.say(&set(fields)),
            &["type='error'", &format!("<{condition} ")],
        );
        assert!(wire.asked.is_empty());
    }
    let mut wire = Wire::secure();
    let result = set(JULIET).replace("'set'", "'result'");
    assert_has(&wire.say(&result), &["<bad-request "]);
}

#[test]
fn where_strangers_are_not_wanted_they_are_not_served() {
    let mut wire = Wire::over(tls());
    let said = wire.say(&HEADER.replace("a.example", "b.example"));
    assert_lacks(&said, &["register"]);
    wire.say(&set(JULIET));
    assert_eq!(wire.error, Some(StreamCondition::NotAuthorized));
    // Nor without TLS: a password would be shown.
    let mut wire = Wire::over(Transport {
        starttls: true,
        ..Transport::default()
    });
    assert_lacks(&wire.say(HEADER), &["register"]);
    wire.say(&set(JULIET));
    assert_eq!(wire.error, Some(StreamCondition::NotAuthorized));
}
