//! When a notification is published, and what it tells.
//!
//! A client is woken when what came would not reach it now: it has no session, its session waits to be resumed, or it
//! has not confirmed a message for a while (a phone whose system has frozen its connection). A burst makes one
//! notification at its beginning and one at its end.

use posthaste_kv::{Scan, prefix_end};
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, MessageType, Stanza};
use posthaste_proto::xep::push::{Summary, publish};

use super::registration::{Last, Registration};
use crate::clock::Timestamp;
use crate::codec;
use crate::config::PushContent;
use crate::error::WalkError;
use crate::ext::groups;
use crate::home::HomeState;
use crate::log::{ArchiveId, Entry};
use crate::node::Node;
use crate::router::Envelope;
use crate::tables;
use crate::walk::Walk;
use crate::weight::{Way, weigh};

/// A phone takes a few seconds to wake up, and fetches all that came meanwhile.
const BURST_MILLIS: u64 = 3_000;
/// A client that is connected has so long to confirm a message before it is taken to be asleep.
const CONFIRM_MILLIS: u64 = 30_000;
/// A request that is not answered for so long is taken to be lost.
const ANSWER_MILLIS: u64 = 60_000;
/// The first wait after an error; it doubles with each.
const RETRY_MILLIS: u64 = 30_000;
const RETRY_MOST_MILLIS: u64 = 3_600_000;
/// Messages counted for the summary at most; beyond it the number says "many".
const MOST_COUNTED: usize = 100;
/// Characters of a message that a notification may show; a lock screen shows less.
const MOST_BODY_CHARS: usize = 500;

/// Can the owner of a registration be reached?
enum Reach {
    /// It has no session, or one that waits to be resumed.
    Away,
    /// It is connected, and will say when it has a message; `has_open` if it has not said so of one.
    Confirming { has_open: bool },
    /// It is connected, and what is written to it counts as delivered.
    Connected,
}

fn reach(state: &HomeState, registration: &Registration) -> Reach {
    let owner = &registration.owner;
    let Some(attendee) = state.sessions.iter().find(|a| owner.has(a)) else {
        return Reach::Away;
    };
    let session = attendee.session.state();
    if session.detached_at.is_some() || session.ended {
        return Reach::Away;
    }
    match session.sm {
        Some(_) => Reach::Confirming {
            has_open: session.has_open_messages(),
        },
        None => Reach::Connected,
    }
}

/// A message has come to the account. Called when its recipients are known.
///
/// # Errors
/// The store's, when messages are to be counted.
pub async fn notify(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if !walk.weight.push || walk.home.push.is_empty() || walk.is_from_owner() {
        return Ok(());
    }
    // Of a group that is kept its room tells more: who is meant, and that it was said at all.
    if walk.stanza.kind == Kind::Message(MessageType::Groupchat)
        && let Some(from) = &walk.stanza.from
        && groups::find(walk, &from.to_bare()).await?.is_some()
    {
        return Ok(());
    }
    let told = told(
        walk.node.config().push_content,
        walk.stanza.from.as_ref(),
        Some(&walk.stanza),
    );
    tell(walk, &told).await
}

/// Something was said in a group, of which the account has been told by the room.
///
/// # Errors
/// The store's, when messages are to be counted.
pub async fn wake(
    walk: &mut Walk<'_>,
    sender: Jid,
    said: Option<&Stanza>,
) -> Result<(), WalkError> {
    if walk.home.push.is_empty() {
        return Ok(());
    }
    let told = told(walk.node.config().push_content, Some(&sender), said);
    tell(walk, &told).await
}

async fn tell(walk: &mut Walk<'_>, told: &Option<Box<Last>>) -> Result<(), WalkError> {
    for place in 0..walk.home.push.len() {
        if !is_for(walk, &walk.home.push[place]) {
            continue;
        }
        let now = walk.now;
        let delay = match reach(walk.home, &walk.home.push[place]) {
            Reach::Connected => continue,
            Reach::Confirming { .. } => CONFIRM_MILLIS,
            Reach::Away => 0,
        };
        let run = &mut walk.home.push[place].run;
        run.last.clone_from(told);
        let free_at = run.pushed_at.plus_millis(BURST_MILLIS);
        let at = now.plus_millis(delay);
        if at > now || free_at > now || run.asked_at.is_some() {
            remind(walk.node, walk.home, place, at.max(free_at));
            continue;
        }
        // The message itself is not in the store yet.
        let request = request(walk.node, walk.home, place, now, 1).await?;
        walk.send(request);
    }
    Ok(())
}

/// Is the message for this client: to all, to it, or copied to it?
fn is_for(walk: &Walk<'_>, registration: &Registration) -> bool {
    let to = walk.stanza.to.as_ref();
    let addressed = to
        .and_then(|to| to.resource())
        .and_then(|resource| walk.home.resource(resource));
    match addressed {
        Some(attendee) => walk.weight.carbon || registration.owner.has(attendee),
        None => true,
    }
}

/// As much of the last message as the operator lets be told.
fn told(content: PushContent, sender: Option<&Jid>, said: Option<&Stanza>) -> Option<Box<Last>> {
    if content < PushContent::Sender {
        return None;
    }
    let text = |body: posthaste_proto::stanza::ChildRef<'_>| {
        let text = body.to_element().ok()?.text();
        Some(text.chars().take(MOST_BODY_CHARS).collect())
    };
    let body = said.and_then(|said| said.child("body", ns::CLIENT));
    Some(Box::new(Last {
        sender: sender.cloned(),
        body: body.filter(|_| content == PushContent::Body).and_then(text),
    }))
}

/// Looks again at `at`, unless that was decided already for an earlier moment.
fn remind(node: &Node, state: &mut HomeState, place: usize, at: Timestamp) {
    let run = &mut state.push[place].run;
    if run.due.is_none_or(|due| at < due) && node.expect_push(at, &state.jid) {
        run.due = Some(at);
    }
}

/// The service has said "later".
pub(super) fn try_again(node: &Node, state: &mut HomeState, place: usize, now: Timestamp) {
    let doublings = state.push[place].failures.saturating_sub(1).min(16);
    let delay = (RETRY_MILLIS << doublings).min(RETRY_MOST_MILLIS);
    remind(node, state, place, now.plus_millis(delay));
}

/// The time has come to look at the registrations of an account: publishes what is still news.
///
/// # Errors
/// The store's.
pub async fn look(node: &Node, account: &BareJid) -> Result<Vec<Envelope>, WalkError> {
    let home = node.home(account);
    let mut state = home.lock(node).await?;
    let now = node.now();
    let mut requests = Vec::new();
    for place in 0..state.push.len() {
        if state.push[place].run.due.is_none_or(|due| due > now) {
            continue;
        }
        state.push[place].run.due = None;
        let is_reached = match reach(&state, &state.push[place]) {
            Reach::Away => false,
            Reach::Confirming { has_open } => !has_open,
            Reach::Connected => true,
        };
        if is_reached {
            continue;
        }
        let answer_by = state.push[place].run.asked_at;
        let answer_by = answer_by.map(|asked_at| asked_at.plus_millis(ANSWER_MILLIS));
        match answer_by {
            Some(by) if by > now => remind(node, &mut state, place, by),
            _ => requests.push(Envelope::new(
                request(node, &mut state, place, now, 0).await?,
            )),
        }
    }
    Ok(requests)
}

/// The request that publishes a notification now.
async fn request(
    node: &Node,
    state: &mut HomeState,
    place: usize,
    now: Timestamp,
    not_stored_yet: usize,
) -> Result<Stanza, WalkError> {
    let content = node.config().push_content;
    let message_count = match content {
        PushContent::Nothing => None,
        _ => Some(count(node, state, place).await? + not_stored_yet),
    };
    let (account, registration) = (state.jid.clone(), &mut state.push[place]);
    registration.run.asked_at = Some(now);
    registration.run.pushed_at = now;
    let last = registration.run.last.take().unwrap_or_default();
    let summary = Summary {
        message_count,
        last_sender: last.sender,
        last_body: last.body,
    };
    let options = registration.options_element();
    let payload = publish(&registration.node, &summary, options);
    node.stats.pushes.count();
    let request = Stanza::iq(IqType::Set)
        .from(account)
        .to(registration.service.clone())
        .id(registration.request_id(now));
    Ok(request.with_child(&payload))
}

/// How many messages wait for the client that the registration wakes.
async fn count(node: &Node, state: &HomeState, place: usize) -> Result<usize, WalkError> {
    let owner = &state.push[place].owner;
    let device = (state.devices.iter())
        .find(|device| matches!(owner, super::Owner::Device(id) if **id == *device.id));
    let from = device.map_or(&state.delivery, |device| &device.reading);
    let from = ArchiveId(from.settled_upto().0 + 1);
    let scan = Scan::range(tables::log_key(from), prefix_end(tables::LOG), MOST_COUNTED);
    let mut count = 0usize;
    for (_, value) in node.kv().scan(&state.partition, scan).await? {
        let entry = Entry::decode(value)?;
        if !entry.outgoing && weigh(&codec::stanza(&entry.stanza)?, Way::Received).push {
            count += 1;
        }
    }
    for (_, group) in groups::all(node.kv(), &state.partition).await? {
        count = count.saturating_add(usize::try_from(group.unread()).unwrap_or(usize::MAX));
    }
    Ok(count.min(MOST_COUNTED))
}
