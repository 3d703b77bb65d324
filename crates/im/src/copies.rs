//! One stanza for many sessions: all share one body, and each is given its own address when it is written.
//!
//! What a room says goes to every occupant. A copy for each would cost the stanza's length in memory and in copying as
//! often as there are occupants, for bytes that differ in one attribute.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_kv::Ticket;
use posthaste_proto::jid::{BareJid, FullJid, Jid};
use posthaste_proto::stanza::{Kind, PresenceType, Stanza};
use posthaste_proto::xml::escape_attr;

use crate::codec;
use crate::ext::{groups, presence};
use crate::home::HomeState;
use crate::log::ArchiveId;
use crate::node::Node;
use crate::pipeline;
use crate::router::{Envelope, Many};
use crate::session::{Item, Pushed, Session, What};
use crate::weight::{Way, weigh};

/// After so many copies other tasks get a turn. A copy is about a microsecond's work, and a worker keeps so many woken
/// sessions in its own queue.
const COPIES_PER_TURN: usize = 128;

/// The occupants of so many full rooms may be in the queue of one session that enters them and does not read.
const CROWDS: usize = 4;

/// A stanza without `to`, shared by all that it is for.
#[derive(Debug)]
pub struct Shared {
    xml: Bytes,
    /// Where the address goes: behind the sender's, as in any other stanza.
    to_at: usize,
}

impl Shared {
    /// Encodes a stanza without its address.
    pub fn new(mut stanza: Stanza) -> Arc<Shared> {
        stanza.to = None;
        let mut head = format!("<{}", stanza.kind.name()).into_bytes();
        if let Some(from) = &stanza.from {
            write_address(&mut head, "from", from.as_str());
        }
        let xml = stanza.encode();
        debug_assert!(xml.starts_with(&head), "the sender comes first");
        Arc::new(Shared {
            xml,
            to_at: head.len(),
        })
    }

    /// Appends the stanza as `to` gets it.
    pub fn write(&self, to: &FullJid, out: &mut Vec<u8>) {
        let (head, rest) = self.xml.split_at(self.to_at);
        out.reserve(self.xml.len() + to.as_str().len() + " to=''".len());
        out.extend_from_slice(head);
        write_address(out, "to", to.as_str());
        out.extend_from_slice(rest);
    }
}

fn write_address(out: &mut Vec<u8>, name: &str, address: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attr(out, address);
    out.push(b'\'');
}

/// The bytes of a stanza in a session's queue.
#[derive(Clone, Debug)]
pub enum Xml {
    /// This session's alone.
    Own(Bytes),
    /// One of many copies, which is addressed to the session when it is written.
    Shared(Arc<Shared>),
}

impl Xml {
    /// Its length, as it counts against a queue's bound: a shared one as if it were the session's own, since a slow
    /// reader may be the last to hold it.
    pub fn len(&self) -> usize {
        match self {
            Xml::Own(xml) => xml.len(),
            Xml::Shared(shared) => shared.xml.len(),
        }
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stanza as the session `to` gets it.
    pub fn whole(&self, to: &FullJid) -> Bytes {
        match self {
            Xml::Own(xml) => xml.clone(),
            Xml::Shared(shared) => {
                let mut out = Vec::new();
                shared.write(to, &mut out);
                out.into()
            }
        }
    }
}

impl From<Bytes> for Xml {
    fn from(xml: Bytes) -> Xml {
        Xml::Own(xml)
    }
}

/// What all copies have in common, decided once.
struct Copies {
    kind: Kind,
    from: Jid,
    shared: Arc<Shared>,
    what: What,
    /// Which group it was said in, and its place there.
    said: Option<(BareJid, ArchiveId)>,
    hold: bool,
    /// Is somebody to be woken for it who is not looking?
    push: bool,
}

impl Copies {
    /// `None` if each home has to look at it itself: it goes into logs, is copied to other devices or changes something.
    fn of(stanza: &Stanza) -> Option<Copies> {
        let from = stanza.from.clone()?;
        let (what, hold, push) = match stanza.kind {
            Kind::Message(_) if pipeline::may_be_forged(stanza, &from) => return None,
            Kind::Message(kind) => {
                let weight = weigh(stanza, Way::Received);
                if weight.is_logged() || weight.carbon {
                    return None;
                }
                let what = pipeline::passing(stanza, kind);
                (what, weight.hold, weight.push)
            }
            Kind::Presence(PresenceType::Available | PresenceType::Unavailable) => {
                let hold = presence::may_be_held(stanza);
                (presence::presence_of(&from), hold, false)
            }
            Kind::Presence(_) | Kind::Iq(_) => return None,
        };
        Some(Copies {
            shared: Shared::new(stanza.clone()),
            kind: stanza.kind,
            from,
            said: groups::position(stanza),
            what,
            hold,
            push,
        })
    }

    /// Gives a session its copy if nothing in its home wants to know more of it than that. Answers whether it was done:
    /// if not, the stanza takes the whole road ([`pipeline::received`]), which comes to the same or to more.
    fn hand_over(&self, node: &Node, home: &HomeState, to: &FullJid, asleep: &mut Asleep) -> bool {
        let is_plain = home.has_account
            && home.unsent.is_empty()
            // It learns from what comes back from a group where in it its file is.
            && (self.said.is_none() || home.awaits_echo == 0)
            && !home.blocked.holds(&self.from)
            && (!self.push || home.push.is_empty());
        let Some(attendee) = home.resource(to.resource()).filter(|_| is_plain) else {
            return false;
        };
        let mut session = attendee.session.state();
        let said = self.said.as_ref().map(|(room, id)| session.said(room, *id));
        let item = Item {
            what: said.unwrap_or(self.what),
            xml: Some(Xml::Shared(self.shared.clone())),
            hold: self.hold,
        };
        let pushed = session.push_asleep(item, node.config().queue);
        if session.waker.is_some() {
            asleep.0.push(attendee.session.clone());
        }
        match pushed {
            Pushed::Queued => node.stats.stanzas_out.count(self.kind),
            // A slow reader loses it, and nobody else does: it is in the room's archive.
            Pushed::Refused => node.stats.refused_by_queue.count(),
            Pushed::Lagging | Pushed::Moot => {}
        }
        true
    }
}

/// Sessions that have got copies and whose connections do not know it yet. They are woken when what a room has said has
/// been brought to everybody, and whoever waited to say something in it has had a turn to bring that too: when a room is
/// busy each connection writes several copies at a time, which is most of what a copy costs.
#[derive(Debug, Default)]
pub(crate) struct Asleep(Vec<Arc<Session>>);

impl Asleep {
    /// Lets others have their turn, then wakes all.
    pub(crate) async fn wake(mut self) {
        if self.0.is_empty() {
            return;
        }
        tokio::task::yield_now().await;
        while !self.0.is_empty() {
            let rest = self.0.len().saturating_sub(COPIES_PER_TURN);
            let woken = self.0.drain(rest..);
            woken.for_each(|session| session.state().wake());
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Asleep {
    /// Whoever brought the copies came to no end: what is in a queue is written all the same.
    fn drop(&mut self) {
        let left = self.0.drain(..);
        left.for_each(|session| session.state().wake());
    }
}

impl Node {
    /// Brings what is many stanzas. Only homes of accounts are entered; what is for others is answered, to be routed.
    pub(crate) async fn bring_many(
        &self,
        stanza: Stanza,
        many: Many,
        asleep: &mut Asleep,
    ) -> (Ticket, Vec<Envelope>) {
        match many {
            Many::Sessions(to) => self.bring_copies(stanza, &to, asleep).await,
            Many::Crowd(to, crowd) => self.bring_crowd(&stanza, &to, &crowd).await,
        }
    }

    /// Brings many presences to one session, entering its home once.
    async fn bring_crowd(
        &self,
        label: &Stanza,
        to: &FullJid,
        crowd: &[Arc<Shared>],
    ) -> (Ticket, Vec<Envelope>) {
        if self.is_local(to) {
            if let Some(home) = self.home_of(to)
                && let Ok(state) = home.lock(self).await
                && let Some(attendee) = state.resource(to.resource())
                && !label
                    .from
                    .as_ref()
                    .is_some_and(|it| state.blocked.holds(it))
            {
                let config = self.config();
                let most = CROWDS * config.rooms.occupants;
                let mut session = attendee.session.state();
                match session.push_crowd(crowd, most, config.queue) {
                    true => self.stats.stanzas_out.presence.add(crowd.len() as u64),
                    // It enters more rooms than it reads.
                    false => self.stats.refused_by_queue.add(crowd.len() as u64),
                }
            }
            return (Ticket::DURABLE, Vec::new());
        }
        let mut caused = Vec::new();
        for shared in crowd {
            if let Ok(stanza) = codec::stanza(&shared.xml) {
                let single = Envelope::new(stanza.to(to.clone()));
                caused.extend(self.bring_to_account(single).await.1);
            }
        }
        (Ticket::DURABLE, caused)
    }

    /// Brings one stanza to many sessions, one after another. Memory is taken for one body, whatever their number.
    async fn bring_copies(
        &self,
        stanza: Stanza,
        to: &[FullJid],
        asleep: &mut Asleep,
    ) -> (Ticket, Vec<Envelope>) {
        let (mut covering, mut caused) = (Ticket::DURABLE, Vec::new());
        let copies = Copies::of(&stanza);
        for (count, to) in to.iter().enumerate() {
            if count % COPIES_PER_TURN == COPIES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            if let Some(copies) = &copies
                && self.hand_over(copies, to, asleep).await
            {
                continue;
            }
            let single = Envelope::new(stanza.clone().to(to.clone()));
            let (ticket, more) = self.bring_to_account(single).await;
            covering = covering.max(ticket);
            caused.extend(more);
        }
        (covering, caused)
    }

    /// Is it a session of an account of ours?
    fn is_local(&self, to: &FullJid) -> bool {
        to.local().is_some() && self.config().host(to.domain()).is_some()
    }

    async fn hand_over(&self, copies: &Copies, to: &FullJid, asleep: &mut Asleep) -> bool {
        if !self.is_local(to) {
            return false;
        }
        // Who is in a room has a home in memory; if not, the whole road loads it.
        let Some(home) = self.home_of(to) else {
            return false;
        };
        match home.lock(self).await {
            Ok(state) => copies.hand_over(self, &state, to, asleep),
            // The whole road says what is wrong.
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_proto::stanza::StreamContext;
    use posthaste_proto::xml::Limits;

    #[test]
    fn a_copy_is_what_the_stanza_to_that_session_alone_would_be() {
        let to = FullJid::parse("hag66@shakespeare.lit/o'pan & co").unwrap();
        for xml in [
            "<message from='coven@c/it&apos;s me' id='1' type='groupchat'><body>Thrice</body></message>",
            "<presence from='coven@c/me' xml:lang='en'/>",
            "<message><body>from nobody</body></message>",
        ] {
            let context = StreamContext::client();
            let stanza = Stanza::parse(xml.as_bytes(), &Limits::default(), &context).unwrap();
            let copy = Xml::Shared(Shared::new(stanza.clone())).whole(&to);
            assert_eq!(copy, stanza.to(to.clone()).encode());
        }
    }

    #[test]
    fn a_place_in_a_queue_stays_small() {
        assert!(size_of::<Item>() <= 72);
    }
}
