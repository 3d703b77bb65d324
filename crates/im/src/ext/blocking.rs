//! A person can block others: those reach nobody here, learn nothing, and see the person offline.
//!
//! XEP-0191: Blocking Command, version 1.3. An entry is a JID of any form: a full JID blocks one resource, a bare JID
//! a person, a domain all on it. Reports beside an entry are [`super::reports`]'.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_kv::{Kv, Partition, Scan};
use posthaste_proto::error::{ErrorType, StanzaError};
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, MessageType, PresenceType, Stanza};
use posthaste_proto::xml::Element;

use super::reports::{self, Report};
use super::{AccountIq, Answer, Asker, Ext, presence, privacy_lists};
use crate::contacts;
use crate::error::WalkError;
use crate::session::What;
use crate::subscription::Share;
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Blocking Command",
    xep: 191,
    version: "1.3",
    host_features: &[ns::BLOCKING],
    account_features: &[],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::BLOCKING,
            name: "blocklist",
            asker: Asker::Owner,
            handler: list,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::BLOCKING,
            name: "block",
            asker: Asker::Owner,
            handler: block,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::BLOCKING,
            name: "unblock",
            asker: Asker::Owner,
            handler: unblock,
        },
    ],
    host_iqs: &[],
};

const VERSION: u8 = 1;
/// Entries that are loaded; `blocked_addresses` is bounded by it too.
const MOST: usize = 100_000;

// ---- the list -------------------------------------------------------------------------------------

/// Whom the owner of a home has blocked. Takes no memory for the many who block nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList {
    /// Sorted.
    jids: Box<[Jid]>,
}

impl BlockList {
    /// Reads the list of a home.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(kv: &dyn Kv, partition: &Partition) -> Result<BlockList, WalkError> {
        let rows = kv
            .scan(partition, Scan::prefix(tables::BLOCK, MOST))
            .await?;
        let jids = rows.iter().filter_map(|(key, _)| {
            let jid = std::str::from_utf8(key.strip_prefix(tables::BLOCK)?).ok()?;
            Jid::parse(jid).ok()
        });
        Ok(BlockList::of(jids.collect()))
    }

    fn of(mut jids: Vec<Jid>) -> BlockList {
        jids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        jids.dedup();
        BlockList { jids: jids.into() }
    }

    /// Whether stanzas from and to `jid` are blocked: by an entry for itself, for its bare JID, for its domain, or for
    /// the resource of its domain (§3.1, by the rules of XEP-0016 §2.1).
    pub fn holds(&self, jid: &Jid) -> bool {
        if self.jids.is_empty() {
            return false;
        }
        let of_domain = jid
            .resource()
            .map(|resource| format!("{}/{resource}", jid.domain()));
        [
            Some(jid.as_str()),
            Some(jid.bare_str()),
            Some(jid.domain()),
            of_domain.as_deref(),
        ]
        .into_iter()
        .flatten()
        .any(|form| self.has(form))
    }

    /// As [`BlockList::holds`], for a contact.
    pub fn holds_bare(&self, jid: &BareJid) -> bool {
        !self.jids.is_empty() && (self.has(jid.as_str()) || self.has(jid.domain()))
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[Jid] {
        &self.jids
    }

    fn has(&self, entry: &str) -> bool {
        self.jids
            .binary_search_by(|known| known.as_str().cmp(entry))
            .is_ok()
    }
}

// ---- the effect -----------------------------------------------------------------------------------

/// May this stanza go out? If not, the session that sent it has been told why (§3.3).
pub fn lets_out(walk: &mut Walk<'_>) -> bool {
    let is_blocked = walk
        .stanza
        .to
        .as_ref()
        .is_some_and(|to| is_blocked(walk, to));
    if is_blocked {
        tell_blocked(walk);
    }
    !is_blocked
}

/// The error is in the blocked contact's name, so that it cannot come in by the ordinary way.
fn tell_blocked(walk: &mut Walk<'_>) {
    let mut error =
        StanzaError::not_acceptable().with_app(Element::new("blocked", ns::BLOCKING_ERRORS));
    // §3.3 shows type "cancel": sending it again in another form does not help.
    error.kind = ErrorType::Cancel;
    let Some(reply) = walk.stanza.error_reply(&error) else {
        return;
    };
    let Some(attendee) = walk.session.and_then(|session| walk.home.attendee(session)) else {
        return;
    };
    let session = attendee.session.clone();
    walk.node.stats.stanza_errors.count();
    walk.deliver(&session, What::Passing, reply.encode(), false);
}

/// May this stanza come in? An error is what its sender is told; `false` drops it silently (§3.3).
pub fn admits(walk: &Walk<'_>) -> Result<bool, WalkError> {
    match &walk.stanza.from {
        Some(from) if is_blocked(walk, from) => match walk.stanza.kind {
            Kind::Presence(_) => Ok(false),
            Kind::Message(MessageType::Error) | Kind::Iq(IqType::Result | IqType::Error) => {
                Ok(false)
            }
            Kind::Message(_) | Kind::Iq(_) => Err(StanzaError::service_unavailable().into()),
        },
        _ => Ok(true),
    }
}

/// Whoever blocks their own domain means its people: not themselves, and not the server that serves them.
fn is_blocked(walk: &Walk<'_>, peer: &Jid) -> bool {
    let own = &walk.home.jid;
    walk.home.blocked.holds(peer)
        && peer.bare_str() != own.as_str()
        && !(peer.local().is_none() && peer.domain() == own.domain())
}

// ---- the commands -----------------------------------------------------------------------------------

fn list<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async {
        if let Some(attendee) = walk
            .session
            .and_then(|session| walk.home.attendee_mut(session))
        {
            attendee.block_interested = true;
        }
        Ok(Some(items("blocklist", &walk.home.blocked.jids)))
    }
    .boxed()
}

fn block<'w>(walk: &'w mut Walk<'_>, command: Element) -> BoxFuture<'w, Answer> {
    async move {
        let jids = jids_of(&command)?;
        let reports = reports_of(&command, &jids)?;
        if jids.is_empty() {
            // §3.2
            return Err(StanzaError::bad_request().into());
        }
        block_these(walk, &jids).await?;
        privacy_lists::changed(walk).await?;
        // After the blocking, which happens whatever becomes of them (XEP-0377 §6).
        reports::hear(walk, &reports);
        Ok(None)
    }
    .boxed()
}

/// Adds entries to the list, with all that follows.
///
/// # Errors
/// The list is full, or the store's.
pub(super) async fn block_these(walk: &mut Walk<'_>, jids: &[Jid]) -> Result<(), WalkError> {
    let list = BlockList::of([&*walk.home.blocked.jids, jids].concat());
    if list.jids.len() > walk.node.config().blocked_addresses.min(MOST) {
        return Err(StanzaError::policy_violation()
            .with_text("the block list is full")
            .into());
    }
    for jid in jids {
        walk.put(tables::text_key(tables::BLOCK, jid.as_str()), vec![VERSION]);
    }
    let before = std::mem::replace(&mut walk.home.blocked, list);
    push(walk, "block", jids);
    for contact in seers(walk).await? {
        if walk.home.blocked.holds_bare(&contact) && !before.holds_bare(&contact) {
            presence::push_share(walk, &contact, Some(Share::Unavailable))?;
        }
    }
    say_goodbye(walk);
    Ok(())
}

fn unblock<'w>(walk: &'w mut Walk<'_>, command: Element) -> BoxFuture<'w, Answer> {
    async move {
        let named = jids_of(&command)?;
        unblock_these(walk, &named, &named).await?;
        privacy_lists::changed(walk).await?;
        Ok(None)
    }
    .boxed()
}

/// Takes entries out of the list, with all that follows. `told` is what sessions are told of; none means all (§3.5).
///
/// # Errors
/// The store's.
pub(super) async fn unblock_these(
    walk: &mut Walk<'_>,
    named: &[Jid],
    told: &[Jid],
) -> Result<(), WalkError> {
    let is_freed = |jid: &Jid| named.is_empty() || named.contains(jid);
    let (freed, kept): (Vec<Jid>, Vec<Jid>) =
        walk.home.blocked.jids.iter().cloned().partition(is_freed);
    for jid in &freed {
        walk.delete(tables::text_key(tables::BLOCK, jid.as_str()));
    }
    let before = std::mem::replace(&mut walk.home.blocked, BlockList::of(kept));
    push(walk, "unblock", told);
    for (contact, state) in contacts::subscriptions(walk).await? {
        if !before.holds_bare(&contact) || walk.home.blocked.holds_bare(&contact) {
            continue;
        }
        if state.is_seen_by_contact() {
            presence::push_share(walk, &contact, Some(Share::Available))?;
        }
        if state.sees_contact() {
            probe(walk, &contact);
        }
    }
    Ok(())
}

fn jids_of(command: &Element) -> Result<Vec<Jid>, WalkError> {
    let items = command
        .children()
        .filter(|child| child.is("item", ns::BLOCKING));
    items
        .map(|item| {
            let jid = item.attr("jid").ok_or_else(StanzaError::bad_request)?;
            Ok(Jid::parse(jid).map_err(|_| StanzaError::jid_malformed())?)
        })
        .collect()
}

fn reports_of(command: &Element, jids: &[Jid]) -> Result<Vec<Report>, WalkError> {
    let items = command
        .children()
        .filter(|child| child.is("item", ns::BLOCKING));
    let reports = jids
        .iter()
        .zip(items)
        .map(|(jid, item)| reports::read(jid, item));
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    Ok(reports.into_iter().flatten().collect())
}

fn items(name: &'static str, jids: &[Jid]) -> Element {
    let item = |jid: &Jid| Element::new("item", ns::BLOCKING).with_attr("jid", jid.as_str());
    Element::new(name, ns::BLOCKING).with_children(jids.iter().map(item))
}

/// §3.2: all resources that have asked for the list are told.
fn push(walk: &mut Walk<'_>, command: &'static str, jids: &[Jid]) {
    let interested: Vec<_> = walk
        .home
        .sessions
        .iter()
        .filter(|attendee| attendee.block_interested)
        .map(|attendee| attendee.session.clone())
        .collect();
    let id = format!("{command}-{:x}", walk.now.millis());
    for session in interested {
        let push = Stanza::iq(IqType::Set)
            .id(id.clone())
            .to(session.jid.clone())
            .with_child(&items(command, jids));
        walk.deliver(&session, What::Iq, push.encode(), false);
    }
}

/// The contacts that see the owner.
async fn seers(walk: &Walk<'_>) -> Result<Vec<BareJid>, WalkError> {
    let contacts = contacts::subscriptions(walk).await?.into_iter();
    Ok(contacts
        .filter(|(_, state)| state.is_seen_by_contact())
        .map(|(jid, _)| jid)
        .collect())
}

/// §3.2: whoever was told directly that the owner is there is told that the owner is gone.
fn say_goodbye(walk: &mut Walk<'_>) {
    let mut goodbyes = Vec::new();
    let home = &mut *walk.home;
    for attendee in &mut home.sessions {
        let full = &attendee.session.jid;
        attendee.directed.retain(|to| {
            let is_blocked = home.blocked.holds(to);
            if is_blocked {
                goodbyes.push(
                    Stanza::presence(PresenceType::Unavailable)
                        .from(full.clone())
                        .to(to.clone()),
                );
            }
            !is_blocked
        });
    }
    for goodbye in goodbyes {
        walk.send(goodbye);
    }
}

/// What the contact said while it was blocked was dropped: its presence is asked for again.
fn probe(walk: &mut Walk<'_>, contact: &BareJid) {
    let askers: Vec<_> = walk
        .home
        .sessions
        .iter()
        .filter(|attendee| attendee.available.is_some())
        .map(|attendee| attendee.session.jid.clone())
        .collect();
    for asker in askers {
        walk.send(
            Stanza::presence(PresenceType::Probe)
                .from(asker)
                .to(contact.clone()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_blocks_what_its_form_says() {
        let jid = |text: &str| Jid::parse(text).unwrap();
        let list = BlockList::of(
            [
                "romeo@montague.net",
                "iago@shakespeare.lit/pda",
                "spam.example",
                "gate.example/bot",
            ]
            .map(jid)
            .into(),
        );
        for (peer, is_blocked) in [
            ("romeo@montague.net", true),
            ("romeo@montague.net/orchard", true),
            ("montague.net", false),
            ("iago@shakespeare.lit/pda", true),
            ("iago@shakespeare.lit/desk", false),
            ("iago@shakespeare.lit", false),
            ("spam.example", true),
            ("anyone@spam.example/x", true),
            ("gate.example/bot", true),
            ("gate.example/human", false),
            ("someone@gate.example/bot", true),
        ] {
            assert_eq!(list.holds(&jid(peer)), is_blocked, "{peer}");
        }
        assert!(!BlockList::default().holds(&jid("romeo@montague.net")));
    }
}
