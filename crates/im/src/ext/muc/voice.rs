//! Voice: a visitor asks to be heard, the moderators are asked, one of them answers (§7.13, §8.6).

use posthaste_proto::error::{ErrorType, StanzaError};
use posthaste_proto::jid::FullJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{MessageType, Stanza};
use posthaste_proto::xep::data_form::DataForm;
use posthaste_proto::xep::muc::Role;
use posthaste_proto::xep::muc::admin::{Change, What};
use posthaste_proto::xep::muc::voice::{self, Answer, Voice};

use super::{admin, broadcast, not_an_occupant};
use crate::error::WalkError;
use crate::walk::Walk;

/// What a message to the room says of voice, if it does.
pub(super) fn of(stanza: &Stanza) -> Option<Voice> {
    let form = stanza.child("x", ns::DATA_FORMS)?.to_element().ok()?;
    Voice::read(&DataForm::read(&form)?)
}

/// Somebody asks or answers.
pub(super) fn handle(walk: &mut Walk<'_>, from: &FullJid, voice: Voice) -> Result<(), WalkError> {
    match voice {
        Voice::Request => ask(walk, from),
        Voice::Answer(answer) => hear(walk, &answer),
    }
}

fn ask(walk: &mut Walk<'_>, from: &FullJid) -> Result<(), WalkError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let visitor = room.occupants.of(from).ok_or_else(not_an_occupant)?;
    if visitor.role != Role::Visitor {
        return Err(StanzaError::not_allowed()
            .with_text("you may speak already")
            .into());
    }
    if !room.config.voice_requests {
        return Err(StanzaError::forbidden()
            .with_text("nobody asks for voice in this room")
            .into());
    }
    let seconds = room.config.voice_request_seconds;
    let nick = visitor.nick().to_owned();
    let pause = u64::from(room.config.voice_request_seconds) * 1000;
    let now = walk.now;
    let asked = walk.home.room.as_deref_mut().map(|room| &mut room.asked);
    let taken = asked.map(|asked| asked.take(from.to_bare(), pause, now));
    if taken.is_some_and(|taken| taken.is_err()) {
        let mut error = StanzaError::policy_violation().with_text("you have asked a while ago");
        error.kind = ErrorType::Wait;
        return Err(error.into());
    }
    let question = Stanza::message(MessageType::Normal)
        .from(walk.home.jid.clone())
        .id(walk.node.random_name())
        .with_child(&voice::question(from, &nick).to_element());
    let now = walk.now;
    if let Some((room, out)) = walk.room_and_out() {
        room.paces.ask_for_voice(&from.to_bare(), now, seconds)?;
        broadcast::to_moderators(room, out, &question);
    }
    Ok(())
}

fn hear(walk: &mut Walk<'_>, answer: &Answer) -> Result<(), WalkError> {
    let room = walk.home.room.as_deref();
    let room = room.ok_or_else(StanzaError::item_not_found)?;
    let requester = admin::Requester::of(walk, room)?;
    if !answer.allow {
        return Ok(());
    }
    let asked = room.occupants.of(&answer.jid);
    let visitor = asked.filter(|there| there.nick() == answer.nick.as_str());
    // Somebody else may go by that name now.
    let visitor = visitor.ok_or_else(StanzaError::item_not_found)?;
    if visitor.role != Role::Visitor {
        // Another moderator was faster.
        return Ok(());
    }
    let change = Change {
        what: What::Role {
            nick: answer.nick.clone(),
            role: Role::Participant,
        },
        reason: None,
    };
    admin::make(walk, &requester, vec![change])
}
