//! The first screen of a messenger in one query: whom one speaks with, what was said last, and how much is unread.
//!
//! XEP-0430: Inbox, version 0.2.0. Conversations come newest first. What is unread is kept by [`crate::conversations`],
//! the same for all devices: a marker (XEP-0333) or the own devices' synchronisation (XEP-0490) says what has been seen,
//! and whoever answers has seen what was said before. Receipts, markers, reactions, corrections and retractions are not
//! counted ([`crate::weight`]). Groups are among them as their rooms say that they stand ([`super::groups`]). Left out:
//! marking a conversation unread by hand, for which the XEP has no protocol, and rooms that are no groups.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_kv::{Scan, prefix_end};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xep::rsm::{Answer as Set, First, Page, Request};
use posthaste_proto::xml::{Element, escape_attr};

use super::groups::{self, record::Group};
use super::{AccountIq, Answer, Asker, Ext, mam};
use crate::conversations::{self, Conversation};
use crate::error::WalkError;
use crate::log::{ArchiveId, Entry};
use crate::session::{Session, What};
use crate::tables;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Inbox",
    xep: 430,
    version: "0.2.0",
    host_features: &[],
    account_features: &[ns::INBOX],
    account_iqs: &[AccountIq {
        kind: IqType::Get,
        ns: ns::INBOX,
        name: "inbox",
        asker: Asker::Owner,
        handler: query,
    }],
    host_iqs: &[],
};

/// Conversations of one answer: a screen of a desktop.
const MAX_PAGE: usize = 50;

/// A conversation in the list.
struct Listed {
    peer: BareJid,
    of: Of,
    unread: u64,
    /// When something was said in it last.
    at: ArchiveId,
}

/// Where it is kept.
enum Of {
    Chat(Conversation),
    Group(Group),
}

impl Listed {
    /// Its name in pages.
    fn uid(&self) -> &str {
        self.peer.as_str()
    }
}

fn query<'w>(walk: &'w mut Walk<'_>, payload: Element) -> BoxFuture<'w, Answer> {
    async move {
        let asked = Asked::read(&payload)?;
        let asker = walk.session.and_then(|id| walk.home.attendee(id));
        let session = asker.ok_or_else(StanzaError::not_allowed)?.session.clone();
        let all = list(walk).await?;
        let unread = all.iter().filter(|listed| listed.unread > 0);
        let counts = unread.clone().map(|listed| listed.unread);
        // What a room far away says of itself may be any number.
        let all_unread = counts.fold(0u64, u64::saturating_add);
        let (total, unread) = (all.len(), unread.count());
        let is_wanted = |listed: &Listed| !asked.unread_only || listed.unread > 0;
        let wanted: Vec<Listed> = all.into_iter().filter(is_wanted).collect();
        let set = send_page(walk, &session, &asked, &wanted).await?;
        let fin = Element::new("fin", ns::INBOX)
            .with_attr("total", total.to_string())
            .with_attr("unread", unread.to_string())
            .with_attr("all-unread", all_unread.to_string())
            .with_child(set.to_element());
        Ok(Some(fin))
    }
    .boxed()
}

/// What a client wants to see.
struct Asked {
    set: Request,
    unread_only: bool,
    messages: bool,
}

impl Asked {
    fn read(inbox: &Element) -> Result<Asked, StanzaError> {
        let flag = |name, default| match inbox.attr(name) {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(StanzaError::bad_request()),
        };
        Ok(Asked {
            set: Request::read(inbox).map_err(|_| StanzaError::bad_request())?,
            unread_only: flag("unread-only", false)?,
            messages: flag("messages", true)?,
        })
    }
}

/// The conversations in which something was said that is still there, the newest first.
async fn list(walk: &mut Walk<'_>) -> Result<Vec<Listed>, WalkError> {
    conversations::save(walk.node, walk.home).await?;
    let (kv, partition) = (walk.node.kv(), &walk.home.partition);
    let oldest = Scan::range(tables::LOG, prefix_end(tables::LOG), 1);
    let rows = kv.scan(partition, oldest).await?;
    let oldest = rows
        .first()
        .and_then(|(key, _)| tables::key_id(tables::LOG, key));
    let groups = groups::all(kv, partition).await?;
    let mut listed = Vec::new();
    if let Some(oldest) = oldest {
        let chats = conversations::all(kv, partition).await?;
        let chats = chats.into_iter();
        let chats = chats.filter(|(_, conversation)| conversation.last_message >= oldest);
        // What a room has said to its member, such as that it is one, is no line beside the group's.
        let rooms: HashSet<&BareJid> = groups.iter().map(|(room, _)| room).collect();
        let chats = chats.filter(|(peer, _)| !rooms.contains(peer));
        listed.extend(chats.map(|(peer, conversation)| Listed {
            peer,
            unread: conversation.unread.into(),
            at: conversation.last_message,
            of: Of::Chat(conversation),
        }));
    }
    listed.extend(groups.into_iter().map(|(peer, group)| Listed {
        peer,
        unread: group.unread(),
        at: ArchiveId::after(ArchiveId(0), group.at),
        of: Of::Group(group),
    }));
    listed.sort_by_key(|listed| std::cmp::Reverse(listed.at));
    Ok(listed)
}

/// Sends the wanted page, or as much of it as there is room for in the queue.
async fn send_page(
    walk: &mut Walk<'_>,
    session: &Arc<Session>,
    asked: &Asked,
    wanted: &[Listed],
) -> Result<Set, WalkError> {
    let limits = walk.node.config().queue;
    let (items, bytes) = session.state().room_for_answer(limits);
    let most = MAX_PAGE.min(items);
    let (page, mut set) = (asked.set)
        .cut(wanted, Listed::uid, most)
        .map_err(|_| StanzaError::item_not_found())?;
    let mut messages = Vec::with_capacity(page.len());
    for listed in page {
        messages.push(shown(walk, session, asked, listed, bytes).await?);
    }
    let backwards = matches!(asked.set.page, Page::Last | Page::Before(_));
    let kept = fitting(&messages, bytes, backwards);
    let moved = u32::try_from(kept.start).unwrap_or(u32::MAX);
    let index = set.first.and_then(|first| first.index);
    set.first = page.get(kept.start).map(|listed| First {
        uid: listed.uid().to_owned(),
        index: index.map(|index| index.saturating_add(moved)),
    });
    set.last = page[kept.clone()]
        .last()
        .map(|listed| listed.uid().to_owned());
    for message in messages.drain(kept) {
        walk.deliver(session, What::Passing, message, false);
    }
    Ok(set)
}

/// Which part of a page fits. At least one does, since each is no longer than the room.
fn fitting(messages: &[Bytes], room: usize, backwards: bool) -> std::ops::Range<usize> {
    let mut filled = 0;
    let fits = |message: &&Bytes| {
        filled += message.len();
        filled <= room
    };
    let count = messages.len();
    if backwards {
        let kept = messages.iter().rev().take_while(fits).count();
        count - kept..count
    } else {
        0..messages.iter().take_while(fits).count()
    }
}

/// One conversation as the client is shown it. A message that is too long for the queue is left out; its id is there to
/// fetch it by.
async fn shown(
    walk: &Walk<'_>,
    session: &Session,
    asked: &Asked,
    listed: &Listed,
    room: usize,
) -> Result<Bytes, WalkError> {
    let account = &walk.home.jid;
    let Listed { peer, unread, .. } = listed;
    let id = match &listed.of {
        Of::Chat(conversation) => conversation.last_message.to_string(),
        Of::Group(group) => group.activity.last.clone().unwrap_or_default(),
    };
    let mut out = b"<message from='".to_vec();
    escape_attr(&mut out, account.as_str());
    out.extend_from_slice(b"' to='");
    escape_attr(&mut out, session.jid.as_str());
    out.extend_from_slice(b"'>");
    let entry = Element::new("entry", ns::INBOX)
        .with_attr("jid", peer.as_str())
        .with_attr("unread", unread.to_string())
        .with_attr("id", id);
    entry.write(&mut out, ns::CLIENT);
    if let Of::Group(group) = &listed.of {
        group.line().write(&mut out, ns::CLIENT);
    }
    if asked.messages
        && let Some((id, entry)) = entry_of(walk, listed).await?
    {
        let (short, query) = (out.len(), walk.stanza.id.as_deref());
        mam::write_result(&mut out, query, id, account, &entry);
        if out.len() + b"</message>".len() > room {
            out.truncate(short);
        }
    }
    out.extend_from_slice(b"</message>");
    Ok(out.into())
}

/// What was said last, where it is known here.
async fn entry_of(
    walk: &Walk<'_>,
    listed: &Listed,
) -> Result<Option<(ArchiveId, Entry)>, WalkError> {
    match &listed.of {
        Of::Chat(Conversation { last_message, .. }) => {
            let value = walk.get(&tables::log_key(*last_message)).await?;
            let entry = value.map(Entry::decode).transpose()?;
            Ok(entry.map(|entry| (*last_message, entry)))
        }
        Of::Group(group) => groups::newest(walk.node, &listed.peer, group).await,
    }
}
