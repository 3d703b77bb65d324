//! Making, ending and locking accounts, and ending their sessions (XEP-0133 §4.1 to §4.7).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::sasl::Secret;
use posthaste_proto::xep::data_form::{DataForm, FieldKind};

use super::{
    account_of, accounts_of, addresses, exists, form, of_host, question, refusal, required,
};
use crate::error::WalkError;
use crate::ext::commands::{Command, Outcome, Run, Submission, bad_payload};

type Done<'r> = BoxFuture<'r, Result<Outcome, WalkError>>;

/// §4.1.
pub(super) const ADD: Command = of_host(
    "http://jabber.org/protocol/admin#add-user",
    "Add User",
    Some(|_| {
        form("Adding a User", "Fill out this form to add a user.")
            .with_field(required(question(
                "accountjid",
                FieldKind::JidSingle,
                "The Jabber ID for the account to be added",
            )))
            .with_field(required(question(
                "password",
                FieldKind::TextPrivate,
                "The password for this account",
            )))
            .with_field(required(question(
                "password-verify",
                FieldKind::TextPrivate,
                "Retype password",
            )))
    }),
    add,
);

fn add<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        let jids = addresses(run, told.form, "accountjid")?;
        let [jid] = jids.as_slice() else {
            return Err(bad_payload("one address is wanted").into());
        };
        let password = told.form.field("password").and_then(|field| field.value());
        let again = told
            .form
            .field("password-verify")
            .and_then(|field| field.value());
        let Some(password) = password.filter(|_| password == again) else {
            return Err(bad_payload("the passwords differ").into());
        };
        let made = run
            .node
            .create_account(&jid.to_bare(), &Secret::from(password))
            .await;
        made.map_err(refusal)?;
        Ok(Outcome::default())
    }
    .boxed()
}

fn several(title: &str, instructions: &str, label: &str) -> DataForm {
    let jids = question("accountjids", FieldKind::JidMulti, label);
    form(title, instructions).with_field(required(jids))
}

/// §4.2.
pub(super) const DELETE: Command = of_host(
    "http://jabber.org/protocol/admin#delete-user",
    "Delete User",
    Some(|_| {
        several(
            "Deleting a User",
            "Fill out this form to delete a user, with everything they have here.",
            "The Jabber ID(s) to delete",
        )
    }),
    delete,
);

fn delete<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        for account in accounts_of(run, told.form).await? {
            run.node.remove_account(&account).await.map_err(refusal)?;
        }
        Ok(Outcome::default())
    }
    .boxed()
}

/// §4.3.
pub(super) const DISABLE: Command = of_host(
    "http://jabber.org/protocol/admin#disable-user",
    "Disable User",
    Some(|_| {
        several(
            "Disabling a User",
            "Fill out this form to disable a user.",
            "The Jabber ID(s) to disable",
        )
    }),
    disable,
);

fn disable<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        for account in accounts_of(run, told.form).await? {
            run.node.disable_account(&account).await.map_err(refusal)?;
        }
        Ok(Outcome::default())
    }
    .boxed()
}

/// §4.4.
pub(super) const REENABLE: Command = of_host(
    "http://jabber.org/protocol/admin#reenable-user",
    "Re-Enable User",
    Some(|_| {
        several(
            "Re-Enabling a User",
            "Fill out this form to re-enable a user.",
            "The Jabber ID(s) to re-enable",
        )
    }),
    reenable,
);

fn reenable<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        for account in accounts_of(run, told.form).await? {
            run.node
                .accounts()
                .enable(&account)
                .await
                .map_err(refusal)?;
        }
        Ok(Outcome::default())
    }
    .boxed()
}

/// §4.5.
pub(super) const END_SESSION: Command = of_host(
    "http://jabber.org/protocol/admin#end-user-session",
    "End User Session",
    Some(|_| {
        several(
            "Ending a User Session",
            "Fill out this form to end a user's session: one, or all of an address without a resource.",
            "The Jabber ID(s) for which to end sessions",
        )
    }),
    end_session,
);

fn end_session<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        let why = StreamError::new(StreamCondition::PolicyViolation)
            .with_text("ended by an administrator");
        let mut ended = 0;
        for jid in addresses(run, told.form, "accountjids")? {
            let account = jid.to_bare();
            exists(run, &account).await?;
            let sessions = run.node.end_sessions(&account, jid.resource(), &why).await;
            ended += sessions.map_err(refusal)?;
        }
        Ok(super::note(format!("Sessions ended: {ended}.")))
    }
    .boxed()
}

/// §4.7.
pub(super) const CHANGE_PASSWORD: Command = of_host(
    "http://jabber.org/protocol/admin#change-user-password",
    "Change User Password",
    Some(|_| {
        form(
            "Changing a User Password",
            "Fill out this form to change a user's password.",
        )
        .with_field(required(question(
            "accountjid",
            FieldKind::JidSingle,
            "The Jabber ID for this account",
        )))
        .with_field(required(question(
            "password",
            FieldKind::TextPrivate,
            "The password for this account",
        )))
    }),
    change_password,
);

fn change_password<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        let account = account_of(run, told.form, "accountjid").await?;
        let password = told.form.field("password").and_then(|field| field.value());
        let password = Secret::from(password.unwrap_or_default());
        let changed = run
            .node
            .accounts()
            .change_password(&account, &password)
            .await;
        changed.map_err(refusal)?;
        Ok(Outcome::default())
    }
    .boxed()
}
