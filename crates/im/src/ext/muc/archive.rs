//! What was said in a room can be read later, by whoever may enter it.
//!
//! XEP-0313 §5.1.3 on the same pages as the accounts' archives ([`crate::ext::mam`]): the room's log is its archive, in
//! which subjects are too and private messages are not. Who has said something is stored with it, and shown to those who
//! may know at the time of the query. A room has no preferences (XEP-0441): its owners switch the archive on and off for
//! all. Whoever has not the password of a room, but is a member of it, may read.

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, MessageType, Stanza};
use posthaste_proto::xep::mam::Query;
use posthaste_proto::xep::muc::{Affiliation, RoomConfig};
use posthaste_proto::xml::Element;

use super::permissions;
use crate::codec;
use crate::error::WalkError;
use crate::ext::mam::{self, page};
use crate::log::Entry;
use crate::walk::Walk;

/// Bytes of the messages of one page. The page goes through the queue of a session, which other rooms may be filling at
/// the same time: a client that enters asks all its rooms at once.
const PAGE_BYTES: usize = 32 * 1024;

/// What a room announces if it has an archive.
const FEATURES: &[&str] = &[ns::MAM, ns::MAM_EXTENDED, ns::STANZA_ID];

/// What a room with these settings announces.
pub(super) fn features(config: &RoomConfig) -> &'static [&'static str] {
    if config.archiving { FEATURES } else { &[] }
}

/// A request about the archive.
///
/// # Errors
/// Whoever asks may not read it, there is none, or the request makes no sense.
pub(super) async fn answer(
    walk: &mut Walk<'_>,
    kind: IqType,
    payload: &Element,
) -> Result<(), WalkError> {
    let sees_jids = reader(walk)?;
    let answer = match (kind, payload.name()) {
        (IqType::Get, "query") => Query::form(),
        (IqType::Get, "metadata") => mam::archive_metadata(walk.node, walk.home).await?,
        (IqType::Set, "query") => query(walk, payload, sees_jids).await?,
        _ => return Err(StanzaError::service_unavailable().into()),
    };
    // After the results (XEP-0313 §4.2).
    let result = walk.stanza.result(Some(answer));
    walk.send(result);
    Ok(())
}

/// May whoever asks read what was said (§5.1.3: the right to enter)? Answers whether real addresses are shown.
fn reader(walk: &Walk<'_>) -> Result<bool, StanzaError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let from = walk.stanza.from.as_ref();
    let from = from.ok_or_else(StanzaError::bad_request)?;
    let affiliation = room.affiliation(&from.to_bare());
    if room.locked && affiliation != Affiliation::Owner {
        return Err(StanzaError::item_not_found());
    }
    let occupant = from.as_full();
    let occupant = occupant.and_then(|session| room.occupants.of(&session));
    let is_closed = room.config.members_only || room.config.password.is_some();
    let may_enter = !is_closed || affiliation >= Affiliation::Member || occupant.is_some();
    if affiliation == Affiliation::Outcast || !may_enter {
        return Err(StanzaError::forbidden());
    }
    if !room.config.archiving {
        return Err(StanzaError::service_unavailable());
    }
    let role = occupant.map_or_else(
        || permissions::initial_role(affiliation, &room.config),
        |it| it.role,
    );
    Ok(room.shows_jids_to(role))
}

/// Sends the page that is asked for; answers what ends it.
async fn query(
    walk: &mut Walk<'_>,
    payload: &Element,
    sees_jids: bool,
) -> Result<Element, WalkError> {
    let query = Query::read(payload).map_err(mam::refusal)?;
    let is_by = |stanza: &Stanza, with: &Jid| is_said_by(stanza, with, sees_jids);
    let most = page::Most {
        entries: usize::MAX,
        bytes: PAGE_BYTES,
    };
    let mut page = page::find(walk, &query, most, page::With::Publisher(&is_by)).await?;
    let fin = page.fin();
    if query.flipped {
        page.entries.reverse();
    }
    let Some(asker) = walk.stanza.from.clone() else {
        return Ok(fin.to_element());
    };
    for found in page.entries {
        let Some(entry) = found.entry else { continue };
        let entry = shown(entry, sees_jids)?;
        let own = walk.home.jid.clone();
        let mut result = Vec::with_capacity(entry.stanza.len() + 300);
        let name = query.queryid.as_deref();
        mam::write_result(&mut result, name, found.id, &own, &entry);
        let mut message = Stanza::message(MessageType::Normal)
            .from(own)
            .to(asker.clone());
        message.push_xml(&result)?;
        walk.send(message);
    }
    Ok(fin.to_element())
}

/// An entry as it may be seen: who has said it is stored with it.
fn shown(mut entry: Entry, sees_jids: bool) -> Result<Entry, WalkError> {
    if !sees_jids {
        let mut stanza = codec::stanza(&entry.stanza)?;
        stanza.remove_children(|child| child.is("x", ns::MUC_USER));
        entry.stanza = stanza.encode();
    }
    Ok(entry)
}

/// §4.1.1: a nickname's address, or a real one, which only those find who may see it.
fn is_said_by(stanza: &Stanza, with: &Jid, sees_jids: bool) -> bool {
    let is = |jid: &Jid| match with.resource() {
        Some(_) => jid == with,
        None => jid.bare_str() == with.bare_str(),
    };
    stanza.from.as_ref().is_some_and(is)
        || (sees_jids && author(stanza).is_some_and(|jid| is(&jid)))
}

/// Who has said it, as it is stored.
fn author(stanza: &Stanza) -> Option<Jid> {
    let x = stanza.child("x", ns::MUC_USER)?.to_element().ok()?;
    let item = x.child("item", ns::MUC_USER)?;
    Jid::parse(item.attr("jid")?).ok()
}
