//! Whatever comes as a SASL message: nobody gets in without the password, and nothing panics, at either end.
//! An input is a byte of choices, a first message, a line end, and a second message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::downgrade::Advertised;
use posthaste_proto::sasl::ht::HashedToken;
use posthaste_proto::sasl::plain::Plain;
use posthaste_proto::sasl::scram::client::{self, Binding};
use posthaste_proto::sasl::scram::server;
use posthaste_proto::sasl::{ChannelBindings, Hash, StoredKeys, external};

fuzz_target!(|input: &[u8]| {
    let [choice, messages @ ..] = input else {
        return;
    };
    let choice = *choice;
    let mut messages = messages.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (
        messages.next().unwrap_or(b""),
        messages.next().unwrap_or(b""),
    );
    let _ = Plain::parse(first);
    let _ = HashedToken::parse(first);
    let certified = BareJid::parse("juliet@capulet.example")
        .into_iter()
        .collect::<Vec<_>>();
    if let Ok(account) = external::authorize(first, &certified, "capulet.example") {
        assert_eq!(certified, [account]);
    }
    let hash = Hash::ALL[usize::from(choice) % Hash::ALL.len()];
    as_server(hash, choice, first, second);
    as_client(hash, first, second);
});

fn advertised() -> Advertised {
    Advertised {
        mechanisms: vec!["SCRAM-SHA-1".into(), "SCRAM-SHA-256-PLUS".into()],
        channel_bindings: vec!["tls-exporter".into()],
    }
}

fn as_server(hash: Hash, choice: u8, first: &[u8], second: &[u8]) {
    let bindings = ChannelBindings {
        exporter: Some([7; 32]),
        server_end_point: None,
    };
    let (plus, plus_offered) = (choice & 64 != 0, choice & 128 != 0);
    let Ok(need) = server::client_first(hash, plus, plus_offered, &bindings, first) else {
        return;
    };
    let keys = StoredKeys::fake(need.hash(), b"secret", need.username(), 4096);
    let (expect, _) = need.with_keys(keys, "3rfcNHYJY1ZVvWVs7j", &advertised());
    assert!(
        expect.client_final(second).is_err(),
        "nobody knows this password"
    );
}

fn as_client(hash: Hash, first: &[u8], second: &[u8]) {
    let (expect, _) = client::client_first(
        hash,
        "juliet",
        None,
        &Binding::Unsupported,
        "fyko+d2lbbFgONRv9qkxdawL",
    );
    // No further: stretching a password takes as long as the server says.
    let _ = expect
        .server_first(first, &advertised())
        .map(|need| need.iterations());
    let (expect, _) = client::client_first(hash, "juliet", None, &Binding::NotOffered, "");
    let _ = expect.server_first(second, &advertised());
}
