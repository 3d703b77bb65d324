//! Logging in, resuming or binding, enabling what a session needs and getting a token for next
//! time: in one round trip after the mechanism's own.
//!
//! XEP-0388 (SASL2) with what XEP-0386 (Bind 2), XEP-0198 and XEP-0484 (FAST) put inline.

use super::bind::{self, ExpectBind};
use super::features;
use super::login::{self, Login, Profile};
use super::sasl1;
use super::upgrade;
use super::{
    Answer, Ask, BindRequest, Bound, ClientId, IssuedToken, Next, Shared, State, Turn, UserAgent,
    Wanted,
};
use crate::jid::{BareJid, FullJid};
use crate::ns;
use crate::sasl::{Condition, Failure, Hash, HtBinding, Mechanism, StoredKeys};
use crate::stream::sm::{self, Nonza};
use crate::xml::Element;

/// The longest name of a software or device that is kept; the rest is cut off.
const MAX_NAME_CHARS: usize = 100;

/// What an `<authenticate/>` asks for.
#[derive(Debug, Default)]
pub(super) struct Authenticate {
    pub(super) user_agent: UserAgent,
    pub(super) fast: Fast,
    /// The mechanism that a new token is wanted for.
    pub(super) request_token: Option<HtBinding>,
    /// The successor of the token that was used.
    pub(super) rotated: Option<IssuedToken>,
    /// The hashes that the account's keys shall be upgraded to (XEP-0480).
    pub(super) upgrades: Vec<Hash>,
    /// The keys whose password the client has proved to know, if it wants upgrades.
    pub(super) proven: Option<StoredKeys>,
    resume: Option<sm::Resume>,
    bind: Option<Bind2>,
}

/// The attributes of `<fast/>`.
#[derive(Debug, Default)]
pub(super) struct Fast {
    pub(super) count: Option<u64>,
    pub(super) invalidate: bool,
}

#[derive(Debug)]
struct Bind2 {
    tag: Option<String>,
    enable: Option<sm::Enable>,
    carbons: bool,
    active: bool,
}

impl Authenticate {
    /// Reads the element, with the initial response. A wrong request fails the log-in as a whole:
    /// half of what a client asked for is of no use to it.
    #[allow(clippy::type_complexity)] // The second half belongs to the mechanism.
    pub(super) fn parse(
        shared: &Shared,
        element: &Element,
    ) -> Result<(Authenticate, Result<Option<Vec<u8>>, Failure>), Failure> {
        let initial = element
            .child("initial-response", ns::SASL2)
            .map(|initial| sasl1::decode(&initial.text()))
            .transpose();
        let request = Authenticate {
            user_agent: user_agent(element)?,
            fast: fast(element)?,
            request_token: request_token(shared, element),
            rotated: None,
            upgrades: upgrade::requested(shared, element),
            proven: None,
            resume: resume(element)?,
            bind: element
                .child("bind", ns::BIND2)
                .map(Bind2::parse)
                .transpose()?,
        };
        Ok((request, initial))
    }
}

impl Bind2 {
    fn parse(bind: &Element) -> Result<Bind2, Failure> {
        let enable = match bind.child("enable", ns::SM).map(Nonza::parse) {
            None => None,
            Some(Ok(Nonza::Enable(enable))) => Some(enable),
            Some(_) => return Err(Failure::malformed("enable")),
        };
        let tag = bind.child("tag", ns::BIND2).map(Element::text);
        Ok(Bind2 {
            tag: tag.filter(|tag| !tag.is_empty()),
            enable,
            carbons: bind.child("enable", ns::CARBONS).is_some(),
            active: bind.child("inactive", ns::CSI).is_none(),
        })
    }

    fn request(self, login: &Login) -> BindRequest {
        BindRequest {
            account: login.account.clone(),
            resource: self.tag.map_or(Wanted::Any, Wanted::Tag),
            user_agent: login.user_agent.clone(),
            mechanism: login.mechanism,
            enable: self.enable,
            carbons: self.carbons,
            active: self.active,
            bind2: true,
        }
    }
}

fn user_agent(authenticate: &Element) -> Result<UserAgent, Failure> {
    let Some(element) = authenticate.child("user-agent", ns::SASL2) else {
        return Ok(UserAgent::default());
    };
    let id = match element.attr("id") {
        None => None,
        Some(id) => {
            Some(ClientId::parse(id).ok_or(Failure::malformed("the user-agent's id is no UUID"))?)
        }
    };
    let name = |child: &str| {
        let text = element.child(child, ns::SASL2)?.text();
        Some(text.chars().take(MAX_NAME_CHARS).collect())
    };
    Ok(UserAgent {
        id,
        software: name("software"),
        device: name("device"),
    })
}

fn fast(authenticate: &Element) -> Result<Fast, Failure> {
    let Some(element) = authenticate.child("fast", ns::FAST) else {
        return Ok(Fast::default());
    };
    let count = element.attr("count").map(str::parse).transpose();
    let invalidate = match element.attr("invalidate") {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(Failure::malformed("attribute invalidate")),
    };
    Ok(Fast {
        count: count.map_err(|_| Failure::malformed("attribute count"))?,
        invalidate,
    })
}

/// A token for a mechanism that is not offered would be of no use: there is none.
fn request_token(shared: &Shared, authenticate: &Element) -> Option<HtBinding> {
    let request = authenticate.child("request-token", ns::FAST)?;
    match Mechanism::from_name(request.attr("mechanism")?)? {
        Mechanism::Ht(binding) => features::fast_mechanisms(shared)
            .contains(&binding)
            .then_some(binding),
        Mechanism::Scram { .. } | Mechanism::Plain | Mechanism::External => None,
    }
}

fn resume(authenticate: &Element) -> Result<Option<sm::Resume>, Failure> {
    match authenticate.child("resume", ns::SM).map(Nonza::parse) {
        None => Ok(None),
        Some(Ok(Nonza::Resume(resume))) => Ok(Some(resume)),
        Some(_) => Err(Failure::malformed("resume")),
    }
}

/// The client is in; now what it asked for, in XEP-0386 §4's order: resume, else bind; then the
/// token, which only a client gets that has all the rest.
pub(super) fn succeed(
    shared: &mut Shared,
    request: Authenticate,
    mechanism: Mechanism,
    account: BareJid,
    proof: Option<Vec<u8>>,
) -> Turn {
    let Authenticate {
        user_agent,
        request_token,
        rotated,
        resume,
        bind,
        ..
    } = request;
    let success = Element::new("success", ns::SASL2).with_children(proof.map(|proof| {
        Element::new("additional-data", ns::SASL2).with_text(&sasl1::encode_text(&proof))
    }));
    Establish {
        login: Login {
            account,
            mechanism,
            user_agent,
        },
        success,
        inline: Vec::new(),
        resume,
        bind,
        request_token,
        token: rotated,
        previd: String::new(),
        session: None,
    }
    .go_on(shared)
}

/// Waiting for the answers that make up `<success/>`.
#[derive(Debug)]
pub(super) struct Establish {
    login: Login,
    success: Element,
    /// What goes into it after the authorization identifier.
    inline: Vec<Element>,
    resume: Option<sm::Resume>,
    bind: Option<Bind2>,
    request_token: Option<HtBinding>,
    token: Option<IssuedToken>,
    /// The session asked to be resumed.
    previd: String,
    session: Option<Made>,
}

#[derive(Debug)]
struct Made {
    jid: FullJid,
    resumed: bool,
    /// Stream management is on.
    is_managed: bool,
}

impl Establish {
    fn go_on(mut self, shared: &mut Shared) -> Turn {
        let account = self.login.account.clone();
        if let Some(resume) = self.resume.take().filter(|_| shared.policy.resumption) {
            self.previd.clone_from(&resume.previd);
            return self.ask(Ask::Resume { account, resume });
        }
        if let Some(bind) = self.bind.take().filter(|_| self.session.is_none()) {
            let request = bind.request(&self.login);
            return self.ask(Ask::Bind(Box::new(request)));
        }
        if let Some(mechanism) = self.request_token.take()
            && let Some(client) = self.login.user_agent.id.clone()
        {
            return self.ask(Ask::IssueToken {
                account,
                client,
                mechanism,
            });
        }
        self.finish(shared)
    }

    fn ask(self, ask: Ask) -> Turn {
        Ok((State::Establish(Box::new(self)), Next::Ask(ask)))
    }

    pub(super) fn answer(mut self, shared: &mut Shared, answer: Answer) -> Turn {
        match answer {
            Answer::Resumed { jid, h } => {
                let previd = std::mem::take(&mut self.previd);
                self.inline.push(sm::Resumed { previd, h }.to_element());
                self.session = Some(Made {
                    jid,
                    resumed: true,
                    is_managed: true,
                });
            }
            Answer::NotResumed(failed) => self.inline.push(failed.to_element()),
            Answer::Bound(bound) => {
                let Bound { jid, sm, extra } = *bound;
                self.session = Some(Made {
                    jid,
                    resumed: false,
                    is_managed: matches!(sm, Some(Ok(_))),
                });
                self.inline.push(bound_element(sm, extra));
            }
            Answer::NotBound(error) => {
                // The XEPs know no other way to say that there is no session.
                let reason = match error.condition {
                    crate::error::Condition::ResourceConstraint => "too many sessions",
                    _ => "no session could be made",
                };
                let failure = Failure::new(Condition::TemporaryAuthFailure, reason);
                return login::tell(shared, &Profile::Sasl2(Box::default()), failure);
            }
            Answer::Issued(token) => self.token = token.or(self.token),
            Answer::Keys(_)
            | Answer::Verified(_)
            | Answer::Token(_)
            | Answer::Refused(_)
            | Answer::Proceed
            | Answer::Upgrades(_)
            | Answer::Registered(_) => return Err(super::mismatch()),
        }
        self.go_on(shared)
    }

    fn finish(self, shared: &mut Shared) -> Turn {
        let identifier = match &self.session {
            Some(made) => made.jid.as_str(),
            None => self.login.account.as_str(),
        };
        let identifier = Element::new("authorization-identifier", ns::SASL2).with_text(identifier);
        let token = self.token.map(|token| {
            Element::new("token", ns::FAST)
                .with_attr("expiry", token.expiry)
                .with_attr("token", token.token.expose())
        });
        let success = self
            .success
            .with_child(identifier)
            .with_children(self.inline)
            .with_children(token);
        shared.out.element(&success);
        let Some(made) = self.session else {
            let features = features::before_session(shared);
            shared.out.features(&features);
            return Ok((State::Bind(ExpectBind::new(self.login)), Next::Read));
        };
        // XEP-0198 §8.2: a resumed stream gets no features.
        if !made.resumed {
            let features = features::in_session(shared, made.is_managed);
            shared.out.features(&features);
        }
        bind::done(shared, self.login, made.jid, made.resumed)
    }
}

fn bound_element(sm: Option<Result<sm::Enabled, sm::Failed>>, extra: Vec<Element>) -> Element {
    let sm = sm.map(|result| match result {
        Ok(enabled) => enabled.to_element(),
        Err(failed) => failed.to_element(),
    });
    Element::new("bound", ns::BIND2)
        .with_children(extra)
        .with_children(sm)
}
