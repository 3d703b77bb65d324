//! One stanza's way through one home: read, decide, one commit, flush.
//!
//! The steps of a [`crate::pipeline`] read the stanza and the home's state and note what is to happen; nothing leaves
//! the walk before its writes were given to the store in one batch.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_kv::{Batch, Row, Scan, Ticket, prefix_end};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::stanza::{IqType, Kind, MessageType, Stanza};
use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::codec;
use crate::config::Keep;
use crate::conversations;
use crate::copies::Xml;
use crate::error::WalkError;
use crate::ext::mam::elsewhere;
use crate::ext::muc::room::Room;
use crate::home::{Home, HomeState};
use crate::log::{ArchiveId, Entry};
use crate::node::Node;
use crate::outbox::{self, Stored};
use crate::router::Envelope;
use crate::session::{Form, Item, Pushed, Session, SessionId, What};
use crate::tables;
use crate::weight::Weight;

/// A walk in progress.
pub struct Walk<'a> {
    /// The node, for settings, clock and store.
    pub node: &'a Node,
    /// The state of the home, ours alone until the walk ends.
    pub home: &'a mut HomeState,
    /// The stanza, with `from`.
    pub stanza: Stanza,
    /// The session that sent it, in the sender's home.
    pub session: Option<SessionId>,
    /// When the walk began: one moment for all it writes.
    pub now: Timestamp,
    /// What the message is worth; set by the pipeline before anyone asks.
    pub weight: Weight,
    /// Whom this walk has let see the owner's presence.
    pub admitted: Option<BareJid>,
    place: &'a Arc<Home>,
    batch: Batch,
    logged: Option<Logged>,
    sends_message: bool,
    deliveries: SmallVec<[(Arc<Session>, Item); 4]>,
    out: Vec<Envelope>,
    /// How many of `out` were on their way before this walk.
    resent: usize,
}

/// The entry that this walk appended.
struct Logged {
    id: ArchiveId,
    waits: bool,
    archived: bool,
    outgoing: bool,
}

impl<'a> Walk<'a> {
    /// Begins a walk of `stanza` through a locked home.
    pub fn new(
        node: &'a Node,
        place: &'a Arc<Home>,
        home: &'a mut HomeState,
        stanza: Stanza,
        session: Option<SessionId>,
    ) -> Walk<'a> {
        let out = Vec::from(std::mem::take(&mut home.unsent));
        let resent = out.len();
        let batch = Batch::new(home.partition.clone());
        let (now, weight) = (node.now(), Weight::default());
        Walk {
            node,
            home,
            stanza,
            session,
            now,
            weight,
            admitted: None,
            place,
            batch,
            logged: None,
            sends_message: false,
            deliveries: SmallVec::new(),
            out,
            resent,
        }
    }

    /// Is the stanza from the owner of this home?
    pub fn is_from_owner(&self) -> bool {
        self.stanza
            .from
            .as_ref()
            .is_some_and(|from| from.to_bare() == self.home.jid)
    }

    /// The retention of this home's log.
    pub fn keep(&self) -> Keep {
        self.node
            .config()
            .host(self.home.jid.domain())
            .map_or(Keep::Forever, |host| host.keep)
    }

    /// Reads a value of this home, as it was before this walk.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, WalkError> {
        Ok(self.node.kv().get(&self.home.partition, key).await?)
    }

    /// Reads rows of this home, as they were before this walk.
    ///
    /// # Errors
    /// The store's.
    pub async fn scan(&self, scan: Scan) -> Result<Vec<Row>, WalkError> {
        Ok(self.node.kv().scan(&self.home.partition, scan).await?)
    }

    /// Writes a value with this walk's commit.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.batch.put(key, value);
    }

    /// Deletes a key with this walk's commit.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.batch.delete(key);
    }

    /// What this walk commits, for what writes several rows at once.
    pub(crate) fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Deletes every key that begins with `prefix` with this walk's commit.
    pub fn delete_prefix(&mut self, prefix: &[u8]) {
        self.batch
            .delete_range(Bytes::copy_from_slice(prefix), prefix_end(prefix));
    }

    /// The id that the next appended entry will have: it goes into the stanza before the stanza goes into the log.
    pub fn next_archive_id(&mut self) -> ArchiveId {
        self.home.delivery.next_id(self.now)
    }

    /// Appends the entry to the home's log. One walk appends one entry at most.
    pub fn append(&mut self, id: ArchiveId, entry: &Entry) {
        debug_assert!(
            self.logged.is_none(),
            "a walk is one stanza's, which is logged once"
        );
        self.batch.put(tables::log_key(id), entry.encode());
        self.logged = Some(Logged {
            id,
            waits: entry.offline && !entry.outgoing,
            archived: entry.archive,
            outgoing: entry.outgoing,
        });
        if entry.offline && !entry.archive {
            self.home.transient.push(id);
        }
        self.node.stats.log_appends.count();
    }

    /// The owner sends a message: also when it is not logged, it may say what has been seen.
    pub fn note_sent_message(&mut self) {
        self.sends_message = true;
    }

    /// Has this walk appended an entry?
    pub fn has_logged(&self) -> bool {
        self.logged.is_some()
    }

    /// The id in the archive of the entry that this walk appended.
    pub fn logged_id(&self) -> Option<ArchiveId> {
        let logged = self.logged.as_ref();
        logged
            .filter(|logged| logged.archived)
            .map(|logged| logged.id)
    }

    /// Hands something from the log to a session when the walk is flushed; its bytes are read when they are written.
    pub fn deliver_by_id(&mut self, session: &Arc<Session>, what: What) {
        let item = Item {
            what,
            xml: None,
            hold: false,
        };
        self.deliveries.push((session.clone(), item));
    }

    /// Hands the logged entry to a session when the walk is flushed.
    pub fn deliver_logged(&mut self, session: &Arc<Session>, form: Form, xml: Bytes, hold: bool) {
        let Some(logged) = &self.logged else { return };
        let what = What::Logged {
            id: logged.id,
            form,
            waits: logged.waits,
        };
        self.deliveries.push((
            session.clone(),
            Item {
                what,
                xml: Some(xml.into()),
                hold,
            },
        ));
    }

    /// Hands something that is not in the log to a session when the walk is flushed.
    pub fn deliver(&mut self, session: &Arc<Session>, what: What, xml: Bytes, hold: bool) {
        self.deliveries.push((
            session.clone(),
            Item {
                what,
                xml: Some(xml.into()),
                hold,
            },
        ));
    }

    /// Sends a stanza of this home to the home of its `to`, after the commit. If that home cannot be reached before a
    /// crash, whoever caused it will ask again.
    pub fn send(&mut self, stanza: Stanza) {
        self.out.push(Envelope::new(stanza));
    }

    /// Where the answer to the stanza belongs: before everything that is sent from now on.
    pub fn answer_place(&self) -> usize {
        self.out.len()
    }

    /// Sends the answer to the stanza before what handling it has sent.
    pub fn send_answer(&mut self, place: usize, answer: Stanza) {
        self.out
            .insert(place.min(self.out.len()), Envelope::new(answer));
    }

    /// As [`Walk::send`], for what nobody would ask for again: it is stored with this walk's commit until it arrived.
    pub fn send_stored(&mut self, stanza: Stanza) {
        let id = self.home.delivery.next_id(self.now);
        self.batch
            .put(tables::outbox_key(id), outbox::encode(&stanza));
        let stored = Some(Stored {
            partition: self.home.partition.clone(),
            id,
        });
        self.out.push(Envelope {
            stored,
            ..Envelope::new(stanza)
        });
    }

    /// Sends the stanza itself on to the home of its `to`.
    pub fn forward(&mut self) {
        self.out.push(Envelope::new(self.stanza.clone()));
    }

    /// The room of this home, and where what it sends goes. What is said to many is made here without a list of them.
    pub fn room_and_out(&mut self) -> Option<(&mut Room, &mut Vec<Envelope>)> {
        let room = self.home.room.as_deref_mut()?;
        Some((room, &mut self.out))
    }

    /// Ends the walk: commit, then flush. After a refusal or a failed commit nothing is written and nobody is told,
    /// but for the sender, whom the error reaches through the router.
    pub async fn finish(
        mut self,
        outcome: Result<(), WalkError>,
    ) -> Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)> {
        // Boxed, or every walk would carry what only one that fails takes.
        if let Err(error) = outcome {
            return Box::pin(self.fail(error)).await;
        }
        if self.home.recent.is_full()
            && let Err(error) = conversations::save(self.node, self.home).await
        {
            return Box::pin(self.fail(error)).await;
        }
        if self.batch.is_empty() {
            return Ok((Ticket::DURABLE, self.flush()));
        }
        let batch = std::mem::replace(&mut self.batch, Batch::new(self.home.partition.clone()));
        match self.node.kv().commit(batch) {
            Ok(ticket) => Ok((ticket, self.flush())),
            Err(error) => Box::pin(self.fail(error.into())).await,
        }
    }

    async fn fail(
        mut self,
        error: WalkError,
    ) -> Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)> {
        // What came to be sent again after a restart has nothing to do with this stanza.
        self.out.truncate(self.resent);
        self.home.unsent = self.out.into();
        // A room decides before it changes anything: after a refusal its memory is as the store says.
        let is_refused_by_room = self.home.room.is_some() && matches!(error, WalkError::Refused(_));
        if !is_refused_by_room && let Err(again) = self.home.reload(self.node).await {
            tracing::warn!(error = %again, "a home could not be read again after a failed walk");
        }
        Err((self.stanza, error))
    }

    /// Gives the sessions what they get. Never waits.
    fn flush(self) -> Vec<Envelope> {
        let limits = self.node.config().queue;
        let mut out = self.out;
        let mut queued: SmallVec<[SessionId; 4]> = SmallVec::new();
        for (session, item) in self.deliveries {
            let (what, xml) = (item.what, item.xml.clone());
            // In a line of its own: the guard would live as long as the match.
            let pushed = session.state().push(item, limits);
            match pushed {
                Pushed::Queued => {
                    let stats = &self.node.stats;
                    match what {
                        What::Archived { id, waits, .. } => {
                            stats.stanzas_out.count(Kind::Message(MessageType::Normal));
                            self.home.note_from_archive(session.id, id, waits);
                        }
                        _ => stats.stanzas_out.count(self.stanza.kind),
                    }
                    if let What::Logged { .. } = what {
                        queued.push(session.id);
                    }
                }
                Pushed::Lagging | Pushed::Moot => {}
                Pushed::Refused => {
                    self.node.stats.refused_by_queue.count();
                    if self.weight.result {
                        elsewhere::note_lost(&session, &self.stanza);
                    }
                    out.extend(refused_by_queue(self.node, what, xml));
                }
            }
        }
        if let Some(Logged {
            id,
            waits,
            archived,
            outgoing,
        }) = self.logged
        {
            if waits {
                self.home.delivery.appended(id, queued.len());
            }
            self.home.note_for_devices(id, self.session, &queued);
            if archived && self.home.room.is_none() {
                let HomeState { recent, jid, .. } = &mut *self.home;
                recent.note(id, &self.stanza, outgoing, self.weight.message, jid);
            }
        }
        if self.logged.is_none() && self.sends_message {
            let HomeState {
                recent,
                jid,
                delivery,
                ..
            } = &mut *self.home;
            recent.note_passing(delivery.last(), &self.stanza, self.weight.message, jid);
        }
        self.node.note_dirty(self.place, self.home);
        out
    }
}

/// A slow reader's queue has no room. The sender of a request is told; presence and typing have lost nothing that the
/// next one does not bring.
pub fn refused_by_queue(node: &Node, what: What, xml: Option<Xml>) -> Vec<Envelope> {
    let (What::Iq, Some(Xml::Own(xml))) = (what, xml) else {
        return Vec::new();
    };
    let Ok(stanza) = codec::stanza(&xml) else {
        return Vec::new();
    };
    match stanza.kind {
        Kind::Iq(IqType::Get | IqType::Set) => {
            node.refuse(&stanza, StanzaError::recipient_unavailable().into())
        }
        _ => Vec::new(),
    }
}
