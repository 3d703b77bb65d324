//! What a message is worth, decided once, in one pure function.
//!
//! Every step that asks "is this important?" (archive, offline storage, carbons, client state, push) reads the
//! [`Weight`] of the walk, so that they never disagree.

use posthaste_proto::ns;
use posthaste_proto::stanza::{ChildRef, Kind, MessageType, Stanza};

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
    /// A person wants to be told of it now, also when the device sleeps (XEP-0357).
    pub push: bool,
    /// It is something said, so that it counts as unread until it has been seen (XEP-0430 §4). What only changes or
    /// answers something said (a receipt, a marker, a reaction, a correction, a retraction) is not.
    pub message: bool,
    /// It is a piece of an archive (XEP-0313) for the one resource that has asked for it: it is worth nothing else, and
    /// nothing to anybody else.
    pub result: bool,
}

impl Weight {
    /// Does it have to go through the log at all?
    pub fn is_logged(self) -> bool {
        self.archive || self.offline
    }
}

/// Which side of a message's road is being weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At the sender's home.
    Sent,
    /// At the recipient's home.
    Received,
}

/// Weighs a message by its type, its payloads and its processing hints.
///
/// - XEP-0160 §3: `groupchat`, `headline` and `error` messages do not wait for an absent recipient; `normal` and
///   `chat` do, unless a chat message holds nothing but a chat state.
/// - XEP-0334 §4: `no-store` keeps a message out of the log, `no-permanent-store` out of the archive only,
///   `store` puts it in, `no-copy` (and XEP-0280's `private`) keeps it from other devices.
/// - Reactions (XEP-0444), corrections (XEP-0308) and retractions (XEP-0424) are archived and copied like messages, but
///   nobody is told of them as of something new.
/// - Receipts (XEP-0184) and markers (XEP-0333) wait like messages: they are what the other side's check marks are made of.
pub fn weigh(stanza: &Stanza, way: Way) -> Weight {
    let Kind::Message(kind) = stanza.kind else {
        return Weight::default();
    };
    let mut content = Content::default();
    for child in stanza.children() {
        content.see(&child);
    }
    if content.is_result {
        return Weight {
            result: true,
            ..Weight::default()
        };
    }
    let waits = match kind {
        MessageType::Normal | MessageType::Chat => content.is_lasting || content.store,
        MessageType::Groupchat | MessageType::Headline | MessageType::Error => false,
    };
    let offline = waits && !content.no_store;
    Weight {
        archive: offline && !content.no_permanent_store,
        offline,
        carbon: content.may_be_copied(kind, way),
        // What was asked to be stored is worth being shown.
        hold: (!content.is_lasting && !offline) || content.is_notice(kind),
        // A room keeps its own history: what its occupant missed it can have later.
        push: content.is_for_a_person() && (offline || kind == MessageType::Groupchat),
        message: waits && content.is_said(),
        result: false,
    }
}

/// Weighs what is said to a room (XEP-0045 §7.4): what still means something tomorrow is in its history, unless the hints
/// (XEP-0334) say otherwise. Who is told of it is the recipients' homes' to say.
pub fn weigh_in_room(stanza: &Stanza) -> Weight {
    let mut content = Content::default();
    for child in stanza.children() {
        content.see(&child);
    }
    let is_kept = !content.no_store && !content.no_permanent_store;
    Weight {
        archive: (content.is_lasting || content.store) && is_kept,
        message: content.is_said(),
        ..Weight::default()
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
    has_body: bool,
    /// Something that only instant messaging has: a receipt, a marker, a chat state.
    is_im: bool,
    is_muc: bool,
    is_invitation: bool,
    /// Encrypted content: without it, OMEMO only passes keys on.
    is_encrypted: bool,
    /// It tells of a node (XEP-0060).
    is_event: bool,
    /// Somebody calls (XEP-0353).
    is_call: bool,
    /// A file, or a link to one.
    is_file: bool,
    /// Something that changes or answers a message that was said before; its body is for clients that do not know it.
    is_about_another: bool,
    /// What a query of an archive has found.
    is_result: bool,
}

impl Content {
    fn see(&mut self, child: &ChildRef<'_>) {
        match (child.ns, child.name) {
            (ns::HINTS, "no-store") => self.no_store = true,
            (ns::HINTS, "no-permanent-store") => self.no_permanent_store = true,
            (ns::HINTS, "store") => self.store = true,
            (ns::HINTS, "no-copy") | (ns::CARBONS, "private") => self.private = true,
            (ns::CHAT_STATES, _) => self.is_im = true,
            // These accompany something or die with the moment.
            (ns::HINTS | ns::STANZA_ID | ns::DELAY | ns::NICK, _) | (ns::CLIENT, "thread") => {}
            _ => self.see_lasting(child),
        }
    }

    fn see_lasting(&mut self, child: &ChildRef<'_>) {
        self.is_lasting = true;
        match (child.ns, child.name) {
            (ns::CLIENT, "body") => self.has_body = true,
            (ns::OOB, "x") | (ns::FILE_SHARING, "file-sharing") => self.is_file = true,
            (ns::REACTIONS, "reactions")
            | (ns::CORRECTION, "replace")
            | (ns::RETRACT, "retract") => self.is_about_another = true,
            (ns::RECEIPTS | ns::MARKERS, _) => self.is_im = true,
            (ns::CONFERENCE, "x") => self.is_invitation = true,
            (ns::PUBSUB_EVENT, "event") => self.is_event = true,
            (ns::OMEMO | ns::OMEMO_LEGACY, "encrypted") => {
                let encrypted = child.to_element();
                self.is_encrypted |=
                    encrypted.is_ok_and(|e| e.child("payload", child.ns).is_some());
            }
            (ns::MAM, "result") => self.is_result = true,
            (ns::OPENPGP, "openpgp") => self.is_encrypted = true,
            (ns::JINGLE_MESSAGE, "propose") => self.is_call = true,
            (ns::MUC_USER, "x") => {
                self.is_muc = true;
                let x = child.to_element();
                self.is_invitation |= x.is_ok_and(|x| x.child("invite", ns::MUC_USER).is_some());
            }
            _ => {}
        }
    }

    /// Something that a person wrote, or a call.
    fn is_for_a_person(&self) -> bool {
        self.is_said() || self.is_call
    }

    /// What a contact listens to, or which keys it has (XEP-0163), is nothing to wake a phone for: it is known in time if
    /// it comes with the next message.
    fn is_notice(&self, kind: MessageType) -> bool {
        kind == MessageType::Headline && self.is_event && !self.has_body
    }

    /// Not a receipt, a marker, a reaction or keys: something new to read, hear or see.
    fn is_said(&self) -> bool {
        let is_content = self.has_body || self.is_encrypted || self.is_file;
        (is_content || self.is_invitation) && !self.is_about_another
    }

    /// The rules of XEP-0280 §6.1.
    fn may_be_copied(&self, kind: MessageType, way: Way) -> bool {
        if self.private || kind == MessageType::Groupchat {
            return false;
        }
        if self.is_invitation {
            return true;
        }
        // What a room sends to its occupant is copied by nobody but the room.
        if self.is_muc && way == Way::Received {
            return false;
        }
        match kind {
            // An error answers a message that other devices may have shown as sent; which one it was is not recorded,
            // and groupchat, the only kind that would not have been copied to them, goes to rooms.
            MessageType::Chat | MessageType::Error => true,
            MessageType::Normal => self.has_body || self.is_im,
            MessageType::Headline => self.is_im,
            MessageType::Groupchat => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_proto::xml::{Limits, StreamContext};

    const BODY: &str = "<body>hi</body>";
    const STATE: &str = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    const RECEIPT: &str = "<received xmlns='urn:xmpp:receipts' id='1'/>";
    const MARKER: &str = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
    const NO_STORE: &str = "<no-store xmlns='urn:xmpp:hints'/>";
    const NO_PERMANENT: &str = "<no-permanent-store xmlns='urn:xmpp:hints'/>";
    const STORE: &str = "<store xmlns='urn:xmpp:hints'/>";
    const NO_COPY: &str = "<no-copy xmlns='urn:xmpp:hints'/>";
    const PRIVATE: &str = "<private xmlns='urn:xmpp:carbons:2'/>";
    const ROOM: &str = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
    const MEDIATED: &str =
        "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>";
    const DIRECT: &str = "<x xmlns='jabber:x:conference' jid='room@b'/>";
    const OMEMO_MESSAGE: &str = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>x</payload></encrypted>";
    const OMEMO_KEYS: &str =
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>";
    const OMEMO_2: &str =
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><payload>x</payload></encrypted>";
    const CALL: &str = "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>";
    const CALL_OVER: &str = "<retract xmlns='urn:xmpp:jingle-message:0' id='c'/>";
    const REACTION: &str = "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>";
    const REPLY: &str = "<reply xmlns='urn:xmpp:reply:0' to='a@b' id='1'/>";
    const CORRECTION: &str = "<replace xmlns='urn:xmpp:message-correct:0' id='1'/>";
    const RETRACTION: &str = "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>";
    const OOB: &str = "<x xmlns='jabber:x:oob'><url>https://a/b.jpg</url></x>";
    const FILE: &str = "<file-sharing xmlns='urn:xmpp:sfs:0'/>";
    const FALLBACK: &str = "<fallback xmlns='urn:xmpp:fallback:0'/>";
    const RESULT: &str = "<result xmlns='urn:xmpp:mam:2' id='1'/>";
    const EVENT: &str = "<event xmlns='http://jabber.org/protocol/pubsub#event'/>";

    /// The letters of what a message is worth: archive, offline, carbon, hold, push, message, result.
    fn worth(kind: &str, content: &[&str], way: Way) -> String {
        let xml = format!("<message type='{kind}'>{}</message>", content.concat());
        let stanza = Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client());
        let Weight {
            archive,
            offline,
            carbon,
            hold,
            push,
            message,
            result,
        } = weigh(&stanza.unwrap(), way);
        let letters = [
            (archive, 'a'),
            (offline, 'o'),
            (carbon, 'c'),
            (hold, 'h'),
            (push, 'p'),
            (message, 'm'),
            (result, 'r'),
        ];
        letters
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, letter)| letter)
            .collect()
    }

    #[test]
    fn messages_are_worth_what_the_specifications_say() {
        for (kind, content, expected) in [
            ("chat", &[BODY][..], "aocpm"),
            ("chat", &[], "ch"),
            ("chat", &[STATE], "ch"),
            ("chat", &[BODY, STATE], "aocpm"),
            ("chat", &[RECEIPT], "aoc"),
            ("chat", &[MARKER], "aoc"),
            ("chat", &[MARKER, NO_STORE], "c"),
            ("chat", &[BODY, NO_STORE], "cm"),
            ("chat", &[BODY, NO_PERMANENT], "ocpm"),
            ("chat", &[STATE, STORE], "aoc"),
            ("chat", &[BODY, NO_COPY], "aopm"),
            ("chat", &[BODY, PRIVATE], "aopm"),
            ("normal", &[BODY], "aocpm"),
            ("normal", &[STATE], "ch"),
            ("normal", &[RECEIPT], "aoc"),
            ("normal", &[EVENT], "ao"),
            ("normal", &[DIRECT], "aocpm"),
            ("normal", &[MEDIATED], "aocpm"),
            ("chat", &[OMEMO_MESSAGE, STORE], "aocpm"),
            ("chat", &[OMEMO_KEYS, STORE], "aoc"),
            ("chat", &[OMEMO_2], "aocpm"),
            ("chat", &[CALL, STORE], "aocp"),
            ("chat", &[CALL_OVER, STORE], "aoc"),
            ("chat", &[OOB], "aocpm"),
            ("chat", &[FILE], "aocpm"),
            ("chat", &[BODY, REPLY, FALLBACK], "aocpm"),
            ("chat", &[REACTION], "aoc"),
            ("chat", &[REACTION, STORE], "aoc"),
            ("chat", &[REACTION, BODY, FALLBACK], "aoc"),
            ("chat", &[CORRECTION, BODY], "aoc"),
            ("chat", &[RETRACTION, FALLBACK, BODY, STORE], "aoc"),
            ("headline", &[BODY], ""),
            ("headline", &[EVENT], "h"),
            ("headline", &[EVENT, BODY], ""),
            ("groupchat", &[BODY], "p"),
            ("groupchat", &[STATE], "h"),
            ("error", &[BODY, "<error type='cancel'/>"], "c"),
            ("normal", &[RESULT], "r"),
            ("chat", &[RESULT, BODY, STORE], "r"),
        ] {
            assert_eq!(
                worth(kind, content, Way::Received),
                expected,
                "{kind} {content:?}"
            );
            assert_eq!(
                worth(kind, content, Way::Sent),
                expected,
                "{kind} {content:?}, sent"
            );
        }
    }

    #[test]
    fn private_messages_in_rooms_are_copied_on_the_way_out_only() {
        assert_eq!(worth("chat", &[BODY, ROOM], Way::Sent), "aocpm");
        assert_eq!(worth("chat", &[BODY, ROOM], Way::Received), "aopm");
    }
}
