//! From a log-in to a session: binding and resuming, step by step or inline.

use super::*;

#[test]
fn after_log_in_a_resource_is_bound() {
    let mut wire = Wire::secure();
    wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    let said = wire.say(HEADER);
    assert_has(
        &said,
        &[
            "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
             <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>\
             <sm xmlns='urn:xmpp:sm:3'/></stream:features>",
        ],
    );
    assert_lacks(&said, &["mechanism"]);
    let said = wire.say(
        "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <resource>orchard</resource></bind></iq>",
    );
    assert_eq!(
        said,
        "<iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <jid>romeo@a.example/orchard</jid></bind></iq>[done]"
    );
    let session = wire.done.unwrap();
    assert_eq!(session.jid.as_str(), "romeo@a.example/orchard");
    assert_eq!(
        (session.resumed, session.mechanism),
        (false, Mechanism::Plain)
    );
}

/// XEP-0478 §3.1, before and after log-in.
#[test]
fn the_limits_of_the_stream_are_announced() {
    let mut policy = policy();
    policy.limits.stanza_bytes = 10_000;
    policy.session_limits = SessionLimits {
        stanza_bytes: Some(250_000),
        idle_seconds: Some(300),
    };
    let mut wire = Wire::with(policy, tls());
    assert_has(
        &wire.say(HEADER),
        &[
            "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>\
           </stream:features>",
        ],
    );
    wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    assert_has(
        &wire.say(HEADER),
        &[
            "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>250000</max-bytes>\
           <idle-seconds>300</idle-seconds></limits></stream:features>",
        ],
    );
}

#[test]
fn a_resource_that_cannot_be_had_may_be_asked_for_again() {
    let mut wire = Wire::logged_in();
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let get = bind.replace("'set'", "'get'");
    assert_has(
        &wire.say(&get),
        &["<iq type='error' id='b'>", "<bad-request "],
    );
    wire.refuse_bind = true;
    assert_has(
        &wire.say(bind),
        &["<error type='wait'><resource-constraint "],
    );
    wire.refuse_bind = false;
    assert_has(&wire.say(bind), &["romeo@a.example/any", "[done]"]);
}

#[test]
fn a_former_session_is_resumed_instead() {
    let mut wire = Wire::logged_in();
    wire.resumable = Some("id-1");
    let said = wire.say("<resume xmlns='urn:xmpp:sm:3' h='3' previd='id-1'/>");
    assert_eq!(
        said,
        "<resumed xmlns='urn:xmpp:sm:3' h='5' previd='id-1'/>[done]"
    );
    let session = wire.done.unwrap();
    assert!(session.resumed);
    assert_eq!(session.jid.as_str(), "romeo@a.example/garden");
}

#[test]
fn a_session_that_is_gone_makes_way_for_a_new_one() {
    let mut wire = Wire::logged_in();
    let not_found = "<failed xmlns='urn:xmpp:sm:3'>\
        <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    let said = wire.say("<resume xmlns='urn:xmpp:sm:3' h='3' previd='gone'/>");
    assert_eq!(said, not_found);
    assert_has(
        &wire.say("<resume xmlns='urn:xmpp:sm:3' h='x'/>"),
        &["<bad-request "],
    );
    let said = wire.say("<enable xmlns='urn:xmpp:sm:3'/>");
    assert_has(
        &said,
        &["<failed xmlns='urn:xmpp:sm:3'><unexpected-request "],
    );
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    assert_has(&wire.say(bind), &["[done]"]);
}

#[test]
fn stream_management_before_log_in_fails_and_no_more() {
    let mut wire = Wire::secure();
    let said = wire.say("<enable xmlns='urn:xmpp:sm:3'/>");
    assert_has(
        &said,
        &["<failed xmlns='urn:xmpp:sm:3'><unexpected-request "],
    );
    assert_has(
        &wire.say(&auth("PLAIN", b"\0romeo\0secret")),
        &["<success "],
    );
}

#[test]
fn without_resumption_there_is_none() {
    let mut policy = policy();
    policy.resumption = false;
    let mut wire = Wire::with(policy, tls());
    wire.say(HEADER);
    wire.say(&auth("PLAIN", b"\0romeo\0secret"));
    wire.say(HEADER);
    let said = wire.say("<resume xmlns='urn:xmpp:sm:3' h='3' previd='id-1'/>");
    assert_has(&said, &["<feature-not-implemented "]);
    assert_eq!(wire.asked, ["Password"]);
}

#[test]
fn sasl2_needs_no_new_stream() {
    let mut wire = Wire::secure();
    let said = wire.sasl2("");
    assert_has(
        &said,
        &[
            "<success xmlns='urn:xmpp:sasl:2'><additional-data>",
            "<authorization-identifier>romeo@a.example</authorization-identifier></success>\
             <stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
        ],
    );
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    assert_has(&wire.say(bind), &["[done]"]);
}

#[test]
fn sasl2_after_success_is_an_error() {
    let mut wire = Wire::secure();
    wire.sasl2("");
    wire.say(&authenticate("PLAIN", b"\0romeo\0secret", ""));
    assert_eq!(wire.error, Some(StreamCondition::PolicyViolation));
}

#[test]
fn bind_2_makes_a_session_in_the_same_round_trip() {
    let mut wire = Wire::secure();
    let said = wire.sasl2(&format!(
        "<user-agent id='{UUID}'><software>AwesomeXMPP</software><device>Kiva's</device>\
         </user-agent><bind xmlns='urn:xmpp:bind:0'><tag>Awesome</tag>\
         <enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3' resume='true' max='60'/>\
         <inactive xmlns='urn:xmpp:csi:0'/></bind>"
    ));
    assert_has(
        &said,
        &[
            "<authorization-identifier>romeo@a.example/Awesome/1</authorization-identifier>\
             <bound xmlns='urn:xmpp:bind:0'>\
             <enabled xmlns='urn:xmpp:sm:3' id='sm-id' resume='true' max='60'/></bound></success>\
             <stream:features></stream:features>[done]",
        ],
    );
    let session = wire.done.unwrap();
    assert_eq!(session.user_agent.id, ClientId::parse(UUID));
    assert_eq!(session.user_agent.software.as_deref(), Some("AwesomeXMPP"));
    assert_eq!(session.user_agent.device.as_deref(), Some("Kiva's"));
}

#[test]
fn what_bind_2_asks_for_reaches_the_driver() {
    let mut wire = Wire::secure();
    let children = format!(
        "<user-agent id='{UUID}'/><bind xmlns='urn:xmpp:bind:0'>\
         <enable xmlns='urn:xmpp:carbons:2'/><inactive xmlns='urn:xmpp:csi:0'/></bind>"
    );
    let plain = authenticate("PLAIN", b"\0romeo\0secret", &children);
    wire.negotiation.element(plain.as_bytes());
    let step = wire.negotiation.answer(Answer::Verified(true));
    let Next::Ask(Ask::Bind(request)) = step.next else {
        panic!("{step:?}");
    };
    assert!(request.bind2 && request.carbons && !request.active && request.enable.is_none());
    assert_eq!(
        (request.resource, request.user_agent.id),
        (Wanted::Any, ClientId::parse(UUID))
    );
}

#[test]
fn a_resumed_session_is_not_bound_again() {
    let mut wire = Wire::secure();
    wire.resumable = Some("id-1");
    let said = wire.sasl2(
        "<resume xmlns='urn:xmpp:sm:3' h='3' previd='id-1'/><bind xmlns='urn:xmpp:bind:0'/>",
    );
    assert_has(
        &said,
        &[
            "<authorization-identifier>romeo@a.example/garden</authorization-identifier>\
             <resumed xmlns='urn:xmpp:sm:3' h='5' previd='id-1'/></success>[done]",
        ],
    );
    assert_eq!(wire.asked, ["Keys", "Resume"]);
    assert!(wire.done.unwrap().resumed);
}

#[test]
fn a_session_that_is_gone_is_bound_anew_in_the_same_round_trip() {
    let mut wire = Wire::secure();
    let said = wire.sasl2(
        "<resume xmlns='urn:xmpp:sm:3' h='3' previd='gone'/><bind xmlns='urn:xmpp:bind:0'/>",
    );
    assert_has(
        &said,
        &[
            "<failed xmlns='urn:xmpp:sm:3'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>\
             <bound xmlns='urn:xmpp:bind:0'/></success>",
            "[done]",
        ],
    );
    assert!(!wire.done.unwrap().resumed);
}

#[test]
fn without_a_session_to_be_had_the_log_in_fails_for_now() {
    let mut wire = Wire::secure();
    wire.refuse_bind = true;
    let said = wire.sasl2("<bind xmlns='urn:xmpp:bind:0'/>");
    assert_has(
        &said,
        &["<failure xmlns='urn:xmpp:sasl:2'>\
             <temporary-auth-failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"],
    );
    assert!(!wire.negotiation.is_authenticated());
}

#[test]
fn a_failed_log_in_makes_no_session() {
    let mut wire = Wire::secure();
    let children = "<bind xmlns='urn:xmpp:bind:0'/>";
    let said = wire.say(&authenticate("PLAIN", b"\0romeo\0wrong", children));
    assert_eq!(
        said,
        "<failure xmlns='urn:xmpp:sasl:2'>\
         <not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>"
    );
    assert_eq!(wire.asked, ["Password", "Failed"]);
}

#[test]
fn half_a_request_is_none() {
    for children in [
        "<user-agent id='not-a-uuid'/>",
        "<resume xmlns='urn:xmpp:sm:3' h='3'/>",
        "<resume xmlns='urn:xmpp:sm:3' previd='x' h='-3'/>",
        "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='maybe'/></bind>",
        "<fast xmlns='urn:xmpp:fast:0' count='x'/>",
        "<fast xmlns='urn:xmpp:fast:0' invalidate='x'/>",
    ] {
        let mut wire = Wire::secure();
        let said = wire.say(&authenticate("PLAIN", b"\0romeo\0secret", children));
        assert_has(&said, &["<malformed-request "]);
        assert!(wire.asked.is_empty(), "{children}");
    }
}

#[test]
fn the_header_and_the_log_in_must_name_the_same_account() {
    let mut wire = Wire::over(tls());
    wire.say(&HEADER.replace("to=", "from='juliet@a.example' to="));
    let said = wire.say(&authenticate(
        "PLAIN",
        b"romeo@a.example\0romeo\0secret",
        "",
    ));
    assert_has(&said, &["<invalid-authzid "]);
}

#[test]
fn a_sasl2_client_may_wait_to_be_asked_and_give_up() {
    let mut wire = Wire::secure();
    let said = wire.say("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>");
    assert_eq!(said, "<challenge xmlns='urn:xmpp:sasl:2'/>");
    let said = wire.say("<abort xmlns='urn:xmpp:sasl:2'><text>no</text></abort>");
    assert_has(&said, &["<failure xmlns='urn:xmpp:sasl:2'><aborted "]);
}
