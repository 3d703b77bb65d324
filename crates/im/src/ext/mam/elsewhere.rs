//! Archives that are not the account's own, such as rooms': their results come as messages from elsewhere.
//!
//! They are for the resource that asked, and for nothing else ([`crate::weight::Weight::result`]). They cannot be read
//! again from this home's log, so that a full queue takes no more of them. Then the answer must not end as if all had
//! come: the client is told to ask again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use posthaste_proto::jid::Jid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, Stanza};

use crate::session::Session;

/// A result found no room in the session's queue.
pub fn note_lost(session: &Session, result: &Stanza) {
    if let Some(archive) = name(result.from.as_ref()) {
        session.state().lose_result(archive);
    }
}

/// What a session gets for the end of an answer: an error, if results of it were lost.
pub fn end_of_answer(session: &Arc<Session>, iq: &Stanza) -> Option<Stanza> {
    let is_end = match iq.kind {
        Kind::Iq(IqType::Result) => iq.has("fin", ns::MAM),
        // Whatever the question was: it has no answer that could be incomplete.
        Kind::Iq(IqType::Error) => true,
        _ => false,
    };
    if !is_end || !session.state().take_lost_result(name(iq.from.as_ref())?) {
        return None;
    }
    let mut failed = iq.clone();
    failed.kind = Kind::Iq(IqType::Error);
    failed.remove_children(|_| true);
    failed.push_child(&super::busy().to_element());
    Some(failed)
}

fn name(archive: Option<&Jid>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    archive?.bare_str().hash(&mut hasher);
    Some(hasher.finish())
}
