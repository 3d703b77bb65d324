//! Whole negotiations without a socket: what the client says, what the server says.

mod errors;
mod fast;
mod login;
mod registration;
mod session;
mod transport;
mod upgrade;

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::error::{Condition, StanzaError};
use crate::jid::FullJid;
use crate::sasl::client::{Credentials, Exchange};
use crate::sasl::downgrade::Advertised;
use crate::sasl::scram::client::Binding;
use crate::sasl::{BindingType, Secret, StoredKeys, ht};
use crate::stream::sm;

const ITERATIONS: u32 = 4096;
const HEADER: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>";
const UUID: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

/// A server whose only account is romeo@a.example with the password «secret», and a client's end.
struct Wire {
    negotiation: Negotiation,
    /// What the driver was asked, one word each.
    asked: Vec<String>,
    /// The tokens given out, by mechanism's name.
    token: Option<(String, HtToken)>,
    /// The id of the only session that can be resumed.
    resumable: Option<&'static str>,
    refuse_bind: bool,
    /// The upgrades that Romeo's keys need, and the keys that came of them.
    upgrades: Vec<Upgrade>,
    upgraded: Vec<StoredKeys>,
    registered: HashMap<String, Secret>,
    done: Option<Session>,
    closed: bool,
    error: Option<StreamCondition>,
}

#[derive(Clone)]
struct HtToken {
    text: &'static str,
    expired: bool,
    due: bool,
}

fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some([1; 32]),
        server_end_point: Some([2; 32].into()),
    }
}

fn tls() -> Transport {
    Transport {
        secure: true,
        bindings: bindings(),
        ..Transport::default()
    }
}

fn policy() -> Policy {
    let domain = BareJid::parse("a.example").unwrap();
    let other = BareJid::parse("b.example").unwrap();
    Policy::new(vec![
        Host {
            domain,
            registration: true,
            session_features: Arc::default(),
        },
        Host {
            domain: other,
            registration: false,
            session_features: Arc::default(),
        },
    ])
}

impl Wire {
    fn with(policy: Policy, transport: Transport) -> Wire {
        Wire {
            negotiation: Negotiation::new(Arc::new(policy), transport, [7; 32]),
            asked: Vec::new(),
            token: None,
            resumable: None,
            refuse_bind: false,
            upgrades: Vec::new(),
            upgraded: Vec::new(),
            registered: HashMap::new(),
            done: None,
            closed: false,
            error: None,
        }
    }

    fn over(transport: Transport) -> Wire {
        Wire::with(policy(), transport)
    }

    /// Over TLS, with the stream open.
    fn secure() -> Wire {
        let mut wire = Wire::over(tls());
        wire.say(HEADER);
        wire
    }

    /// The client says something; what the server says to it.
    fn say(&mut self, xml: &str) -> String {
        let step = match xml {
            "</stream:stream>" => self.negotiation.stream_close(),
            header if header.contains("<stream:stream") => {
                self.negotiation.stream_open(xml.as_bytes())
            }
            element => self.negotiation.element(element.as_bytes()),
        };
        self.follow(step)
    }

    fn follow(&mut self, mut step: Step) -> String {
        let mut said = String::new();
        loop {
            for bytes in step.send {
                said.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            self.error = step.error.or(self.error);
            match step.next {
                Next::Read => return said,
                Next::Restart => return said + "[restart]",
                Next::StartTls => return said + "[tls]",
                Next::Close => {
                    self.closed = true;
                    return said + "[close]";
                }
                Next::Done(session) => {
                    self.done = Some(*session);
                    return said + "[done]";
                }
                Next::Ask(ask) => {
                    let answer = self.answer(ask);
                    step = self.negotiation.answer(answer);
                }
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let is_romeo = |account: &BareJid| account.as_str() == "romeo@a.example";
        self.asked.push(word(&ask));
        match ask {
            Ask::Keys { account, hash } => Answer::Keys(Box::new(match is_romeo(&account) {
                true => StoredKeys::derive(hash, &"secret".into(), b"salt", ITERATIONS).unwrap(),
                false => StoredKeys::fake(hash, b"server", account.as_str(), ITERATIONS),
            })),
            Ask::Password { account, password } => {
                Answer::Verified(is_romeo(&account) && password.expose() == "secret")
            }
            Ask::Certificate { account } => Answer::Verified(is_romeo(&account)),
            Ask::Token(proof) => Answer::Token(Box::new(self.verdict(&proof))),
            Ask::Failed { .. } => Answer::Proceed,
            Ask::Upgrades { proven, wanted, .. } => {
                assert!(proven.is_password(&"secret".into()));
                let mut upgrades = self.upgrades.clone();
                upgrades.retain(|upgrade| wanted.contains(&upgrade.hash));
                Answer::Upgrades(upgrades)
            }
            Ask::Upgrade { keys, .. } => {
                self.upgraded.push(*keys);
                Answer::Proceed
            }
            Ask::IssueToken { .. } => Answer::Issued(Some(issued("new-token"))),
            Ask::Resume { resume, .. } => match self.resumable {
                Some(id) if id == resume.previd => Answer::Resumed {
                    jid: FullJid::parse("romeo@a.example/garden").unwrap(),
                    h: 5,
                },
                _ => Answer::NotResumed(sm::Failed::new(Condition::ItemNotFound)),
            },
            Ask::Bind(_) if self.refuse_bind => {
                Answer::NotBound(Box::new(StanzaError::resource_constraint()))
            }
            Ask::Bind(request) => Answer::Bound(Box::new(bound(&request))),
            Ask::Register { account, password } => {
                let name = account.to_string();
                match is_romeo(&account) || self.registered.contains_key(&name) {
                    true => Answer::Registered(Err(Box::new(StanzaError::conflict()))),
                    false => {
                        self.registered.insert(name, password);
                        Answer::Registered(Ok(()))
                    }
                }
            }
        }
    }

    fn verdict(&self, proof: &TokenProof) -> TokenVerdict {
        match &self.token {
            Some((mechanism, token))
                if Mechanism::Ht(proof.mechanism).name() == mechanism
                    && ht::initiator(token.text, &proof.binding) == proof.initiator =>
            {
                if token.expired {
                    return TokenVerdict::Expired;
                }
                TokenVerdict::Valid {
                    responder: ht::responder(token.text, &proof.binding),
                    rotated: (token.due && proof.rotate).then(|| issued("rotated-token")),
                }
            }
            _ => TokenVerdict::Invalid,
        }
    }

    /// Logs in by SCRAM in SASL1; what the server says at the end.
    fn scram(&mut self, mechanism: Mechanism, binding: &Binding, password: &str) -> String {
        let mut credentials = Credentials::new("romeo", password.into());
        let (mut exchange, initial) =
            Exchange::start(mechanism, binding, &credentials, advertised(), "nonce").unwrap();
        let challenge = self.say(&auth(mechanism.name(), &initial));
        if !challenge.starts_with("<challenge") {
            return challenge;
        }
        let response = exchange
            .challenge(&data(&challenge), &mut credentials)
            .unwrap();
        let end = self.say(&response_element(&response));
        if end.starts_with("<success") {
            exchange.success(Some(&data(&end))).unwrap();
        }
        end
    }

    /// Logs in by SASL2 with SCRAM-SHA-256 and these children of `<authenticate/>`.
    fn sasl2(&mut self, children: &str) -> String {
        let mechanism = Mechanism::from_name("SCRAM-SHA-256").unwrap();
        let mut credentials = Credentials::new("romeo", "secret".into());
        let binding = Binding::Unsupported;
        let (mut exchange, initial) =
            Exchange::start(mechanism, &binding, &credentials, advertised(), "nonce").unwrap();
        let challenge = self.say(&authenticate("SCRAM-SHA-256", &initial, children));
        let response = exchange
            .challenge(&data(&challenge), &mut credentials)
            .unwrap();
        let response = STANDARD.encode(response);
        let end = self.say(&format!(
            "<response xmlns='urn:xmpp:sasl:2'>{response}</response>"
        ));
        if end.starts_with("<success") {
            let proof = between(&end, "<additional-data>", "</additional-data>");
            exchange
                .success(Some(&STANDARD.decode(proof).unwrap()))
                .unwrap();
        }
        end
    }

    /// Logged in by SASL1, with the new stream open.
    fn logged_in() -> Wire {
        let mut wire = Wire::secure();
        wire.say(&auth("PLAIN", b"\0romeo\0secret"));
        wire.say(HEADER);
        wire
    }
}

fn word(ask: &Ask) -> String {
    let text = format!("{ask:?}");
    let end = text
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(text.len());
    text[..end].to_owned()
}

fn issued(token: &'static str) -> IssuedToken {
    IssuedToken {
        token: token.into(),
        expiry: "2030-01-01T00:00:00.000Z".to_owned(),
    }
}

fn bound(request: &BindRequest) -> Bound {
    let resource = match &request.resource {
        Wanted::Any => "any".to_owned(),
        Wanted::Resource(resource) => resource.clone(),
        Wanted::Tag(tag) => format!("{tag}/1"),
    };
    let enabled = |enable: sm::Enable| sm::Enabled {
        resume_id: enable.resume.then(|| "sm-id".to_owned()),
        max_seconds: enable.max_seconds,
    };
    Bound {
        jid: request.account.with_resource(&resource).unwrap(),
        sm: request.enable.map(|enable| Ok(enabled(enable))),
        extra: Vec::new(),
    }
}

fn advertised() -> Advertised {
    let enabled = Mechanism::ALL
        .iter()
        .filter(|m| !matches!(m, Mechanism::Ht(_) | Mechanism::External));
    Advertised {
        mechanisms: enabled.map(|m| m.name().to_owned()).collect(),
        channel_bindings: BindingType::ALL
            .iter()
            .map(|b| b.name().to_owned())
            .collect(),
    }
}

fn exporter(byte: u8) -> Binding {
    Binding::Used(BindingType::TlsExporter, [byte; 32].into())
}

fn auth(mechanism: &str, message: &[u8]) -> String {
    let message = STANDARD.encode(message);
    format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{message}</auth>"
    )
}

fn response_element(message: &[u8]) -> String {
    let message = STANDARD.encode(message);
    format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{message}</response>")
}

fn authenticate(mechanism: &str, message: &[u8], children: &str) -> String {
    let message = STANDARD.encode(message);
    format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>\
         <initial-response>{message}</initial-response>{children}</authenticate>"
    )
}

/// The decoded text of an element.
fn data(element: &str) -> Vec<u8> {
    STANDARD.decode(between(element, ">", "<")).unwrap()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split_once(to)
        .unwrap_or_else(|| panic!("no {to} in {text}"))
        .0
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[track_caller]
fn assert_lacks(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(!text.contains(part), "{part} in {text}");
    }
}
