//! Who may see whom: subscription requests and their answers (RFC 6121 §3). The rules are [`crate::subscription`]'s.

use std::sync::Arc;

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::stanza::{PresenceType, Stanza};

use super::{available_sessions, current_presence};
use crate::contacts;
use crate::error::WalkError;
use crate::roster::{Listing, RosterItem};
use crate::session::{Session, What};
use crate::subscription::{self, Request, Share};
use crate::walk::Walk;

/// The owner asks, answers or takes back.
pub(super) async fn sent(walk: &mut Walk<'_>, request: Request) -> Result<(), WalkError> {
    // §3.1.2: a request without an address means nobody; with a resource it means the contact all the same.
    let contact = walk
        .stanza
        .to
        .as_ref()
        .ok_or_else(StanzaError::bad_request)?
        .to_bare();
    if contact == walk.home.jid {
        return Err(StanzaError::not_allowed()
            .with_text("everybody sees themselves")
            .into());
    }
    let old = contacts::find(walk, &contact).await?;
    let step = subscription::send(old.subscription, request);
    let new = old.clone().with_subscription(step.next);
    if old.listing != Listing::Listed && new.listing == Listing::Listed {
        super::super::roster::refuse_overfull(walk).await?;
    }
    if old.subscription.state.is_pending_in() && !new.subscription.state.is_pending_in() {
        contacts::drop_request(walk, &contact);
    }
    walk.stanza.from = Some(walk.home.jid.clone().into());
    walk.stanza.to = Some(contact.clone().into());
    if step.route {
        walk.send_stored(walk.stanza.clone());
    }
    contacts::change(walk, &old, new).await?;
    push_share(walk, &contact, step.share)
}

/// A contact asks, answers or takes back.
pub(super) async fn received(walk: &mut Walk<'_>, request: Request) -> Result<(), WalkError> {
    let Some(contact) = walk.stanza.from.as_ref().map(|from| from.to_bare()) else {
        return Ok(());
    };
    let old = contacts::find(walk, &contact).await?;
    let step = subscription::receive(old.subscription, request);
    let new = old.clone().with_subscription(step.next);
    // §3.1.2: as if it had been sent from and to bare JIDs.
    walk.stanza.from = Some(contact.clone().into());
    walk.stanza.to = Some(walk.home.jid.clone().into());
    if !track_request(walk, &old, &new).await? {
        return Ok(());
    }
    if step.deliver {
        deliver(walk, request);
    }
    if let Some(reply) = step.reply {
        let reply = Stanza::presence(reply.presence_type())
            .from(walk.home.jid.clone())
            .to(contact.clone());
        walk.send_stored(reply);
    }
    contacts::change(walk, &old, new).await?;
    push_share(walk, &contact, step.share)
}

/// Keeps a new question, forgets one that was taken back. Answers whether there was room.
async fn track_request(
    walk: &mut Walk<'_>,
    old: &RosterItem,
    new: &RosterItem,
) -> Result<bool, WalkError> {
    match (
        old.subscription.state.is_pending_in(),
        new.subscription.state.is_pending_in(),
    ) {
        (false, true) => contacts::keep_request(walk, &new.jid).await,
        (true, false) => {
            contacts::drop_request(walk, &new.jid);
            Ok(true)
        }
        (true, true) | (false, false) => Ok(true),
    }
}

/// §3.1.3: a question is for whoever is available; §3.1.6, §3.2.3, §3.3.3: news is for all that follow the roster.
fn deliver(walk: &mut Walk<'_>, request: Request) {
    let sessions: Vec<Arc<Session>> = match request {
        Request::Subscribe => available_sessions(walk),
        Request::Subscribed | Request::Unsubscribe | Request::Unsubscribed => {
            let following = walk
                .home
                .sessions
                .iter()
                .filter(|attendee| attendee.interested || attendee.available.is_some());
            following.map(|attendee| attendee.session.clone()).collect()
        }
    };
    let xml = walk.stanza.encode();
    for session in sessions {
        walk.deliver(&session, What::Passing, xml.clone(), false);
    }
}

/// Tells a contact who has just begun or ceased to see the owner where the owner's resources are (§3.1.5, §3.2.1).
///
/// # Errors
/// A presence in memory cannot be read, which is a bug.
pub fn push_share(
    walk: &mut Walk<'_>,
    contact: &BareJid,
    share: Option<Share>,
) -> Result<(), WalkError> {
    let Some(share) = share else { return Ok(()) };
    if share == Share::Available {
        walk.admitted = Some(contact.clone());
    }
    for presence in current_presence(walk, None)? {
        let presence = match share {
            Share::Available => presence,
            Share::Unavailable => {
                let mut gone = Stanza::presence(PresenceType::Unavailable);
                gone.from = presence.from;
                gone
            }
        };
        walk.send(presence.to(contact.clone()));
    }
    Ok(())
}
