//! Better keys made by the client on its way in (XEP-0480).

use super::*;
use crate::sasl::Hash;

const WANTS: &str = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>";

/// A client logging in to an account that has no keys for SCRAM-SHA-512.
fn wire() -> Wire {
    let mut wire = Wire::secure();
    wire.upgrades = vec![Upgrade {
        hash: Hash::Sha512,
        salt: (*b"A_SXCRXQ6sek8bf_").into(),
        iterations: ITERATIONS,
    }];
    wire
}

fn next(task: &str) -> String {
    format!("<next xmlns='urn:xmpp:sasl:2' task='{task}'/>")
}

fn hash(salted: &[u8]) -> String {
    let salted = STANDARD.encode(salted);
    format!(
        "<task-data xmlns='urn:xmpp:sasl:2'>\
         <hash xmlns='urn:xmpp:scram-upgrade:0'>{salted}</hash></task-data>"
    )
}

/// §2.1.
#[test]
fn the_stronger_hashes_in_use_are_offered() {
    let mut wire = Wire::over(tls());
    assert_has(
        &wire.say(HEADER),
        &[
            "</inline><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
           <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade></authentication>",
        ],
    );
    let mut policy = policy();
    policy
        .mechanisms
        .retain(|mechanism| !mechanism.name().contains("512"));
    let mut wire = Wire::with(policy, tls());
    assert_lacks(&wire.say(HEADER), &["UPGR-SCRAM-SHA-512"]);
    let mut wire = Wire::over(Transport::default());
    assert_lacks(&wire.say(HEADER), &["UPGR-"]);
}

/// The example of §3, and §2.2 to §2.3.
#[test]
fn keys_are_upgraded_between_the_proof_and_success() {
    let mut wire = wire();
    let bind = "<bind xmlns='urn:xmpp:bind:0'/>";
    let said = wire.sasl2(&format!("{WANTS}{bind}"));
    assert_has(
        &said,
        &["<continue xmlns='urn:xmpp:sasl:2'><additional-data>"],
    );
    assert_has(
        &said,
        &["</additional-data><tasks><task>UPGR-SCRAM-SHA-512</task></tasks></continue>"],
    );
    assert_eq!(
        wire.say(&next("UPGR-SCRAM-SHA-512")),
        "<task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0' \
         iterations='4096'>QV9TWENSWFE2c2VrOGJmXw==</salt></task-data>"
    );
    let salted = Hash::Sha512.pbkdf2(b"secret", b"A_SXCRXQ6sek8bf_", ITERATIONS);
    let said = wire.say(&hash(salted.as_slice()));
    // What proves the server was said before.
    assert_has(
        &said,
        &[
            "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>romeo@a.example/any<",
            "[done]",
        ],
    );
    assert_eq!(wire.upgraded.len(), 1);
    assert!(wire.upgraded[0].is_password(&"secret".into()));
    assert_eq!(wire.upgraded[0].hash, Hash::Sha512);
}

#[test]
fn what_is_not_needed_or_not_wanted_is_not_asked_for() {
    let mut content = Wire::secure();
    assert_has(&content.sasl2(WANTS), &["<success "]);
    let mut wire = wire();
    assert_has(&wire.sasl2(""), &["<success "]);
    let unknown = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-BLOOP2</upgrade>";
    let mut wire = self::wire();
    assert_has(&wire.sasl2(unknown), &["<success "]);
    assert!(!wire.asked.contains(&"Upgrades".to_owned()));
}

/// A password shown in full is no reason to let the client choose keys: see the module.
#[test]
fn only_scram_leads_to_upgrades() {
    let mut wire = wire();
    let said = wire.say(&authenticate("PLAIN", b"\0romeo\0secret", WANTS));
    assert_has(&said, &["<success "]);
    assert!(!wire.asked.contains(&"Upgrades".to_owned()));
}

#[test]
fn a_client_that_does_otherwise_gets_no_session_and_stores_nothing() {
    let refused: [(&[&str], &str); 4] = [
        (&["<abort xmlns='urn:xmpp:sasl:2'/>"], "<aborted "),
        (&[&next("UPGR-SCRAM-SHA-1")], "<policy-violation "),
        (
            &[&next("UPGR-SCRAM-SHA-512"), &hash(b"short")],
            "<malformed-request ",
        ),
        (&["<presence/>"], "<policy-violation "),
    ];
    for (steps, condition) in refused {
        let mut wire = wire();
        wire.sasl2(WANTS);
        let said: Vec<String> = steps.iter().map(|step| wire.say(step)).collect();
        let last = said.last().unwrap();
        assert_has(last, &[condition]);
        assert!(wire.upgraded.is_empty() && wire.done.is_none());
    }
}
