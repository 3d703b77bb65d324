//! The contact list follows a person to every device, and changes show on all of them at once.
//!
//! RFC 6121 §2 with versioning (§2.6). The entries are [`crate::roster`]'s, the store [`crate::contacts`]'.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Stanza};
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, presence};
use crate::contacts;
use crate::error::WalkError;
use crate::roster::{Listing, RosterItem, RosterSet, RosterSummary, Since};
use crate::subscription::{self, Share};
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Roster",
    xep: 0,
    version: "RFC 6121",
    host_features: &[ns::ROSTER],
    account_features: &[],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::ROSTER,
            name: "query",
            asker: Asker::Owner,
            handler: get,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::ROSTER,
            name: "query",
            asker: Asker::Owner,
            handler: set,
        },
    ],
    host_iqs: &[],
};

/// Changes that are pushed one by one to a client that comes back; with more, the whole list is shorter.
const MAX_PUSHES: usize = 100;

fn get<'w>(walk: &'w mut Walk<'_>, query: Element) -> BoxFuture<'w, Answer> {
    async move {
        let summary = contacts::summary(walk).await?;
        let since = query
            .attr("ver")
            .map_or(Since::Whole, |ver| summary.since(ver));
        // §2.2: from now on it is told of every change.
        if let Some(attendee) = walk
            .session
            .and_then(|session| walk.home.attendee_mut(session))
        {
            attendee.interested = true;
        }
        if since == Since::Current {
            return Ok(None);
        }
        let items = contacts::all(walk).await?;
        if let Since::Pushes(version) = since
            && let Some(changed) = changed_since(&items, version)
        {
            push_each(walk, &changed);
            return Ok(None);
        }
        Ok(Some(whole(&items, summary)))
    }
    .boxed()
}

/// The entries that changed after a version, oldest change first; `None` if they are too many.
fn changed_since(items: &[RosterItem], version: u64) -> Option<Vec<&RosterItem>> {
    let is_news = |item: &&RosterItem| item.changed > version && item.listing != Listing::Hidden;
    let mut changed: Vec<_> = items.iter().filter(is_news).collect();
    changed.sort_by_key(|item| item.changed);
    (changed.len() <= MAX_PUSHES).then_some(changed)
}

/// §2.6.3: after the empty result, one push for each change.
fn push_each(walk: &mut Walk<'_>, changed: &[&RosterItem]) {
    let Some(asker) = walk.stanza.from.clone() else {
        return;
    };
    for item in changed {
        let push: Stanza = contacts::push_stanza(item, item.changed);
        walk.send(push.from(walk.home.jid.clone()).to(asker.clone()));
    }
}

/// §2.1.3, with the version to come back with.
fn whole(items: &[RosterItem], summary: RosterSummary) -> Element {
    let listed = items.iter().filter(|item| item.listing == Listing::Listed);
    Element::new("query", ns::ROSTER)
        .with_attr("ver", summary.current.to_string())
        .with_children(listed.map(RosterItem::to_element))
}

fn set<'w>(walk: &'w mut Walk<'_>, query: Element) -> BoxFuture<'w, Answer> {
    async move {
        match RosterSet::parse(&query)? {
            RosterSet::Update { jid, .. } if jid == walk.home.jid => {
                Err(StanzaError::not_allowed()
                    .with_text("nobody is their own contact")
                    .into())
            }
            RosterSet::Update { jid, name, groups } => {
                let old = contacts::find(walk, &jid).await?;
                if old.listing != Listing::Listed {
                    refuse_overfull(walk).await?;
                }
                let new = RosterItem {
                    name,
                    groups,
                    listing: Listing::Listed,
                    ..old.clone()
                };
                contacts::change(walk, &old, new).await.map(|()| None)
            }
            RosterSet::Remove(jid) => {
                let old = contacts::find(walk, &jid).await?;
                if old.listing != Listing::Listed {
                    // §2.5.3
                    return Err(StanzaError::item_not_found().into());
                }
                remove(walk, old).await.map(|()| None)
            }
        }
    }
    .boxed()
}

/// One more entry would be too many.
pub(super) async fn refuse_overfull(walk: &Walk<'_>) -> Result<(), WalkError> {
    let listed = contacts::summary(walk).await?.listed;
    if usize::try_from(listed).is_ok_and(|listed| listed < walk.node.config().roster_items) {
        return Ok(());
    }
    Err(StanzaError::policy_violation()
        .with_text("the roster is full")
        .into())
}

/// §2.5.2: the subscriptions end with the entry.
async fn remove(walk: &mut Walk<'_>, old: RosterItem) -> Result<(), WalkError> {
    for request in subscription::remove(old.subscription) {
        let stanza = Stanza::presence(request.presence_type()).from(walk.home.jid.clone());
        walk.send_stored(stanza.to(old.jid.clone()));
    }
    if old.subscription.state.is_pending_in() {
        contacts::drop_request(walk, &old.jid);
    }
    if old.subscription.state.is_seen_by_contact() {
        presence::push_share(walk, &old.jid, Some(Share::Unavailable))?;
    }
    let new = old.clone().into_tombstone();
    contacts::change(walk, &old, new).await
}
