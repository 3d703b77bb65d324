//! Addresses: the tables of RFC 7622 §3.5, what normalisation does, and that it is done once for all.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::collections::HashMap;

use posthaste_proto::jid::{BareJid, FullJid, Jid, JidError};
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use precis_profiles::{OpaqueString, UsernameCaseMapped};
use proptest::prelude::*;

#[test]
fn the_addresses_of_rfc_7622_table_1_are_valid() {
    let cases = [
        ("juliet@example.com", Some("juliet"), "example.com", None),
        (
            "juliet@example.com/foo",
            Some("juliet"),
            "example.com",
            Some("foo"),
        ),
        (
            "juliet@example.com/foo bar",
            Some("juliet"),
            "example.com",
            Some("foo bar"),
        ),
        (
            "juliet@example.com/foo@bar",
            Some("juliet"),
            "example.com",
            Some("foo@bar"),
        ),
        (
            "foo\\20bar@example.com",
            Some("foo\\20bar"),
            "example.com",
            None,
        ),
        (
            "fussball@example.com",
            Some("fussball"),
            "example.com",
            None,
        ),
        ("fußball@example.com", Some("fußball"), "example.com", None),
        ("π@example.com", Some("π"), "example.com", None),
        ("Σ@example.com/foo", Some("σ"), "example.com", Some("foo")),
        ("σ@example.com/foo", Some("σ"), "example.com", Some("foo")),
        ("ς@example.com/foo", Some("ς"), "example.com", Some("foo")),
        ("king@example.com/♚", Some("king"), "example.com", Some("♚")),
        ("example.com", None, "example.com", None),
        ("example.com/foobar", None, "example.com", Some("foobar")),
        (
            "a.example.com/b@example.net",
            None,
            "a.example.com",
            Some("b@example.net"),
        ),
    ];
    for (text, local, domain, resource) in cases {
        let jid = Jid::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (jid.local(), jid.domain(), jid.resource()),
            (local, domain, resource),
            "{text}"
        );
    }
}

#[test]
fn the_addresses_of_rfc_7622_table_2_are_refused() {
    use JidError::{Domain, Local, Resource};
    let cases = [
        ("\"juliet\"@example.com", Local),
        ("foo bar@example.com", Local),
        ("juliet@example.com/ foo", Resource),
        ("@example.com/", Local),
        ("henry\u{2163}@example.com", Local),
        ("♚@example.com", Local),
        ("juliet@", Domain),
        ("/foobar", Domain),
    ];
    for (text, error) in cases {
        assert_eq!(Jid::parse(text), Err(error), "{text}");
    }
}

#[test]
fn what_is_written_differently_is_one_address() {
    let cases = [
        ("Juliet@Example.COM/Balcony", "juliet@example.com/Balcony"),
        ("juliet@example.com.", "juliet@example.com"),
        ("ÄNNE@example.com", "änne@example.com"),
        ("a\u{308}nne@example.com", "änne@example.com"),
        // Full-width letters are mapped to their ordinary forms in localparts (RFC 8265 §3.3).
        ("ｊｕｌｉｅｔ@example.com", "juliet@example.com"),
        ("a@example.com/no\u{A0}break", "a@example.com/no break"),
        ("a@example.com/a\u{308}", "a@example.com/ä"),
        ("a@example.com/l\u{387}l", "a@example.com/l·l"),
        ("a@BÜCHER.example", "a@bücher.example"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("a@XN--BCHER-KVA.example", "a@bücher.example"),
        ("a@bücher。example", "a@bücher.example"),
        ("a@127.0.0.1/b", "a@127.0.0.1/b"),
        ("a@[::1]", "a@[::1]"),
        ("a@[2001:DB8:0:0::1]/b", "a@[2001:db8::1]/b"),
        ("a@localhost", "a@localhost"),
    ];
    for (text, normalised) in cases {
        assert_eq!(
            Jid::parse(text).map(|jid| jid.to_string()),
            Ok(normalised.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_address_is_refused() {
    use JidError::{Domain, Local, Resource};
    for local in [
        "a b",
        "a\tb",
        "a:b",
        "a<b",
        "a'b",
        "a&b",
        "a\u{200B}b",
        "a\u{0}b",
        "\u{AD}",
        "א1a",
    ] {
        assert_eq!(Jid::parse(&format!("{local}@b")), Err(Local), "{local:?}");
    }
    assert_eq!(Jid::parse("@b"), Err(Local));
    for domain in [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "a_b",
        "a b",
        "b@c",
        "1.2.3",
        "1.2.3.999",
        "[::1",
        "[]",
        "[1.2.3.4]",
        "[::1]x",
        "xn--a",
        "xn--",
        "ü-.example",
        "a\u{0}",
        "a!b",
        "ü_.example",
        "example.com..",
    ] {
        assert_eq!(
            Jid::parse(&format!("a@{domain}")),
            Err(Domain),
            "{domain:?}"
        );
    }
    // The last one is composed to U+00B7, which stands only between two `l` (RFC 5892 A.3).
    for resource in ["", "a\u{0}", "a\u{7F}", "a\nb", "a\u{200E}b", "a\u{387}"] {
        assert_eq!(
            Jid::parse(&format!("a@b/{resource}")),
            Err(Resource),
            "{resource:?}"
        );
    }
    assert_eq!(BareJid::parse("a@b/c"), Err(JidError::Shape));
    assert_eq!(FullJid::parse("a@b"), Err(JidError::Shape));
}

#[test]
fn every_part_has_its_greatest_length() {
    let label = "d".repeat(63);
    let domain = [&label[..], &label, &label, &label[..61]].join(".");
    let (local, resource) = ("l".repeat(1023), "r".repeat(1023));
    let longest = format!("{local}@{domain}/{resource}");
    let jid = FullJid::parse(&longest).unwrap();
    assert_eq!(
        (jid.local(), jid.domain(), jid.resource()),
        (Some(&*local), &*domain, &*resource)
    );
    assert_eq!(Jid::parse(&format!("l{longest}")), Err(JidError::Local));
    assert_eq!(Jid::parse(&format!("{longest}r")), Err(JidError::Resource));
    assert_eq!(Jid::parse(&format!("d{domain}")), Err(JidError::Domain));
    assert_eq!(Jid::parse(&format!("{domain}.d")), Err(JidError::Domain));
    assert_eq!(
        Jid::parse(&format!("{}.example", "ü".repeat(63))),
        Err(JidError::Domain)
    );
}

#[test]
fn a_full_jid_comes_apart_and_together() {
    let jid = Jid::parse("Juliet@Example.COM./Balcony @ home/2").unwrap();
    assert_eq!(jid.as_str(), "juliet@example.com/Balcony @ home/2");
    let full = jid.as_full().unwrap();
    assert_eq!(full.bare_str(), "juliet@example.com");
    assert_eq!(full.to_bare().with_resource(full.resource()).unwrap(), full);
    assert_eq!(
        jid.to_bare(),
        BareJid::new(Some("JULIET"), "example.com").unwrap()
    );
    assert_eq!(jid.to_bare().domain_jid().as_str(), "example.com");
    assert_eq!(Jid::from(full), jid);
    assert_eq!(
        (jid.as_bare(), Jid::from(jid.to_bare()).as_full()),
        (None, None)
    );
}

#[test]
fn a_map_of_addresses_can_be_asked_with_text() {
    let map = HashMap::from([(BareJid::parse("A@b").unwrap(), 1)]);
    assert_eq!(map.get("a@b"), Some(&1));
}

#[test]
fn an_address_is_small() {
    assert!(size_of::<Option<Jid>>() <= 24);
    assert!(size_of::<BareJid>() <= 24);
}

proptest! {
    #[test]
    fn what_has_been_normalised_stays_as_it_is(text in "\\PC{0,6}@?[a-zA-Zßüé0-9.\\-]{0,12}/?\\PC{0,8}") {
        if let Ok(jid) = Jid::parse(&text) {
            prop_assert_eq!(Jid::parse(jid.as_str()), Ok(jid.clone()));
            let bare = jid.to_bare();
            prop_assert_eq!(&BareJid::new(bare.local(), bare.domain()).unwrap(), &bare);
            prop_assert_eq!(BareJid::parse(bare.as_str()).unwrap(), bare);
        }
    }

    #[test]
    fn the_short_way_for_ascii_agrees_with_precis(part in "[ -~]{1,8}") {
        let excluded = part.contains(['"', '&', '\'', '/', ':', '<', '>', '@']);
        if !excluded {
            let local = BareJid::new(Some(&part), "b").ok().map(|jid| jid.local().unwrap().to_owned());
            prop_assert_eq!(local, UsernameCaseMapped::enforce(&*part).ok().map(|p| p.into_owned()));
        }
        if !part.starts_with(' ') {
            let jid = BareJid::parse("b").unwrap().with_resource(&part).unwrap();
            prop_assert_eq!(jid.resource(), OpaqueString::enforce(&*part).unwrap());
        }
    }
}
