//! What was said in a room can be taken back: by whoever said it, and by moderators.
//!
//! XEP-0425: Moderated Message Retraction, version 0.3.0, and XEP-0424 in rooms. The message in the archive becomes a
//! tombstone, and all who are there or read the archive later learn of it. An author is known by the id of the occupant
//! (XEP-0421), so that a new nickname changes nothing; what somebody else has said nobody but a moderator takes back.
//! Older drafts' namespaces are left out: clients that still read them no longer ask for them.

use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::moderation::{Moderated, Request, is_claim, retracted, tombstone};
use posthaste_proto::xep::muc::Role;
use posthaste_proto::xep::occupant_id::OccupantId;
use posthaste_proto::xml::Element;

use super::{broadcast, not_an_occupant, subject};
use crate::codec;
use crate::error::WalkError;
use crate::ext::{Answer, Ext, carbons, retraction};
use crate::log::{ArchiveId, Entry};
use crate::tables;
use crate::walk::Walk;

/// The extension. Rooms announce it, not the server.
pub const EXT: Ext = Ext {
    name: "Moderated Message Retraction",
    xep: 425,
    version: "0.3.0",
    host_features: &[],
    account_features: &[],
    account_iqs: &[],
    host_iqs: &[],
};

/// A message of the archive that can be taken back.
pub(super) struct Said {
    id: ArchiveId,
    entry: Entry,
    stanza: Stanza,
}

/// The message with this id, unless it is gone already, or is no message that somebody has said.
async fn find(walk: &Walk<'_>, id: &str) -> Result<Option<Said>, WalkError> {
    let Some(id) = ArchiveId::parse(id) else {
        return Ok(None);
    };
    let Some(value) = walk.get(&tables::log_key(id)).await? else {
        return Ok(None);
    };
    let entry = Entry::decode(value)?;
    let stanza = codec::stanza(&entry.stanza)?;
    let is_gone = stanza.has("retracted", ns::RETRACT);
    let is_said = OccupantId::of(&stanza).is_some() && !subject::is_change(&stanza);
    let said = Said { id, entry, stanza };
    Ok((said.entry.archive && is_said && !is_gone).then_some(said))
}

fn bury(walk: &mut Walk<'_>, mut said: Said, tombstone: &Element) {
    retraction::bury(&mut said.stanza, tombstone);
    said.entry.stanza = said.stanza.encode();
    walk.put(tables::log_key(said.id), said.entry.encode());
}

// ---- by the author ----------------------------------------------------------------------------------

/// What the walk's message takes back, if it does and that is here.
///
/// # Errors
/// Somebody else has said it.
pub(super) async fn taken_back(
    walk: &Walk<'_>,
    author: &OccupantId,
) -> Result<Option<Said>, WalkError> {
    // What claims to be a moderator's is no retraction at all, and is taken out.
    if walk.stanza.children().any(|child| is_claim(&child)) {
        return Ok(None);
    }
    let Some(id) = retracted(&walk.stanza) else {
        return Ok(None);
    };
    let Some(said) = find(walk, &id).await? else {
        return Ok(None);
    };
    if OccupantId::of(&said.stanza).as_ref() != Some(author) {
        return Err(StanzaError::forbidden()
            .with_text("only who has said it, or a moderator, takes it back")
            .into());
    }
    Ok(Some(said))
}

/// Takes it back, once the retraction itself is in the archive: without it nobody could tell what the tombstone means
/// (XEP-0424 §5).
pub(super) fn take_back(walk: &mut Walk<'_>, said: Said) {
    let Some(name) = walk.stanza.id.clone().filter(|_| walk.has_logged()) else {
        return;
    };
    let tombstone = tombstone(&name, &walk.now.to_string());
    bury(walk, said, &tombstone);
}

// ---- by a moderator ---------------------------------------------------------------------------------

/// A moderator takes back what somebody has said.
///
/// # Errors
/// Whoever asks may not, or there is no such message.
pub(super) async fn moderate(walk: &mut Walk<'_>, payload: &Element) -> Answer {
    let (archiving, by, occupant) = moderator(walk)?;
    let request = Request::read(payload)?;
    let said = find(walk, &request.id).await?;
    let said = said.ok_or_else(StanzaError::item_not_found)?;
    let moderated = Moderated {
        by,
        occupant,
        reason: request.reason,
    };
    let name = walk.node.random_name();
    let mut told = Stanza::message(MessageType::Groupchat)
        .from(walk.home.jid.clone())
        .id(&*name)
        .with_child(&moderated.to_retract(&request.id));
    if archiving {
        let id = walk.next_archive_id();
        told.push_child(&carbons::stanza_id(&walk.home.jid, id));
        let entry = Entry {
            outgoing: false,
            offline: false,
            archive: true,
            carbon: false,
            stanza: told.encode(),
        };
        walk.append(id, &entry);
    }
    let tombstone = moderated.to_tombstone(&name, &walk.now.to_string());
    bury(walk, said, &tombstone);
    if let Some((room, out)) = walk.room_and_out() {
        broadcast::message(room, out, &told);
    }
    Ok(None)
}

type Moderator = (bool, posthaste_proto::jid::Jid, OccupantId);

/// Who asks, if it may; and whether the room has an archive.
fn moderator(walk: &Walk<'_>) -> Result<Moderator, StanzaError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let session = walk.stanza.from.as_ref().and_then(|from| from.as_full());
    let asker = session.and_then(|session| room.occupants.of(&session));
    let asker = asker.ok_or_else(not_an_occupant)?;
    if asker.role < Role::Moderator {
        return Err(
            StanzaError::forbidden().with_text("only moderators take back what others have said")
        );
    }
    let by = asker.address.clone().into();
    Ok((room.config.archiving, by, asker.id.clone()))
}
