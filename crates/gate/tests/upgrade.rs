//! Stored keys get better without a password reset (XEP-0480), over a socket and in the store.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod harness;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{Client, Transport, World};
use posthaste_im::accounts::Settings;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::client::{Credentials, Exchange};
use posthaste_proto::sasl::downgrade::Advertised;
use posthaste_proto::sasl::scram::client::Binding;
use posthaste_proto::sasl::{Hash, Mechanism};

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("{text}"));
    rest.split_once(to).unwrap_or_else(|| panic!("{text}")).0
}

/// What a client that knows all mechanisms of `features` lets the server check (XEP-0474).
fn advertised(features: &str) -> Advertised {
    let sasl2 = between(features, "<authentication ", "<inline");
    let mechanisms = sasl2.split("<mechanism>").skip(1);
    let types = features.split("<channel-binding type='").skip(1);
    Advertised {
        mechanisms: mechanisms
            .map(|part| part.split('<').next().unwrap().to_owned())
            .collect(),
        channel_bindings: types
            .map(|part| part.split('\'').next().unwrap().to_owned())
            .collect(),
    }
}

/// Proves the password by `mechanism`, asking for both upgrades; what the server says to it.
async fn prove(client: &mut Client, mechanism: &str) -> String {
    let features = client.open().await;
    let mechanism = Mechanism::from_name(mechanism).unwrap();
    let mut credentials = Credentials::new("romeo", "secret".into());
    let binding = Binding::Unsupported;
    let advertised = advertised(&features);
    let (mut exchange, initial) =
        Exchange::start(mechanism, &binding, &credentials, advertised, "nonce").unwrap();
    let (name, initial) = (mechanism.name(), STANDARD.encode(initial));
    client
        .send(&format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{name}'>\
             <initial-response>{initial}</initial-response>\
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>\
             <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade></authenticate>"
        ))
        .await;
    let challenge = client.until("</challenge>").await;
    let challenge = STANDARD
        .decode(between(&challenge, "'urn:xmpp:sasl:2'>", "</challenge>"))
        .unwrap();
    let response = exchange.challenge(&challenge, &mut credentials).unwrap();
    let response = STANDARD.encode(response);
    client
        .send(&format!(
            "<response xmlns='urn:xmpp:sasl:2'>{response}</response>"
        ))
        .await;
    client.until("</additional-data>").await
}

#[tokio::test]
async fn weaker_keys_are_replaced_at_the_next_log_in() {
    let world = World::new().await;
    let romeo = BareJid::parse("romeo@example.org").unwrap();
    let accounts = world.node.accounts();
    let before = accounts.keys(&romeo, Hash::Sha256).await.unwrap();
    let rounds = before.iterations + 1_000;
    accounts.reconfigure(Settings {
        iterations: rounds,
        ..Settings::default()
    });

    let mut client = world.connect(Transport::DirectTls).await;
    let said = prove(&mut client, "SCRAM-SHA-1").await;
    assert!(
        said.contains("<continue xmlns='urn:xmpp:sasl:2'>"),
        "{said}"
    );
    for (hash, task) in [
        (Hash::Sha256, "UPGR-SCRAM-SHA-256"),
        (Hash::Sha512, "UPGR-SCRAM-SHA-512"),
    ] {
        let offer = client.until("</continue>").await;
        assert!(offer.contains(&format!("<task>{task}</task>")), "{offer}");
        client
            .send(&format!("<next xmlns='urn:xmpp:sasl:2' task='{task}'/>"))
            .await;
        let data = client.until("</task-data>").await;
        assert!(data.contains(&format!("iterations='{rounds}'")), "{data}");
        let salt = between(&data, &format!("iterations='{rounds}'>"), "<");
        let salted = hash.pbkdf2(b"secret", &STANDARD.decode(salt).unwrap(), rounds);
        let salted = STANDARD.encode(salted.as_slice());
        client
            .send(&format!(
                "<task-data xmlns='urn:xmpp:sasl:2'>\
                 <hash xmlns='urn:xmpp:scram-upgrade:0'>{salted}</hash></task-data>"
            ))
            .await;
    }
    client.until("</success>").await;
    for hash in [Hash::Sha256, Hash::Sha512] {
        let keys = accounts.keys(&romeo, hash).await.unwrap();
        assert_eq!(keys.iterations, rounds);
        assert!(keys.is_password(&"secret".into()));
    }

    // The next log-in finds nothing to do.
    let mut again = world.connect(Transport::DirectTls).await;
    let said = prove(&mut again, "SCRAM-SHA-512").await;
    assert!(said.contains("<success "), "{said}");
}
