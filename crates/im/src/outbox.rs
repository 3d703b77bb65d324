//! Stanzas that must reach another home even over a crash, because no client would send them again: subscription
//! changes (RFC 6121 §3). They are stored with the sender's own commit and deleted once the other home has committed;
//! what is still there after a crash is sent again when the sender's home is loaded. The receiver ignores repeats.
//! So are messages to other servers, until those have them ([`crate::border`]).

use posthaste_kv::{Batch, Kv, Pages, Partition, Scan};
use posthaste_proto::jid::BareJid;
use posthaste_proto::stanza::Stanza;

use crate::codec::{self, Reader, Writer};
use crate::error::WalkError;
use crate::log::ArchiveId;
use crate::node::Node;
use crate::router::Envelope;
use crate::tables;

const VERSION: u8 = 1;
/// Rows read at a time. How many there can be is bounded by the queues towards other servers.
const PAGE: usize = 256;
/// After a start so many homes are looked at before others have their turn.
const HOMES_PER_TURN: usize = 64;

/// Where a stored stanza lies, so that it can be deleted when it has arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    /// The sender's partition.
    pub partition: Partition,
    /// Its name there.
    pub id: ArchiveId,
}

impl Stored {
    /// The other home has committed: this one may forget. Commits of one store become durable in order, so that the
    /// deletion never survives what it relies on.
    pub fn arrived(&self, kv: &dyn Kv) -> Result<(), WalkError> {
        let mut batch = Batch::new(self.partition.clone());
        batch.delete(tables::outbox_key(self.id));
        kv.commit(batch)?;
        Ok(())
    }
}

/// The stored form of a stanza on its way.
pub fn encode(stanza: &Stanza) -> bytes::Bytes {
    let bytes = stanza.encode();
    let mut writer = Writer::new(VERSION, bytes.len());
    writer.rest(&bytes);
    writer.finish()
}

/// What was on its way when the server went down.
pub async fn load(node: &Node, partition: &Partition) -> Result<Vec<Envelope>, WalkError> {
    let mut unsent = Vec::new();
    let all = Scan::prefix(tables::OUTBOX, PAGE);
    let mut pages = Pages::new(node.kv(), partition, all);
    while let Some(rows) = pages.next().await? {
        for (key, value) in rows {
            let Some(id) = tables::key_id(tables::OUTBOX, &key) else {
                continue;
            };
            let partition = partition.clone();
            let stored = Stored { partition, id };
            // It has not been on its way since a crash, but since its sender's home was last in memory.
            if node.is_under_way(&stored) {
                continue;
            }
            let (_, reader) = Reader::open("outbox entry", value, VERSION)?;
            unsent.push(Envelope {
                stored: Some(stored),
                ..Envelope::new(codec::stanza(&reader.rest())?)
            });
        }
    }
    Ok(unsent)
}

impl Node {
    /// Once after a start: what was on its way when the server went down sets out again, without waiting until its
    /// sender comes back.
    pub async fn send_unsent(&self) {
        let mut after = None;
        loop {
            let partitions = match self.kv().partitions(after.as_ref(), HOMES_PER_TURN).await {
                Ok(partitions) => partitions,
                Err(error) => {
                    return tracing::warn!(%error, "what was on its way waits until its senders come back");
                }
            };
            for partition in &partitions {
                if let Err(error) = self.send_unsent_of(partition).await {
                    tracing::warn!(%error, "what one account had on its way waits until it comes back");
                }
            }
            after = partitions.into_iter().next_back().map(tables::beyond_files);
            if after.is_none() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn send_unsent_of(&self, partition: &Partition) -> Result<(), WalkError> {
        let Ok(jid) = BareJid::parse(partition.as_str()) else {
            return Ok(());
        };
        // Looks before it loads the home: nearly always there is nothing to do.
        let first = Scan::prefix(tables::OUTBOX, 1);
        if self.kv().scan(partition, first).await?.is_empty() {
            return Ok(());
        }
        let unsent = {
            let home = self.home(&jid);
            let mut state = home.lock(self).await?;
            std::mem::take(&mut state.unsent)
        };
        self.route(unsent.into()).await;
        Ok(())
    }
}
