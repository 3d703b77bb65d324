//! People with the right to it run commands at the server by filling out forms in any client.
//!
//! XEP-0050: Ad-Hoc Commands, version 1.3.0. The commands are [`super::administration`]'s; discovery asks [`items`] and
//! [`info`] about them. An execution is a form that is answered, and for long lists pages that are turned forth and
//! back. Left out: announcing the list by itself, and other languages than English.

pub mod sessions;

use sessions::{Execution, Pages, Stage};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xep::commands::{Action, Fault, Reply, Request, Severity, Status};
use posthaste_proto::xep::data_form::{DataForm, FormKind};
use posthaste_proto::xep::disco::{Identity, Info, Item, Items};
use posthaste_proto::xml::Element;

use super::administration::COMMANDS;
use super::{Answer, Ext, HostIq, HostQuery};
use crate::error::WalkError;
use crate::node::Node;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Ad-Hoc Commands",
    xep: 50,
    version: "1.3.0",
    host_features: &[ns::COMMANDS],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[HostIq {
        kind: IqType::Set,
        ns: ns::COMMANDS,
        name: "command",
        handler: command,
    }],
};

/// Pages that one can go back through; a longer list is what `posthaste user list` is for.
const MOST_PAGES: usize = 1_000;

/// One command.
pub struct Command {
    /// Its name in the protocol.
    pub node: &'static str,
    /// What people read.
    pub name: &'static str,
    /// Who may run it.
    pub right: Right,
    /// The form that it begins with; `None` if it asks nothing.
    pub form: Option<fn(&Run<'_>) -> DataForm>,
    /// Does it go on with pages?
    pub pages: bool,
    /// Does it.
    pub run: Handler,
}

/// What a command needs of whoever runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To administer the host that is asked, or the whole server.
    Host,
    /// To administer the whole server.
    Server,
}

/// Carries out a command with its form, filled out; for a page also the place after which it begins.
pub type Handler =
    for<'r> fn(&'r Run<'r>, Submission<'r>) -> BoxFuture<'r, Result<Outcome, WalkError>>;

/// Who runs a command where.
pub struct Run<'r> {
    /// The node.
    pub node: &'r Node,
    /// The host that was asked.
    pub host: &'r BareJid,
    /// Who asks.
    pub by: &'r Jid,
}

/// What a command was told.
#[derive(Clone, Copy)]
pub struct Submission<'r> {
    /// The form as it was filled out; without fields if the command has none.
    pub form: &'r DataForm,
    /// Where the last page ended.
    pub after: Option<&'r str>,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// The result, usually a form.
    pub payload: Option<Element>,
    /// Words for people.
    pub note: Option<(Severity, String)>,
    /// There are more pages, after this place.
    pub more: Option<String>,
}

impl HostQuery<'_> {
    fn may(&self, right: Right) -> bool {
        let config = self.node.config();
        let asker = self.from.to_bare();
        // Another server vouches for its people, but not for ours.
        if config.host(asker.domain()).is_none() {
            return false;
        }
        let of_host = || {
            config
                .host(self.host.as_str())
                .is_some_and(|host| host.admins.contains(&asker))
        };
        config.admins.contains(&asker) || (right == Right::Host && of_host())
    }
}

// ---- discovery --------------------------------------------------------------------------------------

/// The commands that the asker may run, for the node of all commands (§2.2).
pub fn items(query: &HostQuery<'_>) -> Result<Items, StanzaError> {
    if !query.may(Right::Host) {
        return Err(StanzaError::forbidden());
    }
    let allowed = COMMANDS.iter().filter(|command| query.may(command.right));
    let item = |command: &&Command| Item {
        jid: query.host.to_string(),
        node: Some(command.node.to_owned()),
        name: Some(command.name.to_owned()),
    };
    Ok(Items {
        node: Some(ns::COMMANDS.to_owned()),
        items: allowed.map(item).collect(),
    })
}

/// What the node of all commands or of one command is; `None` if it is neither.
pub fn info(query: &HostQuery<'_>, node: &str) -> Option<Result<Info, StanzaError>> {
    let about = |kind: &str, name: &str| Info {
        node: Some(node.to_owned()),
        identities: vec![Identity::new("automation", kind, Some(name))],
        features: vec![ns::COMMANDS.to_owned(), ns::DATA_FORMS.to_owned()],
        forms: Vec::new(),
    };
    let (right, info) = match COMMANDS.iter().find(|command| command.node == node) {
        Some(command) => (command.right, about("command-node", command.name)),
        None if node == ns::COMMANDS => (Right::Host, about("command-list", "Commands")),
        None => return None,
    };
    // §2.2: whoever may not run it is not told about it.
    Some(match query.may(right) {
        true => Ok(info),
        false => Err(StanzaError::forbidden()),
    })
}

// ---- execution --------------------------------------------------------------------------------------

fn command<'q>(query: &'q HostQuery<'q>, command: Element) -> BoxFuture<'q, Answer> {
    async move {
        let request = Request::read(&command)?;
        let command = COMMANDS
            .iter()
            .find(|command| command.node == request.node)
            .ok_or_else(StanzaError::item_not_found)?;
        if !query.may(command.right) {
            return Err(StanzaError::forbidden().into());
        }
        let run = Run {
            node: query.node,
            host: query.host,
            by: query.from,
        };
        let reply = match &request.session {
            None => begin(&run, command, &request).await?,
            Some(id) => go_on(&run, command, id, &request).await?,
        };
        Ok(Some(reply.to_element()))
    }
    .boxed()
}

async fn begin(
    run: &Run<'_>,
    command: &'static Command,
    request: &Request,
) -> Result<Reply, WalkError> {
    if request.action != Action::Execute {
        return Err(StanzaError::from(Fault::BadAction).into());
    }
    let id = run.node.random_name();
    let execution = Execution {
        id,
        command: command.node,
        host: run.host.clone(),
        by: run.by.clone(),
        stage: Stage::Over,
    };
    if let Some(form) = command.form {
        return Ok(show_form(run, command, form, execution));
    }
    let nothing = DataForm::new(FormKind::Submit, ns::ADMIN);
    proceed(run, command, execution, Pages::of(nothing), request.action).await
}

fn show_form(
    run: &Run<'_>,
    command: &Command,
    form: fn(&Run<'_>) -> DataForm,
    mut execution: Execution,
) -> Reply {
    let mut actions = vec![Action::Complete];
    if command.pages {
        actions.insert(0, Action::Next);
    }
    let reply = Reply {
        actions,
        payload: Some(form(run).to_element()),
        ..reply(command, &execution, Status::Executing)
    };
    execution.stage = Stage::Form;
    run.node.commands.keep(execution, run.node.now());
    reply
}

async fn go_on(
    run: &Run<'_>,
    command: &'static Command,
    id: &str,
    request: &Request,
) -> Result<Reply, WalkError> {
    let table = &run.node.commands;
    let is_mine = |execution: &Execution| {
        execution.command == command.node && execution.by == *run.by && execution.host == *run.host
    };
    let mut execution = table.take(id, is_mine, run.node.now())?;
    let stage = std::mem::replace(&mut execution.stage, Stage::Over);
    match (stage, request.action) {
        (_, Action::Cancel) => Ok(reply(command, &execution, Status::Canceled)),
        (Stage::Form, action @ (Action::Execute | Action::Complete)) => {
            submit(run, command, execution, request, action).await
        }
        (Stage::Form, action @ Action::Next) if command.pages => {
            submit(run, command, execution, request, action).await
        }
        (Stage::Pages(pages), action @ (Action::Execute | Action::Next)) => {
            proceed(run, command, execution, pages, action).await
        }
        (Stage::Pages(_), Action::Complete) => Ok(reply(command, &execution, Status::Completed)),
        (Stage::Pages(pages), Action::Prev) => match (pages.back(), command.form) {
            (None, Some(form)) => Ok(show_form(run, command, form, execution)),
            (None, None) => Err(StanzaError::from(Fault::BadAction).into()),
            (Some(pages), _) => proceed(run, command, execution, pages, Action::Prev).await,
        },
        (stage, _) => {
            execution.stage = stage;
            table.keep(execution, run.node.now());
            Err(StanzaError::from(Fault::BadAction).into())
        }
    }
}

/// The form comes back filled out. What is wrong with it can be put right under the same id.
async fn submit(
    run: &Run<'_>,
    command: &'static Command,
    execution: Execution,
    request: &Request,
    action: Action,
) -> Result<Reply, WalkError> {
    let again = Execution {
        stage: Stage::Form,
        ..execution.clone()
    };
    let outcome = match filled_out(run, command, request) {
        Ok(form) => proceed(run, command, execution, Pages::of(form), action).await,
        Err(error) => Err(error.into()),
    };
    if outcome.is_err() {
        run.node.commands.keep(again, run.node.now());
    }
    outcome
}

/// §3.4.1: a form of type "cancel" counts as submitted. What must be answered, is.
fn filled_out(
    run: &Run<'_>,
    command: &Command,
    request: &Request,
) -> Result<DataForm, StanzaError> {
    let submitted = request.form.clone().ok_or(Fault::BadPayload)?;
    let asked = command
        .form
        .map(|form| form(run).fields)
        .unwrap_or_default();
    let is_answered = |var: &str| {
        let value = submitted.field(var).and_then(|field| field.value());
        value.is_some_and(|value| !value.is_empty())
    };
    match asked
        .iter()
        .find(|field| field.required && !is_answered(&field.var))
    {
        Some(missing) => Err(bad_payload(&format!("{} is missing", missing.var))),
        None => Ok(submitted),
    }
}

/// The form does not say what it must, for this reason.
pub fn bad_payload(why: &str) -> StanzaError {
    StanzaError::from(Fault::BadPayload).with_text(why)
}

async fn proceed(
    run: &Run<'_>,
    command: &'static Command,
    mut execution: Execution,
    mut pages: Pages,
    action: Action,
) -> Result<Reply, WalkError> {
    let told = Submission {
        form: &pages.form,
        after: pages.ends.last().map(String::as_str),
    };
    let outcome = (command.run)(run, told).await?;
    let goes_on = action != Action::Complete && pages.ends.len() < MOST_PAGES;
    let mut notes: Vec<_> = outcome.note.into_iter().collect();
    let status = match outcome.more {
        Some(end) if goes_on => {
            pages.ends.push(end);
            execution.stage = Stage::Pages(pages);
            Status::Executing
        }
        Some(_) => {
            notes.push((Severity::Warn, "There are more than these.".to_owned()));
            Status::Completed
        }
        None => Status::Completed,
    };
    let actions = match status {
        Status::Executing => vec![Action::Next, Action::Prev, Action::Complete],
        Status::Completed | Status::Canceled => Vec::new(),
    };
    let reply = Reply {
        actions,
        notes,
        payload: outcome.payload,
        ..reply(command, &execution, status)
    };
    if status == Status::Executing {
        run.node.commands.keep(execution, run.node.now());
    }
    Ok(reply)
}

fn reply(command: &Command, execution: &Execution, status: Status) -> Reply {
    Reply {
        node: command.node.to_owned(),
        session: execution.id.clone(),
        status,
        actions: Vec::new(),
        notes: Vec::new(),
        payload: None,
    }
}
