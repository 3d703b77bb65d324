//! Users change their password or remove their account from their client.
//!
//! XEP-0077: In-Band Registration, version 2.4, for who has logged in; making an account happens
//! before that (`posthaste_proto::stream::server`). Only where the host's configuration allows
//! registration. Left out: data forms and fields other than name and password.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::sasl::Secret;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, HostIq, HostQuery};
use crate::accounts::AccountError;
use crate::error::WalkError;
use crate::node::Node;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "In-Band Registration",
    xep: 77,
    version: "2.4",
    host_features: &[ns::REGISTER],
    account_features: &[],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::REGISTER,
            name: "query",
            asker: Asker::Owner,
            handler: account_get,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::REGISTER,
            name: "query",
            asker: Asker::Owner,
            handler: account_set,
        },
    ],
    host_iqs: &[
        HostIq {
            kind: IqType::Get,
            ns: ns::REGISTER,
            name: "query",
            handler: host_get,
        },
        HostIq {
            kind: IqType::Set,
            ns: ns::REGISTER,
            name: "query",
            handler: host_set,
        },
    ],
};

/// What the owner of an account wants.
enum Wish {
    ChangePassword(Secret),
    Remove,
}

fn account_get<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async move { registered(walk.node, &walk.home.jid) }.boxed()
}

fn host_get<'q>(query: &'q HostQuery<'q>, _: Element) -> BoxFuture<'q, Answer> {
    async move { registered(query.node, &own_account(query)?) }.boxed()
}

fn account_set<'w>(walk: &'w mut Walk<'_>, query: Element) -> BoxFuture<'w, Answer> {
    async move {
        let node = walk.node;
        match wish(node, &walk.home.jid, &query)? {
            Wish::ChangePassword(password) => {
                change_password(node, &walk.home.jid, &password).await?;
            }
            Wish::Remove => remove(node, &walk.home.jid).await?,
        }
        Ok(None)
    }
    .boxed()
}

fn host_set<'q>(query: &'q HostQuery<'q>, payload: Element) -> BoxFuture<'q, Answer> {
    async move {
        let (node, account) = (query.node, own_account(query)?);
        match wish(node, &account, &payload)? {
            Wish::ChangePassword(password) => change_password(node, &account, &password).await?,
            Wish::Remove => remove(node, &account).await?,
        }
        Ok(None)
    }
    .boxed()
}

/// Nobody is registered with a host but its own accounts.
fn own_account(query: &HostQuery<'_>) -> Result<BareJid, StanzaError> {
    let account = query.from.to_bare();
    if account.domain() != query.host.as_str() {
        return Err(StanzaError::registration_required());
    }
    Ok(account)
}

fn check_allowed(node: &Node, account: &BareJid) -> Result<(), StanzaError> {
    let config = node.config();
    match config.host(account.domain()) {
        Some(host) if host.registration => Ok(()),
        _ => Err(StanzaError::not_allowed()),
    }
}

/// §3.1: what is on file, without the password, which nobody knows.
fn registered(node: &Node, account: &BareJid) -> Answer {
    check_allowed(node, account)?;
    let field = |name: &'static str| Element::new(name, ns::REGISTER);
    let username = field("username").with_text(account.local().unwrap_or_default());
    Ok(Some(
        field("query")
            .with_child(field("registered"))
            .with_child(username)
            .with_child(field("password")),
    ))
}

fn wish(node: &Node, account: &BareJid, query: &Element) -> Result<Wish, StanzaError> {
    check_allowed(node, account)?;
    if query.child("remove", ns::REGISTER).is_some() {
        // §3.2: it is the only child.
        return match query.children().count() {
            1 => Ok(Wish::Remove),
            _ => Err(StanzaError::bad_request()),
        };
    }
    let field = |name| query.child(name, ns::REGISTER).map(Element::text);
    let (Some(username), Some(password)) = (field("username"), field("password")) else {
        return Err(StanzaError::bad_request());
    };
    // §3.3: an empty password never replaces one.
    if password.is_empty() {
        return Err(StanzaError::bad_request());
    }
    let named = BareJid::new(Some(&username), account.domain());
    if named.as_ref() != Ok(account) {
        return Err(StanzaError::not_allowed().with_text("not your account"));
    }
    Ok(Wish::ChangePassword(Secret::new(password)))
}

async fn change_password(
    node: &Node,
    account: &BareJid,
    password: &Secret,
) -> Result<(), WalkError> {
    let changed = node.accounts().change_password(account, password).await;
    changed.map_err(refusal)
}

/// Nobody logs in any more. The home is erased when the house is next tidied, not here: the client
/// is to be told first, by a session of this home.
async fn remove(node: &Node, account: &BareJid) -> Result<(), WalkError> {
    node.accounts().revoke(account).await.map_err(refusal)?;
    node.note_removed(account.clone());
    Ok(())
}

fn refusal(error: AccountError) -> WalkError {
    match error {
        AccountError::Password(reason) => StanzaError::not_acceptable()
            .with_text(reason.to_string())
            .into(),
        AccountError::NotFound => StanzaError::registration_required().into(),
        AccountError::Store(error) => error.into(),
        AccountError::Corrupt(corrupt) => corrupt.into(),
        // Of making accounts only.
        AccountError::Exists | AccountError::NoLocalpart | AccountError::TooManyRegistrations => {
            StanzaError::not_allowed().into()
        }
    }
}
