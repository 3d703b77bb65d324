//! A person's devices and contacts learn of a new picture, mood or key the moment it is published, and get the last one
//! when they come online.
//!
//! XEP-0163: Personal Eventing Protocol, version 1.2.2. Who listens is known from presence: each home remembers the
//! resources of contacts that have sent it available presence with capabilities (XEP-0115), as long as it is in memory.
//! A home that is loaded anew learns them when a resource of its owner becomes available, since that asks all contacts
//! for theirs (RFC 6121 §4.3).
//!
//! "Initial presence" (§4.3.3) is told by its probe: a resource that has become available asks by one how its contacts
//! are, and an update of its presence does not. So nothing has to be remembered over the idle time of a home.

use std::sync::Arc;

use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::stanza::{Kind, PresenceType};
use posthaste_proto::xep::pubsub::SendLast;
use thin_vec::ThinVec;

use super::leaf::Leaf;
use super::{Site, access, notify};
use crate::contacts;
use crate::error::WalkError;
use crate::ext::caps::{self, ClientKind, Turn};
use crate::ext::{Ext, presence};
use crate::session::{Session, What};
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Personal Eventing Protocol",
    xep: 163,
    version: "1.2.2",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// Resources of contacts that one home remembers. A large roster with three devices each; whoever comes later is told
/// nothing, but can ask.
pub const MAX_AUDIENCE: usize = 5_000;

/// A resource of a contact.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its full JID.
    pub jid: Jid,
    /// What it can do; `None` until its presence has said so.
    kind: Option<Arc<ClientKind>>,
}

/// The resources of contacts whose presence is known here.
#[derive(Debug, Default)]
pub struct Audience(ThinVec<Listener>);

impl Audience {
    /// All of them.
    pub fn listeners(&self) -> &[Listener] {
        &self.0
    }

    fn place(&self, jid: &Jid) -> Option<usize> {
        self.0.iter().position(|listener| listener.jid == *jid)
    }

    fn insert(&mut self, jid: Jid, kind: Option<Arc<ClientKind>>) {
        if self.0.len() < MAX_AUDIENCE {
            self.0.push(Listener { jid, kind });
        }
    }

    fn remove(&mut self, jid: &Jid) {
        match jid.resource() {
            Some(_) => self.0.retain(|listener| listener.jid != *jid),
            None => self
                .0
                .retain(|listener| listener.jid.bare_str() != jid.as_str()),
        }
        if self.0.is_empty() {
            self.0 = ThinVec::new();
        }
    }
}

/// Does the listener want to be told of this node?
///
/// # Errors
/// The store's.
pub(super) async fn wants(
    walk: &Walk<'_>,
    listener: &Listener,
    node: &str,
) -> Result<bool, WalkError> {
    match &listener.kind {
        Some(kind) => Ok(caps::learn(walk.node, kind).await? && kind.wants(node)),
        None => Ok(false),
    }
}

// ---- the owner's own resources --------------------------------------------------------------------------

/// A session of the owner has said what it can do: it gets the last items that it has not been sent yet (§4.3.4).
///
/// # Errors
/// The store's.
pub async fn sent_presence(walk: &mut Walk<'_>, turn: Option<Turn>) -> Result<(), WalkError> {
    if let Some(contact) = walk.admitted.clone() {
        admitted(walk, &contact).await?;
    }
    let attendee = walk.session.and_then(|id| walk.home.attendee(id));
    let (Some(Turn { from, to }), Some(attendee)) = (turn, attendee) else {
        return Ok(());
    };
    let session = attendee.session.clone();
    show_own(walk, &session, &to, from.as_deref()).await
}

/// A session of the owner has proved what nobody had proved before. Its contacts have not known what it wants either:
/// they are asked once more, as if it had come just now.
///
/// # Errors
/// The store's.
pub async fn proved(walk: &mut Walk<'_>, kind: &ClientKind) -> Result<(), WalkError> {
    let attendee = walk.session.and_then(|id| walk.home.attendee(id));
    let Some(session) = attendee.map(|attendee| attendee.session.clone()) else {
        return Ok(());
    };
    if !kind.wants_anything() {
        return Ok(());
    }
    show_own(walk, &session, kind, None).await?;
    presence::probe_contacts(walk, &session).await
}

async fn show_own(
    walk: &mut Walk<'_>,
    session: &Arc<Session>,
    kind: &ClientKind,
    before: Option<&ClientKind>,
) -> Result<(), WalkError> {
    let site = Site::of_account(walk);
    for leaf in wanted(walk, kind, before).await? {
        if let Some(message) = notify::last_item(walk, &site, &leaf).await? {
            let message = message.to(session.jid.clone());
            walk.deliver(session, What::Passing, message.encode(), false);
        }
    }
    Ok(())
}

/// The nodes whose last item goes to one who has come online, and who was not told of them before.
async fn wanted(
    walk: &Walk<'_>,
    kind: &ClientKind,
    before: Option<&ClientKind>,
) -> Result<Vec<Leaf>, WalkError> {
    if !kind.wants_anything() {
        return Ok(Vec::new());
    }
    let mut leaves = Leaf::all(walk).await?;
    leaves.retain(|leaf| {
        kind.wants(&leaf.name)
            && !before.is_some_and(|before| before.wants(&leaf.name))
            && leaf.config.send_last == SendLast::OnSubscriptionAndPresence
            && leaf.config.deliver_notifications
    });
    Ok(leaves)
}

// ---- contacts' resources ---------------------------------------------------------------------------------

/// Presence has come from somebody else: who listens is remembered, and who has come just now gets the last items.
///
/// # Errors
/// The store's.
pub async fn received_presence(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if let Some(contact) = walk.admitted.clone() {
        admitted(walk, &contact).await?;
    }
    let (Kind::Presence(kind), Some(from)) = (walk.stanza.kind, walk.stanza.from.clone()) else {
        return Ok(());
    };
    if walk
        .stanza
        .to
        .as_ref()
        .is_some_and(|to| to.resource().is_some())
    {
        return Ok(());
    }
    match kind {
        PresenceType::Available if from.resource().is_some() => available(walk, from).await,
        PresenceType::Probe if from.resource().is_some() => probed(walk, from).await,
        PresenceType::Unavailable | PresenceType::Error => {
            walk.home.audience.remove(&from);
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn available(walk: &mut Walk<'_>, from: Jid) -> Result<(), WalkError> {
    let Some(kind) = caps::kind_of(walk.node, &walk.stanza) else {
        walk.home.audience.remove(&from);
        return Ok(());
    };
    let known = walk.home.audience.place(&from);
    let Some(place) = known else {
        // Strangers fill nobody's memory.
        let state = contacts::find(walk, &from.to_bare())
            .await?
            .subscription
            .state;
        if state.sees_contact() || state.is_seen_by_contact() {
            walk.home.audience.insert(from.clone(), Some(kind.clone()));
            ask(walk, &from, &kind).await?;
        }
        return Ok(());
    };
    let before = walk.home.audience.0[place].kind.replace(kind.clone());
    if before
        .as_ref()
        .is_some_and(|before| Arc::ptr_eq(before, &kind))
    {
        return Ok(());
    }
    ask(walk, &from, &kind).await?;
    show(walk, &from, &kind, before.as_deref()).await
}

/// One of our own proves what it can do to its own home; a resource of another server is asked from here.
async fn ask(walk: &mut Walk<'_>, from: &Jid, kind: &ClientKind) -> Result<(), WalkError> {
    let is_ours = walk.node.config().host(from.domain()).is_some();
    if !caps::learn(walk.node, kind).await? && !is_ours {
        let question = caps::question(walk, kind).to(from.clone());
        walk.send(question);
    }
    Ok(())
}

async fn probed(walk: &mut Walk<'_>, from: Jid) -> Result<(), WalkError> {
    match walk.home.audience.place(&from) {
        Some(place) => match walk.home.audience.0[place].kind.clone() {
            Some(kind) => show(walk, &from, &kind, None).await,
            None => Ok(()),
        },
        // COMPAT(ejabberd): its probe comes before the presence that says what the resource wants.
        None => {
            if contacts::may_see_presence(walk, &from.to_bare()).await? {
                walk.home.audience.insert(from, None);
            }
            Ok(())
        }
    }
}

/// A resource of another server has answered what it can do.
///
/// # Errors
/// The store's.
pub async fn heard(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some(from) = walk.stanza.from.clone() else {
        return Ok(());
    };
    let listener = walk.home.audience.place(&from);
    let kind = listener.and_then(|place| walk.home.audience.0[place].kind.clone());
    match kind {
        Some(kind) if caps::prove(walk, &kind).await? => show(walk, &from, &kind, None).await,
        _ => Ok(()),
    }
}

/// The owner lets a contact see them from now on: what the contact's resources want is shown to them.
async fn admitted(walk: &mut Walk<'_>, contact: &BareJid) -> Result<(), WalkError> {
    let listeners: Vec<Listener> = walk
        .home
        .audience
        .0
        .iter()
        .filter(|listener| listener.jid.bare_str() == contact.as_str())
        .cloned()
        .collect();
    for listener in listeners {
        if let Some(kind) = &listener.kind
            && caps::learn(walk.node, kind).await?
        {
            show_nodes(walk, &listener.jid, kind, None, true).await?;
        }
    }
    Ok(())
}

async fn show(
    walk: &mut Walk<'_>,
    to: &Jid,
    kind: &ClientKind,
    before: Option<&ClientKind>,
) -> Result<(), WalkError> {
    if !caps::learn(walk.node, kind).await? || !kind.wants_anything() || walk.home.blocked.holds(to)
    {
        return Ok(());
    }
    let is_contact = contacts::may_see_presence(walk, &to.to_bare()).await?;
    show_nodes(walk, to, kind, before, is_contact).await
}

/// `is_contact`: may see the owner's presence, or may from this walk on.
async fn show_nodes(
    walk: &mut Walk<'_>,
    to: &Jid,
    kind: &ClientKind,
    before: Option<&ClientKind>,
    is_contact: bool,
) -> Result<(), WalkError> {
    if !is_contact {
        return Ok(());
    }
    let site = Site::of_account(walk);
    let who = to.to_bare();
    for leaf in wanted(walk, kind, before).await? {
        if !access::can_contact_read(walk, &site, &leaf, &who).await? {
            continue;
        }
        if let Some(message) = notify::last_item(walk, &site, &leaf).await? {
            walk.send(message.to(to.clone()));
        }
    }
    Ok(())
}
