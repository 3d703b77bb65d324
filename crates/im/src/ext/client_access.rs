//! People see which clients can get into their account, and put one out.
//!
//! XEP-0494: Client Access Management, version 0.1.0. Listed are the account's devices ([`crate::devices`]) and the
//! sessions of clients that do not name themselves. What ends with a client is its session (with `<not-authorized/>`, and
//! it is not resumed), its FAST tokens, its place in the log and its push registrations. The XEP has a client refused
//! that has logged in with the password, because nothing but another password keeps it out; here it is put out all the
//! same, and the error says what is left to do. Left out: telling how others than the owner see it (administrators use
//! the command line).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_kv::Batch;
use posthaste_proto::error::{StanzaError, StreamCondition, StreamError};
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xep::client_access::{self, Client};
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext};
use crate::accounts::decode_password_changed;
use crate::clock::Timestamp;
use crate::devices::{self, Device, DeviceRecord};
use crate::error::WalkError;
use crate::home::Attendee;
use crate::session::Session;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Client Access Management",
    xep: 494,
    version: "0.1.0",
    host_features: &[],
    account_features: &[ns::CLIENT_ACCESS],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::CLIENT_ACCESS,
            name: "list",
            asker: Asker::Owner,
            handler: list,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::CLIENT_ACCESS,
            name: "revoke",
            asker: Asker::Owner,
            handler: revoke,
        },
        // COMPAT(slixmpp, 1.17): it asks by a get for what §4.2 has as a set.
        AccountIq {
            kind: IqType::Get,
            ns: ns::CLIENT_ACCESS,
            name: "revoke",
            asker: Asker::Owner,
            handler: revoke,
        },
    ],
    host_iqs: &[],
};

/// Before the resource of a client that does not name itself; no UUID begins so.
const UNNAMED: &str = "resource:";

fn list<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async move {
        let mut clients = Vec::new();
        for device in &walk.home.devices {
            clients.push(named(walk, device).await?);
        }
        clients.extend(unnamed(walk).map(|attendee| Client {
            id: format!("{UNNAMED}{}", attendee.session.jid.resource()),
            is_connected: true,
            has_password: true,
            device: Some(attendee.session.jid.resource().to_owned()),
            ..Client::default()
        }));
        Ok(Some(client_access::clients(clients)))
    }
    .boxed()
}

async fn named(walk: &Walk<'_>, device: &Device) -> Result<Client, WalkError> {
    let record = record(walk, &device.id).await?;
    let named = |name: &String| (!name.is_empty()).then(|| name.clone());
    let last_seen = match device.session {
        Some(_) => walk.now,
        None => device.seen,
    };
    Ok(Client {
        id: device.id.to_string(),
        is_connected: device.session.is_some(),
        first_seen: Some(record.first_seen.to_string()),
        last_seen: Some(last_seen.to_string()),
        has_password: knows_password(walk, &record).await?,
        has_token: has_token(walk, &device.id).await?,
        software: named(&record.software),
        device: named(&record.device),
    })
}

async fn has_token(walk: &Walk<'_>, id: &str) -> Result<bool, WalkError> {
    let accounts = walk.node.accounts();
    match walk.get(&tables::token_key(id)).await? {
        Some(value) => Ok(accounts.is_any_token_valid(value)?),
        None => Ok(false),
    }
}

/// The sessions of clients that are no devices.
fn unnamed<'h>(walk: &'h Walk<'_>) -> impl Iterator<Item = &'h Attendee> {
    let devices = &walk.home.devices;
    walk.home.sessions.iter().filter(move |attendee| {
        let id = attendee.session.id;
        !devices.iter().any(|device| device.session == Some(id))
    })
}

async fn record(walk: &Walk<'_>, id: &str) -> Result<DeviceRecord, WalkError> {
    let value = walk.get(&tables::text_key(tables::DEVICE, id)).await?;
    Ok(value
        .map(DeviceRecord::decode)
        .transpose()?
        .unwrap_or_default())
}

/// Has the client logged in with the password that is still the account's?
async fn knows_password(walk: &Walk<'_>, record: &DeviceRecord) -> Result<bool, WalkError> {
    let changed_at = match walk.get(tables::PASSWORD_CHANGED).await? {
        Some(value) => decode_password_changed(value)?,
        None => Timestamp(0),
    };
    let has_shown_one = record.password_at > Timestamp(0);
    Ok(has_shown_one && record.password_at >= changed_at)
}

fn revoke<'w>(walk: &'w mut Walk<'_>, payload: Element) -> BoxFuture<'w, Answer> {
    async move {
        let id = payload.attr("id").ok_or_else(StanzaError::bad_request)?;
        let attendee = match id.strip_prefix(UNNAMED) {
            Some(resource) => unnamed(walk).find(|a| a.session.jid.resource() == resource),
            None => device(walk, id)?
                .session
                .and_then(|id| walk.home.attendee(id)),
        };
        let session = attendee.map(|attendee| attendee.session.clone());
        let knows_password = match id.strip_prefix(UNNAMED) {
            Some(_) if session.is_none() => return Err(StanzaError::item_not_found().into()),
            Some(_) => true,
            None => knows_password(walk, &record(walk, id).await?).await?,
        };
        if device(walk, id).is_ok() {
            // Not with the walk's commit: what follows may be an error, which takes the walk's writes back.
            let mut batch = Batch::new(walk.home.partition.clone());
            devices::forget(walk.home, id, &mut batch);
            walk.node.kv().commit(batch)?;
        }
        if let Some(session) = session {
            put_out(walk, &session);
        }
        if knows_password {
            let error = StanzaError::service_unavailable();
            return Err(error
                .with_app(client_access::password_reset_required())
                .into());
        }
        Ok(None)
    }
    .boxed()
}

fn device<'w>(walk: &'w Walk<'_>, id: &str) -> Result<&'w Device, StanzaError> {
    let device = walk.home.devices.iter().find(|device| *device.id == *id);
    device.ok_or_else(StanzaError::item_not_found)
}

/// The connection sends what is in the queue and the error, and ends the session; one that has no connection is ended
/// by the next round of housekeeping.
fn put_out(walk: &Walk<'_>, session: &Session) {
    let mut state = session.state();
    state.forbid_resumption();
    state.close(StreamError::new(StreamCondition::NotAuthorized));
    if state.detached_at.is_some() {
        let jid = session.jid.clone();
        walk.node.expect_resumption(walk.now, session.id, jid);
    }
}
