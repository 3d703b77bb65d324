//! Clients learn which STUN and TURN servers help their calls through firewalls, with credentials for the moment.
//!
//! XEP-0215: External Service Discovery, version 1.0.0. The list is the operator's. Credentials are made for each asker
//! as draft-uberti-behave-turn-rest-00 §2.2 says (coturn's `use-auth-secret`): nothing is stored and the TURN server is
//! not asked. Only the accounts of this server are told. Left out: pushing changes, which the XEP leaves to us (clients
//! ask before a call), and extended information.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::sasl::{Hash, Secret};
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{Answer, Ext, HostIq, HostQuery};
use crate::clock::Timestamp;

/// The extension.
pub const EXT: Ext = Ext {
    name: "External Service Discovery",
    xep: 215,
    version: "1.0.0",
    host_features: &[ns::EXTERNAL_SERVICES],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[
        HostIq {
            kind: IqType::Get,
            ns: ns::EXTERNAL_SERVICES,
            name: "services",
            handler: services,
        },
        HostIq {
            kind: IqType::Get,
            ns: ns::EXTERNAL_SERVICES,
            name: "credentials",
            handler: credentials,
        },
    ],
};

/// What the operator says about services.
#[derive(Clone, Debug)]
pub struct ExternalServices {
    /// The services, in the order in which clients see them.
    pub services: Vec<Service>,
    /// What this server and the TURN servers know; without it no credentials are given out.
    pub secret: Option<Secret>,
    /// How long credentials are good for, in seconds. A call may outlive them, setting up another one may not.
    pub credentials_seconds: u32,
}

impl Default for ExternalServices {
    fn default() -> ExternalServices {
        ExternalServices {
            services: Vec::new(),
            secret: None,
            // The draft recommends a day.
            credentials_seconds: 86_400,
        }
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type: `stun`, `stuns`, `turn`, `turns` or another registered one.
    pub kind: String,
    /// A domain name or an IP address.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// `udp` or `tcp`.
    pub transport: Option<&'static str>,
}

impl Service {
    /// Reads `turn:turn.example.org:3478?transport=udp` (RFC 7064 §3.1, RFC 7065 §3.1, for any type); an IPv6 address
    /// stands in brackets.
    ///
    /// # Errors
    /// What is wrong with it, in words for the operator.
    pub fn parse(uri: &str) -> Result<Service, String> {
        let wrong = |why: &str| {
            format!("{uri:?} {why}; write for example \"turn:turn.example.org:3478?transport=udp\"")
        };
        let (kind, rest) = uri.split_once(':').ok_or_else(|| wrong("has no type"))?;
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if kind.is_empty() || !kind.chars().all(is_word) {
            return Err(wrong("has a type that is no lower-case word"));
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let transport = match query {
            None => None,
            Some("transport=udp") => Some("udp"),
            Some("transport=tcp") => Some("tcp"),
            Some(_) => return Err(wrong("has a query that names no transport, udp or tcp")),
        };
        let (host, port) = split_port(place).ok_or_else(|| wrong("has no host, or a bad port"))?;
        // A host is what a JID's domain may be.
        BareJid::new(None, host).map_err(|_| wrong("has a host that cannot be one"))?;
        Ok(Service {
            kind: kind.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            transport,
        })
    }

    /// Does it want the credentials that we can make?
    fn takes_credentials(&self) -> bool {
        matches!(self.kind.as_str(), "turn" | "turns")
    }

    fn to_element(&self) -> Element {
        Element::new("service", ns::EXTERNAL_SERVICES)
            .with_attr("type", &*self.kind)
            .with_attr("host", &*self.host)
            .with_attr_opt("port", self.port.map(|port| port.to_string()))
            .with_attr_opt("transport", self.transport)
    }
}

fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let after_address = place.rfind(']').map_or(0, |end| end + 1);
    match place[after_address..].split_once(':') {
        None => Some((place, None)),
        Some((name, port)) => {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            Some((&place[..after_address + name.len()], Some(port)))
        }
    }
    .filter(|(host, _)| !host.is_empty())
}

impl ExternalServices {
    /// The element for one service, with credentials if it takes some and we can make them.
    fn shown(&self, service: &Service, asker: &BareJid, now: Timestamp) -> Element {
        let element = service.to_element();
        let Some(secret) = self.secret.as_ref().filter(|_| service.takes_credentials()) else {
            return element;
        };
        let credentials = Credentials::new(secret, asker, now, self.credentials_seconds);
        element
            .with_attr("restricted", "1")
            .with_attr("username", credentials.username)
            .with_attr("password", credentials.password)
            .with_attr("expires", credentials.expires.to_string())
    }
}

/// What opens a TURN server until it expires.
struct Credentials {
    username: String,
    password: String,
    expires: Timestamp,
}

impl Credentials {
    /// draft-uberti-behave-turn-rest-00 §2.2: the name says until when it is good, the password proves that we said so.
    fn new(secret: &Secret, asker: &BareJid, now: Timestamp, seconds: u32) -> Credentials {
        let until = now.millis() / 1_000 + u64::from(seconds);
        // The same for all of an account's requests, so that the TURN server's quotas hold, and no address.
        let name = Hash::Sha256.hmac(secret.expose().as_bytes(), &[asker.as_str().as_bytes()]);
        let name: String = name.as_slice()[..10]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let username = format!("{until}:{name}");
        let password = Hash::Sha1.hmac(secret.expose().as_bytes(), &[username.as_bytes()]);
        Credentials {
            password: BASE64_STANDARD.encode(password.as_slice()),
            username,
            expires: Timestamp(until.saturating_mul(1_000)),
        }
    }
}

/// Only who has an account here: relaying costs the operator.
fn account_of_asker(query: &HostQuery<'_>) -> Result<BareJid, StanzaError> {
    let is_ours = query.node.config().host(query.from.domain()).is_some();
    match query.from.local() {
        Some(_) if is_ours => Ok(query.from.to_bare()),
        _ => Err(StanzaError::forbidden()),
    }
}

fn services<'q>(query: &'q HostQuery<'q>, asked: Element) -> BoxFuture<'q, Answer> {
    async move {
        let asker = account_of_asker(query)?;
        let config = query.node.config();
        let known = &config.external_services;
        // §3.2: an answer about one type says so.
        let kind = asked.attr("type");
        let answer = Element::new("services", ns::EXTERNAL_SERVICES).with_attr_opt("type", kind);
        let wanted = known
            .services
            .iter()
            .filter(|service| kind.is_none_or(|kind| service.kind == kind));
        let now = query.node.now();
        Ok(Some(answer.with_children(
            wanted.map(|service| known.shown(service, &asker, now)),
        )))
    }
    .boxed()
}

fn credentials<'q>(query: &'q HostQuery<'q>, asked: Element) -> BoxFuture<'q, Answer> {
    async move {
        let asker = account_of_asker(query)?;
        let config = query.node.config();
        let known = &config.external_services;
        let service = asked
            .child("service", ns::EXTERNAL_SERVICES)
            .ok_or_else(StanzaError::bad_request)?;
        let (Some(host), Some(kind)) = (service.attr("host"), service.attr("type")) else {
            return Err(StanzaError::bad_request().into());
        };
        let is_meant = |known: &&Service| {
            let port = known.port.map(|port| port.to_string());
            known.host == host
                && known.kind == kind
                && service
                    .attr("port")
                    .is_none_or(|it| port.as_deref() == Some(it))
        };
        let can_enter = |known: &&Service| known.takes_credentials();
        let mut meant = known
            .services
            .iter()
            .filter(is_meant)
            .filter(can_enter)
            .peekable();
        if known.secret.is_none() || meant.peek().is_none() {
            return Err(StanzaError::item_not_found().into());
        }
        let now = query.node.now();
        let answer = Element::new("credentials", ns::EXTERNAL_SERVICES);
        Ok(Some(answer.with_children(
            meant.map(|service| known.shown(service, &asker, now)),
        )))
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_written_as_its_uri() {
        let read = |uri| Service::parse(uri).unwrap();
        let turn = read("turn:turn.example.org:3478?transport=udp");
        assert_eq!(
            (
                turn.kind.as_str(),
                turn.host.as_str(),
                turn.port,
                turn.transport
            ),
            ("turn", "turn.example.org", Some(3478), Some("udp"))
        );
        let stun = read("stun:192.0.2.1");
        assert_eq!((stun.port, stun.transport), (None, None));
        let six = read("turns:[2001:db8::1]:5349?transport=tcp");
        assert_eq!((six.host.as_str(), six.port), ("2001:db8::1", Some(5349)));
        for wrong in [
            "",
            "turn",
            "turn:",
            "turn::3478",
            "Turn:a.example",
            "turn:a.example:0",
            "turn:a.example:99999",
            "turn:a.example:x",
            "turn:a.example?transport=sctp",
            "turn:a b",
            "turn:[::1",
        ] {
            assert!(Service::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_those_that_coturn_expects() {
        let secret = Secret::from("north");
        let romeo = BareJid::parse("romeo@example.org").unwrap();
        let made = Credentials::new(&secret, &romeo, Timestamp(1_700_000_000_999), 600);
        let (until, name) = made.username.split_once(':').unwrap();
        assert_eq!(until, "1700000600");
        assert_eq!(made.expires.to_string(), "2023-11-14T22:23:20.000Z");
        // What `printf '%s' USERNAME | openssl dgst -sha1 -hmac north -binary | base64` says.
        assert_eq!(name, "72b5ee0d3224bd337716");
        assert_eq!(made.password, "F7M/Pn9pzivfzd49CRnousqLHE4=");
        let juliet = BareJid::parse("juliet@example.org").unwrap();
        let hers = Credentials::new(&secret, &juliet, Timestamp(1_700_000_000_999), 600);
        assert_ne!(hers.username, made.username);
        assert!(!made.username.contains("romeo"));
    }
}
