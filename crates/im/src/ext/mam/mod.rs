//! A person's whole history, on every device: clients page through it from either end and catch up from where they were.
//!
//! XEP-0313: Message Archive Management, version 1.1.3; XEP-0441: Preferences, version 0.2.0 ([`prefs`]). The log of the
//! home is the archive: see [`crate::log`], and [`crate::conversations`] for the index that `with` is answered from.
//! Left out: searching for words (a server cannot read encrypted messages, and the rest would be read from the disk one
//! by one), messages of rooms (their archives are the rooms'), and paging by place (counts are not kept).
//!
//! Results go into the session's queue as ids of the log; their bytes are read when they are written. Whoever has taken
//! a waiting message from the archive is not sent it again as an offline message (§6.1.1).

pub mod elsewhere;
pub(in crate::ext) mod page;
mod prefs;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::{ErrorType, StanzaError};
use posthaste_proto::jid::{BareJid, FullJid};
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xep::mam::{BadQuery, Query, metadata};
use posthaste_proto::xml::{Element, escape_attr};

use super::{AccountIq, Answer, Asker, Ext, carbons};
use crate::error::WalkError;
use crate::home::HomeState;
use crate::log::{ArchiveId, Entry};
use crate::node::Node;
use crate::session::{Session, What};
use crate::walk::Walk;

use page::{Found, Most, With};
pub use prefs::{EXT as PREFS_EXT, load as load_prefs, weigh as weigh_preferences};

/// The extension. Others than the owner are told that there is no such service, as of everything in an account.
pub const EXT: Ext = Ext {
    name: "Message Archive Management",
    xep: 313,
    version: "1.1.3",
    host_features: &[],
    account_features: &[ns::MAM, ns::MAM_EXTENDED, ns::MAM_GROUPCHAT_FIELD, ns::RSM],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::MAM,
            name: "query",
            asker: Asker::Owner,
            handler: form,
        },
        AccountIq {
            kind: IqType::Set,
            ns: ns::MAM,
            name: "query",
            asker: Asker::Owner,
            handler: query,
        },
        AccountIq {
            kind: IqType::Get,
            ns: ns::MAM,
            name: "metadata",
            asker: Asker::Owner,
            handler: ends,
        },
    ],
    host_iqs: &[],
};

fn form<'w>(_: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async { Ok(Some(Query::form())) }.boxed()
}

fn ends<'w>(walk: &'w mut Walk<'_>, _: Element) -> BoxFuture<'w, Answer> {
    async move { Ok(Some(archive_metadata(walk.node, walk.home).await?)) }.boxed()
}

/// The ends of an archive (§5); also told by Bind 2 (XEP-0386 §4).
///
/// # Errors
/// The store's.
pub async fn archive_metadata(node: &Node, state: &HomeState) -> Result<Element, WalkError> {
    Ok(metadata(page::ends(node.kv(), &state.partition).await?))
}

fn query<'w>(walk: &'w mut Walk<'_>, payload: Element) -> BoxFuture<'w, Answer> {
    async move {
        let query = Query::read(&payload).map_err(refusal)?;
        let asker = walk.session.and_then(|id| walk.home.attendee(id));
        // Only a session of this account can ask; an IQ that came another way has nobody to send results to.
        let session = asker.ok_or_else(StanzaError::not_allowed)?.session.clone();
        let limits = walk.node.config().queue;
        let room = session.state().room_for_answer(limits).0;
        if room == 0 {
            return Err(busy().into());
        }
        let most = Most {
            entries: room,
            // What has no room in the queue is read again when it is written.
            bytes: usize::MAX,
        };
        let mut page = page::find(walk, &query, most, With::Peer).await?;
        let fin = page.fin();
        if query.flipped {
            page.entries.reverse();
        }
        send_page(walk, &session, query.queryid.as_deref(), page.entries);
        Ok(Some(fin.to_element()))
    }
    .boxed()
}

/// Puts a page into the queue. What was read to find it need not be read again, as long as half of the queue's room stays
/// free for what happens meanwhile.
fn send_page(walk: &mut Walk<'_>, session: &Arc<Session>, name: Option<&str>, page: Vec<Found>) {
    let (mut room, query) = {
        let (mut state, limits) = (session.state(), walk.node.config().queue);
        let room = state.room_for_answer(limits).1;
        (room, state.open_query(name))
    };
    for Found {
        id,
        may_wait,
        entry,
    } in page
    {
        let waits = may_wait && walk.home.delivery.is_waiting(id);
        let what = What::Archived { id, query, waits };
        let result = entry.map(|entry| shown(name, id, &walk.home.jid, &session.jid, &entry));
        match result.filter(|result| result.len() <= room) {
            Some(result) => {
                room -= result.len();
                walk.deliver(session, what, result, false);
            }
            None => {
                room = 0;
                walk.deliver_by_id(session, what);
            }
        }
    }
}

/// The client has not taken yet what it asked for before.
fn busy() -> StanzaError {
    let mut error = StanzaError::resource_constraint().with_text("take the last page first");
    error.kind = ErrorType::Wait;
    error
}

pub(in crate::ext) fn refusal(bad: BadQuery) -> StanzaError {
    match bad {
        BadQuery::Malformed(what) => StanzaError::bad_request().with_text(what),
        BadQuery::Unknown => StanzaError::feature_not_implemented(),
    }
}

/// A log entry as a result of a query (§4.2).
pub fn shown(
    query: Option<&str>,
    id: ArchiveId,
    account: &BareJid,
    to: &FullJid,
    entry: &Entry,
) -> Bytes {
    let mut out = Vec::with_capacity(entry.stanza.len() + 400);
    out.extend_from_slice(b"<message from='");
    escape_attr(&mut out, account.as_str());
    out.extend_from_slice(b"' to='");
    escape_attr(&mut out, to.as_str());
    out.extend_from_slice(b"'>");
    write_result(&mut out, query, id, account, entry);
    out.extend_from_slice(b"</message>");
    out.into()
}

/// The `<result/>` for a log entry.
pub fn write_result(
    out: &mut Vec<u8>,
    query: Option<&str>,
    id: ArchiveId,
    account: &BareJid,
    entry: &Entry,
) {
    out.extend_from_slice(format!("<result xmlns='{}' id='{id}'", ns::MAM).as_bytes());
    if let Some(query) = query {
        out.extend_from_slice(b" queryid='");
        escape_attr(out, query);
        out.extend_from_slice(b"'");
    }
    let (forward, delay) = (ns::FORWARD, ns::DELAY);
    let stamp = id.timestamp();
    out.extend_from_slice(
        format!("><forwarded xmlns='{forward}'><delay xmlns='{delay}' stamp='{stamp}'/>")
            .as_bytes(),
    );
    // What came in carries its id already.
    carbons::write_forwarded(out, account, &entry.stanza, entry.outgoing.then_some(id));
    out.extend_from_slice(b"</forwarded></result>");
}
