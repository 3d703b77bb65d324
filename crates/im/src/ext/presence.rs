//! Who is there: broadcast, directed and probed presence (RFC 6121 §4).

use posthaste_proto::stanza::{Kind, PresenceType};

use crate::catch_up;
use crate::error::WalkError;
use crate::home::Available;
use crate::walk::Walk;

/// At the sender's home.
pub async fn sent(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let Some(id) = walk.session else {
        return Ok(());
    };
    if walk.stanza.to.is_some() {
        walk.forward();
        return Ok(());
    }
    let (since, stanza) = (walk.now, walk.stanza.encode());
    let available = walk.stanza.kind == Kind::Presence(PresenceType::Available);
    let Some(attendee) = walk.home.attendee_mut(id) else {
        return Ok(());
    };
    attendee.available = available.then(|| {
        Box::new(Available {
            priority: 0,
            since,
            stanza,
        })
    });
    if attendee.takes_messages() {
        let session = attendee.session.clone();
        catch_up::begin(walk.home, &session);
    }
    Ok(())
}

/// At the recipient's home.
pub async fn received(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let _ = walk;
    Ok(())
}

/// The session has ended without saying so.
pub async fn session_ended(walk: &mut Walk<'_>) -> Result<(), WalkError> {
    let _ = walk;
    Ok(())
}
