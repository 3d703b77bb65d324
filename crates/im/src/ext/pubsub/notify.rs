//! Whom an event concerns is told: the owner's own sessions and contacts who said that they want to know, and whoever
//! has subscribed by request (XEP-0060 §7.1.2, §9; XEP-0163 §4).

use std::collections::HashSet;

use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::pubsub::{Event, Item, SendLast};
use posthaste_proto::xml::Element;

use super::leaf::{Leaf, StoredItem};
use super::{Site, access, people, pep};
use crate::clock::Timestamp;
use crate::error::WalkError;
use crate::session::What;
use crate::walk::Walk;

/// Tells everybody whom an event at this node concerns.
///
/// # Errors
/// The store's.
pub(super) async fn tell(
    walk: &mut Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    event: &Event,
) -> Result<(), WalkError> {
    if !leaf.config.deliver_notifications {
        return Ok(());
    }
    let event = shown(leaf, event);
    let mut told = HashSet::new();
    if site.is_account {
        tell_own_sessions(walk, leaf, &event);
        told = tell_contacts(walk, site, leaf, &event).await?;
    }
    if leaf.subscribers == 0 {
        return Ok(());
    }
    let message = notification(site, &event);
    for jid in access::subscribers(walk, leaf, people::most_subscribers(walk)).await? {
        let bare = jid.to_bare();
        // XEP-0163 §4.3.2: whose presence is known gets it at the resources that want it, and nowhere else.
        if told.contains(&bare) || walk.home.blocked.holds(&jid) {
            continue;
        }
        // Access is what it is now, not what it was when they subscribed.
        if access::can_read(walk, site, leaf, &bare).await? {
            walk.send(message.clone().to(jid));
        }
    }
    Ok(())
}

fn shown(leaf: &Leaf, event: &Event) -> Element {
    match event {
        Event::Published(item) if !leaf.config.deliver_payloads => Event::Published(Item {
            payload: None,
            ..item.clone()
        })
        .to_element(&leaf.name),
        event => event.to_element(&leaf.name),
    }
}

/// XEP-0060 §12.5: a headline, which nobody stores.
fn notification(site: &Site, event: &Element) -> Stanza {
    Stanza::message(MessageType::Headline)
        .from(site.jid.clone())
        .with_child(event)
}

/// Tells one address.
pub(super) fn send(walk: &mut Walk<'_>, site: &Site, to: &Jid, event: &Element) {
    walk.send(notification(site, event).to(to.clone()));
}

fn tell_own_sessions(walk: &mut Walk<'_>, leaf: &Leaf, event: &Element) {
    let site = Site::of_account(walk);
    let wants = |attendee: &&crate::home::Attendee| {
        attendee.available.is_some()
            && attendee
                .kind
                .as_ref()
                .is_some_and(|kind| kind.wants(&leaf.name))
    };
    let sessions: Vec<_> = walk
        .home
        .sessions
        .iter()
        .filter(wants)
        .map(|attendee| attendee.session.clone())
        .collect();
    for session in sessions {
        let message = notification(&site, event).to(session.jid.clone());
        walk.deliver(&session, What::Passing, message.encode(), false);
    }
}

/// Answers whose presence is known, whether they wanted to be told or not.
async fn tell_contacts(
    walk: &mut Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    event: &Element,
) -> Result<HashSet<BareJid>, WalkError> {
    let listeners = walk.home.audience.listeners().to_vec();
    let known = listeners.iter().map(|it| it.jid.to_bare()).collect();
    let message = notification(site, event);
    for listener in listeners {
        if !pep::wants(walk, &listener, &leaf.name).await? || walk.home.blocked.holds(&listener.jid)
        {
            continue;
        }
        if is_open_to(walk, site, leaf, &listener.jid.to_bare()).await? {
            walk.send(message.clone().to(listener.jid));
        }
    }
    Ok(known)
}

/// XEP-0163 §4: being told takes a presence subscription besides access.
async fn is_open_to(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    who: &BareJid,
) -> Result<bool, WalkError> {
    Ok(crate::contacts::may_see_presence(walk, who).await?
        && access::can_read(walk, site, leaf, who).await?)
}

/// §6.1.7: a new subscriber gets the last item.
pub(super) async fn greet(
    walk: &mut Walk<'_>,
    site: &Site,
    leaf: &Leaf,
    to: &Jid,
) -> Result<(), WalkError> {
    if leaf.config.send_last == SendLast::Never || !leaf.config.deliver_notifications {
        return Ok(());
    }
    if let Some(message) = last_item(walk, site, leaf).await? {
        walk.send(message.to(to.clone()));
    }
    Ok(())
}

/// The last item of a node as a notification that says when it was published (§7.1.2.1, XEP-0203).
pub(super) async fn last_item(
    walk: &Walk<'_>,
    site: &Site,
    leaf: &Leaf,
) -> Result<Option<Stanza>, WalkError> {
    if leaf.items == 0 {
        return Ok(None);
    }
    let Some(item) = leaf.newest(walk, None, 1).await?.pop() else {
        return Ok(None);
    };
    Ok(Some(delayed(site, leaf, &item)?))
}

fn delayed(site: &Site, leaf: &Leaf, item: &StoredItem) -> Result<Stanza, WalkError> {
    let event = Event::Published(item.to_item(site.jid.as_str())?);
    Ok(notification(site, &shown(leaf, &event)).with_child(&stamp(site, item.published_at)))
}

fn stamp(site: &Site, at: Timestamp) -> Element {
    Element::new("delay", ns::DELAY)
        .with_attr("from", site.jid.as_str())
        .with_attr("stamp", at.to_string())
}
