//! What a message is worth, decided once, in one pure function.
//!
//! Every step that asks "is this important?" (archive, offline storage, carbons, client state, push) reads the
//! [`Weight`] of the walk, so that they never disagree.

use posthaste_proto::ns;
use posthaste_proto::stanza::{Kind, MessageType, Stanza};

/// What a message is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Weight {
    /// It belongs into the history of both sides (XEP-0313 §5.1.1).
    pub archive: bool,
    /// It waits in the log for a recipient that is away (XEP-0160, XEP-0334).
    pub offline: bool,
    /// Other devices of the same person get a copy (XEP-0280 §6).
    pub carbon: bool,
    /// It may be held back while the client says that nobody looks at it (XEP-0352).
    pub hold: bool,
}

impl Weight {
    /// Does it have to go through the log at all?
    pub fn is_logged(self) -> bool {
        self.archive || self.offline
    }
}

/// Weighs a message by its type, its payloads and its processing hints.
///
/// - XEP-0160 §3: `groupchat`, `headline` and `error` messages do not wait for an absent recipient; `normal` and
///   `chat` do, unless a chat message holds nothing but a chat state.
/// - XEP-0334 §4: `no-store` keeps a message out of the log, `no-permanent-store` out of the archive only,
///   `store` puts it in, `no-copy` (and XEP-0280's `private`) keeps it from other devices.
/// - Receipts (XEP-0184) and markers (XEP-0333) wait like messages: they are what the other side's check marks are made of.
pub fn weigh(stanza: &Stanza) -> Weight {
    let Kind::Message(kind) = stanza.kind else {
        return Weight::default();
    };
    let mut content = Content::default();
    for child in stanza.children() {
        content.see(child.ns, child.name);
    }
    let waits = match kind {
        MessageType::Normal | MessageType::Chat => content.is_lasting || content.store,
        MessageType::Groupchat | MessageType::Headline | MessageType::Error => false,
    };
    Weight {
        archive: waits && !content.no_store && !content.no_permanent_store,
        offline: waits && !content.no_store,
        carbon: content.may_be_copied(kind),
        hold: !content.is_lasting,
    }
}

/// What a message's children say of it.
#[derive(Default)]
struct Content {
    /// Something that still means something tomorrow.
    is_lasting: bool,
    no_store: bool,
    no_permanent_store: bool,
    store: bool,
    private: bool,
    is_muc: bool,
}

impl Content {
    fn see(&mut self, namespace: &str, name: &str) {
        match (namespace, name) {
            (ns::HINTS, "no-store") => self.no_store = true,
            (ns::HINTS, "no-permanent-store") => self.no_permanent_store = true,
            (ns::HINTS, "store") => self.store = true,
            (ns::HINTS, "no-copy") | (ns::CARBONS, "private") => self.private = true,
            // XEP-0280 §6.1: what a room sends to its occupant is copied by nobody but the room.
            (ns::MUC_USER, "x") => {
                self.is_muc = true;
                self.is_lasting = true;
            }
            // These accompany something or die with the moment.
            (ns::HINTS | ns::CHAT_STATES | ns::STANZA_ID | ns::DELAY, _)
            | (ns::CLIENT, "thread") => {}
            _ => self.is_lasting = true,
        }
    }

    /// XEP-0280 §6.1: chat messages, normal messages with something in them, and errors for them.
    fn may_be_copied(&self, kind: MessageType) -> bool {
        if self.private || self.is_muc {
            return false;
        }
        match kind {
            MessageType::Chat => true,
            MessageType::Normal => self.is_lasting,
            MessageType::Groupchat | MessageType::Headline | MessageType::Error => false,
        }
    }
}
