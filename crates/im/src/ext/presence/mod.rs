//! Who is there: a person's contacts see when they come, change and go, and they see their contacts.
//!
//! RFC 6121 §3 and §4, whole: broadcast and directed presence, probes, priorities, subscriptions with pre-approval.
//! Left out: nothing; which resource gets a message is [`crate::pipeline`]'s.
//!
//! The steps: [`broadcast`] is what a client says to everybody, [`probe`] answers who asks, [`request`] is about who
//! may see whom.

mod broadcast;
mod probe;
mod request;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, PresenceType, Stanza};

use super::Ext;
use crate::codec;
use crate::error::WalkError;
use crate::session::{Session, What};
use crate::subscription::Request;
use crate::walk::Walk;

pub(super) use broadcast::probe_contacts;
pub use request::push_share;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Presence and subscriptions",
    xep: 0,
    version: "RFC 6121",
    host_features: &[ns::PRE_APPROVAL],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Addresses outside the roster that one session may send directed presence to; each is remembered until it goes.
/// Rooms are such addresses, and nobody is in more than a few hundred.
pub const MAX_DIRECTED: usize = 1_000;
/// Bytes of a broadcast presence stanza; it stays in memory as long as its session.
pub const MAX_PRESENCE_BYTES: usize = 8 * 1_024;

/// At the sender's home: what a session says.
pub async fn sent(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let (Kind::Presence(kind), Some(session)) = (walk.stanza.kind, walk.session) else {
        return Ok(());
    };
    if let Some(request) = Request::of(kind) {
        return request::sent(walk, request).await;
    }
    match (kind, walk.stanza.to.clone()) {
        (PresenceType::Available, None) => broadcast::available(walk, session).await,
        (PresenceType::Unavailable, None) => broadcast::unavailable(walk, session).await,
        (PresenceType::Available, Some(to)) => {
            remember_directed(walk, to)?;
            walk.forward();
            Ok(())
        }
        (PresenceType::Unavailable, Some(to)) => {
            forget_directed(walk, &to);
            walk.forward();
            Ok(())
        }
        (_, Some(_)) => {
            walk.forward();
            Ok(())
        }
        (_, None) => Err(StanzaError::bad_request().into()),
    }
}

/// §4.6.3: whoever was told directly is told when the session goes, too.
fn remember_directed(walk: &mut Walk<'_>, to: Jid) -> Result<(), WalkError> {
    let Some(attendee) = walk
        .session
        .and_then(|session| walk.home.attendee_mut(session))
    else {
        return Ok(());
    };
    if attendee.directed.contains(&to) {
        return Ok(());
    }
    if attendee.directed.len() >= MAX_DIRECTED {
        return Err(StanzaError::resource_constraint()
            .with_text("directed presence to too many addresses")
            .into());
    }
    attendee.directed.push(to);
    Ok(())
}

fn forget_directed(walk: &mut Walk<'_>, to: &Jid) {
    if let Some(attendee) = walk
        .session
        .and_then(|session| walk.home.attendee_mut(session))
    {
        attendee.directed.retain(|known| known != to);
    }
}

/// At the recipient's home.
pub async fn received(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Kind::Presence(kind) = walk.stanza.kind else {
        return Ok(());
    };
    if let Some(request) = Request::of(kind) {
        return request::received(walk, request).await;
    }
    match kind {
        PresenceType::Probe => probe::answer(walk).await,
        // §8.5.2.1.2: an error to the bare JID is about something the server sent; nobody can use it.
        PresenceType::Error if resource(walk).is_none() => Ok(()),
        _ => {
            notify(walk);
            Ok(())
        }
    }
}

fn resource<'w>(walk: &'w Walk<'_>) -> Option<&'w str> {
    walk.stanza.to.as_ref()?.resource()
}

/// §4.4.3, §8.5.3.1: to the resource that is named, or to all that are available.
fn notify(walk: &mut Walk<'_>) {
    let sessions: Vec<_> = match resource(walk) {
        Some(resource) => walk
            .home
            .resource(resource)
            .map(|attendee| attendee.session.clone())
            .into_iter()
            .collect(),
        None => available_sessions(walk),
    };
    let what = match &walk.stanza.from {
        Some(from) => presence_of(from),
        // The server speaks for the account: an error about something that was sent to nobody in particular.
        None => What::Passing,
    };
    let xml = walk.stanza.encode();
    let hold = may_be_held(&walk.stanza);
    for session in sessions {
        walk.deliver(&session, what, xml.clone(), hold);
    }
}

/// XEP-0352: how contacts are can wait until somebody looks, but not what answers the client: an error, or that it is in
/// the room that it asked to join (XEP-0045 §7.2.2: status 110).
pub(crate) fn may_be_held(presence: &Stanza) -> bool {
    let answers_it = || {
        let x = presence.child("x", ns::MUC_USER)?.to_element().ok()?;
        let mut statuses = x.children().filter(|child| child.name() == "status");
        Some(statuses.any(|status| status.attr("code") == Some("110")))
    };
    presence.kind != Kind::Presence(PresenceType::Error) && !answers_it().unwrap_or_default()
}

/// A queue keeps only the newest presence of each sender.
pub(crate) fn presence_of(sender: &Jid) -> What {
    let mut hasher = DefaultHasher::new();
    sender.as_str().hash(&mut hasher);
    What::Presence {
        sender: hasher.finish(),
    }
}

fn available_sessions(walk: &Walk<'_>) -> Vec<Arc<Session>> {
    walk.home
        .sessions
        .iter()
        .filter(|attendee| attendee.available.is_some())
        .map(|attendee| attendee.session.clone())
        .collect()
}

/// The last broadcast of each available session but `except`, as stanzas with `from` and without `to`.
fn current_presence(walk: &Walk<'_>, except: Option<&Session>) -> Result<Vec<Stanza>, WalkError> {
    let others = walk
        .home
        .sessions
        .iter()
        .filter(|attendee| except.is_none_or(|session| session.id != attendee.session.id));
    let broadcasts = others.filter_map(|attendee| attendee.available.as_deref());
    broadcasts
        .map(|available| Ok(codec::stanza(&available.stanza)?))
        .collect()
}

/// A session has ended without saying so: §4.5.1, the server says it.
pub async fn session_ended(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    match walk.session {
        Some(session) => broadcast::unavailable(walk, session).await,
        None => Ok(()),
    }
}

/// As it is shown: for somebody in particular.
fn addressed(mut stanza: Stanza, to: impl Into<Jid>) -> Bytes {
    stanza.to = Some(to.into());
    stanza.encode()
}
