//! Administrators manage the server from their ordinary client: accounts, sessions, announcements, the end of service.
//!
//! XEP-0133: Service Administration, version 1.3.1, as commands of XEP-0050. An administrator of a host sees what
//! concerns its accounts; who administers the server may also restart it or shut it down. Left out: messages of the day
//! and of welcome, blacklists and whitelists of the whole service, and editing the administrators, who are the
//! configuration's. Two commands are ours: announcements in all rooms, and what an account has uploaded.

mod accounts;
mod announcement;
mod lists;
mod media;
mod one_account;

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::xep::commands::Severity;
use posthaste_proto::xep::data_form::{DataForm, Field, FieldKind, FieldOption, FormKind};

use super::Ext;
use super::commands::{Command, Outcome, Right, Run, bad_payload};
use crate::accounts::AccountError;
use crate::error::WalkError;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Service Administration",
    xep: 133,
    version: "1.3.1",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Every command, in the order in which clients show them.
pub const COMMANDS: &[&Command] = &[
    &accounts::ADD,
    &accounts::DELETE,
    &accounts::DISABLE,
    &accounts::REENABLE,
    &accounts::END_SESSION,
    &accounts::CHANGE_PASSWORD,
    &one_account::ROSTER,
    &one_account::LAST_LOGIN,
    &one_account::STATISTICS,
    &media::USAGE,
    &lists::REGISTERED_NUMBER,
    &lists::DISABLED_NUMBER,
    &lists::ONLINE_NUMBER,
    &lists::ACTIVE_NUMBER,
    &lists::IDLE_NUMBER,
    &lists::REGISTERED,
    &lists::DISABLED,
    &lists::ONLINE,
    &lists::ACTIVE,
    &lists::IDLE,
    &announcement::ANNOUNCE,
    &announcement::ANNOUNCE_IN_ROOMS,
    &announcement::RESTART,
    &announcement::SHUT_DOWN,
];

/// A command about the host that is asked.
const fn of_host(
    node: &'static str,
    name: &'static str,
    form: Option<fn(&Run<'_>) -> DataForm>,
    run: super::commands::Handler,
) -> Command {
    Command {
        node,
        name,
        right: Right::Host,
        form,
        pages: false,
        run,
    }
}

// ---- forms ------------------------------------------------------------------------------------------

fn form(title: &str, instructions: &str) -> DataForm {
    DataForm {
        title: Some(title.to_owned()),
        instructions: vec![instructions.to_owned()],
        ..DataForm::new(FormKind::Form, ns::ADMIN)
    }
}

fn question(var: &str, kind: FieldKind, label: &str) -> Field {
    Field::new(var, [""; 0]).of_kind(kind).labelled(label)
}

fn required(field: Field) -> Field {
    Field {
        required: true,
        ..field
    }
}

fn choices(field: Field, options: &[(&str, &str)]) -> Field {
    let option = |(label, value): &(&str, &str)| FieldOption {
        label: Some((*label).to_owned()),
        value: (*value).to_owned(),
    };
    Field {
        options: options.iter().map(option).collect(),
        ..field
    }
}

/// A result, with one field.
fn result(var: &str, kind: FieldKind, label: &str, values: Vec<String>) -> Outcome {
    let field = Field::new(var, values).of_kind(kind).labelled(label);
    let form = DataForm::new(FormKind::Result, ns::ADMIN).with_field(field);
    Outcome {
        payload: Some(form.to_element()),
        ..Outcome::default()
    }
}

fn note(text: String) -> Outcome {
    Outcome {
        note: Some((Severity::Info, text)),
        ..Outcome::default()
    }
}

// ---- what a form says -------------------------------------------------------------------------------

/// The addresses in a field, all of the host that is asked.
fn addresses(run: &Run<'_>, form: &DataForm, var: &str) -> Result<Vec<Jid>, WalkError> {
    let values = form
        .field(var)
        .map(|field| &*field.values)
        .unwrap_or_default();
    let values = values.iter().map(|value| value.trim());
    let read = |value: &str| {
        let jid =
            Jid::parse(value).map_err(|_| bad_payload(&format!("{value:?} is not an address")))?;
        if jid.domain() != run.host.as_str() {
            // The administrator of one host has nothing to say on another.
            return Err(StanzaError::forbidden().with_text(format!("{jid} is not of {}", run.host)));
        }
        if jid.local().is_none() {
            return Err(bad_payload(&format!("{jid} is not an account")));
        }
        Ok(jid)
    };
    let jids = values
        .filter(|value| !value.is_empty())
        .map(read)
        .collect::<Result<Vec<_>, StanzaError>>()?;
    Ok(jids)
}

/// The accounts in `accountjids`, each with an account behind it.
async fn accounts_of(run: &Run<'_>, form: &DataForm) -> Result<Vec<BareJid>, WalkError> {
    let mut accounts = Vec::new();
    for jid in addresses(run, form, "accountjids")? {
        let account = jid.to_bare();
        exists(run, &account).await?;
        accounts.push(account);
    }
    Ok(accounts)
}

/// The account in `var`, with an account behind it.
async fn account_of(run: &Run<'_>, form: &DataForm, var: &str) -> Result<BareJid, WalkError> {
    let jids = addresses(run, form, var)?;
    let [jid] = jids.as_slice() else {
        return Err(bad_payload("one address is wanted").into());
    };
    let account = jid.to_bare();
    exists(run, &account).await?;
    Ok(account)
}

async fn exists(run: &Run<'_>, account: &BareJid) -> Result<(), WalkError> {
    match run.node.accounts().exists(account).await.map_err(refusal)? {
        true => Ok(()),
        false => Err(StanzaError::item_not_found()
            .with_text(format!("{account}: there is no such account"))
            .into()),
    }
}

/// The text of a field of lines.
fn text(form: &DataForm, var: &str) -> String {
    let lines = form.field(var).map(|field| field.values.join("\n"));
    lines.unwrap_or_default().trim().to_owned()
}

/// What an administrator is told: more than a stranger, whom [`super::register`] tells less.
fn refusal(error: AccountError) -> WalkError {
    let text = error.to_string();
    match error {
        AccountError::Exists => StanzaError::conflict().with_text(text).into(),
        AccountError::NotFound => StanzaError::item_not_found().with_text(text).into(),
        AccountError::NoLocalpart | AccountError::Password(_) => bad_payload(&text).into(),
        AccountError::TooManyRegistrations => StanzaError::resource_constraint().into(),
        AccountError::Store(error) => error.into(),
        AccountError::Corrupt(corrupt) => corrupt.into(),
    }
}
