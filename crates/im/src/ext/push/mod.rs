//! A phone that sleeps is woken when somebody writes or calls: the server tells the push service of its app.
//!
//! XEP-0357: Push Notifications, version 0.4.1. A client registers a node of its app's push service ([`registration`]);
//! what weighs it ([`crate::weight::Weight::push`]) and would not reach that client now is published there ([`notify`]),
//! in the account's name. Left out: §8's retry of a disabled node after a day (clients enable again when they come), and
//! the count of pending subscriptions.

pub mod notify;
pub mod registration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::{Condition, ErrorType, StanzaError};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind};
use posthaste_proto::xep::push::{BadPush, Disable, Enable, withdrawn_node};
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext};
use crate::walk::Walk;
use registration::{MAX_OPTIONS_BYTES, MAX_REGISTRATIONS, Owner, Registration};

/// The extension.
pub const EXT: Ext = Ext {
    name: "Push Notifications",
    xep: 357,
    version: "0.4.1",
    host_features: &[],
    account_features: &[ns::PUSH],
    account_iqs: &[
        AccountIq {
            kind: IqType::Set,
            ns: ns::PUSH,
            name: "enable",
            asker: Asker::Owner,
            handler: enable,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::PUSH,
            name: "disable",
            asker: Asker::Owner,
            handler: disable,
        },
    ],
    host_iqs: &[],
};

/// Errors in a row after which a service that says "later" is taken at its word no more (§7.1).
const MAX_FAILURES: u32 = 16;

fn enable<'w>(walk: &'w mut Walk<'_>, payload: Element) -> BoxFuture<'w, Answer> {
    async move {
        let Enable {
            service,
            node,
            options,
        } = Enable::read(&payload).map_err(refusal)?;
        let attendee = walk.session.and_then(|id| walk.home.attendee(id));
        // Only a session of this account can say which client is to be woken.
        let attendee = attendee.ok_or_else(StanzaError::not_allowed)?;
        let owner = Owner::of(attendee);
        let options = options.map(|form| form.to_bytes(ns::CLIENT));
        if (options.as_ref()).is_some_and(|xml| xml.len() > MAX_OPTIONS_BYTES) {
            let refusal = StanzaError::policy_violation();
            return Err(refusal.with_text("the options are too long").into());
        }
        // §5: the last request counts. A service that had failed gets another chance.
        let place = walk.home.push.iter().position(|r| r.is(&service, &node));
        let tag = match place.map(|place| walk.home.push.remove(place)) {
            Some(known) => known.tag,
            None => walk.node.random_name().into(),
        };
        let registration = Registration {
            service,
            node: node.into(),
            options: options.map(Into::into),
            owner,
            since: walk.now,
            failures: 0,
            tag,
            run: registration::Run::default(),
        };
        while walk.home.push.len() >= MAX_REGISTRATIONS {
            // The oldest comes first, as they are pushed back at the end each time.
            let oldest = walk.home.push.remove(0);
            walk.delete(oldest.key());
        }
        walk.put(registration.key(), registration.encode());
        walk.home.push.push(registration);
        Ok(None)
    }
    .boxed()
}

fn disable<'w>(walk: &'w mut Walk<'_>, payload: Element) -> BoxFuture<'w, Answer> {
    async move {
        let Disable { service, node } = Disable::read(&payload).map_err(refusal)?;
        let is_meant = |r: &Registration| {
            r.service == service && node.as_deref().is_none_or(|node| *r.node == *node)
        };
        remove(walk, is_meant);
        Ok(None)
    }
    .boxed()
}

fn refusal(wrong: BadPush) -> StanzaError {
    let error = match wrong {
        BadPush::Malformed(_) => StanzaError::bad_request(),
        BadPush::BadJid => StanzaError::jid_malformed(),
    };
    error.with_text(wrong.to_string())
}

/// Removes registrations, in memory and in the store.
fn remove(walk: &mut Walk<'_>, is_meant: impl Fn(&Registration) -> bool) -> bool {
    let (gone, kept) = std::mem::take(&mut walk.home.push)
        .into_iter()
        .partition::<Vec<_>, _>(is_meant);
    walk.home.push = kept.into();
    for registration in &gone {
        walk.delete(registration.key());
    }
    !gone.is_empty()
}

/// A result or an error came to the account: perhaps a push service answers (§7.1). Tells whether it was that.
pub fn hear_answer(walk: &mut Walk<'_>) -> bool {
    let (Kind::Iq(kind), Some(id), Some(from)) = (
        walk.stanza.kind,
        walk.stanza.id.as_deref(),
        &walk.stanza.from,
    ) else {
        return false;
    };
    let is_asked = |r: &Registration| r.service == *from && r.has_asked(id);
    let Some(place) = walk.home.push.iter().position(is_asked) else {
        return false;
    };
    walk.home.push[place].run.asked_at = None;
    let (failures, is_final) = match (kind, walk.stanza.error()) {
        (IqType::Result, _) => (0, false),
        (_, Some(error)) => (walk.home.push[place].failures + 1, !is_temporary(&error)),
        // An error that cannot be read is no reason to go on.
        (_, None) => (MAX_FAILURES, true),
    };
    note_failures(walk, place, failures, is_final);
    true
}

fn note_failures(walk: &mut Walk<'_>, place: usize, failures: u32, is_final: bool) {
    if is_final || failures >= MAX_FAILURES {
        let registration = walk.home.push.remove(place);
        tracing::debug!(failures, "a push service takes no more: disabled");
        return walk.delete(registration.key());
    }
    let registration = &mut walk.home.push[place];
    if registration.failures != failures {
        registration.failures = failures;
        let (key, value) = (registration.key(), registration.encode());
        walk.put(key, value);
    }
    if failures > 0 {
        notify::try_again(walk.node, walk.home, place, walk.now);
    }
}

/// May it be otherwise in a while? What the service itself decided stays so until the client enables again.
fn is_temporary(error: &StanzaError) -> bool {
    error.kind == ErrorType::Wait
        || matches!(
            error.condition,
            Condition::InternalServerError
                | Condition::RecipientUnavailable
                | Condition::RemoteServerNotFound
                | Condition::RemoteServerTimeout
                | Condition::ResourceConstraint
        )
}

/// A message to the account may be its push service's, saying that the account may no longer publish (§8). Answers
/// whether it was; it is for nobody else then.
pub fn hear_withdrawal(walk: &mut Walk<'_>) -> bool {
    if walk.home.push.is_empty()
        || walk
            .stanza
            .to
            .as_ref()
            .is_some_and(|to| to.resource().is_some())
    {
        return false;
    }
    let Some(from) = walk.stanza.from.clone() else {
        return false;
    };
    let Some(pubsub) = walk.stanza.child("pubsub", ns::PUBSUB) else {
        return false;
    };
    let Ok(pubsub) = pubsub.to_element() else {
        return false;
    };
    let Some(node) = withdrawn_node(&pubsub, &walk.home.jid) else {
        return false;
    };
    remove(walk, |r| r.is(&from, &node))
}
