//! Making an account before logging in (XEP-0077 §3.1), where the host allows it.
//!
//! Changing a password and removing an account need a session: they are not done here.

use super::bind::{iq_error, iq_result};
use super::login::ExpectLogin;
use super::{Answer, Ask, Next, Shared, State, Turn};
use crate::error::{StanzaError, StreamCondition};
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::Secret;
use crate::xml::Element;

const INSTRUCTIONS: &str = "Choose a username and a password for your account.";

/// An IQ of a client that has not logged in: only registration is served.
pub(super) fn iq(shared: &mut Shared, iq: &Element) -> Turn {
    let Some(query) = iq.child("query", ns::REGISTER) else {
        return Err(StreamCondition::NotAuthorized.into());
    };
    let id = iq.attr("id").unwrap_or_default().to_owned();
    match iq.attr("type") {
        Some("get") => {
            shared.out.element(&iq_result(&id).with_child(fields()));
            Ok((State::Login(ExpectLogin), Next::Read))
        }
        Some("set") => match request(shared, query) {
            Ok(ask) => Ok((State::Registered(ExpectRegistered { id }), Next::Ask(ask))),
            Err(error) => refuse(shared, &id, &error),
        },
        _ => refuse(shared, &id, &StanzaError::bad_request()),
    }
}

fn fields() -> Element {
    let field = |name: &'static str| Element::new(name, ns::REGISTER);
    field("query").with_children([
        field("instructions").with_text(INSTRUCTIONS),
        field("username"),
        field("password"),
    ])
}

fn request(shared: &Shared, query: &Element) -> Result<Ask, StanzaError> {
    // XEP-0077 §3.2: without an account there is nothing to remove.
    if query.child("remove", ns::REGISTER).is_some() {
        return Err(StanzaError::unexpected_request());
    }
    let field = |name| {
        let text = query.child(name, ns::REGISTER)?.text();
        (!text.is_empty()).then_some(text)
    };
    let (Some(username), Some(password)) = (field("username"), field("password")) else {
        return Err(StanzaError::not_acceptable());
    };
    let domain = shared.host.as_ref().map_or("", |host| host.domain.as_str());
    let account =
        BareJid::new(Some(&username), domain).map_err(|_| StanzaError::jid_malformed())?;
    Ok(Ask::Register {
        account,
        password: Secret::new(password),
    })
}

fn refuse(shared: &mut Shared, id: &str, error: &StanzaError) -> Turn {
    shared.out.element(&iq_error(id, error));
    Ok((State::Login(ExpectLogin), Next::Read))
}

/// Waiting for the account to be made.
#[derive(Debug)]
pub(super) struct ExpectRegistered {
    id: String,
}

impl ExpectRegistered {
    pub(super) fn answer(self, shared: &mut Shared, answer: Answer) -> Turn {
        match answer {
            Answer::Registered(Ok(())) => {
                shared.out.element(&iq_result(&self.id));
                Ok((State::Login(ExpectLogin), Next::Read))
            }
            Answer::Registered(Err(error)) => refuse(shared, &self.id, &error),
            _ => Err(super::mismatch()),
        }
    }
}
