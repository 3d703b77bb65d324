//! What there is to know about one account (XEP-0133 §4.8 to §4.10).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::data_form::{DataForm, Field, FieldKind, FormKind};
use posthaste_proto::xml::Element;

use super::{account_of, form, of_host, question, required};
use crate::contacts;
use crate::error::WalkError;
use crate::ext::commands::{Command, Outcome, Run, Submission};
use crate::ext::last_activity;
use crate::roster::{Listing, RosterItem};
use crate::tables;

type Done<'r> = BoxFuture<'r, Result<Outcome, WalkError>>;

/// `accountjids` in the first two commands, for which a single address is taken at a time: the XEP's answers have room
/// for one account.
fn about_one(title: &str, instructions: &str, var: &str, label: &str) -> DataForm {
    let jid = question(var, FieldKind::JidSingle, label);
    form(title, instructions).with_field(required(jid))
}

/// §4.8.
pub(super) const ROSTER: Command = of_host(
    "http://jabber.org/protocol/admin#get-user-roster",
    "Get User Roster",
    Some(|_| {
        about_one(
            "Getting a User's Roster",
            "Fill out this form to get a user's roster.",
            "accountjids",
            "The Jabber ID for which to retrieve the roster",
        )
    }),
    roster,
);

async fn contacts_of(run: &Run<'_>, account: &BareJid) -> Result<Vec<RosterItem>, WalkError> {
    let partition = tables::partition(account)?;
    let mut items = contacts::stored(run.node.kv(), &partition).await?;
    items.retain(|item| item.listing == Listing::Listed);
    Ok(items)
}

fn roster<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        let account = account_of(run, told.form, "accountjids").await?;
        let items = contacts_of(run, &account).await?;
        let items = items.iter().map(RosterItem::to_element);
        let roster = Element::new("query", ns::ROSTER).with_children(items);
        // The XEP puts it into the form, beside the fields.
        Ok(shown(
            about(&account, "accountjids")
                .to_element()
                .with_child(roster),
        ))
    }
    .boxed()
}

fn about(account: &BareJid, var: &str) -> DataForm {
    DataForm::new(FormKind::Result, ns::ADMIN).with_field(Field::new(var, [account.as_str()]))
}

fn shown(payload: Element) -> Outcome {
    Outcome {
        payload: Some(payload),
        ..Outcome::default()
    }
}

/// §4.9.
pub(super) const LAST_LOGIN: Command = of_host(
    "http://jabber.org/protocol/admin#get-user-lastlogin",
    "Get User Last Login Time",
    Some(|_| {
        about_one(
            "Getting a User's Last Login Time",
            "Fill out this form to get the last time a user was online.",
            "accountjids",
            "The Jabber ID for which to retrieve the last login time",
        )
    }),
    last_login,
);

fn last_login<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        let account = account_of(run, told.form, "accountjids").await?;
        let home = run.node.home(&account);
        let is_there = home.look(|state| !state.sessions.is_empty()).await == Some(true);
        // What is kept is the last moment of the last session.
        let seen = match is_there {
            true => Some(run.node.now()),
            false => last_activity::last_seen(run.node.kv(), &account).await?,
        };
        let seen = seen.map(|at| at.to_string());
        let form = about(&account, "accountjids").with_field(Field::new("lastlogin", seen));
        Ok(shown(form.to_element()))
    }
    .boxed()
}

/// §4.10.
pub(super) const STATISTICS: Command = of_host(
    "http://jabber.org/protocol/admin#user-stats",
    "Get User Statistics",
    Some(|_| {
        about_one(
            "Get User Statistics",
            "Fill out this form to gather user statistics.",
            "accountjid",
            "The Jabber ID for statistics",
        )
    }),
    statistics,
);

fn statistics<'r>(run: &'r Run<'r>, told: Submission<'r>) -> Done<'r> {
    async move {
        let account = account_of(run, told.form, "accountjid").await?;
        let contacts = contacts_of(run, &account).await?.len();
        let home = run.node.home(&account);
        let resources = home.look(|state| {
            let sessions = state.sessions.iter();
            let resources = sessions.map(|attendee| attendee.session.jid.resource().to_owned());
            resources.collect::<Vec<_>>()
        });
        let form = DataForm::new(FormKind::Result, ns::ADMIN)
            .with_field(Field::new("rostersize", [contacts.to_string()]))
            .with_field(Field::new(
                "onlineresources",
                resources.await.unwrap_or_default(),
            ));
        Ok(shown(form.to_element()))
    }
    .boxed()
}
