//! Brings a session up to date from its home's log: what waited while nobody was there, what a slow reader did not have
//! room for, and what must be written again after a resumption. One page at a time, under the home's lock, so that
//! nothing appended meanwhile is missed or comes twice.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_kv::{Scan, prefix_end};
use posthaste_proto::ns;
use posthaste_proto::xml::Element;

use crate::codec;
use crate::copies::Xml;
use crate::devices::of_session;
use crate::error::WalkError;
use crate::ext::{carbons, mam};
use crate::home::{Attendee, Home, HomeState};
use crate::log::{ArchiveId, Delivery, Entry};
use crate::node::Node;
use crate::session::{Form, Item, Lag, QueueLimits, Session, SessionId, Taken, What};
use crate::tables;

/// Log entries read at a time. A page of ordinary messages is about 30 KB.
const PAGE: usize = 64;

/// A session has taken these entries.
pub async fn delivered(node: &Arc<Node>, home: &Arc<Home>, session: SessionId, taken: &[Taken]) {
    let Ok(mut state) = home.lock(node).await else {
        return;
    };
    state.note_taken(session, taken);
    node.note_dirty(home, &mut state);
}

/// Everything that a session's queue cannot do by itself.
pub async fn work(node: &Arc<Node>, home: &Arc<Home>, session: &Arc<Session>) {
    let mut state = match home.lock(node).await {
        Ok(state) => state,
        Err(error) => return give_up(node, session, &error),
    };
    let (written, heard) = {
        let mut queue = session.state();
        (queue.take_written_unmanaged(), queue.take_heard())
    };
    state.note_taken(session.id, &written);
    state.note_heard(session.id, &heard);
    node.note_dirty(home, &mut state);
    let limits = node.config().queue;
    let outcome = match load_queued(node, &mut state, session).await {
        Ok(()) => page(node, &mut state, session, limits).await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        give_up(node, session, &error);
    }
}

/// The log cannot be read: the session goes, what it has not taken stays where it is.
fn give_up(node: &Node, session: &Session, error: &WalkError) {
    node.stats.store_errors.count();
    tracing::warn!(%error, "a session could not be brought up to date from its log");
    let condition = posthaste_proto::error::StreamCondition::InternalServerError;
    session
        .state()
        .close(posthaste_proto::error::StreamError::new(condition));
}

/// Gives queued entries their bytes, after a resumption.
async fn load_queued(
    node: &Node,
    state: &mut HomeState,
    session: &Session,
) -> Result<(), WalkError> {
    let wanted = session.state().to_load(PAGE);
    let limits = node.config().queue;
    for (count, what) in wanted.into_iter().enumerate() {
        let Some(id) = what.log_id() else { continue };
        // Half of the room stays free for what happens meanwhile. At least one is loaded, however long.
        if count > 0 && session.state().room(limits).1 < limits.bytes / 2 {
            break;
        }
        let key = tables::log_key(id);
        match node.kv().get(&state.partition, &key).await? {
            Some(value) => {
                let entry = Entry::decode(value)?;
                if let Some(xml) = shown(state, session, what, id, &entry) {
                    session.state().loaded(what, &xml);
                }
            }
            None => {
                session.state().vanished(what);
                // Nobody will take it any more: a cursor that waited for it would stand still.
                if let Some(taken) = what.taken() {
                    state.note_taken(session.id, &[taken]);
                }
            }
        }
    }
    Ok(())
}

/// A log entry as this session is shown it.
fn shown(
    state: &HomeState,
    session: &Session,
    what: What,
    id: ArchiveId,
    entry: &Entry,
) -> Option<Bytes> {
    let (account, to) = (&state.jid, &session.jid);
    match what {
        What::Logged { form, .. } => Some(carbons::shown_as(
            form,
            account,
            to,
            &entry.stanza,
            Some(id),
        )),
        What::Archived { query, .. } => {
            let name = session.state().query_name(query);
            Some(mam::shown(name.as_deref(), id, account, to, entry))
        }
        What::Presence { .. } | What::Crowd | What::Passing | What::Said { .. } | What::Iq => None,
    }
}

/// Reads the next page for a session that lags, if its queue is empty.
async fn page(
    node: &Node,
    state: &mut HomeState,
    session: &Arc<Session>,
    limits: QueueLimits,
) -> Result<(), WalkError> {
    let Some(mut lag) = session.state().lag() else {
        return Ok(());
    };
    let (items, bytes) = session.state().room(limits);
    if items == 0 || bytes == 0 {
        return Ok(());
    }
    let from = tables::log_key(ArchiveId(lag.at.0 + 1));
    let limit = PAGE.min(items);
    let rows = node
        .kv()
        .scan(
            &state.partition,
            Scan::range(from, prefix_end(tables::LOG), limit),
        )
        .await?;
    let at_end = rows.len() < limit;
    let mut filled = 0;
    let began_at = lag.at;
    for (key, value) in rows {
        let Some(id) = tables::key_id(tables::LOG, &key) else {
            continue;
        };
        // At least one goes in, however long: else a session with little room would never get on.
        if filled > 0 && filled + value.len() > bytes {
            looked_through(state, session, began_at, lag.at);
            session.state().set_lag(Some(lag));
            return Ok(());
        }
        let entry = Entry::decode(value)?;
        if let Some(item) = take(state, session, lag, id, &entry)? {
            filled += item.xml.as_ref().map_or(0, Xml::len);
            session.state().push_caught_up(item);
        }
        lag.at = id;
    }
    looked_through(state, session, began_at, lag.at);
    if at_end {
        finish(state, session, lag);
    } else {
        session.state().set_lag(Some(lag));
    }
    Ok(())
}

/// A session that takes messages has looked at everything between these two: its device need not look again.
fn looked_through(state: &mut HomeState, session: &Session, from: ArchiveId, to: ArchiveId) {
    if takes_messages(state, session)
        && let Some(device) = state.device(session.id)
    {
        device.reading.looked_through(from, to);
    }
}

fn takes_messages(state: &HomeState, session: &Session) -> bool {
    let attendee = state.attendee(session.id);
    attendee.is_some_and(Attendee::takes_messages)
}

/// The session has reached the end of the log: from here on it is served live.
fn finish(state: &mut HomeState, session: &Session, lag: Lag) {
    session.state().set_lag(None);
    let eligible = takes_messages(state, session);
    let has_seen_since = |from: ArchiveId, waiting: &Delivery| {
        waiting.waiting_after().is_some_and(|after| from <= after)
    };
    let is_beside_another = state.is_drained_by_another(session.id);
    let device = of_session(&mut state.devices, session.id);
    let leaves_to_another = device.is_some() && is_beside_another;
    if eligible && !leaves_to_another && has_seen_since(lag.since, &state.delivery) {
        state.delivery.nothing_waits();
    }
    if let Some(device) = device
        && eligible
        && has_seen_since(lag.at, &device.reading)
    {
        device.reading.nothing_waits();
    }
    if state.drainer == Some(session.id) {
        state.drainer = None;
    }
}

/// The item that a log entry makes for this session, if it is for it.
fn take(
    state: &mut HomeState,
    session: &Session,
    lag: Lag,
    id: ArchiveId,
    entry: &Entry,
) -> Result<Option<Item>, WalkError> {
    let Some(attendee) = state.attendee(session.id) else {
        return Ok(None);
    };
    let device = state
        .devices
        .iter()
        .find(|device| device.session == Some(session.id));
    let is_device = device.is_some();
    let is_owed = match device {
        Some(device) => device.reading.is_waiting(id),
        None => id > lag.all_after,
    };
    // What waits for anybody is one session's to take; a device that has all the rest leaves it that.
    let may_drain = !is_device || !state.is_drained_by_another(session.id);
    let waits_for_anybody = !entry.outgoing && entry.offline && state.delivery.is_waiting(id);
    let is_its = waits_for_anybody && may_drain && attendee.takes_messages();
    if is_its && device.is_some_and(|device| device.reading.is_flying(id)) {
        // It got this for itself, beside one that has gone since. Now it has it for all.
        if session.state().has_for_all(id) {
            state.delivery.flying(id, 1);
        }
        return Ok(None);
    }
    let form = if is_its {
        Some(Form::Direct)
    } else if is_owed {
        form_for(state, attendee, is_device, entry)?
    } else {
        None
    };
    let Some(form) = form else { return Ok(None) };
    let missed_live = id > lag.all_after;
    let waits = match is_device {
        true => waits_for_anybody && may_drain,
        false => !entry.outgoing && entry.offline,
    };
    if waits {
        state.delivery.flying(id, 1);
    }
    if entry.offline && !entry.archive {
        state.transient.push(id);
    }
    if let Some(device) = state.device(session.id).filter(|_| is_owed) {
        device.reading.flying(id, 1);
    }
    let stanza = if missed_live {
        entry.stanza.clone()
    } else {
        delayed(state, id, &entry.stanza)?
    };
    let shown_id = entry.archive.then_some(id);
    let xml = carbons::shown_as(form, &state.jid, &session.jid, &stanza, shown_id);
    Ok(Some(Item {
        what: What::Logged { id, form, waits },
        xml: Some(xml.into()),
        hold: false,
    }))
}

/// How a session that lags would have got this entry live.
fn form_for(
    state: &HomeState,
    attendee: &Attendee,
    is_device: bool,
    entry: &Entry,
) -> Result<Option<Form>, WalkError> {
    let stanza = codec::stanza(&entry.stanza)?;
    let own = attendee.session.jid.resource();
    let copy = |form| (entry.carbon && attendee.carbons).then_some(form);
    if entry.outgoing {
        // What a device has sent is known to its account, whichever resource it had then.
        let sent_it =
            !is_device && stanza.from.as_ref().and_then(|from| from.resource()) == Some(own);
        return Ok(if sent_it {
            None
        } else {
            copy(Form::CarbonSent)
        });
    }
    Ok(match stanza.to.as_ref().and_then(|to| to.resource()) {
        Some(resource) if resource == own => Some(Form::Direct),
        None if attendee.takes_messages() => Some(Form::Direct),
        _ if attendee.carbons => copy(Form::CarbonReceived),
        // RFC 6121 §8.5.3.2.1: to a resource that is gone is to everyone. Whether it was gone when this came is not known.
        Some(resource) if is_device && entry.carbon && state.resource(resource).is_none() => {
            Some(Form::Direct)
        }
        _ => None,
    })
}

/// XEP-0203: says since when the message has been waiting, in the name of the account's host.
fn delayed(state: &HomeState, id: ArchiveId, xml: &Bytes) -> Result<Bytes, WalkError> {
    let mut stanza = codec::stanza(xml)?;
    let stamp = id.timestamp().to_string();
    let delay = Element::new("delay", ns::DELAY)
        .with_attr("from", state.jid.domain())
        .with_attr("stamp", stamp);
    stanza.push_child(&delay);
    Ok(stanza.encode())
}

/// A session has become able to take messages: what waits is its, unless another one is taking it already.
pub fn begin(state: &mut HomeState, session: &Session) {
    let has_drainer = state
        .drainer
        .is_some_and(|drainer| state.attendee(drainer).is_some());
    let waiting = state.delivery.waiting_after().filter(|_| !has_drainer);
    let device = of_session(&mut state.devices, session.id);
    let owed = device.and_then(|device| device.reading.waiting_after());
    let Some(start) = waiting.into_iter().chain(owed).min() else {
        return;
    };
    if waiting.is_some() {
        state.drainer = Some(session.id);
    }
    let newest = state.delivery.last();
    let mut queue = session.state();
    let lag = match queue.lag() {
        // It lags already: what it has looked at it does not take twice.
        Some(lag) => Lag {
            at: lag.at.min(start),
            all_after: lag.all_after.max(lag.at),
            since: waiting.map_or(lag.since, |after| lag.since.min(after)),
        },
        None => Lag {
            at: start,
            all_after: newest,
            // Without a share in what waits for anybody it has nothing of that to give back.
            since: waiting.unwrap_or(newest),
        },
    };
    queue.set_lag(Some(lag));
    queue.wake();
}
