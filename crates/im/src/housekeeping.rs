//! What no stanza causes: saving cursors, ending sessions that were not resumed, forgetting idle homes, and putting
//! sessions into the store when the server goes down for a restart.

use std::sync::Arc;
use std::time::Duration;

use posthaste_kv::Batch;
use posthaste_proto::jid::BareJid;
use tokio::time::{Instant, MissedTickBehavior};

use crate::conversations;
use crate::error::WalkError;
use crate::ext::muc::{group, room};
use crate::ext::{groups, muc, push};
use crate::home::Home;
use crate::node::Node;
use crate::retention::{self, Round};
use crate::router::Envelope;
use crate::session::SessionId;
use crate::session_store;

/// How often the house is tidied. A crash repeats at most what was delivered in this time, recognisably.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Sessions are asked what they have taken in so many turns at most, so long after one another: the answers of
/// thousands at once would hold up what is being said. All turns take half of the time between two rounds.
const TURNS: usize = 50;
const BETWEEN_TURNS: Duration = Duration::from_millis(10);
/// Fewer sessions than this need no turns of their own.
const SESSIONS_PER_TURN: usize = 16;
/// Homes are looked through for idle ones every so many rounds.
const FORGET_EVERY: u32 = 10;

impl Node {
    /// Tidies until dropped. The server spawns this once.
    pub async fn keep_house(self: Arc<Node>) {
        tokio::join!(self.send_unsent(), self.tidy_for_ever());
    }

    async fn tidy_for_ever(self: &Arc<Node>) {
        let (mut rounds, mut retention) = (0u32, Round::default());
        // What a round takes is no part of the pause; after one that took too long there is a pause nevertheless.
        let mut round = tokio::time::interval_at(Instant::now() + TIDY_EVERY, TIDY_EVERY);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            round.tick().await;
            self.tidy().await;
            self.visit_old_homes(&mut retention).await;
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(FORGET_EVERY) {
                self.forget_idle_homes();
            }
        }
    }

    /// One round of housekeeping; tests call it instead of waiting.
    pub async fn tidy(self: &Arc<Node>) {
        self.check_orders();
        for (id, jid) in self.take_overdue(self.now()) {
            self.end_overdue(&jid.to_bare(), id).await;
        }
        for home in self.take_expected_pushes(self.now()) {
            let looked = if room::is_room_address(self, &home) {
                group::activity::look(self, &home).await
            } else {
                push::notify::look(self, &home).await
            };
            match looked {
                Ok(requests) => {
                    self.route(requests).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a push notification, or what a group has to tell, could not be sent");
                }
            }
        }
        for account in self.take_removed() {
            if let Err(error) = self.erase_home(&account).await {
                tracing::warn!(%error, "what a removed account has left could not be erased");
            }
        }
        for home in self.take_dirty() {
            match self.save_delivery(&home).await {
                Ok(receipts) => {
                    self.route(receipts).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "what has been delivered could not be saved: after a crash it would be repeated");
                }
            }
        }
        // Last: it takes its time.
        self.ask_later().await;
    }

    /// Asks the sessions that got copies what they have taken of them.
    async fn ask_later(&self) {
        let sessions = self.take_asks_later();
        let per_turn = sessions.len().div_ceil(TURNS).max(SESSIONS_PER_TURN);
        for (turn, sessions) in sessions.chunks(per_turn).enumerate() {
            if turn > 0 {
                tokio::time::sleep(BETWEEN_TURNS).await;
            }
            sessions.iter().for_each(|it| it.state().ask_now());
        }
    }

    async fn end_overdue(self: &Arc<Node>, account: &BareJid, id: SessionId) {
        let session = match self.home(account).lock(self).await {
            Ok(state) => state.attendee(id).map(|attendee| attendee.session.clone()),
            Err(error) => {
                return tracing::warn!(%error, "a session that nobody resumed could not be ended");
            }
        };
        if session.is_some_and(|session| session.state().is_overdue(self.now())) {
            self.end_session(account, id).await;
        }
    }

    /// Saves how far a home's log has been delivered and what is new in its conversations, and drops what need not be
    /// kept. Answers what groups are to be told.
    async fn save_delivery(&self, home: &Home) -> Result<Vec<Envelope>, WalkError> {
        let mut state = home.lock(self).await?;
        state.listed_dirty = false;
        if !state.has_unsaved() {
            return Ok(Vec::new());
        }
        let receipts = groups::receipts(&mut state);
        let mut batch = Batch::new(state.partition.clone());
        let upto = state.delivered_upto();
        retention::drop_old(self, &mut state, upto, &mut batch);
        conversations::save_with(self, &mut state, batch).await?;
        Ok(receipts)
    }

    /// The server goes down: every session that may be resumed is put into the store, so that it can be resumed after
    /// the restart. Call it when no connection is left; then sync and close the store.
    pub async fn store_sessions(self: &Arc<Node>) -> usize {
        let mut stored = 0;
        for home in self.homes() {
            match session_store::store(self, &home).await {
                Ok(count) => stored += count,
                Err(error) => {
                    tracing::warn!(%error, "a session could not be stored: its client will start a new one");
                }
            }
            if let Err(error) = muc::restart::store(self, &home).await {
                tracing::warn!(%error, "who was in a room could not be stored: they will have to enter it again");
            }
            if let Err(error) = self.save_delivery(&home).await {
                tracing::warn!(%error, "what has been delivered could not be saved: it will be repeated");
            }
        }
        stored
    }
}
