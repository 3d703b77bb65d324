//! From a TCP connection to a bound session: RFC 6120 stream negotiation, SASL, bind, XEP-0198 enable.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use posthaste_proto::ns;
use posthaste_proto::xml::{Element, Limits, StreamContext, escape_attr};

use crate::connection::{Connection, Received};
use crate::sasl;
use crate::target::{Target, Tls};

/// The longest that connecting and logging in may take before it counts as failed.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What a session asks for after it is bound.
#[derive(Clone, Copy)]
pub(crate) struct Wishes {
    /// XEP-0198, with resumption.
    pub(crate) stream_management: bool,
    /// XEP-0280.
    pub(crate) carbons: bool,
    /// Fetch the roster and send initial presence.
    pub(crate) presence: bool,
}

/// A logged-in client.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    /// Stanzas received since XEP-0198 was enabled, as we tell the server.
    pub(crate) handled: u32,
    /// Stanzas sent during log-in since then, as the server will tell us.
    pub(crate) sent: u32,
}

/// Connects and logs account `index` in, within a bounded time.
pub(crate) async fn log_in(
    target: &Target,
    index: usize,
    wishes: Wishes,
) -> anyhow::Result<Client> {
    let attempt = Box::pin(log_in_unbounded(target, index, wishes));
    tokio::time::timeout(LOGIN_TIMEOUT, attempt)
        .await
        .context("log-in took too long")?
        .with_context(|| format!("account {}", target.local_part(index)))
}

async fn log_in_unbounded(target: &Target, index: usize, wishes: Wishes) -> anyhow::Result<Client> {
    let mut connection = Connection::open(target).await.context("connecting")?;
    let features = open_stream(&mut connection, target)
        .await
        .context("opening the stream")?;
    sasl::authenticate(&mut connection, target, index, &features).await?;
    connection.restart();
    open_stream_once(&mut connection, target).await?;
    bind(&mut connection).await?;
    let mut client = Client {
        connection,
        handled: 0,
        sent: 0,
    };
    settle(&mut client, wishes).await?;
    Ok(client)
}

/// Opens the first stream, upgrades it by STARTTLS if the target says so, and returns the features.
pub(crate) async fn open_stream(
    connection: &mut Connection,
    target: &Target,
) -> anyhow::Result<Element> {
    let features = open_stream_once(connection, target).await?;
    if target.tls != Tls::Starttls {
        return Ok(features);
    }
    ensure!(
        features.child("starttls", ns::TLS).is_some(),
        "the server offers no STARTTLS"
    );
    Element::new("starttls", ns::TLS).write(connection.outbound(), ns::CLIENT);
    let answer = receive_element(connection).await?;
    ensure!(answer.is("proceed", ns::TLS), "the server refused STARTTLS");
    connection.start_tls(target).await?;
    open_stream_once(connection, target).await
}

/// Sends a stream header and reads the server's with the features that follow it.
async fn open_stream_once(connection: &mut Connection, target: &Target) -> anyhow::Result<Element> {
    let out = connection.outbound();
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='");
    escape_attr(out, &target.domain);
    out.extend_from_slice(b"'>");
    let Received::StreamOpen = connection.receive().await? else {
        bail!("the server did not open a stream");
    };
    let features = receive_element(connection).await?;
    ensure!(
        features.is("features", ns::STREAM),
        "no stream features but <{}/>",
        features.name()
    );
    Ok(features)
}

/// Reads the next element as a tree; a closed stream is an error.
pub(crate) async fn receive_element(connection: &mut Connection) -> anyhow::Result<Element> {
    match connection.receive().await? {
        Received::Element(xml) => parse(xml),
        Received::StreamOpen => bail!("a second stream header"),
        Received::StreamClose => bail!("the server closed the stream"),
    }
}

async fn bind(connection: &mut Connection) -> anyhow::Result<()> {
    connection.outbound().extend_from_slice(
        b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    );
    let answer = receive_element(connection).await?;
    let bound = answer
        .child("bind", ns::BIND)
        .and_then(|bind| bind.child("jid", ns::BIND));
    ensure!(bound.is_some(), "binding a resource failed: {answer:?}");
    Ok(())
}

/// Asks for what the session wishes and waits for the last answer, so that later traffic is only traffic.
async fn settle(client: &mut Client, wishes: Wishes) -> anyhow::Result<()> {
    if wishes.stream_management {
        let out = client.connection.outbound();
        out.extend_from_slice(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        let enabled = receive_element(&mut client.connection).await?;
        ensure!(
            enabled.is("enabled", ns::SM),
            "stream management was not enabled"
        );
    }
    let out = client.connection.outbound();
    if wishes.carbons {
        out.extend_from_slice(
            b"<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>",
        );
        client.sent += 1;
    }
    if wishes.presence {
        out.extend_from_slice(
            b"<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>",
        );
        client.sent += 2;
    }
    if wishes.carbons || wishes.presence {
        ping(client, "settled").await?;
    }
    if wishes.stream_management {
        // As every client does, sooner or later: nothing of the log-in is left to confirm.
        client.acknowledge();
        client.connection.flush().await?;
    }
    Ok(())
}

/// Asks the server for an answer (XEP-0199) and handles what comes before it.
async fn ping(client: &mut Client, id: &str) -> anyhow::Result<()> {
    let ping = format!("<iq type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>");
    client
        .connection
        .outbound()
        .extend_from_slice(ping.as_bytes());
    client.sent += 1;
    loop {
        let Received::Element(xml) = client.connection.receive().await? else {
            bail!("the server closed the stream");
        };
        match Nonza::of(xml) {
            Some(Nonza::Request) => client.acknowledge(),
            Some(Nonza::Ack(_)) => {}
            None => {
                let stanza = parse(xml)?;
                client.handled = client.handled.wrapping_add(1);
                if stanza.attr("id") == Some(id) {
                    return Ok(());
                }
            }
        }
    }
}

impl Client {
    /// Answers a request for an ack.
    pub(crate) fn acknowledge(&mut self) {
        write_ack(self.connection.outbound(), self.handled);
    }
}

/// Appends an ack of `handled` stanzas.
pub(crate) fn write_ack(out: &mut Vec<u8>, handled: u32) {
    out.extend_from_slice(format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>").as_bytes());
}

/// What stream management says that is not a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nonza {
    Request,
    /// With the number of stanzas it covers.
    Ack(u32),
}

impl Nonza {
    /// Told by the tag alone: a load generator trusts its server to write these as the XEP shows them.
    pub(crate) fn of(xml: &[u8]) -> Option<Nonza> {
        match xml {
            [b'<', b'r', b' ' | b'/' | b'>', ..] => Some(Nonza::Request),
            [b'<', b'a', b' ', attributes @ ..] => Some(Nonza::Ack(handled_in(attributes))),
            _ => None,
        }
    }
}

/// The value of `h`, which is the only attribute that ends so.
fn handled_in(attributes: &[u8]) -> u32 {
    let Some(start) = memchr::memmem::find(attributes, b"h=").map(|at| at + 3) else {
        return 0;
    };
    let digits = attributes[start.min(attributes.len())..]
        .iter()
        .map_while(|byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then_some(u32::from(digit))
        });
    digits.fold(0, |sum: u32, digit| {
        sum.wrapping_mul(10).wrapping_add(digit)
    })
}

fn parse(xml: &[u8]) -> anyhow::Result<Element> {
    Ok(Element::parse_in(
        xml,
        &Limits::default(),
        &StreamContext::client(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonzas_are_told_from_stanzas_by_their_tag() {
        assert_eq!(
            Nonza::of(b"<r xmlns='urn:xmpp:sm:3'/>"),
            Some(Nonza::Request)
        );
        assert_eq!(
            Nonza::of(b"<a h='37' xmlns='urn:xmpp:sm:3'/>"),
            Some(Nonza::Ack(37))
        );
        assert_eq!(
            Nonza::of(b"<a xmlns='urn:xmpp:sm:3' h=\"4\"/>"),
            Some(Nonza::Ack(4))
        );
        assert_eq!(Nonza::of(b"<auth/>"), None);
        assert_eq!(Nonza::of(b"<message/>"), None);
    }
}
