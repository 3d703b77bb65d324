//! Logging in by each mechanism, and every way to fail.

use super::*;
use crate::sasl::{Condition as SaslCondition, Failure};

fn mechanism(name: &str) -> Mechanism {
    Mechanism::from_name(name).unwrap()
}

#[test]
fn mechanisms_and_channel_bindings_are_advertised_in_both_profiles() {
    let mut wire = Wire::over(tls());
    let said = wire.say(HEADER);
    let names = [
        "SCRAM-SHA-512-PLUS",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-512",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1",
        "PLAIN",
    ]
    .map(|name| format!("<mechanism>{name}</mechanism>"))
    .concat();
    assert_has(
        &said,
        &[
            &format!("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{names}</mechanisms>"),
            &format!("<authentication xmlns='urn:xmpp:sasl:2'>{names}<inline>"),
            "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>\
             <channel-binding type='tls-exporter'/><channel-binding type='tls-server-end-point'/>\
             </sasl-channel-binding>",
            "<bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:carbons:2'/>\
             <feature var='urn:xmpp:csi:0'/><feature var='urn:xmpp:sm:3'/></inline></bind>",
            "<sm xmlns='urn:xmpp:sm:3'/>",
            "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism>\
             <mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast>",
        ],
    );
}

#[test]
fn what_is_switched_off_is_not_offered() {
    let mut policy = policy();
    policy.mechanisms.retain(|m| *m != Mechanism::Plain);
    (policy.fast, policy.resumption) = (false, false);
    let mut wire = Wire::with(policy, tls());
    let said = wire.say(HEADER);
    assert_lacks(&said, &["PLAIN", "fast", "<sm "]);
    let said = wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    assert_has(&said, &["<invalid-mechanism/>"]);
}

#[test]
fn romeo_logs_in_by_every_scram() {
    for name in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut wire = Wire::secure();
        let said = wire.scram(mechanism(name), &Binding::Unsupported, "secret");
        assert_has(
            &said,
            &[
                "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>",
                "[restart]",
            ],
        );
        let mut wire = Wire::secure();
        let said = wire.scram(mechanism(&format!("{name}-PLUS")), &exporter(1), "secret");
        assert_has(&said, &["<success ", "[restart]"]);
        assert_eq!(wire.asked, ["Keys"]);
        assert!(wire.negotiation.is_authenticated());
    }
}

#[test]
fn a_wrong_password_is_told_after_the_accounts_have_heard_of_it() {
    let mut wire = Wire::secure();
    let said = wire.scram(mechanism("SCRAM-SHA-256"), &Binding::Unsupported, "wrong");
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    assert_eq!(said, failure);
    assert_eq!(wire.asked, ["Keys", "Failed"]);
    assert!(!wire.negotiation.is_authenticated());
    // And it may try again.
    let said = wire.scram(mechanism("SCRAM-SHA-256"), &Binding::Unsupported, "secret");
    assert_has(&said, &["<success "]);
}

#[test]
fn an_account_that_does_not_exist_looks_like_a_wrong_password() {
    let nobody = |name: &str| {
        let mut wire = Wire::secure();
        let challenge = wire.say(&auth(
            "SCRAM-SHA-256",
            format!("n,,n={name},r=x").as_bytes(),
        ));
        let first = String::from_utf8(data(&challenge)).unwrap();
        let nonce = between(&first, "r=", ",").to_owned();
        let proof = STANDARD.encode([0; 32]);
        let last = format!("c=biws,r={nonce},p={proof}");
        let said = wire.say(&response_element(last.as_bytes()));
        (first.len() - first.find(",i=").unwrap(), said, wire.asked)
    };
    assert_eq!(nobody("romeo"), nobody("tybalt"));
}

#[test]
fn a_man_in_the_middle_cannot_pass_the_log_in_on() {
    let mut wire = Wire::secure();
    let said = wire.scram(mechanism("SCRAM-SHA-256-PLUS"), &exporter(9), "secret");
    assert_has(&said, &["<not-authorized/>", "other channel"]);
}

#[test]
fn a_man_in_the_middle_cannot_hide_channel_binding() {
    let mut wire = Wire::secure();
    let said = wire.scram(mechanism("SCRAM-SHA-256"), &Binding::NotOffered, "secret");
    assert_has(&said, &["<not-authorized/>", "channel binding was offered"]);
    // Without TLS of ours there is none to hide.
    let mut wire = Wire::over(Transport {
        secure: true,
        ..Transport::default()
    });
    wire.say(HEADER);
    let challenge = wire.say(&auth("SCRAM-SHA-256", b"y,,n=romeo,r=x"));
    assert_has(&challenge, &["<challenge "]);
}

#[test]
fn a_man_in_the_middle_cannot_shorten_the_lists() {
    let mut wire = Wire::secure();
    let credentials = &mut Credentials::new("romeo", "secret".into());
    let seen = Advertised {
        mechanisms: vec!["SCRAM-SHA-1".to_owned()],
        channel_bindings: Vec::new(),
    };
    let (mechanism, binding) = (mechanism("SCRAM-SHA-1"), Binding::Unsupported);
    let (mut exchange, initial) =
        Exchange::start(mechanism, &binding, credentials, seen, "nonce").unwrap();
    let challenge = wire.say(&auth("SCRAM-SHA-1", &initial));
    let failure = exchange
        .challenge(&data(&challenge), credentials)
        .unwrap_err();
    assert_eq!(failure.reason, "downgrade: lists were changed");
}

#[test]
fn a_client_may_wait_to_be_asked() {
    let mut wire = Wire::secure();
    let said = wire.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>");
    assert_eq!(
        said,
        "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
    );
    let said = wire.say(&response_element(b"\0romeo\0secret"));
    assert_has(&said, &["<success "]);
    assert_eq!(wire.asked, ["Password"]);
}

#[test]
fn a_certificate_logs_in_without_a_password() {
    let certified = |jids: &[&str]| Transport {
        certified: jids
            .iter()
            .map(|jid| BareJid::parse(jid).unwrap())
            .collect(),
        ..tls()
    };
    let mut wire = Wire::over(certified(&["romeo@a.example"]));
    assert_has(&wire.say(HEADER), &["<mechanism>EXTERNAL</mechanism>"]);
    // An empty initial response is written as `=`.
    let said =
        wire.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    assert_has(&said, &["<success "]);
    let mut wire = Wire::over(certified(&["romeo@b.example"]));
    assert_lacks(&wire.say(HEADER), &["EXTERNAL"]);
    // A certificate for an account that is gone.
    let mut wire = Wire::over(certified(&["tybalt@a.example"]));
    wire.say(HEADER);
    assert_has(
        &wire.say(&auth("EXTERNAL", b"tybalt@a.example")),
        &["<not-authorized/>"],
    );
    assert_eq!(wire.asked, ["Certificate"]);
}

#[test]
fn every_failure_has_its_condition() {
    let auth_text = |mechanism: &str, text: &str| {
        format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{text}</auth>"
        )
    };
    let cases = [
        (auth("X-UNKNOWN", b""), "invalid-mechanism"),
        (auth("EXTERNAL", b""), "invalid-mechanism"),
        (auth("HT-SHA-256-NONE", b"romeo\0"), "invalid-mechanism"),
        (auth_text("PLAIN", "?!"), "incorrect-encoding"),
        (auth_text("PLAIN", "AAA"), "incorrect-encoding"),
        (auth("PLAIN", b"romeo"), "malformed-request"),
        (auth("SCRAM-SHA-1", b"n,,x=1"), "malformed-request"),
        (auth_text("PLAIN", &"A".repeat(12_000)), "malformed-request"),
        (auth("PLAIN", b"\0romeo\0wrong"), "not-authorized"),
        (auth("PLAIN", b"\0tybalt\0secret"), "not-authorized"),
        (auth("PLAIN", b"\0ro\"meo\0secret"), "not-authorized"),
        (
            auth("PLAIN", b"juliet@a.example\0romeo\0secret"),
            "invalid-authzid",
        ),
        (
            auth("PLAIN", b"romeo@b.example\0romeo\0secret"),
            "invalid-authzid",
        ),
    ];
    for (element, condition) in cases {
        let mut wire = Wire::secure();
        let said = wire.say(&element);
        assert_has(
            &said,
            &[&format!("<failure xmlns='{}'><{condition}/>", ns::SASL)],
        );
        assert_has(
            &wire.say(&auth("PLAIN", b"romeo@a.example\0romeo\0secret")),
            &["<success "],
        );
    }
}

#[test]
fn without_tls_nobody_logs_in() {
    let mut wire = Wire::over(Transport {
        starttls: true,
        ..Transport::default()
    });
    wire.say(HEADER);
    let said = wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    assert_has(&said, &["<encryption-required/>"]);
    assert!(wire.asked.is_empty());
}

#[test]
fn a_client_may_give_up() {
    let mut wire = Wire::secure();
    wire.say(&auth("SCRAM-SHA-1", b"n,,n=romeo,r=x"));
    let said = wire.say("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    assert_eq!(
        said,
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>"
    );
    assert_has(
        &wire.say(&auth("PLAIN", b"\0romeo\0secret")),
        &["<success "],
    );
}

#[test]
fn nobody_tries_for_ever() {
    let mut wire = Wire::secure();
    for _ in 0..4 {
        assert_has(
            &wire.say(&auth("PLAIN", b"\0romeo\0wrong")),
            &["<not-authorized/>"],
        );
        assert!(!wire.closed);
    }
    let said = wire.say(&auth("PLAIN", b"\0romeo\0wrong"));
    assert_has(
        &said,
        &[
            "<not-authorized/></failure><stream:error><policy-violation ",
            "</stream:stream>[close]",
        ],
    );
}

#[test]
fn the_accounts_may_refuse_for_now() {
    let mut wire = Wire::secure();
    let step = wire
        .negotiation
        .element(auth("PLAIN", b"\0romeo\0secret").as_bytes());
    assert!(matches!(step.next, Next::Ask(Ask::Password { .. })));
    let slow_down = Failure::new(SaslCondition::TemporaryAuthFailure, "later");
    let step = wire.negotiation.answer(Answer::Refused(slow_down));
    assert_has(&wire.follow(step), &["<temporary-auth-failure/>", "later"]);
}
