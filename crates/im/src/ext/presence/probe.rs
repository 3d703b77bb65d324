//! A contact's server asks who is there (RFC 6121 §4.3.2).

use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{PresenceType, Stanza};
use posthaste_proto::xml::Element;

use super::resource;
use crate::clock::Timestamp;
use crate::codec;
use crate::contacts;
use crate::error::WalkError;
use crate::ext::last_activity;
use crate::home::Attendee;
use crate::walk::Walk;

/// Answers a probe with what the one who asks may see.
pub(super) async fn answer(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some(from) = walk.stanza.from.clone() else {
        return Ok(());
    };
    let may_see = contacts::may_see_presence(walk, &from.to_bare()).await?;
    let asked = resource(walk).map(str::to_owned);
    let is_asked = |attendee: &&Attendee| {
        asked
            .as_deref()
            .is_none_or(|it| it == attendee.session.jid.resource())
    };
    // Whoever was told directly may ask again.
    let is_shown = |attendee: &&Attendee| may_see || attendee.directed.contains(&from);
    let shown: Vec<_> = walk
        .home
        .sessions
        .iter()
        .filter(is_asked)
        .filter(is_shown)
        .filter_map(|attendee| attendee.available.as_deref().cloned())
        .collect();
    if shown.is_empty() {
        let reply = if may_see {
            gone(walk, &from).await?
        } else {
            not_subscribed(walk, &from)
        };
        walk.send(reply);
    }
    for available in shown {
        let stanza = codec::stanza(&available.stanza)?.to(from.clone());
        walk.send(stanza.with_child(&since(walk, available.since)));
    }
    Ok(())
}

/// Nobody is there; the moment when the last resource went comes with it, as far as it is known.
async fn gone(walk: &Walk<'_>, to: &Jid) -> Result<Stanza, WalkError> {
    let gone = Stanza::presence(PresenceType::Unavailable)
        .from(walk.home.jid.clone())
        .to(to.clone());
    Ok(match last_activity::seen(walk).await? {
        Some(seen) => gone.with_child(&since(walk, seen.at)),
        None => gone,
    })
}

/// §4.3.2: so that a roster that still believes in a subscription is put right.
fn not_subscribed(walk: &Walk<'_>, to: &Jid) -> Stanza {
    Stanza::presence(PresenceType::Unsubscribed)
        .from(walk.home.jid.clone())
        .to(to.to_bare())
}

fn since(walk: &Walk<'_>, moment: Timestamp) -> Element {
    Element::new("delay", ns::DELAY)
        .with_attr("from", walk.home.jid.as_str())
        .with_attr("stamp", moment.to_string())
}
