//! Ad-hoc commands: what a requester says, what it is answered, and the errors of their own.
//!
//! XEP-0050 1.3.0. Payloads are data forms; other payloads are passed by as elements.

use super::data_form::DataForm;
use crate::error::{ErrorType, StanzaError};
use crate::ns;
use crate::xml::Element;

/// What is to be done with a command (XEP-0050 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Whatever the stage says that this means; the default.
    #[default]
    Execute,
    /// Forget it.
    Cancel,
    /// Back to the stage before.
    Prev,
    /// On to the stage after.
    Next,
    /// Finish, if that is possible here.
    Complete,
}

impl Action {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Execute => "execute",
            Action::Cancel => "cancel",
            Action::Prev => "prev",
            Action::Next => "next",
            Action::Complete => "complete",
        }
    }

    fn parse(action: &str) -> Option<Action> {
        [
            Action::Execute,
            Action::Cancel,
            Action::Prev,
            Action::Next,
            Action::Complete,
        ]
        .into_iter()
        .find(|known| known.as_str() == action)
    }
}

/// What a requester says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which command.
    pub node: String,
    /// Which execution of it, from the second stage on.
    pub session: Option<String>,
    /// What is to be done.
    pub action: Action,
    /// The form that was filled out.
    pub form: Option<DataForm>,
}

impl Request {
    /// Reads a `<command/>`.
    ///
    /// # Errors
    /// There is no node, the session's id is empty (`bad-sessionid`) or the action is none (`malformed-action`).
    pub fn read(command: &Element) -> Result<Request, StanzaError> {
        let node = command.attr("node").ok_or_else(StanzaError::bad_request)?;
        let action = match command.attr("action") {
            None => Action::default(),
            Some(action) => Action::parse(action).ok_or_else(Fault::MalformedAction.error())?,
        };
        let session = command.attr("sessionid");
        if session == Some("") {
            return Err(Fault::BadSessionId.into());
        }
        Ok(Request {
            node: node.to_owned(),
            session: session.map(str::to_owned),
            action,
            form: command.children().find_map(DataForm::read),
        })
    }
}

/// Where an execution stands (XEP-0050 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It goes on.
    Executing,
    /// It is over.
    Completed,
    /// It was given up.
    Canceled,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Executing => "executing",
            Status::Completed => "completed",
            Status::Canceled => "canceled",
        }
    }
}

/// How serious a note is (XEP-0050 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// For information.
    Info,
    /// Something looks odd.
    Warn,
    /// It was not done, for this reason.
    Error,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        }
    }
}

/// What a responder answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Which command.
    pub node: String,
    /// Which execution of it.
    pub session: String,
    /// Where it stands.
    pub status: Status,
    /// What may be done next; the first is what "execute" means.
    pub actions: Vec<Action>,
    /// Words for people.
    pub notes: Vec<(Severity, String)>,
    /// A form, or what else the command has to say.
    pub payload: Option<Element>,
}

impl Reply {
    /// The `<command/>` to answer with.
    pub fn to_element(self) -> Element {
        let element = |name| Element::new(name, ns::COMMANDS);
        let mut command = element("command")
            .with_attr("node", self.node)
            .with_attr("sessionid", self.session)
            .with_attr("status", self.status.as_str());
        if let Some(default) = self.actions.first() {
            let allowed = self.actions.iter().map(|action| element(action.as_str()));
            command = command.with_child(
                element("actions")
                    .with_attr("execute", default.as_str())
                    .with_children(allowed),
            );
        }
        let notes = self.notes.into_iter().map(|(severity, text)| {
            element("note")
                .with_attr("type", severity.as_str())
                .with_text(&text)
        });
        command.with_children(notes).with_children(self.payload)
    }
}

/// What can be wrong with a request (XEP-0050 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The action is no action.
    MalformedAction,
    /// The action makes no sense at this stage.
    BadAction,
    /// The form lacks something, or is none.
    BadPayload,
    /// There is no such execution.
    BadSessionId,
    /// There was one, and it is over.
    SessionExpired,
}

impl Fault {
    fn error(self) -> impl FnOnce() -> StanzaError {
        move || self.into()
    }
}

impl From<Fault> for StanzaError {
    fn from(fault: Fault) -> StanzaError {
        let (mut error, condition) = match fault {
            Fault::MalformedAction => (StanzaError::bad_request(), "malformed-action"),
            Fault::BadAction => (StanzaError::bad_request(), "bad-action"),
            Fault::BadPayload => (StanzaError::bad_request(), "bad-payload"),
            Fault::BadSessionId => (StanzaError::bad_request(), "bad-sessionid"),
            Fault::SessionExpired => (StanzaError::not_allowed(), "session-expired"),
        };
        if fault == Fault::SessionExpired {
            error.kind = ErrorType::Cancel;
        }
        error.with_app(Element::new(condition, ns::COMMANDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Request, StanzaError> {
        Request::read(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn a_request_is_read_and_its_mistakes_have_names() {
        let request = read(
            "<command xmlns='http://jabber.org/protocol/commands' node='config' sessionid='s' action='next'>\
             <x xmlns='jabber:x:data' type='submit'><field var='a'><value>1</value></field></x></command>",
        )
        .unwrap();
        assert_eq!(
            (request.node.as_str(), request.action),
            ("config", Action::Next)
        );
        assert_eq!(request.form.unwrap().field("a").unwrap().value(), Some("1"));
        let first =
            read("<command xmlns='http://jabber.org/protocol/commands' node='config'/>").unwrap();
        assert_eq!((first.session, first.action), (None, Action::Execute));
        for (attributes, condition) in [
            ("node='config' action='explode'", Some("malformed-action")),
            ("node='config' sessionid=''", Some("bad-sessionid")),
            ("action='next'", None),
        ] {
            let xml =
                format!("<command xmlns='http://jabber.org/protocol/commands' {attributes}/>");
            let error = read(&xml).unwrap_err();
            assert_eq!(error.app.as_ref().map(|app| app.name()), condition);
        }
    }

    #[test]
    fn a_reply_says_what_may_be_done_next() {
        let reply = Reply {
            node: "config".into(),
            session: "s".into(),
            status: Status::Executing,
            actions: vec![Action::Next, Action::Prev],
            notes: vec![(Severity::Warn, "slow".into())],
            payload: None,
        };
        let xml = String::from_utf8(reply.to_element().to_bytes(ns::CLIENT)).unwrap();
        assert!(
            xml.contains("<actions execute='next'><next/><prev/></actions>"),
            "{xml}"
        );
        assert!(xml.contains("<note type='warn'>slow</note>"), "{xml}");
    }
}
