//! We have connected to another server: from the first byte to a stream that takes stanzas, or to the answer to one
//! question of dialback.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::dialback::{Dialback, KeySecret, Pair, Verdict};
use super::receiving::Question;
use super::{LIMITS, header};
use crate::error::{StreamCondition, StreamError};
use crate::ns;
use crate::stream::output::{Dialect, OurHeader, Output};
use crate::stream::sm;
use crate::xml::{Element, StreamContext};

/// What the connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Stanzas.
    Stanzas,
    /// The answer to one question: did you make this key?
    Verification(Question),
}

/// How we prove ourselves, and what we ask of the other side.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether dialback is used where certificates are not enough, on either side.
    pub dialback: bool,
    /// What our keys are made with.
    pub secret: KeySecret,
}

/// What to do after an input.
#[derive(Debug)]
pub struct Step {
    /// To send first, in order.
    pub send: Vec<Vec<u8>>,
    /// What then.
    pub next: Next,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    Read,
    /// Read on; a new stream header comes.
    Restart,
    /// Do the TLS handshake as the client, then call [`Initiating::secured`].
    StartTls,
    /// The stream takes stanzas.
    Ready {
        /// Whether the other side acknowledges them (XEP-0198).
        managed: bool,
    },
    /// The answer to the question.
    Verified(Verdict),
    /// It comes to nothing: close the connection.
    Fail(Failure),
}

/// Why a connection to another server came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It offers no TLS, or refuses it.
    #[error("it offers no TLS")]
    NoTls,
    /// Its certificate does not vouch for its domain, and dialback is off.
    #[error("its certificate does not vouch for it")]
    Untrusted,
    /// It takes none of the proofs that we have.
    #[error("it takes no proof that we have")]
    NoProof,
    /// It does not believe that we speak for our domain.
    #[error("it does not believe us")]
    Disbelieved,
    /// It could not verify us.
    #[error("it could not verify us: {0}")]
    Unverified(&'static str),
    /// It ended the stream.
    #[error("it ended the stream: {}", .0.map_or("without an error", StreamCondition::as_str))]
    Ended(Option<StreamCondition>),
    /// It does not speak XMPP as servers do.
    #[error("it broke the protocol: {}", .0.as_str())]
    Broken(StreamCondition),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Features,
    Proceed,
    Success,
    Claimed,
    Asked,
    Enabling,
    Over,
}

/// One connection of ours.
#[derive(Debug)]
pub struct Initiating {
    pair: Pair,
    goal: Goal,
    policy: Policy,
    out: Output,
    state: State,
    secure: bool,
    /// Does the other side's certificate vouch for its domain?
    trusted: bool,
    /// The other side has taken our certificate.
    certified: bool,
    /// The other side has refused our certificate.
    refused: bool,
    offers_sm: bool,
    /// The id that the other side gave the stream.
    id: String,
    context: StreamContext,
}

type Turn = Result<Next, Failure>;

impl Initiating {
    /// A connection to the server of `pair.to`. Call [`Initiating::start`], after [`Initiating::secured`] if it has TLS
    /// from the first byte.
    pub fn new(pair: Pair, goal: Goal, policy: Policy) -> Initiating {
        Initiating {
            pair,
            goal,
            policy,
            out: Output::new(Dialect::Server),
            state: State::Header,
            secure: false,
            trusted: false,
            certified: false,
            refused: false,
            offers_sm: false,
            id: String::new(),
            context: StreamContext::bare(ns::SERVER),
        }
    }

    /// TLS is there; `trusted` says whether the other side's certificate vouches for its domain.
    pub fn secured(&mut self, trusted: bool) {
        self.secure = true;
        self.trusted = trusted;
    }

    /// Opens the stream.
    pub fn start(&mut self) -> Step {
        self.state = State::Header;
        self.turn(|this| {
            this.send_header();
            Ok(Next::Read)
        })
    }

    /// The other side's header has arrived.
    pub fn stream_open(&mut self, bytes: &[u8]) -> Step {
        self.turn(|this| {
            let tag = header(bytes)?;
            if this.state != State::Header {
                return Err(Failure::Broken(StreamCondition::BadFormat));
            }
            this.context = tag.context;
            this.id = tag.id.map(String::from).unwrap_or_default();
            this.state = State::Features;
            Ok(Next::Read)
        })
    }

    /// An element has arrived, before [`Next::Ready`].
    pub fn element(&mut self, bytes: &[u8]) -> Step {
        self.turn(|this| {
            let element = Element::parse_in(bytes, &LIMITS, &this.context);
            let element = element.map_err(StreamError::from)?;
            if element.is("error", ns::STREAM) {
                let error = StreamError::from_element(&element);
                return Err(Failure::Ended(Some(error.condition)));
            }
            this.received(&element)
        })
    }

    /// The other side has closed its stream.
    pub fn stream_close(&mut self) -> Step {
        self.turn(|_| Err(Failure::Ended(None)))
    }

    /// What the other side's header declares for the elements of the stream.
    pub fn context(&self) -> &StreamContext {
        &self.context
    }

    fn turn(&mut self, run: impl FnOnce(&mut Initiating) -> Turn) -> Step {
        let next = run(self).unwrap_or_else(|failure| {
            if let Failure::Broken(condition) = failure {
                self.out.stream_error(&condition.into());
            }
            Next::Fail(failure)
        });
        if matches!(next, Next::Fail(_) | Next::Verified(_)) {
            self.out.close();
            self.state = State::Over;
        }
        let send = self.out.take();
        Step { send, next }
    }

    fn send_header(&mut self) {
        self.out.restart();
        self.out.header(&OurHeader {
            id: None,
            from: self.pair.from.as_str(),
            to: Some(self.pair.to.as_str()),
        });
    }

    fn received(&mut self, element: &Element) -> Turn {
        match (self.state, element.ns(), element.name()) {
            (State::Features, ns::STREAM, "features") => self.features(element),
            (State::Proceed, ns::TLS, "proceed") => Ok(Next::StartTls),
            (State::Proceed, ns::TLS, "failure") => Err(Failure::NoTls),
            (State::Success, ns::SASL, "success") => {
                self.certified = true;
                self.state = State::Header;
                self.send_header();
                Ok(Next::Restart)
            }
            (State::Success, ns::SASL, "failure") => {
                self.refused = true;
                // The features of this stream said what else there is.
                self.claim()
            }
            (State::Claimed | State::Asked, ns::DIALBACK, _) => self.answered(element),
            (State::Enabling, ns::SM, "enabled") => self.ready(true),
            (State::Enabling, ns::SM, "failed") => self.ready(false),
            // What else servers say while we wait (another's questions, features again) is not for us.
            _ => Ok(Next::Read),
        }
    }

    fn features(&mut self, features: &Element) -> Turn {
        if !self.secure {
            let starttls = features.child("starttls", ns::TLS);
            starttls.ok_or(Failure::NoTls)?;
            self.out.element(&Element::new("starttls", ns::TLS));
            self.state = State::Proceed;
            return Ok(Next::Read);
        }
        if !self.trusted && !self.policy.dialback {
            return Err(Failure::Untrusted);
        }
        self.offers_sm = features.child("sm", ns::SM).is_some();
        if let Goal::Verification(question) = &self.goal {
            let question = Dialback::Question {
                pair: self.pair.clone(),
                id: question.id.clone(),
                key: question.key.clone(),
            };
            self.out.raw(question.to_bytes());
            self.state = State::Asked;
            return Ok(Next::Read);
        }
        if self.certified {
            return self.enable();
        }
        let mechanisms = features.child("mechanisms", ns::SASL);
        let is_external = |mechanism: &Element| mechanism.text().trim() == "EXTERNAL";
        if mechanisms.is_some_and(|all| all.children().any(is_external)) && !self.refused {
            let authzid = BASE64.encode(self.pair.from.as_str());
            let auth = Element::new("auth", ns::SASL).with_attr("mechanism", "EXTERNAL");
            self.out.element(&auth.with_text(&authzid));
            self.state = State::Success;
            return Ok(Next::Read);
        }
        self.claim()
    }

    /// Proves us by dialback.
    fn claim(&mut self) -> Turn {
        if !self.policy.dialback {
            return Err(Failure::NoProof);
        }
        let key = self.policy.secret.key(&self.pair, &self.id);
        let pair = self.pair.clone();
        self.out.raw(Dialback::Claim { pair, key }.to_bytes());
        self.state = State::Claimed;
        Ok(Next::Read)
    }

    fn answered(&mut self, element: &Element) -> Turn {
        let ours = self.pair.reversed();
        match (self.state, Dialback::parse(element)) {
            (State::Claimed, Some(Dialback::Result { pair, verdict })) if pair == ours => {
                match verdict {
                    Verdict::Valid => self.enable(),
                    Verdict::Invalid => Err(Failure::Disbelieved),
                    Verdict::Error(error) => Err(Failure::Unverified(error.condition.as_str())),
                }
            }
            (State::Asked, Some(Dialback::Answer { pair, id, verdict }))
                if pair == ours && self.asked_about(&id) =>
            {
                Ok(Next::Verified(verdict))
            }
            // XEP-0220 §3.1: an answer to nothing that we asked is none.
            _ => Ok(Next::Read),
        }
    }

    fn asked_about(&self, id: &str) -> bool {
        matches!(&self.goal, Goal::Verification(question) if question.id == id)
    }

    fn enable(&mut self) -> Turn {
        if !self.offers_sm {
            return self.ready(false);
        }
        self.out
            .element(&sm::Nonza::Enable(sm::Enable::default()).to_element());
        self.state = State::Enabling;
        Ok(Next::Read)
    }

    fn ready(&mut self, managed: bool) -> Turn {
        self.state = State::Over;
        Ok(Next::Ready { managed })
    }
}

impl From<StreamError> for Failure {
    /// What we would tell the other side.
    fn from(error: StreamError) -> Failure {
        Failure::Broken(error.condition)
    }
}
