//! What a client says to all who may see it (RFC 6121 §4.2, §4.4, §4.5), and what it gets to see first.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{PresenceType, Stanza};

use super::{MAX_PRESENCE_BYTES, addressed, available_sessions, current_presence, presence_of};
use crate::catch_up;
use crate::contacts;
use crate::error::WalkError;
use crate::ext::last_activity;
use crate::home::Available;
use crate::session::{Session, SessionId, What};
use crate::subscription::State;
use crate::walk::Walk;

/// A session is there, or is there in another way than before.
pub(super) async fn available(walk: &mut Walk<'_>, id: SessionId) -> Result<(), WalkError> {
    let priority = priority(&walk.stanza)?;
    let xml = walk.stanza.encode();
    if xml.len() > MAX_PRESENCE_BYTES {
        return Err(StanzaError::policy_violation()
            .with_text("the presence stanza is too long")
            .into());
    }
    // Before anything changes: what cannot be read cannot be told.
    let contacts = contacts::subscriptions(walk).await?;
    let since = walk.now;
    let Some(attendee) = walk.home.attendee_mut(id) else {
        return Ok(());
    };
    let session = attendee.session.clone();
    let is_initial = attendee.available.is_none();
    attendee.available = Some(Box::new(Available {
        priority,
        since,
        // It stays as long as the session: in a piece of memory of its own size.
        stanza: Bytes::copy_from_slice(&xml),
    }));
    if attendee.takes_messages() {
        catch_up::begin(walk.home, &session);
    }
    tell_subscribers(walk, &contacts);
    tell_own_sessions(walk);
    if is_initial {
        show_the_world(walk, &session, &contacts).await?;
    }
    Ok(())
}

/// §4.7.2.3: an integer from -128 to 127; none means 0.
fn priority(stanza: &Stanza) -> Result<i8, WalkError> {
    let Some(priority) = stanza.child("priority", ns::CLIENT) else {
        return Ok(0);
    };
    let text = priority.to_element()?.text();
    let text = text.trim();
    // XML Schema's byte allows a sign; an empty element says nothing.
    match text {
        "" => Ok(0),
        _ => text.parse().map_err(|_| {
            StanzaError::bad_request()
                .with_text("priority is -128 to 127")
                .into()
        }),
    }
}

/// §4.2.2, §4.4.2: all contacts with a subscription "from" or "both".
fn tell_subscribers(walk: &mut Walk<'_>, contacts: &[(BareJid, State)]) {
    for (jid, state) in contacts {
        if state.is_seen_by_contact() && !walk.home.blocked.holds_bare(jid) {
            walk.send(walk.stanza.clone().to(jid.clone()));
        }
    }
}

/// §4.2.2: the account's own available resources, the one that speaks included.
fn tell_own_sessions(walk: &mut Walk<'_>) {
    let Some(from) = &walk.stanza.from else {
        return;
    };
    let what = presence_of(from);
    let xml = addressed(walk.stanza.clone(), walk.home.jid.clone());
    for session in available_sessions(walk) {
        walk.deliver(&session, what, xml.clone(), true);
    }
}

/// A session that has just become available learns who is there, and who wants to see it.
async fn show_the_world(
    walk: &mut Walk<'_>,
    session: &Arc<Session>,
    contacts: &[(BareJid, State)],
) -> Result<(), WalkError> {
    for (jid, state) in contacts {
        if walk.home.blocked.holds_bare(jid) {
            continue;
        }
        if state.sees_contact() {
            probe(walk, session, jid);
        }
        if state.is_pending_out() {
            // The contact's server drops what it has already, and answers again what it has answered: an answer that
            // was lost on the way is made up for.
            let subscribe = Stanza::presence(PresenceType::Subscribe).from(walk.home.jid.clone());
            walk.send(subscribe.to(jid.clone()));
        }
    }
    for presence in current_presence(walk, Some(session))? {
        if let Some(from) = &presence.from {
            let what = presence_of(from);
            walk.deliver(
                session,
                what,
                addressed(presence, walk.home.jid.clone()),
                false,
            );
        }
    }
    // §3.1.3: until the person has answered, at each log-in.
    for request in contacts::requests(walk).await? {
        if request
            .from
            .as_ref()
            .is_some_and(|from| !walk.home.blocked.holds(from))
        {
            walk.deliver(session, What::Passing, request.encode(), false);
        }
    }
    Ok(())
}

/// Asks those whom the owner sees how they are, on behalf of one session.
pub(in crate::ext) async fn probe_contacts(
    walk: &mut Walk<'_>,
    session: &Arc<Session>,
) -> Result<(), WalkError> {
    for (jid, state) in contacts::subscriptions(walk).await? {
        if state.sees_contact() && !walk.home.blocked.holds_bare(&jid) {
            probe(walk, session, &jid);
        }
    }
    Ok(())
}

/// §4.3.1: from the full JID, so that only this resource gets the answer.
fn probe(walk: &mut Walk<'_>, session: &Arc<Session>, contact: &BareJid) {
    let probe = Stanza::presence(PresenceType::Probe).from(session.jid.clone());
    walk.send(probe.to(contact.clone()));
}

/// A session goes: those who saw it are told (§4.5.2), and those it told directly (§4.6.3).
pub(super) async fn unavailable(walk: &mut Walk<'_>, id: SessionId) -> Result<(), WalkError> {
    let contacts = contacts::subscriptions(walk).await?;
    let was_available = walk
        .home
        .attendee(id)
        .is_some_and(|attendee| attendee.available.is_some());
    if was_available {
        tell_subscribers(walk, &contacts);
        // Before the session is taken for gone: §4.5.2, it hears its own goodbye.
        tell_own_sessions(walk);
    }
    let Some(attendee) = walk.home.attendee_mut(id) else {
        return Ok(());
    };
    attendee.available = None;
    let directed = std::mem::take(&mut attendee.directed);
    if was_available {
        last_activity::note(walk);
    }
    for to in directed {
        let bare = to.to_bare();
        let is_told = was_available
            && contacts
                .iter()
                .any(|(jid, state)| *jid == bare && state.is_seen_by_contact());
        if !is_told && !walk.home.blocked.holds(&to) {
            walk.send(walk.stanza.clone().to(to));
        }
    }
    Ok(())
}
