//! FAST: a token for next time, and logging in by it (XEP-0484).

use super::*;

fn agent() -> String {
    format!("<user-agent id='{UUID}'/>")
}

/// A client that holds a token of this mechanism.
fn wire(mechanism: &str) -> Wire {
    let mut wire = Wire::secure();
    let token = HtToken {
        text: "token",
        expired: false,
        due: false,
    };
    wire.token = Some((mechanism.to_owned(), token));
    wire
}

/// Logs in by «token».
fn use_token(wire: &mut Wire, mechanism: &str, binding: &[u8], children: &str) -> String {
    let message = ht::initiator_message("romeo", "token", binding);
    wire.say(&authenticate(mechanism, &message, children))
}

#[test]
fn a_client_that_has_logged_in_gets_a_token() {
    let mut wire = Wire::secure();
    let said = wire.sasl2(&format!(
        "{}<bind xmlns='urn:xmpp:bind:0'/>\
         <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>",
        agent()
    ));
    assert_has(
        &said,
        &[
            "<bound xmlns='urn:xmpp:bind:0'/><token xmlns='urn:xmpp:fast:0' \
             expiry='2030-01-01T00:00:00.000Z' token='new-token'/></success>",
        ],
    );
    assert_eq!(wire.asked, ["Keys", "Bind", "IssueToken"]);
}

#[test]
fn no_token_without_a_client_id_or_for_what_is_not_offered() {
    let request = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>";
    for children in [
        request.to_owned(),
        agent() + &request.replace("EXPR", "UNIQ"),
        agent() + &request.replace("HT-SHA-256-EXPR", "PLAIN"),
        agent() + "<request-token xmlns='urn:xmpp:fast:0'/>",
    ] {
        let mut wire = Wire::secure();
        let said = wire.sasl2(&children);
        assert_has(&said, &["<success "]);
        assert_lacks(&said, &["<token"]);
    }
}

#[test]
fn a_token_logs_in_within_one_round_trip() {
    for (mechanism, binding) in [
        ("HT-SHA-256-NONE", &[][..]),
        ("HT-SHA-256-EXPR", &[1; 32]),
        ("HT-SHA-256-ENDP", &[2; 32]),
    ] {
        let mut wire = wire(mechanism);
        let children =
            agent() + "<bind xmlns='urn:xmpp:bind:0'/><fast xmlns='urn:xmpp:fast:0' count='1'/>";
        let said = use_token(&mut wire, mechanism, binding, &children);
        let proof = STANDARD.encode(ht::responder("token", binding).as_slice());
        assert_has(
            &said,
            &[
                &format!("<additional-data>{proof}</additional-data>"),
                "[done]",
            ],
        );
        assert_lacks(&said, &["<token"]);
        assert_eq!(wire.asked, ["Token", "Bind"]);
    }
}

#[test]
fn a_token_that_is_due_is_replaced() {
    let mut due = wire("HT-SHA-256-NONE");
    due.token.as_mut().unwrap().1.due = true;
    let said = use_token(&mut due, "HT-SHA-256-NONE", &[], &agent());
    assert_has(&said, &["token='rotated-token'/></success>"]);
    // One that the client asks for takes its place, one that signs out gets none.
    let mut due = wire("HT-SHA-256-NONE");
    due.token.as_mut().unwrap().1.due = true;
    let request = agent() + "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>";
    let said = use_token(&mut due, "HT-SHA-256-NONE", &[], &request);
    assert_has(&said, &["token='new-token'/></success>"]);
    assert_lacks(&said, &["rotated"]);
    let mut due = wire("HT-SHA-256-NONE");
    due.token.as_mut().unwrap().1.due = true;
    let sign_out = agent() + "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>";
    let said = use_token(&mut due, "HT-SHA-256-NONE", &[], &sign_out);
    assert_has(&said, &["<success "]);
    assert_lacks(&said, &["<token"]);
}

#[test]
fn what_a_client_says_of_its_token_reaches_the_driver() {
    let mut wire = Wire::secure();
    let children = agent() + "<fast xmlns='urn:xmpp:fast:0' count='7' invalidate='1'/>";
    let message = ht::initiator_message("romeo", "token", &[1; 32]);
    let element = authenticate("HT-SHA-256-EXPR", &message, &children);
    let step = wire.negotiation.element(element.as_bytes());
    let Next::Ask(Ask::Token(proof)) = step.next else {
        panic!("{step:?}");
    };
    assert_eq!(proof.account.as_str(), "romeo@a.example");
    assert_eq!(
        (proof.count, proof.invalidate, proof.rotate),
        (Some(7), true, false)
    );
    assert_eq!(
        (proof.binding.as_slice(), proof.client.as_str()),
        (&[1; 32][..], UUID)
    );
}

#[test]
fn a_token_that_is_over_is_told_from_one_that_never_was() {
    let mut expired = wire("HT-SHA-256-NONE");
    expired.token.as_mut().unwrap().1.expired = true;
    let said = use_token(&mut expired, "HT-SHA-256-NONE", &[], &agent());
    assert_has(
        &said,
        &["<credentials-expired xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"],
    );
    assert_eq!(expired.asked, ["Token"], "which is no guess at a password");
    // A token bound to the channel is not taken without it, nor over another channel.
    for (mechanism, binding) in [("HT-SHA-256-NONE", &[][..]), ("HT-SHA-256-EXPR", &[9; 32])] {
        let mut wire = wire("HT-SHA-256-EXPR");
        let said = use_token(&mut wire, mechanism, binding, &agent());
        assert_has(
            &said,
            &["<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"],
        );
    }
    // And then the password still works.
    assert_has(&expired.sasl2(&agent()), &["<success "]);
}

#[test]
fn a_token_needs_its_client_and_sasl2() {
    let mut nameless = wire("HT-SHA-256-NONE");
    let said = use_token(&mut nameless, "HT-SHA-256-NONE", &[], "");
    assert_has(&said, &["<malformed-request "]);
    let mut sasl1 = wire("HT-SHA-256-NONE");
    let message = ht::initiator_message("romeo", "token", &[]);
    assert_has(
        &sasl1.say(&auth("HT-SHA-256-NONE", &message)),
        &["<invalid-mechanism/>"],
    );
    let mut off = policy();
    off.fast = false;
    let mut off = Wire::with(off, tls());
    off.say(HEADER);
    let said = use_token(&mut off, "HT-SHA-256-NONE", &[], &agent());
    assert_has(&said, &["<invalid-mechanism "]);
}
