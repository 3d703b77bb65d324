//! All of a person's devices show the whole conversation: each gets copies of what the others send and receive.
//!
//! XEP-0280: Message Carbons, version 1.0.1. Which messages are copied is decided by [`crate::weight`]; which sessions
//! get a message itself, and so no copy, by the pipeline. Enabling inline with Bind 2 is [`crate::connection`]'s.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext};
use crate::codec;
use crate::log::ArchiveId;
use crate::session::{Form, What};
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Message Carbons",
    xep: 280,
    version: "1.0.1",
    host_features: &[ns::CARBONS, ns::CARBONS_RULES],
    account_features: &[ns::CARBONS, ns::CARBONS_RULES],
    account_iqs: &[
        AccountIq {
            kind: IqType::Set,
            ns: ns::CARBONS,
            name: "enable",
            asker: Asker::Owner,
            handler: enable,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::CARBONS,
            name: "disable",
            asker: Asker::Owner,
            handler: disable,
        },
    ],
    host_iqs: &[],
};

fn enable<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async { switch(walk, true) }.boxed()
}

fn disable<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async { switch(walk, false) }.boxed()
}

fn switch(walk: &mut Walk<'_>, on: bool) -> Answer {
    let attendee = walk
        .session
        .and_then(|session| walk.home.attendee_mut(session));
    // Only a session of this account can ask; an IQ that came another way has nothing to switch.
    let attendee = attendee.ok_or_else(StanzaError::not_allowed)?;
    attendee.carbons = on;
    Ok(None)
}

/// Copies what a session sends to the others that want copies (§8).
pub fn copy_sent(walk: &mut Walk<'_>, xml: &Bytes) {
    if !walk.weight.carbon {
        return;
    }
    let Some(sender) = walk.session else { return };
    let takers: Vec<_> = walk
        .home
        .others(sender)
        .filter(|other| other.carbons)
        .map(|other| other.session.clone())
        .collect();
    let id = walk.logged_id();
    for session in takers {
        let copy = shown_as(Form::CarbonSent, &walk.home.jid, &session.jid, xml, id);
        if walk.has_logged() {
            walk.deliver_logged(&session, Form::CarbonSent, copy, walk.weight.hold);
        } else {
            walk.deliver(&session, What::Passing, copy, walk.weight.hold);
        }
    }
}

/// A message as a session is shown it: itself, or wrapped as a copy (§7, §8). A copy of what was sent has the id of the
/// archive put in (XEP-0313 §3.6), which the message itself must not carry to its recipient.
pub fn shown_as(
    form: Form,
    account: &BareJid,
    to: &FullJid,
    xml: &Bytes,
    id: Option<ArchiveId>,
) -> Bytes {
    let wrapper = match form {
        Form::Direct => return xml.clone(),
        Form::CarbonReceived => "received",
        Form::CarbonSent => "sent",
    };
    let mut copy = Vec::with_capacity(xml.len() + 300);
    copy.extend_from_slice(b"<message from='");
    posthaste_proto::xml::escape_attr(&mut copy, account.as_str());
    copy.extend_from_slice(b"' to='");
    posthaste_proto::xml::escape_attr(&mut copy, to.as_str());
    copy.extend_from_slice(b"'");
    if let Some(kind) = message_type(xml) {
        copy.extend_from_slice(b" type='");
        copy.extend_from_slice(kind.as_bytes());
        copy.extend_from_slice(b"'");
    }
    copy.extend_from_slice(
        format!(
            "><{wrapper} xmlns='{}'><forwarded xmlns='{}'>",
            ns::CARBONS,
            ns::FORWARD
        )
        .as_bytes(),
    );
    let id = id.filter(|_| form == Form::CarbonSent);
    write_forwarded(&mut copy, account, xml, id);
    copy.extend_from_slice(format!("</forwarded></{wrapper}></message>").as_bytes());
    copy.into()
}

/// Writes a message of the log for a place outside the stream's default namespace, with an id of the archive if one is
/// to be put in.
pub fn write_forwarded(out: &mut Vec<u8>, account: &BareJid, xml: &[u8], id: Option<ArchiveId>) {
    // It was encoded here, in the stream's default namespace: its root starts with `<message`.
    let inner = xml.strip_prefix(b"<message").unwrap_or_default();
    out.extend_from_slice(b"<message xmlns='jabber:client'");
    // What is archived is not empty, and so has an end tag.
    match (id, inner.strip_suffix(b"</message>")) {
        (Some(id), Some(inner)) => {
            out.extend_from_slice(inner);
            let stanza_id = stanza_id(account, id);
            stanza_id.write(out, ns::CLIENT);
            out.extend_from_slice(b"</message>");
        }
        _ => out.extend_from_slice(inner),
    }
}

/// The id of an archived message (XEP-0359 §3).
pub fn stanza_id(account: &BareJid, id: ArchiveId) -> Element {
    Element::new("stanza-id", ns::STANZA_ID)
        .with_attr("id", id.to_string())
        .with_attr("by", account.as_str())
}

/// §7: the copy SHOULD have the type of the message it holds.
fn message_type(xml: &[u8]) -> Option<&'static str> {
    codec::stanza(xml)
        .ok()
        .and_then(|stanza| stanza.kind.type_attr())
}
