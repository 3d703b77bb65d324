//! Stanzas that must reach another home even over a crash, because no client would send them again: subscription
//! changes (RFC 6121 §3). They are stored with the sender's own commit and deleted once the other home has committed;
//! what is still there after a crash is sent again when the sender's home is loaded. The receiver ignores repeats.

use posthaste_kv::{Batch, Kv, Partition, Scan};
use posthaste_proto::stanza::Stanza;

use crate::codec::{self, Reader, Writer};
use crate::error::WalkError;
use crate::log::ArchiveId;
use crate::router::Envelope;
use crate::tables;

const VERSION: u8 = 1;
/// How many unsent stanzas a home takes up again at a time; more than a person makes in a crash's moment.
const MOST: usize = 1000;

/// Where a stored stanza lies, so that it can be deleted when it has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub async fn load(kv: &dyn Kv, partition: &Partition) -> Result<Vec<Envelope>, WalkError> {
    let rows = kv
        .scan(partition, Scan::prefix(tables::OUTBOX, MOST))
        .await?;
    let mut unsent = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let (_, reader) = Reader::open("outbox entry", value, VERSION)?;
        let Some(id) = tables::key_id(tables::OUTBOX, &key) else {
            continue;
        };
        let stanza = codec::stanza(&reader.rest())?;
        unsent.push(Envelope {
            stanza,
            hops: 0,
            stored: Some(Stored {
                partition: partition.clone(),
                id,
            }),
        });
    }
    Ok(unsent)
}
