//! Another server has connected: who it may speak for, and what it is told.
//!
//! Unlike a client's, this negotiation is never over: dialback can add domains at any time. So [`Receiving`] is asked
//! about every stanza ([`Receiving::admits`]) and is given every element that is none.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::dialback::{Dialback, KeySecret, Pair, Verdict, domain};
use super::{LIMITS, header};
use crate::error::{StanzaError, StreamCondition, StreamError};
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::Condition;
use crate::stanza::Stanza;
use crate::stream::output::{Dialect, OurHeader, Output};
use crate::stream::sm;
use crate::xml::{Element, OpenTag, StreamContext};

/// Domain pairs that one stream may prove by dialback: hosters multiplex a few hundred.
pub const MAX_PAIRS: usize = 512;
/// Keys that may wait for their verification at once; each is a connection of ours.
pub const MAX_PENDING: usize = 16;
/// Elements that one stream may send without proving anything.
const MAX_ELEMENTS: u32 = 64;
/// Failed attempts at EXTERNAL (RFC 6120 §6.4.5).
const MAX_ATTEMPTS: u32 = 3;

/// What the receiving side has to know of the world.
pub trait Judge: Send {
    /// Is this a domain of ours, for which stanzas are taken?
    fn serves(&self, domain: &str) -> bool;
    /// May another server speak for this domain here? Never for one of ours.
    fn welcomes(&self, domain: &str) -> bool;
    /// Does the certificate of this connection, verified, vouch for this domain?
    fn certifies(&self, domain: &str) -> bool;
}

/// What is offered.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether a key is enough proof where a certificate is not.
    pub dialback: bool,
    /// What our own keys are made with.
    pub secret: KeySecret,
}

/// What to do after an input.
#[derive(Debug)]
pub struct Step {
    /// To send first, in order.
    pub send: Vec<Vec<u8>>,
    /// What then.
    pub next: Next,
    /// The stream error among what is sent, for statistics.
    pub error: Option<StreamCondition>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    Read,
    /// Read on; a new stream header comes.
    Restart,
    /// Do the TLS handshake as the server, then call [`Receiving::secured`].
    StartTls,
    /// Ask the domain's own server, then call [`Receiving::verified`]; read on meanwhile.
    Verify(Question),
    /// Stream management is enabled; both counters are at zero.
    Managed,
    /// An element of stream management, from a server that has enabled it.
    Manage(sm::Nonza),
    /// Close the connection.
    Close,
}

/// A key to be verified by the server of `pair.from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The domains, as they were claimed.
    pub pair: Pair,
    /// The id of our stream.
    pub id: String,
    /// The key.
    pub key: String,
}

/// See the module comment.
pub struct Receiving {
    policy: Policy,
    judge: Box<dyn Judge>,
    out: Output,
    secure: bool,
    /// The stream id: fresh for each header, since keys are made for it.
    ids: Box<dyn FnMut() -> String + Send>,
    id: String,
    context: StreamContext,
    /// What the header says, unproven.
    from: Option<BareJid>,
    to: Option<BareJid>,
    /// Proven by certificate: it may speak to all of our domains.
    certified: Option<BareJid>,
    /// Proven by dialback.
    pairs: Vec<Pair>,
    pending: Vec<Pair>,
    managed: bool,
    opened: bool,
    closed: bool,
    attempts: u32,
    elements: u32,
}

impl fmt::Debug for Receiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving")
            .field("from", &self.from)
            .field("certified", &self.certified)
            .finish_non_exhaustive()
    }
}

type Turn = Result<Next, StreamError>;

impl Receiving {
    /// A connection has been accepted; `secure` says whether it has TLS already. `ids` gives unguessable stream ids.
    pub fn new(
        policy: Policy,
        judge: Box<dyn Judge>,
        secure: bool,
        ids: Box<dyn FnMut() -> String + Send>,
    ) -> Receiving {
        Receiving {
            policy,
            judge,
            out: Output::new(Dialect::Server),
            secure,
            ids,
            id: String::new(),
            context: StreamContext::bare(ns::SERVER),
            from: None,
            to: None,
            certified: None,
            pairs: Vec::new(),
            pending: Vec::new(),
            managed: false,
            opened: false,
            closed: false,
            attempts: 0,
            elements: 0,
        }
    }

    /// A stream header has arrived.
    pub fn stream_open(&mut self, bytes: &[u8]) -> Step {
        self.turn(|this| {
            let tag = header(bytes)?;
            this.open(tag)?;
            Ok(Next::Read)
        })
    }

    /// An element that is no stanza has arrived.
    pub fn element(&mut self, bytes: &[u8]) -> Step {
        self.turn(|this| {
            let element = Element::parse_in(bytes, &LIMITS, &this.context)?;
            if !this.is_proven() {
                this.elements += 1;
                if this.elements > MAX_ELEMENTS {
                    return Err(StreamCondition::PolicyViolation.into());
                }
            }
            this.received(&element)
        })
    }

    /// The other side has closed its stream.
    pub fn stream_close(&mut self) -> Step {
        self.turn(|this| {
            this.out.close();
            this.closed = true;
            Ok(Next::Close)
        })
    }

    /// The stream ends for a reason outside of the negotiation.
    pub fn fail(&mut self, error: StreamError) -> Step {
        self.turn(|_| Err(error))
    }

    /// The TLS handshake is done; a new stream begins. The judge knows the certificate now.
    pub fn secured(&mut self, judge: Box<dyn Judge>) {
        self.judge = judge;
        self.secure = true;
        self.restart();
    }

    /// The answer to [`Next::Verify`].
    pub fn verified(&mut self, pair: &Pair, verdict: Verdict) -> Step {
        self.turn(|this| {
            let Some(place) = this.pending.iter().position(|pending| pending == pair) else {
                return Ok(Next::Read);
            };
            this.pending.swap_remove(place);
            Ok(this.tell(pair, verdict))
        })
    }

    /// May this stanza come in? RFC 6120 §8.1.1.2, §8.1.2.2.
    ///
    /// # Errors
    /// The stream error that it deserves.
    pub fn admits(&self, stanza: &Stanza) -> Result<(), StreamError> {
        if !self.is_proven() {
            return Err(StreamCondition::NotAuthorized.into());
        }
        let (Some(from), Some(to)) = (&stanza.from, &stanza.to) else {
            return Err(StreamCondition::ImproperAddressing.into());
        };
        let (from, to) = (from.domain(), to.domain());
        if !self.speaks_for(from) {
            return Err(StreamCondition::InvalidFrom.into());
        }
        // RFC 6120 §4.9.3.7: it was ours when the stream was opened, or never.
        if !self.judge.serves(to) {
            return Err(StreamCondition::HostUnknown.into());
        }
        let is_certified = self
            .certified
            .as_ref()
            .is_some_and(|it| it.as_str() == from);
        let is_pair = |pair: &&Pair| pair.from.as_str() == from && pair.to.as_str() == to;
        match is_certified || self.pairs.iter().any(|pair| is_pair(&pair)) {
            true => Ok(()),
            // XEP-0220 §3.1: a key is for one pair.
            false => Err(StreamCondition::InvalidFrom.into()),
        }
    }

    /// Has the other side proved to speak for this domain, to whichever of ours?
    pub fn speaks_for(&self, domain: &str) -> bool {
        self.certified
            .as_ref()
            .is_some_and(|it| it.as_str() == domain)
            || self.pairs.iter().any(|pair| pair.from.as_str() == domain)
    }

    /// Has the other side proved anything?
    pub fn is_proven(&self) -> bool {
        self.certified.is_some() || !self.pairs.is_empty()
    }

    /// The domain that the other side claimed first, for logs; unproven.
    pub fn peer(&self) -> Option<&str> {
        self.from.as_ref().map(BareJid::as_str)
    }

    /// The domain of ours that the stream is to, for the choice of a certificate.
    pub fn host(&self) -> Option<&str> {
        self.to.as_ref().map(BareJid::as_str)
    }

    /// What the header declares for the elements of the stream.
    pub fn context(&self) -> &StreamContext {
        &self.context
    }

    fn turn(&mut self, run: impl FnOnce(&mut Receiving) -> Turn) -> Step {
        if self.closed {
            return Step {
                send: Vec::new(),
                next: Next::Close,
                error: None,
            };
        }
        let (next, error) = match run(self) {
            Ok(next) => (next, None),
            Err(error) => {
                if !self.out.is_open() {
                    self.send_header();
                }
                self.out.stream_error(&error);
                self.closed = true;
                (Next::Close, Some(error.condition))
            }
        };
        Step {
            send: self.out.take(),
            next,
            error,
        }
    }

    fn open(&mut self, tag: OpenTag) -> Result<(), StreamError> {
        if self.opened {
            return Err(StreamCondition::BadFormat.into());
        }
        self.context = tag.context;
        let to = tag
            .to
            .as_deref()
            .ok_or(StreamCondition::ImproperAddressing)?;
        self.from = tag.from.as_deref().and_then(domain);
        self.to = domain(to).filter(|to| self.judge.serves(to.as_str()));
        if self.to.is_none() {
            return Err(StreamCondition::HostUnknown.into());
        }
        if tag.from.is_some() {
            let from = self.from.as_ref().ok_or(StreamCondition::InvalidFrom)?;
            if !self.judge.welcomes(from.as_str()) {
                return Err(StreamCondition::PolicyViolation.into());
            }
        }
        self.send_header();
        self.opened = true;
        let features = self.features();
        self.out.features(&features);
        Ok(())
    }

    fn send_header(&mut self) {
        self.id = (self.ids)();
        let name = |jid: &Option<BareJid>| jid.as_ref().map(|jid| jid.as_str().to_owned());
        let (from, to) = (name(&self.to), name(&self.from));
        self.out.header(&OurHeader {
            id: Some(&self.id),
            from: from.as_deref().unwrap_or_default(),
            to: to.as_deref(),
        });
    }

    fn features(&self) -> Element {
        let mut features = Element::new("features", ns::STREAM);
        if !self.secure {
            let required = Element::new("required", ns::TLS);
            features.push_child(Element::new("starttls", ns::TLS).with_child(required));
            return features;
        }
        if self.certified.is_none() && self.offers_external() {
            let external = Element::new("mechanism", ns::SASL).with_text("EXTERNAL");
            features.push_child(Element::new("mechanisms", ns::SASL).with_child(external));
        }
        if self.policy.dialback || self.certified.is_some() || self.offers_external() {
            let errors = Element::new("errors", ns::DIALBACK_FEATURE);
            features.push_child(Element::new("dialback", ns::DIALBACK_FEATURE).with_child(errors));
        }
        features.push_child(Element::new("sm", ns::SM));
        features
    }

    /// RFC 6120 §6.3.4: EXTERNAL only where it can succeed.
    fn offers_external(&self) -> bool {
        let from = self.from.as_ref();
        from.is_some_and(|from| self.judge.certifies(from.as_str()))
    }

    fn restart(&mut self) {
        self.out.restart();
        self.opened = false;
    }

    fn received(&mut self, element: &Element) -> Turn {
        match (element.ns(), element.name()) {
            (ns::TLS, "starttls") if !self.secure => {
                self.out.element(&Element::new("proceed", ns::TLS));
                Ok(Next::StartTls)
            }
            (ns::SASL, "auth") if self.secure && self.certified.is_none() => self.auth(element),
            (ns::DIALBACK, _) if self.secure => match Dialback::parse(element) {
                Some(Dialback::Claim { pair, key }) => Ok(self.claimed(pair, key)),
                Some(Dialback::Question { pair, id, key }) => Ok(self.asked(&pair, id, &key)),
                // These answer what is asked on streams of ours only.
                Some(Dialback::Result { .. } | Dialback::Answer { .. }) => Ok(Next::Read),
                None => Err(StreamCondition::BadFormat.into()),
            },
            (ns::SM, _) if self.is_proven() => self.managed(sm::Nonza::parse(element)?),
            (ns::STREAM, "error") => {
                self.out.close();
                self.closed = true;
                Ok(Next::Close)
            }
            _ if !self.is_proven() => Err(StreamCondition::NotAuthorized.into()),
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    fn managed(&mut self, nonza: sm::Nonza) -> Turn {
        match nonza {
            sm::Nonza::Enable(_) if !self.managed => {
                self.managed = true;
                self.out.element(&sm::Enabled::default().to_element());
                Ok(Next::Managed)
            }
            sm::Nonza::Enable(_) | sm::Nonza::Resume(_) => {
                let failed = sm::Failed::new(crate::error::Condition::UnexpectedRequest);
                self.out.element(&failed.to_element());
                Ok(Next::Read)
            }
            nonza if self.managed => Ok(Next::Manage(nonza)),
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    /// XEP-0178 §3, RFC 6120 §13.7.2.1.
    fn auth(&mut self, auth: &Element) -> Turn {
        match self.authenticated(auth) {
            Ok(domain) => {
                self.certified = Some(domain);
                self.out.element(&Element::new("success", ns::SASL));
                self.restart();
                Ok(Next::Restart)
            }
            Err(condition) => {
                self.attempts += 1;
                if self.attempts >= MAX_ATTEMPTS {
                    return Err(StreamCondition::PolicyViolation.into());
                }
                let condition = Element::new(condition.name(), ns::SASL);
                self.out
                    .element(&Element::new("failure", ns::SASL).with_child(condition));
                Ok(Next::Read)
            }
        }
    }

    fn authenticated(&self, auth: &Element) -> Result<BareJid, Condition> {
        if auth.attr("mechanism") != Some("EXTERNAL") {
            return Err(Condition::InvalidMechanism);
        }
        let text = auth.text();
        let asked = match text.trim() {
            // RFC 6120 §6.4.2: an empty initial response; none at all counts as one, too.
            "" | "=" => self.from.clone(),
            encoded => {
                let bytes = BASE64
                    .decode(encoded)
                    .map_err(|_| Condition::IncorrectEncoding)?;
                let text = std::str::from_utf8(&bytes).map_err(|_| Condition::MalformedRequest)?;
                Some(domain(text).ok_or(Condition::InvalidAuthzid)?)
            }
        };
        // Without a `from` there is nobody to be.
        let asked = asked.ok_or(Condition::InvalidAuthzid)?;
        if self.from.as_ref().is_some_and(|from| *from != asked) {
            return Err(Condition::InvalidAuthzid);
        }
        match self.judge.welcomes(asked.as_str()) && self.judge.certifies(asked.as_str()) {
            true => Ok(asked),
            false => Err(Condition::NotAuthorized),
        }
    }

    /// `<db:result/>`: the other side says that it speaks for a domain.
    fn claimed(&mut self, pair: Pair, key: String) -> Next {
        let refused = |error| Verdict::Error(Box::new(error));
        if !self.judge.serves(pair.to.as_str()) {
            return self.tell(&pair, refused(StanzaError::item_not_found()));
        }
        if !self.judge.welcomes(pair.from.as_str()) {
            return self.tell(&pair, refused(StanzaError::policy_violation()));
        }
        if self.pairs.contains(&pair) || self.judge.certifies(pair.from.as_str()) {
            return self.tell(&pair, Verdict::Valid);
        }
        if !self.policy.dialback {
            let text = "this server takes certificates only";
            let error = StanzaError::not_authorized().with_text(text);
            return self.tell(&pair, refused(error));
        }
        if self.pending.contains(&pair) {
            return Next::Read;
        }
        if self.pending.len() >= MAX_PENDING {
            return self.tell(&pair, refused(StanzaError::resource_constraint()));
        }
        self.pending.push(pair.clone());
        let id = self.id.clone();
        Next::Verify(Question { pair, id, key })
    }

    /// What became of a claim.
    fn tell(&mut self, pair: &Pair, verdict: Verdict) -> Next {
        let verdict = match verdict {
            Verdict::Valid if self.pairs.contains(pair) => Verdict::Valid,
            Verdict::Valid if self.pairs.len() >= MAX_PAIRS => {
                Verdict::Error(Box::new(StanzaError::resource_constraint()))
            }
            Verdict::Valid => {
                self.pairs.push(pair.clone());
                Verdict::Valid
            }
            Verdict::Invalid | Verdict::Error(_) => verdict,
        };
        // XEP-0220 §2.2.1: whoever claims what is not so has no place here.
        let is_liar = verdict == Verdict::Invalid;
        let pair = pair.reversed();
        self.out.raw(Dialback::Result { pair, verdict }.to_bytes());
        if is_liar {
            self.out.close();
            self.closed = true;
            return Next::Close;
        }
        Next::Read
    }

    /// `<db:verify/>`: somebody wants to know whether a key is ours.
    fn asked(&mut self, pair: &Pair, id: String, key: &str) -> Next {
        // The key was made by us, who were going to speak to whoever asks.
        let made = || self.policy.secret.made(key, &pair.reversed(), &id);
        let verdict = match self.judge.serves(pair.to.as_str()) {
            false => Verdict::Error(Box::new(StanzaError::item_not_found())),
            true if made() => Verdict::Valid,
            true => Verdict::Invalid,
        };
        let pair = pair.reversed();
        self.out
            .raw(Dialback::Answer { pair, id, verdict }.to_bytes());
        Next::Read
    }
}
