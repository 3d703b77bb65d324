//! Logging in by RFC 6120 §6, with the stretched passwords kept as real clients keep them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use posthaste_proto::ns;
use posthaste_proto::sasl::downgrade::Advertised;
use posthaste_proto::sasl::keys::ClientKeys;
use posthaste_proto::sasl::plain::Plain;
use posthaste_proto::sasl::scram::client::{Binding, NeedKeys, client_first};
use posthaste_proto::sasl::{Hash, Secret};
use posthaste_proto::xml::Element;

use crate::connection::Connection;
use crate::login::receive_element;
use crate::target::Target;

/// How users prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mechanism {
    /// PLAIN: the server stretches the password at each log-in.
    Plain,
    /// SCRAM-SHA-1: the client does, once per salt.
    #[value(name = "scram-sha-1")]
    ScramSha1,
    /// SCRAM-SHA-256.
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

/// Hash, salt and iterations.
type Salting = (Hash, Vec<u8>, u32);

/// The keys of each salting seen: one for each account that has logged in, since salts differ.
#[derive(Default)]
pub(crate) struct SaltedPasswords {
    keys: Mutex<HashMap<Salting, ClientKeys>>,
}

impl SaltedPasswords {
    fn keys(&self, need: &NeedKeys, password: &str) -> anyhow::Result<ClientKeys> {
        let name = (need.hash(), need.salt().to_vec(), need.iterations());
        if let Some(keys) = self.lock().get(&name) {
            return Ok(keys.clone());
        }
        let password = Secret::from(password);
        let keys = ClientKeys::derive(need.hash(), &password, need.salt(), need.iterations())?;
        self.lock().insert(name, keys.clone());
        Ok(keys)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Salting, ClientKeys>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Authenticates as account `index` on a stream that has just offered `features`.
pub(crate) async fn authenticate(
    connection: &mut Connection,
    target: &Target,
    index: usize,
    features: &Element,
) -> anyhow::Result<()> {
    match target.mechanism {
        Mechanism::Plain => plain(connection, target, index).await,
        Mechanism::ScramSha1 => scram(connection, target, index, Hash::Sha1, features).await,
        Mechanism::ScramSha256 => scram(connection, target, index, Hash::Sha256, features).await,
    }
}

async fn plain(connection: &mut Connection, target: &Target, index: usize) -> anyhow::Result<()> {
    let message = Plain {
        authzid: None,
        username: target.local_part(index),
        password: Secret::from(target.password()),
    };
    auth("PLAIN", &message.write()).write(connection.outbound(), ns::CLIENT);
    let answer = receive_element(connection).await?;
    ensure!(
        answer.is("success", ns::SASL),
        "PLAIN was refused: {answer:?}"
    );
    Ok(())
}

async fn scram(
    connection: &mut Connection,
    target: &Target,
    index: usize,
    hash: Hash,
    features: &Element,
) -> anyhow::Result<()> {
    let name = match hash {
        Hash::Sha1 => "SCRAM-SHA-1",
        Hash::Sha256 => "SCRAM-SHA-256",
        Hash::Sha512 => "SCRAM-SHA-512",
    };
    let username = target.local_part(index);
    let (expect, first) = client_first(hash, &username, None, &Binding::Unsupported, &nonce()?);
    auth(name, &first).write(connection.outbound(), ns::CLIENT);
    let challenge = receive_element(connection).await?;
    ensure!(
        challenge.is("challenge", ns::SASL),
        "{name} was refused: {challenge:?}"
    );
    let need = expect.server_first(&STANDARD.decode(challenge.text())?, &advertised(features))?;
    let keys = target.salted.keys(&need, target.password())?;
    let (expect, last) = need.with_keys(&keys);
    Element::new("response", ns::SASL)
        .with_text(&STANDARD.encode(last))
        .write(connection.outbound(), ns::CLIENT);
    let success = receive_element(connection).await?;
    if !success.is("success", ns::SASL) {
        bail!("{name} failed: {success:?}");
    }
    expect
        .server_final(&STANDARD.decode(success.text())?)
        .context("the server's proof")
}

fn auth(mechanism: &'static str, message: &[u8]) -> Element {
    Element::new("auth", ns::SASL)
        .with_attr("mechanism", mechanism)
        .with_text(&STANDARD.encode(message))
}

/// What the server says it offers, which XEP-0474 lets us check.
fn advertised(features: &Element) -> Advertised {
    let mechanisms = features.child("mechanisms", ns::SASL);
    let bindings = features.child("sasl-channel-binding", ns::SASL_CHANNEL_BINDING);
    Advertised {
        mechanisms: mechanisms
            .into_iter()
            .flat_map(Element::children)
            .map(Element::text)
            .collect(),
        channel_bindings: bindings
            .into_iter()
            .flat_map(Element::children)
            .filter_map(|binding| binding.attr("type").map(str::to_owned))
            .collect(),
    }
}

fn nonce() -> anyhow::Result<String> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(STANDARD.encode(bytes))
}
