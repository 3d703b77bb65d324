//! SCRAM from both ends: the RFCs' exchanges, and every way in which one must fail.

use proptest::prelude::*;

use super::client::{self, Binding};
use super::server;
use crate::sasl::downgrade::Advertised;
use crate::sasl::keys::ClientKeys;
use crate::sasl::{BindingType, ChannelBindings, Condition, Failure, Hash, StoredKeys};

fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some([1; 32]),
        server_end_point: Some([2; 48].into()),
    }
}

fn advertised() -> Advertised {
    Advertised {
        mechanisms: vec!["SCRAM-SHA-1".into(), "SCRAM-SHA-1-PLUS".into()],
        channel_bindings: vec!["tls-exporter".into(), "tls-server-end-point".into()],
    }
}

fn stored(hash: Hash) -> StoredKeys {
    StoredKeys::derive(hash, &"pencil".into(), b"salt", 4096).unwrap()
}

/// The server's side of the examples, whose first message has no `h`: it is taken out of what the
/// proofs cover by replaying the RFC's bytes through the client.
fn rfc_example(
    hash: Hash,
    nonce: &str,
    server_first: &str,
    client_final: &str,
    server_final: &str,
) {
    let (state, first) = client::client_first(hash, "user", None, &Binding::Unsupported, nonce);
    assert_eq!(first, format!("n,,n=user,r={nonce}").into_bytes());
    let need = state
        .server_first(server_first.as_bytes(), &Advertised::default())
        .unwrap();
    let keys = ClientKeys::derive(hash, &"pencil".into(), need.salt(), need.iterations()).unwrap();
    let (state, last) = need.with_keys(&keys);
    assert_eq!(String::from_utf8(last).unwrap(), client_final);
    state.server_final(server_final.as_bytes()).unwrap();
}

#[test]
fn the_client_speaks_the_example_of_rfc_5802() {
    rfc_example(
        Hash::Sha1,
        "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    );
}

#[test]
fn the_client_speaks_the_example_of_rfc_7677() {
    rfc_example(
        Hash::Sha256,
        "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    );
}

#[test]
fn the_server_speaks_the_example_of_xep_0474() {
    // Its channel binding data is «THIS IS FAKE CB DATA», its password «pencil».
    let nonce = "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6";
    let salt = [
        0x41, 0x25, 0xc2, 0x47, 0xe4, 0x3a, 0xb1, 0xe9, 0x3c, 0x6d, 0xff, 0x76,
    ];
    let keys = StoredKeys::derive(Hash::Sha1, &"pencil".into(), &salt, 4096).unwrap();
    let bindings = ChannelBindings {
        exporter: None,
        server_end_point: Some(b"THIS IS FAKE CB DATA".as_slice().into()),
    };
    let first = format!("p=tls-server-end-point,,n=user,r={nonce}");
    let need = server::client_first(Hash::Sha1, true, true, &bindings, first.as_bytes()).unwrap();
    assert_eq!((need.username(), need.authzid()), ("user", None));
    let (_, server_first) =
        need.with_keys(keys, "a09117a6-ac50-4f2f-93f1-93799c2bddf6", &advertised());
    assert_eq!(
        String::from_utf8(server_first).unwrap(),
        format!(
            "r={nonce}a09117a6-ac50-4f2f-93f1-93799c2bddf6,s=QSXCR+Q6sek8bf92,i=4096,\
             h=G6k/rBLDqgOhRRaCuuatSDFkJ08="
        )
    );
}

/// A whole exchange between our client and our server.
fn exchange(
    hash: Hash,
    plus: bool,
    binding: &Binding,
    password: &str,
    seen_by_client: &Advertised,
) -> Result<(), Failure> {
    let (client, first) = client::client_first(hash, "r=o,meo", None, binding, "clientnonce");
    let need = server::client_first(hash, plus, true, &bindings(), &first)?;
    assert_eq!(need.username(), "r=o,meo");
    let (server, first) = need.with_keys(stored(hash), "servernonce", &advertised());
    let need = client.server_first(&first, seen_by_client)?;
    let keys = ClientKeys::derive(hash, &password.into(), need.salt(), need.iterations()).unwrap();
    let (client, last) = need.with_keys(&keys);
    client.server_final(&server.client_final(&last)?)
}

fn exporter(byte: u8) -> Binding {
    Binding::Used(BindingType::TlsExporter, [byte; 32].into())
}

#[test]
fn both_sides_prove_themselves_with_every_hash_and_binding() {
    let end_point = Binding::Used(BindingType::TlsServerEndPoint, [2; 48].into());
    for hash in Hash::ALL {
        exchange(hash, false, &Binding::Unsupported, "pencil", &advertised()).unwrap();
        exchange(hash, true, &exporter(1), "pencil", &advertised()).unwrap();
        exchange(hash, true, &end_point, "pencil", &advertised()).unwrap();
    }
}

#[test]
fn a_wrong_password_is_not_authorized() {
    let failed = exchange(
        Hash::Sha256,
        false,
        &Binding::Unsupported,
        "Pencil",
        &advertised(),
    );
    assert_eq!(failed, Err(Failure::not_authorized()));
}

#[test]
fn a_man_in_the_middle_has_another_channel_and_fails() {
    let failed = exchange(Hash::Sha256, true, &exporter(9), "pencil", &advertised());
    assert_eq!(failed.unwrap_err().condition, Condition::NotAuthorized);
}

#[test]
fn a_client_that_saw_no_channel_binding_although_it_was_offered_is_refused() {
    let failed = exchange(
        Hash::Sha256,
        false,
        &Binding::NotOffered,
        "pencil",
        &advertised(),
    );
    assert_eq!(failed.unwrap_err().reason, "channel binding was offered");
}

#[test]
fn a_client_notices_that_the_lists_were_shortened() {
    let stripped = Advertised {
        mechanisms: vec!["SCRAM-SHA-1".into()],
        channel_bindings: vec!["tls-exporter".into(), "tls-server-end-point".into()],
    };
    let failed = exchange(
        Hash::Sha1,
        false,
        &Binding::Unsupported,
        "pencil",
        &stripped,
    );
    assert_eq!(failed.unwrap_err().reason, "downgrade: lists were changed");
}

#[test]
fn a_forged_list_hash_breaks_the_proof() {
    let (client, first) =
        client::client_first(Hash::Sha1, "romeo", None, &Binding::Unsupported, "cn");
    let need = server::client_first(Hash::Sha1, false, true, &bindings(), &first).unwrap();
    let (server, first) = need.with_keys(stored(Hash::Sha1), "sn", &advertised());
    let stripped = Advertised {
        mechanisms: vec!["SCRAM-SHA-1".into()],
        ..Advertised::default()
    };
    let forged = String::from_utf8(first)
        .unwrap()
        .replace(&advertised().hash(Hash::Sha1), &stripped.hash(Hash::Sha1));
    let need = client.server_first(forged.as_bytes(), &stripped).unwrap();
    let keys = ClientKeys::derive(Hash::Sha1, &"pencil".into(), need.salt(), 4096).unwrap();
    let (_, last) = need.with_keys(&keys);
    assert_eq!(server.client_final(&last), Err(Failure::not_authorized()));
}

#[test]
fn the_first_message_must_fit_the_mechanism() {
    let first = |plus, text: &str| {
        server::client_first(Hash::Sha1, plus, true, &bindings(), text.as_bytes())
            .map(|_| ())
            .map_err(|failure| failure.condition)
    };
    use Condition::{MalformedRequest, NotAuthorized};
    assert_eq!(first(false, "n,,n=a,r=b"), Ok(()));
    assert_eq!(first(false, "n,a=a@x,n=a,r=b,x=ignored"), Ok(()));
    assert_eq!(first(true, "p=tls-exporter,,n=a,r=b"), Ok(()));
    for (plus, text, expected) in [
        (true, "n,,n=a,r=b", MalformedRequest),
        (true, "y,,n=a,r=b", MalformedRequest),
        (false, "p=tls-exporter,,n=a,r=b", MalformedRequest),
        (true, "p=tls-unique,,n=a,r=b", NotAuthorized),
        (true, "p=,,n=a,r=b", MalformedRequest),
        (false, "y,,n=a,r=b", NotAuthorized),
        (false, "n,,m=x,n=a,r=b", MalformedRequest),
        (false, "n,,n=a,r=b,m=x", MalformedRequest),
        (false, "n,,n=,r=b", MalformedRequest),
        (false, "n,,n=a=2,r=b", MalformedRequest),
        (false, "n,,n=a=2c,r=b", MalformedRequest),
        (false, "n,,n=a", MalformedRequest),
        (false, "n,,n=a,r=", MalformedRequest),
        (false, "n,,n=a,r=b c", MalformedRequest),
        (false, "n,b=c,n=a,r=b", MalformedRequest),
        (false, "", MalformedRequest),
        (false, "n", MalformedRequest),
        (false, "n,,", MalformedRequest),
    ] {
        assert_eq!(first(plus, text), Err(expected), "{text}");
    }
    let long = format!("n,,n={},r=b", "a".repeat(9000));
    assert_eq!(first(false, &long), Err(MalformedRequest));
}

#[test]
fn the_last_message_must_answer_ours() {
    let last = |text: &str| {
        let need =
            server::client_first(Hash::Sha1, false, true, &bindings(), b"n,,n=a,r=cn").unwrap();
        let (state, _) = need.with_keys(stored(Hash::Sha1), "sn", &advertised());
        state
            .client_final(text.as_bytes())
            .map(|_| ())
            .map_err(|failure| failure.condition)
    };
    use Condition::{MalformedRequest, NotAuthorized};
    for (text, expected) in [
        (
            "c=biws,r=cnsn,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            NotAuthorized,
        ),
        ("c=biws,r=cnsn,p=AAAA", MalformedRequest),
        (
            "c=biws,r=cnXX,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            NotAuthorized,
        ),
        (
            "c=eSws,r=cnsn,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            NotAuthorized,
        ),
        ("c=biws,r=cnsn", MalformedRequest),
        ("c=biws,r=cnsn,p=?", MalformedRequest),
        ("c=biws,p=AAAA", MalformedRequest),
        ("r=cnsn,c=biws,p=AAAA", MalformedRequest),
        ("", MalformedRequest),
    ] {
        assert_eq!(last(text), Err(expected), "{text}");
    }
}

#[test]
fn a_client_refuses_what_a_server_must_not_ask() {
    let ask = |text: &str| {
        let (state, _) = client::client_first(Hash::Sha1, "a", None, &Binding::Unsupported, "cn");
        state
            .server_first(text.as_bytes(), &Advertised::default())
            .map(|_| ())
    };
    assert!(ask("r=cnsn,s=AAAA,i=4096").is_ok());
    for text in [
        "r=cnsn,s=AAAA,i=1",
        "r=cnsn,s=AAAA,i=4294967295",
        "r=cnsn,s=AAAA,i=99999999999999",
        "r=cn,s=AAAA,i=4096",
        "r=xxsn,s=AAAA,i=4096",
        "r=cnsn,s=,i=4096",
        "m=x,r=cnsn,s=AAAA,i=4096",
        "e=other-error",
        "",
    ] {
        assert!(ask(text).is_err(), "{text}");
    }
}

#[test]
fn nothing_opens_a_fake_account() {
    let keys = StoredKeys::fake(Hash::Sha1, b"secret", "nobody@a.example", 4096);
    let need =
        server::client_first(Hash::Sha1, false, true, &bindings(), b"n,,n=nobody,r=cn").unwrap();
    let (state, first) = need.with_keys(keys, "sn", &advertised());
    assert!(first.starts_with(b"r=cnsn,s="));
    let guess = b"c=biws,r=cnsn,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(state.client_final(guess), Err(Failure::not_authorized()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>, text in "[nypamrcvsi=,A-C]{0,40}") {
        for message in [bytes.as_slice(), text.as_bytes()] {
            let _ = server::client_first(Hash::Sha1, false, false, &bindings(), message);
            let need = server::client_first(Hash::Sha1, false, true, &bindings(), b"n,,n=a,r=c").unwrap();
            let (state, _) = need.with_keys(stored_once(), "s", &advertised());
            prop_assert!(state.client_final(message).is_err());
            let (state, _) = client::client_first(Hash::Sha1, "a", None, &Binding::Unsupported, "c");
            let _ = state.server_first(message, &advertised());
        }
    }
}

/// Keys made once: the property test is about grammar, not about PBKDF2.
fn stored_once() -> StoredKeys {
    StoredKeys::fake(Hash::Sha1, b"secret", "a", 4096)
}
