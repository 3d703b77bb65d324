//! From the first byte to a session: what a server says to a client that connects.
//!
//! A [`Negotiation`] is told what arrives and says what to send and what to do next. It does no
//! IO, reads no clock and knows no accounts; what it has to know, it asks. It speaks RFC 6120 §4
//! to §7 (streams, STARTTLS, SASL, binding), RFC 7395 (WebSocket), XEP-0077 before log-in,
//! XEP-0198 (resumption), XEP-0386 1.1.0 (Bind 2), XEP-0388 1.0.4 (SASL2), XEP-0440 1.0.0,
//! XEP-0474 0.5.0, XEP-0478 0.2.0 (limits), XEP-0480 0.2.0 (upgrades) and
//! XEP-0484 0.2.0 (FAST). Left out: other SASL2 tasks, such as a second factor, TLS early data, stream compression.
//!
//! The loop that its user writes:
//!
//! ```text
//! let mut negotiation = Negotiation::new(policy, transport, random_seed);
//! let mut step = // TCP: from the framer; WebSocket: every message goes to element()
//!     match frame {
//!         Frame::StreamOpen(n) => negotiation.stream_open(&buffer[..n]),
//!         Frame::Element(n) => negotiation.element(&buffer[..n]),
//!         Frame::StreamClose(_) => negotiation.stream_close(),
//!         Err(xml_error) => negotiation.fail(xml_error.into()),
//!         time to authenticate is over => negotiation.fail(StreamCondition::ConnectionTimeout.into()),
//!     };
//! loop {
//!     for bytes in step.send { socket.write(bytes) } // WebSocket: each is one text message
//!     match step.next {
//!         Next::Read => break,       // the next frame
//!         Next::Restart => break,    // the next frame, with a new Framer: a new stream begins
//!         Next::StartTls => {        // flush; bytes that were read ahead are an attack: close
//!             handshake; negotiation.secured(new_transport); break // with a new Framer
//!         }
//!         Next::Ask(ask) => step = negotiation.answer(answer(ask).await),
//!         Next::Done(session) => serve the session,
//!         Next::Close => flush and close,
//!     }
//! }
//! ```
//!
//! A wrong password is announced by [`Ask::Failed`] before the client hears of it, so that the
//! accounts can make the client wait.

mod ask;
mod bind;
mod features;
mod header;
mod login;
mod register;
mod sasl1;
mod sasl2;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;

pub use ask::{
    Answer, Ask, BindRequest, Bound, ClientId, IssuedToken, Session, TokenProof, TokenVerdict,
    Upgrade, UserAgent, Wanted,
};

use crate::error::{StreamCondition, StreamError};
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::{ChannelBindings, Hash, Mechanism};
use crate::stream::output::{Dialect, Output};
use crate::xml::{Element, Limits, OpenTag, StreamContext};
use bind::ExpectBind;
use login::ExpectLogin;

/// What the server offers and demands; one for all streams, replaced when the configuration is.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The hosts served here, at least one.
    pub hosts: Vec<Host>,
    /// The mechanisms enabled; each is offered where the connection allows it. HT mechanisms are
    /// governed by `fast`.
    pub mechanisms: Vec<Mechanism>,
    /// Whether FAST tokens are given and taken.
    pub fast: bool,
    /// Whether sessions can be resumed.
    pub resumption: bool,
    /// Failed or aborted log-ins on one stream before it is closed (RFC 6120 §6.4.5: 2 to 5
    /// retries).
    pub auth_attempts: u32,
    /// Elements on one stream before there is a session: enough for the log-ins allowed and
    /// little more, so that nobody talks without logging in.
    pub elements: u32,
    /// Bounds of each of these elements; their size is announced (XEP-0478).
    pub limits: Limits,
    /// What is announced of the bounds of a session.
    pub session_limits: SessionLimits,
}

impl Policy {
    /// All mechanisms, FAST and resumption, with the default bounds.
    pub fn new(hosts: Vec<Host>) -> Policy {
        Policy {
            hosts,
            mechanisms: Mechanism::ALL.to_vec(),
            fast: true,
            resumption: true,
            auth_attempts: 5,
            elements: 40,
            limits: Limits {
                stanza_bytes: 16 * 1024,
                depth: 16,
                attributes: 32,
                children: 64,
                ..Limits::default()
            },
            session_limits: SessionLimits::default(),
        }
    }

    fn host(&self, domain: &str) -> Option<&Host> {
        self.hosts
            .iter()
            .find(|host| host.domain.as_str() == domain)
    }
}

/// What a client should know of its session's bounds (XEP-0478); nothing is said of what is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionLimits {
    /// Bytes of one stanza.
    pub stanza_bytes: Option<usize>,
    /// Seconds of silence after which the server asks whether the client is still there.
    pub idle_seconds: Option<u64>,
}

/// A host served here.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its domain.
    pub domain: BareJid,
    /// Whether anyone may make an account before logging in (XEP-0077).
    pub registration: bool,
    /// Stream features of an authenticated stream besides ours, such as roster versioning.
    pub session_features: Arc<[Element]>,
}

/// How the peer is connected.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// Whether elements stand in WebSocket messages.
    pub websocket: bool,
    /// Whether credentials may be shown: TLS, or development on loopback.
    pub secure: bool,
    /// Whether STARTTLS can be had; demanded unless `secure`.
    pub starttls: bool,
    /// The TLS connection's channel bindings.
    pub bindings: ChannelBindings,
    /// The accounts that the client's verified certificate names.
    pub certified: Vec<BareJid>,
}

/// What to do after an input.
#[derive(Debug)]
pub struct Step {
    /// To send first, in order; over WebSocket each is a message of its own.
    pub send: Vec<Vec<u8>>,
    /// What then.
    pub next: Next,
    /// The stream error among what is sent, for statistics.
    pub error: Option<StreamCondition>,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Read on.
    Read,
    /// Read on; a new stream header comes, in a new XML document.
    Restart,
    /// Do the TLS handshake as the server, then call [`Negotiation::secured`].
    StartTls,
    /// Find the answer, then call [`Negotiation::answer`].
    Ask(Ask),
    /// The session is there.
    Done(Box<Session>),
    /// Close the connection.
    Close,
}

/// One connection's way to a session.
#[derive(Debug)]
pub struct Negotiation {
    shared: Shared,
    state: State,
}

/// What all states need.
#[derive(Debug)]
struct Shared {
    policy: Arc<Policy>,
    transport: Transport,
    nonces: Nonces,
    out: Output,
    /// The host that the stream is to.
    host: Option<Host>,
    /// The account that the client says it is, unproven.
    from: Option<BareJid>,
    context: StreamContext,
    /// Log-ins begun on this connection.
    attempts: u32,
    /// Elements received on this connection.
    elements: u32,
}

/// Where the negotiation is; each state is a type named for what it waits for.
#[derive(Debug)]
enum State {
    /// A stream header; with the login after SASL1.
    Header(Option<login::Login>),
    Login(ExpectLogin),
    Response(login::ExpectResponse),
    LoginAnswer(Box<login::ExpectAnswer>),
    Upgrade(Box<upgrade::Upgrading>),
    Registered(register::ExpectRegistered),
    Establish(Box<sasl2::Establish>),
    Bind(ExpectBind),
    BindAnswer(Box<bind::ExpectAnswer>),
    /// The handshake.
    Tls,
    Closed,
}

/// What a state makes of an input.
type Turn = Result<(State, Next), StreamError>;

impl Negotiation {
    /// A connection has been accepted. `seed` is fresh randomness; stream ids and nonces are
    /// derived from it.
    pub fn new(policy: Arc<Policy>, transport: Transport, seed: [u8; 32]) -> Negotiation {
        let context = match transport.websocket {
            true => StreamContext::framed(None),
            false => StreamContext::client(),
        };
        let shared = Shared {
            out: Output::new(match transport.websocket {
                true => Dialect::WebSocket,
                false => Dialect::Client,
            }),
            policy,
            transport,
            nonces: Nonces { seed, count: 0 },
            host: None,
            from: None,
            context,
            attempts: 0,
            elements: 0,
        };
        Negotiation {
            shared,
            state: State::Header(None),
        }
    }

    /// A stream header has arrived over TCP: the bytes of [`crate::xml::Frame::StreamOpen`].
    pub fn stream_open(&mut self, bytes: &[u8]) -> Step {
        let parsed = OpenTag::parse(bytes, &self.shared.policy.limits);
        self.turn(|shared, state| {
            let tag = header::StreamHeader::from_tag(parsed?)?;
            opened(shared, state, tag)
        })
    }

    /// An element has arrived: the bytes of [`crate::xml::Frame::Element`], or a whole WebSocket
    /// message.
    pub fn element(&mut self, bytes: &[u8]) -> Step {
        let shared = &self.shared;
        let parsed = Element::parse_in(bytes, &shared.policy.limits, &shared.context);
        self.turn(|shared, state| {
            let element = parsed?;
            shared.elements += 1;
            if shared.elements > shared.policy.elements {
                return Err(StreamError::new(StreamCondition::PolicyViolation)
                    .with_text("too many elements before a session"));
            }
            if shared.transport.websocket && element.ns() == ns::FRAMING {
                return framed(shared, state, &element);
            }
            received(shared, state, &element)
        })
    }

    /// The client has closed its stream.
    pub fn stream_close(&mut self) -> Step {
        self.turn(|shared, _| {
            shared.out.close();
            Ok((State::Closed, Next::Close))
        })
    }

    /// The TLS handshake that [`Next::StartTls`] asked for is done; a new stream begins.
    pub fn secured(&mut self, transport: Transport) {
        self.shared.transport = transport;
        // RFC 6120 §5.4.3.3: what was said before the handshake is not to be trusted.
        self.shared.host = None;
        self.shared.from = None;
        self.state = State::Header(None);
    }

    /// The answer to [`Next::Ask`].
    pub fn answer(&mut self, answer: Answer) -> Step {
        self.turn(|shared, state| match state {
            State::LoginAnswer(state) => state.answer(shared, answer),
            State::Upgrade(state) => state.answer(shared, answer),
            State::Registered(state) => state.answer(shared, answer),
            State::Establish(state) => state.answer(shared, answer),
            State::BindAnswer(state) => state.answer(shared, answer),
            State::Header(_)
            | State::Login(_)
            | State::Response(_)
            | State::Bind(_)
            | State::Tls
            | State::Closed => Err(mismatch()),
        })
    }

    /// The stream ends for a reason outside of the negotiation: bad XML, time-out, shutdown.
    pub fn fail(&mut self, error: StreamError) -> Step {
        self.turn(|_, _| Err(error))
    }

    /// The host that the stream is to, once the client has said so.
    pub fn host(&self) -> Option<&str> {
        self.shared.host.as_ref().map(|host| host.domain.as_str())
    }

    /// Whether the client has logged in.
    pub fn is_authenticated(&self) -> bool {
        match &self.state {
            State::Upgrade(_) | State::Establish(_) | State::Bind(_) | State::BindAnswer(_) => true,
            State::Header(login) => login.is_some(),
            State::Login(_)
            | State::Response(_)
            | State::LoginAnswer(_)
            | State::Registered(_)
            | State::Tls
            | State::Closed => false,
        }
    }

    /// Runs one input through the state and collects what it wants sent.
    fn turn(&mut self, run: impl FnOnce(&mut Shared, State) -> Turn) -> Step {
        let state = std::mem::replace(&mut self.state, State::Closed);
        if matches!(state, State::Closed) {
            return Step {
                send: Vec::new(),
                next: Next::Close,
                error: None,
            };
        }
        let (next, error) = match run(&mut self.shared, state) {
            Ok((state, next)) => {
                self.state = state;
                (next, None)
            }
            Err(error) => {
                header::ensure_sent(&mut self.shared);
                self.shared.out.stream_error(&error);
                (Next::Close, Some(error.condition))
            }
        };
        Step {
            send: self.shared.out.take(),
            next,
            error,
        }
    }
}

/// A stream header, from TCP or WebSocket.
fn opened(shared: &mut Shared, state: State, header: header::StreamHeader) -> Turn {
    let State::Header(login) = state else {
        return Err(StreamCondition::BadFormat.into());
    };
    header::check(shared, header)?;
    header::send(shared);
    Ok((features::begin(shared, login), Next::Read))
}

/// `<open/>` and `<close/>` of RFC 7395.
fn framed(shared: &mut Shared, state: State, element: &Element) -> Turn {
    match element.name() {
        "open" => opened(shared, state, header::StreamHeader::from_open(element)),
        "close" => {
            shared.out.close();
            Ok((State::Closed, Next::Close))
        }
        _ => Err(StreamCondition::UnsupportedStanzaType.into()),
    }
}

fn received(shared: &mut Shared, state: State, element: &Element) -> Turn {
    match state {
        State::Login(state) => state.element(shared, element),
        State::Response(state) => state.element(shared, element),
        State::Upgrade(state) => state.element(shared, element),
        State::Bind(state) => state.element(shared, element),
        // RFC 7395 §3.3.1: the first message has to be <open/>. Over TCP the framer sees to that.
        State::Header(_) => Err(StreamCondition::BadFormat.into()),
        // The driver reads nothing while it owes us an answer.
        State::LoginAnswer(_)
        | State::Registered(_)
        | State::Establish(_)
        | State::BindAnswer(_)
        | State::Tls
        | State::Closed => Err(mismatch()),
    }
}

/// The driver and the negotiation disagree about whose turn it is: our own fault.
fn mismatch() -> StreamError {
    debug_assert!(false, "an input that was not asked for");
    StreamCondition::InternalServerError.into()
}

/// Stream ids and nonces, each derived from one seed: unpredictable to whoever has seen others.
struct Nonces {
    seed: [u8; 32],
    count: u64,
}

impl Nonces {
    /// 144 bits as 24 characters of base64.
    fn next(&mut self) -> String {
        use base64::Engine as _;
        self.count += 1;
        let digest = Hash::Sha256.hmac(&self.seed, &[&self.count.to_be_bytes()]);
        base64::engine::general_purpose::STANDARD.encode(&digest.as_slice()[..18])
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}
