//! An authenticated stream gets a session: a new one (RFC 6120 §7) or its former one (XEP-0198 §5).

use super::login::Login;
use super::{Answer, Ask, BindRequest, Next, Session, Shared, State, Turn, Wanted};
use crate::error::{Condition, StanzaError, StreamCondition};
use crate::jid::FullJid;
use crate::ns;
use crate::stream::sm::{self, Nonza};
use crate::xml::Element;

/// Waiting for `<bind/>` or `<resume/>`.
#[derive(Debug)]
pub(super) struct ExpectBind {
    login: Login,
}

impl ExpectBind {
    pub(super) fn new(login: Login) -> ExpectBind {
        ExpectBind { login }
    }

    pub(super) fn element(self, shared: &mut Shared, element: &Element) -> Turn {
        match (element.ns(), element.name()) {
            (ns::CLIENT, "iq") => self.iq(shared, element),
            (ns::SM, "resume") => self.resume(shared, element),
            // XEP-0198 §3: no stream management before there is a resource.
            (ns::SM, _) => self.sm_failed(shared, sm::Failed::new(Condition::UnexpectedRequest)),
            // XEP-0388 §6.8: nobody logs in twice.
            (ns::SASL | ns::SASL2, _) => Err(StreamCondition::PolicyViolation.into()),
            // RFC 6120 §7.1: no stanzas without a resource.
            _ => Err(StreamCondition::NotAuthorized.into()),
        }
    }

    fn iq(self, shared: &mut Shared, iq: &Element) -> Turn {
        let Some(bind) = iq.child("bind", ns::BIND) else {
            return Err(StreamCondition::NotAuthorized.into());
        };
        let id = iq.attr("id").unwrap_or_default().to_owned();
        if iq.attr("type") != Some("set") {
            shared
                .out
                .element(&iq_error(&id, &StanzaError::bad_request()));
            return Ok((State::Bind(self), Next::Read));
        }
        let resource = bind.child("resource", ns::BIND).map(Element::text);
        let request = BindRequest {
            account: self.login.account.clone(),
            resource: resource
                .filter(|resource| !resource.is_empty())
                .map_or(Wanted::Any, Wanted::Resource),
            user_agent: self.login.user_agent.clone(),
            mechanism: self.login.mechanism,
            enable: None,
            carbons: false,
            active: true,
            bind2: false,
        };
        let state = ExpectAnswer {
            login: self.login,
            wants: Wants::Bound { id },
        };
        Ok((
            State::BindAnswer(Box::new(state)),
            Next::Ask(Ask::Bind(Box::new(request))),
        ))
    }

    fn resume(self, shared: &mut Shared, element: &Element) -> Turn {
        if !shared.policy.resumption {
            let failed = sm::Failed::new(Condition::FeatureNotImplemented);
            return self.sm_failed(shared, failed);
        }
        let Ok(Nonza::Resume(resume)) = Nonza::parse(element) else {
            return self.sm_failed(shared, sm::Failed::new(Condition::BadRequest));
        };
        let account = self.login.account.clone();
        let wants = Wants::Resumed {
            previd: resume.previd.clone(),
        };
        let state = ExpectAnswer {
            login: self.login,
            wants,
        };
        Ok((
            State::BindAnswer(Box::new(state)),
            Next::Ask(Ask::Resume { account, resume }),
        ))
    }

    /// The client may go on and bind (XEP-0198 §5).
    fn sm_failed(self, shared: &mut Shared, failed: sm::Failed) -> Turn {
        shared.out.element(&failed.to_element());
        Ok((State::Bind(self), Next::Read))
    }
}

/// Waiting for the session.
#[derive(Debug)]
pub(super) struct ExpectAnswer {
    login: Login,
    wants: Wants,
}

#[derive(Debug)]
enum Wants {
    Bound { id: String },
    Resumed { previd: String },
}

impl ExpectAnswer {
    pub(super) fn answer(self, shared: &mut Shared, answer: Answer) -> Turn {
        let login = self.login;
        match (self.wants, answer) {
            (Wants::Bound { id }, Answer::Bound(bound)) => {
                let jid = Element::new("jid", ns::BIND).with_text(bound.jid.as_str());
                let bind = Element::new("bind", ns::BIND).with_child(jid);
                shared.out.element(&iq_result(&id).with_child(bind));
                done(shared, login, bound.jid, false)
            }
            (Wants::Bound { id }, Answer::NotBound(error)) => {
                shared.out.element(&iq_error(&id, &error));
                Ok((State::Bind(ExpectBind::new(login)), Next::Read))
            }
            (Wants::Resumed { previd }, Answer::Resumed { jid, h }) => {
                shared.out.element(&sm::Resumed { previd, h }.to_element());
                done(shared, login, jid, true)
            }
            (Wants::Resumed { .. }, Answer::NotResumed(failed)) => {
                ExpectBind::new(login).sm_failed(shared, failed)
            }
            _ => Err(super::mismatch()),
        }
    }
}

/// There is a session: the negotiation is over.
pub(super) fn done(shared: &mut Shared, login: Login, jid: FullJid, resumed: bool) -> Turn {
    let session = Session {
        jid,
        resumed,
        mechanism: login.mechanism,
        user_agent: login.user_agent,
        context: shared.context.clone(),
    };
    Ok((State::Closed, Next::Done(Box::new(session))))
}

pub(super) fn iq_result(id: &str) -> Element {
    Element::new("iq", ns::CLIENT)
        .with_attr("type", "result")
        .with_attr("id", id)
}

pub(super) fn iq_error(id: &str, error: &StanzaError) -> Element {
    Element::new("iq", ns::CLIENT)
        .with_attr("type", "error")
        .with_attr("id", id)
        .with_child(error.to_element())
}
