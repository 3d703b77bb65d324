//! Rooms: people talk with many at once, under a name of their own in each room.
//!
//! XEP-0045: Multi-User Chat, version 1.35.5. Each room has a home of its own, so that a busy one holds up no other; its
//! log is the room's history. Left out: groupchat 1.0 (§7.2.16), which cannot be told from a client that has lost its
//! place, so that such a client is told that it is not in the room.
//!
//! The road of a stanza to a room is [`received`]; what goes to many occupants is made in [`broadcast`] only.

mod admin;
mod announced;
mod archive;
pub mod avatar;
pub mod broadcast;
mod configured;
pub mod directory;
mod disco;
mod ended;
pub mod expiry;
pub mod group;
pub mod hats;
pub mod history;
pub mod invite;
mod iq;
mod join;
mod kept_roles;
pub mod leave;
mod message;
pub mod moderation;
mod nick;
pub mod occupant_id;
pub mod occupants;
mod owner;
pub mod pace;
pub mod permissions;
pub mod presence;
mod private;
mod register;
pub mod restart;
pub mod room;
pub mod search;
pub mod self_ping;
pub mod service;
pub mod slow_mode;
mod stored;
mod subject;
mod voice;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use posthaste_kv::{KvError, Ticket};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, MessageType, PresenceType, Stanza};
use posthaste_proto::xep::muc::{Join, RoomConfig};
use posthaste_proto::xml::Element;

use super::Ext;
use crate::copies::Asleep;
use crate::error::WalkError;
use crate::node::Node;
use crate::router::Envelope;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Multi-User Chat",
    xep: 45,
    version: "1.35.5",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// What rooms may grow to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Who may make rooms.
    pub creators: Creators,
    /// Rooms that one user may have made and that exist.
    pub rooms_per_user: usize,
    /// Sessions that may be in one room at a time. Each costs about half a kilobyte, and a stanza with every message.
    pub occupants: usize,
    /// Occupants whose presence everybody is told. Whoever enters beyond it is told of them, and they are not told of it:
    /// joining grows with the square of the room up to here, and in proportion to it from here on.
    pub shown: usize,
    /// Users who are something to one room, and nicknames that are reserved. They are in memory as long as the room is.
    pub affiliations: usize,
    /// Messages of the past that whoever enters gets at most (§7.2.13).
    pub history: u32,
    /// How fast a room may be talked to.
    pub rates: pace::Rates,
}

/// Who may make rooms (§10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creators {
    /// Everybody, also from other servers.
    Everyone,
    /// Accounts of the host that the service stands beside.
    Accounts,
    /// Those who administer the server or the host.
    Admins,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            creators: Creators::Accounts,
            rooms_per_user: 100,
            occupants: 5_000,
            shown: 250,
            affiliations: 10_000,
            history: 50,
            rates: pace::Rates::default(),
        }
    }
}

/// What came of a stanza.
pub(super) type Outcome = Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)>;

/// A stanza to the service, to a room or to an occupant.
pub async fn receive(node: &Node, to: &Jid, stanza: Stanza) -> Outcome {
    match to.local() {
        None => service::receive(node, to, stanza).await,
        Some(_) => match visit(node, &to.to_bare(), stanza).await {
            Err((stanza, error)) if matches!(stanza.kind, Kind::Presence(_)) => {
                Ok((Ticket::DURABLE, not_let_in(node, &stanza, error)))
            }
            outcome => outcome,
        },
    }
}

/// The refusal of a presence says by its `<x/>` that it is about a room (§7.2.5 to §7.2.10, §7.6): clients look for that
/// where they wait for the answer to their entering.
fn not_let_in(node: &Node, stanza: &Stanza, error: WalkError) -> Vec<Envelope> {
    let mut refusal = node.refuse(stanza, error);
    for envelope in &mut refusal {
        envelope.stanza.push_child(&Element::new("x", ns::MUC));
    }
    refusal
}

/// A walk through a room's home. What the room says reaches everybody in the order in which it was said: it is brought
/// to them by one visitor after another, in the order in which they had the room.
async fn visit(node: &Node, jid: &BareJid, stanza: Stanza) -> Outcome {
    let home = node.home(jid);
    let mut state = match home.lock(node).await {
        Ok(state) => state,
        Err(error) => return Err((stanza, error)),
    };
    // What the room is and who may do what is on disk before anybody hears of it: nobody would ask again.
    let request = (stanza.kind == Kind::Iq(IqType::Set)).then(|| stanza.clone());
    let before = state.room.as_ref().map(|room| room.line.clone());
    let listed = directory::Entry::of(&state);
    let addresses = (stanza.from.clone(), stanza.to.clone());
    let mut walk = Walk::new(node, &home, &mut state, stanza, None);
    let outcome = received(&mut walk).await;
    let (mut ticket, out) = match walk.finish(outcome).await {
        Ok(finished) => finished,
        Err((mut stanza, error)) => {
            // The error is for whoever sent it, as whom the room would have said it.
            (stanza.from, stanza.to) = addresses;
            return Err((stanza, error));
        }
    };
    let now_listed = directory::Entry::of(&state);
    if listed != now_listed {
        let filed = directory::file(node, jid, listed.as_ref(), now_listed.as_ref());
        match filed {
            Ok(filed) => ticket = ticket.max(filed),
            // The room is as it was asked to be; it is only not listed as it should be.
            Err(error) => tracing::warn!(%error, "the directory of rooms could not be written"),
        }
    }
    let after = || state.room.as_ref().map(|room| room.line.clone());
    let Some(line) = before.or_else(after) else {
        return Ok((ticket, out));
    };
    let mut turn = pin!(line.lock_owned());
    // Before the room is let go: whoever has it next is behind us in the line.
    let is_our_turn = poll_fn(|cx| Poll::Ready(turn.as_mut().poll(cx))).await;
    drop(state);
    let turn_taken = match is_our_turn {
        Poll::Ready(turn) => turn,
        Poll::Pending => turn.await,
    };
    if let Some(request) = request
        && let Err(failed) = node.kv().line().wait(ticket).await
    {
        return Err((request, KvError::from(failed).into()));
    }
    let mut asleep = Asleep::default();
    let (covering, caused) = node.bring_in_order(out, &mut asleep).await;
    drop(turn_taken);
    asleep.wake().await;
    Ok((ticket.max(covering), caused))
}

/// A stanza to a room or to an occupant, in the room's home.
async fn received(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let (Some(from), Some(to)) = (walk.stanza.from.clone(), walk.stanza.to.clone()) else {
        return Ok(());
    };
    // Before anything else: whoever looks for a room that has moved is sent after it.
    ended::check(walk).await?;
    let from = from.as_full();
    match (walk.stanza.kind, to.as_full()) {
        (Kind::Presence(kind), to) => received_presence(walk, kind, from, to).await,
        (Kind::Message(kind), to) => received_message(walk, kind, from, to).await,
        (Kind::Iq(_), None) => iq::to_room(walk).await,
        (Kind::Iq(_), Some(to)) => iq::to_occupant(walk, &to),
    }
}

async fn received_presence(
    walk: &mut Walk<'_>,
    kind: PresenceType,
    from: Option<FullJid>,
    to: Option<FullJid>,
) -> Result<(), WalkError> {
    // Only a session can be in a room (§7.2.1): what an account says is a subscription, which rooms have none of.
    let Some(from) = from else { return Ok(()) };
    match (kind, to) {
        // §7.2.1: without a nickname nobody enters.
        (PresenceType::Available, None) => Err(StanzaError::jid_malformed().into()),
        (PresenceType::Available, Some(to)) => join::present(walk, from, to).await,
        (PresenceType::Unavailable, _) => leave::goodbye(walk, &from),
        (PresenceType::Error, _) => leave::bounced(walk, &from),
        (
            PresenceType::Probe
            | PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed,
            _,
        ) => Ok(()),
    }
}

async fn received_message(
    walk: &mut Walk<'_>,
    kind: MessageType,
    from: Option<FullJid>,
    to: Option<FullJid>,
) -> Result<(), WalkError> {
    // Before it counts as said: members and their homes speak to the room here, whether they are in it or not.
    if to.is_none() && group::hear(walk).await? {
        return Ok(());
    }
    // Before it is refused as somebody's who is not in the room.
    if to.is_none() && announced::hear(walk) {
        return Ok(());
    }
    // Before anything is done for it: whoever writes too fast is to cost nothing.
    if let Some(from) = from.as_ref().filter(|_| kind != MessageType::Error) {
        pace::message(walk, from)?;
    }
    match (kind, from, to) {
        (MessageType::Error, Some(from), None) => leave::bounced(walk, &from),
        (MessageType::Error, Some(from), Some(to)) => private::pass_error(walk, &from, &to),
        (MessageType::Error, None, _) => Ok(()),
        (MessageType::Groupchat, Some(from), None) => message::say(walk, &from).await,
        // §7.5: whoever gets it would take it for something said to all.
        (MessageType::Groupchat, _, Some(_)) => Err(StanzaError::bad_request().into()),
        (_, Some(from), Some(to)) => private::say(walk, &from, &to),
        (_, None, _) => Err(not_an_occupant().into()),
        (_, Some(from), None) => match voice::of(&walk.stanza) {
            Some(voice) => voice::handle(walk, &from, voice),
            // A room reads nothing else but what asks it for something.
            None => invite::read(walk, &from).await,
        },
    }
}

/// §7.4, §7.5: whoever is not in the room.
fn not_an_occupant() -> StanzaError {
    StanzaError::not_acceptable().with_text("only occupants may say something here")
}

/// The `<x/>` by which a client says that it means to enter a room.
fn entering(stanza: &Stanza) -> Option<Join> {
    let x = stanza.child("x", ns::MUC)?.to_element().ok()?;
    Some(Join::read(&x))
}

/// What a room announces because of what other extensions add to it.
fn features_around(config: &RoomConfig) -> impl Iterator<Item = &'static str> {
    let always = [
        ns::OCCUPANT_ID,
        ns::SELF_PING,
        ns::HATS,
        ns::MODERATE,
        ns::RETRACT,
        ns::RETRACT_TOMBSTONE,
    ];
    let archive = archive::features(config).iter().copied();
    always.into_iter().chain(archive)
}
