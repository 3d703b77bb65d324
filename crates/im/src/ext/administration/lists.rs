//! How many accounts there are of each kind, and which (XEP-0133 §4.13 to §4.22).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::jid::BareJid;
use posthaste_proto::xep::data_form::{DataForm, FieldKind};

use super::{choices, form, of_host, question, refusal, result};
use crate::error::WalkError;
use crate::ext::commands::{Command, Outcome, Right, Run, Submission, bad_payload};
use crate::home::HomeState;

type Done<'r> = BoxFuture<'r, Result<Outcome, WalkError>>;

/// Accounts on one page when nobody says how many: as an element, at most the length of a long message.
const PAGE: usize = 200;

// ---- accounts as they are stored --------------------------------------------------------------------

/// §4.13.
pub(super) const REGISTERED_NUMBER: Command = of_host(
    "http://jabber.org/protocol/admin#get-registered-users-num",
    "Get Number of Registered Users",
    None,
    |run, _| {
        async move {
            let count = run.node.accounts().count(run.host).await.map_err(refusal)?;
            Ok(number(
                "registeredusersnum",
                "The number of registered users",
                count,
            ))
        }
        .boxed()
    },
);

/// §4.14.
pub(super) const DISABLED_NUMBER: Command = of_host(
    "http://jabber.org/protocol/admin#get-disabled-users-num",
    "Get Number of Disabled Users",
    None,
    |run, _| {
        async move {
            let count = run
                .node
                .accounts()
                .count_disabled(run.host)
                .await
                .map_err(refusal)?;
            Ok(number(
                "disabledusersnum",
                "The number of disabled users",
                count,
            ))
        }
        .boxed()
    },
);

/// §4.18.
pub(super) const REGISTERED: Command = list(
    "http://jabber.org/protocol/admin#get-registered-users-list",
    "Get List of Registered Users",
    |_| asks("Requesting List of Registered Users"),
    |run, told| {
        async move {
            let (most, after) = wanted(told)?;
            let host = Some(run.host.domain());
            // One more, to see whether there is one.
            let accounts = run
                .node
                .accounts()
                .list(host, after.as_ref(), most + 1)
                .await;
            Ok(page(
                "registereduserjids",
                "The list of all users",
                accounts.map_err(refusal)?,
                most,
            ))
        }
        .boxed()
    },
);

/// §4.19.
pub(super) const DISABLED: Command = list(
    "http://jabber.org/protocol/admin#get-disabled-users-list",
    "Get List of Disabled Users",
    |_| asks("Requesting List of Disabled Users"),
    |run, told| {
        async move {
            let (most, after) = wanted(told)?;
            let accounts = run
                .node
                .accounts()
                .disabled(run.host, after.as_ref(), most + 1)
                .await;
            Ok(page(
                "disableduserjids",
                "The list of disabled users",
                accounts.map_err(refusal)?,
                most,
            ))
        }
        .boxed()
    },
);

// ---- accounts that are there ------------------------------------------------------------------------

/// Has it a session, on a connection or waiting to be resumed? That is how its contacts see it.
fn is_online(state: &HomeState) -> bool {
    !state.sessions.is_empty()
}

/// Is somebody looking at one of its clients (XEP-0352)?
fn is_active(state: &HomeState) -> bool {
    let mut sessions = state.sessions.iter();
    sessions.any(|attendee| {
        let session = attendee.session.state();
        session.detached_at.is_none() && !session.is_inactive()
    })
}

fn is_idle(state: &HomeState) -> bool {
    is_online(state) && !is_active(state)
}

/// The accounts of the host whose homes are as wanted, in order.
async fn present(run: &Run<'_>, is_wanted: fn(&HomeState) -> bool) -> Vec<BareJid> {
    let mut found = Vec::new();
    for home in run.node.homes() {
        if home.jid.domain() == run.host.as_str() && home.look(is_wanted).await == Some(true) {
            found.push(home.jid.clone());
        }
    }
    found.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    found
}

const fn count_of(
    node: &'static str,
    name: &'static str,
    run: crate::ext::commands::Handler,
) -> Command {
    of_host(node, name, None, run)
}

/// §4.15.
pub(super) const ONLINE_NUMBER: Command = count_of(
    "http://jabber.org/protocol/admin#get-online-users-num",
    "Get Number of Online Users",
    |run, _| {
        async move {
            let count = present(run, is_online).await.len();
            Ok(number(
                "onlineusersnum",
                "The number of online users",
                count,
            ))
        }
        .boxed()
    },
);

/// §4.16.
pub(super) const ACTIVE_NUMBER: Command = count_of(
    "http://jabber.org/protocol/admin#get-active-users-num",
    "Get Number of Active Users",
    |run, _| {
        async move {
            let count = present(run, is_active).await.len();
            Ok(number(
                "activeusersnum",
                "The number of active users",
                count,
            ))
        }
        .boxed()
    },
);

/// §4.17.
pub(super) const IDLE_NUMBER: Command = count_of(
    "http://jabber.org/protocol/admin#get-idle-users-num",
    "Get Number of Idle Users",
    |run, _| {
        async move {
            let count = present(run, is_idle).await.len();
            Ok(number("idleusersnum", "The number of idle users", count))
        }
        .boxed()
    },
);

/// §4.20.
pub(super) const ONLINE: Command = list(
    "http://jabber.org/protocol/admin#get-online-users-list",
    "Get List of Online Users",
    |_| asks("Requesting List of Online Users"),
    |run, told| {
        those_present(
            run,
            told,
            "onlineuserjids",
            "The list of online users",
            is_online,
        )
    },
);

/// §4.21.
pub(super) const ACTIVE: Command = list(
    "http://jabber.org/protocol/admin#get-active-users",
    "Get List of Active Users",
    |_| asks("Requesting List of Active Users"),
    |run, told| {
        those_present(
            run,
            told,
            "activeuserjids",
            "The list of active users",
            is_active,
        )
    },
);

/// §4.22.
pub(super) const IDLE: Command = list(
    "http://jabber.org/protocol/admin#get-idle-users",
    "Get List of Idle Users",
    |_| asks("Requesting List of Idle Users"),
    // The XEP uses the same name for both.
    |run, told| {
        those_present(
            run,
            told,
            "activeuserjids",
            "The list of idle users",
            is_idle,
        )
    },
);

fn those_present<'r>(
    run: &'r Run<'r>,
    told: Submission<'r>,
    var: &'static str,
    label: &'static str,
    is_wanted: fn(&HomeState) -> bool,
) -> Done<'r> {
    async move {
        let (most, after) = wanted(told)?;
        let mut accounts = present(run, is_wanted).await;
        if let Some(after) = after {
            accounts.retain(|account| account.as_str() > after.as_str());
        }
        accounts.truncate(most + 1);
        Ok(page(var, label, accounts, most))
    }
    .boxed()
}

// ---- forms ------------------------------------------------------------------------------------------

const fn list(
    node: &'static str,
    name: &'static str,
    form: fn(&Run<'_>) -> DataForm,
    run: crate::ext::commands::Handler,
) -> Command {
    Command {
        node,
        name,
        right: Right::Host,
        form: Some(form),
        pages: true,
        run,
    }
}

fn asks(title: &str) -> DataForm {
    let most = question(
        "max_items",
        FieldKind::ListSingle,
        "Maximum number of items to show",
    );
    let options = [
        ("25", "25"),
        ("50", "50"),
        ("75", "75"),
        ("100", "100"),
        ("150", "150"),
        ("200", "200"),
        ("None", "none"),
    ];
    form(
        title,
        "Fill out this form to request the users of this service.",
    )
    .with_field(choices(most, &options))
}

/// How many at a time, and after whom.
fn wanted(told: Submission<'_>) -> Result<(usize, Option<BareJid>), WalkError> {
    let most = match told.form.field("max_items").and_then(|field| field.value()) {
        None | Some("" | "none") => PAGE,
        Some(number) => number
            .parse()
            .ok()
            .filter(|most| (1..=PAGE).contains(most))
            .ok_or_else(|| bad_payload(&format!("max_items is 1 to {PAGE}, or none")))?,
    };
    let after = told.after.and_then(|after| BareJid::parse(after).ok());
    Ok((most, after))
}

/// Of `accounts` the first `most`; what is beyond says that there are more.
fn page(var: &str, label: &str, mut accounts: Vec<BareJid>, most: usize) -> Outcome {
    let goes_on = accounts.len() > most;
    accounts.truncate(most);
    let more = accounts.last().filter(|_| goes_on).map(ToString::to_string);
    let jids = accounts.iter().map(ToString::to_string).collect();
    Outcome {
        more,
        ..result(var, FieldKind::JidMulti, label, jids)
    }
}

fn number(var: &str, label: &str, count: usize) -> Outcome {
    result(var, FieldKind::TextSingle, label, vec![count.to_string()])
}
