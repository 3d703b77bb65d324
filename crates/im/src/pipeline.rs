//! The road of a stanza, step by step. Read this first.
//!
//! ```text
//! Connection::receive ─ sent(walk) at the sender's home ─ router ─ received(walk) at the recipient's home ─ sessions
//! ```
//!
//! Each function is an ordered list of plain calls; a comment says why a step stands where it stands.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, MessageType, Stanza};
use smallvec::SmallVec;

use crate::config::Keep;
use crate::devices;
use crate::error::WalkError;
use crate::ext::pubsub::pep;
use crate::ext::{
    self, avatar, blocking, caps, carbons, displayed, groups, last_activity, mam, muc, presence,
    push, retraction,
};
use crate::home::Attendee;
use crate::log::Entry;
use crate::media;
use crate::router::Place;
use crate::session::{Form, What};
use crate::walk::Walk;
use crate::weight::{Way, Weight, weigh};

/// At the sender's home: a stanza that one of its sessions sent. `from` is stamped, `to` is set unless it is meant for
/// the account itself.
pub async fn sent(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    // First of all: nothing after this may see what only a server may write.
    strip_forged(walk);
    // Before anything leaves a trace: a blocked contact is not written to (XEP-0191 §3.3).
    if !blocking::lets_out(walk) {
        return Ok(());
    }
    match walk.stanza.kind {
        Kind::Message(_) => {
            // Before the archive and the copies: nobody but the own devices is to learn of it (XEP-0490 §4.2).
            displayed::publish(walk).await?;
            // Like it: a marker for a room is one for the own devices.
            groups::note_sent(walk).await?;
            sent_message(walk).await
        }
        Kind::Presence(_) => {
            // Before anybody sees it: contacts and rooms learn of the picture by its hash.
            avatar::stamp(walk).await?;
            // Before it goes to the room: from it the room knows what the device has missed.
            groups::stamp_entry(walk).await?;
            presence::sent(walk).await?;
            // After the presence was taken: a proof counts only for what a session has said of itself.
            let turn = caps::ask(walk).await?;
            // After it is known what the session can do: it gets only what it wants.
            pep::sent_presence(walk, turn).await
        }
        Kind::Iq(_) => sent_iq(walk).await,
    }
}

async fn sent_message(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let own = walk.home.jid.clone();
    let Some(to) = &walk.stanza.to else {
        // RFC 6120 §10.3.1: a message without an address is for the account's own bare JID.
        walk.stanza.to = Some(own.into());
        walk.forward();
        return Ok(());
    };
    // A note to oneself is logged and shown once, by the receiving walk.
    if to.to_bare() != own {
        walk.weight = weigh(&walk.stanza, Way::Sent);
        mam::weigh_preferences(walk).await?;
        let xml = walk.stanza.encode();
        // Before the carbons: what other devices copy must be found in the archive under the same id.
        archive_own_copy(walk, &xml);
        walk.note_sent_message();
        retraction::apply(walk).await?;
        // With the same commit: a file that is on its way must be known to be.
        media::delivered::note_sent(walk).await?;
        carbons::copy_sent(walk, &xml);
    }
    if is_missed_beyond(walk) {
        // It may be sent twice, after a crash or a lost connection; by its id the repeat is known as one.
        if walk.stanza.id.is_none() {
            walk.stanza.id = Some(walk.node.random_name().into());
        }
        walk.send_stored(walk.stanza.clone());
    } else {
        walk.forward();
    }
    Ok(())
}

/// Once the client has our acknowledgement it does not send again, and another server may take long to be reached.
fn is_missed_beyond(walk: &Walk<'_>) -> bool {
    let is_said_in_room = walk.stanza.kind == Kind::Message(MessageType::Groupchat);
    let is_missed = walk.weight.offline || (is_said_in_room && !walk.weight.hold);
    let to = walk.stanza.to.as_ref();
    is_missed && to.is_some_and(|to| walk.node.place(to) == Place::Beyond)
}

/// The sender's side of the history (XEP-0313 §5.1.1), unless retention is "until delivered" and nobody waits for it.
fn archive_own_copy(walk: &mut Walk<'_>, xml: &Bytes) {
    let is_for_devices = walk.weight.carbon && walk.home.has_other_devices(walk.session);
    if !walk.weight.archive || (walk.keep() == Keep::Delivered && !is_for_devices) {
        return;
    }
    let id = walk.next_archive_id();
    let entry = Entry {
        outgoing: true,
        offline: false,
        archive: true,
        carbon: walk.weight.carbon,
        stanza: xml.clone(),
    };
    walk.append(id, &entry);
}

async fn sent_iq(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let own = &walk.home.jid;
    let is_to_account = |to: &Jid| to.resource().is_none() && to.to_bare() == *own;
    match &walk.stanza.to {
        to if to.as_ref().is_none_or(is_to_account) => match walk.stanza.kind {
            Kind::Iq(IqType::Result) => match caps::hear(walk).await? {
                Some(kind) => pep::proved(walk, &kind).await,
                None => Ok(()),
            },
            // RFC 6120 §10.3.3: the server answers for the account.
            _ => ext::account_iq(walk).await,
        },
        _ => {
            walk.forward();
            Ok(())
        }
    }
}

/// At the recipient's home: a stanza to the account or to one of its resources.
pub async fn received(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    if !walk.home.has_account {
        return no_such_account(walk);
    }
    // Before anything leaves a trace: a blocked sender learns nothing and reaches nobody (XEP-0191 §3.3).
    if !blocking::admits(walk)? {
        return Ok(());
    }
    match walk.stanza.kind {
        Kind::Message(kind) => received_message(walk, kind).await,
        Kind::Presence(_) => {
            presence::received(walk).await?;
            // After the answer to a probe: who comes online sees first who is there.
            pep::received_presence(walk).await
        }
        Kind::Iq(kind) => received_iq(walk, kind).await,
    }
}

/// RFC 6121 §8.5.1: presence to nobody is ignored, the rest is answered with an error.
fn no_such_account(walk: &Walk<'_>) -> Result<(), WalkError> {
    match walk.stanza.kind {
        Kind::Presence(_) => Ok(()),
        Kind::Message(_) | Kind::Iq(_) => Err(StanzaError::service_unavailable().into()),
    }
}

async fn received_message(walk: &mut Walk<'_>, kind: MessageType) -> Result<(), WalkError> {
    // Before it counts as a message: a push service speaks to the server here.
    if push::hear_withdrawal(walk) {
        return Ok(());
    }
    // Before it counts as a message: a room speaks to the server here.
    if groups::hear(walk).await? {
        return Ok(());
    }
    // After what was forged in a group's name is gone, and before ids are put in: it looks for the group's.
    media::delivered::note_received(walk).await?;
    // Before the id of this home goes in: a sender cannot have assigned it.
    strip_forged(walk);
    // Before it is weighed: an invitation wakes phones.
    muc::invite::strip_forged(walk);
    walk.weight = weigh(&walk.stanza, Way::Received);
    mam::weigh_preferences(walk).await?;
    let recipients = choose_recipients(walk, kind)?;
    if !walk.weight.is_logged() {
        let xml = walk.stanza.encode();
        let (what, said) = (passing(&walk.stanza, kind), groups::position(&walk.stanza));
        for (session, form) in recipients {
            // A device goes on after what it has taken in the room: what reaches it elsewhere says nothing of that.
            let said = said.as_ref().filter(|(room, _)| {
                let attendee = walk.home.attendee(session.id);
                form == Form::Direct && attendee.is_some_and(|it| it.has_entered(room))
            });
            let said = said.map(|(room, id)| session.state().said(room, *id));
            let what = said.unwrap_or(what);
            let shown = carbons::shown_as(form, &walk.home.jid, &session.jid, &xml, None);
            walk.deliver(&session, what, shown, walk.weight.hold);
        }
        return push::notify::notify(walk).await;
    }
    // The id goes into the stanza before anyone sees it: live, copied, offline and archived it is the same (XEP-0359).
    let id = walk.next_archive_id();
    // What is not archived has none: clients ask the archive what came after the last id they saw (XEP-0313 §3.6).
    if walk.weight.archive {
        let stanza_id = carbons::stanza_id(&walk.home.jid, id);
        walk.stanza.push_child(&stanza_id);
    }
    let xml = walk.stanza.encode();
    let Weight {
        archive,
        offline,
        carbon,
        ..
    } = walk.weight;
    let entry = Entry {
        outgoing: false,
        offline,
        archive,
        carbon,
        stanza: xml.clone(),
    };
    walk.append(id, &entry);
    retraction::apply(walk).await?;
    for (session, form) in recipients {
        let shown = carbons::shown_as(form, &walk.home.jid, &session.jid, &xml, None);
        walk.deliver_logged(&session, form, shown, walk.weight.hold);
    }
    // Last: whom it reaches is known by now.
    push::notify::notify(walk).await
}

/// What a message that is not in the log is in a queue: a notice of an item makes an older one of the same item moot.
pub(crate) fn passing(stanza: &Stanza, kind: MessageType) -> What {
    let event = stanza.child("event", ns::PUBSUB_EVENT);
    let Some(event) = event.filter(|_| kind == MessageType::Headline) else {
        return What::Passing;
    };
    let Ok(event) = event.to_element() else {
        return What::Passing;
    };
    let mut hasher = DefaultHasher::new();
    stanza.from.as_ref().map(Jid::as_str).hash(&mut hasher);
    for change in event.children() {
        change.attr("node").hash(&mut hasher);
        let items = change.children().map(|item| item.attr("id"));
        items.for_each(|id| id.hash(&mut hasher));
    }
    What::Presence {
        sender: hasher.finish(),
    }
}

type Recipients = SmallVec<[(std::sync::Arc<crate::session::Session>, Form); 4]>;

/// Which sessions get a message (RFC 6121 §8.5), and which a copy of it (XEP-0280 §7).
fn choose_recipients(walk: &Walk<'_>, kind: MessageType) -> Result<Recipients, WalkError> {
    let mut recipients = Recipients::new();
    // XEP-0280 §8: no copy for the client that sent it, to another client of its own account.
    let from = walk.stanza.from.as_ref();
    let from = from.filter(|from| from.to_bare() == walk.home.jid);
    let sender = from.and_then(|from| from.resource());
    let wants_copy = |attendee: &Attendee| {
        attendee.carbons && walk.weight.carbon && sender != Some(attendee.session.jid.resource())
    };
    let addressed = walk
        .stanza
        .to
        .as_ref()
        .and_then(|to| to.resource())
        .and_then(|resource| walk.home.resource(resource));
    if let Some(attendee) = addressed {
        recipients.push((attendee.session.clone(), Form::Direct));
        let others = walk.home.others(attendee.session.id);
        let others = others.filter(|other| wants_copy(other));
        recipients.extend(others.map(|other| (other.session.clone(), Form::CarbonReceived)));
        return Ok(recipients);
    }
    // Nobody else has asked.
    if walk.weight.result {
        return Ok(recipients);
    }
    let to_resource = walk
        .stanza
        .to
        .as_ref()
        .is_some_and(|to| to.resource().is_some());
    match kind {
        // §8.5.2.1.1 and, for a resource that is gone, §8.5.3.2.1: like a message to the bare JID. We treat "normal" as
        // "chat" here: WhatsApp's users expect no message to vanish because a phone changed its resource.
        MessageType::Chat | MessageType::Normal => {
            for attendee in &walk.home.sessions {
                if attendee.takes_messages() {
                    recipients.push((attendee.session.clone(), Form::Direct));
                } else if wants_copy(attendee) {
                    recipients.push((attendee.session.clone(), Form::CarbonReceived));
                }
            }
        }
        MessageType::Headline if !to_resource => {
            let takers = walk
                .home
                .sessions
                .iter()
                .filter(|attendee| attendee.takes_messages());
            recipients.extend(takers.map(|attendee| (attendee.session.clone(), Form::Direct)));
        }
        // §8.5.2.1.1: a bare JID is no room. §8.5.3.2.1: nor is a resource that is gone.
        MessageType::Groupchat => return Err(StanzaError::service_unavailable().into()),
        MessageType::Headline | MessageType::Error => {}
    }
    Ok(recipients)
}

async fn received_iq(walk: &mut Walk<'_>, kind: IqType) -> Result<(), WalkError> {
    let Some(resource) = walk.stanza.to.as_ref().and_then(|to| to.resource()) else {
        return match kind {
            // What a contact's client can do, or whether a push service took it, which the account has asked.
            IqType::Result | IqType::Error if push::hear_answer(walk) => Ok(()),
            IqType::Result => pep::heard(walk).await,
            // RFC 6121 §8.5.2.1.3: the server answers for the account.
            _ => ext::account_iq(walk).await,
        };
    };
    let Some(attendee) = walk.home.resource(resource) else {
        return match kind {
            IqType::Get | IqType::Set => Err(StanzaError::service_unavailable().into()),
            IqType::Result | IqType::Error => Ok(()),
        };
    };
    let session = attendee.session.clone();
    // Before the resource sees it: XEP-0012 §4 shows it to nobody who may not see the presence.
    last_activity::check(walk).await?;
    // RFC 6121 §8.5.3.1 delivers to any connected resource; whoever asks learns no more than the answer tells.
    let failed = mam::elsewhere::end_of_answer(&session, &walk.stanza);
    let xml = failed.as_ref().unwrap_or(&walk.stanza).encode();
    walk.deliver(&session, What::Iq, xml, false);
    Ok(())
}

/// Takes away what only this home or its server may say: stanza ids that this home assigns (XEP-0359 §5), and delays in
/// the server's name (XEP-0203 §4), and copies of messages (XEP-0280 §10), which no client ever sends. A client that
/// checks who a copy is from would not be deceived, but not every client does.
fn strip_forged(walk: &mut Walk<'_>) {
    if !matches!(walk.stanza.kind, Kind::Message(_)) {
        return;
    }
    let suspicious = |namespace: &str| matches!(namespace, ns::STANZA_ID | ns::DELAY | ns::CARBONS);
    if !walk.stanza.children().any(|child| suspicious(child.ns)) {
        return;
    }
    let (own, host) = (walk.home.jid.as_str(), walk.home.jid.domain());
    walk.stanza.remove_children(|child| {
        let claims = |attr, names: &[&str]| {
            child
                .to_element()
                .is_ok_and(|element| element.attr(attr).is_some_and(|by| names.contains(&by)))
        };
        match (child.ns, child.name) {
            (ns::STANZA_ID, "stanza-id") => claims("by", &[own]),
            (ns::DELAY, "delay") => claims("from", &[own, host]),
            (ns::CARBONS, "received" | "sent") => true,
            _ => false,
        }
    });
}

/// Is there something that [`strip_forged`] would take away in one home or another? What a room says of itself is not.
pub(crate) fn may_be_forged(stanza: &Stanza, room: &Jid) -> bool {
    stanza.children().any(|child| match (child.ns, child.name) {
        (ns::STANZA_ID, "stanza-id") => !child
            .to_element()
            .is_ok_and(|id| id.attr("by") == Some(room.bare_str())),
        (ns::DELAY | ns::CARBONS, _) => true,
        _ => false,
    })
}

/// A session has ended, by its own word, by an error or because it was not resumed in time.
pub async fn session_ended(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    presence::session_ended(walk).await?;
    devices::session_ended(walk).await
}
