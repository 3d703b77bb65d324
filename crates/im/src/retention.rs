//! How long messages stay: entries that have been delivered leave the log when the operator's setting says so.
//!
//! Homes in use are tidied when their cursor is saved. Homes that nobody uses are visited by a slow round over the
//! store, a few each second, so that it is not felt by live traffic.

use posthaste_kv::{Batch, Partition, Scan, prefix_end};
use posthaste_proto::jid::BareJid;

use crate::clock::Timestamp;
use crate::config::Keep;
use crate::conversations::{self, Covered};
use crate::devices;
use crate::error::WalkError;
use crate::ext::muc::{expiry, room};
use crate::home::HomeState;
use crate::log::ArchiveId;
use crate::node::Node;
use crate::tables;

/// Homes visited in one second: a million accounts take eight hours, in which nothing gets much older.
const VISITS_PER_ROUND: usize = 32;

/// The index of conversations is cleared of what the log has dropped once so much has gathered: a day. Until then it is
/// not in the way, since no query looks for what is older than the log.
const PRUNE_MILLIS: u64 = 86_400_000;

/// The round's place in the store: the last partition visited.
#[derive(Debug, Default)]
pub struct Round(Option<Partition>);

/// Deletes what has been delivered and need not stay.
pub fn drop_old(node: &Node, state: &mut HomeState, upto: ArchiveId, batch: &mut Batch) {
    if let Some(old) = horizon(node, state.jid.domain()).map(|horizon| horizon.min(upto)) {
        let next = ArchiveId(old.0 + 1);
        if next > state.kept_from {
            batch.delete_range(tables::log_key(state.kept_from), tables::log_key(next));
            state.kept_from = next;
            state.recent.forget(old);
        }
    }
    state.transient.retain(|id| {
        if *id <= upto {
            batch.delete(tables::log_key(*id));
        }
        *id > upto
    });
}

/// Up to where entries may go, if they have been delivered. What has not been delivered stays, however old.
fn horizon(node: &Node, domain: &str) -> Option<ArchiveId> {
    match node.config().host(domain)?.keep {
        Keep::Forever => None,
        Keep::Delivered => Some(ArchiveId(u64::MAX - 1)),
        Keep::Days(days) => {
            let oldest = node
                .now()
                .millis()
                .saturating_sub(u64::from(days) * 86_400_000);
            Some(ArchiveId::after(ArchiveId(0), Timestamp(oldest)))
        }
    }
}

impl Node {
    /// Visits the next few homes of the store and drops what is too old there.
    pub async fn visit_old_homes(&self, round: &mut Round) {
        let partitions = match self
            .kv()
            .partitions(round.0.as_ref(), VISITS_PER_ROUND)
            .await
        {
            Ok(partitions) => partitions,
            Err(error) => return tracing::warn!(%error, "retention cannot list the accounts"),
        };
        for partition in &partitions {
            let Ok(jid) = BareJid::parse(partition.as_str()) else {
                continue;
            };
            if room::is_room_address(self, &jid) {
                if let Err(error) = expiry::visit(self, partition, &jid).await {
                    tracing::warn!(%error, "retention could not tidy a room");
                }
                continue;
            }
            // First: an entry that only a lost device lacked can go on the same visit.
            if let Err(error) = devices::expire(self, partition, &jid).await {
                tracing::warn!(%error, "an account's devices could not be looked through");
            }
            if let Err(error) = self.visit(partition, &jid).await {
                tracing::warn!(%error, "retention could not tidy an account's log");
            }
        }
        round.0 = partitions.into_iter().next_back().map(tables::beyond_files);
    }

    async fn visit(&self, partition: &Partition, jid: &BareJid) -> Result<(), WalkError> {
        let Some(horizon) = horizon(self, jid.domain()) else {
            return Ok(());
        };
        // Looks before it loads the home: nearly always there is nothing to do.
        let oldest = self.oldest_entry(partition).await?;
        let Covered { indexed, pruned } = Covered::load(self.kv(), partition).await?;
        let gone_from = |oldest: Option<ArchiveId>| oldest.unwrap_or(indexed.next());
        let to_prune =
            |oldest| gone_from(oldest).timestamp().since(pruned.timestamp()) > PRUNE_MILLIS;
        if !to_prune(oldest) && oldest.is_none_or(|oldest| oldest > horizon) {
            return Ok(());
        }
        let home = self.home(jid);
        let mut state = home.lock(self).await?;
        let mut batch = Batch::new(partition.clone());
        let upto = state.delivered_upto();
        drop_old(self, &mut state, upto, &mut batch);
        if !batch.is_empty() {
            self.kv().commit(batch)?;
        }
        let oldest = self.oldest_entry(partition).await?;
        if to_prune(oldest) {
            conversations::prune(self, &mut state, gone_from(oldest)).await?;
        }
        Ok(())
    }

    async fn oldest_entry(&self, partition: &Partition) -> Result<Option<ArchiveId>, WalkError> {
        let oldest = Scan::range(tables::log_key(ArchiveId(0)), prefix_end(tables::LOG), 1);
        let rows = self.kv().scan(partition, oldest).await?;
        Ok(rows
            .first()
            .and_then(|(key, _)| tables::key_id(tables::LOG, key)))
    }
}
